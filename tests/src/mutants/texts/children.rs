//! A process for each mutant: one that never ends, or that brings its process down, is killed all the same.
//!
//! A test program begins itself again for a single ignored test, `one_mutant`, and tells it by `BELAMY_MUTANT` which
//! mutant it is. The child says a line before each check and a last one with what came of it.

use super::{Language, TextMutant, drawn, equivalent};
use crate::answers::Answers;
use crate::case::Case;
use crate::plan::{Subject, failure};
use crate::report::Mode;
use crate::watched::{Ended, watch};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Which mutant a child is: its file and its place in the order in which they are drawn, or `unchanged`.
const ASKED: &str = "BELAMY_MUTANT";
/// What a child's lines begin with, among those of the test harness.
const MARK: &str = "mutant: ";
/// How long one check may take: many times more than any does, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Children at a time.
const CHILDREN: usize = 2;

/// What rejects a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Its output is not the oracle's.
    Output,
    /// Its gradients are not the oracle's.
    Gradient,
    /// Two of its runs differ.
    Repetition,
    /// The device refuses: barriers that not all reach, a write beyond a buffer's end, ...
    Device,
    /// It brings its process down, or never ends.
    Crash,
}

impl How {
    /// Every way, in the order of the table's columns.
    pub const ALL: [How; 5] =
        [How::Output, How::Gradient, How::Repetition, How::Device, How::Crash];

    /// The column's heading.
    pub fn name(self) -> &'static str {
        match self {
            How::Output => "output",
            How::Gradient => "gradient",
            How::Repetition => "twice",
            How::Device => "device",
            How::Crash => "crash",
        }
    }
}

/// What came of a mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was rejected: how, and by what.
    Killed(How, String),
    /// It is not valid, and tells nothing.
    Invalid(String),
    /// Every check passed.
    Survived,
}

impl Outcome {
    fn line(&self) -> String {
        let flat = |text: &str| text.replace('\n', " ");
        match self {
            Outcome::Killed(how, by) => format!("killed {} {}", how.name(), flat(by)),
            Outcome::Invalid(why) => format!("invalid {}", flat(why)),
            Outcome::Survived => "survived".to_string(),
        }
    }

    fn parse(line: &str) -> Option<Outcome> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "survived" => Some(Outcome::Survived),
            "invalid" => Some(Outcome::Invalid(rest.to_string())),
            "killed" => {
                let (name, by) = rest.split_once(' ')?;
                let how = How::ALL.into_iter().find(|how| how.name() == name)?;
                Some(Outcome::Killed(how, by.to_string()))
            }
            _ => None,
        }
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // The harness may have begun a line.
    let _ = writeln!(out, "\n{MARK}{line}");
    let _ = out.flush();
}

/// In a child: the file, and its mutant or nothing for the unchanged text. `text_of` knows the files.
pub fn asked(
    language: Language,
    text_of: impl Fn(&str) -> Option<String>,
) -> Option<(String, Option<TextMutant>)> {
    let asked = std::env::var(ASKED).ok()?;
    let (file, number) = asked.split_once(' ')?;
    let text = text_of(file)?;
    let number = number.parse::<usize>().ok();
    Some((
        file.to_string(),
        number.and_then(|number| drawn(language, file, &text).into_iter().nth(number)),
    ))
}

/// In a child: says what came of it.
pub fn answer(outcome: &Outcome) {
    say(&outcome.line());
}

/// How most cases are checked.
pub const MODES: [Mode; 3] = [Mode::Parity, Mode::ParityGradient, Mode::Twice];

/// In a child: checks one case after the other, until one fails.
pub fn judge(subject: &Subject, modes: &[Mode], cases: impl IntoIterator<Item = Case>) -> Outcome {
    let oracle = belamy_cpu::oracle();
    let mut judged = cases
        .into_iter()
        .map(|case| judge_one(subject, modes, &Answers::new(&case, &oracle, modes)));
    judged.find(|outcome| *outcome != Outcome::Survived).unwrap_or(Outcome::Survived)
}

/// As [`judge`] for one case.
pub fn judge_one(subject: &Subject, modes: &[Mode], answers: &Answers<'_>) -> Outcome {
    for &mode in modes {
        say("checks");
        if let Some(line) = failure(answers, subject, &[mode]) {
            let how = match mode {
                _ if line.contains("the op refused") || line.ends_with("panicked") => How::Device,
                Mode::ParityGradient => How::Gradient,
                Mode::Twice => How::Repetition,
                _ => How::Output,
            };
            return Outcome::Killed(how, line);
        }
    }
    Outcome::Survived
}

/// Begins a child, and waits for what it says.
fn ask(file: &str, number: Option<usize>) -> Outcome {
    let number = number.map_or("unchanged".to_string(), |number| number.to_string());
    let begin = || -> std::io::Result<Ended<Outcome>> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["--ignored", "--exact", "one_mutant", "--nocapture", "--test-threads=1"])
            .env(ASKED, format!("{file} {number}"))
            .env("RAYON_NUM_THREADS", "1")
            .stderr(Stdio::null());
        watch(&mut command, MARK, || PATIENCE, Outcome::parse)
    };
    match begin() {
        Ok(Ended::Said(outcome)) => outcome,
        Ok(Ended::Silent(_)) => Outcome::Killed(How::Crash, "it does not end".to_string()),
        Ok(Ended::Gone(_)) => Outcome::Killed(How::Crash, "the process ended".to_string()),
        // Not the mutant's fault: it counts as a survivor, and the test fails.
        Err(_) => Outcome::Survived,
    }
}

/// A mutant, and what came of it.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The file.
    pub file: String,
    /// The mutant.
    pub mutant: TextMutant,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// The mutants, by file and line.
    pub judged: Vec<Judged>,
    /// Unchanged texts that are rejected, and what else went wrong.
    pub broken: Vec<String>,
}

impl Judged {
    /// Why the mutant computes the same, if the list says so.
    pub fn equivalent(&self) -> Option<&'static str> {
        equivalent::reason(&self.file, &self.mutant)
    }
}

/// Of which files every mutant is to be judged, and not only the first few: `BELAMY_MUTANTS` is `all`, or names files.
fn asked_for() -> String {
    std::env::var("BELAMY_MUTANTS").unwrap_or_default()
}

/// Whether every mutant of every file is to be judged.
pub fn all_are_asked() -> bool {
    asked_for() == "all"
}

/// How many mutants of a file are drawn: as many as its code is rich in places for one, within bounds.
fn quota(places: usize) -> usize {
    let quota = (places / 12).clamp(4, 14);
    if asked_for().is_empty() { quota.div_ceil(4) } else { quota }
}

/// A file and its mutants, with their places in the order in which they are drawn.
struct Drawn {
    file: String,
    mutants: Vec<(usize, TextMutant)>,
    /// The next that takes the place of one that is not valid.
    next: AtomicUsize,
}

/// What a child is begun for.
enum Task<'a> {
    /// The text as it is.
    Control(&'a Drawn),
    /// One valid mutant: this one, or, for as long as it is not, the file's next.
    Mutant(&'a Drawn, usize),
}

impl Task<'_> {
    /// The longest first, so that nobody waits for them at the end: what survives every check; then those of the richest
    /// files, by turns.
    fn place(&self) -> (bool, std::cmp::Reverse<usize>, usize) {
        match *self {
            Task::Control(drawn) => (false, std::cmp::Reverse(drawn.mutants.len()), 0),
            Task::Mutant(drawn, at) => {
                let survives = drawn
                    .mutants
                    .get(at)
                    .is_some_and(|(_, mutant)| equivalent::reason(&drawn.file, mutant).is_some());
                (!survives, std::cmp::Reverse(drawn.mutants.len()), at)
            }
        }
    }
}

/// Deals with one task: a valid mutant and what came of it, if one is left, or what is wrong with an unchanged text.
fn perform(
    task: &Task<'_>,
    ask: &impl Fn(&str, Option<usize>) -> Outcome,
) -> Result<Option<(usize, Judged)>, String> {
    match *task {
        Task::Control(Drawn { file, .. }) => match ask(file, None) {
            Outcome::Survived => Ok(None),
            outcome => Err(format!("{file} as it is: {outcome:?}")),
        },
        Task::Mutant(Drawn { file, mutants, next }, mut at) => {
            while let Some((number, mutant)) = mutants.get(at) {
                let outcome = ask(file, Some(*number));
                if !matches!(outcome, Outcome::Invalid(_)) {
                    let (file, mutant) = (file.clone(), mutant.clone());
                    return Ok(Some((*number, Judged { file, mutant, outcome })));
                }
                at = next.fetch_add(1, Ordering::Relaxed);
            }
            Ok(None)
        }
    }
}

/// Judges of each file the first valid mutants, as many as `quota` says of the number of all, and the unchanged texts
/// of the last `controls` files. `CHILDREN` tasks are under way at a time, whichever files they are of. Which mutants
/// those are does not depend on who is done first: a file's next is taken for each that is not valid, and for no other.
fn deal_out(
    work: &[Drawn],
    quota: fn(usize) -> usize,
    controls: usize,
    ask: &(impl Fn(&str, Option<usize>) -> Outcome + Sync),
) -> Run {
    let mut tasks: Vec<Task<'_>> = work.iter().rev().take(controls).map(Task::Control).collect();
    for drawn in work {
        let first = quota(drawn.mutants.len()).min(drawn.mutants.len());
        drawn.next.store(first, Ordering::Relaxed);
        tasks.extend((0..first).map(|at| Task::Mutant(drawn, at)));
    }
    tasks.sort_by_key(Task::place);
    let taken = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        while let Some(task) = tasks.get(taken.fetch_add(1, Ordering::Relaxed)) {
            done.push(perform(task, ask));
        }
        done
    };
    let (mut judged, mut broken) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..CHILDREN).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            match worker.join() {
                Ok(done) => done.into_iter().for_each(|done| match done {
                    Ok(mutant) => judged.extend(mutant),
                    Err(what) => broken.push(what),
                }),
                Err(_) => broken.push("a thread that judges mutants panicked".to_string()),
            }
        }
    });
    judged.sort_by(|(number, a), (other, b)| {
        (&a.file, a.mutant.line, number).cmp(&(&b.file, b.mutant.line, other))
    });
    broken.sort();
    Run { judged: judged.into_iter().map(|(_, judged)| judged).collect(), broken }
}

/// Draws and judges the mutants of files, which are names and texts, but for some. Unchanged texts are judged too:
/// where one did not pass, its mutants' failures would mean nothing.
pub fn judge_all(
    language: Language,
    files: Vec<(String, String)>,
    but_for: fn(&TextMutant) -> bool,
) -> Run {
    let asked_for = asked_for();
    let named: Vec<&str> = asked_for.split(',').filter(|name| *name != "all").collect();
    let mut work: Vec<Drawn> = files
        .into_iter()
        .filter(|(file, _)| named.iter().all(|name| name.is_empty()) || named.contains(&&**file))
        .map(|(file, text)| {
            let numbered = drawn(language, &file, &text).into_iter().enumerate();
            let mutants: Vec<_> = numbered.filter(|(_, mutant)| !but_for(mutant)).collect();
            Drawn { file, mutants, next: AtomicUsize::new(0) }
        })
        .collect();
    work.sort_by_key(|drawn| std::cmp::Reverse(drawn.mutants.len()));
    // A small run has the two smallest files for that.
    let controls = if asked_for.is_empty() { 2 } else { work.len() };
    deal_out(&work, quota, controls, &ask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_said_and_understood() {
        let outcomes = [
            Outcome::Killed(How::Gradient, "relu/3 on a device: 2 wrong".to_string()),
            Outcome::Invalid("expected `;`".to_string()),
            Outcome::Survived,
        ];
        for outcome in outcomes {
            assert_eq!(Outcome::parse(&outcome.line()), Some(outcome));
        }
        assert_eq!(Outcome::parse("checks"), None);
    }
    /// Invalid are the mutants whose number is in `invalid`.
    fn dealt(files: &[(&str, usize)], invalid: &[usize], quota: fn(usize) -> usize) -> Vec<String> {
        let mutant = |line: usize| TextMutant {
            line: line / 2,
            before: String::new(),
            after: String::new(),
            kind: "sign",
            text: String::new(),
        };
        let drawn = |&(file, count): &(&str, usize)| Drawn {
            file: file.to_string(),
            mutants: (0..count).map(|number| (number, mutant(number))).collect(),
            next: AtomicUsize::new(0),
        };
        let work: Vec<Drawn> = files.iter().map(drawn).collect();
        let ask = |file: &str, number: Option<usize>| {
            // Whoever comes first is done last.
            std::thread::sleep(Duration::from_millis(2 - number.unwrap_or(0).min(2) as u64));
            match number {
                None if file == "wrong" => Outcome::Killed(How::Output, "it is wrong".to_string()),
                None => Outcome::Survived,
                Some(number) if invalid.contains(&number) => Outcome::Invalid(String::new()),
                Some(number) => Outcome::Killed(How::Output, number.to_string()),
            }
        };
        let run = deal_out(&work, quota, work.len(), &ask);
        let by = |one: &Judged| match &one.outcome {
            Outcome::Killed(_, by) => format!("{} {by}", one.file),
            other => format!("{} {other:?}", one.file),
        };
        run.judged.iter().map(by).chain(run.broken).collect()
    }

    #[test]
    fn of_each_file_the_first_valid_ones_are_judged_in_order() {
        for _ in 0..20 {
            let judged = dealt(&[("a", 9), ("wrong", 3), ("b", 0)], &[0, 2, 3], |_| 3);
            let wanted = ["a 1", "a 4", "a 5", "wrong 1"];
            assert_eq!(judged[..4], wanted);
            assert_eq!(judged.len(), 5, "{judged:?}");
            assert!(judged[4].starts_with("wrong as it is"), "{judged:?}");
        }
        assert_eq!(dealt(&[("a", 3)], &[0, 1, 2], |count| count), [""; 0]);
    }
}

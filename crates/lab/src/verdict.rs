//! What came of a kernel, and asking a process of its own for it.
//!
//! The child says lines that begin with [`MARK`]: when the kernel begins and has ended, how far the checks are, and at last
//! its verdict. One that says nothing while the kernel runs has a kernel that does not end; one that is gone was taken
//! down by it.

use crate::interface;
use belamy_tensor::kernel::KernelId;
use belamy_tests::watched::{Ended, watch};
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::fmt;
use std::io::Write;
use std::process::Command;
use std::time::Duration;

/// What a child's lines begin with.
pub const MARK: &str = "belamy-lab: ";
/// The kernel is called.
pub(crate) const BEGINS: &str = "begins";
/// It has come back.
pub(crate) const HAS_ENDED: &str = "has ended";
/// How long anything but the kernel may take: other kernels are compiled meanwhile.
const OTHER_PATIENCE: Duration = Duration::from_secs(300);

/// What came of a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Verdict {
    /// Every check passed.
    Right {
        /// How many there were.
        checks: usize,
    },
    /// The compiler refuses it, or it is not there.
    DoesNotCompile {
        /// What the compiler says.
        message: String,
    },
    /// Its numbers are not the oracle's.
    Wrong {
        /// Where, and by how much.
        message: String,
    },
    /// It makes NaN or infinity of numbers: computed, read beyond a buffer's end, or never written.
    NotFinite {
        /// Where.
        message: String,
    },
    /// It does not give the same each time.
    Race {
        /// Where.
        message: String,
    },
    /// It reads or writes where it must not.
    OutOfBounds {
        /// What.
        message: String,
    },
    /// The device refuses what it does: barriers that not all reach, too many threads, ...
    Refused {
        /// What the device says.
        message: String,
    },
    /// It does not end.
    Endless {
        /// How long it was waited for.
        seconds: u64,
    },
    /// It takes its process down.
    Crashed {
        /// How.
        message: String,
    },
    /// It cannot be judged on this machine.
    NotJudged {
        /// Why.
        message: String,
    },
}

impl Verdict {
    /// Whether every check passed.
    pub fn is_right(&self) -> bool {
        matches!(self, Verdict::Right { .. })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Right { checks } => write!(f, "right: {checks} checks passed"),
            Verdict::DoesNotCompile { message } => write!(f, "does not compile: {message}"),
            Verdict::Wrong { message } => write!(f, "wrong: {message}"),
            Verdict::NotFinite { message } => write!(
                f,
                "not finite: {message} (NaN stands around buffers and in what was never written)"
            ),
            Verdict::Race { message } => {
                write!(f, "a race: the same call gave other numbers: {message}")
            }
            Verdict::OutOfBounds { message } => write!(f, "out of bounds: {message}"),
            Verdict::Refused { message } => write!(f, "refused by the device: {message}"),
            Verdict::Endless { seconds } => {
                write!(f, "endless: it had not come back after {seconds} s")
            }
            Verdict::Crashed { message } => write!(f, "crashed: {message}"),
            Verdict::NotJudged { message } => write!(f, "not judged: {message}"),
        }
    }
}

/// Says a line to whoever watches this process.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // The kernel may have begun a line.
    let _ = writeln!(out, "\n{MARK}{line}");
    let _ = out.flush();
}

/// In a child: says the verdict.
pub fn answer(verdict: &Verdict) {
    if let Ok(text) = serde_json::to_string(verdict) {
        say(&format!("verdict {text}"));
    }
}

/// In a child: so many checks are done.
pub fn reached(done: usize, total: usize) {
    say(&format!("reached {done} {total}"));
}

/// Where a fault lay, as a handler says it that can say little.
pub(crate) struct Place;

impl Place {
    pub(crate) const WORD: &'static str = "fault ";
    pub(crate) const BEFORE: u8 = b'-';
    pub(crate) const BEHIND: u8 = b'+';
    pub(crate) const INSIDE: u8 = b'=';

    /// In words, with the operand's name.
    fn in_words(line: &str, kernel: KernelId) -> Option<Verdict> {
        let (side, number) = line.strip_prefix(Place::WORD)?.split_once(' ')?;
        let number = number.parse::<usize>().ok()?;
        let interface = interface::of(kernel);
        let mut operands = interface.inputs.iter().chain(interface.outputs);
        let name = match operands.nth(number) {
            Some((name, _)) if !interface.lists => (*name).to_owned(),
            _ => format!("operand {number}"),
        };
        let message = match side.bytes().next()? {
            Place::BEFORE => format!("before the beginning of {name}"),
            Place::BEHIND => format!("beyond the end of {name}"),
            _ => format!("a write to {name}, which is to be read alone"),
        };
        Some(Verdict::OutOfBounds { message })
    }
}

/// Begins a child that is to judge a kernel, and waits for its verdict; `patience` is how long one call of the kernel may
/// take. `seen` is told how many checks of how many are done.
///
/// Fails when the child cannot be begun.
pub fn ask(
    command: &mut Command,
    kernel: KernelId,
    patience: Duration,
    mut seen: impl FnMut(u64, u64),
) -> std::io::Result<Verdict> {
    let runs = Cell::new(false);
    let hear = |line: &str| {
        if let Some(text) = line.strip_prefix("verdict ") {
            return serde_json::from_str(text).ok();
        }
        if let Some(verdict) = Place::in_words(line, kernel) {
            return Some(verdict);
        }
        if let Some((done, total)) =
            line.strip_prefix("reached ").and_then(|rest| rest.split_once(' '))
            && let (Ok(done), Ok(total)) = (done.parse(), total.parse())
        {
            seen(done, total);
        }
        match line {
            BEGINS => runs.set(true),
            HAS_ENDED => runs.set(false),
            _ => {}
        }
        None
    };
    let ended = watch(command, MARK, || if runs.get() { patience } else { OTHER_PATIENCE }, hear)?;
    Ok(match ended {
        Ended::Said(verdict) => verdict,
        Ended::Silent(waited) => Verdict::Endless { seconds: waited.as_secs() },
        Ended::Gone(status) => {
            let status = status.map_or("it was gone".to_owned(), |status| status.to_string());
            Verdict::Crashed { message: status }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_put_in_words() {
        let words =
            |line| Place::in_words(line, KernelId::conv2d).map(|verdict| verdict.to_string());
        assert_eq!(words("fault + 001").unwrap(), "out of bounds: beyond the end of w");
        assert_eq!(words("fault - 002").unwrap(), "out of bounds: before the beginning of y");
        let inside = words("fault = 000").unwrap();
        assert!(inside.contains("a write to x"), "{inside}");
        assert_eq!(words("begins"), None);
    }

    #[test]
    fn verdicts_survive_the_way() {
        let verdict = Verdict::Wrong { message: "at [0] \"got\" 1\nand 2".to_owned() };
        let text = serde_json::to_string(&verdict).unwrap();
        assert!(!text.contains('\n'));
        assert_eq!(serde_json::from_str::<Verdict>(&text).unwrap(), verdict);
    }
}

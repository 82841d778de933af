//! A process that is watched: whatever it does, somebody hears of it.

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How often a process that gets no processor time may be waited for, in units of the patience.
const STARVED: u32 = 4;
/// How long it is waited for before its processor time is looked at again.
const LOOK: Duration = Duration::from_millis(500);

/// Hundredths of a second that a process may go on for once its output is closed.
const CLOSING: usize = 200;

/// How the watching ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended<T> {
    /// It said what was wanted.
    Said(T),
    /// It has said nothing for so long.
    Silent(Duration),
    /// It ended without.
    Gone(Option<ExitStatus>),
}

/// Begins a process and listens to the lines of its output that have `mark` in them, what follows it, until `hear`
/// has what it wants. After each line `patience` says how long the next may take: by the clock and, where the system tells
/// it, by the processor time of the process too, so that a busy machine makes no process silent; by the clock alone
/// after four times as long. Whatever came of it, the process is ended.
///
/// Fails when the process cannot be begun.
pub fn watch<T>(
    command: &mut Command,
    mark: &str,
    mut patience: impl FnMut() -> Duration,
    mut hear: impl FnMut(&str) -> Option<T>,
) -> std::io::Result<Ended<T>> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let (sender, lines) = mpsc::channel();
    if let Some(out) = child.stdout.take() {
        let mark = mark.to_owned();
        std::thread::spawn(move || {
            // What is no text is no line of ours.
            for line in BufReader::new(out).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line);
                if let Some((_, line)) = line.split_once(&mark) {
                    let _ = sender.send(line.trim_end().to_string());
                }
            }
        });
    }
    let process = child.id();
    let ended = loop {
        let patience = patience();
        let (begun, spent) = (Instant::now(), processor_time(process));
        let heard = loop {
            let left = patience.saturating_sub(begun.elapsed());
            let heard = lines.recv_timeout(if left.is_zero() { LOOK } else { left });
            let used =
                processor_time(process).zip(spent).map(|(now, then)| now.saturating_sub(then));
            let is_starved = used.is_some_and(|used| used < patience);
            let waits = is_starved && begun.elapsed() < patience * STARVED;
            if heard != Err(mpsc::RecvTimeoutError::Timeout) || !waits {
                break heard;
            }
        };
        match heard {
            Ok(line) => {
                if let Some(said) = hear(&line) {
                    break Ended::Said(said);
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => break Ended::Silent(patience),
            Err(mpsc::RecvTimeoutError::Disconnected) => break Ended::Gone(None),
        }
    };
    if let Ended::Gone(_) = ended {
        // Its output is closed: it has ended, is about to, or goes on unheard.
        for _ in 0..CLOSING {
            if let Some(status) = child.try_wait()? {
                return Ok(Ended::Gone(Some(status)));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    // It is done, or will never be.
    let _ = child.kill();
    let _ = child.wait();
    Ok(ended)
}

/// The processor time that a process has used so far; `None` where the system does not tell.
fn processor_time(process: u32) -> Option<Duration> {
    // Linux: fields 14 and 15 are user and system time in hundredths of a second; the second, a name, may hold spaces.
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let mut fields = stat.rsplit(") ").next()?.split(' ').skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis(10 * (ticks()? + ticks()?)))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn silent_after(script: &str) -> (bool, Duration) {
        let begun = Instant::now();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let patience = || Duration::from_millis(400);
        let hear = |line: &str| line.starts_with("end").then_some(());
        let ended = watch(&mut command, "> ", patience, hear).unwrap();
        (matches!(ended, Ended::Silent(_)), begun.elapsed())
    }

    #[test]
    fn a_process_that_works_on_and_says_nothing_is_silent_and_one_that_waits_is_waited_for() {
        let (silent, took) = silent_after("while :; do :; done");
        assert!(silent && took >= Duration::from_millis(400), "{took:?}");
        // It sleeps longer than the patience, and has used no processor time.
        let (silent, took) = silent_after("sleep 0.8; echo '> end'");
        assert!(!silent || cfg!(not(target_os = "linux")), "{took:?}");
        let (silent, took) = silent_after("exec sleep 60");
        assert!(silent && took < Duration::from_secs(20), "{took:?}");
    }
}

//! A process that is watched: whatever it does, somebody hears of it.

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

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
/// has what it wants. After each line `patience` says how long the next may take. Whatever came of it, the process is
/// ended.
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
    let ended = loop {
        let patience = patience();
        match lines.recv_timeout(patience) {
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

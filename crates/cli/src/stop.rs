//! Who may ask a run to stop: signals, and the end of a job's time. All of them set a flag; the run looks at it after each
//! step.

use crate::failure::{Failure, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a run exits with that was stopped so that it may be queued again: `EX_TEMPFAIL` of sysexits.h.
pub(crate) const REQUEUE: u8 = 75;

/// What has been asked for.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    /// To stop after the step that is being made.
    pub(crate) stop: Arc<AtomicBool>,
    /// And to say that the run is to be queued again.
    pub(crate) requeue: Arc<AtomicBool>,
}

/// SIGINT and SIGTERM ask the run to stop after its step; a SIGINT after that ends the program at once. Not so a SIGTERM:
/// schedulers send it several times, and SIGKILL when they lose patience. SIGUSR2 asks to stop too, and that the run be
/// queued again; so does the end of a SLURM job, `before` it is there.
pub(crate) fn watch(before: Duration) -> Result<Stop> {
    let stop = Arc::new(AtomicBool::new(false));
    let requeue = Arc::new(AtomicBool::new(false));
    let fail = |error: std::io::Error| Failure::new(format!("cannot watch for signals: {error}"));
    signal_hook::flag::register_conditional_shutdown(SIGINT, 130, Arc::clone(&stop))
        .map_err(fail)?;
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(fail)?;
    }
    #[cfg(unix)]
    for flag in [&requeue, &stop] {
        signal_hook::flag::register(signal_hook::consts::SIGUSR2, Arc::clone(flag))
            .map_err(fail)?;
    }
    let stop = Stop { stop, requeue };
    if let Some(end) = end_of_job() {
        let watched = stop.clone();
        let wait = end.saturating_sub(now()).saturating_sub(before);
        // It lives as long as the program.
        std::thread::spawn(move || {
            std::thread::sleep(wait);
            watched.requeue.store(true, Ordering::Relaxed);
            watched.stop.store(true, Ordering::Relaxed);
        });
    }
    Ok(stop)
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// When this job's time is over, since 1970, where SLURM says so.
fn end_of_job() -> Option<Duration> {
    let seconds = std::env::var("SLURM_JOB_END_TIME").ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

//! Repeats, their median and their spread.
//!
//! A sample is n launches and one wait for the device, divided by n, by the device's own clock where it has one and
//! otherwise by the host's monotonic one; n is chosen so that a sample takes at least
//! `SAMPLE`, long against the clock's grain and the cost of waiting. With a cold cache n is 1, and between samples
//! something else goes through the caches.

use serde::Serialize;
use std::time::Instant;

/// A sample takes at least so many seconds.
const SAMPLE: f64 = 2e-3;
/// More samples than this tell nothing new.
const MOST_SAMPLES: usize = 31;
/// Fewer have no spread; one is all there is time for where one alone takes longer than was asked for.
const LEAST_SAMPLES: usize = 3;
/// What takes less than this is always sampled several times.
const SHORT: f64 = 0.5;
/// Launches in a sample, at most.
const MOST_LAUNCHES: usize = 256;

/// What repeated runs of one work took, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Timing {
    /// The middle sample.
    pub median: f64,
    /// The sample a quarter of the way up.
    pub lower_quartile: f64,
    /// The sample three quarters of the way up.
    pub upper_quartile: f64,
    /// The quickest sample.
    pub least: f64,
    /// The slowest sample.
    pub most: f64,
    /// How many samples.
    pub samples: usize,
    /// How many launches one sample averages.
    pub launches: usize,
}

impl Timing {
    /// The statistics of samples, in any order. Panics if there are none.
    pub fn of(mut samples: Vec<f64>, launches: usize) -> Timing {
        samples.sort_by(f64::total_cmp);
        let count = samples.len();
        // Linear between neighbours, as NumPy's default is.
        let quantile = |share: f64| {
            let place = share * (count - 1) as f64;
            let (below, part) = (place.floor() as usize, place.fract());
            let above = (below + 1).min(count - 1);
            samples[below] + part * (samples[above] - samples[below])
        };
        Timing {
            median: quantile(0.5),
            lower_quartile: quantile(0.25),
            upper_quartile: quantile(0.75),
            least: samples[0],
            most: samples[count - 1],
            samples: count,
            launches,
        }
    }

    /// The distance between the quartiles, as a share of the median.
    pub fn spread(&self) -> f64 {
        (self.upper_quartile - self.lower_quartile) / self.median
    }
}

/// Times `run(n)`, which launches a work n times, waits for its end and says how many seconds that took, for about
/// `seconds`: at least three samples, but one of what takes longer than `seconds` and half a second.
///
/// `one` is what one launch took so far. `between` runs before each sample, outside the clock; with `single` a sample
/// is one launch.
pub fn time<E>(
    seconds: f64,
    one: f64,
    single: bool,
    mut run: impl FnMut(usize) -> Result<f64, E>,
    mut between: impl FnMut() -> Result<(), E>,
) -> Result<Timing, E> {
    let launches = match single {
        true => 1,
        false => ((SAMPLE / one.max(1e-9)).ceil() as usize).clamp(1, MOST_LAUNCHES),
    };
    let begin = Instant::now();
    let mut samples = Vec::new();
    let least = if one > seconds.max(SHORT) { 1 } else { LEAST_SAMPLES };
    while samples.len() < MOST_SAMPLES {
        let enough = samples.len() >= least;
        if enough && begin.elapsed().as_secs_f64() >= seconds {
            break;
        }
        between()?;
        samples.push(run(launches)? / launches as f64);
    }
    Ok(Timing::of(samples, launches))
}

/// Seconds of processor time that this process has used, all its threads together, to a hundredth; `None` where the
/// system does not say so in /proc.
///
/// A software adapter runs in the process, so this counts its work too, and other programs on the machine do not count.
pub fn processor_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name, in parentheses, may hold anything; user and system time are the 12th and 13th word behind it.
    let mut words = text.rsplit(')').next()?.split_whitespace().skip(11);
    let mut ticks = || words.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / 100.0)
}

/// The most memory, in bytes, that this process has held at a time; `None` where the system does not say so in /proc.
pub fn peak_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    #[test]
    fn quantiles_are_numpys() {
        let timing = Timing::of(vec![4.0, 1.0, 3.0, 2.0], 1);
        assert_eq!(
            (timing.lower_quartile, timing.median, timing.upper_quartile),
            (1.75, 2.5, 3.25)
        );
        assert_eq!((timing.least, timing.most, timing.samples), (1.0, 4.0, 4));
        assert_eq!(timing.spread(), 0.6);
    }

    #[test]
    fn processor_time_is_that_of_the_work() {
        let Some(before) = processor_seconds() else { return };
        let start = Instant::now();
        let mut sum = 0u64;
        while start.elapsed().as_secs_f64() < 0.3 || processor_seconds().unwrap() - before < 0.05 {
            sum = std::hint::black_box(sum.wrapping_mul(3) + 1);
        }
        let used = processor_seconds().unwrap() - before;
        assert!((0.05..100.0).contains(&used), "{used}");
    }

    #[test]
    fn memory_that_was_held_is_remembered() {
        let Some(before) = peak_memory() else { return };
        let held = std::hint::black_box(vec![1u8; 64 << 20]);
        assert!(peak_memory().unwrap() >= held.len() as u64);
        drop(held);
        assert!(peak_memory().unwrap() >= before.max(64 << 20));
    }

    #[test]
    fn a_short_work_is_launched_many_times_a_sample_and_a_long_one_three_times_in_all() {
        let mut calls = Vec::new();
        let run = |launches| -> Result<f64, Infallible> {
            calls.push(launches);
            Ok(launches as f64 * 0.5)
        };
        let Ok(timing) = time(0.0, 1e-5, false, run, || Ok(()));
        assert_eq!((timing.samples, timing.launches, timing.median), (3, 200, 0.5));
        assert_eq!(calls, [200; 3]);
        let Ok(timing) = time(0.0, 0.4, false, |_| Ok::<f64, Infallible>(1.0), || Ok(()));
        assert_eq!((timing.samples, timing.launches), (3, 1));
        let Ok(timing) = time(0.0, 10.0, false, |_| Ok::<f64, Infallible>(1.0), || Ok(()));
        assert_eq!((timing.samples, timing.launches), (1, 1));
        let Ok(timing) = time(0.0, 1e-5, true, |_| Ok::<f64, Infallible>(1.0), || Ok(()));
        assert_eq!((timing.samples, timing.launches), (3, 1));
    }
}

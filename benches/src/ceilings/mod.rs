//! What a device can do at best, measured where and when the kernels are.
//!
//! | file | what it measures |
//! |---|---|
//! | `fma` | fused multiply-adds on registers, for each instruction set, on one thread and on all |
//! | `stream` | bytes a second from each level of the CPU's caches and from memory |
//! | here | a large matrix product and a large pointwise kernel on a GPU: Belamy's own, so its ceiling is what its best shape reaches |
//!
//! A ceiling is the best of several tries, some at the beginning of a session and some at its end: whatever else the
//! machine does can only hide it.

#[allow(
    unsafe_code,
    reason = "instruction sets that are asked for at run time are called through unsafe"
)]
mod fma;
#[allow(
    unsafe_code,
    reason = "instruction sets that are asked for at run time are called through unsafe"
)]
mod stream;

use belamy_tensor::{Cost, DType, Device, Result, Tensor};
use serde::Serialize;
use std::time::Instant;

/// The most arithmetic of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Peak {
    /// `avx512`, `avx2`, `baseline` (what any x86-64 has), or the kernel that was measured.
    pub how: String,
    /// On how many threads; 0 for a GPU.
    pub threads: usize,
    /// Floating-point operations a second; a multiply-add counts two.
    pub flop_per_second: f64,
}

/// How fast numbers of a working set come and go.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bandwidth {
    /// What was run: `triad` (a = b + s c) or `sum` on the CPU, `mul_scalar` on a GPU.
    pub how: &'static str,
    /// The working set in bytes, over all threads.
    pub working_set: usize,
    /// Bytes read and written a second.
    pub bytes_per_second: f64,
}

/// A device's ceilings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ceilings {
    /// The device.
    pub device: String,
    /// Arithmetic.
    pub peaks: Vec<Peak>,
    /// Traffic, by growing working set.
    pub bandwidths: Vec<Bandwidth>,
}

/// What holds a kernel back on a machine that does everything else for nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// Its operations.
    Arithmetic,
    /// Its bytes.
    Traffic,
}

impl Ceilings {
    /// Measures a device: the processor itself for `cpu` and `oracle`, otherwise by kernels. About a second.
    pub fn measure(device: &Device) -> Result<Ceilings> {
        let id = device.id();
        let (peaks, bandwidths) = match id.name {
            "cpu" | "direct" | "oracle" => {
                let threads = rayon::current_num_threads();
                (fma::peaks(threads), stream::bandwidths(threads))
            }
            _ => (vec![product(device)?], copies(device)?),
        };
        Ok(Ceilings { device: id.to_string(), peaks, bandwidths })
    }

    /// Measures the device again and keeps the better of each two.
    pub fn again(&mut self, device: &Device) -> Result<()> {
        let other = Ceilings::measure(device)?;
        for peak in &mut self.peaks {
            let same = |line: &&Peak| line.how == peak.how && line.threads == peak.threads;
            let second = other.peaks.iter().find(same).map_or(0.0, |line| line.flop_per_second);
            peak.flop_per_second = peak.flop_per_second.max(second);
        }
        for line in &mut self.bandwidths {
            let same =
                |other: &&Bandwidth| other.how == line.how && other.working_set == line.working_set;
            let second = other.bandwidths.iter().find(same);
            line.bytes_per_second =
                second.map_or(0.0, |line| line.bytes_per_second).max(line.bytes_per_second);
        }
        Ok(())
    }

    /// The highest peak, in operations a second.
    pub fn flop_per_second(&self) -> f64 {
        self.peaks.iter().map(|peak| peak.flop_per_second).fold(0.0, f64::max)
    }

    /// The highest peak of instructions no wider than a set's: `avx512`, `avx2` or any other name for what every
    /// processor has.
    pub fn flop_per_second_of(&self, instructions: &str) -> f64 {
        let wider: &[&str] = match instructions {
            "avx512" => &[],
            "avx2" => &["avx512"],
            _ => &["avx512", "avx2"],
        };
        let peaks = self.peaks.iter().filter(|peak| !wider.contains(&peak.how.as_str()));
        peaks.map(|peak| peak.flop_per_second).fold(0.0, f64::max)
    }

    /// The bandwidth, in bytes a second, of the smallest working set measured that holds `bytes`; of the largest where
    /// none does, or where the caches are `cold`.
    pub fn bytes_per_second(&self, bytes: u64, cold: bool) -> f64 {
        let largest = self.bandwidths.iter().map(|line| line.working_set).max().unwrap_or(0);
        let size = self
            .bandwidths
            .iter()
            .map(|line| line.working_set)
            .filter(|&size| size as u64 >= bytes && !cold)
            .min()
            .unwrap_or(largest);
        let lines = self.bandwidths.iter().filter(|line| line.working_set == size);
        lines.map(|line| line.bytes_per_second).fold(0.0, f64::max)
    }

    /// The least time, in seconds, that a work could take here, and what would take it.
    pub fn least_seconds(&self, cost: Cost, cold: bool) -> (f64, Limit) {
        let arithmetic = cost.flop as f64 / self.flop_per_second();
        let traffic = cost.bytes as f64 / self.bytes_per_second(cost.bytes, cold);
        if arithmetic > traffic {
            (arithmetic, Limit::Arithmetic)
        } else {
            (traffic, Limit::Traffic)
        }
    }
}

/// Tries of each ceiling.
const TRIES: usize = 5;
/// A try is long enough if it takes so many seconds.
const LONG: f64 = 0.05;

/// The best of several tries of `work(n)`, which does its work n times: seconds for one. n grows until a try is long.
fn best<E>(
    mut work: impl FnMut(usize) -> std::result::Result<(), E>,
) -> std::result::Result<f64, E> {
    let mut once = |times: usize| {
        let start = Instant::now();
        work(times)?;
        Ok(start.elapsed().as_secs_f64())
    };
    let mut times = 1;
    let mut took = once(times)?;
    while took < LONG && times < 1 << 30 {
        times *= if took < LONG / 8.0 { 4 } else { 2 };
        took = once(times)?;
    }
    let mut least = took;
    // What takes long is not repeated as often.
    let tries = if took > 10.0 * LONG { 1 } else { TRIES };
    for _ in 0..tries {
        least = least.min(once(times)?);
    }
    Ok(least / times as f64)
}

/// Square matrix products of growing size, until one takes long: the rate of the last.
fn product(device: &Device) -> Result<Peak> {
    let mut side = 256usize;
    loop {
        // Not a constant, and no number grows.
        let values: Vec<f32> =
            (0..side * side).map(|index| (index * 7919 % 1009) as f32 / 1009.0 - 0.5).collect();
        let a = Tensor::from_slice(&values, [side, side], device)?;
        let run = |times: usize| {
            for _ in 0..times {
                a.matmul(&a)?;
            }
            device.synchronize()
        };
        run(1)?;
        let start = Instant::now();
        run(1)?;
        let took = start.elapsed().as_secs_f64();
        if took >= LONG || side >= 8192 {
            let seconds = best(run)?.min(took);
            let flop = 2.0 * (side as f64).powi(3);
            let how = format!("matmul {side}×{side}×{side}");
            return Ok(Peak { how, threads: 0, flop_per_second: flop / seconds });
        }
        side *= 2;
    }
}

/// Pointwise kernels over small and large buffers. A size that the device refuses ends the list.
fn copies(device: &Device) -> Result<Vec<Bandwidth>> {
    let mut lines: Vec<Bandwidth> = Vec::new();
    for elements in [1usize << 16, 1 << 19, 1 << 22, 1 << 25] {
        let made = Tensor::full(0.5, [elements], DType::F32, device);
        let x = match made {
            Ok(x) => x,
            Err(_) if !lines.is_empty() => break,
            Err(error) => return Err(error),
        };
        let run = |times: usize| {
            for _ in 0..times {
                x.mul_scalar(0.999)?;
            }
            device.synchronize()
        };
        if run(1).is_err() && !lines.is_empty() {
            break;
        }
        let seconds = best(run)?;
        let working_set = 2 * elements * DType::F32.bytes();
        let bytes_per_second = working_set as f64 / seconds;
        lines.push(Bandwidth { how: "mul_scalar", working_set, bytes_per_second });
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ceilings() -> Ceilings {
        let peak = |how: &str, threads, flop_per_second| Peak {
            how: how.into(),
            threads,
            flop_per_second,
        };
        let line =
            |working_set, bytes_per_second| Bandwidth { how: "sum", working_set, bytes_per_second };
        Ceilings {
            device: "cpu".into(),
            peaks: vec![peak("avx2", 1, 50e9), peak("avx2", 2, 100e9)],
            bandwidths: vec![line(1 << 10, 400e9), line(1 << 20, 100e9), line(1 << 28, 10e9)],
        }
    }

    #[test]
    fn a_work_is_held_to_the_cache_it_fits() {
        let ceilings = ceilings();
        assert_eq!(ceilings.bytes_per_second(1000, false), 400e9);
        assert_eq!(ceilings.bytes_per_second(1025, false), 100e9);
        assert_eq!(ceilings.bytes_per_second(1 << 30, false), 10e9);
        assert_eq!(ceilings.bytes_per_second(1000, true), 10e9);
        let cost = Cost { flop: 1_000_000, bytes: 1000 };
        assert_eq!(ceilings.least_seconds(cost, false), (1e-5, Limit::Arithmetic));
        assert_eq!(ceilings.least_seconds(Cost { flop: 1, ..cost }, false).1, Limit::Traffic);
    }

    #[test]
    fn a_processor_has_ceilings_that_make_sense() {
        let ceilings = Ceilings::measure(&belamy_cpu::cpu()).unwrap();
        // The slowest machine that could run this does a tenth of an operation a cycle; none does 10¹⁵ a second.
        for peak in &ceilings.peaks {
            assert!((1e8..1e15).contains(&peak.flop_per_second), "{peak:?}");
        }
        for line in &ceilings.bandwidths {
            assert!((1e8..1e14).contains(&line.bytes_per_second), "{line:?}");
        }
        let of = |how: &str, threads: usize| {
            let peaks =
                ceilings.peaks.iter().filter(|peak| peak.how == how && peak.threads == threads);
            peaks.map(|peak| peak.flop_per_second).next()
        };
        // Wider registers do more, and a machine that has AVX2 shows it: by at least a half, as other work may disturb.
        if let (Some(wide), Some(narrow)) = (of("avx2", 1), of("baseline", 1)) {
            assert!(wide > 1.5 * narrow, "avx2 {wide:e}, baseline {narrow:e}");
        }
    }
}

//! Bytes a second from each level of the memory: sums of one array, and the triad a = b + s c of McCalpin's STREAM over
//! three, each thread on its own arrays.
//!
//! Bytes count as STREAM counts them: each number read or written once, not the line that a store first reads.

use super::{Bandwidth, best};
use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Barrier;

/// Working sets of one thread: within the first, second and third cache of any processor of these years.
const CACHED: [usize; 3] = [24 << 10, 384 << 10, 4 << 20];
/// The working set of all threads together that no cache holds.
const MEMORY: usize = 384 << 20;

/// The bandwidths of growing working sets on all threads.
pub(super) fn bandwidths(threads: usize) -> Vec<Bandwidth> {
    let mut lines = Vec::new();
    for set in CACHED.into_iter().chain([MEMORY / threads]) {
        let elements = set / 4;
        let sums = rate(threads, set, |numbers, _| {
            black_box(sum(numbers));
        });
        let third = elements / 3;
        let triads = rate(threads, third * 12, |numbers, factor| {
            let (a, rest) = numbers.split_at_mut(third);
            let (b, c) = rest.split_at(third);
            triad(a, &b[..third], &c[..third], factor);
            black_box(&a[0]);
        });
        for (how, bytes_per_second) in [("sum", sums), ("triad", triads)] {
            lines.push(Bandwidth { how, working_set: set * threads, bytes_per_second });
        }
    }
    lines
}

/// Bytes a second of a work over each thread's own `bytes`, on all threads at once.
fn rate(threads: usize, bytes: usize, work: impl Fn(&mut [f32], f32) + Sync) -> f64 {
    let mut arrays: Vec<Vec<f32>> = (0..threads).map(|_| vec![0.5; bytes / 4 + 2]).collect();
    let Ok(seconds) = best(|times| {
        let start = Barrier::new(threads);
        std::thread::scope(|scope| {
            for array in &mut arrays {
                scope.spawn(|| {
                    start.wait();
                    for _ in 0..times {
                        work(array, black_box(0.5));
                    }
                });
            }
        });
        Ok::<(), Infallible>(())
    });
    (threads * bytes) as f64 / seconds
}

#[inline(always)]
fn sum_body(numbers: &[f32]) -> f32 {
    // As many sums as hide an addition's latency in registers of eight lanes.
    let mut sums = [0.0f32; 64];
    for chunk in numbers.as_chunks::<64>().0 {
        for (sum, number) in sums.iter_mut().zip(chunk) {
            *sum += number;
        }
    }
    sums.iter().sum()
}

#[inline(always)]
fn triad_body(a: &mut [f32], b: &[f32], c: &[f32], factor: f32) {
    for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
        *a = b + factor * c;
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn sum_avx2(numbers: &[f32]) -> f32 {
    sum_body(numbers)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn triad_avx2(a: &mut [f32], b: &[f32], c: &[f32], factor: f32) {
    triad_body(a, b, c, factor);
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

fn sum(numbers: &[f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if has_avx2() {
        // SAFETY: the processor has just said that it has AVX2 and FMA.
        return unsafe { sum_avx2(numbers) };
    }
    sum_body(numbers)
}

fn triad(a: &mut [f32], b: &[f32], c: &[f32], factor: f32) {
    #[cfg(target_arch = "x86_64")]
    if has_avx2() {
        // SAFETY: the processor has just said that it has AVX2 and FMA.
        return unsafe { triad_avx2(a, b, c, factor) };
    }
    triad_body(a, b, c, factor);
}

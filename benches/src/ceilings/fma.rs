//! The most multiply-adds a second: independent chains on registers, x ← x m + a, m and a known only at run time, so
//! that nothing can be computed beforehand.
//!
//! A multiply-add takes 4 or 5 cycles and two can start in each, so that 8 to 10 chains keep a core busy; there are 12
//! chains where there are 16 registers and 24 where there are 32.

use super::{Peak, best};
use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Barrier;

/// Rounds of all chains in one call.
const ROUNDS: usize = 4096;

/// A probe: runs its rounds from live numbers, and returns the sum of all chains and the operations made.
type Probe = fn(f32, f32) -> (f32, u64);

/// The peaks of every instruction set that this processor has, on one thread and on all.
pub(super) fn peaks(threads: usize) -> Vec<Peak> {
    let mut peaks = Vec::new();
    for (how, probe) in probes() {
        for threads in if threads > 1 { vec![1, threads] } else { vec![1] } {
            let flop_per_second = rate(probe, threads);
            peaks.push(Peak { how: how.to_owned(), threads, flop_per_second });
        }
    }
    peaks
}

/// Operations a second of a probe that runs on so many threads at once.
fn rate(probe: Probe, threads: usize) -> f64 {
    let run = |calls: usize| -> u64 {
        let mut flop = 0;
        for _ in 0..calls {
            let (sum, made) = probe(black_box(0.999_9), black_box(1e-4));
            black_box(sum);
            flop += made;
        }
        flop
    };
    let one = run(1) * threads as u64;
    let Ok(seconds) = best(|calls| {
        if threads == 1 {
            run(calls);
            return Ok::<(), Infallible>(());
        }
        let start = Barrier::new(threads);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    start.wait();
                    run(calls);
                });
            }
        });
        Ok(())
    });
    one as f64 / seconds
}

fn probes() -> Vec<(&'static str, Probe)> {
    let mut probes: Vec<(&'static str, Probe)> = vec![("baseline", baseline)];
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has just said that it has AVX2 and FMA.
            probes.push(("avx2", |m, a| unsafe { x86::avx2(m, a) }));
        }
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has just said that it has AVX-512F.
            probes.push(("avx512", |m, a| unsafe { x86::avx512(m, a) }));
        }
    }
    probes
}

/// A product and a sum of four lanes, as every processor of this kind has them.
fn baseline(m: f32, a: f32) -> (f32, u64) {
    const CHAINS: usize = 10;
    let mut x = [[0.5f32; 4]; CHAINS];
    for _ in 0..ROUNDS {
        for chain in &mut x {
            for lane in chain {
                *lane = *lane * m + a;
            }
        }
    }
    (x.iter().flatten().sum(), (2 * 4 * CHAINS * ROUNDS) as u64)
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::ROUNDS;
    use std::arch::x86_64::{
        __m256, __m512, _mm256_add_ps, _mm256_fmadd_ps, _mm256_set1_ps, _mm512_add_ps,
        _mm512_fmadd_ps, _mm512_reduce_add_ps, _mm512_set1_ps,
    };

    /// Twelve chains of eight lanes.
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn avx2(m: f32, a: f32) -> (f32, u64) {
        const CHAINS: usize = 12;
        let (m, a) = (_mm256_set1_ps(m), _mm256_set1_ps(a));
        let mut x: [__m256; CHAINS] = std::array::from_fn(|chain| _mm256_set1_ps(chain as f32));
        for _ in 0..ROUNDS {
            for chain in &mut x {
                *chain = _mm256_fmadd_ps(*chain, m, a);
            }
        }
        let sum = x.into_iter().fold(_mm256_set1_ps(0.0), |sum, chain| _mm256_add_ps(sum, chain));
        // SAFETY: eight lanes of f32 are eight f32.
        let lanes: [f32; 8] = unsafe { std::mem::transmute(sum) };
        (lanes.iter().sum(), (2 * 8 * CHAINS * ROUNDS) as u64)
    }

    /// Twenty-four chains of sixteen lanes.
    #[target_feature(enable = "avx512f")]
    pub(super) fn avx512(m: f32, a: f32) -> (f32, u64) {
        const CHAINS: usize = 24;
        let (m, a) = (_mm512_set1_ps(m), _mm512_set1_ps(a));
        let mut x: [__m512; CHAINS] = std::array::from_fn(|chain| _mm512_set1_ps(chain as f32));
        for _ in 0..ROUNDS {
            for chain in &mut x {
                *chain = _mm512_fmadd_ps(*chain, m, a);
            }
        }
        let sum = x.into_iter().fold(_mm512_set1_ps(0.0), |sum, chain| _mm512_add_ps(sum, chain));
        (_mm512_reduce_add_ps(sum), (2 * 16 * CHAINS * ROUNDS) as u64)
    }
}

//! `count_non_finite`: see `belamy_tensor::ops::finite` for the mathematics.

#[cfg(test)]
mod tests;

use super::{Run, SERIAL_ELEMENTS};
use belamy_tensor::DType;
use rayon::prelude::*;

/// Elements per task.
const CHUNK: usize = 4 * SERIAL_ELEMENTS;

pub(super) fn count_non_finite(mut run: Run<'_>) {
    let count = |input: &&crate::storage::Storage| match input.dtype() {
        DType::F32 => count_chunks(input.values(), |x: f32| !x.is_finite()),
        DType::F64 => count_chunks(input.values(), |x: f64| !x.is_finite()),
        DType::U32 => 0,
    };
    let total: u64 = run.inputs.par_iter().map(count).sum();
    run.output::<u32>()[0] = u32::try_from(total).unwrap_or(u32::MAX);
}

fn count_chunks<E: Copy + Sync>(x: &[E], wanted: impl Fn(E) -> bool + Sync) -> u64 {
    // A chunk's count fits 32 bits, which vectorise.
    let count = |chunk: &[E]| chunk.iter().map(|&x| u32::from(wanted(x))).sum::<u32>();
    x.par_chunks(CHUNK).map(|chunk| u64::from(count(chunk))).sum()
}

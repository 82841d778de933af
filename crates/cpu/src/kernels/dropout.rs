//! `dropout`: see `belamy_tensor::ops::dropout` for the mathematics.
//!
//! Chunks of whole Philox blocks run in parallel.

#[cfg(test)]
mod tests;

use super::random::{fill_runs, threshold};
use super::{Real, Run, SERIAL_ELEMENTS, for_real};
use crate::vectors::vectorised;
use belamy_tensor::ops::random::DrawParams;
use std::ops::Mul;

/// Numbers that are scaled.
trait Scaled: Real + Mul<Output = Self> {}

impl<E: Real + Mul<Output = E>> Scaled for E {}

pub(super) fn dropout(run: Run<'_>) {
    for_real!(run, dropout_of);
}

vectorised! {
    /// y = x · scale, or 0 where the upper 24 bits of a word are below `dropped`.
    fn drop_some<E: Scaled>(x: &[E], words: &[u32], dropped: u32, scale: E, y: &mut [E]) {
        let zero = E::from_f64(0.0);
        for ((y, &x), word) in y.iter_mut().zip(x).zip(words) {
            // Scaled before it is chosen: a choice of two numbers needs no branch, which no processor could foresee.
            let kept = x * scale;
            *y = if word >> 8 < dropped { zero } else { kept };
        }
    }
}

fn dropout_of<E: Scaled>(mut run: Run<'_>) {
    let params = DrawParams::decode(&run.params);
    let (x, counter) = (run.input::<E>(0), run.input::<u32>(1));
    let dropped = threshold(params.a);
    let scale = E::from_f64(1.0 / (1.0 - params.a));
    let fill = |at: usize, words: &[u32], y: &mut [E]| {
        drop_some(&x[at..][..y.len()], words, dropped, scale, y);
    };
    fill_runs(run.output::<E>(), SERIAL_ELEMENTS, &params, counter, &fill);
}

//! `dropout`: see `belamy_tensor::ops::dropout` for the mathematics.
//!
//! Chunks of whole Philox blocks run in parallel.

#[cfg(test)]
mod tests;

use super::random::{fill_runs, threshold};
use super::{Real, Run, for_real};
use belamy_tensor::ops::random::DrawParams;
use std::ops::Mul;

pub(super) fn dropout(run: Run<'_>) {
    for_real!(run, dropout_of);
}

fn dropout_of<E: Real + Mul<Output = E>>(mut run: Run<'_>) {
    let params = DrawParams::decode(&run.params);
    let (x, counter) = (run.input::<E>(0), run.input::<u32>(1));
    let dropped = threshold(params.a);
    let (zero, scale) = (E::from_f64(0.0), E::from_f64(1.0 / (1.0 - params.a)));
    fill_runs(run.output::<E>(), &params, counter, &|at, words: &[u32], y: &mut [E]| {
        for ((y, &x), word) in y.iter_mut().zip(&x[at..]).zip(words) {
            // Scaled before it is chosen: a choice of two numbers needs no branch, which no processor could foresee.
            let kept = x * scale;
            *y = if word >> 8 < dropped { zero } else { kept };
        }
    });
}

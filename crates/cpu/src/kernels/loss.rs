//! `bce_with_logits`: see `belamy_tensor::ops::loss` for the mathematics.
//!
//! One invocation owns one element, computed in f64 and rounded.

#[cfg(test)]
mod tests;

use super::{Real, Run, fill, for_real};

pub(super) fn bce_with_logits(run: Run<'_>) {
    for_real!(run, bce_with_logits_of);
}

fn bce_with_logits_of<E: Real>(mut run: Run<'_>) {
    let (logits, targets) = (run.input::<E>(0), run.input::<E>(1));
    fill(run.output::<E>(), |index| {
        let (x, t) = (logits[index].to_f64(), targets[index].to_f64());
        // `max` would drop a NaN.
        let positive = if x < 0.0 { 0.0 } else { x };
        E::from_f64(positive - x * t + (-x.abs()).exp().ln_1p())
    });
}

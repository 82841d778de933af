//! `bce_with_logits`, `bce_with_logits_mean`: see `belamy_tensor::ops::loss` for the mathematics.
//!
//! One invocation owns one element, computed in f64 and rounded; the mean is one thread's, summed in f64 in order.

#[cfg(test)]
mod tests;

use super::{Real, Run, fill, for_real};
use belamy_tensor::ops::loss::MeanLossParams;

pub(super) fn bce_with_logits(run: Run<'_>) {
    for_real!(run, bce_with_logits_of);
}

fn bce_with_logits_of<E: Real>(mut run: Run<'_>) {
    let (logits, targets) = (run.input::<E>(0), run.input::<E>(1));
    fill(run.output::<E>(), |index| {
        E::from_f64(cross_entropy(logits[index].to_f64(), targets[index].to_f64()))
    });
}

fn cross_entropy(x: f64, t: f64) -> f64 {
    // `max` would drop a NaN.
    let positive = if x < 0.0 { 0.0 } else { x };
    positive - x * t + (-x.abs()).exp().ln_1p()
}

/// The logistic function, by the sign of its argument so that nothing overflows.
fn sigmoid(x: f64) -> f64 {
    let e = (-x.abs()).exp();
    if x < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) }
}

pub(super) fn bce_with_logits_mean(run: Run<'_>) {
    for_real!(run, bce_with_logits_mean_of);
}

fn bce_with_logits_mean_of<E: Real>(mut run: Run<'_>) {
    let scale = MeanLossParams::decode(&run.params).scale;
    let (logits, targets) = (run.input::<E>(0), run.input::<E>(1));
    let pairs = || logits.iter().zip(targets).map(|(x, t)| (x.to_f64(), t.to_f64()));
    let each = scale / logits.len() as f64;
    run.output::<E>()[0] =
        E::from_f64(each * pairs().map(|(x, t)| cross_entropy(x, t)).sum::<f64>());
    let slopes = run.outputs[1].values_mut::<E>();
    for (slope, (x, t)) in slopes.iter_mut().zip(pairs()) {
        *slope = E::from_f64(each * (sigmoid(x) - t));
    }
}

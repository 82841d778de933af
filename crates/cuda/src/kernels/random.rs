//! `uniform`, `normal`, `bernoulli`, `integers`: one thread owns the four elements of one Philox block;
//! `shuffled_indices`: one thread owns one element.

use super::{Result, Run, THREADS, arguments};
use crate::driver::Argument;
use belamy_tensor::ops::random::DrawParams;

/// Queues a draw, a thread for each Philox block, with what is known of it beyond its parameters.
pub(super) fn draw(run: &Run<'_>, more: &[Argument]) -> Result<()> {
    let per_sample = DrawParams::decode(&run.params).per_sample as usize;
    let len = run.outputs[0].elements;
    let blocks = len / per_sample.max(1) * per_sample.div_ceil(4);
    let mut all = vec![Argument::U32(len as u32)];
    all.extend_from_slice(more);
    all.extend(run.inputs.iter().chain(&run.outputs).map(|&operand| Argument::from(operand)));
    run.launch_items(blocks, &all)
}

/// The whole number below which a word's upper 24 bits stand for a uniform number below `probability`. Found in f64:
/// f32 would round the probability.
pub(super) fn threshold(probability: f64) -> u32 {
    (probability * f64::from(1 << 24)).ceil() as u32
}

pub(super) fn uniform(run: &Run<'_>) -> Result<()> {
    let p = DrawParams::decode(&run.params);
    draw(run, arguments![(p.b - p.a) as f32])
}

pub(super) fn normal(run: &Run<'_>) -> Result<()> {
    draw(run, &[])
}

pub(super) fn bernoulli(run: &Run<'_>) -> Result<()> {
    draw(run, arguments![threshold(DrawParams::decode(&run.params).a)])
}

pub(super) fn integers(run: &Run<'_>) -> Result<()> {
    draw(run, &[])
}

pub(super) fn shuffled_indices(run: &Run<'_>) -> Result<()> {
    let len = run.outputs[0].elements;
    let blocks = len.div_ceil(THREADS as usize);
    let arguments = arguments![len as u32, run.inputs[0], run.outputs[0]];
    run.launch("shuffled_indices", blocks, THREADS, arguments)
}

pub(super) fn advance_counter(run: &Run<'_>) -> Result<()> {
    run.launch_plain(1)
}

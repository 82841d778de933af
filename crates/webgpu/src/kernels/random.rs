//! `uniform`, `normal`, `bernoulli`, `integers`: an invocation for each Philox block of four elements;
//! `shuffled_indices`, `advance_counter`: one for each element.

use super::{GROUP, Pass, Run};
use belamy_tensor::Result;
use belamy_tensor::ops::random::DrawParams;

pub(super) fn uniform(run: &mut Run<'_>) -> Result<()> {
    let params = DrawParams::decode(&run.params);
    // In f64 as the CPU does: the difference of two rounded bounds would be another number.
    let range = (params.b - params.a) as f32;
    // WGSL has an address space of the kernel's name.
    each_block(run, "uniform_", range.to_bits(), 0)
}

pub(super) fn normal(run: &mut Run<'_>) -> Result<()> {
    each_block(run, "normal", 0, 0)
}

pub(super) fn bernoulli(run: &mut Run<'_>) -> Result<()> {
    let below = threshold(DrawParams::decode(&run.params).a);
    each_block(run, "bernoulli", below, 0)
}

pub(super) fn integers(run: &mut Run<'_>) -> Result<()> {
    each_block(run, "integers", 0, 0)
}

pub(super) fn shuffled_indices(run: &mut Run<'_>) -> Result<()> {
    run.each_element()
}

pub(super) fn advance_counter(run: &mut Run<'_>) -> Result<()> {
    run.each_element()
}

/// The whole number below which a word's upper 24 bits stand for a uniform number below `probability`: exactly the
/// decisions of f64, without leaving the integers.
pub(super) fn threshold(probability: f64) -> u32 {
    (probability * f64::from(1 << 24)).ceil() as u32
}

/// Runs an entry point with an invocation for each block of each sample, and two words of its own.
pub(super) fn each_block(
    run: &mut Run<'_>,
    entry: &'static str,
    word_1: u32,
    word_2: u32,
) -> Result<()> {
    let per_sample = DrawParams::decode(&run.params).per_sample;
    if per_sample == 0 {
        return Ok(());
    }
    let (inputs, outputs) = (run.inputs, run.outputs);
    let blocks = per_sample.div_ceil(4);
    let elements = run.output_elements[0] / per_sample * blocks;
    let groups = elements.div_ceil(GROUP);
    run.pass(&Pass { entry, inputs, outputs, elements, words: [blocks, word_1, word_2], groups })
}

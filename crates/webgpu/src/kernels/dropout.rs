//! `dropout`: an invocation for each Philox block of four elements.

use super::Run;
use super::random::{each_block, threshold};
use belamy_tensor::Result;
use belamy_tensor::ops::random::DrawParams;

pub(super) fn dropout(run: &mut Run<'_>) -> Result<()> {
    let rate = DrawParams::decode(&run.params).a;
    // In f64 as the CPU does, and rounded once.
    let scale = (1.0 / (1.0 - rate)) as f32;
    each_block(run, "dropout", threshold(rate), scale.to_bits())
}

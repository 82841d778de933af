//! `dropout`: one thread owns the four elements of one Philox block.

use super::random::{draw, threshold};
use super::{Result, Run, arguments};
use belamy_tensor::ops::random::DrawParams;

pub(super) fn dropout(run: &Run<'_>) -> Result<()> {
    let rate = DrawParams::decode(&run.params).a;
    draw(run, arguments![threshold(rate), (1.0 / (1.0 - rate)) as f32])
}

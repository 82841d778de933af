//! `pad`, `crop`, `reflect_pad`, `reflect_pad_fold`: one thread owns one output element.

use super::{Result, Run, arguments};
use belamy_tensor::ops::pad::PadParams;

/// Borders of any axes: axes to the left that have one element are not walked.
fn bordered(run: &Run<'_>) -> Result<()> {
    let large = PadParams::decode(&run.params).large;
    let first = large.iter().position(|&extent| extent != 1).unwrap_or(5) as u32;
    let len = run.outputs[0].elements;
    run.launch_items(len, arguments![len as u32, first, run.inputs[0], run.outputs[0]])
}

pub(super) fn pad(run: &Run<'_>) -> Result<()> {
    bordered(run)
}

pub(super) fn crop(run: &Run<'_>) -> Result<()> {
    bordered(run)
}

pub(super) fn reflect_pad(run: &Run<'_>) -> Result<()> {
    run.launch_plain(run.outputs[0].elements)
}

pub(super) fn reflect_pad_fold(run: &Run<'_>) -> Result<()> {
    run.launch_plain(run.outputs[0].elements)
}

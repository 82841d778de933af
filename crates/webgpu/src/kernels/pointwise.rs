//! `fill`, `unary`, `binary`, `select`: an invocation for each output element.

use super::Run;
use super::axes::merge;
use belamy_tensor::Result;
use belamy_tensor::ops::pointwise::BroadcastParams;

pub(super) fn fill(run: &mut Run<'_>) -> Result<()> {
    run.each_element()
}

pub(super) fn unary(run: &mut Run<'_>) -> Result<()> {
    run.each_element()
}

pub(super) fn binary(run: &mut Run<'_>) -> Result<()> {
    merged(run);
    run.each_element()
}

pub(super) fn select(run: &mut Run<'_>) -> Result<()> {
    merged(run);
    // WGSL has a function of that name.
    run.each_element_by("select_")
}

/// Merges the axes that all operands walk alike: fewer divisions for each element.
fn merged(run: &mut Run<'_>) {
    let mut params = BroadcastParams::decode(&run.params);
    let BroadcastParams { dims, strides_0, strides_1, strides_2, .. } = &mut params;
    merge(dims, &mut [strides_0, strides_1, strides_2]);
    run.params = params.encode();
}

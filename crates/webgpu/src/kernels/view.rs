//! `broadcast`, `permute`: an invocation for each output element.

use super::Run;
use super::axes::merge;
use belamy_tensor::Result;
use belamy_tensor::ops::view::StridedParams;

pub(super) fn broadcast(run: &mut Run<'_>) -> Result<()> {
    merged(run);
    run.each_element()
}

pub(super) fn permute(run: &mut Run<'_>) -> Result<()> {
    merged(run);
    run.each_element()
}

fn merged(run: &mut Run<'_>) {
    let mut params = StridedParams::decode(&run.params);
    merge(&mut params.dims, &mut [&mut params.strides]);
    run.params = params.encode();
}

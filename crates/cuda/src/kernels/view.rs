//! `broadcast`, `permute`: a thread for four neighbouring elements of the output, or, where the input's contiguous axis is not
//! the output's, a block for a square of the two, transposed in shared memory.

use super::pointwise::merge_axes;
use super::{Result, Run, THREADS, VECTOR, arguments};
use belamy_tensor::ops::view::StridedParams;

/// Side of the squares.
const SQUARE: usize = 32;

pub(super) fn broadcast(run: &Run<'_>) -> Result<()> {
    strided(run, StridedParams::decode(&run.params))
}

pub(super) fn permute(run: &Run<'_>) -> Result<()> {
    let mut params = StridedParams::decode(&run.params);
    let StridedParams { dims, strides } = &mut params;
    merge_axes(dims, [strides]);
    let contiguous = (0..5).rev().find(|&axis| strides[axis] == 1 && dims[axis] > 1);
    match contiguous {
        Some(axis) if dims[axis] >= 8 && dims[5] >= 8 => transposed(run, params, axis),
        _ => strided(run, params),
    }
}

/// The same call with other parameters.
fn with<'a>(run: &Run<'a>, params: StridedParams) -> Run<'a> {
    Run {
        driver: run.driver,
        precision: run.precision,
        warpgroups: run.warpgroups,
        kernel: run.kernel,
        params: params.encode(),
        inputs: run.inputs.clone(),
        outputs: run.outputs.clone(),
    }
}

fn strided(run: &Run<'_>, mut params: StridedParams) -> Result<()> {
    let len = run.outputs[0].elements as u32;
    let first = merge_axes(&mut params.dims, [&mut params.strides]);
    let arguments = arguments![len, first, run.inputs[0], run.outputs[0]];
    with(run, params).launch_items(len.div_ceil(VECTOR) as usize, arguments)
}

fn transposed(run: &Run<'_>, params: StridedParams, axis: usize) -> Result<()> {
    let extent = |axis: usize| params.dims[axis] as usize;
    let squares = extent(axis).div_ceil(SQUARE) * extent(5).div_ceil(SQUARE);
    let others: usize = (0..5).filter(|&other| other != axis).map(extent).product();
    let arguments = arguments![axis as u32, run.inputs[0], run.outputs[0]];
    with(run, params).launch("permute_transposed", squares * others, THREADS, arguments)
}

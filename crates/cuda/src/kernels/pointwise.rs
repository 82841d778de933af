//! `fill`, `unary`, `binary`, `select`: one thread owns four neighbouring elements of the output.

use super::{Result, Run, VECTOR, arguments};
use belamy_tensor::ops::pointwise::{BroadcastParams, UnaryParams};

pub(super) fn fill(run: &Run<'_>) -> Result<()> {
    run.launch_plain(run.outputs[0].elements.div_ceil(VECTOR as usize))
}

pub(super) fn unary(run: &Run<'_>) -> Result<()> {
    let len = UnaryParams::decode(&run.params).len;
    run.launch_plain(len.div_ceil(VECTOR) as usize)
}

pub(super) fn binary(run: &Run<'_>) -> Result<()> {
    let params = BroadcastParams::decode(&run.params);
    if params.flat == 1 {
        let len = run.outputs[0].elements as u32;
        let blocks = len.div_ceil(VECTOR).div_ceil(super::THREADS) as usize;
        let arguments = arguments![len, run.inputs[0], run.inputs[1], run.outputs[0]];
        return run.launch("binary_flat", blocks, super::THREADS, arguments);
    }
    stretched(run)
}

pub(super) fn select(run: &Run<'_>) -> Result<()> {
    stretched(run)
}

/// Runs a kernel over coordinates, of as few axes as the strides allow.
fn stretched(run: &Run<'_>) -> Result<()> {
    let mut params = BroadcastParams::decode(&run.params);
    let len = run.outputs[0].elements as u32;
    let strides = [&mut params.strides_0, &mut params.strides_1, &mut params.strides_2];
    let first = merge_axes(&mut params.dims, strides);
    let merged = Run {
        driver: run.driver,
        precision: run.precision,
        warpgroups: run.warpgroups,
        kernel: run.kernel,
        params: params.encode(),
        inputs: run.inputs.clone(),
        outputs: run.outputs.clone(),
    };
    let mut all = arguments![len, first].to_vec();
    all.extend(run.inputs.iter().chain(&run.outputs).map(|&operand| operand.into()));
    merged.launch_items(len.div_ceil(VECTOR) as usize, &all)
}

/// Merges neighbouring axes over which every operand walks evenly, and moves what is left to the right. Returns the
/// first axis that is left. Fewer axes are fewer divisions for each element.
pub(super) fn merge_axes<const N: usize>(
    dims: &mut [u32; 6],
    mut strides: [&mut [u32; 6]; N],
) -> u32 {
    let mut last = 6; // the leftmost axis that is kept; 6 when none is yet
    for axis in (0..6).rev() {
        let extent = dims[axis];
        if extent == 1 {
            continue;
        }
        let even = last < 6
            && strides.iter().all(|stride| stride[axis] == stride[last].wrapping_mul(dims[last]));
        if even {
            dims[last] *= extent;
        } else {
            last -= 1;
            dims[last] = extent;
            strides.iter_mut().for_each(|stride| stride[last] = stride[axis]);
        }
    }
    dims[..last].fill(1);
    strides.iter_mut().for_each(|stride| stride[..last].fill(0));
    last.min(5) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_axes_become_one() {
        let mut dims = [1, 2, 3, 1, 4, 5];
        let (mut flat, mut bias) = ([0, 60, 20, 20, 5, 1], [0, 0, 0, 0, 0, 1]);
        assert_eq!(merge_axes(&mut dims, [&mut flat, &mut bias]), 4);
        assert_eq!(dims, [1, 1, 1, 1, 24, 5]);
        assert_eq!((flat[4], flat[5], bias[4], bias[5]), (5, 1, 0, 1));
        let (mut one, mut step) = ([1; 6], [0; 6]);
        assert_eq!(merge_axes(&mut one, [&mut step]), 5);
    }
}

//! Looking at a tensor differently: reshape, permute, stretch.
//!
//! ```text
//! reshape    y = x, the same elements in the same order under other extents; no memory moves
//! permute    y[i_0, ..] = x[i_axes⁻¹]: axis k of y is axis axes[k] of x
//! broadcast  y[i_0, ..] = x with extents of 1 repeated
//! ```
//!
//! All linear: reshape ↔ reshape, permute ↔ inverse permute, broadcast ↔ sum. One invocation owns one output element.

use crate::autograd::Backward;
use crate::device::Meta;
use crate::error::{Error, Result};
use crate::kernel::KernelId;
use crate::op::{self, Launch, Op};
use crate::ops::pointwise::stretched_strides;
use crate::{MAX_RANK, Shape, Tensor};

crate::kernel_params! {
    /// Parameters of `broadcast` and `permute`: the output's extents and, for each of its axes, how far to step in
    /// the input; right-aligned in six axes.
    pub struct StridedParams { integers { dims: [u32; 6], strides: [u32; 6] } scalars {} }
}

#[derive(Debug, Clone, Copy)]
struct Reshape {
    shape: Shape,
}

impl Op for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        if inputs[0].shape.elements() != self.shape.elements() {
            let rule = format!("cannot become {}: the number of elements differs", self.shape);
            return Err(Error::shape("reshape", &[inputs[0].shape], rule));
        }
        Ok(Meta { shape: self.shape, dtype: inputs[0].dtype })
    }

    fn launch(&self, _inputs: &[Meta], _output: Meta) -> Launch {
        Launch::View
    }

    fn reads_input(&self, _index: usize, _tracked: &[bool]) -> bool {
        false
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(cx.grad.reshape(cx.inputs[0].shape())?)])
    }

    fn flop(&self, _inputs: &[Meta], _output: Meta) -> u64 {
        0
    }
}

#[derive(Debug, Clone, Copy)]
struct Permute {
    axes: [usize; MAX_RANK],
    rank: usize,
}

impl Op for Permute {
    fn name(&self) -> &'static str {
        "permute"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let shape = inputs[0].shape;
        let axes = &self.axes[..self.rank];
        let mut sorted = axes.to_vec();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..shape.rank()) {
            let rule = format!("axes {axes:?} must name each axis once");
            return Err(Error::shape("permute", &[shape], rule));
        }
        let dims: Vec<usize> = axes.iter().map(|&axis| shape.dims()[axis]).collect();
        Ok(Meta { shape: Shape::new(&dims)?, dtype: inputs[0].dtype })
    }

    fn launch(&self, inputs: &[Meta], output: Meta) -> Launch {
        let from = inputs[0].shape.strides();
        let mut strides = [0; 6];
        for axis in 0..self.rank {
            strides[MAX_RANK - self.rank + axis] = from[self.axes[axis]] as u32;
        }
        let dims = output.shape.padded().map(|dim| dim as u32);
        Launch::Kernel(KernelId::permute, StridedParams { dims, strides }.encode())
    }

    fn reads_input(&self, _index: usize, _tracked: &[bool]) -> bool {
        false
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let mut inverse = vec![0; self.rank];
        (0..self.rank).for_each(|axis| inverse[self.axes[axis]] = axis);
        Ok(vec![Some(cx.grad.permute(&inverse)?)])
    }

    fn flop(&self, _inputs: &[Meta], _output: Meta) -> u64 {
        0
    }
}

#[derive(Debug, Clone, Copy)]
struct Broadcast {
    shape: Shape,
}

impl Op for Broadcast {
    fn name(&self) -> &'static str {
        "broadcast"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        if inputs[0].shape.broadcast(&self.shape) != Some(self.shape) {
            let rule = format!("cannot be stretched to {}", self.shape);
            return Err(Error::shape("broadcast", &[inputs[0].shape], rule));
        }
        Ok(Meta { shape: self.shape, dtype: inputs[0].dtype })
    }

    fn launch(&self, inputs: &[Meta], output: Meta) -> Launch {
        let strides = stretched_strides(inputs[0].shape, output.shape);
        let dims = output.shape.padded().map(|dim| dim as u32);
        Launch::Kernel(KernelId::broadcast, StridedParams { dims, strides }.encode())
    }

    fn reads_input(&self, _index: usize, _tracked: &[bool]) -> bool {
        false
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        // The walker sums over the stretched axes.
        Ok(vec![Some(cx.grad.clone())])
    }

    fn flop(&self, _inputs: &[Meta], _output: Meta) -> u64 {
        0
    }
}

impl Tensor {
    /// The same elements in the same order under other extents. Fails when their number differs.
    #[track_caller]
    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Tensor> {
        op::apply(Reshape { shape: shape.into() }, &[self])
    }

    /// Axis `k` of the result is axis `axes[k]` of this tensor. Fails unless each axis is named once.
    #[track_caller]
    pub fn permute(&self, axes: &[usize]) -> Result<Tensor> {
        let rank = axes.len();
        if rank > MAX_RANK || rank != self.shape().rank() {
            let rule = format!("axes {axes:?} must name each axis once");
            return Err(Error::shape("permute", &[self.shape()], rule));
        }
        let mut fixed = [0; MAX_RANK];
        fixed[..rank].copy_from_slice(axes);
        op::apply(Permute { axes: fixed, rank }, &[self])
    }

    /// Repeats extents of 1 (and adds axes at the left) until the shape is `shape`. Fails where that cannot be.
    #[track_caller]
    pub fn broadcast_to(&self, shape: impl Into<Shape>) -> Result<Tensor> {
        let shape = shape.into();
        if shape == self.shape() {
            return Ok(self.clone());
        }
        op::apply(Broadcast { shape }, &[self])
    }
}

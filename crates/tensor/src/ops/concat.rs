//! Joining tensors along an axis.
//!
//! ```text
//! concat   y[.., i, ..] = a[.., i, ..] where i < A, else b[.., i − A, ..]      a: [.., A, ..]    b: [.., B, ..]
//! ```
//!
//! Seen as rows (the axes before the joined one flattened) it sets each row of `b` after the row of `a`. More than two
//! tensors are joined in halves: any number of them from one kernel with two inputs, in ⌈log₂ count⌉ passes. Linear;
//! the adjoint of joining is cutting apart ([`Tensor::crop`]). Numbers of any type. One invocation owns one output
//! element. Cost: one pass over each operand.

use crate::autograd::Backward;
use crate::device::Meta;
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::KernelId;
use crate::op::{self, Launch, Op};
use crate::{Shape, Tensor};

crate::kernel_params! {
    /// Parameters of `concat`: how many rows, and the length of a row of either input.
    pub struct ConcatParams { integers { rows: u32, first: u32, second: u32 } scalars {} }
}

#[derive(Debug, Clone, Copy)]
struct Concat {
    axis: usize,
}

impl Op for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let (a, b) = (inputs[0].shape, inputs[1].shape);
        if inputs[0].dtype != inputs[1].dtype {
            return Err(Error::new(ErrorKind::DType {
                op: "concat",
                expected: "operands of one type",
                found: inputs.iter().map(|input| input.dtype).collect(),
            }));
        }
        if self.axis >= a.rank() || a.rank() != b.rank() {
            let rule = format!("wants tensors of one rank with an axis {}", self.axis);
            return Err(Error::shape("concat", &[a, b], rule));
        }
        let joined = a.dims()[self.axis] + b.dims()[self.axis];
        if a.with(self.axis, joined) != b.with(self.axis, joined) {
            let rule = format!("extents may differ along axis {} only", self.axis);
            return Err(Error::shape("concat", &[a, b], rule));
        }
        Ok(Meta { shape: Shape::new(a.with(self.axis, joined).dims())?, dtype: inputs[0].dtype })
    }

    fn launch(&self, inputs: &[Meta], _output: Meta) -> Launch {
        let row = |input: &Meta| input.shape.dims()[self.axis..].iter().product::<usize>() as u32;
        let rows = inputs[0].shape.dims()[..self.axis].iter().product::<usize>() as u32;
        let params = ConcatParams { rows, first: row(&inputs[0]), second: row(&inputs[1]) };
        Launch::Kernel(KernelId::concat, params.encode())
    }

    fn reads_input(&self, _index: usize, _tracked: &[bool]) -> bool {
        false
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let lens = [cx.inputs[0].dims()[self.axis], cx.inputs[1].dims()[self.axis]];
        let part = |wanted: bool, start: usize, len: usize| {
            wanted.then(|| cx.grad.slice(self.axis, start, len)).transpose()
        };
        Ok(vec![part(cx.needs[0], 0, lens[0])?, part(cx.needs[1], lens[0], lens[1])?])
    }

    fn flop(&self, _inputs: &[Meta], _output: Meta) -> u64 {
        0
    }
}

/// The tensors one after another along `axis`: `[.., A, ..]`, `[.., B, ..]`, ... to `[.., A + B + .., ..]`.
///
/// Any number of them, of one type and rank. Fails when there are none, and where extents differ along another axis.
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::{Tensor, ops::concat::concat};
/// let a = Tensor::from_slice(&[1.0f32, 2.0], [2, 1], &device)?;
/// let b = Tensor::from_slice(&[3.0f32, 4.0, 5.0, 6.0], [2, 2], &device)?;
/// assert_eq!(concat(&[&a, &b], 1)?.to_vec::<f32>()?, [1.0, 3.0, 4.0, 2.0, 5.0, 6.0]);
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
#[track_caller]
pub fn concat(tensors: &[&Tensor], axis: usize) -> Result<Tensor> {
    match tensors {
        [] => Err(Error::argument("concat", "there is nothing to join: give at least one tensor")),
        [only] if axis >= only.shape().rank() => {
            Err(Error::shape("concat", &[only.shape()], format!("has no axis {axis}")))
        }
        [only] => Ok((*only).clone()),
        [a, b] => op::apply(Concat { axis }, &[a, b]),
        many => {
            let (first, second) = many.split_at(many.len().div_ceil(2));
            concat(&[&concat(first, axis)?, &concat(second, axis)?], axis)
        }
    }
}

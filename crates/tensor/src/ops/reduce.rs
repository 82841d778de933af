//! Reductions over any axes, and picking one element of each row.
//!
//! ```text
//! sum        y[kept] = Σ_reduced x              linear; its partner is broadcast
//! max        y[kept] = max_reduced x            the first of equal elements has the derivative
//! max_rows   y[r] = max_c x[r, c], index[r] = c of the first of equals; the first NaN wins over everything
//! pick       y[r] = x[r, index[r]]              linear; its partner is place
//! place      y[r, c] = (c == index[r]) ? x[r] : 0
//! ```
//!
//! One invocation owns one output element (for `max_rows`: one row's value and its index). Cost: one operation for
//! each input element. Sums accumulate in f64 on the oracle and in a fixed tree everywhere.

use crate::autograd::Backward;
use crate::device::Meta;
use crate::error::{Error, Result};
use crate::kernel::KernelId;
use crate::op::{self, Launch, Op};
use crate::{DType, MAX_RANK, Shape, Tensor};

crate::kernel_params! {
    /// Parameters of `sum`: the input's extents, right-aligned in six axes, and for each axis 1 if it is summed.
    pub struct SumParams { integers { dims: [u32; 6], reduced: [u32; 6] } scalars {} }
}

crate::kernel_params! {
    /// Parameters of `max_rows`, `pick` and `place`, over `[rows, columns]`.
    pub struct RowsParams { integers { rows: u32, columns: u32 } scalars {} }
}

/// `y = Σ x` over the axes whose bit is set, which keep extent 1.
#[derive(Debug, Clone, Copy)]
struct Sum {
    axes: u32,
}

impl Sum {
    fn reduces(&self, axis: usize) -> bool {
        self.axes >> axis & 1 == 1
    }
}

impl Op for Sum {
    fn name(&self) -> &'static str {
        "sum"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let dtype = op::same_float("sum", inputs)?;
        let mut shape = inputs[0].shape;
        for axis in 0..shape.rank() {
            if self.reduces(axis) {
                shape = shape.with(axis, 1);
            }
        }
        Ok(Meta { shape, dtype })
    }

    fn launch(&self, inputs: &[Meta], _output: Meta) -> Launch {
        let shape = inputs[0].shape;
        let mut reduced = [0; 6];
        for axis in 0..shape.rank() {
            reduced[MAX_RANK - shape.rank() + axis] = u32::from(self.reduces(axis));
        }
        let dims = shape.padded().map(|dim| dim as u32);
        Launch::Kernel(KernelId::sum, SumParams { dims, reduced }.encode())
    }

    fn reads_input(&self, _index: usize, _tracked: &[bool]) -> bool {
        false
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(cx.grad.broadcast_to(cx.inputs[0].shape())?)])
    }

    fn flop(&self, inputs: &[Meta], _output: Meta) -> u64 {
        inputs[0].shape.elements() as u64
    }
}

/// `y[r] = max_c x[r, c]`, saving the index of the first largest.
#[derive(Debug, Clone, Copy)]
struct MaxRows;

impl Op for MaxRows {
    fn name(&self) -> &'static str {
        "max"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let dtype = op::same_float("max", inputs)?;
        let shape = inputs[0].shape;
        match *shape.dims() {
            [rows, columns] if columns > 0 => Ok(Meta::new([rows], dtype)),
            _ => Err(Error::shape("max", &[shape], "an empty row has no maximum")),
        }
    }

    fn launch(&self, inputs: &[Meta], _output: Meta) -> Launch {
        Launch::Kernel(KernelId::max_rows, rows_params(inputs[0].shape).encode())
    }

    fn saved(&self, _inputs: &[Meta], output: Meta) -> Vec<Meta> {
        vec![Meta { shape: output.shape, dtype: DType::U32 }]
    }

    fn reads_input(&self, _index: usize, _tracked: &[bool]) -> bool {
        false
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let columns = cx.inputs[0].dims()[1];
        Ok(vec![Some(place(cx.grad, &cx.saved[0], columns)?)])
    }

    fn flop(&self, inputs: &[Meta], _output: Meta) -> u64 {
        inputs[0].shape.elements() as u64
    }
}

fn rows_params(shape: Shape) -> RowsParams {
    RowsParams { rows: shape.dims()[0] as u32, columns: shape.dims()[1] as u32 }
}

/// `y[r] = x[r, index[r]]`.
#[derive(Debug, Clone, Copy)]
struct Pick;

impl Op for Pick {
    fn name(&self) -> &'static str {
        "pick"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let dtype = op::same_float("pick", &inputs[..1])?;
        op::integers("pick", inputs[1])?;
        match (inputs[0].shape.dims(), inputs[1].shape.dims()) {
            (&[rows, _], &[indices]) if rows == indices => Ok(Meta::new([rows], dtype)),
            _ => {
                let shapes = [inputs[0].shape, inputs[1].shape];
                Err(Error::shape("pick", &shapes, "wants [rows, columns] and one index a row"))
            }
        }
    }

    fn launch(&self, inputs: &[Meta], _output: Meta) -> Launch {
        Launch::Kernel(KernelId::pick, rows_params(inputs[0].shape).encode())
    }

    fn reads_input(&self, index: usize, _tracked: &[bool]) -> bool {
        index == 1
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let columns = cx.inputs[0].dims()[1];
        Ok(vec![Some(place(cx.grad, &cx.inputs[1], columns)?), None])
    }
}

/// `y[r, c] = (c == index[r]) ? x[r] : 0`.
#[derive(Debug, Clone, Copy)]
struct Place {
    columns: usize,
}

impl Op for Place {
    fn name(&self) -> &'static str {
        "place"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let dtype = op::same_float("place", &inputs[..1])?;
        op::integers("place", inputs[1])?;
        if inputs[0].shape.rank() != 1 || inputs[0].shape != inputs[1].shape {
            let shapes = [inputs[0].shape, inputs[1].shape];
            return Err(Error::shape("place", &shapes, "wants one value and one index a row"));
        }
        let shape = Shape::new(&[inputs[0].shape.dims()[0], self.columns])?;
        Ok(Meta { shape, dtype })
    }

    fn launch(&self, _inputs: &[Meta], output: Meta) -> Launch {
        Launch::Kernel(KernelId::place, rows_params(output.shape).encode())
    }

    fn reads_input(&self, index: usize, _tracked: &[bool]) -> bool {
        index == 1
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(pick(cx.grad, &cx.inputs[1])?), None])
    }
}

/// `y[r] = x[r, index[r]]` for `x: [rows, columns]` and `index: [rows]` of u32. An index past the row yields 0.
#[track_caller]
pub fn pick(x: &Tensor, index: &Tensor) -> Result<Tensor> {
    op::apply(Pick, &[x, index])
}

/// `y[r, c] = x[r]` where `c == index[r]`, else 0, for `x: [rows]` and `index: [rows]` of u32.
#[track_caller]
pub fn place(x: &Tensor, index: &Tensor, columns: usize) -> Result<Tensor> {
    op::apply(Place { columns }, &[x, index])
}

/// The axes as a set of bits. Fails when one is out of range or named twice.
#[track_caller]
fn axis_set(op: &'static str, shape: Shape, axes: &[usize]) -> Result<u32> {
    let mut set = 0;
    for &axis in axes {
        if axis >= shape.rank() || set >> axis & 1 == 1 {
            let rule = format!("axes {axes:?} must name axes of this shape, each at most once");
            return Err(Error::shape(op, &[shape], rule));
        }
        set |= 1 << axis;
    }
    Ok(set)
}

/// Reductions. The reduced axes keep extent 1; `reshape` drops them.
impl Tensor {
    /// The sum over `axes`, which keep extent 1.
    #[track_caller]
    pub fn sum(&self, axes: &[usize]) -> Result<Tensor> {
        op::apply(Sum { axes: axis_set("sum", self.shape(), axes)? }, &[self])
    }

    /// The sum of all elements, as a scalar.
    #[track_caller]
    pub fn sum_all(&self) -> Result<Tensor> {
        let axes: Vec<usize> = (0..self.shape().rank()).collect();
        self.sum(&axes)?.reshape(Shape::SCALAR)
    }

    /// The mean over `axes`, which keep extent 1. Fails when there is nothing to average.
    #[track_caller]
    pub fn mean(&self, axes: &[usize]) -> Result<Tensor> {
        axis_set("mean", self.shape(), axes)?;
        let count: usize = axes.iter().map(|&axis| self.dims()[axis]).product();
        if count == 0 {
            return Err(Error::shape("mean", &[self.shape()], "an empty axis has no mean"));
        }
        self.sum(axes)?.mul_scalar(1.0 / count as f64)
    }

    /// The mean of all elements, as a scalar.
    #[track_caller]
    pub fn mean_all(&self) -> Result<Tensor> {
        let axes: Vec<usize> = (0..self.shape().rank()).collect();
        self.mean(&axes)?.reshape(Shape::SCALAR)
    }

    /// The largest element over `axes`, which keep extent 1. Of equal elements the first, in memory order of the
    /// reduced axes, has the derivative. Fails when there is nothing to compare.
    #[track_caller]
    pub fn max(&self, axes: &[usize]) -> Result<Tensor> {
        Ok(self.max_with_indices(axes)?.0)
    }

    /// As [`Tensor::max`], with the position of each maximum among the reduced axes flattened in order.
    #[track_caller]
    pub fn max_with_indices(&self, axes: &[usize]) -> Result<(Tensor, Tensor)> {
        let shape = self.shape();
        let set = axis_set("max", shape, axes)?;
        let (reduced, kept): (Vec<usize>, Vec<usize>) =
            (0..shape.rank()).partition(|&axis| set >> axis & 1 == 1);
        let order: Vec<usize> = kept.iter().chain(&reduced).copied().collect();
        let rows: usize = kept.iter().map(|&axis| shape.dims()[axis]).product();
        let columns: usize = reduced.iter().map(|&axis| shape.dims()[axis]).product();
        let sorted = if order.is_sorted() { self.clone() } else { self.permute(&order)? };
        let matrix = sorted.reshape([rows, columns])?;
        let (values, saved) = op::apply_with_saved(MaxRows, &[&matrix])?;
        let result = reduced.iter().fold(shape, |shape, &axis| shape.with(axis, 1));
        Ok((values.reshape(result)?, saved[0].reshape(result)?))
    }
}

//! Rows of a table by number: embeddings, batches of a data set.
//!
//! ```text
//! gather_rows        y[k, :] = table[index[k], :]                        (zeros where index[k] ≥ V)
//! scatter_add_rows   table[v, :] = Σ_k (index[k] == v) y[k, :]           (positions with index[k] ≥ V are dropped)
//!
//! table: [V, D..]    index: [K..] of u32    y: [K.., D..]
//! ```
//!
//! Linear and each other's adjoints. Indices are device data, which no shape rule can see: one out of range neither
//! fails nor reads what is not there, it counts as a row of zeros. One invocation owns one output element; a table's
//! row sums over the positions that name it, in order, so repeated indices add the same way every time. `gather_rows`
//! takes tables of any type. Cost: gather none, scatter K·D operations; y moved once, of the table what is named
//! (scatter writes all of it).

use crate::autograd::Backward;
use crate::device::Meta;
use crate::error::{Error, Result};
use crate::kernel::KernelId;
use crate::op::{self, Launch, Op};
use crate::{Cost, Shape, Tensor};

crate::kernel_params! {
    /// Parameters of both kernels: the table is `[rows, columns]`, and there are `count` indices.
    pub struct GatherParams { integers { rows: u32, columns: u32, count: u32 } scalars {} }
}

fn launch(kernel: KernelId, table: Shape, indices: Shape) -> Launch {
    let params = GatherParams {
        rows: table.dims()[0] as u32,
        columns: table.dims()[1..].iter().product::<usize>() as u32,
        count: indices.elements() as u32,
    };
    Launch::Kernel(kernel, params.encode())
}

#[derive(Debug, Clone, Copy)]
struct GatherRows;

impl Op for GatherRows {
    fn name(&self) -> &'static str {
        "gather_rows"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        op::integers("gather_rows", inputs[1])?;
        let (table, indices) = (inputs[0].shape, inputs[1].shape);
        if table.rank() == 0 {
            let rule = "wants a table [V, D..] and indices [K..]";
            return Err(Error::shape("gather_rows", &[table, indices], rule));
        }
        let dims = [indices.dims(), &table.dims()[1..]].concat();
        Ok(Meta { shape: Shape::new(&dims)?, dtype: inputs[0].dtype })
    }

    fn launch(&self, inputs: &[Meta], _output: Meta) -> Launch {
        launch(KernelId::gather_rows, inputs[0].shape, inputs[1].shape)
    }

    fn reads_input(&self, index: usize, _tracked: &[bool]) -> bool {
        index == 1
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let rows = cx.inputs[0].dims()[0];
        Ok(vec![Some(scatter_add_rows(cx.grad, &cx.inputs[1], rows)?), None])
    }

    fn flop(&self, _inputs: &[Meta], _output: Meta) -> u64 {
        0
    }

    fn cost(&self, inputs: &[Meta], output: Meta) -> Cost {
        // Of the table only the rows that are named.
        Cost { flop: 0, bytes: (inputs[1].bytes() + 2 * output.bytes()) as u64 }
    }
}

#[derive(Debug, Clone, Copy)]
struct ScatterAddRows {
    rows: usize,
}

impl Op for ScatterAddRows {
    fn name(&self) -> &'static str {
        "scatter_add_rows"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let dtype = op::same_float(self.name(), &inputs[..1])?;
        op::integers(self.name(), inputs[1])?;
        let (values, indices) = (inputs[0].shape, inputs[1].shape);
        let Some(row) = values.dims().strip_prefix(indices.dims()) else {
            let rule = "wants values [K.., D..] and indices [K..]";
            return Err(Error::shape(self.name(), &[values, indices], rule));
        };
        Ok(Meta { shape: Shape::new(&[&[self.rows], row].concat())?, dtype })
    }

    fn launch(&self, inputs: &[Meta], table: Meta) -> Launch {
        launch(KernelId::scatter_add_rows, table.shape, inputs[1].shape)
    }

    fn reads_input(&self, index: usize, _tracked: &[bool]) -> bool {
        index == 1
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(gather_rows(cx.grad, &cx.inputs[1])?), None])
    }

    fn flop(&self, inputs: &[Meta], _table: Meta) -> u64 {
        inputs[0].shape.elements() as u64
    }
}

/// Row `indices[k..]` of `table: [V, D..]` for each of `indices: [K..]`, to `[K.., D..]`.
///
/// The table may be of any type, the indices are u32; one that is V or more yields zeros. Fails above six axes.
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::{Tensor, ops::gather::gather_rows};
/// let table = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [2, 2], &device)?;
/// let indices = Tensor::from_slice(&[1u32, 0, 1, 7], [4], &device)?;
/// let y = gather_rows(&table, &indices)?;
/// assert_eq!(y.to_vec::<f32>()?, [3.0, 4.0, 1.0, 2.0, 3.0, 4.0, 0.0, 0.0]);
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
#[track_caller]
pub fn gather_rows(table: &Tensor, indices: &Tensor) -> Result<Tensor> {
    op::apply(GatherRows, &[table, indices])
}

/// The adjoint of [`gather_rows`]: `values: [K.., D..]` added into a table `[rows, D..]` of zeros at the rows that
/// `indices: [K..]` name; those that are `rows` or more are dropped. Fails unless the values' first axes are the
/// indices'.
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::{Tensor, ops::gather::scatter_add_rows};
/// let values = Tensor::from_slice(&[1.0f32, 2.0, 4.0], [3], &device)?;
/// let indices = Tensor::from_slice(&[1u32, 0, 1], [3], &device)?;
/// assert_eq!(scatter_add_rows(&values, &indices, 3)?.to_vec::<f32>()?, [2.0, 5.0, 0.0]);
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
#[track_caller]
pub fn scatter_add_rows(values: &Tensor, indices: &Tensor, rows: usize) -> Result<Tensor> {
    op::apply(ScatterAddRows { rows }, &[values, indices])
}

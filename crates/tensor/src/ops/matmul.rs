//! Matrix multiplication, of either operand transposed, over batches.
//!
//! ```text
//! y[b, m, n] = Σ_k  A[b, m, k] B[b, k, n]
//! a: [B, M, K], or [B, K, M] read transposed     b: [B, K, N], or [B, N, K] read transposed     y: [B, M, N]
//! ```
//!
//! Leading axes are equal or one operand has none (it is then used by every batch). One invocation owns one element
//! (a tile, in the fast variants) of y. Bilinear: each gradient is a matmul of the cotangent with the other operand,
//! so the op is closed to any order. Cost: 2·B·M·N·K operations; each operand moved once.

use crate::autograd::Backward;
use crate::device::Meta;
use crate::error::{Error, Result};
use crate::kernel::KernelId;
use crate::op::{self, Launch, Op};
use crate::{Shape, Tensor};

crate::kernel_params! {
    /// Parameters of `matmul`. `batch_stride_a` and `_b` are in matrices: 0 where one matrix serves every batch.
    pub struct MatmulParams {
        integers {
            batch: u32, m: u32, n: u32, k: u32, transpose_a: u32, transpose_b: u32,
            batch_stride_a: u32, batch_stride_b: u32,
        }
        scalars {}
    }
}

#[derive(Debug, Clone, Copy)]
struct Matmul {
    transpose_a: bool,
    transpose_b: bool,
}

impl Matmul {
    /// (M, K, N, batch extents) or the rule that is broken.
    fn extents(&self, a: Shape, b: Shape) -> Result<(usize, usize, usize, Shape), &'static str> {
        let ([leading_a @ .., a_0, a_1], [leading_b @ .., b_0, b_1]) = (a.dims(), b.dims()) else {
            return Err("both operands must be matrices, or batches of matrices");
        };
        let (m, k) = if self.transpose_a { (*a_1, *a_0) } else { (*a_0, *a_1) };
        let (inner, n) = if self.transpose_b { (*b_1, *b_0) } else { (*b_0, *b_1) };
        if k != inner {
            return Err("the inner extents must be equal");
        }
        let leading = match (leading_a, leading_b) {
            (x, y) if x == y => x,
            ([], y) => y,
            (x, []) => x,
            _ => return Err("the batch extents must be equal, or one operand must have none"),
        };
        let batch = Shape::new(leading).map_err(|_| "there are too many batches")?;
        Ok((m, k, n, batch))
    }
}

impl Op for Matmul {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let dtype = op::same_float("matmul", inputs)?;
        let (a, b) = (inputs[0].shape, inputs[1].shape);
        let (m, _, n, batch) =
            self.extents(a, b).map_err(|rule| Error::shape("matmul", &[a, b], rule))?;
        let shape = Shape::new(&[batch.dims(), &[m, n]].concat())?;
        Ok(Meta { shape, dtype })
    }

    fn launch(&self, inputs: &[Meta], _output: Meta) -> Launch {
        let (a, b) = (inputs[0].shape, inputs[1].shape);
        let (m, k, n, batch) = self.extents(a, b).expect("infer accepted these shapes");
        let params = MatmulParams {
            batch: batch.elements() as u32,
            m: m as u32,
            n: n as u32,
            k: k as u32,
            transpose_a: u32::from(self.transpose_a),
            transpose_b: u32::from(self.transpose_b),
            batch_stride_a: u32::from(a.rank() > 2),
            batch_stride_b: u32::from(b.rank() > 2),
        };
        Launch::Kernel(KernelId::matmul, params.encode())
    }

    // Bilinear: of each operand the other's derivative is made.
    fn reads_input(&self, index: usize, tracked: &[bool]) -> bool {
        tracked[1 - index]
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let (a, b, g) = (&cx.inputs[0], &cx.inputs[1], cx.grad);
        let (ta, tb) = (self.transpose_a, self.transpose_b);
        // y = A B: dA = g Bᵀ and dB = Aᵀ g, each written in the stored orientation of its operand.
        let grad_a = || match (ta, tb) {
            (false, _) => matmul(g, b, false, !tb),
            (true, _) => matmul(b, g, tb, true),
        };
        let grad_b = || match (ta, tb) {
            (_, false) => matmul(a, g, !ta, false),
            (_, true) => matmul(g, a, true, ta),
        };
        Ok(vec![
            if cx.needs[0] { Some(grad_a()?) } else { None },
            if cx.needs[1] { Some(grad_b()?) } else { None },
        ])
    }

    fn flop(&self, inputs: &[Meta], output: Meta) -> u64 {
        let (_, k, _, _) =
            self.extents(inputs[0].shape, inputs[1].shape).expect("infer accepted these shapes");
        2 * output.shape.elements() as u64 * k as u64
    }
}

/// `y = A B`, with either operand read transposed. Fails when the inner or batch extents differ.
///
/// A cotangent of an operand that serves several batches is summed over them by the walker.
#[track_caller]
pub fn matmul(a: &Tensor, b: &Tensor, transpose_a: bool, transpose_b: bool) -> Result<Tensor> {
    op::apply(Matmul { transpose_a, transpose_b }, &[a, b])
}

impl Tensor {
    /// The matrix product with `other`: `[.., M, K] × [.., K, N] → [.., M, N]`.
    #[track_caller]
    pub fn matmul(&self, other: &Tensor) -> Result<Tensor> {
        matmul(self, other, false, false)
    }
}

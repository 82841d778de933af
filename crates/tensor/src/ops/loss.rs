//! Losses that would lose digits if they were composed.
//!
//! ```text
//! bce_with_logits   y[i] = max(x[i], 0) − x[i] t[i] + ln(1 + e^−|x[i]|)
//!                        = −t ln σ(x) − (1 − t) ln(1 − σ(x)),   σ the logistic function
//! x (logits), t (targets), y: one shape
//!
//! grad_x = (σ(x) − t) g        grad_t = −x g
//! ```
//!
//! The exponential's argument is never positive and the logarithm is `ln_1p`, so no logit overflows, and a loss near
//! 0 keeps its digits. One invocation owns one element. Cost: 6 operations an element, one pass over each operand.
//! The derivative is made of primitives and so closed to any order. Callers take the mean or sum.

use crate::Tensor;
use crate::autograd::Backward;
use crate::device::Meta;
use crate::error::{Error, Result};
use crate::kernel::KernelId;
use crate::op::{self, Launch, Op};

crate::kernel_params! {
    /// Parameters of `bce_with_logits`.
    pub struct LossParams { integers { len: u32 } scalars {} }
}

/// Binary cross-entropy of logits against targets, element by element.
#[derive(Debug, Clone, Copy)]
struct BceWithLogits;

impl Op for BceWithLogits {
    fn name(&self) -> &'static str {
        "bce_with_logits"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        op::same_float(self.name(), inputs)?;
        if inputs[0].shape != inputs[1].shape {
            let shapes = [inputs[0].shape, inputs[1].shape];
            return Err(Error::shape(self.name(), &shapes, "wants one target for each logit"));
        }
        Ok(inputs[0])
    }

    fn launch(&self, _inputs: &[Meta], output: Meta) -> Launch {
        let params = LossParams { len: output.shape.elements() as u32 };
        Launch::Kernel(KernelId::bce_with_logits, params.encode())
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let (x, t, g) = (&cx.inputs[0], &cx.inputs[1], cx.grad);
        Ok(vec![
            if cx.needs[0] { Some(x.sigmoid()?.sub(t)?.mul(g)?) } else { None },
            if cx.needs[1] { Some(x.mul(g)?.neg()?) } else { None },
        ])
    }

    fn reference(&self, inputs: &[Tensor]) -> Option<Result<Tensor>> {
        let (x, t) = (&inputs[0], &inputs[1]);
        Some(x.mul(t).and_then(|product| x.softplus()?.sub(&product)))
    }

    fn flop(&self, _inputs: &[Meta], output: Meta) -> u64 {
        6 * output.shape.elements() as u64
    }
}

/// The binary cross-entropy of each logit against its target (0 fake, 1 real, or in between where labels are
/// smoothed), of the operands' shape. Fails when the shapes differ.
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::{Tensor, ops::loss::bce_with_logits};
/// let logits = Tensor::from_slice(&[0.0f64, 1000.0], [2], &device)?;
/// let targets = Tensor::from_slice(&[1.0f64, 0.0], [2], &device)?;
/// let loss = bce_with_logits(&logits, &targets)?;
/// assert_eq!(loss.to_vec::<f64>()?, [std::f64::consts::LN_2, 1000.0]); // chance; surely wrong
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
#[track_caller]
pub fn bce_with_logits(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    op::apply(BceWithLogits, &[logits, targets])
}

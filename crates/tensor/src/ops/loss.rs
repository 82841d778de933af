//! Losses of logits, as no logit overflows them.
//!
//! ```text
//! bce_with_logits   y[i] = max(x[i], 0) − x[i] t[i] + ln(1 + e^−|x[i]|)
//!                        = −t ln σ(x) − (1 − t) ln(1 − σ(x)),   σ the logistic function
//! x (logits), t (targets), y: one shape
//!
//! grad_x = (σ(x) − t) g        grad_t = −x g
//!
//! bce_with_logits_mean         y = scale / N Σ_i bce(x[i], t[i]),   N elements; y has no axes
//!                              and its gradient, saved: scale / N (σ(x[i]) − t[i])
//!
//! cross_entropy_with_logits    y[n] = ln Σ_c e^(x[n, c] − m[n]) − (x[n, t[n]] − m[n]),   m[n] = max_c x[n, c]
//!                                   = −ln softmax(x[n])[t[n]]
//! x (logits): [N, C]    t (labels): [N] of u32    y: [N]
//!
//! grad_x = (softmax(x) − onehot(t)) g
//! ```
//!
//! `bce_with_logits` is fused, as a composition would lose digits and passes over memory. The exponential's argument is never positive and the logarithm is `ln_1p`, so no logit overflows, and a loss near
//! 0 keeps its digits. One invocation owns one element. Cost: 6 operations an element, one pass over each operand.
//! `bce_with_logits_mean` is a training step's loss in one launch: one group of threads owns it all (a batch has few
//! logits), each sums every 256th element, and a fixed tree adds the threads' sums. Its derivative is the saved one
//! times the cotangent, one operation an element; a derivative that will be differentiated again goes through
//! `bce_with_logits` and a mean.
//! The derivative is made of primitives and so closed to any order. `cross_entropy_with_logits` is composed of
//! primitives: the largest logit of each row is taken off first, as a constant, which changes no value and no
//! derivative. Callers take the mean or sum.

use crate::autograd::{Backward, Graph};
use crate::device::Meta;
use crate::error::{Error, Result};
use crate::kernel::KernelId;
use crate::op::{self, Launch, Op};
use crate::ops::reduce::pick;
use crate::{Shape, Tensor};

crate::kernel_params! {
    /// Parameters of `bce_with_logits`.
    pub struct LossParams { integers { len: u32 } scalars {} }
}

crate::kernel_params! {
    /// Parameters of `bce_with_logits_mean`.
    pub struct MeanLossParams { integers { len: u32 } scalars { scale } }
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

/// The mean of [`bce_with_logits`] times a constant, with its gradient saved.
#[derive(Debug, Clone, Copy)]
struct BceWithLogitsMean {
    scale: f64,
}

impl BceWithLogitsMean {
    fn definition(&self, inputs: &[Tensor]) -> Result<Tensor> {
        bce_with_logits(&inputs[0], &inputs[1])?.mean_all()?.mul_scalar(self.scale)
    }
}

impl Op for BceWithLogitsMean {
    fn name(&self) -> &'static str {
        "bce_with_logits_mean"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let dtype = op::same_float(self.name(), inputs)?;
        let shapes = [inputs[0].shape, inputs[1].shape];
        if shapes[0] != shapes[1] || shapes[0].elements() == 0 {
            let rule = "wants one target for each logit, and at least one";
            return Err(Error::shape(self.name(), &shapes, rule));
        }
        if !self.scale.is_finite() {
            let message = format!("scale {} must be a finite number", self.scale);
            return Err(Error::argument(self.name(), message));
        }
        Ok(Meta { shape: Shape::SCALAR, dtype })
    }

    fn launch(&self, inputs: &[Meta], _output: Meta) -> Launch {
        let params = MeanLossParams { len: inputs[0].shape.elements() as u32, scale: self.scale };
        Launch::Kernel(KernelId::bce_with_logits_mean, params.encode())
    }

    fn saved(&self, inputs: &[Meta], _output: Meta) -> Vec<Meta> {
        vec![inputs[0]]
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        // Targets are seldom learned: their gradient is worth no kernel.
        if cx.graph == Graph::Keep || cx.needs[1] {
            return cx.through(|inputs| self.definition(inputs));
        }
        Ok(vec![Some(cx.saved[0].mul(cx.grad)?), None])
    }

    fn reference(&self, inputs: &[Tensor]) -> Option<Result<Tensor>> {
        Some(self.definition(inputs))
    }

    fn flop(&self, inputs: &[Meta], _output: Meta) -> u64 {
        12 * inputs[0].shape.elements() as u64
    }
}

/// The mean over all elements of [`bce_with_logits`], times `scale`: a scalar, in one launch with its gradient. Fails
/// when the shapes differ or there is no element.
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::{Graph, Tensor, grad, ops::loss::bce_with_logits_mean};
/// let logits = Tensor::from_slice(&[0.0f64, 0.0], [2], &device)?.tracked();
/// let targets = Tensor::from_slice(&[1.0f64, 0.0], [2], &device)?;
/// let loss = bce_with_logits_mean(&logits, &targets, 2.0)?;
/// assert_eq!(loss.item()?, 2.0 * std::f64::consts::LN_2); // chance
/// let slope = grad(&loss, None, &[&logits], Graph::Drop)?.remove(0).unwrap();
/// assert_eq!(slope.to_vec::<f64>()?, [-0.5, 0.5]); // 2 / 2 (1/2 − t)
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
#[track_caller]
pub fn bce_with_logits_mean(logits: &Tensor, targets: &Tensor, scale: f64) -> Result<Tensor> {
    op::apply(BceWithLogitsMean { scale }, &[logits, targets])
}

/// The cross-entropy of each row of `logits: [N, C]` against its class in `labels: [N]` (u32), in nats, `[N]`.
///
/// Its error is a rounding of the largest difference between a row's logits, or of 1 where they are closer. A label
/// of C or more, which no shape rule can see, counts as the class of the row's largest logit. Fails unless there is
/// one label a row and C is at least 1.
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::{Tensor, ops::loss::cross_entropy_with_logits};
/// let logits = Tensor::from_slice(&[0.0f64, 0.0, 1000.0, 0.0], [2, 2], &device)?;
/// let labels = Tensor::from_slice(&[1u32, 1], [2], &device)?;
/// let loss = cross_entropy_with_logits(&logits, &labels)?;
/// assert_eq!(loss.to_vec::<f64>()?, [std::f64::consts::LN_2, 1000.0]); // chance; surely wrong
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
#[track_caller]
pub fn cross_entropy_with_logits(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let name = "cross_entropy_with_logits";
    op::same_float(name, &[logits.meta()])?;
    op::integers(name, labels.meta())?;
    let rows = match (logits.dims(), labels.dims()) {
        (&[rows, classes], &[count]) if rows == count && classes > 0 => rows,
        _ => {
            let rule = "wants logits [N, C] and labels [N], C at least 1";
            return Err(Error::shape(name, &[logits.shape(), labels.shape()], rule));
        }
    };
    let shifted = logits.sub(&logits.detach().max(&[1])?)?;
    let log_sum = shifted.exp()?.sum(&[1])?.log()?.reshape([rows])?;
    log_sum.sub(&pick(&shifted, labels)?)
}

//! Normalisation over groups of rows: batch and instance normalisation are one op.
//!
//! ```text
//! x: [.., C] seen as [G groups, R rows, C channels]
//!   batch norm      G = 1, R = all leading axes
//!   instance norm   G = N, R = the axes between the first and the last
//!
//! mean[g, c]     = 1/R Σ_r x[g, r, c]
//! variance[g, c] = 1/R Σ_r (x[g, r, c] − mean[g, c])²                     biased
//! x̂[g, r, c]     = (x[g, r, c] − mean[g, c]) s,   s = 1 / √(variance[g, c] + ε)
//!
//! norm        y[g, r, c]  = gamma[c] x̂[g, r, c] + beta[c],   and mean, variance: [G, C]
//! norm_grad   from x, gamma, the cotangent g of y, mean, variance:
//!             grad_x      = gamma s (g − 1/R Σ_r g − x̂ 1/R Σ_r g x̂)
//!             grad_gamma  = Σ_g Σ_r g x̂        grad_beta = Σ_g Σ_r g
//! ```
//!
//! One group of threads owns a tile of rows and channels; sums over rows are partial sums of fixed blocks, added in
//! order. Cost: `norm` reads x twice and writes y once, 7 operations an element; `norm_grad` reads x and g twice and
//! writes grad_x once, 10 operations an element.
//!
//! mean and variance are constants to the graph: a first derivative takes them to the fused `norm_grad`, a
//! derivative that will be differentiated again goes through the definition in primitives, so any order is right.

use crate::autograd::{Backward, Graph};
use crate::device::Meta;
use crate::error::{Error, Result};
use crate::kernel::{KernelId, Params};
use crate::op::{self, Launch, Op};
use crate::{Shape, Tensor};

crate::kernel_params! {
    /// Parameters of `norm` and `norm_grad`; names as in the file's header.
    pub struct NormParams { integers { groups: u32, rows: u32, channels: u32 } scalars { epsilon } }
}

/// `y = gamma (x − mean) / √(variance + ε) + beta`, saving mean and variance.
#[derive(Debug, Clone, Copy)]
struct Norm {
    name: &'static str,
    /// How many leading axes number the groups: 0 for batch, 1 for instance normalisation.
    group_axes: usize,
    epsilon: f64,
}

impl Norm {
    /// `[G, R, C]` for an input that `infer` accepted.
    fn extents(&self, x: Shape) -> [usize; 3] {
        let (groups, rest) = x.dims().split_at(self.group_axes);
        let (channels, rows) = rest.split_last().expect("infer wants an axis of channels");
        [groups.iter().product(), rows.iter().product(), *channels]
    }

    fn params(&self, x: Shape) -> Params {
        let [groups, rows, channels] = self.extents(x).map(|extent| extent as u32);
        NormParams { groups, rows, channels, epsilon: self.epsilon }.encode()
    }

    /// The file's header in primitives.
    fn definition(&self, inputs: &[Tensor]) -> Result<Tensor> {
        let (x, gamma, beta) = (&inputs[0], &inputs[1], &inputs[2]);
        let grouped = x.reshape(self.extents(x.shape()))?;
        let centred = grouped.sub(&grouped.mean(&[1])?)?;
        let deviation = centred.square()?.mean(&[1])?.add_scalar(self.epsilon)?.sqrt()?;
        centred.div(&deviation)?.mul(gamma)?.add(beta)?.reshape(x.shape())
    }
}

impl Op for Norm {
    fn name(&self) -> &'static str {
        self.name
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        op::same_float(self.name, inputs)?;
        check_epsilon(self.name, self.epsilon)?;
        let shapes = [inputs[0].shape, inputs[1].shape, inputs[2].shape];
        let rank = shapes[0].rank();
        if rank < self.group_axes + 2 {
            let rule = match self.group_axes {
                0 => "wants x: [.., C] with at least one axis before the channels",
                _ => "wants x: [N, .., C] with at least one axis between samples and channels",
            };
            return Err(Error::shape(self.name, &shapes, rule));
        }
        let [_, rows, channels] = self.extents(shapes[0]);
        if shapes[1].dims() != [channels] || shapes[2].dims() != [channels] {
            let rule = "gamma and beta must hold one number for each channel (x's last axis)";
            return Err(Error::shape(self.name, &shapes, rule));
        }
        if rows == 0 || channels == 0 {
            return Err(Error::shape(self.name, &shapes, "an empty axis has no mean"));
        }
        Ok(inputs[0])
    }

    fn launch(&self, inputs: &[Meta], _output: Meta) -> Launch {
        Launch::Kernel(KernelId::norm, self.params(inputs[0].shape))
    }

    fn saved(&self, _inputs: &[Meta], output: Meta) -> Vec<Meta> {
        let [groups, _, channels] = self.extents(output.shape);
        vec![Meta::new([groups, channels], output.dtype); 2]
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        if cx.graph == Graph::Keep {
            return cx.through(|inputs| self.definition(inputs));
        }
        let (x, gamma) = (&cx.inputs[0], &cx.inputs[1]);
        let grads = op::launch_on(
            x.device(),
            KernelId::norm_grad,
            self.params(x.shape()),
            &[x, gamma, cx.grad, &cx.saved[0], &cx.saved[1]],
            &[x.meta(), gamma.meta(), gamma.meta()],
        )?;
        Ok(grads.into_iter().zip(cx.needs).map(|(grad, &needed)| needed.then_some(grad)).collect())
    }

    fn reference(&self, inputs: &[Tensor]) -> Option<Result<Tensor>> {
        Some(self.definition(inputs))
    }

    fn flop(&self, _inputs: &[Meta], output: Meta) -> u64 {
        7 * output.shape.elements() as u64
    }
}

#[track_caller]
fn check_epsilon(op: &'static str, epsilon: f64) -> Result<()> {
    if epsilon > 0.0 && epsilon.is_finite() {
        return Ok(());
    }
    Err(Error::argument(op, format!("epsilon {epsilon} must be a positive number, such as 1e-5")))
}

/// What batch normalisation saw: for the running statistics that inference uses. Constants to the graph.
#[derive(Debug, Clone)]
pub struct Statistics {
    /// The mean of each channel, `[C]`.
    pub mean: Tensor,
    /// The biased variance of each channel, `[C]`; times `count / (count − 1)` it is unbiased.
    pub variance: Tensor,
    /// How many numbers each channel's statistics are of: all leading extents multiplied.
    pub count: usize,
}

/// Normalises each channel of `x: [.., C]` over all other axes, then scales by `gamma: [C]` (absent: 1) and shifts by
/// `beta: [C]` (absent: 0); returns the result, of x's shape, with the batch's statistics. For training; see
/// [`normalize`] for inference.
///
/// Fails when a channel has fewer than two numbers, as PyTorch does: its variance would be 0 and its result beta.
/// (Keras lets that pass; for one sample [`instance_norm`] is the same function and takes it too.)
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::{Tensor, ops::norm::batch_norm};
/// let x = Tensor::from_slice(&[1.0f64, 10.0, 3.0, 30.0], [2, 2], &device)?;
/// let (y, statistics) = batch_norm(&x, None, None, 1e-12)?;
/// assert_eq!(statistics.mean.to_vec::<f64>()?, [2.0, 20.0]);
/// assert_eq!(statistics.variance.to_vec::<f64>()?, [1.0, 100.0]);
/// assert!((y.to_vec::<f64>()?[3] - 1.0).abs() < 1e-9);
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
///
/// Ioffe and Szegedy, "Batch normalization" (ICML 2015).
#[track_caller]
pub fn batch_norm(
    x: &Tensor,
    gamma: Option<&Tensor>,
    beta: Option<&Tensor>,
    epsilon: f64,
) -> Result<(Tensor, Statistics)> {
    let channels = x.dims().last().copied().unwrap_or(0);
    let count = x.shape().elements() / channels.max(1);
    if channels > 0 && count < 2 {
        let rule = format!(
            "batch normalisation learns from two or more values a channel, and here are {count}: \
             use a larger batch, or running statistics (evaluation mode)"
        );
        return Err(Error::shape("batch_norm", &[x.shape()], rule));
    }
    let op = Norm { name: "batch_norm", group_axes: 0, epsilon };
    let (y, saved) = apply_affine(op, x, gamma, beta)?;
    let [mean, variance] = [saved[0].reshape([channels])?, saved[1].reshape([channels])?];
    Ok((y, Statistics { mean, variance, count }))
}

/// Normalises each channel of each sample of `x: [N, .., C]` over the axes between, then scales by `gamma: [C]`
/// (absent: 1) and shifts by `beta: [C]` (absent: 0). The same in training and inference.
///
/// A single position has variance 0, so that the result there is beta. Fails when there is no position at all.
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::{Tensor, ops::norm::instance_norm};
/// let x = Tensor::from_slice(&[1.0f64, 3.0, 10.0, 30.0], [2, 1, 2, 1], &device)?;
/// let y = instance_norm(&x, None, None, 1e-12)?.to_vec::<f64>()?;
/// assert!((y[0] + 1.0).abs() < 1e-9 && (y[3] - 1.0).abs() < 1e-9);
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
///
/// Ulyanov, Vedaldi and Lempitsky, "Instance normalization" (2016).
#[track_caller]
pub fn instance_norm(
    x: &Tensor,
    gamma: Option<&Tensor>,
    beta: Option<&Tensor>,
    epsilon: f64,
) -> Result<Tensor> {
    let op = Norm { name: "instance_norm", group_axes: 1, epsilon };
    Ok(apply_affine(op, x, gamma, beta)?.0)
}

/// Applies the op with ones for an absent gamma and zeros for an absent beta.
#[track_caller]
fn apply_affine(
    op: Norm,
    x: &Tensor,
    gamma: Option<&Tensor>,
    beta: Option<&Tensor>,
) -> Result<(Tensor, Vec<Tensor>)> {
    op::same_float(op.name, &[x.meta()])?;
    let channels = x.dims().last().copied().unwrap_or(0);
    let filled = |given: Option<&Tensor>, value: f64| match given {
        Some(tensor) => Ok(tensor.clone()),
        None => Tensor::full(value, [channels], x.dtype(), x.device()),
    };
    let (gamma, beta) = (filled(gamma, 1.0)?, filled(beta, 0.0)?);
    op::apply_with_saved(op, &[x, &gamma, &beta])
}

/// `gamma (x − mean) / √(variance + ε) + beta` for `x: [.., C]` and statistics gathered in training: batch
/// normalisation in inference. `mean`, `variance`, `gamma` (absent: 1) and `beta` (absent: 0) are `[C]`.
///
/// Made of primitives, so it is differentiable in all its operands. Fails when an operand is not `[C]`.
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::{Tensor, ops::norm::normalize};
/// let x = Tensor::from_slice(&[1.0f64, 5.0], [2, 1], &device)?;
/// let one = Tensor::from_slice(&[1.0f64], [1], &device)?;
/// let four = Tensor::from_slice(&[4.0f64], [1], &device)?;
/// let y = normalize(&x, &one, &four, None, Some(&one), 1e-12)?.to_vec::<f64>()?;
/// assert!(y[0] == 1.0 && (y[1] - 3.0).abs() < 1e-9);
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
#[track_caller]
pub fn normalize(
    x: &Tensor,
    mean: &Tensor,
    variance: &Tensor,
    gamma: Option<&Tensor>,
    beta: Option<&Tensor>,
    epsilon: f64,
) -> Result<Tensor> {
    check_epsilon("normalize", epsilon)?;
    let channels = x.dims().last().copied().unwrap_or(0);
    for operand in [Some(mean), Some(variance), gamma, beta].into_iter().flatten() {
        if x.shape().rank() < 2 || operand.dims() != [channels] {
            let rule = "wants x: [.., C], and mean, variance, gamma and beta each [C]";
            return Err(Error::shape("normalize", &[x.shape(), operand.shape()], rule));
        }
    }
    let deviation = variance.add_scalar(epsilon)?.sqrt()?;
    let scale = match gamma {
        Some(gamma) => gamma.div(&deviation)?,
        None => deviation.reciprocal()?,
    };
    // Centred first: x·scale + (beta − mean·scale) would cancel where the mean is large beside the deviation.
    let scaled = x.sub(mean)?.mul(&scale)?;
    match beta {
        Some(beta) => scaled.add(beta),
        None => Ok(scaled),
    }
}

//! Normalisation over groups of rows, with the leaky ReLU that often follows: batch and instance normalisation are one
//! op.
//!
//! ```text
//! x: [.., C] seen as [G groups, R rows, C channels]
//!   batch norm      G = parts of the batch (1 but for batches laid end to end), R = all leading axes of a part
//!   instance norm   G = N, R = the axes between the first and the last
//!
//! mean[g, c]     = 1/R Σ_r x[g, r, c]
//! variance[g, c] = 1/R Σ_r (x[g, r, c] − mean[g, c])²                     biased
//! x̂[g, r, c]     = (x[g, r, c] − mean[g, c]) s,   s = 1 / √(variance[g, c] + ε)
//! u[g, r, c]     = gamma[c] x̂[g, r, c] + beta[c]
//!
//! norm        y = u > 0 ? u : slope u,   and mean, variance: [G, C]        slope 1: no activation; 0: ReLU
//! norm_grad   from x, gamma, beta, the cotangent h of y, mean, variance:
//!             g           = u > 0 ? h : slope h                            u is worked out again
//!             grad_x      = gamma s (g − 1/R Σ_r g − x̂ 1/R Σ_r g x̂)
//!             grad_gamma  = Σ_g Σ_r g x̂        grad_beta = Σ_g Σ_r g
//!
//! norm_statistics   from x: mean, variance                                the halves of norm, for whom something
//! norm_apply        from x, gamma, beta, mean, variance: y                happens between them
//! norm_grad_sums    from what norm_grad has: sums[0] = Σ_r g and sums[1] = Σ_r g (x − mean) of each group, [2, G, C],
//!                   grad_gamma = Σ_g s sums[1],  grad_beta = Σ_g sums[0]
//! norm_grad_apply   from these and sums: grad_x = gamma s (g − 1/R sums[0] − (x − mean) s² 1/R sums[1])
//!
//! running_statistics   for each part in order, from r = the running value, b = the part's:
//!                      r ← decay r + (1 − decay) b      variances first times `correction`, 1 or n / (n − 1)
//! ```
//!
//! One group of threads owns a tile of rows and channels; sums over rows are partial sums of fixed blocks, added in
//! order. Cost: `norm` reads x twice and writes y once, 8 operations an element; `norm_grad` reads x and h twice and
//! writes grad_x once, 14 operations an element. The activation costs no pass over memory of its own. A half costs half:
//! `norm_statistics` reads x once, `norm_apply` reads x and writes y; `norm_grad_sums` reads x and h once,
//! `norm_grad_apply` reads both and writes grad_x.
//!
//! mean and variance are constants to the graph: a first derivative takes them to the fused `norm_grad`, a
//! derivative that will be differentiated again goes through the definition in primitives, so any order is right.

use crate::autograd::{Backward, Graph};
use crate::device::Meta;
use crate::error::{Error, Result};
use crate::kernel::{KernelId, Params};
use crate::op::{self, Launch, Op};
use crate::ops::finite::one_device;
use crate::{Shape, Tensor};

crate::kernel_params! {
    /// Parameters of `norm`, `norm_grad` and their halves; names as in the file's header.
    pub struct NormParams { integers { groups: u32, rows: u32, channels: u32 } scalars { epsilon, slope } }
}

crate::kernel_params! {
    /// Parameters of `running_statistics`; `taken` is 1 − decay, which f32 would round.
    pub struct RunningParams { integers { parts: u32, channels: u32 } scalars { decay, taken, correction } }
}

/// What is normalised together.
#[derive(Debug, Clone, Copy)]
enum Groups {
    /// So many equal parts of the first axis, each with all axes but the last.
    Parts(usize),
    /// Each entry of the first axis by itself.
    Instances,
}

/// `y = leaky_relu(gamma (x − mean) / √(variance + ε) + beta)`, saving mean and variance.
#[derive(Debug, Clone, Copy)]
struct Norm {
    name: &'static str,
    groups: Groups,
    epsilon: f64,
    /// Of the leaky ReLU; 1 for none.
    slope: f64,
}

impl Norm {
    /// `[G, R, C]` for an input that `infer` accepted.
    fn extents(&self, x: Shape) -> [usize; 3] {
        let (channels, leading) = x.dims().split_last().expect("infer wants an axis of channels");
        let [groups, rows] = match self.groups {
            Groups::Parts(parts) => [parts, leading.iter().product::<usize>() / parts.max(1)],
            Groups::Instances => [leading[0], leading[1..].iter().product()],
        };
        [groups, rows, *channels]
    }

    fn params(&self, x: Shape) -> Params {
        let [groups, rows, channels] = self.extents(x).map(|extent| extent as u32);
        let (epsilon, slope) = (self.epsilon, self.slope);
        NormParams { groups, rows, channels, epsilon, slope }.encode()
    }

    /// The file's header in primitives.
    fn definition(&self, inputs: &[Tensor]) -> Result<Tensor> {
        let (x, gamma, beta) = (&inputs[0], &inputs[1], &inputs[2]);
        let grouped = x.reshape(self.extents(x.shape()))?;
        let centred = grouped.sub(&grouped.mean(&[1])?)?;
        let deviation = centred.square()?.mean(&[1])?.add_scalar(self.epsilon)?.sqrt()?;
        let y = centred.div(&deviation)?.mul(gamma)?.add(beta)?.reshape(x.shape())?;
        if self.slope == 1.0 { Ok(y) } else { y.leaky_relu(self.slope) }
    }
}

impl Op for Norm {
    fn name(&self) -> &'static str {
        self.name
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        op::same_float(self.name, inputs)?;
        check_epsilon(self.name, self.epsilon)?;
        if !self.slope.is_finite() {
            let message = format!("slope {} must be a finite number", self.slope);
            return Err(Error::argument(self.name, message));
        }
        let shapes = [inputs[0].shape, inputs[1].shape, inputs[2].shape];
        let (least, rule) = match self.groups {
            Groups::Parts(_) => (2, "wants x: [.., C] with at least one axis before the channels"),
            Groups::Instances => {
                (3, "wants x: [N, .., C] with at least one axis between samples and channels")
            }
        };
        if shapes[0].rank() < least {
            return Err(Error::shape(self.name, &shapes, rule));
        }
        if let Groups::Parts(parts) = self.groups
            && (parts == 0 || !shapes[0].dims()[0].is_multiple_of(parts))
        {
            let rule = format!("the first axis must consist of {parts} equal parts");
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
        let (x, gamma, beta) = (&cx.inputs[0], &cx.inputs[1], &cx.inputs[2]);
        let grads = op::launch_on(
            x.device(),
            KernelId::norm_grad,
            self.params(x.shape()),
            &[x, gamma, beta, cx.grad, &cx.saved[0], &cx.saved[1]],
            &[x.meta(), gamma.meta(), gamma.meta()],
        )?;
        Ok(grads.into_iter().zip(cx.needs).map(|(grad, &needed)| needed.then_some(grad)).collect())
    }

    fn reference(&self, inputs: &[Tensor]) -> Option<Result<Tensor>> {
        Some(self.definition(inputs))
    }

    fn flop(&self, _inputs: &[Meta], output: Meta) -> u64 {
        8 * output.shape.elements() as u64
    }
}

#[track_caller]
pub(super) fn check_epsilon(op: &'static str, epsilon: f64) -> Result<()> {
    if epsilon > 0.0 && epsilon.is_finite() {
        return Ok(());
    }
    Err(Error::argument(op, format!("epsilon {epsilon} must be a positive number, such as 1e-5")))
}

/// What batch normalisation saw: for the running statistics that inference uses. Constants to the graph.
#[derive(Debug, Clone)]
pub struct Statistics {
    /// The mean of each channel: `[C]`, or `[parts, C]` of a batch in parts.
    pub mean: Tensor,
    /// The biased variance of each channel, of the mean's shape; times `count / (count − 1)` it is unbiased.
    pub variance: Tensor,
    /// How many numbers each channel's statistics are of: all leading extents (of a part) multiplied.
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
    let (y, statistics) = batch_norm_leaky_relu(x, gamma, beta, epsilon, 1.0, 1)?;
    let channels = statistics.mean.dims()[1];
    let (mean, variance) =
        (statistics.mean.reshape([channels])?, statistics.variance.reshape([channels])?);
    Ok((y, Statistics { mean, variance, ..statistics }))
}

/// As [`batch_norm`], followed by a leaky ReLU of `slope` (0: ReLU; 1: none) in the same pass; and for a batch that
/// consists of `parts` equal parts, one behind the other along the first axis, each with statistics of its own,
/// `[parts, C]`: one pass for a discriminator's real and fake samples.
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::{Tensor, ops::norm::batch_norm_leaky_relu};
/// let x = Tensor::from_slice(&[1.0f64, 3.0, 10.0, 30.0], [4, 1], &device)?;
/// let (y, statistics) = batch_norm_leaky_relu(&x, None, None, 1e-12, 0.0, 2)?;
/// assert_eq!(statistics.mean.to_vec::<f64>()?, [2.0, 20.0]);
/// let y = y.to_vec::<f64>()?;
/// assert!(y[0] == 0.0 && (y[1] - 1.0).abs() < 1e-9 && y[2] == 0.0 && (y[3] - 1.0).abs() < 1e-9);
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
#[track_caller]
pub fn batch_norm_leaky_relu(
    x: &Tensor,
    gamma: Option<&Tensor>,
    beta: Option<&Tensor>,
    epsilon: f64,
    slope: f64,
    parts: usize,
) -> Result<(Tensor, Statistics)> {
    let channels = x.dims().last().copied().unwrap_or(0);
    let count = x.shape().elements() / channels.max(1) / parts.max(1);
    if channels > 0 && count < 2 {
        let rule = format!(
            "batch normalisation learns from two or more values a channel, and here are {count}: \
             use a larger batch, or running statistics (evaluation mode)"
        );
        return Err(Error::shape("batch_norm", &[x.shape()], rule));
    }
    let op = Norm { name: "batch_norm", groups: Groups::Parts(parts), epsilon, slope };
    let (y, mut saved) = apply_affine(op, x, gamma, beta)?;
    let (variance, mean) = (saved.pop(), saved.pop());
    let (mean, variance) = mean.zip(variance).expect("norm saves its mean and variance");
    Ok((y, Statistics { mean, variance, count }))
}

/// Running statistics moved by a batch's: `decay · running + (1 − decay) · batch`, for each part of the batch in order.
///
/// `running_mean` and `running_variance` are `[C]`; an `unbiased` variance is corrected by n / (n − 1), as PyTorch
/// has it. Not differentiated. Fails when the shapes do not fit or `decay` is not in 0..=1.
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::{Tensor, ops::norm::{batch_norm, running_statistics}};
/// let x = Tensor::from_slice(&[1.0f64, 3.0], [2, 1], &device)?;
/// let (_, batch) = batch_norm(&x, None, None, 1e-5)?;
/// let (zero, one) = (batch.mean.zeros_like()?, batch.mean.ones_like()?);
/// let (mean, variance) = running_statistics(&zero, &one, &batch, 0.75, true)?;
/// assert_eq!((mean.item()?, variance.item()?), (0.5, 1.25)); // of 2, and of 2 · 1
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
#[track_caller]
pub fn running_statistics(
    running_mean: &Tensor,
    running_variance: &Tensor,
    batch: &Statistics,
    decay: f64,
    unbiased: bool,
) -> Result<(Tensor, Tensor)> {
    let op = "running_statistics";
    let operands = [running_mean, running_variance, &batch.mean, &batch.variance];
    let device = one_device(op, &operands)?;
    let metas = operands.map(Tensor::meta);
    op::same_float(op, &metas)?;
    if !(0.0..=1.0).contains(&decay) {
        return Err(Error::argument(op, format!("decay {decay} must be in 0..=1")));
    }
    let shapes = metas.map(|meta| meta.shape);
    let channels = shapes[0].elements();
    let parts = shapes[2].elements().checked_div(channels).unwrap_or(1);
    let fits = shapes[0].rank() == 1
        && shapes[1] == shapes[0]
        && shapes[2].dims().last() == Some(&channels)
        && shapes[3] == shapes[2];
    if !fits {
        let rule = "wants running statistics [C], and the batch's [C] or [parts, C]";
        return Err(Error::shape(op, &shapes, rule));
    }
    let count = batch.count as f64;
    let correction = if unbiased { count / (count - 1.0) } else { 1.0 };
    let (parts, channels, taken) = (parts as u32, channels as u32, 1.0 - decay);
    let params = RunningParams { parts, channels, decay, taken, correction }.encode();
    let wanted = [metas[0], metas[1]];
    let mut moved =
        op::launch_on(device, KernelId::running_statistics, params, &operands, &wanted)?;
    let (variance, mean) = (moved.pop(), moved.pop());
    Ok(mean.zip(variance).expect("a kernel launch returns one tensor per output"))
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
    instance_norm_leaky_relu(x, gamma, beta, epsilon, 1.0)
}

/// As [`instance_norm`], followed by a leaky ReLU of `slope` (0: ReLU; 1: none) in the same pass.
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::{Tensor, ops::norm::instance_norm_leaky_relu};
/// let x = Tensor::from_slice(&[1.0f64, 3.0], [1, 2, 1], &device)?;
/// let y = instance_norm_leaky_relu(&x, None, None, 1e-12, 0.25)?.to_vec::<f64>()?;
/// assert!((y[0] + 0.25).abs() < 1e-9 && (y[1] - 1.0).abs() < 1e-9);
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
#[track_caller]
pub fn instance_norm_leaky_relu(
    x: &Tensor,
    gamma: Option<&Tensor>,
    beta: Option<&Tensor>,
    epsilon: f64,
    slope: f64,
) -> Result<Tensor> {
    let op = Norm { name: "instance_norm", groups: Groups::Instances, epsilon, slope };
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

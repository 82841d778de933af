//! Batch norm in its two halves, for whom something happens between them: the sums over rows, and what is made of each
//! element with them.
//!
//! Their mathematics and costs are in the header of [`mod@super::norm`]: `norm` is `norm_statistics` and then `norm_apply`,
//! `norm_grad` is `norm_grad_sums` and then `norm_grad_apply`. Each backend computes the whole and its halves by the same
//! functions; but what goes from one half to the other is rounded to the tensors' type, which within the whole it need not
//! be.
//!
//! None is differentiated. [`super::norm_over_ranks`] is made of them, and has a derivative.

use super::finite::one_device;
use super::norm::{NormParams, Statistics, check_epsilon};
use crate::device::Meta;
use crate::error::{Error, Result};
use crate::kernel::{KernelId, Params};
use crate::op;
use crate::{Shape, Tensor};

/// `[G, R, C]` of an x of so many parts, or why it has not so many.
#[track_caller]
fn extents(op: &'static str, x: Shape, parts: usize) -> Result<[usize; 3]> {
    let refuse = |rule: String| Err(Error::shape(op, &[x], rule));
    let Some((&channels, leading)) =
        x.dims().split_last().filter(|(_, leading)| !leading.is_empty())
    else {
        return refuse("wants x: [.., C] with at least one axis before the channels".into());
    };
    if parts == 0 || !leading[0].is_multiple_of(parts) {
        return refuse(format!("the first axis must consist of {parts} equal parts"));
    }
    let rows = leading.iter().product::<usize>() / parts;
    if rows == 0 || channels == 0 {
        return refuse("an empty axis has no mean".into());
    }
    Ok([parts, rows, channels])
}

/// The mean and the biased variance of each channel of each of the `parts` that x consists of along its first axis, both
/// `[parts, C]`. A single value has the variance 0. Constants to the graph.
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::{Tensor, ops::norm_halves::norm_statistics};
/// let x = Tensor::from_slice(&[1.0f64, 3.0, 10.0, 30.0], [4, 1], &device)?;
/// let statistics = norm_statistics(&x, 2)?;
/// assert_eq!(statistics.mean.to_vec::<f64>()?, [2.0, 20.0]);
/// assert_eq!(statistics.variance.to_vec::<f64>()?, [1.0, 100.0]);
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
#[track_caller]
pub fn norm_statistics(x: &Tensor, parts: usize) -> Result<Statistics> {
    let op = "norm_statistics";
    let dtype = op::same_float(op, &[x.meta()])?;
    let [groups, rows, channels] = extents(op, x.shape(), parts)?;
    let (of_each, count) = (Meta::new([groups, channels], dtype), rows);
    let [groups, rows, channels] = [groups, rows, channels].map(|extent| extent as u32);
    // What the sums do not ask for: no epsilon, no activation.
    let params = NormParams { groups, rows, channels, epsilon: 0.0, slope: 1.0 }.encode();
    let mut made =
        op::launch_on(x.device(), KernelId::norm_statistics, params, &[x], &[of_each; 2])?;
    let (variance, mean) = (made.pop(), made.pop());
    let (mean, variance) =
        mean.zip(variance).expect("a kernel launch returns one tensor per output");
    Ok(Statistics { mean, variance, count })
}

/// What the halves after the statistics are given: statistics of any origin, for each of the parts of x.
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::{Tensor, ops::norm_halves::Normalization};
/// let numbers = |values: &[f64], shape: [usize; 2]| Tensor::from_slice(values, shape, &device);
/// let (one, zero) = (Tensor::full(1.0, [1], belamy_tensor::DType::F64, &device)?, numbers(&[0.0], [1, 1])?);
/// let (x, h) = (numbers(&[1.0, 3.0], [2, 1])?, numbers(&[5.0, 7.0], [2, 1])?);
/// let norm = Normalization {
///     x: &x,
///     gamma: &one,
///     beta: &zero.reshape([1])?,
///     mean: &numbers(&[2.0], [1, 1])?,
///     variance: &numbers(&[0.75], [1, 1])?,
///     epsilon: 0.25,
///     slope: 0.0,
/// };
/// assert_eq!(norm.apply()?.to_vec::<f64>()?, [0.0, 1.0]);
/// let sums = norm.grad_sums(&h)?;
/// assert_eq!(sums.sums.to_vec::<f64>()?, [7.0, 7.0]); // of 0 and 7, times −1 and 1
/// assert_eq!(norm.grad_apply(&h, &sums.sums)?.to_vec::<f64>()?, [0.0, 0.0]);
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Normalization<'a> {
    /// What is normalised, `[.., C]`.
    pub x: &'a Tensor,
    /// What it is scaled by, `[C]`.
    pub gamma: &'a Tensor,
    /// What it is shifted by, `[C]`.
    pub beta: &'a Tensor,
    /// The mean of each channel of each part, `[G, C]`.
    pub mean: &'a Tensor,
    /// The biased variance of each, `[G, C]`.
    pub variance: &'a Tensor,
    /// What is added to variances.
    pub epsilon: f64,
    /// Of the leaky ReLU behind it; 1 for none.
    pub slope: f64,
}

/// What `norm_grad_sums` finds.
#[derive(Debug, Clone)]
pub struct GradSums {
    /// Sums over the rows of g and of g (x − mean), `[2, G, C]`.
    pub sums: Tensor,
    /// The gradient of gamma, `[C]`.
    pub grad_gamma: Tensor,
    /// The gradient of beta, `[C]`.
    pub grad_beta: Tensor,
}

impl Normalization<'_> {
    /// The parameters, where all operands and `others` fit.
    #[track_caller]
    fn params(&self, op: &'static str, others: &[&Tensor]) -> Result<Params> {
        let Normalization { x, gamma, beta, mean, variance, epsilon, slope } = *self;
        let mut operands = vec![x, gamma, beta, mean, variance];
        operands.extend(others);
        one_device(op, &operands)?;
        op::same_float(op, &operands.iter().map(|operand| operand.meta()).collect::<Vec<_>>())?;
        check_epsilon(op, epsilon)?;
        if !slope.is_finite() {
            return Err(Error::argument(op, format!("slope {slope} must be a finite number")));
        }
        let extents = extents(op, x.shape(), mean.dims().first().copied().unwrap_or(0))?;
        let [groups, _, channels] = extents;
        let shapes: Vec<Shape> = operands.iter().map(|operand| operand.shape()).collect();
        if shapes[1..3].iter().any(|shape| shape.dims() != [channels])
            || shapes[3..5].iter().any(|shape| shape.dims() != [groups, channels])
        {
            let rule = "wants x: [.., C], gamma and beta: [C], mean and variance: [parts, C]";
            return Err(Error::shape(op, &shapes, rule));
        }
        let [groups, rows, channels] = extents.map(|extent| extent as u32);
        Ok(NormParams { groups, rows, channels, epsilon, slope }.encode())
    }

    /// The cotangent has the shape of x.
    #[track_caller]
    fn check_cotangent(&self, op: &'static str, h: &Tensor) -> Result<()> {
        if h.shape() == self.x.shape() {
            return Ok(());
        }
        let shapes = [self.x.shape(), h.shape()];
        Err(Error::shape(op, &shapes, "the cotangent must have the shape of x"))
    }

    /// `y = leaky_relu(gamma (x − mean) / √(variance + ε) + beta)`, a constant to the graph.
    #[track_caller]
    pub fn apply(&self) -> Result<Tensor> {
        let params = self.params("norm_apply", &[])?;
        let Normalization { x, gamma, beta, mean, variance, .. } = *self;
        let operands = [x, gamma, beta, mean, variance];
        launch(KernelId::norm_apply, params, &operands, &[x.meta()]).map(|[y]| y)
    }

    /// Sums over the rows of what the activation passes of the cotangent `h`.
    #[track_caller]
    pub fn grad_sums(&self, h: &Tensor) -> Result<GradSums> {
        let op = "norm_grad_sums";
        let params = self.params(op, &[h])?;
        self.check_cotangent(op, h)?;
        let Normalization { x, gamma, beta, mean, variance, .. } = *self;
        let [groups, channels] = [mean.dims()[0], mean.dims()[1]];
        let metas = [Meta::new([2, groups, channels], x.dtype()), gamma.meta(), beta.meta()];
        let operands = [x, gamma, beta, h, mean, variance];
        let [sums, grad_gamma, grad_beta] =
            launch(KernelId::norm_grad_sums, params, &operands, &metas)?;
        Ok(GradSums { sums, grad_gamma, grad_beta })
    }

    /// The gradient of x from the cotangent `h` and sums as [`Normalization::grad_sums`] has them: this x's for the
    /// gradient of its own statistics, the mean of everybody's for that of everybody's.
    #[track_caller]
    pub fn grad_apply(&self, h: &Tensor, sums: &Tensor) -> Result<Tensor> {
        let op = "norm_grad_apply";
        let params = self.params(op, &[h, sums])?;
        self.check_cotangent(op, h)?;
        let Normalization { x, gamma, beta, mean, variance, .. } = *self;
        if sums.dims() != [2, mean.dims()[0], mean.dims()[1]] {
            let shapes = [x.shape(), sums.shape()];
            return Err(Error::shape(op, &shapes, "wants sums: [2, parts, C]"));
        }
        let operands = [x, gamma, beta, h, mean, variance, sums];
        launch(KernelId::norm_grad_apply, params, &operands, &[x.meta()]).map(|[grad_x]| grad_x)
    }
}

fn launch<const N: usize>(
    kernel: KernelId,
    params: Params,
    inputs: &[&Tensor],
    outputs: &[Meta; N],
) -> Result<[Tensor; N]> {
    let made = op::launch_on(inputs[0].device(), kernel, params, inputs, outputs)?;
    Ok(made.try_into().expect("a kernel launch returns one tensor per output"))
}

//! Batch normalisation whose statistics are those of all ranks' batches together: synchronised batch norm.
//!
//! ```text
//! N ranks, each with x_r: [G parts, R rows, C channels]; statistics of a rank by itself: m_r, v_r      [G, C]
//!
//! mean     = 1/N Σ_r m_r
//! variance = 1/N Σ_r (v_r + (m_r − mean)²)                          no difference of large numbers: Chan et al. (1979)
//! y        = leaky_relu(gamma (x − mean) s + beta),   s = 1 / √(variance + ε)
//!
//! backward, from the cotangent h, with g = u > 0 ? h : slope h and x̂ = (x − mean) s:
//!   grad_gamma = Σ_G,R g x̂,  grad_beta = Σ_G,R g                     of this rank: what all have is for the caller to add
//!   grad_x     = gamma s (g − 1/NR Σ_r Σ_R g − x̂ 1/NR Σ_r Σ_R g x̂)
//! ```
//!
//! It is made of the kernels of [`mod@norm`]: `norm` gives this rank's statistics and its own x̂_r, of which
//! y = leaky_relu(a x̂_r + b) with a and b of a channel; `norm_grad`, given the statistics of all, gives the sums of this
//! rank and a grad_x with those in the place of everybody's, which p + q x puts right. Cost beside batch norm of one
//! rank: another `norm` (or three passes, of several parts) and three passes on the way back, and two exchanges of 2 G C
//! numbers.
//!
//! A derivative that will be differentiated again goes through the definition in primitives, with
//! [`all_reduce_mean`] in the place of the means.

use super::all_reduce::all_reduce_mean;
use super::concat::concat;
use super::norm::{self, NormParams, Statistics, batch_norm_leaky_relu};
use crate::Tensor;
use crate::autograd::{Backward, Graph};
use crate::communicator::Ranks;
use crate::device::Meta;
use crate::error::{Error, Result};
use crate::kernel::{KernelId, Params};
use crate::op::{self, Launch, Op};

#[derive(Debug, Clone)]
struct NormOverRanks {
    ranks: Ranks,
    parts: usize,
    epsilon: f64,
    slope: f64,
}

impl NormOverRanks {
    /// Parts, rows and channels of a rank's x.
    fn extents(&self, x: Meta) -> [usize; 3] {
        let channels = x.shape.dims().last().copied().unwrap_or(1);
        [self.parts, x.shape.elements() / (self.parts * channels).max(1), channels]
    }

    /// The parameters of a kernel for one part.
    fn params_of_a_part(&self, x: Meta) -> Params {
        let [_, rows, channels] = self.extents(x).map(|extent| extent as u32);
        let (epsilon, slope) = (self.epsilon, self.slope);
        NormParams { groups: 1, rows, channels, epsilon, slope }.encode()
    }

    fn definition(&self, inputs: &[Tensor]) -> Result<Tensor> {
        let (x, gamma, beta) = (&inputs[0], &inputs[1], &inputs[2]);
        let mean = |x: &Tensor| all_reduce_mean(&x.mean(&[1])?, &self.ranks);
        let [parts, rows, channels] = self.extents(x.meta());
        let grouped = x.reshape([parts, rows, channels])?;
        let centre = mean(&grouped)?.reshape([parts, 1, channels])?;
        let centred = grouped.sub(&centre)?;
        let variance = mean(&centred.square()?)?.reshape([parts, 1, channels])?;
        let deviation = variance.add_scalar(self.epsilon)?.sqrt()?;
        let y = centred.div(&deviation)?.mul(gamma)?.add(beta)?.reshape(x.shape())?;
        if self.slope == 1.0 { Ok(y) } else { y.leaky_relu(self.slope) }
    }
}

impl Op for NormOverRanks {
    fn name(&self) -> &'static str {
        "batch_norm_over_ranks"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        op::same_float(self.name(), inputs)?;
        Ok(inputs[0])
    }

    /// What a rank launches of it by itself.
    fn launch(&self, inputs: &[Meta], _output: Meta) -> Launch {
        Launch::Kernel(KernelId::norm, self.params_of_a_part(inputs[0]))
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        if cx.graph == Graph::Keep {
            return cx.through(|inputs| self.definition(inputs));
        }
        let (x, gamma, beta) = (&cx.inputs[0], &cx.inputs[1], &cx.inputs[2]);
        let [parts, rows, channels] = self.extents(x.meta());
        let [mean, variance] = [&cx.saved[0], &cx.saved[1]];
        let (flat, grad) =
            (x.reshape([parts * rows, channels])?, cx.grad.reshape([parts * rows, channels])?);
        let mut own = Vec::new();
        for part in 0..parts {
            let rows_of = |all: &Tensor| {
                if parts == 1 { Ok(all.clone()) } else { all.slice(0, part * rows, rows) }
            };
            let (x, grad) = (rows_of(&flat)?, rows_of(&grad)?);
            let [mean, variance] = [mean.slice(0, part, 1)?, variance.slice(0, part, 1)?];
            let grads = op::launch_on(
                x.device(),
                KernelId::norm_grad,
                self.params_of_a_part(cx.inputs[0].meta()),
                &[&x, gamma, beta, &grad, &mean, &variance],
                &[x.meta(), gamma.meta(), gamma.meta()],
            )?;
            own.push(grads);
        }
        // Sums of g x̂, then of g: [2, G, C], this rank's and the mean of all ranks'.
        let mut sums = Vec::new();
        for which in [1, 2] {
            for grads in &own {
                sums.push(grads[which].reshape([1, channels])?);
            }
        }
        let sums = concat(&sums.iter().collect::<Vec<_>>(), 0)?.reshape([2, parts, channels])?;
        let beyond = sums.sub(&all_reduce_mean(&sums, &self.ranks)?)?;
        let beyond = beyond.mul_scalar(1.0 / rows as f64)?;
        let [of_products, of_grads] =
            [0, 1].map(|which| beyond.slice(0, which, 1)?.reshape([parts, channels]));
        let scale = variance.add_scalar(self.epsilon)?.sqrt()?.reciprocal()?;
        let q = scale.square()?.mul(gamma)?.mul(&of_products?)?;
        let p = scale.mul(gamma)?.mul(&of_grads?)?.sub(&q.mul(mean)?)?;
        let grads_x: Vec<&Tensor> = own.iter().map(|grads| &grads[0]).collect();
        let grad_x = if parts == 1 { grads_x[0].clone() } else { concat(&grads_x, 0)? };
        let shape = [parts, rows, channels];
        let per_channel = |of: Tensor| of.reshape([parts, 1, channels]);
        let put_right = x.reshape(shape)?.mul(&per_channel(q)?)?.add(&per_channel(p)?)?;
        let grad_x = grad_x.reshape(shape)?.add(&put_right)?.reshape(x.shape())?;
        let total = |which: usize| sums.slice(0, which, 1)?.sum(&[0, 1])?.reshape([channels]);
        Ok(vec![Some(grad_x), Some(total(0)?), Some(total(1)?)])
    }

    fn reference(&self, inputs: &[Tensor]) -> Option<Result<Tensor>> {
        Some(self.definition(inputs))
    }
}

/// As [`batch_norm_leaky_relu`], with the statistics of all ranks' batches of this shape together. Differentiable to any
/// order: gradients of `x` are whole, those of `gamma` and `beta` this rank's share of a sum over ranks.
///
/// Fails as that does, but takes one value a channel on each rank; and when a rank has left.
#[track_caller]
pub fn batch_norm_over_ranks(
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    epsilon: f64,
    slope: f64,
    parts: usize,
    ranks: &Ranks,
) -> Result<(Tensor, Statistics)> {
    if ranks.size() == 1 {
        return batch_norm_leaky_relu(x, Some(gamma), Some(beta), epsilon, slope, parts);
    }
    let op = NormOverRanks { ranks: ranks.clone(), parts, epsilon, slope };
    let [parts, rows, channels] = op.extents(x.meta());
    let (own, local) = norm::of_any_count(&x.detach(), None, None, epsilon, 1.0, parts)?;
    let (mean, variance) = together(&local.mean, &local.variance, ranks)?;
    let deviation = |variance: &Tensor| variance.add_scalar(epsilon)?.sqrt();
    let scale = gamma.detach().div(&deviation(&variance)?)?;
    let a = scale.mul(&deviation(&local.variance)?)?;
    let b = scale.mul(&local.mean.sub(&mean)?)?.add(&beta.detach())?;
    let y = if parts == 1 {
        // The kernel does the same again with other factors: one pass instead of three.
        let (a, b) = (a.reshape([channels])?, b.reshape([channels])?);
        norm::of_any_count(&x.detach(), Some(&a), Some(&b), epsilon, slope, 1)?.0
    } else {
        let per_channel = |of: Tensor| of.reshape([parts, 1, channels]);
        let own = own.reshape([parts, rows, channels])?;
        let y = own.mul(&per_channel(a)?)?.add(&per_channel(b)?)?.reshape(x.shape())?;
        if slope == 1.0 { y } else { y.leaky_relu(slope)? }
    };
    let saved = vec![mean.clone(), variance.clone()];
    let y = Tensor::recorded(op, &[x, gamma, beta], x.meta(), y.buffer().clone(), saved);
    Ok((y, Statistics { mean, variance, count: rows * ranks.size() }))
}

/// The statistics of all ranks' batches together from those of each rank's: for running statistics, which are to be the
/// same everywhere, of batches that every rank has normalised by its own. Fails when a rank has left.
///
/// Exact: the variance of all is the mean of the ranks' and the spread of their means (Chan et al., 1979).
#[track_caller]
pub fn statistics_over_ranks(own: &Statistics, ranks: &Ranks) -> Result<Statistics> {
    let (mean, variance) = together(&own.mean, &own.variance, ranks)?;
    Ok(Statistics { mean, variance, count: own.count * ranks.size() })
}

/// The mean and the variance of all ranks' numbers from those of each rank's, `[G, C]`.
fn together(mean: &Tensor, variance: &Tensor, ranks: &Ranks) -> Result<(Tensor, Tensor)> {
    let mut mine = mean.to_f64()?;
    let length = mine.len();
    mine.extend(variance.to_f64()?);
    let all = ranks.all_gather(bytemuck::cast_slice(&mine))?;
    let all = all
        .iter()
        .map(|bytes| {
            let numbers = bytes.as_chunks().0.iter().map(|&bytes| f64::from_ne_bytes(bytes));
            match numbers.collect::<Vec<f64>>() {
                numbers if numbers.len() == 2 * length => Ok(numbers),
                _ => Err(Error::ranks("ranks normalise different numbers of channels")),
            }
        })
        .collect::<Result<Vec<Vec<f64>>>>()?;
    let share = 1.0 / all.len() as f64;
    let (mut means, mut variances) = (vec![0.0; length], vec![0.0; length]);
    for c in 0..length {
        means[c] = all.iter().map(|rank| rank[c]).sum::<f64>() * share;
        let spread = |rank: &Vec<f64>| rank[length + c] + (rank[c] - means[c]).powi(2);
        variances[c] = all.iter().map(spread).sum::<f64>() * share;
    }
    let tensor = |values: &[f64], like: &Tensor| {
        Tensor::from_f64(values, like.shape(), like.dtype(), like.device())
    };
    Ok((tensor(&means, mean)?, tensor(&variances, variance)?))
}

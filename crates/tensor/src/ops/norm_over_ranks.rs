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
//! It is made of batch norm's halves ([`super::norm_halves`]): `norm_statistics`, an exchange, `norm_apply`; and on the way
//! back `norm_grad_sums`, an exchange, `norm_grad_apply`. A rank's rows are as many as everybody's, so the mean over ranks of
//! the sums over rows, divided by R, is the mean over all rows. Cost beside batch norm of one rank: the two exchanges, of
//! 2 G C numbers each.
//!
//! A derivative that will be differentiated again goes through the definition in primitives, with
//! [`all_reduce_mean`] in the place of the means.

use super::all_reduce::{all_reduce_mean, all_reduce_means};
use super::norm::{NormParams, Statistics, batch_norm_leaky_relu};
use super::norm_halves::{Normalization, norm_statistics};
use crate::Tensor;
use crate::autograd::{Backward, Graph};
use crate::communicator::Ranks;
use crate::device::Meta;
use crate::error::{Error, Result};
use crate::kernel::KernelId;
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

    /// What a rank launches when it knows everybody's statistics.
    fn launch(&self, inputs: &[Meta], _output: Meta) -> Launch {
        let [groups, rows, channels] = self.extents(inputs[0]).map(|extent| extent as u32);
        let (epsilon, slope) = (self.epsilon, self.slope);
        let params = NormParams { groups, rows, channels, epsilon, slope };
        Launch::Kernel(KernelId::norm_apply, params.encode())
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        if cx.graph == Graph::Keep {
            return cx.through(|inputs| self.definition(inputs));
        }
        let norm = Normalization {
            x: &cx.inputs[0],
            gamma: &cx.inputs[1],
            beta: &cx.inputs[2],
            mean: &cx.saved[0],
            variance: &cx.saved[1],
            epsilon: self.epsilon,
            slope: self.slope,
        };
        let own = norm.grad_sums(cx.grad)?;
        let everybodys = all_reduce_means(&[own.sums], &self.ranks)?;
        let grad_x = norm.grad_apply(cx.grad, &everybodys[0])?;
        Ok(vec![Some(grad_x), Some(own.grad_gamma), Some(own.grad_beta)])
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
    let statistics = statistics_over_ranks(&norm_statistics(x, parts)?, ranks)?;
    let Statistics { mean, variance, .. } = &statistics;
    let y = Normalization { x, gamma, beta, mean, variance, epsilon, slope }.apply()?;
    let op = NormOverRanks { ranks: ranks.clone(), parts, epsilon, slope };
    let saved = vec![mean.clone(), variance.clone()];
    let y = Tensor::recorded(op, &[x, gamma, beta], x.meta(), y.buffer().clone(), saved);
    Ok((y, statistics))
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
    if ranks.on_device(mean.device()).is_some() {
        let all = |x: &Tensor| all_reduce_means(std::slice::from_ref(x), ranks);
        let centre = all(&mean.detach())?.remove(0);
        let spread = variance.detach().add(&mean.detach().sub(&centre)?.square()?)?;
        return Ok((centre, all(&spread)?.remove(0)));
    }
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

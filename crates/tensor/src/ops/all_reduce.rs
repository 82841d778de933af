//! Sums over the ranks that share a batch.
//!
//! ```text
//! all_reduce_sum    y = Σ_r x_r        the same y on every rank r
//! ```
//!
//! Seen from all ranks together, with L = Σ_r L_r the sum of what each one differentiates, dL/dx_r = Σ_s dL_s/dy: the
//! derivative is the same op, so it is right to any order. Numbers go through the host, unless the device has a way of its
//! own ([`crate::communicator::joined`]). A rank whose graph does not
//! lead through the op would not take part in its backward pass: all ranks run the same program.

use crate::autograd::Backward;
use crate::communicator::{Communicator, Numbers, Order, Ranks, Reduction};
use crate::device::Meta;
use crate::error::Result;
use crate::op::{self, Launch, Op};
use crate::{DType, Element, Tensor};

#[derive(Debug, Clone)]
struct AllReduceSum(Ranks);

impl Op for AllReduceSum {
    fn name(&self) -> &'static str {
        "all_reduce_sum"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        op::same_float(self.name(), inputs)?;
        Ok(inputs[0])
    }

    fn launch(&self, _inputs: &[Meta], _output: Meta) -> Launch {
        Launch::AllReduceSum(self.0.clone())
    }

    fn reads_input(&self, _index: usize, _tracked: &[bool]) -> bool {
        false
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(all_reduce_sum(cx.grad, &self.0)?)])
    }
}

/// The sum over all ranks of each one's `x`, of the same shape everywhere. Differentiable to any order. Fails when a rank
/// has left.
#[track_caller]
pub fn all_reduce_sum(x: &Tensor, ranks: &Ranks) -> Result<Tensor> {
    if ranks.size() == 1 {
        return Ok(x.clone());
    }
    op::apply(AllReduceSum(ranks.clone()), &[x])
}

/// The mean over all ranks: [`all_reduce_sum`] divided by their number.
#[track_caller]
pub fn all_reduce_mean(x: &Tensor, ranks: &Ranks) -> Result<Tensor> {
    all_reduce_sum(x, ranks)?.mul_scalar(1.0 / ranks.size() as f64)
}

/// The means over all ranks of several tensors in one exchange: a network's gradients. Constants to the graph.
pub fn all_reduce_means(tensors: &[Tensor], ranks: &Ranks) -> Result<Vec<Tensor>> {
    if ranks.size() == 1 {
        return Ok(tensors.to_vec());
    }
    let Some(first) = tensors.first() else { return Ok(Vec::new()) };
    if let Some(own) = ranks.on_device(first.device()) {
        let mean = |tensor| own.all_reduce_tensor(Reduction::Mean, tensor, Order::InTurn);
        return tensors.iter().map(mean).collect();
    }
    match first.dtype() {
        DType::F64 => means::<f64>(tensors, ranks),
        _ => means::<f32>(tensors, ranks),
    }
}

/// Numbers that ranks average.
pub(super) trait Averaged: Element {
    /// Puts the means over all ranks, element by element, in the place of each one's numbers.
    fn average(values: &mut [Self], ranks: &dyn Communicator) -> Result<()>;
}

impl Averaged for f32 {
    fn average(values: &mut [f32], ranks: &dyn Communicator) -> Result<()> {
        ranks.all_reduce_sum(Numbers::F32(values))?;
        let share = 1.0 / ranks.size() as f32;
        values.iter_mut().for_each(|sum| *sum *= share);
        Ok(())
    }
}

impl Averaged for f64 {
    fn average(values: &mut [f64], ranks: &dyn Communicator) -> Result<()> {
        ranks.all_reduce_sum(Numbers::F64(values))?;
        let share = 1.0 / ranks.size() as f64;
        values.iter_mut().for_each(|sum| *sum *= share);
        Ok(())
    }
}

fn means<E: Averaged>(tensors: &[Tensor], ranks: &Ranks) -> Result<Vec<Tensor>> {
    let mut all = vec![E::zeroed(); tensors.iter().map(|x| x.shape().elements()).sum()];
    let mut rest = &mut all[..];
    for tensor in tensors {
        let (own, others) = rest.split_at_mut(tensor.shape().elements());
        tensor.read_into(own)?;
        rest = others;
    }
    E::average(&mut all, &**ranks)?;
    let mut rest = &all[..];
    tensors
        .iter()
        .map(|tensor| {
            let (own, others) = rest.split_at(tensor.shape().elements());
            rest = others;
            Tensor::from_slice(own, tensor.shape(), tensor.device())
        })
        .collect()
}

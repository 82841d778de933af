//! ONNX's losses and optimisers in ours.

use super::super::arrange::{log_softmax, reshaped};
use super::super::problem::{Mapped, left_out};
use super::Mapping;
use super::node::{Node, Value};
use belamy_tensor::Tensor;
use belamy_tensor::ops::optimizer::{AdamOptions, EpsilonForm, SgdOptions, adam, sgd};
use belamy_tensor::ops::reduce::pick;

/// The mapping of an operator of this family.
pub(super) fn find(operator: &str) -> Option<Mapping> {
    let mapping: Mapping = match operator {
        "NegativeLogLikelihoodLoss" => |node| Ok(vec![Value::Float(loss(node, &node.tensor(0)?)?)]),
        "SoftmaxCrossEntropyLoss" => |node| {
            let logarithms = log_softmax(&node.tensor(0)?, 1)?;
            let mut results = vec![Value::Float(loss(node, &logarithms)?)];
            if node.wanted > 1 {
                results.push(Value::Float(logarithms));
            }
            Ok(results)
        },
        "Adam" => adam_step,
        "Momentum" => momentum_step,
        _ => return None,
    };
    Some(mapping)
}

/// −w[t] x[n, t, ..], each, summed, or as a mean weighted by w.
fn loss(node: &Node<'_>, scores: &Tensor) -> Mapped {
    let labels = node.whole(1)?;
    let rank = scores.shape().rank();
    let classes = scores.dims()[1];
    let order: Vec<usize> = (0..rank).filter(|&axis| axis != 1).chain([1]).collect();
    let rows = labels.values.len();
    let table = reshaped(&scores.permute(&order)?, &[rows, classes])?;
    let numbers: Vec<u32> = labels.values.iter().map(|&label| label as u32).collect();
    let picked = pick(&table, &Tensor::from_slice(&numbers, [rows], scores.device())?)?;
    let weight = node.maybe(2)?.map(|weight| weight.to_f64()).transpose()?;
    let ignored = node.has("ignore_index").then(|| node.integer("ignore_index", 0));
    let weights: Vec<f64> = labels
        .values
        .iter()
        .map(|&label| {
            let weight =
                weight.as_ref().map_or(Some(1.0), |list| list.get(label as usize).copied());
            if ignored == Some(label) { 0.0 } else { weight.unwrap_or(0.0) }
        })
        .collect();
    let each = picked.mul(&node.made(&weights, &[rows])?)?.neg()?;
    Ok(match node.text("reduction", "mean") {
        "none" => reshaped(&each, &labels.dims)?,
        "sum" => each.sum_all()?,
        _ => each.sum_all()?.mul_scalar(1.0 / weights.iter().sum::<f64>())?,
    })
}

/// The learning rate, the number of updates, and the tensors in groups: parameters, gradients, moments.
fn optimizer(node: &Node<'_>, groups: usize) -> Mapped<(f64, i64, Vec<Vec<Tensor>>)> {
    let (rate, updates) = (node.number(0, 0.0)?, node.whole(1)?.values[0]);
    let each = (node.count() - 2) / groups;
    let group =
        |group: usize| (0..each).map(|place| node.tensor(2 + group * each + place)).collect();
    Ok((rate, updates, (0..groups).map(group).collect::<Mapped<_>>()?))
}

fn values(groups: [Vec<Tensor>; 2], more: Vec<Tensor>) -> Vec<Value> {
    groups.into_iter().flatten().chain(more).map(Value::Float).collect()
}

fn adam_step(node: &Node<'_>) -> Mapped<Vec<Value>> {
    let (rate, updates, groups) = optimizer(node, 4)?;
    let options = AdamOptions {
        beta_1: node.float("alpha", 0.9),
        beta_2: node.float("beta", 0.999),
        epsilon: node.float("epsilon", 0.0),
        weight_decay: node.float("norm_coefficient", 0.0),
        epsilon_form: EpsilonForm::Keras,
    };
    if updates != 0 || node.float("norm_coefficient_post", 0.0) != 0.0 {
        return left_out("corrections that our optimiser counts otherwise");
    }
    // At update 0 ONNX corrects nothing; ours corrects its first update, so the rate is taken back by as much.
    let corrected = (1.0 - options.beta_2).sqrt() / (1.0 - options.beta_1);
    let control = node.made(&[1.0, rate / corrected], &[2])?;
    let refs = |group: usize| groups[group].iter().collect::<Vec<_>>();
    let new = adam(&control, &refs(0), &refs(1), &refs(2), &refs(3), options)?;
    Ok(values([new.params, new.first_moments], new.second_moments))
}

fn momentum_step(node: &Node<'_>) -> Mapped<Vec<Value>> {
    let (rate, updates, groups) = optimizer(node, 3)?;
    if updates != 0 && node.float("beta", 1.0) != 1.0 {
        return left_out("a dampened momentum");
    }
    let options = SgdOptions {
        momentum: node.float("alpha", 0.0),
        nesterov: node.text("mode", "standard") == "nesterov",
        weight_decay: node.float("norm_coefficient", 0.0),
    };
    let control = node.made(&[1.0, rate], &[2])?;
    let refs = |group: usize| groups[group].iter().collect::<Vec<_>>();
    let new = sgd(&control, &refs(0), &refs(1), &refs(2), options)?;
    Ok(values([new.params, new.velocities], Vec::new()))
}

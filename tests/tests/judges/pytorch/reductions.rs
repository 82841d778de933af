//! PyTorch's reductions and losses in ours.

use super::super::arrange::{axes, exchanged, log_softmax, min, reshaped, without};
use super::super::problem::{COMPOSITION, INDEX, Mapped, left_out};
use super::{Call, Mapping};
use belamy_tensor::ops::loss::{bce_with_logits, bce_with_logits_mean, cross_entropy_with_logits};
use belamy_tensor::ops::pointwise::select;
use belamy_tensor::ops::reduce::pick;
use belamy_tensor::{Result, Tensor};

/// The mapping of an operator of this family.
pub(super) fn find(operator: &str) -> Option<Mapping> {
    let mapping: Mapping = match operator {
        "sum" => |call| reduced(call, |x, axes| x.sum(axes)),
        "mean" => |call| reduced(call, |x, axes| x.mean(axes)),
        "amax" => |call| reduced(call, |x, axes| x.max(axes)),
        "amin" => |call| reduced(call, min),
        "max.reduction_no_dim" => |call| reduced(call, |x, axes| x.max(axes)),
        "min.reduction_no_dim" => |call| reduced(call, min),
        "max.reduction_with_dim" => |call| extreme(call, |x| Ok(x.clone())),
        "min.reduction_with_dim" => |call| extreme(call, Tensor::neg),
        "var" | "var.unbiased" => |call| variance(call, |y| Ok(y.clone())),
        "std" | "std.unbiased" => |call| variance(call, Tensor::sqrt),
        "nn.functional.mse_loss" => {
            |call| loss(call, call.tensor("input")?.sub(&call.tensor("target")?)?.square()?)
        }
        "nn.functional.l1_loss" => {
            |call| loss(call, call.tensor("input")?.sub(&call.tensor("target")?)?.abs()?)
        }
        "nn.functional.smooth_l1_loss" => |call| {
            let beta = call.number("beta", 1.0)?;
            loss(call, huber(call, beta)?)
        },
        "nn.functional.huber_loss" => |call| {
            let delta = call.number("delta", 1.0)?;
            if delta <= 0.0 {
                return left_out(COMPOSITION);
            }
            loss(call, huber(call, delta)?.mul_scalar(delta)?)
        },
        "nn.functional.soft_margin_loss" => |call| {
            loss(call, call.tensor("input")?.mul(&call.tensor("target")?)?.neg()?.softplus()?)
        },
        "nn.functional.hinge_embedding_loss" => hinge_embedding_loss,
        "nn.functional.kl_div" => divergence,
        "nn.functional.binary_cross_entropy" => binary_cross_entropy,
        "nn.functional.binary_cross_entropy_with_logits" => binary_cross_entropy_with_logits,
        "nn.functional.cross_entropy" => cross_entropy,
        "nn.functional.nll_loss" => |call| {
            let scores = call.tensor("input")?;
            negative_log_likelihood(call, &scores)
        },
        _ => return None,
    };
    Some(mapping)
}

/// The tensor, the axes that `dim` names (all where it names none), and whether they stay with extent 1. A tensor
/// without axes has one for PyTorch here.
pub(super) fn over(call: &Call, x: &Tensor) -> Mapped<(Tensor, Vec<usize>, bool)> {
    let rank = x.shape().rank();
    let keep = call.flag("keepdim", false)?;
    let axes = match call.wholes("dim")? {
        Some(list) if !list.is_empty() => axes(rank, &list),
        _ => (0..rank).collect(),
    };
    // The axis 0 of no axes.
    let axes = if rank == 0 && axes.iter().all(|&axis| axis == 0) { Vec::new() } else { axes };
    Ok((x.clone(), axes, keep))
}

fn reduced(
    call: &Call,
    reduce: impl Fn(&Tensor, &[usize]) -> Result<Tensor>,
) -> Mapped<Vec<Tensor>> {
    let (x, axes, keep) = over(call, &call.tensor("input")?)?;
    let y = reduce(&x, &axes)?;
    Ok(vec![if keep { y } else { without(&y, &axes)? }])
}

/// The largest along an axis of what `turned` makes, in the input's numbers, and where it stands.
fn extreme(call: &Call, turned: impl Fn(&Tensor) -> Result<Tensor>) -> Mapped<Vec<Tensor>> {
    let (x, axes, keep) = over(call, &call.tensor("input")?)?;
    let (y, indices) = turned(&x)?.max_with_indices(&axes)?;
    let y = turned(&y)?;
    Ok(if keep { vec![y, indices] } else { vec![without(&y, &axes)?, without(&indices, &axes)?] })
}

fn variance(call: &Call, last: impl Fn(&Tensor) -> Result<Tensor>) -> Mapped<Vec<Tensor>> {
    let (x, axes, keep) = over(call, &call.tensor("input")?)?;
    let count: usize = axes.iter().filter_map(|&axis| x.dims().get(axis)).product();
    let correction = match (call.has("unbiased"), call.has("correction")) {
        (true, _) => f64::from(u8::from(call.flag("unbiased", true)?)),
        (_, true) => call.number("correction", 1.0)?,
        _ => 1.0,
    };
    let centred = x.sub(&x.mean(&axes)?)?;
    let y = centred.square()?.sum(&axes)?.mul_scalar(1.0 / (count as f64 - correction).max(0.0))?;
    let y = last(&y)?;
    Ok(vec![if keep { y } else { without(&y, &axes)? }])
}

/// Each element's loss, or their mean (PyTorch's default) or sum.
fn loss(call: &Call, each: Tensor) -> Mapped<Vec<Tensor>> {
    Ok(vec![match call.text("reduction") {
        Some("none") => each,
        Some("sum") => each.sum_all()?,
        Some("mean") | None => each.mean_all()?,
        Some("batchmean") => each.sum_all()?.mul_scalar(1.0 / each.dims()[0] as f64)?,
        Some(_) => return left_out(COMPOSITION),
    }])
}

/// x² / 2β below β, |x| − β/2 above.
fn huber(call: &Call, beta: f64) -> Mapped {
    let difference = call.tensor("input")?.sub(&call.tensor("target")?)?;
    let size = difference.abs()?;
    if beta == 0.0 {
        return Ok(size);
    }
    let (near, far) = (difference.square()?.mul_scalar(0.5 / beta)?, size.add_scalar(-0.5 * beta)?);
    Ok(select(&size.greater_scalar(beta)?, &far, &near)?)
}

fn hinge_embedding_loss(call: &Call) -> Mapped<Vec<Tensor>> {
    let (x, target) = (call.tensor("input")?, call.tensor("target")?);
    // Targets are 1 or −1; of any other both parts count.
    let margin = x.neg()?.add_scalar(call.number("margin", 1.0)?)?.relu()?;
    let (zero, one) = (x.zeros_like()?, target.ones_like()?);
    let unlike = |value: &Tensor| target.sub(value)?.abs()?.greater_scalar(0.0);
    let first = select(&unlike(&one)?, &margin, &zero)?;
    let second = select(&unlike(&one.neg()?)?, &x, &zero)?;
    loss(call, first.add(&second)?)
}

/// t (ln t − x), or of logarithms e^t (t − x).
fn divergence(call: &Call) -> Mapped<Vec<Tensor>> {
    let (x, target) = (call.tensor("input")?, call.tensor("target")?);
    loss(
        call,
        if call.flag("log_target", false)? {
            target.exp()?.mul(&target.sub(&x)?)?
        } else {
            target.mul(&target.log()?.sub(&x)?)?
        },
    )
}

fn weighted(call: &Call, each: Tensor) -> Mapped {
    Ok(match call.maybe("weight")? {
        Some(weight) => each.mul(&weight)?,
        None => each,
    })
}

fn binary_cross_entropy(call: &Call) -> Mapped<Vec<Tensor>> {
    let (x, target) = (call.tensor("input")?, call.tensor("target")?);
    let right = target.mul(&x.log()?)?;
    let wrong = target.one_minus()?.mul(&x.one_minus()?.log()?)?;
    loss(call, weighted(call, right.add(&wrong)?.neg()?)?)
}

fn binary_cross_entropy_with_logits(call: &Call) -> Mapped<Vec<Tensor>> {
    let (x, target) = (call.tensor("input")?, call.tensor("target")?);
    if let Some(positive) = call.maybe("pos_weight")? {
        // (1 − t) x + (1 + (w − 1) t) softplus(−x)
        let share = positive.add_scalar(-1.0)?.mul(&target)?.add_scalar(1.0)?;
        let each = target.one_minus()?.mul(&x)?.add(&share.mul(&x.neg()?.softplus()?)?)?;
        return loss(call, weighted(call, each)?);
    }
    if !call.has("weight") && matches!(call.text("reduction"), None | Some("mean")) {
        return Ok(vec![bce_with_logits_mean(&x, &target, 1.0)?]);
    }
    loss(call, weighted(call, bce_with_logits(&x, &target)?)?)
}

fn cross_entropy(call: &Call) -> Mapped<Vec<Tensor>> {
    let x = call.tensor("input")?;
    let smoothing = call.number("label_smoothing", 0.0)?;
    let axis = x.shape().rank().min(2) - 1;
    let logarithms = log_softmax(&x, axis)?;
    if call.integers("target").is_ok() {
        if smoothing != 0.0 {
            return left_out("label smoothing, which no recipe of ours has");
        }
        let plain = !call.has("weight") && !call.has("ignore_index") && x.shape().rank() == 2;
        if plain {
            let labels: Vec<u32> =
                call.integers("target")?.values.iter().map(|&label| label as u32).collect();
            let labels = Tensor::from_slice(&labels, [labels.len()], x.device())?;
            return loss(call, cross_entropy_with_logits(&x, &labels)?);
        }
        return negative_log_likelihood(call, &logarithms);
    }
    let target = call.tensor("target")?;
    let classes = x.dims()[axis] as f64;
    let target = target.mul_scalar(1.0 - smoothing)?.add_scalar(smoothing / classes)?;
    let mut products = target.mul(&logarithms)?;
    if let Some(weight) = call.maybe("weight")? {
        let mut dims = vec![1; x.shape().rank()];
        dims[axis] = weight.dims()[0];
        products = products.mul(&reshaped(&weight, &dims)?)?;
    }
    let each = without(&products.sum(&[axis])?.neg()?, &[axis])?;
    Ok(vec![match call.text("reduction") {
        Some("none") => each,
        Some("sum") => each.sum_all()?,
        _ => each.sum_all()?.mul_scalar(classes / x.shape().elements() as f64)?,
    }])
}

/// The scores of the labels' classes, weighted, those of one class perhaps ignored.
fn negative_log_likelihood(call: &Call, scores: &Tensor) -> Mapped<Vec<Tensor>> {
    let target = call.integers("target")?;
    let rank = scores.shape().rank();
    let class_axis = rank.clamp(1, 2) - 1;
    let classes = scores.dims()[class_axis];
    let ignored = call.whole("ignore_index", -100)?;
    // Classes last, so that each row is one decision.
    let mut last: Vec<usize> = (0..rank).filter(|&axis| axis != class_axis).collect();
    last.push(class_axis);
    let rows = target.values.len();
    let table = reshaped(&scores.permute(&last)?, &[rows, classes])?;
    let labels: Vec<u32> = target.values.iter().map(|&label| label as u32).collect();
    if target
        .integers()
        .iter()
        .any(|&label| label != ignored && !(0..classes as i64).contains(&label))
    {
        return left_out(INDEX);
    }
    let picked = pick(&table, &Tensor::from_slice(&labels, [rows], scores.device())?)?;
    let weight = call.maybe("weight")?.map(|weight| weight.to_f64()).transpose()?;
    let weights: Vec<f64> = target
        .integers()
        .iter()
        .map(|&label| {
            let weight =
                weight.as_ref().map_or(Some(1.0), |weight| weight.get(label as usize).copied());
            if label == ignored { 0.0 } else { weight.unwrap_or(0.0) }
        })
        .collect();
    let shape = [rows];
    let device_weights = Tensor::from_f64(&weights, shape, scores.dtype(), scores.device())?;
    let each = picked.mul(&device_weights)?.neg()?;
    Ok(vec![match call.text("reduction") {
        Some("none") => each.reshape(target.shape)?,
        Some("sum") => each.sum_all()?,
        _ => each.sum_all()?.mul_scalar(1.0 / weights.iter().sum::<f64>())?,
    }])
}

/// For a matrix: rows and columns exchanged.
pub(super) fn turned(x: &Tensor) -> Result<Tensor> {
    let rank = x.shape().rank();
    exchanged(x, rank.wrapping_sub(2), rank.wrapping_sub(1))
}

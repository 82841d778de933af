//! PyTorch's products and normalisations in ours.

use super::super::arrange::{axis, constants, exchanged, matmul, reshaped, with_axes, without};
use super::super::problem::{COMPOSITION, Mapped, left_out};
use super::{Call, Mapping};
use belamy_tensor::ops::matmul as ours;
use belamy_tensor::ops::norm::{batch_norm, instance_norm, normalize};
use belamy_tensor::{Result, Tensor};

/// The mapping of an operator of this family.
pub(super) fn find(operator: &str) -> Option<Mapping> {
    let mapping: Mapping = match operator {
        "matmul" | "mv" => |call| Ok(vec![matmul(&call.tensor("input")?, &call.tensor("other")?)?]),
        "mm" | "bmm" => |call| Ok(vec![call.tensor("input")?.matmul(&call.tensor("other")?)?]),
        "__rmatmul__" => |call| Ok(vec![matmul(&call.tensor("other")?, &call.tensor("input")?)?]),
        "dot" => |call| {
            let (a, b) = (call.tensor("input")?, call.tensor("other")?);
            let product = with_axes(&a, &[0])?.matmul(&with_axes(&b, &[1])?)?;
            Ok(vec![without(&product, &[0, 1])?])
        },
        "inner" => |call| {
            let (a, b) = (call.tensor("input")?, call.tensor("other")?);
            if a.dims().is_empty() || b.dims().is_empty() {
                return Ok(vec![a.mul(&b)?]);
            }
            if b.shape().rank() == 1 {
                return Ok(vec![matmul(&a, &b)?]);
            }
            Ok(vec![matmul(&a, &super::reductions::turned(&b)?)?])
        },
        "outer" => |call| {
            let (a, b) = (call.tensor("input")?, call.tensor("other")?);
            Ok(vec![with_axes(&a, &[1])?.matmul(&with_axes(&b, &[0])?)?])
        },
        "addmm" | "addmm.decomposed" | "addmv" | "baddbmm" => |call| {
            let product = matmul(&call.tensor("mat1")?, &call.tensor("mat2")?)?;
            Ok(vec![added(call, &product)?])
        },
        "addbmm" => |call| {
            let product = matmul(&call.tensor("mat1")?, &call.tensor("mat2")?)?.sum(&[0])?;
            Ok(vec![added(call, &without(&product, &[0])?)?])
        },
        "nn.functional.linear" => linear,
        "nn.functional.batch_norm" | "nn.functional.batch_norm.without_cudnn" => batch,
        "nn.functional.instance_norm" => instances,
        "nn.functional.group_norm" => groups,
        "nn.functional.layer_norm" => layer,
        "nn.functional.rms_norm" => root_mean_square,
        "nn.functional.normalize" => unit,
        _ => return None,
    };
    Some(mapping)
}

/// β input + α product.
fn added(call: &Call, product: &Tensor) -> Mapped {
    let input = call.tensor("input")?.mul_scalar(call.number("beta", 1.0)?)?;
    Ok(product.mul_scalar(call.number("alpha", 1.0)?)?.add(&input)?)
}

fn linear(call: &Call) -> Mapped<Vec<Tensor>> {
    let (x, w) = (call.tensor("input")?, call.tensor("weight")?);
    let (features, leading) = match x.dims() {
        [leading @ .., features] => (*features, leading.to_vec()),
        [] => return left_out("an operand without axes"),
    };
    if w.shape().rank() == 1 {
        return Ok(vec![matmul(&x, &w)?]);
    }
    let rows = reshaped(&x, &[leading.iter().product(), features])?;
    let y = ours::matmul(&rows, &w, false, true)?;
    let y = match call.maybe("bias")? {
        Some(bias) => y.add(&bias)?,
        None => y,
    };
    Ok(vec![reshaped(&y, &[leading, vec![w.dims()[0]]].concat())?])
}

/// `[N, C, ..]` with the channels last, and how that is undone.
fn channels_last(x: &Tensor) -> Result<(Tensor, Vec<usize>)> {
    let rank = x.shape().rank();
    if rank < 2 {
        return Ok((x.clone(), (0..rank).collect()));
    }
    let order: Vec<usize> = [0].into_iter().chain(2..rank).chain([1]).collect();
    Ok((x.permute(&order)?, super::super::arrange::inverse(&order)))
}

const NO_CHANNELS: &str = "a batch without a channel axis";
const NEGATIVE: &str = "a negative epsilon, which our norms refuse";

fn batch(call: &Call) -> Mapped<Vec<Tensor>> {
    let (x, back) = channels_last(&call.tensor("input")?)?;
    let (gamma, beta) = (call.maybe("weight")?, call.maybe("bias")?);
    let epsilon = call.number("eps", 1e-5)?;
    if x.shape().rank() < 2 {
        return left_out(NO_CHANNELS);
    }
    let y = if call.flag("training", false)? {
        batch_norm(&x, gamma.as_ref(), beta.as_ref(), epsilon)?.0
    } else {
        let (mean, variance) = (call.tensor("running_mean")?, call.tensor("running_var")?);
        normalize(&x, &mean, &variance, gamma.as_ref(), beta.as_ref(), epsilon)?
    };
    Ok(vec![y.permute(&back)?])
}

fn instances(call: &Call) -> Mapped<Vec<Tensor>> {
    let (x, back) = channels_last(&call.tensor("input")?)?;
    let (gamma, beta) = (call.maybe("weight")?, call.maybe("bias")?);
    let y = instance_norm(&x, gamma.as_ref(), beta.as_ref(), call.number("eps", 1e-5)?)?;
    Ok(vec![y.permute(&back)?])
}

/// Each group of channels of each sample is one instance with one channel.
fn groups(call: &Call) -> Mapped<Vec<Tensor>> {
    let x = call.tensor("input")?;
    let count = super::super::arrange::count(call.whole("num_groups", 1)?)?;
    let epsilon = call.number("eps", 1e-5)?;
    if epsilon < 0.0 {
        return left_out(NEGATIVE);
    }
    let &[n, c, ref spatial @ ..] = x.dims() else { return left_out(NO_CHANNELS) };
    if count == 0 || c % count != 0 {
        return left_out(COMPOSITION);
    }
    let each = c / count * spatial.iter().product::<usize>();
    let rows = reshaped(&x, &[n * count, each, 1])?;
    let y = reshaped(&instance_norm(&rows, None, None, epsilon)?, x.dims())?;
    let mut dims = vec![1; x.shape().rank()];
    dims[1] = c;
    Ok(vec![affine(call, y, &dims)?])
}

fn affine(call: &Call, y: Tensor, dims: &[usize]) -> Mapped {
    let y = match call.maybe("weight")? {
        Some(weight) => y.mul(&reshaped(&weight, dims)?)?,
        None => y,
    };
    Ok(match call.maybe("bias")? {
        Some(bias) => y.add(&reshaped(&bias, dims)?)?,
        None => y,
    })
}

/// What is normalised together: the last axes, of this shape.
fn normalized_shape(call: &Call, x: &Tensor) -> Mapped<Vec<usize>> {
    let shape =
        super::super::arrange::counts(&call.wholes("normalized_shape")?.unwrap_or_default())?;
    if shape.is_empty() || !x.dims().ends_with(&shape) {
        return left_out(COMPOSITION);
    }
    Ok(shape)
}

fn layer(call: &Call) -> Mapped<Vec<Tensor>> {
    let x = call.tensor("input")?;
    let shape = normalized_shape(call, &x)?;
    let epsilon = call.number("eps", 1e-5)?;
    if epsilon < 0.0 {
        return left_out(NEGATIVE);
    }
    let each: usize = shape.iter().product();
    let rows = reshaped(&x, &[x.shape().elements() / each.max(1), each, 1])?;
    let y = reshaped(&instance_norm(&rows, None, None, epsilon)?, x.dims())?;
    Ok(vec![affine(call, y, &shape)?])
}

fn root_mean_square(call: &Call) -> Mapped<Vec<Tensor>> {
    let x = call.tensor("input")?;
    let shape = normalized_shape(call, &x)?;
    let rank = x.shape().rank();
    let axes: Vec<usize> = (rank - shape.len()..rank).collect();
    let mean = x.square()?.mean(&axes)?.add_scalar(call.number("eps", f64::EPSILON)?)?;
    let y = x.div(&mean.sqrt()?)?;
    Ok(vec![affine(call, y, &shape)?])
}

fn unit(call: &Call) -> Mapped<Vec<Tensor>> {
    let (x, p) = (call.tensor("input")?, call.number("p", 2.0)?);
    if x.dims().is_empty() {
        return left_out("an operand without axes");
    }
    let axis = axis(x.shape().rank(), call.whole("dim", 1)?);
    let norm = match p {
        1.0 => x.abs()?.sum(&[axis])?,
        2.0 => x.square()?.sum(&[axis])?.sqrt()?,
        _ => return left_out("a norm of another order than 1 or 2"),
    };
    let least = constants(&x, &[call.number("eps", 1e-12)?], &[])?;
    Ok(vec![x.div(&norm.maximum(&least)?)?])
}

/// Rows and columns exchanged.
pub(super) fn transposed(x: &Tensor) -> Result<Tensor> {
    let rank = x.shape().rank();
    if rank < 2 { Ok(x.clone()) } else { exchanged(x, rank - 2, rank - 1) }
}

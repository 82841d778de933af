//! PyTorch's pointwise operators in ours.

use super::super::arrange::{axis, log_softmax, log_sum_exp, reshaped, softmax, without};
use super::super::problem::{Mapped, left_out};
use super::{Call, Mapping};
use belamy_tensor::Tensor;
use belamy_tensor::ops::pointwise::select;

fn one(y: belamy_tensor::Result<Tensor>) -> Mapped<Vec<Tensor>> {
    Ok(vec![y?])
}

/// The mapping of an operator of this family.
pub(super) fn find(operator: &str) -> Option<Mapping> {
    let mapping: Mapping = match operator {
        "abs" => |call| one(call.tensor("input")?.abs()),
        "exp" => |call| one(call.tensor("input")?.exp()),
        "log" => |call| one(call.tensor("input")?.log()),
        "sqrt" => |call| one(call.tensor("input")?.sqrt()),
        "neg" => |call| one(call.tensor("input")?.neg()),
        "sign" => |call| one(call.tensor("input")?.sign()),
        "square" => |call| one(call.tensor("input")?.square()),
        "reciprocal" => |call| one(call.tensor("input")?.reciprocal()),
        "sin" => |call| one(call.tensor("input")?.sin()),
        "cos" => |call| one(call.tensor("input")?.cos()),
        "tanh" => |call| one(call.tensor("input")?.tanh()),
        "sigmoid" => |call| one(call.tensor("input")?.sigmoid()),
        "nn.functional.relu" => |call| one(call.tensor("input")?.relu()),
        "rsqrt" => |call| one(call.tensor("input")?.sqrt()?.reciprocal()),
        "tan" => |call| {
            let x = call.tensor("input")?;
            one(x.sin()?.div(&x.cos()?))
        },
        "sinh" => |call| {
            let x = call.tensor("input")?;
            one(x.exp()?.sub(&x.neg()?.exp()?)?.mul_scalar(0.5))
        },
        "cosh" => |call| {
            let x = call.tensor("input")?;
            one(x.exp()?.add(&x.neg()?.exp()?)?.mul_scalar(0.5))
        },
        "log10" => {
            |call| one(call.tensor("input")?.log()?.mul_scalar(1.0 / std::f64::consts::LN_10))
        }
        "log2" => |call| one(call.tensor("input")?.log()?.mul_scalar(1.0 / std::f64::consts::LN_2)),
        "nn.functional.leaky_relu" => {
            |call| one(call.tensor("input")?.leaky_relu(call.number("negative_slope", 0.01)?))
        }
        "nn.functional.silu" => |call| {
            let x = call.tensor("input")?;
            one(x.mul(&x.sigmoid()?))
        },
        "nn.functional.hardtanh" => |call| {
            let (low, high) = (call.number("min_val", -1.0)?, call.number("max_val", 1.0)?);
            one(call.tensor("input")?.clamp(low, high))
        },
        "nn.functional.relu6" => |call| one(call.tensor("input")?.clamp(0.0, 6.0)),
        "nn.functional.hardsigmoid" => |call| {
            one(call.tensor("input")?.mul_scalar(1.0 / 6.0)?.add_scalar(0.5)?.clamp(0.0, 1.0))
        },
        "nn.functional.hardswish" => |call| {
            let x = call.tensor("input")?;
            one(x.add_scalar(3.0)?.clamp(0.0, 6.0)?.mul(&x)?.mul_scalar(1.0 / 6.0))
        },
        "nn.functional.prelu" => prelu,
        "nn.functional.softplus" => softplus,
        "nn.functional.logsigmoid" => |call| one(call.tensor("input")?.neg()?.softplus()?.neg()),
        "nn.functional.softsign" => |call| {
            let x = call.tensor("input")?;
            one(x.div(&x.abs()?.add_scalar(1.0)?))
        },
        "nn.functional.tanhshrink" => |call| {
            let x = call.tensor("input")?;
            one(x.sub(&x.tanh()?))
        },
        "nn.functional.threshold" => |call| {
            let x = call.tensor("input")?;
            let above = x.greater_scalar(call.number("threshold", f64::NAN)?)?;
            one(select(&above, &x, &call.tensor("value")?))
        },
        "nn.functional.elu" => |call| {
            let x = call.tensor("input")?;
            let below = x.minimum(&x.zeros_like()?)?.exp()?.add_scalar(-1.0)?;
            let below = below.mul_scalar(call.number("alpha", 1.0)?)?;
            one(select(&x.greater_scalar(0.0)?, &x, &below))
        },
        "nn.functional.glu" => glu,
        "softmax" => |call| over_axis(call, softmax),
        "log_softmax" => |call| over_axis(call, log_softmax),
        "nn.functional.softmin" => |call| over_axis(call, |x, axis| softmax(&x.neg()?, axis)),
        "logsumexp" => |call| {
            let x = call.tensor("input")?;
            let (x, axes, keep) = super::reductions::over(call, &x)?;
            let y = log_sum_exp(&x, &axes)?;
            Ok(vec![if keep { y } else { without(&y, &axes)? }])
        },
        "pow" => |call| {
            // A positive base, as OpInfo draws it; our own power is a constant.
            let (base, exponent) = (call.tensor("input")?, call.tensor("exponent")?);
            one(base.log()?.mul(&exponent)?.exp())
        },
        "clamp" => |call| {
            let x = call.tensor("input")?;
            let x = if let Some(low) = call.maybe("min")? { x.maximum(&low)? } else { x };
            Ok(vec![if let Some(high) = call.maybe("max")? { x.minimum(&high)? } else { x }])
        },
        "clamp_min" => |call| one(call.tensor("input")?.maximum(&call.tensor("min")?)),
        "clamp_max" => |call| one(call.tensor("input")?.minimum(&call.tensor("max")?)),
        "maximum" | "max.binary" => {
            |call| one(call.tensor("input")?.maximum(&call.tensor("other")?))
        }
        "minimum" | "min.binary" => {
            |call| one(call.tensor("input")?.minimum(&call.tensor("other")?))
        }
        "gt" => |call| one(call.tensor("input")?.greater(&call.tensor("other")?)),
        "lt" => |call| one(call.tensor("other")?.greater(&call.tensor("input")?)),
        "add" => |call| one(call.tensor("input")?.add(&scaled(call)?)),
        "sub" => |call| one(call.tensor("input")?.sub(&scaled(call)?)),
        "rsub" => |call| {
            let alpha = call.number("alpha", 1.0)?;
            one(call.tensor("other")?.sub(&call.tensor("input")?.mul_scalar(alpha)?))
        },
        "mul" => |call| one(call.tensor("input")?.mul(&call.tensor("other")?)),
        "div.no_rounding_mode" | "true_divide" => {
            |call| one(call.tensor("input")?.div(&call.tensor("other")?))
        }
        "where" => |call| {
            one(select(
                &call.condition("condition")?,
                &call.tensor("input")?,
                &call.tensor("other")?,
            ))
        },
        "masked_fill" => |call| {
            one(select(&call.condition("mask")?, &call.tensor("value")?, &call.tensor("input")?))
        },
        "addcmul" => |call| {
            let product = call.tensor("tensor1")?.mul(&call.tensor("tensor2")?)?;
            one(call.tensor("input")?.add(&product.mul_scalar(call.number("value", 1.0)?)?))
        },
        "addcdiv" => |call| {
            let quotient = call.tensor("tensor1")?.div(&call.tensor("tensor2")?)?;
            one(call.tensor("input")?.add(&quotient.mul_scalar(call.number("value", 1.0)?)?))
        },
        "lerp" => |call| {
            let (start, end) = (call.tensor("input")?, call.tensor("end")?);
            one(start.add(&end.sub(&start)?.mul(&call.tensor("weight")?)?))
        },
        _ => return None,
    };
    Some(mapping)
}

fn scaled(call: &Call) -> Mapped {
    let other = call.tensor("other")?;
    let alpha = call.number("alpha", 1.0)?;
    Ok(if alpha == 1.0 { other } else { other.mul_scalar(alpha)? })
}

/// Along the axis `dim`; a tensor without axes is one with a single axis of extent 1.
fn over_axis(
    call: &Call,
    function: impl Fn(&Tensor, usize) -> belamy_tensor::Result<Tensor>,
) -> Mapped<Vec<Tensor>> {
    let x = call.tensor("input")?;
    let dims = x.dims().to_vec();
    let wide = if dims.is_empty() { x.reshape([1])? } else { x };
    if wide.shape().elements() == 0 {
        return left_out("an empty tensor: our maximum refuses it, where PyTorch returns it");
    }
    let y = function(&wide, axis(wide.shape().rank(), call.whole("dim", -1)?))?;
    Ok(vec![reshaped(&y, &dims)?])
}

fn prelu(call: &Call) -> Mapped<Vec<Tensor>> {
    let (x, weight) = (call.tensor("input")?, call.tensor("weight")?);
    // One slope for each of the channels, which are axis 1.
    let weight = match (weight.dims(), x.shape().rank()) {
        (&[slopes], rank) if rank > 1 => {
            let mut dims = vec![1; rank];
            dims[1] = slopes;
            reshaped(&weight, &dims)?
        }
        (&[1], _) => reshaped(&weight, &[])?,
        _ => weight,
    };
    one(x.relu()?.sub(&x.neg()?.relu()?.mul(&weight)?))
}

fn softplus(call: &Call) -> Mapped<Vec<Tensor>> {
    let (x, beta) = (call.tensor("input")?, call.number("beta", 1.0)?);
    let steep = x.mul_scalar(beta)?;
    let above = steep.greater_scalar(call.number("threshold", 20.0)?)?;
    one(select(&above, &x, &steep.softplus()?.mul_scalar(1.0 / beta)?))
}

fn glu(call: &Call) -> Mapped<Vec<Tensor>> {
    let x = call.tensor("input")?;
    let axis = axis(x.shape().rank(), call.whole("dim", -1)?);
    let half = x.dims().get(axis).copied().unwrap_or(0) / 2;
    one(x.slice(axis, 0, half)?.mul(&x.slice(axis, half, half)?.sigmoid()?))
}

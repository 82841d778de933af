//! ONNX's pointwise operators in ours.

use super::super::arrange::reshaped;
use super::super::problem::{Mapped, left_out};
use super::Mapping;
use super::host::{either, whole_binary};
use super::node::{Node, Value};
use belamy_tensor::Tensor;
use belamy_tensor::ops::pointwise::select;

/// One result of numbers.
pub(super) fn one(y: belamy_tensor::Result<Tensor>) -> Mapped<Vec<Value>> {
    Ok(vec![Value::Float(y?)])
}

fn truth(y: belamy_tensor::Result<Tensor>) -> Mapped<Vec<Value>> {
    Ok(vec![Value::Truth(y?)])
}

/// The mapping of an operator of this family.
pub(super) fn find(operator: &str) -> Option<Mapping> {
    let mapping: Mapping = match operator {
        "Abs" => |node| one(node.tensor(0)?.abs()),
        "Cos" => |node| one(node.tensor(0)?.cos()),
        "Cosh" => |node| {
            let x = node.tensor(0)?;
            one(x.exp()?.add(&x.neg()?.exp()?)?.mul_scalar(0.5))
        },
        "Exp" => |node| one(node.tensor(0)?.exp()),
        "Log" => |node| one(node.tensor(0)?.log()),
        "Neg" => |node| one(node.tensor(0)?.neg()),
        "Reciprocal" => |node| one(node.tensor(0)?.reciprocal()),
        "Relu" => |node| one(node.tensor(0)?.relu()),
        "Sigmoid" => |node| one(node.tensor(0)?.sigmoid()),
        "Sign" => |node| one(node.tensor(0)?.sign()),
        "Sin" => |node| one(node.tensor(0)?.sin()),
        "Sinh" => |node| {
            let x = node.tensor(0)?;
            one(x.exp()?.sub(&x.neg()?.exp()?)?.mul_scalar(0.5))
        },
        "Softplus" => |node| one(node.tensor(0)?.softplus()),
        "Softsign" => |node| {
            let x = node.tensor(0)?;
            one(x.div(&x.abs()?.add_scalar(1.0)?))
        },
        "Sqrt" => |node| one(node.tensor(0)?.sqrt()),
        "Tan" => |node| {
            let x = node.tensor(0)?;
            one(x.sin()?.div(&x.cos()?))
        },
        "Tanh" => |node| one(node.tensor(0)?.tanh()),
        "LeakyRelu" => |node| one(node.tensor(0)?.leaky_relu(node.float("alpha", 0.01))),
        "Elu" => |node| one(elu(&node.tensor(0)?, node.float("alpha", 1.0), 1.0)),
        "Celu" => |node| {
            let alpha = node.float("alpha", 1.0);
            one(elu(&node.tensor(0)?, alpha, 1.0 / alpha))
        },
        "Selu" => |node| {
            let (alpha, gamma) = (
                node.float("alpha", 1.673_263_192_176_818_8),
                node.float("gamma", 1.050_701_022_148_132_3),
            );
            one(elu(&node.tensor(0)?, alpha, 1.0)?.mul_scalar(gamma))
        },
        "ThresholdedRelu" => |node| {
            let x = node.tensor(0)?;
            one(x.mul(&x.greater_scalar(node.float("alpha", 1.0))?))
        },
        "HardSigmoid" => |node| {
            let (alpha, beta) = (node.float("alpha", 0.2), node.float("beta", 0.5));
            one(node.tensor(0)?.mul_scalar(alpha)?.add_scalar(beta)?.clamp(0.0, 1.0))
        },
        "HardSwish" => |node| {
            let x = node.tensor(0)?;
            one(x.mul_scalar(1.0 / 6.0)?.add_scalar(0.5)?.clamp(0.0, 1.0)?.mul(&x))
        },
        "Mish" => |node| {
            let x = node.tensor(0)?;
            one(x.mul(&x.softplus()?.tanh()?))
        },
        "Swish" => |node| {
            let x = node.tensor(0)?;
            one(x.mul(&x.mul_scalar(node.float("alpha", 1.0))?.sigmoid()?))
        },
        "Gelu" => |node| {
            if node.text("approximate", "none") != "tanh" {
                return left_out("the error function, which we do not have");
            }
            let x = node.tensor(0)?;
            let inner = x.pow_scalar(3.0)?.mul_scalar(0.044_715)?.add(&x)?;
            let inner = inner.mul_scalar((2.0 / std::f64::consts::PI).sqrt())?.tanh()?;
            one(inner.add_scalar(1.0)?.mul(&x)?.mul_scalar(0.5))
        },
        "Shrink" => |node| {
            let (x, bias, edge) =
                (node.tensor(0)?, node.float("bias", 0.0), node.float("lambd", 0.5));
            let above = x.add_scalar(-bias)?.mul(&x.greater_scalar(edge)?)?;
            let below = x.add_scalar(bias)?.mul(&x.neg()?.greater_scalar(edge)?)?;
            one(above.add(&below))
        },
        "PRelu" => |node| {
            let (x, slope) = (node.tensor(0)?, node.tensor(1)?);
            // Before version 7 a list of slopes was of the channels.
            let slope = match *slope.dims() {
                [slopes] if node.opset < 7 && slopes > 1 => {
                    let mut dims = vec![1; x.shape().rank()];
                    dims[1] = slopes;
                    reshaped(&slope, &dims)?
                }
                _ => slope,
            };
            one(x.relu()?.sub(&x.neg()?.relu()?.mul(&slope)?))
        },
        "Clip" => clip,
        "Add" => |node| either(node, |a, b| a.checked_add(b), Tensor::add),
        "Sub" => |node| either(node, |a, b| a.checked_sub(b), Tensor::sub),
        "Mul" => |node| either(node, |a, b| a.checked_mul(b), Tensor::mul),
        "Div" => |node| either(node, |a, b| a.checked_div(b), Tensor::div),
        "Pow" => power,
        "Max" => |node| folded(node, Tensor::maximum),
        "Min" => |node| folded(node, Tensor::minimum),
        "Sum" => |node| folded(node, Tensor::add),
        "Mean" => |node| {
            let all = node.tensors()?;
            one(sum(&all, Tensor::add)?.mul_scalar(1.0 / all.len() as f64))
        },
        "Greater" => |node| truth(node.tensor(0)?.greater(&node.tensor(1)?)),
        "Less" => |node| match (node.value(0), node.value(1)) {
            (Some(Value::Whole(_)), _) => Ok(vec![whole_truth(node, |a, b| a < b)?]),
            _ => truth(node.tensor(1)?.greater(&node.tensor(0)?)),
        },
        "GreaterOrEqual" => |node| truth(node.tensor(1)?.greater(&node.tensor(0)?)?.one_minus()),
        "LessOrEqual" => |node| truth(node.tensor(0)?.greater(&node.tensor(1)?)?.one_minus()),
        "Equal" => |node| match (node.value(0), node.value(1)) {
            (Some(Value::Whole(_)), _) => Ok(vec![whole_truth(node, |a, b| a == b)?]),
            _ => {
                let distance = node.tensor(0)?.sub(&node.tensor(1)?)?.abs()?;
                truth(distance.greater_scalar(0.0)?.one_minus())
            }
        },
        "Or" => |node| truth(node.truth(0)?.maximum(&node.truth(1)?)),
        "And" => |node| truth(node.truth(0)?.mul(&node.truth(1)?)),
        "Not" => |node| truth(node.truth(0)?.one_minus()),
        "Where" => |node| one(select(&node.truth(0)?, &node.tensor(1)?, &node.tensor(2)?)),
        _ => return None,
    };
    Some(mapping)
}

fn whole_truth(node: &Node<'_>, holds: impl Fn(i64, i64) -> bool) -> Mapped<Value> {
    let found = whole_binary(node, |a, b| Some(i64::from(holds(a, b))))?;
    let values: Vec<f64> = found.values.iter().map(|&value| value as f64).collect();
    Ok(Value::Truth(node.made(&values, &found.dims)?))
}

/// x above 0, α (e^(x·scale) − 1) below.
fn elu(x: &Tensor, alpha: f64, scale: f64) -> belamy_tensor::Result<Tensor> {
    let below = x.minimum(&x.zeros_like()?)?.mul_scalar(scale)?.exp()?.add_scalar(-1.0)?;
    select(&x.greater_scalar(0.0)?, x, &below.mul_scalar(alpha)?)
}

fn clip(node: &Node<'_>) -> Mapped<Vec<Value>> {
    let x = node.tensor(0)?;
    if node.has("min") || node.has("max") {
        let (low, high) =
            (node.float("min", f64::from(f32::MIN)), node.float("max", f64::from(f32::MAX)));
        return one(x.clamp(low, high));
    }
    let (low, high) = (node.maybe(1)?, node.maybe(2)?);
    let x = match low {
        Some(low) => x.maximum(&low)?,
        None => x,
    };
    Ok(vec![Value::Float(match high {
        Some(high) => x.minimum(&high)?,
        None => x,
    })])
}

fn power(node: &Node<'_>) -> Mapped<Vec<Value>> {
    let base = node.tensor(0)?;
    let exponents: Vec<f64> = match node.value(1) {
        Some(Value::Float(tensor)) => tensor.to_f64()?,
        Some(Value::Whole(whole)) => whole.values.iter().map(|&value| value as f64).collect(),
        _ => return left_out("an operand of booleans"),
    };
    if let [exponent] = exponents[..] {
        return one(base.pow_scalar(exponent));
    }
    if base.to_f64()?.iter().any(|&value| value <= 0.0) {
        return left_out("a power of a number that is not positive: ours has a constant exponent");
    }
    let dims = match node.value(1) {
        Some(Value::Float(tensor)) => tensor.dims().to_vec(),
        Some(Value::Whole(whole)) => whole.dims.clone(),
        _ => Vec::new(),
    };
    one(base.log()?.mul(&node.made(&exponents, &dims)?)?.exp())
}

type Pairwise = fn(&Tensor, &Tensor) -> belamy_tensor::Result<Tensor>;

fn sum(all: &[Tensor], pairwise: Pairwise) -> Mapped {
    let Some((first, rest)) = all.split_first() else { return left_out("a list of no tensors") };
    Ok(rest.iter().try_fold(first.clone(), |total, next| pairwise(&total, next))?)
}

fn folded(node: &Node<'_>, pairwise: Pairwise) -> Mapped<Vec<Value>> {
    Ok(vec![Value::Float(sum(&node.tensors()?, pairwise)?)])
}

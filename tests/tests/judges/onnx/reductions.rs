//! ONNX's reductions, extremes and products in ours.

use super::super::arrange::{
    axes, axis, exchanged, log_softmax, log_sum_exp, matmul, min, reshaped, softmax, take, without,
};
use super::super::problem::{Mapped, left_out};
use super::Mapping;
use super::node::{Node, Value, Whole};
use super::pointwise::one;
use belamy_tensor::ops::matmul as ours;
use belamy_tensor::ops::reduce::place;
use belamy_tensor::{Result, Tensor};

/// The mapping of an operator of this family.
pub(super) fn find(operator: &str) -> Option<Mapping> {
    let mapping: Mapping = match operator {
        "ReduceSum" => |node| reduced(node, |x, axes| x.sum(axes)),
        "ReduceMean" => |node| reduced(node, |x, axes| x.mean(axes)),
        "ReduceMax" => |node| reduced(node, |x, axes| x.max(axes)),
        "ReduceMin" => |node| reduced(node, min),
        "ReduceL1" => |node| reduced(node, |x, axes| x.abs()?.sum(axes)),
        "ReduceL2" => |node| reduced(node, |x, axes| x.square()?.sum(axes)?.sqrt()),
        "ReduceSumSquare" => |node| reduced(node, |x, axes| x.square()?.sum(axes)),
        "ReduceLogSum" => |node| reduced(node, |x, axes| x.sum(axes)?.log()),
        "ReduceLogSumExp" => |node| reduced(node, log_sum_exp),
        "ArgMax" => |node| extreme(node, &node.tensor(0)?),
        "ArgMin" => |node| extreme(node, &node.tensor(0)?.neg()?),
        "Softmax" => |node| along(node, softmax),
        "LogSoftmax" => |node| along(node, log_softmax),
        "Hardmax" => |node| along(node, hardmax),
        "LpNormalization" => |node| {
            let x = node.tensor(0)?;
            let axis = axis(x.shape().rank(), node.integer("axis", -1));
            let norm = match node.integer("p", 2) {
                1 => x.abs()?.sum(&[axis])?,
                _ => x.square()?.sum(&[axis])?.sqrt()?,
            };
            // Where all are 0 they stay so.
            let none = norm.greater_scalar(0.0)?.one_minus()?;
            one(x.div(&norm.add(&none)?))
        },
        "MatMul" => |node| one(matmul(&node.tensor(0)?, &node.tensor(1)?)),
        "Gemm" => |node| {
            let (a, b) = (node.tensor(0)?, node.tensor(1)?);
            let flag = |name| node.integer(name, 0) != 0;
            let y = ours::matmul(&a, &b, flag("transA"), flag("transB"))?;
            let y = y.mul_scalar(node.float("alpha", 1.0))?;
            one(match node.maybe(2)? {
                Some(c) => y.add(&c.mul_scalar(node.float("beta", 1.0))?),
                None => Ok(y),
            })
        },
        _ => return None,
    };
    Some(mapping)
}

fn reduced(
    node: &Node<'_>,
    reduce: impl Fn(&Tensor, &[usize]) -> Result<Tensor>,
) -> Mapped<Vec<Value>> {
    let Some(Value::Float(x)) = node.value(0) else {
        return left_out("an operand of integers, where our op takes floating point");
    };
    let rank = x.shape().rank();
    let named = node.axes(1)?.filter(|list| !list.is_empty());
    let axes: Vec<usize> = match named {
        Some(list) => axes(rank, &list),
        None if node.integer("noop_with_empty_axes", 0) != 0 => return one(reduce(x, &[])),
        None => (0..rank).collect(),
    };
    if axes.iter().any(|&axis| x.dims().get(axis) == Some(&0)) && node.operator != "ReduceSum" {
        return left_out("an empty set: our mean and maximum refuse it");
    }
    let y = reduce(x, &axes)?;
    one(if node.integer("keepdims", 1) != 0 { Ok(y) } else { without(&y, &axes) })
}

fn extreme(node: &Node<'_>, x: &Tensor) -> Mapped<Vec<Value>> {
    let axis = axis(x.shape().rank(), node.integer("axis", 0));
    let extent = x.dims()[axis];
    // Ours is the first of equal elements: the last of them is the first from behind.
    let last = node.integer("select_last_index", 0) != 0;
    let x = if last { take(x, axis, &(0..extent).rev().collect::<Vec<_>>())? } else { x.clone() };
    let (_, indices) = x.max_with_indices(&[axis])?;
    let indices =
        if node.integer("keepdims", 1) != 0 { indices } else { without(&indices, &[axis])? };
    let place =
        |index: u32| if last { extent as i64 - 1 - i64::from(index) } else { i64::from(index) };
    let values = indices.to_vec::<u32>()?.into_iter().map(place).collect();
    Ok(vec![Value::Whole(Whole { dims: indices.dims().to_vec(), values })])
}

/// Along an axis; before version 13 over all axes from there on.
fn along(
    node: &Node<'_>,
    function: impl Fn(&Tensor, usize) -> Result<Tensor>,
) -> Mapped<Vec<Value>> {
    let x = node.tensor(0)?;
    if node.opset >= 13 {
        return one(function(&x, axis(x.shape().rank(), node.integer("axis", -1))));
    }
    let axis = axis(x.shape().rank(), node.integer("axis", 1));
    let (leading, rest) = x.dims().split_at(axis.min(x.shape().rank()));
    let matrix = x.reshape([leading.iter().product(), rest.iter().product()])?;
    one(reshaped(&function(&matrix, 1)?, x.dims()))
}

/// 1 at the first largest along an axis, 0 elsewhere.
fn hardmax(x: &Tensor, axis: usize) -> Result<Tensor> {
    let last = x.shape().rank() - 1;
    let turned = exchanged(x, axis, last)?;
    let (_, indices) = turned.max_with_indices(&[last])?;
    let rows = indices.shape().elements();
    let ones = Tensor::full(1.0, [rows], x.dtype(), x.device())?;
    let placed = place(&ones, &indices.reshape([rows])?, turned.dims()[last])?;
    exchanged(&reshaped(&placed, turned.dims())?, axis, last)
}

//! What a graph does on the host: shapes and other integers, types. No op of ours is asked.

use super::super::problem::{Mapped, left_out};
use super::Mapping;
use super::node::{Node, Value, Whole};
use belamy_tensor::{Shape, Tensor};

/// The mapping of an operator of this family.
pub(super) fn find(operator: &str) -> Option<Mapping> {
    let mapping: Mapping = match operator {
        "Identity" => |node| same(node),
        "Constant" => constant,
        "ConstantOfShape" => |node| {
            let dims: Vec<usize> =
                node.whole(0)?.values.iter().map(|&extent| extent as usize).collect();
            let count: usize = dims.iter().product();
            match node.array("value") {
                Some(array) => match Node::read(&array, node.dtype, node.device)? {
                    Value::Whole(whole) => {
                        Ok(vec![Value::Whole(Whole { dims, values: vec![whole.values[0]; count] })])
                    }
                    Value::Float(tensor) => {
                        let number = tensor.item()?;
                        Ok(vec![Value::Float(node.made(&vec![number; count], &dims)?)])
                    }
                    Value::Truth(_) => left_out("constant booleans"),
                },
                None => Ok(vec![Value::Float(node.made(&vec![0.0; count], &dims)?)]),
            }
        },
        "Shape" => |node| {
            let dims = dims(node, 0)?;
            let rank = dims.len() as i64;
            let place =
                |place: i64| (if place < 0 { place + rank } else { place }).clamp(0, rank) as usize;
            let (start, end) = (place(node.integer("start", 0)), place(node.integer("end", rank)));
            let part = if start < end { &dims[start..end] } else { &[] };
            Ok(vec![Value::Whole(Whole::list(part.iter().map(|&extent| extent as i64).collect()))])
        },
        "Size" => |node| {
            let count: usize = dims(node, 0)?.iter().product();
            Ok(vec![Value::Whole(Whole { dims: Vec::new(), values: vec![count as i64] })])
        },
        "Range" => |node| {
            let number = |place| node.whole(place).map(|whole| whole.values[0]);
            let (start, limit, step) = (number(0)?, number(1)?, number(2)?);
            if step == 0 {
                return left_out("a range without a step");
            }
            let count = ((limit - start) as f64 / step as f64).ceil().max(0.0) as i64;
            Ok(vec![Value::Whole(Whole::list(
                (0..count).map(|place| start + place * step).collect(),
            ))])
        },
        "Cast" => |node| cast(node, node.integer("to", 1)),
        "CastLike" => |node| {
            let like = match node.value(1) {
                Some(Value::Float(_)) => 1,
                Some(Value::Truth(_)) => 9,
                Some(Value::Whole(_)) => 7,
                None => return left_out("a cast like nothing"),
            };
            cast(node, like)
        },
        _ => return None,
    };
    Some(mapping)
}

fn same(node: &Node<'_>) -> Mapped<Vec<Value>> {
    match node.value(0) {
        // Through an op of ours, so that it is one.
        Some(Value::Float(tensor)) => Ok(vec![Value::Float(tensor.reshape(tensor.shape())?)]),
        Some(other) => Ok(vec![other.clone()]),
        None => left_out("the identity of nothing"),
    }
}

fn constant(node: &Node<'_>) -> Mapped<Vec<Value>> {
    if let Some(array) = node.array("value") {
        return Ok(vec![Node::read(&array, node.dtype, node.device)?]);
    }
    if let Some(list) = node.integers("value_ints") {
        return Ok(vec![Value::Whole(Whole::list(list))]);
    }
    if node.has("value_int") {
        let values = vec![node.integer("value_int", 0)];
        return Ok(vec![Value::Whole(Whole { dims: Vec::new(), values })]);
    }
    if let Some(list) = node.floats("value_floats") {
        return Ok(vec![Value::Float(node.made(&list, &[list.len()])?)]);
    }
    if node.has("value_float") {
        return Ok(vec![Value::Float(node.made(&[node.float("value_float", 0.0)], &[])?)]);
    }
    left_out("a constant of another kind")
}

/// The extents of an input of any kind.
pub(super) fn dims(node: &Node<'_>, place: usize) -> Mapped<Vec<usize>> {
    match node.value(place) {
        Some(Value::Float(tensor) | Value::Truth(tensor)) => Ok(tensor.dims().to_vec()),
        Some(Value::Whole(whole)) => Ok(whole.dims.clone()),
        None => left_out("the shape of nothing"),
    }
}

/// ONNX's numbers of types: 1 f32, 6 i32, 7 i64, 9 bool, 11 f64.
fn cast(node: &Node<'_>, to: i64) -> Mapped<Vec<Value>> {
    let Some(value) = node.value(0) else { return left_out("a cast of nothing") };
    let (values, dims): (Vec<f64>, Vec<usize>) = match value {
        Value::Float(tensor) | Value::Truth(tensor) => (tensor.to_f64()?, tensor.dims().to_vec()),
        Value::Whole(whole) => {
            (whole.values.iter().map(|&value| value as f64).collect(), whole.dims.clone())
        }
    };
    match (to, value) {
        (1 | 11, Value::Float(_)) => same(node),
        (1 | 11, _) => Ok(vec![Value::Float(node.made(&values, &dims)?)]),
        (6 | 7, _) => Ok(vec![Value::Whole(Whole {
            dims,
            values: values.iter().map(|&value| value as i64).collect(),
        })]),
        (9, _) => {
            let values: Vec<f64> =
                values.iter().map(|&value| f64::from(u8::from(value != 0.0))).collect();
            Ok(vec![Value::Truth(node.made(&values, &dims)?)])
        }
        _ => left_out(
            "numbers of a type that our tensors do not hold: 8 or 16 bits, unsigned, texts",
        ),
    }
}

/// A function of two integers on the host, stretched by NumPy's rule.
pub(super) fn whole_binary(
    node: &Node<'_>,
    function: impl Fn(i64, i64) -> Option<i64>,
) -> Mapped<Whole> {
    let (a, b) = (node.whole(0)?, node.whole(1)?);
    let (shape_a, shape_b) = (Shape::new(&a.dims)?, Shape::new(&b.dims)?);
    let Some(shape) = shape_a.broadcast(&shape_b) else {
        return left_out("shapes that stretch to none");
    };
    let place = |flat: usize, operand: Shape| {
        let (full, own) = (shape.padded(), operand.padded());
        let (mut rest, mut at, mut step) = (flat, 0, 1);
        for axis in (0..full.len()).rev() {
            at += (rest % full[axis]).min(own[axis] - 1) * step;
            rest /= full[axis];
            step *= own[axis];
        }
        at
    };
    let values = (0..shape.elements()).map(|flat| {
        match function(a.values[place(flat, shape_a)], b.values[place(flat, shape_b)]) {
            Some(value) => Ok(value),
            None => left_out("integers beyond 64 bits"),
        }
    });
    Ok(Whole { dims: shape.dims().to_vec(), values: values.collect::<Mapped<_>>()? })
}

/// Integers on the host, numbers on the device.
pub(super) fn either(
    node: &Node<'_>,
    whole: fn(i64, i64) -> Option<i64>,
    tensor: fn(&Tensor, &Tensor) -> belamy_tensor::Result<Tensor>,
) -> Mapped<Vec<Value>> {
    match (node.value(0), node.value(1)) {
        (Some(Value::Whole(_)), Some(Value::Whole(_))) => {
            Ok(vec![Value::Whole(whole_binary(node, whole)?)])
        }
        _ => Ok(vec![Value::Float(tensor(&node.tensor(0)?, &node.tensor(1)?)?)]),
    }
}

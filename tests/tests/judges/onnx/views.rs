//! ONNX's joining, cutting and moving of elements in ours; of integers on the host where a graph reckons with shapes.

use super::super::arrange::{axes, axis, counts, exchanged, reshaped, take};
use super::super::problem::{INDEX, Mapped, left_out};
use super::Mapping;
use super::node::{Node, Value, Whole};
use super::pointwise::one;
use belamy_tensor::ops::concat::concat;
use belamy_tensor::ops::gather::gather_rows;
use belamy_tensor::ops::random::{RandomKey, counter};
use belamy_tensor::ops::reduce::pick;
use belamy_tensor::{Shape, Tensor};

/// The mapping of an operator of this family.
pub(super) fn find(operator: &str) -> Option<Mapping> {
    let mapping: Mapping = match operator {
        "Concat" => joined,
        "Split" => split,
        "Slice" => slice,
        "Reshape" => |node| {
            let sizes = match node.integers("shape") {
                Some(sizes) => sizes,
                None => node.whole(1)?.values,
            };
            let from = super::host::dims(node, 0)?;
            let zero_is_zero = node.integer("allowzero", 0) != 0;
            let kept = |(place, &size): (usize, &i64)| {
                if size == 0 && !zero_is_zero {
                    from.get(place).map_or(0, |&extent| extent as i64)
                } else {
                    size
                }
            };
            let sizes: Vec<i64> = sizes.iter().enumerate().map(kept).collect();
            let known: i64 = sizes.iter().filter(|&&size| size >= 0).product();
            let all: usize = from.iter().product();
            let dims: Vec<usize> = sizes
                .iter()
                .map(|&size| if size < 0 { all / known.max(1) as usize } else { size as usize })
                .collect();
            viewed(node, dims)
        },
        "Flatten" => |node| {
            let dims = super::host::dims(node, 0)?;
            let place = node.integer("axis", 1);
            let place = (if place < 0 { place + dims.len() as i64 } else { place }) as usize;
            viewed(node, vec![dims[..place].iter().product(), dims[place..].iter().product()])
        },
        "Squeeze" => |node| {
            let dims = super::host::dims(node, 0)?;
            let named = match node.axes(1)? {
                Some(list) => axes(dims.len(), &list),
                None => (0..dims.len()).filter(|&axis| dims[axis] == 1).collect(),
            };
            let kept = (0..dims.len()).filter(|axis| !named.contains(axis));
            viewed(node, kept.map(|axis| dims[axis]).collect())
        },
        "Unsqueeze" => |node| {
            let mut dims = super::host::dims(node, 0)?;
            let list = node.axes(1)?.unwrap_or_default();
            let mut places = axes(dims.len() + list.len(), &list);
            places.sort_unstable();
            places.iter().for_each(|&place| dims.insert(place.min(dims.len()), 1));
            viewed(node, dims)
        },
        "Transpose" => |node| {
            let x = node.tensor(0)?;
            let rank = x.shape().rank();
            let order = node
                .integers("perm")
                .map_or_else(|| (0..rank).rev().collect(), |list| axes(rank, &list));
            one(x.permute(&order))
        },
        "Expand" => |node| {
            let x = node.tensor(0)?;
            let wanted = Shape::new(&counts(&node.whole(1)?.values)?)?;
            let Some(shape) = x.shape().broadcast(&wanted) else {
                return left_out("shapes that stretch to none");
            };
            one(x.broadcast_to(shape))
        },
        "Tile" => |node| {
            let mut y = node.tensor(0)?;
            let repeats = if node.count() == 3 && node.opset < 6 {
                let mut repeats = vec![1; y.shape().rank()];
                repeats[node.number(2, 0.0)? as usize] = node.number(1, 1.0)? as i64;
                repeats
            } else {
                node.whole(1)?.values
            };
            for (axis, times) in counts(&repeats)?.into_iter().enumerate() {
                y = if times == 0 { y.slice(axis, 0, 0)? } else { concat(&vec![&y; times], axis)? };
            }
            Ok(vec![Value::Float(y)])
        },
        "Gather" => gather,
        "GatherElements" => gathered,
        "Dropout" => dropout,
        _ => return None,
    };
    Some(mapping)
}

/// The input under other extents.
fn viewed(node: &Node<'_>, dims: Vec<usize>) -> Mapped<Vec<Value>> {
    Ok(vec![match node.value(0) {
        Some(Value::Float(x)) => Value::Float(reshaped(x, &dims)?),
        Some(Value::Truth(x)) => Value::Truth(reshaped(x, &dims)?),
        Some(Value::Whole(whole)) => Value::Whole(Whole { dims, values: whole.values.clone() }),
        None => return left_out("a view of nothing"),
    }])
}

fn joined(node: &Node<'_>) -> Mapped<Vec<Value>> {
    if let Some(Value::Whole(first)) = node.value(0) {
        if first.dims.len() != 1 {
            return left_out("an operand of integers, where our op takes floating point");
        }
        let lists = (0..node.count()).map(|place| node.whole(place).map(|whole| whole.values));
        return Ok(vec![Value::Whole(Whole::list(lists.collect::<Mapped<Vec<_>>>()?.concat()))]);
    }
    let all = node.tensors()?;
    let axis = axis(all[0].shape().rank(), node.integer("axis", 1));
    one(concat(&all.iter().collect::<Vec<_>>(), axis))
}

fn split(node: &Node<'_>) -> Mapped<Vec<Value>> {
    let x = node.tensor(0)?;
    let axis = axis(x.shape().rank(), node.integer("axis", 0));
    let extent = x.dims()[axis];
    let sizes = match (node.integers("split"), node.value(1)) {
        (Some(sizes), _) => counts(&sizes)?,
        (None, Some(_)) => counts(&node.whole(1)?.values)?,
        (None, None) => {
            let parts = node.integer("num_outputs", node.wanted as i64).max(1) as usize;
            let each = extent.div_ceil(parts);
            (0..parts).map(|part| each.min(extent.saturating_sub(part * each))).collect()
        }
    };
    let mut start = 0;
    let part = |size: usize| {
        let part = x.slice(axis, start, size)?;
        start += size;
        Ok(Value::Float(part))
    };
    sizes.into_iter().map(part).collect()
}

fn slice(node: &Node<'_>) -> Mapped<Vec<Value>> {
    let dims = super::host::dims(node, 0)?;
    let (starts, ends) = match (node.integers("starts"), node.integers("ends")) {
        (Some(starts), Some(ends)) => (starts, ends),
        _ => (node.whole(1)?.values, node.whole(2)?.values),
    };
    let named = match node.integers("axes") {
        Some(list) => axes(dims.len(), &list),
        None if node.value(3).is_some() => axes(dims.len(), &node.whole(3)?.values),
        None => (0..starts.len()).collect(),
    };
    let steps = if node.value(4).is_some() { node.whole(4)?.values } else { vec![1; starts.len()] };
    let mut chosen: Vec<(usize, Vec<usize>)> = Vec::new();
    for (place, &axis) in named.iter().enumerate() {
        let (extent, step) = (dims[axis] as i64, steps[place]);
        let held =
            |at: i64, low: i64, high: i64| (if at < 0 { at + extent } else { at }).clamp(low, high);
        let places: Vec<usize> = if step > 0 {
            let (start, end) = (held(starts[place], 0, extent), held(ends[place], 0, extent));
            (start..end.max(start)).step_by(step as usize).map(|at| at as usize).collect()
        } else {
            let (start, end) =
                (held(starts[place], 0, extent - 1), held(ends[place], -1, extent - 1));
            let count = (start - end).max(0).div_euclid(-step)
                + i64::from((start - end).max(0) % -step != 0);
            (0..count).map(|number| (start + number * step) as usize).collect()
        };
        chosen.push((axis, places));
    }
    match node.value(0) {
        Some(Value::Whole(whole)) if dims.len() == 1 => {
            let places = &chosen[0].1;
            Ok(vec![Value::Whole(Whole::list(
                places.iter().map(|&place| whole.values[place]).collect(),
            ))])
        }
        _ => {
            let mut y = node.tensor(0)?;
            for (axis, places) in chosen {
                let straight = places.windows(2).all(|pair| pair[1] == pair[0] + 1);
                y = if straight {
                    y.slice(axis, places.first().copied().unwrap_or(0), places.len())?
                } else {
                    take(&y, axis, &places)?
                };
            }
            Ok(vec![Value::Float(y)])
        }
    }
}

/// Indices that may be counted from the end.
fn places(whole: &Whole, extent: usize) -> Mapped<Vec<u32>> {
    let place = |&index: &i64| {
        let index = if index < 0 { index + extent as i64 } else { index };
        if (0..extent as i64).contains(&index) { Ok(index as u32) } else { left_out(INDEX) }
    };
    whole.values.iter().map(place).collect()
}

fn gather(node: &Node<'_>) -> Mapped<Vec<Value>> {
    let index = node.whole(1)?;
    if let Some(Value::Whole(whole)) = node.value(0) {
        let values = places(&index, whole.values.len())?
            .into_iter()
            .map(|place| whole.values[place as usize]);
        return Ok(vec![Value::Whole(Whole {
            dims: index.dims.clone(),
            values: values.collect(),
        })]);
    }
    let x = node.tensor(0)?;
    let rank = x.shape().rank();
    let axis = axis(rank, node.integer("axis", 0));
    let numbers = places(&index, x.dims()[axis])?;
    let numbers = Tensor::from_slice(&numbers, [numbers.len()], x.device())?;
    let order: Vec<usize> =
        [axis].into_iter().chain((0..rank).filter(|&other| other != axis)).collect();
    let rows = gather_rows(&x.permute(&order)?, &numbers)?;
    let back = rows.permute(&super::super::arrange::inverse(&order))?;
    one(reshaped(&back, &[&x.dims()[..axis], &index.dims[..], &x.dims()[axis + 1..]].concat()))
}

/// One element for each index: rows along the axis, picked.
fn gathered(node: &Node<'_>) -> Mapped<Vec<Value>> {
    let (x, index) = (node.tensor(0)?, node.whole(1)?);
    let rank = x.shape().rank();
    let axis = axis(rank, node.integer("axis", 0));
    let alike = |(place, (a, b)): (usize, (&usize, &usize))| place == axis || a == b;
    if !x.dims().iter().zip(&index.dims).enumerate().all(alike) {
        return left_out("a gather of a part of the table's other axes");
    }
    let last =
        |x: &Tensor| if axis + 1 == rank { Ok(x.clone()) } else { exchanged(x, axis, rank - 1) };
    let (columns, wanted) = (x.dims()[axis], index.dims[axis]);
    let rows = last(&x)?;
    let count = rows.shape().elements() / columns.max(1);
    let table = reshaped(&rows, &[count, 1, columns])?.broadcast_to([count, wanted, columns])?;
    let numbers =
        Tensor::from_slice(&places(&index, columns)?, Shape::new(&index.dims)?, x.device())?;
    let numbers = last(&numbers)?;
    let dims = numbers.dims().to_vec();
    let picked =
        pick(&table.reshape([count * wanted, columns])?, &numbers.reshape([count * wanted])?)?;
    one(last(&reshaped(&picked, &dims)?))
}

/// Of inference: nothing is dropped, the mask is all true.
fn dropout(node: &Node<'_>) -> Mapped<Vec<Value>> {
    let x = node.tensor(0)?;
    let training = match node.value(2) {
        Some(Value::Truth(flag)) => flag.item()? != 0.0,
        _ => false,
    };
    if training && node.number(1, 0.5)? != 0.0 {
        return left_out("another random generator");
    }
    let key = RandomKey { seed: 1, stream: 0 };
    let y = belamy_tensor::ops::dropout::dropout(&x, 0.0, key, &counter(1, 0, x.device())?)?;
    Ok(vec![Value::Float(y), Value::Truth(x.ones_like()?)])
}

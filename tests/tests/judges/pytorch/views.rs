//! PyTorch's joining, cutting and moving of elements in ours.

use super::super::arrange::{
    axes, axis, count, counts, exchanged, reshaped, take, with_axes, without,
};
use super::super::problem::{COMPOSITION, INDEX, Mapped, left_out};
use super::matrices::transposed;
use super::{Call, Mapping};
use belamy_tensor::ops::concat::concat;
use belamy_tensor::ops::gather::{gather_rows, scatter_add_rows};
use belamy_tensor::ops::reduce::pick;
use belamy_tensor::{Shape, Tensor};

/// The mapping of an operator of this family.
pub(super) fn find(operator: &str) -> Option<Mapping> {
    let mapping: Mapping = match operator {
        "cat" => |call| joined(call, |_, x| Ok(x.clone()), call.whole("dim", 0)?),
        "stack" => |call| {
            let dim = call.whole("dim", 0)?;
            joined(call, |rank, x| Ok(with_axes(x, &[axis(rank + 1, dim)])?), dim)
        },
        "hstack" => |call| {
            let vectors = call.tensors("tensors")?.iter().all(|x| x.shape().rank() < 2);
            joined(call, |_, x| Ok(x.clone()), i64::from(!vectors))
        },
        "vstack" => |call| {
            joined(call, |rank, x| Ok(if rank == 1 { with_axes(x, &[0])? } else { x.clone() }), 0)
        },
        "dstack" => |call| {
            joined(
                call,
                |rank, x| Ok(with_axes(x, [&[0][..], &[0, 2], &[2], &[]][rank.min(3)])?),
                2,
            )
        },
        "column_stack" => |call| {
            joined(call, |rank, x| Ok(with_axes(x, [&[0, 1][..], &[1], &[]][rank.min(2)])?), 1)
        },
        "broadcast_tensors" => |call| {
            let all = call.tensors("tensors")?;
            let shape = all.iter().try_fold(Shape::SCALAR, |shape, x| shape.broadcast(&x.shape()));
            let Some(shape) = shape else { return left_out("shapes that stretch to none") };
            all.iter().map(|x| Ok(x.broadcast_to(shape)?)).collect()
        },
        "chunk" => |call| {
            let x = call.tensor("input")?;
            let axis = axis(x.shape().rank(), call.whole("dim", 0)?);
            parts(&x, axis, x.dims()[axis].div_ceil(count(call.whole("chunks", 1)?)?))
        },
        "split" | "split_with_sizes" | "split.list_args" => |call| {
            let x = call.tensor("input")?;
            let axis = axis(x.shape().rank(), call.whole("dim", 0)?);
            match call.wholes("split_size")? {
                Some(sizes) if sizes.len() > 1 => pieces(&x, axis, &counts(&sizes)?),
                _ => parts(&x, axis, count(call.whole("split_size", 1)?)?),
            }
        },
        "unbind" => |call| {
            let x = call.tensor("input")?;
            let axis = axis(x.shape().rank(), call.whole("dim", 0)?);
            let slices = parts(&x, axis, 1)?;
            slices.iter().map(|slice| Ok(without(slice, &[axis])?)).collect()
        },
        "narrow" => |call| {
            let x = call.tensor("input")?;
            let axis = axis(x.shape().rank(), call.whole("dim", 0)?);
            let extent = x.dims().get(axis).copied().unwrap_or(0) as i64;
            let start = call.whole("start", 0)?;
            let start = count(if start < 0 { start + extent } else { start })?;
            Ok(vec![x.slice(axis, start, count(call.whole("length", 0)?)?)?])
        },
        "select" => |call| {
            let x = call.tensor("input")?;
            let axis = axis(x.shape().rank(), call.whole("dim", 0)?);
            let index = call.whole("index", 0)?;
            let index = count(if index < 0 { index + x.dims()[axis] as i64 } else { index })?;
            Ok(vec![without(&x.slice(axis, index, 1)?, &[axis])?])
        },
        "slice" => |call| {
            let x = call.tensor("input")?;
            let axis = axis(x.shape().rank(), call.whole("dim", 0)?);
            let extent = x.dims()[axis] as i64;
            let place =
                |place: i64| if place < 0 { place + extent } else { place }.clamp(0, extent);
            let (start, end) = (place(call.whole("start", 0)?), place(call.whole("end", extent)?));
            let places =
                (start as usize..end.max(start) as usize).step_by(count(call.whole("step", 1)?)?);
            Ok(vec![take(&x, axis, &places.collect::<Vec<_>>())?])
        },
        "reshape" | "view" => |call| {
            let x = call.tensor("input")?;
            let dims = completed(&call.wholes("shape")?.unwrap_or_default(), x.shape().elements())?;
            Ok(vec![reshaped(&x, &dims)?])
        },
        "reshape_as" | "view_as" => {
            |call| Ok(vec![call.tensor("input")?.reshape(call.tensor("other")?.shape())?])
        }
        "ravel" => |call| {
            let x = call.tensor("input")?;
            Ok(vec![x.reshape([x.shape().elements()])?])
        },
        "flatten" => |call| {
            let x = call.tensor("input")?;
            if x.dims().is_empty() {
                return Ok(vec![x.reshape([1])?]);
            }
            let rank = x.shape().rank();
            let from = axis(rank, call.whole("start_dim", 0)?);
            let to = axis(rank, call.whole("end_dim", -1)?);
            let dims = x.dims();
            let middle: usize = dims[from..=to].iter().product();
            Ok(vec![reshaped(&x, &[&dims[..from], &[middle], &dims[to + 1..]].concat())?])
        },
        "unflatten" => |call| {
            let x = call.tensor("input")?;
            let axis = axis(x.shape().rank(), call.whole("dim", 0)?);
            let dims = x.dims();
            let sizes = completed(&call.wholes("sizes")?.unwrap_or_default(), dims[axis])?;
            Ok(vec![reshaped(&x, &[&dims[..axis], &sizes[..], &dims[axis + 1..]].concat())?])
        },
        "squeeze" | "squeeze.multiple" => |call| {
            let x = call.tensor("input")?;
            let rank = x.shape().rank();
            let named =
                call.wholes("dim")?.map_or_else(|| (0..rank).collect(), |list| axes(rank, &list));
            let ones: Vec<usize> =
                named.into_iter().filter(|&axis| x.dims().get(axis) == Some(&1)).collect();
            Ok(vec![without(&x, &ones)?])
        },
        "unsqueeze" => |call| {
            let x = call.tensor("input")?;
            Ok(vec![with_axes(&x, &[axis(x.shape().rank() + 1, call.whole("dim", 0)?)])?])
        },
        "permute" => |call| {
            let x = call.tensor("input")?;
            let order = axes(x.shape().rank(), &call.wholes("dims")?.unwrap_or_default());
            Ok(vec![x.permute(&order)?])
        },
        "transpose" => |call| {
            let x = call.tensor("input")?;
            let rank = x.shape().rank();
            if rank == 0 {
                return Ok(vec![x]);
            }
            let (one, other) =
                (axis(rank, call.whole("dim0", 0)?), axis(rank, call.whole("dim1", 0)?));
            Ok(vec![exchanged(&x, one, other)?])
        },
        "t" => |call| {
            let x = call.tensor("input")?;
            Ok(vec![if x.shape().rank() < 2 { x } else { x.permute(&[1, 0])? }])
        },
        "T" | "mT" => |call| Ok(vec![transposed(&call.tensor("input")?)?]),
        "movedim" => moved,
        "expand" | "broadcast_to" => |call| {
            let x = call.tensor("input")?;
            let sizes = call.wholes("size")?.unwrap_or_default();
            let new = sizes.len() - x.shape().rank();
            let extent = |(place, &size): (usize, &i64)| {
                if size < 0 { Ok(x.dims()[place - new]) } else { count(size) }
            };
            let dims: Vec<usize> = sizes.iter().enumerate().map(extent).collect::<Mapped<_>>()?;
            Ok(vec![x.broadcast_to(Shape::new(&dims)?)?])
        },
        "expand_as" => {
            |call| Ok(vec![call.tensor("input")?.broadcast_to(call.tensor("other")?.shape())?])
        }
        "repeat" | "tile" => repeated,
        "flip" => |call| {
            let mut y = call.tensor("input")?;
            for axis in axes(y.shape().rank(), &call.wholes("dims")?.unwrap_or_default()) {
                y = take(&y, axis, &(0..y.dims()[axis]).rev().collect::<Vec<_>>())?;
            }
            Ok(vec![y])
        },
        "roll" => rolled,
        "index_select" => |call| {
            let x = call.tensor("input")?;
            let numbers = counts(&call.integers("index")?.integers())?;
            if x.dims().is_empty() {
                return Ok(vec![x]);
            }
            Ok(vec![take(&x, axis(x.shape().rank(), call.whole("dim", 0)?), &numbers)?])
        },
        "nn.functional.embedding" => |call| {
            if call.has("padding_idx") || call.has("max_norm") {
                return left_out("an embedding that changes or leaves out rows");
            }
            let (table, index) = (call.tensor("weight")?, call.integers("input")?);
            if table.shape().rank() == 3 {
                return left_out("a table of matrices, which our op takes");
            }
            let numbers: Vec<u32> = index.values.iter().map(|&number| number as u32).collect();
            Ok(vec![gather_rows(
                &table,
                &Tensor::from_slice(&numbers, index.shape, table.device())?,
            )?])
        },
        "gather" | "take_along_dim" => gathered,
        "index_add" => |call| {
            let (x, source) = (call.tensor("input")?, call.tensor("source")?);
            let dims = x.dims().to_vec();
            let index: Vec<u32> =
                call.integers("index")?.values.iter().map(|&number| number as u32).collect();
            let (wide, source) =
                if dims.is_empty() { (x.reshape([1])?, source.reshape([1])?) } else { (x, source) };
            let axis = axis(wide.shape().rank(), call.whole("dim", 0)?);
            let front = |x: &Tensor| if axis == 0 { Ok(x.clone()) } else { exchanged(x, 0, axis) };
            let index = Tensor::from_slice(&index, [index.len()], wide.device())?;
            let added = scatter_add_rows(&front(&source)?, &index, wide.dims()[axis])?;
            let added = front(&added)?.mul_scalar(call.number("alpha", 1.0)?)?;
            Ok(vec![reshaped(&wide.add(&added)?, &dims)?])
        },
        _ => return None,
    };
    Some(mapping)
}

/// The tensors, each after `prepare` (given its number of axes), one after another along an axis.
fn joined(
    call: &Call,
    prepare: impl Fn(usize, &Tensor) -> Mapped,
    dim: i64,
) -> Mapped<Vec<Tensor>> {
    let all = call.tensors("tensors")?;
    let prepared = all.iter().map(|x| prepare(x.shape().rank(), x)).collect::<Mapped<Vec<_>>>()?;
    let rank = prepared.iter().map(|x| x.shape().rank()).max().unwrap_or(0);
    if prepared.iter().any(|x| x.dims() == [0]) && rank > 1 {
        return left_out("a list with an empty vector, which PyTorch passes over");
    }
    let axis = axis(rank, dim);
    Ok(vec![concat(&prepared.iter().collect::<Vec<_>>(), axis)?])
}

fn pieces(x: &Tensor, axis: usize, sizes: &[usize]) -> Mapped<Vec<Tensor>> {
    let mut start = 0;
    let piece = |&size: &usize| {
        let piece = x.slice(axis, start, size)?;
        start += size;
        Ok(piece)
    };
    sizes.iter().map(piece).collect()
}

/// Pieces of one size, the last perhaps smaller.
fn parts(x: &Tensor, axis: usize, size: usize) -> Mapped<Vec<Tensor>> {
    let Some(&extent) = x.dims().get(axis) else { return Ok(vec![x.slice(axis, 0, size)?]) };
    let starts = (0..extent).step_by(size.max(1));
    starts.map(|start| Ok(x.slice(axis, start, size.min(extent - start))?)).collect()
}

/// Extents of which one may be −1, for what is left of the elements.
fn completed(sizes: &[i64], elements: usize) -> Mapped<Vec<usize>> {
    let known: i64 = sizes.iter().filter(|&&size| size >= 0).product();
    match sizes.iter().filter(|&&size| size < 0).count() {
        0 => counts(sizes),
        1 if known > 0 => {
            let rest = elements as i64 / known;
            counts(
                &sizes.iter().map(|&size| if size < 0 { rest } else { size }).collect::<Vec<_>>(),
            )
        }
        _ => left_out("an extent that cannot be inferred: our reshape infers none"),
    }
}

fn moved(call: &Call) -> Mapped<Vec<Tensor>> {
    let x = call.tensor("input")?;
    let rank = x.shape().rank();
    let from = axes(rank, &call.wholes("source")?.unwrap_or_default());
    let to = axes(rank, &call.wholes("destination")?.unwrap_or_default());
    if from.len() != to.len() || from.iter().chain(&to).any(|&axis| axis >= rank) {
        return left_out(COMPOSITION);
    }
    let mut order = vec![usize::MAX; rank];
    if (1..to.len())
        .any(|place| to[..place].contains(&to[place]) || from[..place].contains(&from[place]))
    {
        return left_out(COMPOSITION);
    }
    from.iter().zip(&to).for_each(|(&from, &to)| order[to] = from);
    let mut rest = (0..rank).filter(|axis| !from.contains(axis));
    for place in &mut order {
        if *place == usize::MAX {
            *place = rest.next().unwrap_or(rank);
        }
    }
    Ok(vec![x.permute(&order)?])
}

fn repeated(call: &Call) -> Mapped<Vec<Tensor>> {
    let mut y = call.tensor("input")?;
    let mut repeats = counts(&call.wholes("repeats")?.unwrap_or_default())?;
    let rank = y.shape().rank().max(repeats.len());
    repeats.splice(0..0, vec![1; rank - repeats.len()]);
    y = reshaped(&y, &[vec![1; rank - y.shape().rank()], y.dims().to_vec()].concat())?;
    for (axis, &times) in repeats.iter().enumerate() {
        let copies = vec![&y; times];
        y = if times == 0 { y.slice(axis, 0, 0)? } else { concat(&copies, axis)? };
    }
    Ok(vec![y])
}

fn rolled(call: &Call) -> Mapped<Vec<Tensor>> {
    let x = call.tensor("input")?;
    let shifts = call.wholes("shifts")?.unwrap_or_default();
    let Some(dims) = call.wholes("dims")? else {
        let [shift] = shifts[..] else { return left_out(COMPOSITION) };
        let flat = x.reshape([x.shape().elements()])?;
        return Ok(vec![roll(&flat, 0, shift)?.reshape(x.shape())?]);
    };
    let axes = axes(x.shape().rank(), &dims);
    if axes.len() != shifts.len() || axes.iter().any(|&axis| axis >= x.shape().rank()) {
        return left_out(COMPOSITION);
    }
    let mut y = x;
    for (&axis, &shift) in axes.iter().zip(&shifts) {
        y = roll(&y, axis, shift)?;
    }
    Ok(vec![y])
}

fn roll(x: &Tensor, axis: usize, shift: i64) -> Mapped {
    let extent = x.dims()[axis];
    let cut = if extent == 0 { 0 } else { (-shift).rem_euclid(extent as i64) as usize };
    let (head, tail) = (x.slice(axis, 0, cut)?, x.slice(axis, cut, extent - cut)?);
    Ok(concat(&[&tail, &head], axis)?)
}

/// One element for each index: rows along the axis, picked.
fn gathered(call: &Call) -> Mapped<Vec<Tensor>> {
    let (x, index) = (call.tensor("input")?, call.integers("index")?);
    let stretches = !call.has("dim") || index.shape.rank() != x.shape().rank();
    if stretches || x.dims().is_empty() {
        return left_out("indices of another rank than the table's");
    }
    let axis = axis(x.shape().rank(), call.whole("dim", 0)?);
    let alike = |(place, (a, b)): (usize, (&usize, &usize))| place == axis || a == b;
    if !x.dims().iter().zip(index.shape.dims()).enumerate().all(alike) {
        return left_out("a gather of a part of the table's other axes");
    }
    if index.integers().iter().any(|&number| !(0..x.dims()[axis] as i64).contains(&number)) {
        return left_out(INDEX);
    }
    // The axis last; each row repeated for each of its indices.
    let rank = x.shape().rank();
    let (columns, wanted) = (x.dims()[axis], index.shape.dims()[axis]);
    let last =
        |x: &Tensor| if axis + 1 == rank { Ok(x.clone()) } else { exchanged(x, axis, rank - 1) };
    let rows = last(&x)?;
    let count = rows.shape().elements() / columns.max(1);
    let table = reshaped(&rows, &[count, 1, columns])?.broadcast_to([count, wanted, columns])?;
    let numbers: Vec<u32> = index.values.iter().map(|&number| number as u32).collect();
    let numbers = last(&Tensor::from_slice(&numbers, index.shape, x.device())?)?;
    let dims = numbers.dims().to_vec();
    let picked =
        pick(&table.reshape([count * wanted, columns])?, &numbers.reshape([count * wanted])?)?;
    Ok(vec![last(&reshaped(&picked, &dims)?)?])
}

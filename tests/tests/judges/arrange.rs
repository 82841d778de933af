//! What both judges' mappings say often of axes and of moving elements, in our ops.

use super::problem::{Mapped, left_out};
use belamy_tensor::ops::gather::gather_rows;
use belamy_tensor::{Result, Shape, Tensor};

/// An axis that may be counted from the end. What is out of range stays so, for our ops to refuse.
pub(crate) fn axis(rank: usize, axis: i64) -> usize {
    let rank = rank.max(1) as i64;
    usize::try_from(if axis < 0 { axis + rank } else { axis }).unwrap_or(usize::MAX)
}

/// As [`axis`], of several.
pub(crate) fn axes(rank: usize, list: &[i64]) -> Vec<usize> {
    list.iter().map(|&one| axis(rank, one)).collect()
}

/// A number that our types hold only from 0 on.
pub(crate) fn count(number: i64) -> Mapped<usize> {
    match usize::try_from(number) {
        Ok(number) => Ok(number),
        Err(_) => {
            left_out("a negative extent, step or border, which our unsigned arguments cannot say")
        }
    }
}

/// As [`count`], of several.
pub(crate) fn counts(numbers: &[i64]) -> Mapped<Vec<usize>> {
    numbers.iter().map(|&number| count(number)).collect()
}

/// The tensor under extents known only at run time.
pub(crate) fn reshaped(x: &Tensor, dims: &[usize]) -> Result<Tensor> {
    x.reshape(Shape::new(dims)?)
}

/// Without the named axes, which have extent 1.
pub(crate) fn without(x: &Tensor, axes: &[usize]) -> Result<Tensor> {
    let kept = (0..x.shape().rank()).filter(|axis| !axes.contains(axis));
    let dims: Vec<usize> = kept.map(|axis| x.dims()[axis]).collect();
    reshaped(x, &dims)
}

/// With axes of extent 1 at these places of the result, which ascend.
pub(crate) fn with_axes(x: &Tensor, places: &[usize]) -> Result<Tensor> {
    let mut dims = x.dims().to_vec();
    for &place in places {
        dims.insert(place.min(dims.len()), 1);
    }
    reshaped(x, &dims)
}

/// The axes in order with one of them moved to the front.
fn to_front(rank: usize, axis: usize) -> Vec<usize> {
    std::iter::once(axis).chain((0..rank).filter(|&other| other != axis)).collect()
}

/// The order that undoes a permutation.
pub(crate) fn inverse(order: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; order.len()];
    order.iter().enumerate().for_each(|(place, &axis)| inverse[axis] = place);
    inverse
}

/// The slices with these numbers along an axis, in this order, repeated or left away.
pub(crate) fn take(x: &Tensor, axis: usize, numbers: &[usize]) -> Mapped {
    let rank = x.shape().rank();
    if axis >= rank {
        return Ok(x.slice(axis, 0, 0)?);
    }
    let order = to_front(rank, axis);
    let front = x.permute(&order)?;
    let numbers: Vec<u32> = numbers.iter().map(|&number| number as u32).collect();
    let indices = Tensor::from_slice(&numbers, [numbers.len()], x.device())?;
    let taken = gather_rows(&front, &indices)?;
    Ok(taken.permute(&inverse(&order))?)
}

/// Two axes exchanged.
pub(crate) fn exchanged(x: &Tensor, one: usize, other: usize) -> Result<Tensor> {
    let mut order: Vec<usize> = (0..x.shape().rank()).collect();
    if one < order.len() && other < order.len() {
        order.swap(one, other);
        return x.permute(&order);
    }
    // Out of range: for our op to say so.
    x.permute(&[one, other])
}

/// The smallest over axes, which keep extent 1.
pub(crate) fn min(x: &Tensor, axes: &[usize]) -> Result<Tensor> {
    x.neg()?.max(axes)?.neg()
}

/// x less the logarithm of its exponentials' sum along an axis.
pub(crate) fn log_softmax(x: &Tensor, axis: usize) -> Result<Tensor> {
    let shifted = x.sub(&x.detach().max(&[axis])?)?;
    shifted.sub(&shifted.exp()?.sum(&[axis])?.log()?)
}

/// The exponentials along an axis, divided by their sum.
pub(crate) fn softmax(x: &Tensor, axis: usize) -> Result<Tensor> {
    let exponentials = x.sub(&x.detach().max(&[axis])?)?.exp()?;
    exponentials.div(&exponentials.sum(&[axis])?)
}

/// ln Σ eˣ over axes, which keep extent 1.
pub(crate) fn log_sum_exp(x: &Tensor, axes: &[usize]) -> Result<Tensor> {
    let largest = x.detach().max(axes)?;
    x.sub(&largest)?.exp()?.sum(axes)?.log()?.add(&largest)
}

/// A matrix product as NumPy means it: vectors are rows at the left and columns at the right, and batches stretch.
pub(crate) fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (row, column) = (a.shape().rank() == 1, b.shape().rank() == 1);
    let left = if row { with_axes(a, &[0])? } else { a.clone() };
    let right = if column { with_axes(b, &[1])? } else { b.clone() };
    let (rank_a, rank_b) = (left.shape().rank(), right.shape().rank());
    let product = if rank_a > 2 && rank_b > 2 {
        let leading = |x: &Tensor| Shape::new(&x.dims()[..x.shape().rank() - 2]);
        let batch = leading(&left)?.broadcast(&leading(&right)?);
        let stretched = |x: &Tensor| match batch {
            Some(batch) => {
                let last = &x.dims()[x.shape().rank() - 2..];
                x.broadcast_to(Shape::new(&[batch.dims(), last].concat())?)
            }
            None => Ok(x.clone()),
        };
        stretched(&left)?.matmul(&stretched(&right)?)?
    } else {
        left.matmul(&right)?
    };
    let rank = product.shape().rank();
    match (row, column) {
        (true, true) => without(&product, &[rank - 2, rank - 1]),
        (true, false) => without(&product, &[rank - 2]),
        (false, true) => without(&product, &[rank - 1]),
        (false, false) => Ok(product),
    }
}

/// Constants of x's type on its device.
pub(crate) fn constants(x: &Tensor, values: &[f64], dims: &[usize]) -> Result<Tensor> {
    Tensor::from_f64(values, Shape::new(dims)?, x.dtype(), x.device())
}

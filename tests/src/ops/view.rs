//! Reshape, permute, broadcast.

use crate::case::Case;
use crate::values::Domain;
use belamy_tensor::Shape;

fn reshape_case(from: &'static [usize], to: &'static [usize]) -> Case {
    Case::new("reshape", format!("{from:?} to {to:?}"), move |x| x[0].reshape(Shape::new(to)?))
        .input(from, Domain::Normal)
        .linear(&[0])
        .absolute(1)
        .host_reference(|x| x[0].clone())
}

fn permute_case(dims: &'static [usize], axes: &'static [usize]) -> Case {
    Case::new("permute", format!("{dims:?} by {axes:?}"), move |x| x[0].permute(axes))
        .input(dims, Domain::Normal)
        .linear(&[0])
        .absolute(1)
        .host_reference(move |x| {
            // Walk the input and put each element where it goes.
            let rank = dims.len();
            let mut strides = vec![1; rank];
            for k in (0..rank.saturating_sub(1)).rev() {
                strides[k] = strides[k + 1] * dims[axes[k + 1]];
            }
            let mut permuted = vec![0.0; x[0].len()];
            for (index, value) in x[0].iter().enumerate() {
                let (mut rest, mut place) = (index, 0);
                for axis in (0..rank).rev() {
                    let at = rest % dims[axis];
                    rest /= dims[axis];
                    let k =
                        axes.iter().position(|&from| from == axis).expect("axes are a permutation");
                    place += at * strides[k];
                }
                permuted[place] = *value;
            }
            permuted
        })
}

/// Numbers of extents `from` repeated to extents `to`.
pub(super) fn stretched(x: &[f64], from: &[usize], to: &[usize]) -> Vec<f64> {
    let lost = to.len() - from.len();
    (0..to.iter().product())
        .map(|index: usize| {
            let (mut rest, mut place, mut step) = (index, 0, 1);
            for axis in (0..to.len()).rev() {
                let at = rest % to[axis];
                rest /= to[axis];
                if axis >= lost {
                    place += if from[axis - lost] == 1 { 0 } else { at * step };
                    step *= from[axis - lost];
                }
            }
            x[place]
        })
        .collect()
}

fn broadcast_case(from: &'static [usize], to: &'static [usize]) -> Case {
    let repeats = to.iter().product::<usize>() / from.iter().product::<usize>();
    Case::new("broadcast", format!("{from:?} to {to:?}"), move |x| {
        x[0].broadcast_to(Shape::new(to)?)
    })
    .input(from, Domain::Normal)
    .linear(&[0])
    .absolute(repeats)
    .host_reference(move |x| stretched(&x[0], from, to))
}

/// The family's cases.
pub fn cases() -> Vec<Case> {
    vec![
        reshape_case(&[3, 4], &[2, 6]),
        reshape_case(&[1], &[]),
        reshape_case(&[2, 3, 5], &[30]),
        permute_case(&[3, 5], &[1, 0]),
        permute_case(&[3, 4, 5], &[2, 0, 1]),
        permute_case(&[3, 4, 5], &[0, 2, 1]),
        permute_case(&[3, 4, 5], &[1, 0, 2]),
        permute_case(&[2, 3, 4, 5], &[0, 3, 1, 2]),
        permute_case(&[2, 3, 2, 2, 3, 2], &[5, 3, 1, 4, 2, 0]),
        permute_case(&[7, 1, 3], &[2, 1, 0]),
        // Whole squares of 32, and an axis that stays.
        permute_case(&[3, 64, 32], &[0, 2, 1]),
        permute_case(&[31, 23, 47], &[2, 1, 0]).large(),
        permute_case(&[31, 23, 47], &[1, 0, 2]).large(),
        broadcast_case(&[5], &[3, 5]),
        broadcast_case(&[3, 1], &[3, 5]),
        broadcast_case(&[], &[2, 3]),
        broadcast_case(&[2, 1, 3, 1], &[2, 4, 3, 5]),
        broadcast_case(&[1, 3, 1], &[2, 2, 3, 4]),
        broadcast_case(&[1, 2, 1, 2, 1, 2], &[2, 2, 2, 2, 2, 2]),
        broadcast_case(&[67, 1, 31], &[67, 17, 31]).large(),
        Case::new("permute", "u32", |x| x[0].permute(&[1, 0]))
            .constant(&[3, 5], Domain::Indices(1000))
            .rounded(),
        Case::new("broadcast", "u32", |x| x[0].broadcast_to([4, 5]))
            .constant(&[5], Domain::Indices(1000))
            .rounded(),
    ]
}

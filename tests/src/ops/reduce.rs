//! Reductions over every kind of axes, and picking one element of each row.

use crate::case::Case;
use crate::values::Domain;
use belamy_tensor::ops::reduce::{pick, place};

/// Sums on the host by scattering each element to its place in the result: the other way round than the kernels.
pub(crate) fn scattered_sum(x: &[f64], dims: &[usize], axes: &[usize]) -> Vec<f64> {
    let kept: Vec<usize> = dims
        .iter()
        .enumerate()
        .map(|(axis, &extent)| if axes.contains(&axis) { 1 } else { extent })
        .collect();
    let mut sums = vec![0.0; kept.iter().product()];
    for (index, value) in x.iter().enumerate() {
        let (mut rest, mut place, mut step) = (index, 0, 1);
        for axis in (0..dims.len()).rev() {
            let at = rest % dims[axis];
            rest /= dims[axis];
            if !axes.contains(&axis) {
                place += at * step;
            }
            step *= kept[axis];
        }
        sums[place] += value;
    }
    sums
}

fn sum_case(dims: &'static [usize], axes: &'static [usize]) -> Case {
    let terms = axes.iter().map(|&axis| dims[axis]).product();
    Case::new("sum", format!("{dims:?} over {axes:?}"), move |x| x[0].sum(axes))
        .input(dims, Domain::Normal)
        .linear(&[0])
        .absolute(terms)
        .host_reference(move |x| scattered_sum(&x[0], dims, axes))
}

fn max_case(dims: &'static [usize], axes: &'static [usize]) -> Case {
    Case::new("max", format!("{dims:?} over {axes:?}"), move |x| x[0].max(axes))
        .input(dims, Domain::Distinct)
}

/// The family's cases.
pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        sum_case(&[7], &[0]),
        sum_case(&[1], &[0]),
        sum_case(&[3, 5], &[0]),
        sum_case(&[3, 5], &[1]),
        sum_case(&[3, 5], &[]),
        sum_case(&[3, 4, 5], &[1]),
        sum_case(&[3, 4, 5], &[0, 2]),
        sum_case(&[2, 3, 4, 5], &[0, 1, 2]),
        sum_case(&[2, 3, 4, 5], &[1, 2]),
        sum_case(&[2, 3, 2, 2, 3, 2], &[0, 2, 4]),
        sum_case(&[2, 3, 2, 2, 3, 2], &[1, 3, 5]),
        sum_case(&[2, 1, 3, 1], &[0, 1, 3]),
        sum_case(&[601, 67], &[0]).large(),
        sum_case(&[67, 601], &[1]).large(),
        sum_case(&[3, 20_011], &[1]).large(),
        sum_case(&[40_009], &[0]).large(),
        sum_case(&[5, 301, 29], &[1]).large(),
        sum_case(&[5, 31, 7, 29], &[0, 2]).large(),
        Case::new("mean", "3x4x5 over 0, 2", |x| x[0].mean(&[0, 2]))
            .input(&[3, 4, 5], Domain::Normal)
            .linear(&[0])
            .absolute(15),
        Case::new("mean", "all", |x| x[0].mean_all())
            .input(&[4, 7], Domain::Normal)
            .linear(&[0])
            .absolute(28),
        Case::new("sum", "all", |x| x[0].sum_all())
            .input(&[4, 7], Domain::Normal)
            .linear(&[0])
            .absolute(28),
        max_case(&[7], &[0]),
        max_case(&[5, 1], &[1]),
        max_case(&[3, 5], &[0]),
        max_case(&[3, 5], &[1]),
        max_case(&[3, 4, 5], &[0, 2]),
        max_case(&[2, 3, 4, 2], &[1, 2]),
        max_case(&[2, 2, 2, 2, 3, 2], &[1, 3, 5]),
        max_case(&[1031, 3], &[1]).large(),
        max_case(&[211, 97], &[1]).large(),
        max_case(&[211, 97], &[0]).large(),
    ];
    cases.push(
        Case::new("max_indices", "3x4x5 over 1", |x| Ok(x[0].max_with_indices(&[1])?.1))
            .constant(&[3, 4, 5], Domain::Distinct)
            .rounded(),
    );
    cases.push(
        // The first of equals.
        Case::new("max_indices", "ties", |x| Ok(x[0].max_with_indices(&[1])?.1))
            .constant(&[2, 4], Domain::Fixed(vec![1.0, 3.0, 3.0, 2.0, -1.0, -2.0, -1.0, -1.0]))
            .rounded()
            .host_reference(|_| vec![1.0, 0.0]),
    );
    for (rows, columns) in [(5, 4), (1, 7), (7, 1), (6, 6), (1031, 2)] {
        let sized = |case: Case| if rows > 1000 { case.large() } else { case };
        cases.push(sized(
            Case::new("pick", format!("{rows}x{columns}"), |x| pick(&x[0], &x[1]))
                .input(&[rows, columns], Domain::Normal)
                .constant(&[rows], Domain::Indices(columns as u32))
                .linear(&[0])
                .absolute(1)
                .host_reference(move |x| {
                    (0..rows).map(|row| x[0][row * columns + x[1][row] as usize]).collect()
                }),
        ));
        cases.push(sized(
            Case::new("place", format!("{rows}x{columns}"), move |x| place(&x[0], &x[1], columns))
                .input(&[rows], Domain::Normal)
                .constant(&[rows], Domain::Indices(columns as u32))
                .linear(&[0])
                .absolute(1)
                .host_reference(move |x| {
                    let mut placed = vec![0.0; rows * columns];
                    (0..rows)
                        .for_each(|row| placed[row * columns + x[1][row] as usize] = x[0][row]);
                    placed
                }),
        ));
    }
    cases.push(
        // Indices past the row yield 0 and take no gradient.
        Case::new("pick", "past the row", |x| pick(&x[0], &x[1]))
            .input(&[12, 3], Domain::Normal)
            .constant(&[12], Domain::Indices(6))
            .linear(&[0])
            .absolute(1)
            .host_reference(|x| {
                let at = |row: usize| x[1][row] as usize;
                (0..12).map(|row| if at(row) < 3 { x[0][row * 3 + at(row)] } else { 0.0 }).collect()
            }),
    );
    cases
}

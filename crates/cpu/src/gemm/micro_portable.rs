//! The micro-kernel for any processor: plain loops that the compiler vectorises.

use super::kernel::{Columns, Operands, Windows};
use super::{DEPTH_BLOCK, GemmElement, Kernel, RUN};
use crate::vectors::InstructionSet;

/// The portable f32 kernel: 4 x 8.
pub(super) fn f32() -> Kernel<f32> {
    Kernel {
        set: InstructionSet::Portable,
        operands: Operands::AsTheyAre,
        mr: 4,
        nr: 8,
        takes_runs: false,
        enter: || {},
        leave: || {},
        tile: tile::<f32, 4, 8, false>,
        tile_of_runs: tile::<f32, 4, 8, true>,
        in_place: None,
        windows: Some(tile_of_windows::<f32, 4, 8>),
    }
}

/// The portable f64 kernel: 4 x 4.
pub(super) fn f64() -> Kernel<f64> {
    Kernel {
        set: InstructionSet::Portable,
        operands: Operands::AsTheyAre,
        mr: 4,
        nr: 4,
        takes_runs: false,
        enter: || {},
        leave: || {},
        tile: tile::<f64, 4, 4, false>,
        tile_of_runs: tile::<f64, 4, 4, true>,
        in_place: None,
        windows: Some(tile_of_windows::<f64, 4, 4>),
    }
}

/// [`super::kernel::MicroTile`]. Rows beyond those of C are computed (from zeros) and dropped.
fn tile<E: GemmElement, const MR: usize, const NR: usize, const RUNS: bool>(
    a: &[E],
    b: &[E],
    _ahead: &[E],
    c: &mut [&mut [E]],
    first: usize,
    accumulate: bool,
) {
    let (b, b_rest) = b.as_chunks::<NR>();
    assert!(b_rest.is_empty() && c.len() <= MR && b.len() <= DEPTH_BLOCK);
    let mut sums = [[E::ZERO; NR]; MR];
    let mut add = |a: [E; MR], b: &[E; NR]| {
        for i in 0..MR {
            for j in 0..NR {
                sums[i][j] = a[i].multiply_add(b[j], sums[i][j]);
            }
        }
    };
    if RUNS {
        let (runs, _) = a.as_chunks::<RUN>();
        for (k, b) in b.iter().enumerate() {
            add(std::array::from_fn(|i| runs.get(i).map_or(E::ZERO, |run| run[k])), b);
        }
    } else {
        let (a, a_rest) = a.as_chunks::<MR>();
        assert!(a.len() == b.len() && a_rest.is_empty());
        a.iter().zip(b).for_each(|(a, b)| add(*a, b));
    }
    for (row, sums) in c.iter_mut().zip(&sums) {
        for (c, &sum) in row[first..first + NR].iter_mut().zip(sums) {
            *c = if accumulate { *c + sum } else { sum };
        }
    }
}

/// [`super::kernel::TileOfWindows`].
fn tile_of_windows<E: GemmElement, const MR: usize, const NR: usize>(
    a: &Windows<'_, E>,
    b: &Columns<'_, E>,
    vectors: usize,
    _ahead: &Columns<'_, E>,
    c: &mut [E],
    apart: usize,
    accumulate: bool,
) {
    let multiply_add = |a: E, b: E, sum: E| a.multiply_add(b, sum);
    sum_windows::<E, MR, NR>((a, b), vectors, (c, apart), accumulate, multiply_add);
}

/// [`tile_of_windows`] by a function `(a, b, sum)`.
fn sum_windows<E: GemmElement, const MR: usize, const NR: usize>(
    (a, b): (&Windows<'_, E>, &Columns<'_, E>),
    vectors: usize,
    (c, apart): (&mut [E], usize),
    accumulate: bool,
    multiply_add: impl Fn(E, E, E) -> E,
) {
    let half = NR / 2;
    for first in (0..vectors * half).step_by(half) {
        let mut sums = [[E::ZERO; NR]; MR];
        for (k, &step) in a.steps().iter().enumerate() {
            let b = &b.data[k * b.apart + first..][..half];
            for (i, sums) in sums.iter_mut().enumerate().take(a.lanes()) {
                let a = a.lane(i)[step];
                for j in 0..half {
                    sums[j] = multiply_add(a, b[j], sums[j]);
                }
            }
        }
        for (i, sums) in sums.iter().enumerate().take(a.lanes()) {
            for (c, &sum) in c[i * apart + first..][..half].iter_mut().zip(sums) {
                *c = if accumulate { *c + sum } else { sum };
            }
        }
    }
}

/// The two bf16 that lie in the place of one f32.
#[cfg(test)]
fn pair(pair: f32) -> [f32; 2] {
    [pair.to_bits() << 16, pair.to_bits() & 0xffff_0000].map(f32::from_bits)
}

/// The twin of the matrix unit's kernel for [`Operands::Parts`]: the same six products in plain loops, for tests.
#[cfg(test)]
pub(super) fn of_parts() -> Kernel<f32> {
    use super::parts::WIDTH;
    Kernel {
        set: InstructionSet::Portable,
        operands: Operands::Parts,
        mr: WIDTH,
        nr: WIDTH,
        takes_runs: false,
        enter: || {},
        leave: || {},
        tile: tile_of_parts,
        tile_of_runs: tile_of_parts,
        in_place: None,
        windows: None,
    }
}

#[cfg(test)]
fn tile_of_parts(
    a: &[f32],
    b: &[f32],
    _ahead: &[f32],
    c: &mut [&mut [f32]],
    first: usize,
    accumulate: bool,
) {
    use super::parts::{PARTS, STEP, STEP_SIZE, WIDTH};
    const PAIRS: usize = STEP / 2;
    let run = a.len() / WIDTH;
    for (i, c) in c.iter_mut().enumerate() {
        for (j, c) in c[first..first + WIDTH].iter_mut().enumerate() {
            let mut sum = 0.0;
            for (index, step) in b.chunks_exact(STEP_SIZE * WIDTH).enumerate() {
                for (p, q) in [(2, 0), (1, 0), (1, 1), (0, 1), (0, 2), (0, 0)] {
                    for k in 0..PAIRS {
                        let a = pair(a[i * run + index * STEP_SIZE + p * PAIRS + k]);
                        let b = pair(step[(k * PARTS + q) * WIDTH + j]);
                        sum += a[0] * b[0] + a[1] * b[1];
                    }
                }
            }
            *c = if accumulate { *c + sum } else { sum };
        }
    }
}

/// The twin of the kernels that multiply pairs of bf16, for operands that are pairs already: the same products in plain
/// loops, for tests.
#[cfg(test)]
pub(super) fn of_pairs() -> Kernel<f32> {
    let (tile, tile_of_runs) = (tile_of_pairs::<false>, tile_of_pairs::<true>);
    Kernel { tile, tile_of_runs, windows: Some(windows_of_pairs), ..f32() }
}

#[cfg(test)]
fn windows_of_pairs(
    a: &Windows<'_, f32>,
    b: &Columns<'_, f32>,
    vectors: usize,
    _ahead: &Columns<'_, f32>,
    c: &mut [f32],
    apart: usize,
    accumulate: bool,
) {
    sum_windows::<f32, 4, 8>((a, b), vectors, (c, apart), accumulate, |a, b, sum| {
        let ([a0, a1], [b0, b1]) = (pair(a), pair(b));
        sum + a0 * b0 + a1 * b1
    });
}

#[cfg(test)]
fn tile_of_pairs<const RUNS: bool>(
    a: &[f32],
    b: &[f32],
    _ahead: &[f32],
    c: &mut [&mut [f32]],
    first: usize,
    accumulate: bool,
) {
    const MR: usize = 4;
    const NR: usize = 8;
    for (i, c) in c.iter_mut().enumerate() {
        for (j, c) in c[first..first + NR].iter_mut().enumerate() {
            let mut sum = 0.0;
            for (k, b) in b.chunks_exact(NR).enumerate() {
                let a = pair(if RUNS { a[i * RUN + k] } else { a[k * MR + i] });
                let b = pair(b[j]);
                sum += a[0] * b[0] + a[1] * b[1];
            }
            *c = if accumulate { *c + sum } else { sum };
        }
    }
}

//! The micro-kernel for any processor: plain loops that the compiler vectorises.

use super::kernel::Operands;
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
    Kernel { tile: tile_of_pairs::<false>, tile_of_runs: tile_of_pairs::<true>, ..f32() }
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

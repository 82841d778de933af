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

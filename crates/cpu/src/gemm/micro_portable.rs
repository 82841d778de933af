//! The micro-kernel for any processor: plain loops that the compiler vectorises.

use super::{GemmElement, Kernel};

/// The portable f32 kernel: 4 x 8.
pub(super) fn f32() -> Kernel<f32> {
    Kernel { name: "portable", mr: 4, nr: 8, tile: tile::<f32, 4, 8> }
}

/// The portable f64 kernel: 4 x 4.
pub(super) fn f64() -> Kernel<f64> {
    Kernel { name: "portable", mr: 4, nr: 4, tile: tile::<f64, 4, 4> }
}

/// [`super::kernel::MicroTile`]. Rows beyond those of C are computed (from zeros) and dropped.
fn tile<E: GemmElement, const MR: usize, const NR: usize>(
    a: &[E],
    b: &[E],
    c: &mut [&mut [E]],
    first: usize,
    accumulate: bool,
) {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<MR>(), b.as_chunks::<NR>());
    assert!(a.len() == b.len() && a_rest.is_empty() && b_rest.is_empty() && c.len() <= MR);
    let mut sums = [[E::ZERO; NR]; MR];
    for (a, b) in a.iter().zip(b) {
        for i in 0..MR {
            for j in 0..NR {
                sums[i][j] = a[i].multiply_add(b[j], sums[i][j]);
            }
        }
    }
    for (row, sums) in c.iter_mut().zip(&sums) {
        for (c, &sum) in row[first..first + NR].iter_mut().zip(sums) {
            *c = if accumulate { *c + sum } else { sum };
        }
    }
}

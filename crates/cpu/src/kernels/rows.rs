//! What the kernels share that move or add whole rows: the channels of a pixel, the rows of a table.

use super::{Real, SERIAL_ELEMENTS, fill_chunks};
use belamy_tensor::Element;

/// Hands out an output's rows of `columns` elements, in parallel, each with its number. An element costs about `work`
/// operations.
pub(crate) fn fill_rows<E: Element>(
    output: &mut [E],
    columns: usize,
    work: usize,
    body: impl Fn(usize, &mut [E]) + Sync,
) {
    let rows = rows_at_once(columns, work);
    fill_chunks(output, rows * columns, |start, chunk| {
        for (offset, row) in chunk.chunks_exact_mut(columns).enumerate() {
            body(start / columns + offset, row);
        }
    });
}

/// How many rows one thread takes at a time.
pub(crate) fn rows_at_once(columns: usize, work: usize) -> usize {
    (SERIAL_ELEMENTS / (columns * work).max(1)).max(1)
}

/// A row cut into the (image, row, column) that it is the channels of.
pub(crate) fn pixel(index: usize, height: usize, width: usize) -> (usize, usize, usize) {
    (index / (height * width), index / width % height, index % width)
}

/// Elements whose sums are held at once: eight AVX2 registers of f64.
const BLOCK: usize = 32;

/// `y = Σ weight · x[start..]` over `terms` of (start, weight), in their order and in f64.
pub(crate) fn weighted_sum<E: Real, T: Iterator<Item = (usize, f64)>>(
    y: &mut [E],
    x: &[E],
    terms: impl Fn() -> T,
) {
    sum_blocks(y, |offset, sums| {
        for (start, weight) in terms() {
            for (sum, x) in sums.iter_mut().zip(&x[start + offset..]) {
                *sum += weight * x.to_f64();
            }
        }
    });
}

/// Sums a row in f64, block by block: `add` is given where in the row a block begins, and its sums.
pub(crate) fn sum_blocks<E: Real>(y: &mut [E], add: impl Fn(usize, &mut [f64])) {
    for (block, y) in y.chunks_mut(BLOCK).enumerate() {
        let mut sums = [0.0; BLOCK];
        add(block * BLOCK, &mut sums[..y.len()]);
        for (y, sum) in y.iter_mut().zip(sums) {
            *y = E::from_f64(sum);
        }
    }
}

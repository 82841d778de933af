//! `broadcast`, `permute`: see `belamy_tensor::ops::view` for the mathematics.
//!
//! One invocation owns one output element, found by its coordinates' steps in the input. Cost: one pass over each.
//! Where the input's contiguous axis is not the output's, squares of the two are transposed at once (on every device:
//! nothing is computed, so there is nothing to check by slower means): element by element each cache line would be
//! fetched once for each of its numbers.

use super::{Run, SERIAL_ELEMENTS, coordinates, fill_chunks, for_element};
use belamy_tensor::Element;
use belamy_tensor::ops::view::StridedParams;

pub(super) fn broadcast(run: Run<'_>) {
    for_element!(run, strided);
}

pub(super) fn permute(run: Run<'_>) {
    for_element!(run, permute_of);
}

fn permute_of<E: Element>(run: Run<'_>) {
    let StridedParams { dims, strides } = StridedParams::decode(&run.params);
    // The input's contiguous axis. Among axes of extent 1 any could be it; they have nothing to transpose.
    let contiguous = (0..5).rev().find(|&axis| strides[axis] == 1 && dims[axis] > 1);
    match contiguous {
        Some(axis) if dims[5] > 1 => transposed::<E>(run, axis),
        _ => strided::<E>(run),
    }
}

/// The input element of coordinates.
fn source(at: &[usize; 6], strides: &[u32; 6]) -> usize {
    at.iter().zip(strides).map(|(&at, &step)| at * step as usize).sum()
}

fn strided<E: Element>(mut run: Run<'_>) {
    let params = StridedParams::decode(&run.params);
    let x = run.input::<E>(0);
    let columns = params.dims[5] as usize;
    let step = params.strides[5] as usize;
    let rows = (4 * SERIAL_ELEMENTS / columns.max(1)).max(1);
    fill_chunks(run.output::<E>(), rows * columns, |start, y| {
        for (row, y) in y.chunks_mut(columns).enumerate() {
            let from = source(&coordinates(start + row * columns, &params.dims), &params.strides);
            match step {
                0 => y.fill(x[from]),
                1 => y.copy_from_slice(&x[from..from + columns]),
                _ => y.iter_mut().zip(x[from..].iter().step_by(step)).for_each(|(y, &x)| *y = x),
            }
        }
    });
}

/// Side of the squares: a cache line of f32.
const SQUARE: usize = 16;

/// The output as `[outer, rows, middle, columns]`, where the input is contiguous along the rows, `axis`.
fn transposed<E: Element>(mut run: Run<'_>, axis: usize) {
    let StridedParams { dims, strides } = StridedParams::decode(&run.params);
    let x = run.input::<E>(0);
    let (rows, columns) = (dims[axis] as usize, dims[5] as usize);
    let row_elements: usize = dims[axis + 1..].iter().map(|&dim| dim as usize).product();
    let outer = rows * row_elements;
    let together = (SERIAL_ELEMENTS / outer.max(1)).max(1);
    fill_chunks(run.output::<E>(), together * outer, |start, y| {
        for (index, y) in y.chunks_exact_mut(outer).enumerate() {
            let start = start + index * outer;
            fill_chunks(y, SQUARE * row_elements, |first, y| {
                for middle in (0..row_elements).step_by(columns) {
                    let at = coordinates(start + first + middle, &dims);
                    let x = &x[source(&at, &strides)..];
                    transpose(x, strides[5] as usize, &mut y[middle..], row_elements, columns);
                }
            });
        }
    });
}

/// `y[r · y_step + c] = x[c · x_step + r]` for at most [`SQUARE`] rows r, as many as `y` has, and all columns c.
fn transpose<E: Element>(x: &[E], x_step: usize, y: &mut [E], y_step: usize, columns: usize) {
    let rows = y.len().div_ceil(y_step);
    // Through a square of its own: lines of x a power of two apart would push each other out of the cache.
    let mut square = [[E::zeroed(); SQUARE]; SQUARE];
    for first in (0..columns).step_by(SQUARE) {
        let width = SQUARE.min(columns - first);
        for (c, line) in square[..width].iter_mut().enumerate() {
            line[..rows].copy_from_slice(&x[(first + c) * x_step..][..rows]);
        }
        for (r, y) in y.chunks_mut(y_step).enumerate() {
            let y = &mut y[first..first + width];
            y.iter_mut().zip(&square).for_each(|(y, line)| *y = line[r]);
        }
    }
}

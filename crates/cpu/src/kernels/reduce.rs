//! `sum`, `max_rows`, `pick`, `place`: see `belamy_tensor::ops::reduce` for the mathematics.
//!
//! `sum` sees the input as `[outer, reduced, inner]` after merging neighbouring axes of one kind, and takes general
//! mixtures one run of axes after another. Sums accumulate in f64: along a row in order; down columns in blocks of
//! [`BLOCK_ROWS`] rows whose partial sums are then added in order, so that no result depends on the threads.

use super::{Real, Run, fill, fill_heavy, for_real};
use crate::memory;
use belamy_tensor::ops::reduce::{RowsParams, SumParams};
use rayon::prelude::*;

/// Rows per partial sum.
const BLOCK_ROWS: usize = 256;

pub(super) fn sum(run: Run<'_>) {
    for_real!(run, sum_of);
}

fn sum_of<E: Real>(mut run: Run<'_>) {
    let params = SumParams::decode(&run.params);
    // Merge neighbouring axes that are all summed or all kept.
    let mut groups: Vec<(usize, bool)> = Vec::new();
    for axis in 0..6 {
        let (extent, reduced) = (params.dims[axis] as usize, params.reduced[axis] == 1);
        match groups.last_mut() {
            Some((merged, kind)) if *kind == reduced => *merged *= extent,
            _ if extent == 1 => {}
            _ => groups.push((extent, reduced)),
        }
    }
    let x = run.input::<E>(0);
    let y = run.output::<E>();
    let mut current: Option<Vec<f64>> = None;
    // The innermost run first: it is the largest, and what is left is small.
    while let Some(last) = groups.iter().rposition(|(_, reduced)| *reduced) {
        let outer: usize = groups[..last].iter().map(|(extent, _)| extent).product();
        let inner: usize = groups[last + 1..].iter().map(|(extent, _)| extent).product();
        let reduced = groups[last].0;
        groups[last] = (1, false);
        current = Some(match &current {
            None => sum_middle(x, outer, reduced, inner),
            Some(partial) => sum_middle(partial, outer, reduced, inner),
        });
    }
    match current {
        Some(sums) => fill(y, |index| E::from_f64(sums[index])),
        None => y.copy_from_slice(x),
    }
}

/// `y[o, i] = Σ_r x[o, r, i]` in f64.
fn sum_middle<E: Real>(x: &[E], outer: usize, reduced: usize, inner: usize) -> Vec<f64> {
    if inner == 1 {
        let mut sums = memory::zeros(outer);
        if outer == 1 {
            // One long row: fixed blocks, so that a single sum uses all threads.
            let partial: Vec<f64> = x.par_chunks(1 << 16).map(row_sum).collect();
            sums[0] = partial.iter().sum();
        } else if reduced > 0 {
            fill_heavy(&mut sums, reduced, |row| row_sum(&x[row * reduced..(row + 1) * reduced]));
        }
        return sums;
    }
    let mut sums = memory::zeros(outer * inner);
    if outer == 1 {
        let partial: Vec<Vec<f64>> = x
            .par_chunks(BLOCK_ROWS * inner)
            .map(|block| {
                let mut sums = vec![0.0; inner];
                add_rows(block, &mut sums);
                sums
            })
            .collect();
        for block in partial {
            sums.iter_mut().zip(block).for_each(|(sum, part)| *sum += part);
        }
    } else if reduced > 0 {
        sums.par_chunks_mut(inner)
            .zip(x.par_chunks(reduced * inner))
            .for_each(|(sums, block)| add_rows(block, sums));
    }
    sums
}

/// Four interleaved sums: the additions of one would wait for one another.
fn row_sum<E: Real>(row: &[E]) -> f64 {
    let mut lanes = [0.0; 4];
    let quads = row.chunks_exact(4);
    let rest: f64 = quads.remainder().iter().map(|x| x.to_f64()).sum();
    for quad in quads {
        (0..4).for_each(|lane| lanes[lane] += quad[lane].to_f64());
    }
    (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]) + rest
}

fn add_rows<E: Real>(rows: &[E], sums: &mut [f64]) {
    for row in rows.chunks_exact(sums.len()) {
        for (sum, x) in sums.iter_mut().zip(row) {
            *sum += x.to_f64();
        }
    }
}

pub(super) fn max_rows(run: Run<'_>) {
    for_real!(run, max_rows_of);
}

fn max_rows_of<E: Real>(mut run: Run<'_>) {
    let columns = RowsParams::decode(&run.params).columns as usize;
    let x = run.input::<E>(0);
    let [values, indices] = &mut run.outputs[..] else { unreachable!("max_rows has two outputs") };
    let largest = |row: usize| {
        let row = &x[row * columns..(row + 1) * columns];
        let mut best = 0;
        for (column, value) in row.iter().enumerate() {
            // The first of equals wins; the first NaN wins over everything.
            let better = *value > row[best] || value.to_f64().is_nan();
            if better && !row[best].to_f64().is_nan() {
                best = column;
            }
        }
        best
    };
    let indices = indices.values_mut::<u32>();
    fill_heavy(indices, columns, |row| largest(row) as u32);
    fill(values.values_mut::<E>(), |row| x[row * columns + indices[row] as usize]);
}

pub(super) fn pick(run: Run<'_>) {
    for_real!(run, pick_of);
}

fn pick_of<E: Real>(mut run: Run<'_>) {
    let columns = RowsParams::decode(&run.params).columns as usize;
    let (x, index) = (run.input::<E>(0), run.input::<u32>(1));
    fill(run.output::<E>(), |row| match index[row] as usize {
        column if column < columns => x[row * columns + column],
        _ => E::from_f64(0.0),
    });
}

pub(super) fn place(run: Run<'_>) {
    for_real!(run, place_of);
}

fn place_of<E: Real>(mut run: Run<'_>) {
    let columns = RowsParams::decode(&run.params).columns as usize;
    let (x, index) = (run.input::<E>(0), run.input::<u32>(1));
    fill(run.output::<E>(), |i| match (i / columns, i % columns) {
        (row, column) if index[row] as usize == column => x[row],
        _ => E::from_f64(0.0),
    });
}

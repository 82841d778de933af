//! `gather_rows`, `scatter_add_rows`: see `belamy_tensor::ops::gather` for the mathematics.
//!
//! One invocation owns one output row. For the scatter each thread takes a run of the table's rows and looks through
//! the indices once for those that fall in it; a row then sums in the order of its positions, so the split does not
//! show in the result. Cost: gather one pass; scatter K·D operations and writing the table.

use super::rows::{fill_rows, rows_at_once, weighted_sum};
use super::{Real, Run, fill_chunks, for_element, for_real};
use belamy_tensor::Element;
use belamy_tensor::ops::gather::GatherParams;

pub(super) fn gather_rows(run: Run<'_>) {
    for_element!(run, gather_rows_of);
}

fn gather_rows_of<E: Element>(mut run: Run<'_>) {
    let params = GatherParams::decode(&run.params);
    let columns = params.columns as usize;
    let (table, index) = (run.input::<E>(0), run.input::<u32>(1)); // [V, D]  [K]
    fill_rows(run.output::<E>(), columns, 1, |k, y| match index[k] {
        row if row < params.rows => {
            let from = row as usize * columns;
            y.copy_from_slice(&table[from..from + columns]);
        }
        _ => y.fill(E::zeroed()),
    });
}

pub(super) fn scatter_add_rows(run: Run<'_>) {
    for_real!(run, scatter_add_rows_of);
}

fn scatter_add_rows_of<E: Real>(mut run: Run<'_>) {
    let params = GatherParams::decode(&run.params);
    let (rows, columns) = (params.rows as usize, params.columns as usize);
    let (values, index) = (run.input::<E>(0), run.input::<u32>(1)); // [K, D]  [K]
    // Shares large enough that searching the indices stays below the cost of writing the table.
    let share = rows_at_once(columns, 1).max(index.len().div_ceil(columns)).min(rows);
    fill_chunks(run.output::<E>(), share * columns, |start, table| {
        let first = start / columns;
        let here = first..first + table.len() / columns;
        let mut named: Vec<(usize, usize)> = index
            .iter()
            .enumerate()
            .filter(|(_, row)| here.contains(&(**row as usize)))
            .map(|(k, &row)| (row as usize - first, k * columns))
            .collect();
        // By row, then by position: the pairs are all different.
        named.sort_unstable();
        let mut rest = &named[..];
        for (row, table) in table.chunks_exact_mut(columns).enumerate() {
            let (terms, after) = rest.split_at(rest.partition_point(|&(named, _)| named == row));
            rest = after;
            weighted_sum(table, values, || terms.iter().map(|&(_, from)| (from, 1.0)));
        }
    });
}

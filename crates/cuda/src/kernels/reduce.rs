//! `sum`, `max_rows`, `pick`, `place`.
//!
//! `sum` merges neighbouring axes of one kind, and takes the innermost run of summed axes first, seen as
//! `[outer, reduced, inner]`. Long runs are cut into parts of a fixed length, and the parts' sums added by another pass,
//! until one is left.

use super::{Operand, Result, Run, THREADS, arguments};
use crate::driver::Argument;
use belamy_tensor::ops::reduce::{RowsParams, SumParams};

/// The longest part of a contiguous run that a block sums.
const ROW_PART: usize = 8192;
/// The most rows that a block sums down a column.
const COLUMN_PART: usize = 512;
/// Columns that a block owns.
const COLUMNS: usize = 32;
/// Rows that are shorter are summed by a warp each, eight to a block.
const SHORT_ROW: usize = 1024;

pub(super) fn sum(run: &Run<'_>) -> Result<()> {
    let params = SumParams::decode(&run.params);
    let mut groups: Vec<(usize, bool)> = Vec::new();
    for axis in 0..6 {
        let (extent, reduced) = (params.dims[axis] as usize, params.reduced[axis] == 1);
        match groups.last_mut() {
            Some((merged, kind)) if *kind == reduced => *merged *= extent,
            _ if extent == 1 => {}
            _ => groups.push((extent, reduced)),
        }
    }
    // Each step is one pass: how it sees its input.
    let mut steps: Vec<[usize; 4]> = Vec::new();
    while let Some(last) = groups.iter().rposition(|(_, reduced)| *reduced) {
        let outer: usize = groups[..last].iter().map(|(extent, _)| extent).product();
        let inner: usize = groups[last + 1..].iter().map(|(extent, _)| extent).product();
        let reduced = groups[last].0;
        let most = if inner == 1 { ROW_PART } else { COLUMN_PART };
        let parts = reduced.div_ceil(most).max(1);
        steps.push([outer, reduced, inner, parts]);
        groups[last] = (parts, parts > 1);
    }
    if steps.is_empty() {
        // Nothing is summed over more than one element: the elements move.
        steps.push([run.outputs[0].elements, 1, 1, 1]);
    }
    let last = steps.len() - 1;
    let mut from = run.inputs[0];
    let mut kept = Vec::new();
    for (index, &[outer, reduced, inner, parts]) in steps.iter().enumerate() {
        let elements = outer * parts * inner;
        let to = if index == last {
            run.outputs[0]
        } else {
            let memory = run.workspace(elements * size_of::<f32>())?;
            let operand = Operand { address: memory.address(), elements };
            kept.push(memory);
            operand
        };
        let words: Vec<Argument> =
            [outer, reduced, inner, parts].iter().map(|&word| Argument::U32(word as u32)).collect();
        let (entry, blocks) = if inner > 1 {
            ("sum_columns", outer * parts * inner.div_ceil(COLUMNS))
        } else if reduced <= SHORT_ROW {
            ("sum_short_rows", outer.div_ceil(THREADS as usize / 32))
        } else {
            ("sum_rows", outer * parts)
        };
        let all = [&words[..], arguments![from, to]].concat();
        run.launch_bare("reduce", entry, blocks, THREADS, &all)?;
        from = to;
    }
    Ok(())
}

pub(super) fn max_rows(run: &Run<'_>) -> Result<()> {
    // A warp for each row.
    run.launch_plain(32 * RowsParams::decode(&run.params).rows as usize)
}

pub(super) fn pick(run: &Run<'_>) -> Result<()> {
    run.launch_plain(run.outputs[0].elements)
}

pub(super) fn place(run: &Run<'_>) -> Result<()> {
    run.launch_plain(run.outputs[0].elements)
}

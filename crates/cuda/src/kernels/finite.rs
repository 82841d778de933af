//! `count_non_finite`: a block counts a chunk of one tensor, one more block adds the counts.

use super::lists::cut;
use super::{Operand, Result, Run, THREADS, arguments};

/// Tensors of one launch.
const CAPACITY: usize = 240;

pub(super) fn count_non_finite(run: &Run<'_>) -> Result<()> {
    let parts = cut::<CAPACITY>(&[&run.inputs]);
    let blocks: usize = parts.iter().map(|part| part.blocks).sum();
    let counts = run.workspace(blocks * size_of::<u32>())?;
    let mut first = 0;
    for part in parts {
        let to = counts.address() + (first * size_of::<u32>()) as u64;
        let to = Operand { address: to, elements: part.blocks };
        let arguments = &[part.argument, to.into()];
        run.launch_bare("finite", "count_non_finite", part.blocks, THREADS, arguments)?;
        first += part.blocks;
    }
    let arguments = arguments![blocks as u32, &counts, run.outputs[0]];
    run.launch_bare("finite", "count_non_finite_total", 1, THREADS, arguments)
}

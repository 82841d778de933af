//! `sum`, `max_rows`, `pick`, `place`.
//!
//! `sum` sees its input as `[outer, reduced, inner]` after merging neighbouring axes of one kind, and takes general
//! mixtures one run of axes after another, the innermost first: it is the largest, and what is left is small.

use super::tile::Tile;
use super::{GROUP, Pass, Run};
use crate::memory::Storage;
use belamy_tensor::Result;
use belamy_tensor::ops::reduce::SumParams;

/// Up to so many terms are added by one invocation.
const SERIAL: u32 = 16;

/// One pass of a sum: from `[outer, rows, inner]` to `[outer, chunks, inner]`.
#[derive(Clone, Copy, Debug)]
struct Step {
    outer: u32,
    rows: u32,
    inner: u32,
}

impl Step {
    fn tile(self) -> Option<Tile> {
        (self.rows > SERIAL).then(|| Tile::new(self.rows, self.inner))
    }

    /// How many rows are left.
    fn chunks(self) -> u32 {
        self.tile().map_or(1, |tile| tile.chunks)
    }
}

/// The passes of a sum: each run of summed axes, and each of those until one row is left.
fn steps(params: &SumParams) -> Vec<Step> {
    let mut groups: Vec<(u32, bool)> = Vec::new();
    for (&extent, &reduced) in params.dims.iter().zip(&params.reduced) {
        match groups.last_mut() {
            Some((merged, kind)) if *kind == (reduced == 1) => *merged *= extent,
            _ if extent == 1 => {}
            _ => groups.push((extent, reduced == 1)),
        }
    }
    let mut steps = Vec::new();
    while let Some(last) = groups.iter().rposition(|(_, reduced)| *reduced) {
        let product = |groups: &[(u32, bool)]| groups.iter().map(|(extent, _)| extent).product();
        let step = Step {
            outer: product(&groups[..last]),
            rows: groups[last].0,
            inner: product(&groups[last + 1..]),
        };
        steps.push(step);
        groups[last] = (step.chunks(), step.chunks() > 1);
    }
    if steps.is_empty() {
        let inner = groups.iter().map(|(extent, _)| extent).product();
        steps.push(Step { outer: 1, rows: 1, inner });
    }
    steps
}

pub(super) fn sum(run: &mut Run<'_>) -> Result<()> {
    let steps = steps(&SumParams::decode(&run.params));
    let mut current: Option<Storage> = None;
    for (number, step) in steps.iter().enumerate() {
        let elements = step.outer * step.chunks() * step.inner;
        let last = number + 1 == steps.len();
        let made = if last { None } else { Some(run.scratch(elements)?) };
        let (entry, chunk_rows, groups) = match step.tile() {
            None => ("sum_serial", 0, elements.div_ceil(GROUP)),
            Some(tile) => ("sum", tile.rows | tile.width << 16, step.outer * tile.groups()),
        };
        run.pass(&Pass {
            entry,
            inputs: &[current.as_ref().unwrap_or(run.inputs[0])],
            outputs: &[made.as_ref().unwrap_or(run.outputs[0])],
            elements,
            words: [step.rows, step.inner, chunk_rows],
            groups,
        })?;
        current = made;
    }
    Ok(())
}

pub(super) fn max_rows(run: &mut Run<'_>) -> Result<()> {
    run.each_element()
}

pub(super) fn pick(run: &mut Run<'_>) -> Result<()> {
    run.each_element()
}

pub(super) fn place(run: &mut Run<'_>) -> Result<()> {
    run.each_element()
}

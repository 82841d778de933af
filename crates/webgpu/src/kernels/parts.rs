//! Kernels that make one number of any number of tensors: a partial result for each piece, then one of those.

use super::{Pass, Run};
use belamy_tensor::Result;

/// Elements whose partial result one workgroup makes; the shaders say the same.
const PIECE: u32 = 4096;
/// Tensors that a wide entry point binds, beside the list of partial results.
const TENSORS: usize = 27;

/// Entry points of a sum.
pub(super) struct Entries {
    /// Fills a tensor's share of the list of partial results.
    pub(super) part: &'static str,
    /// The same of [`TENSORS`] at once, where so many can be bound.
    pub(super) wide: &'static str,
    /// Adds the list up.
    pub(super) whole: &'static str,
}

/// Runs a sum over all inputs.
pub(super) fn sum_of_parts(run: &mut Run<'_>, entries: Entries) -> Result<()> {
    let Entries { part, wide, whole } = entries;
    let pieces: Vec<u32> = run.input_elements.iter().map(|n| n.div_ceil(PIECE)).collect();
    let total = pieces.iter().sum();
    let list = run.scratch(total)?;
    let (inputs, input_elements) = (run.inputs, run.input_elements);
    let at_once = if run.gpu.wide { TENSORS } else { 1 };
    let mut first = 0;
    for (index, pieces) in pieces.chunks(at_once).enumerate() {
        let from = index * at_once;
        let (inputs, sizes) = (&inputs[from..], &input_elements[from..]);
        let (count, groups) = (pieces.len(), pieces.iter().sum());
        let (outputs, words) = (&[&list], [first, 0, 0]);
        if count == 1 {
            let (inputs, elements) = (&inputs[..1], sizes[0]);
            run.pass(&Pass { entry: part, inputs, outputs, elements, words, groups })?;
        } else {
            // The bindings behind the last tensor are not read.
            let mut bound = vec![inputs[0]; TENSORS];
            bound[..count].copy_from_slice(&inputs[..count]);
            let mut lengths = [0; TENSORS.next_multiple_of(4)];
            lengths[..count].copy_from_slice(&sizes[..count]);
            let elements = count as u32;
            let pass = Pass { entry: wide, inputs: &bound, outputs, elements, words, groups };
            run.wide_pass(&pass, &lengths)?;
        }
        first += groups;
    }
    let (inputs, outputs, words) = (&[&list], run.outputs, [0; 3]);
    run.pass(&Pass { entry: whole, inputs, outputs, elements: total, words, groups: 1 })
}

//! Kernels that make one number of any number of tensors: a partial result for each piece, then one of those.

use super::{Pass, Run};
use belamy_tensor::Result;

/// Elements whose partial result one workgroup makes; the shaders say the same.
const PIECE: u32 = 4096;

/// Runs `part` on each input, which fills its share of a list of partial results, and `whole` on the list.
pub(super) fn sum_of_parts(
    run: &mut Run<'_>,
    part: &'static str,
    whole: &'static str,
) -> Result<()> {
    let pieces: Vec<u32> = run.input_elements.iter().map(|n| n.div_ceil(PIECE)).collect();
    let total = pieces.iter().sum();
    let list = run.scratch(total)?;
    let mut first = 0;
    for (index, &groups) in pieces.iter().enumerate() {
        run.pass(&Pass {
            entry: part,
            inputs: &[run.inputs[index]],
            outputs: &[&list],
            elements: run.input_elements[index],
            words: [first, 0, 0],
            groups,
        })?;
        first += groups;
    }
    let outputs = run.outputs;
    run.pass(&Pass {
        entry: whole,
        inputs: &[&list],
        outputs,
        elements: total,
        words: [0; 3],
        groups: 1,
    })
}

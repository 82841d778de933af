//! `bce_with_logits`: an invocation for each element; `bce_with_logits_mean`: one group for all.

use super::{Pass, Run};
use belamy_tensor::Result;

pub(super) fn bce_with_logits(run: &mut Run<'_>) -> Result<()> {
    run.each_element()
}

pub(super) fn bce_with_logits_mean(run: &mut Run<'_>) -> Result<()> {
    let (inputs, outputs, entry) = (run.inputs, run.outputs, "bce_with_logits_mean");
    run.pass(&Pass { entry, inputs, outputs, elements: 1, words: [0; 3], groups: 1 })
}

//! `bce_with_logits`: one thread owns four neighbouring elements; `bce_with_logits_mean`: one block owns all.

use super::{Result, Run, VECTOR};

pub(super) fn bce_with_logits(run: &Run<'_>) -> Result<()> {
    run.launch_plain(run.outputs[0].elements.div_ceil(VECTOR as usize))
}

pub(super) fn bce_with_logits_mean(run: &Run<'_>) -> Result<()> {
    run.launch_plain(1)
}

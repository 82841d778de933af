//! `bce_with_logits`: one thread owns four neighbouring elements.

use super::{Result, Run, VECTOR};

pub(super) fn bce_with_logits(run: &Run<'_>) -> Result<()> {
    run.launch_plain(run.outputs[0].elements.div_ceil(VECTOR as usize))
}

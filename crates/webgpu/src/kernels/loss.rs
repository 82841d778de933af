//! `bce_with_logits`: an invocation for each element.

use super::Run;
use belamy_tensor::Result;

pub(super) fn bce_with_logits(run: &mut Run<'_>) -> Result<()> {
    run.each_element()
}

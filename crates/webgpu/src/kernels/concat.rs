//! `concat`: an invocation for each output element.

use super::Run;
use belamy_tensor::Result;

pub(super) fn concat(run: &mut Run<'_>) -> Result<()> {
    run.each_element()
}

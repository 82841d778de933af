//! `gather_rows`, `scatter_add_rows`: an invocation for each output element.

use super::Run;
use belamy_tensor::Result;

pub(super) fn gather_rows(run: &mut Run<'_>) -> Result<()> {
    run.each_element()
}

pub(super) fn scatter_add_rows(run: &mut Run<'_>) -> Result<()> {
    run.each_element()
}

//! `gather_rows`, `scatter_add_rows`: one thread owns one output element.

use super::{Result, Run};

pub(super) fn gather_rows(run: &Run<'_>) -> Result<()> {
    run.launch_plain(run.outputs[0].elements)
}

pub(super) fn scatter_add_rows(run: &Run<'_>) -> Result<()> {
    run.launch_plain(run.outputs[0].elements)
}

//! `concat`: one thread owns one output element.

use super::{Result, Run};

pub(super) fn concat(run: &Run<'_>) -> Result<()> {
    run.launch_plain(run.outputs[0].elements)
}

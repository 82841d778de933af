//! `avg_pool2d`, `avg_pool2d_spread`, `max_pool2d`, `max_pool2d_pick`, `max_pool2d_place`: one thread owns one output element.

use super::{Result, Run};

pub(super) fn avg_pool2d(run: &Run<'_>) -> Result<()> {
    run.launch_plain(run.outputs[0].elements)
}

pub(super) fn avg_pool2d_spread(run: &Run<'_>) -> Result<()> {
    run.launch_plain(run.outputs[0].elements)
}

pub(super) fn max_pool2d(run: &Run<'_>) -> Result<()> {
    run.launch_plain(run.outputs[0].elements)
}

pub(super) fn max_pool2d_pick(run: &Run<'_>) -> Result<()> {
    run.launch_plain(run.outputs[0].elements)
}

pub(super) fn max_pool2d_place(run: &Run<'_>) -> Result<()> {
    run.launch_plain(run.outputs[0].elements)
}

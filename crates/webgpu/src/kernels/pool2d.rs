//! `avg_pool2d`, `avg_pool2d_spread`, `max_pool2d`, `max_pool2d_pick`, `max_pool2d_place`: an invocation for each
//! output element.

use super::Run;
use belamy_tensor::Result;

pub(super) fn avg_pool2d(run: &mut Run<'_>) -> Result<()> {
    run.each_element()
}

pub(super) fn avg_pool2d_spread(run: &mut Run<'_>) -> Result<()> {
    run.each_element()
}

pub(super) fn max_pool2d(run: &mut Run<'_>) -> Result<()> {
    run.each_element()
}

pub(super) fn max_pool2d_pick(run: &mut Run<'_>) -> Result<()> {
    run.each_element()
}

pub(super) fn max_pool2d_place(run: &mut Run<'_>) -> Result<()> {
    run.each_element()
}

//! `resize_nearest`, `resize_nearest_fold`, `resize_bilinear`, `resize_bilinear_fold`: one thread owns one output element.

use super::{Result, Run};

pub(super) fn resize_nearest(run: &Run<'_>) -> Result<()> {
    run.launch_plain(run.outputs[0].elements)
}

pub(super) fn resize_nearest_fold(run: &Run<'_>) -> Result<()> {
    run.launch_plain(run.outputs[0].elements)
}

pub(super) fn resize_bilinear(run: &Run<'_>) -> Result<()> {
    run.launch_plain(run.outputs[0].elements)
}

pub(super) fn resize_bilinear_fold(run: &Run<'_>) -> Result<()> {
    run.launch_plain(run.outputs[0].elements)
}

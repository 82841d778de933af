//! `resize_nearest`, `resize_nearest_fold`, `resize_bilinear`, `resize_bilinear_fold`: an invocation for each
//! output element.

use super::Run;
use belamy_tensor::Result;

pub(super) fn resize_nearest(run: &mut Run<'_>) -> Result<()> {
    run.each_element()
}

pub(super) fn resize_nearest_fold(run: &mut Run<'_>) -> Result<()> {
    run.each_element()
}

pub(super) fn resize_bilinear(run: &mut Run<'_>) -> Result<()> {
    run.each_element()
}

pub(super) fn resize_bilinear_fold(run: &mut Run<'_>) -> Result<()> {
    run.each_element()
}

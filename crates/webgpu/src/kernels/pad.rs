//! `pad`, `crop`, `reflect_pad`, `reflect_pad_fold`: an invocation for each output element.

use super::Run;
use belamy_tensor::Result;

pub(super) fn pad(run: &mut Run<'_>) -> Result<()> {
    run.each_element()
}

pub(super) fn crop(run: &mut Run<'_>) -> Result<()> {
    run.each_element()
}

pub(super) fn reflect_pad(run: &mut Run<'_>) -> Result<()> {
    run.each_element()
}

pub(super) fn reflect_pad_fold(run: &mut Run<'_>) -> Result<()> {
    run.each_element()
}

//! `count_non_finite`: counts of pieces, then their sum.

use super::Run;
use super::parts::{Entries, sum_of_parts};
use belamy_tensor::Result;

pub(super) fn count_non_finite(run: &mut Run<'_>) -> Result<()> {
    let (part, wide) = ("count_non_finite_part", "count_non_finite_wide");
    sum_of_parts(run, Entries { part, wide, whole: "count_non_finite" })
}

//! The cases, a file a family, under the names that the families have on every other floor.

pub mod concat;
pub mod conv2d;
pub mod dropout;
pub mod finite;
pub mod gather;
mod linear;
pub mod loss;
pub mod matmul;
pub mod norm;
pub mod optimizer;
pub mod pad;
pub mod pixel_shuffle;
pub mod pointwise;
pub mod pool2d;
pub mod random;
pub mod reduce;
pub mod resize;
pub mod view;

use crate::case::Case;

/// A family's name and its cases.
pub type Family = (&'static str, fn() -> Vec<Case>);

/// Every family.
pub const FAMILIES: &[Family] = &[
    ("pointwise", pointwise::cases),
    ("reduce", reduce::cases),
    ("view", view::cases),
    ("matmul", matmul::cases),
    ("conv2d", conv2d::cases),
    ("pool2d", pool2d::cases),
    ("resize", resize::cases),
    ("pad", pad::cases),
    ("concat", concat::cases),
    ("pixel_shuffle", pixel_shuffle::cases),
    ("gather", gather::cases),
    ("norm", norm::cases),
    ("loss", loss::cases),
    ("dropout", dropout::cases),
    ("random", random::cases),
    ("finite", finite::cases),
    ("optimizer", optimizer::cases),
];

/// The cases of some families, small ones first.
pub fn cases_of(families: &[&str]) -> Vec<Case> {
    let known = FAMILIES.iter().filter(|(name, _)| families.contains(name));
    let mut cases: Vec<Case> = known.flat_map(|(_, cases)| cases()).collect();
    let elements =
        |case: &Case| -> usize { case.inputs.iter().map(|input| input.shape.elements()).sum() };
    cases.sort_by_key(|case| (case.large, elements(case)));
    cases
}

/// Every case of every family.
pub fn all_cases() -> Vec<Case> {
    FAMILIES.iter().flat_map(|(_, cases)| cases()).collect()
}

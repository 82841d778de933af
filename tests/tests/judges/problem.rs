//! Why a case of a judge gives no numbers to compare.

use belamy_tensor::{Error, Tensor};

/// Why a mapping gives no result.
#[derive(Debug)]
pub(crate) enum Problem {
    /// The case asks for what we do not have or mean otherwise; the reason.
    LeftOut(&'static str),
    /// One of our ops refused.
    Refused(Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        Problem::Refused(error)
    }
}

/// What a mapping from another library's operator to our ops gives.
pub(crate) type Mapped<T = Tensor> = Result<T, Problem>;

/// A case that is left out.
pub(crate) fn left_out<T>(reason: &'static str) -> Mapped<T> {
    Err(Problem::LeftOut(reason))
}

/// What a composition of our ops would refuse says nothing of an op of ours.
pub(crate) const COMPOSITION: &str = "a refusal of what we compose: no op of ours is asked";
/// What device data hold is not looked at before they are used.
pub(crate) const INDEX: &str =
    "an index out of range: device data, which our shape rules do not see";
/// Our images have a height and a width.
pub(crate) const VOLUME: &str = "three spatial axes: our images have two";

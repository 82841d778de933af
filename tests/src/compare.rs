//! The comparator: exact shapes, a bound for each element, and NaN never within it.

use belamy_tensor::Shape;
use std::fmt;

/// The unit roundoff of f32.
pub const EPSILON_F32: f64 = 1.0 / 16_777_216.0;
/// The unit roundoff of f64.
pub const EPSILON_F64: f64 = 1.0 / 9_007_199_254_740_992.0;

/// How many times larger than the bound the wanted numbers must be (root mean square), for a comparison to say
/// anything: otherwise zeros or noise would pass.
pub const MEANINGFUL: f64 = 50.0;

/// Why two tensors are not the same.
#[derive(Clone, Debug, PartialEq)]
pub enum Mismatch {
    /// The shapes differ.
    Shape {
        /// What was computed.
        got: Shape,
        /// What is right.
        want: Shape,
    },
    /// An element is out of bounds; the worst one by error over bound.
    Element {
        /// Its coordinates.
        at: Vec<usize>,
        /// What was computed.
        got: f64,
        /// What is right.
        want: f64,
        /// How far apart they may be.
        bound: f64,
        /// How many elements are out of bounds.
        wrong: usize,
    },
    /// The wanted numbers are not large against the bound, so that zeros would pass.
    Meaningless {
        /// The wanted numbers' root mean square.
        wanted: f64,
        /// The bounds' root mean square.
        bound: f64,
    },
    /// Something that is wanted was not computed, or the other way round.
    Presence {
        /// What.
        what: String,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mismatch::Shape { got, want } => write!(f, "shape {got}, wanted {want}"),
            Mismatch::Element { at, got, want, bound, wrong } => {
                let error = (got - want).abs();
                write!(
                    f,
                    "at {at:?} got {got:e}, wanted {want:e}, error {error:.2e} over bound {bound:.2e}, {wrong} wrong"
                )
            }
            Mismatch::Meaningless { wanted, bound } => {
                write!(
                    f,
                    "the wanted numbers (rms {wanted:.2e}) drown in the bound (rms {bound:.2e})"
                )
            }
            Mismatch::Presence { what } => f.write_str(what),
        }
    }
}

fn root_mean_square(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len().max(1) as f64;
    (values.map(|value| value * value).sum::<f64>() / count).sqrt()
}

/// Compares element by element: `|got − want| ≤ bound`, said so that NaN fails, for equal shapes and wanted numbers
/// that are much larger than the bound. Returns the largest error as a share of its bound.
pub fn compare(
    got: &[f64],
    got_shape: Shape,
    want: &[f64],
    want_shape: Shape,
    bound: impl Fn(usize) -> f64,
) -> Result<f64, Mismatch> {
    if got_shape != want_shape || got.len() != want.len() {
        return Err(Mismatch::Shape { got: got_shape, want: want_shape });
    }
    let mut worst: Option<(f64, usize)> = None;
    let (mut wrong, mut share) = (0, 0.0f64);
    for index in 0..want.len() {
        let (error, bound) = ((got[index] - want[index]).abs(), bound(index));
        let equal_infinities = got[index] == want[index];
        if error > 0.0 && error <= bound {
            share = share.max(error / bound);
        }
        if !(error <= bound) && !equal_infinities {
            wrong += 1;
            let excess = if error.is_nan() { f64::INFINITY } else { error / bound };
            if worst.is_none_or(|(most, _)| excess > most) {
                worst = Some((excess, index));
            }
        }
    }
    if let Some((_, index)) = worst {
        let (got, want, bound) = (got[index], want[index], bound(index));
        let at = coordinates(index, want_shape);
        return Err(Mismatch::Element { at, got, want, bound, wrong });
    }
    let wanted = root_mean_square(want.iter().copied());
    let bound = root_mean_square((0..want.len()).map(&bound));
    if !(wanted > MEANINGFUL * bound) && !want.is_empty() {
        return Err(Mismatch::Meaningless { wanted, bound });
    }
    Ok(share)
}

/// Compares bit by bit, NaN equal to the same NaN.
pub fn identical(got: &[f64], want: &[f64], shape: Shape) -> Result<(), Mismatch> {
    let differs = |index: &usize| got[*index].to_bits() != want[*index].to_bits();
    if got.len() != want.len() {
        let what = format!("{} elements, wanted {}", got.len(), want.len());
        return Err(Mismatch::Presence { what });
    }
    let wrong = (0..want.len()).filter(differs).count();
    match (0..want.len()).find(differs) {
        None => Ok(()),
        Some(index) => {
            let (got, want) = (got[index], want[index]);
            let at = coordinates(index, shape);
            Err(Mismatch::Element { at, got, want, bound: 0.0, wrong })
        }
    }
}

fn coordinates(index: usize, shape: Shape) -> Vec<usize> {
    let mut rest = index;
    let mut at: Vec<usize> = shape
        .dims()
        .iter()
        .rev()
        .map(|&extent| {
            let here = rest % extent.max(1);
            rest /= extent.max(1);
            here
        })
        .collect();
    at.reverse();
    at
}

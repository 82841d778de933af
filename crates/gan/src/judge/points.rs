//! Points against the sine they should lie on.

use super::some;
use crate::data::synthetic::SINE_REACH;
use crate::error::Result;
use serde::Serialize;

/// The interval of x is cut into so many bins of equal width.
pub const BINS: usize = 20;

/// What a set of points is worth.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PointsCard {
    /// Points judged.
    pub samples: usize,
    /// The median of |y − sin x|; infinite where half the points are no numbers.
    pub median_error: f64,
    /// Bins of [−3.5, 3.5] in which at least one x lies.
    pub covered_bins: usize,
    /// All bins.
    pub bins: usize,
    /// The share of bins that are covered.
    pub coverage: f64,
    /// Points whose x is outside [−3.5, 3.5].
    pub outside: usize,
    /// Points with a coordinate that is no finite number; they count as infinitely wrong and cover nothing.
    pub not_finite: usize,
}

/// Judges points [x, y]. Fails when there are none.
pub fn judge(points: &[[f64; 2]]) -> Result<PointsCard> {
    some(points.len())?;
    let mut errors = Vec::with_capacity(points.len());
    let mut covered = [false; BINS];
    let (mut outside, mut not_finite) = (0, 0);
    for &[x, y] in points {
        if !(x.is_finite() && y.is_finite()) {
            not_finite += 1;
            errors.push(f64::INFINITY);
            continue;
        }
        errors.push((y - x.sin()).abs());
        if x.abs() > SINE_REACH {
            outside += 1;
        } else {
            let bin = (x + SINE_REACH) / (2.0 * SINE_REACH) * BINS as f64;
            covered[(bin as usize).min(BINS - 1)] = true;
        }
    }
    let covered_bins = covered.into_iter().filter(|&covered| covered).count();
    Ok(PointsCard {
        samples: points.len(),
        median_error: median(errors),
        covered_bins,
        bins: BINS,
        coverage: covered_bins as f64 / BINS as f64,
        outside,
        not_finite,
    })
}

/// The middle value, or the mean of the two middle ones. `values` holds at least one.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        (values[middle - 1] + values[middle]) / 2.0
    } else {
        values[middle]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use belamy_tensor::philox::{Draws, uniform};

    fn on_curve(count: usize, low: f64, high: f64, lift: f64) -> Vec<[f64; 2]> {
        let step = (high - low) / (count - 1) as f64;
        let x = |index: usize| if index + 1 == count { high } else { low + step * index as f64 };
        (0..count).map(|index| [x(index), x(index).sin() + lift]).collect()
    }

    #[test]
    fn a_perfect_curve_is_perfect_and_a_lifted_one_is_off_by_the_lift() {
        let card = judge(&on_curve(1000, -3.5, 3.5, 0.0)).unwrap();
        assert_eq!((card.median_error, card.covered_bins, card.outside), (0.0, 20, 0));
        let card = judge(&on_curve(1000, -3.5, 3.5, -0.25)).unwrap();
        assert!((card.median_error - 0.25).abs() < 1e-12 && card.coverage == 1.0);
    }

    #[test]
    fn a_collapsed_generator_covers_one_bin_and_half_a_curve_half_of_them() {
        let card = judge(&[[1.0, 1.0f64.sin()]; 500]).unwrap();
        assert_eq!((card.median_error, card.covered_bins, card.coverage), (0.0, 1, 0.05));
        let card = judge(&on_curve(1000, 0.001, 3.5, 0.0)).unwrap();
        assert_eq!((card.covered_bins, card.coverage), (10, 0.5));
        let card = judge(&on_curve(1000, 3.6, 9.0, 0.0)).unwrap();
        assert_eq!((card.covered_bins, card.outside), (0, 1000));
    }

    #[test]
    fn noise_is_far_from_the_curve() {
        let draws = Draws { seed: 1, stream: 0, step: 0 };
        let number = |index, axis| 7.0 * uniform(draws.word(index, axis)) - 3.5;
        let points: Vec<[f64; 2]> =
            (0..1000).map(|index| [number(index, 0), number(index, 1)]).collect();
        let card = judge(&points).unwrap();
        assert!(card.median_error > 1.0 && card.covered_bins == 20, "{card:?}");
    }

    #[test]
    fn numbers_that_are_none_count_as_wrong() {
        let card = judge(&[[0.0, f64::NAN], [f64::NAN, 0.0], [0.0, 0.5]]).unwrap();
        assert_eq!((card.not_finite, card.median_error, card.covered_bins), (2, f64::INFINITY, 1));
        assert_eq!(judge(&[[0.0, 0.25], [0.0, 0.75]]).unwrap().median_error, 0.5);
        assert!(judge(&[]).is_err());
    }
}

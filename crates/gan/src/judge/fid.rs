//! The Fréchet distance between two sets of features: FID, where an Inception network extracts them.
//!
//! ```text
//! d² = |μ_r − μ_f|² + tr(Σ_r + Σ_f − 2 √(Σ_r Σ_f))
//! ```
//!
//! Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium" (2017), equation
//! 6: the squared distance of Wasserstein, of order 2, between Gaussians of the same means μ and covariances Σ
//! (Dowson and Landau 1982). Covariances have the divisor n − 1, as in every published implementation. It is 0 for
//! equal sets, has no upper end, and is biased upwards where samples are few: compare it at equal counts only, and take
//! more samples than features.

use super::features::{Features, comparable};
use super::symmetric::trace_of_root_of_product;
use crate::error::{Error, Result};
use serde::Serialize;

/// The Fréchet distance and its two parts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FrechetDistance {
    /// The squared distance: what is called FID.
    pub distance: f64,
    /// |μ_r − μ_f|².
    pub of_means: f64,
    /// tr(Σ_r + Σ_f − 2 √(Σ_r Σ_f)).
    pub of_covariances: f64,
}

/// The Fréchet distance of two sets of features. Fails when a set has one sample only, or the lengths differ.
///
/// ```
/// use belamy_gan::judge::{features::Features, fid::frechet_distance};
/// // One feature: (μ₁ − μ₂)² + (σ₁ − σ₂)², here (1 − 4)² + (1 − 2)².
/// let a = Features::new(vec![0.0, 1.0, 2.0], 1)?;
/// let b = Features::new(vec![2.0, 4.0, 6.0], 1)?;
/// assert!((frechet_distance(&a, &b)?.distance - 10.0).abs() < 1e-12);
/// # Ok::<(), belamy_gan::Error>(())
/// ```
pub fn frechet_distance(real: &Features, fake: &Features) -> Result<FrechetDistance> {
    comparable(real, fake)?;
    if real.count() < 2 || fake.count() < 2 {
        return Err(Error::data("a Fréchet distance needs at least two samples of each kind"));
    }
    let size = real.length();
    let ((mean_r, covariance_r), (mean_f, covariance_f)) = (real.moments(), fake.moments());
    let of_means = super::features::squared_distance(&mean_r, &mean_f);
    let trace = |matrix: &[f64]| matrix.iter().step_by(size + 1).sum::<f64>();
    let shared = trace_of_root_of_product(&covariance_r, &covariance_f, size)?;
    // Not below 0 but for rounding.
    let of_covariances = (trace(&covariance_r) + trace(&covariance_f) - 2.0 * shared).max(0.0);
    Ok(FrechetDistance { distance: of_means + of_covariances, of_means, of_covariances })
}

#[cfg(test)]
mod tests {
    use super::*;
    use belamy_tensor::philox::{Draws, normal_pair};

    fn gaussian(count: usize, seed: u64, scale: [f64; 2], shift: f64) -> Features {
        let draws = Draws { seed, stream: 0, step: 0 };
        let values = (0..count as u32)
            .flat_map(|index| {
                let pair = normal_pair(draws.word(index, 0), draws.word(index, 1));
                [scale[0] * pair[0] + shift, scale[1] * pair[1]]
            })
            .collect();
        Features::new(values, 2).unwrap()
    }

    #[test]
    fn equal_sets_are_at_0_and_a_shift_counts_its_square() {
        let a = gaussian(500, 1, [1.0, 0.1], 0.0);
        let found = frechet_distance(&a, &a).unwrap();
        assert!(found.distance < 1e-12, "{found:?}");
        let b = gaussian(500, 1, [1.0, 0.1], 3.0);
        let found = frechet_distance(&a, &b).unwrap();
        assert!((found.of_means - 9.0).abs() < 1e-9 && found.of_covariances < 1e-9, "{found:?}");
    }

    #[test]
    fn many_draws_of_two_gaussians_are_at_their_distance() {
        let a = gaussian(40_000, 1, [1.0, 2.0], 0.0);
        let b = gaussian(40_000, 2, [3.0, 0.5], 1.0);
        // 1 + (1 − 3)² + (2 − 0.5)²; standard deviations of 40,000 draws err by half a per cent.
        let found = frechet_distance(&a, &b).unwrap().distance;
        assert!((found - 7.25).abs() < 0.15, "{found}");
        assert!((frechet_distance(&b, &a).unwrap().distance - found).abs() < 1e-9);
    }

    #[test]
    fn features_that_are_constant_do_no_harm_and_unequal_lengths_are_refused() {
        let a = Features::new(vec![0.0, 5.0, 1.0, 5.0, 2.0, 5.0], 2).unwrap();
        let b = Features::new(vec![2.0, 5.0, 4.0, 5.0, 6.0, 5.0], 2).unwrap();
        assert!((frechet_distance(&a, &b).unwrap().distance - 10.0).abs() < 1e-9);
        let one = Features::new(vec![0.0, 5.0], 2).unwrap();
        assert!(frechet_distance(&a, &one).is_err());
        let narrow = Features::new(vec![0.0, 5.0], 1).unwrap();
        assert!(frechet_distance(&a, &narrow).is_err());
    }
}

//! Which classes a generator draws, against how often the data hold them.
//!
//! ```text
//! KL(fake ‖ real) = Σ_c p_f(c) ln(p_f(c) / p_r(c))      nats; 0 · ln 0 = 0
//! ```
//!
//! Counting modes by a classifier and the direction of the divergence are those of Metz et al., "Unrolled generative
//! adversarial networks" (2017), and of PacGAN (Lin et al. 2018): 0 for a generator that draws classes as often as they
//! are, ln C for one that draws a single one of C equally common classes, infinite for one that draws what is not there.

use crate::error::{Error, Result};
use serde::Serialize;

/// Which classes samples cover.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Modes {
    /// Samples of each class.
    pub counts: Vec<usize>,
    /// Classes that the data hold.
    pub classes: usize,
    /// Of those, how many have at least one sample.
    pub covered: usize,
    /// KL(fake ‖ real) of the histograms in nats; infinite, in JSON `null`, where samples are of a class without data.
    pub divergence: f64,
}

/// Compares histograms of classes. Fails unless both are as long and count something.
///
/// ```
/// use belamy_gan::judge::modes::modes;
/// let found = modes(&[25, 25, 25, 25], &[7, 0, 0, 0])?;
/// assert_eq!((found.covered, found.divergence), (1, 4f64.ln()));
/// # Ok::<(), belamy_gan::Error>(())
/// ```
pub fn modes(real: &[usize], fake: &[usize]) -> Result<Modes> {
    let (reals, fakes) = (real.iter().sum::<usize>(), fake.iter().sum::<usize>());
    if real.len() != fake.len() || reals == 0 || fakes == 0 {
        return Err(Error::data("histograms of classes must be as long and count something"));
    }
    let term = |(&real, &fake): (&usize, &usize)| {
        let (p, q) = (fake as f64 / fakes as f64, real as f64 / reals as f64);
        if fake == 0 { 0.0 } else { p * (p / q).ln() }
    };
    let divergence: f64 = real.iter().zip(fake).map(term).sum();
    let held = real.iter().zip(fake).filter(|(real, _)| **real > 0);
    Ok(Modes {
        counts: fake.to_vec(),
        classes: held.clone().count(),
        covered: held.filter(|(_, fake)| **fake > 0).count(),
        // A sum of terms of both signs that is 0 may round below.
        divergence: divergence.max(0.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_shares_are_at_0_and_lost_modes_cost() {
        let found = modes(&[10, 20, 30], &[1, 2, 3]).unwrap();
        assert!(found.divergence < 1e-12 && found.covered == 3, "{found:?}");
        let found = modes(&[50, 50], &[75, 25]).unwrap();
        let expected = 0.75 * 1.5f64.ln() + 0.25 * 0.5f64.ln();
        assert!((found.divergence - expected).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn classes_without_data_are_no_modes_and_cost_everything() {
        let found = modes(&[5, 0, 5], &[1, 1, 0]).unwrap();
        assert_eq!((found.classes, found.covered, found.divergence), (2, 1, f64::INFINITY));
        assert!(modes(&[1], &[0]).is_err() && modes(&[0], &[1]).is_err());
        assert!(modes(&[1, 2], &[1]).is_err());
    }
}

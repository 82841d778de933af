//! The kernel distance between two sets of features: KID, where an Inception network extracts them.
//!
//! ```text
//! k(x, y) = (xᵀy / d + 1)³                                                       d features
//! MMD²_u  = Σ_{i≠j} k(xᵢ, xⱼ) / m(m−1) + Σ_{i≠j} k(yᵢ, yⱼ) / n(n−1) − 2 Σ_{i,j} k(xᵢ, yⱼ) / mn
//! ```
//!
//! Binkowski et al., "Demystifying MMD GANs" (2018), section 4: the unbiased estimate of the squared maximum mean
//! discrepancy (Gretton et al. 2012), here its mean over random subsets of each set, and the standard deviation over
//! them. Unbiased also for few samples, so it may be below 0 for sets that are alike. Often shown times 1,000.

use super::features::{Features, comparable, dot};
use crate::error::{Error, Result};
use belamy_tensor::philox::{Draws, permuted};
use rayon::prelude::*;
use serde::Serialize;

/// A stream of random numbers of its own: "KID".
const SUBSET_STREAM: u32 = 0x004B_4944;

/// How many subsets are drawn, and how large they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Subsets {
    /// How many; at least 1.
    pub subsets: usize,
    /// Samples of each kind in a subset, drawn without putting back; at least 2. No more than there are.
    pub size: usize,
    /// Decides which.
    pub seed: u64,
}

impl Default for Subsets {
    /// 100 subsets of 1,000, as published.
    fn default() -> Subsets {
        Subsets { subsets: 100, size: 1_000, seed: 1 }
    }
}

/// The kernel distance over subsets.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct KernelDistance {
    /// The mean of MMD²_u over the subsets: what is called KID.
    pub mean: f64,
    /// The standard deviation over the subsets, with their number as divisor.
    pub deviation: f64,
    /// How they were drawn; the size is what there was to draw from at most.
    pub subsets: Subsets,
}

fn kernel(x: &[f64], y: &[f64]) -> f64 {
    (dot(x, y) / x.len() as f64 + 1.0).powi(3)
}

/// MMD²_u of two sets. Fails when a set has one sample only, or the lengths differ.
///
/// ```
/// use belamy_gan::judge::{features::Features, kid::squared_discrepancy};
/// let zero = Features::new(vec![0.0, 0.0], 1)?;
/// let one = Features::new(vec![1.0, 1.0], 1)?;
/// // k(0, 0) = 1, k(1, 1) = 8, k(0, 1) = 1.
/// assert_eq!(squared_discrepancy(&zero, &one)?, 1.0 + 8.0 - 2.0);
/// # Ok::<(), belamy_gan::Error>(())
/// ```
pub fn squared_discrepancy(x: &Features, y: &Features) -> Result<f64> {
    comparable(x, y)?;
    if x.count() < 2 || y.count() < 2 {
        return Err(Error::data("a kernel distance needs at least two samples of each kind"));
    }
    // A row's sum, then the rows' sums in order: the same bits at any number of threads.
    let total = |x: &Features, y: &Features, same: bool| -> f64 {
        let row = |i: usize| {
            (0..y.count()).filter(|&j| !(same && i == j)).map(|j| kernel(x.row(i), y.row(j))).sum()
        };
        let rows: Vec<f64> = (0..x.count()).into_par_iter().map(row).collect();
        rows.iter().sum()
    };
    let (m, n) = (x.count() as f64, y.count() as f64);
    Ok(total(x, x, true) / (m * (m - 1.0)) + total(y, y, true) / (n * (n - 1.0))
        - 2.0 * total(x, y, false) / (m * n))
}

/// The kernel distance of two sets of features over random subsets. Fails as [`squared_discrepancy`], and when no
/// subset is wanted.
pub fn kernel_distance(
    real: &Features,
    fake: &Features,
    subsets: Subsets,
) -> Result<KernelDistance> {
    let size = subsets.size.min(real.count()).min(fake.count());
    if subsets.subsets == 0 {
        return Err(Error::data("a kernel distance needs at least one subset"));
    }
    let draw = |features: &Features, step: usize, stream: u32| {
        let draws = Draws { seed: subsets.seed, stream, step: step as u32 };
        let count = features.count() as u32;
        let chosen: Vec<usize> =
            (0..size as u32).map(|index| permuted(index, count, &draws) as usize).collect();
        features.rows(&chosen)
    };
    let distances: Vec<f64> = (0..subsets.subsets)
        .map(|step| {
            let real = draw(real, step, SUBSET_STREAM);
            squared_discrepancy(&real, &draw(fake, step, SUBSET_STREAM + 1))
        })
        .collect::<Result<_>>()?;
    let count = distances.len() as f64;
    let mean = distances.iter().sum::<f64>() / count;
    let variance = distances.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    let subsets = Subsets { size, ..subsets };
    Ok(KernelDistance { mean, deviation: variance.sqrt(), subsets })
}

#[cfg(test)]
mod tests {
    use super::*;
    use belamy_tensor::philox::normal_pair;

    fn gaussian(count: usize, seed: u64, shift: f64) -> Features {
        let draws = Draws { seed, stream: 0, step: 0 };
        let values = (0..count as u32)
            .flat_map(|index| normal_pair(draws.word(index, 0), draws.word(index, 1)))
            .map(|value| value + shift)
            .collect();
        Features::new(values, 2).unwrap()
    }

    #[test]
    fn the_estimate_is_unbiased_for_sets_of_one_kind() {
        // Twenty pairs of small sets: a biased estimate would stay above 0.
        let values: Vec<f64> = (0..20)
            .map(|seed| {
                squared_discrepancy(&gaussian(20, 2 * seed, 0.0), &gaussian(20, 2 * seed + 1, 0.0))
                    .unwrap()
            })
            .collect();
        let mean = values.iter().sum::<f64>() / 20.0;
        assert!(values.iter().any(|&value| value < 0.0), "{values:?}");
        assert!(mean.abs() < 0.3, "{mean}");
    }

    #[test]
    fn subsets_hold_each_sample_once_and_add_up() {
        let (a, b) = (gaussian(60, 1, 0.0), gaussian(50, 2, 1.5));
        let whole = Subsets { subsets: 2, size: 50, seed: 3 };
        let of_b = kernel_distance(&b, &a, whole).unwrap();
        // All of b in either order is the same set; a subset of a differs.
        assert!(of_b.deviation > 0.0);
        let same = kernel_distance(&b, &b, whole).unwrap();
        assert!(same.deviation < 1e-12 && (same.mean - of_b.mean).abs() > 0.1, "{same:?}");
        let capped = kernel_distance(&a, &b, Subsets { size: 1_000, ..whole }).unwrap();
        assert_eq!(capped.subsets.size, 50);
        assert!(kernel_distance(&a, &b, Subsets { subsets: 0, ..whole }).is_err());
        assert!(kernel_distance(&a, &b, Subsets { size: 1, ..whole }).is_err());
    }

    #[test]
    fn shifted_sets_are_apart_by_the_expected_kernel() {
        // E k over two independent sets in two dimensions: with z = xᵀy/2 and y shifted by s in both coordinates,
        // E z = 0, E z² = (2 + 2s²)/4, E z³ = 0: E k = 1 + 3 E z²; over one set with mean s: E z = s².
        let far = squared_discrepancy(&gaussian(3000, 1, 0.0), &gaussian(3000, 2, 1.0)).unwrap();
        // x: 1 + 3/2. Cross: 1 + 3·1. y, z = (x+s)ᵀ(y+s)/2: E z = 1, E z² = 1 + (2 + 2 + 2)/4 = 2.5,
        // E z³ = 1 + 3·1.5 + E(z−1)³, with (z−1) = (xᵀy + x·s + y·s)/2: E(…)³ = 6·E[xᵀy x·s y·s]/8 = 6·2/8 = 1.5.
        let of_y = 7.0 + 3.0 * 2.5 + 3.0 + 1.0;
        let expected = 2.5 + of_y - 2.0 * 4.0;
        assert!((far / expected - 1.0).abs() < 0.08, "{far} {expected}");
    }
}

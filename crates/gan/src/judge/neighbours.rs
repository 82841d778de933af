//! Are samples like the data, and are all data like some sample? By the k nearest neighbours of features.
//!
//! With r(x) the distance from x to its k-th nearest other sample of its own set, and the ball B(x) of that radius:
//!
//! ```text
//! precision = share of fakes that lie in at least one real ball                    Kynkäänniemi et al. (2019)
//! recall    = share of reals that lie in at least one fake ball                    Kynkäänniemi et al. (2019)
//! density   = Σ over fakes of the number of real balls it lies in, / (k · fakes)   Naeem et al. (2020)
//! coverage  = share of real balls that hold at least one fake                      Naeem et al. (2020)
//! ```
//!
//! A fake lies in a ball also on its surface. Published: k = 3 for precision and recall, k = 5 for density and
//! coverage. Density may be above 1. Cost: (m² + n² + mn) · d multiply-adds, and no matrix of distances is kept.

use super::features::{Features, comparable, squared_distance};
use crate::error::{Error, Result};
use rayon::prelude::*;
use serde::Serialize;

/// Precision, recall, density and coverage.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Neighbourhoods {
    /// The share of fakes that are like the data: quality.
    pub precision: f64,
    /// The share of the data that are like some fake: variety.
    pub recall: f64,
    /// The k of precision and recall.
    pub k: usize,
    /// How deep in the data fakes lie; 1 for samples of the data's own kind.
    pub density: f64,
    /// The share of the data that have a fake near.
    pub coverage: f64,
    /// The k of density and coverage.
    pub k_dense: usize,
}

/// The squared distance from each row to its k-th nearest other row of the same set. Fails unless 1 ≤ k < rows.
pub fn squared_radii(features: &Features, k: usize) -> Result<Vec<f64>> {
    let count = features.count();
    if k == 0 || k >= count {
        let message = format!("{count} samples have no {k} nearest others each");
        return Err(Error::data(message));
    }
    let radius = |i: usize| {
        let mut distances: Vec<f64> = (0..count)
            .filter(|&j| j != i)
            .map(|j| squared_distance(features.row(i), features.row(j)))
            .collect();
        *distances.select_nth_unstable_by(k - 1, f64::total_cmp).1
    };
    Ok((0..count).into_par_iter().map(radius).collect())
}

/// For each row of `points` in how many balls around `centres` it lies; `radii` are squared.
fn balls_around(points: &Features, centres: &Features, radii: &[f64]) -> Vec<usize> {
    (0..points.count())
        .into_par_iter()
        .map(|i| {
            let within = |(j, radius): (usize, &f64)| {
                squared_distance(points.row(i), centres.row(j)) <= *radius
            };
            radii.iter().enumerate().filter(|&centre| within(centre)).count()
        })
        .collect()
}

/// For each row of `a` the squared distance to the nearest row of `b` and that row's index.
///
/// Fails when the lengths differ.
///
/// ```
/// use belamy_gan::judge::{features::Features, neighbours::nearest};
/// let (a, b) = (Features::new(vec![1.0, 9.0], 1)?, Features::new(vec![8.0, 2.0], 1)?);
/// assert_eq!(nearest(&a, &b)?, [(1.0, 1), (1.0, 0)]);
/// # Ok::<(), belamy_gan::Error>(())
/// ```
pub fn nearest(a: &Features, b: &Features) -> Result<Vec<(f64, usize)>> {
    comparable(a, b)?;
    let one = |i: usize| {
        let distances = (0..b.count()).map(|j| (squared_distance(a.row(i), b.row(j)), j));
        distances.min_by(|x, y| x.0.total_cmp(&y.0)).expect("features have a row")
    };
    Ok((0..a.count()).into_par_iter().map(one).collect())
}

/// Precision and recall with k, density and coverage with `k_dense`. Fails when a set has too few samples for its k,
/// or the lengths differ.
///
/// ```
/// use belamy_gan::judge::{features::Features, neighbours::neighbourhoods};
/// // Real 0, 1, 2, 3; all fakes on 1: as good as can be, and without variety.
/// let real = Features::new(vec![0.0, 1.0, 2.0, 3.0], 1)?;
/// let fake = Features::new(vec![1.0, 1.0, 1.0, 1.0], 1)?;
/// let found = neighbourhoods(&real, &fake, 1, 1)?;
/// assert_eq!((found.precision, found.recall, found.coverage), (1.0, 0.25, 0.75));
/// # Ok::<(), belamy_gan::Error>(())
/// ```
pub fn neighbourhoods(
    real: &Features,
    fake: &Features,
    k: usize,
    k_dense: usize,
) -> Result<Neighbourhoods> {
    comparable(real, fake)?;
    let share = |flags: usize, all: usize| flags as f64 / all as f64;
    let (reals, fakes) = (real.count(), fake.count());
    let radii_real = squared_radii(real, k)?;
    let inside = balls_around(fake, real, &radii_real);
    let precision = share(inside.iter().filter(|&&balls| balls > 0).count(), fakes);
    let radii_fake = squared_radii(fake, k)?;
    let inside = balls_around(real, fake, &radii_fake);
    let recall = share(inside.iter().filter(|&&balls| balls > 0).count(), reals);
    let radii = if k_dense == k { radii_real } else { squared_radii(real, k_dense)? };
    let balls: usize = balls_around(fake, real, &radii).iter().sum();
    let held = nearest(real, fake)?;
    let covered = held.iter().zip(&radii).filter(|((distance, _), radius)| distance <= radius);
    Ok(Neighbourhoods {
        precision,
        recall,
        k,
        density: share(balls, k_dense * fakes),
        coverage: share(covered.count(), reals),
        k_dense,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(values: &[f64]) -> Features {
        Features::new(values.to_vec(), 1).unwrap()
    }

    #[test]
    fn radii_are_those_by_hand() {
        let features = line(&[0.0, 1.0, 3.0, 7.0]);
        assert_eq!(squared_radii(&features, 1).unwrap(), [1.0, 1.0, 4.0, 16.0]);
        assert_eq!(squared_radii(&features, 3).unwrap(), [49.0, 36.0, 16.0, 49.0]);
        assert!(squared_radii(&features, 4).is_err() && squared_radii(&features, 0).is_err());
    }

    #[test]
    fn good_and_varied_are_told_apart() {
        let real: Vec<f64> = (0..20).map(f64::from).collect();
        // Far from all data: neither.
        let far: Vec<f64> = (100..120).map(f64::from).collect();
        let found = neighbourhoods(&line(&real), &line(&far), 3, 5).unwrap();
        let Neighbourhoods { precision, recall, density, coverage, .. } = found;
        assert_eq!([precision, recall, density, coverage], [0.0; 4]);
        // The data themselves: all of both.
        let same = neighbourhoods(&line(&real), &line(&real), 3, 5).unwrap();
        assert_eq!((same.precision, same.recall, same.coverage), (1.0, 1.0, 1.0));
        // Each ball holds its centre, five others, and a sixth at the same distance where there are two sides.
        assert!(same.density > 1.2 && same.density < 1.4, "{same:?}");
        // Spread beyond the data, half of it: recall of all, precision of half.
        let wide: Vec<f64> = (-10..30).map(f64::from).collect();
        let found = neighbourhoods(&line(&real), &line(&wide), 1, 1).unwrap();
        assert_eq!((found.recall, found.precision), (1.0, 0.55));
    }
}

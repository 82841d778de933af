//! Feature vectors of samples, a row each, and the distances between them.
//!
//! What a distance between two sets of images is worth depends on the features that stand for the images: a card of
//! results names who extracted them.

use crate::error::{Error, Result};
use rayon::prelude::*;

/// `[count, length]` finite numbers, a row a sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    values: Vec<f64>,
    length: usize,
}

impl Features {
    /// Features from their values, row by row. Fails unless they are whole rows, at least one, of finite numbers.
    ///
    /// ```
    /// use belamy_gan::judge::features::Features;
    /// let features = Features::new(vec![0.0, 1.0, 2.0, 3.0], 2)?;
    /// assert_eq!((features.count(), features.row(1)), (2, &[2.0, 3.0][..]));
    /// assert!(Features::new(vec![0.0, f64::NAN], 2).is_err());
    /// # Ok::<(), belamy_gan::Error>(())
    /// ```
    pub fn new(values: Vec<f64>, length: usize) -> Result<Features> {
        if length == 0 || values.is_empty() || !values.len().is_multiple_of(length) {
            let message = format!("{} values are no rows of {length} features", values.len());
            return Err(Error::data(message));
        }
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            let row = index / length;
            return Err(Error::data(format!("the features of sample {row} are not finite")));
        }
        Ok(Features { values, length })
    }

    /// How many samples there are; at least 1.
    pub fn count(&self) -> usize {
        self.values.len() / self.length
    }

    /// How many features a sample has; at least 1.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The features of a sample. Panics beyond the last.
    pub fn row(&self, index: usize) -> &[f64] {
        &self.values[index * self.length..][..self.length]
    }

    /// All values, row by row.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The rows of given indices, in their order. Panics beyond the last.
    pub fn rows(&self, indices: &[usize]) -> Features {
        let values = indices.iter().flat_map(|&index| self.row(index)).copied().collect();
        Features { values, length: self.length }
    }

    /// The mean of each feature, and the covariance matrix `[length, length]` with divisor n − 1 (0 for one sample).
    ///
    /// Cost: n·length² multiply-adds. Every entry is summed in the order of the samples, at any number of threads.
    pub fn moments(&self) -> (Vec<f64>, Vec<f64>) {
        let (count, length) = (self.count(), self.length);
        let mut mean = vec![0.0; length];
        for row in self.values.chunks_exact(length) {
            mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        mean.iter_mut().for_each(|sum| *sum /= count as f64);
        let mut centred = self.values.clone();
        for row in centred.chunks_exact_mut(length) {
            row.iter_mut().zip(&mean).for_each(|(value, mean)| *value -= mean);
        }
        let divisor = (count - 1).max(1) as f64;
        let mut covariance = vec![0.0; length * length];
        covariance.par_chunks_exact_mut(length).enumerate().for_each(|(i, sums)| {
            for row in centred.chunks_exact(length) {
                let factor = row[i];
                sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += factor * value);
            }
            sums.iter_mut().for_each(|sum| *sum /= divisor);
        });
        (mean, covariance)
    }
}

/// Refuses two sets whose features are not of one length.
pub(crate) fn comparable(a: &Features, b: &Features) -> Result<()> {
    if a.length() != b.length() {
        let (a, b) = (a.length(), b.length());
        return Err(Error::data(format!("{a} features cannot be compared with {b}")));
    }
    Ok(())
}

/// Σ xᵢ yᵢ over eight partial sums: the order depends on the length alone.
pub(crate) fn dot(x: &[f64], y: &[f64]) -> f64 {
    let (x_lanes, x_rest) = x.as_chunks::<8>();
    let (y_lanes, y_rest) = y.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (x, y) in x_lanes.iter().zip(y_lanes) {
        for lane in 0..8 {
            sums[lane] += x[lane] * y[lane];
        }
    }
    let rest: f64 = x_rest.iter().zip(y_rest).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f64>() + rest
}

/// |x − y|², by differences: no cancellation, and 0 for equal vectors.
pub(crate) fn squared_distance(x: &[f64], y: &[f64]) -> f64 {
    let (x_lanes, x_rest) = x.as_chunks::<8>();
    let (y_lanes, y_rest) = y.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (x, y) in x_lanes.iter().zip(y_lanes) {
        for lane in 0..8 {
            let difference = x[lane] - y[lane];
            sums[lane] += difference * difference;
        }
    }
    let rest: f64 = x_rest.iter().zip(y_rest).map(|(x, y)| (x - y) * (x - y)).sum();
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_by_hand() {
        let features = Features::new(vec![1.0, 2.0, 3.0, 6.0, 5.0, 1.0], 2).unwrap();
        let (mean, covariance) = features.moments();
        assert_eq!(mean, [3.0, 3.0]);
        // Differences (−2, −1), (0, 3), (2, −2).
        assert_eq!(covariance, [4.0, -1.0, -1.0, 7.0]);
        assert_eq!(features.rows(&[2, 0]).values(), [5.0, 1.0, 1.0, 2.0]);
        let one = Features::new(vec![1.0, 2.0], 2).unwrap();
        assert_eq!(one.moments().1, [0.0; 4]);
    }

    #[test]
    fn sums_take_every_term() {
        let x: Vec<f64> = (0..19).map(f64::from).collect();
        let y: Vec<f64> = (0..19).map(|value| f64::from(2 * value + 1)).collect();
        let plain = |f: fn(f64, f64) -> f64| x.iter().zip(&y).map(|(&x, &y)| f(x, y)).sum::<f64>();
        assert_eq!(dot(&x, &y), plain(|x, y| x * y));
        assert_eq!(squared_distance(&x, &y), plain(|x, y| (x - y).powi(2)));
    }

    #[test]
    fn what_is_no_matrix_of_numbers_is_refused() {
        for (values, length) in [(vec![], 1), (vec![1.0], 0), (vec![1.0; 3], 2)] {
            assert!(Features::new(values, length).is_err());
        }
        let error = Features::new(vec![0.0, 0.0, f64::INFINITY, 0.0], 2).unwrap_err().to_string();
        assert!(error.contains("sample 1"), "{error}");
    }
}

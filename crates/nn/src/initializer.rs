//! How a weight starts.
//!
//! Drawn on the host from Philox in f64 and rounded, so that a seed gives the same network on every device.

use belamy_tensor::philox::{Draws, normal_pair, uniform};
use belamy_tensor::{DType, Device, Error, ErrorKind, Result, Shape, Tensor};

/// The distribution of a weight's first values.
///
/// `fan_in` and `fan_out` count the inputs that reach one output and the outputs that one input reaches.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Initializer {
    /// All one number.
    Constant(f64),
    /// Normal, with mean and standard deviation.
    Normal(f64, f64),
    /// Uniform between two bounds.
    Uniform(f64, f64),
    /// Normal, redrawn beyond two standard deviations (Keras' `truncated_normal`).
    TruncatedNormal(f64, f64),
    /// Uniform in ±√(6 / (fan_in + fan_out)): Glorot and Bengio (2010), Keras' default.
    GlorotUniform,
    /// Normal with variance 2 / (fan_in + fan_out), truncated at two deviations and rescaled, as Keras has it.
    GlorotNormal,
    /// Uniform in ±√(6 / fan_in): He et al. (2015).
    HeUniform,
    /// Normal with variance 2 / fan_in: He et al. (2015), as PyTorch's `kaiming_normal_` for relu.
    HeNormal,
    /// Uniform in ±1/√fan_in: PyTorch's default for weights (`kaiming_uniform_(a = √5)`) and biases.
    FanInUniform,
    /// A matrix with orthonormal rows or columns, times a gain: Saxe et al. (2014).
    Orthogonal(f64),
}

/// How many inputs and outputs a weight connects.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Fans {
    /// Inputs that reach one output.
    pub fan_in: usize,
    /// Outputs that one input reaches.
    pub fan_out: usize,
}

/// Stream numbers from here on belong to initialisers: apart from the few that a step uses.
const FIRST_STREAM: u32 = 1 << 24;

impl Initializer {
    /// The first values of the `index`-th parameter of a network, by the network's seed.
    pub fn tensor(
        self,
        shape: Shape,
        fans: Fans,
        seed: u64,
        index: u32,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        if let Initializer::Constant(value) = self {
            return Tensor::full(value, shape, dtype, device);
        }
        let values = self.values(shape, fans, seed, index).ok_or_else(|| {
            let message = format!("out of memory: a weight of {shape} cannot be drawn");
            Error::new(ErrorKind::Device { device: device.id(), message })
        })?;
        Tensor::from_f64(&values, shape, dtype, device)
    }

    /// The values, unless there is no memory for them.
    fn values(self, shape: Shape, fans: Fans, seed: u64, index: u32) -> Option<Vec<f64>> {
        let count = shape.elements();
        let draws = Draws { seed, stream: FIRST_STREAM + index, step: 0 };
        let uniforms = |low: f64, high: f64| {
            numbers(count, |i| low + (high - low) * uniform(draws.word(0, i)))
        };
        let symmetric = |bound: f64| uniforms(-bound, bound);
        let normals =
            |mean: f64, deviation: f64| numbers(count, |i| mean + deviation * normal(&draws, 0, i));
        let truncated = |mean: f64, deviation: f64| {
            numbers(count, |i| mean + deviation * truncated_normal(&draws, i))
        };
        let (fan_in, fan_out) = (fans.fan_in.max(1) as f64, fans.fan_out.max(1) as f64);
        match self {
            Initializer::Constant(value) => numbers(count, |_| value),
            Initializer::Normal(mean, deviation) => normals(mean, deviation),
            Initializer::Uniform(low, high) => uniforms(low, high),
            Initializer::TruncatedNormal(mean, deviation) => truncated(mean, deviation),
            Initializer::GlorotUniform => symmetric((6.0 / (fan_in + fan_out)).sqrt()),
            // 0.8796 is the standard deviation of a unit normal cut at two.
            Initializer::GlorotNormal => {
                truncated(0.0, (2.0 / (fan_in + fan_out)).sqrt() / 0.879_625_661_034_239_8)
            }
            Initializer::HeUniform => symmetric((6.0 / fan_in).sqrt()),
            Initializer::HeNormal => normals(0.0, (2.0 / fan_in).sqrt()),
            Initializer::FanInUniform => symmetric(1.0 / fan_in.sqrt()),
            Initializer::Orthogonal(gain) => {
                let rows = shape.dims().first().copied().unwrap_or(1);
                Some(orthogonal(rows, count / rows.max(1), gain, normals(0.0, 1.0)?))
            }
        }
    }
}

/// So many numbers, unless there is no memory for them.
fn numbers(count: usize, number: impl Fn(u32) -> f64) -> Option<Vec<f64>> {
    let mut values = Vec::new();
    values.try_reserve_exact(count).ok()?;
    values.extend((0..count).map(|i| number(i as u32)));
    Some(values)
}

/// Normal number `index` of a sample.
fn normal(draws: &Draws, sample: u32, index: u32) -> f64 {
    let words = draws.block(sample, index / 4);
    let pair = index as usize % 4 / 2 * 2;
    normal_pair(words[pair], words[pair + 1])[index as usize % 2]
}

/// A unit normal within two deviations: the first of a sequence of redraws that is.
fn truncated_normal(draws: &Draws, index: u32) -> f64 {
    let mut redraw = 0;
    loop {
        let value = normal(draws, redraw, index);
        if value.abs() <= 2.0 {
            return value;
        }
        redraw += 1;
    }
}

/// Orthonormalises the shorter side of a matrix [rows, columns] by Gram and Schmidt, twice for accuracy.
fn orthogonal(rows: usize, columns: usize, gain: f64, normals: Vec<f64>) -> Vec<f64> {
    let (count, length, by_row) =
        if rows <= columns { (rows, columns, true) } else { (columns, rows, false) };
    let at =
        |vector: usize, i: usize| if by_row { vector * columns + i } else { i * columns + vector };
    let mut values = normals;
    for vector in 0..count {
        for _ in 0..2 {
            for earlier in 0..vector {
                let dot: f64 =
                    (0..length).map(|i| values[at(vector, i)] * values[at(earlier, i)]).sum();
                for i in 0..length {
                    values[at(vector, i)] -= dot * values[at(earlier, i)];
                }
            }
        }
        let norm: f64 = (0..length).map(|i| values[at(vector, i)].powi(2)).sum::<f64>().sqrt();
        (0..length).for_each(|i| values[at(vector, i)] /= norm);
    }
    values.iter_mut().for_each(|value| *value *= gain);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(initializer: Initializer) -> Vec<f64> {
        let fans = Fans { fan_in: 300, fan_out: 100 };
        initializer.values(Shape::from([100, 300]), fans, 5, 0).unwrap()
    }

    fn moments(values: &[f64]) -> (f64, f64) {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len() as f64;
        (mean, variance.sqrt())
    }

    #[test]
    fn deviations_are_as_defined() {
        let expected = [
            (Initializer::Normal(0.0, 0.02), 0.02),
            (Initializer::GlorotUniform, (2.0f64 / 400.0).sqrt()),
            (Initializer::GlorotNormal, (2.0f64 / 400.0).sqrt()),
            (Initializer::HeUniform, (2.0f64 / 300.0).sqrt()),
            (Initializer::HeNormal, (2.0f64 / 300.0).sqrt()),
            (Initializer::FanInUniform, (1.0f64 / 900.0).sqrt()),
            (Initializer::TruncatedNormal(0.0, 1.0), 0.8796),
        ];
        for (initializer, deviation) in expected {
            let (mean, found) = moments(&values(initializer));
            assert!(mean.abs() < 0.03 * deviation, "{initializer:?}: mean {mean}");
            assert!(
                (found / deviation - 1.0).abs() < 0.02,
                "{initializer:?}: {found} for {deviation}"
            );
        }
    }

    #[test]
    fn orthogonal_rows_are_orthonormal() {
        let rows = values(Initializer::Orthogonal(2.0));
        for a in 0..100 {
            for b in 0..=a {
                let dot: f64 = (0..300).map(|i| rows[a * 300 + i] * rows[b * 300 + i]).sum();
                let expected = if a == b { 4.0 } else { 0.0 };
                assert!((dot - expected).abs() < 1e-12, "{a} {b}: {dot}");
            }
        }
    }
}

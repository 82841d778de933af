//! Walking about in noise: paths between noise vectors, and their arithmetic.
//!
//! ```text
//! slerp(a, b, t) = sin((1 − t) ω) / sin ω · a + sin(t ω) / sin ω · b      ω the angle between a and b       Shoemake (1985)
//! ```
//!
//! Normal noise of d dimensions lies near a sphere of radius √d; the straight line between two vectors runs inside it,
//! where a generator was never trained, so paths go around (White, "Sampling generative networks", 2016). Arithmetic is
//! that of Radford et al. (2015): mean(a) − mean(b) + mean(c) of a few samples each, brought back to the sphere.

use crate::error::{Error, Result};
use crate::memory;
use crate::pair::Pair;
use belamy_tensor::Tensor;

/// A point on the way from `a` to `b` at `t` in [0, 1], around the centre; straight where they (nearly) point the same
/// way. Radii go from one to the other evenly.
///
/// ```
/// use belamy_gan::latent::slerp;
/// let middle = slerp(&[2.0, 0.0], &[0.0, 2.0], 0.5);
/// assert!(middle.iter().all(|value| (value - 2f64.sqrt()).abs() < 1e-12));
/// ```
pub fn slerp(a: &[f64], b: &[f64], t: f64) -> Vec<f64> {
    let norm = |x: &[f64]| x.iter().map(|value| value * value).sum::<f64>().sqrt();
    let (norm_a, norm_b) = (norm(a), norm(b));
    let product: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
    let angle = (product / (norm_a * norm_b)).clamp(-1.0, 1.0).acos();
    if angle.is_nan() || angle.sin() <= 1e-6 {
        return a.iter().zip(b).map(|(a, b)| (1.0 - t) * a + t * b).collect();
    }
    let radius = (1.0 - t) * norm_a + t * norm_b;
    let [from_a, from_b] = [((1.0 - t) * angle).sin(), (t * angle).sin()];
    let factor = radius / angle.sin();
    a.iter().zip(b).map(|(a, b)| factor * (from_a * a / norm_a + from_b * b / norm_b)).collect()
}

/// `between` points from each of `[stops, length]` noise vectors on the way to the next, and the last one: (stops − 1) ·
/// between + 1 vectors, or stops · between for a path that closes.
///
/// Fails unless there are two stops, whole vectors, and a point between.
pub fn path(noise: &[f64], length: usize, between: usize, closed: bool) -> Result<Vec<f64>> {
    let stops = noise.len() / length.max(1);
    if length == 0 || stops < 2 || between == 0 || noise.len() != stops * length {
        return Err(Error::data("a path needs two noise vectors, and a step between them"));
    }
    let at = |stop: usize| &noise[stop % stops * length..][..length];
    let legs = if closed { stops } else { stops - 1 };
    let mut points = memory::room((legs * between + 1) * length, "a path")?;
    for leg in 0..legs {
        for step in 0..between {
            points.extend(slerp(at(leg), at(leg + 1), step as f64 / between as f64));
        }
    }
    if !closed {
        points.extend(at(stops - 1));
    }
    Ok(points)
}

/// mean(a) − mean(b) + mean(c) of rows of `[N, length]` noise, at the radius √length of normal noise.
///
/// Fails where a list of rows is empty or names one that is not there.
///
/// ```
/// use belamy_gan::latent::arithmetic;
/// let noise = [1.0, 0.0, 0.0, 1.0, 0.0, 2.0];
/// let found = arithmetic(&noise, 2, [&[0], &[1], &[2]])?;
/// assert!(found.iter().all(|value| (value - 1.0).abs() < 1e-12));
/// # Ok::<(), belamy_gan::Error>(())
/// ```
pub fn arithmetic(noise: &[f64], length: usize, rows: [&[usize]; 3]) -> Result<Vec<f64>> {
    let mut sum = vec![0.0; length];
    for (rows, sign) in rows.into_iter().zip([1.0, -1.0, 1.0]) {
        let mean = mean(noise, length, rows)?;
        sum.iter_mut().zip(&mean).for_each(|(sum, value)| *sum += sign * value);
    }
    Ok(on_the_sphere(sum))
}

/// The mean of rows of noise. Fails as [`arithmetic`].
pub fn mean(noise: &[f64], length: usize, rows: &[usize]) -> Result<Vec<f64>> {
    let count = noise.len() / length.max(1);
    if rows.is_empty() {
        return Err(Error::data("a mean needs at least one sample"));
    }
    if let Some(row) = rows.iter().find(|&&row| row >= count) {
        return Err(Error::data(format!("there is no sample {row}: 0 to {} are", count - 1)));
    }
    let mut mean = vec![0.0; length];
    for &row in rows {
        let values = &noise[row * length..][..length];
        mean.iter_mut().zip(values).for_each(|(sum, value)| *sum += value / rows.len() as f64);
    }
    Ok(mean)
}

/// A vector at the radius √length of normal noise; 0 stays.
pub fn on_the_sphere(mut vector: Vec<f64>) -> Vec<f64> {
    let norm = vector.iter().map(|value| value * value).sum::<f64>().sqrt();
    let factor = if norm > 0.0 { (vector.len() as f64).sqrt() / norm } else { 0.0 };
    vector.iter_mut().for_each(|value| *value *= factor);
    vector
}

/// What a pair's generator makes of noise vectors `[N, latent]`, all of one class where there are classes.
pub fn samples(pair: &mut Pair, noise: &[f64], label: u32) -> Result<Tensor> {
    let count = noise.len() / pair.recipe.latent;
    let values = memory::collected(noise.iter().map(|&value| value as f32), "noise")?;
    let z = Tensor::from_slice(&values, [count, pair.recipe.latent], pair.device())?;
    let labels = match pair.recipe.classes {
        0 => None,
        _ => {
            let labels = memory::collected(std::iter::repeat_n(label, count), "labels")?;
            Some(Tensor::from_slice(&labels, [count], pair.device())?)
        }
    };
    pair.sample(0, &z.to_dtype(pair.dtype())?, labels.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_pass_their_stops_and_keep_the_radius() {
        let noise = [3.0, 0.0, 0.0, 3.0, -3.0, 0.0];
        let open = path(&noise, 2, 4, false).unwrap();
        assert_eq!(open.len(), 2 * (2 * 4 + 1));
        for (stop, step) in [(0, 0), (1, 4), (2, 8)] {
            let near =
                (0..2).all(|axis| (open[2 * step + axis] - noise[2 * stop + axis]).abs() < 1e-12);
            assert!(near, "{open:?}");
        }
        for point in open.chunks_exact(2) {
            assert!((point[0].hypot(point[1]) - 3.0).abs() < 1e-12);
        }
        assert_eq!(path(&noise, 2, 4, true).unwrap().len(), 2 * 12);
        assert!(path(&noise[..2], 2, 4, false).is_err() && path(&noise, 2, 0, false).is_err());
    }

    #[test]
    fn vectors_of_one_direction_and_opposite_ones_do_no_harm() {
        assert_eq!(slerp(&[1.0, 1.0], &[3.0, 3.0], 0.5), [2.0, 2.0]);
        assert_eq!(slerp(&[1.0, 0.0], &[-1.0, 0.0], 0.25), [0.5, 0.0]);
        assert_eq!(slerp(&[0.0, 0.0], &[2.0, 0.0], 0.5), [1.0, 0.0]);
        assert!(mean(&[1.0, 2.0], 2, &[1]).is_err() && mean(&[1.0], 1, &[]).is_err());
    }
}

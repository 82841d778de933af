//! How much samples look alike: the mean multi-scale structural similarity of random pairs.
//!
//! ```text
//! MS-SSIM(a, b) = SSIM₅^w₅ · Π_{s=1..4} cs_s^w_s      w = 0.0448, 0.2856, 0.3001, 0.2363, 0.1333
//! ```
//!
//! Wang, Simoncelli and Bovik (2003); as a measure of a generator's variety Odena, Olah and Shlens (2017), within one
//! class: 1 for a generator that draws one image, and as low as the data's own value for one that is as varied as they.
//! It says nothing of quality.
//!
//! SSIM and its factor cs are those of [`super::psnr`]; each scale halves the image by means of 2 × 2 pixels, the last
//! row or column repeated where their number is odd. Where an image is smaller than the window of 11, the window takes
//! all of it and σ shrinks in proportion (Karras 2018's code), so that MNIST's 28 pixels have five scales too. Factors
//! below 0 count as 0. Channels are averaged.

use super::psnr::{SIGMA, WINDOW, similarity};
use crate::error::{Error, Result};
use belamy_tensor::philox::{Draws, integer};
use rayon::prelude::*;

/// The exponents of the scales, the finest first.
pub const WEIGHTS: [f64; 5] = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333];

/// A stream of random numbers of its own: "PAIR".
const PAIR_STREAM: u32 = 0x5041_4952;

/// MS-SSIM of two images `[height, width, channels]`, `peak` the width of their values' range.
///
/// Fails unless both are of that shape, with at least one value.
///
/// ```
/// use belamy_gan::judge::ms_ssim::ms_ssim;
/// let image: Vec<f64> = (0..784).map(|index| f64::from(index % 13)).collect();
/// assert!((ms_ssim(&image, &image, [28, 28, 1], 12.0)? - 1.0).abs() < 1e-12);
/// # Ok::<(), belamy_gan::Error>(())
/// ```
pub fn ms_ssim(a: &[f64], b: &[f64], shape: [usize; 3], peak: f64) -> Result<f64> {
    let [height, width, channels] = shape;
    if a.is_empty() || a.len() != height * width * channels || b.len() != a.len() {
        let message = format!("{} and {} values are no two images {shape:?}", a.len(), b.len());
        return Err(Error::data(message));
    }
    let planes = |image: &[f64]| -> Vec<Vec<f64>> {
        let plane = |channel| image.iter().skip(channel).step_by(channels).copied().collect();
        (0..channels).map(plane).collect()
    };
    let (mut a, mut b) = (planes(a), planes(b));
    let mut size = [height, width];
    let mut product = 1.0;
    for (scale, weight) in WEIGHTS.into_iter().enumerate() {
        let window = WINDOW.min(size[0]).min(size[1]);
        let sigma = SIGMA * window as f64 / WINDOW as f64;
        let mut means = [0.0; 2];
        for (a, b) in a.iter().zip(&b) {
            let found = similarity(a, b, size, window, sigma, peak);
            (0..2).for_each(|index| means[index] += found[index] / channels as f64);
        }
        let factor = if scale + 1 == WEIGHTS.len() { means[0] } else { means[1] };
        product *= factor.max(0.0).powf(weight);
        for planes in [&mut a, &mut b] {
            planes.iter_mut().for_each(|plane| *plane = halved(plane, size));
        }
        size = size.map(|extent| extent.div_ceil(2));
    }
    Ok(product)
}

fn halved(plane: &[f64], [height, width]: [usize; 2]) -> Vec<f64> {
    let at = |y: usize, x: usize| plane[y.min(height - 1) * width + x.min(width - 1)];
    let mean = |y: usize, x: usize| {
        (at(2 * y, 2 * x) + at(2 * y, 2 * x + 1) + at(2 * y + 1, 2 * x) + at(2 * y + 1, 2 * x + 1))
            / 4.0
    };
    let columns = width.div_ceil(2);
    (0..height.div_ceil(2)).flat_map(|y| (0..columns).map(move |x| mean(y, x))).collect()
}

/// The mean MS-SSIM of `pairs` random pairs of different images, `[count, height, width, channels]` one after the
/// other, drawn by `seed`. Fails unless there are two images and a pair.
pub fn mean_of_pairs(
    images: &[f32],
    shape: [usize; 4],
    peak: f64,
    pairs: usize,
    seed: u64,
) -> Result<f64> {
    let [count, height, width, channels] = shape;
    let elements = height * width * channels;
    if count < 2 || pairs == 0 || images.len() != count * elements {
        return Err(Error::data("the similarity of samples needs two images and a pair"));
    }
    let draws = Draws { seed, stream: PAIR_STREAM, step: 0 };
    let image = |index: usize| -> Vec<f64> {
        images[index * elements..][..elements].iter().map(|&value| f64::from(value)).collect()
    };
    let values: Vec<f64> = (0..pairs as u32)
        .into_par_iter()
        .map(|pair| {
            let first = integer(draws.word(pair, 0), count as u32) as usize;
            let other = integer(draws.word(pair, 1), count as u32 - 1) as usize;
            // One of the others, each as likely.
            let second = other + usize::from(other >= first);
            ms_ssim(&image(first), &image(second), [height, width, channels], peak)
        })
        .collect::<Result<_>>()?;
    Ok(values.iter().sum::<f64>() / pairs as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_alike_and_inverses_are_not() {
        let pattern = |x: usize| ((x * x * 31 + x * 7) % 97) as f64;
        let a: Vec<f64> = (0..32 * 32 * 3).map(pattern).collect();
        let inverse: Vec<f64> = a.iter().map(|value| 96.0 - value).collect();
        assert!((ms_ssim(&a, &a, [32, 32, 3], 96.0).unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(ms_ssim(&a, &inverse, [32, 32, 3], 96.0).unwrap(), 0.0);
        assert!(ms_ssim(&a, &inverse, [32, 32, 1], 96.0).is_err());
    }

    #[test]
    fn a_collapsed_set_is_at_1_and_pairs_are_of_different_images() {
        let one: Vec<f32> = (0..784).map(|x| (x % 29) as f32).collect();
        let same = one.repeat(5);
        let found = mean_of_pairs(&same, [5, 28, 28, 1], 28.0, 40, 1).unwrap();
        assert!((found - 1.0).abs() < 1e-12, "{found}");
        // Two images: every pair is of both, so every mean is the value of that pair.
        let other: Vec<f32> = (0..784).map(|x| ((x * x) % 29) as f32).collect();
        let two = [one.clone(), other.clone()].concat();
        let wide = |image: &[f32]| image.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        let pair = ms_ssim(&wide(&one), &wide(&other), [28, 28, 1], 28.0).unwrap();
        let found = mean_of_pairs(&two, [2, 28, 28, 1], 28.0, 9, 2).unwrap();
        assert!((found - pair).abs() < 1e-12 && pair < 0.9, "{found} {pair}");
        assert!(mean_of_pairs(&one, [1, 28, 28, 1], 28.0, 1, 1).is_err());
    }
}

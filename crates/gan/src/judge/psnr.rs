//! How near an image is to the one that it should be: PSNR, and SSIM, on luminance.
//!
//! ```text
//! PSNR = 10 log₁₀(L² / mean (a − b)²)                                                         dB
//! SSIM = mean of (2 μa μb + C₁)(2 σab + C₂) / ((μa² + μb² + C₁)(σa² + σb² + C₂))
//! C₁ = (0.01 L)², C₂ = (0.03 L)²; means, variances and covariance under an 11 × 11 Gaussian of σ = 1.5
//! ```
//!
//! Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural similarity"
//! (2004). Only windows that lie wholly inside count, and variances are those of the window (no n − 1), as in the
//! authors' MATLAB code. Super-resolution's published tables take both on BT.601's Y without a border of 4 pixels;
//! SRGAN's SSIM values (Ledig et al. 2017) are of another definition, the Daala project's, whose window grows with the
//! image, and are higher by about a hundredth.
//!
//! L is the width of the values' range: 255 for bytes.

use crate::data::image::Image;
use crate::error::{Error, Result};
use serde::Serialize;

/// The side of SSIM's window in pixels.
pub const WINDOW: usize = 11;

/// The standard deviation of its Gaussian in pixels.
pub const SIGMA: f64 = 1.5;

/// What super-resolution's tables leave out along each edge, in pixels.
pub const SHAVE: usize = 4;

/// PSNR and SSIM of an image.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Likeness {
    /// In decibels; infinite for equal images, which JSON writes as `null`.
    pub psnr: f64,
    /// 1 for equal images.
    pub ssim: f64,
}

/// Planes of one size, or why they cannot be compared.
fn check(a: &[f64], b: &[f64], [height, width]: [usize; 2], least: usize) -> Result<()> {
    if a.len() != height * width || b.len() != a.len() {
        let message =
            format!("{} and {} values are no two planes of {height}×{width}", a.len(), b.len());
        return Err(Error::data(message));
    }
    if height.min(width) < least {
        let message = format!("planes of {height}×{width} are below {least} pixels a side");
        return Err(Error::data(message));
    }
    Ok(())
}

/// PSNR in decibels of numbers against numbers, `peak` the width of their range. Fails when they are not as many.
///
/// ```
/// use belamy_gan::judge::psnr::psnr;
/// assert!((psnr(&[0.0, 0.0], &[25.5, 25.5], 255.0)? - 20.0).abs() < 1e-12);
/// # Ok::<(), belamy_gan::Error>(())
/// ```
pub fn psnr(a: &[f64], b: &[f64], peak: f64) -> Result<f64> {
    check(a, b, [1, a.len()], 1)?;
    let sum: f64 = a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
    Ok(10.0 * (peak * peak * a.len() as f64 / sum).log10())
}

/// SSIM of two planes `[height, width]`, `peak` the width of their range. Fails below 11 pixels a side, or when the
/// planes are not of that size.
///
/// ```
/// use belamy_gan::judge::psnr::ssim;
/// let plane: Vec<f64> = (0..144).map(f64::from).collect();
/// assert!((ssim(&plane, &plane, [12, 12], 255.0)? - 1.0).abs() < 1e-12);
/// # Ok::<(), belamy_gan::Error>(())
/// ```
pub fn ssim(a: &[f64], b: &[f64], size: [usize; 2], peak: f64) -> Result<f64> {
    check(a, b, size, WINDOW)?;
    Ok(similarity(a, b, size, WINDOW, SIGMA, peak)[0])
}

/// The mean over windows of SSIM, and of its second factor alone: contrast and structure.
pub(crate) fn similarity(
    a: &[f64],
    b: &[f64],
    size: [usize; 2],
    window: usize,
    sigma: f64,
    peak: f64,
) -> [f64; 2] {
    let weights = gaussian(window, sigma);
    let smooth = |f: fn(f64, f64) -> f64| {
        let product: Vec<f64> = a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect();
        filter(&product, size, &weights)
    };
    let (mean_a, mean_b) = (smooth(|a, _| a), smooth(|_, b| b));
    let (square_a, square_b) = (smooth(|a, _| a * a), smooth(|_, b| b * b));
    let product = smooth(|a, b| a * b);
    let (c1, c2) = ((0.01 * peak).powi(2), (0.03 * peak).powi(2));
    let mut sums = [0.0; 2];
    for index in 0..product.len() {
        let (a, b) = (mean_a[index], mean_b[index]);
        let variances = square_a[index] - a * a + square_b[index] - b * b;
        let structure = (2.0 * (product[index] - a * b) + c2) / (variances + c2);
        sums[0] += (2.0 * a * b + c1) / (a * a + b * b + c1) * structure;
        sums[1] += structure;
    }
    sums.map(|sum| sum / product.len() as f64)
}

/// A Gaussian's values at `size` places around 0, which sum to 1.
fn gaussian(size: usize, sigma: f64) -> Vec<f64> {
    let middle = (size as f64 - 1.0) / 2.0;
    let values: Vec<f64> =
        (0..size).map(|index| (-((index as f64 - middle) / sigma).powi(2) / 2.0).exp()).collect();
    let sum: f64 = values.iter().sum();
    values.into_iter().map(|value| value / sum).collect()
}

/// The plane under a separable window where that lies inside: `[height − k + 1, width − k + 1]`.
fn filter(plane: &[f64], [height, width]: [usize; 2], weights: &[f64]) -> Vec<f64> {
    let k = weights.len();
    let (rows, columns) = (height - k + 1, width - k + 1);
    let mut narrow = Vec::with_capacity(height * columns);
    for row in plane.chunks_exact(width) {
        let window = |window: &[f64]| window.iter().zip(weights).map(|(x, w)| x * w).sum::<f64>();
        narrow.extend(row.windows(k).map(window));
    }
    let mut result = vec![0.0; rows * columns];
    for (y, sums) in result.chunks_exact_mut(columns).enumerate() {
        for (row, weight) in narrow[y * columns..].chunks_exact(columns).zip(weights) {
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * value);
        }
    }
    result
}

/// PSNR and SSIM of two images on Y, [`Image::luminance`], without `shave` pixels along each edge. Fails when they are
/// of different sizes or leave less than SSIM's window.
///
/// ```
/// use belamy_gan::data::image::Image;
/// use belamy_gan::judge::psnr::{SHAVE, of_luminance};
/// let grey = |byte| Image { width: 20, height: 20, channels: 1, bytes: vec![byte; 400] };
/// // Ten levels of grey are 219 / 255 · 10 of Y.
/// let found = of_luminance(&grey(100), &grey(110), SHAVE)?;
/// assert!((found.psnr - 20.0 * (255.0f64 * 255.0 / 2190.0).log10()).abs() < 1e-9);
/// # Ok::<(), belamy_gan::Error>(())
/// ```
pub fn of_luminance(a: &Image, b: &Image, shave: usize) -> Result<Likeness> {
    if (a.width, a.height) != (b.width, b.height) {
        let message = format!(
            "images of {}×{} and {}×{} cannot be compared",
            a.width, a.height, b.width, b.height
        );
        return Err(Error::data(message));
    }
    let size = [a.height, a.width].map(|extent| extent.saturating_sub(2 * shave));
    let inside = |image: &Image| -> Vec<f64> {
        let plane = image.luminance();
        let row = |y: usize| &plane[(y + shave) * a.width + shave..][..size[1]];
        (0..size[0]).flat_map(row).copied().collect()
    };
    if size[0].min(size[1]) < WINDOW {
        let message = format!(
            "images of {}×{} are too small: {WINDOW} pixels a side inside a border of {shave} are compared",
            a.width, a.height
        );
        return Err(Error::data(message));
    }
    let (a, b) = (inside(a), inside(b));
    Ok(Likeness { psnr: psnr(&a, &b, 255.0)?, ssim: ssim(&a, &b, size, 255.0)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_planes_have_a_closed_form() {
        let (a, b) = (vec![50.0; 400], vec![100.0; 400]);
        let c1 = (0.01f64 * 255.0).powi(2);
        let expected = (2.0 * 50.0 * 100.0 + c1) / (2_500.0 + 10_000.0 + c1);
        assert!((ssim(&a, &b, [20, 20], 255.0).unwrap() - expected).abs() < 1e-9);
        assert_eq!(psnr(&a, &a, 255.0).unwrap(), f64::INFINITY);
    }

    #[test]
    fn an_inverted_pattern_has_a_negative_similarity_and_noise_lowers_it() {
        let pattern = |x: usize| ((x * x * 31 + x * 7) % 97) as f64;
        let a: Vec<f64> = (0..900).map(pattern).collect();
        let inverse: Vec<f64> = a.iter().map(|value| 96.0 - value).collect();
        assert!(ssim(&a, &inverse, [30, 30], 96.0).unwrap() < -0.5);
        let nearly: Vec<f64> = a.iter().zip(0..).map(|(a, x)| a + f64::from(x % 5)).collect();
        let found = ssim(&a, &nearly, [30, 30], 96.0).unwrap();
        assert!(found > 0.9 && found < 0.9999, "{found}");
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let plane = vec![0.0; 100];
        assert!(ssim(&plane, &plane, [10, 10], 1.0).is_err());
        assert!(ssim(&plane, &plane, [10, 11], 1.0).is_err());
        assert!(psnr(&plane, &plane[1..], 1.0).is_err() && psnr(&[], &[], 1.0).is_err());
        let image =
            |side| Image { width: side, height: 20, channels: 1, bytes: vec![0; side * 20] };
        assert!(of_luminance(&image(20), &image(21), 0).is_err());
        assert!(of_luminance(&image(18), &image(18), 4).is_err());
        assert!(of_luminance(&image(3), &image(3), 4).is_err());
    }
}

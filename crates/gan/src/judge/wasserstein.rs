//! The sliced Wasserstein distance between patches of two sets of images: SWD.
//!
//! ```text
//! pyramid      L_s = G_s − up(G_{s+1}),  G_{s+1} = down(G_s),  the last L is G itself         Burt and Adelson (1983)
//! descriptor   a random 7 × 7 patch of L_s, 128 an image, each channel brought to mean 0 and deviation 1 over the set
//! SWD          mean over 512 random unit directions θ of  mean |sort(A θ) − sort(B θ)|
//! ```
//!
//! Karras et al., "Progressive growing of GANs" (2018), section 5, after Rabin et al. (2011): how alike the local
//! structure of two sets of images is, scale by scale, with no network in between. Shown times 1,000, as published.
//! `down` smooths by [1 4 6 4 1] / 16 both ways, mirrored at the border, and keeps every other pixel; `up` puts zeros
//! between and smooths times 4. Scales go on while both sides are even and stay 16 pixels or more, so MNIST has one.
//! Both sets must have as many images. Published for 16,384 images; fewer give larger values, also between real images.

use crate::error::{Error, Result};
use belamy_tensor::philox::{Draws, integer, normal_pair};
use rayon::prelude::*;
use serde::Serialize;

/// The side of a patch in pixels.
pub const PATCH: usize = 7;

/// Patches an image.
pub const PATCHES: usize = 128;

/// Random directions.
pub const DIRECTIONS: usize = 512;

/// A pyramid ends before it goes below this.
pub const LEAST_SIDE: usize = 16;

/// Streams of random numbers of their own: "SWD" and the next.
const PLACE_STREAM: u32 = 0x0053_5744;
const DIRECTION_STREAM: u32 = 0x0053_5745;

/// The distance at one scale.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ScaleDistance {
    /// The images' height at this scale in pixels.
    pub height: usize,
    /// Their width.
    pub width: usize,
    /// The distance times 1,000.
    pub distance: f64,
}

/// The distances of all scales, the finest first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SlicedDistance {
    /// A distance each scale.
    pub scales: Vec<ScaleDistance>,
    /// Their mean.
    pub mean: f64,
}

/// `[height, width, channels]` numbers smoothed by [1 4 6 4 1] / 16 both ways, times `gain`.
fn smooth(image: &[f64], [height, width, channels]: [usize; 3], gain: f64) -> Vec<f64> {
    const WEIGHTS: [f64; 5] = [1.0 / 16.0, 4.0 / 16.0, 6.0 / 16.0, 4.0 / 16.0, 1.0 / 16.0];
    // c b | a b c … | b a: the border itself stands once.
    let mirrored = |place: isize, extent: usize| {
        let period = 2 * (extent as isize - 1).max(1);
        let place = place.rem_euclid(period);
        place.min(period - place) as usize
    };
    let along = |source: &[f64], rows: bool| -> Vec<f64> {
        let mut result = Vec::with_capacity(source.len());
        for y in 0..height {
            for x in 0..width {
                for channel in 0..channels {
                    let terms = WEIGHTS.iter().zip(-2isize..).map(|(weight, offset)| {
                        let (y, x) = if rows {
                            (mirrored(y as isize + offset, height), x)
                        } else {
                            (y, mirrored(x as isize + offset, width))
                        };
                        weight * source[(y * width + x) * channels + channel]
                    });
                    result.push(terms.sum());
                }
            }
        }
        result
    };
    let mut result = along(&along(image, false), true);
    result.iter_mut().for_each(|value| *value *= gain);
    result
}

/// The Laplacian pyramid of an image `[height, width, channels]`, `scales` levels, the finest first.
///
/// Panics unless the sides can be halved so often and the values are as many as the shape says.
pub fn pyramid(image: &[f64], shape: [usize; 3], scales: usize) -> Vec<Vec<f64>> {
    let [mut height, mut width, channels] = shape;
    assert_eq!(image.len(), height * width * channels, "values and shape agree");
    let mut levels = Vec::with_capacity(scales);
    let mut current = image.to_vec();
    for _ in 1..scales {
        assert!(height % 2 == 0 && width % 2 == 0, "sides that can be halved");
        let smoothed = smooth(&current, [height, width, channels], 1.0);
        let mut spread = vec![0.0; current.len()];
        let mut small = Vec::with_capacity(current.len() / 4);
        for y in (0..height).step_by(2) {
            for x in (0..width).step_by(2) {
                let place = (y * width + x) * channels;
                let pixel = &smoothed[place..place + channels];
                spread[place..place + channels].copy_from_slice(pixel);
                small.extend_from_slice(pixel);
            }
        }
        let back = smooth(&spread, [height, width, channels], 4.0);
        current.iter_mut().zip(&back).for_each(|(value, back)| *value -= back);
        levels.push(std::mem::replace(&mut current, small));
        (height, width) = (height / 2, width / 2);
    }
    levels.push(current);
    levels
}

/// The sizes of an image's scales, the finest first; none where a patch does not fit.
pub fn sizes([mut height, mut width]: [usize; 2]) -> Vec<[usize; 2]> {
    let mut sizes = Vec::new();
    if height.min(width) < PATCH {
        return sizes;
    }
    sizes.push([height, width]);
    while height % 2 == 0 && width % 2 == 0 && height.min(width) / 2 >= LEAST_SIDE {
        (height, width) = (height / 2, width / 2);
        sizes.push([height, width]);
    }
    sizes
}

/// Brings each channel of `[count, pixels, channels]` numbers to mean 0 and deviation 1 over all; a constant channel
/// becomes 0.
pub fn standardise(values: &mut [f64], channels: usize) {
    let count = (values.len() / channels) as f64;
    for channel in 0..channels {
        let of_channel = || values.iter().skip(channel).step_by(channels);
        let mean = of_channel().sum::<f64>() / count;
        let variance = of_channel().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        let factor = if variance > 0.0 { 1.0 / variance.sqrt() } else { 0.0 };
        for value in values.iter_mut().skip(channel).step_by(channels) {
            *value = (*value - mean) * factor;
        }
    }
}

/// The mean over `directions` `[k, length]` of the mean absolute difference between the sorted projections of the rows
/// of `a` and of `b`, both `[n, length]`. Fails when they are not as many.
///
/// ```
/// use belamy_gan::judge::wasserstein::sliced_distance;
/// // Along x the sets {0, 1} and {3, 2} are 2 apart, along y they are equal.
/// let (a, b) = ([0.0, 5.0, 1.0, 5.0], [3.0, 5.0, 2.0, 5.0]);
/// assert_eq!(sliced_distance(&a, &b, 2, &[1.0, 0.0, 0.0, 1.0])?, 1.0);
/// # Ok::<(), belamy_gan::Error>(())
/// ```
pub fn sliced_distance(a: &[f64], b: &[f64], length: usize, directions: &[f64]) -> Result<f64> {
    let whole = |values: &[f64]| length > 0 && values.len().is_multiple_of(length);
    if a.is_empty()
        || a.len() != b.len()
        || !whole(a)
        || !whole(directions)
        || directions.is_empty()
    {
        let message = format!("sets of {} and {} values cannot be compared", a.len(), b.len());
        return Err(Error::data(message));
    }
    let along = |values: &[f64], direction: &[f64]| {
        let mut projections: Vec<f64> =
            values.chunks_exact(length).map(|row| super::features::dot(row, direction)).collect();
        projections.sort_unstable_by(f64::total_cmp);
        projections
    };
    let one = |direction: &[f64]| {
        let (a, b) = (along(a, direction), along(b, direction));
        a.iter().zip(&b).map(|(a, b)| (a - b).abs()).sum::<f64>() / a.len() as f64
    };
    let distances: Vec<f64> = directions.par_chunks_exact(length).map(one).collect();
    Ok(distances.iter().sum::<f64>() / distances.len() as f64)
}

/// The sliced Wasserstein distance of two sets of images `[count, height, width, channels]`, patches and directions
/// drawn by `seed`. Fails when the sets are not of one shape, or are smaller than a patch.
pub fn of_images(
    real: &[f32],
    fake: &[f32],
    shape: [usize; 4],
    seed: u64,
) -> Result<SlicedDistance> {
    let [count, height, width, channels] = shape;
    let elements = height * width * channels;
    if count == 0 || real.len() != count * elements || fake.len() != real.len() {
        return Err(Error::data(format!("no two sets of images {shape:?}")));
    }
    let sizes = sizes([height, width]);
    if sizes.is_empty() {
        let message = format!("patches of {PATCH}×{PATCH} do not fit images of {height}×{width}");
        return Err(Error::data(message));
    }
    let length = PATCH * PATCH * channels;
    let scales = sizes
        .iter()
        .enumerate()
        .map(|(scale, &[height, width])| {
            let patches = |images: &[f32]| {
                let mut patches = descriptors(images, shape, scale, [height, width], seed);
                standardise(&mut patches, channels);
                patches
            };
            let directions = directions(length, scale, seed);
            let distance = sliced_distance(&patches(real), &patches(fake), length, &directions)?;
            Ok(ScaleDistance { height, width, distance: 1e3 * distance })
        })
        .collect::<Result<Vec<_>>>()?;
    let mean = scales.iter().map(|scale| scale.distance).sum::<f64>() / scales.len() as f64;
    Ok(SlicedDistance { scales, mean })
}

/// The patches of one scale, `[count · 128, 7, 7, channels]`. Both sets take them at the same places.
fn descriptors(
    images: &[f32],
    [_, full_height, full_width, channels]: [usize; 4],
    scale: usize,
    [height, width]: [usize; 2],
    seed: u64,
) -> Vec<f64> {
    let draws = Draws { seed, stream: PLACE_STREAM, step: scale as u32 };
    let elements = full_height * full_width * channels;
    // The coarsest level is what the others leave: as many are made as this one needs.
    let scales = (scale + 2).min(sizes([full_height, full_width]).len());
    let patches: Vec<Vec<f64>> = images
        .par_chunks_exact(elements)
        .enumerate()
        .map(|(index, image)| {
            let image: Vec<f64> = image.iter().map(|&value| f64::from(value)).collect();
            let levels = pyramid(&image, [full_height, full_width, channels], scales);
            let level = &levels[scale];
            let mut patches = Vec::with_capacity(PATCHES * PATCH * PATCH * channels);
            for patch in 0..PATCHES as u32 {
                let place = |axis: u32, extent: usize| {
                    let word = draws.word(index as u32, 2 * patch + axis);
                    integer(word, (extent - PATCH + 1) as u32) as usize
                };
                let (top, left) = (place(0, height), place(1, width));
                for y in top..top + PATCH {
                    let start = (y * width + left) * channels;
                    patches.extend_from_slice(&level[start..start + PATCH * channels]);
                }
            }
            patches
        })
        .collect();
    patches.concat()
}

/// Random unit vectors, `[512, length]`.
fn directions(length: usize, scale: usize, seed: u64) -> Vec<f64> {
    let draws = Draws { seed, stream: DIRECTION_STREAM, step: scale as u32 };
    let one = |index: u32| {
        let mut vector: Vec<f64> = (0..length.div_ceil(2) as u32)
            .flat_map(|pair| {
                normal_pair(draws.word(index, 2 * pair), draws.word(index, 2 * pair + 1))
            })
            .take(length)
            .collect();
        let norm = vector.iter().map(|value| value * value).sum::<f64>().sqrt();
        vector.iter_mut().for_each(|value| *value /= norm);
        vector
    };
    (0..DIRECTIONS as u32).flat_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(count: usize, side: usize, seed: u64) -> Vec<f32> {
        let draws = Draws { seed, stream: 0, step: 0 };
        let value = |place: usize| draws.word(place as u32, 0) as f32 / u32::MAX as f32;
        (0..count * side * side).map(value).collect()
    }

    #[test]
    fn pyramids_add_up_and_constants_live_in_the_coarsest_level() {
        let image: Vec<f64> = noise(1, 32, 1).into_iter().map(f64::from).collect();
        let levels = pyramid(&image, [32, 32, 1], 2);
        // L₀ + up(G₁) is the image.
        let mut spread = vec![0.0; 1024];
        for (index, value) in levels[1].iter().enumerate() {
            spread[index / 16 * 2 * 32 + index % 16 * 2] = *value;
        }
        let back = smooth(&spread, [32, 32, 1], 4.0);
        let sum = levels[0].iter().zip(&back).map(|(a, b)| a + b);
        assert!(sum.zip(&image).all(|(sum, value)| (sum - value).abs() < 1e-12));
        // Zeros between pixels, mirrored without the border: even and odd weights each sum to ½, also at the border.
        let levels = pyramid(&[3.0; 32 * 32], [32, 32, 1], 2);
        assert!(levels[1].iter().all(|value| (value - 3.0).abs() < 1e-12));
        let inside = |place: &usize| place / 32 < 30 && place % 32 < 30;
        assert!((0..1024).filter(inside).all(|place| levels[0][place].abs() < 1e-12));
    }

    #[test]
    fn scales_end_at_16_or_at_odd_sides() {
        assert_eq!(sizes([64, 64]), [[64, 64], [32, 32], [16, 16]]);
        assert_eq!(sizes([28, 28]), [[28, 28]]);
        assert_eq!(sizes([100, 100]), [[100, 100], [50, 50], [25, 25]]);
        assert!(sizes([6, 64]).is_empty());
    }

    #[test]
    fn equal_sets_are_at_0_like_ones_near_and_others_far() {
        let shape = [60, 32, 32, 1];
        let (a, b) = (noise(60, 32, 1), noise(60, 32, 2));
        let same = of_images(&a, &a, shape, 1).unwrap();
        assert_eq!((same.mean, same.scales.len()), (0.0, 2));
        let like = of_images(&a, &b, shape, 1).unwrap();
        let lines: Vec<f32> =
            a.iter().enumerate().map(|(place, v)| v * 0.2 + (place % 3) as f32).collect();
        let other = of_images(&a, &lines, shape, 1).unwrap();
        assert!(like.mean > 0.0 && other.mean > 5.0 * like.mean, "{like:?} {other:?}");
        assert!(of_images(&a, &b[1024..], shape, 1).is_err());
        assert!(of_images(&a, &b, [60 * 256, 2, 2, 1], 1).is_err());
    }

    #[test]
    fn channels_are_standardised_apart() {
        let mut values = [0.0, 5.0, 2.0, 5.0, 4.0, 5.0];
        standardise(&mut values, 2);
        let step = 1.5f64.sqrt();
        assert!(
            values
                .iter()
                .zip([-step, 0.0, 0.0, 0.0, step, 0.0])
                .all(|(a, b)| (a - b).abs() < 1e-12)
        );
    }
}

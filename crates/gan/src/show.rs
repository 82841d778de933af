//! Pictures of samples: a grid of images, or points over the true curve.

use crate::data::ValueRange;
use crate::data::image::Image;
use crate::error::{Error, Result};
use crate::pictures::canvas::Canvas;
use crate::pictures::{grid, scatter};
use crate::recipe::Recipe;
use belamy_tensor::Tensor;

/// How many samples a run shows: a grid of images, or enough points to see a curve.
pub fn samples_shown(recipe: &Recipe) -> usize {
    match recipe.range {
        ValueRange::Unbounded => 500,
        _ => 64,
    }
}

/// The shape of one sample as an image `[H, W, C]`, for systems whose images are rows of pixels too.
pub fn image_shape(sample: &[usize]) -> Option<[usize; 3]> {
    match *sample {
        [h, w, c] => Some([h, w, c]),
        [pixels] if pixels > 2 && pixels.isqrt().pow(2) == pixels => {
            Some([pixels.isqrt(), pixels.isqrt(), 1])
        }
        _ => None,
    }
}

/// Draws samples `[N, ..]` as the recipe's data look.
pub fn picture(recipe: &Recipe, samples: &Tensor, title: &str) -> Result<Canvas> {
    let values: Vec<f32> = samples.to_f64()?.into_iter().map(|value| value as f32).collect();
    match image_shape(&samples.dims()[1..]) {
        Some([h, w, c]) => grid::grid(&values, &[samples.dims()[0], h, w, c], recipe.range, None),
        None => {
            let points: Vec<[f32; 2]> =
                values.chunks_exact(2).map(|point| [point[0], point[1]]).collect();
            Ok(scatter::scatter(&points, title))
        }
    }
}

/// One image `[1, H, W, C]` pixel by pixel, without a frame. Fails on another shape, or a value that is no number.
pub fn image(recipe: &Recipe, sample: &Tensor) -> Result<Image> {
    let &[1, height, width, channels @ (1 | 3)] = sample.dims() else {
        return Err(Error::data(format!("{} is no image [1, H, W, C]", sample.shape())));
    };
    let byte = |value: f64| recipe.range.to_byte(value as f32);
    let bytes: Option<Vec<u8>> = sample.to_f64()?.into_iter().map(byte).collect();
    let bytes = bytes.ok_or_else(|| Error::data("a pixel of the image is no number"))?;
    Ok(Image { width, height, channels, bytes })
}

//! Pictures of samples: a grid of images, or points over the true curve.

use crate::data::ValueRange;
use crate::data::image::Image;
use crate::error::{Error, Result};
use crate::memory;
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

/// The numbers of samples in f32, whatever they were computed in. Fails without memory for them.
pub fn values(samples: &Tensor) -> Result<Vec<f32>> {
    let values = samples.to_f64()?;
    memory::collected(values.into_iter().map(|value| value as f32), "samples")
}

/// Draws samples `[N, ..]` as the recipe's data look. Fails without memory for them, or for the picture.
pub fn picture(recipe: &Recipe, samples: &Tensor, title: &str) -> Result<Canvas> {
    let values = values(samples)?;
    match image_shape(&samples.dims()[1..]) {
        Some([h, w, c]) => grid::grid(&values, &[samples.dims()[0], h, w, c], recipe.range, None),
        None => scatter::scatter(values.as_chunks().0, title),
    }
}

/// One image `[1, H, W, C]` pixel by pixel, without a frame. Fails on another shape, on a value that is no number, and
/// without memory for it.
pub fn image(recipe: &Recipe, sample: &Tensor) -> Result<Image> {
    let &[1, height, width, channels @ (1 | 3)] = sample.dims() else {
        return Err(Error::data(format!("{} is no image [1, H, W, C]", sample.shape())));
    };
    let values = sample.to_f64()?;
    let mut bytes = memory::room(values.len(), "an image")?;
    bytes.extend(values.iter().map_while(|&value| recipe.range.to_byte(value as f32)));
    if bytes.len() < values.len() {
        return Err(Error::data("a pixel of the image is no number"));
    }
    Ok(Image { width, height, channels, bytes })
}

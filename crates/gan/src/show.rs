//! Pictures of samples: a grid of images, or points over the true curve.

use crate::data::ValueRange;
use crate::error::Result;
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

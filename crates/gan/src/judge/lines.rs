//! Images against the vertical lines that they should show.
//!
//! An image of vertical lines varies from column to column and not within a column.

use super::some;
use crate::error::{Error, Result};
use serde::Serialize;

/// How many times the variance within columns the variance between their means must be.
pub const LEAST_RATIO: f64 = 5.0;

/// The least variance between column means, for values in [0, 1]: a hundredth of full contrast, squared. An image
/// with less is one grey, whatever its ratio.
pub const LEAST_VARIANCE: f64 = 1e-4;

/// What a set of images is worth.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LinesCard {
    /// Images judged.
    pub samples: usize,
    /// Images of vertical lines.
    pub vertical: usize,
    /// Their share.
    pub share: f64,
    /// Images that vary less between columns than [`LEAST_VARIANCE`].
    pub grey: usize,
    /// Images with a value that is no finite number; they show no lines.
    pub not_finite: usize,
}

/// The variance between an image's column means, and the mean over columns of the variance within each. Both are
/// divided by the number of values, not by one less. `image` holds rows of `width` values.
pub fn variances(image: &[f64], width: usize) -> [f64; 2] {
    let column = |index: usize| image.iter().skip(index).step_by(width).copied();
    let columns: Vec<[f64; 2]> = (0..width).map(|index| mean_and_variance(column(index))).collect();
    let [_, between] = mean_and_variance(columns.iter().map(|[mean, _]| *mean));
    let [within, _] = mean_and_variance(columns.iter().map(|[_, variance]| *variance));
    [between, within]
}

/// In two passes, so that values which are all equal have variance 0 up to the rounding of their mean.
fn mean_and_variance(values: impl Iterator<Item = f64> + Clone) -> [f64; 2] {
    let count = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / count;
    [mean, values.map(|value| (value - mean).powi(2)).sum::<f64>() / count]
}

/// Judges grey images in [0, 1] of `height` by `width`, one after the other. Fails when there are none, or the last
/// one ends early.
pub fn judge(images: &[f64], [height, width]: [usize; 2]) -> Result<LinesCard> {
    let pixels = height * width;
    if pixels == 0 || !images.len().is_multiple_of(pixels) {
        let message = format!("{} values are no images of {height}×{width}", images.len());
        return Err(Error::data(message));
    }
    let samples = images.len() / pixels;
    let total = some(samples)?;
    let (mut vertical, mut grey, mut not_finite) = (0, 0, 0);
    for image in images.chunks_exact(pixels) {
        let [between, within] = variances(image, width);
        if !image.iter().all(|value| value.is_finite()) {
            not_finite += 1;
        } else if between < LEAST_VARIANCE {
            grey += 1;
        } else if between >= LEAST_RATIO * within {
            vertical += 1;
        }
    }
    Ok(LinesCard { samples, vertical, share: vertical as f64 / total, grey, not_finite })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::synthetic::vertical_lines;
    use belamy_tensor::philox::{Draws, uniform};

    fn image(value: impl Fn(usize, usize) -> f64) -> Vec<f64> {
        (0..32 * 32).map(|index| value(index / 32, index % 32)).collect()
    }

    fn is_vertical(image: &[f64]) -> bool {
        judge(image, [32, 32]).unwrap().vertical == 1
    }

    #[test]
    fn variances_are_those_by_hand() {
        // Columns (0, 2) and (4, 10): means 1 and 7, variances 1 and 9.
        assert_eq!(variances(&[0.0, 4.0, 2.0, 10.0], 2), [9.0, 5.0]);
    }

    #[test]
    fn lines_are_told_from_what_is_none() {
        let draws = Draws { seed: 2, stream: 0, step: 0 };
        let noise = |row: usize, column: usize| uniform(draws.word(row as u32, column as u32));
        let lines = |column: usize| f64::from(u8::from(column.is_multiple_of(4)));
        assert!(is_vertical(&image(|_, column| lines(column))));
        assert!(is_vertical(&image(|row, column| lines(column) + 0.2 * noise(row, column))));
        assert!(!is_vertical(&image(noise)));
        assert!(!is_vertical(&image(|row, _| lines(row))), "horizontal");
        assert!(!is_vertical(&image(|row, column| lines(row + column))), "diagonal");
        assert!(!is_vertical(&image(|row, column| lines(column) * lines(row))), "dots");
        let card = judge(&image(|_, _| 0.3), [32, 32]).unwrap();
        assert_eq!((card.vertical, card.grey), (0, 1));
        let card = judge(&image(|_, column| 0.3 + 1e-4 * column as f64), [32, 32]).unwrap();
        assert_eq!((card.vertical, card.grey), (0, 1), "hardly any contrast");
    }

    #[test]
    fn the_training_images_pass_and_shares_count_images() {
        let data = vertical_lines(50, 1).unwrap();
        let mut images: Vec<f64> = data.images.iter().map(|&value| f64::from(value)).collect();
        assert_eq!(judge(&images, [32, 32]).unwrap().share, 1.0);
        images.extend(image(|_, _| f64::NAN));
        images.extend((0..49).flat_map(|_| image(|row, _| (row % 2) as f64)));
        let card = judge(&images, [32, 32]).unwrap();
        assert_eq!((card.samples, card.share, card.not_finite, card.grey), (100, 0.5, 1, 49));
        assert!(judge(&[], [32, 32]).is_err());
        assert!(judge(&images[1..], [32, 32]).is_err());
    }
}

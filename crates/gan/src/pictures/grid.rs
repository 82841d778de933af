//! Samples side by side.

use super::canvas::{Canvas, Colour, Rectangle};
use crate::data::ValueRange;
use crate::error::{Error, Result};

/// Small samples are enlarged by whole numbers until the grid fills this many pixels.
const LARGEST: usize = 1000;
const LARGEST_AT_ALL: usize = 16_384;
const PADDING: usize = 4;
/// Between images, so that neither black nor white ones run together.
const BETWEEN: Colour = [176, 176, 176];
/// A value that is no number must be seen.
const NOT_A_NUMBER: Colour = [255, 0, 255];

/// `[n, h, w, c]` images (c is 1 or 3) as a grid of about equally many rows and columns, or of `columns`.
///
/// Each pixel of an image becomes a square of whole pixels, as large as fits 1000 x 1000. Values outside the range
/// are cut off, those that are no numbers shown in magenta.
///
/// Fails unless the shape has four axes, agrees with the number of values, and its grid fits 16,384 pixels each way; and
/// without memory for its pixels.
pub fn grid(
    images: &[f32],
    shape: &[usize],
    range: ValueRange,
    columns: Option<usize>,
) -> Result<Canvas> {
    let &[count, height, width, channels] = shape else {
        return Err(Error::data(format!("a grid needs images [n, h, w, c], not {shape:?}")));
    };
    let elements = shape.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
    if elements != Some(images.len()) || images.is_empty() || !matches!(channels, 1 | 3) {
        let found = images.len();
        let message = format!(
            "{found} values of shape {shape:?} make no grid: at least one image of 1 or 3 channels does"
        );
        return Err(Error::data(message));
    }
    let columns =
        columns.unwrap_or_else(|| count.isqrt() + usize::from(count.isqrt().pow(2) < count));
    let columns = columns.clamp(1, count);
    let rows = count.div_ceil(columns);
    // At scale s a grid is n * (s * side + padding) + padding pixels long.
    let room = |cells: usize, side: usize| {
        (LARGEST.saturating_sub(PADDING) / cells).saturating_sub(PADDING) / side
    };
    let scale = room(columns, width).min(room(rows, height)).max(1);
    let extent = |cells: usize, side: usize| {
        let length = side
            .checked_mul(scale)?
            .checked_add(PADDING)?
            .checked_mul(cells)?
            .checked_add(PADDING)?;
        (length <= LARGEST_AT_ALL).then_some(length)
    };
    let (Some(across), Some(down)) = (extent(columns, width), extent(rows, height)) else {
        let message = format!(
            "a grid of {columns} x {rows} images of {width} x {height} is above {LARGEST_AT_ALL} pixels; show fewer"
        );
        return Err(Error::data(message));
    };
    let mut canvas = Canvas::new(across as u32, down as u32)?;
    let all = Rectangle { left: 0.0, top: 0.0, right: across as f32, bottom: down as f32 };
    canvas.fill(all, BETWEEN);
    for (index, image) in images.chunks_exact(height * width * channels).enumerate() {
        let left = PADDING + index % columns * (width * scale + PADDING);
        let top = PADDING + index / columns * (height * scale + PADDING);
        for (place, pixel) in image.chunks_exact(channels).enumerate() {
            let (x, y) = (left + place % width * scale, top + place / width * scale);
            let square = Rectangle {
                left: x as f32,
                top: y as f32,
                right: (x + scale) as f32,
                bottom: (y + scale) as f32,
            };
            canvas.fill(square, colour(pixel, range));
        }
    }
    Ok(canvas)
}

fn colour(pixel: &[f32], range: ValueRange) -> Colour {
    let level = |channel: usize| range.to_byte(pixel[channel % pixel.len()]);
    match (level(0), level(1), level(2)) {
        (Some(red), Some(green), Some(blue)) => [red, green, blue],
        _ => NOT_A_NUMBER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_enlarged_and_stand_in_rows() {
        let mut images = vec![-1.0; 25 * 28 * 28];
        images[7 * 784..8 * 784].fill(1.0);
        images[24 * 784] = f32::NAN;
        let canvas = grid(&images, &[25, 28, 28, 1], ValueRange::Signed, None).unwrap();
        // 5 cells of 28 * 6 + 4, and 4.
        assert_eq!((canvas.width(), canvas.height()), (864, 864));
        let centre =
            |column: u32, row: u32| canvas.pixel(4 + column * 172 + 84, 4 + row * 172 + 84);
        assert_eq!((centre(2, 1), centre(1, 2)), (Some([255; 3]), Some([0; 3])));
        assert_eq!(canvas.pixel(4 + 4 * 172, 4 + 4 * 172), Some(NOT_A_NUMBER));
        assert_eq!(canvas.pixel(1, 1), Some(BETWEEN));
    }

    #[test]
    fn common_grids_are_500_to_1000_pixels() {
        for (count, side) in
            [(1, 28), (16, 28), (25, 32), (64, 64), (100, 28), (100, 32), (4, 256), (64, 8)]
        {
            let images = vec![0.0; count * side * side * 3];
            let canvas = grid(&images, &[count, side, side, 3], ValueRange::Unit, None).unwrap();
            assert!((500..=1000).contains(&canvas.width()), "{count} {side} {}", canvas.width());
        }
    }

    #[test]
    fn colours_keep_their_order_and_columns_can_be_chosen() {
        let images = [1.0, 0.5, 0.0, 0.0, 0.0, 7.0];
        let canvas = grid(&images, &[2, 1, 1, 3], ValueRange::Unit, Some(1)).unwrap();
        assert!(canvas.height() > canvas.width());
        assert_eq!(canvas.pixel(6, 6), Some([255, 128, 0]));
        assert_eq!(canvas.pixel(6, canvas.height() - 6), Some([0, 0, 255]));
    }

    #[test]
    fn what_is_no_image_is_refused() {
        for (values, shape) in [
            (0, vec![0, 2, 2, 1]),
            (8, vec![2, 2, 2]),
            (8, vec![1, 2, 2, 2]),
            (7, vec![2, 2, 2, 1]),
            (4, vec![usize::MAX, usize::MAX, 1, 1]),
        ] {
            assert!(grid(&vec![0.0; values], &shape, ValueRange::Unit, None).is_err(), "{shape:?}");
        }
        let wide = vec![0.0; 20_000];
        assert!(grid(&wide, &[1, 1, 20_000, 1], ValueRange::Unit, None).is_err());
        assert!(grid(&wide, &[20_000, 1, 1, 1], ValueRange::Unit, Some(0)).is_err());
        assert!(grid(&wide, &[20_000, 1, 1, 1], ValueRange::Unit, Some(usize::MAX)).is_err());
        assert!(grid(&wide, &[20_000, 1, 1, 1], ValueRange::Unit, None).is_ok());
    }
}

//! Two data sets made from a seed: points on a sine, and images of vertical lines.
//!
//! Each sample is a function of (seed, index) alone, so sample i is the same whatever the count.

use super::{Dataset, ValueRange};
use crate::error::{Error, Result};
use crate::memory;
use belamy_tensor::philox::{Draws, integer, uniform};

/// The stream of draws that [`sine_points`] takes: "SINE".
pub const SINE_STREAM: u32 = 0x5349_4E45;
/// The stream of draws that [`vertical_lines`] takes: "LINE".
pub const LINES_STREAM: u32 = 0x4C49_4E45;

/// The half-width of the interval from which x is drawn.
pub const SINE_REACH: f64 = 3.5;

const LINES_SIDE: usize = 32;
const LINES_PER_IMAGE: u32 = 10;
/// Lines stand at 5 ..= 26, so that the border stays black.
const FIRST_COLUMN: u32 = 5;
const COLUMNS: u32 = 22;

/// `[count, 2]` points [x, sin x] with x uniform in [-3.5, 3.5), as in Kasprowski's lecture notebook `gan0`.
///
/// Fails if the count is 0 or does not fit 32 bits.
pub fn sine_points(count: usize, seed: u64) -> Result<Dataset> {
    let draws = Draws { seed, stream: SINE_STREAM, step: 0 };
    let mut points = memory::room(checked(count, 2)? as usize * 2, "data")?;
    for index in 0..count as u32 {
        let x = SINE_REACH * (2.0 * uniform(draws.word(index, 0)) - 1.0);
        points.extend([x as f32, x.sin() as f32]);
    }
    Dataset::new(points, &[count, 2], None, ValueRange::Unbounded)
}

/// `[count, 32, 32, 1]` black images with ten white vertical lines each, as in Kasprowski's lecture notebook `gan1`.
///
/// Each line is one pixel wide, as high as the image, at a column uniform in 5 ..= 26; lines may coincide. Values
/// are in [0, 1]. Fails if the count is 0 or its values do not fit 32-bit indices.
pub fn vertical_lines(count: usize, seed: u64) -> Result<Dataset> {
    let draws = Draws { seed, stream: LINES_STREAM, step: 0 };
    let elements = LINES_SIDE * LINES_SIDE;
    let mut images = memory::room(checked(count, elements)? as usize * elements, "data")?;
    for index in 0..count as u32 {
        let mut row = [0.0f32; LINES_SIDE];
        for line in 0..LINES_PER_IMAGE {
            let column = FIRST_COLUMN + integer(draws.word(index, line), COLUMNS);
            row[column as usize] = 1.0;
        }
        (0..LINES_SIDE).for_each(|_| images.extend(row));
    }
    Dataset::new(images, &[count, LINES_SIDE, LINES_SIDE, 1], None, ValueRange::Unit)
}

fn checked(count: usize, elements: usize) -> Result<u32> {
    let fits = count.checked_mul(elements).is_some_and(|total| total <= u32::MAX as usize);
    if count == 0 || !fits {
        let most = u32::MAX as usize / elements;
        return Err(Error::data(format!("{count} samples cannot be made: 1 to {most} can")));
    }
    Ok(count as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_lie_on_the_sine_and_fill_the_interval() {
        let data = sine_points(20_000, 1).unwrap();
        let mut bins = [0u32; 70];
        for point in data.images.chunks(2) {
            assert!((-3.5..3.5).contains(&point[0]), "{point:?}");
            assert!((f64::from(point[0]).sin() - f64::from(point[1])).abs() < 1e-6, "{point:?}");
            bins[((point[0] + 3.5) * 10.0) as usize] += 1;
        }
        // 286 are expected in each of 70 bins; six standard deviations are 101.
        assert!(bins.iter().all(|&count| (185..387).contains(&count)), "{bins:?}");
    }

    #[test]
    fn lines_are_white_whole_and_inside() {
        let data = vertical_lines(1000, 1).unwrap();
        assert_eq!(data.shape, [1000, 32, 32, 1]);
        let mut seen = [0u32; 32];
        for image in data.images.chunks(1024) {
            let first = &image[..32];
            assert!(image.chunks(32).all(|row| row == first));
            assert!(first.iter().all(|&value| value == 0.0 || value == 1.0));
            let lines = first.iter().filter(|&&value| value == 1.0).count();
            assert!((3..=10).contains(&lines), "{lines}");
            (0..32).for_each(|column| seen[column] += u32::from(first[column] == 1.0));
        }
        assert!(seen[..5].iter().chain(&seen[27..]).all(|&count| count == 0), "{seen:?}");
        // Ten of 22 columns with replacement: each is hit with probability 1 - (21/22)^10 = 0.372.
        assert!(seen[5..27].iter().all(|&count| (280..464).contains(&count)), "{seen:?}");
    }

    #[test]
    fn a_sample_is_the_same_whatever_the_count_and_another_for_another_seed() {
        let (few, many) = (sine_points(10, 7).unwrap(), sine_points(1000, 7).unwrap());
        assert_eq!(few.images[..], many.images[..20]);
        assert_ne!(few.images, sine_points(10, 8).unwrap().images);
        let (few, many) = (vertical_lines(3, 7).unwrap(), vertical_lines(30, 7).unwrap());
        assert_eq!(few.images[..], many.images[..3 * 1024]);
        assert_ne!(few.images, vertical_lines(3, 8).unwrap().images);
    }

    #[test]
    fn impossible_counts_are_refused() {
        for count in [0, u32::MAX as usize, usize::MAX] {
            assert!(sine_points(count, 1).is_err() && vertical_lines(count, 1).is_err());
        }
    }
}

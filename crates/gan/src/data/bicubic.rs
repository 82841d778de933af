//! Bicubic resizing as MATLAB's `imresize` does it, and the luminance that super-resolution is judged on.
//!
//! ```text
//! k(x) = 1.5|x|³ − 2.5|x|² + 1              |x| ≤ 1
//!        −0.5|x|³ + 2.5|x|² − 4|x| + 2      1 < |x| ≤ 2                       Keys (1981), a = −0.5
//! y[i] = Σ_j k(s·(u_i − j)) x[j] / Σ_j k(s·(u_i − j)),   u_i = (i + ½) / scale − ½,   s = min(1, scale)
//! ```
//!
//! Where an image shrinks, the kernel widens by 1 / scale: it averages, so that nothing aliases. Beyond the border the
//! image is mirrored, the edge repeated. The axis that shrinks most goes first. Cost: 4 / s multiply-adds an output and
//! axis.
//!
//! The published numbers of super-resolution rest on this very filter: others differ by tenths of a decibel.

use super::image::Image;

fn keys(x: f64) -> f64 {
    let x = x.abs();
    if x <= 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x <= 2.0 {
        ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    } else {
        0.0
    }
}

/// For each of `to` outputs the inputs that it averages, and their weights, which sum to 1.
fn taps(from: usize, to: usize) -> Vec<Vec<(usize, f64)>> {
    let scale = to as f64 / from as f64;
    let narrow = scale.min(1.0);
    let reach = 2.0 / narrow;
    let mirrored = |place: i64| {
        let period = 2 * from as i64;
        let place = place.rem_euclid(period);
        (if place < from as i64 { place } else { period - 1 - place }) as usize
    };
    (0..to)
        .map(|output| {
            let centre = (output as f64 + 0.5) / scale - 0.5;
            let places = (centre - reach).floor() as i64..=(centre + reach).ceil() as i64;
            let weights: Vec<(usize, f64)> = places
                .map(|place| (mirrored(place), keys(narrow * (centre - place as f64))))
                .filter(|(_, weight)| *weight != 0.0)
                .collect();
            let sum: f64 = weights.iter().map(|(_, weight)| weight).sum();
            weights.into_iter().map(|(place, weight)| (place, weight / sum)).collect()
        })
        .collect()
}

/// `[height, width, channels]` numbers with their rows or columns resized to `to`.
fn resize_axis(values: &[f64], [h, w, c]: [usize; 3], rows: bool, to: usize) -> Vec<f64> {
    let taps = taps(if rows { h } else { w }, to);
    let (height, width) = if rows { (to, w) } else { (h, to) };
    let mut result = Vec::with_capacity(height * width * c);
    for y in 0..height {
        for x in 0..width {
            for channel in 0..c {
                let weighed = taps[if rows { y } else { x }].iter().map(|&(place, weight)| {
                    let (y, x) = if rows { (place, x) } else { (y, place) };
                    weight * values[(y * w + x) * c + channel]
                });
                result.push(weighed.sum());
            }
        }
    }
    result
}

/// `[height, width, channels]` numbers as an image of `to` = (height, width).
///
/// Panics unless the values are as many as their shape says and no extent is 0.
pub fn resize(values: &[f64], shape: [usize; 3], to: [usize; 2]) -> Vec<f64> {
    let [height, width, channels] = shape;
    assert_eq!(values.len(), height * width * channels, "values and shape agree");
    assert!(height > 0 && width > 0 && to[0] > 0 && to[1] > 0, "an image has pixels");
    // scale of rows ≤ scale of columns, without a division
    if to[0] * width <= to[1] * height {
        let rows = resize_axis(values, shape, true, to[0]);
        resize_axis(&rows, [to[0], width, channels], false, to[1])
    } else {
        let columns = resize_axis(values, shape, false, to[1]);
        resize_axis(&columns, [height, to[1], channels], true, to[0])
    }
}

impl Image {
    /// The image at another size, by [`resize`], rounded to bytes once at the end.
    ///
    /// Panics if an extent is 0.
    pub fn bicubic(&self, width: usize, height: usize) -> Image {
        let values: Vec<f64> = self.bytes.iter().map(|&byte| f64::from(byte)).collect();
        let resized = resize(&values, [self.height, self.width, self.channels], [height, width]);
        let bytes = resized.iter().map(|value| value.round().clamp(0.0, 255.0) as u8).collect();
        Image { width, height, channels: self.channels, bytes }
    }

    /// BT.601's luminance, 16 for black to 235 for white, as MATLAB's `rgb2ycbcr` has it:
    /// Y = 16 + (65.481 R + 128.553 G + 24.966 B) / 255. Not rounded. A grey image counts as R = G = B.
    pub fn luminance(&self) -> Vec<f64> {
        let value = |pixel: &[u8]| {
            let [red, green, blue] = match *pixel {
                [grey] => [grey; 3],
                [red, green, blue] => [red, green, blue],
                _ => unreachable!("an image has 1 or 3 channels"),
            }
            .map(f64::from);
            16.0 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255.0
        };
        self.bytes.chunks_exact(self.channels).map(value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_straight_line_stays_one_and_weights_sum_to_one() {
        for (from, to) in [(8, 2), (8, 4), (12, 5), (4, 16), (7, 7), (5, 11)] {
            for taps in taps(from, to) {
                let sum: f64 = taps.iter().map(|(_, weight)| weight).sum();
                assert!((sum - 1.0).abs() < 1e-12, "{from} {to}");
            }
        }
        // Away from the border a cubic kernel reproduces linear functions.
        let line: Vec<f64> = (0..40).map(|x| 3.0 * x as f64 + 1.0).collect();
        let half = resize(&line, [1, 40, 1], [1, 20]);
        for (x, value) in half.iter().enumerate().skip(3).take(14) {
            assert!((value - (3.0 * (2.0 * x as f64 + 0.5) + 1.0)).abs() < 1e-9, "{x}: {value}");
        }
    }

    #[test]
    fn numbers_are_those_of_imresize() {
        // MATLAB: imresize([0 0 0 255 255 255 0 0], 0.5) and, of doubles, imresize([1 2 4 8], 2).
        let half = resize(&[0.0, 0.0, 0.0, 255.0, 255.0, 255.0, 0.0, 0.0], [1, 8, 1], [1, 4]);
        // By hand: the widened kernel's eight taps are (−3, −9, 29, 111, 111, 29, −9, −3) / 256.
        let expected = [
            255.0 * (29.0 - 9.0 - 3.0 - 12.0) / 256.0,
            255.0 * (111.0 + 29.0 - 9.0) / 256.0,
            255.0 * (29.0 + 111.0 + 111.0) / 256.0,
            255.0 * (-3.0 - 9.0 + 29.0 + -3.0) / 256.0,
        ];
        let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(close(&half[1..3], &expected[1..3]), "{half:?} {expected:?}");
        let doubled = resize(&[1.0, 2.0, 4.0, 8.0], [1, 4, 1], [1, 8]);
        // Offsets of a quarter: taps (−9, 111, 29, −3) / 128 and their mirror image.
        let at =
            |a: f64, b: f64, c: f64, d: f64| (-9.0 * a + 111.0 * b + 29.0 * c - 3.0 * d) / 128.0;
        let expected = [at(2.0, 1.0, 1.0, 2.0), at(1.0, 1.0, 2.0, 4.0)];
        let wanted = [(29.0 * 1.0 + 111.0 * 1.0 - 9.0 * 2.0 - 3.0 * 1.0) / 128.0, expected[1]];
        assert!(close(&doubled[1..2], &wanted[1..]), "{doubled:?} {wanted:?}");
    }

    #[test]
    fn luminance_reaches_from_16_to_235() {
        let image = Image { width: 2, height: 1, channels: 3, bytes: vec![0, 0, 0, 255, 255, 255] };
        let found = image.luminance();
        assert!((found[0] - 16.0).abs() < 1e-12 && (found[1] - 235.0).abs() < 1e-9, "{found:?}");
    }

    /// Published: 28.43 dB for bicubic ×4 on Set5, on Y, without a border of four pixels.
    #[test]
    fn set5_is_28_43_decibels() {
        use crate::data::folder;
        let Some(data) = std::env::var_os("BELAMY_DATA") else {
            use std::io::Write;
            let _ = writeln!(std::io::stdout().lock(), "skipped: Set5: BELAMY_DATA is not set");
            return;
        };
        let (places, _) = folder::find(&std::path::Path::new(&data).join("sr/Set5")).unwrap();
        let decibels = places.iter().map(|place| {
            let image = place.decode().unwrap();
            let (w, h) = (image.width / 4 * 4, image.height / 4 * 4);
            let image = image.part(0, 0, w, h);
            let large = image.bicubic(w / 4, h / 4).bicubic(w, h);
            let (a, b) = (image.luminance(), large.luminance());
            let inside = (4..h - 4).flat_map(|y| (4..w - 4).map(move |x| y * w + x));
            let squares: Vec<f64> = inside.map(|at| (a[at] - b[at]).powi(2)).collect();
            let mean = squares.iter().sum::<f64>() / squares.len() as f64;
            10.0 * (255.0f64.powi(2) / mean).log10()
        });
        let decibels: Vec<f64> = decibels.collect();
        let mean = decibels.iter().sum::<f64>() / 5.0;
        assert!((mean - 28.43).abs() < 0.005, "{mean} {decibels:?}");
    }
}

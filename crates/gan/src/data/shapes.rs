//! Images of shapes, made from a seed: violet circles and the green rectangles in their places, which belong
//! together; circles and squares, which do not.
//!
//! As in Kasprowski's lectures on pix2pix and CycleGAN; the lectures' own generators were not published, so sizes and
//! places are this project's choice. Each image is a function of (seed, index) alone. Black background, values of a
//! byte, `[side, side, 3]`.

use belamy_tensor::philox::{Draws, integer};

/// The stream of draws of circles and rectangles: "RECT".
pub const RECTANGLES_STREAM: u32 = 0x5245_4354;
/// The stream of draws of circles and squares: "SQUA".
pub const SQUARES_STREAM: u32 = 0x5351_5541;
/// Circles in an image of [`circles_and_rectangles`].
pub const CIRCLES: u32 = 5;
/// Shapes in an image of [`circles`] and [`squares`].
pub const SHAPES: u32 = 3;

/// The lecture's violet.
pub const VIOLET: [u8; 3] = [150, 50, 255];
/// The lecture's green.
pub const GREEN: [u8; 3] = [50, 255, 100];

/// A shape's place: centre and half its extent, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot {
    /// Column of the centre.
    pub x: i64,
    /// Row of the centre.
    pub y: i64,
    /// The radius of a circle, half the side of a square.
    pub reach: i64,
}

/// A place well inside an image of `side`²: between 1/16 and 1/8 of the side in reach. Takes three draws.
fn spot(draws: &Draws, index: u32, first: u32, side: usize) -> Spot {
    let side = side as u32;
    let low = (side / 16).max(1);
    let reach = low + integer(draws.word(index, first), (side / 8).max(low) - low + 1);
    let within = |word: u32| reach + integer(word, (side - 2 * reach).max(1));
    let (x, y) = (within(draws.word(index, first + 1)), within(draws.word(index, first + 2)));
    Spot { x: x.into(), y: y.into(), reach: reach.into() }
}

fn paint(image: &mut [u8], side: usize, colour: [u8; 3], inside: impl Fn(i64, i64) -> bool) {
    for (place, pixel) in image.chunks_exact_mut(3).enumerate() {
        if inside((place % side) as i64, (place / side) as i64) {
            pixel.copy_from_slice(&colour);
        }
    }
}

fn circle(image: &mut [u8], side: usize, Spot { x, y, reach }: Spot, colour: [u8; 3]) {
    paint(image, side, colour, |a, b| (a - x).pow(2) + (b - y).pow(2) <= reach.pow(2));
}

fn rectangle(
    image: &mut [u8],
    side: usize,
    Spot { x, y, reach }: Spot,
    height: i64,
    colour: [u8; 3],
) {
    paint(image, side, colour, |a, b| (a - x).abs() <= reach && (b - y).abs() <= height);
}

/// Image `index` of five violet circles, and the same with a green rectangle in the place of each: as wide as the
/// circle and half as high.
pub fn circles_and_rectangles(side: usize, seed: u64, index: u32) -> [Vec<u8>; 2] {
    let draws = Draws { seed, stream: RECTANGLES_STREAM, step: 0 };
    let mut images = [vec![0; side * side * 3], vec![0; side * side * 3]];
    for shape in 0..CIRCLES {
        let spot = spot(&draws, index, 3 * shape, side);
        circle(&mut images[0], side, spot, VIOLET);
        rectangle(&mut images[1], side, spot, spot.reach / 2, GREEN);
    }
    images
}

/// The places and colours of image `index` of circles (`second` false) or squares.
pub fn spots(side: usize, seed: u64, index: u32, second: bool) -> Vec<(Spot, [u8; 3])> {
    let draws = Draws { seed, stream: SQUARES_STREAM + u32::from(second), step: 0 };
    (0..SHAPES)
        .map(|shape| {
            let first = 6 * shape;
            let word = |offset: u32| draws.word(index, first + 3 + offset);
            // One channel is full, one low and one anywhere, in any order: always a strong colour.
            let levels = [255, integer(word(0), 64) as u8, integer(word(1), 256) as u8];
            let turn = integer(word(2), 3) as usize;
            let colour = std::array::from_fn(|channel| levels[(channel + turn) % 3]);
            (spot(&draws, index, first, side), colour)
        })
        .collect()
}

/// Image `index` of three circles of any colours.
pub fn circles(side: usize, seed: u64, index: u32) -> Vec<u8> {
    let mut image = vec![0; side * side * 3];
    for (spot, colour) in spots(side, seed, index, false) {
        circle(&mut image, side, spot, colour);
    }
    image
}

/// Image `index` of three squares of any colours, none of them in the places of the circles.
pub fn squares(side: usize, seed: u64, index: u32) -> Vec<u8> {
    let mut image = vec![0; side * side * 3];
    for (spot, colour) in spots(side, seed, index, true) {
        rectangle(&mut image, side, spot, spot.reach, colour);
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    fn painted(image: &[u8]) -> usize {
        image.chunks_exact(3).filter(|pixel| pixel.iter().any(|&value| value > 0)).count()
    }

    #[test]
    fn rectangles_lie_within_the_boxes_of_their_circles() {
        for index in 0..50 {
            let [input, target] = circles_and_rectangles(64, 3, index);
            let only = |image: &[u8], colour: [u8; 3]| {
                image.chunks_exact(3).all(|pixel| pixel == colour || pixel == [0; 3])
            };
            assert!(only(&input, VIOLET) && only(&target, GREEN), "{index}");
            // A rectangle's centre row is its circle's.
            let violet = painted(&input);
            let green = painted(&target);
            assert!(green > violet / 3 && green < violet, "{index}: {violet} {green}");
        }
    }

    #[test]
    fn an_image_is_a_function_of_seed_and_index() {
        assert_eq!(circles(64, 1, 5), circles(64, 1, 5));
        assert_ne!(circles(64, 1, 5), circles(64, 1, 6));
        assert_ne!(circles(64, 1, 5), circles(64, 2, 5));
        assert_ne!(spots(64, 1, 5, false), spots(64, 1, 5, true));
    }

    #[test]
    fn shapes_stay_inside_and_have_their_areas() {
        for index in 0..200 {
            for (spot, _) in spots(64, 1, index, true) {
                let inside = |centre: i64| centre >= spot.reach && centre + spot.reach < 64;
                assert!(
                    inside(spot.x) && inside(spot.y) && (4..=8).contains(&spot.reach),
                    "{spot:?}"
                );
            }
        }
        let spot = Spot { x: 32, y: 32, reach: 10 };
        let mut image = vec![0; 64 * 64 * 3];
        circle(&mut image, 64, spot, VIOLET);
        assert!((300..330).contains(&painted(&image)), "{}", painted(&image));
        rectangle(&mut image, 64, spot, 10, VIOLET);
        assert_eq!(painted(&image), 441);
    }
}

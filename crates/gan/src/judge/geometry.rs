//! Circles that should have become squares of the same place, size and colour, and squares that should have become circles.
//!
//! A shape is a set of pixels that hang together and differ from the background, the median colour, by more than half of
//! the range in some channel. What it is, is asked of no network: it is laid over the disc and over the upright square of
//! its own centroid and area, and is what it covers better,
//!
//! ```text
//! overlap(A, B) = |A ∩ B| / |A ∪ B|        a disc over its square: 0.83, a square over its disc the same
//! ```
//!
//! Only shapes that stand alone are judged: of shapes that overlap or nearly touch, no part has a right form. Beside
//! the form, the share of the bounding box that a shape fills is reported: π/4 of a large disc, 1 of a square.

use super::some;
use crate::data::image::Image;
use crate::error::{Error, Result};
use serde::Serialize;

/// A pixel belongs to a shape if a channel differs from the background by more than this share of the range.
pub const DIFFERENT: f64 = 0.5;

/// A shape is alone, and is one of the kind to begin with, if it overlaps its own ideal by at least this.
pub const CLEAR_OVERLAP: f64 = 0.85;

/// A place is kept if centroid and extents change by at most this share of the extent, or by [`PLACE_PIXELS`].
pub const PLACE_SHARE: f64 = 0.15;

/// See [`PLACE_SHARE`].
pub const PLACE_PIXELS: f64 = 1.5;

/// A colour is kept if its channels differ by at most this share of the range in the mean.
pub const COLOUR_SHARE: f64 = 0.1;

/// What a shape is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// A filled circle.
    Disc,
    /// A filled square with upright sides.
    Square,
}

/// What became of shapes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GeometryCard {
    /// What the shapes should have become.
    pub wanted: Form,
    /// Images looked at.
    pub images: usize,
    /// Shapes that stood alone, and were judged.
    pub shapes: usize,
    /// Regions of the images before that were no lone shape, and were not judged.
    pub skipped: usize,
    /// Shapes of which nothing is left.
    pub lost: usize,
    /// The share of shapes that are of the wanted form.
    pub turned: f64,
    /// The share of shapes whose place and size are kept.
    pub placed: f64,
    /// The share of shapes whose colour is kept.
    pub coloured: f64,
    /// The share of shapes of which all three are so.
    pub all: f64,
    /// The mean way of the centroids in pixels, of those that are not lost.
    pub mean_shift: f64,
    /// The mean difference of colours as a share of the range, of those that are not lost.
    pub mean_colour_difference: f64,
    /// The mean share of its bounding box that a shape fills, before.
    pub fill_before: f64,
    /// The same afterwards, of those that are not lost.
    pub fill_after: f64,
}

/// A part of an image: the first column and row, and those after the last.
#[derive(Debug, Clone, Copy)]
struct Window {
    left: usize,
    top: usize,
    right: usize,
    bottom: usize,
}

/// Pixels that hang together.
#[derive(Debug, Clone)]
struct Region {
    pixels: Vec<[usize; 2]>,
    window: Window,
    centre: [f64; 2],
    colour: [f64; 3],
}

impl Region {
    fn extents(&self) -> [f64; 2] {
        let Window { left, top, right, bottom } = self.window;
        [(right - left) as f64, (bottom - top) as f64]
    }

    fn fill(&self) -> f64 {
        let [width, height] = self.extents();
        self.pixels.len() as f64 / (width * height)
    }

    /// How well the region covers the disc or the square of its centroid and area.
    fn overlap(&self, form: Form) -> f64 {
        let area = self.pixels.len() as f64;
        let inside = |x: f64, y: f64| {
            let (x, y) = (x - self.centre[0], y - self.centre[1]);
            match form {
                Form::Disc => x * x + y * y <= area / std::f64::consts::PI,
                Form::Square => x.abs().max(y.abs()) <= area.sqrt() / 2.0,
            }
        };
        let common = self.pixels.iter().filter(|[x, y]| inside(*x as f64, *y as f64)).count();
        // The ideal's pixels, wherever they are: it may reach beyond the image.
        let reach = area.sqrt().ceil() as i64 + 1;
        let [column, row] = self.centre.map(|centre| centre.round() as i64);
        let ideal = (row - reach..=row + reach)
            .flat_map(|y| (column - reach..=column + reach).map(move |x| (x, y)))
            .filter(|&(x, y)| inside(x as f64, y as f64))
            .count();
        common as f64 / (self.pixels.len() + ideal - common) as f64
    }

    fn form(&self) -> Form {
        if self.overlap(Form::Square) > self.overlap(Form::Disc) {
            Form::Square
        } else {
            Form::Disc
        }
    }
}

/// The colour of a pixel, each channel from 0 to 1.
fn colour(image: &Image, x: usize, y: usize) -> [f64; 3] {
    let pixel = &image.bytes[(y * image.width + x) * image.channels..][..image.channels];
    std::array::from_fn(|channel| f64::from(pixel[channel.min(image.channels - 1)]) / 255.0)
}

/// The median of each channel: what most of an image is.
fn background(image: &Image) -> [f64; 3] {
    std::array::from_fn(|channel| {
        let values = image.bytes.iter().skip(channel.min(image.channels - 1));
        let mut values: Vec<u8> = values.step_by(image.channels).copied().collect();
        values.sort_unstable();
        f64::from(values[values.len() / 2]) / 255.0
    })
}

/// The regions within a window that differ from the image's background, by the first pixel in reading order.
fn regions(image: &Image, window: Window) -> Vec<Region> {
    let background = background(image);
    let differs = |x: usize, y: usize| {
        let colour = colour(image, x, y);
        colour.iter().zip(&background).any(|(a, b)| (a - b).abs() > DIFFERENT)
    };
    let width = window.right - window.left;
    let place = |x: usize, y: usize| (y - window.top) * width + x - window.left;
    let mut open: Vec<bool> = (window.top..window.bottom)
        .flat_map(|y| (window.left..window.right).map(move |x| (x, y)))
        .map(|(x, y)| differs(x, y))
        .collect();
    let mut found = Vec::new();
    for y in window.top..window.bottom {
        for x in window.left..window.right {
            if !std::mem::take(&mut open[place(x, y)]) {
                continue;
            }
            let mut pixels = vec![[x, y]];
            let mut next = 0;
            while let Some(&[x, y]) = pixels.get(next) {
                next += 1;
                let mut visit = |x: usize, y: usize| {
                    if std::mem::take(&mut open[place(x, y)]) {
                        pixels.push([x, y]);
                    }
                };
                if x > window.left {
                    visit(x - 1, y);
                }
                if y > window.top {
                    visit(x, y - 1);
                }
                if x + 1 < window.right {
                    visit(x + 1, y);
                }
                if y + 1 < window.bottom {
                    visit(x, y + 1);
                }
            }
            found.push(region(image, pixels));
        }
    }
    found
}

fn region(image: &Image, pixels: Vec<[usize; 2]>) -> Region {
    let count = pixels.len() as f64;
    let axis = |axis: usize| pixels.iter().map(move |pixel| pixel[axis]);
    let least = |a: usize| axis(a).min().unwrap_or(0);
    let most = |a: usize| axis(a).max().map_or(0, |value| value + 1);
    let window = Window { left: least(0), top: least(1), right: most(0), bottom: most(1) };
    let centre = [0, 1].map(|a| axis(a).sum::<usize>() as f64 / count);
    // The colour is the inner pixels': a generator's edges are mixed with the background.
    let mut is_own = vec![false; image.width * image.height];
    pixels.iter().for_each(|[x, y]| is_own[y * image.width + x] = true);
    let is_inner = |&&[x, y]: &&[usize; 2]| {
        let own = |x: usize, y: usize| is_own[y * image.width + x];
        (1..image.width - 1).contains(&x)
            && (1..image.height - 1).contains(&y)
            && own(x - 1, y)
            && own(x + 1, y)
            && own(x, y - 1)
            && own(x, y + 1)
    };
    let inner: Vec<[usize; 2]> = pixels.iter().filter(is_inner).copied().collect();
    let seen = if inner.is_empty() { &pixels } else { &inner };
    let mut sums = [0.0; 3];
    for &[x, y] in seen {
        sums.iter_mut().zip(colour(image, x, y)).for_each(|(sum, value)| *sum += value);
    }
    let mean = sums.map(|sum| sum / seen.len() as f64);
    Region { pixels, window, centre, colour: mean }
}

/// How far around a shape nothing else may be, in pixels.
fn margin(image: &Image) -> usize {
    (image.width.min(image.height) / 32).max(2) * 2
}

fn grown(window: Window, by: usize, image: &Image) -> Window {
    Window {
        left: window.left.saturating_sub(by),
        top: window.top.saturating_sub(by),
        right: (window.right + by).min(image.width),
        bottom: (window.bottom + by).min(image.height),
    }
}

fn meet(a: Window, b: Window) -> bool {
    a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom
}

/// The shapes of a form that stand alone and are of one colour, and how many other regions there are.
fn lone(image: &Image, form: Form) -> (Vec<Region>, usize) {
    let whole = Window { left: 0, top: 0, right: image.width, bottom: image.height };
    let all = regions(image, whole);
    let is_alone = |index: usize| {
        let own = &all[index];
        let around = grown(own.window, margin(image), image);
        let others = all.iter().enumerate().filter(|(other, _)| *other != index);
        let one_colour = own
            .pixels
            .iter()
            .all(|&[x, y]| difference(colour(image, x, y), own.colour) <= COLOUR_SHARE);
        own.form() == form
            && own.overlap(form) >= CLEAR_OVERLAP
            && one_colour
            && others.into_iter().all(|(_, other)| !meet(around, other.window))
    };
    let alone: Vec<Region> =
        (0..all.len()).filter(|&index| is_alone(index)).map(|index| all[index].clone()).collect();
    let skipped = all.len() - alone.len();
    (alone, skipped)
}

/// The mean difference of two colours' channels.
fn difference(a: [f64; 3], b: [f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f64>() / 3.0
}

/// Judges images against those that they were made from, whose shapes should have turned into the `wanted` form.
/// Fails when there is no image, no lone shape, or images are not of one size.
pub fn judge(before: &[Image], after: &[Image], wanted: Form) -> Result<GeometryCard> {
    some(before.len())?;
    let sizes = |image: &Image| (image.width, image.height);
    if before.len() != after.len()
        || before.iter().zip(after).any(|(before, after)| sizes(before) != sizes(after))
    {
        return Err(Error::data("images before and after must be as many and of one size"));
    }
    let kind = if wanted == Form::Square { Form::Disc } else { Form::Square };
    let (mut shapes, mut skipped, mut lost) = (0, 0, 0);
    let (mut turned, mut placed, mut coloured, mut kept) = (0, 0, 0, 0);
    let (mut shift, mut colours, mut fill_before, mut fill_after) = (0.0, 0.0, 0.0, 0.0);
    for (before, after) in before.iter().zip(after) {
        let (alone, others) = lone(before, kind);
        skipped += others;
        for shape in alone {
            shapes += 1;
            fill_before += shape.fill();
            let around = grown(shape.window, margin(before), after);
            let Some(made) =
                regions(after, around).into_iter().max_by_key(|region| region.pixels.len())
            else {
                lost += 1;
                continue;
            };
            let (old, new) = (shape.extents(), made.extents());
            let near = |way: f64, extent: f64| way <= (PLACE_SHARE * extent).max(PLACE_PIXELS);
            let ways = [0, 1].map(|axis| (made.centre[axis] - shape.centre[axis]).abs());
            let is_placed = (0..2).all(|axis| {
                near(ways[axis], old[axis]) && near((new[axis] - old[axis]).abs(), old[axis])
            });
            let is_turned = made.form() == wanted;
            let colour = difference(made.colour, shape.colour);
            let is_coloured = colour <= COLOUR_SHARE;
            turned += usize::from(is_turned);
            placed += usize::from(is_placed);
            coloured += usize::from(is_coloured);
            kept += usize::from(is_turned && is_placed && is_coloured);
            shift += ways[0].hypot(ways[1]);
            colours += colour;
            fill_after += made.fill();
        }
    }
    if shapes == 0 {
        return Err(Error::data("no shape of these images stands alone"));
    }
    let share = |count: usize| count as f64 / shapes as f64;
    let mean = |sum: f64| sum / (shapes - lost).max(1) as f64;
    Ok(GeometryCard {
        wanted,
        images: before.len(),
        shapes,
        skipped,
        lost,
        turned: share(turned),
        placed: share(placed),
        coloured: share(coloured),
        all: share(kept),
        mean_shift: mean(shift),
        mean_colour_difference: mean(colours),
        fill_before: fill_before / shapes as f64,
        fill_after: mean(fill_after),
    })
}

#[cfg(test)]
mod tests;

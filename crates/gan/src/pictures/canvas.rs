//! A small RGB canvas with anti-aliased lines, discs and text.

use super::font::{CAPITAL_ROWS, strokes};
use crate::data::image::encode_png;
use crate::error::Result;
use crate::files::write_atomically;
use crate::memory;
use std::path::Path;

/// Red, green and blue.
pub type Colour = [u8; 3];

/// The colour of text and frames.
pub const INK: Colour = [34, 34, 34];
/// The colour of secondary text.
pub const FAINT_INK: Colour = [110, 110, 110];
/// Six colours that people with any colour vision tell apart (Okabe and Ito, 2008).
pub const PALETTE: [Colour; 6] =
    [[0, 114, 178], [213, 94, 0], [0, 158, 115], [204, 121, 167], [230, 159, 0], [86, 180, 233]];

/// Where a text's given point lies in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// At its beginning.
    Start,
    /// At its middle.
    Middle,
    /// At its end.
    End,
}

/// A rectangle in pixels; the right and lower borders are outside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rectangle {
    /// The left border.
    pub left: f32,
    /// The upper border.
    pub top: f32,
    /// The right border.
    pub right: f32,
    /// The lower border.
    pub bottom: f32,
}

/// A picture being drawn: white at first, the origin at the top left, a pixel's centre at half a unit.
#[derive(Debug)]
pub struct Canvas {
    width: u32,
    height: u32,
    /// `[height, width, 3]`.
    pixels: Vec<u8>,
    clip: Rectangle,
}

impl Canvas {
    /// A white canvas of a size in pixels, at least 1 and at most 16,384 each way (other sizes are brought there).
    ///
    /// Fails without memory for its pixels; to draw on it takes little more than a row of them.
    pub fn new(width: u32, height: u32) -> Result<Canvas> {
        let (width, height) = (width.clamp(1, 16_384), height.clamp(1, 16_384));
        let bytes = width as usize * height as usize * 3;
        let mut pixels = memory::room(bytes, "a picture")?;
        pixels.resize(bytes, 255);
        Ok(Canvas { width, height, pixels, clip: Self::whole(width, height) })
    }

    fn whole(width: u32, height: u32) -> Rectangle {
        Rectangle { left: 0.0, top: 0.0, right: width as f32, bottom: height as f32 }
    }

    /// The width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// The height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The colour of a pixel, or `None` outside.
    pub fn pixel(&self, x: u32, y: u32) -> Option<Colour> {
        let inside = x < self.width && y < self.height;
        let at = (y as usize * self.width as usize + x as usize) * 3;
        inside.then(|| [self.pixels[at], self.pixels[at + 1], self.pixels[at + 2]])
    }

    /// Sets a pixel; outside nothing happens.
    pub fn set_pixel(&mut self, x: u32, y: u32, colour: Colour) {
        if x < self.width && y < self.height {
            let at = (y as usize * self.width as usize + x as usize) * 3;
            self.pixels[at..at + 3].copy_from_slice(&colour);
        }
    }

    /// From now on draws only inside a rectangle; `None` lifts that.
    pub fn clip(&mut self, to: Option<Rectangle>) {
        self.clip = to.unwrap_or(Self::whole(self.width, self.height));
    }

    /// Fills the pixels whose centres lie in a rectangle.
    pub fn fill(&mut self, area: Rectangle, colour: Colour) {
        let (columns, rows) = self.covered(area);
        for y in rows {
            for x in columns.clone() {
                let centre = (x as f32 + 0.5, y as f32 + 0.5);
                let inside = centre.0 >= area.left && centre.0 < area.right;
                if inside && centre.1 >= area.top && centre.1 < area.bottom {
                    self.set_pixel(x, y, colour);
                }
            }
        }
    }

    /// Draws a line through points, with round ends and joints, of a width in pixels; an opacity of 1 hides what is
    /// below. Points that are not finite break the line.
    pub fn line(&mut self, points: &[(f32, f32)], width: f32, colour: Colour, opacity: f32) {
        let segments: Vec<_> = points.windows(2).map(|pair| [pair[0], pair[1]]).collect();
        self.segments(&segments, width, colour, opacity);
    }

    /// Draws a dashed straight line.
    pub fn dashes(&mut self, from: (f32, f32), to: (f32, f32), width: f32, colour: Colour) {
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        if !length.is_finite() || length > 65_536.0 {
            return;
        }
        let at = |along: f32| {
            let part = along.min(length) / length;
            (from.0 + (to.0 - from.0) * part, from.1 + (to.1 - from.1) * part)
        };
        let (dash, period) = (5.0, 10.0);
        let starts = (0..(length / period).ceil() as u32).map(|index| index as f32 * period);
        let segments: Vec<_> = starts.map(|start| [at(start), at(start + dash)]).collect();
        self.segments(&segments, width, colour, 1.0);
    }

    /// Draws a filled circle.
    pub fn disc(&mut self, centre: (f32, f32), radius: f32, colour: Colour, opacity: f32) {
        self.segments(&[[centre; 2]], 2.0 * radius, colour, opacity);
    }

    /// Draws straight strokes as one shape: where they overlap, the opacity does not add up.
    fn segments(&mut self, segments: &[[(f32, f32); 2]], width: f32, colour: Colour, opacity: f32) {
        let reach = width.max(1.0) / 2.0 + 1.0;
        let finite = |point: &(f32, f32)| point.0.is_finite() && point.1.is_finite();
        let segments: Vec<_> = segments
            .iter()
            .filter(|ends| ends.iter().all(finite))
            .filter_map(|ends| {
                let [from, to] = self.shorten(*ends);
                let area = Rectangle {
                    left: from.0.min(to.0) - reach,
                    top: from.1.min(to.1) - reach,
                    right: from.0.max(to.0) + reach,
                    bottom: from.1.max(to.1) + reach,
                };
                let (columns, rows) = self.covered(area);
                let is_seen = !columns.is_empty() && !rows.is_empty();
                is_seen.then_some((from, to, columns, rows))
            })
            .collect();
        let (mut left, mut right, mut top, mut bottom) = (u32::MAX, 0, u32::MAX, 0);
        for (.., columns, rows) in &segments {
            (left, right) = (left.min(columns.start), right.max(columns.end));
            (top, bottom) = (top.min(rows.start), bottom.max(rows.end));
        }
        // A row at a time: a canvas of coverage would take more memory than the picture.
        let mut coverage = vec![0.0f32; right.saturating_sub(left) as usize];
        for y in top..bottom {
            for (from, to, columns, rows) in &segments {
                if !rows.contains(&y) {
                    continue;
                }
                for x in columns.clone() {
                    let distance = distance((x as f32 + 0.5, y as f32 + 0.5), *from, *to);
                    // A line thinner than a pixel covers pixels in part.
                    let covered =
                        (width.max(1.0) / 2.0 + 0.5 - distance).clamp(0.0, 1.0) * width.min(1.0);
                    let held = &mut coverage[(x - left) as usize];
                    *held = held.max(covered);
                }
            }
            for (x, covered) in (left..).zip(&mut coverage) {
                if *covered > 0.0 {
                    self.blend(x, y, colour, *covered * opacity);
                    *covered = 0.0;
                }
            }
        }
    }

    /// Moves ends that lie far outside to the canvas's surroundings, so that no drawing takes long.
    fn shorten(&self, ends: [(f32, f32); 2]) -> [(f32, f32); 2] {
        let (low, high) = (-1e6, 1e6);
        ends.map(|(x, y)| (x.clamp(low, high), y.clamp(low, high)))
    }

    fn blend(&mut self, x: u32, y: u32, colour: Colour, share: f32) {
        let at = (y as usize * self.width as usize + x as usize) * 3;
        for (below, above) in self.pixels[at..at + 3].iter_mut().zip(colour) {
            *below = (f32::from(*below) * (1.0 - share) + f32::from(above) * share).round() as u8;
        }
    }

    /// The pixels that a rectangle touches within the clip.
    fn covered(&self, area: Rectangle) -> (std::ops::Range<u32>, std::ops::Range<u32>) {
        let range = |low: f32, high: f32, clip_low: f32, clip_high: f32, size: u32| {
            let low = low.max(clip_low).floor().clamp(0.0, size as f32) as u32;
            let high = high.min(clip_high).ceil().clamp(0.0, size as f32) as u32;
            low..high.max(low)
        };
        let (clip, whole) = (self.clip, Self::whole(self.width, self.height));
        let columns =
            range(area.left, area.right, clip.left, clip.right.min(whole.right), self.width);
        let rows =
            range(area.top, area.bottom, clip.top, clip.bottom.min(whole.bottom), self.height);
        (columns, rows)
    }

    /// Writes a text whose base line passes through a point; `size` is the height of capitals in pixels.
    pub fn text(&mut self, at: (f32, f32), size: f32, anchor: Anchor, colour: Colour, text: &str) {
        self.write(at, size, anchor, colour, text, false);
    }

    /// Writes a text from bottom to top, as labels of vertical axes are.
    pub fn text_upwards(
        &mut self,
        at: (f32, f32),
        size: f32,
        anchor: Anchor,
        colour: Colour,
        text: &str,
    ) {
        self.write(at, size, anchor, colour, text, true);
    }

    fn write(
        &mut self,
        at: (f32, f32),
        size: f32,
        anchor: Anchor,
        colour: Colour,
        text: &str,
        upwards: bool,
    ) {
        let unit = size / CAPITAL_ROWS;
        let (strokes, columns) = strokes(text);
        let start = match anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => columns / 2.0,
            Anchor::End => columns,
        };
        let place = |(column, row): (f32, f32)| {
            let (along, up) = ((column - start) * unit, (CAPITAL_ROWS - row) * unit);
            if upwards { (at.0 - up, at.1 - along) } else { (at.0 + along, at.1 - up) }
        };
        let segments: Vec<_> = strokes.into_iter().map(|stroke| stroke.map(place)).collect();
        self.segments(&segments, unit * 0.8, colour, 1.0);
    }

    /// The width of a text in pixels.
    pub fn text_width(size: f32, text: &str) -> f32 {
        strokes(text).1 * size / CAPITAL_ROWS
    }

    /// The picture as the bytes of a PNG file.
    pub fn png(&self) -> Result<Vec<u8>> {
        encode_png(self.width as usize, self.height as usize, 3, &self.pixels)
    }

    /// Writes the picture as a PNG file, whole or not at all.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        write_atomically(path, &self.png()?)
    }
}

/// The distance of a point from a straight stroke.
fn distance(point: (f32, f32), from: (f32, f32), to: (f32, f32)) -> f32 {
    let along = (to.0 - from.0, to.1 - from.1);
    let offset = (point.0 - from.0, point.1 - from.1);
    let squared = along.0 * along.0 + along.1 * along.1;
    let part = if squared > 0.0 {
        ((offset.0 * along.0 + offset.1 * along.1) / squared).clamp(0.0, 1.0)
    } else {
        0.0
    };
    (offset.0 - part * along.0).hypot(offset.1 - part * along.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn darkness(canvas: &Canvas) -> f32 {
        canvas.pixels.chunks(3).map(|pixel| 1.0 - f32::from(pixel[0]) / 255.0).sum()
    }

    #[test]
    fn a_line_covers_its_length_times_its_width() {
        for (to, width) in [((90.0, 10.0), 2.0), ((90.0, 70.0), 3.0), ((11.0, 80.0), 0.5)] {
            let mut canvas = Canvas::new(100, 100).unwrap();
            canvas.line(&[(10.0, 10.0), to], width, [0; 3], 1.0);
            let length = (to.0 - 10.0f32).hypot(to.1 - 10.0);
            let expected = length * width;
            let found = darkness(&canvas);
            assert!((found / expected - 1.0).abs() < 0.08, "{found} {expected}");
        }
    }

    #[test]
    fn joints_are_not_painted_twice_and_the_clip_holds() {
        let mut canvas = Canvas::new(20, 20).unwrap();
        canvas.clip(Some(Rectangle { left: 5.0, top: 0.0, right: 15.0, bottom: 20.0 }));
        canvas.line(&[(-50.0, 10.5), (10.0, 10.5), (50.0, 10.5)], 1.0, [0; 3], 0.5);
        assert_eq!(canvas.pixel(10, 10), Some([128; 3]));
        assert_eq!(canvas.pixel(4, 10), Some([255; 3]));
        assert_eq!(canvas.pixel(15, 10), Some([255; 3]));
        assert_eq!(canvas.pixel(20, 0), None);
    }

    #[test]
    fn strange_coordinates_neither_panic_nor_hang() {
        let mut canvas = Canvas::new(0, 30).unwrap();
        let values = [f32::NAN, f32::INFINITY, f32::MAX, f32::MIN, 0.0, -1e9, 5.0];
        for x in values {
            for y in values {
                canvas.line(&[(x, y), (y, x), (1.0, 1.0)], 2.0, [1; 3], 0.5);
                canvas.dashes((x, y), (y, x), 1.0, [1; 3]);
                canvas.disc((x, y), 3.0, [1; 3], 1.0);
                canvas.text((x, y), 10.0, Anchor::Middle, [1; 3], "text");
                canvas.fill(Rectangle { left: x, top: y, right: y, bottom: x }, [1; 3]);
            }
        }
        assert_eq!((canvas.width(), canvas.height()), (1, 30));
    }

    #[test]
    fn text_is_as_wide_as_said_and_png_reads_back() {
        let mut canvas = Canvas::new(200, 40).unwrap();
        canvas.text((190.0, 30.0), 12.0, Anchor::End, [0; 3], "HELLO 123");
        let dark = |x: u32| (0..40).any(|y| canvas.pixel(x, y).is_some_and(|pixel| pixel[0] < 128));
        let (first, last) = ((0..200).find(|x| dark(*x)), (0..200).rev().find(|x| dark(*x)));
        let width = (last.unwrap() - first.unwrap()) as f32;
        assert!((width - Canvas::text_width(12.0, "HELLO 123")).abs() < 3.0, "{width}");
        let image = crate::data::image::Image::decode("x", &canvas.png().unwrap()).unwrap();
        assert_eq!((image.width, image.height), (200, 40));
        assert_eq!(image.bytes, canvas.pixels);
    }
}

//! The transforms of what is not a weight: tiles of an image, of a result, of a cotangent.

use super::tiling::{EMPTY, LANES, Lanes, MOST_POINTS, Tiling, ZERO, in_two_dimensions, multiples};
use super::{APART, BAND, MOST_CHANNELS, Target};
use crate::vectors::{prefetch, vectorised};
use std::ops::Range;

/// Square tiles of `side` positions a side over each image; the last ones may reach beyond.
pub(super) struct TileGrid {
    positions: [usize; 2],
    side: usize,
    across: [usize; 2],
}

impl TileGrid {
    pub(super) fn new<T: Tiling>(positions: [usize; 2]) -> TileGrid {
        let across = positions.map(|positions| positions.div_ceil(T::OUTPUTS));
        TileGrid { positions, side: T::OUTPUTS, across }
    }

    /// Tiles of an image.
    pub(super) fn tiles(&self) -> usize {
        self.across[0] * self.across[1]
    }

    /// A tile's image, and its first position there.
    #[inline(always)]
    fn at(&self, tile: usize) -> (usize, [usize; 2]) {
        let (image, tile) = (tile / self.tiles(), tile % self.tiles());
        (image, [tile / self.across[1] * self.side, tile % self.across[1] * self.side])
    }
}

/// Phases of NHWC images: position (i, j) of phase (a, b) is pixel `step·(i, j) + (a, b)`; zero outside the image.
pub(super) struct Planes<'a> {
    pub(super) data: &'a [f32],
    /// Height and width.
    pub(super) size: [usize; 2],
    pub(super) channels: usize,
    pub(super) step: usize,
    pub(super) phases: Vec<[isize; 2]>,
}

/// [`LANES`] channels of a phase, from `channel` on, and where their transform goes.
pub(super) struct Group {
    pub(super) phase: usize,
    pub(super) channel: usize,
    pub(super) at: usize,
}

/// Where transformed numbers of [`LANES`] channels go: elements from point to point, and from tile to tile.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) point: usize,
    pub(super) tile: usize,
}

/// Where no pixel is: beyond all that there are, and so is what lies a row or a pixel further.
const NOWHERE: usize = usize::MAX / 4;

/// Where the pixels of a tile lie along a side of `size`: from `start` on, `step` apart, each `unit` long, behind `origin`;
/// [`NOWHERE`] outside.
#[inline(always)]
fn along(
    start: isize,
    step: usize,
    size: usize,
    unit: usize,
    origin: usize,
) -> [usize; MOST_POINTS] {
    let mut places = [NOWHERE; MOST_POINTS];
    // Not `map`: over eight it would be a call of another function.
    for (i, place) in places.iter_mut().enumerate() {
        let at = start + (i * step) as isize;
        if at >= 0 && at < size as isize {
            *place = origin + at as usize * unit;
        }
    }
    places
}

/// The most pixels of a tile, and points.
const MOST: usize = MOST_POINTS * MOST_POINTS;

/// A pixel outside an image.
static OUTSIDE: [Lanes; MOST_CHANNELS / LANES] = [ZERO; MOST_CHANNELS / LANES];

vectorised! {
    /// V = Bᵀ x B for some tiles, group of channels by group of channels while a tile is in the nearest cache.
    pub(super) fn transform_inputs<T: Tiling>(
        source: &Planes<'_>,
        grid: &TileGrid,
        tiles: Range<usize>,
        groups: &[Group],
        place: Place,
        out: &mut [f32],
    ) {
        let [height, width] = source.size;
        let (step, unit) = (source.step, source.channels / LANES);
        let corner = |tile: usize| -> isize {
            let (image, first) = grid.at(tile);
            (((image * height + first[0] * step) * width) + first[1] * step) as isize
        };
        let data = source.data.as_chunks::<LANES>().0;
        let mut points: [&mut [Lanes]; MOST] = std::array::from_fn(|_| Default::default());
        for (point, out) in points.iter_mut().zip(out.chunks_mut(place.point)) {
            *point = out.as_chunks_mut().0;
        }
        let mut columns = EMPTY;
        for (index, tile) in tiles.enumerate() {
            let (image, first) = grid.at(tile);
            // Groups from a pixel of this tile to the same one of the next tile, which is asked for now.
            let further = (corner(tile + 1) - corner(tile)) * unit as isize;
            for groups in groups.chunk_by(|a, b| a.phase == b.phase) {
                let side = |axis: usize, unit: usize, origin: usize| {
                    let start = (first[axis] * step) as isize + source.phases[groups[0].phase][axis];
                    along(start, step, source.size[axis], unit, origin)
                };
                let rows = side(0, width * unit, image * height * width * unit);
                let across = side(1, unit, 0);
                let mut pixels: [&[Lanes]; MOST] = [&OUTSIDE; MOST];
                for i in 0..T::POINTS {
                    for j in 0..T::POINTS {
                        if let Some(pixel) = data.get(rows[i] + across[j]..) {
                            pixels[i * T::POINTS + j] = &pixel[..unit];
                        }
                    }
                }
                for group in groups {
                    let from = group.channel / LANES;
                    let to = (group.at + index * place.tile) / LANES;
                    in_two_dimensions(
                        [T::POINTS, T::POINTS],
                        &mut columns,
                        |i, j| {
                            let pixel = pixels[i * T::POINTS + j];
                            prefetch(pixel, from.wrapping_add_signed(further));
                            &pixel[from]
                        },
                        T::input,
                        |i, j, lanes| points[i * T::POINTS + j][to] = *lanes,
                    );
                }
            }
        }
    }
}

/// A band of channels of images, from the image of tile 0 on.
pub(super) enum Band<'a, 'b> {
    /// Within whole pixels of so many channels, from one on.
    Within { pixels: &'a mut [f32], channels: usize, band: Range<usize> },
    /// Pixel by pixel the band alone.
    Alone(&'a mut [&'b mut [f32]]),
}

impl Band<'_, '_> {
    fn width(&self) -> usize {
        match self {
            Band::Within { band, .. } => band.len(),
            Band::Alone(pixels) => pixels.first().map_or(0, |band| band.len()),
        }
    }
}

/// Asks for a band of `channels` of the pixels that [`transform_outputs`] will write, so that they are near when it does.
pub(super) fn ask_for_outputs(
    grid: &TileGrid,
    tiles: Range<usize>,
    target: Target,
    (pixels, channels, band): (&[f32], usize, &Range<usize>),
) {
    let [height, width] = target.size;
    for tile in tiles {
        let (image, first) = grid.at(tile);
        let end = [0, 1].map(|axis| grid.positions[axis].min(first[axis] + grid.side));
        for i in first[0]..end[0] {
            let row = image * height + target.first[0] + i * target.step;
            for j in first[1]..end[1] {
                let pixel = row * width + target.first[1] + j * target.step;
                let groups = band.clone().step_by(LANES);
                groups.for_each(|channel| prefetch(pixels, pixel * channels + channel));
            }
        }
    }
}

vectorised! {
    /// y = Aᵀ M A for some tiles and a band of channels; `products` is `[point][tile][BAND]`, points [`APART`].
    pub(super) fn transform_outputs<T: Tiling>(
        products: &[f32],
        grid: &TileGrid,
        tiles: Range<usize>,
        target: Target,
        out: &mut Band<'_, '_>,
    ) {
        let [height, width] = target.size;
        let products = products.as_chunks::<LANES>().0;
        let points = multiples((tiles.len() * BAND + APART) / LANES);
        let groups = out.width() / LANES;
        let unit = match out {
            Band::Within { channels, .. } => *channels / LANES,
            Band::Alone(_) => 1,
        };
        let mut columns = EMPTY;
        for (index, tile) in tiles.enumerate() {
            let (image, first) = grid.at(tile);
            let side = |axis: usize, unit: usize, origin: usize| {
                let start = target.first[axis] + first[axis] * target.step;
                along(start as isize, target.step, target.size[axis], unit, origin)
            };
            let rows = side(0, width * unit, image * height * width * unit);
            let across = side(1, unit, 0);
            for group in 0..groups {
                let sides = [T::POINTS, T::OUTPUTS];
                let product = |i: usize, j: usize| {
                    &products[points[i * T::POINTS + j] + index * (BAND / LANES) + group]
                };
                match out {
                    Band::Within { pixels, band, .. } => {
                        let (pixels, at) = (pixels.as_chunks_mut().0, band.start / LANES + group);
                        in_two_dimensions(sides, &mut columns, product, T::output, |i, j, lanes| {
                            if let Some(to) = pixels.get_mut(rows[i] + across[j] + at) {
                                *to = *lanes;
                            }
                        });
                    }
                    Band::Alone(pixels) => {
                        in_two_dimensions(sides, &mut columns, product, T::output, |i, j, lanes| {
                            if let Some(to) = pixels.get_mut(rows[i] + across[j]) {
                                to.as_chunks_mut().0[group] = *lanes;
                            }
                        });
                    }
                }
            }
        }
    }
}

vectorised! {
    /// A ȳ Aᵀ for some tiles: `out` is `[tile][channels]` for each point, tiles [`APART`].
    pub(super) fn transform_cotangents<T: Tiling>(
        g: &[f32],
        grid: &TileGrid,
        tiles: Range<usize>,
        size: [usize; 2],
        channels: usize,
        out: &mut [&mut [f32]],
    ) {
        let g = g.as_chunks::<LANES>().0;
        let unit = channels / LANES;
        let gap = APART / LANES;
        let mut points: [&mut [Lanes]; MOST] = std::array::from_fn(|_| Default::default());
        for (point, out) in points.iter_mut().zip(out) {
            *point = out.as_chunks_mut().0;
        }
        let mut columns = EMPTY;
        for (index, tile) in tiles.enumerate() {
            let (image, first) = grid.at(tile);
            let side = |axis: usize, unit: usize, origin: usize| {
                along(first[axis] as isize, 1, size[axis], unit, origin)
            };
            let rows = side(0, size[1] * unit, image * size[0] * size[1] * unit);
            let across = side(1, unit, 0);
            for group in 0..unit {
                in_two_dimensions(
                    [T::OUTPUTS, T::POINTS],
                    &mut columns,
                    |i, j| g.get(rows[i] + across[j] + group).unwrap_or(&ZERO),
                    T::cotangent,
                    |i, j, lanes| points[i * T::POINTS + j][index * (unit + gap) + group] = *lanes,
                );
            }
        }
    }
}

vectorised! {
    /// w̄ = Gᵀ Ū G: `sums` is `[point][o][BAND]`, points [`APART`]; `owned` are the channels of (o, tap of this phase),
    /// taps ascending.
    pub(super) fn transform_weight_gradients<T: Tiling>(
        sums: &[f32],
        outputs: usize,
        taps: &[Option<usize>],
        owned: &mut [&mut [f32]],
    ) {
        // The place among `owned` of each tap that is there.
        let mut places = [None; MOST_POINTS * MOST_POINTS];
        let there = taps.iter().enumerate().filter(|(_, tap)| tap.is_some()).map(|(tap, _)| tap);
        let there = there.enumerate().map(|(place, tap)| places[tap] = Some(place)).count();
        let sums = sums.as_chunks::<LANES>().0;
        let points = multiples((outputs * BAND + APART) / LANES);
        let mut columns = EMPTY;
        for (output, owned) in owned.chunks_exact_mut(there).enumerate() {
            for group in 0..owned[0].len() / LANES {
                in_two_dimensions(
                    [T::POINTS, T::TAPS],
                    &mut columns,
                    |i, j| {
                        &sums[points[i * T::POINTS + j] + output * (BAND / LANES) + group]
                    },
                    T::weight_gradient,
                    |u, v, lanes| {
                        if let Some(place) = places[u * T::TAPS + v] {
                            owned[place].as_chunks_mut().0[group] = *lanes;
                        }
                    },
                );
            }
        }
    }
}

//! The transforms of what is not a weight: tiles of an image, of a result, of a cotangent.

use super::tiling::{
    EMPTY, LANES, Lanes, MOST_POINTS, Tiling, ZERO, in_two_dimensions, store_lanes,
};
use super::{APART, BAND, Target};
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

/// Where transformed numbers of [`LANES`] channels go: elements from point to point, from tile to tile, how many lanes
/// lie together, and from those to the next.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) point: usize,
    pub(super) tile: usize,
    pub(super) width: usize,
    pub(super) part: usize,
}

impl Place {
    #[inline(always)]
    fn store(&self, out: &mut [f32], point: usize, tile: usize, lanes: &Lanes) {
        let at = point * self.point + tile * self.tile;
        store_lanes(out, at, lanes, self.width, self.part);
    }

    /// Zeros for channels that do not exist.
    pub(super) fn fill_zeros(&self, points: usize, tiles: usize, out: &mut [f32]) {
        for point in 0..points {
            for tile in 0..tiles {
                self.store(out, point, tile, &ZERO);
            }
        }
    }
}

/// [`LANES`] numbers from a place on.
#[inline(always)]
fn load(from: &[f32], at: usize) -> &Lanes {
    from[at..].first_chunk().expect("whole groups of channels")
}

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
        let (step, reach) = (source.step, (T::POINTS - 1) * source.step);
        let sides = [T::POINTS, T::POINTS];
        let corner = |tile: usize| -> isize {
            let (image, first) = grid.at(tile);
            (((image * height + first[0] * step) * width) + first[1] * step) as isize
        };
        let mut columns = EMPTY;
        for (index, tile) in tiles.enumerate() {
            let (image, first) = grid.at(tile);
            // Elements from a pixel of this tile to the same one of the next tile, which is asked for now.
            let further = (corner(tile + 1) - corner(tile)) * source.channels as isize;
            for group in groups {
                let top = (first[0] * step) as isize + source.phases[group.phase][0];
                let left = (first[1] * step) as isize + source.phases[group.phase][1];
                let inside = top >= 0
                    && left >= 0
                    && top as usize + reach < height
                    && left as usize + reach < width;
                let out = &mut out[group.at..];
                let store = |i: usize, j: usize, lanes: &Lanes| {
                    place.store(out, i * T::POINTS + j, index, lanes);
                };
                if inside {
                    let corner = (image * height + top as usize) * width + left as usize;
                    let load = |i, j| {
                        let pixel = corner + (i * width + j) * step;
                        let at: usize = pixel * source.channels + group.channel;
                        prefetch(source.data, at.wrapping_add_signed(further));
                        load(source.data, at)
                    };
                    in_two_dimensions(sides, &mut columns, load, T::input, store);
                } else {
                    let load = |i, j| {
                        let row = top + (i * step) as isize;
                        let column = left + (j * step) as isize;
                        let pixel = ((image * height) as isize + row) * width as isize + column;
                        let at = pixel * source.channels as isize + group.channel as isize;
                        prefetch(source.data, (at + further) as usize);
                        let within = |at: isize, side: usize| at >= 0 && at < side as isize;
                        if !within(row, height) || !within(column, width) {
                            return &ZERO;
                        }
                        load(source.data, at as usize)
                    };
                    in_two_dimensions(sides, &mut columns, load, T::input, store);
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

    #[inline(always)]
    fn store(&mut self, pixel: usize, group: usize, lanes: &Lanes) {
        let (to, at) = match self {
            Band::Within { pixels, channels, band } => {
                (&mut **pixels, pixel * *channels + band.start + group)
            }
            Band::Alone(pixels) => (&mut *pixels[pixel], group),
        };
        to[at..at + LANES].copy_from_slice(lanes);
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
        let count = tiles.len();
        let [height, width] = target.size;
        let mut columns = EMPTY;
        for (index, tile) in tiles.enumerate() {
            let (image, first) = grid.at(tile);
            for group in (0..out.width()).step_by(LANES) {
                let there = [0, 1].map(|axis| T::OUTPUTS.min(grid.positions[axis] - first[axis]));
                in_two_dimensions(
                    [T::POINTS, T::OUTPUTS],
                    &mut columns,
                    |i, j| {
                        let point = (i * T::POINTS + j) * (count * BAND + APART);
                        load(products, point + index * BAND + group)
                    },
                    T::output,
                    |i, j, lanes| {
                        if i < there[0] && j < there[1] {
                            let row = target.first[0] + (first[0] + i) * target.step;
                            let column = target.first[1] + (first[1] + j) * target.step;
                            out.store((image * height + row) * width + column, group, lanes);
                        }
                    },
                );
            }
        }
    }
}

vectorised! {
    /// A ȳ Aᵀ for some tiles: `out` is `[point][tile][channels]`, points [`APART`].
    pub(super) fn transform_cotangents<T: Tiling>(
        g: &[f32],
        grid: &TileGrid,
        tiles: Range<usize>,
        size: [usize; 2],
        channels: usize,
        out: &mut [f32],
    ) {
        let mut columns = EMPTY;
        let count = tiles.len();
        for (index, tile) in tiles.enumerate() {
            let (image, first) = grid.at(tile);
            let there = [0, 1].map(|axis| T::OUTPUTS.min(size[axis] - first[axis]));
            for channel in (0..channels).step_by(LANES) {
                in_two_dimensions(
                    [T::OUTPUTS, T::POINTS],
                    &mut columns,
                    |i, j| {
                        if i < there[0] && j < there[1] {
                            let pixel = (image * size[0] + first[0] + i) * size[1] + first[1] + j;
                            load(g, pixel * channels + channel)
                        } else {
                            &ZERO
                        }
                    },
                    T::cotangent,
                    |i, j, lanes| {
                        let point = (i * T::POINTS + j) * (count * channels + APART);
                        let at = point + index * channels + channel;
                        out[at..at + LANES].copy_from_slice(lanes);
                    },
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
        let mut columns = EMPTY;
        for (output, owned) in owned.chunks_exact_mut(there).enumerate() {
            for group in (0..owned[0].len()).step_by(LANES) {
                in_two_dimensions(
                    [T::POINTS, T::TAPS],
                    &mut columns,
                    |i, j| {
                        let point = (i * T::POINTS + j) * (outputs * BAND + APART);
                        load(sums, point + output * BAND + group)
                    },
                    T::weight_gradient,
                    |u, v, lanes| {
                        if let Some(place) = places[u * T::TAPS + v] {
                            owned[place][group..group + LANES].copy_from_slice(lanes);
                        }
                    },
                );
            }
        }
    }
}

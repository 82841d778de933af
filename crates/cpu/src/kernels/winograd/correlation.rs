//! `y = x ⋆ w` and the gradient of x: correlations of stride 1, summed over the phases of what they read.
//!
//! A job takes some images, or a band of columns where U is larger than caches.

use super::filters::{Filters, transform_weights};
use super::planes::{
    Band, Group, Place, Planes, TileGrid, ask_for_outputs, transform_inputs, transform_outputs,
};
use super::tiling::{LANES, Tiling};
use super::{APART, BAND, LARGEST_SHARED, TOGETHER};
use crate::gemm::{
    Columns, DEPTH_BLOCK, GemmElement, Packed, RUN, SideA, Starts, Steps, Windows, with_scratch,
};
use crate::memory;
use rayon::prelude::*;
use std::ops::Range;

/// Tiles that are multiplied at a time: two panels of A, whose V stays in L2; four where U is so large that reading it
/// for more tiles saves more.
fn tiles_at_a_time(depth: usize) -> usize {
    if depth <= 2 * DEPTH_BLOCK { 24 } else { 48 }
}

/// The images of a job, each of so many tiles: enough for some tiles at a time, and so that few are left over.
pub(super) fn images_at_a_time(tiles: usize, at_a_time: usize) -> usize {
    let fewest = at_a_time.div_ceil(tiles);
    let missing = |images: usize| (images * tiles).next_multiple_of(at_a_time) - images * tiles;
    let of_an_image = |images: &usize| 1000 * missing(*images) / images;
    (fewest..=3 * fewest).min_by_key(of_an_image).unwrap_or(fewest)
}

/// The images of each job: equal shares for all threads, each in jobs of `together` and what is left.
pub(super) fn jobs(
    images: usize,
    together: usize,
    threads: usize,
) -> impl Iterator<Item = Range<usize>> {
    let threads = threads.min(images);
    let bound = move |share: usize| share * images / threads;
    (0..threads).flat_map(move |share| {
        let end = bound(share + 1);
        (bound(share)..end).step_by(together).map(move |first| first..end.min(first + together))
    })
}

/// Tiles whose V is written down at a time where U is larger than [`LARGEST_SHARED`]; each job has an M of them in L2.
const TILES_A_ROUND: usize = 128;

/// The depth over which a band of such a U is transformed at a time, to be in L2 beside M; a part of [`DEPTH_BLOCK`].
const DEPTH_AT_A_TIME: usize = 128;

/// Where results go: pixels `first + step·(i, j)` of images of a size.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub(super) size: [usize; 2],
    pub(super) step: usize,
    pub(super) first: [usize; 2],
}

/// A correlation of stride 1 of all phases of `source` with `filters`, summed over the phases.
pub(super) struct Correlation<'a> {
    pub(super) source: Planes<'a>,
    pub(super) filters: Filters<'a>,
    pub(super) target: Target,
}

impl Correlation<'_> {
    /// The tiles of its results.
    fn grid<T: Tiling>(&self) -> TileGrid {
        let Target { size, step, first } = self.target;
        TileGrid::new::<T>([0, 1].map(|axis| (size[axis] - first[axis]).div_ceil(step)))
    }
}

/// Correlations, alike but for their phases, that write different pixels of the same images.
pub(super) fn correlate<T: Tiling>(parts: &[Correlation<'_>], images: usize, out: &mut [f32]) {
    let Some(Correlation { filters, target, .. }) = parts.first() else { return };
    let kernel = f32::best_kernel();
    let (depth, columns) = (filters.depth(), filters.columns());
    let (bands, points) = (columns.div_ceil(BAND), T::POINTS * T::POINTS);
    let tiles = parts.iter().map(|part| part.grid::<T>().tiles()).max().unwrap_or(1);
    if points * depth * columns > LARGEST_SHARED * tiles {
        return parts.iter().for_each(|part| correlate_by_bands::<T>(part, images, out));
    }
    let at_a_time = tiles_at_a_time(depth);
    let size = points * (depth * BAND + APART);
    with_scratch(parts.len() * bands * size, |weights: &mut [f32]| {
        let each = weights.par_chunks_exact_mut(size).enumerate().with_max_len(1);
        each.for_each(|(index, weights)| {
            let (filters, band) = (&parts[index / bands].filters, index % bands * BAND);
            transform_weights::<T>(filters, band, 0..depth, kernel.nr, weights);
        });
        let weights = &*weights;
        let image = target.size[0] * target.size[1] * columns;
        let (together, threads) =
            (images_at_a_time(tiles, at_a_time), rayon::current_num_threads());
        let (mut rest, mut owned) = (out, Vec::new());
        for images in jobs(images, together, threads) {
            let (own, after) = std::mem::take(&mut rest).split_at_mut(images.len() * image);
            memory::push(&mut owned, (images, own));
            rest = after;
        }
        owned.into_par_iter().with_max_len(1).for_each(|(images, out)| {
            // Part by part of the same few images: what they read is then near.
            for (part, weights) in parts.iter().zip(weights.chunks_exact(bands * size)) {
                let grid = part.grid::<T>();
                let first = images.start * grid.tiles();
                let tiles = images.len() * grid.tiles();
                for start in (0..tiles).step_by(at_a_time) {
                    let tiles = start..tiles.min(start + at_a_time);
                    let from = first + tiles.start..first + tiles.end;
                    multiply_tiles::<T>(
                        &part.source,
                        &grid,
                        from,
                        weights,
                        depth,
                        |band, products| {
                            let band = band * BAND..columns.min((band + 1) * BAND);
                            let (tiles, target) = (tiles.clone(), part.target);
                            let Some(products) = products else {
                                return ask_for_outputs(
                                    &grid,
                                    tiles,
                                    target,
                                    (out, columns, &band),
                                );
                            };
                            let out = &mut Band::Within { pixels: out, channels: columns, band };
                            transform_outputs::<T>(products, &grid, tiles, target, out);
                        },
                    );
                }
            }
        });
    });
}

/// [`correlate`] where U is larger than caches: V of some tiles is written down, and each job transforms the weights of
/// a band of columns, [`DEPTH_AT_A_TIME`] of their depth at a time, and multiplies them while they are in its L2.
fn correlate_by_bands<T: Tiling>(part: &Correlation<'_>, images: usize, out: &mut [f32]) {
    let Correlation { source, filters, target } = part;
    let grid = part.grid::<T>();
    let kernel = f32::best_kernel();
    let (depth, columns) = (filters.depth(), filters.columns());
    let points = T::POINTS * T::POINTS;
    let mut owned: Vec<Vec<&mut [f32]>> = (0..columns.div_ceil(BAND)).map(|_| Vec::new()).collect();
    for pixel in out.chunks_exact_mut(columns) {
        let bands = owned.iter_mut().zip(pixel.chunks_mut(BAND));
        bands.for_each(|(owned, band)| memory::push(owned, band));
    }
    // [block of depth][tiles together][point][tile][RUN]: so that a job writes one piece.
    let point_size = TOGETHER * RUN + APART;
    let piece = points * point_size;
    let all = images * grid.tiles();
    for first in (0..all).step_by(TILES_A_ROUND) {
        let tiles = first..all.min(first + TILES_A_ROUND);
        let pieces = tiles.len().div_ceil(TOGETHER);
        // A kernel that begins within a run reads as far as a run is long.
        with_scratch(depth.div_ceil(DEPTH_BLOCK) * pieces * piece + RUN, |values: &mut [f32]| {
            let used = values.len() - RUN;
            let pieces_of = values[..used].par_chunks_exact_mut(piece).enumerate().with_max_len(1);
            pieces_of.for_each(|(index, values)| {
                let (block, first) = (index / pieces, index % pieces * TOGETHER + tiles.start);
                let from = block * DEPTH_BLOCK;
                let groups: Vec<Group> = (from..depth.min(from + DEPTH_BLOCK))
                    .step_by(LANES)
                    .map(|k| Group {
                        phase: k / source.channels,
                        channel: k % source.channels,
                        at: k - from,
                    })
                    .collect();
                let place = Place { point: point_size, tile: RUN };
                let tiles = first..tiles.end.min(first + TOGETHER);
                transform_inputs::<T>(source, &grid, tiles, &groups, place, values);
            });
            let values = &*values;
            owned.par_iter_mut().enumerate().with_max_len(1).for_each(|(band, owned)| {
                let size = tiles.len() * BAND + APART;
                with_scratch(points * size, |products: &mut [f32]| {
                    for from in (0..depth).step_by(DEPTH_AT_A_TIME) {
                        let depth = from..depth.min(from + DEPTH_AT_A_TIME);
                        let values = &values[from / DEPTH_BLOCK * pieces * piece..];
                        let values = |piece_index: usize, point: usize| {
                            let at = piece_index * piece + point * point_size + from % DEPTH_BLOCK;
                            &values[at..at + TOGETHER * RUN]
                        };
                        with_scratch(points * (depth.len() * BAND + APART), |weights| {
                            transform_weights::<T>(
                                filters,
                                band * BAND,
                                depth.clone(),
                                kernel.nr,
                                weights,
                            );
                            let weights = weights.chunks_exact(depth.len() * BAND + APART);
                            let products = products.chunks_exact_mut(size);
                            for (point, (weights, products)) in weights.zip(products).enumerate() {
                                let mut rows: Vec<&mut [f32]> =
                                    products.chunks_exact_mut(BAND).take(tiles.len()).collect();
                                let weights = &weights[..depth.len() * BAND];
                                for (piece, rows) in rows.chunks_mut(TOGETHER).enumerate() {
                                    let packed = Packed {
                                        far_a: false,
                                        zeros: &[],
                                        depth: depth.len(),
                                        a: SideA::Runs(values(piece, point)),
                                        b: weights,
                                        then: None,
                                    };
                                    kernel.block(&packed, rows, 0, from > 0);
                                }
                            }
                        });
                    }
                    let out = &mut Band::Alone(owned);
                    transform_outputs::<T>(products, &grid, tiles.clone(), *target, out);
                });
            });
        });
    }
}

/// V of some tiles, times all bands of U; `use_band` is told of each band before it is multiplied, and then given its M,
/// `[point][tile][BAND]`.
fn multiply_tiles<T: Tiling>(
    source: &Planes<'_>,
    grid: &TileGrid,
    tiles: Range<usize>,
    weights: &[f32],
    depth: usize,
    mut use_band: impl FnMut(usize, Option<&[f32]>),
) {
    let kernel = f32::best_kernel();
    let points = T::POINTS * T::POINTS;
    let count = tiles.len();
    let point_size = count * RUN + APART;
    let (blocks, block) = (depth.div_ceil(T::DEPTH), points * point_size);
    let steps = Steps::new((0..T::DEPTH).collect());
    let runs: Vec<usize> = (0..count).map(|tile| tile * RUN).collect();
    let runs: Vec<Starts<'_>> = runs.chunks(kernel.mr).map(Starts::new).collect();
    with_scratch(blocks * block, |values: &mut [f32]| {
        // Each group of channels of a phase has its place in a block of k: blocks are multiples of a group.
        let group = |k: usize| Group {
            phase: k / source.channels,
            channel: k % source.channels,
            at: k % T::DEPTH,
        };
        let groups: Vec<Group> = (0..depth).step_by(LANES).map(group).collect();
        let place = Place { point: point_size, tile: RUN };
        let of_blocks = groups.chunks(T::DEPTH / LANES).zip(values.chunks_exact_mut(block));
        for (groups, values) in of_blocks {
            transform_inputs::<T>(source, grid, tiles.clone(), groups, place, values);
        }
        with_scratch(points * (count * BAND + APART), |products: &mut [f32]| {
            let all = weights;
            for band in 0..all.len() / (points * (depth * BAND + APART)) {
                use_band(band, None);
                for point in 0..points {
                    let products = &mut products[point * (count * BAND + APART)..][..count * BAND];
                    let at = (band * points + point) * (depth * BAND + APART);
                    let weights = &all[at..][..depth * BAND];
                    for (panel, weights) in weights.chunks_exact(depth * kernel.nr).enumerate() {
                        for (index, weights) in weights.chunks(T::DEPTH * kernel.nr).enumerate() {
                            let values =
                                &values[index * block + point * point_size..][..count * RUN];
                            let used = panel * depth * kernel.nr
                                + index * T::DEPTH * kernel.nr
                                + weights.len();
                            let deep = weights.len() / kernel.nr;
                            let weights = Columns { data: weights, apart: kernel.nr };
                            // What is multiplied next: at each k a line of it.
                            let mut then = all[at + used..].chunks(deep * kernel.nr / 2);
                            let tiles = products.chunks_mut(kernel.mr * BAND);
                            for (&runs, products) in runs.iter().zip(tiles) {
                                let own = Windows::new(values, runs, &steps, deep);
                                let ahead = Columns::lines(then.next().unwrap_or_default());
                                let to = (&mut products[panel * kernel.nr..], BAND);
                                kernel.block_of_windows(
                                    &own,
                                    &weights,
                                    kernel.nr,
                                    &ahead,
                                    to,
                                    index > 0,
                                );
                            }
                        }
                    }
                }
                use_band(band, Some(products));
            }
        });
    });
}

//! The convolutions of f32 by Winograd's minimal filtering: for kernels that fall into pieces of two, three or five taps
//! (Winograd 1980; Lavin and Gray 2016, arXiv 1509.09308).
//!
//! A kernel of K × K taps at stride s is s² kernels of r × r taps at stride 1, r = ⌈K/s⌉, one for each phase (a, b) of
//! the image's pixels; and the gradient of its input is one kernel of r × r taps at stride 1 for each phase:
//!
//! ```text
//! x_ab[i, j] = x[s·i + a − p, s·j + b − p]
//!
//! conv2d              y[i, j] = Σ_ab Σ_uv w[a + s·u, b + s·v] · x_ab[i + u, j + v]
//! conv2d_grad_input   x̄[s·i + a, s·j + b] = Σ_uv w_ab[u, v] · g[i + e_a + u, j + e_b + v]
//! conv2d_grad_weight  w̄_ab[u, v] = Σ_ij g[i, j] · x_ab[i + u, j + v]
//! ```
//!
//! Each of these, on tiles of m × m outputs (m = 4; 2 where r is 5), takes P² = (m + r − 1)² multiplications instead of
//! m²·r² ([`tiling`]):
//!
//! ```text
//! V[p][tile, (ab, c)] = Bᵀ x B     U[p][(ab, c), o] = G w Gᵀ     M[p] = V[p] U[p]     y = Aᵀ M A     p: P² points
//! ```
//!
//! The P² products M[p] run on the packed micro-kernels of `gemm`: a job takes some images, transforms a few
//! tiles of them into its cache, multiplies them by a band of [`BAND`] columns of U, point by point, and transforms M back
//! while it is there. The weights are transformed once a launch, in the layout in which they are multiplied.
//!
//! | kernel | multiplications, of the direct ones |
//! |---|---|
//! | 4 × 4 stride 2 | 25/64 |
//! | 3 × 3 stride 1 | 36/144 |
//! | 5 × 5 stride 2 | 36/100 |
//! | 5 × 5 stride 1 | 36/100 |
//!
//! In the L2 norm results are off by 1.4e-6 to 3.2e-6 of their own where the direct kernels are off by 3e-7; `tests` hold
//! them to 5e-6.
//!
//! Taken by the shape alone ([`pays`]), and not at all where a device was opened without it. Every sum is taken in an
//! order that depends on the shape alone.

mod filters;
mod planes;
#[cfg(test)]
mod tests;
mod tiling;

use super::Run;
use super::conv2d::Extents;
use crate::gemm::{DEPTH_BLOCK, GemmElement, Packed, RUN, SideA, deal_some_rows, with_scratch};
use crate::memory;
use filters::{Filters, transform_weights};
use planes::{
    Band, Group, Place, Planes, TileGrid, ask_for_outputs, transform_cotangents, transform_inputs,
    transform_outputs, transform_weight_gradients,
};
use rayon::prelude::*;
use std::ops::Range;
use tiling::{FiveTaps, LANES, ThreeTaps, Tiling, TwoTaps};

/// Tiles that are multiplied at a time: two panels of A, whose V stays in L2; four where U is so large that reading it
/// for more tiles saves more.
fn tiles_at_a_time(depth: usize) -> usize {
    if depth <= 2 * DEPTH_BLOCK { 24 } else { 48 }
}

/// Elements of U that may be written down as a whole: what a share of L3 holds. (2 Mi: 8 MiB.)
const LARGEST_SHARED: usize = 1 << 21;

/// Where U is larger, tiles whose V is written down at a time, and of which each job has an M in L2,
const TILES_A_ROUND: usize = 64;

/// how many of them are transformed by one job, panels of A of all micro-kernels,
const TOGETHER: usize = 12;

/// and the depth over which a band of U is transformed at a time, to be in L2 beside M; a part of [`DEPTH_BLOCK`].
const DEPTH_AT_A_TIME: usize = 128;

/// Columns that are multiplied at a time: the widest panel of B.
const BAND: usize = 32;

/// Elements between the numbers of one point and of the next, beyond those that are used: one cache line. Without it the
/// P² places of a tile would lie a power of two apart, and take turns in one set of the cache.
const APART: usize = 16;

/// The fewest tiles: over fewer, the transform of the weights takes what is saved. (Measured on DCGAN's 256 to 512 channels:
/// 16 tiles take .5 to .9 of the direct time, 8 tiles 1.4 to 1.6 of it.)
const FEWEST_TILES: usize = 16;

/// The fewest channels of either side.
const FEWEST_CHANNELS: usize = 32;

/// Multiplications, of the direct ones, from which on transforms eat what is saved.
const WORTH_IT: f64 = 0.6;

/// Whether this is the way to compute a convolution and its gradients.
pub(super) fn pays(e: &Extents) -> bool {
    let [stride, across] = e.stride;
    if stride != across || e.kh != e.kw || e.dilation != [1, 1] || e.groups != 1 {
        return false;
    }
    let taps = e.kh.div_ceil(stride);
    let outputs = match taps {
        2 => TwoTaps::OUTPUTS,
        3 => ThreeTaps::OUTPUTS,
        5 => FiveTaps::OUTPUTS,
        _ => return false,
    };
    let wide = |channels: usize| channels >= FEWEST_CHANNELS && channels.is_multiple_of(LANES);
    if !wide(e.c) || !wide(e.o) {
        return false;
    }
    let tiles = e.oh.div_ceil(outputs) * e.ow.div_ceil(outputs);
    let points = (outputs + taps - 1).pow(2);
    let (ours, direct) = (tiles * points * stride * stride, e.oh * e.ow * e.kh * e.kw);
    ours as f64 <= WORTH_IT * direct as f64 && e.n * tiles >= FEWEST_TILES
}

/// Calls a function with the tiling that fits an extent's kernel.
macro_rules! with_tiling {
    ($e:expr, $function:ident($($argument:expr),*)) => {
        match $e.kh.div_ceil($e.stride[0]) {
            2 => $function::<TwoTaps>($($argument),*),
            3 => $function::<ThreeTaps>($($argument),*),
            _ => $function::<FiveTaps>($($argument),*),
        }
    };
}

/// `y = x ⋆ w`.
pub(super) fn conv2d(mut run: Run<'_>, e: &Extents) {
    let (x, w) = (run.input::<f32>(0), run.input::<f32>(1)); // x: [N, H, W, C]  w: [O, KH, KW, C]
    let y = run.output::<f32>();
    with_tiling!(e, forward(e, x, w, y));
}

/// The gradient of the input, phase by phase.
pub(super) fn conv2d_grad_input(mut run: Run<'_>, e: &Extents) {
    let (g, w) = (run.input::<f32>(0), run.input::<f32>(1)); // g: [N, OH, OW, O]  w: [O, KH, KW, C]
    let x = run.output::<f32>();
    with_tiling!(e, backward(e, g, w, x));
}

/// The gradient of the weight.
pub(super) fn conv2d_grad_weight(mut run: Run<'_>, e: &Extents) {
    let (x, g) = (run.input::<f32>(0), run.input::<f32>(1)); // x: [N, H, W, C]  g: [N, OH, OW, O]
    let w = run.output::<f32>();
    with_tiling!(e, weight_gradient(e, x, g, w));
}

/// The phases of the image and what they start at: x_ab[0, 0] is pixel (a − padding, b − padding).
fn image_phases<'a>(e: &Extents, x: &'a [f32]) -> Planes<'a> {
    let stride = e.stride[0];
    let first = |phase: usize, axis: usize| phase as isize - e.padding[axis] as isize;
    Planes {
        data: x,
        size: [e.h, e.w],
        channels: e.c,
        step: stride,
        phases: (0..stride * stride)
            .map(|phase| [first(phase / stride, 0), first(phase % stride, 1)])
            .collect(),
    }
}

/// The taps of each phase of the image, r × r; none where the kernel has no such tap.
fn image_taps(e: &Extents) -> Vec<Vec<Option<usize>>> {
    let stride = e.stride[0];
    let taps = e.kh.div_ceil(stride);
    (0..stride * stride)
        .map(|phase| {
            (0..taps * taps)
                .map(|tap| {
                    let row = phase / stride + stride * (tap / taps);
                    let column = phase % stride + stride * (tap % taps);
                    (row < e.kh && column < e.kw).then_some(row * e.kw + column)
                })
                .collect()
        })
        .collect()
}

fn forward<T: Tiling>(e: &Extents, x: &[f32], w: &[f32], y: &mut [f32]) {
    let filters = Filters {
        data: w,
        kernel: e.kh * e.kw,
        outputs: e.o,
        inputs: e.c,
        towards_inputs: false,
        phases: image_taps(e),
    };
    let target = Target { size: [e.oh, e.ow], step: 1, first: [0, 0] };
    correlate::<T>(&[Correlation { source: image_phases(e, x), filters, target }], e.n, y);
}

fn backward<T: Tiling>(e: &Extents, g: &[f32], w: &[f32], x: &mut [f32]) {
    let stride = e.stride[0];
    let phases = (0..stride * stride).map(|phase| [phase / stride, phase % stride]);
    let parts: Vec<Correlation<'_>> = phases
        .filter(|first| first[0] < e.h && first[1] < e.w)
        .map(|first| backward_phase::<T>(e, g, w, first))
        .collect();
    correlate::<T>(&parts, e.n, x);
}

/// What the gradient of the input is at every stride-th pixel from `first` on.
fn backward_phase<'a, T: Tiling>(
    e: &Extents,
    g: &'a [f32],
    w: &'a [f32],
    first: [usize; 2],
) -> Correlation<'a> {
    let stride = e.stride[0];
    // The taps that reach these pixels, the last first: their outputs follow one another.
    let side = |axis: usize| {
        let shifted = first[axis] + e.padding[axis];
        let tap =
            move |u: usize| (shifted % stride + stride * (T::TAPS - 1)).checked_sub(stride * u);
        let start = (shifted / stride) as isize - (T::TAPS as isize - 1);
        (start, tap)
    };
    let ((start_row, tap_row), (start_column, tap_column)) = (side(0), side(1));
    let taps = (0..T::TAPS * T::TAPS)
        .map(|tap| {
            let (row, column) = (tap_row(tap / T::TAPS)?, tap_column(tap % T::TAPS)?);
            (row < e.kh && column < e.kw).then_some(row * e.kw + column)
        })
        .collect();
    Correlation {
        source: Planes {
            data: g,
            size: [e.oh, e.ow],
            channels: e.o,
            step: 1,
            phases: vec![[start_row, start_column]],
        },
        filters: Filters {
            data: w,
            kernel: e.kh * e.kw,
            outputs: e.o,
            inputs: e.c,
            towards_inputs: true,
            phases: vec![taps],
        },
        target: Target { size: [e.h, e.w], step: stride, first },
    }
}

/// Where results go: pixels `first + step·(i, j)` of images of a size.
#[derive(Clone, Copy)]
struct Target {
    size: [usize; 2],
    step: usize,
    first: [usize; 2],
}

/// A correlation of stride 1 of all phases of `source` with `filters`, summed over the phases.
struct Correlation<'a> {
    source: Planes<'a>,
    filters: Filters<'a>,
    target: Target,
}

impl Correlation<'_> {
    /// The tiles of its results.
    fn grid<T: Tiling>(&self) -> TileGrid {
        let Target { size, step, first } = self.target;
        TileGrid::new::<T>([0, 1].map(|axis| (size[axis] - first[axis]).div_ceil(step)))
    }
}

/// Correlations, alike but for their phases, that write different pixels of the same images.
fn correlate<T: Tiling>(parts: &[Correlation<'_>], images: usize, out: &mut [f32]) {
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
        weights.par_chunks_exact_mut(size).enumerate().for_each(|(index, weights)| {
            let (filters, band) = (&parts[index / bands].filters, index % bands * BAND);
            transform_weights::<T>(filters, band, 0..depth, kernel.nr, weights);
        });
        let weights = &*weights;
        let image = target.size[0] * target.size[1] * columns;
        // Enough tiles for a job to be worth its while, and a job for each thread.
        let together = at_a_time.div_ceil(tiles).min(images.div_ceil(rayon::current_num_threads()));
        out.par_chunks_mut(together * image).enumerate().for_each(|(job, out)| {
            // Part by part of the same few images: what they read is then near.
            for (part, weights) in parts.iter().zip(weights.chunks_exact(bands * size)) {
                let grid = part.grid::<T>();
                let first = job * together * grid.tiles();
                let tiles = out.len() / image * grid.tiles();
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
            values[..used].par_chunks_exact_mut(piece).enumerate().for_each(|(index, values)| {
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
                let place = Place { point: point_size, tile: RUN, width: LANES, part: 0 };
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
    let (blocks, block) = (depth.div_ceil(DEPTH_BLOCK), points * point_size);
    with_scratch(blocks * block, |values: &mut [f32]| {
        // Each group of channels of a phase has its place in a block of k: blocks are multiples of a group.
        let groups: Vec<Group> = (0..depth)
            .step_by(LANES)
            .map(|k| Group {
                phase: k / source.channels,
                channel: k % source.channels,
                at: k / DEPTH_BLOCK * block + k % DEPTH_BLOCK,
            })
            .collect();
        let place = Place { point: point_size, tile: RUN, width: LANES, part: 0 };
        transform_inputs::<T>(source, grid, tiles, &groups, place, values);
        with_scratch(points * (count * BAND + APART), |products: &mut [f32]| {
            let all = weights;
            for band in 0..all.len() / (points * (depth * BAND + APART)) {
                use_band(band, None);
                for point in 0..points {
                    let products = &mut products[point * (count * BAND + APART)..][..count * BAND];
                    let at = (band * points + point) * (depth * BAND + APART);
                    let weights = &all[at..][..depth * BAND];
                    for (panel, weights) in weights.chunks_exact(depth * kernel.nr).enumerate() {
                        let mut rows: Vec<&mut [f32]> = products
                            .chunks_exact_mut(BAND)
                            .map(|row| &mut row[panel * kernel.nr..][..kernel.nr])
                            .collect();
                        for (index, weights) in weights.chunks(DEPTH_BLOCK * kernel.nr).enumerate()
                        {
                            let values =
                                &values[index * block + point * point_size..][..count * RUN];
                            let used = panel * depth * kernel.nr
                                + index * DEPTH_BLOCK * kernel.nr
                                + weights.len();
                            let packed = Packed {
                                far_a: false,
                                zeros: &[],
                                depth: weights.len() / kernel.nr,
                                a: SideA::Runs(values),
                                b: weights,
                                then: Some(&all[at + used..]),
                            };
                            kernel.block(&packed, &mut rows, 0, index > 0);
                        }
                    }
                }
                use_band(band, Some(products));
            }
        });
    });
}

fn weight_gradient<T: Tiling>(e: &Extents, x: &[f32], g: &[f32], w: &mut [f32]) {
    let kernel = f32::best_kernel();
    let points = T::POINTS * T::POINTS;
    let grid = TileGrid::new::<T>([e.oh, e.ow]);
    let tiles = e.n * grid.tiles();
    let lanes = e.o.next_multiple_of(kernel.mr);
    let source = image_phases(e, x);
    let bands = e.c.div_ceil(BAND);
    // Job (ab, band) owns these channels of the taps of its phase: [job][(o, tap)].
    let taps = image_taps(e);
    let mut owned: Vec<Vec<&mut [f32]>> = (0..taps.len() * bands).map(|_| Vec::new()).collect();
    let mut phase_of = vec![0; e.kh * e.kw];
    for (phase, taps) in taps.iter().enumerate() {
        taps.iter().flatten().for_each(|&tap| phase_of[tap] = phase);
    }
    for (row, channels) in w.chunks_exact_mut(e.c).enumerate() {
        let phase = phase_of[row % (e.kh * e.kw)];
        for (band, channels) in channels.chunks_mut(BAND).enumerate() {
            memory::push(&mut owned[phase * bands + band], channels);
        }
    }
    let block_size = points * DEPTH_BLOCK * lanes;
    let blocks = tiles.div_ceil(DEPTH_BLOCK);
    let tiles_of = |block: usize| block * DEPTH_BLOCK..tiles.min((block + 1) * DEPTH_BLOCK);
    // The cotangents of some blocks of tiles, in each point after point: [block][point][panel of mr][tile][mr].
    let transform = |first: usize, cotangents: &mut [f32]| {
        cotangents.par_chunks_mut(block_size).enumerate().for_each(|(block, cotangents)| {
            let tiles = tiles_of(first + block);
            let count = tiles.len();
            // So few at a time that they are dealt out of L2.
            for from in (0..count).step_by(TOGETHER) {
                let some = from..count.min(from + TOGETHER);
                let size = some.len() * e.o + APART;
                with_scratch(points * size, |rows: &mut [f32]| {
                    let tiles = tiles.start + some.start..tiles.start + some.end;
                    transform_cotangents::<T>(g, &grid, tiles, [e.oh, e.ow], e.o, rows);
                    let panels = cotangents.chunks_exact_mut(count * lanes);
                    for (rows, panels) in rows.chunks_exact(size).zip(panels) {
                        deal_some_rows(some.clone(), count, e.o, kernel.mr, panels, |tile, _| {
                            Some(&rows[(tile - from) * e.o..][..e.o])
                        });
                    }
                });
            }
        });
    };
    // Adds their products with the image's tiles to a job's sums, [point][o][BAND].
    let add = |job: usize, first: usize, cotangents: &[f32], sums: &mut [f32]| {
        let (phase, band) = (job / bands, job % bands * BAND);
        let width = BAND.min(e.c - band);
        for (block, cotangents) in cotangents.chunks(block_size).enumerate() {
            let tiles = tiles_of(first + block);
            let count = tiles.len();
            with_scratch(points * (count * BAND + APART), |values: &mut [f32]| {
                let place = Place {
                    point: count * BAND + APART,
                    tile: kernel.nr,
                    width: kernel.nr.min(LANES),
                    part: count * kernel.nr,
                };
                let at = |group: usize| group / kernel.nr * count * kernel.nr + group % kernel.nr;
                let groups: Vec<Group> = (0..width)
                    .step_by(LANES)
                    .map(|group| Group { phase, channel: band + group, at: at(group) })
                    .collect();
                transform_inputs::<T>(&source, &grid, tiles, &groups, place, values);
                for group in (width..BAND).step_by(LANES) {
                    place.fill_zeros(points, count, &mut values[at(group)..]);
                }
                for point in 0..points {
                    let sums = &mut sums[point * (e.o * BAND + APART)..][..e.o * BAND];
                    let mut rows: Vec<&mut [f32]> = sums.chunks_exact_mut(BAND).collect();
                    let cotangents = &cotangents[point * count * lanes..][..count * lanes];
                    let values = &values[point * (count * BAND + APART)..][..count * BAND];
                    let added = first + block > 0;
                    let packed = Packed {
                        far_a: false,
                        zeros: &[],
                        depth: count,
                        a: SideA::Panels(cotangents),
                        b: values,
                        then: None,
                    };
                    kernel.block(&packed, &mut rows, 0, added);
                }
            });
        }
    };
    let finish = |job: usize, sums: &[f32], owned: &mut [&mut [f32]]| {
        transform_weight_gradients::<T>(sums, e.o, &taps[job / bands], owned);
    };
    let jobs = owned.len();
    let size = points * (e.o * BAND + APART);
    let all = points * tiles * lanes;
    let jobs_of = |owned: &mut Vec<Vec<&mut [f32]>>,
                   work: &(dyn Fn(usize, &mut [&mut [f32]]) + Sync)| {
        owned.par_iter_mut().enumerate().with_max_len(1).for_each(|(job, owned)| work(job, owned));
    };
    if all <= LARGEST_SHARED || jobs * size > all {
        return with_scratch(all, |cotangents: &mut [f32]| {
            transform(0, cotangents);
            let cotangents = &*cotangents;
            jobs_of(&mut owned, &|job, owned| {
                with_scratch(size, |sums: &mut [f32]| {
                    add(job, 0, cotangents, sums);
                    finish(job, sums, owned);
                });
            });
        });
    }
    // Cotangents larger than caches are transformed some blocks at a time, one for each thread at least, and all jobs'
    // sums are kept meanwhile.
    let together = (LARGEST_SHARED / block_size).max(rayon::current_num_threads());
    with_scratch(jobs * size, |sums: &mut [f32]| {
        for first in (0..blocks).step_by(together) {
            let end = tiles.min((first + together) * DEPTH_BLOCK);
            with_scratch(
                points * (end - first * DEPTH_BLOCK) * lanes,
                |cotangents: &mut [f32]| {
                    transform(first, cotangents);
                    let cotangents = &*cotangents;
                    let sums = sums.par_chunks_exact_mut(size).enumerate().with_max_len(1);
                    sums.for_each(|(job, sums)| add(job, first, cotangents, sums));
                },
            );
        }
        let sums = &*sums;
        jobs_of(&mut owned, &|job, owned| finish(job, &sums[job * size..][..size], owned));
    });
}

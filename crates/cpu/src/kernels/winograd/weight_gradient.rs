//! The gradient of the weight: products over tiles, of cotangents and image. A job takes a band of channels of a phase.

use super::planes::{
    Group, Place, TileGrid, transform_cotangents, transform_inputs, transform_weight_gradients,
};
use super::tiling::{LANES, Tiling};
use super::{APART, BAND, LARGEST_SHARED, image_phases, image_taps};
use crate::gemm::{Columns, GemmElement, Starts, Steps, Windows, with_scratch};
use crate::kernels::conv2d::Extents;
use crate::memory;
use rayon::prelude::*;
use std::ops::Range;

/// Tiles whose cotangents one job transforms.
const TILES_A_JOB: usize = 32;

/// `w̄ = g ⋆ x`, for each phase of the image.
pub(super) fn weight_gradient<T: Tiling>(e: &Extents, x: &[f32], g: &[f32], w: &mut [f32]) {
    let kernel = f32::best_kernel();
    let points = T::POINTS * T::POINTS;
    let grid = TileGrid::new::<T>([e.oh, e.ow]);
    let tiles = e.n * grid.tiles();
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
    // Cotangents are [block][point][tile][o], a tile and a point APART longer than what is in it.
    let row = e.o + APART;
    let size_of = |tiles: usize| points * (tiles * row + APART);
    let block_size = size_of(T::DEPTH);
    let elements_of = |tiles: usize| match tiles % T::DEPTH {
        0 => tiles / T::DEPTH * block_size,
        rest => tiles / T::DEPTH * block_size + size_of(rest),
    };
    let blocks = tiles.div_ceil(T::DEPTH);
    let tiles_of = |block: usize| block * T::DEPTH..tiles.min((block + 1) * T::DEPTH);
    // The cotangents of some blocks of tiles, a few tiles a job.
    let transform = |first: usize, cotangents: &mut [f32]| {
        let mut jobs: Vec<(Range<usize>, Vec<&mut [f32]>)> = Vec::new();
        for (block, cotangents) in cotangents.chunks_mut(block_size).enumerate() {
            let tiles = tiles_of(first + block);
            let jobs_before = jobs.len();
            for from in tiles.clone().step_by(TILES_A_JOB) {
                memory::push(&mut jobs, (from..tiles.end.min(from + TILES_A_JOB), Vec::new()));
            }
            for point in cotangents.chunks_exact_mut(tiles.len() * row + APART) {
                let of_jobs = point[..tiles.len() * row].chunks_mut(TILES_A_JOB * row);
                for ((_, points), rows) in jobs[jobs_before..].iter_mut().zip(of_jobs) {
                    memory::push(points, rows);
                }
            }
        }
        jobs.into_par_iter().with_max_len(1).for_each(|(tiles, mut rows)| {
            transform_cotangents::<T>(g, &grid, tiles, [e.oh, e.ow], e.o, &mut rows);
        });
    };
    let steps = Steps::new((0..T::DEPTH.min(tiles)).map(|tile| tile * row).collect());
    let outputs: Vec<usize> = (0..e.o).collect();
    // Adds their products with the image's tiles to a job's sums, [point][o][BAND].
    let add = |job: usize, first: usize, cotangents: &[f32], sums: &mut [f32]| {
        let (phase, band) = (job / bands, job % bands * BAND);
        let width = BAND.min(e.c - band);
        let groups: Vec<Group> = (0..width)
            .step_by(LANES)
            .map(|group| Group { phase, channel: band + group, at: group })
            .collect();
        for (block, cotangents) in cotangents.chunks(block_size).enumerate() {
            let tiles = tiles_of(first + block);
            let count = tiles.len();
            with_scratch(points * (count * BAND + APART), |values: &mut [f32]| {
                let point = count * BAND + APART;
                let place = Place { point, tile: BAND };
                transform_inputs::<T>(&source, &grid, tiles, &groups, place, values);
                for point in 0..points {
                    let sums = &mut sums[point * (e.o * BAND + APART)..][..e.o * BAND];
                    let cotangents = &cotangents[point * (count * row + APART)..][..count * row];
                    let values = &values[point * (count * BAND + APART)..][..count * BAND];
                    let values = Columns { data: values, apart: BAND };
                    let tiles = sums.chunks_mut(kernel.mr * BAND);
                    for (lanes, sums) in outputs.chunks(kernel.mr).zip(tiles) {
                        let own = Windows::new(cotangents, Starts::new(lanes), &steps, count);
                        // The last lanes of the next tile: the line of its first ones is near.
                        let further = cotangents.get(lanes[0] + lanes.len() + kernel.mr - 1..);
                        let ahead = Columns { data: further.unwrap_or_default(), apart: row };
                        let added = first + block > 0;
                        kernel.block_of_windows(&own, &values, width, &ahead, (sums, BAND), added);
                    }
                }
            });
        }
    };
    let finish = |job: usize, sums: &[f32], owned: &mut [&mut [f32]]| {
        transform_weight_gradients::<T>(sums, e.o, &taps[job / bands], owned);
    };
    let jobs = owned.len();
    let size = points * (e.o * BAND + APART);
    let all = elements_of(tiles);
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
            let end = tiles.min((first + together) * T::DEPTH);
            with_scratch(elements_of(end - first * T::DEPTH), |cotangents: &mut [f32]| {
                transform(first, cotangents);
                let cotangents = &*cotangents;
                let sums = sums.par_chunks_exact_mut(size).enumerate().with_max_len(1);
                sums.for_each(|(job, sums)| add(job, first, cotangents, sums));
            });
        }
        let sums = &*sums;
        jobs_of(&mut owned, &|job, owned| finish(job, &sums[job * size..][..size], owned));
    });
}

//! `norm`, `norm_grad`, the halves of both, `running_statistics`: see `belamy_tensor::ops::norm` and `norm_halves` for the
//! mathematics.
//!
//! Two passes over memory, each a function and a kernel by itself: one for two sums over the rows of each group and
//! channel ([`statistics_of`], [`Channels::sums`]), one for the result ([`apply_of`], [`Channels::gradient`]). The first
//! hands out tiles of at most [`TILE_CHANNELS`] channels and [`TILE_ELEMENTS`] elements, so that many rows of few
//! channels (convolutions) and few rows of many (dense layers) both spread over the threads; a tile sums its rows in
//! order in f64, and the tiles of a channel are added in order: the bits do not depend on the threads.
//!
//! The variance is taken in one pass from data shifted by the group's first row k: with d = x − k,
//! R·variance = Σd² − (Σd)²/R (Chan, Golub and LeVeque, 1983). The shift makes it safe: as k is one of the numbers,
//! R·variance ≥ (k − mean)², so the two terms exceed their difference by at most a factor of R + 1 and the relative
//! error stays below R² roundings of f64 in the worst case (one wild first row), a few roundings in any other.
//! A second pass or Welford's division per element would cost more and gain nothing here.

#[cfg(test)]
mod tests;

use super::{Real, Run, SERIAL_ELEMENTS, for_real, spread};
use crate::vectors::vectorised;
use belamy_tensor::ops::norm::{NormParams, RunningParams};
use rayon::prelude::*;

/// The widest tile: its sums stay in the nearest cache.
const TILE_CHANNELS: usize = 256;
/// The largest tile.
const TILE_ELEMENTS: usize = 1 << 15;

#[derive(Clone, Copy)]
struct Extents {
    groups: usize,
    rows: usize,
    channels: usize,
}

impl Extents {
    fn decode(params: &NormParams) -> Extents {
        Extents {
            groups: params.groups as usize,
            rows: params.rows as usize,
            channels: params.channels as usize,
        }
    }

    /// gamma s: `[G, C]`.
    fn scale<E: Real>(self, gamma: &[E], variance: &[f64], epsilon: f64) -> Vec<f64> {
        let channels = (0..self.groups).flat_map(|_| 0..self.channels);
        let factor = |(c, variance): (usize, &f64)| gamma[c].to_f64() / (variance + epsilon).sqrt();
        channels.zip(variance).map(factor).collect()
    }

    /// Two sums over the rows, each `[G, C]`. `add` adds one row's terms to both; it is given the row segment's
    /// place in x, and the place of its first channel in `[G, C]`.
    fn row_sums(
        self,
        add: impl Fn(usize, usize, &mut [f64], &mut [f64]) + Sync,
    ) -> (Vec<f64>, Vec<f64>) {
        let Extents { groups, rows, channels } = self;
        let width = channels.min(TILE_CHANNELS);
        let height = TILE_ELEMENTS / width;
        let (across, down) = (channels.div_ceil(width), rows.div_ceil(height));
        let column = |column: usize| {
            let (group, left) = (column / across, column % across * width);
            let width = width.min(channels - left);
            let tile = |tile: usize| {
                let (mut first, mut second) = (vec![0.0; width], vec![0.0; width]);
                for row in tile * height..rows.min((tile + 1) * height) {
                    let at = (group * rows + row) * channels + left;
                    add(at, group * channels + left, &mut first, &mut second);
                }
                (first, second)
            };
            if down == 1 {
                return tile(0);
            }
            let tiles: Vec<_> = (0..down).into_par_iter().map(tile).collect();
            let mut tiles = tiles.into_iter();
            let mut total = tiles.next().expect("infer wants a row");
            for (first, second) in tiles {
                total.0.iter_mut().zip(first).for_each(|(sum, part)| *sum += part);
                total.1.iter_mut().zip(second).for_each(|(sum, part)| *sum += part);
            }
            total
        };
        let columns: Vec<_> = (0..groups * across).into_par_iter().map(column).collect();
        columns.into_iter().fold((Vec::new(), Vec::new()), |mut sums, (first, second)| {
            sums.0.extend(first);
            sums.1.extend(second);
            sums
        })
    }

    /// Fills an output of x's shape row by row. `row` is given the row's place in x and that of its group's first
    /// channel in `[G, C]`.
    fn fill_rows<E: Real>(self, output: &mut [E], row: impl Fn(usize, usize, &mut [E]) + Sync) {
        let Extents { rows, channels, .. } = self;
        let block = (4 * SERIAL_ELEMENTS / channels).max(1);
        spread(output, rows * channels, &|group, output| {
            spread(output, block * channels, &|index, output| {
                let first = group * rows + index * block;
                for (offset, output) in output.chunks_exact_mut(channels).enumerate() {
                    row((first + offset) * channels, group * channels, output);
                }
            });
        });
    }
}

fn widen<E: Real>(values: &[E]) -> Vec<f64> {
    values.iter().map(|value| value.to_f64()).collect()
}

fn narrow<E: Real>(from: &[f64], to: &mut [E]) {
    to.iter_mut().zip(from).for_each(|(to, &from)| *to = E::from_f64(from));
}

pub(super) fn norm(run: Run<'_>) {
    for_real!(run, norm_of);
}

fn norm_of<E: Real>(mut run: Run<'_>) {
    let params = NormParams::decode(&run.params);
    let operands = [0, 1, 2].map(|place| run.input::<E>(place)); // x: [G, R, C]  gamma, beta: [C]
    let [y, mean_out, variance_out] = &mut run.outputs[..] else {
        unreachable!("norm has three outputs");
    };
    let (mean, variance) = statistics_of(Extents::decode(&params), operands[0]);
    narrow(&mean, mean_out.values_mut::<E>());
    narrow(&variance, variance_out.values_mut::<E>());
    apply_of(&params, operands, &mean, &variance, y.values_mut::<E>());
}

pub(super) fn norm_statistics(run: Run<'_>) {
    for_real!(run, norm_statistics_of);
}

fn norm_statistics_of<E: Real>(mut run: Run<'_>) {
    let e = Extents::decode(&NormParams::decode(&run.params));
    let (mean, variance) = statistics_of(e, run.input::<E>(0));
    narrow(&mean, run.outputs[0].values_mut::<E>());
    narrow(&variance, run.outputs[1].values_mut::<E>());
}

pub(super) fn norm_apply(run: Run<'_>) {
    for_real!(run, norm_apply_of);
}

fn norm_apply_of<E: Real>(mut run: Run<'_>) {
    let operands = [0, 1, 2].map(|place| run.input::<E>(place));
    let [mean, variance] = [3, 4].map(|place| widen(run.input::<E>(place))); // [G, C]
    let y = run.outputs[0].values_mut::<E>();
    apply_of(&NormParams::decode(&run.params), operands, &mean, &variance, y);
}

/// Mean and variance, each `[G, C]`.
fn statistics_of<E: Real>(e: Extents, x: &[E]) -> (Vec<f64>, Vec<f64>) {
    let group = e.rows * e.channels;
    let shift: Vec<f64> = // [G, C]: each group's first row
        (0..e.groups).flat_map(|g| widen(&x[g * group..g * group + e.channels])).collect();
    let (sums, squares) = e.row_sums(|at, channel, sums, squares| {
        add_deviations::<E>(&x[at..], &shift[channel..], sums, squares);
    });
    let rows = e.rows as f64;
    let (mut mean, mut variance) = (shift, squares);
    for i in 0..sums.len() {
        let raw = (variance[i] - sums[i] * sums[i] / rows) / rows;
        // Rounding may leave a tiny negative number; NaN must stay NaN.
        variance[i] = if raw < 0.0 { 0.0 } else { raw };
        mean[i] += sums[i] / rows;
    }
    (mean, variance)
}

/// y from x, gamma and beta, and statistics `[G, C]`.
fn apply_of<E: Real>(
    params: &NormParams,
    [x, gamma, beta]: [&[E]; 3],
    mean: &[f64],
    variance: &[f64],
    y: &mut [E],
) {
    let (e, beta) = (Extents::decode(params), widen(beta));
    let scale = e.scale(gamma, variance, params.epsilon);
    e.fill_rows(y, |at, channel, y| {
        normalize_row::<E>(&x[at..], &mean[channel..], &scale[channel..], &beta, params.slope, y);
    });
}

vectorised! {
    /// Adds a row segment's distances from the shift to `sums`, and their squares to `squares`.
    fn add_deviations<E: Real>(x: &[E], shift: &[f64], sums: &mut [f64], squares: &mut [f64]) {
        let width = sums.len();
        let (x, shift, squares) = (&x[..width], &shift[..width], &mut squares[..width]);
        for i in 0..width {
            let d = x[i].to_f64() - shift[i];
            sums[i] += d;
            squares[i] += d * d;
        }
    }
}

vectorised! {
    /// One row of y. What the slope multiplies is chosen, not whether it does: no jump stands in the loop.
    fn normalize_row<E: Real>(
        x: &[E],
        mean: &[f64],
        scale: &[f64],
        beta: &[f64],
        slope: f64,
        y: &mut [E],
    ) {
        let width = y.len();
        let (x, mean, scale, beta) =
            (&x[..width], &mean[..width], &scale[..width], &beta[..width]);
        for i in 0..width {
            let u = (x[i].to_f64() - mean[i]) * scale[i] + beta[i];
            y[i] = E::from_f64(u * if u > 0.0 { 1.0 } else { slope });
        }
    }
}

pub(super) fn norm_grad(run: Run<'_>) {
    for_real!(run, norm_grad_of);
}

fn norm_grad_of<E: Real>(mut run: Run<'_>) {
    let channels = Channels::of::<E>(&run);
    let (x, h) = (run.input::<E>(0), run.input::<E>(3)); // [G, R, C]
    let [grad_x, grad_gamma, grad_beta] = &mut run.outputs[..] else {
        unreachable!("norm_grad has three outputs");
    };
    let (sums, products) = channels.sums(x, h);
    let (gammas, betas) = channels.affine(&sums, &products);
    narrow(&gammas, grad_gamma.values_mut::<E>());
    narrow(&betas, grad_beta.values_mut::<E>());
    channels.gradient(x, h, &sums, &products, grad_x.values_mut::<E>());
}

pub(super) fn norm_grad_sums(run: Run<'_>) {
    for_real!(run, norm_grad_sums_of);
}

fn norm_grad_sums_of<E: Real>(mut run: Run<'_>) {
    let channels = Channels::of::<E>(&run);
    let (x, h) = (run.input::<E>(0), run.input::<E>(3));
    let [sums_out, grad_gamma, grad_beta] = &mut run.outputs[..] else {
        unreachable!("norm_grad_sums has three outputs");
    };
    let (sums, products) = channels.sums(x, h);
    let (gammas, betas) = channels.affine(&sums, &products);
    narrow(&[sums, products].concat(), sums_out.values_mut::<E>()); // [2, G, C]
    narrow(&gammas, grad_gamma.values_mut::<E>());
    narrow(&betas, grad_beta.values_mut::<E>());
}

pub(super) fn norm_grad_apply(run: Run<'_>) {
    for_real!(run, norm_grad_apply_of);
}

fn norm_grad_apply_of<E: Real>(mut run: Run<'_>) {
    let channels = Channels::of::<E>(&run);
    let (x, h, sums) = (run.input::<E>(0), run.input::<E>(3), widen(run.input::<E>(6)));
    let (sums, products) = sums.split_at(channels.mean.len());
    channels.gradient(x, h, sums, products, run.outputs[0].values_mut::<E>());
}

/// What the backward passes know of each group's channels, `[G, C]` each: u = scale (x − mean) + shift, and s.
struct Channels {
    e: Extents,
    slope: f64,
    mean: Vec<f64>,
    scale: Vec<f64>,
    shift: Vec<f64>,
    s: Vec<f64>,
}

impl Channels {
    /// From x, gamma, beta, h, mean and variance.
    fn of<E: Real>(run: &Run<'_>) -> Channels {
        let params = NormParams::decode(&run.params);
        let e = Extents::decode(&params);
        let [mean, variance] = [4, 5].map(|place| widen(run.input::<E>(place)));
        let scale = e.scale(run.input::<E>(1), &variance, params.epsilon);
        let shift = widen(run.input::<E>(2)).repeat(e.groups);
        let s = variance.iter().map(|variance| 1.0 / (variance + params.epsilon).sqrt()).collect();
        Channels { e, slope: params.slope, mean, scale, shift, s }
    }

    /// Σ_r g and Σ_r g (x − mean), each `[G, C]`.
    fn sums<E: Real>(&self, x: &[E], h: &[E]) -> (Vec<f64>, Vec<f64>) {
        self.e.row_sums(|at, channel, sums, products| {
            let constants = [&self.mean, &self.scale, &self.shift].map(|all| &all[channel..]);
            add_cotangents::<E>(&x[at..], &h[at..], constants, self.slope, sums, products);
        })
    }

    /// The gradients of gamma and beta, `[C]`.
    fn affine(&self, sums: &[f64], products: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let channels = self.e.channels;
        let (mut gammas, mut betas) = (vec![0.0; channels], vec![0.0; channels]);
        for i in 0..sums.len() {
            gammas[i % channels] += products[i] * self.s[i];
            betas[i % channels] += sums[i];
        }
        (gammas, betas)
    }

    /// grad_x = scale g + b (x − mean) + c.
    fn gradient<E: Real>(
        &self,
        x: &[E],
        h: &[E],
        sums: &[f64],
        products: &[f64],
        grad_x: &mut [E],
    ) {
        let Channels { e, slope, mean, scale, shift, s } = self;
        let rows = e.rows as f64;
        let (mut b, mut c) = (products.to_vec(), sums.to_vec()); // [G, C]
        for i in 0..sums.len() {
            b[i] = -scale[i] * s[i] * s[i] * products[i] / rows;
            c[i] = -scale[i] * sums[i] / rows;
        }
        e.fill_rows(grad_x, |at, channel, grad_x| {
            let constants = [mean, scale, shift, &b, &c].map(|all| &all[channel..]);
            gradient_row::<E>(&x[at..], &h[at..], constants, *slope, grad_x);
        });
    }
}

vectorised! {
    /// Adds a row segment's cotangents g to `sums`, and g (x − mean) to `products`. `constants` are mean, scale and
    /// shift.
    fn add_cotangents<E: Real>(
        x: &[E],
        h: &[E],
        constants: [&[f64]; 3],
        slope: f64,
        sums: &mut [f64],
        products: &mut [f64],
    ) {
        let width = sums.len();
        let (x, h, products) = (&x[..width], &h[..width], &mut products[..width]);
        let [mean, scale, shift] = constants.map(|all| &all[..width]);
        for i in 0..width {
            let d = x[i].to_f64() - mean[i];
            let factor = if scale[i] * d + shift[i] > 0.0 { 1.0 } else { slope };
            let g = factor * h[i].to_f64();
            sums[i] += g;
            products[i] += g * d;
        }
    }
}

vectorised! {
    /// One row of the gradient. `constants` are mean, scale, shift, b and c.
    fn gradient_row<E: Real>(
        x: &[E],
        h: &[E],
        constants: [&[f64]; 5],
        slope: f64,
        grad_x: &mut [E],
    ) {
        let width = grad_x.len();
        let (x, h) = (&x[..width], &h[..width]);
        let [mean, scale, shift, b, c] = constants.map(|all| &all[..width]);
        for i in 0..width {
            let d = x[i].to_f64() - mean[i];
            let factor = if scale[i] * d + shift[i] > 0.0 { 1.0 } else { slope };
            grad_x[i] = E::from_f64(scale[i] * (factor * h[i].to_f64()) + b[i] * d + c[i]);
        }
    }
}

pub(super) fn running_statistics(run: Run<'_>) {
    for_real!(run, running_statistics_of);
}

fn running_statistics_of<E: Real>(mut run: Run<'_>) {
    let p = RunningParams::decode(&run.params);
    let channels = p.channels as usize;
    let corrections = [1.0, p.correction];
    for (which, correction) in corrections.into_iter().enumerate() {
        let (running, batch) = (run.input::<E>(which), run.input::<E>(2 + which)); // [C], [P, C]
        let moved = run.outputs[which].values_mut::<E>();
        for (channel, moved) in moved.iter_mut().enumerate() {
            let parts = batch[channel..].iter().step_by(channels).take(p.parts as usize);
            let moved_by =
                |running: f64, part: &E| p.decay * running + p.taken * (correction * part.to_f64());
            *moved = E::from_f64(parts.fold(running[channel].to_f64(), moved_by));
        }
    }
}

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
//! Each of these, on tiles of m × m outputs (m = 4), takes P² = (m + r − 1)² multiplications instead of
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
//! | 5 × 5 stride 1 | 64/400 |
//!
//! In the L2 norm results are off by at most 4.4e-6 of their own where the direct kernels are off by 3e-7; `tests` hold
//! them to 5e-6.
//!
//! `correlation` makes the first two, `weight_gradient` the third; `planes` reads and writes tiles, `filters` weights, and
//! `tiling` has the matrices.
//!
//! Taken by the shape alone ([`pays`]), and not at all where a device was opened without it. Every sum is taken in an
//! order that depends on the shape alone.

mod correlation;
mod filters;
mod planes;
#[cfg(test)]
mod tests;
mod tiling;
mod weight_gradient;

use super::Run;
use super::conv2d::Extents;
use correlation::{Correlation, Target, correlate};
use filters::Filters;
use planes::Planes;
use tiling::{FiveTaps, LANES, ThreeTaps, Tiling, TwoTaps};
use weight_gradient::weight_gradient;

/// Elements of U that may be written down as a whole: what a share of L3 holds. (2 Mi: 8 MiB.)
const LARGEST_SHARED: usize = 1 << 21;

/// How many tiles one job transforms of those that several share: panels of A of all micro-kernels.
const TOGETHER: usize = 12;

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

/// The most channels of either side: as many zeros stand for a pixel outside an image.
const MOST_CHANNELS: usize = 4096;

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
    let is_wide = |channels: usize| {
        (FEWEST_CHANNELS..=MOST_CHANNELS).contains(&channels) && channels.is_multiple_of(LANES)
    };
    if !is_wide(e.c) || !is_wide(e.o) {
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

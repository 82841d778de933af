//! The fast paths of `conv2d`, `conv2d_grad_input` and `conv2d_grad_weight`: matrix products over a matrix of
//! patches that is never written.
//!
//! ```text
//! P[(n, oh, ow), (kh, kw, c)] = x[n, oh·stride + kh·dilation − padding, .., c]       zero outside the image
//!
//! conv2d             Y [N·OH·OW, O]  = P · Wᵀ                        W: [O, KH·KW·C] as it is stored
//! conv2d_grad_weight W̄ [O, KH·KW·C]  = Gᵀ · P                        G: [N·OH·OW, O] as it is stored
//! conv2d_grad_input  by phases or by columns:
//!   phases   X̄[pixels of a phase, C] = P'· W'     a phase: the pixels with one (ih mod stride, iw mod stride).
//!            Only the taps with kh·dilation ≡ ih + padding (mod stride) reach them, each from the output at
//!            (ih + padding − kh·dilation) / stride: a window of stride 1 over g, P': [pixels, taps·O].
//!            W': [taps·O, C] is W read in another order. Phases without taps are zero.
//!   columns  D [N·OH·OW, KH·KW·C] = G · W, then every pixel adds the elements of D that fall on it.
//! ```
//!
//! [`patches`](super::patches) says how P is read.
//!
//! Which path is taken, decided by the shape alone:
//!
//! | condition | path |
//! |---|---|
//! | fewer than [`SMALLEST_PRODUCT`] multiply-adds | direct loops: packing would cost more |
//! | groups of fewer than [`FEWEST_GROUP_CHANNELS`] channels | direct loops: depthwise products have no width |
//! | conv2d and grad_weight of at most [`FEW_CHANNELS`] channels | products that read the image in place: [`conv2d_few_channels`] |
//! | grad_input of at most [`FEW_CHANNELS`] channels, or with twice as many pixels as a full phase can use | columns: [`by_columns`] |
//! | otherwise | a product for each group (and phase) |
//!
//! The columns suit few channels because the product is then KH·KW·C wide instead of C, and a 1 × 1 → 4 × 4
//! projection because its pixels' windows lie mostly outside g. Every element is summed in an order that depends on
//! the shape alone.

use super::conv2d::Extents;
use super::conv2d_columns::by_columns;
use super::conv2d_few_channels::{self, FEW_CHANNELS};
use super::patches::{Image, Patches, Taps, Windows};
use super::{Real, Run};
use crate::gemm::{GemmElement, Kernel, Matrix, Operand, Products, deal_rows, gemm, gemm_rows};
use crate::memory;
use std::ops::Range;

/// Multiply-adds below which the direct loops are as fast.
const SMALLEST_PRODUCT: usize = 1 << 12;

/// Channels of a group (either side) below which the direct loops are taken.
const FEWEST_GROUP_CHANNELS: usize = 4;

/// Whether the packed products are worth their packing.
pub(super) fn pays(e: &Extents) -> bool {
    let work = e.n * e.oh * e.ow * e.o * e.kh * e.kw * e.c_group;
    let narrow = e.groups > 1 && e.c_group.min(e.o_group) < FEWEST_GROUP_CHANNELS;
    work >= SMALLEST_PRODUCT && !narrow
}

/// The offsets of a kernel's taps from the top left of a window, along one side.
fn offsets(taps: usize, dilation: usize, padding: usize) -> Vec<isize> {
    (0..taps).map(|tap| (tap * dilation) as isize - padding as isize).collect()
}

/// The windows of the convolution over its image, in group `group`.
fn windows<'a, E>(e: &Extents, x: &'a [E], group: usize) -> Patches<'a, E> {
    Patches::new(
        Image {
            data: x,
            height: e.h,
            width: e.w,
            channels: e.c,
            first: group * e.c_group,
            used: e.c_group,
        },
        [e.oh, e.ow],
        e.stride,
        &offsets(e.kh, e.dilation[0], e.padding[0]),
        &offsets(e.kw, e.dilation[1], e.padding[1]),
    )
}

/// The micro-kernel for a convolution: of few channels there is too little to multiply for taking operands apart.
fn kernel_for<E: GemmElement>(e: &Extents, products: Products) -> &'static Kernel<E> {
    E::kernel_if(products, e.c_group.min(e.o_group) > FEW_CHANNELS)
}

pub(super) fn conv2d<E: Real + GemmElement>(mut run: Run<'_>, e: &Extents) {
    let (x, w) = (run.input::<E>(0), run.input::<E>(1)); // x: [N, H, W, C]  w: [O, KH, KW, C/groups]
    forward(kernel_for::<E>(e, run.products), e, x, w, run.output());
}

/// `Y = P Wᵀ`, group by group.
pub(super) fn forward<E: Real + GemmElement>(
    kernel: &Kernel<E>,
    e: &Extents,
    x: &[E],
    w: &[E],
    y: &mut [E],
) {
    if conv2d_few_channels::pays(kernel, e) {
        return conv2d_few_channels::forward(kernel, e, x, w, y);
    }
    let depth = e.kh * e.kw * e.c_group;
    if e.groups == 1 {
        let weight = Matrix::lanes_by_depth(w, depth);
        let patches = windows(e, x, 0).leave_out();
        let mut rows = patches.ordered(y.chunks_exact_mut(e.o));
        return gemm_rows(kernel, depth, &Windows(&patches), &weight, &mut rows);
    }
    for (group, rows) in channel_groups(y, e.groups, e.o_group).into_iter().enumerate() {
        let weight = Matrix::lanes_by_depth(&w[group * e.o_group * depth..], depth);
        let patches = windows(e, x, group).leave_out();
        let mut rows = patches.ordered(rows.into_iter());
        gemm_rows(kernel, depth, &Windows(&patches), &weight, &mut rows);
    }
}

pub(super) fn conv2d_grad_weight<E: Real + GemmElement>(mut run: Run<'_>, e: &Extents) {
    let (x, g) = (run.input::<E>(0), run.input::<E>(1)); // x: [N, H, W, C]  g: [N, OH, OW, O]
    grad_weight(kernel_for::<E>(e, run.products), e, x, g, run.output());
}

/// `W̄ = Gᵀ P`, group by group.
pub(super) fn grad_weight<E: Real + GemmElement>(
    kernel: &Kernel<E>,
    e: &Extents,
    x: &[E],
    g: &[E],
    w: &mut [E],
) {
    if conv2d_few_channels::pays(kernel, e) {
        return conv2d_few_channels::grad_weight(kernel, e, x, g, w);
    }
    let columns = e.kh * e.kw * e.c_group;
    let groups = w.chunks_exact_mut(e.o_group * columns);
    for (group, weight) in groups.enumerate() {
        let cotangent = Matrix::depth_by_lanes(&g[group * e.o_group..], e.o);
        let patches = windows(e, x, group).apart(kernel.nr);
        let depth = e.n * e.oh * e.ow;
        gemm(kernel, e.o_group, columns, depth, &cotangent, &Taps(&patches), weight);
    }
}

pub(super) fn conv2d_grad_input<E: Real + GemmElement>(mut run: Run<'_>, e: &Extents) {
    let (g, w) = (run.input::<E>(0), run.input::<E>(1)); // g: [N, OH, OW, O]  w: [O, KH, KW, C/groups]
    grad_input(kernel_for::<E>(e, run.products), e, g, w, run.output());
}

/// By phases or by columns.
pub(super) fn grad_input<E: Real + GemmElement>(
    kernel: &Kernel<E>,
    e: &Extents,
    g: &[E],
    w: &[E],
    x: &mut [E],
) {
    let wasteful = e.h * e.w >= 2 * e.oh * e.ow * e.stride[0] * e.stride[1];
    if e.groups == 1 && (e.c <= FEW_CHANNELS || wasteful) {
        by_columns(kernel, e, g, w, x);
    } else {
        by_phases(kernel, e, g, w, x);
    }
}

/// The rows of a tensor `[.., groups · channels]`, each cut into its groups: `[group][row]`.
fn channel_groups<E>(data: &mut [E], groups: usize, channels: usize) -> Vec<Vec<&mut [E]>> {
    let rows = data.len() / (groups * channels);
    let mut cut: Vec<Vec<&mut [E]>> = (0..groups).map(|_| memory::room(rows)).collect();
    for row in data.chunks_exact_mut(groups * channels) {
        let parts = row.chunks_exact_mut(channels);
        cut.iter_mut().zip(parts).for_each(|(group, part)| group.push(part));
    }
    cut
}

/// The taps that reach the pixels `first + i·stride` of one side: their indices and, for the first of these pixels,
/// the outputs that they belong to, in ascending order.
fn phase_taps(
    first: usize,
    taps: usize,
    stride: usize,
    padding: usize,
    dilation: usize,
) -> (Vec<usize>, Vec<isize>) {
    let reached = |tap: usize| (first + padding) as isize - (tap * dilation) as isize;
    let taps: Vec<usize> =
        (0..taps).rev().filter(|&tap| reached(tap) % stride as isize == 0).collect();
    let outputs = taps.iter().map(|&tap| reached(tap) / stride as isize).collect();
    (taps, outputs)
}

fn by_phases<E: Real + GemmElement>(
    kernel: &Kernel<E>,
    e: &Extents,
    g: &[E],
    w: &[E],
    x: &mut [E],
) {
    let phases = [e.stride[0].min(e.h), e.stride[1].min(e.w)];
    let mut rows: Vec<Vec<&mut [E]>> =
        (0..phases[0] * phases[1] * e.groups).map(|_| Vec::new()).collect();
    for (row, pixels) in x.chunks_exact_mut(e.w * e.c).enumerate() {
        let row = row % e.h % e.stride[0];
        for (column, pixel) in pixels.chunks_exact_mut(e.c).enumerate() {
            let phase = row * phases[1] + column % e.stride[1];
            for (group, channels) in pixel.chunks_exact_mut(e.c_group).enumerate() {
                memory::push(&mut rows[phase * e.groups + group], channels);
            }
        }
    }
    for (index, rows) in rows.into_iter().enumerate() {
        let (phase, group) = (index / e.groups, index % e.groups);
        let first = [phase / phases[1], phase % phases[1]];
        let side = |axis: usize, taps: usize| {
            phase_taps(first[axis], taps, e.stride[axis], e.padding[axis], e.dilation[axis])
        };
        let ((tap_rows, output_rows), (tap_columns, output_columns)) =
            (side(0, e.kh), side(1, e.kw));
        let cotangent = Image {
            data: g,
            height: e.oh,
            width: e.ow,
            channels: e.o,
            first: group * e.o_group,
            used: e.o_group,
        };
        let positions =
            [(e.h - first[0]).div_ceil(e.stride[0]), (e.w - first[1]).div_ceil(e.stride[1])];
        let patches = Patches::new(cotangent, positions, [1, 1], &output_rows, &output_columns);
        let patches = patches.leave_out();
        let mut rows = patches.ordered(rows.into_iter());
        let taps: Vec<usize> = tap_rows
            .iter()
            .flat_map(|row| tap_columns.iter().map(move |column| row * e.kw + column))
            .collect();
        let weight = PhaseWeight {
            weight: &w[group * e.o_group * e.kh * e.kw * e.c_group..],
            taps: &taps,
            kernel: e.kh * e.kw,
            inputs: e.o_group,
            channels: e.c_group,
        };
        gemm_rows(kernel, taps.len() * e.o_group, &Windows(&patches), &weight, &mut rows);
    }
}

/// `W'[(tap, o), c] = w[o, tap, c]` over the taps of a phase.
struct PhaseWeight<'a, E> {
    /// The group's weight.
    weight: &'a [E],
    /// kh · KW + kw of each tap.
    taps: &'a [usize],
    /// KH · KW.
    kernel: usize,
    /// O / groups.
    inputs: usize,
    /// C / groups.
    channels: usize,
}

impl<E: GemmElement> Operand<E> for PhaseWeight<'_, E> {
    fn pack(&self, lanes: Range<usize>, depth: Range<usize>, panels: &mut [E], lane_width: usize) {
        deal_rows(depth.len(), lanes.len(), lane_width, panels, |d, _| {
            let (tap, o) = ((depth.start + d) / self.inputs, (depth.start + d) % self.inputs);
            let from = (o * self.kernel + self.taps[tap]) * self.channels;
            Some(&self.weight[from..][lanes.clone()])
        });
    }
}

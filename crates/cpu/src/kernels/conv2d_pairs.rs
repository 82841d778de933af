//! `conv2d`, `conv2d_grad_input` and `conv2d_grad_weight` of bf16 where the processor multiplies pairs: operands are rounded
//! once, before the products, and then lie as the micro-kernel reads them.
//!
//! Two bf16 that are neighbours along what is summed take the place of one f32, and the convolution becomes one of half
//! as many, which the paths of [`conv2d_gemm`] compute as they compute any other, in place where operands lie near:
//!
//! ```text
//! conv2d              sums (kh, kw, c)     pairs of channels: x [N, H, W, C/2]   w [O, KH, KW, C/2]
//! conv2d_grad_input   sums (kh, kw, o)     pairs of outputs:  g [N, OH, OW, O/2]  w [O/2, KH, KW, C]
//! conv2d_grad_weight  sums (n, oh, ow)     pairs of columns:  g [N, OH, OW/2, O], at ow = 2j and 2j + 1, and
//!                                          x [N, H, Q, C], of pixels q − padding and q − padding + stride:
//!                                          a convolution of the columns at 2·stride, without padding
//! ```
//!
//! Colours come in threes. Where the stride divides the kernel, pixels are taken together, as many as the stride, in rows that
//! begin with the padding: a convolution of stride 1 along the columns, of KW/stride taps of stride·C channels.
//!
//! Rounding while operands are packed rounds a number as often as there are taps that read it, four times by a 4 × 4 kernel of
//! stride 2.
//!
//! Cost: besides the products a pass over both operands, which writes half of what it reads, or of `x` for the weight's
//! gradient as much. What is odd, or in groups, is rounded while it is packed.

use super::conv2d::Extents;
use super::{Run, SERIAL_ELEMENTS, conv2d_gemm, spread};
use crate::gemm::{Kernel, Products, kernel_of_pairs, pair_lane, pair_two_rows, with_scratch};
use crate::memory;
use belamy_tensor::DType;

/// How many pixels of a row are taken together so that their channels are pairs, if they can be.
fn pixels_together(e: &Extents) -> Option<usize> {
    let [stride, dilation] = [e.stride[1], e.dilation[1]];
    let divides = dilation == 1 && e.kw.is_multiple_of(stride);
    match e.c.is_multiple_of(2) {
        true => Some(1),
        false => (divides && stride.is_multiple_of(2)).then_some(stride),
    }
}

/// The micro-kernel of pairs, if this is the way to compute a convolution.
fn kernel(run: &Run<'_>, e: &Extents) -> Option<&'static Kernel<f32>> {
    let is_rounded = run.fast && run.products == Products::Bf16 && run.dtype() == DType::F32;
    kernel_of_pairs().filter(|_| is_rounded && e.groups == 1 && conv2d_gemm::pays(e))
}

/// The micro-kernel for [`conv2d`], where what it sums over is pairs.
pub(super) fn for_conv2d(run: &Run<'_>, e: &Extents) -> Option<&'static Kernel<f32>> {
    kernel(run, e).filter(|_| pixels_together(e).is_some())
}

/// The same for [`conv2d_grad_input`],
pub(super) fn for_grad_input(run: &Run<'_>, e: &Extents) -> Option<&'static Kernel<f32>> {
    kernel(run, e).filter(|_| e.o.is_multiple_of(2))
}

/// and for [`conv2d_grad_weight`].
pub(super) fn for_grad_weight(run: &Run<'_>, e: &Extents) -> Option<&'static Kernel<f32>> {
    kernel(run, e).filter(|_| e.ow.is_multiple_of(2))
}

/// `y = x ⋆ w`.
pub(super) fn conv2d(kernel: &Kernel<f32>, mut run: Run<'_>, e: &Extents) {
    forward(kernel, e, run.input(0), run.input(1), run.output());
}

/// The gradient of the input.
pub(super) fn conv2d_grad_input(kernel: &Kernel<f32>, mut run: Run<'_>, e: &Extents) {
    grad_input(kernel, e, run.input(0), run.input(1), run.output());
}

/// The gradient of the weight.
pub(super) fn conv2d_grad_weight(kernel: &Kernel<f32>, mut run: Run<'_>, e: &Extents) {
    grad_weight(kernel, e, run.input(0), run.input(1), run.output());
}

fn forward(kernel: &Kernel<f32>, e: &Extents, x: &[f32], w: &[f32], y: &mut [f32]) {
    let together = pixels_together(e).expect("asked for before");
    let halved = match together {
        1 => Extents { c: e.c / 2, c_group: e.c / 2, ..*e },
        _ => Extents {
            w: e.ow + e.kw / together - 1,
            c: together * e.c / 2,
            c_group: together * e.c / 2,
            kw: e.kw / together,
            stride: [e.stride[0], 1],
            padding: [e.padding[0], 0],
            ..*e
        },
    };
    with_scratch(e.n * e.h * halved.w * halved.c, |x_pairs: &mut [f32]| {
        match together {
            1 => pair_neighbours(x, x_pairs),
            _ => pair_padded(e, x, halved.w * halved.c, x_pairs),
        }
        with_scratch(w.len() / 2, |w_pairs: &mut [f32]| {
            pair_neighbours(w, w_pairs);
            conv2d_gemm::forward(kernel, &halved, x_pairs, w_pairs, y);
        });
    });
}

fn grad_input(kernel: &Kernel<f32>, e: &Extents, g: &[f32], w: &[f32], x: &mut [f32]) {
    with_scratch(g.len() / 2, |g_pairs: &mut [f32]| {
        pair_neighbours(g, g_pairs);
        with_scratch(w.len() / 2, |w_pairs: &mut [f32]| {
            pair_rows(w, e.kh * e.kw * e.c, w_pairs);
            let halved = Extents { o: e.o / 2, o_group: e.o / 2, ..*e };
            conv2d_gemm::grad_input(kernel, &halved, g_pairs, w_pairs, x);
        });
    });
}

fn grad_weight(kernel: &Kernel<f32>, e: &Extents, x: &[f32], g: &[f32], w: &mut [f32]) {
    // Q: the pixels under the first positions of all pairs.
    let width = (e.ow - 2) * e.stride[1] + (e.kw - 1) * e.dilation[1] + 1;
    with_scratch(g.len() / 2, |g_pairs: &mut [f32]| {
        pair_rows(g, e.o, g_pairs);
        with_scratch(e.n * e.h * width * e.c, |x_pairs: &mut [f32]| {
            pair_pixels(e, x, width, x_pairs);
            let halved = Extents {
                w: width,
                ow: e.ow / 2,
                stride: [e.stride[0], 2 * e.stride[1]],
                padding: [e.padding[0], 0],
                ..*e
            };
            conv2d_gemm::grad_weight(kernel, &halved, x_pairs, g_pairs, w);
        });
    });
}

/// `to[i]` = the pair (from[2i], from[2i + 1]).
fn pair_neighbours(from: &[f32], to: &mut [f32]) {
    spread(to, SERIAL_ELEMENTS, &|index, to| {
        let first = 2 * index * SERIAL_ELEMENTS;
        pair_lane(&from[first..first + 2 * to.len()], to);
    });
}

/// Each row of `to`, `length` long, = the pairs of numbers of the row in `x` with its padding before, and zeros after it.
fn pair_padded(e: &Extents, x: &[f32], length: usize, to: &mut [f32]) {
    let before = e.padding[1] * e.c;
    let row = e.w * e.c;
    let rows = SERIAL_ELEMENTS.div_ceil(length);
    spread(to, rows * length, &|index, to| {
        let mut padded = vec![0.0; 2 * length];
        let used = row.min((2 * length).saturating_sub(before));
        let from = x[index * rows * row..].chunks_exact(row);
        for (from, to) in from.zip(to.chunks_exact_mut(length)) {
            if used > 0 {
                padded[before..before + used].copy_from_slice(&from[..used]);
            }
            pair_lane(&padded, to);
        }
    });
}

/// Row i of `to` = the pairs of rows 2i and 2i + 1 of `from`, rows being `length` long.
fn pair_rows(from: &[f32], length: usize, to: &mut [f32]) {
    let together = SERIAL_ELEMENTS.div_ceil(length);
    spread(to, together * length, &|index, to| {
        let from = from[2 * index * together * length..].chunks_exact(2 * length);
        for (from, to) in from.zip(to.chunks_exact_mut(length)) {
            let (earlier, later) = from.split_at(length);
            pair_two_rows(earlier, later, to);
        }
    });
}

/// Pixel q of each row of `to`, which has `width` of them, = the pairs of pixels q − padding and q − padding + stride of the
/// row in `x`, zero outside the image.
fn pair_pixels(e: &Extents, x: &[f32], width: usize, to: &mut [f32]) {
    let [stride, padding] = [e.stride[1], e.padding[1]];
    let zeros = memory::zeros::<f32>(e.c);
    // Where both pixels of a pair are inside, whole rows of pairs are made at once.
    let first = padding.min(width);
    let end = (e.w + padding).saturating_sub(stride).clamp(first, width);
    let rows = SERIAL_ELEMENTS.div_ceil(width * e.c);
    spread(to, rows * width * e.c, &|index, to| {
        let from = x[index * rows * e.w * e.c..].chunks_exact(e.w * e.c);
        for (from, to) in from.zip(to.chunks_exact_mut(width * e.c)) {
            let pixel = |column: usize| -> &[f32] {
                let column = column.checked_sub(padding).filter(|&column| column < e.w);
                column.map_or(&zeros, |column| &from[column * e.c..][..e.c])
            };
            for q in (0..first).chain(end..width) {
                pair_two_rows(pixel(q), pixel(q + stride), &mut to[q * e.c..][..e.c]);
            }
            let inside = &mut to[first * e.c..end * e.c];
            if !inside.is_empty() {
                let earlier = &from[(first - padding) * e.c..];
                let later = &earlier[stride * e.c..];
                pair_two_rows(&earlier[..inside.len()], &later[..inside.len()], inside);
            }
        }
    });
}

#[cfg(test)]
mod tests;

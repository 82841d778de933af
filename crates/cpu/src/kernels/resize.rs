//! `resize_nearest`, `resize_nearest_fold`, `resize_bilinear`, `resize_bilinear_fold`: see
//! `belamy_tensor::ops::resize` for the mathematics.
//!
//! One invocation owns the channels of one output pixel. A fold's pixel sums over the contiguous range of outputs that
//! look at it, in row-major order. Cost: one pass over each operand, with at most four terms an element (bilinear).

use super::rows::{fill_rows, pixel, weighted_sum};
use super::{Real, Run, for_element, for_real};
use belamy_tensor::Element;
use belamy_tensor::ops::resize::ResizeParams;
use std::ops::Range;

/// Height or width: the image's extent and the resized one's.
#[derive(Clone, Copy)]
struct Side {
    from: usize,
    to: usize,
    align_corners: bool,
}

impl Side {
    /// The pixel that output `out` copies.
    fn nearest(self, out: usize) -> usize {
        out * self.from / self.to
    }

    /// The outputs that copy pixel `at`.
    fn copies(self, at: usize) -> Range<usize> {
        (at * self.to).div_ceil(self.from)..((at + 1) * self.to).div_ceil(self.from)
    }

    /// The source of output `out`: its whole part and the fraction beyond.
    fn source(self, out: usize) -> (usize, f64) {
        let Side { from, to, align_corners } = self;
        let (numerator, denominator) = match (align_corners, to) {
            (true, 1) => (0, 1),
            (true, _) => (out * (from - 1), to - 1),
            (false, _) => (((2 * out + 1) * from).saturating_sub(to), 2 * to),
        };
        (numerator / denominator, (numerator % denominator) as f64 / denominator as f64)
    }

    /// The two pixels around the source of output `out`, and their weights. At the far edge they are the same.
    fn pair(self, out: usize) -> [(usize, f64); 2] {
        let (at, beyond) = self.source(out);
        [(at, 1.0 - beyond), ((at + 1).min(self.from - 1), beyond)]
    }

    /// What pixel `at` weighs in output `out`.
    fn weight(self, out: usize, at: usize) -> f64 {
        self.pair(out).iter().filter(|(pixel, _)| *pixel == at).map(|(_, weight)| weight).sum()
    }

    /// The first output whose source is at pixel `at` or beyond.
    fn first(self, at: usize) -> usize {
        let Side { from, to, align_corners } = self;
        let out = match (align_corners, at) {
            (_, 0) => 0,
            // All sources are the first pixel.
            (true, _) if from == 1 || to == 1 => to,
            (true, _) => (at * (to - 1)).div_ceil(from - 1),
            // (2·out + 1)·from ≥ (2·at + 1)·to
            (false, _) => ((2 * at + 1) * to).div_ceil(from) / 2,
        };
        out.min(to)
    }

    /// The outputs whose sources lie within one pixel of `at`.
    fn around(self, at: usize) -> Range<usize> {
        let end = if at + 1 == self.from { self.to } else { self.first(at + 1) };
        self.first(at.saturating_sub(1))..end
    }
}

#[derive(Clone, Copy)]
struct Extents {
    height: Side,
    width: Side,
    c: usize,
}

impl Extents {
    fn decode(run: &Run<'_>) -> Extents {
        let p = ResizeParams::decode(&run.params);
        let align_corners = p.align_corners == 1;
        let side =
            |from: u32, to: u32| Side { from: from as usize, to: to as usize, align_corners };
        Extents {
            height: side(p.in_height, p.out_height),
            width: side(p.in_width, p.out_width),
            c: p.channels as usize,
        }
    }

    /// Where the channels of an image's pixel begin.
    fn image(&self, n: usize, ih: usize, iw: usize) -> usize {
        ((n * self.height.from + ih) * self.width.from + iw) * self.c
    }

    /// Where the channels of a resized image's pixel begin.
    fn resized(&self, n: usize, oh: usize, ow: usize) -> usize {
        ((n * self.height.to + oh) * self.width.to + ow) * self.c
    }
}

pub(super) fn resize_nearest(run: Run<'_>) {
    for_element!(run, resize_nearest_of);
}

fn resize_nearest_of<E: Element>(mut run: Run<'_>) {
    let e = Extents::decode(&run);
    let x = run.input::<E>(0); // [N, H, W, C]
    fill_rows(run.output::<E>(), e.c, 1, |index, y| {
        let (n, oh, ow) = pixel(index, e.height.to, e.width.to);
        let from = e.image(n, e.height.nearest(oh), e.width.nearest(ow));
        y.copy_from_slice(&x[from..from + e.c]);
    });
}

pub(super) fn resize_nearest_fold(run: Run<'_>) {
    for_real!(run, resize_nearest_fold_of);
}

fn resize_nearest_fold_of<E: Real>(mut run: Run<'_>) {
    let e = Extents::decode(&run);
    let g = run.input::<E>(0); // [N, OH, OW, C]
    let copies = (e.height.to / e.height.from).max(1) * (e.width.to / e.width.from).max(1);
    fill_rows(run.output::<E>(), e.c, copies, |index, x| {
        let (n, ih, iw) = pixel(index, e.height.from, e.width.from);
        weighted_sum(x, g, || {
            e.height
                .copies(ih)
                .flat_map(move |oh| e.width.copies(iw).map(move |ow| (e.resized(n, oh, ow), 1.0)))
        });
    });
}

pub(super) fn resize_bilinear(run: Run<'_>) {
    for_real!(run, resize_bilinear_of);
}

fn resize_bilinear_of<E: Real>(mut run: Run<'_>) {
    let e = Extents::decode(&run);
    let x = run.input::<E>(0); // [N, H, W, C]
    fill_rows(run.output::<E>(), e.c, 4, |index, y| {
        let (n, oh, ow) = pixel(index, e.height.to, e.width.to);
        let (rows, columns) = (e.height.pair(oh), e.width.pair(ow));
        weighted_sum(y, x, || {
            rows.into_iter().flat_map(move |(ih, weight_h)| {
                columns
                    .into_iter()
                    .map(move |(iw, weight_w)| (e.image(n, ih, iw), weight_h * weight_w))
            })
        });
    });
}

pub(super) fn resize_bilinear_fold(run: Run<'_>) {
    for_real!(run, resize_bilinear_fold_of);
}

fn resize_bilinear_fold_of<E: Real>(mut run: Run<'_>) {
    let e = Extents::decode(&run);
    let g = run.input::<E>(0); // [N, OH, OW, C]
    let terms = (2 * e.height.to / e.height.from).max(1) * (2 * e.width.to / e.width.from).max(1);
    fill_rows(run.output::<E>(), e.c, terms, |index, x| {
        let (n, ih, iw) = pixel(index, e.height.from, e.width.from);
        weighted_sum(x, g, || {
            e.height.around(ih).flat_map(move |oh| {
                let weight_h = e.height.weight(oh, ih);
                e.width
                    .around(iw)
                    .map(move |ow| (e.resized(n, oh, ow), weight_h * e.width.weight(ow, iw)))
            })
        });
    });
}

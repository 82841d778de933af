//! `avg_pool2d`, `avg_pool2d_spread`, `max_pool2d`, `max_pool2d_pick`, `max_pool2d_place`: see
//! `belamy_tensor::ops::pool2d` for the mathematics.
//!
//! One invocation owns the channels of one output pixel and gathers them: a pooled pixel over the taps of its window,
//! an image's pixel over the windows above it, both in row-major order. Cost: N·OH·OW·C·KH·KW operations.

use super::rows::{fill_rows, pixel, rows_at_once, sum_blocks, weighted_sum};
use super::{Real, Run, fill, for_real};
use belamy_tensor::ops::pool2d::Pool2dParams;
use rayon::prelude::*;

/// One direction of the window's walk: the sizes of header and parameters along height or width.
#[derive(Clone, Copy)]
struct Side {
    image: usize,
    outputs: usize,
    taps: usize,
    stride: usize,
    padding: usize,
    dilation: usize,
}

impl Side {
    /// The image's coordinates under output `out`.
    fn under(self, out: usize) -> impl Iterator<Item = usize> + Clone {
        (0..self.taps)
            .filter_map(move |tap| {
                (out * self.stride + tap * self.dilation).checked_sub(self.padding)
            })
            .filter(move |&at| at < self.image)
    }

    /// The outputs with a tap on the image's coordinate `at`, in order.
    fn over(self, at: usize) -> impl Iterator<Item = usize> + Clone {
        (0..self.taps).rev().filter_map(move |tap| {
            let reached = (at + self.padding).checked_sub(tap * self.dilation)?;
            let out = reached / self.stride;
            (reached % self.stride == 0 && out < self.outputs).then_some(out)
        })
    }

    /// Whether output `out` has a tap on the image's coordinate `at`.
    fn meets(self, out: usize, at: usize) -> bool {
        (at + self.padding).checked_sub(out * self.stride).is_some_and(|reached| {
            reached % self.dilation == 0 && reached / self.dilation < self.taps
        })
    }
}

#[derive(Clone, Copy)]
struct Extents {
    height: Side,
    width: Side,
    c: usize,
    /// KH·KW.
    taps: usize,
    count_include_pad: bool,
}

impl Extents {
    fn decode(run: &Run<'_>) -> Extents {
        let p = Pool2dParams::decode(&run.params);
        let height = Side {
            image: p.in_height as usize,
            outputs: p.out_height as usize,
            taps: p.kernel_height as usize,
            stride: p.stride_height as usize,
            padding: p.padding_top as usize,
            dilation: p.dilation_height as usize,
        };
        let width = Side {
            image: p.in_width as usize,
            outputs: p.out_width as usize,
            taps: p.kernel_width as usize,
            stride: p.stride_width as usize,
            padding: p.padding_left as usize,
            dilation: p.dilation_width as usize,
        };
        Extents {
            height,
            width,
            c: p.channels as usize,
            taps: height.taps * width.taps,
            count_include_pad: p.count_include_pad == 1,
        }
    }

    /// Where the channels of an image's pixel begin.
    fn image(&self, n: usize, ih: usize, iw: usize) -> usize {
        ((n * self.height.image + ih) * self.width.image + iw) * self.c
    }

    /// Where the channels of a pooled pixel begin.
    fn pooled(&self, n: usize, oh: usize, ow: usize) -> usize {
        ((n * self.height.outputs + oh) * self.width.outputs + ow) * self.c
    }

    /// What each tap of a window weighs in its mean.
    fn weight(&self, oh: usize, ow: usize) -> f64 {
        let count = if self.count_include_pad {
            self.taps
        } else {
            self.height.under(oh).count() * self.width.under(ow).count()
        };
        1.0 / count as f64
    }
}

pub(super) fn avg_pool2d(run: Run<'_>) {
    for_real!(run, avg_pool2d_of);
}

fn avg_pool2d_of<E: Real>(mut run: Run<'_>) {
    let e = Extents::decode(&run);
    let x = run.input::<E>(0); // [N, H, W, C]
    fill_rows(run.output::<E>(), e.c, e.taps, |index, y| {
        let (n, oh, ow) = pixel(index, e.height.outputs, e.width.outputs);
        let weight = e.weight(oh, ow);
        weighted_sum(y, x, || {
            e.height
                .under(oh)
                .flat_map(move |ih| e.width.under(ow).map(move |iw| (e.image(n, ih, iw), weight)))
        });
    });
}

pub(super) fn avg_pool2d_spread(run: Run<'_>) {
    for_real!(run, avg_pool2d_spread_of);
}

fn avg_pool2d_spread_of<E: Real>(mut run: Run<'_>) {
    let e = Extents::decode(&run);
    let g = run.input::<E>(0); // [N, OH, OW, C]
    fill_rows(run.output::<E>(), e.c, e.taps, |index, x| {
        let (n, ih, iw) = pixel(index, e.height.image, e.width.image);
        weighted_sum(x, g, || {
            e.height.over(ih).flat_map(move |oh| {
                e.width.over(iw).map(move |ow| (e.pooled(n, oh, ow), e.weight(oh, ow)))
            })
        });
    });
}

pub(super) fn max_pool2d(run: Run<'_>) {
    for_real!(run, max_pool2d_of);
}

fn max_pool2d_of<E: Real>(mut run: Run<'_>) {
    let e = Extents::decode(&run);
    let x = run.input::<E>(0); // [N, H, W, C]
    let [values, indices] = &mut run.outputs[..] else {
        unreachable!("max_pool2d has two outputs")
    };
    let chunk = rows_at_once(e.c, e.taps) * e.c;
    let values = values.values_mut::<E>().par_chunks_mut(chunk);
    let indices = indices.values_mut::<u32>().par_chunks_mut(chunk);
    values.zip(indices).enumerate().for_each(|(part, (values, indices))| {
        let rows = values.chunks_exact_mut(e.c).zip(indices.chunks_exact_mut(e.c));
        for (offset, (values, indices)) in rows.enumerate() {
            let (n, oh, ow) = pixel(part * chunk / e.c + offset, e.height.outputs, e.width.outputs);
            let mut first = true;
            for ih in e.height.under(oh) {
                for iw in e.width.under(ow) {
                    let here = (ih * e.width.image + iw) as u32;
                    let x = &x[e.image(n, ih, iw)..][..e.c];
                    for ((best, index), &x) in values.iter_mut().zip(&mut *indices).zip(x) {
                        // The first of equals wins; the first NaN wins over everything.
                        let better = x > *best || x.to_f64().is_nan();
                        if first || better && !best.to_f64().is_nan() {
                            (*best, *index) = (x, here);
                        }
                    }
                    first = false;
                }
            }
        }
    });
}

pub(super) fn max_pool2d_pick(run: Run<'_>) {
    for_real!(run, max_pool2d_pick_of);
}

fn max_pool2d_pick_of<E: Real>(mut run: Run<'_>) {
    let e = Extents::decode(&run);
    let (x, index) = (run.input::<E>(0), run.input::<u32>(1)); // [N, H, W, C]  [N, OH, OW, C]
    fill(run.output::<E>(), |at| {
        let (n, oh, ow) = pixel(at / e.c, e.height.outputs, e.width.outputs);
        let (ih, iw) = (index[at] as usize / e.width.image, index[at] as usize % e.width.image);
        if ih < e.height.image && e.height.meets(oh, ih) && e.width.meets(ow, iw) {
            x[e.image(n, ih, iw) + at % e.c]
        } else {
            E::from_f64(0.0)
        }
    });
}

pub(super) fn max_pool2d_place(run: Run<'_>) {
    for_real!(run, max_pool2d_place_of);
}

fn max_pool2d_place_of<E: Real>(mut run: Run<'_>) {
    let e = Extents::decode(&run);
    let (g, index) = (run.input::<E>(0), run.input::<u32>(1)); // both [N, OH, OW, C]
    fill_rows(run.output::<E>(), e.c, e.taps, |at, x| {
        let (n, ih, iw) = pixel(at, e.height.image, e.width.image);
        let here = (ih * e.width.image + iw) as u32;
        sum_blocks(x, |offset, sums| {
            for oh in e.height.over(ih) {
                for ow in e.width.over(iw) {
                    let from = e.pooled(n, oh, ow) + offset;
                    let terms = sums.iter_mut().zip(&g[from..]).zip(&index[from..]);
                    for ((sum, g), &index) in terms {
                        *sum += if index == here { g.to_f64() } else { 0.0 };
                    }
                }
            }
        });
    });
}

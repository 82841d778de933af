//! `conv2d`, `conv2d_grad_input`, `conv2d_grad_weight`: see `belamy_tensor::ops::conv2d` for the mathematics.
//!
//! The oracle: one invocation owns one element of the open slot and gathers its terms in f64, in the order
//! (n, oh, ow, kh, kw, channel). Cost of each kernel: 2·N·OH·OW·O·KH·KW·C/groups operations. The fast paths, and the
//! rules by which they are taken, are in `winograd`, `conv2d_pairs` and, for all other shapes, `conv2d_gemm`, which leaves images
//! of few channels to `conv2d_few_channels` and `conv2d_columns`.

use super::{Real, Run, conv2d_gemm, conv2d_pairs, fill_heavy, for_real, winograd};
use crate::gemm::GemmElement;
use belamy_tensor::DType;
use belamy_tensor::ops::conv2d::Conv2dParams;

/// The parameters as indices, with the channels of one group.
#[derive(Clone, Copy)]
pub(crate) struct Extents {
    pub(crate) n: usize,
    pub(crate) h: usize,
    pub(crate) w: usize,
    pub(crate) c: usize,
    pub(crate) oh: usize,
    pub(crate) ow: usize,
    pub(crate) o: usize,
    pub(crate) kh: usize,
    pub(crate) kw: usize,
    pub(crate) stride: [usize; 2],
    pub(crate) padding: [usize; 2],
    pub(crate) dilation: [usize; 2],
    pub(crate) groups: usize,
    /// C / groups.
    pub(crate) c_group: usize,
    /// O / groups.
    pub(crate) o_group: usize,
}

impl Extents {
    pub(crate) fn decode(run: &Run<'_>) -> Extents {
        let p = Conv2dParams::decode(&run.params);
        let size = |word: u32| word as usize;
        Extents {
            n: size(p.batch),
            h: size(p.in_height),
            w: size(p.in_width),
            c: size(p.in_channels),
            oh: size(p.out_height),
            ow: size(p.out_width),
            o: size(p.out_channels),
            kh: size(p.kernel_height),
            kw: size(p.kernel_width),
            stride: [size(p.stride_height), size(p.stride_width)],
            padding: [size(p.padding_top), size(p.padding_left)],
            dilation: [size(p.dilation_height), size(p.dilation_width)],
            groups: size(p.groups),
            c_group: size(p.in_channels / p.groups),
            o_group: size(p.out_channels / p.groups),
        }
    }

    /// The image row under tap `kh` of output row `oh`, if it is inside the image.
    pub(crate) fn ih(&self, oh: usize, kh: usize) -> Option<usize> {
        (oh * self.stride[0] + kh * self.dilation[0])
            .checked_sub(self.padding[0])
            .filter(|&ih| ih < self.h)
    }

    /// The image column under tap `kw` of output column `ow`, if it is inside the image.
    pub(crate) fn iw(&self, ow: usize, kw: usize) -> Option<usize> {
        (ow * self.stride[1] + kw * self.dilation[1])
            .checked_sub(self.padding[1])
            .filter(|&iw| iw < self.w)
    }

    /// The output row whose tap `kh` lies on image row `ih`, if there is one.
    pub(crate) fn oh(&self, ih: usize, kh: usize) -> Option<usize> {
        let reached = (ih + self.padding[0]).checked_sub(kh * self.dilation[0])?;
        let oh = reached / self.stride[0];
        (reached % self.stride[0] == 0 && oh < self.oh).then_some(oh)
    }

    /// The output column whose tap `kw` lies on image column `iw`, if there is one.
    pub(crate) fn ow(&self, iw: usize, kw: usize) -> Option<usize> {
        let reached = (iw + self.padding[1]).checked_sub(kw * self.dilation[1])?;
        let ow = reached / self.stride[1];
        (reached % self.stride[1] == 0 && ow < self.ow).then_some(ow)
    }
}

pub(super) fn conv2d(run: Run<'_>) {
    for_real!(run, conv2d_of);
}

fn conv2d_of<E: Real + GemmElement>(run: Run<'_>) {
    let e = Extents::decode(&run);
    if run.winograd && run.dtype() == DType::F32 && winograd::pays(&e) {
        winograd::conv2d(run, &e);
    } else if let Some(kernel) = conv2d_pairs::for_conv2d(&run, &e) {
        conv2d_pairs::conv2d(kernel, run, &e);
    } else if run.fast && conv2d_gemm::pays(&e) {
        conv2d_gemm::conv2d::<E>(run, &e);
    } else {
        conv2d_direct::<E>(run, e);
    }
}

fn conv2d_direct<E: Real>(mut run: Run<'_>, e: Extents) {
    let (x, w) = (run.input::<E>(0), run.input::<E>(1)); // x: [N, H, W, C]  w: [O, KH, KW, C/groups]
    fill_heavy(run.output::<E>(), e.kh * e.kw * e.c_group, |index| {
        let (o, ow) = (index % e.o, index / e.o % e.ow);
        let (oh, n) = (index / (e.o * e.ow) % e.oh, index / (e.o * e.ow * e.oh));
        let first = o / e.o_group * e.c_group;
        let mut sum = 0.0;
        for kh in 0..e.kh {
            let Some(ih) = e.ih(oh, kh) else { continue };
            for kw in 0..e.kw {
                let Some(iw) = e.iw(ow, kw) else { continue };
                let pixel = ((n * e.h + ih) * e.w + iw) * e.c + first;
                let tap = ((o * e.kh + kh) * e.kw + kw) * e.c_group;
                for c in 0..e.c_group {
                    sum += x[pixel + c].to_f64() * w[tap + c].to_f64();
                }
            }
        }
        E::from_f64(sum)
    });
}

pub(super) fn conv2d_grad_input(run: Run<'_>) {
    for_real!(run, conv2d_grad_input_of);
}

fn conv2d_grad_input_of<E: Real + GemmElement>(run: Run<'_>) {
    let e = Extents::decode(&run);
    if run.winograd && run.dtype() == DType::F32 && winograd::pays(&e) {
        winograd::conv2d_grad_input(run, &e);
    } else if let Some(kernel) = conv2d_pairs::for_grad_input(&run, &e) {
        conv2d_pairs::conv2d_grad_input(kernel, run, &e);
    } else if run.fast && conv2d_gemm::pays(&e) {
        conv2d_gemm::conv2d_grad_input::<E>(run, &e);
    } else {
        conv2d_grad_input_direct::<E>(run, e);
    }
}

fn conv2d_grad_input_direct<E: Real>(mut run: Run<'_>, e: Extents) {
    let (g, w) = (run.input::<E>(0), run.input::<E>(1)); // g: [N, OH, OW, O]  w: [O, KH, KW, C/groups]
    fill_heavy(run.output::<E>(), e.kh * e.kw * e.o_group, |index| {
        let (ic, iw) = (index % e.c, index / e.c % e.w);
        let (ih, n) = (index / (e.c * e.w) % e.h, index / (e.c * e.w * e.h));
        let (first, c) = (ic / e.c_group * e.o_group, ic % e.c_group);
        let mut sum = 0.0;
        for kh in 0..e.kh {
            let Some(oh) = e.oh(ih, kh) else { continue };
            for kw in 0..e.kw {
                let Some(ow) = e.ow(iw, kw) else { continue };
                let pixel = ((n * e.oh + oh) * e.ow + ow) * e.o;
                for o in first..first + e.o_group {
                    let tap = ((o * e.kh + kh) * e.kw + kw) * e.c_group + c;
                    sum += g[pixel + o].to_f64() * w[tap].to_f64();
                }
            }
        }
        E::from_f64(sum)
    });
}

pub(super) fn conv2d_grad_weight(run: Run<'_>) {
    for_real!(run, conv2d_grad_weight_of);
}

fn conv2d_grad_weight_of<E: Real + GemmElement>(run: Run<'_>) {
    let e = Extents::decode(&run);
    if run.winograd && run.dtype() == DType::F32 && winograd::pays(&e) {
        winograd::conv2d_grad_weight(run, &e);
    } else if let Some(kernel) = conv2d_pairs::for_grad_weight(&run, &e) {
        conv2d_pairs::conv2d_grad_weight(kernel, run, &e);
    } else if run.fast && conv2d_gemm::pays(&e) {
        conv2d_gemm::conv2d_grad_weight::<E>(run, &e);
    } else {
        conv2d_grad_weight_direct::<E>(run, e);
    }
}

fn conv2d_grad_weight_direct<E: Real>(mut run: Run<'_>, e: Extents) {
    let (x, g) = (run.input::<E>(0), run.input::<E>(1)); // x: [N, H, W, C]  g: [N, OH, OW, O]
    fill_heavy(run.output::<E>(), e.n * e.oh * e.ow, |index| {
        let (c, kw) = (index % e.c_group, index / e.c_group % e.kw);
        let (kh, o) = (index / (e.c_group * e.kw) % e.kh, index / (e.c_group * e.kw * e.kh));
        let ic = o / e.o_group * e.c_group + c;
        let mut sum = 0.0;
        for n in 0..e.n {
            for oh in 0..e.oh {
                let Some(ih) = e.ih(oh, kh) else { continue };
                for ow in 0..e.ow {
                    let Some(iw) = e.iw(ow, kw) else { continue };
                    let image = x[((n * e.h + ih) * e.w + iw) * e.c + ic];
                    let output = g[((n * e.oh + oh) * e.ow + ow) * e.o + o];
                    sum += image.to_f64() * output.to_f64();
                }
            }
        }
        E::from_f64(sum)
    });
}

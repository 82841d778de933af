//! Each pass by pairs, with every micro-kernel for them, against the oracle: numbers of eight bits are bf16 as they are, and
//! their sums so short that no order of summation rounds them.

use super::*;
use crate::gemm::tests::{eight_bits, kernels_of_pairs, nudged};
use belamy_tensor::ops::conv2d as ops;
use belamy_tensor::{Device, Shape, Tensor};

/// A convolution: batch, image, channels in and out, kernel, stride, dilation, padding before and after.
struct Case {
    batch: usize,
    image: [usize; 2],
    channels: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    padding: [usize; 4],
}

impl Case {
    fn window(&self) -> ops::Window {
        let Case { stride, dilation, padding, .. } = self;
        ops::Window {
            stride: (stride[0], stride[1]),
            padding: ((padding[0], padding[1]), (padding[2], padding[3])),
            dilation: (dilation[0], dilation[1]),
            groups: 1,
        }
    }

    fn extents(&self) -> Extents {
        let [oh, ow] = self.window().output(&self.image, &self.kernel).unwrap();
        let ([h, w], [c, o], [kh, kw]) = (self.image, self.channels, self.kernel);
        let padding = [self.padding[0], self.padding[2]];
        let Case { batch: n, stride, dilation, .. } = *self;
        let groups = 1;
        Extents {
            n,
            h,
            w,
            c,
            oh,
            ow,
            o,
            kh,
            kw,
            stride,
            padding,
            dilation,
            groups,
            c_group: c,
            o_group: o,
        }
    }
}

fn check(case: &Case) {
    let e = case.extents();
    let x = eight_bits(e.n * e.h * e.w * e.c, 1);
    let w = eight_bits(e.o * e.kh * e.kw * e.c, 2);
    let g = eight_bits(e.n * e.oh * e.ow * e.o, 3);
    let oracle = crate::oracle();
    let tensor = |values: &[f32], dims: [usize; 4]| of(values, dims, &oracle);
    let image = tensor(&x, [e.n, e.h, e.w, e.c]);
    let weight = tensor(&w, [e.o, e.kh, e.kw, e.c]);
    let cotangent = tensor(&g, [e.n, e.oh, e.ow, e.o]);
    let window = case.window();
    let y = ops::conv2d(&image, &weight, window).unwrap();
    let of_x = ops::conv2d_grad_input(&cotangent, &weight, case.image, window).unwrap();
    let of_w = ops::conv2d_grad_weight(&image, &cotangent, case.kernel, window).unwrap();
    let (x, w, g) = (nudged(&x), nudged(&w), nudged(&g));
    for kernel in &kernels_of_pairs() {
        let about = format!("{} {:?} {:?}", kernel.mr, case.image, case.channels);
        if pixels_together(&e).is_some() {
            let mut got = vec![f32::NAN; e.n * e.oh * e.ow * e.o];
            forward(kernel, &e, &x, &w, &mut got);
            assert_eq!(got, y.to_vec::<f32>().unwrap(), "conv2d {about}");
        }
        if e.o.is_multiple_of(2) {
            let mut got = vec![f32::NAN; x.len()];
            grad_input(kernel, &e, &g, &w, &mut got);
            assert_eq!(got, of_x.to_vec::<f32>().unwrap(), "conv2d_grad_input {about}");
        }
        if e.ow.is_multiple_of(2) {
            let mut got = vec![f32::NAN; w.len()];
            grad_weight(kernel, &e, &x, &g, &mut got);
            assert_eq!(got, of_w.to_vec::<f32>().unwrap(), "conv2d_grad_weight {about}");
        }
    }
}

fn of(values: &[f32], dims: [usize; 4], device: &Device) -> Tensor {
    Tensor::from_slice(values, Shape::new(&dims).unwrap(), device).unwrap()
}

#[test]
fn every_pass_by_pairs_is_the_oracles() {
    let dcgan = Case {
        batch: 3,
        image: [8, 8],
        channels: [32, 64],
        kernel: [4, 4],
        stride: [2, 2],
        dilation: [1, 1],
        padding: [1, 1, 1, 1],
    };
    for channels in [[2, 1], [1, 2], [3, 64], [10, 6], [32, 64], [24, 48], [64, 20]] {
        for image in [[8, 8], [4, 12], [5, 6], [9, 7]] {
            check(&Case { channels, image, ..dcgan });
            check(&Case { channels, image, stride: [1, 1], kernel: [3, 3], ..dcgan });
            check(&Case { channels, image, stride: [1, 3], kernel: [3, 2], ..dcgan });
            check(&Case { channels, image, padding: [0, 3, 2, 1], ..dcgan });
            check(&Case { channels, image, padding: [2, 0, 5, 0], kernel: [2, 3], ..dcgan });
            check(&Case { channels, image, dilation: [2, 1], kernel: [2, 3], ..dcgan });
            check(&Case { channels, image, padding: [1, 1, 3, 2], ..dcgan });
            check(&Case { channels, image, stride: [1, 4], padding: [1, 2, 0, 1], ..dcgan });
            check(&Case { channels, image, dilation: [1, 2], kernel: [1, 2], ..dcgan });
        }
    }
    // A pixel that becomes an image; neighbours that lie far apart; more than one block of k.
    check(&Case { image: [2, 2], kernel: [2, 1], padding: [0; 4], stride: [1, 1], ..dcgan });
    check(&Case { channels: [40, 12], image: [3, 6], ..dcgan });
    check(&Case { channels: [12, 300], image: [8, 4], batch: 1, kernel: [1, 1], ..dcgan });
    check(&Case { channels: [600, 12], image: [8, 4], batch: 1, kernel: [1, 1], ..dcgan });
    check(&Case { channels: [32, 32], image: [32, 32], batch: 3, ..dcgan });
}

//! Faults in pooling, resizing and borders.

use super::{Fault, Faults, drop_where, first_sample_only, inputs, outputs, reads};
use belamy_tensor::kernel::KernelId;
use belamy_tensor::ops::pad::ReflectPadParams;
use belamy_tensor::ops::pool2d::Pool2dParams;
use belamy_tensor::ops::resize::ResizeParams;

/// The family's faults: in words, the kernel, the fault.
pub(super) fn faults() -> Faults {
    use KernelId::{
        avg_pool2d, avg_pool2d_spread, crop, max_pool2d, max_pool2d_pick, max_pool2d_place, pad,
        reflect_pad, reflect_pad_fold, resize_bilinear, resize_bilinear_fold, resize_nearest,
        resize_nearest_fold,
    };
    let other_count = || reads!(Pool2dParams, |p| p.count_include_pad ^= 1);
    let pool_padding = || reads!(Pool2dParams, |p| p.padding_top += p.padding_top);
    let other_corners = || reads!(ResizeParams, |p| p.align_corners ^= 1);
    vec![
        ("padding counted where it should not be", avg_pool2d, other_count()),
        ("padding counted where it should not be", avg_pool2d_spread, other_count()),
        ("dilation ignored", avg_pool2d, reads!(Pool2dParams, |p| p.dilation_height = 1)),
        (
            "strides exchanged",
            avg_pool2d_spread,
            reads!(Pool2dParams, |p| { std::mem::swap(&mut p.stride_height, &mut p.stride_width) }),
        ),
        (
            "overlaps counted once",
            avg_pool2d_spread,
            outputs!(Pool2dParams, |p, launch| {
                if p.kernel_height > p.stride_height && p.stride_height == 1 {
                    launch.outputs[0].iter_mut().for_each(|y| *y /= f64::from(p.kernel_height));
                }
            }),
        ),
        (
            "padding of zeros wins",
            max_pool2d,
            outputs!(Pool2dParams, |p, launch| {
                if p.padding_top > 0 {
                    launch.outputs[0].iter_mut().for_each(|y| *y = y.max(0.0));
                }
            }),
        ),
        (
            "index of the next pixel",
            max_pool2d,
            outputs!(Pool2dParams, |p, launch| {
                let pixels = f64::from(p.in_height * p.in_width);
                launch.outputs[1].iter_mut().for_each(|i| *i = (*i + 1.0) % pixels)
            }),
        ),
        (
            "index by height instead of width",
            max_pool2d,
            outputs!(Pool2dParams, |p, launch| {
                let (h, w) = (f64::from(p.in_height), f64::from(p.in_width));
                launch.outputs[1].iter_mut().for_each(|i| *i = (*i / w).floor() * h + *i % w)
            }),
        ),
        ("padding twice", max_pool2d_pick, pool_padding()),
        (
            "overlapping contributions lost",
            max_pool2d_place,
            inputs!(Pool2dParams, |p, launch| {
                // Of the windows that name one pixel only the last counts.
                let per_image = (p.out_height * p.out_width * p.channels) as usize;
                for i in 0..launch.inputs[0].len() {
                    let same = |j: &usize| {
                        launch.inputs[1][*j] == launch.inputs[1][i]
                            && j % p.channels as usize == i % p.channels as usize
                    };
                    if (i + 1..(i / per_image + 1) * per_image).any(|j| same(&j)) {
                        launch.inputs[0][i] = 0.0;
                    }
                }
            }),
        ),
        ("corners aligned or not, the other way", resize_bilinear, other_corners()),
        ("corners aligned or not, the other way", resize_bilinear_fold, other_corners()),
        (
            "nearest taken from bilinear's rounding",
            resize_nearest,
            outputs!(ResizeParams, |p, launch| {
                let [ih, iw, oh, ow, c] =
                    [p.in_height, p.in_width, p.out_height, p.out_width, p.channels];
                let near =
                    |at: u32, from: u32, to: u32| ((2 * at + 1) * from / (2 * to)).min(from - 1);
                for i in 0..launch.outputs[0].len() as u32 {
                    let (channel, column, row) = (i % c, i / c % ow, i / (c * ow) % oh);
                    let pixel =
                        (i / (c * ow * oh) * ih + near(row, ih, oh)) * iw + near(column, iw, ow);
                    launch.outputs[0][i as usize] =
                        launch.inputs[0][(pixel * c + channel) as usize];
                }
            }),
        ),
        (
            "last row not added",
            resize_nearest_fold,
            inputs!(ResizeParams, |p, launch| {
                let (row, rows) = ((p.out_width * p.channels) as usize, p.out_height as usize);
                drop_where(&mut launch.inputs[0], |i| rows > 1 && i / row % rows == rows - 1)
            }),
        ),
        (
            "all samples from the first",
            resize_bilinear,
            inputs!(ResizeParams, |p, launch| {
                first_sample_only(&mut launch.inputs[0], p.batch)
            }),
        ),
        (
            "border of ones",
            pad,
            Fault::Outputs(|launch| {
                launch.outputs[0].iter_mut().filter(|y| **y == 0.0).for_each(|y| *y = 1.0);
            }),
        ),
        (
            "starts at the corner",
            crop,
            Fault::Outputs(|launch| {
                let len = launch.outputs[0].len();
                launch.outputs[0] = launch.inputs[0][..len].to_vec();
            }),
        ),
        (
            "edge repeated",
            reflect_pad,
            outputs!(ReflectPadParams, |p, launch| {
                let [ih, iw, c, ow] = [p.in_height, p.in_width, p.channels, p.out_width];
                let mirror = |at: u32, before: u32, side: u32| {
                    let t = at as i32 - before as i32;
                    let t = if t < 0 { -t - 1 } else { t };
                    (if t >= side as i32 { 2 * side as i32 - 1 - t } else { t }) as u32
                };
                for i in 0..launch.outputs[0].len() as u32 {
                    let (channel, column, row) = (i % c, i / c % ow, i / (c * ow) % p.out_height);
                    let (h, w) = (mirror(row, p.top, ih), mirror(column, p.left, iw));
                    let pixel = (i / (c * ow * p.out_height) * ih + h) * iw + w;
                    launch.outputs[0][i as usize] =
                        launch.inputs[0][(pixel * c + channel) as usize];
                }
            }),
        ),
        (
            "top border not folded back",
            reflect_pad_fold,
            inputs!(ReflectPadParams, |p, launch| {
                let row = (p.out_width * p.channels) as usize;
                let (rows, top) = (p.out_height as usize, p.top as usize);
                drop_where(&mut launch.inputs[0], |i| i / row % rows < top)
            }),
        ),
    ]
}

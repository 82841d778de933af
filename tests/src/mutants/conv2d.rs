//! Faults in the conv triangle.

use super::{Fault, Faults, Launch, drop_where, first_sample_only, inputs, outputs, reads};
use belamy_tensor::DType;
use belamy_tensor::kernel::KernelId;
use belamy_tensor::ops::conv2d::Conv2dParams;

/// The family's faults: in words, the kernel, the fault.
pub(super) fn faults() -> Faults {
    use KernelId::{conv2d, conv2d_grad_input, conv2d_grad_weight};
    let mut faults = Vec::new();
    for kernel in [conv2d, conv2d_grad_input, conv2d_grad_weight] {
        faults.extend([
            (
                "stride and dilation exchanged",
                kernel,
                reads!(Conv2dParams, |p| {
                    std::mem::swap(&mut p.stride_height, &mut p.dilation_height);
                    std::mem::swap(&mut p.stride_width, &mut p.dilation_width)
                }),
            ),
            ("padding at the top off by one", kernel, reads!(Conv2dParams, |p| p.padding_top += 1)),
            ("padding at the left forgotten", kernel, reads!(Conv2dParams, |p| p.padding_left = 0)),
            (
                "padding of height used for width",
                kernel,
                reads!(Conv2dParams, |p| p.padding_left = p.padding_top),
            ),
            (
                "stride of height used for width",
                kernel,
                reads!(Conv2dParams, |p| p.stride_width = p.stride_height),
            ),
            (
                "dilation ignored",
                kernel,
                reads!(Conv2dParams, |p| {
                    p.dilation_height = 1;
                    p.dilation_width = 1
                }),
            ),
            (
                "wrong where the kernel is smaller than the stride",
                kernel,
                reads!(Conv2dParams, |p| {
                    if p.kernel_width < p.stride_width {
                        p.padding_left += 1;
                    }
                }),
            ),
            (
                "wrong for odd heights only",
                kernel,
                reads!(Conv2dParams, |p| { p.padding_top += p.in_height % 2 }),
            ),
            (
                "wrong for widths that the stride does not divide",
                kernel,
                reads!(Conv2dParams, |p| {
                    if !p.in_width.is_multiple_of(p.stride_width) {
                        p.padding_left += 1;
                    }
                }),
            ),
        ]);
    }
    for kernel in [conv2d, conv2d_grad_input] {
        faults.extend([
            (
                "taps read transposed",
                kernel,
                inputs!(Conv2dParams, |p, launch| { taps_transposed(&mut launch.inputs[1], &p) }),
            ),
            (
                "last tap dropped",
                kernel,
                inputs!(Conv2dParams, |p, launch| {
                    let (taps, c) = (p.kernel_height * p.kernel_width, p.in_channels / p.groups);
                    drop_where(&mut launch.inputs[1], |i| i as u32 / c % taps == taps - 1)
                }),
            ),
            (
                "one of four accumulators dropped",
                kernel,
                inputs!(Conv2dParams, |p, launch| {
                    let c = (p.in_channels / p.groups) as usize;
                    drop_where(&mut launch.inputs[1], |i| c > 3 && i % c % 4 == 3)
                }),
            ),
            (
                "every group uses the first one's weight",
                kernel,
                inputs!(Conv2dParams, |p, launch| {
                    first_sample_only(&mut launch.inputs[1], p.groups)
                }),
            ),
            (
                "batch stride dropped",
                kernel,
                inputs!(Conv2dParams, |p, launch| {
                    first_sample_only(&mut launch.inputs[0], p.batch)
                }),
            ),
        ]);
    }
    faults.extend([
        (
            "operand of the launch before used again",
            conv2d,
            Fault::Inputs(|launch| {
                if launch.previous.first().is_some_and(|x| x.len() == launch.inputs[0].len()) {
                    launch.inputs[0] = launch.previous[0].clone();
                }
            }),
        ),
        ("overlapping contributions lost", conv2d_grad_input, Fault::Outputs(overwritten)),
        (
            "rows that no window reaches left out of date",
            conv2d_grad_input,
            outputs!(Conv2dParams, |p, launch| {
                let reach = (p.out_height - 1) * p.stride_height
                    + (p.kernel_height - 1) * p.dilation_height
                    + 1;
                if p.in_height + p.padding_top > reach {
                    let row = (p.in_width * p.in_channels) as usize;
                    let len = launch.outputs[0].len();
                    launch.outputs[0][len - row..].iter_mut().for_each(|x| *x += 1.0);
                }
            }),
        ),
        (
            "only the first sample summed",
            conv2d_grad_weight,
            inputs!(Conv2dParams, |p, launch| {
                let each = launch.inputs[0].len() / p.batch as usize;
                drop_where(&mut launch.inputs[0], |i| i >= each)
            }),
        ),
        (
            "last row of outputs left out",
            conv2d_grad_weight,
            inputs!(Conv2dParams, |p, launch| {
                let row = (p.out_width * p.out_channels) as usize;
                let rows = p.out_height as usize;
                drop_where(&mut launch.inputs[1], |i| rows > 1 && i / row % rows == rows - 1)
            }),
        ),
        (
            "groups' channels all taken from the first",
            conv2d_grad_weight,
            inputs!(Conv2dParams, |p, launch| {
                let (c, each) = (p.in_channels as usize, (p.in_channels / p.groups) as usize);
                let x = launch.inputs[0].clone();
                for (i, value) in launch.inputs[0].iter_mut().enumerate() {
                    *value = x[i / c * c + i % c % each];
                }
            }),
        ),
        (
            "half precision in f32",
            conv2d,
            Fault::Outputs(|launch| {
                if launch.dtype == DType::F32 {
                    launch.outputs[0].iter_mut().for_each(|y| *y = coarse(*y));
                }
            }),
        ),
    ]);
    faults
}

/// Later contributions to a pixel replace earlier ones: a scatter without adding.
fn overwritten(launch: &mut Launch) {
    let p = Conv2dParams::decode(&launch.params);
    let [oh, ow, kh, kw] = [p.out_height, p.out_width, p.kernel_height, p.kernel_width];
    let single = |stride: u32, taps: u32| taps <= stride;
    if single(p.stride_height, kh) && single(p.stride_width, kw) {
        return;
    }
    let mut image = vec![0.0; launch.outputs[0].len()];
    let (c_group, o_group) = (p.in_channels / p.groups, p.out_channels / p.groups);
    let loops = (0..p.batch * oh * ow).flat_map(|at| (0..kh * kw).map(move |tap| (at, tap)));
    for (at, tap) in loops {
        let (n, row, column) = (at / (oh * ow), at / ow % oh, at % ow);
        let ih = (row * p.stride_height + tap / kw * p.dilation_height).wrapping_sub(p.padding_top);
        let iw =
            (column * p.stride_width + tap % kw * p.dilation_width).wrapping_sub(p.padding_left);
        if ih >= p.in_height || iw >= p.in_width {
            continue;
        }
        for c in 0..p.in_channels {
            let pixel = ((n * p.in_height + ih) * p.in_width + iw) * p.in_channels + c;
            image[pixel as usize] = (c / c_group * o_group..(c / c_group + 1) * o_group)
                .map(|o| {
                    let g = launch.inputs[0][(at * p.out_channels + o) as usize];
                    g * launch.inputs[1][((o * kh * kw + tap) * c_group + c % c_group) as usize]
                })
                .sum();
        }
    }
    launch.outputs[0] = image;
}

/// Taps along rows are read in the columns' place, where both are as many.
fn taps_transposed(weight: &mut [f64], p: &Conv2dParams) {
    let (kh, kw, c) =
        (p.kernel_height as usize, p.kernel_width as usize, (p.in_channels / p.groups) as usize);
    if kh != kw {
        return;
    }
    let straight = weight.to_vec();
    for index in 0..weight.len() {
        let (channel, column, row) = (index % c, index / c % kw, index / (c * kw) % kh);
        let o = index / (c * kw * kh);
        weight[index] = straight[((o * kh + column) * kw + row) * c + channel];
    }
}

/// Rounds to bfloat16's eight bits.
fn coarse(y: f64) -> f64 {
    f64::from(f32::from_bits((y as f32).to_bits() & 0xffff_0000))
}

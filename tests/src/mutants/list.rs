//! Faults as people make them.

use super::{Fault, Launch, Mutant};
use belamy_tensor::DType;
use belamy_tensor::kernel::KernelId;
use belamy_tensor::ops::conv2d::Conv2dParams;
use belamy_tensor::ops::gather::GatherParams;
use belamy_tensor::ops::matmul::MatmulParams;
use belamy_tensor::ops::norm::NormParams;
use belamy_tensor::ops::optimizer::{AdamParams, RmspropParams, SgdParams};
use belamy_tensor::ops::pad::ReflectPadParams;
use belamy_tensor::ops::pointwise::{BinaryFunction, BroadcastParams, UnaryFunction, UnaryParams};
use belamy_tensor::ops::pool2d::Pool2dParams;
use belamy_tensor::ops::random::DrawParams;
use belamy_tensor::ops::reduce::{RowsParams, SumParams};
use belamy_tensor::ops::resize::ResizeParams;
use belamy_tensor::ops::view::StridedParams;

/// A fault in the parameters, seen through their struct.
macro_rules! reads {
    ($params:ty, |$p:ident| $body:expr) => {
        Fault::Params(|params| {
            let mut $p = <$params>::decode(params);
            $body;
            *params = $p.encode();
        })
    };
}

/// A fault in what is read or written, with the parameters at hand.
macro_rules! inputs {
    ($params:ty, |$p:ident, $launch:ident| $body:expr) => {
        Fault::Inputs(|$launch| {
            let $p = <$params>::decode(&$launch.params);
            $body;
        })
    };
}
macro_rules! outputs {
    ($params:ty, |$p:ident, $launch:ident| $body:expr) => {
        Fault::Outputs(|$launch| {
            let $p = <$params>::decode(&$launch.params);
            $body;
        })
    };
}

/// Rounds to bfloat16's eight bits.
fn coarse(y: f64) -> f64 {
    f64::from(f32::from_bits((y as f32).to_bits() & 0xffff_0000))
}

/// Maps results of the given function of one number.
fn remap(launch: &mut Launch, function: UnaryFunction, wrong: fn(f64) -> f64) {
    if UnaryParams::decode(&launch.params).function == function as u32 {
        launch.outputs[0] = launch.inputs[0].iter().map(|&x| wrong(x)).collect();
    }
}

/// Sets a fraction of numbers to zero: each whose index fulfils a condition.
fn drop_where(numbers: &mut [f64], dropped: impl Fn(usize) -> bool) {
    numbers.iter_mut().enumerate().filter(|(index, _)| dropped(*index)).for_each(|(_, x)| *x = 0.0);
}

/// Every sample is the first one.
fn first_sample_only(numbers: &mut [f64], samples: u32) {
    let each = numbers.len() / samples.max(1) as usize;
    (each..numbers.len()).for_each(|index| numbers[index] = numbers[index % each]);
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

fn conv() -> Vec<(&'static str, KernelId, Fault)> {
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

fn matmul() -> Vec<(&'static str, KernelId, Fault)> {
    let kernel = KernelId::matmul;
    vec![
        (
            "left operand's transposition ignored",
            kernel,
            reads!(MatmulParams, |p| p.transpose_a = 0),
        ),
        (
            "right operand's transposition ignored",
            kernel,
            reads!(MatmulParams, |p| p.transpose_b = 0),
        ),
        (
            "transposed view misread where square",
            kernel,
            reads!(MatmulParams, |p| { p.transpose_a ^= u32::from(p.m == p.k) }),
        ),
        (
            "transposed view misread in batches only",
            kernel,
            reads!(MatmulParams, |p| { p.transpose_b ^= u32::from(p.batch > 1) }),
        ),
        (
            "both transposed taken for neither",
            kernel,
            reads!(MatmulParams, |p| {
                if p.transpose_a + p.transpose_b == 2 {
                    p.transpose_a = 0;
                    p.transpose_b = 0;
                }
            }),
        ),
        ("left batch stride dropped", kernel, reads!(MatmulParams, |p| p.batch_stride_a = 0)),
        ("right batch stride dropped", kernel, reads!(MatmulParams, |p| p.batch_stride_b = 0)),
        (
            "last k dropped where k is odd",
            kernel,
            inputs!(MatmulParams, |p, launch| {
                let (m, k) = (p.m as usize, p.k as usize);
                let at = |i: usize| if p.transpose_a == 1 { i / m % k } else { i % k };
                drop_where(&mut launch.inputs[0], |i| k % 2 == 1 && at(i) == k - 1)
            }),
        ),
        (
            "one of eight accumulators dropped",
            kernel,
            inputs!(MatmulParams, |p, launch| {
                let (n, k) = (p.n as usize, p.k as usize);
                let at = |i: usize| if p.transpose_b == 1 { i % k } else { i / n % k };
                drop_where(&mut launch.inputs[1], |i| at(i) % 8 == 7)
            }),
        ),
        (
            "rows beyond a full tile not written",
            kernel,
            outputs!(MatmulParams, |p, launch| {
                let (m, n) = (p.m as usize, p.n as usize);
                drop_where(&mut launch.outputs[0], |i| {
                    !m.is_multiple_of(16) && i / n % m >= m / 16 * 16 && m > 16
                })
            }),
        ),
        (
            "wrong only where one side is 1",
            kernel,
            outputs!(MatmulParams, |p, launch| {
                if p.n == 1 && p.m > 1 {
                    launch.outputs[0].reverse();
                }
            }),
        ),
        (
            "sums in f32 where asked for f64",
            kernel,
            Fault::Outputs(|launch| {
                launch.outputs[0].iter_mut().for_each(|y| *y = f64::from(*y as f32));
            }),
        ),
        (
            "another result every second time",
            kernel,
            Fault::Outputs(|launch| {
                if launch.count % 2 == 1 {
                    launch.outputs[0].iter_mut().for_each(|y| *y *= 1.0 + 1e-5);
                }
            }),
        ),
    ]
}

fn pointwise() -> Vec<(&'static str, KernelId, Fault)> {
    use KernelId::{binary, select, unary};
    let sub = |launch: &mut Launch| {
        let function = BroadcastParams::decode(&launch.params).function;
        if function == BinaryFunction::Sub as u32
            && launch.inputs[0].len() == launch.inputs[1].len()
        {
            launch.inputs.swap(0, 1);
        }
    };
    vec![
        (
            "leaky slope taken for 0",
            unary,
            reads!(UnaryParams, |p| {
                if p.function == UnaryFunction::LeakyRelu as u32 {
                    p.a = 0.0;
                }
            }),
        ),
        (
            "tanh by its Padé form",
            unary,
            Fault::Outputs(|launch| {
                remap(launch, UnaryFunction::Tanh, |x| x * (27.0 + x * x) / (27.0 + 9.0 * x * x));
            }),
        ),
        (
            "softplus linear above 4",
            unary,
            Fault::Outputs(|launch| {
                remap(
                    launch,
                    UnaryFunction::Softplus,
                    |x| if x > 4.0 { x } else { x.exp().ln_1p() },
                );
            }),
        ),
        (
            "softplus without care for large numbers",
            unary,
            Fault::Outputs(|launch| {
                remap(launch, UnaryFunction::Softplus, |x| (1.0 + x.exp()).ln());
            }),
        ),
        (
            "sigmoid without care for large numbers",
            unary,
            Fault::Outputs(|launch| {
                remap(launch, UnaryFunction::Sigmoid, |x| x.exp() / (1.0 + x.exp()));
            }),
        ),
        (
            "exp of f32 precision in f64",
            unary,
            Fault::Outputs(|launch| {
                remap(launch, UnaryFunction::Exp, |x| f64::from((x as f32).exp()));
            }),
        ),
        (
            "upper bound of clamp forgotten",
            unary,
            reads!(UnaryParams, |p| {
                if p.function == UnaryFunction::Clamp as u32 {
                    p.b = f64::INFINITY;
                }
            }),
        ),
        (
            "abs keeps the sign of numbers below -1",
            unary,
            Fault::Outputs(|launch| {
                remap(launch, UnaryFunction::Abs, |x| if x < -1.0 { x } else { x.abs() });
            }),
        ),
        (
            "stale operand",
            unary,
            Fault::Inputs(|launch| {
                if launch.previous.first().is_some_and(|x| x.len() == launch.inputs[0].len()) {
                    launch.inputs[0] = launch.previous[0].clone();
                }
            }),
        ),
        ("subtraction the wrong way round", binary, Fault::Inputs(sub)),
        (
            "stretched right operand read at its first element",
            binary,
            reads!(BroadcastParams, |p| {
                if p.flat == 0 {
                    p.strides_1 = [0; 6];
                }
            }),
        ),
        (
            "stretched left operand's middle axis not stepped",
            binary,
            reads!(BroadcastParams, |p| {
                if p.flat == 0 {
                    p.strides_0[4] = 0;
                }
            }),
        ),
        (
            "tanh's gradient 1 - p",
            binary,
            outputs!(BroadcastParams, |p, launch| {
                if p.function == BinaryFunction::TanhGrad as u32 && p.flat == 1 {
                    let pairs = launch.inputs[0].iter().zip(&launch.inputs[1]);
                    launch.outputs[0] = pairs.map(|(p, q)| (1.0 - p) * q).collect();
                }
            }),
        ),
        (
            "sigmoid's gradient p q",
            binary,
            reads!(BroadcastParams, |p| {
                if p.function == BinaryFunction::SigmoidGrad as u32 {
                    p.function = BinaryFunction::Mul as u32;
                }
            }),
        ),
        (
            "leaky gradient by the sign of the cotangent",
            binary,
            Fault::Inputs(|launch| {
                let p = BroadcastParams::decode(&launch.params);
                if p.function == BinaryFunction::LeakyReluGrad as u32 && p.flat == 1 {
                    launch.inputs[0] = launch.inputs[1].clone();
                }
            }),
        ),
        (
            "maximum is minimum",
            binary,
            reads!(BroadcastParams, |p| {
                if p.function == BinaryFunction::Maximum as u32 {
                    p.function = BinaryFunction::Minimum as u32;
                }
            }),
        ),
        (
            "condition inverted",
            select,
            Fault::Inputs(|launch| {
                launch.inputs[0].iter_mut().for_each(|c| *c = f64::from(u8::from(*c == 0.0)));
            }),
        ),
        (
            "other operand taken for zero",
            select,
            Fault::Inputs(|launch| {
                launch.inputs[2].iter_mut().for_each(|q| *q = 0.0);
            }),
        ),
    ]
}

fn reduce_and_view() -> Vec<(&'static str, KernelId, Fault)> {
    use KernelId::{broadcast, max_rows, permute, pick, place, sum};
    let copied = reads!(StridedParams, |p| {
        let mut step = 1;
        for axis in (0..6).rev() {
            p.strides[axis] = step;
            step *= p.dims[axis];
        }
    });
    vec![
        (
            "row's tail beyond fours dropped",
            sum,
            inputs!(SumParams, |p, launch| {
                let columns = p.dims[5] as usize;
                drop_where(&mut launch.inputs[0], |i| {
                    p.reduced[5] == 1 && columns > 4 && i % columns >= columns / 4 * 4
                })
            }),
        ),
        (
            "first element counted twice",
            sum,
            Fault::Inputs(|launch| {
                if let Some(first) = launch.inputs[0].first_mut() {
                    *first *= 2.0;
                }
            }),
        ),
        (
            "partial sums beyond the first block lost",
            sum,
            Fault::Inputs(|launch| {
                drop_where(&mut launch.inputs[0], |i| i >= 16_384);
            }),
        ),
        (
            "mean instead of sum",
            sum,
            outputs!(SumParams, |p, launch| {
                let terms = (0..6).map(|axis| if p.reduced[axis] == 1 { p.dims[axis] } else { 1 });
                let terms = f64::from(terms.product::<u32>());
                launch.outputs[0].iter_mut().for_each(|y| *y /= terms)
            }),
        ),
        (
            "last column never looked at",
            max_rows,
            inputs!(RowsParams, |p, launch| {
                let columns = p.columns as usize;
                for last in launch.inputs[0].iter_mut().skip(columns - 1).step_by(columns) {
                    *last = if columns > 1 { f64::NEG_INFINITY } else { *last };
                }
            }),
        ),
        (
            "index off by one",
            max_rows,
            outputs!(RowsParams, |p, launch| {
                launch.outputs[1].iter_mut().for_each(|i| *i = (*i + 1.0) % f64::from(p.columns))
            }),
        ),
        (
            "last of equals instead of the first",
            max_rows,
            outputs!(RowsParams, |p, launch| {
                let rows = launch.inputs[0].chunks(p.columns as usize);
                let indices: Vec<f64> = rows
                    .zip(&launch.outputs[0])
                    .map(|(row, most)| row.iter().rposition(|x| x == most).unwrap_or(0) as f64)
                    .collect();
                launch.outputs[1] = indices
            }),
        ),
        (
            "maximum starts from 0",
            max_rows,
            Fault::Outputs(|launch| {
                launch.outputs[0].iter_mut().for_each(|y| *y = y.max(0.0));
            }),
        ),
        ("index of the row before", pick, Fault::Inputs(|launch| launch.inputs[1].rotate_right(1))),
        (
            "index past the row clamped",
            pick,
            inputs!(RowsParams, |p, launch| {
                launch.inputs[1].iter_mut().for_each(|i| *i = i.min(f64::from(p.columns) - 1.0))
            }),
        ),
        (
            "placed one column further",
            place,
            inputs!(RowsParams, |p, launch| {
                launch.inputs[1].iter_mut().for_each(|i| *i = (*i + 1.0) % f64::from(p.columns))
            }),
        ),
        (
            "zeros not written",
            place,
            Fault::Outputs(|launch| {
                launch.outputs[0].iter_mut().filter(|y| **y == 0.0).for_each(|y| *y = f64::NAN);
            }),
        ),
        ("copied instead of permuted", permute, copied),
        (
            "inverse permutation of three axes",
            permute,
            Fault::Outputs(|launch| {
                let p = StridedParams::decode(&launch.params);
                if p.dims[..3] == [1, 1, 1] && p.dims[3] > 1 {
                    launch.outputs[0].reverse();
                }
            }),
        ),
        (
            "second axis repeats its first entry",
            broadcast,
            reads!(StridedParams, |p| { p.strides[4] = 0 }),
        ),
        (
            "last axis repeats its first entry",
            broadcast,
            reads!(StridedParams, |p| { p.strides[5] = 0 }),
        ),
    ]
}

fn images() -> Vec<(&'static str, KernelId, Fault)> {
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

fn rows_and_norms() -> Vec<(&'static str, KernelId, Fault)> {
    use KernelId::{bce_with_logits, concat, gather_rows, norm, norm_grad, scatter_add_rows};
    vec![
        (
            "equal parts exchanged",
            concat,
            Fault::Inputs(|launch| {
                if launch.inputs[0].len() == launch.inputs[1].len() {
                    launch.inputs.swap(0, 1);
                }
            }),
        ),
        (
            "second part one place further",
            concat,
            Fault::Inputs(|launch| launch.inputs[1].rotate_right(1)),
        ),
        (
            "index out of range clamped",
            gather_rows,
            inputs!(GatherParams, |p, launch| {
                launch.inputs[1].iter_mut().for_each(|i| *i = i.min(f64::from(p.rows) - 1.0))
            }),
        ),
        (
            "repeated indices overwrite",
            scatter_add_rows,
            inputs!(GatherParams, |p, launch| {
                let columns = p.columns as usize;
                let index = launch.inputs[1].clone();
                drop_where(&mut launch.inputs[0], |i| {
                    index[i / columns + 1..].contains(&index[i / columns])
                })
            }),
        ),
        (
            "index out of range wraps around",
            scatter_add_rows,
            inputs!(GatherParams, |p, launch| {
                launch.inputs[1].iter_mut().for_each(|i| *i %= f64::from(p.rows))
            }),
        ),
        ("epsilon forgotten", norm, reads!(NormParams, |p| p.epsilon = 0.0)),
        (
            "unbiased variance",
            norm,
            outputs!(NormParams, |p, launch| {
                let (c, rows) = (p.channels as usize, f64::from(p.rows));
                for (i, y) in launch.outputs[0].iter_mut().enumerate() {
                    let beta = launch.inputs[2][i % c];
                    *y = beta + (*y - beta) * ((rows - 1.0) / rows).sqrt();
                }
            }),
        ),
        (
            "beta forgotten",
            norm,
            Fault::Inputs(|launch| drop_where(&mut launch.inputs[2], |_| true)),
        ),
        (
            "deviation saved as variance",
            norm,
            Fault::Outputs(|launch| {
                launch.outputs[2].iter_mut().for_each(|v| *v = v.sqrt());
            }),
        ),
        (
            "cotangent's mean not subtracted",
            norm_grad,
            outputs!(NormParams, |p, launch| {
                let (c, rows) = (p.channels as usize, p.rows as usize);
                for i in 0..launch.outputs[0].len() {
                    let (group, channel) = (i / (rows * c), i % c);
                    let at = |row: usize| launch.inputs[2][(group * rows + row) * c + channel];
                    let mean = (0..rows).map(at).sum::<f64>() / rows as f64;
                    let variance = launch.inputs[4][group * c + channel];
                    launch.outputs[0][i] +=
                        launch.inputs[1][channel] * mean / (variance + p.epsilon).sqrt();
                }
            }),
        ),
        (
            "gamma left out of the image's gradient",
            norm_grad,
            outputs!(NormParams, |p, launch| {
                let gamma = &launch.inputs[1];
                let c = p.channels as usize;
                launch.outputs[0].iter_mut().enumerate().for_each(|(i, y)| *y /= gamma[i % c])
            }),
        ),
        (
            "beta's gradient is a mean",
            norm_grad,
            outputs!(NormParams, |p, launch| {
                let count = f64::from(p.rows * p.groups);
                launch.outputs[2].iter_mut().for_each(|y| *y /= count)
            }),
        ),
        (
            "gamma's and beta's gradients exchanged",
            norm_grad,
            Fault::Outputs(|launch| launch.outputs.swap(1, 2)),
        ),
        (
            "labels inverted",
            bce_with_logits,
            Fault::Inputs(|launch| {
                launch.inputs[1].iter_mut().for_each(|t| *t = 1.0 - *t);
            }),
        ),
        (
            "without care for large logits",
            bce_with_logits,
            Fault::Outputs(|launch| {
                let pairs = launch.inputs[0].iter().zip(&launch.inputs[1]);
                launch.outputs[0] = pairs.map(|(x, t)| (1.0 + x.exp()).ln() - x * t).collect();
            }),
        ),
    ]
}

fn randomness_and_updates() -> Vec<(&'static str, KernelId, Fault)> {
    use KernelId::{
        adam, bernoulli, count_non_finite, dropout, global_norm, integers, normal, rmsprop, sgd,
        shuffled_indices, uniform,
    };
    let step = || Fault::Inputs(|launch| launch.inputs[0][0] = 0.0);
    let first = || Fault::Inputs(|launch| launch.inputs[0][1] = 0.0);
    let stream = || reads!(DrawParams, |p| p.stream += 1);
    let seed = || reads!(DrawParams, |p| p.seed[1] = 0);
    vec![
        (
            "kept elements not enlarged",
            dropout,
            outputs!(DrawParams, |p, launch| {
                launch.outputs[0].iter_mut().for_each(|y| *y *= 1.0 - p.a)
            }),
        ),
        ("one mask for every sample", dropout, Fault::Inputs(|launch| launch.inputs[1][1] += 1.0)),
        (
            "keeps what it should drop",
            dropout,
            outputs!(DrawParams, |p, launch| {
                let pairs = launch.inputs[0].iter().zip(&launch.outputs[0]);
                launch.outputs[0] =
                    pairs.map(|(x, y)| if *y == 0.0 { x / (1.0 - p.a) } else { 0.0 }).collect()
            }),
        ),
        ("step ignored", uniform, step()),
        ("first sample ignored", uniform, first()),
        ("upper word of the seed ignored", uniform, seed()),
        ("stream off by one", uniform, stream()),
        ("step ignored", normal, step()),
        (
            "pairs exchanged",
            normal,
            Fault::Outputs(|launch| {
                launch.outputs[0].chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
            }),
        ),
        ("variance for deviation", normal, reads!(DrawParams, |p| p.b *= p.b)),
        ("chances inverted", bernoulli, reads!(DrawParams, |p| p.a = 1.0 - p.a)),
        ("first sample ignored", bernoulli, first()),
        ("bound included", integers, reads!(DrawParams, |p| p.bound += 1)),
        ("stream off by one", integers, stream()),
        ("step ignored", shuffled_indices, step()),
        ("first sample ignored", shuffled_indices, first()),
        (
            "infinities taken for numbers",
            count_non_finite,
            Fault::Inputs(|launch| {
                let infinite = |x: &&mut f64| x.is_infinite();
                launch.inputs.iter_mut().flatten().filter(infinite).for_each(|x| *x = 0.0);
            }),
        ),
        (
            "last tensor not looked at",
            count_non_finite,
            Fault::Inputs(|launch| {
                if let Some(last) = launch.inputs.last_mut() {
                    last.iter_mut().for_each(|x| *x = 0.0);
                }
            }),
        ),
        (
            "largest numbers taken for infinite",
            count_non_finite,
            Fault::Inputs(|launch| {
                let largest = |x: &&mut f64| x.abs() >= f64::from(f32::MAX);
                launch.inputs.iter_mut().flatten().filter(largest).for_each(|x| *x = f64::NAN);
            }),
        ),
        ("step counts from 0", adam, Fault::Inputs(|launch| launch.inputs[0][0] -= 1.0)),
        ("step not counted", adam, Fault::Inputs(|launch| launch.inputs[0][0] = 1.0)),
        (
            "betas exchanged",
            adam,
            reads!(AdamParams, |p| std::mem::swap(&mut p.beta_1, &mut p.beta_2)),
        ),
        ("epsilon in the other place", adam, reads!(AdamParams, |p| p.keras ^= 1)),
        ("weight decay forgotten", adam, reads!(AdamParams, |p| p.weight_decay = 0.0)),
        (
            "moments not carried on",
            adam,
            Fault::Outputs(|launch| {
                launch.outputs[2] = launch.inputs[5].clone();
            }),
        ),
        (
            "second parameter by the first's learning rate of 0",
            sgd,
            Fault::Outputs(|launch| {
                launch.outputs[1] = launch.inputs[2].clone();
            }),
        ),
        ("nesterov forgotten", sgd, reads!(SgdParams, |p| p.nesterov = 0)),
        (
            "momentum of 0.9 always",
            sgd,
            reads!(SgdParams, |p| {
                if p.momentum > 0.0 {
                    p.momentum = 0.9;
                }
            }),
        ),
        ("epsilon in the other place", rmsprop, reads!(RmspropParams, |p| p.keras ^= 1)),
        ("rho for 1 - rho", rmsprop, reads!(RmspropParams, |p| p.rho = 1.0 - p.rho)),
        (
            "last tensor left out",
            global_norm,
            Fault::Inputs(|launch| {
                if let Some(last) = launch.inputs.last_mut() {
                    last.iter_mut().for_each(|x| *x = 0.0);
                }
            }),
        ),
        (
            "no root taken",
            global_norm,
            Fault::Outputs(|launch| {
                launch.outputs[0].iter_mut().for_each(|y| *y *= *y);
            }),
        ),
    ]
}

/// Every fault of the list.
pub fn mutants() -> Vec<Mutant> {
    let groups = [
        conv(),
        matmul(),
        pointwise(),
        reduce_and_view(),
        images(),
        rows_and_norms(),
        randomness_and_updates(),
    ];
    groups
        .into_iter()
        .flatten()
        .map(|(name, kernel, fault)| Mutant {
            name: format!("{}: {name}", kernel.name()),
            kernel,
            fault,
        })
        .collect()
}

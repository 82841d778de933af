//! What tensor cores make of numbers, and which products they take.

use belamy_cuda::Precision;
use belamy_tensor::kernel::KernelId;
use belamy_tensor::{Call, Device};
use belamy_tests::rounding::Rounding;

/// What tensor cores make of a number.
pub(crate) fn rounded(precision: Precision, x: f32) -> f32 {
    let bits = x.to_bits();
    match precision {
        Precision::F32 => x,
        // 13 bits are not looked at.
        Precision::Tf32 => f32::from_bits(bits & !0x1fff),
        // The nearest, of two the even one; 16 bits are dropped.
        Precision::Bf16 => f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & !0xffff),
    }
}

#[test]
fn numbers_are_rounded_to_what_is_left_of_them() {
    for (precision, value, wanted) in [
        (Precision::Tf32, 1.0 + 1.0 / 1024.0, 1.0 + 1.0 / 1024.0),
        (Precision::Tf32, 1.0 + 1.0 / 2048.0, 1.0),
        (Precision::Tf32, -1.0 - 1.5 / 1024.0, -1.0 - 1.0 / 1024.0),
        (Precision::Bf16, 1.0 + 1.0 / 256.0, 1.0),
        (Precision::Bf16, 1.0 + 3.0 / 256.0, 1.0 + 1.0 / 64.0),
        (Precision::Bf16, -1.0 - 1.5 / 256.0, -1.0 - 1.0 / 128.0),
    ] {
        assert_eq!(rounded(precision, value), wanted, "{precision:?} {value}");
    }
}

/// A device that rounds the operands of the products that tensor cores take.
pub(crate) fn rounding(device: Device, precision: Precision) -> Rounding {
    let round = match precision {
        Precision::F32 => |x| rounded(Precision::F32, x),
        Precision::Tf32 => |x| rounded(Precision::Tf32, x),
        Precision::Bf16 => |x| rounded(Precision::Bf16, x),
    };
    let rounds =
        |call: &Call<'_>| matches!(call.kernel.family(), "matmul" | "conv2d") && in_fours(call);
    Rounding { device, round, rounds }
}

/// Whether tensor cores take a product.
fn in_fours(call: &Call<'_>) -> bool {
    use belamy_tensor::ops::conv2d::Conv2dParams;
    use belamy_tensor::ops::matmul::MatmulParams;
    let fours = |extents: &[u32]| extents.iter().all(|extent| extent % 4 == 0);
    if call.kernel == KernelId::matmul {
        let p = MatmulParams::decode(&call.params);
        let a = if p.transpose_a == 1 { p.m } else { p.k };
        let b = if p.transpose_b == 1 { p.k } else { p.n };
        return fours(&[a, b]);
    }
    let p = Conv2dParams::decode(&call.params);
    let one_window = p.groups == 1
        && (p.out_height, p.out_width) == (1, 1)
        && (p.padding_top, p.padding_left) == (0, 0)
        && (p.dilation_height, p.dilation_width) == (1, 1)
        && (p.in_height, p.in_width) == (p.kernel_height, p.kernel_width);
    let (columns, rows) = (p.in_channels * p.kernel_height * p.kernel_width, p.out_channels);
    match (one_window, call.kernel) {
        (true, KernelId::conv2d) => fours(&[columns]),
        // The cotangent by the weights as they lie; or it, read along rows, by the image as it lies.
        (true, _) => fours(&[rows, columns]),
        (_, KernelId::conv2d_grad_input) => {
            let channels = p.in_channels / p.groups;
            fours(&[p.out_channels / p.groups]) && (channels <= 16 || fours(&[channels]))
        }
        (_, KernelId::conv2d) => fours(&[p.in_channels / p.groups]),
        _ => fours(&[p.in_channels / p.groups, p.out_channels / p.groups]),
    }
}

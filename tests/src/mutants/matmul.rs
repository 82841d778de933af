//! Faults in matrix products.

use super::{Fault, Faults, drop_where, inputs, outputs, reads};
use belamy_tensor::kernel::KernelId;
use belamy_tensor::ops::matmul::MatmulParams;

/// The family's faults: in words, the kernel, the fault.
pub(super) fn faults() -> Faults {
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

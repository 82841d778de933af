//! `matmul`: see `belamy_tensor::ops::matmul` for the mathematics.
//!
//! The oracle: one invocation owns one element of y and sums over k in f64, in order. The fast path, at any size:
//! a packed matrix multiply for each batch, in whichever of the four orientations the operands are stored; batches
//! run in parallel when one of them is too small to be split. Over fewer than [`LONG_DEPTH`] k a matrix unit is left alone:
//! there is as much to take apart as to multiply, and a [`RowProgram`](crate::RowProgram) makes the same sums.

use super::{Real, Run, fill_chunks, fill_heavy, for_real};
use crate::gemm::{GemmElement, LONG_DEPTH, Matrix, PARALLEL_WORK, gemm};
use belamy_tensor::ops::matmul::MatmulParams;

pub(super) fn matmul(run: Run<'_>) {
    if run.fast {
        for_real!(run, matmul_packed);
    } else {
        for_real!(run, matmul_direct);
    }
}

fn matmul_packed<E: Real + GemmElement>(mut run: Run<'_>) {
    let p = MatmulParams::decode(&run.params);
    let (m, n, k) = (p.m as usize, p.n as usize, p.k as usize);
    let (a, b) = (run.input::<E>(0), run.input::<E>(1));
    let kernel = E::kernel_if(run.products, k >= LONG_DEPTH);
    let y = run.output::<E>();
    if y.is_empty() {
        return;
    }
    let one = |batch: usize, y: &mut [E]| {
        let a = &a[batch * p.batch_stride_a as usize * m * k..];
        let b = &b[batch * p.batch_stride_b as usize * k * n..];
        let a = match p.transpose_a {
            1 => Matrix::depth_by_lanes(a, m),
            _ => Matrix::lanes_by_depth(a, k),
        };
        let b = match p.transpose_b {
            1 => Matrix::lanes_by_depth(b, k),
            _ => Matrix::depth_by_lanes(b, n),
        };
        gemm(kernel, m, n, k, &a, &b, y);
    };
    let together = (PARALLEL_WORK / (m * n * k).max(1)).max(1); // batches in one job
    fill_chunks(y, together * m * n, |start, y| {
        for (index, y) in y.chunks_exact_mut(m * n).enumerate() {
            one(start / (m * n) + index, y);
        }
    });
}

fn matmul_direct<E: Real>(mut run: Run<'_>) {
    let p = MatmulParams::decode(&run.params);
    let (m, n, k) = (p.m as usize, p.n as usize, p.k as usize);
    let (a, b) = (run.input::<E>(0), run.input::<E>(1));
    let (row_a, step_a) = if p.transpose_a == 1 { (1, m) } else { (k, 1) };
    let (column_b, step_b) = if p.transpose_b == 1 { (k, 1) } else { (1, n) };
    fill_heavy(run.output::<E>(), k, |index| {
        let (batch, row, column) = (index / (m * n), index / n % m, index % n);
        let from_a = batch * p.batch_stride_a as usize * m * k + row * row_a;
        let from_b = batch * p.batch_stride_b as usize * k * n + column * column_b;
        let sum: f64 =
            (0..k).map(|i| a[from_a + i * step_a].to_f64() * b[from_b + i * step_b].to_f64()).sum();
        E::from_f64(sum)
    });
}

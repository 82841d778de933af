//! The micro-kernel for products of bf16 by AVX512-BF16: twice the multiplications of AVX-512 in f32.
//!
//! One instruction adds two products to each of 16 sums: its operands are pairs of bf16, neighbours along k, in the
//! place of one f32. It takes numbers below the smallest normal one for zeros. (Zen 4 does
//! twice as many of these multiplications a cycle as of f32. A Xeon that has a matrix unit too took longer by them than in
//! f32: that is what `micro_amx` is for.)

use super::kernel::Kernel;
use super::micro_simd::micro_kernel;
use std::arch::x86_64::{__m512, __m512bh, _mm512_dpbf16_ps};

/// The kernel, where the processor has the instructions.
pub(super) fn kernel() -> Option<Kernel<f32>> {
    if is_x86_feature_detected!("avx512bf16") { f32::kernel() } else { None }
}

/// `sum + a₀ b₀ + a₁ b₁` in each place, of pairs of bf16.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn add_products(a: __m512, b: __m512, sum: __m512) -> __m512 {
    // SAFETY: both types are the same 64 bytes, of which all values are valid.
    let (a, b) = unsafe {
        (std::mem::transmute::<__m512, __m512bh>(a), std::mem::transmute::<__m512, __m512bh>(b))
    };
    _mm512_dpbf16_ps(sum, a, b)
}

micro_kernel! {
    f32, Avx512, features "avx512f,avx512bf16", Pairs,
    vector __m512 of 16, rows 12 as [1 2 3 4 5 6 7 8 9 10 11 12],
    _mm512_setzero_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_set1_ps, super::add_products,
    _mm512_add_ps
}

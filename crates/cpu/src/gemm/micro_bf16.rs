//! The micro-kernel for products of bf16 by AVX512-BF16: twice the multiplications of AVX-512 in f32.
//!
//! One instruction adds two products to each of 16 sums: its operands are pairs of bf16, neighbours along k, in the
//! place of one f32. It takes numbers below the smallest normal one for zeros. (Zen 4 does
//! twice as many of these multiplications a cycle as of f32. A Xeon that has a matrix unit too took longer by them than in
//! f32: that is what `micro_amx` is for.)

use super::kernel::Kernel;
use super::micro_simd::micro_kernel;
use std::arch::x86_64::*;

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

/// Pairs of neighbours of a lane in `run`, if the processor has the instructions; false if not.
pub(super) fn pair_lane(lane: &[f32], run: &mut [f32]) -> bool {
    let can = is_x86_feature_detected!("avx512bf16");
    if can {
        // SAFETY: the processor has the instructions.
        unsafe { pair_neighbours(lane, run) };
    }
    can
}

#[target_feature(enable = "avx512f,avx512bf16")]
fn pair_neighbours(lane: &[f32], run: &mut [f32]) {
    let ((whole, rest), run) = (lane.as_chunks::<32>(), &mut run[..lane.len().div_ceil(2)]);
    let (to, run) = run.split_at_mut(16 * whole.len());
    for (from, to) in whole.iter().zip(to.as_chunks_mut::<16>().0) {
        // SAFETY: the arrays have 32 and 16 numbers; both types are the same 64 bytes, of which all values are valid.
        unsafe {
            let [earlier, later] = [0, 16].map(|at| _mm512_loadu_ps(from.as_ptr().add(at)));
            let pairs = _mm512_cvtne2ps_pbh(later, earlier);
            _mm512_storeu_ps(to.as_mut_ptr(), std::mem::transmute::<__m512bh, __m512>(pairs));
        }
    }
    for (from, to) in rest.chunks(32).zip(run.chunks_mut(16)) {
        let later = from.get(16..).unwrap_or_default();
        // SAFETY: both types are the same 64 bytes, of which all values are valid.
        let pairs = unsafe {
            std::mem::transmute::<__m512bh, __m512>(_mm512_cvtne2ps_pbh(some(later), some(from)))
        };
        store_some(to, pairs);
    }
}

/// Two rows' lanes as pairs, if the processor has the instructions; false if not.
pub(super) fn pair_rows(earlier: &[f32], later: &[f32], to: &mut [f32]) -> bool {
    let can = is_x86_feature_detected!("avx512bf16");
    if can {
        // SAFETY: the processor has the instructions.
        unsafe { pair_lanes(earlier, later, to) };
    }
    can
}

#[target_feature(enable = "avx512f,avx512bf16")]
fn pair_lanes(earlier: &[f32], later: &[f32], to: &mut [f32]) {
    let ((earlier, earlier_rest), (later, later_rest)) =
        (earlier.as_chunks::<16>(), later.as_chunks::<16>());
    let (to, to_rest) = to.as_chunks_mut::<16>();
    for ((earlier, later), to) in earlier.iter().zip(later).zip(to) {
        // SAFETY: the arrays have 16 numbers.
        unsafe {
            let (earlier, later) =
                (_mm512_loadu_ps(earlier.as_ptr()), _mm512_loadu_ps(later.as_ptr()));
            _mm512_storeu_ps(to.as_mut_ptr(), pair(earlier, later));
        }
    }
    store_some(to_rest, pair(some(earlier_rest), some(later_rest)));
}

/// Numbers of two rows as pairs.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn pair(earlier: __m512, later: __m512) -> __m512 {
    // SAFETY: both types are the same 32 bytes, of which all values are valid.
    let half =
        |row: __m512| unsafe { std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(row)) };
    let (earlier, later) =
        (_mm512_cvtepu16_epi32(half(earlier)), _mm512_cvtepu16_epi32(half(later)));
    _mm512_castsi512_ps(_mm512_or_si512(earlier, _mm512_slli_epi32::<16>(later)))
}

/// The first numbers of a slice, at most 16, and zeros.
#[inline]
#[target_feature(enable = "avx512f")]
fn some(from: &[f32]) -> __m512 {
    // SAFETY: only as many are read as there are.
    unsafe { _mm512_maskz_loadu_ps(first(from.len()), from.as_ptr()) }
}

/// Writes all of a slice of at most 16 numbers.
#[inline]
#[target_feature(enable = "avx512f")]
fn store_some(to: &mut [f32], values: __m512) {
    // SAFETY: only as many are written as there are.
    unsafe { _mm512_mask_storeu_ps(to.as_mut_ptr(), first(to.len()), values) }
}

/// A bit for each of so many first ones.
fn first(count: usize) -> u16 {
    ((1u32 << count.min(16)) - 1) as u16
}

micro_kernel! {
    f32, Avx512, features "avx512f,avx512bf16", Pairs,
    vector __m512 of 16,
    rows 12 as [1 2 3 4 5 6 7 8 9 10 11 12], of three vectors [1 2 3 4 5 6 7 8],
    _mm512_setzero_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_set1_ps, super::add_products,
    _mm512_add_ps,
    named "vbroadcastss" "vdpbf16ps", of "4" bytes in zmm_reg
}

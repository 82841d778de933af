//! Micro-kernels for AVX-512F: 24 of the 32 registers hold sums.

use super::micro_simd::micro_kernel;

micro_kernel! {
    f32, Avx512, features "avx512f", AsTheyAre,
    vector __m512 of 16,
    rows 12 as [1 2 3 4 5 6 7 8 9 10 11 12], of three vectors [1 2 3 4 5 6 7 8],
    _mm512_setzero_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_set1_ps, _mm512_fmadd_ps,
    _mm512_add_ps,
    named "vbroadcastss" "vfmadd231ps", of "4" bytes in zmm_reg
}

micro_kernel! {
    f64, Avx512, features "avx512f", AsTheyAre,
    vector __m512d of 8,
    rows 12 as [1 2 3 4 5 6 7 8 9 10 11 12], of three vectors [1 2 3 4 5 6 7 8],
    _mm512_setzero_pd, _mm512_loadu_pd, _mm512_storeu_pd, _mm512_set1_pd, _mm512_fmadd_pd,
    _mm512_add_pd,
    named "vbroadcastsd" "vfmadd231pd", of "8" bytes in zmm_reg
}

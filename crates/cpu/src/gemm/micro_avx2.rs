//! Micro-kernels for AVX2 with FMA: 12 of the 16 registers hold sums.

use super::micro_simd::micro_kernel;

micro_kernel! {
    f32, Avx2, features "avx2,fma", AsTheyAre,
    vector __m256 of 8,
    rows 6 as [1 2 3 4 5 6], of three vectors [1 2 3 4],
    _mm256_setzero_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_set1_ps, _mm256_fmadd_ps,
    _mm256_add_ps,
    named "vbroadcastss" "vfmadd231ps", of "4" bytes in ymm_reg
}

micro_kernel! {
    f64, Avx2, features "avx2,fma", AsTheyAre,
    vector __m256d of 4,
    rows 6 as [1 2 3 4 5 6], of three vectors [1 2 3 4],
    _mm256_setzero_pd, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_set1_pd, _mm256_fmadd_pd,
    _mm256_add_pd,
    named "vbroadcastsd" "vfmadd231pd", of "8" bytes in ymm_reg
}

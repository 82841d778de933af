//! Squares of 16 × 16 numbers of f32, transposed in registers: rows that lie anywhere become columns that do.
//!
//! `to[stride·k + lane] = from[lane][k]`. By single numbers it takes a load and a store for each of 256; AVX-512 does it
//! in 64 shuffles: pairs of numbers, pairs of pairs, then quarters of a register twice; AVX2 in 96, by four squares of 8.

#[cfg(target_arch = "x86_64")]
use crate::vectors::InstructionSet;

/// Numbers of a side: those of one register of AVX-512.
pub(crate) const SIDE: usize = 16;

/// Writes row `lane` of `from` down column `lane` of `to`, whose rows are `stride` apart. Panics where `to` is too short.
#[cfg_attr(target_arch = "x86_64", allow(unsafe_code))]
#[inline]
pub(crate) fn transpose(from: &[&[f32; SIDE]; SIDE], to: &mut [f32], stride: usize) {
    assert!(stride >= SIDE && to.len() >= (SIDE - 1) * stride + SIDE, "rows of {stride}");
    #[cfg(target_arch = "x86_64")]
    match InstructionSet::best() {
        // SAFETY: `best` found the instructions in this processor, and `to` is as long as was just checked.
        InstructionSet::Avx512 => return unsafe { by_avx512(from, to.as_mut_ptr(), stride) },
        // SAFETY: as above.
        InstructionSet::Avx2 => return unsafe { by_avx2(from, to.as_mut_ptr(), stride) },
        InstructionSet::Portable => {}
    }
    plain(from, to, stride);
}

/// The same number by number, of any type.
pub(crate) fn plain<E: Copy>(from: &[&[E; SIDE]; SIDE], to: &mut [E], stride: usize) {
    for (lane, row) in from.iter().enumerate() {
        for (k, &number) in row.iter().enumerate() {
            to[stride * k + lane] = number;
        }
    }
}

/// # Safety
///
/// `to` must have 16 numbers at each of 16 places that are `stride` apart.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
#[target_feature(enable = "avx512f")]
unsafe fn by_avx512(from: &[&[f32; SIDE]; SIDE], to: *mut f32, stride: usize) {
    use std::arch::x86_64::*;
    // SAFETY: a row has the 16 numbers of a register.
    let rows = from.map(|row| unsafe { _mm512_loadu_ps(row.as_ptr()) });
    // Names are (lane, k): after this, register 4g + i has in its quarter q the k = 4q + i of lanes 4g to 4g + 3.
    let mut fours = [_mm512_setzero_ps(); SIDE];
    for group in 0..4 {
        let [a, b, c, d] = std::array::from_fn(|lane| rows[4 * group + lane]);
        let pairs = [
            _mm512_unpacklo_ps(a, b),
            _mm512_unpacklo_ps(c, d),
            _mm512_unpackhi_ps(a, b),
            _mm512_unpackhi_ps(c, d),
        ];
        let [ab, cd, ab_high, cd_high] = pairs.map(|pair| _mm512_castps_pd(pair));
        fours[4 * group] = _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd));
        fours[4 * group + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd));
        fours[4 * group + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(ab_high, cd_high));
        fours[4 * group + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(ab_high, cd_high));
    }
    for i in 0..4 {
        let [a, b, c, d] = std::array::from_fn(|group| fours[4 * group + i]);
        // Quarters 0 and 2, 1 and 3, of two groups of lanes; then of all four.
        let (even, odd) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
        let (even_2, odd_2) =
            (_mm512_shuffle_f32x4::<0x88>(c, d), _mm512_shuffle_f32x4::<0xdd>(c, d));
        let columns = [
            _mm512_shuffle_f32x4::<0x88>(even, even_2),
            _mm512_shuffle_f32x4::<0x88>(odd, odd_2),
            _mm512_shuffle_f32x4::<0xdd>(even, even_2),
            _mm512_shuffle_f32x4::<0xdd>(odd, odd_2),
        ];
        for (quarter, column) in columns.into_iter().enumerate() {
            // SAFETY: k = 4·quarter + i is below 16, and the caller has seen to the rest.
            unsafe { _mm512_storeu_ps(to.add(stride * (4 * quarter + i)), column) };
        }
    }
}

/// # Safety
///
/// `to` must have 16 numbers at each of 16 places that are `stride` apart.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
#[target_feature(enable = "avx2")]
unsafe fn by_avx2(from: &[&[f32; SIDE]; SIDE], to: *mut f32, stride: usize) {
    use std::arch::x86_64::*;
    /// Numbers of a register.
    const HALF: usize = SIDE / 2;
    for (lane, k) in [(0, 0), (0, HALF), (HALF, 0), (HALF, HALF)] {
        let load = |row: usize| {
            let row: &[f32; HALF] = from[lane + row][k..].first_chunk().expect("half a row");
            // SAFETY: half a row has the 8 numbers of a register.
            unsafe { _mm256_loadu_ps(row.as_ptr()) }
        };
        // Names are (lane, k): after this, the i-th of the first four has in its half q the k = 4q + i of lanes 0 to 3, and
        // the i-th of the others those of lanes 4 to 7.
        let fours = |a: __m256, b: __m256, c: __m256, d: __m256| {
            let pairs = [
                _mm256_unpacklo_ps(a, b),
                _mm256_unpacklo_ps(c, d),
                _mm256_unpackhi_ps(a, b),
                _mm256_unpackhi_ps(c, d),
            ];
            let [ab, cd, ab_high, cd_high] = pairs.map(|pair| _mm256_castps_pd(pair));
            [
                _mm256_unpacklo_pd(ab, cd),
                _mm256_unpackhi_pd(ab, cd),
                _mm256_unpacklo_pd(ab_high, cd_high),
                _mm256_unpackhi_pd(ab_high, cd_high),
            ]
            .map(|four| _mm256_castpd_ps(four))
        };
        let low = fours(load(0), load(1), load(2), load(3));
        let high = fours(load(4), load(5), load(6), load(7));
        for i in 0..4 {
            let columns = [
                _mm256_permute2f128_ps::<0x20>(low[i], high[i]),
                _mm256_permute2f128_ps::<0x31>(low[i], high[i]),
            ];
            for (half, column) in columns.into_iter().enumerate() {
                // SAFETY: k + 4·half + i and lane + 7 are below 16, and the caller has seen to the rest.
                unsafe { _mm256_storeu_ps(to.add(stride * (k + 4 * half + i) + lane), column) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(target_arch = "x86_64", allow(unsafe_code))]
    fn rows_become_columns_and_nothing_else_is_written() {
        let rows: [[f32; SIDE]; SIDE] =
            std::array::from_fn(|lane| std::array::from_fn(|k| (100 * lane + k) as f32));
        type Work = fn(&[&[f32; SIDE]; SIDE], &mut [f32], usize);
        let mut works: Vec<Work> = vec![transpose, plain];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has the instructions, and `to` below is long enough.
            works.push(|from, to, stride| unsafe { by_avx2(from, to.as_mut_ptr(), stride) });
        }
        for stride in [16, 17, 32, 400] {
            for work in &works {
                let mut to = vec![-1.0; (SIDE - 1) * stride + SIDE + 1];
                work(&rows.each_ref(), &mut to, stride);
                for (at, &number) in to.iter().enumerate() {
                    let (k, lane) = (at / stride, at % stride);
                    let want = if k < SIDE && lane < SIDE { rows[lane][k] } else { -1.0 };
                    assert_eq!(number, want, "row {k}, lane {lane} of rows {stride} apart");
                }
            }
        }
    }
}

//! Squares of 16 × 16 numbers of f32, transposed in registers: rows that lie anywhere become columns that do.
//!
//! `to[stride·k + lane] = from[lane][k]`. By single numbers it takes a load and a store for each of 256; AVX-512 does it
//! in 64 shuffles: pairs of numbers, pairs of pairs, then quarters of a register twice.

/// Numbers of a side: those of one register of AVX-512.
pub(crate) const SIDE: usize = 16;

/// Writes row `lane` of `from` down column `lane` of `to`, whose rows are `stride` apart. Panics where `to` is too short.
#[cfg_attr(target_arch = "x86_64", allow(unsafe_code))]
#[inline]
pub(crate) fn transpose(from: &[&[f32; SIDE]; SIDE], to: &mut [f32], stride: usize) {
    assert!(stride >= SIDE && to.len() >= (SIDE - 1) * stride + SIDE, "rows of {stride}");
    #[cfg(target_arch = "x86_64")]
    if crate::vectors::InstructionSet::best() == crate::vectors::InstructionSet::Avx512 {
        // SAFETY: `best` found the instructions in this processor, and `to` is as long as was just checked.
        return unsafe { in_registers(from, to.as_mut_ptr(), stride) };
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
unsafe fn in_registers(from: &[&[f32; SIDE]; SIDE], to: *mut f32, stride: usize) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_columns_and_nothing_else_is_written() {
        let rows: [[f32; SIDE]; SIDE] =
            std::array::from_fn(|lane| std::array::from_fn(|k| (100 * lane + k) as f32));
        for stride in [16, 17, 32, 400] {
            let work = [transpose, plain as fn(&[&[f32; SIDE]; SIDE], &mut [f32], usize)];
            for work in work {
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

//! Winograd's minimal filtering in one dimension: four outputs of a filter of two, three or five taps.
//!
//! ```text
//! y = Aᵀ [(G g) ⊙ (Bᵀ d)]        d: POINTS inputs   g: TAPS   y: OUTPUTS, y[i] = Σ_u g[u] d[i + u]
//! ```
//!
//! POINTS = OUTPUTS + TAPS − 1 multiplications instead of OUTPUTS·TAPS. The matrices are those of Toom and Cook: polynomials are
//! evaluated at small numbers and ∞, multiplied there, and interpolated. Points ±1, ±2, ±½ cost a few bits of accuracy
//! (the powers up to 2³ in Aᵀ), which `winograd::tests` bounds. In two dimensions each matrix is applied to the
//! columns, then to the rows (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016).
//!
//! The gradient of the filter has the transposed matrices: ḡ = Gᵀ [(Bᵀ d) ⊙ (A ȳ)].

use crate::gemm::DEPTH_BLOCK;

/// Channels that are transformed together: one vector of AVX-512, two of AVX2.
pub(super) const LANES: usize = 16;

/// The most points of any tiling.
pub(super) const MOST_POINTS: usize = 8;

/// One number of each of [`LANES`] channels.
pub(super) type Lanes = [f32; LANES];

/// Zero in each channel.
pub(super) const ZERO: Lanes = [0.0; LANES];

/// A tile, or what lies between the transform of its columns and of its rows.
pub(super) type Square = [[Lanes; MOST_POINTS]; MOST_POINTS];

/// A tile of zeros.
pub(super) const EMPTY: Square = [[ZERO; MOST_POINTS]; MOST_POINTS];

/// Numbers along one side of a tile: the first POINTS, TAPS or OUTPUTS count.
pub(super) type Line = [f32; MOST_POINTS];

/// `OUTPUTS` outputs of a filter of `TAPS` taps by `POINTS` multiplications.
pub(super) trait Tiling {
    /// Taps of the filter.
    const TAPS: usize;
    /// Outputs of a tile along one side.
    const OUTPUTS: usize;
    /// Multiplications, and inputs of a tile.
    const POINTS: usize = Self::OUTPUTS + Self::TAPS - 1;
    /// How many products are summed in registers: what rounding leaves in sums, Aᵀ magnifies, and long sums leave more.
    const DEPTH: usize = DEPTH_BLOCK;

    /// Bᵀ d.
    fn input(d: Line) -> Line;
    /// G g.
    fn weight(g: Line) -> Line;
    /// Aᵀ m.
    fn output(m: Line) -> Line;
    /// A ȳ.
    fn cotangent(y: Line) -> Line;
    /// Gᵀ ū.
    fn weight_gradient(u: Line) -> Line;
}

/// Two taps; points 0, 1, −1, 2, ∞. Of 4 × 4 at stride 2, and 2 × 2 at stride 1.
pub(super) struct TwoTaps;

impl Tiling for TwoTaps {
    const TAPS: usize = 2;
    const OUTPUTS: usize = 4;

    #[inline(always)]
    fn input(d: Line) -> Line {
        let (twice_d1, d3_less_d2) = (d[1] + d[1], d[3] - d[2]);
        [
            (d[0] - d[2]) * 2.0 + (d[3] - d[1]),
            d3_less_d2 - twice_d1,
            d3_less_d2 + twice_d1 - (d[2] + d[2]),
            d[3] - d[1],
            (d[1] - d[3]) * 2.0 + (d[4] - d[2]),
            0.0,
            0.0,
            0.0,
        ]
    }

    #[inline(always)]
    fn weight(g: Line) -> Line {
        [
            g[0] * (1.0 / 2.0),
            (g[0] + g[1]) * (-1.0 / 2.0),
            (g[1] - g[0]) * (1.0 / 6.0),
            (g[0] + g[1] + g[1]) * (1.0 / 6.0),
            g[1],
            0.0,
            0.0,
            0.0,
        ]
    }

    #[inline(always)]
    fn output(m: Line) -> Line {
        let (sum, difference) = (m[1] + m[2], m[1] - m[2]);
        [
            m[0] + sum + m[3],
            difference + m[3] * 2.0,
            sum + m[3] * 4.0,
            difference + m[3] * 8.0 + m[4],
            0.0,
            0.0,
            0.0,
            0.0,
        ]
    }

    #[inline(always)]
    fn cotangent(y: Line) -> Line {
        let (even, odd) = (y[0] + y[2], y[1] + y[3]);
        [
            y[0],
            even + odd,
            even - odd,
            y[0] + y[1] * 2.0 + y[2] * 4.0 + y[3] * 8.0,
            y[3],
            0.0,
            0.0,
            0.0,
        ]
    }

    #[inline(always)]
    fn weight_gradient(u: Line) -> Line {
        [
            (u[0] - u[1]) * (1.0 / 2.0) + (u[3] - u[2]) * (1.0 / 6.0),
            (u[2] + u[3] + u[3]) * (1.0 / 6.0) - u[1] * (1.0 / 2.0) + u[4],
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
        ]
    }
}

/// Three taps; points 0, 1, −1, 2, −2, ∞. Of 3 × 3 at stride 1, and of 5 × 5 at stride 2.
pub(super) struct ThreeTaps;

impl Tiling for ThreeTaps {
    const TAPS: usize = 3;
    const OUTPUTS: usize = 4;

    #[inline(always)]
    fn input(d: Line) -> Line {
        let (even, odd) = (d[4] - d[2] * 4.0, d[3] - d[1] * 4.0);
        let (near_even, near_odd) = (d[4] - d[2], (d[3] - d[1]) * 2.0);
        [
            (d[0] - d[2]) * 4.0 + near_even,
            even + odd,
            even - odd,
            near_even + near_odd,
            near_even - near_odd,
            (d[1] - d[3]) * 4.0 + (d[5] - d[3]),
            0.0,
            0.0,
        ]
    }

    #[inline(always)]
    fn weight(g: Line) -> Line {
        let (even, far_even) = ((g[0] + g[2]) * (-1.0 / 6.0), (g[0] + g[2] * 4.0) * (1.0 / 24.0));
        let (odd, far_odd) = (g[1] * (1.0 / 6.0), g[1] * (1.0 / 12.0));
        [
            g[0] * (1.0 / 4.0),
            even - odd,
            even + odd,
            far_even + far_odd,
            far_even - far_odd,
            g[2],
            0.0,
            0.0,
        ]
    }

    #[inline(always)]
    fn output(m: Line) -> Line {
        let (sum, difference) = (m[1] + m[2], m[1] - m[2]);
        let (far_sum, far_difference) = (m[3] + m[4], m[3] - m[4]);
        [
            m[0] + sum + far_sum,
            difference + far_difference * 2.0,
            sum + far_sum * 4.0,
            difference + far_difference * 8.0 + m[5],
            0.0,
            0.0,
            0.0,
            0.0,
        ]
    }

    #[inline(always)]
    fn cotangent(y: Line) -> Line {
        let (even, odd) = (y[0] + y[2], y[1] + y[3]);
        let (far_even, far_odd) = (y[0] + y[2] * 4.0, y[1] * 2.0 + y[3] * 8.0);
        [y[0], even + odd, even - odd, far_even + far_odd, far_even - far_odd, y[3], 0.0, 0.0]
    }

    #[inline(always)]
    fn weight_gradient(u: Line) -> Line {
        let (sum, difference) = ((u[1] + u[2]) * (1.0 / 6.0), (u[2] - u[1]) * (1.0 / 6.0));
        let (far_sum, far_difference) = (u[3] + u[4], u[3] - u[4]);
        [
            u[0] * (1.0 / 4.0) - sum + far_sum * (1.0 / 24.0),
            difference + far_difference * (1.0 / 12.0),
            far_sum * (1.0 / 6.0) - sum + u[5],
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
        ]
    }
}

/// Five taps; points 0, 1, −1, 2, −2, ½, −½, ∞. Of 5 × 5 at stride 1.
pub(super) struct FiveTaps;

impl Tiling for FiveTaps {
    const TAPS: usize = 5;
    const OUTPUTS: usize = 4;
    // Over 256 channels at once results are off by 5.9e-6 of their own, in halves by 4.3e-6.
    const DEPTH: usize = DEPTH_BLOCK / 2;

    #[inline(always)]
    fn input(d: Line) -> Line {
        let (even, odd) = ((d[2] + d[6]) - d[4] * 4.25, (d[1] + d[5]) - d[3] * 4.25);
        let (far_even, far_odd) =
            ((d[6] + d[2] * 0.25) - d[4] * 1.25, (d[1] * 0.5 + d[5] * 2.0) - d[3] * 2.5);
        let (near_even, near_odd) =
            ((d[6] + d[2] * 4.0) - d[4] * 5.0, (d[1] * 2.0 + d[5] * 0.5) - d[3] * 2.5);
        [
            (d[0] - d[6]) + (d[4] - d[2]) * 5.25,
            even + odd,
            even - odd,
            far_even + far_odd,
            far_even - far_odd,
            near_even + near_odd,
            near_even - near_odd,
            (d[7] - d[1]) + (d[3] - d[5]) * 5.25,
        ]
    }

    #[inline(always)]
    fn weight(g: Line) -> Line {
        let (even, odd) = (g[0] + g[2] + g[4], g[1] + g[3]);
        let (far_even, far_odd) = (g[0] + g[2] * 4.0 + g[4] * 16.0, g[1] * 2.0 + g[3] * 8.0);
        let (near_even, near_odd) = (g[0] + g[2] * 0.25 + g[4] * 0.0625, g[1] * 0.5 + g[3] * 0.125);
        [
            g[0],
            (even + odd) * (-2.0 / 9.0),
            (even - odd) * (-2.0 / 9.0),
            (far_even + far_odd) * (1.0 / 90.0),
            (far_even - far_odd) * (1.0 / 90.0),
            (near_even + near_odd) * (32.0 / 45.0),
            (near_even - near_odd) * (32.0 / 45.0),
            g[4],
        ]
    }

    #[inline(always)]
    fn output(m: Line) -> Line {
        let (sum, difference) = (m[1] + m[2], m[1] - m[2]);
        let (far_sum, far_difference) = (m[3] + m[4], m[3] - m[4]);
        let (near_sum, near_difference) = (m[5] + m[6], m[5] - m[6]);
        [
            (m[0] + sum) + (far_sum + near_sum),
            difference + (far_difference * 2.0 + near_difference * 0.5),
            sum + (far_sum * 4.0 + near_sum * 0.25),
            (difference + m[7]) + (far_difference * 8.0 + near_difference * 0.125),
            0.0,
            0.0,
            0.0,
            0.0,
        ]
    }

    #[inline(always)]
    fn cotangent(y: Line) -> Line {
        let (even, odd) = (y[0] + y[2], y[1] + y[3]);
        let (far_even, far_odd) = (y[0] + y[2] * 4.0, y[1] * 2.0 + y[3] * 8.0);
        let (near_even, near_odd) = (y[0] + y[2] * 0.25, y[1] * 0.5 + y[3] * 0.125);
        [
            y[0],
            even + odd,
            even - odd,
            far_even + far_odd,
            far_even - far_odd,
            near_even + near_odd,
            near_even - near_odd,
            y[3],
        ]
    }

    #[inline(always)]
    fn weight_gradient(u: Line) -> Line {
        let (sum, difference) = ((u[1] + u[2]) * (-2.0 / 9.0), (u[1] - u[2]) * (-2.0 / 9.0));
        let (far_sum, far_difference) =
            ((u[3] + u[4]) * (1.0 / 90.0), (u[3] - u[4]) * (1.0 / 90.0));
        let (near_sum, near_difference) =
            ((u[5] + u[6]) * (32.0 / 45.0), (u[5] - u[6]) * (32.0 / 45.0));
        [
            (u[0] + sum) + (far_sum + near_sum),
            difference + (far_difference * 2.0 + near_difference * 0.5),
            sum + (far_sum * 4.0 + near_sum * 0.25),
            difference + (far_difference * 8.0 + near_difference * 0.125),
            (sum + u[7]) + (far_sum * 16.0 + near_sum * 0.0625),
            0.0,
            0.0,
            0.0,
        ]
    }
}

/// A 1-D transform of `from` numbers to `to`, of the columns first and then of the rows, for [`LANES`] channels at once:
/// numbers come from `load(row, column)` and go to `store(row, column, numbers)`. `columns` is space to work in.
///
/// Written out for each column and row: where in memory a number lies is then known in advance, and costs no multiplication.
#[inline(always)]
pub(super) fn in_two_dimensions<'a>(
    [from, to]: [usize; 2],
    columns: &mut Square,
    load: impl Fn(usize, usize) -> &'a Lanes,
    transform: impl Fn(Line) -> Line,
    mut store: impl FnMut(usize, usize, &Lanes),
) {
    macro_rules! each {
        ($count:expr, |$index:ident| $body:block) => {
            each!(@ $count, $index, $body, 0 1 2 3 4 5 6 7)
        };
        (@ $count:expr, $index:ident, $body:block, $($value:literal)*) => {
            $(if $value < $count {
                let $index = $value;
                $body
            })*
        };
    }
    each!(from, |j| {
        let number = |i: usize| if i < from { load(i, j) } else { &ZERO };
        in_each_lane(numbers(number), &mut columns[j], to, &transform);
    });
    let mut row = [ZERO; MOST_POINTS];
    each!(to, |i| {
        let number = |j: usize| if j < from { &columns[j][i] } else { &ZERO };
        in_each_lane(numbers(number), &mut row, to, &transform);
        each!(to, |j| {
            store(i, j, &row[j]);
        });
    });
}

/// The multiples of a number: where each point begins.
#[inline(always)]
pub(super) fn multiples(number: usize) -> [usize; MOST_POINTS * MOST_POINTS] {
    std::array::from_fn(|point| point * number)
}

/// Writes lanes to `out[at..]`, `width` of them together and `part` elements from those to the next; `at` is a multiple of the
/// width.
#[inline(always)]
pub(super) fn store_lanes(out: &mut [f32], at: usize, lanes: &Lanes, width: usize, part: usize) {
    if width == LANES {
        // Whole groups lie at multiples of their length: one comparison and one store.
        out.as_chunks_mut().0[at / LANES] = *lanes;
    } else {
        for (index, lanes) in lanes.chunks_exact(width).enumerate() {
            out[at + index * part..][..width].copy_from_slice(lanes);
        }
    }
}

/// The numbers of a line. Written out: `map` over eight would be a call of another function.
#[inline(always)]
fn numbers<'a>(number: impl Fn(usize) -> &'a Lanes) -> [&'a Lanes; MOST_POINTS] {
    [number(0), number(1), number(2), number(3), number(4), number(5), number(6), number(7)]
}

/// A 1-D transform of each lane, of which the first `count` numbers are kept: a loop without branches over [`LANES`], which
/// becomes vector instructions.
#[inline(always)]
fn in_each_lane(
    from: [&Lanes; MOST_POINTS],
    to: &mut [Lanes; MOST_POINTS],
    count: usize,
    transform: impl Fn(Line) -> Line,
) {
    for lane in 0..LANES {
        let line = transform([
            from[0][lane],
            from[1][lane],
            from[2][lane],
            from[3][lane],
            from[4][lane],
            from[5][lane],
            from[6][lane],
            from[7][lane],
        ]);
        macro_rules! keep {
            ($($index:literal)*) => {
                $(if $index < count {
                    to[$index][lane] = line[$index];
                })*
            };
        }
        keep!(0 1 2 3 4 5 6 7);
    }
}

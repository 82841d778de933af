//! bf16, the upper half of an f32: 8 bits of significand, rounded to nearest, ties to even.

use super::GemmElement;
use super::kernel::Operands;
use super::pack::{Layout, RUN, ask_for_row};
use crate::vectors::vectorised;

/// The bf16 that is nearest to a number; NaN stays NaN.
#[inline(always)]
fn rounded(value: f32) -> u32 {
    let bits = value.to_bits();
    let nearest = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    if value.is_nan() { bits >> 16 | 0x40 } else { nearest }
}

/// The f32 of a bf16.
#[inline(always)]
fn widened(value: u32) -> f32 {
    f32::from_bits(value << 16)
}

/// Two bf16 in the place of one f32.
#[inline(always)]
fn pair(earlier: f32, later: f32) -> f32 {
    f32::from_bits(rounded(earlier) | rounded(later) << 16)
}

/// Rounds packed operands of `depth`: panels `[panel][depth][width]` or runs `[lane][RUN]`.
pub(super) fn round_packed(
    operands: Operands,
    layout: Layout,
    depth: usize,
    width: usize,
    packed: &mut [f32],
) {
    match (operands, layout) {
        (Operands::AsTheyAre | Operands::Parts, _) => {}
        (Operands::Rounded, Layout::Panels) => round_each(packed),
        (Operands::Rounded, Layout::Runs) => {
            packed.chunks_exact_mut(RUN).for_each(|run| round_each(&mut run[..depth]));
        }
        (Operands::Pairs, Layout::Panels) => {
            packed.chunks_exact_mut(depth * width).for_each(|panel| pair_rows(panel, width));
        }
        (Operands::Pairs, Layout::Runs) => {
            packed.chunks_exact_mut(RUN).for_each(|run| pair_run(&mut run[..depth]));
        }
    }
}

vectorised! {
    /// Each number rounded, in its place.
    fn round_each(values: &mut [f32]) {
        values.iter_mut().for_each(|value| *value = widened(rounded(*value)));
    }
}

/// Numbers that are put together at once.
const AT_ONCE: usize = 16;

vectorised! {
    /// Pairs of neighbours, in the first half of the run; the last is alone where the run is odd.
    fn pair_run(run: &mut [f32]) {
        let depth = run.len();
        let whole = depth / (2 * AT_ONCE);
        for index in 0..whole {
            let from: [f32; 2 * AT_ONCE] =
                *run[index * 2 * AT_ONCE..].first_chunk().expect("within the whole ones");
            let to: &mut [f32; AT_ONCE] =
                run[index * AT_ONCE..].first_chunk_mut().expect("before what was read");
            for lane in 0..AT_ONCE {
                to[lane] = pair(from[2 * lane], from[2 * lane + 1]);
            }
        }
        for k in whole * AT_ONCE..depth.div_ceil(2) {
            let later = if 2 * k + 1 < depth { run[2 * k + 1] } else { 0.0 };
            run[k] = pair(run[2 * k], later);
        }
    }
}

vectorised! {
    /// Row 2k and row 2k + 1 of a panel as row k; the last is alone where they are odd.
    fn pair_rows(panel: &mut [f32], width: usize) {
        let depth = panel.len() / width;
        for k in 0..depth.div_ceil(2) {
            let is_alone = 2 * k + 1 == depth;
            for lane in (0..width).step_by(4) {
                // Micro-tiles are whole fours wide: read before it is written.
                let row = |row: usize| -> [f32; 4] {
                    *panel[row * width + lane..].first_chunk().expect("whole fours")
                };
                let (earlier, later) =
                    (row(2 * k), if is_alone { [0.0; 4] } else { row(2 * k + 1) });
                let pairs: [f32; 4] = std::array::from_fn(|i| pair(earlier[i], later[i]));
                panel[k * width + lane..][..4].copy_from_slice(&pairs);
            }
        }
    }
}

/// Pairs of neighbours of a lane that lies elsewhere, in `run`.
pub(crate) fn pair_lane(lane: &[f32], run: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if super::micro_bf16::pair_lane(lane, run) {
        return;
    }
    for (from, to) in lane.chunks(2).zip(run) {
        *to = pair(from[0], from.get(1).copied().unwrap_or(0.0));
    }
}

/// The pairs of two rows' lanes; `to` and both have the same number.
pub(crate) fn pair_two_rows(earlier: &[f32], later: &[f32], to: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if super::micro_bf16::pair_rows(earlier, later, to) {
        return;
    }
    for ((to, &earlier), &later) in to.iter_mut().zip(earlier).zip(later) {
        *to = pair(earlier, later);
    }
}

/// Row 2k and row 2k + 1 of `lanes` as row k of their panels, as [`round_packed`] leaves what was dealt.
pub(super) fn deal_pairs(rows: &[&[f32]], lanes: usize, width: usize, panels: &mut [f32]) {
    let (depth, none) = (rows.len(), &<f32 as GemmElement>::ZEROS[..]);
    for k in 0..depth.div_ceil(2) {
        (2 * k..2 * k + 2).for_each(|d| ask_for_row(rows, d, lanes));
        let (earlier, later) = (rows[2 * k], rows.get(2 * k + 1).copied().unwrap_or(none));
        for (index, panel) in panels.chunks_exact_mut(depth * width).enumerate() {
            let first = index * width;
            let (to, missing) = panel[k * width..][..width].split_at_mut(width.min(lanes - first));
            pair_two_rows(&earlier[first..][..to.len()], &later[first..][..to.len()], to);
            missing.fill(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_to_the_nearest_and_from_the_middle_to_the_even_one() {
        let one_and = |bits: u32| f32::from_bits(0x3f80_0000 + bits);
        for (value, want) in [
            (1.0, 1.0),
            (one_and(0x7fff), 1.0),
            (one_and(0x8000), 1.0),
            (one_and(0x8001), one_and(0x1_0000)),
            (one_and(0x1_8000), one_and(0x2_0000)),
            (-one_and(0x8001), -one_and(0x1_0000)),
            (f32::MAX, f32::INFINITY),
            (f32::NEG_INFINITY, f32::NEG_INFINITY),
            (-0.0, -0.0),
        ] {
            assert_eq!(widened(rounded(value)).to_bits(), f32::to_bits(want), "{value}");
        }
        // A NaN whose payload lies in the lower half, and one that would round up to infinity.
        for bits in [0x7f80_0001, 0x7fff_ffff, 0xff80_0001] {
            assert!(widened(rounded(f32::from_bits(bits))).is_nan());
        }
    }

    #[test]
    fn pairs_are_neighbours_along_k() {
        let halves = |value: f32| [value.to_bits() & 0xffff, value.to_bits() >> 16];
        for depth in [1, 2, 31, 32, 33, 100, 256] {
            let number = |k: usize, lane: usize| (k * 7 + lane) as f32;
            let want = |k: usize, lane: usize| {
                [k, k + 1].map(|k| if k < depth { rounded(number(k, lane)) } else { 0 })
            };
            let mut runs = vec![f32::NAN; 3 * RUN];
            for (lane, run) in runs.chunks_exact_mut(RUN).enumerate() {
                (0..depth).for_each(|k| run[k] = number(k, lane));
            }
            round_packed(Operands::Pairs, Layout::Runs, depth, 3, &mut runs);
            let width = 12;
            let mut panels: Vec<f32> = (0..2 * depth * width)
                .map(|at| number(at / width % depth, at % width + at / width / depth * width))
                .collect();
            round_packed(Operands::Pairs, Layout::Panels, depth, width, &mut panels);
            for k in 0..depth.div_ceil(2) {
                for (lane, run) in runs.chunks_exact(RUN).enumerate() {
                    assert_eq!(halves(run[k]), want(2 * k, lane), "run {lane} of {depth} at {k}");
                }
                for lane in 0..2 * width {
                    let at = (lane / width * depth + k) * width + lane % width;
                    assert_eq!(halves(panels[at]), want(2 * k, lane), "panel of {depth} at {k}");
                }
            }
        }
    }

    #[test]
    fn pairs_from_where_numbers_lie_are_those_of_packed_ones() {
        let number = |k: usize, lane: usize| ((k * 37 + lane * 101) % 1009) as f32 / 64.0 - 7.9;
        let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        for depth in [1, 2, 31, 32, 33, 100, 256] {
            let lane: Vec<f32> = (0..depth).map(|k| number(k, 3)).collect();
            let mut packed = vec![f32::NAN; RUN];
            packed[..depth].copy_from_slice(&lane);
            round_packed(Operands::Pairs, Layout::Runs, depth, 1, &mut packed);
            let mut run = vec![f32::NAN; RUN];
            pair_lane(&lane, &mut run);
            let used = depth.div_ceil(2);
            assert_eq!(bits(&run[..used]), bits(&packed[..used]), "a lane of {depth}");
            for (lanes, width) in [(1, 12), (12, 12), (40, 12), (32, 32), (100, 32)] {
                let rows: Vec<Vec<f32>> =
                    (0..depth).map(|k| (0..lanes).map(|lane| number(k, lane)).collect()).collect();
                let rows: Vec<&[f32]> = rows.iter().map(|row| &row[..]).collect();
                let size = lanes.next_multiple_of(width) * depth;
                let [mut packed, mut dealt] = [0, 1].map(|_| vec![f32::NAN; size]);
                crate::gemm::deal_rows(depth, lanes, width, &mut packed, |d, _| Some(rows[d]));
                round_packed(Operands::Pairs, Layout::Panels, depth, width, &mut packed);
                deal_pairs(&rows, lanes, width, &mut dealt);
                for (packed, dealt) in packed.chunks(depth * width).zip(dealt.chunks(depth * width))
                {
                    let used = used * width;
                    assert_eq!(bits(&dealt[..used]), bits(&packed[..used]), "{lanes} of {depth}");
                }
            }
        }
    }
}

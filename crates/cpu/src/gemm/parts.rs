//! f32 as the exact sum of three bf16, so that a unit that multiplies bf16 multiplies f32 (Henry, Tang and Heinecke 2019,
//! "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision Computations", arXiv 1904.06376).
//!
//! ```text
//! x = x₁ + x₂ + x₃      x₁: x rounded to 8 bits, x₂: x − x₁ rounded to 8 bits, x₃: the 8 bits that are left
//! a·b ≈ a₁b₁ + a₁b₂ + a₂b₁ + a₂b₂ + a₁b₃ + a₃b₁       |x₂| ≤ 2⁻⁸ |x|, |x₃| ≤ 2⁻¹⁶ |x|: off by 2⁻²³ |a b| (1 + 2⁻⁹) at most
//! ```
//!
//! Operands are packed as pairs of neighbours along k, in the place of f32, part beside part; k is filled up with zeros to
//! whole steps of 32. So a tile of 16 × 16 pairs can be loaded from either, and each is written from its beginning to its end:
//!
//! ```text
//! A: [panel][32 lanes][step of 32 k][part][16 pairs], and a cache line after each lane
//! B: [panel][step of 32 k][16 pairs][part][32 lanes]
//! ```
//!
//! An operand that is not finite, or so near to the largest number that x₁ is not (3.39e38), makes its products NaN. Parts
//! below the smallest normal number, 2⁻¹²⁶, are taken for zeros: of an operand below 2⁻¹¹⁰ the last bits count for nothing.

use crate::transpose::{SIDE, transpose};
use crate::vectors::{prefetch, vectorised};

/// The terms of a number.
pub(super) const PARTS: usize = 3;

/// Elements of k that are multiplied at a time.
pub(super) const STEP: usize = 2 * SIDE;

/// Lanes of a panel of either side.
pub(super) const WIDTH: usize = 32;

/// Elements of a step of a lane.
pub(super) const STEP_SIZE: usize = PARTS * SIDE;

/// Elements of a cache line.
const LINE: usize = 16;

/// Elements that a lane's `depth` take in a panel of B,
pub(super) const fn packed_depth(depth: usize) -> usize {
    depth.div_ceil(STEP) * STEP_SIZE
}

/// and in one of A: lanes at the same k do not compete for one place in the cache.
pub(super) const fn packed_lane(depth: usize) -> usize {
    packed_depth(depth) + LINE
}

/// Which side a panel is of.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Order {
    /// Lane by lane: A.
    Lanes,
    /// Pair by pair: B.
    Pairs,
}

/// Where elements come from.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a, E> {
    /// For each lane its elements along k.
    Lanes(&'a [&'a [E]]),
    /// For each k some lanes, side by side from a place on: how many, and the place.
    Rows(&'a [&'a [E]], usize, usize),
}

/// The three terms of a number, each in the upper half.
#[inline(always)]
fn split(value: f32) -> [u32; PARTS] {
    let nearest = |value: f32| value.to_bits().wrapping_add(0x8000) & 0xffff_0000;
    let first = nearest(value);
    let rest = value - f32::from_bits(first);
    let second = nearest(rest);
    [first, second, (rest - f32::from_bits(second)).to_bits()]
}

/// The terms of 16 pairs, in the place of 16 numbers each.
#[inline(always)]
fn split_pairs(earlier: &[f32; SIDE], later: &[f32; SIDE], to: &mut [[f32; SIDE]; PARTS]) {
    for lane in 0..SIDE {
        let (earlier, later) = (split(earlier[lane]), split(later[lane]));
        for part in 0..PARTS {
            to[part][lane] = f32::from_bits(earlier[part] >> 16 | later[part] & 0xffff_0000);
        }
    }
}

/// The terms of 16 pairs of neighbours.
#[inline(always)]
fn split_neighbours(from: &[f32; STEP], to: &mut [[f32; SIDE]; PARTS]) {
    let (mut earlier, mut later) = ([0.0; SIDE], [0.0; SIDE]);
    for pair in 0..SIDE {
        (earlier[pair], later[pair]) = (from[2 * pair], from[2 * pair + 1]);
    }
    split_pairs(&earlier, &later, to);
}

/// Tiles of the parts of 16 lanes and a step of k, the other way round than they are wanted.
type Tiles = [[[f32; SIDE]; SIDE]; PARTS];

/// Writes tiles transposed, each row `distance` from the one before.
#[inline(always)]
fn turn(tiles: &Tiles, part_distance: usize, distance: usize, to: &mut [f32]) {
    for (part, tile) in tiles.iter().enumerate() {
        let rows = std::array::from_fn(|row| &tile[row]);
        transpose(&rows, &mut to[part * part_distance..], distance);
    }
}

/// Writes the parts of 16 pairs, each `distance` from the one before.
#[inline(always)]
fn write(parts: &[[f32; SIDE]; PARTS], distance: usize, to: &mut [f32]) {
    for (part, pairs) in parts.iter().enumerate() {
        *to[part * distance..].first_chunk_mut().expect("within the panel") = *pairs;
    }
}

/// One panel of at most 32 lanes.
pub(super) fn split_panel(source: Source<'_, f32>, order: Order, panel: &mut [f32]) {
    match source {
        Source::Lanes(lanes) => split_lanes(lanes, order, panel),
        Source::Rows(rows, lanes, first) => split_rows(rows, lanes, first, order, panel),
    }
}

/// What is left of a lane after whole steps, and zeros.
#[inline(never)]
fn tail(rest: &[f32]) -> [f32; STEP] {
    let mut tail = [0.0; STEP];
    tail[..rest.len()].copy_from_slice(rest);
    tail
}

vectorised! {
    fn split_lanes(lanes: &[&[f32]], order: Order, panel: &mut [f32]) {
        assert!(lanes.len() <= WIDTH);
        let mut parts = [[0.0; SIDE]; PARTS];
        if order == Order::Lanes {
            for (index, run) in panel.chunks_exact_mut(panel.len() / WIDTH).enumerate() {
                let mut from = lanes.get(index).copied().unwrap_or_default();
                let mut further = lanes.get(index + 1).copied().unwrap_or_default();
                for step in run.chunks_exact_mut(STEP_SIZE) {
                    prefetch(further, 0);
                    prefetch(further, LINE);
                    further = further.get(STEP..).unwrap_or_default();
                    match from.split_first_chunk::<STEP>() {
                        Some((some, rest)) => {
                            split_neighbours(some, &mut parts);
                            from = rest;
                        }
                        None => {
                            split_neighbours(&tail(from), &mut parts);
                            from = &[];
                        }
                    }
                    write(&parts, SIDE, step);
                }
            }
            return;
        }
        let mut tiles: Tiles = [[[0.0; SIDE]; SIDE]; PARTS];
        for (index, step) in panel.chunks_exact_mut(STEP_SIZE * WIDTH).enumerate() {
            for half in 0..2 {
                for lane in 0..SIDE {
                    let from = lanes.get(half * SIDE + lane).copied().unwrap_or_default();
                    prefetch(from, (index + 1) * STEP);
                    prefetch(from, (index + 1) * STEP + LINE);
                    let from = from.get(index * STEP..).unwrap_or_default();
                    match from.first_chunk::<STEP>() {
                        Some(from) => split_neighbours(from, &mut parts),
                        None => split_neighbours(&tail(from), &mut parts),
                    }
                    for part in 0..PARTS {
                        tiles[part][lane] = parts[part];
                    }
                }
                turn(&tiles, WIDTH, PARTS * WIDTH, &mut step[half * SIDE..]);
            }
        }
    }
}

vectorised! {
    fn split_rows(rows: &[&[f32]], lanes: usize, first: usize, order: Order, panel: &mut [f32]) {
        assert!(lanes <= WIDTH);
        let mut tiles: Tiles = [[[0.0; SIDE]; SIDE]; PARTS];
        let mut parts = [[0.0; SIDE]; PARTS];
        let run = panel.len() / WIDTH;
        for (index, rows) in rows.chunks(STEP).enumerate() {
            for half in 0..2 {
                let there = lanes.saturating_sub(half * SIDE).min(SIDE);
                let first = first + half * SIDE;
                for pair in 0..SIDE {
                    if there == SIDE && let Some([earlier, later]) = rows.get(2 * pair..2 * pair + 2) {
                        let [earlier, later] = [earlier, later].map(|row| row[first..].first_chunk());
                        let (earlier, later) = (earlier.expect("16 lanes"), later.expect("16 lanes"));
                        split_pairs(earlier, later, &mut parts);
                    } else {
                        let [earlier, later] = [2 * pair, 2 * pair + 1].map(|k| some(rows.get(k), first, there));
                        split_pairs(&earlier, &later, &mut parts);
                    }
                    if order == Order::Lanes {
                        for part in 0..PARTS {
                            tiles[part][pair] = parts[part];
                        }
                    } else {
                        let at = (index * SIDE + pair) * PARTS * WIDTH + half * SIDE;
                        write(&parts, WIDTH, &mut panel[at..]);
                    }
                }
                if order == Order::Lanes {
                    turn(&tiles, SIDE, run, &mut panel[half * SIDE * run + index * STEP_SIZE..]);
                }
            }
        }
    }
}

/// So many lanes of a row, if there is one, and zeros.
#[inline(never)]
fn some(row: Option<&&[f32]>, first: usize, lanes: usize) -> [f32; SIDE] {
    let mut some = [0.0; SIDE];
    if let Some(row) = row
        && lanes > 0
    {
        some[..lanes].copy_from_slice(&row[first..][..lanes]);
    }
    some
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of all sizes, with all 24 bits.
    fn number(k: usize, lane: usize) -> f32 {
        let bits = (k * 0x9e37).wrapping_add(lane.wrapping_mul(0x79b9)) as u32;
        let bits = bits.wrapping_add(1).wrapping_mul(0x85eb_ca6b);
        f32::from_bits(bits & 0x80ff_ffff | (127 - 20 + bits % 40) << 23)
    }

    #[test]
    fn parts_are_bf16_and_add_up_exactly() {
        let some = [0.0, -0.0, 1.0, -1.5, f32::MIN_POSITIVE * 2f32.powi(16), 3e38, -3e38];
        let many = (0..10_000).map(|k| number(k, k / 7));
        for value in some.into_iter().chain(many) {
            let parts = split(value);
            assert!(parts.iter().all(|part| part & 0xffff == 0), "{value:e}: {parts:x?}");
            let [first, second, third] = parts.map(|part| f64::from(f32::from_bits(part)));
            assert_eq!(first + second + third, f64::from(value));
            let size = f64::from(value.abs());
            assert!(second.abs() <= size / 256.0 && third.abs() <= size / 65536.0, "{value:e}");
        }
        for value in
            [f32::NAN, f32::INFINITY, f32::from_bits(0x7f80_0001), f32::from_bits(0xffff_ffff)]
        {
            let parts = split(value).map(f32::from_bits);
            assert!(parts.iter().any(|part| part.is_nan()), "{value}: {parts:?}");
        }
    }

    #[test]
    fn panels_are_as_they_are_said_to_be() {
        let pair = |earlier: f32, later: f32, part: usize| {
            split(earlier)[part] >> 16 | split(later)[part] & 0xffff_0000
        };
        for depth in [1, 2, 31, 32, 33, 100, 256] {
            for lanes in [1, 15, 16, 17, 32] {
                let there = |k: usize, lane: usize| {
                    if k < depth && lane < lanes { number(k, lane) } else { 0.0 }
                };
                let by_lane: Vec<Vec<f32>> =
                    (0..lanes).map(|lane| (0..depth).map(|k| number(k, lane)).collect()).collect();
                let by_lane: Vec<&[f32]> = by_lane.iter().map(|lane| &lane[..]).collect();
                // Others lie before and after those that are wanted.
                let row = |k| (0..lanes + 7).map(move |at| number(k, at.wrapping_sub(3)));
                let by_row: Vec<Vec<f32>> = (0..depth).map(|k| row(k).collect()).collect();
                let by_row: Vec<&[f32]> = by_row.iter().map(|row| &row[..]).collect();
                for source in [Source::Lanes(&by_lane), Source::Rows(&by_row, lanes, 3)] {
                    let (run, size) = (packed_lane(depth), packed_depth(depth));
                    let mut a = vec![f32::NAN; WIDTH * run];
                    split_panel(source, Order::Lanes, &mut a);
                    let mut b = vec![f32::NAN; WIDTH * size];
                    split_panel(source, Order::Pairs, &mut b);
                    for k in (0..depth.next_multiple_of(STEP)).step_by(2) {
                        for (lane, part) in
                            (0..WIDTH).flat_map(|lane| [0, 1, 2].map(|part| (lane, part)))
                        {
                            let want = pair(there(k, lane), there(k + 1, lane), part);
                            let in_lane = k / STEP * STEP_SIZE + part * SIDE + k % STEP / 2;
                            let in_row = (k / 2 * PARTS + part) * WIDTH + lane;
                            let got = [a[lane * run + in_lane], b[in_row]].map(f32::to_bits);
                            assert_eq!(got, [want, want], "{depth} x {lanes}, {k}, {lane}, {part}");
                        }
                    }
                }
            }
        }
    }
}

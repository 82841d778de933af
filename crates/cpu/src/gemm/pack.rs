//! Operands: how a matrix, or what stands for one, becomes packed panels.

use std::ops::Range;

use super::{DEPTH_BLOCK, GemmElement};
use crate::transpose::SIDE;
use crate::vectors::prefetch;

/// Elements from one lane's run to the next's in [`Layout::Runs`]: a block of k and one cache line
/// more, so that lanes at the same k do not compete for one place in the cache.
pub(crate) const RUN: usize = DEPTH_BLOCK + 16;

/// How a block of side A lies in memory.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Layout {
    /// `[panel][depth][mr]`: for lanes that lie side by side at each k. Missing lanes are zeros.
    Panels,
    /// `[lane][RUN]`: for lanes that are contiguous along k, which are then copied and not dealt
    /// out; the micro-kernel reads a run for each of its rows.
    Runs,
}

/// One side of a matrix multiply: the rows of A or the columns of B ("lanes"), along k ("depth").
///
/// A left and a right operand differ in nothing: the same operand can stand on either side.
pub(crate) trait Operand<E: GemmElement>: Sync {
    /// Writes the elements (lane, depth) of `lanes` x `depth` into `panels`, laid out
    /// `[panel][depth][lane_width]`: panel p has the lanes from `lanes.start + p * lane_width`.
    ///
    /// All of `panels` must be written (it holds old values): lanes of the last panel beyond
    /// `lanes.end` with zeros. `depth` is at most [`DEPTH_BLOCK`] long and starts at a multiple
    /// of it; `lanes.start` is a multiple of `lane_width`.
    fn pack(&self, lanes: Range<usize>, depth: Range<usize>, panels: &mut [E], lane_width: usize);

    /// The layout in which this operand is packed with least work as side A.
    fn layout(&self) -> Layout {
        Layout::Panels
    }

    /// Whether all of `lanes` are zeros along `depth`, as around an image: then there is nothing to multiply.
    fn are_zeros(&self, _lanes: Range<usize>, _depth: Range<usize>) -> bool {
        false
    }

    /// For each of `lanes` its elements along `depth` where they lie, if they lie side by side there; those that do not,
    /// at an image's edge, are put together in `space`, which has room for all.
    fn lanes_in_place<'s>(
        &'s self,
        _lanes: Range<usize>,
        _depth: Range<usize>,
        _space: &'s mut [E],
    ) -> Option<Vec<&'s [E]>> {
        None
    }

    /// Bytes between neighbouring lanes, or rows, where they can be read in place.
    fn distance(&self) -> usize {
        usize::MAX
    }

    /// The `lanes` in parts whose elements lie side by side at each k, if there are such: what [`Operand::rows`] takes.
    fn parts(&self, _lanes: Range<usize>) -> Option<Vec<Range<usize>>> {
        None
    }

    /// At each of `depth` the elements of `lanes`, all in one part, as [`Operand::lanes_in_place`] gives them.
    fn rows<'s>(
        &'s self,
        _lanes: Range<usize>,
        _depth: Range<usize>,
        _space: &'s mut [E],
    ) -> Vec<&'s [E]> {
        unreachable!("an operand that has no parts")
    }

    /// Those of [`Operand::rows`] that lie somewhere already, to be asked for.
    fn rows_there(&self, _lanes: Range<usize>, _depth: Range<usize>) -> Vec<&[E]> {
        Vec::new()
    }

    /// Writes each lane's elements along `depth` to the front of its run, `runs` being
    /// `[lane][RUN]` with room for more lanes. Called only where [`Operand::layout`] is [`Layout::Runs`].
    fn pack_runs(&self, _lanes: Range<usize>, _depth: Range<usize>, _runs: &mut [E]) {
        unreachable!("an operand that has no runs")
    }
}

/// The most bytes between neighbouring lanes that are read where they lie. What lies further apart meets in few sets of
/// the caches (64 × 64 bytes in L1, 1,024 or 2,048 in L2) and is faster packed: on Zen 5, a convolution of 128 channels by
/// stride 2, 1 KiB, won by it, and one of 256 channels lost a tenth.
pub(crate) const NEAR_LANES: usize = 1024;

/// As [`NEAR_LANES`], of neighbouring k, in rows of a panel of B, as long as those are: both sides would have to be packed
/// otherwise, and of a short row more of a cache line is left unread. (2 KiB on AVX-512, where it won a twentieth; 1 KiB on
/// AVX2, where 2 lost a twelfth.)
pub(super) const NEAR_ROWS: usize = 16;

/// A stored matrix.
pub(crate) struct Matrix<'a, E> {
    data: &'a [E],
    row_stride: usize,
    lanes_are_rows: bool,
}

impl<'a, E: GemmElement> Matrix<'a, E> {
    /// Stored `[lanes][depth]`, rows `row_stride` elements apart: A as `[m][k]`, B as `[n][k]`
    /// (that is, transposed).
    pub(crate) fn lanes_by_depth(data: &'a [E], row_stride: usize) -> Self {
        Self { data, row_stride, lanes_are_rows: true }
    }

    /// Stored `[depth][lanes]`, rows `row_stride` elements apart: A as `[k][m]` (that is,
    /// transposed), B as `[k][n]`.
    pub(crate) fn depth_by_lanes(data: &'a [E], row_stride: usize) -> Self {
        Self { data, row_stride, lanes_are_rows: false }
    }
}

impl<E: GemmElement> Operand<E> for Matrix<'_, E> {
    fn pack(&self, lanes: Range<usize>, depth: Range<usize>, panels: &mut [E], lane_width: usize) {
        if self.lanes_are_rows {
            let run = |lane| &self.data[lane * self.row_stride + depth.start..][..depth.len()];
            let mut runs = Vec::with_capacity(lane_width);
            let size = depth.len() * lane_width;
            for (index, panel) in panels.chunks_exact_mut(size).enumerate() {
                let first = lanes.start + index * lane_width;
                let end = lanes.end.min(first + lane_width);
                runs.clear();
                runs.extend((first..end).map(run));
                interleave(&runs, lane_width, panel);
            }
        } else {
            let count = lanes.len();
            deal_stored_rows(&self.rows_there(lanes, depth), count, lane_width, panels);
        }
    }

    fn layout(&self) -> Layout {
        if self.lanes_are_rows { Layout::Runs } else { Layout::Panels }
    }

    fn lanes_in_place<'s>(
        &'s self,
        lanes: Range<usize>,
        depth: Range<usize>,
        _space: &'s mut [E],
    ) -> Option<Vec<&'s [E]>> {
        let lane = |lane| &self.data[lane * self.row_stride..][depth.clone()];
        self.lanes_are_rows.then(|| lanes.map(lane).collect())
    }

    fn distance(&self) -> usize {
        self.row_stride * size_of::<E>()
    }

    fn parts(&self, lanes: Range<usize>) -> Option<Vec<Range<usize>>> {
        (!self.lanes_are_rows).then(|| std::iter::once(lanes).collect())
    }

    fn rows<'s>(
        &'s self,
        lanes: Range<usize>,
        depth: Range<usize>,
        _space: &'s mut [E],
    ) -> Vec<&'s [E]> {
        self.rows_there(lanes, depth)
    }

    fn rows_there(&self, lanes: Range<usize>, depth: Range<usize>) -> Vec<&[E]> {
        depth.map(|d| &self.data[d * self.row_stride..][lanes.clone()]).collect()
    }

    fn pack_runs(&self, lanes: Range<usize>, depth: Range<usize>, runs: &mut [E]) {
        for (lane, run) in lanes.zip(runs.chunks_exact_mut(RUN)) {
            run[..depth.len()]
                .copy_from_slice(&self.data[lane * self.row_stride + depth.start..][..depth.len()]);
        }
    }
}

/// Packs lanes that lie side by side at each k: `panels[p][d][l] = row(d)[p * lane_width + l]`.
///
/// `row(d, staging)` returns the `lanes` elements at depth d, or nothing when it had to put them
/// together and has written them to `staging`. Missing lanes of the last panel become zero.
/// Panics unless `panels` holds whole panels for exactly these rows.
pub(crate) fn deal_rows<'a, E: GemmElement>(
    depth: usize,
    lanes: usize,
    lane_width: usize,
    panels: &mut [E],
    row: impl FnMut(usize, &mut [E]) -> Option<&'a [E]>,
) {
    match lane_width {
        4 => deal_lanes::<E, 4>(depth, lanes, panels, row),
        6 => deal_lanes::<E, 6>(depth, lanes, panels, row),
        8 => deal_lanes::<E, 8>(depth, lanes, panels, row),
        12 => deal_lanes::<E, 12>(depth, lanes, panels, row),
        16 => deal_lanes::<E, 16>(depth, lanes, panels, row),
        32 => deal_lanes::<E, 32>(depth, lanes, panels, row),
        width => unreachable!("no micro-kernel has {width} lanes"),
    }
}

/// [`deal_rows`] at a lane width known to the compiler.
fn deal_lanes<'a, E: GemmElement, const WIDTH: usize>(
    depth: usize,
    lanes: usize,
    panels: &mut [E],
    mut row: impl FnMut(usize, &mut [E]) -> Option<&'a [E]>,
) {
    let (panels, rest) = panels.as_chunks_mut::<WIDTH>();
    assert!(rest.is_empty() && panels.len() == lanes.div_ceil(WIDTH) * depth);
    let mut staging = vec![E::ZERO; lanes];
    for d in 0..depth {
        let (whole, tail) = match row(d, &mut staging) {
            Some(row) => row.as_chunks::<WIDTH>(),
            None => staging.as_chunks::<WIDTH>(),
        };
        assert_eq!(whole.len() * WIDTH + tail.len(), lanes);
        let mut at = d;
        for lanes in whole {
            panels[at] = *lanes;
            at += depth;
        }
        if !tail.is_empty() {
            // Not a copy of a slice: a call into the C library for each row would take longer.
            panels[at] = std::array::from_fn(|lane| tail.get(lane).copied().unwrap_or(E::ZERO));
        }
    }
}

/// Asks for the row that is dealt some rows after the `d`-th.
pub(super) fn ask_for_row<E>(rows: &[&[E]], d: usize, lanes: usize) {
    const AHEAD: usize = 6;
    if let Some(ahead) = rows.get(d + AHEAD) {
        (0..lanes).step_by(64 / size_of::<E>()).for_each(|at| prefetch(ahead, at));
    }
}

/// [`deal_rows`] of rows that are all there. What comes next is asked for meanwhile.
pub(crate) fn deal_stored_rows<E: GemmElement>(
    rows: &[&[E]],
    lanes: usize,
    lane_width: usize,
    panels: &mut [E],
) {
    deal_rows(rows.len(), lanes, lane_width, panels, |d, _| {
        ask_for_row(rows, d, lanes);
        Some(&rows[d][..lanes])
    });
}

/// Packs one panel of lanes that are each contiguous along k: `panel[d][l] = runs[l][d]`.
///
/// `runs` are at most `lane_width` slices of one length (`panel.len() / lane_width`, at most
/// [`DEPTH_BLOCK`]); missing lanes are zero. For a lane of padding use [`GemmElement::ZEROS`].
pub(crate) fn interleave<E: GemmElement>(runs: &[&[E]], lane_width: usize, panel: &mut [E]) {
    match lane_width {
        4 => interleave_lanes::<E, 4>(runs, panel),
        6 => interleave_lanes::<E, 6>(runs, panel),
        8 => interleave_lanes::<E, 8>(runs, panel),
        12 => interleave_lanes::<E, 12>(runs, panel),
        16 => interleave_lanes::<E, 16>(runs, panel),
        32 => interleave_lanes::<E, 32>(runs, panel),
        width => unreachable!("no micro-kernel has {width} lanes"),
    }
}

/// [`interleave`] at a lane width known to the compiler: in squares, and what they leave in blocks small enough for registers.
fn interleave_lanes<E: GemmElement, const WIDTH: usize>(runs: &[&[E]], panel: &mut [E]) {
    const BLOCK: usize = 4;
    let (panel, rest) = panel.as_chunks_mut::<WIDTH>();
    let depth = panel.len();
    assert!(rest.is_empty() && runs.len() <= WIDTH && depth <= DEPTH_BLOCK);
    let runs: [&[E]; WIDTH] =
        std::array::from_fn(|lane| &runs.get(lane).copied().unwrap_or(E::ZEROS)[..depth]);
    let squares = if WIDTH.is_multiple_of(SIDE) { depth / SIDE * SIDE } else { 0 };
    let (square, panel) = panel.split_at_mut(squares);
    for (index, square) in square.chunks_exact_mut(SIDE).enumerate() {
        for lanes in (0..WIDTH).step_by(SIDE) {
            // Lanes lie apart: a processor does not foresee so many places.
            for run in &runs[lanes..lanes + SIDE] {
                prefetch(run, (index + 2) * SIDE);
            }
            let rows = std::array::from_fn(|lane| {
                runs[lanes + lane][index * SIDE..].first_chunk().expect("a square within the runs")
            });
            E::transpose(&rows, &mut square.as_flattened_mut()[lanes..], WIDTH);
        }
    }
    let runs = runs.map(|run| &run[squares..]);
    let (blocks, tail) = panel.as_chunks_mut::<BLOCK>();
    let whole = blocks.len() * BLOCK;
    for (index, block) in blocks.iter_mut().enumerate() {
        for lane in 0..WIDTH {
            let run: &[E; BLOCK] =
                runs[lane][index * BLOCK..].first_chunk().expect("a block within the run");
            for d in 0..BLOCK {
                block[d][lane] = run[d];
            }
        }
    }
    for (index, out) in tail.iter_mut().enumerate() {
        for lane in 0..WIDTH {
            out[lane] = runs[lane][whole + index];
        }
    }
}

/// [`Layout::Runs`] of what is packed as [`Layout::Panels`] of `depth` rows, of which the first `used` count.
pub(super) fn panels_to_runs<E: GemmElement>(
    panels: &[E],
    depth: usize,
    used: usize,
    lane_width: usize,
    runs: &mut [E],
) {
    let runs = runs.chunks_exact_mut(lane_width * RUN);
    for (panel, runs) in panels.chunks_exact(lane_width * depth).zip(runs) {
        let squares = if lane_width.is_multiple_of(SIDE) { used / SIDE * SIDE } else { 0 };
        for k in (0..squares).step_by(SIDE) {
            for lane in (0..lane_width).step_by(SIDE) {
                let rows = std::array::from_fn(|row| {
                    panel[(k + row) * lane_width + lane..].first_chunk().expect("whole rows")
                });
                E::transpose(&rows, &mut runs[lane * RUN + k..], RUN);
            }
        }
        for (k, row) in panel.chunks_exact(lane_width).enumerate().take(used).skip(squares) {
            row.iter().enumerate().for_each(|(lane, &number)| runs[lane * RUN + k] = number);
        }
    }
}

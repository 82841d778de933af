//! A micro-kernel and the loops that feed it packed panels.

use super::pack::RUN;
use super::{GemmElement, MOST_LANES, parts};
use crate::vectors::InstructionSet;
use std::ops::Range;

/// Most rows of a micro-tile of C.
const MOST_ROWS: usize = 32;

/// Most elements of a micro-tile of C.
const LARGEST_TILE: usize = MOST_ROWS * MOST_LANES;

/// A depth that is too short to take operands apart for.
const SHORT: usize = 24;

/// Panels of A that are gone through for each panel of B: with 256 deep panels some 100 KiB
/// (AVX2) or 200 KiB (AVX-512), which stay in L2.
pub(super) const PANELS_IN_L2: usize = 16;

/// Computes a micro-tile: `rows` rows (at most mr) of nr columns of C.
///
/// Arguments: panel of A `[k][mr]` (or `[mr][RUN]`, see [`Layout`]), panel of B `[k][nr]`, what to ask for meanwhile (a
/// cache line at each k, from its first on), the rows of C, the tile's first column in them, and whether to add to C or
/// to overwrite it. Panics unless the panels hold the same number of whole k and each row has the columns.
pub(super) type MicroTile<E> = fn(&[E], &[E], &[E], &mut [&mut [E]], usize, bool);

/// A [`MicroTile`] that reads A where it lies. Arguments: a slice along k for each row of the tile, those of the tile after
/// it (to be asked for; none if they are near), and the rest as there.
pub(super) type TileOfLanes<E> = fn(&[&[E]], &[&[E]], &[E], &[E], &mut [&mut [E]], usize, bool);

/// A [`MicroTile`] that reads A and B where they lie: at each k a slice of either, and the place in it where the tile's
/// lanes begin. Then come rows to be asked for meanwhile, and the rest as there. Panics if a slice ends before them.
pub(super) type TileOfRows<E> =
    fn(&Rows<'_, E>, &Rows<'_, E>, &[&[E]], &mut [&mut [E]], usize, bool);

/// A [`MicroTile`] of operands that lie anywhere in one slice each. Arguments: A and B, how many halves of nr the tile is wide, up
/// to three, what to ask for meanwhile (a line at each k), C from the tile's first element on, elements from one of its rows to
/// the next, and whether to add to C. Panics if C or B ends before the tile does.
pub(super) type TileOfWindows<E> =
    fn(&Windows<'_, E>, &Columns<'_, E>, usize, &Columns<'_, E>, &mut [E], usize, bool);

/// Where the k of windows lie, from where a window starts.
pub(crate) struct Steps {
    each: Vec<usize>,
    /// The most of each and of those before it.
    most: Vec<usize>,
}

impl Steps {
    /// Of a list of distances.
    pub(crate) fn new(each: Vec<usize>) -> Steps {
        let mut most = each.clone();
        (1..most.len()).for_each(|k| most[k] = most[k].max(most[k - 1]));
        Steps { each, most }
    }

    /// How many k there are.
    pub(crate) fn depth(&self) -> usize {
        self.each.len()
    }
}

/// Where windows start, and the furthest of these places.
#[derive(Clone, Copy)]
pub(crate) struct Starts<'a> {
    each: &'a [usize],
    most: usize,
}

impl<'a> Starts<'a> {
    /// Of a list of places.
    pub(crate) fn new(each: &'a [usize]) -> Starts<'a> {
        Starts { each, most: each.iter().copied().max().unwrap_or(0) }
    }
}

/// Lanes of A that lie in one slice, all alike: lane i at k is number `starts[i] + steps[k]` of it.
#[derive(Clone, Copy)]
pub(crate) struct Windows<'a, E> {
    data: &'a [E],
    starts: &'a [usize],
    steps: &'a [usize],
}

impl<'a, E> Windows<'a, E> {
    /// The first `depth` k, one at least, of windows that start at these places. Panics if one ends beyond the slice, or there
    /// are fewer k.
    pub(crate) fn new(
        data: &'a [E],
        starts: Starts<'a>,
        steps: &'a Steps,
        depth: usize,
    ) -> Windows<'a, E> {
        let end = starts.most + steps.most[depth - 1];
        assert!(end < data.len(), "a window ends at {end} of {}", data.len());
        Windows { data, starts: starts.each, steps: &steps.each[..depth] }
    }

    /// The numbers of lane `lane` from its start on, as many as `steps` can lead to at least.
    pub(super) fn lane(&self, lane: usize) -> &'a [E] {
        &self.data[self.starts[lane]..]
    }

    /// How many lanes there are.
    pub(super) fn lanes(&self) -> usize {
        self.starts.len()
    }

    /// Where each k lies, from a lane's start.
    pub(super) fn steps(&self) -> &'a [usize] {
        self.steps
    }
}

/// Lanes of B that lie side by side at each k, and each k so far from the one before.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'a, E> {
    pub(crate) data: &'a [E],
    pub(crate) apart: usize,
}

impl<'a, E> Columns<'a, E> {
    /// What lies side by side as a whole, a cache line at each k.
    pub(crate) fn lines(data: &'a [E]) -> Columns<'a, E> {
        Columns { data, apart: 64 / size_of::<E>() }
    }
}

/// Lanes of an operand where they lie: at each k a slice that has them from a place on.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a, E> {
    rows: &'a [&'a [E]],
    first: usize,
    lanes: usize,
}

impl<'a, E> Rows<'a, E> {
    /// The first `lanes` of each slice. Panics if one has fewer.
    pub(super) fn new(rows: &'a [&'a [E]], lanes: usize) -> Rows<'a, E> {
        assert!(rows.iter().all(|row| row.len() >= lanes), "rows of {lanes} lanes");
        Rows { rows, first: 0, lanes }
    }

    /// The lanes from the `count`-th on. Panics if there are fewer.
    fn skip(&self, count: usize) -> Rows<'a, E> {
        let lanes = self.lanes.checked_sub(count).expect("as many lanes");
        Rows { rows: self.rows, first: self.first + count, lanes }
    }

    /// A slice for each k.
    pub(super) fn rows(&self) -> &'a [&'a [E]] {
        self.rows
    }

    /// Where the lanes begin in each slice.
    pub(super) fn first(&self) -> usize {
        self.first
    }

    /// How many there are in each slice, from there on.
    pub(super) fn lanes(&self) -> usize {
        self.lanes
    }
}

/// The micro-kernels for operands that are not packed.
#[derive(Clone, Copy)]
pub(super) struct InPlace<E: 'static> {
    pub(super) lanes: TileOfLanes<E>,
    pub(super) rows: TileOfRows<E>,
}

/// A block of A.
#[derive(Clone, Copy)]
pub(crate) enum SideA<'a, E> {
    /// `[panel][depth][mr]`.
    Panels(&'a [E]),
    /// `[lane][RUN]`.
    Runs(&'a [E]),
    /// For each lane its elements along k, where they lie.
    Lanes(&'a [&'a [E]]),
}

/// Blocks of both sides, B packed.
pub(crate) struct Packed<'a, E> {
    /// Their k, at most [`DEPTH_BLOCK`](super::DEPTH_BLOCK).
    pub(crate) depth: usize,
    pub(crate) a: SideA<'a, E>,
    /// `[panel][depth][nr]`.
    pub(crate) b: &'a [E],
    /// Whether A lies further away than L2.
    pub(crate) far_a: bool,
    /// For each micro-tile's rows of A whether they are zeros and need not be multiplied; none of them if it is empty.
    pub(crate) zeros: &'a [bool],
    /// What is read next and lies further away than L2; without it, the panels of A do.
    pub(crate) then: Option<&'a [E]>,
}

/// What becomes of packed operands before they are multiplied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Operands {
    /// Nothing.
    AsTheyAre,
    /// Each is rounded to bf16.
    Rounded,
    /// Each is rounded to bf16, and two neighbours along k take the place of one: the earlier in the lower half.
    Pairs,
    /// Each is the sum of three bf16, see [`parts`](super::parts).
    Parts,
}

impl Operands {
    /// How many lie in the place of one.
    pub(crate) const fn in_one(self) -> usize {
        match self {
            Operands::Pairs => 2,
            Operands::AsTheyAre | Operands::Rounded | Operands::Parts => 1,
        }
    }

    /// The elements that a lane's `depth` take in panels of A and of B.
    pub(super) const fn packed_depth(self, depth: usize) -> (usize, usize) {
        match self {
            Operands::Parts => (parts::packed_lane(depth), parts::packed_depth(depth)),
            Operands::AsTheyAre | Operands::Rounded | Operands::Pairs => (depth, depth),
        }
    }
}

/// A micro-kernel for one instruction set: the shape of its tile and its code.
#[derive(Clone, Copy)]
pub(crate) struct Kernel<E: 'static> {
    /// The instructions that it is made of.
    pub(crate) set: InstructionSet,
    /// What becomes of operands when they are packed.
    pub(super) operands: Operands,
    /// Rows of a micro-tile: the lane width of packed A.
    pub(crate) mr: usize,
    /// Columns of a micro-tile: the lane width of packed B.
    pub(crate) nr: usize,
    /// Whether A is wanted as [`Layout::Runs`], however it is packed with least work, with room for whole micro-tiles.
    pub(super) takes_runs: bool,
    /// What the calling thread does before some micro-tiles,
    pub(super) enter: fn(),
    /// and after them.
    pub(super) leave: fn(),
    /// For an A of [`Layout::Panels`].
    pub(super) tile: MicroTile<E>,
    /// For an A of [`Layout::Runs`].
    pub(super) tile_of_runs: MicroTile<E>,
    /// For operands that are not packed, where it can read them as they are.
    pub(super) in_place: Option<InPlace<E>>,
    /// For windows, likewise.
    pub(super) windows: Option<TileOfWindows<E>>,
}

/// How many of the halves of nr that are left a tile of windows takes: two, or three where then none is left alone.
fn vectors_at_a_time(left: usize) -> usize {
    if left >= 3 && left % 2 == 1 { 3 } else { left.min(2) }
}

impl<E: GemmElement> Kernel<E> {
    /// Multiplies packed blocks into the rows of C, from column `start` on: as many columns as `b` has panels for, or
    /// as there are. The number and the length of the rows say how much of the last panels is real.
    ///
    /// What is needed next is asked for while it is not: of the next panel of B a share with each tile, so that it is in
    /// L2 when its turn comes. (2048³ on two threads of a processor with 2 MiB of L2 and a slow L3: 270 to 330 GFLOP/s.)
    pub(crate) fn block(
        &self,
        packed: &Packed<'_, E>,
        c: &mut [&mut [E]],
        start: usize,
        accumulate: bool,
    ) {
        let &Packed { depth, a, b, far_a, zeros, then } = packed;
        let columns = c.first().map_or(0, |row| row.len());
        let (depth_a, depth_b) = self.operands.packed_depth(depth);
        let (size_a, size_b, size_run) = (depth_a * self.mr, depth_b * self.nr, RUN * self.mr);
        // Of a panel of pairs the second half is left over from packing.
        let (used_a, used_b) = match self.operands {
            Operands::Pairs => (depth.div_ceil(2) * self.mr, depth.div_ceil(2) * self.nr),
            _ => (size_a, size_b),
        };
        let panel_of = |tile: usize| -> &[E] {
            match a {
                SideA::Panels(a) => a.get(tile * size_a..).unwrap_or_default(),
                SideA::Runs(a) => a.get(tile * size_run..).unwrap_or_default(),
                SideA::Lanes(_) => &[],
            }
        };
        (self.enter)();
        for (group, c) in c.chunks_mut(PANELS_IN_L2 * self.mr).enumerate() {
            let share = used_b.div_ceil(c.len().div_ceil(self.mr));
            for (index, panel) in b.chunks_exact(size_b).enumerate() {
                let panel = &panel[..used_b];
                let first = start + index * self.nr;
                let is_whole = first + self.nr <= columns;
                let next = b.get((index + 1) * size_b..).filter(|next| !next.is_empty()).or(then);
                // Where A is far, it is asked for while B's first panel is multiplied: later it is near.
                let asks_for_a = far_a && index == 0;
                for (number, c) in c.chunks_mut(self.mr).enumerate() {
                    let tile = group * PANELS_IN_L2 + number;
                    if zeros.get(tile) == Some(&true) {
                        if !accumulate {
                            let end = columns.min(first + self.nr);
                            c.iter_mut().for_each(|row| row[first..end].fill(E::ZERO));
                        }
                        continue;
                    }
                    let ahead = match next {
                        Some(next) if !asks_for_a => {
                            next.get(number * share..next.len().min((number + 1) * share))
                        }
                        _ => None,
                    };
                    let multiply = |c: &mut [&mut [E]], first: usize, accumulate: bool| match a {
                        SideA::Lanes(lanes) => {
                            let (own, further) = lanes[tile * self.mr..].split_at(c.len());
                            let further = if asks_for_a { further } else { &[] };
                            let ahead = ahead.unwrap_or(panel);
                            let in_place = self.in_place().expect("lanes are for who reads them");
                            (in_place.lanes)(own, further, panel, ahead, c, first, accumulate);
                        }
                        SideA::Panels(_) => {
                            let (own, further) = panel_of(tile).split_at(size_a);
                            let further = match self.operands {
                                // It asks for all that it is given.
                                Operands::Parts if asks_for_a => further.get(..size_a),
                                Operands::Parts => None,
                                _ => Some(further),
                            };
                            let ahead = ahead.or(further).unwrap_or_default();
                            (self.tile)(&own[..used_a], panel, ahead, c, first, accumulate);
                        }
                        SideA::Runs(_) => {
                            let (own, ahead) =
                                (panel_of(tile), ahead.unwrap_or(panel_of(tile + 1)));
                            (self.tile_of_runs)(own, panel, ahead, c, first, accumulate);
                        }
                    };
                    if is_whole {
                        multiply(c, first, accumulate);
                    } else {
                        self.narrow_tile(multiply, c, first, accumulate);
                    }
                }
            }
        }
        (self.leave)();
    }

    /// Whether a matrix unit multiplies, by square micro-tiles: rows are wasted as columns are, so that nothing is won by
    /// transposing a product. (And parts would be summed in another order.)
    pub(crate) fn is_matrix_unit(&self) -> bool {
        self.mr == self.nr && self.nr == MOST_LANES
    }

    /// The kernel to take for products over a depth: over a short one, little of which is left to multiply, it does not pay to
    /// take operands apart.
    pub(super) fn of_depth(&self, depth: usize) -> &Kernel<E> {
        if self.operands == Operands::Parts && depth < SHORT { E::best_kernel() } else { self }
    }

    /// The micro-kernels that read operands where they lie, if there are such.
    pub(super) fn in_place(&self) -> Option<&InPlace<E>> {
        // Where operands are rounded, they are packed for that.
        self.in_place.as_ref().filter(|_| self.operands == Operands::AsTheyAre)
    }

    /// Whether [`Kernel::block_of_windows`] is there.
    pub(crate) fn takes_windows(&self) -> bool {
        self.windows.is_some() && self.operands == Operands::AsTheyAre
    }

    /// The most windows that [`Kernel::block_of_windows`] takes for so many columns: an odd number of halves of nr from three
    /// on begins with three at a time, of fewer windows.
    pub(crate) fn windows_at_a_time(&self, columns: usize) -> usize {
        if vectors_at_a_time(columns / (self.nr / 2)) == 3 { self.mr * 2 / 3 } else { self.mr }
    }

    /// Multiplies windows into C, a row for each, `apart` elements from one to the next: `columns` of B, a multiple of half of
    /// nr. `ahead` is what will be read next, a line at each k of the first tile and the following ones.
    ///
    /// Operands come by reference: a copy would be read, a vector at once, out of what was written field by field, and a
    /// processor waits with that until all results that were stored before have left for memory. (3 to 64 channels: a twentieth
    /// of the time.)
    pub(crate) fn block_of_windows(
        &self,
        a: &Windows<'_, E>,
        b: &Columns<'_, E>,
        columns: usize,
        ahead: &Columns<'_, E>,
        (c, apart): (&mut [E], usize),
        accumulate: bool,
    ) {
        let tile = self.windows.expect("windows are for who takes them");
        let half = self.nr / 2;
        let halves = columns / half;
        let mut first = 0;
        let mut further = ahead.data;
        while first < halves {
            let vectors = vectors_at_a_time(halves - first);
            let b = Columns { data: &b.data[first * half..], apart: b.apart };
            let ahead = Columns { data: further, apart: ahead.apart };
            tile(a, &b, vectors, &ahead, &mut c[first * half..], apart, accumulate);
            let asked_for = further.len().min(a.steps.len() * ahead.apart);
            further = &further[asked_for..];
            first += vectors;
        }
    }

    /// Multiplies blocks of both sides where they lie into some columns of the rows of C, a multiple of nr. `ahead` is what
    /// will be read next.
    pub(super) fn block_of_rows(
        &self,
        a: &Rows<'_, E>,
        b: &Rows<'_, E>,
        ahead: &[&[E]],
        c: &mut [&mut [E]],
        columns: Range<usize>,
        accumulate: bool,
    ) {
        let tile = self.in_place().expect("rows are for who reads them").rows;
        let tiles = c.len().div_ceil(self.mr) * columns.len().div_ceil(self.nr);
        let mut ahead = ahead.chunks(ahead.len().div_ceil(tiles).max(1));
        for first in columns.clone().step_by(self.nr) {
            let b = b.skip(first - columns.start);
            for (number, c) in c.chunks_mut(self.mr).enumerate() {
                let ahead = ahead.next().unwrap_or_default();
                tile(&a.skip(number * self.mr), &b, ahead, c, first, accumulate);
            }
        }
    }

    /// A tile at the right edge of C: computed at full width beside C, then its real columns used.
    fn narrow_tile(
        &self,
        mut multiply: impl FnMut(&mut [&mut [E]], usize, bool),
        c: &mut [&mut [E]],
        first: usize,
        accumulate: bool,
    ) {
        let mut beside = [E::ZERO; LARGEST_TILE];
        {
            let mut rows = beside.chunks_exact_mut(self.nr);
            let mut rows: [&mut [E]; MOST_ROWS] =
                std::array::from_fn(|_| rows.next().unwrap_or_default());
            multiply(&mut rows[..c.len()], 0, false);
        }
        for (c, tile) in c.iter_mut().zip(beside.chunks_exact(self.nr)) {
            for (c, &value) in c[first..].iter_mut().zip(tile) {
                *c = if accumulate { *c + value } else { value };
            }
        }
    }
}

//! A micro-kernel and the loops that feed it packed panels.

use super::pack::{Layout, RUN};
use super::{GemmElement, MOST_LANES};
use crate::vectors::InstructionSet;

/// Most rows of a micro-tile of C.
const MOST_ROWS: usize = 32;

/// Most elements of a micro-tile of C.
const LARGEST_TILE: usize = MOST_ROWS * MOST_LANES;

/// Panels of A that are gone through for each panel of B: with 256 deep panels some 100 KiB
/// (AVX2) or 200 KiB (AVX-512), which stay in L2.
pub(super) const PANELS_IN_L2: usize = 16;

/// Computes a micro-tile: `rows` rows (at most mr) of nr columns of C.
///
/// Arguments: panel of A `[k][mr]` (or `[mr][RUN]`, see [`Layout`]), panel of B `[k][nr]`, what to ask for meanwhile (a
/// cache line at each k, from its first on), the rows of C, the tile's first column in them, and whether to add to C or
/// to overwrite it. Panics unless the panels hold the same number of whole k and each row has the columns.
pub(super) type MicroTile<E> = fn(&[E], &[E], &[E], &mut [&mut [E]], usize, bool);

/// Packed blocks of both sides.
pub(crate) struct Packed<'a, E> {
    /// Their k, at most [`DEPTH_BLOCK`](super::DEPTH_BLOCK).
    pub(crate) depth: usize,
    /// How `a` lies in memory.
    pub(crate) layout: Layout,
    /// `[panel][depth][mr]` or `[lane][RUN]`.
    pub(crate) a: &'a [E],
    /// `[panel][depth][nr]`.
    pub(crate) b: &'a [E],
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
}

impl Operands {
    /// How many lie in the place of one.
    pub(crate) const fn in_one(self) -> usize {
        match self {
            Operands::Pairs => 2,
            Operands::AsTheyAre | Operands::Rounded => 1,
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
        let &Packed { depth, layout, a, b, then } = packed;
        let columns = c.first().map_or(0, |row| row.len());
        let (size_a, tile) = match layout {
            Layout::Panels => (depth * self.mr, self.tile),
            Layout::Runs => (RUN * self.mr, self.tile_of_runs),
        };
        let size_b = depth * self.nr;
        (self.enter)();
        let groups = c.chunks_mut(PANELS_IN_L2 * self.mr).zip(a.chunks(PANELS_IN_L2 * size_a));
        for (c, a) in groups {
            let share = (size_b / self.operands.in_one()).div_ceil(c.len().div_ceil(self.mr));
            for (index, panel) in b.chunks_exact(size_b).enumerate() {
                let first = start + index * self.nr;
                let next = b.get((index + 1) * size_b..).filter(|next| !next.is_empty()).or(then);
                for (number, (c, own)) in c.chunks_mut(self.mr).zip(a.chunks(size_a)).enumerate() {
                    let ahead = match next {
                        Some(next) => next.get(number * share..),
                        None => a.get((number + 1) * size_a..),
                    };
                    let (ahead, is_whole) = (ahead.unwrap_or(own), first + self.nr <= columns);
                    if is_whole {
                        tile(own, panel, ahead, c, first, accumulate);
                    } else {
                        self.narrow_tile(tile, own, panel, c, first, accumulate);
                    }
                }
            }
        }
        (self.leave)();
    }

    /// A tile at the right edge of C: computed at full width beside C, then its real columns used.
    fn narrow_tile(
        &self,
        tile: MicroTile<E>,
        a: &[E],
        b: &[E],
        c: &mut [&mut [E]],
        first: usize,
        accumulate: bool,
    ) {
        let mut beside = [E::ZERO; LARGEST_TILE];
        {
            let mut rows = beside.chunks_exact_mut(self.nr);
            let mut rows: [&mut [E]; MOST_ROWS] =
                std::array::from_fn(|_| rows.next().unwrap_or_default());
            tile(a, b, b, &mut rows[..c.len()], 0, false);
        }
        for (c, tile) in c.iter_mut().zip(beside.chunks_exact(self.nr)) {
            for (c, &value) in c[first..].iter_mut().zip(tile) {
                *c = if accumulate { *c + value } else { value };
            }
        }
    }
}

//! Products of operands that are not packed: lanes lie side by side at each k on either side, as in a weight's gradient.
//!
//! ```text
//! for every tile of C                       (in parallel: some columns, all rows)
//!   for every block of DEPTH_BLOCK of k     (in order, as everywhere)
//!     list the rows of both sides           (a slice at each k; what is outside an image is left out)
//!     for every panel of B, of A            micro-kernel, which meanwhile asks for rows of the next block
//! ```
//!
//! A list costs a few nanoseconds a row; writing a panel would cost as much for each cache line of each row, and both
//! sides would be read once more. Sums are taken in the same order; what is left out would have added zeros to them.

use super::kernel::Rows;
use super::pack::NEAR_ROWS;
use super::{DEPTH_BLOCK, GemmElement, Multiply, Operand, block_range, for_each_chunk, scratch};
use crate::memory;
use std::ops::Range;

/// How a product is cut.
pub(super) struct Cut {
    /// The parts of A whose lanes lie side by side.
    parts: Vec<Range<usize>>,
    /// Of each tile of C the pieces of B's parts.
    pub(super) tiles: Vec<Vec<Range<usize>>>,
}

impl<E: GemmElement, A: Operand<E>, B: Operand<E>> Multiply<'_, E, A, B> {
    /// Where neither side has to be packed: the parts of A, and those of B, cut and put together into what are tiles of C.
    pub(super) fn in_place(&self) -> Option<Cut> {
        self.kernel.in_place()?;
        let nr = self.kernel.nr;
        let most = NEAR_ROWS * nr * size_of::<E>();
        if self.a.distance() > most || self.b.distance() > most {
            return None;
        }
        let parts = self.b.parts(0..self.n)?;
        if !parts.iter().all(|part| part.len().is_multiple_of(nr)) {
            return None;
        }
        let tiles = if self.parallel { 2 * rayon::current_num_threads() } else { 1 };
        let widest = self.n.div_ceil(tiles).next_multiple_of(nr).max(4 * nr);
        let mut cut: Vec<Vec<Range<usize>>> = vec![Vec::new()];
        let mut room = widest;
        for mut part in parts {
            while !part.is_empty() {
                if room == 0 {
                    cut.push(Vec::new());
                    room = widest;
                }
                let piece = part.start..part.end.min(part.start + room);
                part.start = piece.end;
                room -= piece.len();
                cut.last_mut().expect("one at least").push(piece);
            }
        }
        Some(Cut { parts: self.a.parts(0..self.m)?, tiles: cut })
    }

    /// Writes the products over `depth` to C, both sides being read where they lie.
    pub(super) fn walk_in_place(
        &self,
        Cut { parts, tiles }: &Cut,
        depth: Range<usize>,
        c: &mut [&mut [E]],
    ) {
        let widths = tiles.iter().map(|pieces| pieces.iter().map(|piece| piece.len()).sum());
        let widths: Vec<usize> = widths.collect();
        let mut rows_of: Vec<Vec<&mut [E]>> = tiles.iter().map(|_| memory::room(self.m)).collect();
        for row in c.iter_mut() {
            let mut rest = &mut **row;
            for (rows, width) in rows_of.iter_mut().zip(&widths) {
                let (part, further) = rest.split_at_mut(*width);
                rows.push(part);
                rest = further;
            }
        }
        for_each_chunk(self.parallel, &mut rows_of, 1, |tile, rows| {
            self.tile_in_place(parts, &tiles[tile], depth.clone(), &mut rows[0]);
        });
    }

    /// One of its tiles: all of A against some pieces of B.
    fn tile_in_place(
        &self,
        parts: &[Range<usize>],
        pieces: &[Range<usize>],
        depth: Range<usize>,
        c: &mut [&mut [E]],
    ) {
        let widest = pieces.iter().map(|piece| piece.len()).max().unwrap_or(0);
        scratch::with((self.m + widest) * DEPTH_BLOCK, |space| {
            let (space_a, space_b) = space.split_at_mut(self.m * DEPTH_BLOCK);
            for index in 0..depth.len().div_ceil(DEPTH_BLOCK) {
                let (block, next) = (block_range(&depth, index), block_range(&depth, index + 1));
                let there = |piece: &Range<usize>| match next.is_empty() {
                    true => Vec::new(),
                    false => self.b.rows_there(piece.clone(), next.clone()),
                };
                let mut spaces = &mut space_a[..];
                let rows_of = |part: &Range<usize>| {
                    let (space, rest) =
                        std::mem::take(&mut spaces).split_at_mut(part.len() * DEPTH_BLOCK);
                    spaces = rest;
                    self.a.rows(part.clone(), block.clone(), space)
                };
                let all_a: Vec<List<'_, E>> = parts.iter().map(rows_of).collect();
                let mut first = 0;
                for piece in pieces {
                    let b = self.b.rows(piece.clone(), block.clone(), space_b);
                    let mut ahead = there(piece);
                    if first == 0 && !next.is_empty() {
                        for part in parts {
                            ahead.extend(self.a.rows_there(part.clone(), next.clone()));
                        }
                    }
                    for (part, a) in parts.iter().zip(&all_a) {
                        let kept = without_zeros(a, &b);
                        let (a, b) = kept.as_ref().map_or((a, &b), |(a, b)| (a, b));
                        let (a, b) = (Rows::new(a, part.len()), Rows::new(b, piece.len()));
                        let columns = first..first + piece.len();
                        let rows = &mut c[part.clone()];
                        self.kernel.block_of_rows(&a, &b, &ahead, rows, columns, index > 0);
                        ahead.clear();
                    }
                    first += piece.len();
                }
            }
        });
    }
}

/// A slice for each k.
type List<'a, E> = Vec<&'a [E]>;

/// Rows of both sides without those of which either is zeros, as around an image: there is nothing to add. Nothing if there
/// are none.
fn without_zeros<'a, 'b, E: GemmElement>(
    a: &List<'a, E>,
    b: &List<'b, E>,
) -> Option<(List<'a, E>, List<'b, E>)> {
    let is_zeros = |(a, b): (&&[E], &&[E])| E::are_zeros(a) || E::are_zeros(b);
    let there = || a.iter().zip(b).filter(|pair| !is_zeros(*pair));
    a.iter().zip(b).any(is_zeros).then(|| there().unzip())
}

//! How a matrix of rows and columns is cut for sums down its columns.

use super::GROUP;

/// Rows that one invocation adds up at most: few enough for f32, enough to be worth a group.
const ROWS_EACH: u32 = 64;
/// The widest tile: neighbouring invocations read neighbouring numbers.
const WIDEST: u32 = 32;

/// A workgroup's share: `width` neighbouring columns of a chunk of `rows` rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    /// Columns, a power of two.
    pub(super) width: u32,
    /// Rows of a chunk.
    pub(super) rows: u32,
    /// Chunks that the rows make.
    pub(super) chunks: u32,
    /// Tiles that a chunk's columns make.
    pub(super) across: u32,
}

impl Tile {
    /// The tile for a matrix. A matrix of few columns gets a narrow one, so that all invocations have work.
    pub(super) fn new(rows: u32, columns: u32) -> Tile {
        let width = columns.next_power_of_two().min(WIDEST);
        let chunk = (GROUP / width * ROWS_EACH).min(rows.max(1));
        Tile { width, rows: chunk, chunks: rows.div_ceil(chunk), across: columns.div_ceil(width) }
    }

    /// Groups for one matrix.
    pub(super) fn groups(self) -> u32 {
        self.chunks * self.across
    }
}

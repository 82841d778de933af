//! The matrix of patches of an image, which is never written: as operands of a product, by position or by tap.
//!
//! ```text
//! P[(n, oh, ow), (kh, kw, c)] = x[n, oh·stride + kh·dilation − padding, .., c]       zero outside the image
//! ```
//!
//! Taps side by side in a row of the image are one contiguous run: an image of 3 channels is read 3·KW elements at a time.
//! Micro-kernels read runs where they lie, if neighbouring positions are near enough and a block of k is within one run;
//! otherwise they are packed straight from the tensor.
//!
//! Taps outside the image are not multiplied where that saves much, over few rows of positions: [`Patches::leave_out`]
//! puts positions into such an order that a micro-tile's are all outside at once, and a weight gradient's lists have no
//! such rows. (Of a 4 × 4 convolution by stride 2 from 8 × 8 to 4 × 4 a quarter of all products is with zeros.) What is left
//! out would have added zeros, or NaN where the other factor is not finite: then a result depends on its neighbours.

use crate::gemm::{
    DEPTH_BLOCK, GemmElement, Layout, MOST_LANES, NEAR_LANES, Operand, RUN, deal_rows,
    deal_stored_rows, interleave, with_scratch,
};
use crate::memory;
use std::ops::Range;

/// Channels from which on weight gradients read each tap by itself: lists of taps cost little then. (Of 256 channels they
/// took .88 and .96 of the time, of 128 1.01 and 1.02, of 64 1.15 and 1.19.)
const MANY_CHANNELS: usize = 256;

/// Numbers that a short run is copied by at a time.
const FEW: usize = 4;

/// Copies a run, some numbers at a time if it is short: calling the C library would take longer than that.
#[inline]
fn copy_run<E: Copy>(to: &mut [E], from: &[E]) {
    if from.len() > 8 * FEW {
        return to.copy_from_slice(from);
    }
    let ((to, to_rest), (from, from_rest)) = (to.as_chunks_mut::<FEW>(), from.as_chunks::<FEW>());
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    to_rest.iter_mut().zip(from_rest).for_each(|(to, from)| *to = *from);
}

/// Which of `count` columns from `left` on are within 0..width.
fn inside(left: isize, count: usize, width: usize) -> Range<usize> {
    let start = (-left).max(0) as usize;
    let end = (width as isize - left).clamp(0, count as isize) as usize;
    start.min(end)..end
}

/// Which of `count` windows, the first at column `left` and each `step` further, have all their columns within 0..width.
fn whole(left: isize, step: usize, count: usize, columns: usize, width: usize) -> Range<usize> {
    let start = ((-left).max(0) as usize).div_ceil(step).min(count);
    let beyond = (width + 1) as isize - columns as isize - left;
    start..(beyond.max(0) as usize).div_ceil(step).clamp(start, count)
}

/// An NHWC tensor of which some channels are read.
pub(super) struct Image<'a, E> {
    pub(super) data: &'a [E],
    pub(super) height: usize,
    pub(super) width: usize,
    /// All channels of a pixel.
    pub(super) channels: usize,
    /// The first channel that is read.
    pub(super) first: usize,
    /// How many are read.
    pub(super) used: usize,
}

/// Taps of a window that are read as one: side by side, with all their channels; or a single one.
struct TapRun {
    /// Offset of the first tap from the window's origin.
    row: isize,
    column: isize,
}

/// In which order the positions of the window are gone through.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    /// By image, row and column: as results are stored.
    Images,
    /// By row, image and column: a tap's row that lies outside does so for many positions in turn.
    Rows,
    /// By row, column and image: so does a tap.
    Places,
}

/// Rows of positions up to which another order than the results' pays. (Over sixteen, 3 % of the products could be left
/// out; it took as long or up to 3 % longer, as neighbouring rows of an image are then read at different times.)
const FEW_ROWS: usize = 8;

/// The matrix of patches: (position of the window) x (tap, channel).
pub(super) struct Patches<'a, E> {
    image: Image<'a, E>,
    order: Order,
    /// Positions of the window in an image, (rows, columns).
    positions: [usize; 2],
    /// Pixels between positions.
    step: [usize; 2],
    /// In the order of (tap row, tap column).
    runs: Vec<TapRun>,
    /// Taps of each run.
    taps: usize,
}

/// A position of the window: which image, and the window's origin in it.
#[derive(Clone, Copy)]
struct Position {
    image: usize,
    row: isize,
    column: isize,
}

/// Neighbouring positions in a row.
struct Row {
    first: Position,
    count: usize,
}

/// Elements `range` of run `run`, the `at`-th onwards of those asked for.
struct Part {
    run: usize,
    range: Range<usize>,
    at: usize,
}

impl<'a, E> Patches<'a, E> {
    pub(super) fn new(
        image: Image<'a, E>,
        positions: [usize; 2],
        step: [usize; 2],
        rows: &[isize],
        columns: &[isize],
    ) -> Self {
        let adjacent = columns.windows(2).all(|pair| pair[1] == pair[0] + 1);
        let taps = if adjacent && image.used == image.channels { columns.len().max(1) } else { 1 };
        let runs = rows
            .iter()
            .flat_map(|&row| {
                columns.iter().step_by(taps).map(move |&column| TapRun { row, column })
            })
            .collect();
        Self { image, order: Order::Images, positions, step, runs, taps }
    }

    /// Reads every tap by itself where it has so many channels that this pays: a tap outside the image is then left out.
    pub(super) fn apart(mut self, width: usize) -> Self {
        if self.image.used >= MANY_CHANNELS && self.image.used.is_multiple_of(width) {
            let taps = self.taps;
            let runs = self.runs.iter().flat_map(|&TapRun { row, column }| {
                (0..taps).map(move |tap| TapRun { row, column: column + tap as isize })
            });
            (self.runs, self.taps) = (runs.collect(), 1);
        }
        self
    }

    /// Puts the positions into the order in which most of what is outside the image can be left out.
    pub(super) fn leave_out(mut self) -> Self {
        let outside = |(origin, offset): (isize, isize), size: usize| {
            origin + offset < 0 || origin + offset >= size as isize
        };
        let last = ((self.positions[0] - 1) * self.step[0]) as isize;
        let mut rows = self.runs.iter().map(|run| run.row);
        let is_padded = rows.any(|row| {
            outside((0, row), self.image.height) || outside((last, row), self.image.height)
        });
        if is_padded && self.positions[0] <= FEW_ROWS && self.images() > 1 {
            self.order = if self.distance() <= NEAR_LANES { Order::Rows } else { Order::Places };
        }
        self
    }

    /// Bytes between neighbouring positions.
    fn distance(&self) -> usize {
        self.step[1] * self.image.channels * size_of::<E>()
    }

    /// How many images there are.
    fn images(&self) -> usize {
        self.image.data.len() / (self.image.height * self.image.width * self.image.channels)
    }

    /// How many positions are gone through in the inner, the middle and the outer loop.
    fn loops(&self) -> [usize; 3] {
        let [rows, columns] = self.positions;
        match self.order {
            Order::Images => [columns, rows, self.images()],
            Order::Rows => [columns, self.images(), rows],
            Order::Places => [self.images(), columns, rows],
        }
    }

    /// The positions from the `first` on, without end.
    fn positions(&self, first: usize) -> impl Iterator<Item = Position> {
        let [inner, middle, _] = self.loops();
        let mut at = [first % inner, first / inner % middle, first / (inner * middle)];
        std::iter::from_fn(move || {
            let (image, row, column) = self.place(at);
            let position = Position {
                image,
                row: (row * self.step[0]) as isize,
                column: (column * self.step[1]) as isize,
            };
            at[0] += 1;
            if at[0] == inner {
                (at[0], at[1]) = (0, at[1] + 1);
            }
            if at[1] == middle {
                (at[1], at[2]) = (0, at[2] + 1);
            }
            Some(position)
        })
    }

    /// Some positions from the `range.start`-th on, in rows: neighbours of one row of one image together.
    fn rows(&self, range: Range<usize>) -> impl Iterator<Item = Row> {
        let columns = if self.order == Order::Places { 1 } else { self.positions[1] };
        let mut positions = self.positions(range.start);
        let mut at = range.start;
        std::iter::from_fn(move || {
            let first = positions.next().filter(|_| at < range.end)?;
            let count = (columns - at % columns).min(range.end - at);
            if count > 1 {
                positions.nth(count - 2);
            }
            at += count;
            Some(Row { first, count })
        })
    }

    /// The image, row and column of what the loops are at.
    fn place(&self, [inner, middle, outer]: [usize; 3]) -> (usize, usize, usize) {
        match self.order {
            Order::Images => (outer, middle, inner),
            Order::Rows => (middle, outer, inner),
            Order::Places => (inner, outer, middle),
        }
    }

    /// The rows of a result, which are stored by image, row and column, in the order of the positions.
    pub(super) fn ordered<T>(&self, stored: impl ExactSizeIterator<Item = T>) -> Vec<T> {
        if self.order == Order::Images {
            return memory::list(stored);
        }
        let mut stored = memory::list(stored.map(Some));
        let ([inner, middle, outer], [rows, columns]) = (self.loops(), self.positions);
        let mut ordered = memory::room(stored.len());
        for outer in 0..outer {
            for middle in 0..middle {
                for inner in 0..inner {
                    let (image, row, column) = self.place([inner, middle, outer]);
                    let row = stored[(image * rows + row) * columns + column].take();
                    ordered.push(row.expect("each position once"));
                }
            }
        }
        ordered
    }

    /// Whether a part is outside the image at a position.
    fn is_outside(&self, position: Position, part: &Part) -> bool {
        let (image, run) = (&self.image, &self.runs[part.run]);
        let row = position.row + run.row;
        let first = (part.range.start / image.used) as isize;
        let last = ((part.range.end - 1) / image.used) as isize;
        let column = position.column + run.column;
        row < 0
            || row >= image.height as isize
            || column + last < 0
            || column + first >= image.width as isize
    }

    /// The runs that elements `range` of a patch are made of.
    fn parts(&self, range: &Range<usize>) -> Vec<Part> {
        let length = self.taps * self.image.used;
        (range.start / length..range.end.div_ceil(length))
            .map(|run| {
                let start = range.start.max(run * length);
                let end = range.end.min((run + 1) * length);
                Part {
                    run,
                    range: start - run * length..end - run * length,
                    at: start - range.start,
                }
            })
            .collect()
    }

    /// The elements of a part where they lie, when none is outside the image.
    fn stored(&self, position: Position, part: &Part) -> Option<&'a [E]> {
        let (image, run) = (&self.image, &self.runs[part.run]);
        let row = usize::try_from(position.row + run.row).ok().filter(|&row| row < image.height)?;
        let column = usize::try_from(position.column + run.column).ok()?;
        if column + self.taps > image.width {
            return None;
        }
        let pixel = (position.image * image.height + row) * image.width + column;
        Some(&image.data[pixel * image.channels + image.first..][part.range.clone()])
    }
}

impl<'a, E: GemmElement> Patches<'a, E> {
    /// The elements of a part at `count` positions from the `first` on: where they lie, or put together in `space`, which
    /// has room for all.
    fn list<'s>(
        &'s self,
        first: usize,
        count: usize,
        part: &Part,
        space: &'s mut [E],
    ) -> Vec<&'s [E]> {
        let (image, run, length) = (&self.image, &self.runs[part.run], part.range.len());
        let mut spaces = space.chunks_exact_mut(length);
        let mut put_together = |position: Position| -> &'s [E] {
            let space = spaces.next().expect("room for all");
            self.put_together(position, part, space);
            space
        };
        let mut list = Vec::with_capacity(count);
        let mut outside: Option<&[E]> = E::ZEROS.get(..length);
        for Row { first: start, count } in self.rows(first..first + count) {
            let Some(row) = self.pixels(start, run) else {
                let zeros = *outside.get_or_insert_with(|| put_together(start));
                list.extend(std::iter::repeat_n(zeros, count));
                continue;
            };
            for index in 0..count {
                let column = start.column + (index * self.step[1]) as isize + run.column;
                let is_inside = column >= 0 && column as usize + self.taps <= image.width;
                list.push(if is_inside {
                    let at = column as usize * image.channels + image.first + part.range.start;
                    &row[at..][..length]
                } else {
                    let column = start.column + (index * self.step[1]) as isize;
                    let mut put_together = || put_together(Position { column, ..start });
                    match self.taps {
                        1 => *outside.get_or_insert_with(put_together),
                        _ => put_together(),
                    }
                });
            }
        }
        list
    }

    /// The row of the image under a run at a position, if there is one.
    fn pixels(&self, position: Position, run: &TapRun) -> Option<&'a [E]> {
        let (image, row) = (&self.image, position.row + run.row);
        let row = usize::try_from(row).ok().filter(|&row| row < image.height)?;
        let length = image.width * image.channels;
        Some(&image.data[(position.image * image.height + row) * length..][..length])
    }

    /// Copies a part at the positions of a row to their runs, `[position][RUN]`.
    fn copy_part(&self, row: &Row, part: &Part, runs: &mut [E]) {
        let (image, run, length) = (&self.image, &self.runs[part.run], part.range.len());
        let mut spaces = runs.chunks_exact_mut(RUN).map(|run| &mut run[part.at..][..length]);
        let Some(pixels) = self.pixels(row.first, run) else {
            return spaces.for_each(|space| space.fill(E::ZERO));
        };
        let left = row.first.column + run.column;
        // The positions at which no tap of the run is outside the image.
        let Range { start: first, end } =
            whole(left, self.step[1], row.count, self.taps, image.width);
        let put_together = |index: usize, space: &mut [E]| {
            let column = row.first.column + (index * self.step[1]) as isize;
            self.put_together(Position { column, ..row.first }, part, space);
        };
        (0..first).zip(&mut spaces).for_each(|(index, space)| put_together(index, space));
        if first < end {
            let from = (left + (first * self.step[1]) as isize) as usize * image.channels;
            let from = &pixels[from + image.first + part.range.start..];
            let apart = self.step[1] * image.channels;
            for (index, space) in (0..end - first).zip(&mut spaces) {
                copy_run(space, &from[index * apart..][..length]);
            }
        }
        (end..row.count).zip(spaces).for_each(|(index, space)| put_together(index, space));
    }

    /// Writes the elements of a part that is not [`Patches::stored`] as a whole, with zeros around the image.
    fn put_together(&self, position: Position, part: &Part, to: &mut [E]) {
        to.fill(E::ZERO);
        let (image, run) = (&self.image, &self.runs[part.run]);
        let row = position.row + run.row;
        if row < 0 || row >= image.height as isize {
            return;
        }
        let left = position.column + run.column;
        let inside = inside(left, self.taps, image.width);
        let start = part.range.start.max(inside.start * image.used);
        let end = part.range.end.min(inside.end * image.used);
        if start < end {
            let pixel = (position.image * image.height + row as usize) * image.width;
            let pixel = (pixel + (left + inside.start as isize) as usize) * image.channels;
            let from = pixel + image.first + start - inside.start * image.used;
            let to = &mut to[start - part.range.start..end - part.range.start];
            copy_run(to, &image.data[from..from + to.len()]);
        }
    }
}

/// Patches with the positions as lanes, and taps and channels along k.
pub(super) struct Windows<'a, 'b, E>(pub(super) &'b Patches<'a, E>);

impl<E: GemmElement> Operand<E> for Windows<'_, '_, E> {
    fn pack(&self, lanes: Range<usize>, depth: Range<usize>, panels: &mut [E], lane_width: usize) {
        let patches = self.0;
        let parts = patches.parts(&depth);
        let mut positions = [Position { image: 0, row: 0, column: 0 }; MOST_LANES];
        let mut from = patches.positions(lanes.start);
        let mut staging = vec![E::ZERO; lane_width * DEPTH_BLOCK];
        for (index, panel) in panels.chunks_exact_mut(depth.len() * lane_width).enumerate() {
            let count = (lanes.len() - index * lane_width).min(lane_width);
            positions[..count].fill_with(|| from.next().expect("positions have no end"));
            for part in &parts {
                let mut runs: [&[E]; MOST_LANES] = [&[]; MOST_LANES];
                let spaces = staging.chunks_exact_mut(DEPTH_BLOCK);
                for ((run, &position), space) in
                    runs.iter_mut().zip(&positions[..count]).zip(spaces)
                {
                    *run = patches.stored(position, part).unwrap_or_else(|| {
                        let space = &mut space[..part.range.len()];
                        patches.put_together(position, part, space);
                        space
                    });
                }
                let panel = &mut panel[part.at * lane_width..][..part.range.len() * lane_width];
                interleave(&runs[..count], lane_width, panel);
            }
        }
    }

    fn layout(&self) -> Layout {
        Layout::Runs
    }

    fn distance(&self) -> usize {
        self.0.distance()
    }

    fn are_zeros(&self, lanes: Range<usize>, depth: Range<usize>) -> bool {
        let patches = self.0;
        patches.order != Order::Images && {
            let parts = patches.parts(&depth);
            let mut positions = patches.positions(lanes.start).take(lanes.len());
            positions.all(|position| parts.iter().all(|part| patches.is_outside(position, part)))
        }
    }

    fn lanes_in_place<'s>(
        &'s self,
        lanes: Range<usize>,
        depth: Range<usize>,
        space: &'s mut [E],
    ) -> Option<Vec<&'s [E]>> {
        let [part] = &self.0.parts(&depth)[..] else { return None };
        Some(self.0.list(lanes.start, lanes.len(), part, space))
    }

    fn pack_runs(&self, lanes: Range<usize>, depth: Range<usize>, runs: &mut [E]) {
        let patches = self.0;
        let parts = patches.parts(&depth);
        let mut rest = &mut runs[..lanes.len() * RUN];
        for row in patches.rows(lanes) {
            let (runs, further) = std::mem::take(&mut rest).split_at_mut(row.count * RUN);
            rest = further;
            for part in &parts {
                patches.copy_part(&row, part, runs);
            }
        }
    }
}

/// Patches with taps and channels as lanes, and the positions along k.
pub(super) struct Taps<'a, 'b, E>(pub(super) &'b Patches<'a, E>);

impl<E: GemmElement> Operand<E> for Taps<'_, '_, E> {
    fn pack(&self, lanes: Range<usize>, depth: Range<usize>, panels: &mut [E], lane_width: usize) {
        let patches = self.0;
        let parts = patches.parts(&lanes);
        if parts.iter().all(|part| part.range.len().is_multiple_of(lane_width)) {
            let most = parts.iter().map(|part| part.range.len()).max().unwrap_or(0);
            return with_scratch(most * depth.len(), |space: &mut [E]| {
                for part in &parts {
                    let rows = patches.list(depth.start, depth.len(), part, space);
                    let length = part.range.len();
                    let panels = &mut panels[part.at * depth.len()..][..length * depth.len()];
                    deal_stored_rows(&rows, length, lane_width, panels);
                }
            });
        }
        let mut positions = patches.positions(depth.start);
        deal_rows(depth.len(), lanes.len(), lane_width, panels, |_, row| {
            let position = positions.next().expect("positions have no end");
            if let [part] = &parts[..]
                && let Some(stored) = patches.stored(position, part)
            {
                return Some(stored);
            }
            for part in &parts {
                let row = &mut row[part.at..][..part.range.len()];
                match patches.stored(position, part) {
                    Some(stored) => copy_run(row, stored),
                    None => patches.put_together(position, part, row),
                }
            }
            None
        });
    }

    fn distance(&self) -> usize {
        self.0.distance()
    }

    fn parts(&self, lanes: Range<usize>) -> Option<Vec<Range<usize>>> {
        let parts = self.0.parts(&lanes);
        let absolute =
            |part: &Part| lanes.start + part.at..lanes.start + part.at + part.range.len();
        (!parts.is_empty()).then(|| parts.iter().map(absolute).collect())
    }

    fn rows<'s>(
        &'s self,
        lanes: Range<usize>,
        depth: Range<usize>,
        space: &'s mut [E],
    ) -> Vec<&'s [E]> {
        let patches = self.0;
        let [part] = &patches.parts(&lanes)[..] else { unreachable!("lanes of one part") };
        patches.list(depth.start, depth.len(), part, space)
    }

    fn rows_there(&self, lanes: Range<usize>, depth: Range<usize>) -> Vec<&[E]> {
        let patches = self.0;
        let parts = patches.parts(&lanes);
        let positions = patches.positions(depth.start).take(depth.len());
        positions.filter_map(|position| patches.stored(position, parts.first()?)).collect()
    }
}

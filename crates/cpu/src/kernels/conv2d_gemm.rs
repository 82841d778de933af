//! The fast paths of `conv2d`, `conv2d_grad_input` and `conv2d_grad_weight`: matrix products over a matrix of
//! patches that is never written.
//!
//! ```text
//! P[(n, oh, ow), (kh, kw, c)] = x[n, oh·stride + kh·dilation − padding, .., c]       zero outside the image
//!
//! conv2d             Y [N·OH·OW, O]  = P · Wᵀ                        W: [O, KH·KW·C] as it is stored
//! conv2d_grad_weight W̄ [O, KH·KW·C]  = Gᵀ · P                        G: [N·OH·OW, O] as it is stored
//! conv2d_grad_input  by phases or by columns:
//!   phases   X̄[pixels of a phase, C] = P'· W'     a phase: the pixels with one (ih mod stride, iw mod stride).
//!            Only the taps with kh·dilation ≡ ih + padding (mod stride) reach them, each from the output at
//!            (ih + padding − kh·dilation) / stride: a window of stride 1 over g, P': [pixels, taps·O].
//!            W': [taps·O, C] is W read in another order. Phases without taps are zero.
//!   columns  D [N·OH·OW, KH·KW·C] = G · W, then every pixel adds the elements of D that fall on it.
//! ```
//!
//! [`Patches`] packs its elements straight from the NHWC tensor into the panels of the matrix multiply; taps side by
//! side in a row of the image are one contiguous run, so an image of 3 channels is read 3·KW elements at a time.
//!
//! Which path is taken, decided by the shape alone:
//!
//! | condition | path |
//! |---|---|
//! | fewer than [`SMALLEST_PRODUCT`] multiply-adds | direct loops: packing would cost more |
//! | groups of fewer than [`FEWEST_GROUP_CHANNELS`] channels | direct loops: depthwise products have no width |
//! | grad_input of at most [`FEW_CHANNELS`] channels, or with twice as many pixels as a full phase can use | columns |
//! | otherwise | a product for each group (and phase) |
//!
//! The columns suit few channels because the product is then KH·KW·C wide instead of C, and a 1 × 1 → 4 × 4
//! projection because its pixels' windows lie mostly outside g. Every element is summed in an order that depends on
//! the shape alone.

use super::conv2d::Extents;
use super::{Real, Run, fill_chunks};
use crate::gemm::{
    DEPTH_BLOCK, GemmElement, Kernel, Layout, MOST_LANES, Matrix, NEAR_LANES, NEAR_ROWS, Operand,
    RUN, deal_rows, deal_stored_rows, gemm, gemm_rows, interleave, with_scratch,
};
use crate::memory;
use std::ops::Range;

/// Multiply-adds below which the direct loops are as fast.
const SMALLEST_PRODUCT: usize = 1 << 12;

/// Channels of a group (either side) below which the direct loops are taken.
const FEWEST_GROUP_CHANNELS: usize = 4;

/// Image channels up to which `conv2d_grad_input` goes by columns: half the width of a narrow panel.
const FEW_CHANNELS: usize = 8;

/// Channels from which on weight gradients read each tap by itself: lists of taps cost little then. (Of 256 channels they
/// took .72 to .88 of the time, of 128 as long, of 64 a fifth more.)
const MANY_CHANNELS: usize = 256;

/// Elements of D that are made and summed at a time: they stay in the L2 cache.
const COLUMN_ELEMENTS: usize = 1 << 16;

/// Whether the packed products are worth their packing.
pub(super) fn pays(e: &Extents) -> bool {
    let work = e.n * e.oh * e.ow * e.o * e.kh * e.kw * e.c_group;
    let narrow = e.groups > 1 && e.c_group.min(e.o_group) < FEWEST_GROUP_CHANNELS;
    work >= SMALLEST_PRODUCT && !narrow
}

/// The offsets of a kernel's taps from the top left of a window, along one side.
fn offsets(taps: usize, dilation: usize, padding: usize) -> Vec<isize> {
    (0..taps).map(|tap| (tap * dilation) as isize - padding as isize).collect()
}

/// The windows of the convolution over its image, in group `group`.
fn windows<'a, E>(e: &Extents, x: &'a [E], group: usize) -> Patches<'a, E> {
    Patches::new(
        Image {
            data: x,
            height: e.h,
            width: e.w,
            channels: e.c,
            first: group * e.c_group,
            used: e.c_group,
        },
        [e.oh, e.ow],
        e.stride,
        &offsets(e.kh, e.dilation[0], e.padding[0]),
        &offsets(e.kw, e.dilation[1], e.padding[1]),
    )
}

/// `Y = P Wᵀ`, group by group.
pub(super) fn conv2d<E: Real + GemmElement>(mut run: Run<'_>, e: &Extents) {
    let (x, w) = (run.input::<E>(0), run.input::<E>(1)); // x: [N, H, W, C]  w: [O, KH, KW, C/groups]
    let depth = e.kh * e.kw * e.c_group;
    let kernel = E::kernel(run.products);
    let y = run.output::<E>();
    if e.groups == 1 {
        let weight = Matrix::lanes_by_depth(w, depth);
        if e.o == 1 {
            let rows = e.n * e.oh * e.ow;
            return gemm(kernel, rows, e.o, depth, &Windows(&windows(e, x, 0)), &weight, y);
        }
        let patches = windows(e, x, 0).leave_out();
        let mut rows = patches.ordered(y.chunks_exact_mut(e.o));
        return gemm_rows(kernel, depth, &Windows(&patches), &weight, &mut rows);
    }
    for (group, rows) in channel_groups(y, e.groups, e.o_group).into_iter().enumerate() {
        let weight = Matrix::lanes_by_depth(&w[group * e.o_group * depth..], depth);
        let patches = windows(e, x, group).leave_out();
        let mut rows = patches.ordered(rows.into_iter());
        gemm_rows(kernel, depth, &Windows(&patches), &weight, &mut rows);
    }
}

/// `W̄ = Gᵀ P`, group by group.
pub(super) fn conv2d_grad_weight<E: Real + GemmElement>(mut run: Run<'_>, e: &Extents) {
    let (x, g) = (run.input::<E>(0), run.input::<E>(1)); // x: [N, H, W, C]  g: [N, OH, OW, O]
    let columns = e.kh * e.kw * e.c_group;
    let kernel = E::kernel(run.products);
    let groups = run.output::<E>().chunks_exact_mut(e.o_group * columns);
    for (group, weight) in groups.enumerate() {
        let cotangent = Matrix::depth_by_lanes(&g[group * e.o_group..], e.o);
        let patches = windows(e, x, group).apart(kernel.nr);
        let depth = e.n * e.oh * e.ow;
        gemm(kernel, e.o_group, columns, depth, &cotangent, &Taps(&patches), weight);
    }
}

/// By phases or by columns.
pub(super) fn conv2d_grad_input<E: Real + GemmElement>(mut run: Run<'_>, e: &Extents) {
    let (g, w) = (run.input::<E>(0), run.input::<E>(1)); // g: [N, OH, OW, O]  w: [O, KH, KW, C/groups]
    let kernel = E::kernel(run.products);
    let wasteful = e.h * e.w >= 2 * e.oh * e.ow * e.stride[0] * e.stride[1];
    if e.groups == 1 && (e.c <= FEW_CHANNELS || wasteful) {
        by_columns(kernel, e, g, w, run.output());
    } else {
        by_phases(kernel, e, g, w, run.output());
    }
}

/// The rows of a tensor `[.., groups · channels]`, each cut into its groups: `[group][row]`.
fn channel_groups<E>(data: &mut [E], groups: usize, channels: usize) -> Vec<Vec<&mut [E]>> {
    let rows = data.len() / (groups * channels);
    let mut cut: Vec<Vec<&mut [E]>> = (0..groups).map(|_| memory::room(rows)).collect();
    for row in data.chunks_exact_mut(groups * channels) {
        let parts = row.chunks_exact_mut(channels);
        cut.iter_mut().zip(parts).for_each(|(group, part)| group.push(part));
    }
    cut
}

/// The taps that reach the pixels `first + i·stride` of one side: their indices and, for the first of these pixels,
/// the outputs that they belong to, in ascending order.
fn phase_taps(
    first: usize,
    taps: usize,
    stride: usize,
    padding: usize,
    dilation: usize,
) -> (Vec<usize>, Vec<isize>) {
    let reached = |tap: usize| (first + padding) as isize - (tap * dilation) as isize;
    let taps: Vec<usize> =
        (0..taps).rev().filter(|&tap| reached(tap) % stride as isize == 0).collect();
    let outputs = taps.iter().map(|&tap| reached(tap) / stride as isize).collect();
    (taps, outputs)
}

fn by_phases<E: Real + GemmElement>(
    kernel: &Kernel<E>,
    e: &Extents,
    g: &[E],
    w: &[E],
    x: &mut [E],
) {
    let phases = [e.stride[0].min(e.h), e.stride[1].min(e.w)];
    let mut rows: Vec<Vec<&mut [E]>> =
        (0..phases[0] * phases[1] * e.groups).map(|_| Vec::new()).collect();
    for (row, pixels) in x.chunks_exact_mut(e.w * e.c).enumerate() {
        let row = row % e.h % e.stride[0];
        for (column, pixel) in pixels.chunks_exact_mut(e.c).enumerate() {
            let phase = row * phases[1] + column % e.stride[1];
            for (group, channels) in pixel.chunks_exact_mut(e.c_group).enumerate() {
                memory::push(&mut rows[phase * e.groups + group], channels);
            }
        }
    }
    for (index, rows) in rows.into_iter().enumerate() {
        let (phase, group) = (index / e.groups, index % e.groups);
        let first = [phase / phases[1], phase % phases[1]];
        let side = |axis: usize, taps: usize| {
            phase_taps(first[axis], taps, e.stride[axis], e.padding[axis], e.dilation[axis])
        };
        let ((tap_rows, output_rows), (tap_columns, output_columns)) =
            (side(0, e.kh), side(1, e.kw));
        let cotangent = Image {
            data: g,
            height: e.oh,
            width: e.ow,
            channels: e.o,
            first: group * e.o_group,
            used: e.o_group,
        };
        let positions =
            [(e.h - first[0]).div_ceil(e.stride[0]), (e.w - first[1]).div_ceil(e.stride[1])];
        let patches = Patches::new(cotangent, positions, [1, 1], &output_rows, &output_columns);
        let patches = patches.leave_out();
        let mut rows = patches.ordered(rows.into_iter());
        let taps: Vec<usize> = tap_rows
            .iter()
            .flat_map(|row| tap_columns.iter().map(move |column| row * e.kw + column))
            .collect();
        let weight = PhaseWeight {
            weight: &w[group * e.o_group * e.kh * e.kw * e.c_group..],
            taps: &taps,
            kernel: e.kh * e.kw,
            inputs: e.o_group,
            channels: e.c_group,
        };
        gemm_rows(kernel, taps.len() * e.o_group, &Windows(&patches), &weight, &mut rows);
    }
}

/// `W'[(tap, o), c] = w[o, tap, c]` over the taps of a phase.
struct PhaseWeight<'a, E> {
    /// The group's weight.
    weight: &'a [E],
    /// kh · KW + kw of each tap.
    taps: &'a [usize],
    /// KH · KW.
    kernel: usize,
    /// O / groups.
    inputs: usize,
    /// C / groups.
    channels: usize,
}

impl<E: GemmElement> Operand<E> for PhaseWeight<'_, E> {
    fn pack(&self, lanes: Range<usize>, depth: Range<usize>, panels: &mut [E], lane_width: usize) {
        deal_rows(depth.len(), lanes.len(), lane_width, panels, |d, _| {
            let (tap, o) = ((depth.start + d) / self.inputs, (depth.start + d) % self.inputs);
            let from = (o * self.kernel + self.taps[tap]) * self.channels;
            Some(&self.weight[from..][lanes.clone()])
        });
    }
}

fn by_columns<E: Real + GemmElement>(
    kernel: &Kernel<E>,
    e: &Extents,
    g: &[E],
    w: &[E],
    x: &mut [E],
) {
    let (outputs, columns) = (e.oh * e.ow, e.kh * e.kw * e.c);
    let image = e.h * e.w * e.c;
    let together = (COLUMN_ELEMENTS / (outputs * columns)).max(1);
    fill_chunks(x, together * image, |start, x| {
        let (first, images) = (start / image, x.len() / image);
        with_scratch(images * outputs * columns, |d: &mut [E]| {
            let cotangent = Matrix::lanes_by_depth(&g[first * outputs * e.o..], e.o);
            let weight = Matrix::depth_by_lanes(w, columns);
            gemm(kernel, images * outputs, columns, e.o, &cotangent, &weight, d);
            for (index, row) in x.chunks_exact_mut(e.w * e.c).enumerate() {
                let d = &d[index / e.h * outputs * columns..][..outputs * columns];
                add_row(e, d, index % e.h, row);
            }
        });
    });
}

/// One row of an image: the sum of what D has for it.
fn add_row<E: Real + GemmElement>(e: &Extents, d: &[E], ih: usize, row: &mut [E]) {
    row.fill(E::ZERO);
    // Taps side by side fall on pixels side by side: KW · C elements at once.
    let run = if e.dilation[1] == 1 { e.kw } else { 1 };
    for kh in 0..e.kh {
        let Some(oh) = e.oh(ih, kh) else { continue };
        for ow in 0..e.ow {
            for kw in (0..e.kw).step_by(run) {
                let left = (ow * e.stride[1] + kw * e.dilation[1]) as isize - e.padding[1] as isize;
                let inside = inside(left, run, e.w);
                if inside.is_empty() {
                    continue;
                }
                let from = (((oh * e.ow + ow) * e.kh + kh) * e.kw + kw + inside.start) * e.c;
                let to = (left + inside.start as isize) as usize * e.c;
                let length = inside.len() * e.c;
                add_few(&mut row[to..to + length], &d[from..from + length]);
            }
        }
    }
}

/// Numbers that a short run is handled by at a time.
const FEW: usize = 4;

/// Adds a short run to another, some numbers at a time: a loop for any length would begin with asking how long it is.
#[inline]
fn add_few<E: GemmElement>(sums: &mut [E], terms: &[E]) {
    let ((sums, sums_rest), (terms, terms_rest)) =
        (sums.as_chunks_mut::<FEW>(), terms.as_chunks::<FEW>());
    for (sum, term) in sums.iter_mut().zip(terms) {
        *sum = std::array::from_fn(|lane| sum[lane] + term[lane]);
    }
    sums_rest.iter_mut().zip(terms_rest).for_each(|(sum, &term)| *sum = *sum + term);
}

/// Copies a run, likewise if it is short: calling the C library would take longer than that.
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

/// An NHWC tensor of which some channels are read.
struct Image<'a, E> {
    data: &'a [E],
    height: usize,
    width: usize,
    /// All channels of a pixel.
    channels: usize,
    /// The first channel that is read.
    first: usize,
    /// How many are read.
    used: usize,
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

/// Rows of positions up to which another order than the results' pays: the first row's and the last's are an eighth of
/// the taps then, of which one or two are outside.
const FEW_ROWS: usize = 8;

/// The matrix of patches: (position of the window) x (tap, channel).
struct Patches<'a, E> {
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

/// Elements `range` of run `run`, the `at`-th onwards of those asked for.
struct Part {
    run: usize,
    range: Range<usize>,
    at: usize,
}

impl<'a, E> Patches<'a, E> {
    fn new(
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
    fn apart(mut self, width: usize) -> Self {
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
    fn leave_out(mut self) -> Self {
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

    /// The image, row and column of what the loops are at.
    fn place(&self, [inner, middle, outer]: [usize; 3]) -> (usize, usize, usize) {
        match self.order {
            Order::Images => (outer, middle, inner),
            Order::Rows => (middle, outer, inner),
            Order::Places => (inner, outer, middle),
        }
    }

    /// The rows of a result, which are stored by image, row and column, in the order of the positions.
    fn ordered<T>(&self, stored: impl ExactSizeIterator<Item = T>) -> Vec<T> {
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
        let columns = if self.order == Order::Places { 1 } else { self.positions[1] };
        let mut positions = self.positions(first);
        while list.len() < count {
            // The positions that are left of a row of the image, or of the count.
            let start = positions.next().expect("positions have no end");
            let number = (first + list.len()) % columns;
            let here = (columns - number).min(count - list.len());
            if here > 1 {
                positions.nth(here - 2);
            }
            let row = start.row + run.row;
            if row < 0 || row >= image.height as isize {
                let zeros = *outside.get_or_insert_with(|| put_together(start));
                list.extend(std::iter::repeat_n(zeros, here));
                continue;
            }
            let row = (start.image * image.height + row as usize) * image.width * image.channels;
            let row = &image.data[row..][..image.width * image.channels];
            for index in 0..here {
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
            to.copy_from_slice(&image.data[from..from + to.len()]);
        }
    }
}

/// Patches with the positions as lanes, and taps and channels along k.
struct Windows<'a, 'b, E>(&'b Patches<'a, E>);

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

    fn is_near(&self) -> bool {
        self.0.distance() <= NEAR_LANES
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
        let positions = patches.positions(lanes.start);
        for (run, position) in runs.chunks_exact_mut(RUN).zip(positions) {
            for part in &parts {
                let run = &mut run[part.at..][..part.range.len()];
                match patches.stored(position, part) {
                    Some(stored) => copy_run(run, stored),
                    None => patches.put_together(position, part, run),
                }
            }
        }
    }
}

/// Patches with taps and channels as lanes, and the positions along k.
struct Taps<'a, 'b, E>(&'b Patches<'a, E>);

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

    fn is_near(&self) -> bool {
        self.0.distance() <= NEAR_ROWS
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

//! Matrix multiply for the CPU: packed operands, register-blocked micro-kernels, tiles on rayon.
//!
//! `C[m, n] = sum over k of A[m, k] * B[k, n]`, row-major and overwritten; 2 m n k FLOP.
//!
//! The scheme is the one of Goto and van de Geijn ("Anatomy of High-Performance Matrix
//! Multiplication", ACM TOMS 34(3), 2008):
//!
//! ```text
//! for every round of k                        (as much as the shared scratch holds)
//!   pack the shared side                      (the one with fewer lanes; all threads)
//!   for every tile of C                       (in parallel; a tile owns its elements)
//!     for some of its columns                 (all, if their sums stay in L2)
//!       for every block of DEPTH_BLOCK of k   (in order: the only order of summation)
//!         pack the tile's own lanes of the other side, unless they are, and stay in L2 with them
//!         for every panel of B                (nr columns, stays in L1)
//!           for every panel of A              (mr rows)
//!             micro-kernel: mr x nr of C in registers, over the block's k
//! ```
//!
//! Where C has too few tiles for the threads (a weight gradient of few channels: small C, long k),
//! blocks of k are the jobs instead; each packs both sides for itself and has its own copy of C,
//! and the copies are added in the order of k. C is a list of rows, which need not be adjacent.
//!
//! **The bits of `C[i, j]` depend on row i of A, column j of B and k alone**: not on m, n, the
//! number of threads or the tiles. Blocks of k are summed in one order everywhere; so a batch
//! split in any way gives the bits of the whole batch. (AVX2 and AVX-512 agree too; the portable
//! micro-kernel rounds differently where it has no fused multiply-add, and so does a matrix unit.)
//!
//! In bf16 ([`Products`]) operands are rounded when they are packed, or before ([`kernel_of_pairs`]), and all the rest
//! stays: sums are f32. Where the processor has a matrix unit (AMX), that multiplies them. With `BELAMY_ISA=amx` it multiplies f32 too, each number being the
//! sum of three bf16 ([`parts`]): six products for one, of which the unit makes 2.7 times as many as AVX-512 makes of f32, and
//! about half of the error, as it sums in steps. (Not by itself: whole steps have not been faster by it.)
//!
//! Operands are [`Operand`]s, things that can pack themselves, so that a convolution is a matrix
//! multiply that never writes its matrix of patches.
//!
//! Packing costs a pass over memory, and a processor that looks some hundred instructions ahead hides that lanes lie apart.
//! So what lies near enough ([`NEAR_LANES`]) is not packed: the lanes of A that are contiguous along k, in
//! the scheme above, and both sides where lanes lie side by side at each k ([`in_place`]). No bit depends on it. (Zen 5, a
//! step of DCGAN-64 by direct kernels: 414 to 378 ms.) Lanes whose numbers lie at the same distances from where each starts,
//! whatever these are, are [`Windows`]: patches of few channels, and what Winograd's transforms write.

mod bf16;
mod element;
mod in_place;
mod kernel;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[allow(unsafe_code)]
mod micro_amx;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod micro_avx2;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod micro_avx512;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod micro_bf16;
mod micro_portable;
#[cfg(target_arch = "x86_64")]
mod micro_simd;
mod pack;
mod parts;
mod scratch;
mod sides;
#[cfg(test)]
pub(crate) mod tests;

use std::ops::Range;

use crate::memory;
use rayon::prelude::*;

pub(crate) use bf16::{pair_lane, pair_two_rows};
pub(crate) use element::{GemmElement, Products, kernel_of_pairs};
use kernel::PANELS_IN_L2;
pub(crate) use kernel::{Columns, Kernel, Packed, SideA, Starts, Steps, Windows};
pub(crate) use pack::{
    Layout, Matrix, NEAR_LANES, Operand, RUN, deal_rows, deal_stored_rows, interleave,
};
pub(crate) use scratch::with as with_scratch;

/// The instruction set of the micro-kernels on this machine: `avx512`, `avx2` or `portable`.
pub(crate) fn instruction_set() -> &'static str {
    f32::best_kernel().set.name()
}

/// Longest run of k that is packed, and summed in registers, at once.
///
/// 256 keeps a panel of B (16 lanes of f32: 16 KiB) in half of a 32 KiB L1 cache, and divides
/// the k of every 4 x 4 convolution whose channels are a multiple of 16.
pub(crate) const DEPTH_BLOCK: usize = 256;

/// The widest lane width of any micro-kernel.
pub(crate) const MOST_LANES: usize = 32;

/// Below this many multiply-adds the calling thread does the work alone: waking the others takes
/// some ten microseconds, as long as the work itself.
pub(crate) const PARALLEL_WORK: usize = 1 << 20;

/// A k from which on products of matrices, not of convolutions, are those of a matrix unit. (Of 128 rows over 128 to 1024 k,
/// as in an MLP, it took .89 to 1.09 of the time.)
pub(crate) const LONG_DEPTH: usize = 2048;

/// Elements of the shared side that are packed before the tiles start (4 Mi: 16 MiB of f32).
const SHARED_ELEMENTS: usize = 1 << 22;

/// Elements of partial sums that may be held when k is split for want of tiles.
const PARTIAL_ELEMENTS: usize = 1 << 20;

/// Tiles that C is cut into where it is large enough, so that unequal threads even out.
const TILES: usize = 16;

/// With fewer tiles than this, blocks of k run in parallel as well.
const TOO_FEW_TILES: usize = 8;

/// Elements of a side from which on it lies further away than L2, a thread's share of which it is.
const LARGE_SIDE: usize = 1 << 18;

/// Elements of C that stay in L2 while the next block of k is multiplied (512 KiB of f32).
const SUMS_IN_L2: usize = 1 << 17;

/// A k beside which copying C once costs nothing.
const LONG: usize = 16 * DEPTH_BLOCK;

/// Computes `C[m, n] = A[m, k] * B[k, n]` (row-major, contiguous, overwritten) with a micro-kernel,
/// one of [`GemmElement::kernels`] or [`GemmElement::kernel`].
///
/// `a` packs the m rows of A, `b` the n columns of B. `k == 0` gives zeros.
/// Panics when `c` does not have m * n elements, or an operand is smaller than its shape: shapes
/// are validated by the op.
pub(crate) fn gemm<E: GemmElement>(
    kernel: &Kernel<E>,
    m: usize,
    n: usize,
    k: usize,
    a: &impl Operand<E>,
    b: &impl Operand<E>,
    c: &mut [E],
) {
    assert_eq!(c.len(), m * n, "gemm ({}): elements of a {m} x {n} C", kernel.set.name());
    if c.is_empty() {
        return;
    }
    let kernel = kernel.of_depth(k);
    // One column is one row of the transposed product: contiguous as it is.
    if n == 1 && m > 1 && k > 0 && !kernel.is_matrix_unit() {
        return Multiply::new(kernel, 1, m, k, b, a).run(&mut [c]);
    }
    let mut rows = memory::list(c.chunks_exact_mut(n));
    gemm_rows(kernel, k, a, b, &mut rows);
}

/// [`gemm`] where the rows of C lie anywhere: in the channels of a group, or at every other pixel.
///
/// Panics when the rows differ in length.
pub(crate) fn gemm_rows<E: GemmElement>(
    kernel: &Kernel<E>,
    k: usize,
    a: &impl Operand<E>,
    b: &impl Operand<E>,
    c: &mut [&mut [E]],
) {
    let (m, n) = (c.len(), c.first().map_or(0, |row| row.len()));
    assert!(c.iter().all(|row| row.len() == n), "gemm ({}): rows of {n}", kernel.set.name());
    if n == 0 {
        return;
    }
    if k == 0 {
        return c.iter_mut().for_each(|row| row.fill(E::ZERO));
    }
    let kernel = kernel.of_depth(k);
    // A few columns would leave most of a panel of B empty; as rows they waste nothing. And over a long k the side that
    // wastes less of the last micro-tiles is worth a transposed copy of C: 64 × 48 is computed as 72 × 64, 48 × 64 as it is.
    let few = n <= kernel.nr / 2 && m > n && !kernel.is_matrix_unit();
    let computed =
        |m: usize, n: usize| m.next_multiple_of(kernel.mr) * n.next_multiple_of(kernel.nr);
    let wasteful = k >= LONG && 8 * computed(n, m) <= 7 * computed(m, n);
    if !(few || wasteful) {
        return Multiply::new(kernel, m, n, k, a, b).run(c);
    }
    scratch::with(m * n, |transposed: &mut [E]| {
        let mut columns = memory::list(transposed.chunks_exact_mut(m));
        let multiply = Multiply::new(kernel, n, m, k, b, a);
        multiply.run(&mut columns);
        for_each_chunk(multiply.parallel, c, 4096, |chunk, rows| {
            for (i, row) in rows.iter_mut().enumerate() {
                for (j, value) in row.iter_mut().enumerate() {
                    *value = transposed[j * m + chunk * 4096 + i];
                }
            }
        });
    });
}

/// One of the two factors.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    A,
    B,
}

/// One matrix multiply and how it is cut up; nothing here depends on the number of threads.
struct Multiply<'a, E: 'static, A, B> {
    kernel: &'a Kernel<E>,
    m: usize,
    n: usize,
    k: usize,
    a: &'a A,
    b: &'a B,
    /// The side that is packed once for all tiles; tiles pack their own lanes of the other.
    shared: Side,
    /// Rows of a tile of C (all m when A is shared), a multiple of mr.
    tile_rows: usize,
    /// Columns of a tile of C (all n when B is shared), a multiple of nr.
    tile_columns: usize,
    parallel: bool,
}

impl<'a, E: GemmElement, A: Operand<E>, B: Operand<E>> Multiply<'a, E, A, B> {
    fn new(kernel: &'a Kernel<E>, m: usize, n: usize, k: usize, a: &'a A, b: &'a B) -> Self {
        let (mr, nr) = (kernel.mr, kernel.nr);
        // What a matrix unit multiplies so fast must be read rarely: its tiles are larger.
        let least = if kernel.is_matrix_unit() { 4 } else { 2 };
        let (shared, tile_rows, tile_columns) = if m < n {
            // A tile's columns of B, times DEPTH_BLOCK, stay in L2; where they are read they are
            // some cache lines wide.
            let least = 2 * least;
            (Side::A, m, n.div_ceil(TILES).next_multiple_of(nr).clamp(least * nr, 2 * least * nr))
        } else {
            // At least two panels, so that a panel of B is fetched into L1 for some work.
            let tile = m.div_ceil(TILES).next_multiple_of(mr);
            (Side::B, tile.clamp(least * mr, PANELS_IN_L2 * mr), n)
        };
        let parallel = m.saturating_mul(n).saturating_mul(k) >= PARALLEL_WORK;
        Self { kernel, m, n, k, a, b, shared, tile_rows, tile_columns, parallel }
    }

    fn run(&self, c: &mut [&mut [E]]) {
        let blocks = self.k.div_ceil(DEPTH_BLOCK);
        let (tiles, enough) = match self.in_place() {
            Some(cut) => (cut.tiles.len(), TOO_FEW_TILES.min(2 * rayon::current_num_threads())),
            None => {
                let tiles = self.m.div_ceil(self.tile_rows) * self.n.div_ceil(self.tile_columns);
                let enough = match self.kernel.is_matrix_unit() {
                    true => rayon::current_num_threads(),
                    false => TOO_FEW_TILES,
                };
                (tiles, enough)
            }
        };
        let partials = (PARTIAL_ELEMENTS / (self.m * self.n)).min(blocks);
        if self.parallel && tiles < enough && partials > 1 {
            self.run_split(partials, c);
        } else {
            self.walk(0..self.k, c);
        }
    }

    /// Blocks of k in parallel, each to its own copy of C, then the sum in the order of the blocks:
    /// the same additions that one tile makes when it walks over all blocks.
    ///
    /// `partials` blocks at a time; what a block packs, both sides, stays in its thread's cache.
    fn run_split(&self, partials: usize, c: &mut [&mut [E]]) {
        let alone = Self { parallel: false, ..*self };
        let elements = self.m * self.n;
        scratch::with(partials * elements, |sums: &mut [E]| {
            for start in (0..self.k).step_by(partials * DEPTH_BLOCK) {
                let depth = start..self.k.min(start + partials * DEPTH_BLOCK);
                let sums = &mut sums[..depth.len().div_ceil(DEPTH_BLOCK) * elements];
                for_each_chunk(true, sums, elements, |block, sum| {
                    let mut rows = memory::list(sum.chunks_exact_mut(self.n));
                    alone.walk(block_range(&depth, block), &mut rows);
                });
                let group = 4096usize.div_ceil(self.n); // rows that are summed in one job
                for_each_chunk(true, c, group, |chunk, rows| {
                    for (i, row) in rows.iter_mut().enumerate() {
                        for (block, sum) in sums.chunks_exact(elements).enumerate() {
                            let sum = &sum[(chunk * group + i) * self.n..][..self.n];
                            if start == 0 && block == 0 {
                                row.copy_from_slice(sum);
                            } else {
                                row.iter_mut().zip(sum).for_each(|(c, &sum)| *c = *c + sum);
                            }
                        }
                    }
                });
            }
        });
    }

    /// The lanes of a side.
    fn lanes(&self, side: Side) -> usize {
        match side {
            Side::A => self.m,
            Side::B => self.n,
        }
    }

    /// The lanes that a micro-tile takes of a side.
    fn width(&self, side: Side) -> usize {
        match side {
            Side::A => self.kernel.mr,
            Side::B => self.kernel.nr,
        }
    }

    /// For each micro-tile of `lanes` of A whether they are zeros along a block of k.
    fn zeros(&self, lanes: Range<usize>, depth: Range<usize>) -> Vec<bool> {
        let tiles = lanes.clone().step_by(self.kernel.mr);
        tiles
            .map(|first| {
                let lanes = first..lanes.end.min(first + self.kernel.mr);
                self.a.are_zeros(lanes, depth.clone())
            })
            .collect()
    }

    /// Writes the products over `depth` to C: rounds of k, as much as the shared scratch holds.
    fn walk(&self, depth: Range<usize>, c: &mut [&mut [E]]) {
        if let Some(cut) = self.in_place() {
            return self.walk_in_place(&cut, depth, c);
        }
        let lanes = self.lanes(self.shared);
        let size = self.packed_elements(self.shared, lanes, DEPTH_BLOCK.min(depth.len()));
        let blocks = depth.len().div_ceil(DEPTH_BLOCK);
        let blocks_per_round = (SHARED_ELEMENTS / size).clamp(1, blocks);
        let round = blocks_per_round * DEPTH_BLOCK;
        scratch::with(size * blocks_per_round, |packed| {
            for start in depth.clone().step_by(round) {
                let here = start..depth.end.min(start + round);
                let last = here.len() - (here.len() - 1) / DEPTH_BLOCK * DEPTH_BLOCK;
                let whole = (here.len() - last) / DEPTH_BLOCK;
                let used = whole * size + self.packed_elements(self.shared, lanes, last);
                let packed = &mut packed[..used];
                self.pack_shared(here.clone(), size, packed);
                self.multiply_tiles(here, size, packed, start > depth.start, c);
            }
        });
    }

    /// Packs all lanes x `depth` of the shared side: blocks of k, each of `size` elements.
    fn pack_shared(&self, depth: Range<usize>, size: usize, packed: &mut [E]) {
        let (lanes, width) = (self.lanes(self.shared), self.width(self.shared));
        for_each_chunk(self.parallel, packed, size, |block, packed| {
            let depth = block_range(&depth, block);
            // Some panels at a time: they are then read some cache lines at a time.
            let group = 4 * width;
            let elements = self.packed_elements(self.shared, group, depth.len());
            for_each_chunk(self.parallel, packed, elements, |index, packed| {
                let lanes = index * group..lanes.min((index + 1) * group);
                self.pack(self.shared, lanes, depth.clone(), &[], packed);
            });
        });
    }

    /// Cuts a side into tiles of whole micro-tiles, alike but for one of these and as many for each thread.
    fn cut(&self, side: Side, tile: usize) -> Vec<Range<usize>> {
        let (lanes, width) = (self.lanes(side), self.width(side));
        let threads = if self.parallel { rayon::current_num_threads() } else { 1 };
        let panels = lanes.div_ceil(width);
        let tiles = lanes.div_ceil(tile).next_multiple_of(threads).min(panels);
        let start = |tile: usize| lanes.min(tile * panels / tiles * width);
        (0..tiles).map(|tile| start(tile)..start(tile + 1)).collect()
    }

    /// Runs over the tiles of C, each over all blocks of `depth`.
    fn multiply_tiles(
        &self,
        depth: Range<usize>,
        size: usize,
        packed: &[E],
        accumulate: bool,
        c: &mut [&mut [E]],
    ) {
        match self.shared {
            Side::B => {
                let lanes = self.cut(Side::A, self.tile_rows);
                let mut rest = c;
                let rows = lanes.iter().map(|lanes| {
                    let rows;
                    (rows, rest) = std::mem::take(&mut rest).split_at_mut(lanes.len());
                    rows
                });
                let mut tiles = memory::list(rows);
                for_each_chunk(self.parallel, &mut tiles, 1, |tile, rows| {
                    let lanes = lanes[tile].clone();
                    self.tile_of_rows(lanes, depth.clone(), size, packed, accumulate, rows[0]);
                });
            }
            Side::A => {
                let lanes = self.cut(Side::B, self.tile_columns);
                let mut tiles: Vec<Vec<&mut [E]>> =
                    lanes.iter().map(|_| memory::room(self.m)).collect();
                for row in c.iter_mut() {
                    let mut rest = &mut **row;
                    for (tile, lanes) in tiles.iter_mut().zip(&lanes) {
                        let part;
                        (part, rest) = rest.split_at_mut(lanes.len());
                        tile.push(part);
                    }
                }
                for_each_chunk(self.parallel, &mut tiles, 1, |tile, rows| {
                    let lanes = lanes[tile].clone();
                    self.tile_of_columns(
                        lanes,
                        depth.clone(),
                        size,
                        packed,
                        accumulate,
                        &mut rows[0],
                    );
                });
            }
        }
    }

    /// A block of A as it was packed.
    fn packed_a<'p>(&self, packed: &'p [E]) -> SideA<'p, E> {
        match self.layout() {
            Layout::Panels => SideA::Panels(packed),
            Layout::Runs => SideA::Runs(packed),
        }
    }

    /// A tile where A is shared: `lanes` of B, all rows.
    fn tile_of_columns(
        &self,
        lanes: Range<usize>,
        depth: Range<usize>,
        size: usize,
        packed: &[E],
        accumulate: bool,
        c: &mut [&mut [E]],
    ) {
        let own_size = self.packed_elements(Side::B, lanes.len(), depth.len().min(DEPTH_BLOCK));
        let far_a = self.m * self.k > LARGE_SIDE;
        scratch::with(own_size, |own| {
            for (index, packed) in packed.chunks(size).enumerate() {
                let block = block_range(&depth, index);
                let deep = block.len();
                let own = &mut own[..self.packed_elements(Side::B, lanes.len(), deep)];
                self.pack(Side::B, lanes.clone(), block, &[], own);
                let a = self.packed_a(packed);
                let packed = Packed { depth: deep, a, b: own, far_a, zeros: &[], then: None };
                self.kernel.block(&packed, c, 0, accumulate || index > 0);
            }
        });
    }

    /// A tile where B is shared: `lanes` of A, all columns.
    ///
    /// Where its sums would not stay in L2, it is gone through some columns at a time, each over all blocks of k, and A,
    /// once packed, is kept for the columns that follow.
    fn tile_of_rows(
        &self,
        lanes: Range<usize>,
        depth: Range<usize>,
        size: usize,
        packed: &[E],
        accumulate: bool,
        c: &mut [&mut [E]],
    ) {
        let blocks = depth.len().div_ceil(DEPTH_BLOCK);
        let reads_lanes = self.kernel.in_place().is_some() && self.a.distance() <= NEAR_LANES;
        let parts = match blocks > 1 && !reads_lanes {
            true => (lanes.len() * self.n).div_ceil(SUMS_IN_L2),
            false => 1,
        };
        let part = self.n.div_ceil(parts).next_multiple_of(self.kernel.nr);
        let kept = if parts > 1 { blocks } else { 1 };
        let own_size = self.packed_elements(Side::A, lanes.len(), depth.len().min(DEPTH_BLOCK));
        // A block's panels of B from a column on.
        let panels = |index: usize, first: usize| {
            let deep = block_range(&depth, index).len();
            packed.get(index * size + self.packed_elements(Side::B, first, deep)..)
        };
        scratch::with(kept * own_size, |own| {
            for first in (0..self.n).step_by(part) {
                let columns = part.min(self.n - first);
                for index in 0..blocks {
                    let block = block_range(&depth, index);
                    let (deep, accumulate) = (block.len(), accumulate || index > 0);
                    let b = panels(index, first).expect("packed panels");
                    let b = &b[..self.packed_elements(Side::B, columns, deep)];
                    // What is read when this block is done.
                    let then = match index + 1 < blocks {
                        true => panels(index + 1, first),
                        false if first + part < self.n => panels(0, first + part),
                        false => None,
                    };
                    let zeros = &self.zeros(lanes.clone(), block.clone())[..];
                    if reads_lanes
                        && let Some(lanes) =
                            self.a.lanes_in_place(lanes.clone(), block.clone(), own)
                    {
                        let a = SideA::Lanes(&lanes);
                        let packed = Packed { depth: deep, a, b, far_a: true, zeros, then };
                        self.kernel.block(&packed, c, first, accumulate);
                        continue;
                    }
                    let own = &mut own[index % kept * own_size..]
                        [..self.packed_elements(Side::A, lanes.len(), deep)];
                    if first == 0 {
                        self.pack(Side::A, lanes.clone(), block, zeros, own);
                    }
                    // Of the first columns A was packed just now.
                    let (a, far_a) = (self.packed_a(own), first > 0);
                    let packed = Packed { depth: deep, a, b, far_a, zeros, then };
                    self.kernel.block(&packed, c, first, accumulate);
                }
            }
        });
    }
}

/// The `index`-th block of k within `depth`.
fn block_range(depth: &Range<usize>, index: usize) -> Range<usize> {
    let start = depth.start + index * DEPTH_BLOCK;
    start..depth.end.min(start + DEPTH_BLOCK)
}

/// `work(index, chunk)` for each chunk of `size`, one job each, or in a plain loop.
pub(crate) fn for_each_chunk<T: Send>(
    parallel: bool,
    slice: &mut [T],
    size: usize,
    work: impl Fn(usize, &mut [T]) + Sync,
) {
    if parallel && slice.len() > size {
        spread_single(slice, size, &work);
    } else {
        slice.chunks_mut(size).enumerate().for_each(|(index, chunk)| work(index, chunk));
    }
}

/// One chunk a job: a thread that is late is relieved of single chunks. `work` is a pointer so that rayon's machinery
/// is compiled once an element type.
fn spread_single<T: Send>(slice: &mut [T], size: usize, work: &(dyn Fn(usize, &mut [T]) + Sync)) {
    slice
        .par_chunks_mut(size)
        .enumerate()
        .with_max_len(1)
        .for_each(|(index, chunk)| work(index, chunk));
}

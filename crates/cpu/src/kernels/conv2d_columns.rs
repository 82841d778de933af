//! The gradient of an image by columns: `D = G W`, then every pixel adds the elements of D that fall on it.
//!
//! ```text
//! D [N·OH·OW, KH·KW·C] = G · W
//! x̄[n, ih, iw, c] = Σ D[(n, oh, ow), (kh, kw, c)]    over the taps with oh·stride + kh·dilation − padding = ih, and iw alike
//! ```
//!
//! D of some images is made and summed at a time, while it is in L2.

use super::conv2d::Extents;
use super::conv2d_few_channels::FEW_CHANNELS;
use super::{Real, fill_chunks};
use crate::gemm::{
    Columns, GemmElement, Kernel, Matrix, PARALLEL_WORK, Starts, Steps, Windows, for_each_chunk,
    gemm, with_scratch,
};
use crate::vectors::vectorised;

/// Elements of D that are made and summed at a time: they stay in the L2 cache.
const COLUMN_ELEMENTS: usize = 1 << 16;

/// Outputs up to which a weight of many channels is read where it lies: its rows are so far apart that more would meet in a few
/// sets of the caches. (100 outputs of 8,192 columns each: .75 of the time.)
const FEW_OUTPUTS: usize = 128;

/// The gradient of x. The micro-kernel reads operands where they lie if it can.
pub(super) fn by_columns<E: Real + GemmElement>(
    kernel: &Kernel<E>,
    e: &Extents,
    g: &[E],
    w: &[E],
    x: &mut [E],
) {
    let (outputs, columns) = (e.oh * e.ow, e.kh * e.kw * e.c);
    let image = e.h * e.w * e.c;
    let together = (COLUMN_ELEMENTS / (outputs * columns)).max(1);
    let in_place = kernel.takes_windows() && (e.c <= FEW_CHANNELS || e.o <= FEW_OUTPUTS);
    let apart = match in_place {
        true => columns_apart(kernel, columns),
        false => columns,
    };
    let reached = (e.ow - 1) * e.stride[1] + (e.kw - 1) * e.dilation[1] + 1;
    fill_chunks(x, together * image, |start, x| {
        let (first, images) = (start / image, x.len() / image);
        let made = images * outputs * apart;
        // Behind either there is room for what the last windows' neighbours would be.
        let size = made + e.kw.div_ceil(e.stride[1]) * apart;
        with_scratch(size + (reached + e.kw + e.stride[1]) * e.c, |space: &mut [E]| {
            let (all, sums) = space.split_at_mut(size);
            let g = &g[first * outputs * e.o..][..images * outputs * e.o];
            if in_place {
                columns_in_place(kernel, (g, e.o), w, &mut all[..made]);
            } else {
                let cotangent = Matrix::lanes_by_depth(g, e.o);
                let weight = Matrix::depth_by_lanes(w, columns);
                gemm(kernel, images * outputs, columns, e.o, &cotangent, &weight, &mut all[..made]);
            }
            for (index, image) in x.chunks_exact_mut(image).enumerate() {
                add_image(e, &all[index * outputs * apart..], apart, sums, image);
            }
        });
    });
}

/// The elements of a row of D: whole halves of a panel.
fn columns_apart<E: GemmElement>(kernel: &Kernel<E>, columns: usize) -> usize {
    columns.next_multiple_of(kernel.nr / 2)
}

/// `D = G W`, both read where they lie, in rows [`columns_apart`] elements apart. What is beyond the columns is zeros.
fn columns_in_place<E: GemmElement>(
    kernel: &Kernel<E>,
    (g, outputs): (&[E], usize),
    w: &[E],
    d: &mut [E],
) {
    let columns = w.len() / outputs;
    let apart = columns_apart(kernel, columns);
    let steps = Steps::new((0..outputs).collect());
    let together = kernel.windows_at_a_time(apart);
    let starts: Vec<usize> = (0..together).map(|lane| lane * outputs).collect();
    let multiply = |w: &[E], d: &mut [E]| {
        let w = Columns { data: w, apart };
        let is_parallel = d.len() * outputs >= PARALLEL_WORK;
        for_each_chunk(is_parallel, d, 64 * together * apart, |first, d| {
            let g = &g[first * 64 * together * outputs..];
            for (tile, d) in d.chunks_mut(together * apart).enumerate() {
                let lanes = d.len() / apart;
                let (own, further) = g[tile * together * outputs..].split_at(lanes * outputs);
                let further = &further[..further.len().min(own.len())];
                let rows = Windows::new(own, Starts::new(&starts[..lanes]), &steps, outputs);
                let further = Columns::lines(further);
                kernel.block_of_windows(&rows, &w, apart, &further, (d, apart), false);
            }
        });
    };
    if apart == columns {
        return multiply(w, d);
    }
    with_scratch(outputs * apart, |padded: &mut [E]| {
        for (to, from) in padded.chunks_exact_mut(apart).zip(w.chunks_exact(columns)) {
            to[..columns].copy_from_slice(from);
            to[columns..].fill(E::ZERO);
        }
        multiply(padded, d);
    });
}

vectorised! {
    /// An image: the sums of what D, whose rows lie so far apart, has for its pixels. `sums` is space for a row of it with all
    /// that windows reach beyond.
    fn add_image<E: GemmElement>(e: &Extents, d: &[E], apart: usize, sums: &mut [E], image: &mut [E]) {
        // Grey and coloured images by kernels that are in use: lengths that the compiler knows.
        match if e.dilation[1] == 1 { e.kw * e.c } else { e.c } {
            4 => add_rows::<E, 4>(e, d, apart, sums, image),
            5 => add_rows::<E, 5>(e, d, apart, sums, image),
            12 => add_rows::<E, 12>(e, d, apart, sums, image),
            21 => add_rows::<E, 21>(e, d, apart, sums, image),
            27 => add_rows::<E, 27>(e, d, apart, sums, image),
            _ => add_rows::<E, 0>(e, d, apart, sums, image),
        }
    }
}

/// [`add_image`] of runs of a length, the taps that lie side by side in a row of the image; 0 where it is another.
///
/// Windows of which none shares a pixel with another come first, then those beside them, and so on: then no number is added
/// to just after it was written.
#[inline(always)]
fn add_rows<E: GemmElement, const LENGTH: usize>(
    e: &Extents,
    d: &[E],
    apart: usize,
    sums: &mut [E],
    image: &mut [E],
) {
    let together = if e.dilation[1] == 1 { e.kw } else { 1 };
    let length = together * e.c;
    let turns = together.div_ceil(e.stride[1]);
    let reached = ((e.ow - 1) * e.stride[1] + (e.kw - 1) * e.dilation[1] + 1) * e.c;
    let left = (e.padding[1] * e.c).min(reached);
    for (ih, row) in image.chunks_exact_mut(e.w * e.c).enumerate() {
        sums.fill(E::ZERO);
        // The taps of this row of the image, in the rows of D where they are: two of them at a time.
        let tap_row = |kh: usize| e.oh(ih, kh).map(|oh| &d[oh * e.ow * apart + kh * e.kw * e.c..]);
        let mut tap_rows = (0..e.kh).filter_map(tap_row);
        while let Some(row) = tap_rows.next() {
            let other = tap_rows.next();
            for kw in (0..e.kw).step_by(together) {
                for turn in 0..turns.min(e.ow) {
                    let at = (kw * e.dilation[1] + turn * e.stride[1]) * e.c;
                    // All have room behind the last run: what each lies in is as long as the others.
                    let sums = sums[at..].chunks_exact_mut(turns * e.stride[1] * e.c);
                    let sums = sums.take((e.ow - turn).div_ceil(turns));
                    let first = turn * apart + kw * e.c;
                    let row = row[first..].chunks_exact(turns * apart);
                    if let Some(other) = other {
                        let other = other[first..].chunks_exact(turns * apart);
                        for ((sums, row), other) in sums.zip(row).zip(other) {
                            add_runs::<E, LENGTH, 2>(length, sums, [row, other]);
                        }
                    } else {
                        for (sums, row) in sums.zip(row) {
                            add_runs::<E, LENGTH, 1>(length, sums, [row]);
                        }
                    }
                }
            }
        }
        let inside = row.len().min(reached - left);
        row[..inside].copy_from_slice(&sums[left..left + inside]);
        row[inside..].fill(E::ZERO);
    }
}

/// Adds a run at the front of each slice, of a length that the compiler knows or of the one that is given.
#[inline(always)]
fn add_runs<E: GemmElement, const LENGTH: usize, const ROWS: usize>(
    length: usize,
    sums: &mut [E],
    terms: [&[E]; ROWS],
) {
    let length = if LENGTH == 0 { length } else { LENGTH };
    let (sums, terms) = (&mut sums[..length], terms.map(|terms| &terms[..length]));
    for lane in 0..length {
        let mut sum = sums[lane];
        for row in 0..ROWS {
            sum = sum + terms[row][lane];
        }
        sums[lane] = sum;
    }
}

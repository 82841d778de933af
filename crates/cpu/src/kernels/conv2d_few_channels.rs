//! Convolutions of images of few channels, a picture's three or a digit's one, by micro-kernels that read the image where it
//! lies.
//!
//! A patch of such an image is runs of KW·C numbers, too short to be packed: that took as long as multiplying them. So some
//! rows of an image, with zeros around it, are copied once, which is a fraction 1/(KH·KW) of all patches, and each patch is
//! read out of them: its numbers lie at the same distances from where it starts, whichever it is.
//!
//! ```text
//! frame [rows, row]                   row = ((OW − 1)·stride + (KW − 1)·dilation + 1)·C numbers, zeros around the image
//! start of patch (oh, ow)             oh·stride·row + ow·stride·C          (oh from the frame's first row on)
//! step to (kh, kw, c)                 kh·dilation·row + kw·dilation·C + c
//!
//! forward        Y [positions, O]  = frame[start + step] · Wᵀ              lanes are patches, k are taps
//! weight grad    W̄ᵀ[taps, O]       = Σ frame[step + start] · G[position]   lanes are taps, k are positions
//! ```
//!
//! W̄ is summed over bands of positions in registers and over the bands of a job, one after the other; the jobs' sums are added
//! in their order. How many there are depends on the shape alone. The gradient of the image is `conv2d_columns`'.

use super::conv2d::Extents;
use crate::gemm::{
    Columns, GemmElement, Kernel, PARALLEL_WORK, Starts, Steps, Windows, for_each_chunk,
    with_scratch,
};
use crate::memory;
use crate::vectors::prefetch;
use std::ops::Range;

/// Channels up to which this is the way: half the width of a narrow panel.
pub(super) const FEW_CHANNELS: usize = 8;

/// Elements of a frame: half of a nearest cache.
const FRAME_ELEMENTS: usize = 1 << 12;

/// Elements of cotangents that a weight gradient's tiles go through, one after the other: what is left of a nearest cache.
const COTANGENT_ELEMENTS: usize = 3 << 11;

/// Sums of a weight gradient that are made side by side.
const MOST_JOBS: usize = 32;

/// Whether a convolution, or the gradient of its weight, is one of these.
pub(super) fn pays<E: GemmElement>(kernel: &Kernel<E>, e: &Extents) -> bool {
    kernel.takes_windows()
        && e.groups == 1
        && e.c <= FEW_CHANNELS
        && e.o.is_multiple_of(kernel.nr / 2)
}

/// Whether there is work for several threads.
fn is_parallel(e: &Extents) -> bool {
    e.n * e.oh * e.ow * e.o * e.kh * e.kw * e.c >= PARALLEL_WORK
}

/// Some output rows of an image.
struct Band {
    image: usize,
    rows: Range<usize>,
}

/// How frames are laid out, and bands of output rows.
struct Frames<'a> {
    e: &'a Extents,
    /// Elements of a row.
    row: usize,
    /// Output rows of a band, the last of an image may have fewer.
    band: usize,
}

impl Frames<'_> {
    /// Bands of as many rows as `fit`, of one at least.
    fn new(e: &Extents, fit: impl Fn(usize) -> bool) -> Frames<'_> {
        let columns = (e.ow - 1) * e.stride[1] + (e.kw - 1) * e.dilation[1] + 1;
        let mut frames = Frames { e, row: columns * e.c, band: 1 };
        let is_small =
            |frames: &Frames<'_>| frames.elements() <= FRAME_ELEMENTS && fit(frames.band);
        while frames.band < e.oh && is_small(&Frames { band: frames.band + 1, ..frames }) {
            frames.band += 1;
        }
        // As many bands as that takes, alike.
        frames.band = e.oh.div_ceil(e.oh.div_ceil(frames.band));
        frames
    }

    /// Elements of a whole band's frame.
    fn elements(&self) -> usize {
        ((self.band - 1) * self.e.stride[0] + (self.e.kh - 1) * self.e.dilation[0] + 1) * self.row
    }

    /// Bands of an image.
    fn bands(&self) -> usize {
        self.e.oh.div_ceil(self.band)
    }

    fn at(&self, index: usize) -> Band {
        let (image, first) = (index / self.bands(), index % self.bands() * self.band);
        Band { image, rows: first..self.e.oh.min(first + self.band) }
    }

    /// Where each patch of a band starts.
    fn starts(&self) -> Vec<usize> {
        let (e, positions) = (self.e, 0..self.band * self.e.ow);
        let start = |at| at / e.ow * e.stride[0] * self.row + at % e.ow * e.stride[1] * e.c;
        memory::list(positions.map(start))
    }

    /// Where each tap's channels lie, from there.
    fn taps(&self) -> Vec<usize> {
        let (e, run) = (self.e, self.e.kw * self.e.c);
        (0..e.kh * run)
            .map(|tap| {
                let (row, column) = (tap / run * e.dilation[0], tap % run / e.c * e.dilation[1]);
                row * self.row + column * e.c + tap % e.c
            })
            .collect()
    }

    /// Copies a band's rows of the images.
    fn fill<E: GemmElement>(&self, band: &Band, x: &[E], frame: &mut [E]) {
        let e = self.e;
        let image = &x[band.image * e.h * e.w * e.c..][..e.h * e.w * e.c];
        let first = (band.rows.start * e.stride[0]) as isize - e.padding[0] as isize;
        let left = (e.padding[1] * e.c).min(self.row);
        let inside = (e.w * e.c).min(self.row - left);
        for (index, to) in frame.chunks_exact_mut(self.row).enumerate() {
            let row = usize::try_from(first + index as isize).ok().filter(|&row| row < e.h);
            let Some(row) = row else {
                to.fill(E::ZERO);
                continue;
            };
            to[..left].fill(E::ZERO);
            to[left..left + inside].copy_from_slice(&image[row * e.w * e.c..][..inside]);
            to[left + inside..].fill(E::ZERO);
        }
        // The rows of the next band, which are near when their turn comes.
        let next = (band.image * e.h * e.w + (band.rows.end * e.stride[0] + e.kh) * e.w) * e.c;
        let count = self.band * e.stride[0] * e.w * e.c;
        (0..count).step_by(64 / size_of::<E>()).for_each(|at| prefetch(x, next + at));
    }
}

/// `Y = P Wᵀ`.
pub(super) fn forward<E: GemmElement>(
    kernel: &Kernel<E>,
    e: &Extents,
    x: &[E],
    w: &[E],
    y: &mut [E],
) {
    let frames = Frames::new(e, |_| true);
    let together = kernel.windows_at_a_time(e.o);
    let (starts, taps) = (frames.starts(), Steps::new(frames.taps()));
    with_scratch(w.len(), |weights: &mut [E]| {
        // [tap][O]
        for (output, taps) in w.chunks_exact(taps.depth()).enumerate() {
            taps.iter().enumerate().for_each(|(tap, &number)| weights[tap * e.o + output] = number);
        }
        let weights = Columns { data: &*weights, apart: e.o };
        let images = y.chunks_exact_mut(e.oh * e.ow * e.o);
        let bands = images.flat_map(|image| image.chunks_mut(frames.band * e.ow * e.o));
        let mut jobs = memory::room(e.n * frames.bands());
        jobs.extend(bands);
        for_each_chunk(is_parallel(e), &mut jobs, 1, |index, results| {
            with_scratch(frames.elements(), |frame: &mut [E]| {
                frames.fill(&frames.at(index), x, frame);
                // Tiles of as many patches each as the others.
                let positions = results[0].len() / e.o;
                let tiles = positions.div_ceil(together);
                let first = |tile: usize| tile * positions / tiles;
                for tile in 0..tiles {
                    let own = first(tile)..first(tile + 1);
                    let patches =
                        Windows::new(frame, Starts::new(&starts[own.clone()]), &taps, taps.depth());
                    let results = (&mut results[0][own.start * e.o..own.end * e.o], e.o);
                    let nothing = Columns::lines(&[]);
                    kernel.block_of_windows(&patches, &weights, e.o, &nothing, results, false);
                }
            });
        });
    });
}

/// `W̄ = Gᵀ P`.
pub(super) fn grad_weight<E: GemmElement>(
    kernel: &Kernel<E>,
    e: &Extents,
    x: &[E],
    g: &[E],
    w: &mut [E],
) {
    let frames = Frames::new(e, |rows| rows * e.ow * e.o <= COTANGENT_ELEMENTS);
    let (starts, taps) = (Steps::new(frames.starts()), frames.taps());
    let bands = e.n * frames.bands();
    let jobs = bands.min(MOST_JOBS);
    let size = taps.len() * e.o;
    // Tiles of as many lanes each as the others.
    let lanes = taps.len().div_ceil(taps.len().div_ceil(kernel.windows_at_a_time(e.o)));
    let cotangents = |index: usize| {
        let Band { image, rows } = frames.at(index);
        &g[(image * e.oh + rows.start) * e.ow * e.o..][..rows.len() * e.ow * e.o]
    };
    with_scratch(jobs * size, |sums: &mut [E]| {
        for_each_chunk(is_parallel(e), sums, size, |job, sums| {
            let own = job * bands / jobs..(job + 1) * bands / jobs;
            with_scratch(frames.elements(), |frame: &mut [E]| {
                for index in own.clone() {
                    frames.fill(&frames.at(index), x, frame);
                    let columns = Columns { data: cotangents(index), apart: e.o };
                    let positions = columns.data.len() / e.o;
                    let next = if index + 1 < bands { cotangents(index + 1) } else { &[] };
                    let share = next.len().div_ceil(taps.len().div_ceil(lanes)).max(1);
                    let mut next = next.chunks(share);
                    let tiles = sums.chunks_mut(lanes * e.o);
                    for (taps, sums) in taps.chunks(lanes).zip(tiles) {
                        let patches = Windows::new(frame, Starts::new(taps), &starts, positions);
                        let ahead = Columns::lines(next.next().unwrap_or_default());
                        let added = index > own.start;
                        let sums = (sums, e.o);
                        kernel.block_of_windows(&patches, &columns, e.o, &ahead, sums, added);
                    }
                }
            });
        });
        let (all, others) = sums.split_at_mut(size);
        for sums in others.chunks_exact(size) {
            all.iter_mut().zip(sums).for_each(|(all, &sum)| *all = *all + sum);
        }
        for (output, taps) in w.chunks_exact_mut(taps.len()).enumerate() {
            taps.iter_mut().enumerate().for_each(|(tap, sum)| *sum = all[tap * e.o + output]);
        }
    });
}

//! `pad`, `crop`, `reflect_pad`, `reflect_pad_fold`: see `belamy_tensor::ops::pad` for the mathematics.
//!
//! One invocation owns one row of the output: along the last axis with a border (`pad`, `crop`), or the channels of a
//! pixel (reflection). Cost: one pass over each operand.

use super::rows::{fill_rows, pixel, weighted_sum};
use super::{Real, Run, coordinates, for_element, for_real};
use belamy_tensor::Element;
use belamy_tensor::ops::pad::{PadParams, ReflectPadParams};

/// The flat index of coordinates.
fn flat(at: [usize; 6], dims: &[u32; 6]) -> usize {
    at.iter().zip(dims).fold(0, |index, (at, &dim)| index * dim as usize + at)
}

pub(super) fn pad(run: Run<'_>) {
    for_element!(run, pad_of);
}

fn pad_of<E: Element>(mut run: Run<'_>) {
    let p = PadParams::decode(&run.params);
    let x = run.input::<E>(0);
    let (columns, inner, before) = (p.large[5] as usize, p.small[5] as usize, p.before[5] as usize);
    fill_rows(run.output::<E>(), columns, 1, |row, y| {
        let mut at = coordinates(row * columns, &p.large);
        let mut inside = true;
        for axis in 0..5 {
            // Wraps to something huge before the small tensor begins.
            at[axis] = at[axis].wrapping_sub(p.before[axis] as usize);
            inside &= at[axis] < p.small[axis] as usize;
        }
        if inside {
            let from = flat(at, &p.small);
            y[..before].fill(E::zeroed());
            y[before..before + inner].copy_from_slice(&x[from..from + inner]);
            y[before + inner..].fill(E::zeroed());
        } else {
            y.fill(E::zeroed());
        }
    });
}

pub(super) fn crop(run: Run<'_>) {
    for_element!(run, crop_of);
}

fn crop_of<E: Element>(mut run: Run<'_>) {
    let p = PadParams::decode(&run.params);
    let x = run.input::<E>(0);
    let columns = p.small[5] as usize;
    fill_rows(run.output::<E>(), columns, 1, |row, y| {
        let mut at = coordinates(row * columns, &p.small);
        at.iter_mut().zip(&p.before).for_each(|(at, &before)| *at += before as usize);
        let from = flat(at, &p.large);
        y.copy_from_slice(&x[from..from + columns]);
    });
}

/// Height or width: the image's extent, the padded one's, and the border before it.
#[derive(Clone, Copy)]
struct Side {
    image: usize,
    outputs: usize,
    before: usize,
}

impl Side {
    /// The pixel that output `out` shows.
    fn mirror(self, out: usize) -> usize {
        let at = out.abs_diff(self.before);
        if at < self.image { at } else { 2 * (self.image - 1) - at }
    }

    /// The outputs that show pixel `at`, in order: before the first pixel, inside, after the last.
    fn shows(self, at: usize) -> impl Iterator<Item = usize> + Clone {
        let last = self.image - 1;
        let first = if at > 0 { self.before.checked_sub(at) } else { None };
        let third =
            Some(self.before + 2 * last - at).filter(|&out| at < last && out < self.outputs);
        [first, Some(self.before + at), third].into_iter().flatten()
    }
}

/// Rows, columns and channels of `reflect_pad` and its fold.
fn sides(run: &Run<'_>) -> (Side, Side, usize) {
    let p = ReflectPadParams::decode(&run.params);
    let side = |image: u32, outputs: u32, before: u32| Side {
        image: image as usize,
        outputs: outputs as usize,
        before: before as usize,
    };
    let height = side(p.in_height, p.out_height, p.top);
    let width = side(p.in_width, p.out_width, p.left);
    (height, width, p.channels as usize)
}

pub(super) fn reflect_pad(run: Run<'_>) {
    for_element!(run, reflect_pad_of);
}

fn reflect_pad_of<E: Element>(mut run: Run<'_>) {
    let (height, width, c) = sides(&run);
    let x = run.input::<E>(0); // [N, H, W, C]
    fill_rows(run.output::<E>(), c, 1, |index, y| {
        let (n, oh, ow) = pixel(index, height.outputs, width.outputs);
        let from = ((n * height.image + height.mirror(oh)) * width.image + width.mirror(ow)) * c;
        y.copy_from_slice(&x[from..from + c]);
    });
}

pub(super) fn reflect_pad_fold(run: Run<'_>) {
    for_real!(run, reflect_pad_fold_of);
}

fn reflect_pad_fold_of<E: Real>(mut run: Run<'_>) {
    let (height, width, c) = sides(&run);
    let g = run.input::<E>(0); // [N, OH, OW, C]
    fill_rows(run.output::<E>(), c, 1, |index, x| {
        let (n, ih, iw) = pixel(index, height.image, width.image);
        weighted_sum(x, g, || {
            height.shows(ih).flat_map(move |oh| {
                let row = (n * height.outputs + oh) * width.outputs;
                width.shows(iw).map(move |ow| ((row + ow) * c, 1.0))
            })
        });
    });
}

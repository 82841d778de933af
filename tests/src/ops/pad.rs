//! Borders and parts: zeros around any axes, crops, slices, mirrors up to the widest border that an image allows.

use super::linear::{Entry, applied, on_planes, transposed};
use crate::case::Case;
use crate::values::Domain;
use belamy_tensor::ops::pad::reflect_pad_fold;

/// The map of a small tensor into a large one, `before` in front along each axis.
fn inside(small: &[usize], large: &[usize], before: &[usize]) -> Vec<Entry> {
    (0..small.iter().product())
        .map(|input: usize| {
            let (mut rest, mut output, mut step) = (input, 0, 1);
            for axis in (0..small.len()).rev() {
                output += (rest % small[axis] + before[axis]) * step;
                rest /= small[axis];
                step *= large[axis];
            }
            Entry { output, input, weight: 1.0 }
        })
        .collect()
}

fn pad_and_crop(
    variant: &str,
    small: &'static [usize],
    before: &'static [usize],
    after: &'static [usize],
) -> [Case; 2] {
    let large: Vec<usize> =
        (0..small.len()).map(|axis| before[axis] + small[axis] + after[axis]).collect();
    let entries = inside(small, &large, before);
    let back = entries.clone();
    let (inputs, outputs): (usize, usize) = (small.iter().product(), large.iter().product());
    [
        Case::new("pad", variant, move |t| t[0].pad(before, after))
            .input(small, Domain::Normal)
            .linear(&[0])
            .absolute(1)
            .host_reference(move |t| applied(&entries, &t[0], outputs)),
        Case::new("crop", variant, move |t| t[0].crop(before, small))
            .input(&large, Domain::Normal)
            .linear(&[0])
            .absolute(1)
            .host_reference(move |t| transposed(&back, &t[0], inputs)),
    ]
}

type Border = ((usize, usize), (usize, usize));

fn mirrors(variant: &str, [n, h, w, c]: [usize; 4], border: Border) -> [Case; 2] {
    let ((top, bottom), (left, right)) = border;
    let output = [h + top + bottom, w + left + right];
    let mirror = |at: usize, before: usize, side: usize| {
        let t = at as isize - before as isize;
        let t = t.abs();
        let last = side as isize - 1;
        (if t > last { 2 * last - t } else { t }) as usize
    };
    let entries = on_planes(n, [h, w], output, c, |oh, ow| {
        vec![([mirror(oh, top, h), mirror(ow, left, w)], 1.0)]
    });
    let back = entries.clone();
    let (inputs, outputs) = (n * h * w * c, n * output[0] * output[1] * c);
    [
        Case::new("reflect_pad", variant, move |t| t[0].reflect_pad2d(border))
            .input(&[n, h, w, c], Domain::Normal)
            .linear(&[0])
            .absolute(1)
            .host_reference(move |t| applied(&entries, &t[0], outputs)),
        Case::new("reflect_pad_fold", variant, move |t| reflect_pad_fold(&t[0], border))
            .input(&[n, output[0], output[1], c], Domain::Normal)
            .linear(&[0])
            .absolute(9)
            .host_reference(move |t| transposed(&back, &t[0], inputs)),
    ]
}

/// The family's cases.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(pad_and_crop("vector", &[5], &[2], &[1]));
    cases.extend(pad_and_crop("one side", &[3, 4], &[0, 1], &[2, 0]));
    cases.extend(pad_and_crop("none", &[3, 4], &[0, 0], &[0, 0]));
    cases.extend(pad_and_crop("image", &[2, 3, 4, 2], &[0, 1, 2, 0], &[0, 2, 1, 0]));
    cases.extend(pad_and_crop("channels", &[1, 2, 2, 3], &[0, 0, 0, 1], &[0, 0, 0, 2]));
    cases.extend(pad_and_crop(
        "six axes",
        &[1, 2, 1, 2, 1, 2],
        &[1, 0, 1, 0, 1, 1],
        &[0, 1, 0, 1, 0, 1],
    ));
    cases.extend(
        pad_and_crop("large", &[3, 29, 31, 7], &[0, 2, 1, 0], &[0, 1, 3, 0]).map(Case::large),
    );
    for (axis, start, len) in [(0, 1, 2), (1, 0, 3), (2, 4, 1), (2, 0, 5)] {
        cases.push(
            Case::new("slice", format!("axis {axis} from {start}, {len}"), move |t| {
                t[0].slice(axis, start, len)
            })
            .input(&[3, 4, 5], Domain::Normal)
            .linear(&[0])
            .absolute(1),
        );
    }
    cases.extend(mirrors("by one", [2, 3, 4, 2], ((1, 1), (1, 1))));
    cases.extend(mirrors("widest", [1, 4, 3, 2], ((3, 3), (2, 2))));
    cases.extend(mirrors("asymmetric", [1, 4, 5, 2], ((0, 3), (2, 1))));
    cases.extend(mirrors("one side", [1, 3, 3, 1], ((2, 0), (0, 0))));
    cases.extend(mirrors("two pixels", [1, 2, 2, 3], ((1, 1), (1, 0))));
    cases.extend(mirrors("large", [3, 23, 29, 11], ((3, 3), (3, 3))).map(Case::large));
    cases.push(
        Case::new("pad", "u32", |t| t[0].pad(&[1, 0], &[0, 2]))
            .constant(&[3, 4], Domain::Indices(1000))
            .rounded(),
    );
    cases.push(
        Case::new("crop", "u32", |t| t[0].crop(&[1, 0], &[2, 3]))
            .constant(&[3, 4], Domain::Indices(1000))
            .rounded(),
    );
    cases
}

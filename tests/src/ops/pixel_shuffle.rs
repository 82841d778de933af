//! Trading channels for resolution, both ways.

use super::linear::{Entry, applied, transposed};
use crate::case::Case;
use crate::values::Domain;
use belamy_tensor::ops::pixel_shuffle::{pixel_shuffle, pixel_unshuffle};

fn pair(variant: &str, [n, h, w, c]: [usize; 4], r: usize) -> [Case; 2] {
    let mut entries = Vec::new();
    for output in 0..n * h * r * w * r * c {
        let (channel, column, row) =
            (output % c, output / c % (w * r), output / (c * w * r) % (h * r));
        let batch = output / (c * w * r * h * r);
        let from = (channel * r + row % r) * r + column % r;
        let input = ((batch * h + row / r) * w + column / r) * c * r * r + from;
        entries.push(Entry { output, input, weight: 1.0 });
    }
    let back = entries.clone();
    let count = n * h * w * c * r * r;
    [
        Case::new("pixel_shuffle", variant, move |t| pixel_shuffle(&t[0], r))
            .input(&[n, h, w, c * r * r], Domain::Normal)
            .linear(&[0])
            .absolute(1)
            .host_reference(move |t| applied(&entries, &t[0], count)),
        Case::new("pixel_unshuffle", variant, move |t| pixel_unshuffle(&t[0], r))
            .input(&[n, h * r, w * r, c], Domain::Normal)
            .linear(&[0])
            .absolute(1)
            .host_reference(move |t| transposed(&back, &t[0], count)),
    ]
}

/// The family's cases.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(pair("by two", [2, 3, 2, 2], 2));
    cases.extend(pair("by three", [1, 2, 1, 3], 3));
    cases.extend(pair("by one", [1, 2, 3, 2], 1));
    cases
}

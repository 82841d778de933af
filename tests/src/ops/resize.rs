//! Resizing up and down, by whole and by broken factors, to and from one pixel.

use super::linear::{Entry, applied, on_planes, terms, transposed};
use crate::case::Case;
use crate::values::Domain;
use belamy_tensor::ops::resize::{
    resize_bilinear, resize_bilinear_fold, resize_nearest, resize_nearest_fold,
};

/// What an output takes along one side.
fn sources(mode: Mode, at: usize, from: usize, to: usize) -> Vec<(usize, f64)> {
    let source = match mode {
        Mode::Nearest => return vec![(at * from / to, 1.0)],
        Mode::Aligned if to == 1 => 0.0,
        Mode::Aligned => at as f64 * (from - 1) as f64 / (to - 1) as f64,
        Mode::Edges => ((at as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0),
    };
    let first = (source.floor() as usize).min(from - 1);
    let share = source - first as f64;
    vec![(first, 1.0 - share), ((first + 1).min(from - 1), share)]
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Nearest,
    Aligned,
    Edges,
}

fn entries(mode: Mode, [n, h, w, c]: [usize; 4], size: [usize; 2]) -> Vec<Entry> {
    on_planes(n, [h, w], size, c, |oh, ow| {
        let (rows, columns) = (sources(mode, oh, h, size[0]), sources(mode, ow, w, size[1]));
        rows.iter()
            .flat_map(|&(row, a)| columns.iter().map(move |&(column, b)| ([row, column], a * b)))
            .collect()
    })
}

fn pair(mode: Mode, variant: &str, x: [usize; 4], size: [usize; 2]) -> [Case; 2] {
    let entries = entries(mode, x, size);
    let image = [x[1], x[2]];
    let y = [x[0], size[0], size[1], x[3]];
    let (inputs, outputs): (usize, usize) = (x.iter().product(), y.iter().product());
    let [down, up] = terms(&entries, outputs, inputs);
    let back = entries.clone();
    let (name, fold) = match mode {
        Mode::Nearest => ("resize_nearest", "resize_nearest_fold"),
        _ => ("resize_bilinear", "resize_bilinear_fold"),
    };
    let variant = match mode {
        Mode::Aligned => format!("{variant}, corners aligned"),
        _ => variant.to_string(),
    };
    let aligned = mode == Mode::Aligned;
    let forward = Case::new(name, &variant, move |t| match mode {
        Mode::Nearest => resize_nearest(&t[0], size),
        _ => resize_bilinear(&t[0], size, aligned),
    })
    .input(&x, Domain::Normal)
    .linear(&[0])
    .absolute(down)
    // Weights are quotients and products of quotients, each rounded.
    .slack(4.0)
    .host_reference(move |t| applied(&entries, &t[0], outputs));
    let adjoint = Case::new(fold, &variant, move |t| match mode {
        Mode::Nearest => resize_nearest_fold(&t[0], image),
        _ => resize_bilinear_fold(&t[0], image, aligned),
    })
    .input(&y, Domain::Normal)
    .linear(&[0])
    .absolute(up)
    .slack(4.0)
    .host_reference(move |t| transposed(&back, &t[0], inputs));
    [forward, adjoint]
}

/// The family's cases.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in [Mode::Nearest, Mode::Aligned, Mode::Edges] {
        for (variant, x, size) in [
            ("twice", [1, 3, 4, 2], [6, 8]),
            ("thrice by twice", [1, 2, 3, 2], [6, 6]),
            ("same size", [1, 3, 2, 3], [3, 2]),
            ("broken up", [1, 3, 5, 2], [7, 8]),
            ("broken down", [1, 7, 8, 2], [4, 3]),
            ("half", [2, 4, 6, 2], [2, 3]),
            ("up and down", [1, 3, 7, 2], [5, 4]),
            ("to one", [1, 4, 5, 3], [1, 1]),
            ("from one", [2, 1, 1, 3], [3, 2]),
            ("one row", [1, 1, 5, 2], [1, 9]),
        ] {
            cases.extend(pair(mode, variant, x, size));
        }
        cases.extend(pair(mode, "large", [3, 14, 15, 19], [28, 33]).map(Case::large));
    }
    cases.push(
        Case::new("resize_nearest", "u32", |t| resize_nearest(&t[0], [5, 4]))
            .constant(&[1, 3, 2, 2], Domain::Indices(1000))
            .rounded(),
    );
    cases
}

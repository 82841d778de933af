//! Pooling: windows that overlap, that leave pixels out, that look over the edge, and sides of every parity.

use super::linear::{Entry, applied, on_planes, terms, transposed};
use crate::case::Case;
use crate::values::Domain;
use belamy_tensor::ops::conv2d::Window;
use belamy_tensor::ops::pool2d::{
    avg_pool2d, avg_pool2d_spread, max_pool2d, max_pool2d_pick, max_pool2d_place,
    max_pool2d_with_indices,
};

#[derive(Clone, Copy)]
struct Pool {
    name: &'static str,
    n: usize,
    image: [usize; 2],
    c: usize,
    kernel: [usize; 2],
    window: Window,
}

impl Pool {
    fn output(&self) -> [usize; 2] {
        self.window.output(&self.image, &self.kernel).expect("a case's window fits its image")
    }
    fn x(&self) -> [usize; 4] {
        [self.n, self.image[0], self.image[1], self.c]
    }
    fn y(&self) -> [usize; 4] {
        [self.n, self.output()[0], self.output()[1], self.c]
    }

    /// The pixels under a window.
    fn taps(&self, oh: usize, ow: usize) -> Vec<[usize; 2]> {
        let side = |axis: usize, at: usize| {
            let of = |pair: (usize, usize)| if axis == 0 { pair.0 } else { pair.1 };
            let padding = if axis == 0 { self.window.padding.0.0 } else { self.window.padding.1.0 };
            let (stride, dilation) = (of(self.window.stride), of(self.window.dilation));
            (0..self.kernel[axis])
                .filter_map(|tap| (at * stride + tap * dilation).checked_sub(padding))
                .filter(|&pixel| pixel < self.image[axis])
                .collect::<Vec<usize>>()
        };
        let (rows, columns) = (side(0, oh), side(1, ow));
        rows.iter().flat_map(|&row| columns.iter().map(move |&column| [row, column])).collect()
    }

    fn mean_entries(&self, count_include_pad: bool) -> Vec<Entry> {
        on_planes(self.n, self.image, self.output(), self.c, |oh, ow| {
            let taps = self.taps(oh, ow);
            let all = if count_include_pad { self.kernel[0] * self.kernel[1] } else { taps.len() };
            taps.into_iter().map(|pixel| (pixel, 1.0 / all as f64)).collect()
        })
    }
}

fn pools() -> Vec<Pool> {
    let pool = |name, n, image, c, kernel, window| Pool { name, n, image, c, kernel, window };
    let odd = Window { padding: ((1, 0), (0, 1)), stride: (2, 1), ..Window::default() };
    let dilated = Window { dilation: (2, 1), stride: (1, 2), ..Window::new(1, 1) };
    vec![
        pool("2x2 stride 2", 2, [4, 6], 3, [2, 2], Window::new(2, 0)),
        pool("2x2 stride 2, odd sides", 1, [5, 7], 2, [2, 2], Window::new(2, 0)),
        pool("3x3 stride 1, overlapping", 1, [5, 4], 2, [3, 3], Window::new(1, 0)),
        pool("3x3 stride 2 padded", 1, [5, 6], 2, [3, 3], Window::new(2, 1)),
        pool("2x2 stride 3, gaps", 1, [8, 7], 2, [2, 2], Window::new(3, 0)),
        pool("1x1 stride 2", 1, [4, 5], 2, [1, 1], Window::new(2, 0)),
        pool("3x2 asymmetric", 1, [6, 5], 2, [3, 2], odd),
        pool("dilated", 1, [7, 6], 2, [2, 3], dilated),
        pool("whole image", 2, [3, 4], 3, [3, 4], Window::default()),
        pool("large", 3, [31, 29], 17, [3, 3], Window::new(2, 1)),
    ]
}

fn averages(pool: Pool, count_include_pad: bool) -> [Case; 2] {
    let Pool { image, kernel, window, .. } = pool;
    let entries = pool.mean_entries(count_include_pad);
    let (x, y): (usize, usize) = (pool.x().iter().product(), pool.y().iter().product());
    let [down, up] = terms(&entries, y, x);
    let variant = match count_include_pad {
        true => pool.name.to_string(),
        false => format!("{}, padding uncounted", pool.name),
    };
    let back = entries.clone();
    [
        Case::new("avg_pool2d", &variant, move |t| {
            avg_pool2d(&t[0], kernel, window, count_include_pad)
        })
        .input(&pool.x(), Domain::Normal)
        .linear(&[0])
        .absolute(down)
        .slack(2.0)
        .host_reference(move |t| applied(&entries, &t[0], y)),
        Case::new("avg_pool2d_spread", &variant, move |t| {
            avg_pool2d_spread(&t[0], image, kernel, window, count_include_pad)
        })
        .input(&pool.y(), Domain::Normal)
        .linear(&[0])
        .absolute(up)
        .slack(2.0)
        .host_reference(move |t| transposed(&back, &t[0], x)),
    ]
}

/// The flat place of the largest pixel under each window, planes' indices as the op gives them.
fn largest(pool: &Pool, image: &[f64]) -> Vec<([usize; 2], f64)> {
    let ([n, oh, ow, c], [_, h, w, _]) = (pool.y(), pool.x());
    let mut found = Vec::new();
    for index in 0..n * oh * ow * c {
        let (channel, column, row) = (index % c, index / c % ow, index / (c * ow) % oh);
        let batch = index / (c * ow * oh);
        let value =
            |pixel: [usize; 2]| image[((batch * h + pixel[0]) * w + pixel[1]) * c + channel];
        let best = pool
            .taps(row, column)
            .into_iter()
            .max_by(|&a, &b| value(a).total_cmp(&value(b)))
            .expect("every window sees a pixel");
        found.push((best, value(best)));
    }
    found
}

/// The maximum's matrix, for indices that another image's maxima give.
fn chosen(pool: &Pool, image: &[f64]) -> Vec<Entry> {
    let ([_, oh, ow, c], [_, h, w, _]) = (pool.y(), pool.x());
    largest(pool, image)
        .into_iter()
        .enumerate()
        .map(|(output, ([row, column], _))| {
            let (channel, batch) = (output % c, output / (c * ow * oh));
            let input = ((batch * h + row) * w + column) * c + channel;
            Entry { output, input, weight: 1.0 }
        })
        .collect()
}

fn maxima(pool: Pool) -> Vec<Case> {
    let Pool { name, image, kernel, window, .. } = pool;
    let (x, y): (usize, usize) = (pool.x().iter().product(), pool.y().iter().product());
    let overlap = kernel[0] * kernel[1];
    let mut cases = vec![
        Case::new("max_pool2d", name, move |t| max_pool2d(&t[0], kernel, window))
            .input(&pool.x(), Domain::Distinct)
            .host_reference(move |t| {
                largest(&pool, &t[0]).into_iter().map(|(_, value)| value).collect()
            }),
        Case::new("max_pool2d_indices", name, move |t| {
            Ok(max_pool2d_with_indices(&t[0], kernel, window)?.1)
        })
        .constant(&pool.x(), Domain::Distinct)
        .rounded()
        .host_reference(move |t| {
            let places = largest(&pool, &t[0]).into_iter();
            places.map(|([row, column], _)| (row * image[1] + column) as f64).collect()
        }),
        Case::new("max_pool2d_pick", name, move |t| {
            let index = max_pool2d_with_indices(&t[1], kernel, window)?.1;
            max_pool2d_pick(&t[0], &index, kernel, window)
        })
        .input(&pool.x(), Domain::Normal)
        .constant(&pool.x(), Domain::Distinct)
        .linear(&[0])
        .absolute(1)
        .host_reference(move |t| applied(&chosen(&pool, &t[1]), &t[0], y)),
        Case::new("max_pool2d_place", name, move |t| {
            let index = max_pool2d_with_indices(&t[1], kernel, window)?.1;
            max_pool2d_place(&t[0], &index, image, kernel, window)
        })
        .input(&pool.y(), Domain::Normal)
        .constant(&pool.x(), Domain::Distinct)
        .linear(&[0])
        .absolute(overlap)
        .host_reference(move |t| transposed(&chosen(&pool, &t[1]), &t[0], x)),
    ];
    if pool.name == "whole image" {
        // Indices that may lie anywhere: those outside the window give 0 and take nothing.
        let plane = (image[0] * image[1] + 3) as u32;
        cases.push(
            Case::new("max_pool2d_pick", "any index", move |t| {
                max_pool2d_pick(&t[0], &t[1], kernel, window)
            })
            .input(&pool.x(), Domain::Normal)
            .constant(&pool.y(), Domain::Indices(plane))
            .linear(&[0])
            .absolute(1),
        );
    }
    // The image of maxima is one pixel: its place is 0 at the first window only.
    let informative = cases.into_iter().filter(|case| case.op != "max_pool2d_indices" || y > 1);
    informative.map(|case| if pool.name == "large" { case.large() } else { case }).collect()
}

/// The family's cases.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for pool in pools() {
        let mark = |case: Case| if pool.name == "large" { case.large() } else { case };
        cases.extend(averages(pool, true).map(mark));
        if pool.window.padding != ((0, 0), (0, 0)) {
            cases.extend(averages(pool, false).map(mark));
        }
        cases.extend(maxima(pool));
    }
    cases
}

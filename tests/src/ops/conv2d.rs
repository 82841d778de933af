//! The conv triangle and the transposed convolution, over the windows where hand-written backward passes fail:
//! kernels smaller than the stride, odd and even sides, overlapping windows, dilation, groups, padding on one side
//! only, `same` padding, and images that a stride does not reach the end of.

use crate::case::Case;
use crate::values::{Domain, Numbers};
use belamy_tensor::ops::conv2d::{
    Window, conv_transpose2d, conv2d, conv2d_grad_input, conv2d_grad_weight,
};

/// One convolution: image `[n, h, w, c]`, `o` outputs, taps `[kh, kw]`.
#[derive(Clone, Copy)]
struct Geometry {
    name: &'static str,
    n: usize,
    image: [usize; 2],
    c: usize,
    o: usize,
    kernel: [usize; 2],
    window: Window,
}

impl Geometry {
    fn output(&self) -> [usize; 2] {
        self.window.output(&self.image, &self.kernel).expect("a case's window fits its image")
    }
    fn x(&self) -> [usize; 4] {
        [self.n, self.image[0], self.image[1], self.c]
    }
    fn w(&self) -> [usize; 4] {
        [self.o, self.kernel[0], self.kernel[1], self.c / self.window.groups]
    }
    fn g(&self) -> [usize; 4] {
        [self.n, self.output()[0], self.output()[1], self.o]
    }

    /// Every term of the trilinear form: the indices of its three factors.
    fn terms(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let ([n, h, w, c], [_, kh, kw, per_group], [_, oh, ow, o]) = (self.x(), self.w(), self.g());
        let outputs_per_group = o / self.window.groups;
        let ((stride_h, stride_w), (dilation_h, dilation_w)) =
            (self.window.stride, self.window.dilation);
        let ((top, _), (left, _)) = self.window.padding;
        for (batch, row, column) in triples(n, oh, ow) {
            for (tap_row, tap_column, out) in triples(kh, kw, o) {
                let at_row = (row * stride_h + tap_row * dilation_h) as isize - top as isize;
                let at_column =
                    (column * stride_w + tap_column * dilation_w) as isize - left as isize;
                if at_row < 0 || at_column < 0 || at_row >= h as isize || at_column >= w as isize {
                    continue;
                }
                for channel in 0..per_group {
                    let in_channel = out / outputs_per_group * per_group + channel;
                    let x =
                        ((batch * h + at_row as usize) * w + at_column as usize) * c + in_channel;
                    let tap = ((out * kh + tap_row) * kw + tap_column) * per_group + channel;
                    let g = ((batch * oh + row) * ow + column) * o + out;
                    visit(x, tap, g);
                }
            }
        }
    }
}

fn triples(a: usize, b: usize, c: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a * b * c).map(move |i| (i / (b * c), i / c % b, i % c))
}

fn window(
    stride: [usize; 2],
    padding: [[usize; 2]; 2],
    dilation: [usize; 2],
    groups: usize,
) -> Window {
    Window {
        stride: stride.into(),
        padding: (padding[0].into(), padding[1].into()),
        dilation: dilation.into(),
        groups,
    }
}

fn small() -> Vec<Geometry> {
    let none = [[0, 0], [0, 0]];
    let even = |p: usize| [[p, p], [p, p]];
    let geometry =
        |name, n, image, c, o, kernel, window| Geometry { name, n, image, c, o, kernel, window };
    vec![
        geometry("1x1", 2, [3, 2], 3, 2, [1, 1], Window::default()),
        geometry("five channels to six", 1, [3, 3], 5, 6, [2, 2], Window::default()),
        geometry("1x1 of one", 1, [1, 1], 1, 1, [1, 1], Window::default()),
        geometry("3x3 same", 1, [4, 5], 2, 3, [3, 3], Window::new(1, 1)),
        geometry("4x4 stride 2, dcgan's", 1, [6, 6], 2, 2, [4, 4], Window::new(2, 1)),
        geometry("4x4 whole image", 2, [4, 4], 2, 1, [4, 4], Window::default()),
        geometry("k 1 stride 2", 1, [5, 4], 2, 2, [1, 1], Window::new(2, 0)),
        geometry("k 2 stride 3", 1, [7, 8], 2, 2, [2, 2], Window::new(3, 0)),
        geometry(
            "k 2 stride 3 padded",
            1,
            [5, 6],
            2,
            2,
            [2, 2],
            window([3, 3], even(1), [1, 1], 1),
        ),
        geometry("k 3 stride 2, unreached end", 1, [6, 4], 2, 2, [3, 3], Window::new(2, 0)),
        geometry("dilated", 1, [7, 6], 2, 2, [3, 2], window([1, 1], none, [2, 3], 1)),
        geometry(
            "dilated and strided",
            1,
            [9, 8],
            1,
            2,
            [3, 3],
            window([2, 3], even(2), [3, 2], 1),
        ),
        geometry(
            "stride 3 dilation 2",
            1,
            [9, 9],
            1,
            2,
            [2, 3],
            window([3, 3], even(1), [2, 2], 1),
        ),
        geometry(
            "top and right only",
            1,
            [4, 5],
            2,
            2,
            [3, 3],
            window([1, 1], [[2, 0], [0, 2]], [1, 1], 1),
        ),
        geometry(
            "asymmetric, strided",
            1,
            [5, 6],
            2,
            2,
            [4, 3],
            window([2, 2], [[0, 2], [2, 1]], [1, 1], 1),
        ),
        geometry("same k 5 stride 2", 1, [6, 6], 1, 2, [5, 5], Window::same(2, [6, 6], [5, 5])),
        geometry("same k 4 stride 1", 1, [5, 5], 1, 2, [4, 4], Window::same(1, [5, 5], [4, 4])),
        geometry("same k 2 stride 3", 1, [7, 5], 1, 2, [2, 2], Window::same(3, [7, 5], [2, 2])),
        geometry("two groups", 1, [4, 4], 4, 6, [3, 3], window([1, 1], even(1), [1, 1], 2)),
        geometry("three groups, strided", 1, [5, 5], 3, 6, [2, 2], window([2, 1], none, [1, 2], 3)),
        geometry("depthwise", 1, [4, 5], 3, 3, [3, 3], window([1, 2], even(1), [1, 1], 3)),
        geometry(
            "long kernel",
            2,
            [1, 9],
            2,
            2,
            [1, 5],
            window([1, 2], [[0, 0], [3, 1]], [1, 1], 1),
        ),
        geometry(
            "tall, unequal strides",
            2,
            [8, 3],
            1,
            2,
            [4, 1],
            window([3, 1], [[1, 0], [0, 0]], [1, 1], 1),
        ),
        geometry(
            "padding wider than kernel",
            1,
            [3, 3],
            1,
            1,
            [2, 2],
            window([2, 2], even(3), [1, 1], 1),
        ),
    ]
}

fn large() -> Vec<Geometry> {
    let geometry =
        |name, n, image, c, o, kernel, window| Geometry { name, n, image, c, o, kernel, window };
    let even = |p: usize| [[p, p], [p, p]];
    vec![
        geometry("large 4x4 stride 2", 3, [16, 18], 24, 40, [4, 4], Window::new(2, 1)),
        geometry("large 3x3", 2, [13, 11], 17, 19, [3, 3], Window::new(1, 1)),
        geometry(
            "large 5x5 same stride 2",
            2,
            [14, 14],
            7,
            16,
            [5, 5],
            Window::same(2, [14, 14], [5, 5]),
        ),
        geometry("large 1x1", 2, [12, 12], 33, 31, [1, 1], Window::default()),
        geometry("large to few channels", 2, [20, 20], 8, 3, [3, 3], Window::new(1, 1)),
        geometry("large few to few channels", 2, [20, 19], 5, 2, [3, 3], Window::new(1, 1)),
        geometry("large few channels", 2, [28, 28], 1, 32, [4, 4], Window::new(2, 1)),
        geometry("large groups", 2, [12, 10], 16, 24, [3, 3], window([2, 1], even(1), [1, 2], 4)),
        // Sums of more than 256 terms, in each direction.
        geometry("large, deep to few channels", 1, [7, 7], 32, 3, [3, 3], Window::new(1, 1)),
        geometry("large, deep from few channels", 1, [7, 7], 3, 32, [3, 3], Window::new(1, 1)),
        // As many pixels as a tile has rows, and channels in fours: for each slot more than one column of tiles.
        geometry("large whole tiles", 1, [8, 8], 8, 8, [3, 3], window([1, 1], even(1), [1, 1], 2)),
        geometry(
            "large odd",
            2,
            [17, 15],
            9,
            35,
            [2, 3],
            window([3, 2], [[1, 0], [0, 2]], [2, 1], 1),
        ),
    ]
}

/// The three ops of one geometry, each against the trilinear form summed by scattering.
fn triangle(geometry: Geometry) -> [Case; 3] {
    triangle_named(geometry.name, geometry)
}

fn triangle_named(name: &str, geometry: Geometry) -> [Case; 3] {
    let Geometry { image, kernel, window, .. } = geometry;
    let (x, w, g) = (geometry.x(), geometry.w(), geometry.g());
    let per_output = kernel[0] * kernel[1] * w[3];
    let per_input = kernel[0] * kernel[1] * geometry.o / window.groups;
    let per_weight = g[0] * g[1] * g[2];
    [
        Case::new("conv2d", name, move |t| conv2d(&t[0], &t[1], window))
            .input(&x, Domain::Normal)
            .input(&w, Domain::Normal)
            .linear(&[0, 1])
            .absolute(per_output)
            .host_reference(move |t| {
                let mut y = vec![0.0; g.iter().product()];
                geometry.terms(|x, w, g| y[g] += t[0][x] * t[1][w]);
                y
            }),
        Case::new("conv2d_grad_input", name, move |t| {
            conv2d_grad_input(&t[0], &t[1], image, window)
        })
        .input(&g, Domain::Normal)
        .input(&w, Domain::Normal)
        .linear(&[0, 1])
        .absolute(per_input)
        .host_reference(move |t| {
            let mut image = vec![0.0; x.iter().product()];
            geometry.terms(|x, w, g| image[x] += t[0][g] * t[1][w]);
            image
        }),
        Case::new("conv2d_grad_weight", name, move |t| {
            conv2d_grad_weight(&t[0], &t[1], kernel, window)
        })
        .input(&x, Domain::Normal)
        .input(&g, Domain::Normal)
        .linear(&[0, 1])
        .absolute(per_weight)
        .host_reference(move |t| {
            let mut weight = vec![0.0; w.iter().product()];
            geometry.terms(|x, w, g| weight[w] += t[0][x] * t[1][g]);
            weight
        }),
    ]
}

/// A transposed convolution, against its definition by scattering each input pixel's kernel over the output.
fn transposed(
    name: &'static str,
    [n, h, w, i]: [usize; 4],
    [o, kh, kw]: [usize; 3],
    window: Window,
    extra: (usize, usize),
) -> Case {
    let groups = window.groups;
    let image = window
        .transposed_output(&[h, w], &[kh, kw], extra)
        .expect("a case's window leaves an image");
    let (i_group, o_group) = (i / groups, o / groups);
    Case::new("conv_transpose2d", name, move |t| conv_transpose2d(&t[0], &t[1], window, extra))
        .input(&[n, h, w, i], Domain::Normal)
        .input(&[o, kh, kw, i_group], Domain::Normal)
        .linear(&[0, 1])
        .absolute(kh * kw * i_group)
        .host_reference(move |t| {
            let mut y = vec![0.0; n * image[0] * image[1] * o];
            for (batch, row, column) in triples(n, h, w) {
                for (tap_row, tap_column, out) in triples(kh, kw, o) {
                    let to_row = (row * window.stride.0 + tap_row * window.dilation.0)
                        .checked_sub(window.padding.0.0)
                        .filter(|&row| row < image[0]);
                    let to_column = (column * window.stride.1 + tap_column * window.dilation.1)
                        .checked_sub(window.padding.1.0)
                        .filter(|&column| column < image[1]);
                    let (Some(to_row), Some(to_column)) = (to_row, to_column) else { continue };
                    for channel in 0..i_group {
                        let in_channel = out / o_group * i_group + channel;
                        let x = t[0][((batch * h + row) * w + column) * i + in_channel];
                        let tap =
                            t[1][((out * kh + tap_row) * kw + tap_column) * i_group + channel];
                        y[((batch * image[0] + to_row) * image[1] + to_column) * o + out] +=
                            x * tap;
                    }
                }
            }
            y
        })
}

fn transposed_cases() -> Vec<Case> {
    let none = [[0, 0], [0, 0]];
    let even = |p: usize| [[p, p], [p, p]];
    vec![
        transposed("4x4 stride 2, dcgan's", [1, 3, 3, 2], [2, 4, 4], Window::new(2, 1), (0, 0)),
        transposed("from one pixel", [2, 1, 1, 3], [2, 4, 4], Window::new(1, 0), (0, 0)),
        transposed(
            "k 5 stride 2 same",
            [1, 3, 3, 2],
            [2, 5, 5],
            Window::same(2, [6, 6], [5, 5]),
            (0, 0),
        ),
        transposed(
            "k 5 stride 1 same",
            [1, 4, 3, 2],
            [2, 5, 5],
            Window::same(1, [4, 3], [5, 5]),
            (0, 0),
        ),
        transposed(
            "k 3 stride 2, output padding",
            [1, 3, 4, 2],
            [2, 3, 3],
            Window::new(2, 1),
            (1, 1),
        ),
        transposed("k 1 stride 2", [1, 3, 3, 2], [2, 1, 1], Window::new(2, 0), (1, 0)),
        transposed("k 2 stride 3", [1, 3, 2, 2], [2, 2, 2], Window::new(3, 0), (0, 2)),
        transposed("dilated", [1, 3, 4, 2], [1, 3, 2], window([2, 1], even(1), [2, 3], 1), (1, 0)),
        transposed(
            "asymmetric",
            [1, 4, 4, 1],
            [2, 3, 4],
            window([2, 2], [[0, 2], [1, 0]], [1, 1], 1),
            (0, 0),
        ),
        transposed(
            "two groups",
            [1, 3, 3, 4],
            [6, 3, 3],
            window([2, 2], even(1), [1, 1], 2),
            (1, 1),
        ),
        transposed("depthwise", [1, 3, 3, 3], [3, 2, 2], window([1, 2], none, [1, 1], 3), (0, 0)),
        transposed("large", [2, 7, 7, 40], [24, 4, 4], Window::new(2, 1), (0, 0)).large(),
        transposed("large from one pixel", [5, 1, 1, 50], [36, 4, 4], Window::new(1, 0), (0, 0))
            .large(),
        transposed(
            "large groups",
            [2, 5, 6, 16],
            [24, 3, 3],
            window([2, 2], even(1), [1, 1], 4),
            (1, 1),
        )
        .large(),
    ]
}

/// Geometries drawn at random, the same for the same seed: extents, windows and groups of every relation to each
/// other, the three ops each.
pub fn sampled(seed: u64, count: usize) -> Vec<Case> {
    let mut numbers = Numbers::new(&format!("conv2d sampled {seed}"), "geometry");
    let mut cases = Vec::new();
    while cases.len() < 3 * count {
        let mut from =
            |low: usize, high: usize| low + numbers.below((high - low + 1) as u32) as usize;
        let groups = [1, 1, 1, 2, 3][from(0, 4)];
        let window = window(
            [from(1, 4), from(1, 4)],
            [[from(0, 3), from(0, 3)], [from(0, 3), from(0, 3)]],
            [from(1, 3), from(1, 3)],
            groups,
        );
        let geometry = Geometry {
            name: "",
            n: from(1, 3),
            image: [from(1, 13), from(1, 13)],
            c: groups * from(1, 9),
            o: groups * from(1, 9),
            kernel: [from(1, 5), from(1, 5)],
            window,
        };
        let Some([oh, ow]) = window.output(&geometry.image, &geometry.kernel) else { continue };
        let mut reached = false;
        geometry.terms(|_, _, _| reached = true);
        if !reached {
            // Every tap lies in the padding: all zeros, which say nothing.
            continue;
        }
        let ([h, w], [kh, kw]) = (geometry.image, geometry.kernel);
        let name = format!(
            "sampled {seed}.{} {}x{h}x{w}x{} to {oh}x{ow}x{} by {kh}x{kw}, {window:?}",
            cases.len() / 3,
            geometry.n,
            geometry.c,
            geometry.o
        );
        cases.extend(triangle_named(&name, geometry));
    }
    cases
}

/// The family's cases.
pub fn cases() -> Vec<Case> {
    let small = small().into_iter().flat_map(triangle);
    let large = large().into_iter().flat_map(|geometry| triangle(geometry).map(Case::large));
    small.chain(large).chain(transposed_cases()).collect()
}

//! The fast paths of convolutions, matrix products and permutations against the oracle.

use belamy_tensor::ops::conv2d::{
    Window, conv_transpose2d, conv2d, conv2d_grad_input, conv2d_grad_weight,
};
use belamy_tensor::ops::matmul::matmul;
use belamy_tensor::{DType, Device, Shape, Tensor};

/// Numbers between -1 and 1 that repeat in no pattern.
fn numbers(length: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(2).wrapping_add(0x9E37_79B9_7F4A_7C15) | 1;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(0xD134_2543_DE82_EF95);
            (state >> 40) as f64 / (1u64 << 23) as f64 - 1.0
        })
        .collect()
}

fn tensor(dims: &[usize], dtype: DType, seed: u64, device: &Device) -> Tensor {
    let values = numbers(dims.iter().product(), seed);
    Tensor::from_f64(&values, Shape::new(dims).unwrap(), dtype, device).unwrap()
}

/// One convolution and the sizes of its operands.
#[derive(Debug, Clone, Copy)]
struct Case {
    batch: usize,
    image: [usize; 2],
    channels: usize,
    outputs: usize,
    kernel: [usize; 2],
    window: Window,
}

impl Case {
    /// The three passes' results on a device, `None` when the kernel does not fit the image.
    fn run(&self, dtype: DType, device: &Device) -> Option<[Tensor; 3]> {
        let Case { batch, image: [h, w], channels, outputs, kernel: [kh, kw], window } = *self;
        let [oh, ow] = window.output(&self.image, &self.kernel)?;
        let x = tensor(&[batch, h, w, channels], dtype, 1, device);
        let weight = tensor(&[outputs, kh, kw, channels / window.groups], dtype, 2, device);
        let g = tensor(&[batch, oh, ow, outputs], dtype, 3, device);
        Some([
            conv2d(&x, &weight, window).unwrap(),
            conv2d_grad_input(&g, &weight, self.image, window).unwrap(),
            conv2d_grad_weight(&x, &g, self.kernel, window).unwrap(),
        ])
    }

    /// Compares the passes with the oracle's; returns whether there was something to compare.
    ///
    /// The bound: terms are below 1 in size and random in sign, so sums of k of them and their roundings grow with
    /// the square root of k; 10 for the worst of all elements, and ten times that where Winograd's filtering may be taken:
    /// in the norm it loses ten times as much, which its own tests hold to 5e-6.
    fn check(&self, dtype: DType) -> bool {
        let is_wide = self.channels.min(self.outputs) >= 32;
        let factor = if dtype == DType::F32 && is_wide { 100.0 } else { 10.0 };
        self.check_on(&belamy_cpu::poisoned(true), dtype, factor)
    }

    /// A part of the batch has the bits of the whole, in whatever order positions are gone through.
    fn check_part(&self, batch: usize) {
        let run = |case: &Case| case.run(DType::F32, &belamy_cpu::direct()).unwrap();
        let (whole, part) = (run(self), run(&Case { batch, ..*self }));
        for (whole, part) in whole.iter().zip(&part).take(2) {
            let (whole, part) = (whole.to_f64().unwrap(), part.to_f64().unwrap());
            assert!(whole[..part.len()] == part[..], "{self:?}");
        }
    }

    /// [`Case::check`] of a device, by a factor for the worst of all elements.
    fn check_on(&self, device: &Device, dtype: DType, factor: f64) -> bool {
        let Some(want) = self.run(dtype, &belamy_cpu::poisoned(false)) else { return false };
        let got = self.run(dtype, device).unwrap();
        let epsilon = if dtype == DType::F32 { f64::from(f32::EPSILON) } else { f64::EPSILON };
        let taps = self.kernel[0] * self.kernel[1];
        let pixels = self.batch * self.image[0] * self.image[1];
        let terms = [taps * self.channels, taps * self.outputs, pixels];
        for (pass, ((got, want), terms)) in got.iter().zip(&want).zip(terms).enumerate() {
            assert_eq!(got.dims(), want.dims());
            let bound = factor * epsilon * (terms as f64).sqrt().max(1.0);
            let (got, want) = (got.to_f64().unwrap(), want.to_f64().unwrap());
            for (index, (got, want)) in got.iter().zip(&want).enumerate() {
                assert!(
                    (got - want).abs() <= bound,
                    "{self:?} {dtype} pass {pass} element {index}: {got}, not {want} within {bound}"
                );
            }
        }
        true
    }
}

fn window(stride: [usize; 2], padding: [usize; 4], dilation: [usize; 2], groups: usize) -> Window {
    Window {
        stride: (stride[0], stride[1]),
        padding: ((padding[0], padding[1]), (padding[2], padding[3])),
        dilation: (dilation[0], dilation[1]),
        groups,
    }
}

/// Every stride, kernel, dilation, padding and image with the channels that `channels` yields in turn.
fn check_grid(dtype: DType, channels: &[(usize, usize, usize)]) {
    let mut channels = channels.iter().cycle();
    let mut checked = 0;
    for stride in [[1, 1], [2, 2], [3, 3], [1, 2], [3, 1]] {
        for kernel in [[1, 1], [2, 2], [3, 3], [4, 4], [5, 5], [2, 5], [3, 1]] {
            for dilation in [[1, 1], [2, 2], [1, 2]] {
                for padding in [[0; 4], [1; 4], [2, 1, 0, 3], [0, 2, 2, 1]] {
                    for image in [[6, 6], [7, 5], [1, 9]] {
                        let &(inputs, outputs, groups) = channels.next().unwrap();
                        let window = window(stride, padding, dilation, groups);
                        let (channels, batch) = (inputs, 3);
                        let case = Case { batch, image, channels, outputs, kernel, window };
                        checked += usize::from(case.check(dtype));
                    }
                }
            }
        }
    }
    assert!(checked > 500, "only {checked} cases fitted");
}

/// (C, O, groups): seventeen, which shares no factor with the other loops, so that every combination occurs.
const CHANNELS: [(usize, usize, usize); 17] = [
    (1, 5, 1),
    (3, 16, 1),
    (5, 1, 1),
    (16, 3, 1),
    (17, 17, 1),
    (64, 5, 1),
    (9, 64, 1),
    (16, 12, 2),
    (16, 32, 4),
    (12, 20, 4),
    (4, 8, 4),
    (6, 2, 2),
    (1, 1, 1),
    // Images of few channels, and outputs that are whole vectors of every processor's, of some and of none.
    (3, 64, 1),
    (1, 32, 1),
    (2, 48, 1),
    (8, 24, 1),
];

#[test]
fn a_grid_of_windows_f32() {
    check_grid(DType::F32, &CHANNELS);
}

#[test]
fn a_grid_of_windows_f64() {
    check_grid(DType::F64, &CHANNELS);
}

/// The layers that GANs are made of, small enough for the oracle, large enough for parallel tiles.
fn layers() -> Vec<Case> {
    let dcgan = Window::new(2, 1);
    let case = |batch, image, channels, outputs, kernel, window| Case {
        batch,
        image: [image; 2],
        channels,
        outputs,
        kernel: [kernel; 2],
        window,
    };
    vec![
        case(8, 32, 3, 32, 4, dcgan),
        case(9, 16, 32, 64, 4, dcgan),
        case(5, 8, 64, 128, 4, dcgan),
        case(17, 4, 128, 1, 4, Window::default()),
        case(17, 4, 64, 100, 4, Window::default()),
        case(6, 28, 1, 64, 5, Window::same(2, [28; 2], [5; 2])),
        case(6, 14, 64, 32, 5, Window::same(2, [14; 2], [5; 2])),
        case(3, 7, 96, 64, 5, Window::same(1, [7; 2], [5; 2])),
        case(2, 30, 20, 24, 3, window([1, 1], [1; 4], [1, 1], 2)),
        case(2, 33, 24, 1, 3, window([1, 1], [1; 4], [1, 1], 1)),
    ]
}

#[test]
fn layers_of_gans() {
    for case in layers() {
        assert!(case.check(DType::F32));
    }
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    for case in layers() {
        let results: Vec<Vec<Vec<u32>>> = [1, 2, 3, 5]
            .into_iter()
            .map(|threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let device = belamy_cpu::poisoned(true);
                let passes = pool.install(|| case.run(DType::F32, &device)).unwrap();
                let bits = |pass: &Tensor| {
                    pass.to_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
                };
                passes.iter().map(bits).collect()
            })
            .collect();
        assert!(results.iter().all(|result| *result == results[0]), "{case:?}");
    }
}

/// Images of few channels in several bands of rows, more of them than sums of a weight's gradient are made side by side, by
/// kernels of other lengths and strides than each way there has a loop for.
#[test]
fn images_of_few_channels() {
    let mut cases = Vec::new();
    for (image, channels, outputs, kernel, window) in [
        ([66, 40], 3, 32, [4, 4], Window::new(2, 1)),
        ([37, 70], 3, 48, [4, 4], window([2, 3], [1, 0, 2, 1], [1, 1], 1)),
        ([30, 31], 1, 64, [5, 5], Window::same(2, [30, 31], [5, 5])),
        ([24, 40], 3, 16, [7, 7], Window::same(1, [24, 40], [7, 7])),
        ([14, 30], 3, 48, [9, 9], Window::new(1, 4)),
        ([40, 40], 6, 32, [3, 5], window([1, 2], [1, 1, 4, 0], [2, 3], 1)),
        ([16, 150], 8, 16, [2, 1], window([3, 1], [0; 4], [1, 1], 1)),
        // Padding that reaches beyond whole windows, and an image whose last rows no window reaches.
        ([9, 9], 2, 32, [3, 3], window([3, 3], [4, 3, 4, 3], [1, 1], 1)),
        ([11, 90], 4, 16, [4, 4], window([4, 4], [0; 4], [1, 1], 1)),
    ] {
        cases.push(Case { batch: 3, image, channels, outputs, kernel, window });
    }
    cases.push(Case { batch: 70, image: [12, 12], ..cases[0] });
    for case in cases {
        assert!(case.check(DType::F64) && case.check(DType::F32), "{case:?}");
        assert!(case.check_on(&belamy_cpu::direct(), DType::F32, 10.0));
        case.check_part(1);
    }
}

#[test]
fn transposed_convolutions() {
    for (image, inputs, outputs, kernel, window, extra) in [
        (5, 24, 16, 4, Window::new(2, 1), 0),
        (1, 50, 24, 4, Window::default(), 0),
        (7, 32, 1, 5, Window::new(2, 2), 1),
        (4, 12, 8, 3, window([3, 3], [1; 4], [1, 1], 2), 2),
        (4, 12, 8, 2, window([3, 3], [0; 4], [1, 1], 1), 1),
    ] {
        let run = |device: &Device| {
            let x = tensor(&[3, image, image, inputs], DType::F32, 4, device);
            let weight =
                tensor(&[outputs, kernel, kernel, inputs / window.groups], DType::F32, 5, device);
            conv_transpose2d(&x, &weight, window, (extra, extra)).unwrap().to_f64().unwrap()
        };
        let (got, want) = (run(&belamy_cpu::poisoned(true)), run(&belamy_cpu::poisoned(false)));
        assert_eq!(got.len(), want.len());
        let apart = got.iter().zip(&want).map(|(got, want)| (got - want).abs()).fold(0.0, f64::max);
        assert!(apart < 1e-4, "{window:?}: {apart} apart");
    }
}

#[test]
fn matrix_products_in_every_orientation() {
    for (batch, m, n, k) in [(1, 65, 33, 70), (5, 7, 9, 11), (40, 32, 24, 48), (3, 130, 120, 90)] {
        for dtype in [DType::F32, DType::F64] {
            for (transpose_a, transpose_b) in
                [(false, false), (false, true), (true, false), (true, true)]
            {
                for shared in [false, true] {
                    let run = |device: &Device| {
                        let a = if transpose_a { [batch, k, m] } else { [batch, m, k] };
                        let b = if transpose_b { [batch, n, k] } else { [batch, k, n] };
                        let a = tensor(&a, dtype, 6, device);
                        let b = tensor(if shared { &b[1..] } else { &b }, dtype, 7, device);
                        let y = matmul(&a, &b, transpose_a, transpose_b).unwrap();
                        y.to_f64().unwrap()
                    };
                    let (got, want) =
                        (run(&belamy_cpu::poisoned(true)), run(&belamy_cpu::poisoned(false)));
                    let bound = if dtype == DType::F32 { 2e-5 } else { 1e-13 };
                    for (got, want) in got.iter().zip(&want) {
                        assert!((got - want).abs() < bound, "{got}, not {want}");
                    }
                }
            }
        }
    }
}

#[test]
fn permutations_move_every_element() {
    let device = belamy_cpu::poisoned(true);
    let cases: [(&[usize], &[usize]); 8] = [
        (&[37, 50], &[1, 0]),
        (&[5, 3, 7, 64], &[3, 1, 2, 0]),
        (&[1, 70, 16, 33], &[0, 3, 2, 1]),
        (&[40, 9, 30], &[2, 0, 1]),
        (&[3, 4, 5, 6, 7], &[4, 2, 0, 3, 1]),
        (&[600, 3, 5, 1], &[3, 2, 1, 0]),
        (&[2, 3, 4, 5, 6, 7], &[5, 4, 3, 2, 1, 0]),
        (&[4, 30, 30, 3], &[0, 3, 1, 2]),
    ];
    for (dims, axes) in cases {
        let elements: usize = dims.iter().product();
        let values: Vec<u32> = (0..elements as u32).collect();
        let x = Tensor::from_slice(&values, Shape::new(dims).unwrap(), &device).unwrap();
        let y = x.permute(axes).unwrap();
        let result = y.to_vec::<u32>().unwrap();
        let strides = |dims: &[usize]| -> Vec<usize> {
            (0..dims.len()).map(|axis| dims[axis + 1..].iter().product()).collect()
        };
        let (from, to) = (strides(dims), strides(y.dims()));
        for (index, &value) in result.iter().enumerate() {
            let source: usize =
                (0..axes.len()).map(|k| index / to[k] % y.dims()[k] * from[axes[k]]).sum();
            assert_eq!(value as usize, source, "{dims:?} by {axes:?} at {index}");
        }
    }
}

/// Few rows, so that taps outside the image are left out; channels whose neighbours lie near and far; outputs that fill
/// panels and that do not.
#[test]
fn taps_outside_the_image_are_left_out() {
    for (channels, outputs) in [(3, 64), (24, 32), (64, 48), (160, 32), (256, 64), (288, 20)] {
        for (image, kernel, window) in [
            ([8, 8], [4, 4], Window::new(2, 1)),
            ([4, 6], [3, 3], Window::new(1, 1)),
            ([5, 3], [5, 5], window([2, 1], [2, 1, 2, 3], [1, 1], 1)),
            ([2, 2], [4, 4], Window::new(2, 2)),
        ] {
            let case = Case { batch: 5, image, channels, outputs, kernel, window };
            assert!(case.check(DType::F64) && case.check(DType::F32));
            assert!(case.check_on(&belamy_cpu::direct(), DType::F32, 10.0));
            case.check_part(2);
        }
    }
}

/// Numbers of eight bits are bf16 as they are, and so few products of them have an exact sum. Channels that pair and that do
/// not, alone and in groups; numbers of positions that fill no micro-tile.
#[test]
fn convolutions_of_bf16_are_exact_where_numbers_are() {
    let eight_bits = |dims: &[usize], seed: u64, device: &Device| {
        let values = numbers(dims.iter().product(), seed);
        let values: Vec<f64> = values.iter().map(|x| (x * 128.0).round() / 128.0).collect();
        Tensor::from_f64(&values, Shape::new(dims).unwrap(), DType::F32, device).unwrap()
    };
    for (channels, outputs, groups) in CHANNELS {
        for (image, kernel, window) in [
            ([9, 7], [3, 3], window([1, 1], [1; 4], [1, 1], groups)),
            ([8, 8], [4, 4], window([2, 2], [1; 4], [1, 1], groups)),
            ([7, 10], [2, 3], window([2, 1], [0, 1, 2, 1], [1, 2], groups)),
        ] {
            let [oh, ow] = window.output(&image, &kernel).unwrap();
            let ([h, w], [kh, kw]) = (image, kernel);
            let run = |device: &Device| {
                let x = eight_bits(&[3, h, w, channels], 1, device);
                let weight = eight_bits(&[outputs, kh, kw, channels / groups], 2, device);
                let g = eight_bits(&[3, oh, ow, outputs], 3, device);
                [
                    conv2d(&x, &weight, window).unwrap(),
                    conv2d_grad_input(&g, &weight, image, window).unwrap(),
                    conv2d_grad_weight(&x, &g, kernel, window).unwrap(),
                ]
                .map(|pass| pass.to_vec::<f32>().unwrap())
            };
            let (got, want) = (run(&belamy_cpu::bf16()), run(&belamy_cpu::poisoned(false)));
            assert!(got == want, "{channels} to {outputs} in {groups}: {image:?} by {kernel:?}");
        }
    }
}

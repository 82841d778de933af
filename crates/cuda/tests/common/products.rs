//! Products and convolutions large enough for what small ones do not reach.

use belamy_cuda::{Cuda, Precision};
use belamy_tensor::ops::conv2d::{Window, conv2d, conv2d_grad_input, conv2d_grad_weight};
use belamy_tensor::ops::matmul::matmul;
use belamy_tensor::{Result, Tensor};
use belamy_tests::{Case, Domain};

/// Numbers that need no rounding to be multiplied in any precision: few multiples of a quarter.
const SHORT: Domain = Domain::Lattice(0.0);

/// The ways that tensor cores multiply, by name.
pub(crate) fn tensor_cores(cuda: &Cuda) -> Vec<(&'static str, Cuda, Precision)> {
    let open = |cuda: &Cuda, precision| cuda.clone().in_precision(precision).unwrap();
    let without = cuda.clone().without_warpgroups();
    vec![
        ("tf32", open(&without, Precision::Tf32), Precision::Tf32),
        ("tf32 by warpgroups", open(cuda, Precision::Tf32), Precision::Tf32),
        ("bf16", open(cuda, Precision::Bf16), Precision::Bf16),
    ]
}

/// A product of these extents, as a case.
fn product(
    m: usize,
    n: usize,
    k: usize,
    transpose_a: bool,
    transpose_b: bool,
    domain: Domain,
) -> Case {
    let a = if transpose_a { [k, m] } else { [m, k] };
    let b = if transpose_b { [n, k] } else { [k, n] };
    let variant = format!("{m} {n} {k} {transpose_a} {transpose_b}");
    Case::new("matmul", variant, move |t: &[Tensor]| matmul(&t[0], &t[1], transpose_a, transpose_b))
        .input(&a, domain.clone())
        .input(&b, domain)
        .absolute(k)
}

/// A convolution of an image `[n, side, side, c]` with `o` kernels, its three slots as cases.
fn convolution(
    image: [usize; 3],
    o: usize,
    kernel: [usize; 2],
    window: Window,
    domain: Domain,
) -> [Case; 3] {
    let [n, side, c] = image;
    let [kh, kw] = kernel;
    let [oh, ow] = window.output(&[side, side], &kernel).unwrap();
    let (x, w) = ([n, side, side, c], [o, kh, kw, c / window.groups]);
    let g = [n, oh, ow, o];
    let variant = format!("{image:?} {o} {kernel:?} {}", window.stride.0);
    let case = |op, build: fn(&[Tensor], [usize; 2], Window) -> Result<Tensor>, sides, terms| {
        Case::new(op, variant.clone(), move |t| build(t, sides, window)).absolute(terms)
    };
    [
        case("conv2d", |t, _, window| conv2d(&t[0], &t[1], window), [0; 2], kh * kw * c)
            .input(&x, domain.clone())
            .input(&w, domain.clone()),
        case(
            "conv2d_grad_input",
            |t, sides, window| conv2d_grad_input(&t[0], &t[1], sides, window),
            [side; 2],
            kh * kw * o,
        )
        .input(&g, domain.clone())
        .input(&w, domain.clone()),
        case(
            "conv2d_grad_weight",
            |t, sides, window| conv2d_grad_weight(&t[0], &t[1], sides, window),
            kernel,
            n * oh * ow,
        )
        .input(&x, domain.clone())
        .input(&g, domain.clone()),
    ]
}

/// Products and convolutions in every tile of CUDA cores, with ragged edges, and some whose depth is split over blocks.
pub(crate) fn large_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut products = |m, n, k| {
        for (transpose_a, transpose_b) in WAYS {
            cases.push(product(m, n, k, transpose_a, transpose_b, Domain::Normal));
        }
    };
    // Tiles of 128 by 128, which want half a billion multiplications; of 64 by 64; one of 32 by 32 with a split depth.
    products(1036, 516, 1028);
    products(1539, 1401, 19);
    products(33, 29, 1030);
    let mut convolutions = |image, o, k, window| {
        cases.extend(convolution(image, o, [k; 2], window, Domain::Normal));
    };
    convolutions([7, 34, 132], 132, 4, Window::new(2, 1));
    convolutions([1, 5, 528], 132, 4, Window::default());
    // The gradient of the input in tiles of 64 columns, and of 16: an image's channels.
    convolutions([2, 48, 36], 264, 4, Window::new(2, 1));
    convolutions([2, 94, 3], 68, 4, Window::new(2, 1));
    // And in tiles of 64 by 64, of cotangents that are not in fours.
    convolutions([1, 66, 68], 3, 4, Window::new(2, 1));
    // Fewer channels than a slice is deep, so that one has several taps; and dilated taps.
    convolutions([3, 21, 4], 4, 3, Window { dilation: (2, 3), ..Window::new(1, 2) });
    cases
}

/// Whether either operand of a product is read transposed.
const WAYS: [(bool, bool); 4] = [(false, false), (false, true), (true, false), (true, true)];

/// The same for tensor cores, of numbers that need no rounding.
pub(crate) fn tensor_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut products = |m, n, k| {
        for (transpose_a, transpose_b) in WAYS {
            cases.push(product(m, n, k, transpose_a, transpose_b, SHORT));
        }
    };
    // Tiles of 128 by 64, one whose depth is split; and of 128 by 128, as many as leave no processor idle.
    products(132, 36, 52);
    // Not in fours, in several tiles, so that some of them bring their operands in another order.
    products(261, 133, 53);
    products(36, 60, 772);
    products(644, 652, 1028);
    let mut convolutions =
        |image, o, k, window| cases.extend(convolution(image, o, [k; 2], window, SHORT));
    // As many tiles of 128 by 128 as leave no processor idle, of each of the three.
    convolutions([4, 34, 132], 132, 4, Window::new(2, 1));
    // Columns: up to 8 and 16, 64, and more; strides, splits, taps in one slice, dilation.
    convolutions([3, 18, 4], 20, 4, Window::new(2, 1));
    convolutions([1, 11, 12], 68, 3, Window::new(1, 1));
    convolutions([2, 10, 68], 36, 4, Window::new(2, 1));
    convolutions([1, 6, 260], 132, 4, Window::new(2, 1));
    convolutions([2, 9, 132], 140, 4, Window::default());
    convolutions([2, 23, 8], 4, 3, Window { dilation: (2, 3), ..Window::new(1, 2) });
    // Kernels that are not square, and channels that are not in fours.
    cases.extend(convolution([2, 9, 36], 40, [3, 2], Window::new(1, 1), SHORT));
    cases.extend(convolution([2, 9, 5], 7, [3, 2], Window::new(2, 1), SHORT));
    // Weights not in fours, copied one by one to a tile of 32 columns that they fill to a third.
    cases.extend(convolution([2, 9, 10], 40, [4; 2], Window::new(2, 1), SHORT));
    cases
}

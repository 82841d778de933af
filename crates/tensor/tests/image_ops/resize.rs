use super::{adjoint, counting, device, draw, numbers, refused, values};
use belamy_tensor::Tensor;
use belamy_tensor::ops::resize::{
    resize_bilinear, resize_bilinear_fold, resize_nearest, resize_nearest_fold,
};

/// Image and size: integer factors, non-integer ones up and down, sides of 1 and primes.
const CASES: &[([usize; 4], [usize; 2])] = &[
    ([1, 1, 1, 1], [1, 1]),
    ([2, 4, 4, 3], [8, 8]),
    ([1, 5, 7, 33], [13, 11]),
    ([2, 13, 11, 3], [5, 7]),
    ([1, 1, 3, 2], [4, 1]),
    ([1, 7, 1, 2], [1, 5]),
    ([2, 2, 31, 1], [17, 3]),
    ([1, 3, 5, 2], [3, 5]),
];

#[test]
fn pairs_are_adjoint() {
    for &(dims, size) in CASES {
        let image = [dims[1], dims[2]];
        adjoint(|x| resize_nearest(x, size), |g| resize_nearest_fold(g, image), &dims);
        for align_corners in [false, true] {
            adjoint(
                |x| resize_bilinear(x, size, align_corners),
                |g| resize_bilinear_fold(g, image, align_corners),
                &dims,
            );
        }
    }
}

/// PyTorch's formula in floating point, along one side: the two pixels and the weight of the second.
fn source(out: usize, from: usize, to: usize, align_corners: bool) -> (usize, usize, f64) {
    let at = match (align_corners, to) {
        (true, 1) => 0.0,
        (true, _) => out as f64 * ((from - 1) as f64 / (to - 1) as f64),
        (false, _) => ((out as f64 + 0.5) * (from as f64 / to as f64) - 0.5).max(0.0),
    };
    let first = (at as usize).min(from - 1);
    (first, (first + 1).min(from - 1), at - first as f64)
}

#[test]
fn bilinear_is_the_formula() {
    for &(dims, size) in CASES {
        for align_corners in [false, true] {
            let x = draw(&dims, 1, &device());
            let (numbers, [n, h, w, c]) = (values(&x), dims);
            let pixel = |n: usize, ih: usize, iw: usize, c_at: usize| {
                numbers[((n * h + ih) * w + iw) * c + c_at]
            };
            let y = resize_bilinear(&x, size, align_corners).unwrap();
            assert_eq!(y.dims(), [n, size[0], size[1], c]);
            for (index, y) in values(&y).into_iter().enumerate() {
                let (c, ow) = (index % c, index / c % size[1]);
                let (oh, n) =
                    (index / dims[3] / size[1] % size[0], index / dims[3] / size[1] / size[0]);
                let (top, bottom, down) = source(oh, h, size[0], align_corners);
                let (left, right, across) = source(ow, w, size[1], align_corners);
                let row =
                    |ih| (1.0 - across) * pixel(n, ih, left, c) + across * pixel(n, ih, right, c);
                let expected = (1.0 - down) * row(top) + down * row(bottom);
                assert!((y - expected).abs() < 1e-12, "{dims:?} to {size:?} {align_corners}");
            }
        }
    }
}

#[test]
fn nearest_worked_by_hand() {
    let device = device();
    let row = |count, to| {
        let x = counting(&[1, 1, count, 1], &device);
        values(&resize_nearest(&x, [1, to]).unwrap())
    };
    assert_eq!(row(3, 6), [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]);
    assert_eq!(row(3, 5), [1.0, 1.0, 2.0, 2.0, 3.0]);
    assert_eq!(row(5, 3), [1.0, 2.0, 4.0]);
    assert_eq!(row(7, 1), [1.0]);
    let column = counting(&[1, 2, 1, 2], &device);
    let tall = resize_nearest(&column, [3, 1]).unwrap();
    assert_eq!(values(&tall), [1.0, 2.0, 1.0, 2.0, 3.0, 4.0]);
    let g = counting(&[1, 1, 5, 1], &device);
    assert_eq!(values(&resize_nearest_fold(&g, [1, 3]).unwrap()), [3.0, 7.0, 5.0]);
    let labels = Tensor::from_slice(&[3u32, 8], [1, 1, 2, 1], &device).unwrap();
    assert_eq!(resize_nearest(&labels, [1, 4]).unwrap().to_vec::<u32>().unwrap(), [3, 3, 8, 8]);
}

#[test]
fn bilinear_worked_by_hand() {
    let device = device();
    let x = numbers(&[0.0, 3.0, 9.0], &[1, 1, 3, 1], &device);
    let row = |to, align_corners| values(&resize_bilinear(&x, [1, to], align_corners).unwrap());
    // Sources 0 (clamped from −¼), ¼, ¾, 1¼, 1¾, 2¼ (beyond the last pixel).
    assert_eq!(row(6, false), [0.0, 0.75, 2.25, 4.5, 7.5, 9.0]);
    assert_eq!(row(5, true), [0.0, 1.5, 3.0, 6.0, 9.0]);
    assert_eq!(row(1, false), [3.0]);
    assert_eq!(row(1, true), [0.0]);
}

#[test]
fn wrong_calls_are_refused() {
    let device = device();
    let x = counting(&[1, 2, 2, 1], &device);
    refused(resize_nearest(&x, [0, 2]), "neither plane may be empty");
    refused(resize_bilinear(&x, [usize::MAX, 2], true), "below 2³¹");
    refused(resize_bilinear_fold(&x, [2, 0], true), "neither plane may be empty");
    refused(resize_nearest(&x.reshape([4]).unwrap(), [2, 2]), "[N, H, W, C]");
    let labels = Tensor::from_slice(&[1u32], [1, 1, 1, 1], &device).unwrap();
    refused(resize_bilinear(&labels, [2, 2], false), "floating-point");
}

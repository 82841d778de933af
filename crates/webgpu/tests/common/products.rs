//! Products to compare, and how far they are apart.

use belamy_tensor::ops::conv2d::{Window, conv2d, conv2d_grad_input, conv2d_grad_weight};
use belamy_tensor::ops::matmul::matmul;
use belamy_tensor::{DType, Device, Shape, Tensor};
use belamy_tests::values::Numbers;

/// Normally distributed numbers, the same on every device.
pub(crate) fn normal(shape: &[usize], device: &Device) -> Tensor {
    let values = Numbers::new("long sums", &format!("{shape:?}")).normals(shape.iter().product());
    Tensor::from_f64(&values, Shape::new(shape).unwrap(), DType::F32, device).unwrap()
}

/// The root of the mean squared error, in units of the last place of the root of the mean squared value.
pub(crate) fn rounding(got: &Tensor, want: &Tensor) -> f64 {
    let (got, want) = (got.to_f64().unwrap(), want.to_f64().unwrap());
    let error: f64 = got.iter().zip(&want).map(|(got, want)| (got - want).powi(2)).sum();
    let size: f64 = want.iter().map(|want| want.powi(2)).sum();
    (error / size).sqrt() / f64::from(f32::EPSILON)
}

/// Products of several tiles of every size, which end within a tile; `fours` says whether the extents are fours.
pub(crate) fn several_tiles(fours: bool, device: &Device) -> Vec<Tensor> {
    // Rows, columns, and depths enough to be split; channels in and out.
    let [m, n, k] = if fours { [196, 136, 520] } else { [195, 133, 517] };
    let [c, o] = if fours { [72, 136] } else { [71, 133] };
    let normal = |shape: &[usize]| normal(shape, device);
    let mut found = Vec::new();
    for (transpose_a, transpose_b) in [(false, false), (false, true), (true, false), (true, true)] {
        let a = normal(&if transpose_a { [k, m] } else { [m, k] });
        let b = normal(&if transpose_b { [n, k] } else { [k, n] });
        found.push(matmul(&a, &b, transpose_a, transpose_b).unwrap());
    }
    let window = Window::new(2, 1);
    let (x, w, g) = (normal(&[3, 15, 13, c]), normal(&[o, 3, 3, c]), normal(&[3, 8, 7, o]));
    found.push(conv2d(&x, &w, window).unwrap());
    found.push(conv2d_grad_input(&g, &w, [15, 13], window).unwrap());
    found.push(conv2d_grad_weight(&x, &g, [3, 3], window).unwrap());
    found
}

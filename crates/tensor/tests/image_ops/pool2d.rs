use super::{adjoint, counting, device, draw, numbers, refused, values};
use belamy_tensor::ops::conv2d::Window;
use belamy_tensor::ops::pool2d::{
    avg_pool2d, avg_pool2d_spread, max_pool2d, max_pool2d_pick, max_pool2d_place,
    max_pool2d_with_indices,
};
use belamy_tensor::{Graph, Tensor, grad};

/// Image, kernel, window: kernel < stride, overlaps, asymmetric padding, dilation, sides of 1 and primes, rows and
/// columns at the end that no window sees.
fn cases() -> Vec<([usize; 4], [usize; 2], Window)> {
    let asymmetric = Window { stride: (2, 3), padding: ((1, 0), (0, 2)), ..Window::default() };
    let dilated =
        Window { stride: (2, 1), dilation: (2, 3), padding: ((1, 2), (1, 0)), ..Window::default() };
    vec![
        ([1, 1, 1, 1], [1, 1], Window::default()),
        ([2, 8, 8, 3], [2, 2], Window::new(2, 0)),
        ([2, 7, 5, 3], [3, 3], Window::new(1, 1)),
        ([1, 11, 13, 2], [2, 1], Window::new(5, 0)),
        ([3, 7, 11, 33], [3, 4], asymmetric),
        ([2, 13, 11, 5], [3, 2], dilated),
        ([1, 5, 1, 70], [4, 1], Window { padding: ((2, 1), (0, 0)), ..Window::default() }),
    ]
}

#[test]
fn averages_and_their_adjoints() {
    for (dims, kernel, window) in cases() {
        for include in [true, false] {
            adjoint(
                |x| avg_pool2d(x, kernel, window, include),
                |g| avg_pool2d_spread(g, [dims[1], dims[2]], kernel, window, include),
                &dims,
            );
            let x = draw(&dims, 4, &device());
            let pooled = avg_pool2d(&x, kernel, window, include).unwrap();
            let expected = direct(&x, kernel, window, |taps, seen| {
                let count = if include { taps } else { seen.len() };
                seen.iter().map(|(_, x)| x).sum::<f64>() / count as f64
            });
            for (a, b) in values(&pooled).iter().zip(expected) {
                assert!((a - b).abs() < 1e-14, "{dims:?} {kernel:?} {window:?}");
            }
        }
    }
}

#[test]
fn maxima_and_their_adjoints() {
    for (dims, kernel, window) in cases() {
        let x = draw(&dims, 4, &device()).tracked();
        let (pooled, index) = max_pool2d_with_indices(&x, kernel, window).unwrap();
        let largest = |seen: &[(usize, f64)]| {
            seen.iter()
                .copied()
                .reduce(|best, next| if next.1 > best.1 { next } else { best })
                .unwrap()
        };
        assert_eq!(values(&pooled), direct(&x, kernel, window, |_, seen| largest(seen).1));
        let expected = direct(&x, kernel, window, |_, seen| largest(seen).0 as f64);
        assert_eq!(index.to_f64().unwrap(), expected);

        let image = [dims[1], dims[2]];
        adjoint(
            |x| max_pool2d_pick(x, &index, kernel, window),
            |g| max_pool2d_place(g, &index, image, kernel, window),
            &dims,
        );
        let g = draw(pooled.dims(), 5, &device()).tracked();
        let first = grad(&pooled, Some(&g), &[&x], Graph::Keep).unwrap().remove(0).unwrap();
        let placed = max_pool2d_place(&g, &index, image, kernel, window).unwrap();
        assert_eq!(values(&first), values(&placed));
        let h = draw(&dims, 6, &device());
        let second = grad(&first, Some(&h), &[&g], Graph::Drop).unwrap().remove(0).unwrap();
        assert_eq!(values(&second), values(&max_pool2d_pick(&h, &index, kernel, window).unwrap()));
    }
}

#[test]
fn place_and_pick_agree_on_indices_outside_their_windows() {
    let (dims, kernel, window) =
        ([2, 5, 7, 3], [2, 3], Window { stride: (2, 1), dilation: (2, 1), ..Window::default() });
    let device = device();
    let pooled = max_pool2d(&draw(&dims, 1, &device), kernel, window).unwrap();
    let count = pooled.shape().elements();
    let indices: Vec<u32> = (0..count as u32).map(|k| k.wrapping_mul(2_654_435_761) % 40).collect();
    let index = Tensor::from_slice(&indices, pooled.shape(), &device).unwrap();
    adjoint(
        |x| max_pool2d_pick(x, &index, kernel, window),
        |g| max_pool2d_place(g, &index, [5, 7], kernel, window),
        &dims,
    );
}

#[test]
fn maxima_worked_by_hand() {
    let device = device();
    let max = |x: &[f64], kernel, window| {
        let x = numbers(x, &[1, 1, x.len(), 1], &device);
        let (pooled, index) = max_pool2d_with_indices(&x, kernel, window).unwrap();
        (values(&pooled), index.to_vec::<u32>().unwrap())
    };
    let three = Window { padding: ((0, 0), (1, 1)), ..Window::default() };
    // Padding's zeros would win over these.
    assert_eq!(max(&[-3.0, -2.0, -1.0], [1, 3], three), (vec![-2.0, -1.0, -1.0], vec![1, 2, 2]));
    // The first of equals.
    assert_eq!(max(&[5.0, 5.0, 5.0], [1, 3], three), (vec![5.0; 3], vec![0, 0, 1]));
    let infinite = f64::NEG_INFINITY;
    assert_eq!(max(&[infinite, infinite], [1, 2], Window::default()), (vec![infinite], vec![0]));
    // The first NaN wins, wherever it stands.
    for (x, at) in
        [([f64::NAN, 9.0, 1.0], 0), ([9.0, f64::NAN, 1.0], 1), ([9.0, f64::NAN, f64::NAN], 1)]
    {
        let (pooled, index) = max(&x, [1, 3], Window::default());
        assert!(pooled[0].is_nan() && index == [at], "{x:?}");
    }
    // Overlapping windows that choose one pixel add their cotangents.
    let x = numbers(&[0.0, 7.0, 0.0], &[1, 1, 3, 1], &device).tracked();
    let y = max_pool2d(&x, [1, 2], Window::default()).unwrap();
    let g = numbers(&[10.0, 100.0], &[1, 1, 2, 1], &device);
    let first = grad(&y, Some(&g), &[&x], Graph::Drop).unwrap().remove(0).unwrap();
    assert_eq!(values(&first), [0.0, 110.0, 0.0]);
}

#[test]
fn averages_worked_by_hand() {
    let device = device();
    let x = counting(&[1, 2, 2, 1], &device);
    let window = Window { padding: ((1, 0), (1, 0)), ..Window::default() };
    let mean = |include| values(&avg_pool2d(&x, [2, 2], window, include).unwrap());
    assert_eq!(mean(true), [0.25, 0.75, 1.0, 2.5]);
    assert_eq!(mean(false), [1.0, 1.5, 2.0, 2.5]);
}

#[test]
fn wrong_calls_are_refused() {
    let device = device();
    let x = counting(&[1, 4, 4, 1], &device);
    let pool = |kernel, window| max_pool2d(&x, kernel, window);
    refused(pool([5, 1], Window::default()), "reaches beyond the padded image");
    refused(pool([2, 2], Window::new(2, 2)), "padding only");
    refused(avg_pool2d(&x, [2, 2], Window::new(2, 2), false), "padding only");
    assert_eq!(values(&avg_pool2d(&x, [2, 2], Window::new(2, 2), true).unwrap())[0], 0.0);
    // Both taps of a dilated window fall beside the only pixel.
    let astride = Window { padding: ((1, 1), (0, 0)), dilation: (2, 1), ..Window::default() };
    refused(max_pool2d(&counting(&[1, 1, 1, 1], &device), [2, 1], astride), "padding only");
    refused(pool([0, 2], Window::default()), "at least 1");
    refused(pool([2, 2], Window { stride: (0, 1), ..Window::default() }), "at least 1");
    refused(pool([2, 2], Window { groups: 4, ..Window::default() }), "groups must be 1");
    refused(pool([1, 1], Window { dilation: (usize::MAX, 1), ..Window::default() }), "at least 1");
    refused(
        pool([1, 1], Window { padding: ((usize::MAX, 1), (0, 0)), ..Window::default() }),
        "reaches",
    );
    refused(max_pool2d(&x.reshape([4, 4]).unwrap(), [2, 2], Window::default()), "[N, H, W, C]");
    refused(avg_pool2d_spread(&x, [7, 9], [2, 2], Window::new(2, 0), true), "gives [1, 3, 4, 1]");
    let index = Tensor::from_slice(&[0u32; 4], [1, 2, 2, 1], &device).unwrap();
    refused(max_pool2d_pick(&x, &index, [2, 2], Window::default()), "one index for each");
    refused(max_pool2d_place(&x, &x, [8, 8], [2, 2], Window::new(2, 0)), "u32");
}

/// The definition, tap by tap: what `reduce` makes of the number of taps and of those inside, as (position, value).
fn direct(
    x: &Tensor,
    kernel: [usize; 2],
    window: Window,
    reduce: impl Fn(usize, &[(usize, f64)]) -> f64,
) -> Vec<f64> {
    let &[n, h, w, c] = x.dims() else { unreachable!() };
    let [oh, ow] = window.output(&[h, w], &kernel).unwrap();
    let numbers = values(x);
    let mut result = Vec::new();
    for index in 0..n * oh * ow * c {
        let (c_at, ow_at, oh_at, n_at) =
            (index % c, index / c % ow, index / c / ow % oh, index / c / ow / oh);
        let mut seen = Vec::new();
        for kh in 0..kernel[0] {
            for kw in 0..kernel[1] {
                let ih = (oh_at * window.stride.0 + kh * window.dilation.0) as i64
                    - window.padding.0.0 as i64;
                let iw = (ow_at * window.stride.1 + kw * window.dilation.1) as i64
                    - window.padding.1.0 as i64;
                if (0..h as i64).contains(&ih) && (0..w as i64).contains(&iw) {
                    let at = ih as usize * w + iw as usize;
                    seen.push((at, numbers[(n_at * h * w + at) * c + c_at]));
                }
            }
        }
        result.push(reduce(kernel[0] * kernel[1], &seen));
    }
    result
}

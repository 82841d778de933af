//! Laws of shapes and windows, for shapes drawn at random.

use belamy_tensor::ops::conv2d::Window;
use belamy_tensor::{MAX_RANK, Shape};
use proptest::prelude::*;

fn dims() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(
        prop_oneof![3 => 1usize..6, 1 => Just(1usize), 1 => 0usize..2],
        0..=MAX_RANK,
    )
}

fn shape(dims: &[usize]) -> Shape {
    Shape::new(dims).unwrap()
}

/// A window that is valid, an image and a kernel: sides that fit or not.
fn windows() -> impl Strategy<Value = (Window, [usize; 2], [usize; 2])> {
    let two = |range: std::ops::Range<usize>| (range.clone(), range);
    let window = (two(1..5), (two(0..4), two(0..4)), two(1..4));
    (window, prop::array::uniform2(1usize..17), prop::array::uniform2(1usize..6)).prop_map(
        |((stride, padding, dilation), image, kernel)| {
            (Window { stride, padding, dilation, groups: 1 }, image, kernel)
        },
    )
}

/// NumPy's rule, by strings of extents read from the right.
fn stretched(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |dims: &[usize], from_right: usize| {
        if from_right < dims.len() { dims[dims.len() - 1 - from_right] } else { 1 }
    };
    let mut result = Vec::new();
    for from_right in (0..rank).rev() {
        match (at(a, from_right), at(b, from_right)) {
            (x, y) if x == y => result.push(x),
            (1, y) => result.push(y),
            (x, 1) => result.push(x),
            _ => return None,
        }
    }
    Some(result)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn broadcasting_is_numpys_rule(a in dims(), b in dims()) {
        let got = shape(&a).broadcast(&shape(&b));
        prop_assert_eq!(got.map(|shape| shape.dims().to_vec()), stretched(&a, &b));
        prop_assert_eq!(got, shape(&b).broadcast(&shape(&a)));
    }

    #[test]
    fn a_shape_broadcasts_with_itself_and_with_a_scalar_to_itself(a in dims()) {
        let a = shape(&a);
        prop_assert_eq!(a.broadcast(&a), Some(a));
        prop_assert_eq!(a.broadcast(&Shape::SCALAR), Some(a));
    }

    #[test]
    fn broadcasting_is_associative(a in dims(), b in dims(), c in dims()) {
        let [a, b, c] = [a, b, c].map(|dims| shape(&dims));
        let left = a.broadcast(&b).and_then(|ab| ab.broadcast(&c));
        let right = b.broadcast(&c).and_then(|bc| a.broadcast(&bc));
        prop_assert_eq!(left, right);
    }

    #[test]
    fn strides_address_every_element_once(a in prop::collection::vec(1usize..5, 0..=MAX_RANK)) {
        let shape = shape(&a);
        let strides = shape.strides();
        let mut seen = vec![false; shape.elements()];
        let mut at = vec![0; a.len()];
        loop {
            let place: usize = at.iter().zip(strides).map(|(at, stride)| at * stride).sum();
            prop_assert!(!std::mem::replace(&mut seen[place], true));
            let Some(axis) = (0..a.len()).rev().find(|&axis| at[axis] + 1 < a[axis]) else { break };
            at[axis] += 1;
            at[axis + 1..].fill(0);
        }
        prop_assert!(seen.into_iter().all(|hit| hit));
    }

    #[test]
    fn padding_to_six_axes_keeps_the_elements(a in dims()) {
        let padded = shape(&a).padded();
        prop_assert_eq!(padded.iter().product::<usize>(), shape(&a).elements());
        prop_assert_eq!(&padded[MAX_RANK - a.len()..], &a[..]);
    }

    #[test]
    fn a_window_has_as_many_outputs_as_places((window, image, kernel) in windows()) {
        let side = |image: usize, kernel: usize, stride: usize, padding: (usize, usize), dilation: usize| {
            let padded = image + padding.0 + padding.1;
            (0..padded).step_by(stride).filter(|at| at + (kernel - 1) * dilation < padded).count()
        };
        let want = [
            side(image[0], kernel[0], window.stride.0, window.padding.0, window.dilation.0),
            side(image[1], kernel[1], window.stride.1, window.padding.1, window.dilation.1),
        ];
        let fits = want[0] > 0 && want[1] > 0;
        prop_assert_eq!(window.output(&image, &kernel), fits.then_some(want));
    }

    #[test]
    fn a_transposed_window_leads_back((window, image, kernel) in windows()) {
        let Some(output) = window.output(&image, &kernel) else { return Ok(()) };
        // What the division by the stride cut off is what output padding restores.
        let lost = |image: usize, kernel: usize, stride: usize, padding: (usize, usize), dilation: usize| {
            (image + padding.0 + padding.1 - (kernel - 1) * dilation - 1) % stride
        };
        let extra = (
            lost(image[0], kernel[0], window.stride.0, window.padding.0, window.dilation.0),
            lost(image[1], kernel[1], window.stride.1, window.padding.1, window.dilation.1),
        );
        prop_assert_eq!(window.transposed_output(&output, &kernel, extra), Some(image));
    }

    #[test]
    fn a_transposed_output_is_convolved_back(
        (window, input, kernel) in windows(),
        extra in (0usize..4, 0usize..4),
    ) {
        let extra = (extra.0 % window.stride.0, extra.1 % window.stride.1);
        if let Some(image) = window.transposed_output(&input, &kernel, extra) {
            prop_assert_eq!(window.output(&image, &kernel), Some(input));
        }
    }

    #[test]
    fn same_padding_is_keras(
        stride in 1usize..5,
        image in prop::array::uniform2(1usize..33),
        kernel in prop::array::uniform2(1usize..8),
    ) {
        let window = Window::same(stride, image, kernel);
        prop_assert_eq!(window.output(&image, &kernel), Some(image.map(|side| side.div_ceil(stride))));
        for (axis, (before, after)) in [window.padding.0, window.padding.1].into_iter().enumerate() {
            prop_assert!(after == before || after == before + 1);
            // TensorFlow's formula.
            let rest = image[axis] % stride;
            let total = kernel[axis].saturating_sub(if rest == 0 { stride } else { rest });
            prop_assert_eq!(before + after, total);
        }
    }
}

#[test]
fn kerass_spare_zero_goes_below_and_to_the_right() {
    let window = Window::same(2, [28, 14], [5, 5]);
    assert_eq!(window.padding, ((1, 2), (1, 2)));
}

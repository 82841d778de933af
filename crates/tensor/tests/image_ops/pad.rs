use super::{adjoint, counting, device, refused, values};
use belamy_tensor::Tensor;
use belamy_tensor::ops::pad::reflect_pad_fold;

#[test]
fn pad_and_crop_are_adjoint() {
    let cases: &[(&[usize], &[usize], &[usize])] = &[
        (&[], &[], &[]),
        (&[5], &[2], &[3]),
        (&[2, 3], &[0, 0], &[0, 0]),
        (&[2, 7, 5, 3], &[0, 1, 0, 0], &[0, 0, 2, 0]),
        (&[1, 3, 1, 2], &[1, 0, 4, 2], &[0, 5, 0, 1]),
        (&[2, 1, 3, 1, 2, 3], &[1, 2, 0, 3, 1, 0], &[0, 1, 2, 0, 1, 2]),
        (&[0, 3], &[2, 0], &[0, 1]),
    ];
    for (dims, before, after) in cases {
        adjoint(|x| x.pad(before, after), |g| g.crop(before, dims), dims);
        let large: Vec<usize> =
            (0..dims.len()).map(|axis| before[axis] + dims[axis] + after[axis]).collect();
        adjoint(|g| g.crop(before, dims), |x| x.pad(before, after), &large);
    }
}

#[test]
fn pad_and_crop_worked_by_hand() {
    let device = device();
    let x = counting(&[2, 2], &device);
    assert_eq!(
        values(&x.pad(&[1, 0], &[0, 1]).unwrap()),
        [0.0, 0.0, 0.0, 1.0, 2.0, 0.0, 3.0, 4.0, 0.0]
    );
    let x = counting(&[2, 3, 2], &device);
    assert_eq!(values(&x.crop(&[0, 1, 0], &[2, 1, 2]).unwrap()), [3.0, 4.0, 9.0, 10.0]);
    assert_eq!(values(&x.slice(1, 2, 1).unwrap()), [5.0, 6.0, 11.0, 12.0]);
    assert_eq!(values(&x.slice(2, 1, 1).unwrap()), [2.0, 4.0, 6.0, 8.0, 10.0, 12.0]);
    assert_eq!(x.slice(0, 2, 0).unwrap().dims(), [0, 3, 2]);
    let labels = Tensor::from_slice(&[7u32], [1], &device).unwrap();
    assert_eq!(labels.pad(&[1], &[1]).unwrap().to_vec::<u32>().unwrap(), [0, 7, 0]);
}

#[test]
fn reflection_and_its_adjoint() {
    let cases = [
        ([1, 1, 1, 1], ((0, 0), (0, 0))),
        ([2, 5, 7, 3], ((1, 1), (3, 3))),
        ([1, 2, 3, 33], ((1, 0), (0, 2))),
        ([1, 4, 1, 2], ((3, 3), (0, 0))),
        ([2, 3, 2, 1], ((2, 1), (1, 1))),
    ];
    for (dims, border) in cases {
        adjoint(|x| x.reflect_pad2d(border), |g| reflect_pad_fold(g, border), &dims);
        let ((top, bottom), (left, right)) = border;
        let large = [dims[0], dims[1] + top + bottom, dims[2] + left + right, dims[3]];
        adjoint(|g| reflect_pad_fold(g, border), |x| x.reflect_pad2d(border), &large);
    }
}

#[test]
fn reflection_worked_by_hand() {
    let device = device();
    let x = counting(&[1, 2, 3, 1], &device);
    assert_eq!(
        values(&x.reflect_pad2d(((1, 0), (2, 1))).unwrap()),
        [6.0, 5.0, 4.0, 5.0, 6.0, 5.0, 3.0, 2.0, 1.0, 2.0, 3.0, 2.0, 6.0, 5.0, 4.0, 5.0, 6.0, 5.0]
    );
    // [a b c d e f] shows pixels 2 1 0 1 2 1.
    let g = counting(&[1, 1, 6, 1], &device);
    let folded = reflect_pad_fold(&g, ((0, 0), (2, 1))).unwrap();
    assert_eq!(values(&folded), [3.0, 2.0 + 4.0 + 6.0, 1.0 + 5.0]);
}

#[test]
fn wrong_calls_are_refused() {
    let x = counting(&[1, 2, 3, 1], &device());
    refused(x.pad(&[1], &[1]), "one number for each axis");
    refused(x.pad(&[usize::MAX, 0, 0, 0], &[0; 4]), "too much");
    refused(x.pad(&[1 << 20, 1 << 20, 0, 0], &[0; 4]), "no shape");
    refused(x.crop(&[0; 4], &[1, 2, 4, 1]), "reaches beyond");
    refused(x.crop(&[0, usize::MAX, 0, 0], &[1; 4]), "reaches beyond");
    refused(x.crop(&[0; 5], &[1; 5]), "one number for each axis");
    refused(x.slice(4, 0, 1), "no axis 4");
    refused(x.slice(2, 2, 2), "reaches beyond");
    refused(x.reflect_pad2d(((2, 0), (0, 0))), "narrower than the image");
    refused(x.reshape([6]).unwrap().reflect_pad2d(((0, 0), (0, 0))), "[N, H, W, C]");
    refused(reflect_pad_fold(&x, ((1, 0), (0, 0))), "leaves no image");
}

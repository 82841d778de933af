use super::{adjoint, counting, device, refused, values};
use belamy_tensor::ops::pixel_shuffle::{pixel_shuffle, pixel_unshuffle};

#[test]
fn the_two_are_inverse_and_adjoint() {
    for (dims, factor) in
        [([1, 1, 1, 1], 1), ([2, 3, 5, 12], 2), ([1, 2, 1, 45], 3), ([0, 2, 2, 4], 2)]
    {
        adjoint(|x| pixel_shuffle(x, factor), |g| pixel_unshuffle(g, factor), &dims);
        let x = counting(&dims, &device());
        let y = pixel_shuffle(&x, factor).unwrap();
        assert_eq!(values(&pixel_unshuffle(&y, factor).unwrap()), values(&x));
    }
}

#[test]
fn worked_by_hand() {
    // One pixel, channels (c, i, j) = 1..8: output channel 0 holds 1 2 / 3 4, channel 1 holds 5 6 / 7 8.
    let y = pixel_shuffle(&counting(&[1, 1, 1, 8], &device()), 2).unwrap();
    assert_eq!(y.dims(), [1, 2, 2, 2]);
    assert_eq!(values(&y), [1.0, 5.0, 2.0, 6.0, 3.0, 7.0, 4.0, 8.0]);
    // Two pixels side by side: their squares lie side by side.
    let y = pixel_shuffle(&counting(&[1, 1, 2, 4], &device()), 2).unwrap();
    assert_eq!(values(&y), [1.0, 2.0, 5.0, 6.0, 3.0, 4.0, 7.0, 8.0]);
}

#[test]
fn wrong_calls_are_refused() {
    let x = counting(&[1, 2, 3, 4], &device());
    refused(pixel_shuffle(&x, 3), "must divide the channels");
    refused(pixel_shuffle(&x, 0), "must divide the channels");
    refused(pixel_shuffle(&x, usize::MAX), "must divide the channels");
    refused(pixel_unshuffle(&x, 2), "must divide both sides");
    refused(pixel_unshuffle(&x, 0), "must divide both sides");
    refused(pixel_shuffle(&x.reshape([24]).unwrap(), 1), "an image");
}

//! Against the oracle, on every way a tile can lie; and how much accuracy is given up, on the layers of a DCGAN.

use crate::{cpu, direct, oracle};
use belamy_tensor::ops::conv2d::{Window, conv2d, conv2d_grad_input, conv2d_grad_weight};
use belamy_tensor::ops::random::{RandomKey, counter, normal};
use belamy_tensor::{DType, Device, Result, Tensor};

/// A convolution: batch, image, channels in and out, kernel, window.
struct Shape {
    batch: usize,
    image: [usize; 2],
    channels: [usize; 2],
    kernel: usize,
    window: Window,
}

impl Shape {
    fn outputs(&self) -> [usize; 2] {
        self.window.output(&self.image, &[self.kernel; 2]).unwrap()
    }
}

/// The same numbers on any device.
fn randoms(dims: [usize; 4], mean: f64, stream: u32, device: &Device) -> Tensor {
    let start = counter(0, 0, device).unwrap();
    let key = RandomKey { seed: 3, stream };
    normal([dims.iter().product()], mean, 1.0, DType::F32, key, &start)
        .and_then(|values| values.reshape(dims))
        .unwrap()
}

/// The three passes of a shape on a device; `mean` of what is convolved.
fn passes(shape: &Shape, mean: f64, device: &Device) -> Result<[Vec<f64>; 3]> {
    let Shape { batch, image: [h, w], channels: [c, o], kernel, window } = *shape;
    let [oh, ow] = shape.outputs();
    let x = randoms([batch, h, w, c], mean, 0, device);
    let weight = randoms([o, kernel, kernel, c], 0.0, 1, device);
    let g = randoms([batch, oh, ow, o], mean, 2, device);
    Ok([
        conv2d(&x, &weight, window)?.to_f64()?,
        conv2d_grad_input(&g, &weight, [h, w], window)?.to_f64()?,
        conv2d_grad_weight(&x, &g, [kernel; 2], window)?.to_f64()?,
    ])
}

/// ‖got − want‖ / ‖want‖.
fn relative_error(got: &[f64], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let error = norm(&mut got.iter().zip(want).map(|(got, want)| got - want));
    error / norm(&mut want.iter().copied())
}

const PASSES: [&str; 3] = ["conv2d", "conv2d_grad_input", "conv2d_grad_weight"];

#[test]
fn every_lie_of_the_tiles_agrees_with_the_oracle() {
    let shape =
        |batch, image, channels, kernel, window| Shape { batch, image, channels, kernel, window };
    let uneven = Window { padding: ((1, 2), (0, 1)), ..Window::new(2, 0) };
    let shapes = [
        // DCGAN's, with more tiles than are multiplied at a time; tiles that reach beyond; two blocks of depth.
        shape(4, [32, 32], [32, 48], 4, Window::new(2, 1)),
        shape(3, [14, 22], [48, 32], 4, Window::new(2, 1)),
        shape(4, [13, 17], [80, 32], 4, uneven),
        shape(17, [8, 8], [96, 32], 4, Window::new(2, 1)),
        // Three taps: stride 1 (CycleGAN, SRGAN), and 5 × 5 at stride 2 (mnist-dcgan), whose phases are uneven.
        shape(2, [16, 13], [32, 48], 3, Window::new(1, 1)),
        shape(2, [12, 12], [48, 32], 3, Window::new(1, 0)),
        shape(5, [14, 14], [32, 64], 5, Window::same(2, [14, 14], [5, 5])),
        shape(3, [27, 28], [64, 32], 5, Window::new(2, 2)),
        // Five taps at stride 1 (mnist-dcgan), over even and odd sides.
        shape(5, [7, 7], [32, 48], 5, Window::new(1, 2)),
        shape(4, [7, 7], [160, 32], 5, Window::new(1, 2)),
        shape(3, [12, 9], [48, 32], 5, Window::new(1, 1)),
        // Enough tiles that cotangents are transformed a part at a time.
        shape(48, [14, 14], [32, 32], 5, Window::new(1, 2)),
        // Two taps at stride 1.
        shape(2, [12, 12], [32, 32], 2, Window::new(1, 0)),
    ];
    for (index, shape) in shapes.iter().enumerate() {
        let want = passes(shape, 0.0, &oracle()).unwrap();
        let got = passes(shape, 0.0, &cpu()).unwrap();
        let without = passes(shape, 0.0, &direct()).unwrap();
        for (pass, name) in PASSES.iter().enumerate() {
            let error = relative_error(&got[pass], &want[pass]);
            assert!(error < 5e-6, "{name} of shape {index}: {error:e}");
            assert!(got[pass] != without[pass], "{name} of shape {index} went the direct way");
        }
    }
}

#[test]
fn what_is_computed_directly_stays_so() {
    let direct_ones = [
        (3, 48, 4, Window::new(2, 1), [16, 16]),  // few channels
        (40, 32, 4, Window::new(2, 1), [16, 16]), // not whole vectors
        (32, 32, 4, Window::new(1, 1), [16, 16]), // four taps
        (32, 32, 3, Window::new(2, 1), [16, 16]), // saves too little
        (32, 32, 4, Window::new(2, 1), [4, 4]),   // tiles mostly beyond the image
        (32, 32, 4, Window::new(2, 1), [8, 8]),   // few tiles
        (32, 32, 3, Window { dilation: (2, 2), ..Window::new(1, 2) }, [16, 16]),
    ];
    for (c, o, kernel, window, image) in direct_ones {
        let shape = Shape { batch: 8, image, channels: [c, o], kernel, window };
        assert_eq!(passes(&shape, 0.0, &cpu()).unwrap(), passes(&shape, 0.0, &direct()).unwrap());
    }
}

#[test]
fn at_most_five_millionths_are_given_up() {
    // The layers of dcgan64, a ResNet block of CycleGAN and a layer of mnist-dcgan, their inputs as after a rectifier:
    // of a mean of half their deviation.
    let dcgan = |side, c, o| Shape {
        batch: 128 / side,
        image: [side, side],
        channels: [c, o],
        kernel: 4,
        window: Window::new(2, 1),
    };
    let layers = [
        dcgan(32, 64, 128),
        dcgan(16, 128, 256),
        dcgan(8, 256, 512),
        Shape {
            batch: 1,
            image: [32, 32],
            channels: [256, 256],
            kernel: 3,
            window: Window::new(1, 1),
        },
        Shape {
            batch: 4,
            image: [14, 14],
            channels: [64, 128],
            kernel: 5,
            window: Window::same(2, [14, 14], [5, 5]),
        },
        Shape {
            batch: 4,
            image: [7, 7],
            channels: [128, 256],
            kernel: 5,
            window: Window::new(1, 2),
        },
    ];
    for layer in &layers {
        for mean in [0.0, 0.5] {
            // In f64 the direct way is as good as exact.
            let want = passes(layer, mean, &oracle()).unwrap();
            let got = passes(layer, mean, &cpu()).unwrap();
            let without = passes(layer, mean, &direct()).unwrap();
            for (pass, name) in PASSES.iter().enumerate() {
                let error = relative_error(&got[pass], &want[pass]);
                let plain = relative_error(&without[pass], &want[pass]);
                let of = layer.channels;
                assert!(error <= 5e-6, "{name} {of:?}, mean {mean}: {error:e}, direct {plain:e}");
                assert!(plain <= 1e-6, "{name} {of:?}, mean {mean}: direct {plain:e}");
                assert!(got[pass] != without[pass], "{name} {of:?} went the direct way");
            }
        }
    }
}

#[test]
fn jobs_are_equal_shares_of_whole_tiles_at_a_time() {
    use super::correlation::images_at_a_time;
    let jobs = |images, together, threads| -> Vec<std::ops::Range<usize>> {
        super::correlation::jobs(images, together, threads).collect()
    };
    // 16 tiles an image: three make 24 twice. 4: six. 64: three. 49: three leave the least.
    for (tiles, images) in [(16, 3), (4, 6), (64, 3), (49, 3), (1, 24), (24, 1), (100, 3)] {
        assert_eq!(images_at_a_time(tiles, 24), images, "{tiles} tiles");
    }
    assert_eq!(jobs(11, 3, 2), [0..3, 3..5, 5..8, 8..11]);
    assert_eq!(jobs(2, 3, 4), [0..1, 1..2]);
    for (images, together, threads) in [(64, 6, 2), (64, 3, 3), (7, 2, 16), (1, 5, 2), (0, 1, 2)] {
        let jobs = jobs(images, together, threads);
        assert!(jobs.iter().all(|job| !job.is_empty() && job.len() <= together));
        assert!(jobs.iter().flat_map(Clone::clone).eq(0..images));
    }
}

#[test]
fn bits_do_not_depend_on_threads_or_on_the_batch() {
    let shape = |batch| Shape {
        batch,
        image: [16, 16],
        channels: [32, 32],
        kernel: 4,
        window: Window::new(2, 1),
    };
    let run = |threads: usize, batch: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| passes(&shape(batch), 0.0, &cpu()).unwrap())
    };
    let one = run(1, 24);
    for threads in [2, 3, 5] {
        assert_eq!(run(threads, 24), one);
    }
    let part = run(2, 5);
    assert_eq!(part[0], one[0][..part[0].len()]);
    assert_eq!(part[1], one[1][..part[1].len()]);
}

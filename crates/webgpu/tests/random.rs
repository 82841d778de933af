//! Random numbers on the WebGPU device are the oracle's, bit for bit: whatever the shape, the key, the step and the
//! sample that a batch begins with. Normal numbers agree to rounding.

mod common;

use belamy_tensor::ops::dropout::dropout;
use belamy_tensor::ops::random::{
    RandomKey, Shuffle, bernoulli, counter, integers, normal, shuffled_indices, uniform,
};
use belamy_tensor::philox::{self, Draws};
use belamy_tensor::{DType, Device, Result, Shape, Tensor};
use belamy_webgpu::Options;
use common::open;

/// Scalars, short samples, whole and broken blocks, several workgroups, and nothing at all.
const SHAPES: [&[usize]; 10] = [
    &[],
    &[9],
    &[0, 3],
    &[3, 0],
    &[5, 7],
    &[3, 4],
    &[2, 3, 2, 3],
    &[1100, 1],
    &[67, 303],
    &[1, 20_002],
];

const KEYS: [RandomKey; 3] = [
    RandomKey { seed: 0, stream: 0 },
    RandomKey { seed: 0xfeed_beef_0bad_cafe, stream: 9 },
    RandomKey { seed: u64::MAX, stream: u32::MAX },
];

/// Steps and first samples. The last runs over the end of the samples' numbers.
const COUNTERS: [[u32; 2]; 5] =
    [[0, 0], [1, 61], [65_536, 65_537], [0x8000_0001, 0x8000_0000], [u32::MAX, u32::MAX - 2]];

/// The device between canaries and the one with checks, or none, where this machine has no adapter; what is drawn is
/// said by name then.
fn devices(name: &str) -> Vec<Device> {
    let options = [
        Options { canaries: true, most_groups: Some(3), ..Options::default() },
        Options { checked: true, ..Options::default() },
    ];
    let tested = format!("random {name}");
    let opened = options.into_iter().map_while(|options| open(&tested, options));
    opened.map(|(device, _)| device).collect()
}

/// The bits of what is drawn, f32 or u32.
fn bits(drawn: Result<Tensor>) -> Vec<u32> {
    let drawn = drawn.unwrap();
    match drawn.dtype() {
        DType::U32 => drawn.to_vec::<u32>().unwrap(),
        _ => drawn.to_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect(),
    }
}

/// Draws on each device and on the oracle, for every shape, key and counter.
fn compare(name: &str, draw: impl Fn(Shape, RandomKey, &Tensor) -> Result<Tensor>) {
    let oracle = belamy_cpu::oracle();
    let (kind, _) = name.split_once(' ').unwrap_or((name, ""));
    for device in devices(kind) {
        for dims in SHAPES {
            let shape = Shape::new(dims).unwrap();
            for key in KEYS {
                for [step, first_sample] in COUNTERS {
                    let at = |device| counter(step, first_sample, device).unwrap();
                    let found = bits(draw(shape, key, &at(&device)));
                    let wanted = bits(draw(shape, key, &at(&oracle)));
                    let place = format!("{name} {dims:?} {key:?} step {step} from {first_sample}");
                    assert_eq!(found.len(), shape.elements(), "{place}");
                    assert!(found == wanted, "{place}");
                }
            }
        }
    }
}

const BOUNDS: [[f64; 2]; 6] =
    [[0.0, 1.0], [-1.5, 2.0], [0.1, 0.3], [-0.05, 0.05], [-1e-3, 1e6], [3.0, 3.0]];

#[test]
fn uniforms_are_the_oracles() {
    for [low, high] in BOUNDS {
        compare(&format!("uniform {low}..{high}"), |shape, key, counter| {
            uniform(shape, low, high, DType::F32, key, counter)
        });
    }
}

#[test]
fn the_bounds_would_tell_a_fused_multiply_add() {
    // Else the test above could not see it.
    let draws = Draws { seed: KEYS[1].seed, stream: KEYS[1].stream, step: 0 };
    let fused = |[low, high]: [f64; 2]| {
        (0..1000).any(|index| {
            let u = philox::uniform(draws.word(0, index)) as f32;
            let (low, range) = (low as f32, (high - low) as f32);
            range.mul_add(u, low) != low + range * u
        })
    };
    assert!(BOUNDS.into_iter().filter(|&bounds| fused(bounds)).count() >= 3);
}

#[test]
fn integers_are_the_oracles() {
    for bound in [1, 10, 1000, (1 << 31) + 1, u32::MAX] {
        compare(&format!("integers below {bound}"), |shape, key, counter| {
            integers(shape, bound, key, counter)
        });
    }
}

#[test]
fn flips_are_the_oracles() {
    // The neighbours of a multiple of 2⁻²⁴ are where a threshold in f32 would err.
    let step = 1.0 / f64::from(1 << 24);
    for p in [0.0, 1.0, 0.375, 1.0 / 3.0, 1e-9, 1.0 - 1e-9, 0.5 + 0.25 * step, 0.5 - 0.25 * step] {
        compare(&format!("bernoulli {p}"), |shape, key, counter| {
            bernoulli(shape, p, DType::F32, key, counter)
        });
    }
}

#[test]
fn dropout_is_the_oracles() {
    for rate in [0.0, 0.5, 0.3, 0.999] {
        compare(&format!("dropout {rate}"), |shape, key, counter| {
            let values: Vec<f32> = (0..shape.elements()).map(|i| (i as f32 * 0.7).sin()).collect();
            let x = Tensor::from_slice(&values, shape, counter.device())?;
            dropout(&x, rate, key, counter)
        });
    }
}

#[test]
fn orders_are_the_oracles() {
    let oracle = belamy_cpu::oracle();
    let counts = [
        1,
        2,
        3,
        4,
        5,
        16,
        17,
        1000,
        60_000,
        65_537,
        1 << 31,
        (1 << 31) + 1,
        u32::MAX - 1,
        u32::MAX,
    ];
    // Batch, global batch, draw, draws: from a small data set's to where positions need all of 64 bits, and more.
    let batches = [
        (13, 13, 0, 1),
        (300, 700, 1, 3),
        (64, 1 << 20, 65_535, 65_536),
        (7, u32::MAX, u32::MAX - 1, u32::MAX),
    ];
    for device in devices("orders") {
        for count in counts {
            for (batch, global_batch, draw, draws) in batches {
                for (key, [step, first_sample]) in KEYS.into_iter().cycle().zip(COUNTERS) {
                    let shuffle = Shuffle { count, global_batch, draw, draws };
                    let drawn = |device| {
                        let at = counter(step, first_sample, device).unwrap();
                        bits(shuffled_indices(batch, shuffle, key, &at))
                    };
                    let place = format!("{shuffle:?} {key:?} step {step} from {first_sample}");
                    assert_eq!(drawn(&device), drawn(&oracle), "{place}");
                }
            }
        }
    }
}

#[test]
fn normals_agree_to_rounding() {
    let oracle = belamy_cpu::oracle();
    for device in devices("normals") {
        for (mean, std) in [(0.0, 1.0), (0.5, 2.0)] {
            let drawn = |dtype, device| {
                let at = counter(65_536, 3, device).unwrap();
                normal([257, 303], mean, std, dtype, KEYS[1], &at).unwrap().to_f64().unwrap()
            };
            let (found, wanted) = (drawn(DType::F32, &device), drawn(DType::F64, &oracle));
            for (x, y) in found.iter().zip(&wanted) {
                // Logarithm, root, sine and sum, each off by a unit or two in the last place.
                let bound = 8.0 * f64::from(f32::EPSILON) * (mean + std * y.abs()).max(1.0);
                assert!((x - y).abs() <= bound, "{x} instead of {y}");
            }
        }
    }
}

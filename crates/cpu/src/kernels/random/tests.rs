//! Draws by the definition, independence of batch splits and threads, moments, and epochs that visit all once.

use crate::{cpu, poisoned};
use belamy_tensor::ops::random::{
    RandomKey, Shuffle, bernoulli, counter, integers, normal, shuffled_indices, uniform,
};
use belamy_tensor::philox::{self, Draws};
use belamy_tensor::{DType, Tensor};

const KEY: RandomKey = RandomKey { seed: 0x1234_5678_9abc_def0, stream: 77 };

fn at(step: u32, first_sample: u32) -> Tensor {
    counter(step, first_sample, &poisoned(true)).unwrap()
}

#[test]
fn draws_are_the_words_of_their_place() {
    let draws = Draws { seed: KEY.seed, stream: KEY.stream, step: 9 };
    let shape = [3, 2, 53];
    let uniforms = uniform(shape, -2.0, 3.0, DType::F64, KEY, &at(9, 4)).unwrap().to_f64().unwrap();
    let normals = normal(shape, 1.0, 2.0, DType::F64, KEY, &at(9, 4)).unwrap().to_f64().unwrap();
    let flips = bernoulli(shape, 0.4, DType::F64, KEY, &at(9, 4)).unwrap().to_f64().unwrap();
    let whole = integers(shape, 10, KEY, &at(9, 4)).unwrap().to_vec::<u32>().unwrap();
    for n in 0..3u32 {
        for j in 0..106u32 {
            let place = (n * 106 + j) as usize;
            let word = draws.word(4 + n, j);
            let u = philox::uniform(word);
            assert_eq!(uniforms[place], -2.0 + 5.0 * u);
            assert_eq!(flips[place], f64::from(u8::from(u < 0.4)));
            assert_eq!(whole[place], philox::integer(word, 10));
            let pair =
                philox::normal_pair(draws.word(4 + n, j / 2 * 2), draws.word(4 + n, j / 2 * 2 + 1));
            assert_eq!(normals[place], 1.0 + 2.0 * pair[j as usize % 2]);
        }
    }
    // f32 draws the same words.
    let narrow = uniform(shape, 0.0, 1.0, DType::F32, KEY, &at(9, 4)).unwrap().to_f64().unwrap();
    let wide = uniform(shape, 0.0, 1.0, DType::F64, KEY, &at(9, 4)).unwrap().to_f64().unwrap();
    assert_eq!(narrow, wide);
}

#[test]
fn splitting_a_batch_changes_nothing() {
    // Long samples span several parallel chunks; short ones share one.
    for (batch, length) in [(6usize, 20_001usize), (5000, 3), (7, 4)] {
        let whole = normal([batch, length], 0.0, 1.0, DType::F32, KEY, &at(2, 0)).unwrap();
        let head = batch / 3;
        let tail = normal([batch - head, length], 0.0, 1.0, DType::F32, KEY, &at(2, head as u32));
        let (whole, tail) =
            (whole.to_vec::<f32>().unwrap(), tail.unwrap().to_vec::<f32>().unwrap());
        assert_eq!(whole[head * length..], tail);
        let next = normal([batch, length], 0.0, 1.0, DType::F32, KEY, &at(3, 0)).unwrap();
        assert_ne!(whole, next.to_vec::<f32>().unwrap());
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let draw = || {
        let device = cpu();
        let step = counter(1, 0, &device).unwrap();
        let x = uniform([9, 30_000], 0.0, 1.0, DType::F32, KEY, &step).unwrap();
        let z = normal([40_000, 3], 0.0, 1.0, DType::F32, KEY, &step).unwrap();
        let bits = |x: Tensor| x.to_vec::<f32>().unwrap().into_iter().map(f32::to_bits);
        bits(x).chain(bits(z)).collect::<Vec<u32>>()
    };
    let results = [1, 2, 3, 5].map(|threads| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(draw)
    });
    assert!(results.iter().all(|result| *result == results[0]));
}

#[test]
fn moments_are_those_of_the_distributions() {
    let moments = |x: Tensor| {
        let mean = x.mean_all().unwrap();
        let variance = (&x - &mean).square().unwrap().mean_all().unwrap();
        (mean.item().unwrap(), variance.item().unwrap())
    };
    let shape = [400, 500];
    let (mean, variance) = moments(uniform(shape, -1.0, 3.0, DType::F64, KEY, &at(0, 0)).unwrap());
    assert!((mean - 1.0).abs() < 0.01 && (variance - 16.0 / 12.0).abs() < 0.01);
    let (mean, variance) = moments(normal(shape, 2.0, 3.0, DType::F64, KEY, &at(0, 0)).unwrap());
    assert!((mean - 2.0).abs() < 0.03 && (variance - 9.0).abs() < 0.15);
    let (mean, _) = moments(bernoulli(shape, 0.3, DType::F64, KEY, &at(0, 0)).unwrap());
    assert!((mean - 0.3).abs() < 0.005);
    let sure = bernoulli(shape, 1.0, DType::F64, KEY, &at(0, 0)).unwrap();
    assert_eq!(moments(sure), (1.0, 0.0));
    let whole = integers([200_000], 8, KEY, &at(0, 0)).unwrap().to_vec::<u32>().unwrap();
    for value in 0..8 {
        let count = whole.iter().filter(|&&drawn| drawn == value).count();
        assert!((24_000..26_000).contains(&count), "{value}: {count}");
    }
}

#[test]
fn epochs_visit_every_item_once_and_batches_cross_their_borders() {
    // Two draws of 7 a step, of 14 items: each step is an epoch.
    let epoch = |step: u32| {
        let mut seen = Vec::new();
        for draw in 0..2 {
            let shuffle = Shuffle { count: 14, global_batch: 7, draw, draws: 2 };
            let indices = shuffled_indices(7, shuffle, KEY, &at(step, 0)).unwrap();
            seen.extend(indices.to_vec::<u32>().unwrap());
        }
        seen
    };
    let (first, second) = (epoch(0), epoch(1));
    assert_ne!(first, second);
    for mut seen in [first, second] {
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..14));
    }
    // Batches of 4 over 6 items: the second batch ends epoch 0 and begins epoch 1.
    let shuffle = Shuffle { count: 6, global_batch: 4, draw: 0, draws: 1 };
    let mut seen = Vec::new();
    for step in 0..3 {
        // Two devices share each batch.
        for first_sample in [0, 2] {
            let part = shuffled_indices(2, shuffle, KEY, &at(step, first_sample)).unwrap();
            seen.extend(part.to_vec::<u32>().unwrap());
        }
    }
    for epoch in seen.chunks(6) {
        let mut epoch = epoch.to_vec();
        epoch.sort_unstable();
        assert!(epoch.into_iter().eq(0..6));
    }
}

#[test]
fn what_cannot_be_drawn_is_refused() {
    let step = at(0, 0);
    assert!(uniform([2], 1.0, 0.0, DType::F32, KEY, &step).is_err());
    assert!(uniform([2], f64::NAN, 0.0, DType::F32, KEY, &step).is_err());
    assert!(uniform([2], f64::NEG_INFINITY, 0.0, DType::F32, KEY, &step).is_err());
    assert!(uniform([2], 0.0, 1.0, DType::U32, KEY, &step).is_err());
    assert!(normal([2], 0.0, -1.0, DType::F32, KEY, &step).is_err());
    assert!(bernoulli([2], 1.5, DType::F32, KEY, &step).is_err());
    assert!(integers([2], 0, KEY, &step).is_err());
    let shuffle = Shuffle { count: 4, global_batch: 2, draw: 0, draws: 1 };
    assert!(shuffled_indices(3, shuffle, KEY, &step).is_err());
    assert!(shuffled_indices(2, Shuffle { draw: 1, ..shuffle }, KEY, &step).is_err());
    assert!(shuffled_indices(2, Shuffle { count: 0, ..shuffle }, KEY, &step).is_err());
    let wrong = Tensor::from_slice(&[0u32; 3], [3], step.device()).unwrap();
    assert!(normal([2], 0.0, 1.0, DType::F32, KEY, &wrong).is_err());
    let wrong = Tensor::from_slice(&[0.0f32; 2], [2], step.device()).unwrap();
    assert!(normal([2], 0.0, 1.0, DType::F32, KEY, &wrong).is_err());
    // A scalar is one sample of one element; no samples are no work.
    assert!(normal(belamy_tensor::Shape::SCALAR, 0.0, 1.0, DType::F32, KEY, &step).is_ok());
    assert!(normal([0, 5], 0.0, 1.0, DType::F32, KEY, &step).is_ok());
}

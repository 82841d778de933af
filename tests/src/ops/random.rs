//! Generators, against the counter-based definition called element by element: draws depend on seed, stream, step and
//! the global sample only.

use crate::case::Case;
use crate::values::Domain;
use belamy_tensor::ops::random::{
    RandomKey, Shuffle, advance_counter, bernoulli, integers, normal, shuffled_indices, uniform,
};
use belamy_tensor::philox::{self, Draws};
use belamy_tensor::{Result, Shape, Tensor};

const KEY: RandomKey = RandomKey { seed: 0xfeed_beef_0bad_cafe, stream: 9 };

/// A generator's case: the counter, and a number whose type is the one to draw.
fn generator(
    op: &'static str,
    variant: &str,
    shape: &'static [usize],
    counter: [u32; 2],
    draw: impl Fn(Shape, &Tensor, &Tensor) -> Result<Tensor> + Send + Sync + 'static,
    element: impl Fn(&Draws, u32, u32) -> f64 + Send + Sync + 'static,
) -> Case {
    let per_sample: usize = shape.iter().skip(1).product();
    Case::new(op, variant, move |t| draw(Shape::new(shape)?, &t[0], &t[1]))
        .constant(&[2], Domain::Integers(counter.to_vec()))
        .constant(&[1], Domain::Normal)
        .slack(4.0)
        .host_reference(move |_| {
            let draws = Draws { seed: KEY.seed, stream: KEY.stream, step: counter[0] };
            let elements = 0..shape.iter().product::<usize>();
            elements
                .map(|i| {
                    let sample = counter[1] + (i / per_sample) as u32;
                    element(&draws, sample, (i % per_sample) as u32)
                })
                .collect()
        })
}

fn cases_of(variant: &str, shape: &'static [usize], counter: [u32; 2]) -> [Case; 4] {
    [
        generator(
            "uniform",
            variant,
            shape,
            counter,
            |shape, counter, like| uniform(shape, -1.5, 2.0, like.dtype(), KEY, counter),
            |draws, sample, j| -1.5 + 3.5 * philox::uniform(draws.word(sample, j)),
        ),
        generator(
            "normal",
            variant,
            shape,
            counter,
            |shape, counter, like| normal(shape, 0.5, 2.0, like.dtype(), KEY, counter),
            |draws, sample, j| {
                let first = j / 2 * 2;
                let words = [draws.word(sample, first), draws.word(sample, first + 1)];
                0.5 + 2.0 * philox::normal_pair(words[0], words[1])[j as usize % 2]
            },
        ),
        generator(
            "bernoulli",
            variant,
            shape,
            counter,
            |shape, counter, like| bernoulli(shape, 0.375, like.dtype(), KEY, counter),
            |draws, sample, j| f64::from(u8::from(philox::uniform(draws.word(sample, j)) < 0.375)),
        ),
        generator(
            "integers",
            variant,
            shape,
            counter,
            |shape, counter, _| integers(shape, 10, KEY, counter),
            |draws, sample, j| f64::from(philox::integer(draws.word(sample, j), 10)),
        ),
    ]
}

fn shuffled(variant: &str, batch: usize, shuffle: Shuffle, counter: [u32; 2]) -> Case {
    Case::new("shuffled_indices", variant, move |t| shuffled_indices(batch, shuffle, KEY, &t[0]))
        .constant(&[2], Domain::Integers(counter.to_vec()))
        .host_reference(move |_| {
            let Shuffle { count, global_batch, draw, draws } = shuffle;
            let first = (u64::from(counter[0]) * u64::from(draws) + u64::from(draw))
                * u64::from(global_batch)
                + u64::from(counter[1]);
            let at = |i: usize| {
                let position = first + i as u64;
                let epoch = (position / u64::from(count)) as u32;
                let order = Draws { seed: KEY.seed, stream: KEY.stream, step: epoch };
                f64::from(philox::permuted((position % u64::from(count)) as u32, count, &order))
            };
            (0..batch).map(at).collect()
        })
}

/// The family's cases.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(cases_of("odd samples", &[5, 7], [3, 0]));
    cases.extend(cases_of("one number a sample", &[9], [0, 4]));
    cases.extend(cases_of("image", &[2, 3, 2, 3], [1000, 65_537]));
    cases.extend(cases_of("large", &[67, 303], [1, 0]).map(Case::large));
    // A number that is drawn is not below itself.
    let edge = || philox::uniform(Draws { seed: KEY.seed, stream: KEY.stream, step: 3 }.word(0, 0));
    cases.push(generator(
        "bernoulli",
        "on the edge",
        &[5, 7],
        [3, 0],
        move |shape, counter, like| bernoulli(shape, edge(), like.dtype(), KEY, counter),
        move |draws, sample, j| {
            f64::from(u8::from(philox::uniform(draws.word(sample, j)) < edge()))
        },
    ));
    let shuffle = |count, global_batch, draw, draws| Shuffle { count, global_batch, draw, draws };
    cases.push(shuffled("within an epoch", 8, shuffle(100, 8, 0, 1), [3, 0]));
    cases.push(shuffled("over an epoch's end", 16, shuffle(50, 16, 0, 1), [3, 0]));
    cases.push(shuffled("second draw of three", 4, shuffle(37, 12, 1, 3), [5, 8]));
    cases.push(shuffled("batch beyond the data", 13, shuffle(5, 13, 0, 1), [2, 0]));
    cases.extend([("one", [6, 3], 1), ("many", [65_535, 9], 70_000)].map(
        |(variant, from, steps)| {
            Case::new("advance_counter", variant, move |t| advance_counter(&t[0], steps))
                .constant(&[2], Domain::Integers(from.to_vec()))
                .rounded()
                .host_reference(move |t| vec![t[0][0] + f64::from(steps), t[0][1]])
        },
    ));
    cases
}

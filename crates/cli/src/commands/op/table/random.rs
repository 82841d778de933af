//! Tensors from a shape: one number throughout, or random with a key and a counter.

use crate::commands::op::entry::{Entry, Form};
use belamy_tensor::Tensor;
use belamy_tensor::ops::random::{
    Shuffle, advance_counter, bernoulli, integers, normal, shuffled_indices, uniform,
};

/// What every random draw is a function of.
pub(super) fn drawn(entry: Entry) -> Entry {
    entry
        .takes("seed", Form::Seed, "0")
        .takes("stream", Form::Whole, "0")
        .takes("step", Form::Whole, "0")
        .takes("first_sample", Form::Whole, "0")
}

/// The generators.
pub(super) fn entries() -> Vec<Entry> {
    let float = |entry: Entry| {
        drawn(entry.wants("shape", Form::Sizes))
            .takes("dtype", Form::Word(&["f32", "f64"]), "f32")
            .without_derivative()
    };
    vec![
        Entry::new("full", "one number throughout", |given| {
            Tensor::full(given.number("value"), given.shape("shape")?, given.dtype(), &given.device)
        })
        .wants("shape", Form::Sizes)
        .wants("value", Form::Number)
        .takes("dtype", Form::Word(&["f32", "f64"]), "f32")
        .without_derivative(),
        float(Entry::new("uniform", "uniform numbers in [low, high)", |given| {
            let (low, high) = (given.number("low"), given.number("high"));
            uniform(given.shape("shape")?, low, high, given.dtype(), given.key(), &given.counter()?)
        }))
        .takes("low", Form::Number, "0")
        .takes("high", Form::Number, "1"),
        float(Entry::new("normal", "normal numbers", |given| {
            let (mean, std) = (given.number("mean"), given.number("std"));
            normal(given.shape("shape")?, mean, std, given.dtype(), given.key(), &given.counter()?)
        }))
        .takes("mean", Form::Number, "0")
        .takes("std", Form::Number, "1"),
        float(Entry::new("bernoulli", "1 with probability p, else 0", |given| {
            let (shape, counter) = (given.shape("shape")?, given.counter()?);
            bernoulli(shape, given.number("p"), given.dtype(), given.key(), &counter)
        }))
        .wants("p", Form::Number),
        drawn(Entry::new("integers", "integers below bound", |given| {
            integers(given.shape("shape")?, given.whole("bound"), given.key(), &given.counter()?)
        }))
        .wants("shape", Form::Sizes)
        .wants("bound", Form::Whole)
        .without_derivative(),
        Entry::new(
            "advance_counter",
            "a counter [step, first_sample], some steps later",
            |given| advance_counter(&given.counter()?, given.whole("steps")),
        )
        .takes("step", Form::Whole, "0")
        .takes("first_sample", Form::Whole, "0")
        .takes("steps", Form::Whole, "1")
        .without_derivative(),
        drawn(Entry::new("shuffled_indices", "one batch of a shuffled epoch", |given| {
            let batch = given.size("batch");
            let whole = if given.has("global_batch") { "global_batch" } else { "batch" };
            let shuffle = Shuffle {
                count: given.whole("count"),
                global_batch: given.whole(whole),
                draw: given.whole("draw"),
                draws: given.whole("draws"),
            };
            shuffled_indices(batch, shuffle, given.key(), &given.counter()?)
        }))
        .wants("batch", Form::Whole)
        .wants("count", Form::Whole)
        .may("global_batch", Form::Whole, "batch")
        .takes("draw", Form::Whole, "0")
        .takes("draws", Form::Whole, "1")
        .without_derivative(),
    ]
}

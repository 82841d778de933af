//! `uniform`, `normal`, `bernoulli`, `integers`, `shuffled_indices`, `advance_counter`: see `belamy_tensor::ops::random` for the
//! mathematics.
//!
//! Chunks of whole Philox blocks run in parallel; within one, [`RUN`] blocks are drawn and used at a time.

#[cfg(test)]
mod tests;

use super::{Real, Run, SERIAL_ELEMENTS, fill, for_real};
use crate::vectors::vectorised;
use belamy_tensor::Element;
use belamy_tensor::ops::random::{AdvanceParams, DrawParams, ShuffleParams};
use belamy_tensor::philox::{self, Draws};
use rayon::prelude::*;
use std::ops::{Add, Mul};

/// Blocks drawn together: a loop over so many vectorises, and so does what is made of their words.
const RUN: usize = 16;

vectorised! {
    /// The words of [`RUN`] neighbouring blocks of a sample, in order, two in a number: see [`in_memory`].
    fn run_of_blocks(draws: &Draws, sample: u32, first: u32, words: &mut [u64; 2 * RUN]) {
        let blocks = std::array::from_fn(|block| first.wrapping_add(block as u32));
        let counters = [blocks, [sample; RUN], [draws.step; RUN], [draws.stream; RUN]];
        let [firsts, seconds] = philox::philox4x32_together(draws.seed, counters);
        for block in 0..RUN {
            words[2 * block] = in_memory(firsts[block]);
            words[2 * block + 1] = in_memory(seconds[block]);
        }
    }
}

/// Two words, the first in the lower half, as the number that has the first before the second in memory.
#[inline(always)]
fn in_memory(words: u64) -> u64 {
    if cfg!(target_endian = "little") { words } else { words.rotate_left(32) }
}

/// Makes elements from words: where the first one stands, the words, and the elements.
type Fill<'a, E> = dyn Fn(usize, &[u32], &mut [E]) + Sync + 'a;

/// Hands out an output in pieces of one sample, each with its place and the words that its elements are made from:
/// whole blocks, beginning with its first element's. Some `together`, a multiple of a run's words, are one job.
pub(super) fn fill_runs<E: Element>(
    output: &mut [E],
    together: usize,
    params: &DrawParams,
    counter: &[u32],
    fill: &Fill<'_, E>,
) {
    let seed = u64::from(params.seed[0]) | u64::from(params.seed[1]) << 32;
    let draws = Draws { seed, stream: params.stream, step: counter[0] };
    let per_sample = params.per_sample as usize;
    if per_sample == 0 {
        return;
    }
    let samples = (together / per_sample).max(1);
    output.par_chunks_mut(per_sample).with_min_len(samples).enumerate().for_each(|(n, output)| {
        let sample = counter[1].wrapping_add(n as u32);
        output.par_chunks_mut(together).enumerate().for_each(|(chunk, output)| {
            let mut words = [0; 2 * RUN];
            for (run, output) in output.chunks_mut(4 * RUN).enumerate() {
                let first = chunk * together + run * 4 * RUN;
                let at = n * per_sample + first;
                if output.len() <= 4 {
                    // Short samples (labels, flips of a coin for each) need no more than a block.
                    fill(at, &draws.block(sample, (first / 4) as u32), output);
                } else {
                    run_of_blocks(&draws, sample, (first / 4) as u32, &mut words);
                    fill(at, bytemuck::cast_slice(&words), output);
                }
            }
        });
    });
}

/// Fills each element from its own word.
fn fill_words<E: Element>(mut run: Run<'_>, value: impl Fn(u32) -> E + Sync) {
    let params = DrawParams::decode(&run.params);
    let counter = run.input::<u32>(0);
    let fill = |_, words: &[u32], output: &mut [E]| {
        output.iter_mut().zip(words).for_each(|(element, &word)| *element = value(word));
    };
    fill_runs(run.output::<E>(), SERIAL_ELEMENTS, &params, counter, &fill);
}

/// The whole number below which a word's upper 24 bits stand for a uniform number below `probability`: exactly the
/// same decisions, without leaving the integers.
pub(super) fn threshold(probability: f64) -> u32 {
    (probability * f64::from(1 << 24)).ceil() as u32
}

pub(super) fn uniform(run: Run<'_>) {
    for_real!(run, uniform_of);
}

fn uniform_of<E: Real + Add<Output = E> + Mul<Output = E>>(run: Run<'_>) {
    let params = DrawParams::decode(&run.params);
    let (low, range) = (E::from_f64(params.a), E::from_f64(params.b - params.a));
    fill_words(run, |word| low + range * E::from_f64(philox::uniform(word)));
}

pub(super) fn normal(run: Run<'_>) {
    for_real!(run, normal_of);
}

fn normal_of<E: Real>(mut run: Run<'_>) {
    let params = DrawParams::decode(&run.params);
    let counter = run.input::<u32>(0);
    let fill = |_, words: &[u32], output: &mut [E]| {
        for (output, words) in output.chunks_mut(2).zip(words.chunks_exact(2)) {
            let normals = philox::normal_pair(words[0], words[1]);
            for (element, z) in output.iter_mut().zip(normals) {
                *element = E::from_f64(params.a + params.b * z);
            }
        }
    };
    // A logarithm, a sine and a cosine for two take some 40 ns.
    fill_runs(run.output::<E>(), SERIAL_ELEMENTS / 16, &params, counter, &fill);
}

pub(super) fn bernoulli(run: Run<'_>) {
    for_real!(run, bernoulli_of);
}

fn bernoulli_of<E: Real>(run: Run<'_>) {
    let below = threshold(DrawParams::decode(&run.params).a);
    let (zero, one) = (E::from_f64(0.0), E::from_f64(1.0));
    fill_words(run, |word| if word >> 8 < below { one } else { zero });
}

pub(super) fn integers(run: Run<'_>) {
    let bound = DrawParams::decode(&run.params).bound;
    fill_words(run, |word| philox::integer(word, bound));
}

pub(super) fn shuffled_indices(mut run: Run<'_>) {
    let p = ShuffleParams::decode(&run.params);
    let counter = run.input::<u32>(0);
    let seed = u64::from(p.seed[0]) | u64::from(p.seed[1]) << 32;
    let draw = u64::from(counter[0]) * u64::from(p.draws) + u64::from(p.draw);
    let first = draw.wrapping_mul(u64::from(p.global_batch)).wrapping_add(u64::from(counter[1]));
    fill(run.output::<u32>(), |index| {
        let position = first.wrapping_add(index as u64);
        let (epoch, at) = (position / u64::from(p.count), position % u64::from(p.count));
        let draws = Draws { seed, stream: p.stream, step: epoch as u32 };
        philox::permuted(at as u32, p.count, &draws)
    });
}

pub(super) fn advance_counter(mut run: Run<'_>) {
    let steps = AdvanceParams::decode(&run.params).steps;
    let counter = run.input::<u32>(0);
    run.output::<u32>().copy_from_slice(&[counter[0].wrapping_add(steps), counter[1]]);
}

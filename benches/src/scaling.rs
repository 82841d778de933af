//! What sharing batches among ranks costs: steps measured on several ranks, and a model of many.
//!
//! Weak scaling keeps the batch of a rank, strong scaling the batch of all. A rank that trains alone is the measure:
//!
//! ```text
//! weak efficiency    = T(1, b) / T(N, b)          b samples a rank
//! strong efficiency  = T(1, B) / (N T(N, B / N))  B samples in all
//! ```
//!
//! The model for N ranks, from a step of one rank at two batches and what a step hands over:
//!
//! ```text
//! T(N, b)  = fixed + per_sample b + (1 − overlap) exchange(N)
//! exchange = calls 2 ⌈log₂ N⌉ latency + 2 (N − 1) / N bytes / bandwidth
//! ```
//!
//! which is what reductions along trees or rings of N take at least (Thakur et al., 2005). It knows nothing of slower ranks that
//! others wait for, of links that are shared, or of whether `overlap` can be had: gradients go beside the backward pass, what
//! batch norm exchanges is waited for.

use crate::clock::Timing;
use crate::training::Training;
use belamy_gan::{Recipe, Result};
use belamy_tensor::Device;
use belamy_tensor::communicator::{Communicator, Numbers, Ranks};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Steps that are made before any is timed.
const WARM: usize = 2;

#[derive(Debug, Default)]
struct Counts {
    calls: AtomicU64,
    bytes: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Counts {
    /// Calls, bytes and nanoseconds since it was asked before.
    fn taken(&self) -> [u64; 3] {
        [&self.calls, &self.bytes, &self.nanoseconds].map(|count| count.swap(0, Ordering::Relaxed))
    }
}

/// A communicator that counts what goes through it, and what goes beside it.
#[derive(Debug)]
struct Counted {
    ranks: Ranks,
    counts: Arc<Counts>,
    beside: Arc<Counts>,
}

impl Counted {
    fn new(ranks: Ranks) -> Counted {
        Counted { ranks, counts: Arc::default(), beside: Arc::default() }
    }

    fn timed<T>(
        &self,
        bytes: usize,
        call: impl FnOnce() -> belamy_tensor::Result<T>,
    ) -> belamy_tensor::Result<T> {
        let start = Instant::now();
        let result = call();
        self.counts.calls.fetch_add(1, Ordering::Relaxed);
        self.counts.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.counts.nanoseconds.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        result
    }
}

impl Communicator for Counted {
    fn rank(&self) -> usize {
        self.ranks.rank()
    }

    fn size(&self) -> usize {
        self.ranks.size()
    }

    fn all_gather(&self, mine: &[u8]) -> belamy_tensor::Result<Vec<Vec<u8>>> {
        self.timed(mine.len(), || self.ranks.all_gather(mine))
    }

    fn all_reduce_sum(&self, numbers: Numbers<'_>) -> belamy_tensor::Result<()> {
        let bytes = match &numbers {
            Numbers::F32(values) => size_of_val(*values),
            Numbers::F64(values) => size_of_val(*values),
        };
        self.timed(bytes, || self.ranks.all_reduce_sum(numbers))
    }

    /// Counted by itself, each time that it is asked for anew.
    fn beside(&self) -> Ranks {
        let beside = Arc::clone(&self.beside);
        Arc::new(Counted { ranks: self.ranks.beside(), counts: Arc::clone(&beside), beside })
    }

    fn leave(&self, why: &str) {
        self.ranks.leave(why);
    }

    fn deadline(&self) -> Duration {
        self.ranks.deadline()
    }
}

/// A training step on some ranks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Step {
    /// How many ranks share the batch.
    pub ranks: usize,
    /// Samples a rank.
    pub batch: usize,
    /// Seconds a step: the median, of each the slowest rank's.
    pub seconds: f64,
    /// Seconds of a step that the first rank spends in calls to the others, waiting for them included: the median.
    pub exchanging: f64,
    /// Seconds of a step that its courier spends in such calls, while gradients are computed: the median.
    pub beside: f64,
    /// Calls a step.
    pub calls: f64,
    /// Bytes that a rank hands over in a step.
    pub bytes: f64,
}

impl Step {
    /// Samples a second of all ranks.
    pub fn samples_per_second(&self) -> f64 {
        (self.ranks * self.batch) as f64 / self.seconds
    }
}

/// Times `steps` steps of a recipe whose batch all `ranks` share; every rank calls it, and all get the same times. `batch`
/// is one rank's.
///
/// Fails where the recipe's batches cannot be shared, or a rank leaves.
pub fn measure(
    recipe: &Recipe,
    batch: usize,
    device: &Device,
    ranks: &Ranks,
    steps: usize,
) -> Result<Step> {
    let counted = Arc::new(Counted::new(ranks.clone()));
    let recipe = Recipe { batch: batch * ranks.size(), ..recipe.clone() };
    let shared: Ranks = counted.clone();
    let mut training = Training::among(&recipe, device, Some(&shared))?;
    let (mut seconds, mut exchanging, mut beside) = (Vec::new(), Vec::new(), Vec::new());
    let (mut calls, mut bytes) = (0, 0);
    for step in 0..WARM + steps {
        // Nobody begins before all have ended.
        ranks.all_gather(&[])?;
        let _ = (counted.counts.taken(), counted.beside.taken());
        let start = Instant::now();
        training.queue()?;
        training.wait()?;
        let own = start.elapsed().as_secs_f64();
        let (own_calls, others) = (counted.counts.taken(), counted.beside.taken());
        let all = ranks.all_gather(&own.to_ne_bytes())?;
        if step >= WARM {
            seconds.push(all.iter().map(|bytes| number(bytes)).fold(0.0, f64::max));
            exchanging.push(own_calls[2] as f64 / 1e9);
            beside.push(others[2] as f64 / 1e9);
            calls += own_calls[0] + others[0];
            bytes += own_calls[1] + others[1];
        }
    }
    training.losses()?;
    let of_a_step = |count: u64| count as f64 / steps as f64;
    let of_the_first =
        |own: f64| Ok::<_, belamy_tensor::Error>(number(&ranks.all_gather(&own.to_ne_bytes())?[0]));
    let (exchanging, beside) = (of_the_first(median(&exchanging))?, of_the_first(median(&beside))?);
    Ok(Step {
        ranks: ranks.size(),
        batch,
        seconds: median(&seconds),
        exchanging,
        beside,
        calls: of_a_step(calls),
        bytes: of_a_step(bytes),
    })
}

fn median(samples: &[f64]) -> f64 {
    Timing::of(samples.to_vec(), 1).median
}

fn number(bytes: &[u8]) -> f64 {
    bytes.try_into().map_or(f64::NAN, f64::from_ne_bytes)
}

/// What lies between ranks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Network {
    /// Seconds from one to another, of a message of no length.
    pub latency: f64,
    /// Bytes a second out of a rank, and as many into it.
    pub bandwidth: f64,
}

impl Network {
    /// What the model makes of reductions of one number, and of many, between these ranks. Every rank calls it. Fails when
    /// one leaves.
    pub fn measured(ranks: &Ranks) -> Result<Network> {
        const MANY: usize = 4 << 20;
        let timed = |length: usize, times: usize| -> Result<f64> {
            let mut values = vec![0.0f32; length];
            let mut seconds = Vec::new();
            for _ in 0..times {
                ranks.all_gather(&[])?;
                let start = Instant::now();
                ranks.all_reduce_sum(Numbers::F32(&mut values))?;
                seconds.push(start.elapsed().as_secs_f64());
            }
            Ok(number(&ranks.all_gather(&median(&seconds).to_ne_bytes())?[0]))
        };
        let (one, many) = (timed(1, 101)?, timed(MANY, 11)?);
        let size = ranks.size() as f64;
        let sent = 2.0 * (size - 1.0) / size * (MANY * size_of::<f32>()) as f64;
        let latency = one / (2.0 * size.log2().ceil()).max(1.0);
        Ok(Network { latency, bandwidth: sent / (many - one).max(1e-9) })
    }
}

/// What the model knows of a recipe's step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Model {
    /// Seconds of a step that do not depend on the batch.
    pub fixed: f64,
    /// Seconds a sample.
    pub per_sample: f64,
    /// Calls to the other ranks a step.
    pub calls: f64,
    /// Bytes that a rank hands over in a step.
    pub bytes: f64,
    /// The share of the exchange that is hidden behind computation.
    pub overlap: f64,
}

impl Model {
    /// The line through steps of one rank at two batches, and the exchange of `shared`, which several made.
    pub fn of(one: &Step, smaller: &Step, shared: [f64; 2], overlap: f64) -> Model {
        let samples = one.batch as f64 - smaller.batch as f64;
        let slope = if samples > 0.0 { (one.seconds - smaller.seconds) / samples } else { 0.0 };
        // Noise must not make samples free or time negative.
        let per_sample = slope.clamp(0.0, one.seconds / one.batch as f64);
        let fixed = one.seconds - per_sample * one.batch as f64;
        let [calls, bytes] = shared;
        Model { fixed, per_sample, calls, bytes, overlap }
    }

    /// Seconds a step of `ranks` ranks with `batch` samples each.
    ///
    /// ```
    /// use belamy_benches::scaling::{Model, Network};
    /// let model = Model { fixed: 0.001, per_sample: 0.002, calls: 10.0, bytes: 1e6, overlap: 0.0 };
    /// let network = Network { latency: 1e-5, bandwidth: 1e9 };
    /// assert!((model.seconds(1, 4.0, network) - 0.009).abs() < 1e-12);
    /// // Two more: 10 calls of 2 latencies, and 1 MB out and in.
    /// assert!((model.seconds(2, 4.0, network) - 0.0102).abs() < 1e-12);
    /// ```
    pub fn seconds(&self, ranks: usize, batch: f64, network: Network) -> f64 {
        let size = ranks as f64;
        let rounds = 2.0 * size.log2().ceil();
        let exchange = self.calls * rounds * network.latency
            + 2.0 * (size - 1.0) / size * self.bytes / network.bandwidth;
        self.fixed + self.per_sample * batch + (1.0 - self.overlap) * exchange
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use belamy_ranks::{Alone, meet};

    #[test]
    fn steps_of_two_ranks_are_counted() {
        let mut recipe = Recipe::named("mnist-dcgan").unwrap();
        recipe.discriminator_steps = 2;
        let device = belamy_cpu::cpu();
        let ranks = meet(Arc::new(Alone), 2, Duration::from_secs(120)).unwrap();
        let found: Vec<Step> = std::thread::scope(|scope| {
            let threads: Vec<_> = ranks
                .iter()
                .map(|rank| scope.spawn(|| measure(&recipe, 2, &device, rank, 3).unwrap()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(found[0], found[1]);
        let step = found[0];
        assert_eq!((step.ranks, step.batch), (2, 2));
        assert!(step.seconds > 0.0 && step.exchanging > 0.0 && step.exchanging < step.seconds);
        // The gradients of two updates of D and one of G at least.
        let training = belamy_gan::Pair::undrawn(recipe, 1, &device).unwrap();
        let [generator, discriminator] =
            [&training.generator, &training.discriminator].map(|network| {
                network.trainable().iter().map(|param| param.meta().shape.elements()).sum::<usize>()
            });
        let gradients = (4 * (generator + 2 * discriminator)) as f64;
        assert!(
            step.bytes >= gradients && step.bytes < 1.1 * gradients,
            "{} {gradients}",
            step.bytes
        );
        assert!(step.calls >= 3.0, "{}", step.calls);
    }

    #[test]
    fn a_rank_alone_hands_nothing_over() {
        let recipe = Recipe::named("sine").unwrap();
        let alone = meet(Arc::new(Alone), 1, Duration::from_secs(60)).unwrap();
        let step = measure(&recipe, 8, &belamy_cpu::cpu(), &alone[0], 3).unwrap();
        assert_eq!((step.calls, step.bytes, step.exchanging), (0.0, 0.0, 0.0));
    }

    #[test]
    fn a_model_goes_through_what_was_measured() {
        let step = |batch: usize, seconds: f64| Step {
            ranks: 1,
            batch,
            seconds,
            exchanging: 0.0,
            beside: 0.0,
            calls: 0.0,
            bytes: 0.0,
        };
        let network = Network { latency: 1e-5, bandwidth: 1e9 };
        let model = Model::of(&step(64, 0.7), &step(16, 0.22), [4.0, 1e6], 0.0);
        assert!((model.seconds(1, 64.0, network) - 0.7).abs() < 1e-12);
        assert!((model.seconds(1, 16.0, network) - 0.22).abs() < 1e-12);
        assert!(model.seconds(1024, 64.0, network) > model.seconds(2, 64.0, network));
        // A smaller batch that took longer says nothing about samples.
        let odd = Model::of(&step(64, 0.7), &step(16, 0.8), [4.0, 1e6], 0.0);
        assert_eq!((odd.per_sample, odd.fixed), (0.0, 0.7));
        let hidden = Model { overlap: 1.0, ..model };
        assert_eq!(hidden.seconds(8, 64.0, network), hidden.seconds(1, 64.0, network));
    }
}

//! What a forward pass needs to know besides its input.

use crate::Param;
use belamy_tensor::communicator::Ranks;
use belamy_tensor::ops::concat::concat;
use belamy_tensor::ops::random::{self, RandomKey};
use belamy_tensor::{Device, Result, Tensor};

/// What a forward pass is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Batch statistics, dropout, and a graph to differentiate.
    Train,
    /// Running statistics, no dropout but where a layer always has it, no graph.
    Evaluate,
}

/// The mode of a forward pass, and its source of random numbers.
///
/// Every use of randomness within a step takes the next stream, so draws depend on the order of the program and on
/// (seed, step, sample) only; never on threads, devices or how a batch is split.
#[derive(Debug)]
pub struct Context {
    /// What the pass is for.
    pub mode: Mode,
    seed: u64,
    counter: Tensor,
    next_stream: u32,
    parts: usize,
    pieces: usize,
    share: Option<Share>,
}

/// A batch that several ranks share.
#[derive(Debug, Clone)]
struct Share {
    ranks: Ranks,
    own_statistics: bool,
}

impl Context {
    /// A context for training step `step`, whose batch starts at global sample `first_sample`.
    pub fn train(seed: u64, step: u32, first_sample: u32, device: &Device) -> Result<Context> {
        let counter = random::counter(step, first_sample, device)?;
        Ok(Context::at(seed, &counter))
    }

    /// As [`Context::train`], from a counter that is on the device already.
    pub fn at(seed: u64, counter: &Tensor) -> Context {
        let counter = counter.clone();
        Context {
            mode: Mode::Train,
            seed,
            counter,
            next_stream: 0,
            parts: 1,
            pieces: 1,
            share: None,
        }
    }

    /// A context for inference, whose batch starts at sample `first_sample` of all that are drawn. Its random streams
    /// are apart from those of every training step of fewer than 2³² − 1 steps.
    pub fn evaluate(seed: u64, first_sample: u32, device: &Device) -> Result<Context> {
        let counter = random::counter(u32::MAX, first_sample, device)?;
        Ok(Context { mode: Mode::Evaluate, ..Context::at(seed, &counter) })
    }

    /// Whether batch statistics and dropout are in force.
    pub fn is_training(&self) -> bool {
        self.mode == Mode::Train
    }

    /// Of how many equal parts a batch consists, one behind the other. Each is a batch of its own to whatever looks at
    /// a batch as a whole: 2 for a discriminator that sees real and fake samples in one pass.
    pub fn parts(&self) -> usize {
        self.parts
    }

    /// Says of how many equal parts the batches of the following passes consist.
    pub fn set_parts(&mut self, parts: usize) {
        self.parts = parts;
    }

    /// Says that the pass is of a training step's batch that several ranks share: each one's samples are as many, in the
    /// order of the ranks, and what looks at a batch as a whole looks at all of them.
    pub fn set_ranks(&mut self, ranks: &Ranks) {
        self.share = Some(Share { ranks: ranks.clone(), own_statistics: false });
    }

    /// Says, after [`Context::set_ranks`], whether batch norm normalises each rank's samples by themselves.
    pub fn set_own_statistics(&mut self, own: bool) {
        if let Some(share) = &mut self.share {
            share.own_statistics = own;
        }
    }

    /// Whether batch norm normalises each rank's samples by themselves, as if they were the whole batch.
    pub fn own_statistics(&self) -> bool {
        self.share.as_ref().is_some_and(|share| share.own_statistics)
    }

    /// The ranks that share the batch, if there are several and the pass is a training step's.
    pub fn ranks(&self) -> Option<&Ranks> {
        let share = self.share.as_ref().filter(|_| self.is_training())?;
        Some(&share.ranks).filter(|ranks| ranks.size() > 1)
    }

    /// The counter for the samples of one of a batch's [`Context::pieces`], `length` of them here: where each piece is drawn
    /// by itself, it does not matter how many ranks share it.
    pub fn counter_of_piece(&self, piece: usize, length: usize) -> Result<Tensor> {
        let Some(Share { ranks, .. }) = &self.share else { return Ok(self.counter.clone()) };
        let first = (piece * ranks.size() + ranks.rank()) * length;
        let first = Tensor::from_slice(&[first as u32], [1], self.counter.device())?;
        concat(&[&self.counter.slice(0, 0, 1)?, &first], 0)
    }

    /// Of how many batches, one behind the other, a batch consists, of each of which a rank has its share; whether or not
    /// they are [`Context::parts`] to what looks at a batch as a whole.
    pub fn pieces(&self) -> usize {
        self.pieces
    }

    /// Says of how many batches those of the following passes consist.
    pub fn set_pieces(&mut self, pieces: usize) {
        self.pieces = pieces;
    }

    /// The key of the next use of randomness.
    pub fn next_key(&mut self) -> RandomKey {
        let key = RandomKey { seed: self.seed, stream: self.next_stream };
        self.next_stream += 1;
        key
    }

    /// A key that does not depend on what was drawn before, for uses with a name of their own.
    pub fn key(&self, stream: u32) -> RandomKey {
        RandomKey { seed: self.seed, stream }
    }

    /// The device-side counter: the step and the first global sample.
    pub fn counter(&self) -> &Tensor {
        &self.counter
    }

    /// A parameter's value: part of a graph when training, a constant otherwise.
    pub fn read(&self, param: &Param) -> Tensor {
        match self.mode {
            Mode::Train => param.value(),
            Mode::Evaluate => param.value().detach(),
        }
    }
}

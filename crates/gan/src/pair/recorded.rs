//! One step after the other: made, recorded where the device can, replayed, and afterwards found good or taken back.

use super::{Measures, Pair};
use crate::batches::Batches;
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::recipe::BatchStatistics;
use belamy_nn::Context;
use belamy_nn::average::Average;
use belamy_nn::optimizer::Optimizer;
use belamy_tensor::communicator::{Numbers, Order, Ranks, Reduction};
use belamy_tensor::ops::finite::count_non_finite;
use belamy_tensor::ops::random::{self, advance_counter};
use belamy_tensor::{Buffer, Recording, Tensor};

/// Steps made one by one before one is recorded: the first loads kernels and sends counters, and from the second on
/// nothing is shared between the weights and their average.
const WARM_UP: u64 = 3;

/// All that a step replaces, by reference.
#[derive(Debug, Clone)]
pub(super) struct State {
    step: u64,
    weights: Vec<Tensor>,
    generator_optimizer: Optimizer,
    discriminator_optimizer: Optimizer,
    average: Option<Average>,
    pools: Vec<Pool>,
    counter: Option<(u64, Tensor)>,
}

impl State {
    /// Every tensor, in a fixed order.
    fn tensors(&self) -> Vec<Tensor> {
        let optimizers = [&self.generator_optimizer, &self.discriminator_optimizer];
        let averages = self.average.iter().flat_map(|average| average.values().iter().cloned());
        let counter = self.counter.iter().map(|(_, counter)| counter.clone());
        let weights = self.weights.iter().map(Tensor::detach);
        weights
            .chain(optimizers.map(Optimizer::tensors).concat())
            .chain(averages)
            .chain(counter)
            .collect()
    }

    /// The same in memory of its own, which no replay touches. What can be sent again is left out.
    fn copied(&self) -> Result<State> {
        let copy = |tensor: &Tensor| tensor.detach().mul_scalar(1.0);
        let weights = self.weights.iter().map(copy).collect::<belamy_tensor::Result<_>>()?;
        let mut state = State { weights, counter: None, ..self.clone() };
        state.generator_optimizer.copy_tensors()?;
        state.discriminator_optimizer.copy_tensors()?;
        if let Some(average) = &mut state.average {
            let values = average.values().iter().map(copy);
            let values = values.collect::<belamy_tensor::Result<_>>()?;
            average.restore(values);
        }
        Ok(state)
    }
}

/// What one replay hands to the next: (result, the operand whose place it takes), but for what a step leaves alone.
/// Nothing, if two results would take one place.
fn carried(before: &[Tensor], after: &[Tensor]) -> Option<Vec<(Buffer, Buffer)>> {
    let mut pairs: Vec<(&Tensor, &Tensor)> = Vec::new();
    for (old, new) in before.iter().zip(after).filter(|(old, new)| !old.shares_memory(new)) {
        match pairs.iter().find(|(_, place)| place.shares_memory(old)) {
            Some((result, _)) if !result.shares_memory(new) => return None,
            Some(_) => {}
            None => pairs.push((new, old)),
        }
    }
    Some(pairs.into_iter().map(|(new, old)| (new.buffer().clone(), old.buffer().clone())).collect())
}

/// The steps since the last [`Pair::verify`].
#[derive(Debug)]
pub(super) struct Unverified {
    /// The state before the first of them.
    before: State,
    /// How many numbers of each step are not finite, on the device. Of replayed steps the last one's alone: what is not
    /// finite stays so.
    counts: Vec<Tensor>,
}

/// A step that the device has recorded.
#[derive(Debug)]
pub(super) struct Recorded {
    recording: Box<dyn Recording>,
    /// What each replay reads and replaces in its place.
    state: Vec<Tensor>,
    /// What it measures, anew at each replay.
    measures: Measures,
    /// How many numbers are not finite, likewise.
    count: Tensor,
}

/// A count of each rank, added up.
fn everywhere(count: &Tensor, ranks: &Ranks) -> Result<Tensor> {
    if let Some(own) = ranks.on_device(count.device()) {
        return Ok(own.all_reduce_tensor(Reduction::Sum, count, Order::InTurn)?);
    }
    let mut total = [count.item()?];
    ranks.all_reduce_sum(Numbers::F64(&mut total))?;
    Ok(Tensor::from_slice(&[total[0] as f32], count.shape(), count.device())?)
}

impl Pair {
    /// One step: k discriminator updates, each on fresh data and noise, then one of the generator.
    ///
    /// Reads nothing back from the device: whether all numbers are finite is for [`Pair::verify`] to say, which must
    /// be called before anything is made of the result. On a device that records, the fourth step is recorded, and
    /// from then on a step is one replay: the weights stay where they are and change there, and so does what
    /// [`Measures`] hold.
    pub fn step(&mut self, batches: &mut dyn Batches) -> Result<Measures> {
        if self.records && self.warm == WARM_UP && batches.are_of_the_counter() {
            self.record(batches)?;
        }
        // Tensors that somebody put in place of the recorded ones are for the next step to read, not for a replay.
        let first = self
            .networks()
            .next()
            .and_then(|network| network.trainable().first().map(|p| p.value()));
        let recorded = self
            .recorded
            .take()
            .filter(|recorded| first.is_some_and(|first| first.shares_memory(&recorded.state[0])));
        let Some(recorded) = recorded else {
            let before = self.state();
            self.unverified.get_or_insert_with(|| Unverified { before, counts: Vec::new() });
            let (measures, count) = self.advance(batches)?;
            self.warm += 1;
            self.unverified.iter_mut().for_each(|steps| steps.counts.push(count.clone()));
            return Ok(measures);
        };
        if self.unverified.is_none() {
            let before = self.state().copied()?;
            self.unverified = Some(Unverified { before, counts: Vec::new() });
        }
        recorded.recording.replay()?;
        self.step += 1;
        self.counter.iter_mut().for_each(|(step, _)| *step += 1);
        self.generator_optimizer.note_updates(1);
        self.discriminator_optimizer.note_updates(self.recipe.discriminator_steps as u64);
        let steps = self.unverified.as_mut().expect("set above");
        if !steps.counts.last().is_some_and(|last| last.shares_memory(&recorded.count)) {
            steps.counts.push(recorded.count.clone());
        }
        let measures = recorded.measures.clone();
        self.recorded = Some(recorded);
        Ok(measures)
    }

    /// Records a step, if the device can.
    fn record(&mut self, batches: &mut dyn Batches) -> Result<()> {
        let (device, before) = (self.device.clone(), self.state());
        let (state, mut made, mut failure) = (before.tensors(), None, None);
        let recording = device.backend().record(&mut || {
            let (measures, count) = self.advance(batches).map_err(|error| {
                failure = Some(error);
                device.error("a step could not be recorded")
            })?;
            made = Some((measures, count));
            carried(&state, &self.state().tensors()).ok_or_else(|| {
                device.error("two tensors that a step replaces lie in one place before it")
            })
        });
        self.put(before);
        self.warm += 1;
        if let Some(failure) = failure {
            return Err(failure);
        }
        if let (Some(recording), Some((measures, count))) = (recording?, made) {
            self.recorded = Some(Recorded { recording, state, measures, count });
        }
        Ok(())
    }

    /// Waits for the steps made since the last call. If a number of theirs is not finite, goes back to the last good
    /// step, repeats those that were good, and fails with the first op or layer of the bad one: a step is a function
    /// of its number and the state before it.
    pub fn verify(&mut self, batches: &mut dyn Batches) -> Result<()> {
        let Some(Unverified { before, counts }) = self.unverified.take() else { return Ok(()) };
        let mut bad = false;
        for count in &counts {
            bad = bad || count.item()? > 0.0;
        }
        if !bad {
            return Ok(());
        }
        let last = self.step;
        (self.recorded, self.records) = (None, false);
        self.put(before);
        while self.step < last {
            let before = self.state();
            let (_, count) = self.advance(batches)?;
            if count.item()? > 0.0 {
                let after = self.snapshot();
                self.put(before.clone());
                let place = self.first_non_finite(batches, &after)?;
                self.put(before);
                return Err(Error::NotFinite { step: self.step + 1, place });
            }
        }
        Err(Error::NotFinite { step: last, place: "a value that did not come again".to_owned() })
    }

    /// One step, and how many of its numbers are not finite.
    fn advance(&mut self, batches: &mut dyn Batches) -> Result<(Measures, Tensor)> {
        let measures = self.update(batches)?;
        if let Some(average) = &mut self.average {
            average.update(&self.generator)?;
        }
        self.step += 1;
        let mut watched = vec![measures.loss_d.clone(), measures.loss_g.clone()];
        watched.extend(self.networks().flat_map(|network| network.trainable()).map(|p| p.value()));
        let mut count = count_non_finite(&watched.iter().collect::<Vec<_>>())?;
        if let Some(ranks) = &self.ranks {
            // All go back together, or none.
            count = everywhere(&count, ranks)?;
        }
        Ok((measures, count))
    }

    fn state(&self) -> State {
        State {
            step: self.step,
            weights: self.snapshot(),
            generator_optimizer: self.generator_optimizer.clone(),
            discriminator_optimizer: self.discriminator_optimizer.clone(),
            average: self.average.clone(),
            pools: self.pools.clone(),
            counter: self.counter.clone(),
        }
    }

    pub(super) fn put(&mut self, state: State) {
        self.restore(&state.weights);
        self.step = state.step;
        self.generator_optimizer = state.generator_optimizer;
        self.discriminator_optimizer = state.discriminator_optimizer;
        self.average = state.average;
        self.pools = state.pools;
        self.counter = state.counter;
    }

    /// Which of a batch's samples is the first of this rank.
    fn first_sample(&self) -> u32 {
        let share = |ranks: &Ranks| ranks.rank() * (self.recipe.batch / ranks.size());
        self.ranks.as_ref().map_or(0, share) as u32
    }

    /// The context of the step to come. Its counter is moved on from the last step's on the device; only a run that
    /// begins, or goes back, sends one there.
    pub(super) fn context(&mut self) -> Result<Context> {
        let counter = match self.counter.take() {
            Some((step, counter)) if step == self.step => counter,
            Some((step, counter)) if step + 1 == self.step => advance_counter(&counter, 1)?,
            _ => random::counter(self.step as u32, self.first_sample(), &self.device)?,
        };
        let mut context = Context::at(self.seed, &counter);
        if let Some(ranks) = &self.ranks {
            context.set_ranks(ranks);
            context.set_own_statistics(self.recipe.batch_statistics == BatchStatistics::PerRank);
        }
        self.counter = Some((self.step, counter));
        Ok(context)
    }
}

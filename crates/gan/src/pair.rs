//! A generator and a discriminator, and the step that trains them: Goodfellow et al. (2014), Algorithm 1.

use crate::batches::{Batch, Batches};
use crate::error::{Error, Result};
use crate::networks;
use crate::objective::{Answers, taken_for_real};
use crate::recipe::{GeneratorUpdate, Passes, Recipe};
use belamy_nn::average::Average;
use belamy_nn::optimizer::{Optimizer, gradients};
use belamy_nn::{Context, Network};
use belamy_tensor::ops::concat::concat;
use belamy_tensor::ops::finite::count_non_finite;
use belamy_tensor::ops::random::{self, advance_counter};
use belamy_tensor::{Buffer, DType, Device, Recording, Tensor};

/// The two networks of a recipe with their optimisers, at some step of their training.
#[derive(Debug)]
pub struct Pair {
    /// What is being trained, and how.
    pub recipe: Recipe,
    /// The run's seed.
    pub seed: u64,
    /// Makes samples from noise.
    pub generator: Network,
    /// Tells real samples from made ones; returns logits.
    pub discriminator: Network,
    /// Moves the generator.
    pub generator_optimizer: Optimizer,
    /// Moves the discriminator.
    pub discriminator_optimizer: Optimizer,
    /// The moving average of the generator's weights, if the recipe keeps one.
    pub average: Option<Average>,
    /// Generator updates made so far.
    pub step: u64,
    device: Device,
    dtype: DType,
    /// The counter of random numbers on the device, and the step that it stands at.
    counter: Option<(u64, Tensor)>,
    /// The discriminator's targets, where they do not change.
    targets: Option<Tensor>,
    unverified: Option<Unverified>,
    /// Steps made one by one since the pair was made: what a step needs is loaded after the first few.
    warm: u64,
    recorded: Option<Recorded>,
    /// Whether steps are recorded where the device can: tests look at both ways.
    pub records: bool,
}

/// Steps made one by one before one is recorded: the first loads kernels and sends counters, and from the second on
/// nothing is shared between the weights and their average.
const WARM_UP: u64 = 3;

/// All that a step replaces, by reference.
#[derive(Debug, Clone)]
struct State {
    step: u64,
    weights: Vec<Tensor>,
    generator_optimizer: Optimizer,
    discriminator_optimizer: Optimizer,
    average: Option<Average>,
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
struct Unverified {
    /// The state before the first of them.
    before: State,
    /// How many numbers of each step are not finite, on the device. Of replayed steps the last one's alone: what is not
    /// finite stays so.
    counts: Vec<Tensor>,
}

/// A step that the device has recorded.
#[derive(Debug)]
struct Recorded {
    recording: Box<dyn Recording>,
    /// What each replay reads and replaces in its place.
    state: Vec<Tensor>,
    /// What it measures, anew at each replay.
    measures: Measures,
    /// How many numbers are not finite, likewise.
    count: Tensor,
}

/// What a step measured, on the device: reading it waits for the device, so it is read only when it is shown.
#[derive(Debug, Clone)]
pub struct Measures {
    /// The discriminator's loss, by the recipe's convention, in nats per sample.
    pub loss_d: Tensor,
    /// The generator's loss, in nats per sample.
    pub loss_g: Tensor,
    /// The discriminator's answers to the step's last batches; none while a generator is trained alone, and then
    /// `loss_d` means nothing.
    pub answers: Option<Answers>,
    /// Other losses with their names, where a system has them.
    pub parts: Vec<(&'static str, Tensor)>,
}

impl Measures {
    /// The share of real samples that the discriminator takes for real, on the device.
    pub fn accuracy_real(&self) -> Result<Option<Tensor>> {
        let answers = self.answers.as_ref();
        answers.map(|answers| Ok(taken_for_real(&answers.real()?)?)).transpose()
    }

    /// The share of fake samples that it takes for fake, on the device.
    pub fn accuracy_fake(&self) -> Result<Option<Tensor>> {
        let answers = self.answers.as_ref();
        answers.map(|answers| Ok(taken_for_real(&answers.fake()?)?.one_minus()?)).transpose()
    }
}

impl Pair {
    /// Fresh networks and optimisers, drawn by `seed`.
    pub fn new(recipe: Recipe, seed: u64, dtype: DType, device: &Device) -> Result<Pair> {
        recipe.check()?;
        let (generator, discriminator) =
            networks::build(recipe.system, &recipe.sizes(), device, dtype, seed)?;
        let generator_optimizer = Optimizer::new(recipe.generator_optimizer, &generator)?;
        let discriminator_optimizer =
            Optimizer::new(recipe.discriminator_optimizer, &discriminator)?;
        let average =
            (recipe.average_decay > 0.0).then(|| Average::new(&generator, recipe.average_decay));
        Ok(Pair {
            recipe,
            seed,
            generator,
            discriminator,
            generator_optimizer,
            discriminator_optimizer,
            average,
            step: 0,
            device: device.clone(),
            dtype,
            counter: None,
            targets: None,
            unverified: None,
            warm: 0,
            recorded: None,
            records: true,
        })
    }

    /// Where the networks live.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The networks' element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

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
        let count = count_non_finite(&watched.iter().collect::<Vec<_>>())?;
        Ok((measures, count))
    }

    fn state(&self) -> State {
        State {
            step: self.step,
            weights: self.snapshot(),
            generator_optimizer: self.generator_optimizer.clone(),
            discriminator_optimizer: self.discriminator_optimizer.clone(),
            average: self.average.clone(),
            counter: self.counter.clone(),
        }
    }

    fn put(&mut self, state: State) {
        self.restore(&state.weights);
        self.step = state.step;
        self.generator_optimizer = state.generator_optimizer;
        self.discriminator_optimizer = state.discriminator_optimizer;
        self.average = state.average;
        self.counter = state.counter;
    }

    /// The context of the step to come. Its counter is moved on from the last step's on the device; only a run that
    /// begins, or goes back, sends one there.
    fn context(&mut self) -> Result<Context> {
        let counter = match self.counter.take() {
            Some((step, counter)) if step == self.step => counter,
            Some((step, counter)) if step + 1 == self.step => advance_counter(&counter, 1)?,
            _ => random::counter(self.step as u32, 0, &self.device)?,
        };
        let context = Context::at(self.seed, &counter);
        self.counter = Some((self.step, counter));
        Ok(context)
    }

    fn update(&mut self, batches: &mut dyn Batches) -> Result<Measures> {
        let mut cx = self.context()?;
        let rounds = self.recipe.discriminator_steps;
        let update = self.recipe.generator_update;
        for round in 0..rounds {
            let last = round + 1 == rounds;
            let real = batches.real(round, &mut cx)?;
            let noise = batches.noise(&mut cx)?;
            let mut fake = self.make(&noise, &mut cx)?;
            if !last || update == GeneratorUpdate::Redrawn {
                // The generator will not learn from this batch: let its graph go.
                fake = fake.detach();
            }
            let game = self.judge(&real, &fake, &noise, &mut cx)?;
            let grads_d = gradients(&game.loss_d, &self.discriminator)?;
            if last && update == GeneratorUpdate::Simultaneous {
                let fake_logits = game.answers.fake()?;
                let loss_g = self.recipe.generator_loss.loss(&fake_logits, &self.recipe.labels)?;
                let grads_g = gradients(&loss_g, &self.generator)?;
                self.discriminator_optimizer.apply(&self.discriminator, &grads_d)?;
                self.generator_optimizer.apply(&self.generator, &grads_g)?;
                return Ok(game.measures(&loss_g));
            }
            self.discriminator_optimizer.apply(&self.discriminator, &grads_d)?;
            if last {
                let (fake, noise) = match update {
                    GeneratorUpdate::Redrawn => {
                        let noise = batches.noise(&mut cx)?;
                        (self.make(&noise, &mut cx)?, noise)
                    }
                    _ => (fake, noise),
                };
                let logits = self.discriminator.forward(&fake, noise.labels.as_ref(), &mut cx)?;
                let loss_g = self.recipe.generator_loss.loss(&logits, &self.recipe.labels)?;
                let grads_g = gradients(&loss_g, &self.generator)?;
                self.generator_optimizer.apply(&self.generator, &grads_g)?;
                return Ok(game.measures(&loss_g));
            }
        }
        unreachable!("a recipe has at least one discriminator update a step")
    }

    /// The generator's samples for a batch of noise, in the shape that the discriminator takes.
    fn make(&self, noise: &Batch, cx: &mut Context) -> Result<Tensor> {
        Ok(self.generator.forward(&noise.samples, noise.labels.as_ref(), cx)?)
    }

    /// The discriminator's side of the game.
    ///
    /// Real and fake samples go through it in one pass, as the two parts of a batch where batch norm is to take each
    /// one's own statistics: the same numbers as two passes give, from half as many launches. Only where the
    /// generator's gradient is taken from the same pass are there two: half of the work on the way back would be for
    /// nothing.
    fn judge(
        &mut self,
        real: &Batch,
        fake: &Tensor,
        noise: &Batch,
        cx: &mut Context,
    ) -> Result<Game> {
        let network = &self.discriminator;
        let simultaneous = self.recipe.generator_update == GeneratorUpdate::Simultaneous;
        let equal = real.samples.dims()[0] == fake.dims()[0];
        let answers = match self.recipe.passes {
            Passes::Separate if simultaneous || !equal => Answers::Apart {
                real: network.forward(&real.samples, real.labels.as_ref(), cx)?,
                fake: network.forward(fake, noise.labels.as_ref(), cx)?,
            },
            passes => {
                let both = concat(&[&real.samples, fake], 0)?;
                let classes = match (&real.labels, &noise.labels) {
                    (Some(real), Some(fake)) => Some(concat(&[real, fake], 0)?),
                    _ => None,
                };
                cx.set_parts(if passes == Passes::Separate { 2 } else { 1 });
                let logits = network.forward(&both, classes.as_ref(), cx);
                cx.set_parts(1);
                let logits = logits?;
                if equal {
                    Answers::Together(logits)
                } else {
                    let (reals, fakes) = (real.samples.dims()[0], fake.dims()[0]);
                    let real = logits.slice(0, 0, reals)?;
                    Answers::Apart { real, fake: logits.slice(0, reals, fakes)? }
                }
            }
        };
        let (labels, scale) = (self.recipe.labels, self.recipe.loss_convention.scale());
        let loss_d = labels.discriminator_loss(&answers, scale, &mut self.targets, cx)?;
        Ok(Game { loss_d, answers })
    }

    /// Samples for noise `[N, latent]` by the running statistics, from the averaged weights if there are any.
    pub fn sample(&mut self, noise: &Tensor, labels: Option<&Tensor>) -> Result<Tensor> {
        let mut cx = Context::evaluate(self.seed, &self.device)?;
        if let Some(average) = &mut self.average {
            average.exchange(&self.generator);
        }
        let samples = self.generator.forward(noise, labels, &mut cx);
        if let Some(average) = &mut self.average {
            average.exchange(&self.generator);
        }
        Ok(samples?)
    }

    /// Both networks.
    pub fn networks(&self) -> impl Iterator<Item = &Network> {
        [&self.generator, &self.discriminator].into_iter()
    }

    /// All parameters and running statistics, by reference: nothing is copied.
    fn snapshot(&self) -> Vec<Tensor> {
        self.networks()
            .flat_map(|network| network.params())
            .map(|(_, param)| param.value())
            .collect()
    }

    fn restore(&self, snapshot: &[Tensor]) {
        let params = self.networks().flat_map(|network| network.params());
        params.zip(snapshot).for_each(|((_, param), value)| param.set(value.clone()));
    }

    /// Repeats the step's passes from the same weights and draws, and names the first value that is not finite;
    /// `after` holds what the step made of the weights.
    fn first_non_finite(&mut self, batches: &mut dyn Batches, after: &[Tensor]) -> Result<String> {
        let mut cx = self.context()?;
        let real = batches.real(0, &mut cx)?;
        if bad(&real.samples)? {
            return Ok("the batch of real samples".to_owned());
        }
        let noise = batches.noise(&mut cx)?;
        let (fake, place) = self.look(&self.generator, &noise.samples, &noise.labels, &mut cx)?;
        if let Some(place) = place {
            return Ok(place);
        }
        for (samples, labels) in [(&real.samples, &real.labels), (&fake, &noise.labels)] {
            let (_, place) = self.look(&self.discriminator, samples, labels, &mut cx)?;
            if let Some(place) = place {
                return Ok(place);
            }
        }
        let simultaneous = self.recipe.generator_update == GeneratorUpdate::Simultaneous;
        let game = self.judge(&real, &fake, &noise, &mut cx)?;
        let mut place = first_bad_gradient(&game.loss_d, &self.discriminator)?;
        if simultaneous && place.is_none() {
            let fake_logits = game.answers.fake()?;
            let loss_g = self.recipe.generator_loss.loss(&fake_logits, &self.recipe.labels)?;
            place = first_bad_gradient(&loss_g, &self.generator)?;
        }
        if let Some(place) = place {
            return Ok(place);
        }
        // What the generator met: the discriminator after its update.
        self.restore_network(&self.discriminator, after);
        if let Some(place) = first_bad_weight(&self.discriminator)? {
            return Ok(format!("the optimiser's update of {place}"));
        }
        if !simultaneous {
            let noise = batches.noise(&mut cx)?;
            let fake = self.make(&noise, &mut cx)?;
            let (logits, place) = self.look(&self.discriminator, &fake, &noise.labels, &mut cx)?;
            let loss_g = self.recipe.generator_loss.loss(&logits, &self.recipe.labels)?;
            let place = match place {
                None => first_bad_gradient(&loss_g, &self.generator)?,
                place => place,
            };
            if let Some(place) = place {
                return Ok(place);
            }
        }
        self.restore_network(&self.generator, after);
        Ok(match first_bad_weight(&self.generator)? {
            Some(place) => format!("the optimiser's update of {place}"),
            None => "a value between two networks".to_owned(),
        })
    }

    /// A network's pass with the first of its weights and layers that is not finite.
    fn look(
        &self,
        network: &Network,
        x: &Tensor,
        labels: &Option<Tensor>,
        cx: &mut Context,
    ) -> Result<(Tensor, Option<String>)> {
        let mut found = first_bad_weight(network)?;
        let result = network.forward_observed(x, labels.as_ref(), cx, &mut |layer, y| {
            if found.is_none() && bad(y).unwrap_or(false) {
                let op = y.op_name().unwrap_or("its op");
                found = Some(format!("the result of {op} in {}.{layer}", network.name()));
            }
        })?;
        Ok((result, found))
    }

    /// Puts the values of one network back from a snapshot of both.
    fn restore_network(&self, network: &Network, snapshot: &[Tensor]) {
        let own = network.params().len();
        let start = if network.name() == self.generator.name() { 0 } else { snapshot.len() - own };
        let params = network.params().into_iter();
        params.zip(&snapshot[start..]).for_each(|((_, param), value)| param.set(value.clone()));
    }
}

fn bad(tensor: &Tensor) -> Result<bool> {
    Ok(count_non_finite(&[tensor])?.item()? > 0.0)
}

fn first_bad_weight(network: &Network) -> Result<Option<String>> {
    for (name, param) in network.params() {
        if bad(&param.value())? {
            return Ok(Some(format!("{}.{name}", network.name())));
        }
    }
    Ok(None)
}

/// The loss of a network, or the first of its gradients, that is not finite.
fn first_bad_gradient(loss: &Tensor, network: &Network) -> Result<Option<String>> {
    if bad(loss)? {
        return Ok(Some(format!("the loss of the {}", network.name())));
    }
    let grads = gradients(loss, network)?;
    let params = network.params();
    let names = params.iter().filter(|(_, param)| param.is_trainable()).map(|(name, _)| name);
    // The backward pass meets the last layers first.
    for (grad, name) in grads.iter().zip(names).collect::<Vec<_>>().into_iter().rev() {
        if bad(grad)? {
            return Ok(Some(format!("the gradient of {}.{name}", network.name())));
        }
    }
    Ok(None)
}

/// One round of the game, before anybody moves.
struct Game {
    loss_d: Tensor,
    answers: Answers,
}

impl Game {
    fn measures(&self, loss_g: &Tensor) -> Measures {
        Measures {
            loss_d: self.loss_d.detach(),
            loss_g: loss_g.detach(),
            answers: Some(self.answers.detach()),
            parts: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batches::DeviceBatches;

    /// The first failure of a run whose learning rate blows it up, looked for every `every` steps, and the weights
    /// that are left.
    fn blown_up(every: u64) -> (String, u64, Vec<Vec<f64>>) {
        let device = belamy_cpu::cpu();
        let mut recipe = Recipe::named("sine").unwrap();
        recipe.generator_optimizer.learning_rate = 1e18;
        let mut pair = Pair::new(recipe, 1, DType::F32, &device).unwrap();
        let recipe = &pair.recipe;
        let mut batches =
            DeviceBatches::new(recipe, None, &pair.discriminator, DType::F32, &device).unwrap();
        for step in 1..=60 {
            pair.step(&mut batches).unwrap();
            if step % every == 0
                && let Err(error) = pair.verify(&mut batches)
            {
                let weights = pair.snapshot().iter().map(|w| w.to_f64().unwrap()).collect();
                return (error.to_string(), pair.step, weights);
            }
        }
        panic!("nothing blew up");
    }

    #[test]
    fn a_bad_step_is_found_afterwards_as_if_each_had_been_looked_at() {
        let at_once = blown_up(1);
        assert!(at_once.1 > 0, "the first step is bad already: nothing is repeated");
        assert_eq!(blown_up(60), at_once);
    }
}

//! A generator and a discriminator, and the step that trains them: Goodfellow et al. (2014), Algorithm 1.

use crate::augment::augment;
use crate::batches::{Batch, Batches};
use crate::error::{Error, Result};
use crate::networks;
use crate::objective::{Answers, taken_for_real};
use crate::recipe::{GeneratorUpdate, Passes, Recipe};
use crate::regularizer;
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
        let records = recipe.regularizers.are_the_same_each_step();
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
            records,
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
                let answers = Some(&game.answers);
                let (loss_g, parts) =
                    self.generator_loss(&real, &fake, &noise, answers, &mut cx)?;
                let grads_g = gradients(&loss_g, &self.generator)?;
                self.move_discriminator(&grads_d)?;
                self.generator_optimizer.apply(&self.generator, &grads_g)?;
                return self.measures(game, &loss_g, parts);
            }
            self.move_discriminator(&grads_d)?;
            if last {
                let (fake, noise) = match update {
                    GeneratorUpdate::Redrawn => {
                        let noise = batches.noise(&mut cx)?;
                        (self.make(&noise, &mut cx)?, noise)
                    }
                    _ => (fake, noise),
                };
                let (loss_g, parts) = self.generator_loss(&real, &fake, &noise, None, &mut cx)?;
                let grads_g = gradients(&loss_g, &self.generator)?;
                self.generator_optimizer.apply(&self.generator, &grads_g)?;
                return self.measures(game, &loss_g, parts);
            }
        }
        unreachable!("a recipe has at least one discriminator update a step")
    }

    /// The generator's samples for a batch of noise, in the shape that the discriminator takes.
    fn make(&self, noise: &Batch, cx: &mut Context) -> Result<Tensor> {
        Ok(self.generator.forward(&noise.samples, noise.labels.as_ref(), cx)?)
    }

    fn move_discriminator(&mut self, grads: &[Tensor]) -> Result<()> {
        self.discriminator_optimizer.apply(&self.discriminator, grads)?;
        let most = self.recipe.regularizers.clip_weights;
        if most > 0.0 { regularizer::clip_weights(&self.discriminator, most) } else { Ok(()) }
    }

    /// What the discriminator is shown of samples: with noise and augmented, as the recipe says.
    fn shown(&self, samples: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let own = &self.recipe.regularizers;
        let mut shown = samples.clone();
        let deviation = own.noise_at(self.step);
        if deviation > 0.0 {
            shown = regularizer::with_noise(&shown, deviation, cx)?;
        }
        if own.augment { augment(&shown, cx) } else { Ok(shown) }
    }

    /// The generator's side of the game: its loss, and the parts of it that have names. `answers` are the
    /// discriminator's to the same batches, if it has not moved since.
    fn generator_loss(
        &self,
        real: &Batch,
        fake: &Tensor,
        noise: &Batch,
        answers: Option<&Answers>,
        cx: &mut Context,
    ) -> Result<(Tensor, Vec<(&'static str, Tensor)>)> {
        let Recipe { objective, labels, generator_loss: form, .. } = &self.recipe;
        let ask = |samples: &Tensor, labels: &Option<Tensor>, cx: &mut Context| {
            let shown = self.shown(samples, cx)?;
            Ok::<_, Error>(self.discriminator.forward(&shown, labels.as_ref(), cx)?)
        };
        let fakes = match answers {
            Some(answers) => answers.fake()?,
            None => ask(fake, &noise.labels, cx)?,
        };
        let reals = match answers {
            _ if !objective.needs_real() => None,
            Some(answers) => Some(answers.real()?),
            None => Some(ask(&real.samples, &real.labels, cx)?),
        };
        let loss = objective.generator_loss(&fakes, reals.as_ref(), labels, *form)?;
        let weight = self.recipe.regularizers.feature_matching;
        if weight == 0.0 {
            return Ok((loss, Vec::new()));
        }
        let (shown_real, shown_fake) = (self.shown(&real.samples, cx)?, self.shown(fake, cx)?);
        let features = regularizer::feature_matching(
            &self.discriminator,
            (&shown_real, real.labels.as_ref()),
            (&shown_fake, noise.labels.as_ref()),
            cx,
        )?;
        let parts = vec![("loss_adversarial", loss.detach()), ("loss_features", features.detach())];
        Ok((loss.add(&features.mul_scalar(weight)?)?, parts))
    }

    /// The penalties that the discriminator's loss has in this step, to be added to it, each with its name.
    fn penalties(
        &self,
        real: &Tensor,
        fake: &Tensor,
        labels: Option<&Tensor>,
        cx: &mut Context,
    ) -> Result<Vec<(&'static str, f64, Tensor)>> {
        let own = &self.recipe.regularizers;
        let mut found = Vec::new();
        let Some(strength) = own.penalty_strength(self.step) else { return Ok(found) };
        let mut ask = |samples: &Tensor, cx: &mut Context| {
            Ok(self.discriminator.forward(samples, labels, cx)?)
        };
        if own.gradient_penalty > 0.0 {
            let penalty = regularizer::gradient_penalty(real, &fake.detach(), cx, &mut ask)?;
            found.push(("loss_gradient_penalty", own.gradient_penalty * strength, penalty));
        }
        if own.r1 > 0.0 {
            found.push(("loss_r1", own.r1 * strength, regularizer::r1(real, cx, &mut ask)?));
        }
        Ok(found)
    }

    fn measures(
        &self,
        game: Game,
        loss_g: &Tensor,
        parts: Vec<(&'static str, Tensor)>,
    ) -> Result<Measures> {
        let mut all = game.parts;
        all.extend(parts);
        Ok(Measures {
            loss_d: game.loss_d.detach(),
            loss_g: loss_g.detach(),
            answers: Some(self.recipe.objective.centred(&game.answers)?),
            parts: all,
        })
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
        let (real_shown, fake_shown) = (self.shown(&real.samples, cx)?, self.shown(fake, cx)?);
        let (real_shown, fake_shown) = (&real_shown, &fake_shown);
        let network = &self.discriminator;
        let simultaneous = self.recipe.generator_update == GeneratorUpdate::Simultaneous;
        let equal = real.samples.dims()[0] == fake.dims()[0];
        let answers = match self.recipe.passes {
            Passes::Separate if simultaneous || !equal => Answers::Apart {
                real: network.forward(real_shown, real.labels.as_ref(), cx)?,
                fake: network.forward(fake_shown, noise.labels.as_ref(), cx)?,
            },
            passes => {
                let both = concat(&[real_shown, fake_shown], 0)?;
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
        let objective = self.recipe.objective;
        let mut loss_d =
            objective.discriminator_loss(&answers, &labels, scale, &mut self.targets, cx)?;
        let mut parts = Vec::new();
        for (name, weight, penalty) in
            self.penalties(real_shown, fake_shown, real.labels.as_ref(), cx)?
        {
            parts.push((name, penalty.detach()));
            loss_d = loss_d.add(&penalty.mul_scalar(weight)?)?;
        }
        Ok(Game { loss_d, answers, parts })
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
            let answers = Some(&game.answers);
            let (loss_g, _) = self.generator_loss(&real, &fake, &noise, answers, &mut cx)?;
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
            let (_, place) = self.look(&self.discriminator, &fake, &noise.labels, &mut cx)?;
            let (loss_g, _) = self.generator_loss(&real, &fake, &noise, None, &mut cx)?;
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
    parts: Vec<(&'static str, Tensor)>,
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

    /// A small recipe of convolutions with one setting more.
    fn small(settings: &[&str]) -> Recipe {
        let mut recipe = Recipe::named("lines-upsample").unwrap();
        recipe.system = crate::networks::System::Faces;
        (recipe.side, recipe.generator_width, recipe.discriminator_width) = (32, 2, 2);
        (recipe.source, recipe.batch, recipe.latent) = (crate::recipe::Source::Images, 4, 3);
        for setting in settings {
            recipe.set(setting).unwrap();
        }
        recipe
    }

    fn small_data() -> crate::data::Dataset {
        let values = (0..6 * 32 * 32 * 3).map(|i| 0.5 + 0.5 * (i as f32 * 0.37).sin()).collect();
        let range = crate::data::ValueRange::Unit;
        crate::data::Dataset::new(values, &[6, 32, 32, 3], None, range).unwrap()
    }

    /// Some steps, what they measured, and the weights that are left.
    fn trained(recipe: Recipe, steps: usize) -> (Vec<Measures>, Vec<Vec<f64>>) {
        let device = belamy_cpu::cpu();
        let mut pair = Pair::new(recipe, 3, DType::F32, &device).unwrap();
        let data = small_data();
        let network = &pair.discriminator;
        let mut batches =
            DeviceBatches::new(&pair.recipe, Some(&data), network, DType::F32, &device).unwrap();
        let measures = (0..steps).map(|_| pair.step(&mut batches).unwrap()).collect();
        pair.verify(&mut batches).unwrap();
        let weights = pair.snapshot().iter().map(|weight| weight.to_f64().unwrap()).collect();
        (measures, weights)
    }

    const UPDATES: [&str; 3] =
        ["generator_update=simultaneous", "generator_update=shared", "generator_update=redrawn"];

    #[test]
    fn every_objective_and_regulariser_trains_by_every_order_and_changes_the_result() {
        let settings: [&[&str]; 13] = [
            &["objective=least-squares"],
            &["objective=hinge"],
            &["objective=wasserstein"],
            &["objective=relativistic-average"],
            &["regularizers.gradient_penalty=10", "objective=wasserstein", "batch=3"],
            &["regularizers.r1=10"],
            &["regularizers.r1=10", "regularizers.penalty_every=2"],
            &["regularizers.clip_weights=0.01"],
            &["regularizers.spectral_norm=true"],
            &["regularizers.instance_noise=0.1", "regularizers.instance_noise_steps=100"],
            &["regularizers.minibatch_stddev=2"],
            &["regularizers.augment=true"],
            &["regularizers.feature_matching=1"],
        ];
        for update in UPDATES {
            let plain = trained(small(&[update]), 2).1;
            for settings in settings {
                let (measures, weights) = trained(small(&[settings, &[update]].concat()), 2);
                assert!(weights != plain, "{settings:?} {update} changed nothing");
                let finite = |tensor: &Tensor| tensor.item().unwrap().is_finite();
                assert!(measures.iter().all(|m| finite(&m.loss_d) && finite(&m.loss_g)));
                // The same again, to the bit.
                assert_eq!(trained(small(&[settings, &[update]].concat()), 2).1, weights);
            }
        }
    }

    #[test]
    fn lazy_penalties_and_named_losses_are_told_when_they_were_taken() {
        let lazy = ["regularizers.r1=10", "regularizers.penalty_every=2"];
        let names = |settings: &[&str]| -> Vec<Vec<&'static str>> {
            let measures = trained(small(settings), 3).0;
            measures.iter().map(|m| m.parts.iter().map(|(name, _)| *name).collect()).collect()
        };
        assert_eq!(names(&lazy), [vec!["loss_r1"], vec![], vec!["loss_r1"]]);
        let both = ["regularizers.gradient_penalty=10", "regularizers.feature_matching=1"];
        let expected = vec!["loss_gradient_penalty", "loss_adversarial", "loss_features"];
        assert_eq!(names(&both), vec![expected; 3]);
    }

    #[test]
    fn clipped_weights_stay_within_their_bounds() {
        let recipe = small(&["regularizers.clip_weights=0.01", "objective=wasserstein"]);
        let device = belamy_cpu::cpu();
        let own = Pair::new(recipe.clone(), 3, DType::F32, &device).unwrap();
        let before = own.generator.params().len();
        let weights = trained(recipe, 2).1;
        let most = weights[before..].iter().flatten().fold(0.0f64, |most, w| most.max(w.abs()));
        assert!(most <= 0.0100001 && most > 0.009, "{most}");
    }
}

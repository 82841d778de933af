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
use belamy_tensor::{DType, Device, Tensor};

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
    unverified: Option<Unverified>,
    /// The discriminator's targets, where they do not change.
    targets: Option<Tensor>,
}

/// The steps since the last [`Pair::verify`].
#[derive(Debug)]
struct Unverified {
    /// The weights before the first of them, by reference.
    weights: Vec<Tensor>,
    generator_optimizer: Optimizer,
    discriminator_optimizer: Optimizer,
    average: Option<Average>,
    /// How many numbers of each step are not finite, on the device.
    counts: Vec<Tensor>,
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
            unverified: None,
            targets: None,
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
    /// be called before anything is made of the result.
    pub fn step(&mut self, batches: &mut dyn Batches) -> Result<Measures> {
        if self.unverified.is_none() {
            self.unverified = Some(Unverified {
                weights: self.snapshot(),
                generator_optimizer: self.generator_optimizer.clone(),
                discriminator_optimizer: self.discriminator_optimizer.clone(),
                average: self.average.clone(),
                counts: Vec::new(),
            });
        }
        let measures = self.advance(batches)?;
        let mut watched = vec![measures.loss_d.clone(), measures.loss_g.clone()];
        watched.extend(self.networks().flat_map(|network| network.trainable()).map(|p| p.value()));
        let count = count_non_finite(&watched.iter().collect::<Vec<_>>())?;
        self.unverified.iter_mut().for_each(|steps| steps.counts.push(count.clone()));
        Ok(measures)
    }

    /// Waits for the steps made since the last call. If a number of theirs is not finite, goes back to the last good
    /// step, repeats those that were good, and fails with the first op or layer of the bad one: a step is a function
    /// of its number and the state before it.
    pub fn verify(&mut self, batches: &mut dyn Batches) -> Result<()> {
        let Some(steps) = self.unverified.take() else { return Ok(()) };
        let mut bad = None;
        for (index, count) in steps.counts.iter().enumerate() {
            if count.item()? > 0.0 {
                bad = Some(index);
                break;
            }
        }
        let Some(bad) = bad else { return Ok(()) };
        self.restore(&steps.weights);
        self.generator_optimizer = steps.generator_optimizer;
        self.discriminator_optimizer = steps.discriminator_optimizer;
        self.average = steps.average;
        self.step -= steps.counts.len() as u64;
        for _ in 0..bad {
            self.advance(batches)?;
        }
        let before = self.snapshot();
        self.update(batches)?;
        let after = self.snapshot();
        self.restore(&before);
        let place = self.first_non_finite(batches, &after)?;
        self.restore(&before);
        Err(Error::NotFinite { step: self.step + 1, place })
    }

    fn advance(&mut self, batches: &mut dyn Batches) -> Result<Measures> {
        let measures = self.update(batches)?;
        if let Some(average) = &mut self.average {
            average.update(&self.generator)?;
        }
        self.step += 1;
        Ok(measures)
    }

    fn context(&self) -> Result<Context> {
        Ok(Context::train(self.seed, self.step as u32, 0, &self.device)?)
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

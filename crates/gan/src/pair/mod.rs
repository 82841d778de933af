//! A generator and a discriminator, and the step that trains them: Goodfellow et al. (2014), Algorithm 1.

mod diagnosis;
mod game;
mod recorded;

use crate::batches::Batches;
use crate::error::Result;
use crate::networks;
use crate::objective::{Answers, taken_for_real};
use crate::pool::Pool;
use crate::recipe::{GeneratorUpdate, Recipe};
use belamy_nn::average::Average;
use belamy_nn::optimizer::{Optimizer, gradient_means, gradients};
use belamy_nn::{Context, Network};
use belamy_tensor::communicator::{Ranks, joined};
use belamy_tensor::{DType, Device, Tensor};
use recorded::{Recorded, Unverified};

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
    /// Earlier fakes that the discriminator is shown again; none if the recipe's pool is 0.
    pub pools: Vec<Pool>,
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
    /// Those that share each batch, if they are several.
    ranks: Option<Ranks>,
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
    /// The Euclidean norms of the gradients that moved the discriminator and the generator, before they were clipped,
    /// if the recipe watches them.
    pub gradient_norms: Option<[Tensor; 2]>,
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
        let networks = networks::build(recipe.system, &recipe.sizes(), device, dtype, seed)?;
        Pair::of(recipe, seed, networks, dtype, device)
    }

    /// As [`Pair::new`] in f32, with weights of 0: for a checkpoint's to be put in their place, in a fraction of the time
    /// that drawing them takes.
    pub fn undrawn(recipe: Recipe, seed: u64, device: &Device) -> Result<Pair> {
        recipe.check()?;
        let networks = networks::outline(recipe.system, &recipe.sizes(), device)?;
        let networks = networks::two(recipe.system, networks)?;
        Pair::of(recipe, seed, networks, DType::F32, device)
    }

    fn of(
        recipe: Recipe,
        seed: u64,
        (generator, discriminator): (Network, Network),
        dtype: DType,
        device: &Device,
    ) -> Result<Pair> {
        let generator_optimizer = Optimizer::new(recipe.generator_optimizer, &generator)?;
        let discriminator_optimizer =
            Optimizer::new(recipe.discriminator_optimizer, &discriminator)?;
        let average =
            (recipe.average_decay > 0.0).then(|| Average::new(&generator, recipe.average_decay));
        let pools: Vec<Pool> =
            (recipe.pool > 0).then(|| Pool::new(recipe.pool)).into_iter().collect();
        // A pool's images are tensors of their own, which no replay would carry on.
        let records = recipe.regularizers.are_the_same_each_step() && pools.is_empty();
        Ok(Pair {
            recipe,
            seed,
            generator,
            discriminator,
            generator_optimizer,
            discriminator_optimizer,
            average,
            pools,
            step: 0,
            device: device.clone(),
            dtype,
            counter: None,
            targets: None,
            unverified: None,
            warm: 0,
            recorded: None,
            records,
            ranks: None,
        })
    }

    /// Trains from now on with other ranks, each on its share of every batch: to rounding what one rank does with whole
    /// batches. Gradients are averaged and batch norm's statistics taken over all of them. Fails where a batch cannot be
    /// shared evenly, or the recipe looks at a batch in a way that is not shared yet.
    pub fn share(&mut self, ranks: &Ranks) -> Result<()> {
        crate::sharing::check(&self.recipe, ranks.size())?;
        if ranks.size() > 1 {
            let ranks = joined(ranks, &self.device)?;
            // What comes through the host no recorded step waits for.
            self.records &= ranks.on_device(&self.device).is_some();
            self.ranks = Some(ranks);
        }
        Ok(())
    }

    /// A network's gradients, of whatever ranks there are.
    fn gradients(&self, loss: &Tensor, network: &Network) -> Result<Vec<Tensor>> {
        match &self.ranks {
            Some(ranks) => Ok(gradient_means(loss, network, ranks)?),
            None => Ok(gradients(loss, network)?),
        }
    }

    /// Where the networks live.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The networks' element type.
    pub fn dtype(&self) -> DType {
        self.dtype
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
            let earlier = match self.pools.first_mut() {
                Some(pool) => Some(pool.exchange(&fake, &mut cx)?),
                None => None,
            };
            let game = self.judge(&real, earlier.as_ref().unwrap_or(&fake), &noise, &mut cx)?;
            let grads_d = self.gradients(&game.loss_d, &self.discriminator)?;
            if last && update == GeneratorUpdate::Simultaneous {
                // The generator is judged by what it made, whatever else the discriminator was shown.
                let same = earlier.is_none().then_some(&game);
                let (loss_g, parts) = self.generator_loss(&real, &fake, &noise, same, &mut cx)?;
                let grads_g = self.gradients(&loss_g, &self.generator)?;
                self.move_discriminator(&grads_d)?;
                self.generator_optimizer.apply(&self.generator, &grads_g)?;
                return self.measures(game, &loss_g, parts, [&grads_d, &grads_g]);
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
                let grads_g = self.gradients(&loss_g, &self.generator)?;
                self.generator_optimizer.apply(&self.generator, &grads_g)?;
                return self.measures(game, &loss_g, parts, [&grads_d, &grads_g]);
            }
        }
        unreachable!("a recipe has at least one discriminator update a step")
    }

    /// Samples for noise `[N, latent]` by the running statistics, from the averaged weights if there are any. `first` is
    /// the number of the first of them among all that are drawn from one seed: where dropout is in force, it is drawn by
    /// that, so that a sample does not depend on how many are drawn at once.
    pub fn sample(
        &mut self,
        first: usize,
        noise: &Tensor,
        labels: Option<&Tensor>,
    ) -> Result<Tensor> {
        let mut cx = Context::evaluate(self.seed, first as u32, &self.device)?;
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
}

#[cfg(test)]
mod tests;

//! What a run trains, seen from outside: the design of training systems.
//!
//! A run knows no game. It asks a [`Trainer`] for steps, for what they measured, for pictures, and a checkpoint asks it
//! for its [`Part`]s. There are two trainers:
//!
//! - [`Pair`]: a generator of noise and a discriminator, Algorithm 1 with its variants.
//! - [`Ensemble`]: any number of [players](crate::ensemble::Player) (a network, its optimiser, perhaps an average of
//!   its weights), image pools, and a *rule*: one function that makes one step. The rules are `pix2pix`, `cyclegan` and
//!   `super_resolution`.
//!
//! What holds for both:
//!
//! - **A step is a function** of the state before it and its number: data, noise, dropout and the pools' choices are
//!   drawn by counters (seed, stream, step). So a checkpoint needs no random state, a phase (SRGAN's pre-training) is a
//!   comparison with the step's number, and a bad step can be repeated.
//! - **Nothing is read back** within a step. Each step leaves a device-side count of numbers that are not finite;
//!   [`Trainer::verify_steps`] reads the counts when somebody looks, goes back to the state before the first bad step,
//!   repeats the good ones, and repeats the bad one with open eyes to name the first layer or gradient at fault.
//! - **A rule is written once.** It talks to its networks through a [`Round`](crate::ensemble::Round), which runs
//!   forward passes, takes gradients and applies them. The same code looks at every value on the way when a bad step is
//!   repeated.
//! - **A checkpoint is the parts**: each network and its average in a file of its own, all optimisers in one, the pools
//!   in one, and the number of updates of each optimiser in `state.json`.
//!
//! To add a system: its networks in `networks/`, a rule in `ensemble/`, a source of its data if it is of a new kind,
//! and a recipe.

use crate::batches::Batches;
use crate::ensemble::Ensemble;
use crate::error::Result;
use crate::pair::{Measures, Pair};
use crate::pictures::canvas::Canvas;
use crate::pool::Pool;
use crate::recipe::Recipe;
use belamy_nn::Network;
use belamy_nn::average::Average;
use belamy_nn::optimizer::Optimizer;
use belamy_tensor::communicator::Ranks;
use belamy_tensor::{DType, Device, Tensor};
use std::fmt;

/// A network with all that its training needs, by reference.
#[derive(Debug)]
pub struct Part<'a> {
    /// The network.
    pub network: &'a Network,
    /// What moves it.
    pub optimizer: &'a Optimizer,
    /// The moving average of its weights, if one is kept.
    pub average: Option<&'a Average>,
}

/// As [`Part`], to put a checkpoint's values in.
#[derive(Debug)]
pub struct PartMut<'a> {
    /// The network; its parameters can be rebound through a shared reference.
    pub network: &'a Network,
    /// What moves it.
    pub optimizer: &'a mut Optimizer,
    /// The moving average of its weights, if one is kept.
    pub average: Option<&'a mut Average>,
}

/// What a run's pictures are made from: the same all along, so that they can be compared.
#[derive(Debug, Clone)]
pub enum Shown {
    /// Noise `[N, latent]`, and labels where there are classes.
    Noise(Tensor, Option<Tensor>),
    /// Images of both kinds, as many of each: inputs and targets, or one of each.
    Images([Tensor; 2]),
}

/// Networks that are trained step by step.
pub trait Trainer: fmt::Debug + Send {
    /// What is being trained, and how.
    fn recipe(&self) -> &Recipe;

    /// The run's seed.
    fn seed(&self) -> u64;

    /// Steps made so far.
    fn steps_made(&self) -> u64;

    /// Says how many steps were made: the last thing that a checkpoint puts in.
    fn set_steps_made(&mut self, step: u64);

    /// Where the networks live.
    fn device(&self) -> &Device;

    /// The networks' element type.
    fn dtype(&self) -> DType;

    /// Trains from now on with other ranks, each on its share of every batch. Fails where that cannot be.
    fn share(&mut self, ranks: &Ranks) -> Result<()> {
        match ranks.size() {
            1 => Ok(()),
            _ => Err(crate::sharing::not_shared(self.recipe(), "images made from images")),
        }
    }

    /// One step. Reads nothing back from the device; [`Trainer::verify_steps`] must be called before anything is made of the
    /// result.
    fn make_step(&mut self, batches: &mut dyn Batches) -> Result<Measures>;

    /// Fails if a number of a step since the last call is not finite, naming the first place, and is then as it was
    /// before that step.
    fn verify_steps(&mut self, batches: &mut dyn Batches) -> Result<()>;

    /// The networks and what belongs to them, generators first.
    fn parts(&self) -> Vec<Part<'_>>;

    /// As [`Trainer::parts`], to be changed.
    fn parts_mut(&mut self) -> Vec<PartMut<'_>>;

    /// The image pools, if there are any.
    fn pools(&self) -> &[Pool] {
        &[]
    }

    /// As [`Trainer::pools`], to be changed.
    fn pools_mut(&mut self) -> &mut [Pool] {
        &mut []
    }

    /// What a generator of noise makes of what is shown; `None` where images are made from images.
    fn samples(&mut self, _shown: &Shown) -> Result<Option<Tensor>> {
        Ok(None)
    }

    /// A picture of what the generators make of what is shown.
    fn picture(&mut self, shown: &Shown, title: &str) -> Result<Canvas>;
}

/// The trainer of a recipe, its networks drawn by `seed`.
///
/// ```
/// # let device = belamy_cpu::cpu();
/// use belamy_gan::{Recipe, trainer};
/// let trainer = trainer::new(Recipe::named("sine")?, 1, belamy_tensor::DType::F32, &device)?;
/// assert_eq!(trainer.parts().len(), 2);
/// # Ok::<(), belamy_gan::Error>(())
/// ```
pub fn new(recipe: Recipe, seed: u64, dtype: DType, device: &Device) -> Result<Box<dyn Trainer>> {
    Ok(if recipe.system.translates() {
        Box::new(Ensemble::new(recipe, seed, dtype, device)?)
    } else {
        Box::new(Pair::new(recipe, seed, dtype, device)?)
    })
}

impl Trainer for Pair {
    fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn steps_made(&self) -> u64 {
        self.step
    }

    fn set_steps_made(&mut self, step: u64) {
        self.step = step;
    }

    fn device(&self) -> &Device {
        Pair::device(self)
    }

    fn dtype(&self) -> DType {
        Pair::dtype(self)
    }

    fn share(&mut self, ranks: &Ranks) -> Result<()> {
        Pair::share(self, ranks)
    }

    fn make_step(&mut self, batches: &mut dyn Batches) -> Result<Measures> {
        self.step(batches)
    }

    fn verify_steps(&mut self, batches: &mut dyn Batches) -> Result<()> {
        self.verify(batches)
    }

    fn pools(&self) -> &[Pool] {
        &self.pools
    }

    fn pools_mut(&mut self) -> &mut [Pool] {
        &mut self.pools
    }

    fn parts(&self) -> Vec<Part<'_>> {
        vec![
            Part {
                network: &self.generator,
                optimizer: &self.generator_optimizer,
                average: self.average.as_ref(),
            },
            Part {
                network: &self.discriminator,
                optimizer: &self.discriminator_optimizer,
                average: None,
            },
        ]
    }

    fn parts_mut(&mut self) -> Vec<PartMut<'_>> {
        vec![
            PartMut {
                network: &self.generator,
                optimizer: &mut self.generator_optimizer,
                average: self.average.as_mut(),
            },
            PartMut {
                network: &self.discriminator,
                optimizer: &mut self.discriminator_optimizer,
                average: None,
            },
        ]
    }

    fn samples(&mut self, shown: &Shown) -> Result<Option<Tensor>> {
        let Shown::Noise(noise, labels) = shown else {
            return Err(crate::Error::data("this recipe makes samples from noise"));
        };
        Ok(Some(self.sample(0, noise, labels.as_ref())?))
    }

    fn picture(&mut self, shown: &Shown, title: &str) -> Result<Canvas> {
        let samples = self.samples(shown)?.expect("a pair makes samples");
        crate::show::picture(&self.recipe, &samples, title)
    }
}

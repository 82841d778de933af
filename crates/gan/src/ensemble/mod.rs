//! Any number of networks that are trained by one rule: translation between images, and super-resolution.
//!
//! [`crate::trainer`] says how this fits the rest.

mod cyclegan;
mod pix2pix;
mod round;
mod super_resolution;

pub use round::Round;

use crate::batches::Batches;
use crate::error::{Error, Result};
use crate::memory;
use crate::networks::{self, System};
use crate::objective::Answers;
use crate::pair::Measures;
use crate::pictures::canvas::Canvas;
use crate::pictures::grid;
use crate::pool::Pool;
use crate::recipe::Recipe;
use crate::trainer::{Part, PartMut, Shown, Trainer};
use belamy_nn::average::Average;
use belamy_nn::optimizer::Optimizer;
use belamy_nn::{Context, Network};
use belamy_tensor::ops::finite::count_non_finite;
use belamy_tensor::ops::resize::resize_nearest;
use belamy_tensor::{DType, Device, Tensor};

/// A network, what moves it, and the average of its weights if the recipe keeps one.
#[derive(Debug)]
pub struct Player {
    /// The network.
    pub network: Network,
    /// What moves it.
    pub optimizer: Optimizer,
    /// The moving average of a generator's weights.
    pub average: Option<Average>,
}

/// Networks of a recipe with their optimisers, averages and pools, at some step of their training.
#[derive(Debug)]
pub struct Ensemble {
    recipe: Recipe,
    seed: u64,
    players: Vec<Player>,
    pools: Vec<Pool>,
    step: u64,
    device: Device,
    dtype: DType,
    unverified: Option<Unverified>,
}

/// The steps since the last look.
#[derive(Debug)]
struct Unverified {
    before: Saved,
    /// How many numbers of each step are not finite, on the device.
    counts: Vec<Tensor>,
}

/// All that a step changes, by reference: nothing is copied.
#[derive(Debug)]
struct Saved {
    weights: Vec<Tensor>,
    optimizers: Vec<Optimizer>,
    averages: Vec<Option<Average>>,
    pools: Vec<Pool>,
    step: u64,
}

impl Ensemble {
    /// Fresh networks, optimisers and pools, drawn by `seed`. Fails for a recipe whose generator takes noise.
    pub fn new(recipe: Recipe, seed: u64, dtype: DType, device: &Device) -> Result<Ensemble> {
        recipe.check()?;
        if !recipe.system.translates() {
            return Err(Error::recipe(format!("recipe {} trains a pair", recipe.name)));
        }
        let networks = networks::all(recipe.system, &recipe.sizes(), device, dtype, seed)?;
        let mut players = Vec::new();
        for network in networks {
            let is_generator = makes_images(&network);
            let settings = if is_generator {
                recipe.generator_optimizer
            } else {
                recipe.discriminator_optimizer
            };
            let keeps_average = is_generator && recipe.average_decay > 0.0;
            players.push(Player {
                optimizer: Optimizer::new(settings, &network)?,
                average: keeps_average.then(|| Average::new(&network, recipe.average_decay)),
                network,
            });
        }
        // One for each discriminator of a cycle; the other systems show fakes as they are.
        let pools = if recipe.system == System::Cyclegan { 2 } else { 0 };
        let pools = (0..pools).map(|_| Pool::new(recipe.pool)).collect();
        let device = device.clone();
        Ok(Ensemble { recipe, seed, players, pools, step: 0, device, dtype, unverified: None })
    }

    /// The players, generators and discriminators in turn.
    pub fn players(&self) -> &[Player] {
        &self.players
    }

    /// The same, to be changed.
    pub fn players_mut(&mut self) -> &mut [Player] {
        &mut self.players
    }

    fn round(&self, looking: bool) -> Result<Round> {
        let cx = Context::train(self.seed, self.step as u32, 0, &self.device)?;
        Ok(Round::new(cx, looking))
    }

    /// The rule of the recipe's system.
    fn update(&mut self, batches: &mut dyn Batches, round: &mut Round) -> Result<Measures> {
        let Ensemble { recipe, players, pools, step, .. } = self;
        match recipe.system {
            System::Cyclegan => cyclegan::step(recipe, players, pools, batches, round),
            System::Srgan => super_resolution::step(recipe, *step, players, batches, round),
            _ => pix2pix::step(recipe, players, batches, round),
        }
    }

    fn advance(&mut self, batches: &mut dyn Batches) -> Result<Measures> {
        let mut round = self.round(false)?;
        let measures = self.update(batches, &mut round)?;
        for Player { network, average, .. } in &mut self.players {
            if let Some(average) = average {
                average.update(network)?;
            }
        }
        self.step += 1;
        Ok(measures)
    }

    fn save(&self) -> Saved {
        let params = self.players.iter().flat_map(|player| player.network.params());
        Saved {
            weights: params.map(|(_, param)| param.value()).collect(),
            optimizers: self.players.iter().map(|player| player.optimizer.clone()).collect(),
            averages: self.players.iter().map(|player| player.average.clone()).collect(),
            pools: self.pools.clone(),
            step: self.step,
        }
    }

    fn go_back(&mut self, saved: &Saved) {
        let params = self.players.iter().flat_map(|player| player.network.params());
        params.zip(&saved.weights).for_each(|((_, param), value)| param.set(value.clone()));
        let states = saved.optimizers.iter().zip(&saved.averages);
        for (player, (optimizer, average)) in self.players.iter_mut().zip(states) {
            player.optimizer = optimizer.clone();
            player.average = average.clone();
        }
        self.pools = saved.pools.clone();
        self.step = saved.step;
    }

    /// What a generator makes of images `[N, H, W, C]`: from its averaged weights if there are any.
    ///
    /// A U-Net that was trained on one image at a time is used as it was trained, with each image's own statistics and
    /// with dropout (Isola et al.); all others by their running statistics.
    pub fn translate(&mut self, generator: usize, images: &Tensor) -> Result<Tensor> {
        let as_trained = self.recipe.system == System::Pix2pix && self.recipe.batch == 1;
        let player = &mut self.players[generator];
        if let Some(average) = &mut player.average {
            average.exchange(&player.network);
        }
        let made = if as_trained {
            one_by_one(&player.network, images, self.seed, &self.device)
        } else {
            let mut cx = Context::evaluate(self.seed, 0, &self.device)?;
            player.network.forward(images, None, &mut cx).map_err(Error::from)
        };
        if let Some(average) = &mut player.average {
            average.exchange(&player.network);
        }
        made
    }
}

impl Measures {
    /// What a step of a game measured.
    fn of_game(
        loss_d: &Tensor,
        loss_g: &Tensor,
        answers: Answers,
        parts: Vec<(&'static str, Tensor)>,
    ) -> Measures {
        let (loss_d, loss_g) = (loss_d.detach(), loss_g.detach());
        Measures { loss_d, loss_g, answers: Some(answers), parts, gradient_norms: None }
    }

    /// What a step of a generator alone measured.
    fn without_game(loss_g: &Tensor, parts: Vec<(&'static str, Tensor)>) -> Result<Measures> {
        let loss_g = loss_g.detach();
        Ok(Measures {
            loss_d: loss_g.zeros_like()?,
            loss_g,
            answers: None,
            parts,
            gradient_norms: None,
        })
    }
}

/// Passes of a network as in training, an image at a time; its running statistics stay as they were.
fn one_by_one(network: &Network, images: &Tensor, seed: u64, device: &Device) -> Result<Tensor> {
    let params = network.params();
    let before: Vec<Tensor> = params.iter().map(|(_, param)| param.value()).collect();
    let mut cx = Context::train(seed, u32::MAX, 0, device)?;
    let pass = |index: usize| -> Result<Tensor> {
        let image = images.slice(0, index, 1)?;
        Ok(network.forward(&image, None, &mut cx)?.detach())
    };
    let made: Result<Vec<Tensor>> = (0..images.dims()[0]).map(pass).collect();
    params.iter().zip(before).for_each(|((_, param), value)| param.set(value));
    Ok(belamy_tensor::ops::concat::concat(&made?.iter().collect::<Vec<_>>(), 0)?)
}

/// A generator makes images of 1 or 3 channels as large as the others'; a discriminator, logits.
fn makes_images(network: &Network) -> bool {
    network.name().starts_with("generator")
}

impl Trainer for Ensemble {
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
        &self.device
    }

    fn dtype(&self) -> DType {
        self.dtype
    }

    fn make_step(&mut self, batches: &mut dyn Batches) -> Result<Measures> {
        if self.unverified.is_none() {
            self.unverified = Some(Unverified { before: self.save(), counts: Vec::new() });
        }
        let measures = self.advance(batches)?;
        let mut watched = vec![measures.loss_d.clone(), measures.loss_g.clone()];
        let weights = self.players.iter().flat_map(|player| player.network.trainable());
        watched.extend(weights.map(|param| param.value()));
        let count = count_non_finite(&watched.iter().collect::<Vec<_>>())?;
        self.unverified.iter_mut().for_each(|steps| steps.counts.push(count.clone()));
        Ok(measures)
    }

    fn verify_steps(&mut self, batches: &mut dyn Batches) -> Result<()> {
        let Some(steps) = self.unverified.take() else { return Ok(()) };
        let mut bad = None;
        for (index, count) in steps.counts.iter().enumerate() {
            if count.item()? > 0.0 {
                bad = Some(index);
                break;
            }
        }
        let Some(bad) = bad else { return Ok(()) };
        self.go_back(&steps.before);
        for _ in 0..bad {
            self.advance(batches)?;
        }
        let before = self.save();
        let mut round = self.round(true)?;
        let repeated = self.update(batches, &mut round);
        self.go_back(&before);
        repeated?;
        let place = round.found().unwrap_or_else(|| "a value between two networks".to_owned());
        Err(Error::NotFinite { step: self.step + 1, place })
    }

    fn parts(&self) -> Vec<Part<'_>> {
        self.players
            .iter()
            .map(|Player { network, optimizer, average }| Part {
                network,
                optimizer,
                average: average.as_ref(),
            })
            .collect()
    }

    fn parts_mut(&mut self) -> Vec<PartMut<'_>> {
        self.players
            .iter_mut()
            .map(|Player { network, optimizer, average }| PartMut {
                network,
                optimizer,
                average: average.as_mut(),
            })
            .collect()
    }

    fn pools(&self) -> &[Pool] {
        &self.pools
    }

    fn pools_mut(&mut self) -> &mut [Pool] {
        &mut self.pools
    }

    /// Rows of input | output | target; for two ways, of image | there | back from either side.
    fn picture(&mut self, shown: &Shown, _title: &str) -> Result<Canvas> {
        let Shown::Images([first, second]) = shown else {
            return Err(Error::data("this recipe makes images from images, not from noise"));
        };
        let rows = match self.recipe.system {
            System::Cyclegan => {
                let there = self.translate(0, first)?;
                let back = self.translate(2, &there)?;
                let here = self.translate(2, second)?;
                let again = self.translate(0, &here)?;
                vec![first.clone(), there, back, second.clone(), here, again]
            }
            _ => {
                let made = self.translate(0, first)?;
                vec![first.clone(), made, second.clone()]
            }
        };
        side_by_side(&self.recipe, &rows)
    }
}

/// A picture with a row for each sample and a column for each of the batches, brought to one size. Fails without memory for
/// it.
pub fn side_by_side(recipe: &Recipe, columns: &[Tensor]) -> Result<Canvas> {
    let extent = |axis: usize| columns.iter().map(|batch| batch.dims()[axis]).max().unwrap_or(1);
    let (count, height, width) = (columns[0].dims()[0], extent(1), extent(2));
    let mut images = vec![Vec::new(); columns.len()];
    for (batch, images) in columns.iter().zip(&mut images) {
        let coloured = if batch.dims()[3] == 1 {
            batch.broadcast_to([count, batch.dims()[1], batch.dims()[2], 3])?
        } else {
            batch.clone()
        };
        *images = resize_nearest(&coloured, [height, width])?.to_f64()?;
    }
    let elements = height * width * 3;
    let rows = (0..count).flat_map(|row| {
        images.iter().flat_map(move |batch| &batch[row * elements..(row + 1) * elements])
    });
    let values = memory::collected(rows.map(|&value| value as f32), "a picture")?;
    let shape = [count * columns.len(), height, width, 3];
    grid::grid(&values, &shape, recipe.range, Some(columns.len()))
}

#[cfg(test)]
mod tests;

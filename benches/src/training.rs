//! A recipe's training step on made-up data of the right shape: times do not depend on what the pictures show.

use belamy_gan::batches::{Batches, DeviceBatches, TwoBatches};
use belamy_gan::data::two::Two;
use belamy_gan::data::{Dataset, ValueRange};
use belamy_gan::pair::Measures;
use belamy_gan::recipe::Source;
use belamy_gan::{Recipe, Result, Trainer, trainer};
use belamy_tensor::communicator::Ranks;
use belamy_tensor::philox::{Draws, uniform};
use belamy_tensor::{DType, Device};
use std::fmt;

/// The seed of weights and data.
const SEED: u64 = 1;
/// The stream of the made-up data: "BENC".
const STREAM: u32 = 0x4245_4E43;

/// A recipe being trained in f32 on a device.
pub struct Training {
    trainer: Box<dyn Trainer>,
    batches: Box<dyn Batches>,
    /// Of the last step.
    measures: Option<Measures>,
}

impl fmt::Debug for Training {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Training").field("trainer", &self.trainer).finish_non_exhaustive()
    }
}

impl Training {
    /// Fresh networks, and two batches of uniform noise as the data set, with labels where the recipe has classes. A
    /// generator that is first trained alone is past that.
    pub fn new(recipe: &Recipe, device: &Device) -> Result<Training> {
        Training::among(recipe, device, None)
    }

    /// As [`Training::new`], with batches that some ranks share.
    pub fn among(recipe: &Recipe, device: &Device, ranks: Option<&Ranks>) -> Result<Training> {
        let recipe = &Recipe { pretraining_steps: 0, ..recipe.clone() };
        let mut trainer = trainer::new(recipe.clone(), SEED, DType::F32, device)?;
        if let Some(ranks) = ranks {
            trainer.share(ranks)?;
        }
        let batches: Box<dyn Batches> = match recipe.source {
            source if source.is_two() => {
                let [first, second] = recipe.two_shapes();
                // What belongs together is cropped and mirrored together.
                let paired = !matches!(source, Source::TwoFolders | Source::CirclesSquares);
                let two = Two::of(made_up(recipe, &first)?, made_up(recipe, &second)?, paired)?;
                Box::new(TwoBatches::new(recipe, &two, DType::F32, device)?)
            }
            source => {
                let discriminator = trainer.parts()[1].network;
                let data = match source {
                    Source::Sine => None,
                    _ => Some(made_up(recipe, discriminator.input().dims())?),
                };
                let data = data.as_ref();
                let batches = DeviceBatches::new(recipe, data, discriminator, DType::F32, device)?;
                Box::new(batches.shared_by(ranks.map_or(1, |ranks| ranks.size())))
            }
        };
        Ok(Training { trainer, batches, measures: None })
    }

    /// Queues one step, and waits for nothing.
    pub fn queue(&mut self) -> Result<()> {
        self.measures = Some(self.trainer.make_step(&mut *self.batches)?);
        Ok(())
    }

    /// Waits for the steps that were queued.
    pub fn wait(&self) -> Result<()> {
        Ok(self.trainer.device().synchronize()?)
    }

    /// One step and its losses.
    pub fn step(&mut self) -> Result<[f64; 2]> {
        self.queue()?;
        self.losses()
    }

    /// What a run does before it shows its losses: fails if a number since the last time is not finite. Returns the
    /// discriminator's and the generator's loss of the last step.
    pub fn losses(&mut self) -> Result<[f64; 2]> {
        self.trainer.verify_steps(&mut *self.batches)?;
        let read = |measures: &Measures| Ok([measures.loss_d.item()?, measures.loss_g.item()?]);
        self.measures.as_ref().map_or(Ok([f64::NAN; 2]), read)
    }
}

/// Two batches of uniform noise, `[2 batch, ..sample]`.
fn made_up(recipe: &Recipe, sample: &[usize]) -> Result<Dataset> {
    let count = 2 * recipe.batch;
    let elements: usize = sample.iter().product();
    let draws = Draws { seed: SEED, stream: STREAM, step: 0 };
    let (low, width) = match recipe.range {
        ValueRange::Unit => (0.0, 1.0),
        ValueRange::Signed | ValueRange::Unbounded => (-1.0, 2.0),
    };
    let values = (0..count as u32)
        .flat_map(|index| (0..elements as u32).map(move |place| draws.word(index, place)))
        .map(|word| (low + width * uniform(word)) as f32)
        .collect();
    let labels = (recipe.classes > 0)
        .then(|| (0..count as u32).map(|index| index % recipe.classes as u32).collect());
    let shape = [&[count], sample].concat();
    Dataset::new(values, &shape, labels, recipe.range)
}

//! A recipe's training step on made-up data of the right shape: times do not depend on what the pictures show.

use belamy_gan::batches::DeviceBatches;
use belamy_gan::data::{Dataset, ValueRange};
use belamy_gan::recipe::Source;
use belamy_gan::{Pair, Recipe, Result};
use belamy_tensor::philox::{Draws, uniform};
use belamy_tensor::{DType, Device};

/// The seed of weights and data.
const SEED: u64 = 1;
/// The stream of the made-up data: "BENC".
const STREAM: u32 = 0x4245_4E43;

/// A recipe being trained in f32 on a device.
#[derive(Debug)]
pub struct Training {
    pair: Pair,
    batches: DeviceBatches,
}

impl Training {
    /// Fresh networks, and two batches of uniform noise as the data set, with labels where the recipe has classes.
    pub fn new(recipe: &Recipe, device: &Device) -> Result<Training> {
        let pair = Pair::new(recipe.clone(), SEED, DType::F32, device)?;
        let data = match recipe.source {
            Source::Sine => None,
            _ => Some(made_up(recipe, pair.discriminator.input().dims())?),
        };
        let batches =
            DeviceBatches::new(recipe, data.as_ref(), &pair.discriminator, DType::F32, device)?;
        Ok(Training { pair, batches })
    }

    /// One step, to its end: both losses are read. Returns the discriminator's and the generator's.
    pub fn step(&mut self) -> Result<[f64; 2]> {
        let measures = self.pair.step(&mut self.batches)?;
        self.pair.verify(&mut self.batches)?;
        Ok([measures.loss_d.item()?, measures.loss_g.item()?])
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

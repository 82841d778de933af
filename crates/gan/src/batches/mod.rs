//! What a training step draws: real samples and noise.
//!
//! Both come from counters, not from a state: a batch depends on (seed, step, draw) alone, so a resumed run sees what
//! an unbroken one would have seen. Shuffling is a permutation computed on the device; nothing visits the host.

mod two;

pub use two::TwoBatches;

use crate::data::{Dataset, ValueRange};
use crate::error::{Error, Result};
use crate::recipe::{Recipe, Source};
use belamy_nn::{Context, Network};
use belamy_tensor::ops::concat::concat;
use belamy_tensor::ops::gather::gather_rows;
use belamy_tensor::ops::pointwise::select;
use belamy_tensor::ops::random::{self, Shuffle};
use belamy_tensor::{DType, Device, Shape, Tensor};

/// Samples, and the class of each where there are classes.
#[derive(Debug, Clone)]
pub struct Batch {
    /// `[N, ..]`: images, points, or noise.
    pub samples: Tensor,
    /// `[N]` of u32.
    pub labels: Option<Tensor>,
}

/// Where a training step's samples come from. Tests put recorded ones here.
pub trait Batches {
    /// The real samples of the step's discriminator update `draw`, counted from 0.
    fn real(&mut self, draw: usize, cx: &mut Context) -> Result<Batch>;
    /// Noise, and labels where there are classes.
    fn noise(&mut self, cx: &mut Context) -> Result<Batch>;
    /// Whether all of it is made on the device from the context's counter, so that a step may be recorded and replayed.
    fn are_of_the_counter(&self) -> bool {
        false
    }
    /// Images of two kinds, for systems that make the one from the other: inputs and the targets that belong to them,
    /// or a batch of each. Fails for sources of one kind.
    fn two(&mut self, _cx: &mut Context) -> Result<[Tensor; 2]> {
        Err(Error::data("these data are of one kind, not of two"))
    }
    /// How many samples make an epoch; `None` where they never end.
    fn count(&self) -> Option<usize> {
        None
    }
}

/// Streams of random numbers with a place of their own, above those that a step counts up.
const SHUFFLE_STREAM: u32 = 1 << 25;

/// Batches of a recipe's data on a device.
#[derive(Debug)]
pub struct DeviceBatches {
    /// Samples of a batch.
    batch: usize,
    /// How many ranks share each batch evenly.
    ranks: usize,
    draws: usize,
    latent: usize,
    classes: usize,
    dtype: DType,
    mirror: bool,
    device: Device,
    real: Real,
}

#[derive(Debug)]
enum Real {
    /// Fresh points of the curve each time.
    Sine,
    /// A data set, shuffled anew each epoch.
    Samples { samples: Tensor, labels: Option<Tensor>, count: usize },
}

impl DeviceBatches {
    /// Puts a data set on the device as samples of the discriminator's input shape; the sine needs none.
    ///
    /// Fails when the samples are of another shape, or a conditional system's data have no labels.
    pub fn new(
        recipe: &Recipe,
        data: Option<&Dataset>,
        discriminator: &Network,
        dtype: DType,
        device: &Device,
    ) -> Result<DeviceBatches> {
        let real = match (recipe.source, data) {
            (Source::Sine, _) => Real::Sine,
            (_, Some(data)) => on_device(recipe, data, discriminator.input(), dtype, device)?,
            (_, None) => return Err(Error::data(format!("recipe {} needs data", recipe.name))),
        };
        Ok(DeviceBatches {
            batch: recipe.batch,
            ranks: 1,
            draws: recipe.discriminator_steps,
            latent: recipe.latent,
            classes: recipe.classes,
            dtype,
            mirror: recipe.mirror && discriminator.input().rank() == 3,
            device: device.clone(),
            real,
        })
    }
}

impl DeviceBatches {
    /// The same for one of `ranks` ranks that share each batch: which one, the context's counter says.
    pub fn shared_by(self, ranks: usize) -> DeviceBatches {
        DeviceBatches { ranks, ..self }
    }

    /// How many samples of a batch are drawn here.
    fn share(&self) -> usize {
        self.batch / self.ranks
    }
}

fn on_device(
    recipe: &Recipe,
    data: &Dataset,
    sample: Shape,
    dtype: DType,
    device: &Device,
) -> Result<Real> {
    let count = data.samples();
    let found = &data.shape[1..];
    if data.sample_elements() != sample.elements() || (sample.rank() > 1 && found != sample.dims())
    {
        let message = format!(
            "recipe {} takes samples of shape {sample}, the data are {found:?}",
            recipe.name
        );
        return Err(Error::data(message));
    }
    if data.range != recipe.range && recipe.range != ValueRange::Unbounded {
        return Err(Error::data(format!("recipe {} takes another range of values", recipe.name)));
    }
    let samples = samples_on_device(data, &[&[count], sample.dims()].concat(), dtype, device)?;
    let labels = match (&data.labels, recipe.classes) {
        (_, 0) => None,
        (Some(labels), classes) if data.classes <= classes => {
            Some(Tensor::from_slice(labels, [count], device)?)
        }
        _ => {
            let message = format!(
                "recipe {} wants labels of {} classes, the data have {}",
                recipe.name, recipe.classes, data.classes
            );
            return Err(Error::data(message));
        }
    };
    Ok(Real::Samples { samples, labels, count })
}

/// All samples of a data set as one tensor of `shape`.
fn samples_on_device(
    data: &Dataset,
    shape: &[usize],
    dtype: DType,
    device: &Device,
) -> Result<Tensor> {
    let shape = Shape::new(shape)?;
    Ok(match dtype {
        DType::F32 => Tensor::from_slice(&data.images, shape, device)?,
        _ => {
            let wide: Vec<f64> = data.images.iter().map(|&value| f64::from(value)).collect();
            Tensor::from_f64(&wide, shape, dtype, device)?
        }
    })
}

impl Batches for DeviceBatches {
    fn are_of_the_counter(&self) -> bool {
        true
    }

    fn real(&mut self, draw: usize, cx: &mut Context) -> Result<Batch> {
        match &self.real {
            Real::Sine => {
                let reach = crate::data::synthetic::SINE_REACH;
                let key = cx.next_key();
                let x = random::uniform(
                    [self.share(), 1],
                    -reach,
                    reach,
                    self.dtype,
                    key,
                    cx.counter(),
                )?;
                Ok(Batch { samples: concat(&[&x, &x.sin()?], 1)?, labels: None })
            }
            Real::Samples { samples, labels, count } => {
                let shuffle = Shuffle {
                    count: *count as u32,
                    global_batch: self.batch as u32,
                    draw: draw as u32,
                    draws: self.draws as u32,
                };
                let key = cx.key(SHUFFLE_STREAM);
                let indices = random::shuffled_indices(self.share(), shuffle, key, cx.counter())?;
                let mut samples = gather_rows(samples, &indices)?;
                if self.mirror {
                    samples = mirrored_at_random(&samples, cx)?;
                }
                let labels =
                    labels.as_ref().map(|labels| gather_rows(labels, &indices)).transpose()?;
                Ok(Batch { samples, labels })
            }
        }
    }

    fn noise(&mut self, cx: &mut Context) -> Result<Batch> {
        let noise = labelled_noise(self.share(), self.latent, self.classes, self.dtype, cx)?;
        debug_assert!(noise.samples.device().is(&self.device));
        Ok(noise)
    }

    fn count(&self) -> Option<usize> {
        match &self.real {
            Real::Sine => None,
            Real::Samples { count, .. } => Some(*count),
        }
    }
}

/// Standard normal noise `[batch, latent]`, and labels drawn evenly where there are classes.
pub fn labelled_noise(
    batch: usize,
    latent: usize,
    classes: usize,
    dtype: DType,
    cx: &mut Context,
) -> Result<Batch> {
    let samples = normal_noise(batch, latent, dtype, cx)?;
    let labels = match classes {
        0 => None,
        classes => {
            let key = cx.next_key();
            Some(random::integers([batch], classes as u32, key, cx.counter())?)
        }
    };
    Ok(Batch { samples, labels })
}

/// Standard normal noise `[batch, latent]`.
pub fn normal_noise(batch: usize, latent: usize, dtype: DType, cx: &mut Context) -> Result<Tensor> {
    let key = cx.next_key();
    Ok(random::normal([batch, latent], 0.0, 1.0, dtype, key, cx.counter())?)
}

/// Each image of `[N, H, W, C]` as it is or mirrored left to right, with even odds.
fn mirrored_at_random(images: &Tensor, cx: &mut Context) -> Result<Tensor> {
    let chosen = even_odds(images.dims()[0], images.dtype(), cx)?;
    Ok(select(&chosen, &mirrored(images)?, images)?)
}

/// A coin for each of `count` images, `[count, 1, 1, 1]`.
fn even_odds(count: usize, dtype: DType, cx: &mut Context) -> Result<Tensor> {
    let key = cx.next_key();
    Ok(random::bernoulli([count, 1, 1, 1], 0.5, dtype, key, cx.counter())?)
}

/// Images `[N, H, W, C]` mirrored left to right.
fn mirrored(images: &Tensor) -> Result<Tensor> {
    let &[n, h, w, c] = images.dims() else {
        return Err(Error::data("only images can be mirrored"));
    };
    let backwards: Vec<u32> = (0..w as u32).rev().collect();
    let backwards = Tensor::from_slice(&backwards, [w], images.device())?;
    let columns = images.permute(&[2, 0, 1, 3])?.reshape([w, n * h * c])?;
    Ok(gather_rows(&columns, &backwards)?.reshape([w, n, h, c])?.permute(&[1, 2, 0, 3])?)
}

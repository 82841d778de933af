//! A recipe's training, fed with the caller's samples.

use crate::status::{Failure, Status, call};
use crate::{device, numbers, text};
use belamy_gan::batches::{Batch, Batches, labelled_noise};
use belamy_gan::recipe::Recipe;
use belamy_gan::run::{self, Plan};
use belamy_gan::{Pair, checkpoint};
use belamy_nn::Context;
use belamy_tensor::{DType, Device, Shape, Tensor};
use std::ffi::c_char;
use std::path::Path;

/// A training under way.
#[derive(Debug)]
pub struct Trainer {
    pair: Pair,
    given: Given,
}

/// The caller's samples, and noise by the recipe.
#[derive(Debug)]
struct Given {
    real: Option<Batch>,
    batch: usize,
    latent: usize,
    classes: usize,
    device: Device,
}

impl Batches for Given {
    fn real(&mut self, _draw: usize, _cx: &mut Context) -> belamy_gan::Result<Batch> {
        self.real.clone().ok_or_else(|| belamy_gan::Error::data("no samples were given"))
    }

    fn noise(&mut self, cx: &mut Context) -> belamy_gan::Result<Batch> {
        labelled_noise(self.batch, self.latent, self.classes, DType::F32, cx)
    }
}

/// A handle of the caller's.
///
/// # Safety
///
/// The pointer is null or what `belamy_trainer_open` gave, not yet freed, and nobody else uses it while `'a` lasts.
unsafe fn handle<'a>(trainer: *mut Trainer) -> Result<&'a mut Trainer, Failure> {
    // SAFETY: the caller says so.
    unsafe { trainer.as_mut() }.ok_or_else(|| Failure::argument("trainer is null"))
}

/// Begins the training of a recipe whose generator takes noise, from weights drawn by `seed`. `settings` are fields of the
/// recipe as `--set` takes them, `key=value`, one a line, or null; `device` as for a generator. The handle goes to `out`;
/// `belamy_trainer_free` frees it.
///
/// # Safety
///
/// The texts end with a zero; `out` leads to room for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn belamy_trainer_open(
    recipe: *const c_char,
    settings: *const c_char,
    seed: u64,
    device_name: *const c_char,
    out: *mut *mut Trainer,
) -> Status {
    call(|| {
        // SAFETY: the caller says so.
        let (name, device) = unsafe { (text(recipe, "recipe")?, device(device_name)?) };
        let mut recipe = Recipe::named(name)?;
        if !settings.is_null() {
            // SAFETY: the same.
            let settings = unsafe { text(settings, "settings") }?;
            settings
                .lines()
                .filter(|line| !line.trim().is_empty())
                .try_for_each(|line| recipe.set(line))?;
        }
        if recipe.system.translates() {
            let message =
                format!("recipe {name} makes images from images: it is not trained from here");
            return Err(Failure::argument(message));
        }
        if out.is_null() {
            return Err(Failure::argument("out is null"));
        }
        let given = Given {
            real: None,
            batch: recipe.batch,
            latent: recipe.latent,
            classes: recipe.classes,
            device: device.clone(),
        };
        let pair = Pair::new(recipe, seed, DType::F32, &device)?;
        // SAFETY: the caller says that there is room.
        unsafe { out.write(Box::into_raw(Box::new(Trainer { pair, given }))) };
        Ok(())
    })
}

/// Frees a trainer; null is nothing to free.
///
/// # Safety
///
/// Nobody uses it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn belamy_trainer_free(trainer: *mut Trainer) {
    if !trainer.is_null() {
        call(|| {
            // SAFETY: made by `Box::into_raw`, and freed once.
            drop(unsafe { Box::from_raw(trainer) });
            Ok(())
        });
    }
}

/// How many samples a step takes; 0 for null.
///
/// # Safety
///
/// The handle is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn belamy_trainer_batch(trainer: *const Trainer) -> usize {
    // SAFETY: the caller says so.
    unsafe { trainer.as_ref() }.map_or(0, |trainer| trainer.given.batch)
}

/// How many numbers a sample has; 0 for null.
///
/// # Safety
///
/// The handle is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn belamy_trainer_elements(trainer: *const Trainer) -> usize {
    // SAFETY: the caller says so.
    unsafe { trainer.as_ref() }.map_or(0, |trainer| trainer.pair.discriminator.input().elements())
}

/// One step on `belamy_trainer_batch` real samples of `belamy_trainer_elements` numbers each, with their classes where the
/// recipe has some (null otherwise). The losses of discriminator and generator go to `losses`, two numbers, unless it is
/// null.
///
/// # Safety
///
/// The handle is valid and nobody else's meanwhile; `samples` leads to as many numbers, `labels` to as many classes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn belamy_trainer_step(
    trainer: *mut Trainer,
    samples: *const f32,
    labels: *const u32,
    losses: *mut f32,
) -> Status {
    call(|| {
        // SAFETY: the caller says so.
        let Trainer { pair, given } = unsafe { handle(trainer) }?;
        let (batch, input) = (given.batch, pair.discriminator.input());
        // SAFETY: the same.
        let samples = unsafe { numbers(samples, batch * input.elements(), "samples") }?;
        if let Some(place) = samples.iter().position(|value| !value.is_finite()) {
            let (sample, value) = (place / input.elements(), samples[place]);
            return Err(Failure::argument(format!("sample {sample} has a number that is {value}")));
        }
        let shape = Shape::new(&[&[batch], input.dims()].concat())?;
        let samples = Tensor::from_slice(samples, shape, &given.device)?;
        let labels = match given.classes {
            0 => None,
            classes => {
                // SAFETY: the same.
                let labels = unsafe { numbers(labels, batch, "labels") }?;
                if let Some(label) = labels.iter().find(|label| **label as usize >= classes) {
                    let most = classes - 1;
                    return Err(Failure::argument(format!("label {label}: there are 0 to {most}")));
                }
                Some(Tensor::from_slice(labels, [batch], &given.device)?)
            }
        };
        given.real = Some(Batch { samples, labels });
        let measures = pair.step(given)?;
        pair.verify(given)?;
        if !losses.is_null() {
            let found = [measures.loss_d.item()?, measures.loss_g.item()?];
            for (place, loss) in found.into_iter().enumerate() {
                // SAFETY: the caller says that there is room for two.
                unsafe { losses.add(place).write_unaligned(loss as f32) };
            }
        }
        Ok(())
    })
}

/// Writes the training as a run that `belamy sample`, `belamy export` and `belamy_generator_open` take: into a folder that is
/// new or empty.
///
/// # Safety
///
/// The handle is valid and nobody else's meanwhile; the text ends with a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn belamy_trainer_save(trainer: *mut Trainer, run: *const c_char) -> Status {
    call(|| {
        // SAFETY: the caller says so.
        let (own, folder) = unsafe { (handle(trainer)?, Path::new(text(run, "run")?)) };
        let pair = &own.pair;
        let plan = Plan::new(pair.recipe.clone(), pair.seed, &own.given.device);
        run::claim(folder, &plan, || checkpoint::save(pair, &folder.join("checkpoints")))?;
        Ok(())
    })
}

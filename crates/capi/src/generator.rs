//! A run's generator: samples into the caller's memory.

use crate::single::Single;
use crate::status::{Failure, Status, call};
use crate::{device, numbers, text};
use belamy_gan::Pair;
use belamy_gan::batches::normal_noise;
use belamy_gan::run::{self, labels_in_turn};
use belamy_nn::{Context, Network};
use belamy_tensor::{DType, Device, Tensor};
use std::ffi::c_char;
use std::path::Path;

/// Up to so many samples are made one by one where that can be: packing the weights for more costs less than it saves.
const ONE_BY_ONE: usize = 4;
/// Samples that are made at once: more would only take more memory.
const AT_ONCE: usize = 256;

/// A trained generator.
#[derive(Debug)]
pub struct Generator {
    /// With the averaged weights, where the run keeps them.
    network: Network,
    latent: usize,
    classes: usize,
    /// Numbers of one sample.
    elements: usize,
    seed: u64,
    device: Device,
    /// For single samples, where the network is small and the device this processor.
    single: Option<Single>,
}

impl Generator {
    fn open(folder: &Path, device: Device) -> Result<Generator, Failure> {
        let plan = run::read_plan(folder)?;
        let pair = run::open_generator(folder, &plan, &device)?;
        let Pair { generator: network, average, recipe, seed, .. } = pair;
        if let Some(mut average) = average {
            average.exchange(&network);
        }
        let elements = network.output()?.elements();
        let (latent, classes) = (recipe.latent, recipe.classes);
        let is_here = device.id().name == "cpu";
        let single = is_here.then(|| Single::of(&network)).flatten();
        Ok(Generator { network, latent, classes, elements, seed, device, single })
    }

    /// What the generator makes of rows of noise, and labels where there are classes, into `out`.
    fn draw(&self, noise: &Tensor, labels: Option<&[u32]>, out: &mut [f32]) -> Result<(), Failure> {
        let count = noise.dims()[0];
        for start in (0..count).step_by(AT_ONCE) {
            let length = AT_ONCE.min(count - start);
            let labels = match labels {
                Some(labels) => Some(Tensor::from_slice(
                    &labels[start..start + length],
                    [length],
                    &self.device,
                )?),
                None => None,
            };
            let mut cx = Context::evaluate(self.seed, start as u32, &self.device)?;
            let part = noise.slice(0, start, length)?;
            let samples = self.network.forward(&part, labels.as_ref(), &mut cx)?;
            let place = &mut out[start * self.elements..(start + length) * self.elements];
            place.copy_from_slice(&samples.to_vec::<f32>()?);
        }
        Ok(())
    }

    /// The caller's labels, each of a class that there is; `None` where there are none.
    ///
    /// # Safety
    ///
    /// `labels` is null or leads to `count` labels, which stay while `'a` lasts.
    unsafe fn checked_labels<'a>(
        &self,
        labels: *const u32,
        count: usize,
    ) -> Result<Option<&'a [u32]>, Failure> {
        let classes = self.classes as u32;
        if labels.is_null() {
            return Ok(None);
        }
        if classes == 0 {
            return Err(Failure::argument("the generator has no classes: labels must be null"));
        }
        // SAFETY: the caller says so.
        let labels = unsafe { numbers(labels, count, "labels") }?;
        match labels.iter().find(|label| **label >= classes) {
            Some(label) => {
                Err(Failure::argument(format!("label {label}: there are 0 to {}", classes - 1)))
            }
            None => Ok(Some(labels)),
        }
    }

    /// The labels of a call: the caller's, or in turn where there are classes and none are given.
    ///
    /// # Safety
    ///
    /// As [`Generator::checked_labels`].
    unsafe fn labels(&self, labels: *const u32, count: usize) -> Result<Option<Vec<u32>>, Failure> {
        // SAFETY: the caller says so.
        let given = unsafe { self.checked_labels(labels, count) }?;
        let classes = self.classes as u32;
        Ok(match given {
            Some(labels) => Some(labels.to_vec()),
            None if classes > 0 => Some(labels_in_turn(count, classes)?),
            None => None,
        })
    }

    /// Where samples go.
    ///
    /// # Safety
    ///
    /// `out` is null or leads to `room` numbers that are the callee's while `'a` lasts.
    unsafe fn place<'a>(
        &self,
        count: usize,
        out: *mut f32,
        room: usize,
    ) -> Result<&'a mut [f32], Failure> {
        let wanted = count.checked_mul(self.elements).filter(|wanted| *wanted <= room);
        let Some(wanted) = wanted else {
            let elements = self.elements;
            return Err(Failure::argument(format!(
                "out has room for {room} numbers, and {count} samples of {elements} are more"
            )));
        };
        if out.is_null() || !out.is_aligned() {
            return Err(Failure::argument("out is null or not aligned"));
        }
        // SAFETY: the caller says so, and it is aligned.
        Ok(unsafe { std::slice::from_raw_parts_mut(out, wanted) })
    }
}

/// A handle of the caller's.
///
/// # Safety
///
/// The pointer is null or what `belamy_generator_open` gave, not yet freed.
unsafe fn handle<'a>(generator: *const Generator) -> Result<&'a Generator, Failure> {
    // SAFETY: the caller says so.
    unsafe { generator.as_ref() }.ok_or_else(|| Failure::argument("generator is null"))
}

/// Opens the generator of a run's newest checkpoint: `run` is the run's folder, `device` is cpu, webgpu or cuda, with :N
/// for the N-th, or null for the CPU. The handle goes to `out`; `belamy_generator_free` frees it.
///
/// # Safety
///
/// The texts end with a zero; `out` leads to room for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn belamy_generator_open(
    run: *const c_char,
    device_name: *const c_char,
    out: *mut *mut Generator,
) -> Status {
    call(|| {
        // SAFETY: the caller says so.
        let (run, device) = unsafe { (text(run, "run")?, device(device_name)?) };
        if out.is_null() {
            return Err(Failure::argument("out is null"));
        }
        let generator = Generator::open(Path::new(run), device)?;
        // SAFETY: the caller says that there is room.
        unsafe { out.write(Box::into_raw(Box::new(generator))) };
        Ok(())
    })
}

/// Frees a generator; null is nothing to free.
///
/// # Safety
///
/// Nobody uses it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn belamy_generator_free(generator: *mut Generator) {
    if !generator.is_null() {
        call(|| {
            // SAFETY: made by `Box::into_raw`, and freed once.
            drop(unsafe { Box::from_raw(generator) });
            Ok(())
        });
    }
}

/// How many numbers of noise a sample is made from; 0 for null.
///
/// # Safety
///
/// The handle is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn belamy_generator_latent(generator: *const Generator) -> usize {
    // SAFETY: the caller says so.
    unsafe { generator.as_ref() }.map_or(0, |generator| generator.latent)
}

/// How many classes it knows; 0 where it takes no labels, and for null.
///
/// # Safety
///
/// The handle is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn belamy_generator_classes(generator: *const Generator) -> usize {
    // SAFETY: the caller says so.
    unsafe { generator.as_ref() }.map_or(0, |generator| generator.classes)
}

/// How many numbers a sample has; 0 for null.
///
/// # Safety
///
/// The handle is null or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn belamy_generator_elements(generator: *const Generator) -> usize {
    // SAFETY: the caller says so.
    unsafe { generator.as_ref() }.map_or(0, |generator| generator.elements)
}

/// Draws `count` samples for noise of a seed, the samples of `belamy sample --seed`, into `out`, which has room for `room`
/// numbers. `labels` are `count` classes, or null: then in turn where there are classes.
///
/// # Safety
///
/// The handle is valid; `labels` is null or leads to `count` labels, `out` to `room` numbers that nobody else uses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn belamy_generator_sample(
    generator: *const Generator,
    seed: u64,
    labels: *const u32,
    count: usize,
    out: *mut f32,
    room: usize,
) -> Status {
    let by_seed = |own: &Generator| {
        let mut cx = Context::evaluate(seed, 0, &own.device)?;
        Ok(normal_noise(count, own.latent, DType::F32, &mut cx)?)
    };
    // SAFETY: the caller says so.
    call(|| unsafe { sample(generator, by_seed, labels, count, out, room) })
}

/// Draws `count` samples for the caller's noise, `count` rows of `belamy_generator_latent` numbers; otherwise as
/// `belamy_generator_sample`.
///
/// # Safety
///
/// As there, and `noise` leads to as many numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn belamy_generator_sample_from(
    generator: *const Generator,
    noise: *const f32,
    labels: *const u32,
    count: usize,
    out: *mut f32,
    room: usize,
) -> Status {
    call(|| {
        // SAFETY: the caller says so.
        let own = unsafe { handle(generator) }?;
        // The room bounds the number of samples.
        // SAFETY: the same.
        let (place, labels_given) =
            unsafe { (own.place(count, out, room)?, own.checked_labels(labels, count)?) };
        let length = count.checked_mul(own.latent);
        let length =
            length.ok_or_else(|| Failure::argument(format!("{count} samples are too many")))?;
        // SAFETY: the same.
        let noise = unsafe { numbers(noise, length, "noise") }?;
        if let Some(single) = own.single.as_ref().filter(|_| count <= ONE_BY_ONE) {
            let rows = noise.chunks_exact(own.latent).zip(place.chunks_exact_mut(own.elements));
            for (index, (noise, out)) in rows.enumerate() {
                let in_turn = index as u32 % (own.classes as u32).max(1);
                single.draw(noise, Some(labels_given.map_or(in_turn, |labels| labels[index])), out);
            }
            return Ok(());
        }
        let given =
            |own: &Generator| Ok(Tensor::from_slice(noise, [count, own.latent], &own.device)?);
        // SAFETY: the same.
        unsafe { sample(generator, given, labels, count, out, room) }
    })
}

/// Draws samples for the noise that `noise` makes, once all else is known to be right.
///
/// # Safety
///
/// As [`belamy_generator_sample`].
unsafe fn sample(
    generator: *const Generator,
    noise: impl FnOnce(&Generator) -> Result<Tensor, Failure>,
    labels: *const u32,
    count: usize,
    out: *mut f32,
    room: usize,
) -> Result<(), Failure> {
    // SAFETY: the caller says so.
    let own = unsafe { handle(generator) }?;
    // The room bounds the number of samples.
    // SAFETY: the same.
    let (out, labels) = unsafe { (own.place(count, out, room)?, own.labels(labels, count)?) };
    if count == 0 {
        return Ok(());
    }
    own.draw(&noise(own)?, labels.as_deref(), out)
}

//! A run: training from a recipe or a checkpoint, with everything it leaves in its folder.
//!
//! ```text
//! RUN/run.toml  metrics.jsonl  events.out.tfevents.*  samples/step-*.png  checkpoints/step-*/  curves.png  report.html
//! ```
//!
//! | file | what it holds |
//! |---|---|
//! | `plan` | [`Plan`]: what run.toml holds, and what is due when |
//! | `metrics` | [`Metrics`]: a line of metrics.jsonl, and curves of all |
//! | `folder` | [`claim`] and what reads a run back |

mod folder;
mod metrics;
mod plan;

use crate::batches::{Batches, DeviceBatches, TwoBatches, normal_noise};
use crate::checkpoint;
use crate::data::synthetic;
use crate::error::{Error, Result};
use crate::files;
use crate::health::{self, Game, Health, Monitor, Verdict};
use crate::journal::Journal;
use crate::lock::Lock;
use crate::memory;
use crate::pages::report;
use crate::pair::{Measures, Pair};
use crate::recipe::Recipe;
use crate::sharing;
use crate::show;
use crate::source::Material;
use crate::tensorboard::EventWriter;
use crate::trainer::{self, Shown, Trainer};
use belamy_nn::Context;
use belamy_tensor::communicator::Ranks;
use belamy_tensor::{DType, Device, Tensor};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

pub use folder::{claim, open_ensemble, open_generator, read_plan};
pub use metrics::{Metrics, numbers};
pub use plan::{Due, Plan};

/// Who watches a run: the program's progress bar, or a test.
pub trait Observer {
    /// Training begins or goes on after `step`.
    fn started(&mut self, _plan: &Plan, _step: u64) {}
    /// A step is done.
    fn stepped(&mut self, _step: u64) {}
    /// A line of metrics was written.
    fn measured(&mut self, _metrics: &Metrics) {}
    /// A file worth looking at was written.
    fn wrote(&mut self, _path: &Path) {}
}

/// An observer that looks away.
#[derive(Debug, Clone, Copy)]
pub struct Unobserved;
impl Observer for Unobserved {}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All steps are done.
    Finished {
        /// The last step.
        step: u64,
    },
    /// It was asked to stop, and wrote a checkpoint of its last whole step.
    Stopped {
        /// The last step.
        step: u64,
    },
}

/// A run in progress.
pub struct Run {
    plan: Plan,
    out: PathBuf,
    trainer: Box<dyn Trainer>,
    batches: Box<dyn Batches>,
    /// What pictures are made from.
    shown: Shown,
    journal: Journal,
    events: EventWriter,
    /// Seconds trained before this part of the run.
    seconds_before: f64,
    /// The step of the newest checkpoint.
    saved: Option<u64>,
    monitor: Monitor,
    /// How far real samples are from one another; none where a generator takes images.
    real_spread: Option<f64>,
    /// Those that share each batch, if they are several; this is rank 0.
    ranks: Option<Ranks>,
    _lock: Lock,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (out, plan, saved) = (&self.out, &self.plan, &self.saved);
        f.debug_struct("Run").field("out", out).field("plan", plan).field("saved", saved).finish()
    }
}

impl Run {
    /// Begins a run in a folder that is new or empty.
    pub fn create(plan: Plan, data: &Material, device: &Device, out: &Path) -> Result<Run> {
        let mut plan = plan;
        plan.describe_data(data);
        let trainer = trainer::new(plan.recipe.clone(), plan.seed, DType::F32, device)?;
        let (batches, shown) = draws(trainer.as_ref(), data, 1)?;
        let (lock, (journal, events)) = claim(out, &plan, || {
            let journal = Journal::create(out.join("metrics.jsonl"))?;
            Ok((journal, EventWriter::create(out, None)?))
        })?;
        Ok(Run {
            out: out.to_owned(),
            trainer,
            batches,
            shown,
            journal,
            events,
            seconds_before: 0.0,
            saved: None,
            monitor: Monitor::new(Game::of(&plan.recipe)),
            real_spread: spread_of(data, plan.seed)?,
            ranks: None,
            _lock: lock,
            plan,
        })
    }

    /// Goes on with a run from its newest complete checkpoint, or from its beginning if it never wrote one. `data`
    /// must be what the run began with.
    pub fn resume(plan: Plan, data: &Material, device: &Device, out: &Path) -> Result<Run> {
        let mut found = plan.clone();
        found.describe_data(data);
        if found.data_digest != plan.data_digest {
            let message = format!(
                "the data are not those that {} was trained on (digest {}, not {})",
                out.display(),
                found.data_digest,
                plan.data_digest
            );
            return Err(Error::data(message));
        }
        let mut trainer = trainer::new(plan.recipe.clone(), plan.seed, DType::F32, device)?;
        let lock = Lock::take(out)?;
        let folders = ["checkpoints", "samples", "."].map(|name| out.join(name));
        // A folder whose removal was cut short may be the newest checkpoint: bring it back before looking.
        folders.iter().try_for_each(|folder| files::clean_leftovers(folder).map(drop))?;
        let newest = checkpoint::latest(&folders[0])?;
        let saved = match &newest {
            Some(path) => Some(checkpoint::load(trainer.as_mut(), path)?.step),
            None => None,
        };
        let step = trainer.steps_made();
        if step > plan.recipe.steps {
            let steps = plan.recipe.steps;
            return Err(Error::recipe(format!(
                "steps={steps}, but the run is at step {step} already"
            )));
        }
        let (batches, shown) = draws(trainer.as_ref(), data, 1)?;
        if read_plan(out)? != plan {
            files::write_atomically(out.join("run.toml"), folder::to_toml(out, &plan)?.as_bytes())?;
        }
        let (journal, _) = Journal::resume(out.join("metrics.jsonl"), step)?;
        let seconds_before = metrics::read(out)?.last().map_or(0.0, |line| line.seconds);
        let events = EventWriter::create(out, Some(step))?;
        files::sync(out)?;
        // The monitor has seen what it would have seen without a break.
        let mut monitor = Monitor::new(Game::of(&plan.recipe));
        let readings = health::read(&out.join("metrics.jsonl"))?;
        readings.into_iter().for_each(|reading| monitor.push(reading));
        Ok(Run {
            out: out.to_owned(),
            trainer,
            batches,
            shown,
            journal,
            events,
            seconds_before,
            saved,
            monitor,
            real_spread: spread_of(data, plan.seed)?,
            ranks: None,
            _lock: lock,
            plan,
        })
    }

    /// Trains with other ranks, as the first of them. Waits until all are ready. Fails where the recipe's batches cannot be
    /// shared, or a rank is not what this one is.
    pub fn share(&mut self, data: &Material, ranks: Ranks) -> Result<()> {
        self.trainer.share(&ranks)?;
        self.batches = draws(self.trainer.as_ref(), data, ranks.size())?.0;
        ranks.all_gather(&[])?;
        sharing::agree_on_weights(self.trainer.as_ref(), Some(&ranks))?;
        self.ranks = Some(ranks);
        Ok(())
    }

    /// The networks being trained.
    pub fn trainer(&mut self) -> &mut dyn Trainer {
        self.trainer.as_mut()
    }

    /// Trains until the recipe's last step, or until `stop` is set; then writes a checkpoint, a picture and the curves.
    ///
    /// A value that is not finite, or a device that fails, ends the run with an error; the last good checkpoint stays.
    pub fn train(&mut self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Outcome> {
        self.train_on(observer, stop).map_err(|error| error.after_step(self.trainer.steps_made()))
    }

    fn train_on(&mut self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Outcome> {
        let start = Instant::now();
        let mut last_line = (self.trainer.steps_made(), start);
        observer.started(&self.plan, self.trainer.steps_made());
        let steps = self.plan.recipe.steps;
        let mut drawn = None;
        if let Some(step) = self.saved
            && self.plan.due(step).pictured
            && !self.picture_of(step).exists()
        {
            // The run broke off between this checkpoint and its picture.
            observer.wrote(&self.draw()?);
            drawn = Some(step);
        }
        while self.trainer.steps_made() < steps && !sharing::any_stops(stop, self.ranks.as_ref())? {
            let measures = self.trainer.make_step(self.batches.as_mut())?;
            let step = self.trainer.steps_made();
            let due = self.plan.due(step);
            if due.verified(self.trainer.device()) {
                self.trainer.verify_steps(self.batches.as_mut())?;
            }
            observer.stepped(step);
            if due.logged {
                let now = Instant::now();
                let seconds = self.seconds_before + (now - start).as_secs_f64();
                let elapsed = (now - last_line.1).as_secs_f64().max(1e-9);
                let images = (step - last_line.0) as f64 * self.plan.recipe.batch as f64;
                last_line = (step, now);
                let mut metrics = self.metrics(&measures, seconds, images / elapsed)?;
                // Not at the end as such: a run that goes on from there would have a line that an unbroken one has not.
                let every = self.plan.sample_every;
                if every > 0 && step.is_multiple_of(every) {
                    metrics.variety = self.variety()?;
                }
                self.monitor.push(metrics.reading());
                metrics.health = self.monitor.health().verdict;
                self.record(&metrics)?;
                observer.measured(&metrics);
            }
            // First what cannot be made again: a picture that fails costs no step.
            if due.saved {
                sharing::agree_on_weights(self.trainer.as_ref(), self.ranks.as_ref())?;
                self.save()?;
            }
            if due.pictured {
                observer.wrote(&self.draw()?);
                drawn = Some(step);
            }
        }
        self.trainer.verify_steps(self.batches.as_mut())?;
        let step = self.trainer.steps_made();
        if self.saved != Some(step) {
            self.save()?;
        }
        if drawn != Some(step) {
            observer.wrote(&self.draw()?);
        }
        observer.wrote(&metrics::draw_curves(&self.out, &self.plan)?);
        self.journal.sync()?;
        self.events.sync()?;
        observer.wrote(&report::write(&self.out, Game::of(&self.plan.recipe))?);
        Ok(if step >= steps { Outcome::Finished { step } } else { Outcome::Stopped { step } })
    }

    fn metrics(
        &self,
        measures: &Measures,
        seconds: f64,
        images_per_second: f64,
    ) -> Result<Metrics> {
        let step = self.trainer.steps_made();
        let found = sharing::mean_of(numbers(measures)?, self.ranks.as_ref())?;
        let [loss_d, loss_g, accuracy_real, accuracy_fake] = [0, 1, 2, 3].map(|at| found[at]);
        let names = measures.parts.iter().map(|(name, _)| *name);
        let norms = ["gradient_norm_d", "gradient_norm_g"];
        let norms = norms.into_iter().filter(|_| measures.gradient_norms.is_some());
        let parts = names.chain(norms).zip(found[4..].iter().copied()).collect();
        let drawn = step as f64
            * self.plan.recipe.batch as f64
            * self.plan.recipe.discriminator_steps as f64;
        Ok(Metrics {
            step,
            epoch: self.batches.count().map_or(0.0, |count| drawn / count as f64),
            seconds,
            images_per_second,
            loss_d,
            loss_g,
            loss_convention: self.plan.recipe.loss_convention.name(),
            accuracy_real,
            accuracy_fake,
            fooling_rate: 1.0 - accuracy_fake,
            variety: None,
            health: Verdict::TooEarly,
            parts,
        })
    }

    fn record(&mut self, metrics: &Metrics) -> Result<()> {
        self.journal.append(metrics)?;
        let parts: Vec<(String, f32)> = metrics
            .parts
            .iter()
            .map(|(name, value)| (name.replacen('_', "/", 1), *value as f32))
            .collect();
        let mut values = vec![
            ("loss/discriminator", metrics.loss_d as f32),
            ("loss/generator", metrics.loss_g as f32),
            ("accuracy/real", metrics.accuracy_real as f32),
            ("accuracy/fake", metrics.accuracy_fake as f32),
            ("fooling_rate", metrics.fooling_rate as f32),
            ("images_per_second", metrics.images_per_second as f32),
        ];
        values.extend(parts.iter().map(|(name, value)| (name.as_str(), *value)));
        values.retain(|(_, value)| value.is_finite());
        self.events.scalars(metrics.step, &values)
    }

    fn save(&mut self) -> Result<()> {
        // A checkpoint that is on disk has its metrics there too.
        self.journal.sync()?;
        self.events.sync()?;
        let folder = self.out.join("checkpoints");
        checkpoint::save(self.trainer.as_ref(), &folder)?;
        let step = self.trainer.steps_made();
        self.saved = Some(step);
        checkpoint::prune(&folder, step, self.plan.keep_checkpoints)
    }

    /// How varied the samples of the run's fixed noise are beside real ones.
    fn variety(&mut self) -> Result<Option<f64>> {
        let Some(real) = self.real_spread.filter(|spread| *spread > 0.0) else { return Ok(None) };
        let Some(samples) = self.trainer.samples(&self.shown)? else { return Ok(None) };
        let values = show::values(&samples)?;
        let length = values.len() / samples.dims()[0];
        Ok(Some(health::spread(&values, length)? / real))
    }

    /// The verdict on the last lines, why, and what to try.
    pub fn health(&self) -> Health {
        self.monitor.health()
    }

    fn picture_of(&self, step: u64) -> PathBuf {
        self.out.join("samples").join(format!("step-{step:08}.png"))
    }

    /// Draws what the generators make of the run's fixed noise or images.
    fn draw(&mut self) -> Result<PathBuf> {
        let step = self.trainer.steps_made();
        let canvas = self.trainer.picture(&self.shown, &format!("step {step}"))?;
        let png = canvas.png()?;
        let path = self.picture_of(step);
        files::write_atomically(&path, &png)?;
        self.events.image(step, "samples", &png, canvas.width(), canvas.height())?;
        Ok(path)
    }
}

/// Where a trainer's batches come from, if so many ranks share them, and what its pictures are made from.
pub(crate) fn draws(
    trainer: &dyn Trainer,
    data: &Material,
    ranks: usize,
) -> Result<(Box<dyn Batches>, Shown)> {
    let (recipe, device, dtype) = (trainer.recipe(), trainer.device(), trainer.dtype());
    if let Material::Two(two) = data {
        let batches = TwoBatches::new(recipe, two, dtype, device)?;
        let shown = Shown::Images(batches.shown());
        return Ok((Box::new(batches), shown));
    }
    let samples = match data {
        Material::Samples(samples) => Some(samples),
        _ => None,
    };
    let parts = trainer.parts();
    let discriminator = parts[1].network;
    let batches = DeviceBatches::new(recipe, samples, discriminator, dtype, device)?;
    let batches = batches.shared_by(ranks);
    let count = show::samples_shown(recipe);
    let (noise, labels) = noise_of(recipe, count, trainer.seed(), dtype, device)?;
    Ok((Box::new(batches), Shown::Noise(noise, labels)))
}

/// How far some thousand real samples, spread over the data, are from one another; none for images of two kinds.
fn spread_of(data: &Material, seed: u64) -> Result<Option<f64>> {
    const MOST: usize = 1_000;
    let made;
    let samples = match data {
        Material::Two(_) => return Ok(None),
        Material::Samples(samples) => samples,
        Material::Endless => {
            made = synthetic::sine_points(MOST, seed)?;
            &made
        }
    };
    let length = samples.sample_elements();
    if samples.samples() < 2 {
        return Ok(None);
    }
    let chosen = samples.images.chunks_exact(length).step_by(samples.samples().div_ceil(MOST));
    let mut values = memory::room(chosen.len() * length, "data")?;
    chosen.for_each(|sample| values.extend_from_slice(sample));
    Ok(Some(health::spread(&values, length)?))
}

/// The classes of `count` samples for which none are asked: 0, 1, .. and again. Fails without memory for them.
pub fn labels_in_turn(count: usize, classes: u32) -> Result<Vec<u32>> {
    memory::collected((0..count as u32).map(|index| index % classes), "labels")
}

/// Noise `[count, latent]` by a seed, and labels in turn where there are classes.
pub fn noise_for(pair: &Pair, count: usize, seed: u64) -> Result<(Tensor, Option<Tensor>)> {
    noise_of(&pair.recipe, count, seed, pair.dtype(), pair.device())
}

fn noise_of(
    recipe: &Recipe,
    count: usize,
    seed: u64,
    dtype: DType,
    device: &Device,
) -> Result<(Tensor, Option<Tensor>)> {
    let mut cx = Context::evaluate(seed, 0, device)?;
    let noise = normal_noise(count, recipe.latent, dtype, &mut cx)?;
    let labels = match recipe.classes as u32 {
        0 => None,
        classes => Some(Tensor::from_slice(&labels_in_turn(count, classes)?, [count], device)?),
    };
    Ok((noise, labels))
}

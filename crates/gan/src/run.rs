//! A run: training from a recipe or a checkpoint, with everything it leaves in its folder.
//!
//! ```text
//! RUN/run.toml  metrics.jsonl  events.out.tfevents.*  samples/step-*.png  checkpoints/step-*/  curves.png  report.html
//! ```

use crate::batches::{Batches, DeviceBatches, TwoBatches, normal_noise};
use crate::checkpoint;
use crate::data::synthetic;
use crate::ensemble::Ensemble;
use crate::error::{Error, Result};
use crate::files;
use crate::health::{self, Game, Health, Monitor, Reading, Variety, Verdict};
use crate::journal::Journal;
use crate::lock::{self, Lock};
use crate::memory;
use crate::pages::report;
use crate::pair::{Measures, Pair};
use crate::pictures::curves::{self, Panel, Series};
use crate::recipe::Recipe;
use crate::sharing;
use crate::show;
use crate::source::Material;
use crate::tensorboard::EventWriter;
use crate::trainer::{self, Shown, Trainer};
use belamy_nn::Context;
use belamy_tensor::communicator::Ranks;
use belamy_tensor::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// What run.toml holds: everything resolved, so that the run can be repeated and resumed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The program's version.
    pub version: String,
    /// The run's seed.
    pub seed: u64,
    /// The device's name.
    pub device: String,
    /// The arithmetic: f32, or f16 for the operands of products alone.
    pub precision: String,
    /// How the CPU convolves: winograd where that is faster and exact enough, or direct.
    #[serde(default = "winograd")]
    pub conv: String,
    /// How many ranks share each batch: the results depend on it, by rounding; in how many processes they are does not
    /// matter.
    #[serde(default = "one_shard", skip_serializing_if = "is_one")]
    pub shards: usize,
    /// The data's path; empty for made or built-in data.
    pub data: PathBuf,
    /// The data's XXH64; empty for endless sources.
    pub data_digest: String,
    /// How many real samples an epoch has; 0 for endless sources.
    pub data_samples: usize,
    /// Losses: natural-log units per sample, by this convention.
    pub loss_convention: String,
    /// A line of metrics each so many steps.
    pub log_every: u64,
    /// A picture of samples each so many steps.
    pub sample_every: u64,
    /// A checkpoint each so many steps.
    pub checkpoint_every: u64,
    /// How many checkpoints are kept.
    pub keep_checkpoints: usize,
    /// The recipe, every field.
    pub recipe: Recipe,
}

/// The usual way to convolve, and that of runs older than the choice.
fn winograd() -> String {
    "winograd".to_owned()
}

fn one_shard() -> usize {
    1
}

fn is_one(shards: &usize) -> bool {
    *shards == 1
}

/// What is to be done after a step.
#[derive(Debug, Clone, Copy)]
pub struct Due {
    /// A line of metrics.
    pub logged: bool,
    /// A picture.
    pub pictured: bool,
    /// A checkpoint.
    pub saved: bool,
}

impl Due {
    /// Whether all numbers are looked at: where something is made of them, and where looking is free, as on the CPU;
    /// another device would have to be waited for.
    pub fn verified(self, device: &Device) -> bool {
        let at_once = matches!(device.id().name, "cpu" | "direct" | "oracle");
        at_once || self.logged || self.pictured || self.saved
    }
}

impl Plan {
    /// What is to be done after step `step`.
    pub fn due(&self, step: u64) -> Due {
        let due = |every: u64| every > 0 && step.is_multiple_of(every);
        let last = step == self.recipe.steps;
        Due {
            logged: due(self.log_every) || last || step == 1,
            pictured: due(self.sample_every) || last,
            saved: due(self.checkpoint_every) || last,
        }
    }

    /// The plan that a run.toml's text tells; `name` stands in errors. Fails, naming the line, if it is damaged, or its
    /// recipe cannot be trained.
    pub fn from_text(name: impl AsRef<Path>, text: &str) -> Result<Plan> {
        let name = name.as_ref();
        let plan: Plan = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            let message = error.message().replace('\n', " ");
            Error::file(name, format!("it is damaged in line {line}: {message}"))
        })?;
        plan.recipe.check().map_err(|error| Error::file(name, error.to_string()))?;
        Ok(plan)
    }

    /// A plan of a recipe with the usual intervals and no data yet.
    pub fn new(recipe: Recipe, seed: u64, device: &Device) -> Plan {
        Plan {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            seed,
            device: device.id().to_string(),
            precision: "f32".to_owned(),
            conv: winograd(),
            shards: 1,
            data: PathBuf::new(),
            data_digest: String::new(),
            data_samples: 0,
            loss_convention: recipe.loss_convention.name().to_owned(),
            log_every: 20,
            sample_every: 500,
            checkpoint_every: 1_000,
            keep_checkpoints: 3,
            recipe,
        }
    }
}

/// One line of metrics.jsonl.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metrics {
    /// Generator updates made.
    pub step: u64,
    /// Passes over the data.
    pub epoch: f64,
    /// Seconds of training, over all parts of a run that was resumed.
    pub seconds: f64,
    /// Real images a second since the line before.
    pub images_per_second: f64,
    /// The discriminator's loss, in nats per sample; it and the accuracies are not a number while a generator is
    /// trained alone.
    pub loss_d: f64,
    /// The generator's loss, in nats per sample.
    pub loss_g: f64,
    /// `mean` or `sum` of the discriminator's two halves.
    pub loss_convention: &'static str,
    /// The share of real samples taken for real.
    pub accuracy_real: f64,
    /// The share of fake samples taken for fake.
    pub accuracy_fake: f64,
    /// The share of fake samples taken for real.
    pub fooling_rate: f64,
    /// How far samples are from one another, as a share of real ones: [`health::relative_variety`], each
    /// `sample_every` steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variety: Option<f64>,
    /// The verdict on the last lines.
    pub health: Verdict,
    /// Other losses, where a system has them, and the norms of gradients.
    #[serde(flatten)]
    pub parts: BTreeMap<&'static str, f64>,
}

impl Metrics {
    /// The line as the health monitor reads it.
    pub fn reading(&self) -> Reading {
        let known = |value: f64| value.is_finite().then_some(value);
        Reading {
            step: self.step,
            loss_d: known(self.loss_d),
            loss_g: known(self.loss_g),
            accuracy_real: known(self.accuracy_real),
            accuracy_fake: known(self.accuracy_fake),
            variety: self.variety.map(Variety::Distance),
            gradient_norm: {
                let norms = ["gradient_norm_d", "gradient_norm_g"];
                let norms = norms.iter().filter_map(|name| self.parts.get(name).copied());
                norms.reduce(f64::max)
            },
        }
    }
}

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
        describe_data(&mut plan, data);
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
        describe_data(&mut found, data);
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
            files::write_atomically(out.join("run.toml"), to_toml(out, &plan)?.as_bytes())?;
        }
        let (journal, _) = Journal::resume(out.join("metrics.jsonl"), step)?;
        let seconds_before = read_metrics(out)?.last().map_or(0.0, |line| line.seconds);
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
        observer.wrote(&draw_curves(&self.out, &self.plan)?);
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

/// What a step measured: the losses of the discriminator and the generator, the accuracies on real and fake samples, the
/// named parts in their order, and the gradients' norms if they are watched. Not a number where there is none, which JSON
/// and the pictures leave out.
pub fn numbers(measures: &Measures) -> Result<Vec<f64>> {
    let number = |tensor: Option<Tensor>| -> Result<f64> {
        Ok(tensor.map(|tensor| tensor.item()).transpose()?.unwrap_or(f64::NAN))
    };
    let loss_d = measures.answers.is_some().then(|| measures.loss_d.clone());
    let mut numbers = vec![
        number(loss_d)?,
        measures.loss_g.item()?,
        number(measures.accuracy_real()?)?,
        number(measures.accuracy_fake()?)?,
    ];
    let parts = measures.parts.iter().map(|(_, tensor)| tensor);
    for tensor in parts.chain(measures.gradient_norms.iter().flatten()) {
        numbers.push(tensor.item()?);
    }
    Ok(numbers)
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

fn describe_data(plan: &mut Plan, data: &Material) {
    plan.data_digest = data.digest();
    plan.data_samples = data.samples().unwrap_or(0);
}

/// Takes a folder that is new or empty for a run, locks it, writes the plan there and lets `fill` write the rest. What a
/// program left that was killed before it wrote a plan counts as nothing. If anything fails, the folder is left as it was
/// found.
pub fn claim<T>(out: &Path, plan: &Plan, fill: impl FnOnce() -> Result<T>) -> Result<(Lock, T)> {
    let fail = |error: std::io::Error| Error::write(out, error.to_string());
    if out.as_os_str().is_empty() {
        return Err(Error::write(out, "a run needs a folder with a name"));
    }
    let is_new = !out.exists();
    let taken = || {
        Error::write(out, "the folder is not empty; choose another --out, or go on with --resume")
    };
    if !is_new && !is_unused(out).map_err(fail)? {
        return Err(taken());
    }
    let text = to_toml(out, plan)?;
    let begin = || {
        files::create_folders(out)?;
        let lock = Lock::take(out)?;
        // Another may have been faster.
        if !is_unused(out).map_err(fail)? {
            return Err(taken());
        }
        let begun = files::clean_leftovers(out)
            .and_then(|_| files::create_folders(&out.join("samples")))
            .and_then(|()| files::create_folders(&out.join("checkpoints")))
            .and_then(|()| files::write_atomically(out.join("run.toml"), text.as_bytes()))
            .and_then(|()| fill())
            .and_then(|filled| files::sync(out).map(|()| filled));
        if begun.is_err() {
            // The first error is the one to report.
            let _ = empty(out);
        }
        Ok((lock, begun?))
    };
    let begun = begin();
    if begun.is_err() && is_new {
        // Only if nothing is in it: another's run is not removed.
        let _ = std::fs::remove_dir(out);
    }
    begun
}

/// Whether a folder holds nothing but what a run makes before it is one.
fn is_unused(out: &Path) -> std::io::Result<bool> {
    for entry in std::fs::read_dir(out)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let unused = match &*name {
            lock::NAME => true,
            "samples" | "checkpoints" => path.is_dir() && path.read_dir()?.next().is_none(),
            name => name.starts_with(".run.toml.tmp-"),
        };
        if !unused {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes what is in a folder.
fn empty(out: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(out)? {
        let path = entry?.path();
        if path.is_dir() {
            std::fs::remove_dir_all(path)?;
        } else {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn to_toml(out: &Path, plan: &Plan) -> Result<String> {
    toml::to_string_pretty(plan)
        .map_err(|error| Error::write(out.join("run.toml"), error.to_string()))
}

/// Reads a run's plan. Fails, naming the file, if it is missing or damaged.
pub fn read_plan(out: &Path) -> Result<Plan> {
    let path = out.join("run.toml");
    let text = files::read_text(&path).map_err(|error| {
        Error::file(&path, format!("{error}; is {} a run's folder?", out.display()))
    })?;
    Plan::from_text(path, &text)
}

/// The networks of a run with the generator of its newest checkpoint, for sampling from noise. Fails if there is none
/// yet, or the run's generator takes images.
pub fn open_generator(out: &Path, plan: &Plan, device: &Device) -> Result<Pair> {
    if plan.recipe.system.translates() {
        let message = format!(
            "recipe {} makes images from images, not from noise: give some with --input",
            plan.recipe.name
        );
        return Err(Error::recipe(message));
    }
    let mut pair = Pair::undrawn(plan.recipe.clone(), plan.seed, device)?;
    open_newest(&mut pair, out)?;
    Ok(pair)
}

/// The networks of a run whose generators make images from images, with those of its newest checkpoint. Fails if
/// there is none yet, or the run's generator takes noise.
pub fn open_ensemble(out: &Path, plan: &Plan, device: &Device) -> Result<Ensemble> {
    let mut ensemble = Ensemble::new(plan.recipe.clone(), plan.seed, DType::F32, device)?;
    open_newest(&mut ensemble, out)?;
    Ok(ensemble)
}

fn open_newest(trainer: &mut dyn Trainer, out: &Path) -> Result<()> {
    let checkpoints = out.join("checkpoints");
    let newest = checkpoint::latest(&checkpoints)?
        .ok_or_else(|| Error::file(&checkpoints, "there is no checkpoint yet"))?;
    checkpoint::load_generator(trainer, &newest)
}

/// One line of metrics as it is read back.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Line {
    step: u64,
    seconds: f64,
    loss_d: Option<f64>,
    loss_g: Option<f64>,
    accuracy_real: Option<f64>,
    accuracy_fake: Option<f64>,
}

fn read_metrics(out: &Path) -> Result<Vec<Line>> {
    let path = out.join("metrics.jsonl");
    let text = files::read_text(&path).map_err(|error| files::not_read(&path, error))?;
    let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
    memory::collected(lines, "a run's metrics")
}

/// Draws losses and accuracies over the run's steps into curves.png.
fn draw_curves(out: &Path, plan: &Plan) -> Result<PathBuf> {
    let lines = read_metrics(out)?;
    let series = |name: &str, value: fn(&Line) -> Option<f64>| -> Result<Series> {
        let points = lines.iter().filter_map(|line| Some((line.step as f64, value(line)?)));
        Ok(Series { name: name.to_owned(), points: memory::collected(points, "curves")? })
    };
    let convention = plan.recipe.loss_convention;
    let chance = 2.0 * std::f64::consts::LN_2 * convention.scale();
    let panels = [
        Panel {
            label: format!("loss (nats, D: {})", convention.name()),
            range: None,
            series: vec![
                series("discriminator", |line| line.loss_d)?,
                series("generator", |line| line.loss_g)?,
            ],
            marks: vec![("D at chance".to_owned(), chance)],
        },
        Panel {
            label: "accuracy of D".to_owned(),
            range: Some((0.0, 1.0)),
            series: vec![
                series("on real", |line| line.accuracy_real)?,
                series("on fake", |line| line.accuracy_fake)?,
            ],
            marks: vec![("chance".to_owned(), 0.5)],
        },
    ];
    let path = out.join("curves.png");
    files::write_atomically(&path, &curves::curves(&panels, "step")?.png()?)?;
    Ok(path)
}

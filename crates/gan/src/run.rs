//! A run: training from a recipe or a checkpoint, with everything it leaves in its folder.
//!
//! ```text
//! RUN/run.toml  metrics.jsonl  events.out.tfevents.*  samples/step-*.png  checkpoints/step-*/  curves.png
//! ```

use crate::batches::{DeviceBatches, normal_noise};
use crate::checkpoint;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::files;
use crate::journal::Journal;
use crate::pair::{Measures, Pair};
use crate::pictures::curves::{self, Panel, Series};
use crate::recipe::{Recipe, Source};
use crate::show;
use crate::tensorboard::EventWriter;
use belamy_nn::Context;
use belamy_tensor::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// The arithmetic: f32.
    pub precision: String,
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

impl Plan {
    /// A plan of a recipe with the usual intervals and no data yet.
    pub fn new(recipe: Recipe, seed: u64, device: &Device) -> Plan {
        Plan {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            seed,
            device: device.id().to_string(),
            precision: "f32".to_owned(),
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
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Metrics {
    /// Generator updates made.
    pub step: u64,
    /// Passes over the data.
    pub epoch: f64,
    /// Seconds of training, over all parts of a run that was resumed.
    pub seconds: f64,
    /// Real images a second since the line before.
    pub images_per_second: f64,
    /// The discriminator's loss, in nats per sample.
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
#[derive(Debug)]
pub struct Run {
    plan: Plan,
    out: PathBuf,
    pair: Pair,
    batches: DeviceBatches,
    journal: Journal,
    events: EventWriter,
    /// Seconds trained before this part of the run.
    seconds_before: f64,
    /// The step of the newest checkpoint.
    saved: Option<u64>,
}

impl Run {
    /// Begins a run in a folder that is new or empty.
    pub fn create(plan: Plan, data: Option<&Dataset>, device: &Device, out: &Path) -> Result<Run> {
        let mut plan = plan;
        describe_data(&mut plan, data);
        let pair = Pair::new(plan.recipe.clone(), plan.seed, DType::F32, device)?;
        let batches =
            DeviceBatches::new(&plan.recipe, data, &pair.discriminator, DType::F32, device)?;
        let (journal, events) = claim(out, &plan, || {
            let journal = Journal::create(out.join("metrics.jsonl"))?;
            Ok((journal, EventWriter::create(out, None)?))
        })?;
        let out = out.to_owned();
        Ok(Run { plan, out, pair, batches, journal, events, seconds_before: 0.0, saved: None })
    }

    /// Goes on with a run from its newest complete checkpoint, or from its beginning if it never wrote one. `data`
    /// must be what the run began with.
    pub fn resume(plan: Plan, data: Option<&Dataset>, device: &Device, out: &Path) -> Result<Run> {
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
        let mut pair = Pair::new(plan.recipe.clone(), plan.seed, DType::F32, device)?;
        let folders = ["checkpoints", "samples", "."].map(|name| out.join(name));
        // A folder whose removal was cut short may be the newest checkpoint: bring it back before looking.
        folders.iter().try_for_each(|folder| files::clean_leftovers(folder).map(drop))?;
        let newest = checkpoint::latest(&folders[0])?;
        let saved = match &newest {
            Some(path) => Some(checkpoint::load(&mut pair, path)?.step),
            None => None,
        };
        if pair.step > plan.recipe.steps {
            let (step, steps) = (pair.step, plan.recipe.steps);
            return Err(Error::recipe(format!(
                "steps={steps}, but the run is at step {step} already"
            )));
        }
        let batches =
            DeviceBatches::new(&plan.recipe, data, &pair.discriminator, DType::F32, device)?;
        if read_plan(out)? != plan {
            files::write_atomically(out.join("run.toml"), to_toml(out, &plan)?.as_bytes())?;
        }
        let (journal, _) = Journal::resume(out.join("metrics.jsonl"), pair.step)?;
        let seconds_before = read_metrics(out)?.last().map_or(0.0, |line| line.seconds);
        let events = EventWriter::create(out, Some(pair.step))?;
        Ok(Run { plan, out: out.to_owned(), pair, batches, journal, events, seconds_before, saved })
    }

    /// The networks being trained.
    pub fn pair(&mut self) -> &mut Pair {
        &mut self.pair
    }

    /// Trains until the recipe's last step, or until `stop` is set; then writes a checkpoint, a picture and the curves.
    ///
    /// A value that is not finite ends the run with an error; the last good checkpoint stays.
    pub fn train(&mut self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Outcome> {
        let start = Instant::now();
        let mut last_line = (self.pair.step, start);
        observer.started(&self.plan, self.pair.step);
        let steps = self.plan.recipe.steps;
        let mut drawn = None;
        let at_once = matches!(self.pair.device().id().name, "cpu" | "oracle");
        while self.pair.step < steps && !stop.load(Ordering::Relaxed) {
            let measures = self.pair.step(&mut self.batches)?;
            let step = self.pair.step;
            let due = |every: u64| every > 0 && step.is_multiple_of(every);
            let shown = due(self.plan.log_every) || step == steps || step == 1;
            let kept = due(self.plan.sample_every) || due(self.plan.checkpoint_every);
            // Looking is free on the CPU; another device would have to be waited for.
            if at_once || shown || kept {
                self.pair.verify(&mut self.batches)?;
            }
            observer.stepped(step);
            if shown {
                let now = Instant::now();
                let seconds = self.seconds_before + (now - start).as_secs_f64();
                let elapsed = (now - last_line.1).as_secs_f64().max(1e-9);
                let images = (step - last_line.0) as f64 * self.plan.recipe.batch as f64;
                last_line = (step, now);
                let metrics = self.metrics(&measures, seconds, images / elapsed)?;
                self.record(&metrics)?;
                observer.measured(&metrics);
            }
            if due(self.plan.sample_every) || step == steps {
                observer.wrote(&self.draw()?);
                drawn = Some(step);
            }
            if due(self.plan.checkpoint_every) || step == steps {
                self.save()?;
            }
        }
        self.pair.verify(&mut self.batches)?;
        let step = self.pair.step;
        if self.saved != Some(step) {
            self.save()?;
        }
        if drawn != Some(step) {
            observer.wrote(&self.draw()?);
        }
        observer.wrote(&draw_curves(&self.out, &self.plan)?);
        self.journal.sync()?;
        self.events.sync()?;
        Ok(if step >= steps { Outcome::Finished { step } } else { Outcome::Stopped { step } })
    }

    fn metrics(
        &self,
        measures: &Measures,
        seconds: f64,
        images_per_second: f64,
    ) -> Result<Metrics> {
        let step = self.pair.step;
        let accuracy_fake = measures.accuracy_fake()?.item()?;
        let drawn = step as f64
            * self.plan.recipe.batch as f64
            * self.plan.recipe.discriminator_steps as f64;
        Ok(Metrics {
            step,
            epoch: self.batches.count().map_or(0.0, |count| drawn / count as f64),
            seconds,
            images_per_second,
            loss_d: measures.loss_d.item()?,
            loss_g: measures.loss_g.item()?,
            loss_convention: self.plan.recipe.loss_convention.name(),
            accuracy_real: measures.accuracy_real()?.item()?,
            accuracy_fake,
            fooling_rate: 1.0 - accuracy_fake,
        })
    }

    fn record(&mut self, metrics: &Metrics) -> Result<()> {
        self.journal.append(metrics)?;
        let values = [
            ("loss/discriminator", metrics.loss_d as f32),
            ("loss/generator", metrics.loss_g as f32),
            ("accuracy/real", metrics.accuracy_real as f32),
            ("accuracy/fake", metrics.accuracy_fake as f32),
            ("fooling_rate", metrics.fooling_rate as f32),
            ("images_per_second", metrics.images_per_second as f32),
        ];
        self.events.scalars(metrics.step, &values)
    }

    fn save(&mut self) -> Result<()> {
        let folder = self.out.join("checkpoints");
        checkpoint::save(&self.pair, &folder)?;
        self.saved = Some(self.pair.step);
        checkpoint::prune(&folder, self.pair.step, self.plan.keep_checkpoints)
    }

    /// Draws the samples of the run's fixed noise.
    fn draw(&mut self) -> Result<PathBuf> {
        let (noise, labels) = fixed_noise(&self.pair, show::samples_shown(&self.plan.recipe))?;
        let samples = self.pair.sample(&noise, labels.as_ref())?;
        let step = self.pair.step;
        let canvas = show::picture(&self.plan.recipe, &samples, &format!("step {step}"))?;
        let png = canvas.png()?;
        let path = self.out.join("samples").join(format!("step-{step:08}.png"));
        files::write_atomically(&path, &png)?;
        self.events.image(step, "samples", &png, canvas.width(), canvas.height())?;
        Ok(path)
    }
}

/// The noise that a run's pictures are drawn from, and labels in turn where there are classes.
pub fn fixed_noise(pair: &Pair, count: usize) -> Result<(Tensor, Option<Tensor>)> {
    noise_for(pair, count, pair.seed)
}

/// Noise `[count, latent]` by a seed, and labels in turn where there are classes.
pub fn noise_for(pair: &Pair, count: usize, seed: u64) -> Result<(Tensor, Option<Tensor>)> {
    let mut cx = Context::evaluate(seed, pair.device())?;
    let noise = normal_noise(count, pair.recipe.latent, pair.dtype(), &mut cx)?;
    let labels = match pair.recipe.classes as u32 {
        0 => None,
        classes => {
            let labels: Vec<u32> = (0..count as u32).map(|index| index % classes).collect();
            Some(Tensor::from_slice(&labels, [count], pair.device())?)
        }
    };
    Ok((noise, labels))
}

fn describe_data(plan: &mut Plan, data: Option<&Dataset>) {
    plan.data_digest = data.map_or(String::new(), |data| data.digest.clone());
    plan.data_samples = data.map_or(0, Dataset::samples);
    if plan.recipe.source == Source::Sine {
        plan.data_digest.clear();
    }
}

/// Takes a folder that is new or empty for a run, writes its plan there and lets `fill` write the rest. If anything
/// fails, the folder is left as it was found.
pub fn claim<T>(out: &Path, plan: &Plan, fill: impl FnOnce() -> Result<T>) -> Result<T> {
    let fail = |error: std::io::Error| Error::write(out, error.to_string());
    if out.as_os_str().is_empty() {
        return Err(Error::write(out, "a run needs a folder with a name"));
    }
    let is_new = match std::fs::read_dir(out) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                let what = "the folder is not empty; choose another --out, or go on with --resume";
                return Err(Error::write(out, what));
            }
            false
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => return Err(fail(error)),
    };
    let text = to_toml(out, plan)?;
    let begin = || {
        for folder in ["samples", "checkpoints"] {
            std::fs::create_dir_all(out.join(folder)).map_err(fail)?;
        }
        files::write_atomically(out.join("run.toml"), text.as_bytes())?;
        fill()
    };
    let begun = begin();
    if begun.is_err() {
        // The first error is the one to report.
        if is_new {
            let _ = std::fs::remove_dir_all(out);
        } else if let Ok(entries) = std::fs::read_dir(out) {
            for path in entries.flatten().map(|entry| entry.path()) {
                let _ = if path.is_dir() {
                    std::fs::remove_dir_all(path)
                } else {
                    std::fs::remove_file(path)
                };
            }
        }
    }
    begun
}

fn to_toml(out: &Path, plan: &Plan) -> Result<String> {
    toml::to_string_pretty(plan)
        .map_err(|error| Error::write(out.join("run.toml"), error.to_string()))
}

/// Reads a run's plan. Fails, naming the file, if it is missing or damaged.
pub fn read_plan(out: &Path) -> Result<Plan> {
    let path = out.join("run.toml");
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Error::file(&path, format!("{error}; is {} a run's folder?", out.display()))
    })?;
    let plan: Plan = toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        let message = error.message().replace('\n', " ");
        Error::file(&path, format!("it is damaged in line {line}: {message}"))
    })?;
    plan.recipe.check().map_err(|error| Error::file(&path, error.to_string()))?;
    Ok(plan)
}

/// The networks of a run with the generator of its newest checkpoint, for sampling. Fails if there is none yet.
pub fn open_generator(out: &Path, plan: &Plan, device: &Device) -> Result<Pair> {
    let mut pair = Pair::new(plan.recipe.clone(), plan.seed, DType::F32, device)?;
    let checkpoints = out.join("checkpoints");
    let newest = checkpoint::latest(&checkpoints)?
        .ok_or_else(|| Error::file(&checkpoints, "there is no checkpoint yet"))?;
    checkpoint::load_generator(&mut pair, &newest)?;
    Ok(pair)
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
    let text =
        std::fs::read_to_string(&path).map_err(|error| Error::file(&path, error.to_string()))?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// Draws losses and accuracies over the run's steps into curves.png.
fn draw_curves(out: &Path, plan: &Plan) -> Result<PathBuf> {
    let lines = read_metrics(out)?;
    let series = |name: &str, value: fn(&Line) -> Option<f64>| Series {
        name: name.to_owned(),
        points: lines
            .iter()
            .filter_map(|line| value(line).map(|value| (line.step as f64, value)))
            .collect(),
    };
    let convention = plan.recipe.loss_convention;
    let chance = 2.0 * std::f64::consts::LN_2 * convention.scale();
    let panels = [
        Panel {
            label: format!("loss (nats, D: {})", convention.name()),
            range: None,
            series: vec![
                series("discriminator", |line| line.loss_d),
                series("generator", |line| line.loss_g),
            ],
            marks: vec![("D at chance".to_owned(), chance)],
        },
        Panel {
            label: "accuracy of D".to_owned(),
            range: Some((0.0, 1.0)),
            series: vec![
                series("on real", |line| line.accuracy_real),
                series("on fake", |line| line.accuracy_fake),
            ],
            marks: vec![("chance".to_owned(), 0.5)],
        },
    ];
    let path = out.join("curves.png");
    files::write_atomically(&path, &curves::curves(&panels, "step").png()?)?;
    Ok(path)
}

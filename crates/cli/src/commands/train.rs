//! `belamy train`: trains a recipe.

use crate::device;
use crate::failure::{Failure, Result};
use crate::output;
use crate::progress::Progress;
use belamy_gan::recipe::Recipe;
use belamy_gan::run::{self, Outcome, Plan, Run};
use belamy_gan::{lints, source};
use belamy_nn::network::LayerRow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Trains a recipe: the MNIST MLP GAN on the built-in digits if none is named.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  belamy train\n  belamy train sine --seed 3 --out runs/sine\n  belamy train --resume runs/sine --steps 10000"
)]
pub(crate) struct Arguments {
    /// The recipe; `belamy recipes` lists them.
    recipe: Option<String>,
    /// Real samples: a folder or file, as the recipe needs.
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// auto, cpu, oracle, webgpu or cuda, with :N for the N-th; a resumed run stays on its own if not given.
    #[arg(long)]
    device: Option<String>,
    /// f32; or what operands of products are rounded to, while sums and the rest stay in f32: f16 with --device webgpu, tf32 or bf16 with cuda, bf16 with cpu.
    #[arg(long)]
    precision: Option<String>,
    /// Generator updates.
    #[arg(long, value_name = "N", conflicts_with = "epochs")]
    steps: Option<u64>,
    /// Passes over the data, instead of steps.
    #[arg(long, value_name = "N")]
    epochs: Option<f64>,
    /// Real samples in a batch.
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Decides all random numbers; below 2^63.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// The run's folder, new or empty; runs/RECIPE-NNN if not given.
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    out: Option<PathBuf>,
    /// Go on with the run in this folder, from its newest checkpoint.
    #[arg(long, value_name = "DIR")]
    resume: Option<PathBuf>,
    /// Set a field of the recipe: key=value, with dots into tables: labels.real=1; preset=lecture, fixed or narrow for many at once.
    /// conv=direct keeps the CPU from convolving by Winograd's filtering, which is faster and rounds a little more.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// A line of metrics each N steps.
    #[arg(long, value_name = "N")]
    log_every: Option<u64>,
    /// A picture of samples each N steps; 0 for the last step only.
    #[arg(long, value_name = "N")]
    sample_every: Option<u64>,
    /// A checkpoint each N steps; 0 for the last step only.
    #[arg(long, value_name = "N")]
    checkpoint_every: Option<u64>,
    /// How many checkpoints to keep.
    #[arg(long, value_name = "N")]
    keep_checkpoints: Option<usize>,
    /// Threads that kernels run on; 0 for all. Results do not depend on it.
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
}

/// What `belamy train` without a recipe runs: the first recipe, for as many steps as give digits within minutes.
const FIRST_RECIPE: &str = "mnist-mlp";
const FIRST_STEPS: u64 = 3_000;

pub(crate) fn run(mut arguments: Arguments) -> Result<()> {
    device::limit_threads(arguments.threads)?;
    let plan = arguments.resume.as_deref().map(run::read_plan).transpose()?;
    let own = plan
        .as_ref()
        .map_or(["auto", "f32", "winograd"], |plan| [&plan.device, &plan.precision, &plan.conv]);
    let precision = arguments.precision.as_deref().unwrap_or(own[1]).to_owned();
    let conv = device::take_conv(&mut arguments.set).unwrap_or(own[2].to_owned());
    let device = device::find_in(arguments.device.as_deref().unwrap_or(own[0]), &precision, &conv)?;
    let arithmetic = Arithmetic { precision, conv };
    let stop = stop_on_signals()?;
    let mut progress = Progress::new();
    let (mut run, out) = match (&arguments.resume, plan) {
        (Some(out), Some(plan)) => {
            (resume(&arguments, arithmetic.of(plan), out, &device)?, out.clone())
        }
        _ => create(&arguments, arithmetic, &device, &progress)?,
    };
    warn(&mut run, &progress)?;
    let outcome = run.train(&mut progress, &stop);
    progress.finish();
    let outcome = outcome?;
    progress.say(&run.health().line());
    let message = match outcome {
        Outcome::Finished { step } => format!(
            "finished step {step}: see {} and {}\n",
            out.join("samples").display(),
            out.join("report.html").display()
        ),
        Outcome::Stopped { step } => format!(
            "stopped after step {step}; go on with: belamy train --resume {}\n",
            out.display()
        ),
    };
    output::print(&message)
}

/// How a run computes, which a resumed run may do in another way than before.
struct Arithmetic {
    precision: String,
    conv: String,
}

impl Arithmetic {
    /// A plan that computes in this way.
    fn of(self, plan: Plan) -> Plan {
        Plan { precision: self.precision, conv: self.conv, ..plan }
    }
}

/// Says what experience speaks against in a recipe and its networks.
fn warn(run: &mut Run, progress: &Progress) -> Result<()> {
    let trainer = run.trainer();
    let parts = trainer.parts();
    let tables = parts
        .iter()
        .map(|part| part.network.table())
        .collect::<belamy_tensor::Result<Vec<Vec<LayerRow>>>>()?;
    let names = parts.iter().map(|part| part.network.name());
    let networks: Vec<(&str, &[LayerRow])> = names.zip(tables.iter().map(Vec::as_slice)).collect();
    for warning in lints::warnings(trainer.recipe(), &networks) {
        progress.say(&format!("warning: {}", warning.message));
    }
    Ok(())
}

/// The first SIGINT or SIGTERM asks the run to stop after its step; the second ends the program at once.
fn stop_on_signals() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .map_err(|error| Failure::new(format!("cannot watch for signals: {error}")))?;
    }
    Ok(stop)
}

fn create(
    arguments: &Arguments,
    arithmetic: Arithmetic,
    device: &belamy_tensor::Device,
    progress: &Progress,
) -> Result<(Run, PathBuf)> {
    let name = arguments.recipe.as_deref();
    let mut recipe = Recipe::named(name.unwrap_or(FIRST_RECIPE))?;
    if name.is_none() {
        recipe.steps = FIRST_STEPS;
    }
    adjust(&mut recipe, arguments)?;
    let seed = arguments.seed.unwrap_or(1);
    if seed > i64::MAX as u64 {
        return Err(Failure::usage(format!("--seed {seed}: must be below 2^63")));
    }
    let data = source::material(&recipe, arguments.data.as_deref(), seed)?;
    if let Some(epochs) = arguments.epochs {
        recipe.steps = steps_of(epochs, &recipe, data.samples())?;
    }
    recipe.check()?;
    let out = match &arguments.out {
        Some(out) => out.clone(),
        None => next_folder(&recipe.name)?,
    };
    let path = arguments.data.as_deref().map(std::path::absolute).transpose();
    let mut plan = arithmetic.of(Plan::new(recipe, seed, device));
    plan.data = path.map_err(|error| Failure::new(error.to_string()))?.unwrap_or_default();
    set_intervals(&mut plan, arguments);
    let run = Run::create(plan, &data, device, &out)?;
    progress.say(&format!("training into {}", out.display()));
    Ok((run, out))
}

/// Takes the intervals that were given on the command line.
fn set_intervals(plan: &mut Plan, arguments: &Arguments) {
    plan.log_every = arguments.log_every.unwrap_or(plan.log_every);
    plan.sample_every = arguments.sample_every.unwrap_or(plan.sample_every);
    plan.checkpoint_every = arguments.checkpoint_every.unwrap_or(plan.checkpoint_every);
    plan.keep_checkpoints = arguments.keep_checkpoints.unwrap_or(plan.keep_checkpoints);
}

fn adjust(recipe: &mut Recipe, arguments: &Arguments) -> Result<()> {
    for assignment in &arguments.set {
        recipe.set(assignment)?;
    }
    if let Some(steps) = arguments.steps {
        recipe.steps = steps;
    }
    if let Some(batch) = arguments.batch {
        recipe.batch = batch;
    }
    Ok(recipe.check()?)
}

fn steps_of(epochs: f64, recipe: &Recipe, samples: Option<usize>) -> Result<u64> {
    let Some(samples) = samples else {
        let message =
            format!("recipe {} draws endless data: give --steps, not --epochs", recipe.name);
        return Err(Failure::usage(message));
    };
    if !(epochs > 0.0 && epochs < 1e9) {
        return Err(Failure::usage(format!("--epochs {epochs}: must be above 0")));
    }
    let a_step = (recipe.batch * recipe.discriminator_steps) as f64;
    Ok((epochs * samples as f64 / a_step).ceil() as u64)
}

fn resume(
    arguments: &Arguments,
    mut plan: Plan,
    out: &Path,
    device: &belamy_tensor::Device,
) -> Result<Run> {
    plan.device = device.id().to_string();
    if let Some(name) = arguments.recipe.as_deref().filter(|&name| name != plan.recipe.name) {
        let message =
            format!("{} is a run of recipe {}, not of {name}", out.display(), plan.recipe.name);
        return Err(Failure::usage(message));
    }
    let fixed = [
        ("--batch", arguments.batch.is_some()),
        ("--seed", arguments.seed.is_some()),
        ("--set", !arguments.set.is_empty()),
        ("--epochs", arguments.epochs.is_some()),
    ];
    if let Some((flag, _)) = fixed.into_iter().find(|(_, given)| *given) {
        return Err(Failure::usage(format!(
            "{flag} cannot change a run that is resumed; --steps can"
        )));
    }
    if let Some(steps) = arguments.steps {
        plan.recipe.steps = steps;
    }
    plan.recipe.check()?;
    set_intervals(&mut plan, arguments);
    let path = arguments.data.clone().or((plan.data != Path::new("")).then(|| plan.data.clone()));
    let data = source::material(&plan.recipe, path.as_deref(), plan.seed)?;
    Ok(Run::resume(plan, &data, device, out)?)
}

/// runs/RECIPE-001, or the first number after it that is free.
fn next_folder(recipe: &str) -> Result<PathBuf> {
    (1..100_000)
        .map(|number| PathBuf::from(format!("runs/{recipe}-{number:03}")))
        .find(|path| !path.exists())
        .ok_or_else(|| Failure::new("runs/ is full: give --out"))
}

//! `belamy train`: trains a recipe.

use crate::device;
use crate::failure::{Failure, Result};
use crate::output;
use crate::progress::Progress;
use crate::ranks::{self, Job};
use crate::stop::{self, Stop};
use belamy_gan::recipe::Recipe;
use belamy_gan::run::{self, Outcome, Plan, Run};
use belamy_gan::sharing::{self, Companion};
use belamy_gan::source::Material;
use belamy_gan::{lints, source};
use belamy_nn::network::LayerRow;
use belamy_tensor::Device;
use belamy_tensor::communicator::Ranks;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

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
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with the run in this folder, from its newest checkpoint. `auto`: with the one in --out, or begin it there.
    #[arg(long, value_name = "DIR")]
    resume: Option<PathBuf>,
    /// Ranks that share each batch evenly, in threads of this process or, under mpirun, of all; as many as processes if not
    /// given. The results depend on their number, by rounding; in how many processes they are changes no bit.
    #[arg(long, value_name = "N")]
    shards: Option<usize>,
    /// How long ranks wait for one of them before the job ends.
    #[arg(long, value_name = "SECONDS", default_value_t = 300.0)]
    deadline: f64,
    /// How long before the end of a SLURM job a run stops, saves, and exits with 75.
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
    stop_before: f64,
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
    resume_automatically(&mut arguments)?;
    let begun = arguments.resume.as_deref().map(run::read_plan).transpose()?;
    let own = begun
        .as_ref()
        .map_or(["auto", "f32", "winograd"], |plan| [&plan.device, &plan.precision, &plan.conv]);
    let precision = arguments.precision.as_deref().unwrap_or(own[1]).to_owned();
    let conv = device::take_conv(&mut arguments.set).unwrap_or(own[2].to_owned());
    let device = device::find_in(arguments.device.as_deref().unwrap_or(own[0]), &precision, &conv)?;
    let arithmetic = Arithmetic { precision, conv };
    let stop = stop::watch(seconds("--stop-before", arguments.stop_before)?)?;
    let job = Job::begin(seconds("--deadline", arguments.deadline)?)?;
    let shards = begun.as_ref().map(|plan| plan.shards).or(arguments.shards);
    // Where a process has one rank, this thread alone launches kernels.
    let is_alone = shards.is_none_or(|shards| shards == job.processes());
    device::start_threads(arguments.threads, is_alone)?;
    let (mut plan, data) = match begun {
        Some(plan) => resumed(&arguments, arithmetic.of(plan), &device)?,
        None => new(&arguments, arithmetic, &device)?,
    };
    if begins(&arguments) {
        plan.shards = arguments.shards.unwrap_or(job.processes());
    }
    sharing::check(&plan.recipe, plan.shards)?;
    let ranks = job.ranks(plan.shards)?;
    #[cfg(feature = "faults")]
    let ranks = crate::faults::among(ranks)?;
    let [first, others @ ..] = &ranks[..] else { return Err(Failure::new("a process has a rank")) };
    std::thread::scope(|scope| {
        let accompany =
            |rank| ranks::work(rank, || accompany(&plan, &data, &device, &arguments, rank, &stop));
        let companions: Vec<_> =
            others.iter().map(|rank| scope.spawn(move || accompany(rank))).collect();
        let ended = match job.leads() {
            true => ranks::work(first, || lead(&plan, &data, &device, &arguments, first, &stop)),
            false => accompany(first).map(|()| None),
        };
        let mut failures = Vec::new();
        for companion in companions {
            // One that panicked has said so, and ended the others.
            failures.extend(companion.join().map(Result::err).unwrap_or_default());
        }
        match (ended?, failures.pop()) {
            (_, Some(failure)) => Err(failure),
            (Some(Outcome::Stopped { step }), _) if stop.requeue.load(Ordering::Relaxed) => {
                Err(Failure::requeue(format!("stopped after step {step}, to be queued again")))
            }
            _ => Ok(()),
        }
    })
}

/// Seconds that were given with a flag.
fn seconds(flag: &str, value: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(value)
        .map_err(|_| Failure::usage(format!("{flag} {value}: must be a number of seconds")))
}

/// Whether a run is begun, not gone on with.
fn begins(arguments: &Arguments) -> bool {
    arguments.resume.is_none()
}

/// Puts the folder in the place of `--resume auto`, if there is a run in it.
fn resume_automatically(arguments: &mut Arguments) -> Result<()> {
    match (&arguments.resume, &arguments.out) {
        (Some(resume), Some(out)) if resume == Path::new("auto") => {
            arguments.resume = out.join("run.toml").exists().then(|| out.clone());
            Ok(())
        }
        (Some(resume), None) if resume == Path::new("auto") => {
            Err(Failure::usage("--resume auto looks into a folder: give --out DIR"))
        }
        (Some(_), Some(_)) => Err(Failure::usage(
            "--resume DIR goes on in that folder: leave --out out, or write --resume auto",
        )),
        _ => Ok(()),
    }
}

/// What rank 0 does: the run, with all that is seen of it.
fn lead(
    plan: &Plan,
    data: &Material,
    device: &Device,
    arguments: &Arguments,
    rank: &Ranks,
    stop: &Stop,
) -> Result<Option<Outcome>> {
    let mut progress = Progress::new();
    let (mut run, out) = match &arguments.resume {
        Some(out) => (Run::resume(plan.clone(), data, device, out)?, out.clone()),
        None => {
            let out = match &arguments.out {
                Some(out) => out.clone(),
                None => next_folder(&plan.recipe.name)?,
            };
            let run = Run::create(plan.clone(), data, device, &out)?;
            progress.say(&format!("training into {}", out.display()));
            (run, out)
        }
    };
    if rank.size() > 1 {
        run.share(data, rank.clone())?;
        #[cfg(feature = "faults")]
        crate::faults::spoil(run.trainer(), rank)?;
    }
    warn(&mut run, &progress)?;
    let outcome = run.train(&mut progress, &stop.stop);
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
    output::print(&message)?;
    // Nobody leaves before all is written: mpirun ends a job when one of its processes does.
    agree_on_requeue(rank, stop)?;
    Ok(Some(outcome))
}

/// What every other rank does.
fn accompany(
    plan: &Plan,
    data: &Material,
    device: &Device,
    arguments: &Arguments,
    rank: &Ranks,
    stop: &Stop,
) -> Result<()> {
    let resumed = arguments.resume.as_deref();
    let mut companion = Companion::join(plan, data, device, resumed, rank.clone())?;
    #[cfg(feature = "faults")]
    crate::faults::spoil(companion.trainer(), rank)?;
    companion.train(&stop.stop)?;
    agree_on_requeue(rank, stop)
}

/// Waits for all ranks, and takes it for this one's request too if any was asked to be queued again.
fn agree_on_requeue(rank: &Ranks, stop: &Stop) -> Result<()> {
    let own = u8::from(stop.requeue.load(Ordering::Relaxed));
    if rank.all_gather(&[own])?.iter().any(|flag| flag == &[1]) {
        stop.requeue.store(true, Ordering::Relaxed);
    }
    Ok(())
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

/// The plan of a run that begins, and its data.
fn new(arguments: &Arguments, arithmetic: Arithmetic, device: &Device) -> Result<(Plan, Material)> {
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
    let path = arguments.data.as_deref().map(std::path::absolute).transpose();
    let mut plan = arithmetic.of(Plan::new(recipe, seed, device));
    plan.data = path.map_err(|error| Failure::new(error.to_string()))?.unwrap_or_default();
    set_intervals(&mut plan, arguments);
    Ok((plan, data))
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

/// The plan of a run that is gone on with, and its data.
fn resumed(arguments: &Arguments, mut plan: Plan, device: &Device) -> Result<(Plan, Material)> {
    let out = arguments.resume.as_deref().unwrap_or(Path::new("."));
    plan.device = device.id().to_string();
    if let Some(name) = arguments.recipe.as_deref().filter(|&name| name != plan.recipe.name) {
        let message =
            format!("{} is a run of recipe {}, not of {name}", out.display(), plan.recipe.name);
        return Err(Failure::usage(message));
    }
    // A batch script that is queued again says once more what the run is.
    let mut recipe = plan.recipe.clone();
    arguments.set.iter().try_for_each(|assignment| recipe.set(assignment))?;
    if arguments.batch.is_some() {
        recipe.batch = plan.recipe.batch;
    }
    if arguments.steps.is_some() || arguments.epochs.is_some() {
        recipe.steps = plan.recipe.steps;
    }
    let fixed = [
        ("--batch", arguments.batch.is_some_and(|batch| batch != plan.recipe.batch)),
        ("--seed", arguments.seed.is_some_and(|seed| seed != plan.seed)),
        ("--set", recipe != plan.recipe),
        ("--shards", arguments.shards.is_some_and(|shards| shards != plan.shards)),
    ];
    if let Some((flag, _)) = fixed.into_iter().find(|(_, differs)| *differs) {
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
    if let Some(epochs) = arguments.epochs {
        plan.recipe.steps = steps_of(epochs, &plan.recipe, data.samples())?;
        plan.recipe.check()?;
    }
    Ok((plan, data))
}

/// runs/RECIPE-001, or the first number after it that is free.
fn next_folder(recipe: &str) -> Result<PathBuf> {
    (1..100_000)
        .map(|number| PathBuf::from(format!("runs/{recipe}-{number:03}")))
        .find(|path| !path.exists())
        .ok_or_else(|| Failure::new("runs/ is full: give --out"))
}

//! `belamy bench`: what kernels and whole steps take on this machine's devices, and what its ceilings are.

mod scaling;
pub(crate) mod table;

use crate::device;
use crate::failure::{Failure, Result};
use crate::output;
use crate::progress::Waiting;
use belamy_benches::roofline::Roofline;
use belamy_benches::session::{self, Kernels, Observer, Options, Report};
use belamy_gan::Recipe;
use belamy_gan::files::write_atomically;
use belamy_gan::recipe::{RECIPES, suggestion};
use belamy_tensor::Device;
use belamy_tensor::kernel::KernelId;
use belamy_tensor::ops::pointwise::{BinaryFunction, UnaryFunction};
use belamy_tests::{ops, trace};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Times kernels and whole training steps, with their share of this machine's measured ceilings.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  belamy bench all --md\n  belamy bench conv2d --recipe dcgan64 --device cpu\n  belamy bench step --seconds 60 --plot roofline.svg\n\nEvery kernel is timed at every shape that a recipe's training step launches, with that step's numbers, after its\nresult was compared with the oracle's; what is wrong has no time. share is the least time that the ceilings,\nmeasured in the same run, allow, over the median; benches/README.md explains each column."
)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    of: Option<Of>,
    /// Ops, kernels or families of kernels; step for whole steps, kernels for every kernel; all, or nothing, for both.
    #[arg(value_name = "OP|step|kernels|all")]
    what: Vec<String>,
    /// The shapes of this recipe only; may be given several times.
    #[arg(long, value_name = "RECIPE")]
    recipe: Vec<String>,
    /// This device: cpu, direct (cpu without Winograd), oracle, webgpu or cuda, with :N for the N-th; may be given
    /// several times. Without it cpu and every GPU backend's first device.
    #[arg(long, value_name = "DEVICE")]
    device: Vec<String>,
    /// Real samples in a batch, instead of each recipe's own number.
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// About how many seconds it may take; what there is no time for is left out and counted.
    #[arg(long, value_name = "S", default_value_t = 420.0)]
    seconds: f64,
    /// Threads for the CPU's kernels; 0 leaves it to the machine.
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// Send something else through the caches before each sample, which then is a single launch.
    #[arg(long)]
    cold: bool,
    /// Print JSON.
    #[arg(long, conflicts_with_all = ["csv", "md"])]
    json: bool,
    /// Print comma-separated values, a line for each work and device.
    #[arg(long, conflicts_with = "md")]
    csv: bool,
    /// Print Markdown.
    #[arg(long)]
    md: bool,
    /// Draw the roofline plot into this file, .svg or .png; may be given several times.
    #[arg(long, value_name = "FILE")]
    plot: Vec<PathBuf>,
}

#[derive(clap::Subcommand)]
enum Of {
    Scaling(scaling::Arguments),
}

/// Devices that are looked for when none is named.
const DEVICES: [&str; 3] = ["cpu", "webgpu", "cuda"];

/// A day: longer waits are mistakes.
const MOST_SECONDS: f64 = 86_400.0;

/// Why a device is not here.
const ABSENT: &str = "not on this machine: `belamy devices` says why";

/// A report, and the devices that are not in it.
#[derive(Serialize)]
pub(crate) struct Printed<'a> {
    #[serde(flatten)]
    pub(crate) report: &'a Report,
    pub(crate) skipped: Vec<Skipped>,
}

#[derive(Serialize)]
pub(crate) struct Skipped {
    device: String,
    why: &'static str,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if let Some(Of::Scaling(arguments)) = &arguments.of {
        return scaling::run(arguments);
    }
    device::start_threads(arguments.threads, true)?;
    let (steps, kernels) = chosen(&arguments.what)?;
    let recipes = recipes(&arguments.recipe, arguments.batch)?;
    if !(arguments.seconds > 0.0 && arguments.seconds <= MOST_SECONDS) {
        let message = format!("--seconds {}: must be above 0 and at most 86400", arguments.seconds);
        return Err(Failure::usage(message));
    }
    arguments.plot.iter().try_for_each(|path| plottable(path))?;
    let (devices, skipped) = devices(&arguments.device)?;
    let options =
        Options { recipes, steps, kernels, seconds: arguments.seconds, cold: arguments.cold };
    let report = session::run(&devices, &options, &mut Progress(None))?;
    if report.steps.is_empty() && report.kernels.is_empty() {
        let names = arguments.what.join(", ");
        return Err(Failure::new(format!("no step of these recipes launches {names}")));
    }
    for path in &arguments.plot {
        draw(&report, path)?;
    }
    let skipped = skipped.into_iter().map(|device| Skipped { device, why: ABSENT }).collect();
    let printed = Printed { report: &report, skipped };
    match (arguments.json, arguments.csv, arguments.md) {
        (true, ..) => output::print_json(&printed)?,
        (_, true, _) => output::print(&table::csv(&report))?,
        (_, _, markdown) => output::print(&table::text(&printed, markdown))?,
    }
    match report.wrong() {
        0 => Ok(()),
        1 => Err(Failure::new("1 work is wrong or failed: it has no time")),
        wrong => Err(Failure::new(format!("{wrong} works are wrong or failed: they have no time"))),
    }
}

/// Whether whole steps are wanted, and which kernels.
fn chosen(what: &[String]) -> Result<(bool, Kernels)> {
    let has = |word: &str| what.iter().any(|name| name == word);
    if what.is_empty() || has("all") {
        return Ok((true, Kernels::All));
    }
    if has("kernels") {
        return Ok((has("step"), Kernels::All));
    }
    let mut known: BTreeSet<&str> = BTreeSet::from(["step", "kernels", "all"]);
    known.extend(KernelId::ALL.iter().flat_map(|kernel| [kernel.name(), kernel.family()]));
    known.extend(UnaryFunction::ALL.iter().map(|function| function.name()));
    known.extend(BinaryFunction::ALL.iter().map(|function| function.name()));
    let cases = ops::all_cases();
    let (mut names, mut kernels) = (Vec::new(), Vec::new());
    for name in what.iter().filter(|name| *name != "step") {
        if known.contains(name.as_str()) {
            names.push(name.clone());
            continue;
        }
        // An op that is made of several kernels: those that its cases run.
        let of_op: Vec<_> = cases.iter().filter(|case| case.op == name).collect();
        if of_op.is_empty() {
            let all =
                known.iter().copied().chain(cases.iter().map(|case| case.op)).chain(["scaling"]);
            let all: Vec<&str> = BTreeSet::from_iter(all).into_iter().collect();
            let message = format!("there is no op {name:?}; {}", suggestion(name, all));
            return Err(Failure::usage(message));
        }
        kernels.extend(of_op.into_iter().flat_map(trace::kernels));
    }
    if names.is_empty() && kernels.is_empty() {
        return Ok((true, Kernels::None));
    }
    Ok((has("step"), Kernels::Some(names, kernels)))
}

/// The recipes named, or all, with another batch if one was asked for.
pub(crate) fn recipes(names: &[String], batch: Option<usize>) -> Result<Vec<Recipe>> {
    let names: Vec<&str> = match names.is_empty() {
        true => RECIPES.iter().map(|entry| entry.name).collect(),
        false => names.iter().map(String::as_str).collect(),
    };
    let mut recipes: Vec<Recipe> = Vec::new();
    for name in names {
        let mut recipe = Recipe::named(name)?;
        recipe.batch = batch.unwrap_or(recipe.batch);
        recipe.check()?;
        if !recipes.iter().any(|other| other.name == recipe.name) {
            recipes.push(recipe);
        }
    }
    Ok(recipes)
}

/// The devices named, or those of [`DEVICES`] that are here, and the names of those that are not.
fn devices(names: &[String]) -> Result<(Vec<Device>, Vec<String>)> {
    let mut found: Vec<Device> = Vec::new();
    let mut skipped = Vec::new();
    if names.is_empty() {
        for name in DEVICES {
            match device::find(name) {
                Ok(device) => found.push(device),
                Err(_) => skipped.push(name.to_owned()),
            }
        }
        return Ok((found, skipped));
    }
    for name in names {
        let device = device::find(name)?;
        if !found.iter().any(|other| other.id() == device.id()) {
            found.push(device);
        }
    }
    Ok((found, skipped))
}

/// Refuses a plot that could not be written once everything is measured.
fn plottable(path: &Path) -> Result<()> {
    let ending = path.extension().and_then(|ending| ending.to_str());
    if !matches!(ending, Some("svg" | "png")) {
        let message =
            format!("--plot {}: the file's name must end in .svg or .png", path.display());
        return Err(Failure::usage(message));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if folder.is_some_and(|folder| !folder.is_dir()) {
        let message = format!("--plot {}: there is no such folder", path.display());
        return Err(Failure::usage(message));
    }
    Ok(())
}

fn draw(report: &Report, path: &Path) -> Result<()> {
    let plot = Roofline::new(report);
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("svg") => write_atomically(path, plot.svg().as_bytes())?,
        _ => plot.canvas()?.save(path)?,
    }
    Ok(())
}

/// Shows how far each stage is.
pub(crate) struct Progress(pub(crate) Option<Waiting>);

impl Observer for Progress {
    fn stage(&mut self, what: &'static str) {
        self.0 = Some(Waiting::on(what));
    }

    fn reached(&mut self, done: u64, total: u64) {
        if let Some(waiting) = &mut self.0 {
            waiting.reached(done, total);
        }
    }
}

//! A whole session of measurements within a number of seconds.
//!
//! Ceilings first, then the traces, the steps and the kernels, each from the cheapest to the dearest: what the cheap
//! ones leave of their share goes to the others. Devices have equal shares, so that a slow one does not keep a fast one
//! from being measured. What would take far more than its share waits until all else is done, has what time is left,
//! and is otherwise left out, and said so.

use crate::ceilings::Ceilings;
use crate::describe;
use crate::judge::Answer;
use crate::measure::{self, Allowance, Figures, Flusher, Outcome, StepAnswer};
use crate::trace::{Launch, Trace, TracedStep};
use belamy_gan::Recipe;
use belamy_tensor::kernel::KernelId;
use belamy_tensor::{Cost, Device};
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

/// Which launches are measured.
#[derive(Clone, Debug)]
pub enum Kernels {
    /// None.
    None,
    /// All.
    All,
    /// Those whose op, kernel or family has one of these names, or whose kernel is one of these.
    Some(Vec<String>, Vec<KernelId>),
}

impl Kernels {
    fn has(&self, launch: &Launch) -> bool {
        match self {
            Kernels::None => false,
            Kernels::All => true,
            Kernels::Some(names, kernels) => {
                let kernel = launch.kernel;
                let own = [describe::op(launch), kernel.name(), kernel.family()];
                kernels.contains(&kernel) || names.iter().any(|name| own.contains(&name.as_str()))
            }
        }
    }
}

/// What a session measures.
#[derive(Clone, Debug)]
pub struct Options {
    /// The recipes whose steps are looked at.
    pub recipes: Vec<Recipe>,
    /// Whether whole steps are timed.
    pub steps: bool,
    /// Which kernels are.
    pub kernels: Kernels,
    /// About how many seconds it may all take.
    pub seconds: f64,
    /// Whether each sample finds cold caches.
    pub cold: bool,
}

/// Someone who watches.
pub trait Observer {
    /// Something else begins.
    fn stage(&mut self, what: &'static str);
    /// So much of the stage is done.
    fn reached(&mut self, done: u64, total: u64);
}

/// A work on one device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cell {
    /// The device.
    pub device: String,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// A recipe's training step on every device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepRow {
    /// The recipe.
    pub recipe: String,
    /// Real samples in a batch.
    pub batch: usize,
    /// Floating-point operations of all its launches.
    pub flop: u64,
    /// Bytes that its launches move, each operand once.
    pub bytes: u64,
    /// The devices, in the order asked for.
    pub devices: Vec<Cell>,
}

/// A kernel at one shape on every device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KernelRow {
    /// The op: the function of a pointwise kernel, the kernel's own name otherwise.
    pub op: &'static str,
    /// The kernel.
    pub kernel: &'static str,
    /// The file that holds it.
    pub family: &'static str,
    /// The shape.
    pub shape: String,
    /// How often each recipe's step launches it.
    pub uses: Vec<Use>,
    /// Floating-point operations, by the direct method.
    pub flop: u64,
    /// Bytes, each operand moved once.
    pub bytes: u64,
    /// The share of the result that was compared with the oracle's; the rest was only found finite.
    pub compared: f64,
    /// The devices, in the order asked for.
    pub devices: Vec<Cell>,
}

/// A recipe that launches something.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Use {
    /// The recipe.
    pub recipe: String,
    /// How often in a step.
    pub launches: u32,
}

/// What a device had no time for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The device.
    pub device: String,
    /// The kernel, or `step`.
    pub what: String,
    /// How many shapes, or recipes.
    pub count: usize,
}

/// What a session found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// What it took.
    pub seconds: f64,
    /// Threads that the CPU's kernels ran on.
    pub threads: usize,
    /// The instruction set of the CPU's kernels.
    pub instruction_set: &'static str,
    /// Whether each sample found cold caches.
    pub cold: bool,
    /// Each device's ceilings.
    pub ceilings: Vec<Ceilings>,
    /// Whole steps.
    pub steps: Vec<StepRow>,
    /// Kernels.
    pub kernels: Vec<KernelRow>,
    /// What there was no time for.
    pub left_out: Vec<LeftOut>,
    /// Recipes whose steps there was no time to look at.
    pub not_traced: Vec<String>,
    /// Kernels that none of the recipes' steps launches, so that they have no shape to be timed at.
    pub in_no_step: Vec<&'static str>,
}

impl Report {
    /// How many works came out wrong, or failed.
    pub fn wrong(&self) -> usize {
        let steps = self.steps.iter().flat_map(|row| &row.devices);
        let kernels = self.kernels.iter().flat_map(|row| &row.devices);
        steps
            .chain(kernels)
            .filter(|cell| {
                matches!(cell.outcome, Outcome::Incorrect { .. } | Outcome::Failed { .. })
            })
            .count()
    }
}

/// The share of the time after which no other recipe is traced.
const TRACES_SHARE: f64 = 0.35;
/// Operations a second of the oracle before it has made a step.
const ORACLE_GUESS: f64 = 5e8;
/// The share of the time, once the ceilings are known, that whole steps may take beside kernels.
const STEPS_SHARE: f64 = 0.35;
/// How much slower than its ceilings a kernel is thought to be before the first was timed.
const FIRST_GUESS: f64 = 4.0;
/// A work may take so many times its share of what is left: most of those behind it need less than theirs.
const GENEROSITY: f64 = 4.0;
/// What every work may take, even when the time is up: the quick ones are always measured.
const LEAST_SHARE: f64 = 0.01;
/// Nothing is sampled for longer.
const MOST_SAMPLING: f64 = 0.4;
/// A whole step is not sampled for longer.
const MOST_STEP_SAMPLING: f64 = 6.0;

/// The time that is left, shared out: each device has as much as any other, and its works share that.
#[derive(Clone, Debug)]
struct Pools {
    /// Seconds for each device.
    seconds: f64,
    /// What each device has spent, and how many works it has yet to do.
    devices: Vec<(f64, usize)>,
}

impl Pools {
    /// Shares out `seconds` among devices with so many works each.
    fn new(seconds: f64, works: Vec<usize>) -> Pools {
        let busy = works.iter().filter(|&&works| works > 0).count().max(1);
        let seconds = seconds.max(0.0) / busy as f64;
        Pools { seconds, devices: works.into_iter().map(|works| (0.0, works)).collect() }
    }

    /// What the next work of a device may take.
    fn share(&self, device: usize) -> f64 {
        let (spent, works) = self.devices[device];
        ((self.seconds - spent) / works.max(1) as f64).max(LEAST_SHARE)
    }

    /// A work of a device is done.
    fn done(&mut self, device: usize, seconds: f64) {
        let (spent, works) = &mut self.devices[device];
        *spent += seconds;
        *works = works.saturating_sub(1);
    }
}

/// How many times slower than its ceilings each kernel (or a step: none) was on each device when it was last timed.
#[derive(Debug, Default)]
struct Slowness {
    of: HashMap<(usize, Option<KernelId>), f64>,
}

impl Slowness {
    fn guess(&self, device: usize, kernel: Option<KernelId>) -> f64 {
        self.of.get(&(device, kernel)).copied().unwrap_or(FIRST_GUESS)
    }

    fn learn(&mut self, device: usize, kernel: Option<KernelId>, outcome: &Outcome, least: f64) {
        let seconds = match outcome {
            Outcome::Measured(figures) => figures.timing.median,
            Outcome::LeftOut { seconds } => *seconds,
            _ => return,
        };
        // The smallest shapes are all launching: they say little of the large ones, but nothing better is known.
        self.of.insert((device, kernel), (seconds / least).max(1.0));
    }
}

/// Measures. Fails when a recipe cannot be trained, or a ceiling not be measured.
pub fn run(
    devices: &[Device],
    options: &Options,
    observer: &mut dyn Observer,
) -> belamy_gan::Result<Report> {
    let start = Instant::now();
    observer.stage("measuring ceilings");
    let mut ceilings = Vec::new();
    for (index, device) in devices.iter().enumerate() {
        ceilings.push(Ceilings::measure(device)?);
        observer.reached(index as u64 + 1, devices.len() as u64);
    }
    observer.stage("tracing steps");
    let mut trace = Trace::default();
    let mut traced = Vec::new();
    for (index, recipe) in options.recipes.iter().enumerate() {
        // The list goes from small networks to large ones.
        if index > 0 && start.elapsed().as_secs_f64() > TRACES_SHARE * options.seconds {
            break;
        }
        traced.push(trace.add(recipe)?);
        observer.reached(index as u64 + 1, options.recipes.len() as u64);
    }
    let (recipes, not_traced) = options.recipes.split_at(traced.len());
    let launches = trace.launches();
    let seen: BTreeSet<&str> = launches.iter().map(|launch| launch.kernel.name()).collect();
    let in_no_step = KernelId::ALL
        .iter()
        .map(|kernel| kernel.name())
        .filter(|name| !seen.contains(name))
        .collect();
    let launches: Vec<Launch> =
        launches.into_iter().filter(|launch| options.kernels.has(launch)).collect();
    let mut session = Session { devices, ceilings, cold: options.cold, observer };
    let taken = start.elapsed().as_secs_f64();
    let share = if launches.is_empty() { 1.0 } else { STEPS_SHARE };
    let mut steps = match options.steps {
        true => session.steps(recipes, &traced, share * (options.seconds - taken))?,
        false => Vec::new(),
    };
    let left = || options.seconds - start.elapsed().as_secs_f64();
    let mut kernels = session.kernels(&launches, left)?;
    session.observer.stage("measuring ceilings again");
    session.again()?;
    for row in &mut steps {
        session.shares(Cost { flop: row.flop, bytes: row.bytes }, &mut row.devices);
    }
    for row in &mut kernels {
        session.shares(Cost { flop: row.flop, bytes: row.bytes }, &mut row.devices);
    }
    let left_out = left_out(&steps, &kernels);
    Ok(Report {
        seconds: start.elapsed().as_secs_f64(),
        threads: rayon::current_num_threads(),
        instruction_set: belamy_cpu::instruction_set(),
        cold: options.cold,
        ceilings: session.ceilings,
        steps,
        kernels,
        left_out,
        not_traced: not_traced.iter().map(|recipe| recipe.name.clone()).collect(),
        in_no_step,
    })
}

struct Session<'a> {
    devices: &'a [Device],
    ceilings: Vec<Ceilings>,
    cold: bool,
    observer: &'a mut dyn Observer,
}

impl Session<'_> {
    fn cell(&self, device: usize, outcome: Outcome) -> Cell {
        Cell { device: self.devices[device].id().to_string(), outcome }
    }

    /// Measures the ceilings once more.
    fn again(&mut self) -> belamy_gan::Result<()> {
        for (ceilings, device) in self.ceilings.iter_mut().zip(self.devices) {
            ceilings.again(device)?;
        }
        Ok(())
    }

    /// Brings the shares of a work up to the ceilings as they are known now.
    fn shares(&self, cost: Cost, cells: &mut [Cell]) {
        for (cell, ceilings) in cells.iter_mut().zip(&self.ceilings) {
            if let Outcome::Measured(figures) = &mut cell.outcome {
                *figures = Figures::new(figures.timing, cost, ceilings, self.cold);
            }
        }
    }

    fn flushers(&self) -> belamy_gan::Result<Vec<Flusher>> {
        Ok(self
            .devices
            .iter()
            .map(|device| Flusher::new(device, self.cold))
            .collect::<Result<Vec<_>, _>>()?)
    }

    /// The largest of the devices' least times.
    fn least_anywhere(&self, cost: Cost) -> f64 {
        let least = self.ceilings.iter().map(|ceilings| ceilings.least_seconds(cost, false).0);
        least.fold(0.0, f64::max)
    }

    fn steps(
        &mut self,
        recipes: &[Recipe],
        traced: &[TracedStep],
        seconds: f64,
    ) -> belamy_gan::Result<Vec<StepRow>> {
        self.observer.stage("timing steps");
        let oracle = belamy_cpu::oracle();
        let mut flushers = self.flushers()?;
        let mut slowness = Slowness::default();
        let mut oracle_rate = ORACLE_GUESS;
        let mut order: Vec<usize> = (0..recipes.len()).collect();
        order.sort_by(|&a, &b| {
            let least = |place: usize| self.least_anywhere(traced[place].cost);
            least(a).total_cmp(&least(b))
        });
        let total = recipes.len() * self.devices.len();
        let mut done = 0;
        let mut pools = Pools::new(seconds, vec![recipes.len(); self.devices.len()]);
        let mut rows: Vec<Option<StepRow>> = vec![None; recipes.len()];
        for place in order {
            let (recipe, traced) = (&recipes[place], &traced[place]);
            // The oracle makes its step once, and only if a device has time.
            let mut answer: Option<StepAnswer> = None;
            let mut cells = Vec::new();
            for device in 0..self.devices.len() {
                let begin = Instant::now();
                let share = pools.share(device);
                let flusher = &mut flushers[device];
                let least = self.ceilings[device].least_seconds(traced.cost, false).0;
                let guess = least * slowness.guess(device, None);
                // What the oracle has to do for it, if it has not.
                let flop = StepAnswer::share(recipe) * traced.cost.flop as f64;
                let asked = if answer.is_some() { 0.0 } else { flop / oracle_rate };
                let outcome = if 3.0 * guess + asked > share * GENEROSITY {
                    Outcome::LeftOut { seconds: guess + asked }
                } else {
                    let answer = match &mut answer {
                        Some(answer) => answer,
                        none => {
                            let answer = none.insert(StepAnswer::to(recipe, &oracle)?);
                            // Small steps are all launching: they say nothing of the rate.
                            if flop > ORACLE_GUESS / 4.0 {
                                oracle_rate = flop / begin.elapsed().as_secs_f64();
                            }
                            answer
                        }
                    };
                    self.step(device, recipe, traced, answer, flusher, share)
                };
                slowness.learn(device, None, &outcome, least);
                let _ = self.devices[device].backend().release();
                pools.done(device, begin.elapsed().as_secs_f64());
                cells.push(self.cell(device, outcome));
                done += 1;
                self.observer.reached(done as u64, total as u64);
            }
            rows[place] = Some(StepRow {
                recipe: recipe.name.clone(),
                batch: recipe.batch,
                flop: traced.cost.flop,
                bytes: traced.cost.bytes,
                devices: cells,
            });
        }
        Ok(rows.into_iter().flatten().collect())
    }

    fn step(
        &self,
        device: usize,
        recipe: &Recipe,
        traced: &TracedStep,
        answer: &StepAnswer,
        flusher: &mut Flusher,
        share: f64,
    ) -> Outcome {
        let (ceilings, device) = (&self.ceilings[device], &self.devices[device]);
        match answer.judge(device) {
            Ok(Ok(())) => {}
            Ok(Err(why)) => return Outcome::Incorrect { why },
            Err(error) => return Outcome::Failed { why: error.to_string() },
        }
        let allowance =
            Allowance { sampling: share.min(MOST_STEP_SAMPLING), one: share * GENEROSITY };
        measure::step(recipe, traced, device, ceilings, flusher, allowance)
    }

    /// Measures every launch on every device, and once more what was left out, if there is time; `left` says how much.
    fn kernels(
        &mut self,
        launches: &[Launch],
        left: impl Fn() -> f64,
    ) -> belamy_gan::Result<Vec<KernelRow>> {
        if launches.is_empty() {
            return Ok(Vec::new());
        }
        let mut order: Vec<usize> = (0..launches.len()).collect();
        order.sort_by(|&a, &b| {
            let least = |place: usize| self.least_anywhere(launches[place].cost());
            least(a).total_cmp(&least(b))
        });
        let mut kernels = Measuring {
            launches,
            slowness: Slowness::default(),
            flushers: self.flushers()?,
            oracle: belamy_cpu::oracle(),
            outcomes: HashMap::new(),
            compared: vec![0.0; launches.len()],
        };
        let devices = self.devices.len();
        let mut works: Vec<(usize, usize)> = order
            .into_iter()
            .flat_map(|launch| (0..devices).map(move |device| (launch, device)))
            .collect();
        for stage in ["timing kernels", "timing what was left out"] {
            self.observer.stage(stage);
            self.pass(&works, &mut kernels, left());
            let is_left_out =
                |work: &(usize, usize)| matches!(kernels.outcomes[work], Outcome::LeftOut { .. });
            works.retain(is_left_out);
        }
        let mut rows: Vec<KernelRow> = launches
            .iter()
            .enumerate()
            .map(|(place, launch)| {
                let cells = (0..devices)
                    .filter_map(|device| {
                        let outcome = kernels.outcomes.remove(&(place, device))?;
                        Some(self.cell(device, outcome))
                    })
                    .collect();
                row(launch, kernels.compared[place], cells)
            })
            .collect();
        // By the list of kernels, and within one from the smallest to the largest.
        let number = |row: &KernelRow| {
            let own = |kernel: &KernelId| kernel.name() == row.kernel;
            KernelId::ALL.iter().position(own).unwrap_or(usize::MAX)
        };
        rows.sort_by(|a, b| {
            let key = |row: &KernelRow| (number(row), row.op, row.flop, row.bytes);
            key(a).cmp(&key(b)).then_with(|| a.shape.cmp(&b.shape))
        });
        Ok(rows)
    }

    /// Measures works, pairs of a launch and a device, within about so many seconds.
    fn pass(&mut self, works: &[(usize, usize)], kernels: &mut Measuring<'_>, seconds: f64) {
        let of = |device: usize| works.iter().filter(|work| work.1 == device).count();
        let mut pools = Pools::new(seconds, (0..self.devices.len()).map(of).collect());
        // The oracle answers once for neighbours, and only if a device has time.
        let mut answer: Option<(usize, belamy_tensor::Result<Answer>)> = None;
        for (done, &(place, device)) in works.iter().enumerate() {
            let begin = Instant::now();
            let launch = &kernels.launches[place];
            let share = pools.share(device);
            let ceilings = &self.ceilings[device];
            let least = ceilings.least_seconds(launch.cost(), false).0;
            let guess = least * kernels.slowness.guess(device, Some(launch.kernel));
            let outcome = if 3.0 * guess > share * GENEROSITY {
                Outcome::LeftOut { seconds: guess }
            } else {
                if answer.as_ref().is_none_or(|(of, _)| *of != place) {
                    answer = Some((place, Answer::to(launch, &kernels.oracle)));
                }
                match answer.as_ref().map(|(_, answer)| answer) {
                    Some(Ok(answer)) => {
                        kernels.compared[place] = answer.share;
                        let sampling = (share / 2.0).min(MOST_SAMPLING);
                        let allowance = Allowance { sampling, one: share * GENEROSITY };
                        let flusher = &mut kernels.flushers[device];
                        let device = &self.devices[device];
                        measure::launch(launch, answer, device, ceilings, flusher, allowance)
                    }
                    Some(Err(error)) => Outcome::Failed { why: format!("the oracle: {error}") },
                    None => Outcome::Failed { why: "the oracle did not answer".to_owned() },
                }
            };
            // The next work has other shapes: what this one's were kept for would only pile up.
            for device in [&self.devices[device], &kernels.oracle] {
                // A device that cannot has failed above.
                let _ = device.backend().release();
            }
            kernels.slowness.learn(device, Some(launch.kernel), &outcome, least);
            kernels.outcomes.insert((place, device), outcome);
            pools.done(device, begin.elapsed().as_secs_f64());
            self.observer.reached(done as u64 + 1, works.len() as u64);
        }
    }
}

/// What is known while kernels are measured.
struct Measuring<'a> {
    launches: &'a [Launch],
    slowness: Slowness,
    flushers: Vec<Flusher>,
    oracle: Device,
    /// By launch and device.
    outcomes: HashMap<(usize, usize), Outcome>,
    /// The share of each launch's result that was compared.
    compared: Vec<f64>,
}

fn row(launch: &Launch, compared: f64, devices: Vec<Cell>) -> KernelRow {
    let cost = launch.cost();
    KernelRow {
        op: describe::op(launch),
        kernel: launch.kernel.name(),
        family: launch.kernel.family(),
        shape: describe::shape(launch),
        uses: launch
            .uses
            .iter()
            .map(|(recipe, launches)| Use { recipe: recipe.clone(), launches: *launches })
            .collect(),
        flop: cost.flop,
        bytes: cost.bytes,
        compared,
        devices,
    }
}

/// What each device had no time for, counted by kernel.
fn left_out(steps: &[StepRow], kernels: &[KernelRow]) -> Vec<LeftOut> {
    let steps = steps.iter().map(|row| ("step", &row.devices));
    let kernels = kernels.iter().map(|row| (row.kernel, &row.devices));
    let mut list: Vec<LeftOut> = Vec::new();
    for (what, cells) in steps.chain(kernels) {
        for cell in cells {
            if !matches!(cell.outcome, Outcome::LeftOut { .. }) {
                continue;
            }
            match list.iter_mut().find(|line| line.what == what && line.device == cell.device) {
                Some(line) => line.count += 1,
                None => {
                    let device = cell.device.clone();
                    list.push(LeftOut { device, what: what.to_owned(), count: 1 });
                }
            }
        }
    }
    list
}

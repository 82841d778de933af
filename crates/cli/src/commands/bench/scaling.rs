//! `belamy bench scaling`: what it costs that several processes share batches, measured among those that `mpirun` or `srun`
//! has started, and what a model says of many.

use crate::device;
use crate::failure::{Failure, Result};
use crate::output;
use crate::progress::Waiting;
use crate::ranks::Job;
use belamy_benches::scaling::{Model, Network, Step, measure};
use belamy_gan::Recipe;
use belamy_ranks::{Alone, meet};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// Steps of a recipe that several processes share, and a model of up to 1,024.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  belamy bench scaling dcgan64\n  mpirun -n 2 --bind-to core belamy bench scaling dcgan64 --batch 64 --threads 1 --csv\n  belamy bench scaling dcgan64 --latency 3 --bandwidth 50 --overlap 0.8\n\nMeasured are steps of the first 1, 2, 4, .. processes of the job on made-up data: weak, with --batch samples a\nprocess, and strong, with --batch in all. An efficiency of 1 is a process by itself. The model adds to a step of\none process what reductions along trees or rings take at least over a network of the given latency and bandwidth; it is\nno measurement. docs/jobs.md has its formula."
)]
pub(crate) struct Arguments {
    /// The recipe whose step is timed.
    #[arg(value_name = "RECIPE", default_value = "dcgan64")]
    recipe: String,
    /// Real samples of a process (weak), or of all (strong); 0 for the recipe's own number.
    #[arg(long, value_name = "N", default_value_t = 0)]
    batch: usize,
    /// How many steps are timed for each line.
    #[arg(long, value_name = "N", default_value_t = 7)]
    steps: usize,
    /// Where each process computes.
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: String,
    /// Threads for the CPU's kernels of each process; 0 leaves it to the machine.
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// The model's network: microseconds from one process to another.
    #[arg(long, value_name = "US", default_value_t = 5.0)]
    latency: f64,
    /// The model's network: gigabytes a second of each process, 25 for 200 Gb/s.
    #[arg(long, value_name = "GB", default_value_t = 25.0)]
    bandwidth: f64,
    /// The share of the exchange that the model hides behind computation, from 0 to 1: gradients are exchanged
    /// beside the backward pass, batch norm's sums are waited for.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    overlap: f64,
    /// Print JSON.
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print comma-separated values, a line for each number of processes.
    #[arg(long)]
    csv: bool,
}

/// How long a process is waited for.
const DEADLINE: Duration = Duration::from_secs(300);
/// The most processes that the model speaks of.
const MOST: usize = 1024;

/// A line of the table.
#[derive(Serialize)]
struct Line {
    /// Whether it was measured or comes from the model.
    source: &'static str,
    scaling: &'static str,
    processes: usize,
    batch: f64,
    ms: f64,
    samples_per_second: f64,
    efficiency: f64,
    /// Of a step: waiting for the others and handing over to them.
    exchange_ms: Option<f64>,
    /// The same of gradients, while others are still being computed.
    beside_ms: Option<f64>,
}

#[derive(Serialize)]
struct Report {
    recipe: String,
    device: String,
    lines: Vec<Line>,
    model: Model,
    network: Network,
    /// What the model makes of reductions among this job's processes.
    job: Option<Network>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let recipe = Recipe::named(&arguments.recipe)?;
    let batch = if arguments.batch == 0 { recipe.batch } else { arguments.batch };
    checked(arguments, batch)?;
    let job = Job::begin(DEADLINE)?;
    // A single process counts what two threads of it hand over, and waits for them.
    device::start_threads(arguments.threads, job.processes() > 1)?;
    let device = device::find(&arguments.device)?;
    let all = job.ranks(job.processes())?;
    let [everybody] = &all[..] else { return Err(Failure::new("a process has one rank here")) };
    let mut counts: Vec<usize> = std::iter::successors(Some(1), |count| Some(2 * count))
        .take_while(|count| *count < job.processes())
        .collect();
    counts.push(job.processes());

    let mut waiting = job.leads().then(|| Waiting::on("timing steps"));
    let mut done = 0;
    let mut timed = |count: usize, batch: usize| -> Result<Option<Step>> {
        let step = match job.first(count)? {
            Some(rank) => Some(measure(&recipe, batch, &device, &rank, arguments.steps)?),
            None => None,
        };
        // Those who were not among them have waited.
        everybody.all_gather(&[])?;
        done += 1;
        if let Some(waiting) = &mut waiting {
            waiting.reached(done, 2 * counts.len() as u64 + 1);
        }
        Ok(step)
    };
    let (mut weak, mut strong) = (Vec::new(), Vec::new());
    for &count in &counts {
        weak.extend(timed(count, batch)?);
    }
    for &count in counts.iter().filter(|count| **count > 1 && batch.is_multiple_of(**count)) {
        strong.extend(timed(count, batch / count)?);
    }
    let smaller = timed(1, (batch / 4).max(1))?;
    let between = match job.processes() {
        1 => None,
        _ => Some(Network::measured(everybody)?),
    };
    let (true, Some(smaller)) = (job.leads(), smaller) else { return Ok(()) };
    drop(waiting);

    let shared = match weak.last() {
        Some(step) if step.ranks > 1 => [step.calls, step.bytes],
        _ => handed_over(&recipe, &device)?,
    };
    let model = Model::of(&weak[0], &smaller, shared, arguments.overlap);
    let network =
        Network { latency: arguments.latency * 1e-6, bandwidth: arguments.bandwidth * 1e9 };
    let alone = weak[0].seconds;
    let mut lines: Vec<Line> =
        weak.iter().map(|step| measured("weak", step, alone / step.seconds)).collect();
    lines.extend(
        strong
            .iter()
            .map(|step| measured("strong", step, alone / (step.ranks as f64 * step.seconds))),
    );
    for scaling in ["weak", "strong"] {
        let counts = std::iter::successors(Some(1), |count| Some(2 * count));
        // Less than a sample a process is none.
        let most = if scaling == "weak" { MOST } else { batch.min(MOST) };
        lines.extend(
            counts
                .take_while(|count| *count <= most)
                .map(|count| modelled(scaling, count, batch, &model, network)),
        );
    }
    let report = Report {
        recipe: recipe.name.clone(),
        device: device.id().to_string(),
        lines,
        model,
        network,
        job: between,
    };
    match (arguments.json, arguments.csv) {
        (true, _) => output::print_json(&report),
        (_, true) => output::print(&csv(&report)),
        _ => output::print(&text(&report)),
    }
}

fn checked(arguments: &Arguments, batch: usize) -> Result<()> {
    let refuse = |what: String| Err(Failure::usage(what));
    let (steps, overlap) = (arguments.steps, arguments.overlap);
    if !(1..=4096).contains(&batch) {
        return refuse(format!("--batch {batch}: must be from 1 to 4096"));
    }
    if !(1..=1000).contains(&steps) {
        return refuse(format!("--steps {steps}: must be from 1 to 1000"));
    }
    for (flag, value) in [("--latency", arguments.latency), ("--bandwidth", arguments.bandwidth)] {
        if !(1e-3..=1e6).contains(&value) {
            return refuse(format!("{flag} {value}: must be from 0.001 to 1000000"));
        }
    }
    if !(0.0..=1.0).contains(&overlap) {
        return refuse(format!("--overlap {overlap}: must be from 0 to 1"));
    }
    Ok(())
}

/// Calls and bytes of a step where there is only one process: two threads of it share a step of two samples each.
fn handed_over(recipe: &Recipe, device: &belamy_tensor::Device) -> Result<[f64; 2]> {
    let ranks = meet(Arc::new(Alone), 2, DEADLINE)?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = ranks
            .iter()
            .map(|rank| {
                let step = || Ok(measure(recipe, 2, device, rank, 1)?);
                scope.spawn(move || crate::ranks::work(rank, step))
            })
            .collect();
        let mut steps = Vec::new();
        for thread in threads {
            // One that panicked has said so.
            steps.push(thread.join().map_err(|_| Failure::new("a rank failed"))??);
        }
        Ok([steps[0].calls, steps[0].bytes])
    })
}

fn measured(scaling: &'static str, step: &Step, efficiency: f64) -> Line {
    Line {
        source: "measured",
        scaling,
        processes: step.ranks,
        batch: step.batch as f64,
        ms: 1e3 * step.seconds,
        samples_per_second: step.samples_per_second(),
        efficiency,
        exchange_ms: Some(1e3 * step.exchanging),
        beside_ms: Some(1e3 * step.beside),
    }
}

fn modelled(
    scaling: &'static str,
    processes: usize,
    batch: usize,
    model: &Model,
    network: Network,
) -> Line {
    let (size, whole) = (processes as f64, batch as f64);
    let own = if scaling == "weak" { whole } else { whole / size };
    let seconds = model.seconds(processes, own, network);
    let alone = model.seconds(1, whole, network);
    let efficiency = if scaling == "weak" { alone / seconds } else { alone / (size * seconds) };
    Line {
        source: "model",
        scaling,
        processes,
        batch: own,
        ms: 1e3 * seconds,
        samples_per_second: size * own / seconds,
        efficiency,
        exchange_ms: None,
        beside_ms: None,
    }
}

const COLUMNS: [&str; 9] = [
    "source",
    "scaling",
    "processes",
    "batch",
    "ms",
    "samples_per_second",
    "efficiency",
    "exchange_ms",
    "beside_ms",
];

fn cells(line: &Line) -> Vec<String> {
    vec![
        line.source.to_owned(),
        line.scaling.to_owned(),
        line.processes.to_string(),
        line.batch.to_string(),
        format!("{:.3}", line.ms),
        format!("{:.1}", line.samples_per_second),
        format!("{:.3}", line.efficiency),
        line.exchange_ms.map_or(String::new(), |ms| format!("{ms:.3}")),
        line.beside_ms.map_or(String::new(), |ms| format!("{ms:.3}")),
    ]
}

fn csv(report: &Report) -> String {
    let rows = report.lines.iter().map(|line| cells(line).join(",") + "\n");
    std::iter::once(COLUMNS.join(",") + "\n").chain(rows).collect()
}

fn text(report: &Report) -> String {
    let mut rows = vec![COLUMNS.map(|name| name.replace('_', " ")).to_vec()];
    rows.extend(report.lines.iter().map(cells));
    let mut text = format!("{} on {}, batch: a process's samples\n", report.recipe, report.device);
    text += &output::table(&rows, &[2, 3, 4, 5, 6, 7, 8]);
    let Model { fixed, per_sample, calls, bytes, overlap } = report.model;
    text += &format!(
        "\nmodel: {:.2} ms + {:.3} ms a sample; {calls:.0} calls and {:.2} MB a step; {:.1} µs, {:.1} GB/s, {:.0} % hidden\n",
        1e3 * fixed,
        1e3 * per_sample,
        bytes / 1e6,
        1e6 * report.network.latency,
        report.network.bandwidth / 1e9,
        1e2 * overlap,
    );
    if let Some(job) = report.job {
        text += &format!(
            "between this job's processes the model's latency is {:.1} µs and its bandwidth {:.2} GB/s\n",
            1e6 * job.latency,
            job.bandwidth / 1e9
        );
    }
    text
}

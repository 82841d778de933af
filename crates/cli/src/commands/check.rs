//! `belamy check`: the case table on this machine's devices.

use crate::device;
use crate::failure::{Failure, Result};
use crate::output;
use crate::progress::Waiting;
use belamy_gan::recipe::suggestion;
use belamy_tensor::{DType, Device};
use belamy_tests::plan::{self, Subject};
use belamy_tests::report::Row;
use belamy_tests::{Case, Mode, Report, ops};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Checks ops on this machine: gradients and double gradients against differences, devices against the oracle.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  belamy check\n  belamy check conv2d batch_norm --device cpu\n\nOn every device: gradients (grad) and gradients of gradients (gradgrad) in f64 against central differences,\nadjoints, definitions (reference), the same bits twice and on any number of threads, gradients of an input used\ntwice (reused). On every device but the oracle also its outputs (parity) and gradients (parity-grad) against the\noracle's. `worst` is the largest error as a share of its bound; beyond 1 a check fails."
)]
pub(crate) struct Arguments {
    /// Ops, or families of ops such as pointwise or pool2d; all if none is named.
    #[arg(value_name = "OP")]
    ops: Vec<String>,
    /// Check this device only: cpu, oracle, webgpu or cuda, with :N for the N-th.
    #[arg(long)]
    device: Option<String>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// Every backend there could be.
const DEVICES: [&str; 4] = ["oracle", "cpu", "webgpu", "cuda"];

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let cases = chosen(&arguments.ops)?;
    let (devices, skipped) = devices(arguments.device.as_deref())?;
    let start = Instant::now();
    let subjects: Vec<Subject> = devices.into_iter().map(subject).collect::<Result<_>>()?;
    let total = (subjects.len() * cases.len()) as u64;
    let progress =
        Progress { waiting: Mutex::new(Waiting::on("checking")), done: AtomicU64::new(0), total };
    let reports: Vec<(String, Report)> = subjects
        .iter()
        .map(|subject| (subject.device.id().to_string(), check(&cases, subject, &progress)))
        .collect();
    drop(progress);
    let seconds = start.elapsed().as_secs_f64();
    if arguments.json {
        output::print_json(&Outcome::new(&reports, &skipped, seconds))?;
    } else {
        output::print(&text(&reports, &skipped, seconds))?;
    }
    verdict(&reports)
}

/// Fails unless checks were made and all passed.
fn verdict(reports: &[(String, Report)]) -> Result<()> {
    let failures: usize = reports.iter().map(|(_, report)| report.failures().len()).sum();
    let made: usize = reports.iter().map(|(_, report)| report.total()).sum();
    match (failures, made) {
        (0, 0) => Err(Failure::new("no check was made")),
        (0, _) => Ok(()),
        _ => Err(Failure::new(format!("{failures} of {made} checks failed"))),
    }
}

/// The cases of the ops and families named.
fn chosen(names: &[String]) -> Result<Vec<Case>> {
    let mut cases = ops::all_cases();
    if names.is_empty() {
        return Ok(cases);
    }
    let mut wanted: Vec<&str> = Vec::new();
    for name in names {
        let families = ops::FAMILIES.iter();
        if cases.iter().any(|case| case.op == name) {
            wanted.push(name);
        } else if let Some((_, family)) = families.clone().find(|(family, _)| family == name) {
            wanted.extend(family().iter().map(|case| case.op));
        } else {
            let mut known: Vec<&str> = cases.iter().map(|case| case.op).collect();
            known.extend(families.map(|(family, _)| *family));
            known.sort_unstable();
            known.dedup();
            let message = format!("there is no op {name:?}; {}", suggestion(name, known));
            return Err(Failure::usage(message));
        }
    }
    cases.retain(|case| wanted.contains(&case.op));
    Ok(cases)
}

/// The device named, or all that are here, and the names of those that are not.
fn devices(name: Option<&str>) -> Result<(Vec<Device>, Vec<&'static str>)> {
    if let Some(name) = name {
        return Ok((vec![device::find(name)?], Vec::new()));
    }
    let mut found = Vec::new();
    let mut skipped = Vec::new();
    for name in DEVICES {
        match device::find(name) {
            Ok(device) => found.push(device),
            Err(_) => skipped.push(name),
        }
    }
    Ok((found, skipped))
}

/// A device as the checks take it. The CPU's hand out memory full of NaN, so that an element left unwritten is seen.
fn subject(device: Device) -> Result<Subject> {
    Ok(match device.id().name {
        "oracle" => Subject::cpu(belamy_cpu::poisoned(false)),
        "cpu" => Subject::cpu(belamy_cpu::poisoned(true)),
        // Every access checked, and memory full of NaN between canaries.
        #[cfg(feature = "webgpu")]
        "webgpu" => {
            let options = belamy_webgpu::Options {
                index: device.id().index,
                checked: true,
                canaries: true,
                ..Default::default()
            };
            let device =
                belamy_webgpu::open(options).map_err(|error| Failure::new(error.to_string()))?;
            Subject { device, dtypes: vec![DType::F32], threaded: false }
        }
        _ => Subject { device, dtypes: vec![DType::F32], threaded: false },
    })
}

/// How far all checks are.
struct Progress {
    waiting: Mutex<Waiting>,
    done: AtomicU64,
    total: u64,
}

impl Progress {
    fn one_more(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).reached(done, self.total);
    }
}

fn check(cases: &[Case], subject: &Subject, progress: &Progress) -> Report {
    let oracle = belamy_cpu::oracle();
    let against_the_oracle = subject.device.id().name != "oracle";
    let modes: Vec<Mode> = Mode::ALL
        .into_iter()
        .filter(|mode| against_the_oracle || !matches!(mode, Mode::Parity | Mode::ParityGradient))
        .collect();
    cases
        .par_iter()
        .map(|case| {
            let report = plan::run(std::slice::from_ref(case), subject, &oracle, &modes);
            progress.one_more();
            report
        })
        .reduce(Report::default, Report::merge)
}

/// Why a device is not here.
const ABSENT: &str = "not on this machine: `belamy devices` says why";

/// The table: a line an op, a column a kind of check, over all devices; then what failed.
fn text(reports: &[(String, Report)], skipped: &[&str], seconds: f64) -> String {
    let all = reports.iter().fold(Report::default(), |all, (_, report)| all.merge(report.clone()));
    let made = |mode: &Mode| all.rows.values().any(|row| row.made[*mode as usize] > 0);
    let modes: Vec<Mode> = Mode::ALL.into_iter().filter(made).collect();
    let mut heading = vec!["op".to_owned()];
    heading.extend(modes.iter().map(|mode| mode.name().to_owned()));
    heading.extend(["worst".to_owned(), "failures".to_owned()]);
    let right: Vec<usize> = (1..heading.len()).collect();
    let mut rows = vec![heading];
    for (op, row) in &all.rows {
        let mut line = vec![op.clone()];
        line.extend(modes.iter().map(|&mode| row.made[mode as usize].to_string()));
        line.push(format!("{:.2}", all.worst(op, &Mode::ALL).1));
        line.push(row.failures.len().to_string());
        rows.push(line);
    }
    let mut text = output::table(&rows, &right);
    text.push('\n');
    for (op, row) in &all.rows {
        row.failures.iter().for_each(|line| text.push_str(&format!("FAILED {line}\n")));
        row.skips.iter().for_each(|why| text.push_str(&format!("skipped {op}: {why}\n")));
    }
    for name in skipped {
        text.push_str(&format!("skipped {name}: {ABSENT}\n"));
    }
    let names: Vec<&str> = reports.iter().map(|(name, _)| name.as_str()).collect();
    let checks = output::with_commas(all.total() as u64);
    let outcome = match all.failures().len() {
        0 => "all passed".to_owned(),
        failures => format!("{failures} failed"),
    };
    let (ops, names) = (all.rows.len(), names.join(" and "));
    text.push_str(&format!(
        "{checks} checks of {ops} ops on {names} in {seconds:.1} s: {outcome}\n"
    ));
    text
}

/// The JSON form.
#[derive(Serialize)]
struct Outcome<'a> {
    checks: usize,
    failures: usize,
    seconds: f64,
    devices: Vec<Checked<'a>>,
    skipped: Vec<Skipped<'a>>,
}

#[derive(Serialize)]
struct Checked<'a> {
    device: &'a str,
    ops: Vec<Op<'a>>,
}

#[derive(Serialize)]
struct Op<'a> {
    op: &'a str,
    /// How many checks of each kind.
    checks: BTreeMap<&'static str, usize>,
    /// The largest error of each kind as a share of its bound, of those that are within it.
    worst: BTreeMap<&'static str, f64>,
    failures: &'a [String],
    skipped: &'a [String],
}

#[derive(Serialize)]
struct Skipped<'a> {
    device: &'a str,
    why: &'static str,
}

impl<'a> Outcome<'a> {
    fn new(reports: &'a [(String, Report)], skipped: &[&'a str], seconds: f64) -> Outcome<'a> {
        let op = |(op, row): (&'a String, &'a Row)| Op {
            op,
            checks: Mode::ALL
                .into_iter()
                .filter(|&mode| row.made[mode as usize] > 0)
                .map(|mode| (mode.name(), row.made[mode as usize]))
                .collect(),
            worst: Mode::ALL
                .into_iter()
                .filter(|&mode| row.made[mode as usize] > 0)
                .map(|mode| (mode.name(), row.worst[mode as usize]))
                .collect(),
            failures: &row.failures,
            skipped: &row.skips,
        };
        Outcome {
            checks: reports.iter().map(|(_, report)| report.total()).sum(),
            failures: reports.iter().map(|(_, report)| report.failures().len()).sum(),
            seconds,
            devices: reports
                .iter()
                .map(|(device, report)| Checked {
                    device,
                    ops: report.rows.iter().map(op).collect(),
                })
                .collect(),
            skipped: skipped.iter().map(|device| Skipped { device, why: ABSENT }).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use belamy_tests::Domain;

    #[test]
    fn an_op_that_is_not_its_definition_fails_with_its_worst_element() {
        let case = Case::new("relu", "made wrong", |t| t[0].abs())
            .input(&[2, 3], Domain::Normal)
            .reference(|t| t[0].relu());
        let subject = subject(belamy_cpu::cpu()).unwrap();
        let progress = Progress {
            waiting: Mutex::new(Waiting::on("checking")),
            done: AtomicU64::new(0),
            total: 1,
        };
        let report = check(&[case], &subject, &progress);
        assert_eq!(progress.done.into_inner(), 1);
        // In both types; all else that was checked of abs is right.
        assert_eq!(report.failures().len(), 2);
        let reports = [("cpu".to_owned(), report)];
        let text = text(&reports, &["cuda"], 1.0);
        let line = text.lines().find(|line| line.starts_with("FAILED")).unwrap();
        for word in ["relu/made wrong", "reference on cpu", "at [", "over bound"] {
            assert!(line.contains(word), "{line}");
        }
        assert!(text.contains("2 failed") && text.contains("skipped cuda"), "{text}");
        assert!(verdict(&reports).is_err());
        assert!(verdict(&[]).is_err(), "no check is no success");
        let json = serde_json::to_value(Outcome::new(&reports, &["cuda"], 1.0)).unwrap();
        assert_eq!(json["failures"], 2);
        assert_eq!(json["devices"][0]["ops"][0]["failures"][0], &line["FAILED ".len()..]);
    }
}

//! Which checks a case asks for, and running them.

use crate::answers::Answers;
use crate::case::Case;
use crate::compare::Mismatch;
use crate::report::{Mode, Report};
use crate::{adjoint, gradcheck, parity};
use belamy_tensor::{DType, Device, Graph};
use rayon::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A device under test.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The device.
    pub device: Device,
    /// The types it computes in. Gradients are checked by differences only where f64 is among them.
    pub dtypes: Vec<DType>,
    /// Whether its kernels run on rayon's threads, so that their number must not matter.
    pub threaded: bool,
}

impl Subject {
    /// A CPU device: both types, threaded.
    pub fn cpu(device: Device) -> Subject {
        Subject { device, dtypes: vec![DType::F32, DType::F64], threaded: true }
    }
}

type Check<'a> = (Mode, Box<dyn Fn() -> Result<f64, Mismatch> + 'a>);

/// The checks of `modes` that apply to a case on a device.
fn checks<'a>(answers: &'a Answers<'a>, subject: &'a Subject, modes: &[Mode]) -> Vec<Check<'a>> {
    let (case, device) = (answers.case(), &subject.device);
    let differentiable = case.is_differentiable();
    let differences = subject.dtypes.contains(&DType::F64) && !case.kinked;
    let mut checks: Vec<Check<'a>> = Vec::new();
    for &mode in modes {
        for &dtype in &subject.dtypes {
            match mode {
                Mode::Parity => {
                    checks.push((mode, Box::new(move || parity::forward(answers, dtype, device))));
                }
                Mode::ParityGradient if differentiable => {
                    checks.push((mode, Box::new(move || parity::backward(answers, dtype, device))));
                }
                Mode::Reference if case.reference.is_some() => {
                    let check = move || parity::reference(answers, dtype, device);
                    checks.push((mode, Box::new(check)));
                }
                Mode::Adjoint => {
                    for &operand in &case.linear {
                        checks.push((
                            mode,
                            Box::new(move || adjoint::adjoint(case, operand, dtype, device)),
                        ));
                    }
                }
                Mode::Twice => {
                    checks.push((mode, Box::new(move || parity::twice(case, dtype, device))));
                }
                Mode::Threads if subject.threaded && case.large => {
                    checks.push((mode, Box::new(move || parity::threads(case, dtype, device))));
                }
                Mode::Reused if differentiable => {
                    checks.push((mode, Box::new(move || parity::reused(case, dtype, device))));
                }
                _ => {}
            }
        }
        match mode {
            Mode::Gradient if differentiable && differences => {
                for graph in [Graph::Drop, Graph::Keep] {
                    checks.push((mode, Box::new(move || gradcheck::gradient(case, device, graph))));
                }
            }
            Mode::SecondGradient if differentiable && differences => {
                checks.push((mode, Box::new(move || gradcheck::second_gradient(case, device))));
            }
            _ => {}
        }
    }
    checks
}

/// How many checks of `mode` a case asks for on a device.
pub fn planned(case: &Case, subject: &Subject, mode: Mode) -> usize {
    checks(&Answers::new(case, &subject.device, &[mode]), subject, &[mode]).len()
}

/// Makes one check, and returns its largest error as a share of the bound; a panic is a failure too.
fn make(case: &Case, subject: &Subject, check: &Check<'_>) -> Result<f64, String> {
    let (mode, run) = check;
    let place = || format!("{} {} on {}", case.name(), mode.name(), subject.device.id());
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(share)) => Ok(share),
        Ok(Err(mismatch)) => Err(format!("{}: {mismatch}", place())),
        Err(_) => Err(format!("{}: panicked", place())),
    }
}

/// Runs the checks of `modes` that apply, cases in parallel.
pub fn run(cases: &[Case], subject: &Subject, oracle: &Device, modes: &[Mode]) -> Report {
    let reports = run_each(cases, std::slice::from_ref(subject), oracle, modes);
    reports.into_iter().next().unwrap_or_default()
}

/// As [`run`] for several devices, with a report each; the oracle is asked once for all of them.
pub fn run_each(
    cases: &[Case],
    subjects: &[Subject],
    oracle: &Device,
    modes: &[Mode],
) -> Vec<Report> {
    // Some take a thousand times longer than others. The heaviest go first, one by one to whoever is free, so that
    // nobody waits for them at the end; failures are listed in the cases' order all the same.
    let mut order: Vec<(usize, &Case)> = cases.iter().enumerate().collect();
    order.sort_by_key(|(_, case)| std::cmp::Reverse(case.weight()));
    let of_case = |(place, case): (usize, &Case)| {
        let answers = Answers::new(case, oracle, modes);
        let report = |subject: &Subject| {
            let mut report = Report::default();
            for check in checks(&answers, subject, modes) {
                report.record(case.op, check.0, make(case, subject, &check));
            }
            report
        };
        (place, subjects.iter().map(report).collect::<Vec<_>>())
    };
    let next = AtomicUsize::new(0);
    let made = (0..order.len()).into_par_iter().with_max_len(1);
    let made = made.map(|_| of_case(order[next.fetch_add(1, Ordering::Relaxed)]));
    let mut made: Vec<(usize, Vec<Report>)> = made.collect();
    made.sort_by_key(|(place, _)| *place);
    made.into_iter().fold(vec![Report::default(); subjects.len()], |whole, (_, of_case)| {
        whole.into_iter().zip(of_case).map(|(whole, report)| whole.merge(report)).collect()
    })
}

/// The first failure among the checks of `modes`, if there is one.
pub fn first_failure(
    cases: &[&Case],
    subject: &Subject,
    oracle: &Device,
    modes: &[Mode],
) -> Option<String> {
    cases.iter().find_map(|case| failure(&Answers::new(case, oracle, modes), subject, modes))
}

/// As [`first_failure`] for one case, of which the oracle's answers may be known.
pub fn failure(answers: &Answers<'_>, subject: &Subject, modes: &[Mode]) -> Option<String> {
    let checks = checks(answers, subject, modes);
    checks.iter().find_map(|check| make(answers.case(), subject, check).err())
}

//! Which checks a case asks for, and running them.

use crate::case::Case;
use crate::compare::Mismatch;
use crate::report::{Mode, Report};
use crate::{adjoint, gradcheck, parity};
use belamy_tensor::{DType, Device, Graph};
use rayon::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};

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
fn checks<'a>(
    case: &'a Case,
    subject: &'a Subject,
    oracle: &'a Device,
    modes: &[Mode],
) -> Vec<Check<'a>> {
    let device = &subject.device;
    let differentiable = case.is_differentiable();
    let differences = subject.dtypes.contains(&DType::F64) && !case.kinked;
    let mut checks: Vec<Check<'a>> = Vec::new();
    for &mode in modes {
        for &dtype in &subject.dtypes {
            match mode {
                Mode::Parity => {
                    checks.push((
                        mode,
                        Box::new(move || parity::forward(case, dtype, device, oracle)),
                    ));
                }
                Mode::ParityGradient if differentiable => {
                    checks.push((
                        mode,
                        Box::new(move || parity::backward(case, dtype, device, oracle)),
                    ));
                }
                Mode::Reference if case.reference.is_some() => {
                    checks.push((
                        mode,
                        Box::new(move || parity::reference(case, dtype, device, oracle)),
                    ));
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
    checks(case, subject, &subject.device, &[mode]).len()
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
    cases
        .par_iter()
        .map(|case| {
            let mut report = Report::default();
            for check in checks(case, subject, oracle, modes) {
                report.record(case.op, check.0, make(case, subject, &check));
            }
            report
        })
        .reduce(Report::default, Report::merge)
}

/// The first failure among the checks of `modes`, if there is one.
pub fn first_failure(
    cases: &[&Case],
    subject: &Subject,
    oracle: &Device,
    modes: &[Mode],
) -> Option<String> {
    cases.iter().find_map(|case| {
        let checks = checks(case, subject, oracle, modes);
        checks.iter().find_map(|check| make(case, subject, check).err())
    })
}

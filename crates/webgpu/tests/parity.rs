//! Every op on the WebGPU device against the oracle, by the workspace's case table.

mod common;

use belamy_tensor::{DType, Device, Tensor};
use belamy_tests::margins::{self, Column};
use belamy_tests::plan::{Subject, planned, run};
use belamy_tests::{Case, Mode, Report, ops};
use belamy_webgpu::Options;
use common::{open, say};
use std::path::Path;

const MODES: [Mode; 5] =
    [Mode::Parity, Mode::ParityGradient, Mode::Reference, Mode::Twice, Mode::Reused];

fn subject(device: Device) -> Subject {
    Subject { device, dtypes: vec![DType::F32], threaded: false }
}

fn check(options: Options, cases: &[Case]) -> Option<Report> {
    let oracle = belamy_cpu::oracle();
    let on_oracle = subject(oracle.clone());
    let count: usize =
        cases.iter().flat_map(|case| MODES.map(|mode| planned(case, &on_oracle, mode))).sum();
    let tested = format!("{count} checks of {} cases ({options:?})", cases.len());
    let (device, _) = open(&tested, options)?;
    let report = run(cases, &subject(device), &oracle, &MODES);
    say(format_args!("\nparity on webgpu, {options:?}\n{report}"));
    let failures = report.failures();
    assert_eq!(report.total(), count);
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    Some(report)
}

/// The case table, or the ops that `BELAMY_OPS` names.
fn cases() -> Vec<Case> {
    let filter = std::env::var("BELAMY_OPS").unwrap_or_default();
    let mut cases = ops::all_cases();
    cases.retain(|case| {
        filter.is_empty() || filter.split(',').any(|op| case.name().starts_with(op))
    });
    assert!(!cases.is_empty(), "BELAMY_OPS={filter} names no case");
    cases
}

/// Groups along an axis, so few that most cases have more and are folded over two axes, with groups left over.
const FOLDED: Option<u32> = Some(3);

#[test]
fn every_op_agrees_with_the_oracle_unchecked_between_canaries() {
    let options = Options { canaries: true, most_groups: FOLDED, ..Options::default() };
    let Some(report) = check(options, &cases()) else { return };
    let software =
        belamy_webgpu::adapter::adapters().first().is_some_and(|found| found.kind == "software");
    if std::env::var_os("BELAMY_OPS").is_some() || !software {
        return say("skipped: the table of margins, which is of all ops on a software adapter");
    }
    let modes = [Mode::Parity, Mode::ParityGradient];
    let columns = [Column { name: "webgpu", report: &report, modes: &modes }];
    let title = "# Outputs and gradients on a software Vulkan adapter against the oracle, in f32\n\n\
        Made by `cargo test`. An error of 1 bound is a failure; bounds are in `tests/src/parity.rs`.";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/margins.md");
    margins::agrees(&path, &margins::table(title, &columns)).unwrap_or_else(|why| panic!("{why}"));
}

#[test]
fn every_op_agrees_with_the_oracle_with_every_access_checked() {
    let _ = check(Options { checked: true, portable: true, ..Options::default() }, &cases());
}

/// The other way round: those kernels that depend on what the adapter grants.
#[test]
fn ops_on_many_tensors_agree_with_the_oracle_however_many_can_be_bound() {
    let mut cases = ops::all_cases();
    cases.retain(|case| {
        ["adam", "sgd", "rmsprop", "global_norm", "count_non_finite"].contains(&case.op)
    });
    assert!(cases.len() > 15);
    let _ = check(Options { canaries: true, portable: true, ..Options::default() }, &cases);
    let _ = check(Options { checked: true, most_groups: FOLDED, ..Options::default() }, &cases);
}

/// More groups than fit one axis of any adapter: 65,535 of 256, and a few.
#[test]
fn more_groups_than_fit_an_axis_reach_every_element() {
    let Some((device, _)) = open("more than 65,535 groups", Options::default()) else { return };
    const ELEMENTS: usize = 65_535 * 256 + 300;
    let numbers: Vec<f32> = (0..ELEMENTS).map(|i| i as f32 - 1e6).collect();
    let x = Tensor::from_slice(&numbers, [ELEMENTS], &device).unwrap();
    let found = x.neg().unwrap().to_vec::<f32>().unwrap();
    assert!(found.iter().zip(&numbers).all(|(found, number)| *found == -number));
    // And a kernel whose groups are no simple row of elements: the sums of two columns, exactly.
    let column = |from: usize| -> f64 { (from..ELEMENTS).step_by(4).map(|i| (i % 7) as f64).sum() };
    let small: Vec<f32> = (0..ELEMENTS).map(|i| (i % 7) as f32).collect();
    let x = Tensor::from_slice(&small, [ELEMENTS / 4, 4], &device).unwrap();
    let sums = x.sum(&[0]).unwrap().to_f64().unwrap();
    assert_eq!(sums, [column(0), column(1), column(2), column(3)]);
}

//! The CPU's devices against the oracle, their definitions and themselves.

use crate::{assert_clean, publish};
use belamy_tests::plan::{Subject, run};
use belamy_tests::{Mode, ops};

const MODES: [Mode; 6] =
    [Mode::Parity, Mode::ParityGradient, Mode::Reference, Mode::Twice, Mode::Threads, Mode::Reused];

#[test]
fn the_oracle_agrees_with_itself_and_with_definitions() {
    let subject = Subject::cpu(belamy_cpu::poisoned(false));
    let report = run(&ops::all_cases(), &subject, &belamy_cpu::oracle(), &MODES);
    publish("parity of the oracle", &report);
    assert_clean(&report);
}

#[test]
fn the_fast_paths_agree_with_the_oracle_and_with_definitions() {
    let subject = Subject::cpu(belamy_cpu::poisoned(true));
    let report = run(&ops::all_cases(), &subject, &belamy_cpu::oracle(), &MODES);
    publish("parity of the fast paths", &report);
    assert_clean(&report);
}

#[test]
fn the_fast_paths_agree_on_sampled_shapes() {
    let subject = Subject::cpu(belamy_cpu::poisoned(true));
    let mut cases = ops::conv2d::sampled(1, 40);
    cases.extend(ops::matmul::sampled(1, 80));
    let modes = [Mode::Parity, Mode::ParityGradient, Mode::Reference];
    let report = run(&cases, &subject, &belamy_cpu::oracle(), &modes);
    publish("sampled convolutions and products on the fast paths", &report);
    assert_clean(&report);
    assert_eq!(report.total(), 3 * 2 * cases.len());
}

//! Gradients, double gradients and adjoints of every op in f64, on the oracle and on the fast paths.

use crate::{assert_clean, publish};
use belamy_tests::plan::{Subject, run};
use belamy_tests::{Mode, ops};

const MODES: [Mode; 3] = [Mode::Gradient, Mode::SecondGradient, Mode::Adjoint];

#[test]
fn every_gradient_of_the_oracle_agrees_with_differences() {
    let oracle = belamy_cpu::oracle();
    let subject = Subject::cpu(belamy_cpu::poisoned(false));
    let report = run(&ops::all_cases(), &subject, &oracle, &MODES);
    publish("gradients on the oracle", &report);
    assert_clean(&report);
}

#[test]
fn every_gradient_of_the_fast_paths_agrees_with_differences() {
    let oracle = belamy_cpu::oracle();
    let subject = Subject::cpu(belamy_cpu::poisoned(true));
    let report = run(&ops::all_cases(), &subject, &oracle, &MODES);
    publish("gradients on the fast paths", &report);
    assert_clean(&report);
}

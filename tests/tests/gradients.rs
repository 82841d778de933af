//! Gradients, double gradients and adjoints of every op in f64, on the oracle and on the fast paths, and how far they
//! are from their bounds.

use crate::{assert_clean, publish};
use belamy_tests::margins::{self, Column};
use belamy_tests::plan::{Subject, run};
use belamy_tests::{Mode, ops};
use std::path::Path;

const MODES: [Mode; 3] = [Mode::Gradient, Mode::SecondGradient, Mode::Adjoint];

#[test]
fn every_gradient_agrees_with_differences() {
    let reports = [false, true].map(|fast| {
        let subject = Subject::cpu(belamy_cpu::poisoned(fast));
        let report = run(&ops::all_cases(), &subject, &belamy_cpu::oracle(), &MODES);
        publish(
            if fast { "gradients on the fast paths" } else { "gradients on the oracle" },
            &report,
        );
        assert_clean(&report);
        report
    });
    let columns = ["oracle", "cpu"].into_iter().zip(&reports);
    let columns: Vec<Column<'_>> =
        columns.map(|(name, report)| Column { name, report, modes: &MODES }).collect();
    let title = "# Gradients, gradients of gradients and adjoints against differences, in f64\n\n\
        Made by `cargo test`. An error of 1 bound is a failure; bounds are in `src/gradcheck.rs` and `src/adjoint.rs`.";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("gradients.md");
    margins::agrees(&path, &margins::table(title, &columns)).unwrap_or_else(|why| panic!("{why}"));
}

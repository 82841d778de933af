//! The suite, one binary: cases by every mode, the judge judged, coverage, closed forms, properties of shapes.

mod closed_forms;
mod coverage;
mod golden;
mod gradients;
mod judge;
mod parity;
mod shapes;

use belamy_tests::Report;
use std::io::Write;

/// Prints a report whether or not the test runner captures output: what was checked is part of the result.
fn publish(title: &str, report: &Report) {
    let _ = writeln!(std::io::stdout().lock(), "\n{title}\n{report}");
}

/// Fails with every failure's line.
fn assert_clean(report: &Report) {
    let failures = report.failures();
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

//! How many checks were made of each op, what failed, and what was not checked and why.

use std::collections::BTreeMap;
use std::fmt;

/// One way of checking a case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Mode {
    /// The output against the oracle's.
    Parity,
    /// The gradients against the oracle's.
    ParityGradient,
    /// The gradients against differences, as constants and as part of a graph.
    Gradient,
    /// The gradient of the gradient against differences.
    SecondGradient,
    /// ⟨A x, y⟩ = ⟨x, Aᵀ y⟩.
    Adjoint,
    /// The op against its definition.
    Reference,
    /// The same bits from two runs.
    Twice,
    /// The same bits from 1, 2 and 3 threads.
    Threads,
    /// Gradients add where an input is used twice.
    Reused,
    /// Numbers from another implementation.
    Golden,
}

impl Mode {
    /// Every mode, in the order of the table's columns.
    pub const ALL: [Mode; 10] = [
        Mode::Parity,
        Mode::ParityGradient,
        Mode::Gradient,
        Mode::SecondGradient,
        Mode::Adjoint,
        Mode::Reference,
        Mode::Twice,
        Mode::Threads,
        Mode::Reused,
        Mode::Golden,
    ];

    /// The column's heading.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Parity => "parity",
            Mode::ParityGradient => "parity-grad",
            Mode::Gradient => "grad",
            Mode::SecondGradient => "gradgrad",
            Mode::Adjoint => "adjoint",
            Mode::Reference => "reference",
            Mode::Twice => "twice",
            Mode::Threads => "threads",
            Mode::Reused => "reused",
            Mode::Golden => "golden",
        }
    }
}

/// What was done for one op.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Checks made, by mode.
    pub made: [usize; Mode::ALL.len()],
    /// The largest error of those that passed, as a share of its bound, by mode.
    pub worst: [f64; Mode::ALL.len()],
    /// Failures: one line each, with case, device and worst element.
    pub failures: Vec<String>,
    /// What was not checked, and why.
    pub skips: Vec<String>,
}

/// The result of running cases: a row for each op.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Rows by op.
    pub rows: BTreeMap<String, Row>,
}

impl Report {
    /// Counts one check that was made: its largest error as a share of the bound, or why it failed.
    pub fn record(&mut self, op: &str, mode: Mode, outcome: Result<f64, String>) {
        let row = self.rows.entry(op.to_string()).or_default();
        row.made[mode as usize] += 1;
        match outcome {
            Ok(share) => row.worst[mode as usize] = row.worst[mode as usize].max(share),
            Err(line) => row.failures.push(line),
        }
    }

    /// Notes a check that was not made.
    pub fn skip(&mut self, op: &str, reason: String) {
        self.rows.entry(op.to_string()).or_default().skips.push(reason);
    }

    /// Adds another report's counts.
    pub fn merge(mut self, other: Report) -> Report {
        for (op, row) in other.rows {
            let mine = self.rows.entry(op).or_default();
            mine.made.iter_mut().zip(row.made).for_each(|(sum, made)| *sum += made);
            mine.worst.iter_mut().zip(row.worst).for_each(|(most, share)| *most = most.max(share));
            mine.failures.extend(row.failures);
            mine.skips.extend(row.skips);
        }
        self
    }

    /// Every failure's line.
    pub fn failures(&self) -> Vec<&str> {
        self.rows.values().flat_map(|row| &row.failures).map(String::as_str).collect()
    }

    /// How many checks were made of an op in a mode.
    pub fn made(&self, op: &str, mode: Mode) -> usize {
        self.rows.get(op).map_or(0, |row| row.made[mode as usize])
    }

    /// How many checks of an op were made in any of `modes`, and the largest error as a share of its bound.
    pub fn worst(&self, op: &str, modes: &[Mode]) -> (usize, f64) {
        let Some(row) = self.rows.get(op) else { return (0, 0.0) };
        let made = modes.iter().map(|mode| row.made[*mode as usize]).sum();
        (made, modes.iter().map(|mode| row.worst[*mode as usize]).fold(0.0, f64::max))
    }

    /// How many checks were made.
    pub fn total(&self) -> usize {
        self.rows.values().flat_map(|row| row.made).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<24}", "op")?;
        for mode in Mode::ALL {
            write!(f, "{:>12}", mode.name())?;
        }
        writeln!(f, "{:>10}", "failures")?;
        for (op, row) in &self.rows {
            write!(f, "{op:<24}")?;
            for made in row.made {
                write!(f, "{made:>12}")?;
            }
            writeln!(f, "{:>10}", row.failures.len())?;
        }
        for (op, row) in &self.rows {
            for reason in &row.skips {
                writeln!(f, "skipped {op}: {reason}")?;
            }
        }
        writeln!(f, "{} checks made", self.total())
    }
}

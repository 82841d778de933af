//! What came of a judge's cases on one device: how many apply, pass, are left out and why, as a table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// How one case came out.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    /// All that was compared is within its bound.
    Passed {
        /// The largest error over its bound.
        share: f64,
        /// The highest order of derivative that was compared.
        order: usize,
        /// How many numbers were too small to say anything.
        lost: usize,
    },
    /// It was not compared, or PyTorch and we mean different things; why.
    LeftOut(String),
    /// What is wrong.
    Failed(String),
}

/// One device's cases.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Passed cases by the highest order of derivative that was compared.
    pub(crate) passed: [usize; 3],
    lost: usize,
    worst: f64,
    /// By reason, the cases' operators and how many there are of each.
    pub(crate) left_out: BTreeMap<String, BTreeMap<String, usize>>,
    pub(crate) failures: Vec<String>,
    /// By operator, how many cases passed and how many there are.
    pub(crate) operators: BTreeMap<String, (usize, usize)>,
}

impl Tally {
    /// Counts one case.
    pub(crate) fn count(&mut self, operator: &str, name: &str, fate: Fate) {
        let row = self.operators.entry(operator.to_string()).or_default();
        row.1 += 1;
        match fate {
            Fate::Passed { share, order, lost } => {
                row.0 += 1;
                self.passed[order] += 1;
                self.lost += lost;
                self.worst = self.worst.max(share);
            }
            Fate::LeftOut(reason) => {
                *self
                    .left_out
                    .entry(reason)
                    .or_default()
                    .entry(operator.to_string())
                    .or_default() += 1;
            }
            Fate::Failed(why) => self.failures.push(format!("{name}: {why}")),
        }
    }

    /// How many cases passed.
    pub(crate) fn all_passed(&self) -> usize {
        self.passed.iter().sum()
    }

    fn all_left_out(&self) -> usize {
        self.left_out.values().flat_map(BTreeMap::values).sum()
    }
}

/// One device's column: its name and what came of it.
pub(crate) type Column<'a> = (&'a str, &'a Tally);

/// The counts of a judge, a column for each device.
pub(crate) fn counts(what: &str, columns: &[Column<'_>], orders: bool) -> String {
    let mut text = format!("| {what} |");
    columns.iter().for_each(|(name, _)| {
        let _ = write!(text, " {name} |");
    });
    let _ = write!(text, "\n|---|{}", "---:|".repeat(columns.len()));
    let mut row = |name: &str, cell: &dyn Fn(&Tally) -> String| {
        let _ = write!(text, "\n| {name} |");
        columns.iter().for_each(|(_, tally)| {
            let _ = write!(text, " {} |", cell(tally));
        });
    };
    let number = |number: usize| number.to_string();
    row("apply", &|tally| number(tally.all_passed() + tally.all_left_out() + tally.failures.len()));
    row("pass", &|tally| number(tally.all_passed()));
    if orders {
        row("of these with gradients", &|tally| number(tally.passed[1] + tally.passed[2]));
        row("of these with gradients of gradients", &|tally| number(tally.passed[2]));
        row("tensors lost to cancellation", &|tally| number(tally.lost));
    }
    row("fail", &|tally| number(tally.failures.len()));
    row("left out", &|tally| number(tally.all_left_out()));
    row("worst error / bound", &|tally| format!("{:.3}", tally.worst));
    text.push('\n');
    text
}

/// Each reason for leaving out, with how many cases of which operators on which devices.
pub(crate) fn reasons(columns: &[Column<'_>]) -> String {
    let mut text = "| left out because | cases | of | on |\n|---|---:|---|---|\n".to_string();
    let all: BTreeSet<&String> =
        columns.iter().flat_map(|(_, tally)| tally.left_out.keys()).collect();
    for reason in all {
        let with = columns.iter().filter(|(_, tally)| tally.left_out.contains_key(reason));
        let with: Vec<&Column<'_>> = with.collect();
        let on: Vec<&str> = with.iter().map(|(name, _)| *name).collect();
        let on = if on.len() == columns.len() { "all".to_string() } else { on.join("; ") };
        let of = &with[0].1.left_out[reason];
        let names: Vec<&str> = of.keys().map(String::as_str).collect();
        let _ = writeln!(
            text,
            "| {reason} | {} | {} | {on} |",
            of.values().sum::<usize>(),
            names.join(" ")
        );
    }
    text
}

/// Each operator with how many of its cases pass, as `name passed/cases`.
pub(crate) fn operators(tally: &Tally) -> String {
    let cells: Vec<String> = tally
        .operators
        .iter()
        .map(|(name, (passed, all))| format!("{name} {passed}/{all}"))
        .collect();
    let mut text = String::new();
    let mut width = 0;
    for (place, cell) in cells.iter().enumerate() {
        let last = place + 1 == cells.len();
        if width > 0 && width + cell.len() > 115 {
            text.push('\n');
            width = 0;
        } else if place > 0 {
            text.push(' ');
        }
        let _ = write!(text, "{cell}{}", if last { "" } else { "," });
        width += cell.len() + 2;
    }
    text.push('\n');
    text
}

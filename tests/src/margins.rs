//! How far the checks that pass are from their bounds: a table for people, kept in the repository and compared by tests.

use crate::report::{Mode, Report};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

/// How much larger than the kept one a share may be before the table is out of date: machines round differently.
const FACTOR: f64 = 2.0;
/// Shares below this are all the same: far from the bound.
const SMALL: f64 = 0.25;

/// One device's column: its name, the report of its checks, and the modes that count.
#[derive(Clone, Copy, Debug)]
pub struct Column<'a> {
    /// As the table's heading has it.
    pub name: &'a str,
    /// What was checked.
    pub report: &'a Report,
    /// The modes whose checks are counted.
    pub modes: &'a [Mode],
}

/// The table in Markdown, below `title`: for each op and device, checks made and the largest error over its bound.
pub fn table(title: &str, columns: &[Column<'_>]) -> String {
    let mut text = format!("{title}\n\n| op |");
    columns.iter().for_each(|column| {
        let _ = write!(text, " checks, {0} | worst error / bound, {0} |", column.name);
    });
    let _ = write!(text, "\n|---|{}", "---:|---:|".repeat(columns.len()));
    let ops: BTreeSet<&String> =
        columns.iter().flat_map(|column| column.report.rows.keys()).collect();
    let mut totals = vec![(0, 0.0f64); columns.len()];
    for op in ops {
        let cells: Vec<(usize, f64)> =
            columns.iter().map(|column| column.report.worst(op, column.modes)).collect();
        if cells.iter().all(|(made, _)| *made == 0) {
            continue;
        }
        let _ = write!(text, "\n| {op} |");
        for ((made, share), total) in cells.into_iter().zip(&mut totals) {
            let _ = write!(text, " {made} | {share:.3} |");
            *total = (total.0 + made, total.1.max(share));
        }
    }
    let _ = write!(text, "\n| **all** |");
    totals.iter().for_each(|(made, share)| {
        let _ = write!(text, " {made} | {share:.3} |");
    });
    text.push('\n');
    text
}

/// Compares a table with the one in a file: the same but for shares, and those at most twice what they were.
/// `BELAMY_BLESS` writes the file anew.
///
/// Fails on the first line that differs.
pub fn agrees(path: &Path, now: &str) -> Result<(), String> {
    if std::env::var_os("BELAMY_BLESS").is_some() {
        std::fs::write(path, now).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let before =
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let (lines, kept): (Vec<&str>, Vec<&str>) = (now.lines().collect(), before.lines().collect());
    let differs = |now: &&str, kept: &&str| {
        let (now, kept): (Vec<&str>, Vec<&str>) =
            (now.split('|').collect(), kept.split('|').collect());
        let same = |(now, kept): (&&str, &&str)| {
            let shares = (now.trim().parse::<f64>(), kept.trim().parse::<f64>());
            match shares {
                (Ok(now), Ok(then)) if kept.contains('.') => now <= (FACTOR * then).max(SMALL),
                _ => now == kept,
            }
        };
        now.len() != kept.len() || !now.iter().zip(&kept).all(same)
    };
    let advice = "BELAMY_BLESS=1 writes the table anew, if that is meant";
    match lines.iter().zip(&kept).find(|(now, kept)| differs(now, kept)) {
        Some((now, kept)) => {
            Err(format!("{}: it has\n{kept}\nnow it is\n{now}\n{advice}", path.display()))
        }
        None if lines.len() != kept.len() => {
            Err(format!("{}: {} lines, now {}; {advice}", path.display(), kept.len(), lines.len()))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(checks: usize, share: f64) -> String {
        let mut report = Report::default();
        (0..checks).for_each(|_| report.record("relu", Mode::Gradient, Ok(share)));
        report.record("relu", Mode::Parity, Ok(0.9));
        let modes = [Mode::Gradient];
        table("# A title", &[Column { name: "cpu", report: &report, modes: &modes }])
    }

    #[test]
    fn a_table_agrees_with_itself_and_with_no_other() {
        if std::env::var_os("BELAMY_BLESS").is_some() {
            return;
        }
        let path = std::env::temp_dir().join(format!("belamy-margins-{}", std::process::id()));
        let kept = made(3, 0.2);
        assert!(kept.contains("| relu | 3 | 0.200 |"), "{kept}");
        std::fs::write(&path, &kept).unwrap();
        assert_eq!(agrees(&path, &kept), Ok(()));
        assert_eq!(agrees(&path, &made(3, 0.39)), Ok(()));
        assert_eq!(agrees(&path, &made(3, 0.0)), Ok(()));
        assert!(agrees(&path, &made(3, 0.41)).unwrap_err().contains("relu"));
        assert!(agrees(&path, &made(2, 0.2)).is_err(), "a check was lost");
        assert!(agrees(&path, "# A title\n").is_err());
        std::fs::remove_file(&path).unwrap();
        assert!(agrees(&path, &kept).is_err());
    }
}

//! What came of the mutants, as text: lines for a run, and the sections of `mutants.md`.

use super::children::{How, Judged, Outcome, Run};
use super::equivalent::EQUIVALENT;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The table's file.
fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("mutants.md")
}

/// A line for each mutant, and how many were rejected.
pub fn lines(judged: &[Judged]) -> String {
    let mut text = String::new();
    for one in judged {
        let Judged { file, mutant, outcome } = one;
        let after = if mutant.after.is_empty() { "(left out)" } else { &mutant.after };
        let came = match (outcome, one.equivalent()) {
            (Outcome::Survived, Some(reason)) => format!("equivalent: {reason}"),
            (Outcome::Survived, None) => "NOT REJECTED".to_string(),
            (Outcome::Killed(how, by), _) => format!("{}: {by}", how.name()),
            (Outcome::Invalid(why), _) => format!("invalid: {why}"),
        };
        let (line, kind, before) = (mutant.line, mutant.kind, &mutant.before);
        let _ = writeln!(text, "{file}:{line} {kind}\n    {before}\n    {after}\n    {came}");
    }
    let killed = judged.iter().filter(|one| matches!(one.outcome, Outcome::Killed(..))).count();
    let equivalent = judged.iter().filter(|one| one.equivalent().is_some()).count();
    let _ = writeln!(
        text,
        "{} mutants of {} files: {killed} rejected, {equivalent} equivalent",
        judged.len(),
        judged.iter().map(|one| &one.file).collect::<std::collections::BTreeSet<_>>().len(),
    );
    text
}

/// What is wrong with a run: mutants that survive without being known as equivalent, and those that are known as
/// equivalent and are not. `whole` says that every mutant was judged, so that all of the list must have been met.
pub fn complaints(run: &Run, extension: &str, whole: bool) -> Vec<String> {
    let Run { judged, broken } = run;
    let mut complaints = broken.clone();
    for one in judged {
        let what = match (&one.outcome, one.equivalent()) {
            (Outcome::Survived, None) => "survives".to_string(),
            (Outcome::Killed(_, by), Some(_)) => format!("is listed as equivalent, but {by}"),
            _ => continue,
        };
        let (file, mutant) = (&one.file, &one.mutant);
        complaints.push(format!(
            "{file}:{} {what}\n    {}\n    {}",
            mutant.line, mutant.before, mutant.after
        ));
    }
    let stale = EQUIVALENT.iter().filter(|known| {
        let is_drawn = |one: &Judged| {
            one.file == known.file
                && one.mutant.before == known.before
                && one.mutant.after == known.after
        };
        known.file.ends_with(extension) && !judged.iter().any(is_drawn)
    });
    if whole {
        complaints.extend(
            stale.map(|known| format!("{}: `{}` is drawn no more", known.file, known.before)),
        );
    }
    complaints
}

/// The section of a language: a row for each file, and the mutants that change nothing.
pub fn section(title: &str, judged: &[Judged]) -> String {
    let mut rows: BTreeMap<&str, [usize; How::ALL.len() + 2]> = BTreeMap::new();
    for one in judged {
        let row = rows.entry(&one.file).or_default();
        row[0] += 1;
        match &one.outcome {
            Outcome::Killed(how, _) => {
                let column = How::ALL.iter().position(|known| known == how).unwrap_or(0);
                row[1 + column] += 1;
            }
            _ => row[How::ALL.len() + 1] += 1,
        }
    }
    let mut text = format!("## {title}\n\n| file | mutants |");
    How::ALL.iter().for_each(|how| {
        let _ = write!(text, " {} |", how.name());
    });
    let _ = write!(text, " equivalent |\n|---|{}", "---|".repeat(How::ALL.len() + 2));
    let mut total = [0; How::ALL.len() + 2];
    let mut push = |name: &str, row: &[usize]| {
        let _ = write!(text, "\n| {name} |");
        row.iter().for_each(|count| {
            let _ = write!(text, " {count} |");
        });
    };
    for (file, row) in &rows {
        push(file, row);
        total.iter_mut().zip(row).for_each(|(total, count)| *total += count);
    }
    push("**all**", &total);
    text.push('\n');
    let same: Vec<(&Judged, &str)> =
        judged.iter().filter_map(|one| one.equivalent().map(|reason| (one, reason))).collect();
    if !same.is_empty() {
        text.push_str(
            "\n| file | line | becomes | and computes the same, because |\n|---|---|---|---|\n",
        );
    }
    for (Judged { file, mutant, .. }, reason) in same {
        let code = |line: &str| match line {
            "" => "(left out)".to_string(),
            line => format!("`{}`", line.replace('|', "\\|")),
        };
        let (before, after) = (code(&mutant.before), code(&mutant.after));
        let _ = writeln!(text, "| {file} | {before} | {after} | {reason} |");
    }
    text
}

/// Compares a section with the one of its title in `mutants.md`; `BELAMY_BLESS` writes it anew.
///
/// Fails on the first line that differs.
pub fn agrees(section: &str) -> Result<(), String> {
    let path = path();
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let title = section.lines().next().unwrap_or_default();
    let text = read(&path)?;
    let mut sections: Vec<String> = text.split("\n## ").map(str::to_string).collect();
    sections.iter_mut().skip(1).for_each(|kept| kept.insert_str(0, "## "));
    let kept = sections.iter_mut().find(|kept| kept.lines().next() == Some(title));
    if std::env::var_os("BELAMY_BLESS").is_some() {
        match kept {
            Some(kept) => *kept = section.to_string(),
            None => sections.push(section.to_string()),
        }
        let whole: Vec<&str> = sections.iter().map(|section| section.trim_end()).collect();
        return std::fs::write(&path, whole.join("\n\n") + "\n")
            .map_err(|error| format!("{}: {error}", path.display()));
    }
    let kept = kept.ok_or_else(|| format!("{}: it has no section `{title}`", path.display()))?;
    let lines = |text: &str| text.trim_end().lines().map(str::to_string).collect::<Vec<_>>();
    let (now, kept) = (lines(section), lines(kept));
    if now.iter().map(|line| settled(line)).eq(kept.iter().map(|line| settled(line))) {
        return Ok(());
    }
    let advice = "BELAMY_MUTANTS=all BELAMY_BLESS=1 writes the table anew, if that is meant";
    let differing = now.iter().zip(&kept).find(|(now, kept)| settled(now) != settled(kept));
    let (now, kept) = differing.map_or_else(
        || (format!("{} lines", now.len()), format!("{} lines", kept.len())),
        |(now, kept)| (now.clone(), kept.clone()),
    );
    Err(format!("{}: it has\n{kept}\nnow it is\n{now}\n{advice}", path.display()))
}

/// What of a line must not change: of a file's row not by what its mutants are rejected, for what is read beyond a
/// buffer depends on where that lies.
fn settled(line: &str) -> Vec<&str> {
    let mut cells: Vec<&str> = line.split('|').map(str::trim).collect();
    // The name, the number of mutants, the ways, the number of those that change nothing, and what is outside.
    if cells.len() == How::ALL.len() + 5 && cells[2].parse::<usize>().is_ok() {
        cells.drain(3..3 + How::ALL.len());
    }
    cells
}

/// How many mutants `mutants.md` says were judged, and how many of them change nothing: of all its sections.
///
/// Fails when the file cannot be read.
pub fn recorded() -> Result<(usize, usize), String> {
    let path = path();
    let text =
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let of = |line: &str| -> Option<(usize, usize)> {
        let cells: Vec<&str> = line.strip_prefix("| **all** |")?.split('|').collect();
        let numbers: Vec<usize> =
            cells.iter().filter_map(|cell| cell.trim().parse().ok()).collect();
        Some((*numbers.first()?, *numbers.last()?))
    };
    let sum = |sum: (usize, usize), (made, same): (usize, usize)| (sum.0 + made, sum.1 + same);
    Ok(text.lines().filter_map(of).fold((0, 0), sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rows_mutants_are_settled_and_what_rejects_them_is_not() {
        let row = settled("| norm.cu | 14 | 8 | 3 | 0 | 2 | 0 | 1 |");
        assert_eq!(row, settled("| norm.cu | 14 | 7 | 3 | 0 | 2 | 1 | 1 |"));
        assert_ne!(row, settled("| norm.cu | 14 | 9 | 3 | 0 | 2 | 0 | 0 |"));
        assert_ne!(row, settled("| norm.cu | 13 | 7 | 3 | 0 | 2 | 0 | 1 |"));
        assert_ne!(
            settled("| concat | 2 | 2 | 2 | 0 | 2 | 0 |"),
            settled("| concat | 2 | 2 | 1 | 0 | 2 | 0 |")
        );
    }
}

//! A report as text, Markdown or comma-separated values.

use super::{Printed, Skipped};
use crate::output;
use belamy_benches::ceilings::Limit;
use belamy_benches::measure::Outcome;
use belamy_benches::roofline::size_in_words;
use belamy_benches::session::{Cell, LeftOut, Report, Use};

/// A table: a heading, then lines.
type Rows = Vec<Vec<String>>;

/// Three significant digits.
fn short(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value:.0}");
    }
    let digits = (2 - value.abs().log10().floor() as i32).clamp(0, 6) as usize;
    format!("{value:.digits$}")
}

fn percent(value: f64) -> String {
    match 100.0 * value {
        small if small < 9.95 => format!("{small:.1}%"),
        large => format!("{large:.0}%"),
    }
}

/// The columns of one device: what they are called, and a work's.
fn device_heading(device: &str) -> [String; 5] {
    [
        format!("{device} ms"),
        "spread".to_owned(),
        "GFLOP/s".to_owned(),
        "GB/s".to_owned(),
        "share".to_owned(),
    ]
}

fn device_columns(cell: &Cell) -> [String; 5] {
    let empty = |word: &str| {
        let mut columns: [String; 5] = Default::default();
        columns[0] = word.to_owned();
        columns
    };
    match &cell.outcome {
        Outcome::Measured(figures) => [
            short(figures.timing.median * 1e3),
            if figures.timing.samples < 3 { String::new() } else { percent(figures.spread) },
            short(figures.gflop_s),
            short(figures.gb_s),
            format!(
                "{} {}",
                percent(figures.share),
                match figures.limit {
                    Limit::Arithmetic => "F",
                    Limit::Traffic => "B",
                }
            ),
        ],
        Outcome::Incorrect { .. } => empty("wrong"),
        Outcome::Failed { .. } => empty("failed"),
        Outcome::TooLarge { .. } => empty("too large"),
        Outcome::LeftOut { .. } => empty("left out"),
    }
}

fn headed(first: &[&str], report: &Report) -> Vec<String> {
    let mut heading: Vec<String> = first.iter().map(|&word| word.to_owned()).collect();
    heading.extend(report.ceilings.iter().flat_map(|line| device_heading(&line.device)));
    heading
}

fn ceilings(report: &Report) -> Rows {
    let words = ["device", "ceiling", "how", "threads or working set"];
    let mut rows: Rows = vec![words.map(str::to_owned).to_vec()];
    for device in &report.ceilings {
        for peak in &device.peaks {
            let threads = match peak.threads {
                0 => String::new(),
                1 => "1 thread".to_owned(),
                threads => format!("{threads} threads"),
            };
            let rate = format!("{} GFLOP/s", short(peak.flop_per_second / 1e9));
            rows.push(vec![device.device.clone(), rate, peak.how.clone(), threads]);
        }
        for line in &device.bandwidths {
            let rate = format!("{} GB/s", short(line.bytes_per_second / 1e9));
            let size = size_in_words(line.working_set);
            rows.push(vec![device.device.clone(), rate, line.how.to_owned(), size]);
        }
    }
    rows
}

fn steps(report: &Report) -> Rows {
    let mut rows = vec![headed(&["step", "batch", "GFLOP", "FLOP/B"], report)];
    for row in &report.steps {
        let mut line = vec![
            row.recipe.clone(),
            row.batch.to_string(),
            short(row.flop as f64 / 1e9),
            short(row.flop as f64 / row.bytes.max(1) as f64),
        ];
        line.extend(row.devices.iter().flat_map(device_columns));
        rows.push(line);
    }
    rows
}

fn uses(uses: &[Use]) -> String {
    let each = |used: &Use| match used.launches {
        1 => used.recipe.clone(),
        launches => format!("{} {launches}×", used.recipe),
    };
    uses.iter().map(each).collect::<Vec<_>>().join(", ")
}

fn kernels(report: &Report) -> Rows {
    let mut rows = vec![headed(&["op", "shape", "in the step of", "FLOP/B"], report)];
    for row in &report.kernels {
        let mut line = vec![
            row.op.to_owned(),
            row.shape.clone(),
            uses(&row.uses),
            short(row.flop as f64 / row.bytes.max(1) as f64),
        ];
        line.extend(row.devices.iter().flat_map(device_columns));
        rows.push(line);
    }
    rows
}

/// What is wrong, failed, was left out or skipped, a line each.
fn remarks(report: &Report, skipped: &[Skipped]) -> Vec<String> {
    let mut lines = Vec::new();
    let steps = report.steps.iter().map(|row| (format!("step {}", row.recipe), &row.devices));
    let kernels =
        report.kernels.iter().map(|row| (format!("{} {}", row.op, row.shape), &row.devices));
    for (what, cells) in steps.chain(kernels) {
        for cell in cells {
            match &cell.outcome {
                Outcome::Incorrect { why } => {
                    lines.push(format!("WRONG on {}: {what}: {why}", cell.device))
                }
                Outcome::Failed { why } => {
                    lines.push(format!("FAILED on {}: {what}: {why}", cell.device))
                }
                Outcome::TooLarge { why } => {
                    lines.push(format!("too large for {}: {what}: {why}", cell.device))
                }
                _ => {}
            }
        }
    }
    for device in &report.ceilings {
        let own = report.left_out.iter().filter(|line| line.device == device.device);
        let each = |line: &LeftOut| match (line.what.as_str(), line.count) {
            ("step", 1) => "1 step".to_owned(),
            ("step", count) => format!("{count} steps"),
            (what, 1) => format!("{what} at 1 shape"),
            (what, count) => format!("{what} at {count} shapes"),
        };
        let list: Vec<String> = own.map(each).collect();
        if !list.is_empty() {
            let (device, list) = (&device.device, list.join(", "));
            lines.push(format!("left out on {device}, for want of time: {list}"));
        }
    }
    if !report.not_traced.is_empty() {
        let names = report.not_traced.join(", ");
        lines.push(format!("not looked at, for want of time: the steps of {names}"));
    }
    if !report.in_no_step.is_empty() && !report.kernels.is_empty() {
        let names = report.in_no_step.join(", ");
        lines.push(format!("in none of these recipes' steps: {names}"));
    }
    for Skipped { device, why } in skipped {
        lines.push(format!("skipped {device}: {why}"));
    }
    let parts =
        report.kernels.iter().filter(|row| row.compared > 0.0 && row.compared < 1.0).count();
    if parts > 0 {
        lines.push(format!("of {parts} kernels' results a part was compared with the oracle's"));
    }
    lines
}

fn last_line(report: &Report) -> String {
    let (threads, set) = (report.threads, report.instruction_set);
    let caches = if report.cold { "cold caches" } else { "warm caches" };
    format!(
        "{} steps and {} kernels in {:.0} s; {threads} threads, {set} kernels, {caches}; share F of the arithmetic, B of the bytes",
        report.steps.len(),
        report.kernels.len(),
        report.seconds
    )
}

/// The report for people: lined up, or as Markdown.
pub(crate) fn text(printed: &Printed<'_>, markdown: bool) -> String {
    let report = printed.report;
    let mut text = String::new();
    let parts =
        [("Ceilings", ceilings(report)), ("Steps", steps(report)), ("Kernels", kernels(report))];
    for (title, rows) in parts.into_iter().filter(|(_, rows)| rows.len() > 1) {
        let words = if title == "Ceilings" { rows[0].len() } else { 3 };
        if markdown {
            text.push_str(&format!("## {title}\n\n{}\n", markdown_table(&rows, words)));
        } else {
            let right: Vec<usize> = (words..rows[0].len()).collect();
            text.push_str(&format!("{}\n", output::table(&rows, &right)));
        }
    }
    for line in remarks(report, &printed.skipped).into_iter().chain([last_line(report)]) {
        text.push_str(if markdown { "- " } else { "" });
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// Rows as a Markdown table whose columns from `words` on are flush right.
fn markdown_table(rows: &Rows, words: usize) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let mut text = line(&rows[0]);
    let rule = |column: usize| if column < words { "---" } else { "---:" }.to_owned();
    text.push_str(&line(&(0..rows[0].len()).map(rule).collect::<Vec<_>>()));
    rows[1..].iter().for_each(|row| text.push_str(&line(row)));
    text
}

const CSV_HEADING: &str = "work,op,kernel,family,shape,recipes,flop,bytes,compared,device,outcome,median_s,lower_quartile_s,upper_quartile_s,least_s,most_s,samples,launches_per_sample,spread,gflop_s,gb_s,share,limit,why";

/// One line for each work and device.
pub(super) fn csv(report: &Report) -> String {
    let mut text = format!("{CSV_HEADING}\n");
    let mut add = |work: [String; 9], cells: &[Cell]| {
        for cell in cells {
            let fields: Vec<String> = work
                .iter()
                .cloned()
                .chain([cell.device.clone()])
                .chain(csv_outcome(&cell.outcome))
                .collect();
            let fields: Vec<String> = fields.iter().map(|field| quoted(field)).collect();
            text.push_str(&fields.join(","));
            text.push('\n');
        }
    };
    for row in &report.steps {
        let recipe = row.recipe.clone();
        let shape = format!("batch {}", row.batch);
        let empty = String::new;
        let (flop, bytes) = (row.flop.to_string(), row.bytes.to_string());
        add(
            ["step".into(), empty(), empty(), empty(), shape, recipe, flop, bytes, empty()],
            &row.devices,
        );
    }
    for row in &report.kernels {
        let work = [
            "kernel".into(),
            row.op.into(),
            row.kernel.into(),
            row.family.into(),
            row.shape.clone(),
            uses(&row.uses),
            row.flop.to_string(),
            row.bytes.to_string(),
            row.compared.to_string(),
        ];
        add(work, &row.devices);
    }
    text
}

/// The fields from `outcome` on.
fn csv_outcome(outcome: &Outcome) -> [String; 14] {
    let mut fields: [String; 14] = Default::default();
    match outcome {
        Outcome::Measured(figures) => {
            let timing = figures.timing;
            let limit = match figures.limit {
                Limit::Arithmetic => "arithmetic",
                Limit::Traffic => "traffic",
            };
            fields = [
                "measured".into(),
                timing.median.to_string(),
                timing.lower_quartile.to_string(),
                timing.upper_quartile.to_string(),
                timing.least.to_string(),
                timing.most.to_string(),
                timing.samples.to_string(),
                timing.launches.to_string(),
                figures.spread.to_string(),
                figures.gflop_s.to_string(),
                figures.gb_s.to_string(),
                figures.share.to_string(),
                limit.into(),
                String::new(),
            ];
        }
        Outcome::Incorrect { why } => (fields[0], fields[13]) = ("incorrect".into(), why.clone()),
        Outcome::Failed { why } => (fields[0], fields[13]) = ("failed".into(), why.clone()),
        Outcome::TooLarge { why } => (fields[0], fields[13]) = ("too_large".into(), why.clone()),
        Outcome::LeftOut { seconds } => {
            (fields[0], fields[13]) = ("left_out".into(), format!("about {seconds:.1} s a run"));
        }
    }
    fields
}

/// A field as CSV has it (RFC 4180).
fn quoted(field: &str) -> String {
    match field.contains([',', '"', '\n']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        let cases = [
            (0.0, "0"),
            (1234.4, "1234"),
            (12.345, "12.3"),
            (0.012_345, "0.0123"),
            (999.6, "1000"),
        ];
        cases.into_iter().for_each(|(number, text)| assert_eq!(short(number), text));
        assert_eq!((percent(0.0123), percent(1.5)), ("1.2%".to_owned(), "150%".to_owned()));
    }

    #[test]
    fn fields_with_commas_are_quoted() {
        assert_eq!(quoted("a"), "a");
        assert_eq!(quoted("a, \"b\""), "\"a, \"\"b\"\"\"");
    }
}

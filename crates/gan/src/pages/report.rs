//! The end of a run as one page: its health, curves, samples and settings.

use super::{Page, escaped};
use crate::error::{Error, Result};
use crate::files;
use crate::health::{self, Game, Monitor, Reading, Verdict};
use crate::memory;
use crate::run::{Plan, read_plan};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// At most so many pictures of samples stand on the page, evenly spread over the run, the last one among them.
const MOST_PICTURES: usize = 6;

/// Steps of a run that had one verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The first step at which it was passed.
    pub from: u64,
    /// The last.
    pub to: u64,
    /// What was the matter.
    pub verdict: Verdict,
}

/// The verdicts of a run from line to line, equal neighbours joined. Fails without memory for them.
pub fn spans(game: Game, readings: &[Reading]) -> Result<Vec<Span>> {
    let mut monitor = Monitor::new(game);
    let mut spans: Vec<Span> = Vec::new();
    for reading in readings {
        monitor.push(*reading);
        let verdict = monitor.health().verdict;
        match spans.last_mut() {
            Some(span) if span.verdict == verdict => span.to = reading.step,
            _ => {
                let span = Span { from: reading.step, to: reading.step, verdict };
                memory::push(&mut spans, span, "a run's verdicts")?;
            }
        }
    }
    Ok(spans)
}

/// The page of a run's folder. What the folder lacks, or cannot be read, is left out; fails without run.toml, and without
/// memory for the page.
pub fn report(run: &Path, game: Game) -> Result<String> {
    let plan = read_plan(run)?;
    let metrics = run.join("metrics.jsonl");
    let readings = match health::read(&metrics) {
        Err(error @ Error::Memory { .. }) => return Err(error),
        readings => readings.unwrap_or_default(),
    };
    let mut monitor = Monitor::new(game);
    readings.iter().for_each(|reading| monitor.push(*reading));
    let health = monitor.health();
    let name = run.file_name().unwrap_or(run.as_os_str()).to_string_lossy();
    let step = readings.last().map_or(0, |reading| reading.step);
    let mut page = Page::new(&format!("{name}: a run of {}", plan.recipe.name))?;
    page.add(&format!(
        "<style>{STYLE}</style>\n<h1>{}</h1>\n<p class=\"pale\">recipe {}, {step} of {} steps, seed {}, {}, {}; belamy {}</p>\n",
        escaped(&name),
        escaped(&plan.recipe.name),
        plan.recipe.steps,
        plan.seed,
        escaped(&plan.device),
        escaped(&plan.precision),
        escaped(&plan.version),
    ))?;
    add_verdict(&mut page, &health, &spans(game, &readings)?)?;
    add_numbers(&mut page, &metrics)?;
    if let Some(curves) = content(&run.join("curves.png"))? {
        page.add("<h2>Curves</h2>\n<figure><img class=\"curves\" alt=\"losses and accuracies by step\" src=\"")?;
        page.add_address(&curves)?;
        page.add("\"></figure>\n")?;
    }
    add_pictures(&mut page, run)?;
    add_settings(&mut page, run, &plan)?;
    page.finished()
}

/// What is in a file, or nothing if it cannot be read. Fails without memory for it.
fn content(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) => match files::not_read(path, error) {
            error @ Error::Memory { .. } => Err(error),
            _ => Ok(None),
        },
    }
}

/// Writes the page as `report.html` into the run's folder, and returns its path. Fails as [`report`], and if it cannot
/// be written.
pub fn write(run: &Path, game: Game) -> Result<PathBuf> {
    let path = run.join("report.html");
    files::write_atomically(&path, report(run, game)?.as_bytes())?;
    Ok(path)
}

const STYLE: &str = "
.verdict { font-size: 1.15rem; font-weight: 600; margin: 0; } .good { color: var(--mark); } .bad { color: var(--bad); }
.bar { display: flex; height: .9rem; border-radius: 4px; overflow: hidden; margin: 1rem 0 .4rem; background: var(--line); } .bar span { min-width: 2px; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1.2rem; }
.pictures img { width: 100%; } img.curves { image-rendering: auto; background: #fff; }
";

fn colour(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::TooEarly => "#b9b5aa",
        Verdict::Balanced => "#4d9a72",
        Verdict::DiscriminatorTooStrong => "#c9822e",
        Verdict::GeneratorFooling => "#8e6bb3",
        Verdict::Collapsing => "#c4563b",
        Verdict::Diverged => "#7d1f1f",
    }
}

fn add_verdict(page: &mut Page, health: &health::Health, spans: &[Span]) -> Result<()> {
    let class = match health.verdict {
        Verdict::Balanced | Verdict::TooEarly => "good",
        _ => "bad",
    };
    page.add(&format!(
        "<h2>Health</h2>\n<p class=\"verdict {class}\">{}</p>\n<p>{}</p>\n",
        health.verdict.words(),
        escaped(&health.why)
    ))?;
    if !health.hack.is_empty() {
        page.add(&format!("<p>Try: {}.</p>\n", escaped(health.hack)))?;
    }
    let Some(last) = spans.last() else { return Ok(()) };
    let whole = last.to.max(1) as f64;
    page.add("<div class=\"bar\" role=\"img\" aria-label=\"verdicts over the run\">")?;
    let mut begun = 0;
    for span in spans {
        let share = 100.0 * span.to.saturating_sub(begun) as f64 / whole;
        begun = span.to;
        page.add(&format!(
            "<span style=\"width:{share:.3}%;background:{}\" title=\"{}, steps {} to {}\"></span>",
            colour(span.verdict),
            span.verdict.words(),
            span.from,
            span.to
        ))?;
    }
    page.add("</div>\n<p class=\"pale\">")?;
    let mut named: Vec<Verdict> = Vec::new();
    for span in spans {
        if !named.contains(&span.verdict) {
            named.push(span.verdict);
            page.add(&format!(
                "<span style=\"color:{}\">■</span> {}&ensp; ",
                colour(span.verdict),
                span.verdict.words()
            ))?;
        }
    }
    page.add("</p>\n")
}

/// The last line of metrics as a table.
fn add_numbers(page: &mut Page, metrics: &Path) -> Result<()> {
    let Some(text) = content(metrics)? else { return Ok(()) };
    let mut lines = text.rsplit(|byte| *byte == b'\n');
    let last = lines.find_map(|line| serde_json::from_slice::<Value>(line).ok());
    let Some(Value::Object(fields)) = last else { return Ok(()) };
    page.add("<h2>The last line of metrics</h2>\n<table>\n")?;
    for (name, value) in &fields {
        let value = match value {
            Value::Number(number) if number.is_f64() => {
                let number = number.as_f64().unwrap_or(f64::NAN);
                if number.abs() >= 1000.0 { format!("{number:.0}") } else { format!("{number:.4}") }
            }
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let name = name.replace('_', " ");
        page.add(&format!("<tr><th>{}</th><td>{}</td></tr>\n", escaped(&name), escaped(&value)))?;
    }
    page.add("</table>\n")
}

fn add_pictures(page: &mut Page, run: &Path) -> Result<()> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(run.join("samples"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "png"))
        .collect();
    paths.sort();
    let count = paths.len();
    let shown = count.min(MOST_PICTURES);
    let mut is_first = true;
    for place in 0..shown {
        let index = if shown == 1 { 0 } else { place * (count - 1) / (shown - 1) };
        let Some(bytes) = content(&paths[index])? else { continue };
        if std::mem::take(&mut is_first) {
            page.add(&format!(
                "<h2>Samples</h2>\n<p class=\"pale\">From one fixed noise batch, {shown} of {count} pictures.</p>\n<div class=\"pictures\">\n"
            ))?;
        }
        let name = paths[index].file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let words = match name.strip_prefix("step-").and_then(|step| step.parse::<u64>().ok()) {
            Some(step) => format!("step {step}"),
            None => escaped(&name),
        };
        page.add(&format!("<figure><img alt=\"samples, {words}\" src=\""))?;
        page.add_address(&bytes)?;
        page.add(&format!("\"><figcaption>{words}</figcaption></figure>\n"))?;
    }
    if is_first { Ok(()) } else { page.add("</div>\n") }
}

fn add_settings(page: &mut Page, run: &Path, plan: &Plan) -> Result<()> {
    let text = std::fs::read_to_string(run.join("run.toml")).unwrap_or_default();
    let data = if plan.data.as_os_str().is_empty() {
        "made from the seed, or built in".to_owned()
    } else {
        plan.data.display().to_string()
    };
    page.add(&format!(
        "<h2>Settings</h2>\n<p class=\"pale\">Data: {}. Losses are the {} of D's two halves, in nats per sample.</p>\n<details><summary>run.toml</summary><pre>{}</pre></details>\n",
        escaped(&data),
        escaped(&plan.loss_convention),
        escaped(&text)
    ))
}

#[cfg(test)]
mod tests {
    use super::super::tests::address;
    use super::*;
    use crate::objective::LossConvention;
    use crate::recipe::Recipe;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("belamy-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(path.join("samples")).unwrap();
        path
    }

    #[test]
    fn the_page_holds_everything_and_needs_no_network() {
        let run = folder("report");
        let plan = Plan::new(Recipe::named("sine").unwrap(), 7, &belamy_cpu::cpu());
        std::fs::write(run.join("run.toml"), toml::to_string(&plan).unwrap()).unwrap();
        let game = Game::plain(LossConvention::Mean);
        // A run that was cut short before its first line has a page too.
        assert!(report(&run, game).unwrap().contains("too early to tell"));
        let mut lines = String::new();
        for step in (20..=400).step_by(20) {
            let loss = if step < 200 { 0.69 } else { 0.05 };
            lines.push_str(&format!(
                "{{\"step\":{step},\"loss_d\":{loss},\"loss_g\":0.7,\"accuracy_real\":0.6,\"accuracy_fake\":0.6}}\n"
            ));
        }
        lines.push_str("{\"step\":420,\"loss_d\":0.05,\"loss_g\":0.7,\"acc");
        std::fs::write(run.join("metrics.jsonl"), lines).unwrap();
        for step in 1..=20 {
            std::fs::write(run.join(format!("samples/step-{step:08}.png")), [step]).unwrap();
        }
        std::fs::write(run.join("curves.png"), b"curves").unwrap();
        let page = std::fs::read_to_string(write(&run, game).unwrap()).unwrap();
        assert!(page.contains("D too strong") && page.contains("400 of 5000 steps"), "{page}");
        assert!(page.contains("name = &quot;sine&quot;"));
        assert_eq!(page.matches("<figcaption>").count(), MOST_PICTURES);
        assert!(page.contains(&address(&[1])) && page.contains(&address(&[20])));
        for word in ["http:", "https:", "src=\"/", "@import", "<link"] {
            assert!(!page.contains(word), "{word}");
        }
        std::fs::remove_dir_all(run).unwrap();
    }

    #[test]
    fn steps_that_fall_make_no_width_below_nothing() {
        let run = folder("falling");
        let plan = Plan::new(Recipe::named("sine").unwrap(), 7, &belamy_cpu::cpu());
        std::fs::write(run.join("run.toml"), toml::to_string(&plan).unwrap()).unwrap();
        // Spans of other verdicts, each ending at a smaller step than the one before.
        let line = |step: u64, loss: f64| {
            format!(
                "{{\"step\":{step},\"loss_d\":{loss},\"loss_g\":0.7,\"accuracy_real\":0.6,\"accuracy_fake\":0.6}}\n"
            )
        };
        let lines: String = (1..=80)
            .map(|at| line(10_000 - 20 * at, if at % 40 < 20 { 0.69 } else { 0.05 }))
            .collect();
        std::fs::write(run.join("metrics.jsonl"), lines).unwrap();
        let game = Game::plain(LossConvention::Mean);
        assert!(spans(game, &health::read(&run.join("metrics.jsonl")).unwrap()).unwrap().len() > 2);
        let page = report(&run, game).unwrap();
        let widths: Vec<f64> = page
            .split("style=\"width:")
            .skip(1)
            .map(|rest| rest.split('%').next().unwrap().parse().unwrap())
            .collect();
        assert!(widths.len() > 2, "{page}");
        // The first span ends at the largest step; no width is a difference that went below 0.
        assert!(widths.iter().all(|width| (0.0..=200.0).contains(width)), "{widths:?}");
        std::fs::remove_dir_all(run).unwrap();
    }

    #[test]
    fn spans_follow_the_verdicts() {
        let reading = |step, loss_d| Reading {
            step,
            loss_d: Some(loss_d),
            loss_g: Some(0.7),
            ..Reading::default()
        };
        let readings: Vec<Reading> =
            (1..=40).map(|line| reading(20 * line, if line < 20 { 0.69 } else { 0.05 })).collect();
        let found = spans(Game::plain(LossConvention::Mean), &readings).unwrap();
        let verdicts: Vec<Verdict> = found.iter().map(|span| span.verdict).collect();
        let expected = [Verdict::TooEarly, Verdict::Balanced, Verdict::DiscriminatorTooStrong];
        assert_eq!(verdicts, expected);
        assert_eq!((found[1].from, found[2].to), (40, 800));
        assert!(found.windows(2).all(|pair| pair[0].to + 20 == pair[1].from));
    }
}

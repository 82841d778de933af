//! What people see while they wait: a bar on a terminal, plain lines in a log.

use belamy_gan::health::Verdict;
use belamy_gan::run::{Metrics, Observer, Plan};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// A log gets a line each so often.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// What takes less than this needs no progress.
const PATIENCE: Duration = Duration::from_secs(2);

/// Shows how far a task of countable steps is, once it takes longer than two seconds.
#[derive(Debug)]
pub(crate) struct Waiting {
    what: &'static str,
    start: Instant,
    shown: Option<Instant>,
    bar: Option<ProgressBar>,
}

impl Waiting {
    /// A task that begins now.
    pub(crate) fn on(what: &'static str) -> Waiting {
        Waiting { what, start: Instant::now(), shown: None, bar: None }
    }

    /// So much of the task is done.
    pub(crate) fn reached(&mut self, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            return;
        }
        let seconds = self.start.elapsed();
        if seconds < PATIENCE || self.shown.is_some_and(|shown| shown.elapsed() < LINE_EVERY) {
            return;
        }
        self.shown = Some(Instant::now());
        if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{msg}  {bar:24} {pos}/{len}  {eta} left");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_message(self.what);
            bar.set_position(done);
            self.bar = Some(bar);
        } else {
            let left = seconds.as_secs_f64() * (total as f64 / done.max(1) as f64 - 1.0);
            let text = format!("{}: {done}/{total}, about {left:.0} s left", self.what);
            // A closed stderr must not end the task.
            drop(writeln!(std::io::stderr(), "{text}"));
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Shows a training run on stderr.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    steps: u64,
    last_line: Option<Instant>,
}

impl Progress {
    /// A bar if stderr is a terminal, lines otherwise.
    pub(crate) fn new() -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{bar:24} {pos}/{len}  {msg}  {eta} left");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Progress { bar, steps: 0, last_line: None }
    }

    /// Says something that stays.
    pub(crate) fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            // A closed stderr must not end a run.
            None => drop(writeln!(std::io::stderr(), "{text}")),
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Observer for Progress {
    fn started(&mut self, plan: &Plan, step: u64) {
        self.steps = plan.recipe.steps;
        if let Some(bar) = &self.bar {
            bar.set_length(self.steps);
            bar.set_position(step);
            bar.reset_eta();
        }
    }

    fn stepped(&mut self, step: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(step);
        }
    }

    fn measured(&mut self, metrics: &Metrics) {
        let parts: String = metrics
            .parts
            .iter()
            .map(|(name, value)| format!("  {} {value:.4}", name.trim_start_matches("loss_")))
            .collect();
        // While a generator is trained alone there is no game to tell of.
        let game = if metrics.loss_d.is_nan() {
            format!("loss G {:.4}", metrics.loss_g)
        } else {
            format!(
                "loss D {:.3} G {:.3} ({})  accuracy real {:.2} fake {:.2}",
                metrics.loss_d,
                metrics.loss_g,
                metrics.loss_convention,
                metrics.accuracy_real,
                metrics.accuracy_fake,
            )
        };
        let rate = crate::output::with_commas(metrics.images_per_second as u64);
        let health = match metrics.health {
            Verdict::TooEarly => String::new(),
            verdict => format!("  {}", verdict.words()),
        };
        let text = format!("{game}{parts}{health}  {rate} images/s");
        match &self.bar {
            Some(bar) => bar.set_message(text),
            None => {
                let due = self.last_line.is_none_or(|last| last.elapsed() >= LINE_EVERY);
                if due || metrics.step == self.steps {
                    self.last_line = Some(Instant::now());
                    let share = metrics.step as f64 / self.steps.max(1) as f64;
                    let left = metrics.seconds / share.max(1e-9) * (1.0 - share);
                    let (step, steps) = (metrics.step, self.steps);
                    self.say(&format!("step {step}/{steps}  {text}  about {left:.0} s left"));
                }
            }
        }
    }

    fn wrote(&mut self, path: &Path) {
        if self.bar.is_some() {
            self.say(&format!("wrote {}", path.display()));
        }
    }
}

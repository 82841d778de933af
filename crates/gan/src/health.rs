//! The health of a run: what its losses and accuracies say, by the lectures' rules.
//!
//! The discriminator's loss is placed between its floor and chance, so that one rule serves the mean and the sum
//! convention and smoothed labels:
//!
//! ```text
//! chance   2 ln 2 · scale                             D answers 0 to everything
//! floor    (H(t_real) + H(t_fake)) · scale            D knows everything; H(t) = −t ln t − (1−t) ln(1−t), H(0) = H(1) = 0
//! standing (loss − floor) / (chance − floor)          1 at chance, 0 where D knows everything
//! ```
//!
//! | verdict | by the median of the last ten lines |
//! |---|---|
//! | diverged | a loss is no finite number, or D's standing is above 3 |
//! | collapsing | samples are less varied than they should be (a measure of variety must be given: losses do not tell) |
//! | D too strong | its standing is below 0.4, or it is right on more than 0.9 of real and fake together |
//! | G fooling | D takes three of four fakes for real, or G's loss is below half of chance |
//! | diverged, too | none of these, but a gradient's norm is above 100 (`watch_gradients=true` measures it) |
//! | balanced | none of these |
//!
//! Sources: the lectures' good and bad examples (Kasprowski; Wolter), which are this file's tests, and "How to train a
//! GAN" (Chintala et al. 2016): "D loss goes to 0: failure mode", "check norms of gradients: if they are over 100 things are screwing up", "if loss of G steadily decreases, it is fooling D with
//! garbage". Losses of objectives that are no cross-entropy have no such levels: only accuracies and variety are judged.

use crate::adversarial::Objective;
use crate::error::{Error, Result};
use crate::files;
use crate::memory;
use crate::objective::{GeneratorLoss, Labels, LossConvention};
use crate::recipe::Recipe;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::f64::consts::LN_2;
use std::path::Path;

/// How many lines a verdict looks at.
pub const WINDOW: usize = 10;

/// A discriminator is too strong below this standing.
pub const STRONG_STANDING: f64 = 0.4;

/// A discriminator is too strong if it is right more often than this.
pub const STRONG_ACCURACY: f64 = 0.9;

/// A run has diverged above this standing.
pub const DIVERGED_STANDING: f64 = 3.0;

/// Gradients are too large above this Euclidean norm, of losses that are cross-entropies.
pub const LARGE_GRADIENT: f64 = 100.0;

/// A generator fools a discriminator that takes more of its samples than this for real.
pub const FOOLING_RATE: f64 = 0.75;

/// A generator fools below this share of its loss at chance.
pub const FOOLING_LOSS: f64 = 0.5;

/// Samples have collapsed below this share of the data's variety.
pub const COLLAPSED_VARIETY: f64 = 0.5;

/// Samples have collapsed onto this share of the classes or fewer.
pub const COLLAPSED_MODES: f64 = 1.0 / 3.0;

/// What a run's losses mean.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Game {
    /// Whether the losses are cross-entropies; of others only accuracies and variety are judged.
    pub cross_entropy: bool,
    /// How D's two halves make one loss.
    pub convention: LossConvention,
    /// D's targets.
    pub labels: Labels,
    /// What G minimises.
    pub generator_loss: GeneratorLoss,
}

impl Game {
    /// Undisturbed cross-entropies by a convention, as in the lectures.
    pub fn plain(convention: LossConvention) -> Game {
        Game {
            cross_entropy: true,
            convention,
            labels: Labels::default(),
            generator_loss: GeneratorLoss::NonSaturating,
        }
    }

    /// The game of a recipe.
    pub fn of(recipe: &Recipe) -> Game {
        Game {
            cross_entropy: matches!(
                recipe.objective,
                Objective::CrossEntropy | Objective::RelativisticAverage
            ),
            convention: recipe.loss_convention,
            labels: recipe.labels,
            generator_loss: recipe.generator_loss,
        }
    }

    /// D's loss where it answers 0 to everything, in nats per sample.
    pub fn chance(&self) -> f64 {
        2.0 * LN_2 * self.convention.scale()
    }

    /// D's loss where it knows everything that its disturbed labels let it know.
    ///
    /// ```
    /// use belamy_gan::health::Game;
    /// use belamy_gan::objective::{Labels, LossConvention};
    /// let plain = Game::plain(LossConvention::Sum);
    /// assert_eq!(plain.floor(), 0.0);
    /// let smoothed = Game { labels: Labels { real: 0.9, ..Labels::default() }, ..plain };
    /// assert!((smoothed.floor() - 0.32508).abs() < 1e-5);
    /// ```
    pub fn floor(&self) -> f64 {
        let Labels { real, fake, noise, flip, .. } = self.labels;
        let floor = |target: f64, other: f64| {
            let mean = (target * (1.0 - flip) + other * flip + 0.5 * noise).clamp(0.0, 1.0);
            let term = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
            term(mean) + term(1.0 - mean)
        };
        (floor(real, fake) + floor(fake, real)) * self.convention.scale()
    }

    /// Where a loss of D's stands: 1 at chance, 0 at the floor. `None` where it means nothing.
    pub fn standing(&self, loss_d: f64) -> Option<f64> {
        let (chance, floor) = (self.chance(), self.floor());
        let room = chance - floor;
        (self.cross_entropy && room > 0.05 * chance).then(|| (loss_d - floor) / room)
    }
}

/// How varied samples are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variety {
    /// The root mean squared distance of two samples, as a share of that of two real ones: [`relative_variety`].
    Distance(f64),
    /// Classes that have samples, of all.
    Modes {
        /// Classes that have samples.
        covered: usize,
        /// Classes that the data hold; at least 1.
        classes: usize,
    },
}

/// What is known of a run at one step. Whatever was not measured is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Reading {
    /// The step.
    pub step: u64,
    /// D's loss in nats per sample, by the run's convention.
    pub loss_d: Option<f64>,
    /// G's loss in nats per sample.
    pub loss_g: Option<f64>,
    /// The share of real samples taken for real.
    pub accuracy_real: Option<f64>,
    /// The share of fake samples taken for fake: D is right.
    pub accuracy_fake: Option<f64>,
    /// How varied samples were, if somebody looked.
    pub variety: Option<Variety>,
    /// The larger norm of the two networks' gradients.
    pub gradient_norm: Option<f64>,
}

/// What is the matter with a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// There is too little to judge by.
    TooEarly,
    /// Neither network has won.
    Balanced,
    /// D tells real from fake so well that G has nothing to learn from.
    DiscriminatorTooStrong,
    /// G fools D, perhaps with garbage that D does not know yet.
    GeneratorFooling,
    /// G draws fewer kinds of samples than there are.
    Collapsing,
    /// Losses are no numbers, or grow beyond all bounds.
    Diverged,
}

impl Verdict {
    /// The verdict in words: `D too strong`.
    pub fn words(self) -> &'static str {
        match self {
            Verdict::TooEarly => "too early to tell",
            Verdict::Balanced => "balanced",
            Verdict::DiscriminatorTooStrong => "D too strong",
            Verdict::GeneratorFooling => "G fooling",
            Verdict::Collapsing => "collapsing",
            Verdict::Diverged => "diverged",
        }
    }

    /// What to try, from "How to train a GAN" (Chintala et al. 2016) and the lectures; empty where nothing is wrong.
    ///
    /// What is done already, smoothed labels, is not advised.
    pub fn hack(self, labels: &Labels) -> &'static str {
        match self {
            Verdict::TooEarly | Verdict::Balanced => "",
            Verdict::DiscriminatorTooStrong if labels.real < 1.0 => {
                "flip a few of its labels (--set labels.flip=0.05), slow it down (a smaller discriminator_optimizer.learning_rate), or give it more dropout"
            }
            Verdict::DiscriminatorTooStrong => {
                "smooth or flip its labels (--set labels.real=0.9, --set labels.flip=0.05), slow it down (a smaller discriminator_optimizer.learning_rate), or give it more dropout"
            }
            Verdict::GeneratorFooling => {
                "look at the samples: if they are garbage, strengthen D (--set discriminator_steps=2, or a larger discriminator_optimizer.learning_rate)"
            }
            Verdict::Collapsing => {
                "go back to a checkpoint before it and lower the rates with beta_1=0.5, use more varied batches (a larger --batch), batch norm in G, or labels of classes where there are some"
            }
            Verdict::Diverged => {
                "go back to a checkpoint before it and lower both learning rates, take Adam with beta_1=0.5, or clip gradients (--set generator_optimizer.clip_norm=1; watch_gradients=true shows their norms)"
            }
        }
    }
}

/// A verdict, why, and what to try.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Health {
    /// The last step that was looked at.
    pub step: u64,
    /// What is the matter.
    pub verdict: Verdict,
    /// Why, in numbers.
    pub why: String,
    /// What to try; empty where nothing is wrong.
    pub hack: &'static str,
}

impl Health {
    /// The verdict with its reason and what to try, in one line.
    pub fn line(&self) -> String {
        let why = if self.why.is_empty() { String::new() } else { format!(": {}", self.why) };
        let hack =
            if self.hack.is_empty() { String::new() } else { format!("; try: {}", self.hack) };
        format!("{}{why}{hack}", self.verdict.words())
    }
}

/// Watches a run.
///
/// ```
/// use belamy_gan::health::{Game, Monitor, Reading, Verdict};
/// use belamy_gan::objective::LossConvention;
/// let mut monitor = Monitor::new(Game::plain(LossConvention::Mean));
/// for step in [20, 40, 60] {
///     let reading = Reading { step, loss_d: Some(0.02), loss_g: Some(6.0), ..Reading::default() };
///     monitor.push(reading);
/// }
/// let health = monitor.health();
/// assert_eq!(health.verdict, Verdict::DiscriminatorTooStrong);
/// assert!(health.line().contains("labels.real=0.9"));
/// ```
#[derive(Debug, Clone)]
pub struct Monitor {
    game: Game,
    readings: VecDeque<Reading>,
    /// The two newest measures of variety, the newest last.
    varieties: VecDeque<Variety>,
}

/// The middle of what was measured, or the mean of the two middle ones.
fn median(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let mut values: Vec<f64> = values.flatten().collect();
    values.sort_by(f64::total_cmp);
    let count = values.len();
    (count > 0).then(|| (values[(count - 1) / 2] + values[count / 2]) / 2.0)
}

impl Monitor {
    /// A monitor of a run that has not begun.
    pub fn new(game: Game) -> Monitor {
        Monitor { game, readings: VecDeque::new(), varieties: VecDeque::new() }
    }

    /// Takes note of what was measured at a step.
    pub fn push(&mut self, reading: Reading) {
        if let Some(variety) = reading.variety {
            self.varieties.push_back(variety);
            if self.varieties.len() > 2 {
                self.varieties.pop_front();
            }
        }
        self.readings.push_back(reading);
        if self.readings.len() > WINDOW {
            self.readings.pop_front();
        }
    }

    /// The verdict on the last [`WINDOW`] readings.
    pub fn health(&self) -> Health {
        let step = self.readings.back().map_or(0, |reading| reading.step);
        let (verdict, why) = self.judged();
        Health { step, verdict, why, hack: verdict.hack(&self.game.labels) }
    }

    fn judged(&self) -> (Verdict, String) {
        // The first step's losses are those of networks that know nothing.
        let seen: Vec<&Reading> = self.readings.iter().filter(|reading| reading.step > 1).collect();
        let newest = self.readings.back();
        let losses = newest.into_iter().flat_map(|reading| [reading.loss_d, reading.loss_g]);
        if losses.flatten().any(|loss| !loss.is_finite()) {
            return (Verdict::Diverged, "a loss is not a finite number".to_owned());
        }
        if seen.len() < 2 {
            return (Verdict::TooEarly, String::new());
        }
        let middle = |value: fn(&Reading) -> Option<f64>| {
            median(seen.iter().map(|reading| value(reading).filter(|value| value.is_finite())))
        };
        let (loss_d, loss_g) = (middle(|r| r.loss_d), middle(|r| r.loss_g));
        let (real, fake) = (middle(|r| r.accuracy_real), middle(|r| r.accuracy_fake));
        let standing = loss_d.and_then(|loss| self.game.standing(loss));
        let convention = self.game.convention.name();
        let chance = self.game.chance();
        let of_chance = || {
            let loss = loss_d.unwrap_or(f64::NAN);
            format!("D's loss is {loss:.3}, at chance it is {chance:.3} ({convention} convention)")
        };
        if standing.is_some_and(|standing| standing > DIVERGED_STANDING) {
            return (Verdict::Diverged, of_chance());
        }
        if let Some(why) = self.collapse() {
            return (Verdict::Collapsing, why);
        }
        let right = real.zip(fake).map(|(real, fake)| (real + fake) / 2.0);
        if standing.is_some_and(|standing| standing < STRONG_STANDING) {
            let right = right.map_or(String::new(), |right| format!(", it is right on {right:.2}"));
            return (Verdict::DiscriminatorTooStrong, of_chance() + &right);
        }
        if let Some(right) = right.filter(|&right| right > STRONG_ACCURACY) {
            let why = format!("D is right on {right:.2} of real and fake samples");
            return (Verdict::DiscriminatorTooStrong, why);
        }
        if let Some(fake) = fake.filter(|&fake| 1.0 - fake > FOOLING_RATE) {
            let why = format!("D takes {:.2} of the fakes for real", 1.0 - fake);
            return (Verdict::GeneratorFooling, why);
        }
        // A generator that is trained alone, before the game, has a loss of another kind.
        let plain = loss_d.is_some()
            && self.game.cross_entropy
            && self.game.generator_loss == GeneratorLoss::NonSaturating
            && self.game.labels.generator >= 0.9;
        if let Some(loss) = loss_g.filter(|&loss| plain && loss < FOOLING_LOSS * LN_2) {
            let why = format!("G's loss is {loss:.3}, at chance it is {LN_2:.3}");
            return (Verdict::GeneratorFooling, why);
        }
        let norm = middle(|r| r.gradient_norm).filter(|_| self.game.cross_entropy);
        if let Some(norm) = norm.filter(|&norm| norm > LARGE_GRADIENT) {
            let why = format!("a gradient has norm {norm:.0}, above {LARGE_GRADIENT:.0}");
            return (Verdict::Diverged, why);
        }
        let why = match (standing, right) {
            (Some(_), _) => of_chance(),
            (None, Some(right)) => format!("D is right on {right:.2}"),
            (None, None) => return (Verdict::TooEarly, "nothing was measured".to_owned()),
        };
        (Verdict::Balanced, why)
    }

    /// Why the samples have collapsed, if the newest measures of their variety say so: two of distance, as a generator
    /// that knows nothing yet draws one grey too, or one of classes.
    fn collapse(&self) -> Option<String> {
        let low = |variety: &Variety| match *variety {
            // A number that is none is no variety.
            Variety::Distance(share) => share.is_nan() || share < COLLAPSED_VARIETY,
            Variety::Modes { covered, classes } => {
                covered as f64 <= COLLAPSED_MODES * classes.max(1) as f64
            }
        };
        let newest = self.varieties.back()?;
        let alone = self.varieties.len() < 2 && matches!(newest, Variety::Distance(_));
        if alone || !self.varieties.iter().all(low) {
            return None;
        }
        Some(match newest {
            Variety::Distance(share) => {
                format!("two samples are {share:.2} as far apart as two real ones")
            }
            Variety::Modes { covered, classes } => {
                format!("samples are of {covered} of {classes} classes")
            }
        })
    }
}

/// The root mean squared distance of two samples as a share of that of two real ones. Both hold `length` values a
/// sample. Infinite where real samples are all equal and fakes are not.
///
/// Σ_{i≠j} |xᵢ − xⱼ|² / n(n−1) = 2 Σ |xᵢ − mean|² / (n−1), so no pair is looked at. Fails unless there are two samples of
/// each.
///
/// ```
/// use belamy_gan::health::relative_variety;
/// let real = [0.0, 0.0, 3.0, 4.0];
/// assert_eq!(relative_variety(&real, &[1.0, 1.0, 1.0, 6.0], 2)?, 1.0);
/// assert_eq!(relative_variety(&real, &[2.0, 2.0, 2.0, 2.0], 2)?, 0.0);
/// # Ok::<(), belamy_gan::Error>(())
/// ```
pub fn relative_variety(real: &[f32], fake: &[f32], length: usize) -> Result<f64> {
    let (real, fake) = (spread(real, length)?, spread(fake, length)?);
    Ok(if real == fake { 1.0 } else { fake / real })
}

/// The root of Σ |xᵢ − mean|² / (n − 1) of samples of `length` values: their root mean squared distance from one another
/// by √2. Fails unless there are two samples.
pub fn spread(samples: &[f32], length: usize) -> Result<f64> {
    let count = samples.len() / length.max(1);
    if length == 0 || count < 2 || !samples.len().is_multiple_of(length) {
        return Err(Error::data("the variety of samples needs at least two"));
    }
    let mut mean = vec![0.0; length];
    for sample in samples.chunks_exact(length) {
        mean.iter_mut().zip(sample).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    mean.iter_mut().for_each(|sum| *sum /= count as f64);
    let differences = |sample: &[f32]| -> f64 {
        sample.iter().zip(&mean).map(|(value, mean)| (f64::from(*value) - mean).powi(2)).sum()
    };
    let total: f64 = samples.chunks_exact(length).map(differences).sum();
    Ok((total / (count - 1) as f64).sqrt())
}

/// The readings of a run's metrics.jsonl, for its end report. Lines that are damaged are left out. Fails if there is no
/// such file, and without memory for it.
pub fn read(metrics: &Path) -> Result<Vec<Reading>> {
    /// As the file has it: `null` where a number was none.
    #[derive(Deserialize)]
    struct Line {
        step: u64,
        loss_d: Option<f64>,
        loss_g: Option<f64>,
        accuracy_real: Option<f64>,
        accuracy_fake: Option<f64>,
        variety: Option<f64>,
        gradient_norm_d: Option<f64>,
        gradient_norm_g: Option<f64>,
    }
    let text = files::read_text(metrics).map_err(|error| files::not_read(metrics, error))?;
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    let readings = lines.map(|line| Reading {
        step: line.step,
        loss_d: line.loss_d,
        loss_g: line.loss_g,
        accuracy_real: line.accuracy_real,
        accuracy_fake: line.accuracy_fake,
        variety: line.variety.map(Variety::Distance),
        gradient_norm: [line.gradient_norm_d, line.gradient_norm_g]
            .into_iter()
            .flatten()
            .reduce(f64::max),
    });
    memory::collected(readings, "a run's metrics")
}

#[cfg(test)]
mod tests;

//! `belamy evaluate`: says what a trained generator's samples are worth.

use crate::device;
use crate::failure::{Failure, Result};
use crate::output;
use crate::progress::Waiting;
use belamy_gan::data::ValueRange;
use belamy_gan::data::mnist::{self, Part};
use belamy_gan::judge;
use belamy_gan::judge::classifier::{Classifier, TRUSTED_ACCURACY, Training, Verdict};
use belamy_gan::judge::digits::{self, DigitsCard};
use belamy_gan::judge::lines::{self, LinesCard};
use belamy_gan::judge::points::{self, PointsCard};
use belamy_gan::recipe::Source;
use belamy_gan::{Pair, run};
use belamy_tensor::Device;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Judges samples of a run's newest checkpoint and prints a metric card.
///
/// Digits are judged by a classifier that is first trained on the real digits of --data; points on a sine and
/// vertical lines by their own statistics. A classifier can be sure of images that show no digit: read confidence
/// and coverage together.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  belamy evaluate runs/sine-001\n  belamy evaluate runs/mnist-dcgan-001 --data mnist/ --classifier judge.safetensors"
)]
pub(crate) struct Arguments {
    /// The run's folder.
    run: PathBuf,
    /// A folder with MNIST's idx files, whose 60,000 digits train the classifier.
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Keep the trained classifier in this file, or take it from there if the file exists.
    #[arg(long, value_name = "FILE.safetensors")]
    classifier: Option<PathBuf>,
    /// How many samples are judged.
    #[arg(long, short, value_name = "N", default_value_t = 1_000)]
    n: usize,
    /// Decides the samples' noise.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// auto, cpu, oracle, webgpu or cuda, with :N for the N-th.
    #[arg(long, default_value = "auto")]
    device: String,
}

/// A metric card: what was judged, how it was made ready, and by whom it was judged.
#[derive(Serialize)]
struct Card {
    version: &'static str,
    run: String,
    recipe: String,
    step: u64,
    device: String,
    samples: usize,
    seed: u64,
    preprocessing: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    classifier: Option<Judge>,
    metrics: Metrics,
}

/// The classifier of a card.
#[derive(Serialize)]
struct Judge {
    /// `null` where it was read from a file.
    training: Option<Training>,
    /// Digits it was trained on; `null` where it was read from a file.
    training_digits: Option<usize>,
    /// The XXH64 of the digits it was trained on; `null` where it was read from a file.
    training_digest: Option<String>,
    file: Option<String>,
    test_digits: usize,
    test_digest: String,
    test_accuracy: f64,
    /// Whether the accuracy is enough to judge anything.
    trusted: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Metrics {
    Digits(DigitsCard),
    Points(PointsCard),
    Lines(LinesCard),
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let device = device::find(&arguments.device)?;
    if !(1..=1_000_000).contains(&arguments.n) {
        return Err(Failure::usage(format!("--n {}: must be from 1 to 1000000", arguments.n)));
    }
    let plan = run::read_plan(&arguments.run)?;
    let recipe = &plan.recipe;
    if !matches!(recipe.source, Source::Mnist | Source::Sine | Source::Lines) {
        let message = format!(
            "evaluate judges digits, points on a sine and vertical lines; the samples of recipe {} are none of these",
            recipe.name
        );
        return Err(Failure::usage(message));
    }
    let given =
        [("--data", arguments.data.is_some()), ("--classifier", arguments.classifier.is_some())];
    if recipe.source != Source::Mnist
        && let Some((flag, _)) = given.into_iter().find(|(_, given)| *given)
    {
        let message = format!(
            "the samples of recipe {} are no digits and are judged without a classifier: leave {flag} out",
            recipe.name
        );
        return Err(Failure::usage(message));
    }
    let mut pair = run::open_generator(&arguments.run, &plan, &device)?;
    let (preprocessing, classifier, metrics) = match recipe.source {
        Source::Mnist => {
            digits::check(recipe)?;
            let (classifier, judge) = classifier(arguments, &device)?;
            let card = judged_digits(&mut pair, &classifier, arguments)?;
            let what = match recipe.range {
                ValueRange::Unit => "from [0, 1] to [-1, 1]; 28×28×1, paper -1, ink 1",
                _ => "none: 28×28×1 in [-1, 1], paper -1, ink 1",
            };
            (what, Some(judge), Metrics::Digits(card))
        }
        Source::Sine => {
            let values = drawn(&mut pair, arguments)?;
            let points: Vec<[f64; 2]> = values.chunks_exact(2).map(|p| [p[0], p[1]]).collect();
            ("none: points [x, y]", None, Metrics::Points(points::judge(&points)?))
        }
        _ => {
            let size = match *pair.generator.output()?.dims() {
                [height, width, 1] => [height, width],
                _ => {
                    return Err(Failure::new(format!(
                        "recipe {} makes no grey images",
                        recipe.name
                    )));
                }
            };
            let values = drawn(&mut pair, arguments)?;
            ("none: grey images in [0, 1]", None, Metrics::Lines(lines::judge(&values, size)?))
        }
    };
    let card = Card {
        version: env!("CARGO_PKG_VERSION"),
        run: arguments.run.display().to_string(),
        recipe: pair.recipe.name.clone(),
        step: pair.step,
        device: device.id().to_string(),
        samples: arguments.n,
        seed: arguments.seed,
        preprocessing: preprocessing.to_owned(),
        classifier,
        metrics,
    };
    if arguments.json { output::print_json(&card) } else { output::print(&card.text()) }
}

/// All numbers of the samples.
fn drawn(pair: &mut Pair, arguments: &Arguments) -> Result<Vec<f64>> {
    let mut waiting = Waiting::on("drawing samples");
    let (mut values, mut done) = (Vec::new(), 0);
    judge::draw(pair, arguments.n, arguments.seed, |samples| {
        values.extend(samples.to_f64()?);
        done += samples.dims()[0] as u64;
        waiting.reached(done, arguments.n as u64);
        Ok(())
    })?;
    Ok(values)
}

fn judged_digits(
    pair: &mut Pair,
    classifier: &Classifier,
    arguments: &Arguments,
) -> Result<DigitsCard> {
    let mut waiting = Waiting::on("drawing and judging samples");
    let recipe = pair.recipe.clone();
    let mut verdicts: Vec<Option<Verdict>> = Vec::new();
    judge::draw(pair, arguments.n, arguments.seed, |samples| {
        verdicts.extend(classifier.verdicts(&digits::images(&recipe, samples)?)?);
        waiting.reached(verdicts.len() as u64, arguments.n as u64);
        Ok(())
    })?;
    Ok(digits::judge(&verdicts)?)
}

/// The classifier from its file, or trained on the data and kept in that file; tested on digits it was not trained on.
fn classifier(arguments: &Arguments, device: &Device) -> Result<(Classifier, Judge)> {
    let file = arguments.classifier.as_deref();
    if let Some(path) = file.filter(|path| path.extension().is_none_or(|end| end != "safetensors"))
    {
        let message = format!("--classifier {}: end it in .safetensors", path.display());
        return Err(Failure::usage(message));
    }
    let known = file.filter(|path| path.exists());
    let folder = file.and_then(|path| path.parent()).filter(|folder| *folder != Path::new(""));
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        // Said now, not after minutes of training.
        return Err(Failure::new(format!("--classifier: there is no folder {}", folder.display())));
    }
    let test = match &arguments.data {
        Some(folder) if mnist::is_present(folder, Part::Test) => mnist::load(folder, Part::Test)?,
        _ => mnist::embedded()?,
    };
    let test = test.dataset(ValueRange::Signed)?;
    let (classifier, training, train) = match (known, &arguments.data) {
        (Some(path), _) => (Classifier::load(path, device)?, None, None),
        (None, Some(folder)) => {
            let train = mnist::load(folder, Part::Train)?.dataset(ValueRange::Signed)?;
            let training = Training::default();
            let mut waiting = Waiting::on("training the digit classifier");
            let classifier = Classifier::train(&train, training, device, |done, total| {
                waiting.reached(done, total);
            })?;
            (classifier, Some(training), Some((train.samples(), train.digest)))
        }
        (None, None) => {
            let message = "digits are judged by a classifier trained on real ones: give a folder with MNIST's files by --data, or a trained classifier by --classifier";
            return Err(Failure::usage(message));
        }
    };
    let test_accuracy = classifier.accuracy(&test)?;
    if let (Some(path), None) = (file, known) {
        classifier.save(path)?;
    }
    let (training_digits, training_digest) = train.unzip();
    let judge = Judge {
        training,
        training_digits,
        training_digest,
        file: file.map(|path| path.display().to_string()),
        test_digits: test.samples(),
        test_digest: test.digest,
        test_accuracy,
        trusted: test_accuracy >= TRUSTED_ACCURACY,
    };
    Ok((classifier, judge))
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

impl Card {
    /// The card as people read it.
    fn text(&self) -> String {
        let mut rows: Vec<Vec<String>> = Vec::new();
        let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
        let count = |number: usize| output::with_commas(number as u64);
        row("run", format!("{}, recipe {}, step {}", self.run, self.recipe, self.step));
        row("samples", format!("{}, noise of seed {}", count(self.samples), self.seed));
        row("preprocessing", self.preprocessing.clone());
        if let Some(judge) = &self.classifier {
            row("classifier", judge.text());
            let accuracy = 100.0 * judge.test_accuracy;
            let digits = count(judge.test_digits);
            row("test accuracy", format!("{accuracy:.2} % of {digits} test digits"));
        }
        let mut histogram = None;
        match &self.metrics {
            Metrics::Digits(card) => {
                let above = format!("largest probability above {}", digits::CONFIDENT);
                let share = percent(card.confident_share);
                row("confident", format!("{} ({share}): {above}", count(card.confident)));
                row("mean confidence", format!("{:.3}", card.mean_confidence));
                let least = percent(digits::COVERED_SHARE);
                row(
                    "digits covered",
                    format!(
                        "{} of 10, at least {least} of the confident samples each",
                        card.covered
                    ),
                );
                row(
                    "digits present",
                    format!("{} of 10, at least one confident sample each", card.present),
                );
                row(
                    "entropy",
                    format!(
                        "{:.3} nats of the confident samples' digits; at most 2.303",
                        card.entropy
                    ),
                );
                row("not finite", count(card.not_finite));
                histogram = Some(digits_table(card));
            }
            Metrics::Points(card) => {
                row("median |y - sin x|", format!("{:.4}", card.median_error));
                let bins = format!("{} of {} bins of [-3.5, 3.5]", card.covered_bins, card.bins);
                let share = percent(card.coverage);
                row("covered", format!("{share}: {bins} of equal width hold at least one x"));
                row("outside", format!("{} with x beyond that", count(card.outside)));
                row("not finite", count(card.not_finite));
            }
            Metrics::Lines(card) => {
                let rule = format!(
                    "variance between column means at least {} times the mean variance within columns",
                    lines::LEAST_RATIO
                );
                let share = percent(card.share);
                row("vertical lines", format!("{share}, {} samples: {rule}", count(card.vertical)));
                let rule = format!("variance between column means below {}", lines::LEAST_VARIANCE);
                row("grey", format!("{}: {rule}", count(card.grey)));
                row("not finite", count(card.not_finite));
            }
        }
        let mut text = output::table(&rows, &[]);
        if let Some(histogram) = histogram {
            text.push('\n');
            text.push_str(&histogram);
        }
        if self.classifier.as_ref().is_some_and(|judge| !judge.trusted) {
            let least = 100.0 * TRUSTED_ACCURACY;
            text.push_str(&format!(
                "\nThe classifier is below {least:.1} % on real digits: these numbers say little.\n"
            ));
        }
        text
    }
}

impl Judge {
    fn text(&self) -> String {
        match (&self.training, self.training_digits, &self.file) {
            (Some(Training { seed, epochs, .. }), Some(digits), file) => {
                let digits = output::with_commas(digits as u64);
                let kept = file.as_ref().map_or(String::new(), |file| format!(", kept in {file}"));
                format!("trained on {digits} digits, {epochs} epochs, seed {seed}{kept}")
            }
            (_, _, Some(file)) => format!("read from {file}"),
            _ => String::new(),
        }
    }
}

/// How many samples each digit has.
fn digits_table(card: &DigitsCard) -> String {
    let mut rows = vec![["digit", "samples", "confident"].map(String::from).to_vec()];
    for (digit, (all, confident)) in card.counts.iter().zip(&card.confident_counts).enumerate() {
        rows.push([digit, *all, *confident].map(|number| number.to_string()).to_vec());
    }
    output::table(&rows, &[0, 1, 2])
}

//! A metric card: what was judged, how it was made ready, by whom it was judged, and what they say.

use super::classified::Judge;
use crate::output;
use belamy_gan::judge::classes::ClassesCard;
use belamy_gan::judge::comparison::{FeatureCard, ImageCard};
use belamy_gan::judge::digits::{self, DigitsCard};
use belamy_gan::judge::geometry::{Form, GeometryCard};
use belamy_gan::judge::lines::{self, LinesCard};
use belamy_gan::judge::modes::Modes;
use belamy_gan::judge::points::PointsCard;
use belamy_gan::judge::psnr::Likeness;
use belamy_gan::judge::showers::{OBSERVABLES, ShowerCard};
use serde::Serialize;

#[derive(Serialize, Default)]
pub(super) struct Card {
    pub(super) version: &'static str,
    /// A run's folder, a folder of images, or a file of features.
    #[serde(rename = "run")]
    pub(super) subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) recipe: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) step: Option<u64>,
    pub(super) device: String,
    pub(super) samples: usize,
    pub(super) seed: u64,
    pub(super) preprocessing: String,
    /// What samples are compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) real: Option<Real>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) classifier: Option<Judge>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) metrics: Option<Metrics>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) discriminator: Option<Discriminator>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) modes: Option<Modes>,
    /// Samples against the classes that were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) classes: Option<Classes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) features: Option<FeatureCard>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) images: Option<ImageCard>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) targets: Option<Targets>,
    /// What became of shapes: there, and back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) geometry: Vec<GeometryCard>,
}

/// How often a generator draws the class that it is asked for.
#[derive(Serialize)]
pub(super) struct Classes {
    /// The classes' names, in the order of their numbers.
    pub(super) names: Vec<String>,
    #[serde(flatten)]
    pub(super) card: ClassesCard,
}

/// How near images are to those that they should be.
#[derive(Serialize)]
pub(super) struct Targets {
    pub(super) images: usize,
    /// The mean absolute difference, as a share of the values' range.
    pub(super) mean_difference: f64,
    /// The mean over images, in decibels, on luminance.
    pub(super) psnr: f64,
    /// The mean over images, on luminance.
    pub(super) ssim: f64,
    /// Pixels left out along each edge.
    pub(super) shave: usize,
    /// The same of bicubic enlargement, for super-resolution.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bicubic: Option<Likeness>,
}

/// The data beside the samples.
#[derive(Serialize)]
pub(super) struct Real {
    /// A path, or what else they are.
    pub(super) data: String,
    /// The XXH64 of all of them; `null` for features.
    pub(super) digest: Option<String>,
    pub(super) samples: usize,
}

/// What a run's own discriminator says of real and of fake samples, by its running statistics and without dropout.
#[derive(Serialize)]
pub(super) struct Discriminator {
    pub(super) real: usize,
    pub(super) fake: usize,
    /// The share of real samples taken for real.
    pub(super) accuracy_real: f64,
    /// The share of fake samples taken for fake.
    pub(super) accuracy_fake: f64,
    /// The share of fake samples taken for real.
    pub(super) fooling_rate: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Metrics {
    Digits(DigitsCard),
    Points(PointsCard),
    Lines(LinesCard),
    Showers(ShowerCard),
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn count(number: usize) -> String {
    output::with_commas(number as u64)
}

impl Card {
    /// The card as people read it.
    pub(super) fn text(&self) -> String {
        let mut rows: Vec<[String; 2]> = Vec::new();
        let mut row = |name: &str, value: String| rows.push([name.to_owned(), value]);
        match (&self.recipe, self.step) {
            (Some(recipe), Some(step)) => {
                row("run", format!("{}, recipe {recipe}, step {step}", self.subject));
                row("samples", format!("{}, noise of seed {}", count(self.samples), self.seed));
            }
            _ => row("samples", format!("{} of {}", count(self.samples), self.subject)),
        }
        if let Some(real) = &self.real {
            row("real", format!("{} of {}", count(real.samples), real.data));
        }
        row("preprocessing", self.preprocessing.clone());
        if let Some(judge) = &self.classifier {
            row("classifier", judge.text());
            row("test accuracy", judge.test_text());
        }
        let mut histogram = None;
        match &self.metrics {
            None => {}
            Some(Metrics::Digits(card)) => {
                of_digits(card, &mut row);
                histogram = Some(digits_table(card));
            }
            Some(Metrics::Points(card)) => of_points(card, &mut row),
            Some(Metrics::Lines(card)) => of_lines(card, &mut row),
            Some(Metrics::Showers(card)) => {
                of_showers(card, &mut row);
                histogram = Some(showers_table(card));
            }
        }
        if let Some(found) = &self.classes {
            of_classes(found, &mut row);
        }
        if let Some(found) = &self.modes {
            row(
                "classes",
                format!(
                    "{} of {} have a sample; KL(fake ‖ real) {:.4} nats",
                    found.covered, found.classes, found.divergence
                ),
            );
        }
        if let Some(found) = &self.discriminator {
            row(
                "D right on real",
                format!("{} of {}", percent(found.accuracy_real), count(found.real)),
            );
            row(
                "D right on fake",
                format!("{} of {}", percent(found.accuracy_fake), count(found.fake)),
            );
            row("fooling rate", percent(found.fooling_rate));
        }
        if let Some(card) = &self.features {
            of_features(card, &mut row);
        }
        if let Some(card) = &self.images {
            of_images(card, &mut row);
        }
        if let Some(found) = &self.targets {
            row(
                "mean difference",
                format!(
                    "{:.4} of the range from the targets, {} images",
                    found.mean_difference,
                    count(found.images)
                ),
            );
            let on = format!("on Y, without a border of {}", found.shave);
            row("PSNR, SSIM", format!("{:.3} dB, {:.4} {on}", found.psnr, found.ssim));
            if let Some(Likeness { psnr, ssim }) = found.bicubic {
                row("bicubic", format!("{psnr:.3} dB, {ssim:.4}"));
            }
        }
        self.geometry.iter().for_each(|card| of_geometry(card, &mut row));
        let rows: Vec<Vec<String>> = rows.into_iter().map(Vec::from).collect();
        let mut text = output::table(&rows, &[]);
        if let Some(found) = &self.classes {
            text.push('\n');
            text.push_str(&classes_table(found));
        }
        if let Some(histogram) = histogram {
            text.push('\n');
            text.push_str(&histogram);
        }
        if let Some(judge) = self.classifier.as_ref().filter(|judge| !judge.trusted) {
            let (least, kind) = (100.0 * judge.least_accuracy, judge.kind);
            text.push_str(&format!(
                "\nThe classifier is below {least:.1} % on real {kind}s: these numbers say little.\n"
            ));
        }
        if let Some(card) =
            self.features.as_ref().filter(|card| card.real.min(card.fake) <= card.length)
        {
            text.push_str(&format!(
                "\nThere are no more samples than the {} features: the Fréchet distance says little.\n",
                card.length
            ));
        }
        text
    }
}

fn of_digits(card: &DigitsCard, row: &mut impl FnMut(&str, String)) {
    let above = format!("largest probability above {}", digits::CONFIDENT);
    let share = percent(card.confident_share);
    row("confident", format!("{} ({share}): {above}", count(card.confident)));
    row("mean confidence", format!("{:.3}", card.mean_confidence));
    let least = percent(digits::COVERED_SHARE);
    row(
        "digits covered",
        format!("{} of 10, at least {least} of the confident samples each", card.covered),
    );
    row("digits present", format!("{} of 10, at least one confident sample each", card.present));
    let entropy =
        format!("{:.3} nats of the confident samples' digits; at most 2.303", card.entropy);
    row("entropy", entropy);
    row("not finite", count(card.not_finite));
}

fn of_classes(Classes { names, card }: &Classes, row: &mut impl FnMut(&str, String)) {
    row(
        "right class",
        format!(
            "{}: {} of {} samples are taken for the class asked for; least for {}: {}",
            percent(card.share),
            count(card.right),
            count(card.samples),
            names[card.worst],
            percent(card.worst_share)
        ),
    );
    if card.not_finite > 0 {
        row("no answer", format!("{}: samples that are no finite numbers", count(card.not_finite)));
    }
}

/// What each class's samples are taken for.
fn classes_table(Classes { names, card }: &Classes) -> String {
    let mut rows =
        vec![["asked for", "samples", "right", "most often taken for"].map(String::from).to_vec()];
    for (class, taken) in card.taken.iter().enumerate() {
        let wrong = (0..taken.len()).filter(|&other| other != class && taken[other] > 0);
        // The first of equals.
        let most = wrong.rev().max_by_key(|&other| taken[other]);
        let other =
            most.map_or(String::new(), |other| format!("{} ({})", names[other], taken[other]));
        let (all, right) = (card.asked(class).to_string(), taken[class].to_string());
        rows.push(vec![names[class].clone(), all, right, other]);
    }
    output::table(&rows, &[1, 2])
}

fn of_geometry(card: &GeometryCard, row: &mut impl FnMut(&str, String)) {
    let way = match card.wanted {
        Form::Square => "circles to squares",
        Form::Disc => "squares to circles",
    };
    row(
        way,
        format!(
            "{} of {} shapes that stand alone, {} images ({} other regions not judged): turned, and in their places and colours",
            percent(card.all),
            count(card.shapes),
            count(card.images),
            count(card.skipped)
        ),
    );
    row(
        "",
        format!(
            "form turned {}, place and size kept {}, colour kept {}, lost {}",
            percent(card.turned),
            percent(card.placed),
            percent(card.coloured),
            count(card.lost)
        ),
    );
    row(
        "",
        format!(
            "centroid moved by {:.2} pixels, colour by {:.4} of the range; of the bounding box {:.3} is filled, {:.3} before",
            card.mean_shift, card.mean_colour_difference, card.fill_after, card.fill_before
        ),
    );
}

fn of_points(card: &PointsCard, row: &mut impl FnMut(&str, String)) {
    row("median |y - sin x|", format!("{:.4}", card.median_error));
    let bins = format!("{} of {} bins of [-3.5, 3.5]", card.covered_bins, card.bins);
    let share = percent(card.coverage);
    row("covered", format!("{share}: {bins} of equal width hold at least one x"));
    row("outside", format!("{} with x beyond that", count(card.outside)));
    row("not finite", count(card.not_finite));
}

fn of_lines(card: &LinesCard, row: &mut impl FnMut(&str, String)) {
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

fn of_showers(card: &ShowerCard, row: &mut impl FnMut(&str, String)) {
    for (name, (distance, floor)) in OBSERVABLES.iter().zip(card.distances.iter().zip(card.floors))
    {
        let what = "real deviations from the real ones, two halves of which are";
        row(
            name,
            format!("{distance:.3} {what} {floor:.3} apart (Wasserstein, mean over energies)"),
        );
    }
    row("mean profile", format!("{:.4} layers from the real one (Wasserstein)", card.profile));
}

/// Means and deviations of each observable, energy by energy.
fn showers_table(card: &ShowerCard) -> String {
    let head = ["GeV", "observable", "real", "±", "generated", "±", "distance", "floor"];
    let mut rows = vec![head.map(String::from).to_vec()];
    for at in &card.energies {
        for found in &at.observables {
            let numbers = [
                found.real_mean,
                found.real_deviation,
                found.fake_mean,
                found.fake_deviation,
                found.distance,
                found.floor,
            ];
            let mut line = vec![format!("{:.3}", at.energy / 1000.0), found.name.to_owned()];
            line.extend(numbers.map(|number| format!("{number:.3}")));
            rows.push(line);
        }
    }
    output::table(&rows, &[0, 2, 3, 4, 5, 6, 7])
}

fn of_features(card: &FeatureCard, row: &mut impl FnMut(&str, String)) {
    let (real, fake) = (count(card.real), count(card.fake));
    row(
        "features",
        format!("{}, {} a sample; {real} real, {fake} fake", card.extractor, card.length),
    );
    let parts = card.frechet;
    row(
        "Fréchet distance",
        format!(
            "{:.4}: means {:.4}, covariances {:.4}",
            parts.distance, parts.of_means, parts.of_covariances
        ),
    );
    let kernel = &card.kernel;
    row(
        "kernel distance",
        format!(
            "{:.6} ± {:.6} over {} subsets of {}",
            kernel.mean, kernel.deviation, kernel.subsets.subsets, kernel.subsets.size
        ),
    );
    if let Some(found) = &card.neighbours {
        let pair =
            |names: [f64; 2], k: usize| format!("{:.3}, {:.3} (k = {k})", names[0], names[1]);
        row("precision, recall", pair([found.precision, found.recall], found.k));
        row("density, coverage", pair([found.density, found.coverage], found.k_dense));
    }
}

fn of_images(card: &ImageCard, row: &mut impl FnMut(&str, String)) {
    if let Some(found) = &card.wasserstein {
        let scales: Vec<String> = found
            .scales
            .iter()
            .map(|scale| format!("{:.2} at {}×{}", scale.distance, scale.height, scale.width))
            .collect();
        let of = format!("{} images of each kind", count(card.count));
        row("SWD × 1000", format!("{:.2} ({}); {of}", found.mean, scales.join(", ")));
    }
    row(
        "MS-SSIM",
        format!(
            "{:.4} of {} pairs of samples, {:.4} of real pairs: 1 if all are one",
            card.similarity_fake,
            count(card.pairs),
            card.similarity_real
        ),
    );
    row(
        "variety",
        format!("{:.3}: distance of two samples by that of two real ones", card.variety),
    );
}

/// How many samples each digit has.
fn digits_table(card: &DigitsCard) -> String {
    let mut rows = vec![["digit", "samples", "confident"].map(String::from).to_vec()];
    for (digit, (all, confident)) in card.counts.iter().zip(&card.confident_counts).enumerate() {
        rows.push([digit, *all, *confident].map(|number| number.to_string()).to_vec());
    }
    output::table(&rows, &[0, 1, 2])
}

//! Images against the digits that they should show, by what a classifier says of them.
//!
//! A classifier must choose a digit whatever it sees, and can be sure of one for images that show none: an untrained
//! generator may be confident throughout, and all of one digit. Confidence and the number of digits covered are read
//! together, beside a picture of the samples.

use super::some;
use crate::data::ValueRange;
use crate::error::{Error, Result};
use crate::judge::classifier::{CLASSES, SIDE, Verdict};
use crate::recipe::{Recipe, Source};
use crate::show::image_shape;
use belamy_tensor::Tensor;
use serde::Serialize;

/// A sample is confident if the classifier's largest probability is above this.
pub const CONFIDENT: f64 = 0.9;

/// A digit is covered if it has at least this share of the confident samples.
pub const COVERED_SHARE: f64 = 0.01;

/// What a set of samples is worth.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DigitsCard {
    /// Samples judged.
    pub samples: usize,
    /// Samples whose largest probability is above [`CONFIDENT`].
    pub confident: usize,
    /// Their share of all samples.
    pub confident_share: f64,
    /// The mean over all samples of the largest probability; a sample that is no image counts 0.
    pub mean_confidence: f64,
    /// How many of all samples are taken for each digit, 0 to 9.
    pub counts: [usize; CLASSES],
    /// How many of the confident samples are.
    pub confident_counts: [usize; CLASSES],
    /// Digits that have at least [`COVERED_SHARE`] of the confident samples.
    pub covered: usize,
    /// Digits that have at least one confident sample.
    pub present: usize,
    /// The entropy of the confident samples' histogram in nats: ln 10 = 2.303 where all digits are equally common.
    pub entropy: f64,
    /// Samples for which the classifier's answer is no number.
    pub not_finite: usize,
}

/// Judges verdicts, `None` where the classifier had no finite answer. Fails when there are none.
pub fn judge(verdicts: &[Option<Verdict>]) -> Result<DigitsCard> {
    let samples = verdicts.len();
    let total = some(samples)?;
    let (mut counts, mut confident_counts) = ([0; CLASSES], [0; CLASSES]);
    let mut sum = 0.0;
    for verdict in verdicts.iter().flatten() {
        counts[verdict.class] += 1;
        sum += verdict.confidence;
        if verdict.confidence > CONFIDENT {
            confident_counts[verdict.class] += 1;
        }
    }
    let confident: usize = confident_counts.iter().sum();
    let share = |count: usize| count as f64 / confident.max(1) as f64;
    let digits = |enough: &dyn Fn(usize) -> bool| {
        confident_counts.iter().filter(|&&count| count > 0 && enough(count)).count()
    };
    let information =
        |&count: &usize| if count == 0 { 0.0 } else { -share(count) * share(count).ln() };
    Ok(DigitsCard {
        samples,
        confident,
        confident_share: confident as f64 / total,
        mean_confidence: sum / total,
        counts,
        confident_counts,
        covered: digits(&|count| share(count) >= COVERED_SHARE),
        present: digits(&|_| true),
        // A single digit has −1 · ln 1 = −0: without the sign.
        entropy: confident_counts.iter().map(information).sum::<f64>().abs(),
        not_finite: verdicts.iter().filter(|verdict| verdict.is_none()).count(),
    })
}

/// A digit recipe's samples `[N, ..]` as the classifier takes them: `[N, 28, 28, 1]`, paper −1 and ink 1.
///
/// Fails for recipes whose samples are no digits.
pub fn images(recipe: &Recipe, samples: &Tensor) -> Result<Tensor> {
    check(recipe)?;
    let (count, sample) = (samples.dims()[0], &samples.dims()[1..]);
    if image_shape(sample) != Some([SIDE, SIDE, 1]) {
        let message =
            format!("digits are {SIDE}×{SIDE}×1, recipe {} makes {sample:?}", recipe.name);
        return Err(Error::data(message));
    }
    let images = samples.detach().reshape([count, SIDE, SIDE, 1])?;
    Ok(match recipe.range {
        ValueRange::Unit => images.mul_scalar(2.0)?.add_scalar(-1.0)?,
        _ => images,
    })
}

/// Refuses recipes whose samples are no digits.
pub fn check(recipe: &Recipe) -> Result<()> {
    if recipe.source != Source::Mnist || recipe.range == ValueRange::Unbounded {
        let message = format!("the samples of recipe {} are no digits", recipe.name);
        return Err(Error::data(message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(of: &[(usize, f64, usize)]) -> Vec<Option<Verdict>> {
        let repeat = |&(class, confidence, count)| vec![Some(Verdict { class, confidence }); count];
        of.iter().flat_map(repeat).collect()
    }

    #[test]
    fn even_digits_have_the_greatest_entropy() {
        let all: Vec<_> = (0..10).map(|digit| (digit, 0.99, 100)).collect();
        let card = judge(&verdicts(&all)).unwrap();
        assert_eq!((card.confident, card.covered, card.present), (1000, 10, 10));
        assert!((card.entropy - 10f64.ln()).abs() < 1e-12);
        assert!((card.mean_confidence - 0.99).abs() < 1e-12);
    }

    #[test]
    fn one_digit_only_is_collapse() {
        let card = judge(&verdicts(&[(1, 0.95, 100)])).unwrap();
        assert_eq!((card.confident_share, card.covered, card.entropy), (1.0, 1, 0.0));
        assert!(card.entropy.is_sign_positive());
    }

    #[test]
    fn rare_digits_are_present_but_not_covered_and_the_threshold_is_strict() {
        // 990 + 10 + 0 confident: digit 7 has exactly 1 %; then one less.
        let card = judge(&verdicts(&[(3, 0.91, 990), (7, 0.91, 10), (5, 0.9, 1000)])).unwrap();
        assert_eq!((card.confident, card.covered, card.present), (1000, 2, 2));
        assert_eq!((card.counts[5], card.confident_counts[5]), (1000, 0));
        assert_eq!(card.confident_share, 0.5);
        let card = judge(&verdicts(&[(3, 0.91, 992), (7, 0.91, 9)])).unwrap();
        assert_eq!((card.covered, card.present), (1, 2));
    }

    #[test]
    fn nothing_confident_and_nothing_finite_are_said_so() {
        let card = judge(&verdicts(&[(0, 0.2, 10)])).unwrap();
        assert_eq!((card.confident, card.covered, card.entropy), (0, 0, 0.0));
        let card = judge(&[None, Some(Verdict { class: 2, confidence: 1.0 })]).unwrap();
        assert_eq!((card.not_finite, card.mean_confidence, card.confident), (1, 0.5, 1));
        assert!(judge(&[]).is_err());
    }

    #[test]
    fn samples_become_images_or_are_refused() {
        let device = belamy_cpu::cpu();
        let flat = Tensor::full(0.25, [3, 784], belamy_tensor::DType::F32, &device).unwrap();
        let mut recipe = Recipe::named("mnist-mlp").unwrap();
        let same = images(&recipe, &flat).unwrap();
        assert_eq!((same.dims(), same.to_f64().unwrap()[0]), (&[3, 28, 28, 1][..], 0.25));
        recipe.range = ValueRange::Unit;
        assert_eq!(images(&recipe, &flat).unwrap().to_f64().unwrap()[0], -0.5);
        let small = flat.slice(1, 0, 81).unwrap();
        assert!(images(&recipe, &small).unwrap_err().to_string().contains("28×28"));
        let error = images(&Recipe::named("sine").unwrap(), &flat).unwrap_err().to_string();
        assert!(error.contains("no digits"), "{error}");
    }
}

//! Digits, judged by a classifier that is read from its file or trained on real ones.

use super::Arguments;
use super::card::{Card, Classes, Metrics, Real};
use super::classified::{self, Judge};
use crate::failure::{Failure, Result};
use crate::progress::Waiting;
use belamy_gan::data::mnist::{self, Part};
use belamy_gan::data::{Dataset, ValueRange};
use belamy_gan::judge::classifier::{CLASSES, Classifier, Form, SIDE, TRUSTED_ACCURACY, Training};
use belamy_gan::judge::{self, classes, modes};
use belamy_tensor::Device;

/// Digits, 28×28 in [-1, 1] one after the other, by what the classifier says of them and beside real ones; and against
/// the digits that were asked for, if any were.
pub(super) fn judged(
    fake: &[f32],
    asked: Option<&[u32]>,
    arguments: &Arguments,
    device: &Device,
) -> Result<Card> {
    if !fake.len().is_multiple_of(SIDE * SIDE) {
        return Err(Failure::new("digits are images of 28×28"));
    }
    let (classifier, judge) = classifier(arguments, device)?;
    let (verdicts, fake_features) = classified::seen(&classifier, fake, "judging samples", device)?;
    let all = real(arguments)?;
    let beside = all.samples().min(arguments.n.max(2));
    let part = &all.images[..beside * SIDE * SIDE];
    let (_, real_features) = classified::seen(&classifier, part, "judging real digits", device)?;
    let mut fake_counts = vec![0; CLASSES];
    verdicts.iter().flatten().for_each(|verdict| fake_counts[verdict.class] += 1);
    let mut real_counts = vec![0; CLASSES];
    all.labels.iter().flatten().for_each(|&label| real_counts[label as usize] += 1);
    let data = arguments
        .data
        .as_ref()
        .map_or("the digits built in".to_owned(), |folder| folder.display().to_string());
    let right = asked.map(|asked| classes::judge(asked, &verdicts, CLASSES)).transpose()?;
    Ok(Card {
        samples: fake.len() / (SIDE * SIDE),
        real: Some(Real { data, digest: Some(all.digest.clone()), samples: all.samples() }),
        modes: (fake_counts.iter().sum::<usize>() > 0)
            .then(|| modes::modes(&real_counts, &fake_counts))
            .transpose()?,
        metrics: Some(Metrics::Digits(judge::digits::judge(&verdicts)?)),
        classes: right.map(|card| Classes {
            names: (0..CLASSES).map(|digit| digit.to_string()).collect(),
            card,
        }),
        features: classified::compared(real_features, &fake_features, &judge, arguments.seed)?,
        classifier: Some(judge),
        ..Card::default()
    })
}

/// The real digits that samples are compared with: the training digits of --data, or those built in.
fn real(arguments: &Arguments) -> Result<Dataset> {
    let digits = match &arguments.data {
        Some(folder) if mnist::is_present(folder, Part::Train) => mnist::load(folder, Part::Train)?,
        Some(folder) => mnist::load(folder, Part::Test)?,
        None => mnist::embedded()?,
    };
    Ok(digits.dataset(ValueRange::Signed)?)
}

/// The classifier from its file, or trained on the data and kept in that file; tested on digits it was not trained on.
fn classifier(arguments: &Arguments, device: &Device) -> Result<(Classifier, Judge)> {
    let file = classified::file(arguments)?;
    let known = file.filter(|(_, exists)| *exists);
    let test = match &arguments.data {
        Some(folder) if mnist::is_present(folder, Part::Test) => mnist::load(folder, Part::Test)?,
        _ => mnist::embedded()?,
    };
    let test = test.dataset(ValueRange::Signed)?;
    let (classifier, training, training_images, training_digest) = match (known, &arguments.data) {
        (Some((path, _)), _) => {
            let (classifier, digest) = Classifier::load(path, Form::DIGITS, device)?;
            (classifier, None, None, digest)
        }
        (None, Some(folder)) => {
            let train = mnist::load(folder, Part::Train)?.dataset(ValueRange::Signed)?;
            let training = Training::default();
            let mut waiting = Waiting::on("training the digit classifier");
            let classifier =
                Classifier::train(Form::DIGITS, &train, training, device, |done, total| {
                    waiting.reached(done, total);
                })?;
            (classifier, Some(training), Some(train.samples()), Some(train.digest))
        }
        (None, None) => {
            let message = "digits are judged by a classifier trained on real ones: give a folder with MNIST's files by --data, or a trained classifier by --classifier";
            return Err(Failure::usage(message));
        }
    };
    let test_accuracy = classifier.accuracy(&test)?;
    if let (Some((path, false)), Some(digest)) = (file, &training_digest) {
        classifier.save(path, digest)?;
    }
    let judge = Judge {
        kind: "digit",
        form: Form::DIGITS,
        training,
        training_images,
        training_digest,
        file: file.map(|(path, _)| path.display().to_string()),
        test_images: test.samples(),
        test_digest: test.digest,
        test: "test digits",
        test_accuracy,
        least_accuracy: TRUSTED_ACCURACY,
        trusted: test_accuracy >= TRUSTED_ACCURACY,
    };
    Ok((classifier, judge))
}

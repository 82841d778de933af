//! Samples of a generator that is asked for classes of images, judged by a classifier that is trained on the real ones.
//!
//! What the classifier is tested on shares no track with what it was trained on: see [`held_out`].

use super::card::{Card, Classes, Real};
use super::classified::{self, Judge};
use super::{Arguments, brought, spread};
use crate::failure::{Failure, Result};
use crate::progress::Waiting;
use belamy_gan::Recipe;
use belamy_gan::data::held_out::{self, Parted};
use belamy_gan::data::{Dataset, ValueRange};
use belamy_gan::judge::classifier::{Classifier, Form, TRUSTED_ACCURACY_OF_IMAGES, Training};
use belamy_gan::judge::{classes, modes};
use belamy_tensor::Device;
use std::path::Path;

/// There are a few thousand images of signs where there are 60,000 digits: more passes over them.
const TRAINING: Training = Training { seed: 1, epochs: 10, batch: 50, learning_rate: 2e-3 };

/// Samples `[height, width, channels]` one after the other, against the classes that were asked for.
pub(super) fn judged(
    samples: &[f32],
    shape: [usize; 3],
    asked: &[u32],
    recipe: &Recipe,
    data: &Path,
    arguments: &Arguments,
    device: &Device,
) -> Result<Card> {
    let [side, _, channels] = shape;
    let parted = held_out::load(data, side, channels, ValueRange::Signed)?;
    if parted.classes.len() != recipe.classes {
        let message = format!(
            "{}: {} classes, but the run was trained on {}",
            data.display(),
            parted.classes.len(),
            recipe.classes
        );
        return Err(Failure::new(message));
    }
    let (classifier, judge) = classifier(&parted, arguments, device)?;
    let fake = brought(samples, recipe.range, ValueRange::Signed);
    let (verdicts, fake_features) =
        classified::seen(&classifier, &fake, "judging samples", device)?;
    let all = joined(&parted)?;
    let beside = spread(&all, arguments.n.max(2))?;
    let (_, real_features) =
        classified::seen(&classifier, &beside.images, "judging real images", device)?;
    let histogram = |classes: &mut dyn Iterator<Item = usize>| {
        let mut counts = vec![0; recipe.classes];
        classes.for_each(|class| counts[class] += 1);
        counts
    };
    let real = histogram(&mut all.labels.iter().flatten().map(|&label| label as usize));
    let drawn = histogram(&mut verdicts.iter().flatten().map(|verdict| verdict.class));
    Ok(Card {
        real: Some(Real {
            data: data.display().to_string(),
            digest: Some(all.digest.clone()),
            samples: all.samples(),
        }),
        modes: (drawn.iter().sum::<usize>() > 0)
            .then(|| modes::modes(&real, &drawn))
            .transpose()?,
        classes: Some(Classes {
            card: classes::judge(asked, &verdicts, recipe.classes)?,
            names: parted.classes,
        }),
        features: classified::compared(real_features, &fake_features, &judge, arguments.seed)?,
        classifier: Some(judge),
        preprocessing: format!("images brought to {side}×{side}×{channels} in [-1, 1]"),
        ..Card::default()
    })
}

/// The classifier from its file, or trained on what is not held out and kept in that file.
fn classifier(
    parted: &Parted,
    arguments: &Arguments,
    device: &Device,
) -> Result<(Classifier, Judge)> {
    let form = Form { classes: parted.classes.len(), ..Form::of(&parted.train)? };
    let file = classified::file(arguments)?;
    let (classifier, training) = match file {
        Some((path, true)) => {
            let (classifier, digest) = Classifier::load(path, form, device)?;
            // Of another part of the images it may know those that it is to be tested on.
            if digest.as_ref() != Some(&parted.train.digest) {
                let message = format!(
                    "{}: this classifier was trained on other images; give another file",
                    path.display()
                );
                return Err(Failure::new(message));
            }
            (classifier, None)
        }
        _ => {
            let mut waiting = Waiting::on("training the classifier");
            let watch = |done, total| waiting.reached(done, total);
            let classifier = Classifier::train(form, &parted.train, TRAINING, device, watch)?;
            (classifier, Some(TRAINING))
        }
    };
    let test_accuracy = classifier.accuracy(&parted.test)?;
    if let Some((path, false)) = file {
        classifier.save(path, &parted.train.digest)?;
    }
    let judge = Judge {
        kind: "image",
        form,
        training,
        training_images: training.map(|_| parted.train.samples()),
        training_digest: Some(parted.train.digest.clone()),
        file: file.map(|(path, _)| path.display().to_string()),
        test_images: parted.test.samples(),
        test_digest: parted.test.digest.clone(),
        test: "images of tracks that it was not trained on",
        test_accuracy,
        least_accuracy: TRUSTED_ACCURACY_OF_IMAGES,
        trusted: test_accuracy >= TRUSTED_ACCURACY_OF_IMAGES,
    };
    Ok((classifier, judge))
}

/// All images, those learnt from first.
fn joined(Parted { train, test, .. }: &Parted) -> Result<Dataset> {
    let images = [&train.images[..], &test.images].concat();
    let labels: Vec<u32> = train.labels.iter().chain(&test.labels).flatten().copied().collect();
    let shape = [&[train.samples() + test.samples()], &train.shape[1..]].concat();
    Ok(Dataset::new(images, &shape, Some(labels), train.range)?)
}

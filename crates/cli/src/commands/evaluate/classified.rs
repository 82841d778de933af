//! What a classifier says of samples, and its features of them beside those of real images: of digits and of other
//! labelled images alike.

use super::Arguments;
use crate::failure::{Failure, Result};
use crate::output;
use crate::progress::Waiting;
use belamy_gan::judge::classifier::{Classifier, FEATURES, Form, Training, Verdict};
use belamy_gan::judge::comparison::{self, FeatureCard};
use belamy_gan::judge::features::Features;
use belamy_tensor::{Device, Tensor};
use serde::Serialize;
use std::path::Path;

/// Images that the classifier sees at a time.
const AT_ONCE: usize = 250;

/// The classifier of a card.
#[derive(Serialize)]
pub(super) struct Judge {
    /// What it classifies, in words: "digit", "image".
    pub(super) kind: &'static str,
    pub(super) form: Form,
    /// `null` where it was read from a file.
    pub(super) training: Option<Training>,
    /// Images it was trained on; `null` where it was read from a file.
    pub(super) training_images: Option<usize>,
    /// The XXH64 of the images it was trained on; `null` where it was read from a file that does not say.
    pub(super) training_digest: Option<String>,
    pub(super) file: Option<String>,
    pub(super) test_images: usize,
    pub(super) test_digest: String,
    /// What the test images are, in words.
    pub(super) test: &'static str,
    pub(super) test_accuracy: f64,
    /// Below this its word is worth little.
    pub(super) least_accuracy: f64,
    /// Whether the accuracy is enough to judge anything.
    pub(super) trusted: bool,
}

impl Judge {
    pub(super) fn text(&self) -> String {
        let Form { side, channels, classes } = self.form;
        let of = format!("of {classes} classes, {side}×{side}×{channels}");
        match (&self.training, self.training_images, &self.file) {
            (Some(Training { seed, epochs, .. }), Some(images), file) => {
                let images = output::with_commas(images as u64);
                let kept = file.as_ref().map_or(String::new(), |file| format!(", kept in {file}"));
                let kind = self.kind;
                format!("{of}; trained on {images} {kind}s, {epochs} epochs, seed {seed}{kept}")
            }
            (_, _, Some(file)) => format!("{of}; read from {file}"),
            _ => of,
        }
    }

    pub(super) fn test_text(&self) -> String {
        let images = output::with_commas(self.test_images as u64);
        format!("{:.2} % of {images} {}", 100.0 * self.test_accuracy, self.test)
    }

    /// Who made the features.
    pub(super) fn extractor(&self) -> String {
        let (kind, accuracy) = (self.kind, 100.0 * self.test_accuracy);
        let test = self.test;
        format!("last hidden layer of the {kind} classifier ({accuracy:.2} % right on {test})")
    }
}

/// The file of --classifier, if it is given, and whether it exists. Fails where none could be written.
pub(super) fn file(arguments: &Arguments) -> Result<Option<(&Path, bool)>> {
    let Some(path) = arguments.classifier.as_deref() else { return Ok(None) };
    if path.extension().is_none_or(|end| end != "safetensors") {
        let message = format!("--classifier {}: end it in .safetensors", path.display());
        return Err(Failure::usage(message));
    }
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        // Said now, not after minutes of training.
        return Err(Failure::new(format!("--classifier: there is no folder {}", folder.display())));
    }
    Ok(Some((path, path.exists())))
}

/// The classifier's verdicts and features of images in [-1, 1], one after the other.
pub(super) fn seen(
    classifier: &Classifier,
    images: &[f32],
    what: &'static str,
    device: &Device,
) -> Result<(Vec<Option<Verdict>>, Vec<f64>)> {
    let mut waiting = Waiting::on(what);
    let Form { side, channels, .. } = classifier.form();
    let elements = classifier.form().elements();
    let total = (images.len() / elements) as u64;
    let (mut verdicts, mut features) = (Vec::new(), Vec::new());
    for part in images.chunks(AT_ONCE * elements) {
        let shape = [part.len() / elements, side, side, channels];
        let (said, found) =
            classifier.verdicts_and_features(&Tensor::from_slice(part, shape, device)?)?;
        verdicts.extend(said);
        features.extend(found);
        waiting.reached(verdicts.len() as u64, total);
    }
    Ok((verdicts, features))
}

/// Features of real images and of samples, compared; none where there are too few of either. Samples that are no
/// numbers have no features: they are counted elsewhere.
pub(super) fn compared(
    real: Vec<f64>,
    fake: &[f64],
    judge: &Judge,
    seed: u64,
) -> Result<Option<FeatureCard>> {
    let finite: Vec<f64> = fake
        .chunks_exact(FEATURES)
        .filter(|row| row.iter().all(|value| value.is_finite()))
        .flatten()
        .copied()
        .collect();
    if finite.len() < 4 * FEATURES || real.len() < 4 * FEATURES {
        return Ok(None);
    }
    let (real, fake) = (Features::new(real, FEATURES)?, Features::new(finite, FEATURES)?);
    Ok(Some(comparison::of_features(&real, &fake, &judge.extractor(), seed)?))
}

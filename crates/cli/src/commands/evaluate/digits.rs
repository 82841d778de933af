//! The classifier that judges digits: read from its file, or trained on real ones.

use super::Arguments;
use crate::failure::{Failure, Result};
use crate::output;
use crate::progress::Waiting;
use belamy_gan::data::mnist::{self, Part};
use belamy_gan::data::{Dataset, ValueRange};
use belamy_gan::judge::classifier::{Classifier, TRUSTED_ACCURACY, Training};
use belamy_tensor::Device;
use serde::Serialize;
use std::path::Path;

/// The classifier of a card.
#[derive(Serialize)]
pub(super) struct Judge {
    /// `null` where it was read from a file.
    pub(super) training: Option<Training>,
    /// Digits it was trained on; `null` where it was read from a file.
    pub(super) training_digits: Option<usize>,
    /// The XXH64 of the digits it was trained on; `null` where it was read from a file.
    pub(super) training_digest: Option<String>,
    pub(super) file: Option<String>,
    pub(super) test_digits: usize,
    pub(super) test_digest: String,
    pub(super) test_accuracy: f64,
    /// Whether the accuracy is enough to judge anything.
    pub(super) trusted: bool,
}

impl Judge {
    pub(super) fn text(&self) -> String {
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

/// The real digits that samples are compared with: the training digits of --data, or those built in.
pub(super) fn real(arguments: &Arguments) -> Result<Dataset> {
    let digits = match &arguments.data {
        Some(folder) if mnist::is_present(folder, Part::Train) => mnist::load(folder, Part::Train)?,
        Some(folder) => mnist::load(folder, Part::Test)?,
        None => mnist::embedded()?,
    };
    Ok(digits.dataset(ValueRange::Signed)?)
}

/// The classifier from its file, or trained on the data and kept in that file; tested on digits it was not trained on.
pub(super) fn classifier(arguments: &Arguments, device: &Device) -> Result<(Classifier, Judge)> {
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

//! A small convolutional classifier of handwritten digits, trained from scratch by this project's own kernels.
//!
//! Two strided convolutions with batch normalisation and two dense layers, after LeNet-5 (LeCun et al., 1998); Adam at
//! a rate that falls to 0. What the last layer but one says of an image, 128 numbers, are its features for distances
//! between sets of digits. What it learns depends on (seed, data) alone, not on threads; real digits it never saw
//! say how far it is to be trusted.

use crate::data::{Dataset, ValueRange};
use crate::error::{Error, Result};
use crate::files;
use belamy_nn::initializer::Initializer;
use belamy_nn::layers::{Activation, Padding, RunningVariance};
use belamy_nn::network::Builder;
use belamy_nn::optimizer::{Convention, Optimizer, Rule, Settings, gradients};
use belamy_nn::schedule::Schedule;
use belamy_nn::{Context, Network, weights};
use belamy_tensor::ops::gather::gather_rows;
use belamy_tensor::ops::loss::cross_entropy_with_logits;
use belamy_tensor::ops::random::{Shuffle, shuffled_indices};
use belamy_tensor::{DType, Device, Tensor};
use std::path::Path;

/// The digits 0 to 9.
pub const CLASSES: usize = 10;

/// The side of a digit's image in pixels.
pub const SIDE: usize = 28;

/// How many features an image has.
pub const FEATURES: usize = 128;

/// A classifier that errs on more of the real test digits than this leaves judges nothing.
pub const TRUSTED_ACCURACY: f64 = 0.985;

/// Images that are classified at a time: bounds the memory, changes no number.
const AT_ONCE: usize = 250;

/// A stream of random numbers of its own, above those that a step counts up.
const SHUFFLE_STREAM: u32 = 1 << 25;

/// How a classifier is trained.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Training {
    /// Decides the first weights and the order of the digits.
    pub seed: u64,
    /// Passes over the digits.
    pub epochs: usize,
    /// Digits in a step; at least 1.
    pub batch: usize,
    /// Adam's first rate.
    pub learning_rate: f64,
}

impl Default for Training {
    fn default() -> Training {
        Training { seed: 1, epochs: 3, batch: 100, learning_rate: 2e-3 }
    }
}

/// What a classifier says of an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// The most probable digit.
    pub digit: usize,
    /// Its probability by the softmax.
    pub confidence: f64,
}

impl Verdict {
    /// The verdict of one image's logits; `None` unless all are finite.
    fn of(logits: &[f64]) -> Option<Verdict> {
        if !logits.iter().all(|logit| logit.is_finite()) {
            return None;
        }
        let (digit, largest) = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
        let sum: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
        Some(Verdict { digit, confidence: 1.0 / sum })
    }
}

/// A classifier of digits.
#[derive(Debug)]
pub struct Classifier {
    network: Network,
    device: Device,
}

impl Classifier {
    /// An untrained classifier, drawn by `seed`.
    pub fn new(seed: u64, device: &Device) -> Result<Classifier> {
        let (he, zero, one) =
            (Initializer::HeNormal, Initializer::Constant(0.0), Initializer::Constant(1.0));
        let mut builder = Builder::new("classifier", [SIDE, SIDE, 1], device, DType::F32, seed);
        for channels in [24, 48] {
            builder = builder
                .conv2d(channels, 5, 2, Padding::Same, he, None)?
                .batch_norm(0.95, 1e-5, RunningVariance::Unbiased, one)?
                .activation(Activation::Relu)?;
        }
        let network = builder
            .flatten()?
            .dense(FEATURES, he, Some(zero))?
            .activation(Activation::Relu)?
            .dense(CLASSES, Initializer::GlorotUniform, Some(zero))?
            .build();
        Ok(Classifier { network, device: device.clone() })
    }

    /// Trains a classifier on labelled digits, `[N, 28, 28, 1]` in [-1, 1], showing `watch` the steps done and all
    /// steps after each.
    ///
    /// Fails when the data are no such digits, or the loss ends as no number.
    pub fn train(
        data: &Dataset,
        training: Training,
        device: &Device,
        mut watch: impl FnMut(u64, u64),
    ) -> Result<Classifier> {
        let classifier = Classifier::new(training.seed, device)?;
        let labels = checked(data)?;
        let count = data.samples();
        let batch = training.batch.clamp(1, count);
        let steps = (training.epochs * count).div_ceil(batch) as u64;
        let images = Tensor::from_slice(&data.images, [count, SIDE, SIDE, 1], device)?;
        let labels = Tensor::from_slice(labels, [count], device)?;
        let rule = Rule::Adam {
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-8,
            convention: Convention::Pytorch,
        };
        let settings = Settings {
            learning_rate: training.learning_rate,
            schedule: Schedule::LinearDecay { start: 0, end: steps },
            clip_value: 0.0,
            clip_norm: 0.0,
            rule,
        };
        let mut optimizer = Optimizer::new(settings, &classifier.network)?;
        let shuffle =
            Shuffle { count: count as u32, global_batch: batch as u32, draw: 0, draws: 1 };
        for step in 0..steps {
            let mut cx = Context::train(training.seed, step as u32, 0, device)?;
            let order = shuffled_indices(batch, shuffle, cx.key(SHUFFLE_STREAM), cx.counter())?;
            let logits =
                classifier.network.forward(&gather_rows(&images, &order)?, None, &mut cx)?;
            let loss = cross_entropy_with_logits(&logits, &gather_rows(&labels, &order)?)?;
            let loss = loss.mean_all()?;
            let grads = gradients(&loss, &classifier.network)?;
            optimizer.apply(&classifier.network, &grads)?;
            watch(step + 1, steps);
            if step + 1 == steps && !loss.item()?.is_finite() {
                let place = "the digit classifier's loss".to_owned();
                return Err(Error::NotFinite { step: steps, place });
            }
        }
        Ok(classifier)
    }

    /// The verdict on each image of `[N, 28, 28, 1]` in [-1, 1], paper −1 and ink 1, by the running statistics;
    /// `None` where an image leads to no finite answer. Fails when the images are of another shape.
    pub fn verdicts(&self, images: &Tensor) -> Result<Vec<Option<Verdict>>> {
        Ok(self.verdicts_and_features(images)?.0)
    }

    /// As [`Classifier::verdicts`], and the features of each image: what the last layer but one says of it,
    /// `[N, FEATURES]` after one another, finite or not.
    pub fn verdicts_and_features(
        &self,
        images: &Tensor,
    ) -> Result<(Vec<Option<Verdict>>, Vec<f64>)> {
        let count = match *images.dims() {
            [count, SIDE, SIDE, 1] => count,
            _ => {
                let message =
                    format!("the classifier takes [N, 28, 28, 1], not {}", images.shape());
                return Err(Error::data(message));
            }
        };
        let mut verdicts = Vec::with_capacity(count);
        let mut features = Vec::with_capacity(count * FEATURES);
        for start in (0..count).step_by(AT_ONCE) {
            let part = images.slice(0, start, AT_ONCE.min(count - start))?;
            let mut cx = Context::evaluate(0, &self.device)?;
            let (mut last, mut before) = (None, None);
            self.network.forward_observed(&part, None, &mut cx, &mut |_, value| {
                before = last.replace(value.clone());
            })?;
            let (Some(logits), Some(hidden)) = (last, before) else {
                return Err(Error::data("the classifier has no layers"));
            };
            verdicts.extend(logits.to_f64()?.chunks_exact(CLASSES).map(Verdict::of));
            features.extend(hidden.to_f64()?);
        }
        Ok((verdicts, features))
    }

    /// The share of labelled digits that are taken for what they are. Fails when the data are no digits.
    pub fn accuracy(&self, data: &Dataset) -> Result<f64> {
        let labels = checked(data)?;
        let count = data.samples();
        let images = Tensor::from_slice(&data.images, [count, SIDE, SIDE, 1], &self.device)?;
        let verdicts = self.verdicts(&images)?;
        let right = verdicts.iter().zip(labels).filter(|(verdict, label)| {
            verdict.is_some_and(|verdict| verdict.digit == **label as usize)
        });
        Ok(right.count() as f64 / count as f64)
    }

    /// Writes the weights and running statistics as safetensors, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<()> {
        files::write_atomically(
            path,
            &weights::to_bytes(&weights::of_network(&self.network)?, &[])?,
        )
    }

    /// Reads what [`Classifier::save`] wrote. Fails, naming the file, on anything else.
    pub fn load(path: &Path, device: &Device) -> Result<Classifier> {
        let classifier = Classifier::new(0, device)?;
        weights::into_network(&classifier.network, weights::read(path, device)?)
            .map_err(|error| Error::file(path, error.to_string()))?;
        Ok(classifier)
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }
}

/// The labels of data that are digits as the classifier takes them.
fn checked(data: &Dataset) -> Result<&[u32]> {
    if data.shape[1..] != [SIDE, SIDE, 1] || data.range != ValueRange::Signed {
        let message = format!(
            "the classifier takes digits of 28×28×1 in [-1, 1], not {:?}",
            &data.shape[1..]
        );
        return Err(Error::data(message));
    }
    match &data.labels {
        Some(labels) if data.classes <= CLASSES => Ok(labels),
        _ => Err(Error::data("the classifier takes digits labelled 0 to 9")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::mnist;
    use crate::judge::features::Features;
    use crate::judge::neighbours::nearest;
    use belamy_cpu::cpu;

    /// Embedded digits `start..start + count`.
    fn digits(start: usize, count: usize) -> Dataset {
        let all = mnist::embedded().unwrap().dataset(ValueRange::Signed).unwrap();
        let pixels = SIDE * SIDE;
        let images = all.images[start * pixels..(start + count) * pixels].to_vec();
        let labels = all.labels.map(|labels| labels[start..start + count].to_vec());
        Dataset::new(images, &[count, SIDE, SIDE, 1], labels, ValueRange::Signed).unwrap()
    }

    fn bytes(classifier: &Classifier) -> Vec<u8> {
        weights::to_bytes(&weights::of_network(classifier.network()).unwrap(), &[]).unwrap()
    }

    #[test]
    fn it_learns_from_a_thousand_digits_and_knows_others() {
        let device = cpu();
        let (train, test) = (digits(0, 1_000), digits(8_000, 1_000));
        let training = Training { epochs: 4, batch: 50, ..Training::default() };
        let before = Classifier::new(1, &device).unwrap().accuracy(&test).unwrap();
        let mut seen = Vec::new();
        let classifier =
            Classifier::train(&train, training, &device, |step, steps| seen.push((step, steps)))
                .unwrap();
        let accuracy = classifier.accuracy(&test).unwrap();
        assert!(before < 0.4 && accuracy > 0.85, "{before} before, {accuracy} after");
        assert_eq!((seen.len(), seen[79]), (80, (80, 80)));

        // Features are what the last layer sees: the digits of the nearest others are mostly its own.
        let images = Tensor::from_slice(&test.images, [1_000, SIDE, SIDE, 1], &device).unwrap();
        let (_, features) = classifier.verdicts_and_features(&images).unwrap();
        let features = Features::new(features, FEATURES).unwrap();
        let (asked, known): (Vec<usize>, Vec<usize>) = (0..1_000).partition(|&index| index < 200);
        let found = nearest(&features.rows(&asked), &features.rows(&known)).unwrap();
        let labels = test.labels.as_ref().unwrap();
        let right = asked
            .iter()
            .zip(&found)
            .filter(|&(&index, (_, near))| labels[index] == labels[known[*near]]);
        assert!(right.clone().count() > 160, "{}", right.count());

        // Its answers are the same from a file.
        let path =
            std::env::temp_dir().join(format!("belamy-judge-{}.safetensors", std::process::id()));
        classifier.save(&path).unwrap();
        let again = Classifier::load(&path, &device).unwrap();
        assert_eq!(bytes(&again), bytes(&classifier));
        assert_eq!(again.accuracy(&test).unwrap(), accuracy);
        std::fs::write(&path, b"no weights").unwrap();
        let error = Classifier::load(&path, &device).unwrap_err().to_string();
        assert!(error.contains("safetensors"), "{error}");
        std::fs::remove_file(&path).unwrap();

        // Paper without ink, and images that are none.
        let nothing = Tensor::full(f64::NAN, [2, SIDE, SIDE, 1], DType::F32, &device).unwrap();
        assert_eq!(classifier.verdicts(&nothing).unwrap(), [None, None]);
        let small = Tensor::full(0.0, [2, 8, 8, 1], DType::F32, &device).unwrap();
        assert!(classifier.verdicts(&small).is_err());
    }

    #[test]
    fn a_seed_decides_every_byte() {
        let device = cpu();
        let data = digits(0, 60);
        let train = |seed| {
            let training = Training { seed, epochs: 1, batch: 20, ..Training::default() };
            bytes(&Classifier::train(&data, training, &device, |_, _| {}).unwrap())
        };
        assert_eq!(train(5), train(5));
        assert_ne!(train(5), train(6));
    }

    #[test]
    fn verdicts_are_the_softmax() {
        let logits: Vec<f64> = [1.0f64, 1.0, 6.0].iter().map(|x| x.ln() + 1e5).collect();
        let verdict = Verdict::of(&logits).unwrap();
        assert!(verdict.digit == 2 && (verdict.confidence - 0.75).abs() < 1e-9, "{verdict:?}");
        assert_eq!(Verdict::of(&[0.0, f64::INFINITY]), None);
    }

    #[test]
    fn data_that_are_no_digits_are_refused() {
        let device = cpu();
        let make = |shape: &[usize], labels: Option<Vec<u32>>, range| {
            let data =
                Dataset::new(vec![0.0; shape.iter().product()], shape, labels, range).unwrap();
            Classifier::train(&data, Training::default(), &device, |_, _| {}).is_err()
        };
        assert!(make(&[2, 8, 8, 1], Some(vec![0, 1]), ValueRange::Signed));
        assert!(make(&[2, 28, 28, 1], None, ValueRange::Signed));
        assert!(make(&[2, 28, 28, 1], Some(vec![0, 10]), ValueRange::Signed));
        assert!(make(&[2, 28, 28, 1], Some(vec![0, 1]), ValueRange::Unit));
    }
}

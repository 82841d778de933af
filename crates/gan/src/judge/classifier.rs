//! A small convolutional classifier of handwritten digits or other labelled images, trained from scratch by this
//! project's own kernels.
//!
//! Strided convolutions with batch normalisation until 8 or fewer pixels a side are left (two for digits and for images
//! of 32×32, three for 64×64) and two dense layers, after LeNet-5 (LeCun et al., 1998); Adam at a rate that falls to 0.
//! What the last layer but one says of an image, 128 numbers, are its features for distances between sets of images.
//! What it learns depends on (seed, data) alone, not on threads; real images it never saw say how far it is to be
//! trusted.

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

/// The same of other labelled images, of which there are fewer.
pub const TRUSTED_ACCURACY_OF_IMAGES: f64 = 0.95;

/// What a classifier takes, and between how many classes it chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Form {
    /// The images' side in pixels.
    pub side: usize,
    /// 1 for grey, 3 for colour.
    pub channels: usize,
    /// How many classes there are.
    pub classes: usize,
}

impl Form {
    /// Handwritten digits.
    pub const DIGITS: Form = Form { side: SIDE, channels: 1, classes: CLASSES };

    /// The form of labelled images `[N, side, side, channels]`; fails when the data are no such images.
    pub fn of(data: &Dataset) -> Result<Form> {
        match data.shape[..] {
            [_, side, width, channels] if side == width && data.labels.is_some() => {
                Ok(Form { side, channels, classes: data.classes })
            }
            _ => Err(Error::data("a classifier takes square images with labels")),
        }
    }

    /// The numbers in one image.
    pub fn elements(self) -> usize {
        self.side * self.side * self.channels
    }
}

/// The channels of the first convolution; each further one has twice as many.
const FIRST_CHANNELS: usize = 24;

/// Convolutions halve an image until its side is at most this.
const LAST_SIDE: usize = 8;

/// Images that are classified at a time: bounds the memory, changes no number.
const AT_ONCE: usize = 250;

/// A stream of random numbers of its own, above those that a step counts up.
const SHUFFLE_STREAM: u32 = 1 << 25;

/// How a classifier is trained.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Training {
    /// Decides the first weights and the order of the images.
    pub seed: u64,
    /// Passes over the images.
    pub epochs: usize,
    /// Images in a step; at least 1.
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
    /// The most probable class; of digits, the digit.
    pub class: usize,
    /// Its probability by the softmax.
    pub confidence: f64,
}

impl Verdict {
    /// The verdict of one image's logits; `None` unless all are finite.
    fn of(logits: &[f64]) -> Option<Verdict> {
        if !logits.iter().all(|logit| logit.is_finite()) {
            return None;
        }
        let (class, largest) = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
        let sum: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
        Some(Verdict { class, confidence: 1.0 / sum })
    }
}

/// A classifier of digits or other labelled images.
#[derive(Debug)]
pub struct Classifier {
    network: Network,
    form: Form,
    device: Device,
}

impl Classifier {
    /// An untrained classifier, drawn by `seed`.
    pub fn new(form: Form, seed: u64, device: &Device) -> Result<Classifier> {
        let (he, zero, one) =
            (Initializer::HeNormal, Initializer::Constant(0.0), Initializer::Constant(1.0));
        let Form { side, channels, classes } = form;
        let shape = [side, side, channels];
        let mut builder = Builder::new("classifier", shape, device, DType::F32, seed);
        let (mut left, mut channels) = (side, FIRST_CHANNELS);
        while left > LAST_SIDE {
            builder = builder
                .conv2d(channels, 5, 2, Padding::Same, he, None)?
                .batch_norm(0.95, 1e-5, RunningVariance::Unbiased, one)?
                .activation(Activation::Relu)?;
            (left, channels) = (left.div_ceil(2), 2 * channels);
        }
        let network = builder
            .flatten()?
            .dense(FEATURES, he, Some(zero))?
            .activation(Activation::Relu)?
            .dense(classes, Initializer::GlorotUniform, Some(zero))?
            .build();
        Ok(Classifier { network, form, device: device.clone() })
    }

    /// Trains a classifier on labelled images of a form in [-1, 1], showing `watch` the steps done and all steps after
    /// each.
    ///
    /// Fails when the data are no such images, or the loss ends as no number.
    pub fn train(
        form: Form,
        data: &Dataset,
        training: Training,
        device: &Device,
        mut watch: impl FnMut(u64, u64),
    ) -> Result<Classifier> {
        let labels = checked(data, form)?;
        let classifier = Classifier::new(form, training.seed, device)?;
        let count = data.samples();
        let batch = training.batch.clamp(1, count);
        let steps = (training.epochs * count).div_ceil(batch) as u64;
        let images = Tensor::from_slice(&data.images, shape(form, count), device)?;
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
                let place = "the classifier's loss".to_owned();
                return Err(Error::NotFinite { step: steps, place });
            }
        }
        Ok(classifier)
    }

    /// The verdict on each image `[N, side, side, channels]` in [-1, 1] (of digits, paper −1 and ink 1), by the running
    /// statistics; `None` where an image leads to no finite answer. Fails when the images are of another shape.
    pub fn verdicts(&self, images: &Tensor) -> Result<Vec<Option<Verdict>>> {
        Ok(self.verdicts_and_features(images)?.0)
    }

    /// As [`Classifier::verdicts`], and the features of each image: what the last layer but one says of it,
    /// `[N, FEATURES]` after one another, finite or not.
    pub fn verdicts_and_features(
        &self,
        images: &Tensor,
    ) -> Result<(Vec<Option<Verdict>>, Vec<f64>)> {
        let Form { side, channels, classes } = self.form;
        let count = images.dims().first().copied().unwrap_or(0);
        if *images.dims() != shape(self.form, count) {
            let found = images.shape();
            let message =
                format!("the classifier takes [N, {side}, {side}, {channels}], not {found}");
            return Err(Error::data(message));
        }
        let mut verdicts = Vec::with_capacity(count);
        let mut features = Vec::with_capacity(count * FEATURES);
        for start in (0..count).step_by(AT_ONCE) {
            let part = images.slice(0, start, AT_ONCE.min(count - start))?;
            let mut cx = Context::evaluate(0, 0, &self.device)?;
            let (mut last, mut before) = (None, None);
            self.network.forward_observed(&part, None, &mut cx, &mut |_, value| {
                before = last.replace(value.clone());
            })?;
            let (Some(logits), Some(hidden)) = (last, before) else {
                return Err(Error::data("the classifier has no layers"));
            };
            verdicts.extend(logits.to_f64()?.chunks_exact(classes).map(Verdict::of));
            features.extend(hidden.to_f64()?);
        }
        Ok((verdicts, features))
    }

    /// The share of labelled images that are taken for what they are. Fails when the data are not of its form.
    pub fn accuracy(&self, data: &Dataset) -> Result<f64> {
        let labels = checked(data, self.form)?;
        let count = data.samples();
        let images = Tensor::from_slice(&data.images, shape(self.form, count), &self.device)?;
        let verdicts = self.verdicts(&images)?;
        let right = verdicts.iter().zip(labels).filter(|(verdict, label)| {
            verdict.is_some_and(|verdict| verdict.class == **label as usize)
        });
        Ok(right.count() as f64 / count as f64)
    }

    /// Writes the weights and running statistics as safetensors, whole or not at all, with the digest of the data that
    /// it was trained on.
    pub fn save(&self, path: &Path, digest: &str) -> Result<()> {
        let mut tensors = weights::of_network(&self.network)?;
        tensors.push((TRAINED_ON.to_owned(), words_of(digest, &self.device)?));
        files::write_atomically(path, &weights::to_bytes(&tensors, &[])?)
    }

    /// Reads what [`Classifier::save`] wrote, with the digest of the data that it was trained on (of older files, not
    /// known). Fails, naming the file, on anything else.
    pub fn load(path: &Path, form: Form, device: &Device) -> Result<(Classifier, Option<String>)> {
        let classifier = Classifier::new(form, 0, device)?;
        let mut tensors = weights::read(path, device)?;
        let digest = tensors.remove(TRAINED_ON).map(|words| digest_of(&words)).transpose()?;
        weights::into_network(&classifier.network, tensors)
            .map_err(|error| Error::file(path, error.to_string()))?;
        Ok((classifier, digest))
    }

    /// What it takes.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }
}

/// The tensor that says what a classifier was trained on: the characters of a digest.
const TRAINED_ON: &str = "trained_on";

fn words_of(digest: &str, device: &Device) -> Result<Tensor> {
    let words: Vec<u32> = digest.bytes().map(u32::from).collect();
    Ok(Tensor::from_slice(&words, [words.len()], device)?)
}

fn digest_of(words: &Tensor) -> Result<String> {
    let characters = words.to_vec::<u32>()?.into_iter().map(char::from_u32);
    characters.collect::<Option<String>>().ok_or_else(|| Error::data("trained_on is no digest"))
}

fn shape(Form { side, channels, .. }: Form, count: usize) -> [usize; 4] {
    [count, side, side, channels]
}

/// The labels of data that are images as a classifier takes them.
fn checked(data: &Dataset, form: Form) -> Result<&[u32]> {
    let Form { side, channels, classes } = form;
    if data.shape != shape(form, data.samples()) || data.range != ValueRange::Signed {
        let found = &data.shape[1..];
        let message = format!(
            "the classifier takes images of {side}×{side}×{channels} in [-1, 1], not {found:?}"
        );
        return Err(Error::data(message));
    }
    match &data.labels {
        Some(labels) if classes >= 2 && data.classes <= classes => Ok(labels),
        _ => {
            let message =
                format!("the classifier takes images labelled by {classes} classes, at least 2");
            Err(Error::data(message))
        }
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
        let before = Classifier::new(Form::DIGITS, 1, &device).unwrap().accuracy(&test).unwrap();
        let mut seen = Vec::new();
        let classifier =
            Classifier::train(Form::DIGITS, &train, training, &device, |step, steps| {
                seen.push((step, steps));
            })
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
        classifier.save(&path, &train.digest).unwrap();
        let (again, digest) = Classifier::load(&path, Form::DIGITS, &device).unwrap();
        assert_eq!(digest, Some(train.digest));
        assert_eq!(bytes(&again), bytes(&classifier));
        assert_eq!(again.accuracy(&test).unwrap(), accuracy);
        std::fs::write(&path, b"no weights").unwrap();
        let error = Classifier::load(&path, Form::DIGITS, &device).unwrap_err().to_string();
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
            bytes(&Classifier::train(Form::DIGITS, &data, training, &device, |_, _| {}).unwrap())
        };
        assert_eq!(train(5), train(5));
        assert_ne!(train(5), train(6));
    }

    #[test]
    fn verdicts_are_the_softmax() {
        let logits: Vec<f64> = [1.0f64, 1.0, 6.0].iter().map(|x| x.ln() + 1e5).collect();
        let verdict = Verdict::of(&logits).unwrap();
        assert!(verdict.class == 2 && (verdict.confidence - 0.75).abs() < 1e-9, "{verdict:?}");
        assert_eq!(Verdict::of(&[0.0, f64::INFINITY]), None);
    }

    #[test]
    fn data_that_are_no_digits_are_refused() {
        let device = cpu();
        let make = |shape: &[usize], labels: Option<Vec<u32>>, range| {
            let data =
                Dataset::new(vec![0.0; shape.iter().product()], shape, labels, range).unwrap();
            Classifier::train(Form::DIGITS, &data, Training::default(), &device, |_, _| {}).is_err()
        };
        assert!(make(&[2, 8, 8, 1], Some(vec![0, 1]), ValueRange::Signed));
        assert!(make(&[2, 28, 28, 1], None, ValueRange::Signed));
        assert!(make(&[2, 28, 28, 1], Some(vec![0, 10]), ValueRange::Signed));
        assert!(make(&[2, 28, 28, 1], Some(vec![0, 1]), ValueRange::Unit));
    }
}

//! Whole training against PyTorch: twenty steps from the same weights, data and noise.
//!
//! `tests/python/make_parity.py` ran PyTorch and wrote down losses, and of each weight tensor its norm, its inner
//! products with four random tensors and a sample of its elements. Both sides fill weights, data and noise from the
//! same integer hash, so nothing else needs to be stored.

use belamy_gan::batches::{Batch, Batches};
use belamy_gan::pair::Pair;
use belamy_gan::recipe::{GeneratorUpdate, Recipe};
use belamy_nn::optimizer::{Convention, Rule, Settings};
use belamy_nn::{Context, weights};
use belamy_tensor::{DType, Device, Tensor};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

type Error = Box<dyn std::error::Error>;

/// What PyTorch did.
struct Recorded {
    configuration: Value,
    tensors: BTreeMap<String, Tensor>,
}

impl Recorded {
    fn read(name: &str) -> Result<Recorded, Error> {
        let path =
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("golden/{name}.safetensors"));
        let bytes = std::fs::read(path)?;
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let configuration = serde_json::from_str(&metadata["configuration"])?;
        let tensors = weights::from_bytes(&bytes, &belamy_cpu::oracle())?;
        Ok(Recorded { configuration, tensors })
    }

    fn values(&self, name: &str) -> Vec<f64> {
        self.tensors.get(name).unwrap_or_else(|| panic!("no {name}")).to_f64().unwrap()
    }

    fn number(&self, pointer: &str) -> f64 {
        self.configuration
            .pointer(pointer)
            .and_then(Value::as_f64)
            .unwrap_or_else(|| panic!("no {pointer}"))
    }

    fn shape(&self, pointer: &str) -> Vec<usize> {
        let list = self.configuration.pointer(pointer).and_then(Value::as_array).unwrap();
        list.iter().map(|extent| extent.as_u64().unwrap() as usize).collect()
    }
}

fn mix(mut h: u32) -> u32 {
    h ^= h >> 16;
    h = h.wrapping_mul(0x85eb_ca6b);
    h ^= h >> 13;
    h = h.wrapping_mul(0xc2b2_ae35);
    h ^ (h >> 16)
}

/// The filling that both sides share.
fn filled(count: usize, salt: u32, scale: f64, offset: f64) -> Vec<f64> {
    let word = |i: usize| mix(mix(i as u32).wrapping_add(salt.wrapping_mul(2_654_435_761)));
    (0..count).map(|i| (f64::from(word(i) >> 8) / 16_777_216.0 - 0.5) * scale + offset).collect()
}

/// The recorded run's data and noise.
struct Replay<'a> {
    recorded: &'a Recorded,
    device: Device,
    dtype: DType,
    step: u32,
    /// How often noise was asked for in this step.
    draws: usize,
}

impl Replay<'_> {
    fn tensor(&self, salt: u32, scale: f64, shape: &[usize]) -> Tensor {
        let values = filled(shape.iter().product(), salt, scale, 0.0);
        let shape = belamy_tensor::Shape::new(shape).unwrap();
        Tensor::from_f64(&values, shape, self.dtype, &self.device).unwrap()
    }

    /// The salt of this step, of those that start at a place of the configuration.
    fn salt(&self, start: &str) -> u32 {
        self.recorded.number(start) as u32 + self.step
    }

    fn batch(&self) -> usize {
        self.recorded.number("/batch") as usize
    }
}

impl Batches for Replay<'_> {
    fn real(&mut self, _draw: usize, _cx: &mut Context) -> belamy_gan::Result<Batch> {
        let shape = [vec![self.batch()], self.recorded.shape("/image")].concat();
        let scale = self.recorded.number("/image_filling/scale");
        Ok(Batch { samples: self.tensor(self.salt("/image_salt"), scale, &shape), labels: None })
    }

    fn noise(&mut self, _cx: &mut Context) -> belamy_gan::Result<Batch> {
        let salt = self.salt(["/noise_d_salt", "/noise_g_salt"][self.draws]);
        self.draws += 1;
        let scale = self.recorded.number("/noise_filling/scale");
        Ok(Batch { samples: self.tensor(salt, scale, &[self.batch(), 100]), labels: None })
    }
}

/// The largest disagreement found, by what it is about.
#[derive(Debug, Default)]
struct Worst {
    loss: f64,
    weights: f64,
    weight: String,
}

/// The larger of two numbers, and not a number if either is not one.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

fn settings(recorded: &Recorded, network: &str) -> Settings {
    let number = |key: &str| recorded.number(&format!("/optimiser/{network}/{key}"));
    Settings {
        learning_rate: number("lr"),
        schedule: Default::default(),
        clip_value: 0.0,
        clip_norm: 0.0,
        rule: Rule::Adam {
            beta_1: number("beta_1"),
            beta_2: number("beta_2"),
            epsilon: number("epsilon"),
            convention: Convention::Pytorch,
        },
    }
}

/// Repeats a recorded run in f64 or f32 and compares with PyTorch's f64 run.
///
/// The script chose inputs that f32's rounding error does not carry across the kinks of relu and leaky_relu.
fn replay(name: &str, mut recipe: Recipe, dtype: DType, device: &Device) -> Result<Worst, Error> {
    let recorded = Recorded::read(name)?;
    recipe.generator_optimizer = settings(&recorded, "generator");
    recipe.discriminator_optimizer = settings(&recorded, "discriminator");
    recipe.batch = recorded.number("/batch") as usize;
    let mut pair = Pair::new(recipe, 0, dtype, device)?;

    // Parameters in order: PyTorch's list is the generator's, then the discriminator's, as ours.
    let listed = recorded.configuration["parameters"].as_array().unwrap().clone();
    let trainable: Vec<_> = pair.networks().flat_map(|network| network.trainable()).collect();
    assert_eq!(listed.len(), trainable.len());
    for (entry, param) in listed.iter().zip(&trainable) {
        let count = param.meta().shape.elements();
        let salt = entry["salt"].as_u64().unwrap() as u32;
        let values = filled(
            count,
            salt,
            entry["scale"].as_f64().unwrap(),
            entry["offset"].as_f64().unwrap(),
        );
        let shape: Vec<usize> = entry["shape"]
            .as_array()
            .unwrap()
            .iter()
            .map(|x| x.as_u64().unwrap() as usize)
            .collect();
        assert_eq!(shape, param.shape_in_files().dims(), "{entry}");
        let value = Tensor::from_f64(&values, param.shape_in_files(), dtype, device)?;
        param.set(param.in_files(&value)?);
    }

    let mut worst = Worst::default();
    let (loss_d, loss_g) = (recorded.values("loss/d"), recorded.values("loss/g"));
    for step in 0..recorded.number("/steps") as usize {
        let mut batches = Replay {
            recorded: &recorded,
            device: device.clone(),
            dtype,
            step: step as u32,
            draws: 0,
        };
        let measures = pair.step(&mut batches)?;
        pair.verify(&mut batches)?;
        for (found, wanted) in [(&measures.loss_d, loss_d[step]), (&measures.loss_g, loss_g[step])]
        {
            worst.loss = larger(worst.loss, (found.item()? - wanted).abs() / wanted.abs());
        }
    }
    let trainable: Vec<_> = pair.networks().flat_map(|network| network.trainable()).collect();
    for (entry, param) in listed.iter().zip(trainable) {
        let name = entry["name"].as_str().unwrap();
        let after = format!("after_20/{name}");
        let values = param.in_files(&param.value())?.to_f64()?;
        let norm = recorded.values(&format!("{after}/norm"))[0];
        let stride = entry["sample_stride"].as_u64().unwrap() as usize;
        let sample = recorded.values(&format!("{after}/sample"));
        let picked: Vec<f64> = values.iter().copied().step_by(stride).collect();
        assert_eq!(picked.len(), sample.len(), "{name}");
        let distance = picked.iter().zip(&sample).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        let length = sample.iter().map(|b| b * b).sum::<f64>().sqrt();
        let mut difference = distance / length;
        // ⟨w, r⟩ for random r of unit variance: its error has the size of the whole difference's norm.
        let probe_scale = recorded.number("/probe_scale");
        for (index, wanted) in recorded.values(&format!("{after}/probes")).into_iter().enumerate() {
            let salt = entry["probe_salt"].as_u64().unwrap() as u32 + index as u32;
            let probe = filled(values.len(), salt, probe_scale, 0.0);
            let found: f64 = values.iter().zip(&probe).map(|(w, r)| w * r).sum();
            difference = larger(difference, (found - wanted).abs() / norm);
        }
        if difference.is_nan() || difference > worst.weights {
            worst.weights = difference;
            worst.weight = name.to_owned();
        }
    }
    Ok(worst)
}

fn mnist_mlp() -> Recipe {
    let mut recipe = Recipe::named("mnist-mlp").unwrap();
    recipe.dropout = 0.0;
    recipe
}

fn dcgan64() -> Recipe {
    let mut recipe = Recipe::named("dcgan64").unwrap();
    assert_eq!(recipe.generator_update, GeneratorUpdate::Shared);
    recipe.generator_width = 8;
    recipe.discriminator_width = 8;
    recipe
}

fn check(name: &str, recipe: Recipe, dtype: DType, device: &Device, bound: f64) {
    let worst = replay(name, recipe, dtype, device).unwrap();
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{name} {dtype} on {}: {worst:?}", device.id());
    let agrees = worst.loss <= bound && worst.weights <= bound;
    assert!(agrees, "{name} in {dtype} on {}: {worst:?} exceeds {bound}", device.id());
}

#[test]
fn twenty_steps_of_mnist_mlp_equal_pytorch() {
    let device = belamy_cpu::cpu();
    check("parity_mnist_mlp", mnist_mlp(), DType::F64, &device, 1e-9);
    check("parity_mnist_mlp", mnist_mlp(), DType::F32, &device, 1e-4);
}

#[test]
fn twenty_steps_of_a_narrow_dcgan64_equal_pytorch() {
    let device = belamy_cpu::cpu();
    check("parity_dcgan64_narrow", dcgan64(), DType::F64, &device, 1e-9);
    check("parity_dcgan64_narrow", dcgan64(), DType::F32, &device, 1e-4);
}

#[test]
fn the_oracle_trains_like_the_fast_path() {
    check("parity_dcgan64_narrow", dcgan64(), DType::F64, &belamy_cpu::oracle(), 1e-9);
    check("parity_dcgan64_narrow", dcgan64(), DType::F32, &belamy_cpu::oracle(), 1e-4);
    check("parity_mnist_mlp", mnist_mlp(), DType::F32, &belamy_cpu::oracle(), 1e-4);
}

#[test]
fn a_label_off_by_a_ten_thousandth_is_noticed() {
    let mut recipe = mnist_mlp();
    recipe.labels.real = 0.9001;
    let worst = replay("parity_mnist_mlp", recipe, DType::F64, &belamy_cpu::cpu()).unwrap();
    assert!(worst.loss > 1e-6 && worst.weights > 1e-6, "{worst:?}");
}

//! Every network against PyTorch, which `tests/python/make_networks.py` made compute it once more on the same numbers.

use belamy_gan::networks;
use belamy_gan::recipe::{RECIPES, Recipe};
use belamy_nn::{Context, Network, weights};
use belamy_tensor::{DType, Device, Shape, Tensor};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

fn mix(mut h: u32) -> u32 {
    h ^= h >> 16;
    h = h.wrapping_mul(0x85eb_ca6b);
    h ^= h >> 13;
    h = h.wrapping_mul(0xc2b2_ae35);
    h ^ (h >> 16)
}

/// The filling that both sides share: uniform numbers hashed from their places.
fn filled(count: usize, salt: u32, scale: f64, offset: f64) -> Vec<f64> {
    let word = |i: usize| mix(mix(i as u32).wrapping_add(salt.wrapping_mul(2_654_435_761)));
    (0..count).map(|i| (f64::from(word(i) >> 8) / 16_777_216.0 - 0.5) * scale + offset).collect()
}

fn fill(network: &Network) {
    for (index, (name, param)) in network.params().into_iter().enumerate() {
        let meta = param.meta();
        let elements = meta.shape.elements();
        let (scale, offset) = match name.rsplit('.').next().unwrap() {
            "weight" => ((12.0 / (elements / meta.shape.dims()[0]) as f64).sqrt(), 0.0),
            "bias" | "beta" => (0.2, 0.0),
            "gamma" => (0.4, 1.0),
            "running_mean" => (0.4, 0.0),
            "running_variance" => (0.5, 1.0),
            "slope" => (0.2, 0.25),
            other => panic!("{other} has no filling"),
        };
        let values = filled(elements, index as u32 + 1, scale, offset);
        let device = param.value().device().clone();
        param.set(Tensor::from_f64(&values, meta.shape, meta.dtype, &device).unwrap());
    }
}

struct Golden {
    metadata: Value,
    tensors: BTreeMap<String, Tensor>,
}

impl Golden {
    fn read() -> Golden {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../../tests/golden/networks.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        let tensors = weights::from_bytes(&bytes, &belamy_cpu::oracle()).unwrap();
        Golden { metadata: header["__metadata__"].clone(), tensors }
    }

    /// A recipe with the sizes that PyTorch's network had, without dropout.
    fn recipe(&self, name: &str) -> Option<Recipe> {
        let sizes: Value = serde_json::from_str(self.metadata[name].as_str()?).unwrap();
        let mut recipe = Recipe::named(name).unwrap();
        // Some sizes only fit each other: they are set together.
        let mut tree = serde_json::to_value(&recipe).unwrap();
        for (key, value) in sizes.as_object().unwrap() {
            assert!(tree.get(key).is_some(), "recipe {name} has no {key}");
            tree[key] = value.clone();
        }
        recipe = serde_json::from_value(tree).unwrap();
        recipe.dropout = 0.0;
        recipe.check().unwrap();
        Some(recipe)
    }
}

/// The largest difference of a pass from PyTorch's, relative to the largest output; how many numbers were compared.
fn difference(golden: &Golden, name: &str, dtype: DType, device: &Device) -> Vec<(String, f64)> {
    let Some(recipe) = golden.recipe(name) else { return Vec::new() };
    let stride: usize = golden.metadata["stride"].as_str().unwrap().parse().unwrap();
    let networks = networks::all(recipe.system, &recipe.sizes(), device, dtype, 0).unwrap();
    let mut found = Vec::new();
    for network in &networks[..2] {
        let Some(part) = ["train", "evaluate"]
            .iter()
            .find(|mode| golden.tensors.contains_key(&format!("{name}/{}/{mode}", network.name())))
        else {
            continue;
        };
        assert_eq!(*part, "train");
        fill(network);
        let shape = Shape::new(&[&[2], network.input().dims()].concat()).unwrap();
        let values = filled(shape.elements(), 1000, 2.0, 0.0);
        let x = Tensor::from_f64(&values, shape, dtype, device).unwrap();
        let classes = recipe.classes.max(1) as u32;
        let labels = [1 % classes, 2 % classes];
        let labels = Tensor::from_slice(&labels, [2], device).unwrap();
        // Evaluation first: training moves the running statistics.
        for mode in ["evaluate", "train"] {
            let mut cx = match mode {
                "train" => Context::train(1, 0, 0, device).unwrap(),
                _ => Context::evaluate(1, device).unwrap(),
            };
            // This network's dropout, where its rate is no setting, is none in evaluation only.
            if mode == "train" && name == "conditional-signs64" && network.name() == "generator" {
                continue;
            }
            let labels = network.is_conditional().then_some(&labels);
            let y = network.forward(&x, labels, &mut cx).unwrap().to_f64().unwrap();
            let case = format!("{name}/{}/{mode}", network.name());
            let expected = golden.tensors[&case].to_f64().unwrap();
            let sampled: Vec<f64> = y.iter().step_by(stride).copied().collect();
            assert_eq!(sampled.len(), expected.len(), "{case}");
            let largest = expected.iter().fold(0.0f64, |most, value| most.max(value.abs()));
            let pairs = sampled.iter().zip(&expected);
            let worst = pairs.fold(0.0f64, |most, (a, b)| {
                let error = (a - b).abs();
                if error.is_nan() || error > most { error } else { most }
            });
            found.push((case, worst / largest));
        }
    }
    found
}

fn check(names: &[&str], dtype: DType, device: &Device, bound: f64) -> usize {
    let golden = Golden::read();
    let mut checks = 0;
    for name in names {
        for (case, error) in difference(&golden, name, dtype, device) {
            assert!(error <= bound, "{case} in {dtype}: {error:.1e} above {bound:.0e}");
            checks += 1;
        }
    }
    checks
}

const NARROW: [&str; 15] = [
    "sine",
    "mnist-mlp",
    "lines-upsample",
    "lines-transpose",
    "mnist-dcgan",
    "cifar-dcgan",
    "faces32",
    "faces64",
    "dcgan64",
    "signs-conditional",
    "mnist-conditional",
    "conditional-signs64",
    "pix2pix",
    "colorize",
    "cyclegan",
];

#[test]
fn forward_passes_are_pytorchs_in_f32() {
    let checks = check(&NARROW, DType::F32, &belamy_cpu::cpu(), 1e-5);
    assert_eq!(checks, 2 * 2 * NARROW.len() - 1 - 2);
    assert_eq!(check(&["srgan", "letters-failing"], DType::F32, &belamy_cpu::cpu(), 1e-5), 8);
}

#[test]
fn forward_passes_are_pytorchs_in_f64() {
    assert!(check(&NARROW, DType::F64, &belamy_cpu::cpu(), 1e-12) > 0);
    assert_eq!(check(&["srgan"], DType::F64, &belamy_cpu::cpu(), 1e-12), 4);
}

#[test]
fn every_system_is_in_the_file() {
    let golden = Golden::read();
    let systems: Vec<String> = RECIPES
        .iter()
        .filter(|entry| golden.metadata.get(entry.name).is_some())
        .map(|entry| format!("{:?}", Recipe::named(entry.name).unwrap().system))
        .collect();
    for entry in RECIPES {
        let system = format!("{:?}", Recipe::named(entry.name).unwrap().system);
        assert!(systems.contains(&system), "{system} ({}) has no golden pass", entry.name);
    }
}

//! Every network against PyTorch, which `tests/python/make_networks.py` made compute it once more on the same numbers.

mod common;

use belamy_gan::networks;
use belamy_gan::recipe::{RECIPES, Recipe};
use belamy_nn::Context;
use belamy_tensor::{DType, Device, Shape, Tensor};
use common::{Golden, fill, filled};
use serde_json::Value;

/// A recipe with the sizes that PyTorch's network had, without dropout.
fn recipe_of(golden: &Golden, name: &str) -> Option<Recipe> {
    let sizes: Value = serde_json::from_str(golden.metadata[name].as_str()?).unwrap();
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

/// The largest difference of a pass from PyTorch's, relative to the largest output; how many numbers were compared.
fn difference(golden: &Golden, name: &str, dtype: DType, device: &Device) -> Vec<(String, f64)> {
    let Some(recipe) = recipe_of(golden, name) else { return Vec::new() };
    let stride = golden.stride();
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
                _ => Context::evaluate(1, 0, device).unwrap(),
            };
            // This network's dropout, where its rate is no setting, is none in evaluation only.
            if mode == "train" && name == "conditional-signs64" && network.name() == "generator" {
                continue;
            }
            let labels = network.is_conditional().then_some(&labels);
            let y = network.forward(&x, labels, &mut cx).unwrap().to_f64().unwrap();
            let case = format!("{name}/{}/{mode}", network.name());
            let expected = golden.values(&case);
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
    let golden = Golden::read("networks");
    let mut checks = 0;
    for name in names {
        for (case, error) in difference(&golden, name, dtype, device) {
            assert!(error <= bound, "{case} in {dtype}: {error:.1e} above {bound:.0e}");
            checks += 1;
        }
    }
    checks
}

const NARROW: [&str; 16] = [
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
    "showers",
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
    let golden = Golden::read("networks");
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

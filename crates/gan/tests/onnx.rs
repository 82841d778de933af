//! Every network as an ONNX model, against ONNX Runtime: `tests/python/check_onnx.py` has onnx' checker look at each model
//! and runs it on the numbers that are put beside it: the oracle's, whose sums are in f64. In f32 two sums of one network may lie
//! further apart than what is allowed here.

mod common;
#[path = "common/recipes.rs"]
mod recipes;

use belamy_gan::networks;
use belamy_gan::recipe::RECIPES;
use belamy_nn::onnx::{Layout, OPSETS};
use belamy_nn::{Context, Network};
use belamy_tensor::{DType, Shape, Tensor};
use belamy_tests::require::skip;
use common::{fill, filled};
use std::path::Path;
use std::process::Command;

/// Samples in a batch: not what a model could have been made for.
const BATCH: usize = 3;

fn bytes(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|value| (*value as f32).to_le_bytes()).collect()
}

/// Images with their channels first, or what has none as it is.
fn channels_first(x: &Tensor) -> Tensor {
    if x.shape().rank() == 4 { x.permute(&[0, 3, 1, 2]).unwrap() } else { x.clone() }
}

/// Writes a network's models, and beside each the input, the labels and what Belamy makes of them. Returns how many.
fn put(network: &Network, classes: usize, name: &str, folder: &Path) -> usize {
    let device = network.params()[0].1.value().device().clone();
    let shape = Shape::new(&[&[BATCH], network.input().dims()].concat()).unwrap();
    let values = filled(shape.elements(), 1000, 2.0, 0.0);
    let x = Tensor::from_f64(&values, shape, DType::F32, &device).unwrap();
    let labels: Vec<u32> =
        (0..BATCH).map(|sample| ((sample + 1) % classes.max(1)) as u32).collect();
    let given = Tensor::from_slice(&labels, [BATCH], &device).unwrap();
    let given = network.is_conditional().then_some(&given);
    let mut cx = Context::evaluate(1, 0, &device).unwrap();
    let y = network.forward(&x, given, &mut cx).unwrap();
    let mut models = 0;
    for layout in [Layout::ChannelsFirst, Layout::ChannelsLast] {
        let (input, output, word) = match layout {
            Layout::ChannelsFirst => (channels_first(&x), channels_first(&y), "first"),
            Layout::ChannelsLast => (x.clone(), y.clone(), "last"),
        };
        for opset in OPSETS {
            let stem = folder.join(format!("{name}-{}-{opset}-{word}", network.name()));
            let model = network.onnx(opset, layout, &[("recipe", name)]).unwrap();
            std::fs::write(stem.with_extension("onnx"), model).unwrap();
            std::fs::write(stem.with_extension("input"), bytes(&input.to_f64().unwrap())).unwrap();
            std::fs::write(stem.with_extension("output"), bytes(&output.to_f64().unwrap()))
                .unwrap();
            if given.is_some() {
                let labels = labels.iter().flat_map(|&label| i64::from(label).to_le_bytes());
                std::fs::write(stem.with_extension("labels"), labels.collect::<Vec<u8>>()).unwrap();
            }
            models += 1;
        }
    }
    models
}

#[test]
fn every_network_is_what_onnx_runtime_makes_of_it() {
    let test = "every_network_is_what_onnx_runtime_makes_of_it";
    let python = std::env::var_os("BELAMY_PYTHON");
    let Some(python) = python else {
        return skip(test, "onnx", "BELAMY_PYTHON names no Python with onnxruntime");
    };
    let folder = recipes::temporary("onnx");
    let mut models = 0;
    for entry in RECIPES {
        let mut recipe = recipes::small(entry.name);
        // An odd number of blocks and channels tells axes apart.
        if recipe.generator_width > 0 {
            recipe.generator_width = 3;
        }
        let device = belamy_cpu::oracle();
        let networks =
            networks::all(recipe.system, &recipe.sizes(), &device, DType::F32, 1).unwrap();
        for network in &networks {
            fill(network);
            models += put(network, recipe.classes, entry.name, &folder);
        }
    }
    // Weights that are divided by their norms.
    let mut recipe = recipes::small("dcgan64");
    recipe.set("regularizers.spectral_norm=true").unwrap();
    let (_, discriminator) =
        networks::build(recipe.system, &recipe.sizes(), &belamy_cpu::oracle(), DType::F32, 1)
            .unwrap();
    models += put(&discriminator, 0, "spectral", &folder);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/python/check_onnx.py");
    let done = Command::new(python).arg(script).arg(&folder).output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    assert!(said.contains(&format!("{models} models")), "{said}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_onnx_has_no_operator_for_is_refused_by_its_name() {
    let device = belamy_cpu::oracle();
    let refused = |setting: &str, which: usize| {
        let mut recipe = recipes::small("dcgan64");
        recipe.set(setting).unwrap();
        let networks =
            networks::all(recipe.system, &recipe.sizes(), &device, DType::F32, 1).unwrap();
        networks[which].onnx(17, Layout::ChannelsFirst, &[]).unwrap_err().to_string()
    };
    let why = refused("regularizers.minibatch_stddev=2", 1);
    assert!(why.contains("minibatch_stddev_1") && why.contains("Minibatch deviation"), "{why}");
    let why = refused("regularizers.generator_dropout=0.5", 0);
    assert!(why.contains("dropout_1"), "{why}");
    let recipe = recipes::small("sine");
    let networks = networks::all(recipe.system, &recipe.sizes(), &device, DType::F32, 1).unwrap();
    let why = networks[0].onnx(16, Layout::ChannelsFirst, &[]).unwrap_err().to_string();
    assert!(why.contains("13, 17 and 21"), "{why}");
}

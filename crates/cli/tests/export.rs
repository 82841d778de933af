//! `belamy export`: the model draws what `belamy sample` draws.

mod common;

use common::{Folder, fails, skip, succeeds, tensors};
use std::path::Path;
use std::process::Command;

#[test]
fn an_exported_generator_draws_the_samples_of_the_run() {
    let folder = Folder::new("export");
    let run = folder.at("run");
    // Averaged weights are what samples are drawn from.
    succeeds(&format!("train mnist-mlp --batch 4 --steps 3 --set average_decay=0.9 --out {run}"));
    let numbers = folder.at("samples.safetensors");
    succeeds(&format!("sample {run} --n 5 --device oracle --out {numbers}"));
    let models = folder.path().join("models");
    std::fs::create_dir(&models).unwrap();
    let model = models.join("digits.onnx");
    let said = succeeds(&format!("export {run} --out {}", model.display()));
    assert_eq!(said.trim_end(), model.display().to_string());
    assert!(std::fs::read(&model).unwrap().windows(9).any(|bytes| bytes == b"mnist-mlp"));
    fails(
        &format!("export {run} --out x.onnx --network discriminator"),
        2,
        &["there is generator"],
    );
    fails(&format!("export {run} --out x.onnx --opset 12"), 1, &["13, 17 and 21"]);
    fails(&format!("export {run} --out x.onnx --layout nwhc"), 2, &["nhwc"]);
    fails(&format!("export {} --out x.onnx", folder.at("none")), 1, &["none"]);
    let Some(python) = std::env::var_os("BELAMY_PYTHON") else {
        return skip(
            "an exported generator",
            "BELAMY_PYTHON names no Python with onnxruntime",
            "onnx",
        );
    };
    let tensors = tensors(numbers);
    for (tensor, ending) in [("z", "input"), ("image", "output")] {
        let bytes: Vec<u8> =
            tensors[tensor].1.iter().flat_map(|value| value.to_le_bytes()).collect();
        std::fs::write(model.with_extension(ending), bytes).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/python/check_onnx.py");
    let done = Command::new(python).arg(script).arg(&models).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(String::from_utf8_lossy(&done.stdout).contains("1 models"));
}

//! The WebGPU device as the program meets it: machines without an adapter, and what no adapter can do.
#![cfg(feature = "webgpu")]

mod common;

use belamy_gan::data::image::Image;
use common::{Folder, PROGRAM, Ran, skip, succeeds};
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs the program where Vulkan finds no driver.
fn without_adapter(words: &str) -> Ran {
    let mut command = Command::new(PROGRAM);
    command.args(words.split_whitespace()).stdin(Stdio::null());
    command.env("VK_ICD_FILENAMES", "/nonexistent").env("VK_DRIVER_FILES", "/nonexistent");
    command.output().unwrap().into()
}

/// Whether this machine has an adapter.
fn has_adapter() -> bool {
    let devices: serde_json::Value = serde_json::from_str(&succeeds("devices --json")).unwrap();
    let is_adapter =
        |device: &serde_json::Value| device["name"] == "webgpu" && device["available"] == true;
    devices.as_array().unwrap().iter().any(is_adapter)
}

#[test]
fn a_run_in_f16_says_so_and_is_resumed_in_f16() {
    if !has_adapter() {
        return skip("training in f16", "there is no adapter", "webgpu");
    }
    let folder = Folder::new("f16");
    let run = |words: &str| {
        let ran = common::line(words);
        // Few adapters have none.
        let lacks = ran.stderr.contains("has no f16 in shaders");
        assert!(ran.code == Some(if lacks { 1 } else { 0 }), "{words}: {ran:?}");
        !lacks
    };
    let (half, single) = (folder.at("half"), folder.at("single"));
    let words = "train sine --device webgpu --log-every 1 --sample-every 0 --checkpoint-every 2";
    if !run(&format!("{words} --steps 2 --precision f16 --out {half}")) {
        return skip("training in f16", "the adapter has no f16", "webgpu");
    }
    run(&format!("{words} --steps 4 --precision f16 --out {half}-whole"));
    run(&format!("{words} --steps 4 --out {single}"));
    // The precision is the run's own.
    run(&format!("train --resume {half} --steps 4"));
    let read = |file: &str| std::fs::read(file).unwrap();
    let plan = |run: &str| String::from_utf8(read(&format!("{run}/run.toml"))).unwrap();
    assert!(plan(&half).contains("precision = \"f16\""), "{}", plan(&half));
    assert!(plan(&single).contains("precision = \"f32\""), "{}", plan(&single));
    let weights =
        |run: &str| read(&format!("{run}/checkpoints/step-00000004/generator.safetensors"));
    assert!(weights(&half) == weights(&format!("{half}-whole")), "resumed in another precision");
    assert!(weights(&half) != weights(&single), "f16 changed nothing");
}

#[cfg(target_os = "linux")]
#[test]
fn without_an_adapter_the_program_says_how_to_get_one() {
    let folder = Folder::new("no-adapter");
    let ran = without_adapter("devices");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let line = ran.stdout.lines().find(|line| line.starts_with("webgpu")).unwrap();
    assert!(line.contains("missing") && line.contains("mesa-vulkan-drivers"), "{line}");
    for words in ["train sine --device webgpu --out", "train sine --device webgpu:1 --out"] {
        let out = folder.at("run");
        let ran = without_adapter(&format!("{words} {out}"));
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.starts_with("belamy: "), "{ran:?}");
        assert!(ran.stderr.contains("mesa-vulkan-drivers"), "{ran:?}");
        assert!(!Path::new(&out).exists());
    }
}

#[test]
fn more_than_the_adapter_holds_ends_training_with_code_1() {
    if !has_adapter() {
        return skip("more than an adapter holds", "there is no adapter", "webgpu");
    }
    let folder = Folder::new("too-much");
    let run = folder.at("run");
    // The driver may have lines of its own before the program's last one.
    let ran = common::line(&format!("train sine --device webgpu:99 --out {run}"));
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let message = ran.stderr.lines().last().unwrap();
    assert!(message.contains("counted from 0") && message.contains("belamy devices"), "{ran:?}");
    // Three gigabytes of real images, and then four in a hidden layer, which is more than can be bound.
    let words = ["after step 0: ", "device webgpu: ", " bytes were asked for"];
    let ran = common::line(&format!("train mnist-mlp --device webgpu --batch 1048576 --out {run}"));
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(!ran.stderr.contains("panicked"), "{ran:?}");
    let message = ran.stderr.lines().last().unwrap();
    assert!(
        message.starts_with("belamy: ") && words.iter().all(|word| message.contains(word)),
        "{ran:?}"
    );
}

/// The pixels of a PNG file.
fn pixels(path: &str) -> Vec<u8> {
    Image::decode(path, &std::fs::read(path).unwrap()).unwrap().bytes
}

#[test]
fn samples_of_a_checkpoint_from_the_cpu_are_the_cpus() {
    if !has_adapter() {
        return skip("samples on webgpu", "there is no adapter", "webgpu");
    }
    let folder = Folder::new("samples");
    for (recipe, batch) in
        [("mnist-mlp", 32), ("lines-upsample", 4), ("lines-transpose", 4), ("mnist-dcgan", 4)]
    {
        let run = folder.at(recipe);
        succeeds(&format!("train {recipe} --steps 3 --batch {batch} --sample-every 0 --out {run}"));
        let sampled = |device: &str| {
            let out = folder.at(&format!("{recipe}-{device}.png"));
            succeeds(&format!("sample {run} --n 9 --seed 4 --device {device} --out {out}"));
            pixels(&out)
        };
        let (cpu, webgpu) = (sampled("cpu"), sampled("webgpu"));
        assert_eq!(cpu.len(), webgpu.len());
        let most = cpu.iter().zip(&webgpu).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(most <= 1, "{recipe}: a pixel differs by {most} of 255");
        let (least, greatest) = (cpu.iter().min().unwrap(), cpu.iter().max().unwrap());
        assert!(greatest - least > 20, "{recipe}: there is nothing to see in the samples");
    }
}

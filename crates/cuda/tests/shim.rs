//! The kernels executed on the processor, through the case table, against the oracle.

mod common;

use belamy_cuda::shim;
use belamy_cuda::source::{SOURCES, Source};
use belamy_tensor::kernel::KernelId;
use belamy_tensor::{Device, Tensor};
use belamy_tests::plan::run;
use belamy_tests::{Mode, ops};
use common::{
    MODES, assert_clean, check_bad_steps, check_recording, check_tensor_cores, check_training,
    large_cases, say, skip, subject,
};
use std::path::Path;

fn folder() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// Whether the kernels can be run here.
fn can_run(test: &str) -> bool {
    if !shim::present() {
        skip(test, "cxx", "there is no C++ compiler");
    }
    shim::present()
}

#[test]
fn every_kernel_agrees_with_the_oracle_and_with_definitions() {
    if !can_run("every_kernel_agrees_with_the_oracle_and_with_definitions") {
        return;
    }
    let subject = subject(shim::open(folder(), &[]).unwrap());
    let report = run(&ops::all_cases(), &subject, &belamy_cpu::oracle(), &MODES);
    assert_clean("CUDA kernels on the processor", &report);
}

#[test]
fn fused_multiply_adds_change_no_verdict() {
    if !can_run("fused_multiply_adds_change_no_verdict") {
        return;
    }
    // NVRTC contracts a product and a sum wherever it can; here the processor does.
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("fma") {
        let cuda = shim::open(folder(), &["-mfma", "-ffp-contract=fast"]).unwrap();
        let modes = [Mode::Parity, Mode::ParityGradient];
        let report = run(&ops::all_cases(), &subject(cuda), &belamy_cpu::oracle(), &modes);
        return assert_clean("CUDA kernels on the processor, contracted", &report);
    }
    say("skipped: fused_multiply_adds_change_no_verdict (the processor has none that are known)");
}

#[test]
fn convolutions_and_products_of_sampled_shapes_agree() {
    if !can_run("convolutions_and_products_of_sampled_shapes_agree") {
        return;
    }
    let mut cases = ops::conv2d::sampled(2, 24);
    cases.extend(ops::matmul::sampled(2, 24));
    let modes = [Mode::Parity, Mode::ParityGradient];
    let subject = subject(shim::open(folder(), &[]).unwrap());
    let report = run(&cases, &subject, &belamy_cpu::oracle(), &modes);
    assert_clean("sampled convolutions and products", &report);
}

#[test]
fn products_in_every_tile_agree() {
    if !can_run("products_in_every_tile_agree") {
        return;
    }
    let (cuda, entries) = shim::open_noting(folder()).unwrap();
    let modes = [Mode::Parity, Mode::Twice];
    let report = run(&large_cases(), &subject(cuda.clone()), &belamy_cpu::oracle(), &modes);
    assert_clean("large tiles and split depths", &report);
    check_tensor_cores(&cuda, 2);
    // A tile that no case is planned in would be judged by nobody.
    let run = entries.lock().unwrap();
    let families = ["matmul", "conv2d"].map(|family| Source::of(family).unwrap().entries());
    let left_out: Vec<&str> =
        families.concat().into_iter().filter(|&entry| !run.contains_key(entry)).collect();
    assert!(left_out.is_empty(), "no case runs {left_out:?}");
}

#[test]
fn parameter_structs_are_laid_out_as_they_are_packed() {
    if !can_run("parameter_structs_are_laid_out_as_they_are_packed") {
        return;
    }
    for &kernel in KernelId::ALL {
        let layout = kernel.layout();
        let words = layout.integers.iter().map(|(_, words)| *words);
        let mut at = 0;
        let mut wanted = Vec::new();
        for words in words.chain(layout.scalars.iter().map(|_| 1)) {
            wanted.push(4 * at as u32);
            at += words;
        }
        wanted.push(4 * at as u32);
        let found = shim::struct_layout(folder(), kernel).unwrap();
        assert_eq!(found, wanted, "{} ({})", kernel.name(), layout.name);
    }
}

#[test]
fn families_are_those_of_the_list() {
    let mut wanted: Vec<&str> = KernelId::ALL.iter().map(|kernel| kernel.family()).collect();
    wanted.dedup();
    let found: Vec<&str> = SOURCES.iter().map(|source| source.family).collect();
    assert_eq!(found, wanted);
}

#[test]
fn a_recorded_step_replays_what_steps_do() {
    if can_run("a_recorded_step_replays_what_steps_do") {
        check_recording(&shim::open(folder(), &[]).unwrap());
    }
}

#[test]
fn whole_training_steps_are_replayed() {
    if can_run("whole_training_steps_are_replayed") {
        check_training(&shim::open(folder(), &[]).unwrap());
    }
}

#[test]
fn a_bad_step_among_replayed_ones_is_found() {
    if can_run("a_bad_step_among_replayed_ones_is_found") {
        check_bad_steps(&shim::open(folder(), &[]).unwrap());
    }
}

#[test]
fn what_the_device_does_not_do_is_an_error() {
    if !can_run("what_the_device_does_not_do_is_an_error") {
        return;
    }
    let device = Device::new(shim::open(folder(), &[]).unwrap());
    let refused = Tensor::from_slice(&[1.0f64], [1], &device).unwrap_err().to_string();
    assert!(refused.contains("f64"), "{refused}");
    // Where there is no GPU, that is a sentence and never a panic; where there is one, it is listed.
    match belamy_cuda::devices() {
        Ok(found) => assert!(belamy_cuda::open(found.len() as u32).is_err()),
        Err(sentence) => {
            assert!(sentence.contains("CUDA"), "{sentence}");
            assert_eq!(belamy_cuda::open(0).unwrap_err(), sentence);
        }
    }
}

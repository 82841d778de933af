//! The kernels on a GPU, where there is one: the case table, the large tiles, a recorded step.
//!
//! Skipped by name where there is none, and required by `BELAMY_REQUIRE=cuda`. Under `compute-sanitizer` the same tests
//! look for races and reads of what was never written.

mod common;

use belamy_tensor::{Backend, DType, Device, Tensor};
use belamy_tests::plan::run;
use belamy_tests::{Mode, ops};
use common::{
    MODES, assert_clean, check_bad_steps, check_recording, check_tensor_cores, check_training, gpu,
    large_cases, say, subject,
};

#[test]
fn every_kernel_agrees_with_the_oracle_and_with_definitions() {
    let Some(cuda) = gpu("every_kernel_agrees_with_the_oracle_and_with_definitions") else {
        return;
    };
    let mut cases = ops::all_cases();
    cases.extend(ops::conv2d::sampled(3, 40));
    cases.extend(ops::matmul::sampled(3, 40));
    let report = run(&cases, &subject(cuda), &belamy_cpu::oracle(), &MODES);
    assert_clean("CUDA kernels on a GPU", &report);
}

#[test]
fn large_tiles_and_split_depths_agree() {
    let Some(cuda) = gpu("large_tiles_and_split_depths_agree") else { return };
    let modes = [Mode::Parity, Mode::Twice];
    let report = run(&large_cases(), &subject(cuda), &belamy_cpu::oracle(), &modes);
    assert_clean("large tiles and split depths on a GPU", &report);
}

#[test]
fn tensor_cores_multiply_what_was_rounded() {
    let Some(cuda) = gpu("tensor_cores_multiply_what_was_rounded") else { return };
    check_tensor_cores(&cuda, 3);
}

#[test]
fn a_recorded_step_replays_what_steps_do() {
    if let Some(cuda) = gpu("a_recorded_step_replays_what_steps_do") {
        check_recording(&cuda);
    }
}

#[test]
fn whole_training_steps_are_replayed() {
    if let Some(cuda) = gpu("whole_training_steps_are_replayed") {
        check_training(&cuda);
    }
}

#[test]
fn a_bad_step_among_replayed_ones_is_found() {
    if let Some(cuda) = gpu("a_bad_step_among_replayed_ones_is_found") {
        check_bad_steps(&cuda);
    }
}

#[test]
fn what_does_not_fit_is_an_error_and_the_device_goes_on() {
    let Some(cuda) = gpu("what_does_not_fit_is_an_error_and_the_device_goes_on") else { return };
    // 2⁴² elements are 16 TiB.
    let message = cuda.alloc(DType::F32, 1 << 42).unwrap_err().to_string();
    assert!(message.contains("16777216 MiB were asked for"), "{message}");
    say(&message);
    let device = Device::new(cuda);
    let values: Vec<f32> = (0..3_000_000).map(|index| index as f32).collect();
    let tensor = Tensor::from_slice(&values, [3, 1_000_000], &device).unwrap();
    // Longer than the two halves of pinned memory together, there and back.
    assert_eq!(tensor.to_vec::<f32>().unwrap(), values);
    let turned = tensor.permute(&[1, 0]).unwrap().to_vec::<f32>().unwrap();
    assert_eq!(turned[..4], [0.0, 1_000_000.0, 2_000_000.0, 1.0]);
}

//! Kernels on many tensors, where an adapter can bind several at once: the same bits as one tensor at a time, in fewer
//! dispatches, however many tensors there are.

mod common;

use belamy_tensor::ops::finite::count_non_finite;
use belamy_tensor::ops::optimizer::{
    AdamOptions, EpsilonForm, RmspropOptions, SgdOptions, adam, global_norm, rmsprop, sgd,
};
use belamy_tensor::{Device, Tensor};
use belamy_webgpu::{Options, WebGpu};
use common::{open, say};

/// Lengths about the sizes of groups and pieces, one of nothing, and some of one number.
const LENGTHS: [usize; 8] = [257, 1, 0, 256, 9001, 255, 1, 4096];

/// Tensors of the first `count` lengths, over and over, of which no two are alike.
fn tensors(count: usize, phase: usize, device: &Device) -> Vec<Tensor> {
    let number = |tensor: usize, i: usize| ((tensor * 31 + i * 7 + phase) as f32 * 0.37).sin();
    LENGTHS
        .iter()
        .cycle()
        .take(count)
        .enumerate()
        .map(|(tensor, &length)| {
            let numbers: Vec<f32> = (0..length).map(|i| number(tensor, i)).collect();
            Tensor::from_slice(&numbers, [length], device).unwrap()
        })
        .collect()
}

fn bits(tensors: &[Tensor]) -> Vec<Vec<u32>> {
    let bits = |tensor: &Tensor| tensor.to_vec::<f32>().unwrap().into_iter().map(f32::to_bits);
    tensors.iter().map(|tensor| bits(tensor).collect()).collect()
}

/// What each rule makes of `count` parameters, bit by bit.
fn updates(count: usize, device: &Device) -> Vec<Vec<Vec<u32>>> {
    let lists: Vec<Vec<Tensor>> = (0..4)
        .map(|list| {
            let tensors = tensors(count, 100 * list, device);
            // Mean squares are not negative.
            tensors.iter().map(|t| if list < 2 { t.clone() } else { t.square().unwrap() }).collect()
        })
        .collect();
    let list = |index: usize| lists[index].iter().collect::<Vec<&Tensor>>();
    let control = Tensor::from_slice(&[3.0f32, 0.125], [2], device).unwrap();
    let mut results = Vec::new();
    for epsilon_form in [EpsilonForm::Pytorch, EpsilonForm::Keras] {
        let options = AdamOptions { epsilon_form, weight_decay: 0.25, ..AdamOptions::default() };
        let new = adam(&control, &list(0), &list(1), &list(2), &list(3), options).unwrap();
        results.push(bits(&[new.params, new.first_moments, new.second_moments].concat()));
        for momentum in [0.0, 0.75] {
            let velocities = if momentum > 0.0 { list(3) } else { Vec::new() };
            let options = RmspropOptions { momentum, epsilon_form, ..RmspropOptions::default() };
            let new =
                rmsprop(&control, &list(0), &list(1), &list(2), &velocities, options).unwrap();
            results.push(bits(&[new.params, new.mean_squares, new.velocities].concat()));
        }
    }
    for momentum in [0.0, 0.75] {
        let velocities = if momentum > 0.0 { list(3) } else { Vec::new() };
        let options = SgdOptions { momentum, nesterov: momentum > 0.0, weight_decay: 0.25 };
        let new = sgd(&control, &list(0), &list(1), &velocities, options).unwrap();
        results.push(bits(&[new.params, new.velocities].concat()));
    }
    results
}

/// Devices that bind as much as they can, folded or not, and one that binds as much as any.
fn devices(tested: &str) -> Option<[Device; 3]> {
    let (wide, _) = open(tested, Options { canaries: true, ..Options::default() })?;
    let (folded, _) = open(tested, Options { most_groups: Some(2), ..Options::default() })?;
    let (portable, _) = open(tested, Options { portable: true, ..Options::default() })?;
    Some([wide, folded, portable])
}

#[test]
fn updates_of_any_number_of_parameters_are_those_of_each() {
    let Some(devices) = devices("updates of many parameters") else { return };
    for count in 1..=8 {
        let [wide, folded, portable] = devices.each_ref().map(|device| updates(count, device));
        assert!(wide == portable, "{count} parameters");
        assert!(folded == portable, "{count} parameters, groups folded");
    }
}

#[test]
fn sums_over_any_number_of_tensors_are_those_of_each() {
    let Some(devices) = devices("sums over many tensors") else { return };
    for count in [1, 2, 8, 26, 27, 28, 29, 55] {
        let norms = devices.each_ref().map(|device| {
            global_norm(&tensors(count, 5, device).iter().collect::<Vec<_>>()).unwrap()
        });
        let [wide, folded, portable] = bits(&norms).try_into().unwrap();
        assert!(wide == portable && folded == portable, "the norm of {count} tensors");
        let exact: f64 = tensors(count, 5, &devices[0])
            .iter()
            .flat_map(|tensor| tensor.to_f64().unwrap())
            .map(|x| x * x)
            .sum();
        assert!((norms[0].item().unwrap() / exact.sqrt() - 1.0).abs() < 1e-6);
    }
}

#[test]
fn a_number_that_is_not_finite_is_found_in_any_of_many_tensors() {
    let Some(devices) = devices("the count over many tensors") else { return };
    for device in devices {
        for count in [1, 2, 27, 28, 55] {
            let sound = tensors(count, 5, &device);
            let counted = |tensors: &[Tensor]| {
                count_non_finite(&tensors.iter().collect::<Vec<_>>()).unwrap().item().unwrap()
            };
            assert_eq!(counted(&sound), 0.0);
            let places = (0..count).filter(|&tensor| sound[tensor].shape().elements() > 0);
            for (bad, tensor) in places.enumerate() {
                // The last number of a tensor, then also the first.
                let mut numbers = sound[tensor].to_vec::<f32>().unwrap();
                *numbers.last_mut().unwrap() = if bad % 2 == 0 { f32::NAN } else { f32::INFINITY };
                numbers[0] = f32::NEG_INFINITY;
                let wanted = numbers.iter().filter(|number| !number.is_finite()).count();
                let mut tensors = sound.clone();
                tensors[tensor] = Tensor::from_slice(&numbers, [numbers.len()], &device).unwrap();
                assert_eq!(counted(&tensors), wanted as f64, "tensor {tensor} of {count}");
            }
        }
    }
}

#[test]
fn what_can_be_bound_together_is_dispatched_together() {
    let dispatches = |gpu: &WebGpu, device: &Device| {
        let before: u64 = gpu.dispatches().iter().map(|(_, count)| count).sum();
        updates(8, device);
        count_non_finite(&tensors(28, 0, device).iter().collect::<Vec<_>>()).unwrap();
        let mut made = gpu.dispatches();
        let all: u64 = made.iter().map(|(_, count)| count).sum();
        made.retain(|(entry, _)| entry.starts_with("adam") || entry.starts_with("count"));
        (made, all - before)
    };
    let Some((device, portable)) =
        open("dispatches of many tensors", Options { portable: true, ..Options::default() })
    else {
        return;
    };
    let (one_by_one, all) = dispatches(&portable, &device);
    // Seven of eight parameters have elements; so have 24 or 25 of 28 tensors.
    assert_eq!(one_by_one[0], ("adam", 2 * 7));
    let Some((device, gpu)) = open("dispatches of many tensors", Options::default()) else {
        return;
    };
    let (together, fewer) = dispatches(&gpu, &device);
    say(format_args!("{all} dispatches of one tensor, {fewer} of several: {together:?}"));
    if gpu.binds_many() {
        let wanted = [
            ("adam_wide", 2 * 3),
            ("count_non_finite", 1),
            ("count_non_finite_part", 1),
            ("count_non_finite_wide", 1),
        ];
        assert_eq!(together, wanted);
    }
}

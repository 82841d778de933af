//! Steps worked by hand, chunks and lists, thread counts, refusals.

use crate::{cpu, poisoned};
use belamy_tensor::ops::optimizer::{
    AdamOptions, EpsilonForm, RmspropOptions, SgdOptions, adam, global_norm, rmsprop, sgd,
};
use belamy_tensor::ops::random::{RandomKey, counter, normal, uniform};
use belamy_tensor::{DType, Device, Tensor};

fn vector(values: &[f64], device: &Device) -> Tensor {
    Tensor::from_slice(values, [values.len()], device).unwrap()
}

fn assert_close(found: &Tensor, wanted: &[f64]) {
    let found = found.to_f64().unwrap();
    let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-14 * (1.0 + b.abs());
    assert!(
        found.len() == wanted.len() && found.iter().zip(wanted).all(close),
        "{found:?} {wanted:?}"
    );
}

#[test]
fn two_steps_of_adam_by_hand() {
    let device = poisoned(true);
    // β₁ = 1/2, β₂ = 3/4, ε = 1/2, η = 1/10; g = 2, then 4. Step 1: m = 1, v = 1; step 2: m = 5/2, v = 19/4.
    let options = AdamOptions { beta_1: 0.5, beta_2: 0.75, epsilon: 0.5, ..AdamOptions::default() };
    for form in [EpsilonForm::Pytorch, EpsilonForm::Keras] {
        let options = AdamOptions { epsilon_form: form, ..options };
        let step = |t: f64, p: f64, g: f64, m: f64, v: f64| {
            let control = vector(&[t, 0.1], &device);
            let [p, g, m, v] = [p, g, m, v].map(|value| vector(&[value], &device));
            adam(&control, &[&p], &[&g], &[&m], &[&v], options).unwrap()
        };
        let first = step(1.0, 1.0, 2.0, 0.0, 0.0);
        assert_close(&first.first_moments[0], &[1.0]);
        assert_close(&first.second_moments[0], &[1.0]);
        // Corrected: m̂ = 1 / (1/2) = 2, v̂ = 1 / (1/4) = 4.
        let wanted = match form {
            EpsilonForm::Pytorch => 1.0 - 0.1 * 2.0 / (2.0 + 0.5),
            EpsilonForm::Keras => 1.0 - 0.1 * (0.25f64.sqrt() / 0.5) * 1.0 / (1.0 + 0.5),
        };
        assert_close(&first.params[0], &[wanted]);
        let second = step(2.0, wanted, 4.0, 1.0, 1.0);
        assert_close(&second.first_moments[0], &[2.5]);
        assert_close(&second.second_moments[0], &[4.75]);
        // 1 − β₁² = 3/4, 1 − β₂² = 7/16.
        let wanted = match form {
            EpsilonForm::Pytorch => wanted - 0.1 * (2.5 / 0.75) / ((4.75f64 / 0.4375).sqrt() + 0.5),
            EpsilonForm::Keras => {
                wanted - 0.1 * (0.4375f64.sqrt() / 0.75) * 2.5 / (4.75f64.sqrt() + 0.5)
            }
        };
        assert_close(&second.params[0], &[wanted]);
    }
}

#[test]
fn weight_decay_joins_the_gradient() {
    let device = poisoned(true);
    let control = vector(&[1.0, 0.1], &device);
    let (p, g, zero) = (vector(&[4.0], &device), vector(&[1.0], &device), vector(&[0.0], &device));
    let options = AdamOptions { weight_decay: 0.25, ..AdamOptions::default() };
    let update = adam(&control, &[&p], &[&g], &[&zero], &[&zero], options).unwrap();
    assert_close(&update.first_moments[0], &[0.1 * 2.0]);
    let options = SgdOptions { weight_decay: 0.25, ..SgdOptions::default() };
    let update = sgd(&control, &[&p], &[&g], &[], options).unwrap();
    assert_close(&update.params[0], &[4.0 - 0.1 * 2.0]);
    let options = RmspropOptions { weight_decay: 0.25, ..RmspropOptions::default() };
    let update = rmsprop(&control, &[&p], &[&g], &[&zero], &[], options).unwrap();
    assert_close(&update.mean_squares[0], &[0.01 * 4.0]);
}

#[test]
fn two_steps_of_descent_with_momentum_by_hand() {
    let device = poisoned(true);
    let control = vector(&[1.0, 0.1], &device);
    for nesterov in [false, true] {
        let options = SgdOptions { momentum: 0.5, nesterov, weight_decay: 0.0 };
        let step = |p: &Tensor, g: f64, u: &Tensor| {
            sgd(&control, &[p], &[&vector(&[g], &device)], &[u], options).unwrap()
        };
        // u = 2, then 0.5 · 2 + 4 = 5; Nesterov moves by 2 + 1 = 3, then 4 + 2.5 = 6.5.
        let first = step(&vector(&[1.0], &device), 2.0, &vector(&[0.0], &device));
        assert_close(&first.velocities[0], &[2.0]);
        assert_close(&first.params[0], &[if nesterov { 0.7 } else { 0.8 }]);
        let second = step(&first.params[0], 4.0, &first.velocities[0]);
        assert_close(&second.velocities[0], &[5.0]);
        assert_close(&second.params[0], &[if nesterov { 0.05 } else { 0.3 }]);
    }
}

#[test]
fn steps_of_rmsprop_by_hand() {
    let device = poisoned(true);
    let control = vector(&[1.0, 0.1], &device);
    let (p, g) = (vector(&[1.0], &device), vector(&[2.0], &device));
    let (s, u) = (vector(&[4.0], &device), vector(&[3.0], &device));
    // s = 3/4 · 4 + 1/4 · 4 = 4.
    let options = RmspropOptions { rho: 0.75, epsilon: 0.5, ..RmspropOptions::default() };
    for (form, denominator) in [(EpsilonForm::Pytorch, 2.5), (EpsilonForm::Keras, 4.5f64.sqrt())] {
        let options = RmspropOptions { epsilon_form: form, ..options };
        let plain = rmsprop(&control, &[&p], &[&g], &[&s], &[], options).unwrap();
        assert_close(&plain.mean_squares[0], &[4.0]);
        assert_close(&plain.params[0], &[1.0 - 0.1 * 2.0 / denominator]);
        assert!(plain.velocities.is_empty());
        let options = RmspropOptions { momentum: 0.5, ..options };
        let moved = rmsprop(&control, &[&p], &[&g], &[&s], &[&u], options).unwrap();
        let (velocity, step) = match form {
            EpsilonForm::Pytorch => (1.5 + 2.0 / denominator, 0.1 * (1.5 + 2.0 / denominator)),
            EpsilonForm::Keras => (1.5 + 0.2 / denominator, 1.5 + 0.2 / denominator),
        };
        assert_close(&moved.velocities[0], &[velocity]);
        assert_close(&moved.params[0], &[1.0 - step]);
    }
}

/// Tensors of several lengths, chunks and shapes, one of them empty.
fn many(stream: u32, dtype: DType, device: &Device) -> Vec<Tensor> {
    let step = counter(0, 0, device).unwrap();
    [40_001usize, 0, 1, 16_384, 17]
        .iter()
        .enumerate()
        .map(|(index, &length)| {
            let key = RandomKey { seed: index as u64, stream };
            uniform([length], 0.1, 1.0, dtype, key, &step).unwrap()
        })
        .collect()
}

fn seen(tensors: &[Tensor]) -> Vec<&Tensor> {
    tensors.iter().collect()
}

#[test]
fn every_element_of_every_tensor_is_updated_by_its_own_operands() {
    let device = poisoned(true);
    let [p, g, m, v] = [0, 1, 2, 3].map(|stream| many(stream, DType::F64, &device));
    let control = vector(&[3.0, 0.01], &device);
    let options = AdamOptions::default();
    let update = adam(&control, &seen(&p), &seen(&g), &seen(&m), &seen(&v), options).unwrap();
    for index in 0..p.len() {
        let [p, g, m, v] = [&p, &g, &m, &v].map(|list| &list[index]);
        let first = &m.mul_scalar(0.9).unwrap() + &g.mul_scalar(0.1).unwrap();
        let second = &v.mul_scalar(0.999).unwrap() + &(g * g).mul_scalar(0.001).unwrap();
        let corrected = second.mul_scalar(1.0 / (1.0 - 0.999f64.powi(3))).unwrap();
        let deviation = corrected.sqrt().unwrap().add_scalar(1e-8).unwrap();
        let step = first.mul_scalar(0.01 / (1.0 - 0.9f64.powi(3))).unwrap();
        assert_close(&update.params[index], &(p - &(&step / &deviation)).to_f64().unwrap());
        assert_close(&update.first_moments[index], &first.to_f64().unwrap());
        assert_close(&update.second_moments[index], &second.to_f64().unwrap());
    }
    // The old tensors are what they were.
    assert_eq!(p[0].to_f64().unwrap(), many(0, DType::F64, &device)[0].to_f64().unwrap());
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let run = || {
        let device = cpu();
        let [p, g, m, v] = [0, 1, 2, 3].map(|stream| many(stream, DType::F32, &device));
        let control = Tensor::from_slice(&[3.0f32, 0.01], [2], &device).unwrap();
        let update =
            adam(&control, &seen(&p), &seen(&g), &seen(&m), &seen(&v), AdamOptions::default());
        let mut results = update.unwrap().params;
        results.push(global_norm(&seen(&g)).unwrap());
        let values = results.iter().flat_map(|x| x.to_vec::<f32>().unwrap());
        values.map(f32::to_bits).collect::<Vec<u32>>()
    };
    let results = [1, 2, 3, 5].map(|threads| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(run)
    });
    assert!(results.iter().all(|result| *result == results[0]));
}

#[test]
fn the_global_norm_is_that_of_all_elements() {
    let device = poisoned(true);
    let step = counter(0, 0, &device).unwrap();
    let key = RandomKey { seed: 1, stream: 1 };
    let x = normal([50_003], 0.0, 1.0, DType::F64, key, &step).unwrap();
    let y = vector(&[3.0, -4.0], &device);
    let wanted = (x.square().unwrap().sum_all().unwrap().item().unwrap() + 25.0).sqrt();
    let found = global_norm(&[&x, &y]).unwrap().item().unwrap();
    assert!((found / wanted - 1.0).abs() < 1e-14);
    assert!(global_norm(&[]).is_err());
}

#[test]
fn what_does_not_fit_is_refused() {
    let device = cpu();
    let control = vector(&[1.0, 0.1], &device);
    let (one, two) = (vector(&[1.0], &device), vector(&[1.0, 2.0], &device));
    let plain = SgdOptions::default();
    assert!(sgd(&control, &[&one], &[&two], &[], plain).is_err());
    assert!(sgd(&control, &[&one], &[], &[], plain).is_err());
    assert!(sgd(&control, &[&one], &[&one], &[&one], plain).is_err());
    assert!(sgd(&control, &[&one], &[&one], &[], SgdOptions { momentum: 0.9, ..plain }).is_err());
    assert!(sgd(&control, &[&one], &[&one], &[], SgdOptions { nesterov: true, ..plain }).is_err());
    assert!(sgd(&one, &[&one], &[&one], &[], plain).is_err());
    let narrow = Tensor::from_slice(&[1.0f32], [1], &device).unwrap();
    assert!(sgd(&control, &[&one], &[&narrow], &[], plain).is_err());
    let elsewhere = vector(&[1.0], &cpu());
    assert!(sgd(&control, &[&one], &[&elsewhere], &[], plain).is_err());
    for beta_1 in [1.0, -0.1, f64::NAN] {
        let options = AdamOptions { beta_1, ..AdamOptions::default() };
        assert!(adam(&control, &[&one], &[&one], &[&one], &[&one], options).is_err());
    }
    let options = RmspropOptions { epsilon: f64::NAN, ..RmspropOptions::default() };
    assert!(rmsprop(&control, &[&one], &[&one], &[&one], &[], options).is_err());
    // No parameters are no work.
    assert!(sgd(&control, &[], &[], &[], plain).unwrap().params.is_empty());
}

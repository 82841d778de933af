//! Hand-worked values, fused against primitives in both modes, finite differences of both orders, thread counts.

use crate::{cpu, poisoned};
use belamy_tensor::ops::norm::{batch_norm, batch_norm_leaky_relu, instance_norm, normalize};
use belamy_tensor::ops::norm_halves::{Normalization, norm_statistics};
use belamy_tensor::ops::random::{RandomKey, counter, normal};
use belamy_tensor::{DType, Device, Graph, Tensor, grad};

fn randoms(dims: &[usize], stream: u32, device: &Device) -> Tensor {
    let key = RandomKey { seed: 11, stream };
    let flat = [dims.iter().product()];
    let values = normal(flat, 0.3, 1.5, DType::F64, key, &counter(0, 0, device).unwrap()).unwrap();
    values.reshape(belamy_tensor::Shape::new(dims).unwrap()).unwrap()
}

fn assert_close(a: &Tensor, b: &Tensor, bound: f64) {
    assert_eq!(a.shape(), b.shape());
    for (a, b) in a.to_f64().unwrap().iter().zip(b.to_f64().unwrap()) {
        assert!((a - b).abs() <= bound * (1.0 + b.abs()), "{a} is not {b}");
    }
}

/// The header in primitives, written a second time on purpose: `groups` 1 is batch, N instance normalisation.
fn composed(x: &Tensor, gamma: &Tensor, beta: &Tensor, groups: usize, epsilon: f64) -> Tensor {
    let channels = *x.dims().last().unwrap();
    let rows = x.shape().elements() / groups / channels;
    let seen = x.reshape([groups, rows, channels]).unwrap();
    let mean = seen.sum(&[1]).unwrap().mul_scalar(1.0 / rows as f64).unwrap();
    let centred = &seen - &mean;
    let variance = (&centred * &centred).sum(&[1]).unwrap().mul_scalar(1.0 / rows as f64).unwrap();
    let inverse = variance.add_scalar(epsilon).unwrap().pow_scalar(-0.5).unwrap();
    (&(&(&centred * &inverse) * gamma) + beta).reshape(x.shape()).unwrap()
}

fn apply(x: &Tensor, gamma: &Tensor, beta: &Tensor, groups: usize, epsilon: f64) -> Tensor {
    match groups {
        1 => batch_norm(x, Some(gamma), Some(beta), epsilon).unwrap().0,
        _ => instance_norm(x, Some(gamma), Some(beta), epsilon).unwrap(),
    }
}

#[test]
fn two_by_two_by_hand() {
    let device = poisoned(true);
    let x = Tensor::from_slice(&[1.0f64, 2.0, 3.0, 6.0], [2, 2], &device).unwrap();
    let gamma = Tensor::from_slice(&[2.0f64, 3.0], [2], &device).unwrap();
    let beta = Tensor::from_slice(&[0.5f64, -1.0], [2], &device).unwrap();
    // Channel 0: 1, 3, mean 2, variance 1; with ε = 3, s = 1/2. Channel 1: 2, 6, mean 4, variance 4; s = 1/√7.
    let (y, statistics) = batch_norm(&x, Some(&gamma), Some(&beta), 3.0).unwrap();
    assert_eq!(statistics.mean.to_vec::<f64>().unwrap(), [2.0, 4.0]);
    assert_eq!(statistics.variance.to_vec::<f64>().unwrap(), [1.0, 4.0]);
    assert_eq!(statistics.count, 2);
    let step = 6.0 / 7.0f64.sqrt();
    let wanted =
        Tensor::from_slice(&[-0.5, -1.0 - step, 1.5, -1.0 + step], [2, 2], &device).unwrap();
    assert_close(&y, &wanted, 1e-15);
    let again =
        normalize(&x, &statistics.mean, &statistics.variance, Some(&gamma), Some(&beta), 3.0);
    assert_close(&again.unwrap(), &wanted, 1e-15);
}

#[test]
fn fused_and_composed_agree_in_value_and_gradient() {
    let device = poisoned(true);
    // More rows than one tile holds; more channels than one tile holds, not a multiple; ordinary; one position.
    let cases: [(&[usize], usize); 7] = [
        (&[41, 30, 30, 1], 1),
        (&[3, 600], 1),
        (&[4, 5, 6, 7], 1),
        (&[9, 2], 1),
        (&[3, 5, 4, 6], 3),
        (&[2, 3, 300], 2),
        (&[3, 1, 1, 5], 3),
    ];
    for (dims, groups) in cases {
        let channels = *dims.last().unwrap();
        let x = randoms(dims, 0, &device).tracked();
        let gamma = randoms(&[channels], 1, &device).tracked();
        let beta = randoms(&[channels], 2, &device).tracked();
        let seed = randoms(dims, 3, &device);
        let (fused, wanted) =
            (apply(&x, &gamma, &beta, groups, 1e-3), composed(&x, &gamma, &beta, groups, 1e-3));
        assert_close(&fused, &wanted, 1e-12);
        let inputs = [&x, &gamma, &beta];
        let wanted = grad(&wanted, Some(&seed), &inputs, Graph::Drop).unwrap();
        for graph in [Graph::Drop, Graph::Keep] {
            let grads = grad(&fused, Some(&seed), &inputs, graph).unwrap();
            for (grad, wanted) in grads.iter().zip(&wanted) {
                assert_close(grad.as_ref().unwrap(), wanted.as_ref().unwrap(), 1e-12);
            }
        }
    }
}

/// Σ seed · y(x, gamma, beta), and what second derivatives are taken of: Σ (∂/∂x)² + Σ (∂/∂gamma)².
fn first_and_penalty(
    point: &[f64],
    dims: [usize; 4],
    groups: usize,
    device: &Device,
) -> (f64, f64, Vec<f64>, Vec<f64>) {
    let (elements, channels) = (dims.iter().product::<usize>(), dims[3]);
    let at = |start: usize, length: usize| &point[start..start + length];
    let x = Tensor::from_slice(at(0, elements), dims, device).unwrap().tracked();
    let gamma = Tensor::from_slice(at(elements, channels), [channels], device).unwrap().tracked();
    let beta = Tensor::from_slice(at(elements + channels, channels), [channels], device)
        .unwrap()
        .tracked();
    let inputs = [&x, &gamma, &beta];
    let seed = randoms(&dims, 9, device);
    // Tanh makes the result's cotangent depend on the operands too.
    let y = (&apply(&x, &gamma, &beta, groups, 0.1).tanh().unwrap() * &seed).sum_all().unwrap();
    let flat = |grads: Vec<Option<Tensor>>| -> Vec<f64> {
        grads.into_iter().flat_map(|grad| grad.unwrap().to_f64().unwrap()).collect()
    };
    let first = flat(grad(&y, None, &inputs, Graph::Drop).unwrap());
    let kept = grad(&y, None, &inputs, Graph::Keep).unwrap();
    let square = |index: usize| kept[index].as_ref().unwrap().square().unwrap().sum_all().unwrap();
    let penalty = &square(0) + &square(1);
    let second = flat(grad(&penalty, None, &inputs, Graph::Drop).unwrap());
    (y.item().unwrap(), penalty.item().unwrap(), first, second)
}

#[test]
fn derivatives_of_both_orders_agree_with_finite_differences() {
    let device = poisoned(false);
    let dims = [2, 2, 2, 3];
    let point = randoms(&[24 + 3 + 3], 5, &device).to_f64().unwrap();
    for groups in [1, 2] {
        let (_, _, first, second) = first_and_penalty(&point, dims, groups, &device);
        let h = 1e-5;
        for i in 0..point.len() {
            let moved = |by: f64| {
                let mut point = point.clone();
                point[i] += by;
                let (value, penalty, ..) = first_and_penalty(&point, dims, groups, &device);
                (value, penalty)
            };
            let (above, below) = (moved(h), moved(-h));
            let slope = (above.0 - below.0) / (2.0 * h);
            let curvature = (above.1 - below.1) / (2.0 * h);
            assert!((first[i] - slope).abs() < 1e-8, "first, {i}: {} {slope}", first[i]);
            let bound = 1e-7 * (1.0 + curvature.abs());
            assert!(
                (second[i] - curvature).abs() < bound,
                "second, {i}: {} {curvature}",
                second[i]
            );
        }
    }
}

#[test]
fn the_variance_survives_a_large_mean_and_a_wild_first_row() {
    let device = cpu();
    let spread = |first: f64| -> Vec<f64> {
        (0..1000).map(|i| if i == 0 { first } else { 1e9 + f64::from(i % 2) }).collect()
    };
    // 499 and 501 numbers one apart on a mean of 10⁹ (the first is the even one).
    let x = Tensor::from_slice(&spread(1e9), [1000, 1], &device).unwrap();
    let statistics = batch_norm(&x, None, None, 1e-5).unwrap().1;
    assert!((statistics.variance.item().unwrap() - 0.25).abs() < 1e-12);
    // The shift is the outlier itself.
    let x = Tensor::from_slice(&spread(0.0), [1000, 1], &device).unwrap();
    let statistics = batch_norm(&x, None, None, 1e-5).unwrap().1;
    let mean = (999.0 * 1e9 + 500.0) / 1000.0;
    let wanted = (mean * mean
        + 499.0 * (1e9 - mean) * (1e9 - mean)
        + 500.0 * (1e9 + 1.0 - mean) * (1e9 + 1.0 - mean))
        / 1000.0;
    let relative = statistics.variance.item().unwrap() / wanted - 1.0;
    assert!(relative.abs() < 1e-10, "{relative}");
}

#[test]
fn constant_channels_become_beta_and_bad_numbers_are_seen() {
    let device = poisoned(true);
    let x = Tensor::full(7.1, [6, 2], DType::F32, &device).unwrap();
    let (y, statistics) = batch_norm(&x, None, None, 1e-5).unwrap();
    assert_eq!(y.to_vec::<f32>().unwrap(), [0.0; 12]);
    assert_eq!(statistics.variance.to_vec::<f32>().unwrap(), [0.0; 2]);
    let x = Tensor::from_slice(&[1.0f32, f32::NAN, 2.0, 3.0], [2, 2], &device).unwrap();
    let (y, statistics) = batch_norm(&x, None, None, 1e-5).unwrap();
    let y = y.to_vec::<f32>().unwrap();
    assert!(y[0].is_finite() && y[1].is_nan() && y[3].is_nan());
    assert!(statistics.variance.to_vec::<f32>().unwrap()[1].is_nan());
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let shapes: [&[usize]; 3] = [&[8, 32, 32, 20], &[16, 3000], &[1, 3, 257]];
    for dims in shapes {
        for groups in [1, dims[0]] {
            if groups > 1 && dims.len() < 3 {
                continue;
            }
            let run = || {
                let device = cpu();
                let x = randoms(dims, 0, &device).to_dtype(DType::F32).unwrap().tracked();
                let channels = [dims[dims.len() - 1]];
                let gamma = randoms(&channels, 1, &device).to_dtype(DType::F32).unwrap().tracked();
                let beta = gamma.detach().tracked();
                let y = apply(&x, &gamma, &beta, groups, 1e-5);
                let seed = randoms(dims, 3, &device).to_dtype(DType::F32).unwrap();
                let grads = grad(&y, Some(&seed), &[&x, &gamma, &beta], Graph::Drop).unwrap();
                let mut bits: Vec<u32> = Vec::new();
                for tensor in grads.into_iter().flatten().chain([y]) {
                    bits.extend(tensor.to_vec::<f32>().unwrap().iter().map(|x| x.to_bits()));
                }
                bits
            };
            let bits = [1, 2, 3, 5].map(|threads| {
                rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(run)
            });
            assert!(bits.iter().all(|other| *other == bits[0]), "{dims:?}");
        }
    }
}

#[test]
fn what_cannot_be_normalised_is_refused() {
    let device = cpu();
    let full = |dims: &[usize]| randoms(dims, 0, &device);
    let message = |result: belamy_tensor::Result<(Tensor, _)>| {
        result.map(|_: (Tensor, belamy_tensor::ops::norm::Statistics)| ()).unwrap_err().to_string()
    };
    let refused = message(batch_norm(&full(&[1, 1, 1, 4]), None, None, 1e-5));
    assert!(refused.contains("larger batch"), "{refused}");
    let gamma = full(&[3]);
    let refused = message(batch_norm(&full(&[4, 4]), Some(&gamma), None, 1e-5));
    assert!(refused.contains("last axis"), "{refused}");
    for epsilon in [0.0, -1.0, f64::NAN] {
        assert!(batch_norm(&full(&[4, 4]), None, None, epsilon).is_err());
    }
    assert!(batch_norm(&full(&[4]), None, None, 1e-5).is_err());
    assert!(instance_norm(&full(&[4, 4]), None, None, 1e-5).is_err());
    assert!(instance_norm(&full(&[4, 0, 4]), None, None, 1e-5).is_err());
    assert!(normalize(&full(&[4, 4]), &gamma, &gamma, None, None, 1e-5).is_err());
    let whole = Tensor::from_slice(&[1u32; 4], [2, 2], &device).unwrap();
    assert!(batch_norm(&whole, None, None, 1e-5).is_err());
    // An empty batch of samples is fine: there is nothing to do.
    assert_eq!(instance_norm(&full(&[0, 2, 4]), None, None, 1e-5).unwrap().dims(), [0, 2, 4]);
}

/// In f64 nothing is rounded between the halves.
#[test]
fn halves_make_the_whole_to_the_bit() {
    let device = poisoned(true);
    let x = randoms(&[6, 5, 7], 0, &device);
    let (gamma, beta) = (randoms(&[7], 1, &device), randoms(&[7], 2, &device));
    let h = randoms(&[6, 5, 7], 3, &device);
    let (epsilon, slope) = (1e-3, 0.2);
    let tracked = [&x, &gamma, &beta].map(Tensor::tracked);
    let [tx, tgamma, tbeta] = &tracked;
    let (y, whole) =
        batch_norm_leaky_relu(tx, Some(tgamma), Some(tbeta), epsilon, slope, 3).unwrap();
    let wanted = grad(&y, Some(&h), &[tx, tgamma, tbeta], Graph::Drop).unwrap();
    let statistics = norm_statistics(&x, 3).unwrap();
    assert_eq!(statistics.count, whole.count);
    let norm = Normalization {
        x: &x,
        gamma: &gamma,
        beta: &beta,
        mean: &statistics.mean,
        variance: &statistics.variance,
        epsilon,
        slope,
    };
    let sums = norm.grad_sums(&h).unwrap();
    let grad_x = norm.grad_apply(&h, &sums.sums).unwrap();
    let [wanted_x, wanted_gamma, wanted_beta] =
        [0, 1, 2].map(|place| wanted[place].clone().unwrap());
    for (found, wanted) in [
        (&statistics.mean, &whole.mean),
        (&statistics.variance, &whole.variance),
        (&norm.apply().unwrap(), &y),
        (&sums.grad_gamma, &wanted_gamma),
        (&sums.grad_beta, &wanted_beta),
        (&grad_x, &wanted_x),
    ] {
        assert_eq!(found.to_vec::<f64>().unwrap(), wanted.to_vec::<f64>().unwrap());
    }
}

#[test]
fn halves_refuse_what_does_not_fit() {
    let device = poisoned(true);
    let x = randoms(&[4, 3], 0, &device);
    assert!(norm_statistics(&x, 3).unwrap_err().to_string().contains("3 equal parts"));
    assert!(norm_statistics(&x, 0).is_err());
    let (of_channel, of_part) = (randoms(&[3], 1, &device), randoms(&[2, 3], 2, &device));
    let norm = Normalization {
        x: &x,
        gamma: &of_channel,
        beta: &of_channel,
        mean: &of_part,
        variance: &of_part,
        epsilon: 1e-5,
        slope: 1.0,
    };
    assert!(norm.apply().is_ok());
    assert!(Normalization { mean: &of_channel, ..norm }.apply().is_err());
    assert!(Normalization { gamma: &of_part, ..norm }.apply().is_err());
    assert!(Normalization { epsilon: 0.0, ..norm }.apply().is_err());
    assert!(Normalization { slope: f64::NAN, ..norm }.apply().is_err());
    assert!(norm.grad_sums(&of_part).unwrap_err().to_string().contains("cotangent"));
    assert!(norm.grad_apply(&x, &of_part).unwrap_err().to_string().contains("[2, parts, C]"));
}

//! Known losses, derivatives against the composition, and logits that would overflow.

use crate::poisoned;
use belamy_tensor::ops::loss::{bce_with_logits, cross_entropy_with_logits};
use belamy_tensor::{DType, Graph, Shape, Tensor, grad};

#[test]
fn chance_costs_ln_2_and_smoothing_has_its_floor() {
    let device = poisoned(true);
    let zeros = Tensor::full(0.0, [2, 3], DType::F64, &device).unwrap();
    for target in [0.0, 0.3, 1.0] {
        let targets = Tensor::full(target, [2, 3], DType::F64, &device).unwrap();
        let loss = bce_with_logits(&zeros, &targets).unwrap();
        assert_eq!(loss.to_vec::<f64>().unwrap(), [std::f64::consts::LN_2; 6]);
    }
    // Label .9: the least loss is the label's entropy, where the discriminator says .9.
    let targets = Tensor::full(0.9, [1], DType::F64, &device).unwrap();
    let at = |logit: f64| {
        let logits = Tensor::full(logit, [1], DType::F64, &device).unwrap();
        bce_with_logits(&logits, &targets).unwrap().item().unwrap()
    };
    let best = (0.9f64 / 0.1).ln();
    assert!((at(best) - 0.325_082_973_391_448_2).abs() < 1e-15);
    assert!(at(best - 0.01) > at(best) && at(best + 0.01) > at(best));
}

#[test]
fn no_logit_overflows_and_small_losses_keep_their_digits() {
    let device = poisoned(true);
    let logits = [1e30f32, -1e30, 1e30, -1e30, 50.0, f32::NAN];
    let x = Tensor::from_slice(&logits, [6], &device).unwrap();
    let t = Tensor::from_slice(&[1.0f32, 0.0, 0.0, 1.0, 1.0, 1.0], [6], &device).unwrap();
    let loss = bce_with_logits(&x, &t).unwrap().to_vec::<f32>().unwrap();
    assert_eq!(loss[..4], [0.0, 0.0, 1e30, 1e30]);
    assert!((loss[4] / (-50.0f32).exp() - 1.0).abs() < 1e-6);
    assert!(loss[5].is_nan());
}

#[test]
fn derivatives_of_two_orders_agree_with_the_composition() {
    let device = poisoned(true);
    let x = Tensor::from_slice(&[-3.0f64, -0.5, 0.2, 4.0], [4], &device).unwrap().tracked();
    let t = Tensor::from_slice(&[0.0f64, 0.1, 0.9, 1.0], [4], &device).unwrap().tracked();
    let seed = Tensor::from_slice(&[1.0f64, -2.0, 0.7, 1.3], [4], &device).unwrap();
    let fused = bce_with_logits(&x, &t).unwrap();
    let composed = &x.softplus().unwrap() - &(&x * &t);
    let derivatives = |y: &Tensor| {
        let first = grad(y, Some(&seed), &[&x, &t], Graph::Keep).unwrap();
        let [of_x, of_t] = [0, 1].map(|index| first[index].clone().unwrap());
        let mixed = (&of_x.square().unwrap() + &(&of_t * &of_x)).sum_all().unwrap();
        let second = grad(&mixed, None, &[&x, &t], Graph::Drop).unwrap();
        [Some(of_x), Some(of_t), second[0].clone(), second[1].clone()]
            .map(|tensor| tensor.unwrap().to_vec::<f64>().unwrap())
            .concat()
    };
    let values = |y: &Tensor| y.to_vec::<f64>().unwrap();
    let (mut a, mut b) = (derivatives(&fused), derivatives(&composed));
    a.extend(values(&fused));
    b.extend(values(&composed));
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-14), "{a:?} {b:?}");
    let other = Tensor::full(1.0, [1, 4], DType::F64, &device).unwrap();
    assert!(bce_with_logits(&x, &other).is_err());
}

#[test]
fn cross_entropy_has_its_hand_values_at_any_shift() {
    let device = poisoned(true);
    let labels = Tensor::from_slice(&[0u32, 2, 1], [3], &device).unwrap();
    // Rows of logits ln 1, ln 2, ln 5: probabilities 1/8, 2/8, 5/8; then shifted so far that e^x overflows.
    let row = [1.0f64, 2.0, 5.0].map(f64::ln);
    let expected = [8.0f64, 8.0 / 5.0, 4.0].map(f64::ln);
    for shift in [0.0, 1e4, -1e4] {
        let values: Vec<f64> = row.iter().cycle().take(9).map(|x| x + shift).collect();
        let logits = Tensor::from_slice(&values, [3, 3], &device).unwrap();
        let loss = cross_entropy_with_logits(&logits, &labels).unwrap().to_vec::<f64>().unwrap();
        assert!(loss.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-11), "{loss:?}");
    }
    let far =
        Tensor::from_slice(&[1e30f32, -1e30, 0.0, 0.0, 0.0, f32::NAN], [2, 3], &device).unwrap();
    let labels = Tensor::from_slice(&[1u32, 0], [2], &device).unwrap();
    let loss = cross_entropy_with_logits(&far, &labels).unwrap().to_vec::<f32>().unwrap();
    assert!(loss[0] == 2e30 && loss[1].is_nan(), "{loss:?}");
}

#[test]
fn cross_entropy_has_the_derivatives_of_finite_differences() {
    let device = poisoned(true);
    let labels = Tensor::from_slice(&[3u32, 0], [2], &device).unwrap();
    let start = [0.3f64, -1.2, 2.0, 0.7, 0.0, 0.0, -3.0, 1.5];
    let weights = Tensor::from_slice(&[0.7f64, -1.3], [2], &device).unwrap();
    let value = |logits: &Tensor| {
        let loss = cross_entropy_with_logits(logits, &labels).unwrap();
        loss.mul(&weights).unwrap().sum_all().unwrap()
    };
    // The first derivative, and that of the derivative's squared norm.
    let derivatives = |values: &[f64]| {
        let x = Tensor::from_slice(values, [2, 4], &device).unwrap().tracked();
        let first = grad(&value(&x), None, &[&x], Graph::Keep).unwrap()[0].clone().unwrap();
        let norm = first.square().unwrap().sum_all().unwrap();
        let second = grad(&norm, None, &[&x], Graph::Drop).unwrap()[0].clone().unwrap();
        (first.to_vec::<f64>().unwrap(), second.to_vec::<f64>().unwrap(), norm.item().unwrap())
    };
    let (first, second, _) = derivatives(&start);
    let step = 1e-5;
    for index in 0..start.len() {
        let [up, down] = [step, -step].map(|step| {
            let mut moved = start;
            moved[index] += step;
            let x = Tensor::from_slice(&moved, [2, 4], &device).unwrap();
            (value(&x).item().unwrap(), derivatives(&moved).2)
        });
        let slope = |up: f64, down: f64| (up - down) / (2.0 * step);
        assert!((first[index] - slope(up.0, down.0)).abs() < 1e-8);
        assert!((second[index] - slope(up.1, down.1)).abs() < 1e-8);
    }
}

#[test]
fn cross_entropy_refuses_what_does_not_fit() {
    let device = poisoned(true);
    let full = |dims: &[usize], dtype| {
        let shape = Shape::new(dims).unwrap();
        match dtype {
            DType::U32 => {
                Tensor::from_slice(&vec![0u32; shape.elements()], shape, &device).unwrap()
            }
            _ => Tensor::full(0.0, shape, dtype, &device).unwrap(),
        }
    };
    let cases = [
        (full(&[2, 3], DType::F32), full(&[3], DType::U32)),
        (full(&[2], DType::F32), full(&[2], DType::U32)),
        (full(&[2, 0], DType::F32), full(&[2], DType::U32)),
        (full(&[2, 3], DType::F32), full(&[2], DType::F32)),
        (full(&[2, 3], DType::U32), full(&[2], DType::U32)),
    ];
    for (logits, labels) in cases {
        let error = cross_entropy_with_logits(&logits, &labels).unwrap_err().to_string();
        assert!(error.contains("cross_entropy_with_logits"), "{error}");
    }
}

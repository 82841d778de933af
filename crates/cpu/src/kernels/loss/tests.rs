//! Known losses, derivatives against the composition, and logits that would overflow.

use crate::poisoned;
use belamy_tensor::ops::loss::bce_with_logits;
use belamy_tensor::{DType, Graph, Tensor, grad};

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

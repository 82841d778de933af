//! The mask's share, scale and place; the adjoint identity; derivatives.

use crate::poisoned;
use belamy_tensor::ops::dropout::dropout;
use belamy_tensor::ops::random::{RandomKey, counter, normal};
use belamy_tensor::{DType, Graph, Tensor, grad};

const KEY: RandomKey = RandomKey { seed: 5, stream: 3 };

#[test]
fn the_right_share_is_kept_and_enlarged() {
    let device = poisoned(true);
    let x = Tensor::full(1.0, [100, 30, 30, 2], DType::F32, &device).unwrap();
    for rate in [0.0, 0.2, 0.5, 0.9] {
        let y = dropout(&x, rate, KEY, &counter(0, 0, &device).unwrap()).unwrap();
        let y = y.to_vec::<f32>().unwrap();
        let large = (1.0 / (1.0 - rate)) as f32;
        assert!(y.iter().all(|&y| y == 0.0 || y == large));
        let kept = y.iter().filter(|&&y| y != 0.0).count() as f64 / y.len() as f64;
        // Five standard deviations of 180,000 flips.
        let bound = 5.0 * (rate * (1.0 - rate) / y.len() as f64).sqrt();
        assert!((kept - (1.0 - rate)).abs() <= bound, "{rate}: {kept}");
    }
}

#[test]
fn masks_follow_the_step_the_stream_and_the_global_sample() {
    let device = poisoned(true);
    let ones = |batch: usize| Tensor::full(1.0, [batch, 50], DType::F64, &device).unwrap();
    let mask = |batch, key, step, first| {
        let counter = counter(step, first, &device).unwrap();
        dropout(&ones(batch), 0.5, key, &counter).unwrap().to_vec::<f64>().unwrap()
    };
    let whole = mask(8, KEY, 4, 0);
    assert_eq!(whole[150..], mask(5, KEY, 4, 3));
    assert_ne!(whole, mask(8, KEY, 5, 0));
    assert_ne!(whole, mask(8, RandomKey { stream: 4, ..KEY }, 4, 0));
}

#[test]
fn dropout_is_its_own_adjoint_and_derivative() {
    let device = poisoned(true);
    let step = counter(2, 0, &device).unwrap();
    let draw = |stream| {
        normal([6, 7, 3], 0.0, 1.0, DType::F64, RandomKey { seed: 1, stream }, &step).unwrap()
    };
    let (x, v) = (draw(0).tracked(), draw(1).tracked());
    let apply = |x: &Tensor| dropout(x, 0.3, KEY, &step).unwrap();
    let dot = |a: &Tensor, b: &Tensor| (a * b).sum_all().unwrap().item().unwrap();
    let (left, right) = (dot(&apply(&x), &v), dot(&x, &apply(&v)));
    assert!((left - right).abs() < 1e-12 && left != 0.0);
    // ∂/∂x ⟨v, dropout(x)⟩ = dropout(v), and that is linear in v.
    let first = grad(&apply(&x), Some(&v), &[&x], Graph::Keep).unwrap().remove(0).unwrap();
    assert_eq!(first.to_vec::<f64>().unwrap(), apply(&v).to_vec::<f64>().unwrap());
    let second = grad(&first, Some(&x), &[&v], Graph::Drop).unwrap().remove(0).unwrap();
    assert_eq!(second.to_vec::<f64>().unwrap(), apply(&x).to_vec::<f64>().unwrap());
    for rate in [1.0, -0.1, f64::NAN] {
        assert!(dropout(&x, rate, KEY, &step).is_err());
    }
    assert!(dropout(&x, 0.5, KEY, &v).is_err());
}

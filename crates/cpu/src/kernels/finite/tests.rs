//! Counts over several tensors and chunks.

use crate::{cpu, poisoned};
use belamy_tensor::Tensor;
use belamy_tensor::ops::finite::count_non_finite;

#[test]
fn every_infinite_or_nan_is_counted_wherever_it_stands() {
    let device = poisoned(true);
    let mut long = vec![f32::MAX; 100_003];
    for place in [0, 32_767, 32_768, 100_002] {
        long[place] = f32::NAN;
    }
    long[5] = f32::INFINITY;
    let long = Tensor::from_slice(&long, [100_003], &device).unwrap();
    let short = Tensor::from_slice(&[f64::NEG_INFINITY, 1.0], [1, 2], &device).unwrap();
    let none = Tensor::from_slice(&[] as &[f32], [0], &device).unwrap();
    let count =
        |tensors: &[&Tensor]| count_non_finite(tensors).unwrap().to_vec::<u32>().unwrap()[0];
    assert_eq!(count(&[&long, &short, &none]), 6);
    assert_eq!(count(&[&none]), 0);
    assert!(count_non_finite(&[]).is_err());
    let whole = Tensor::from_slice(&[1u32], [1], &device).unwrap();
    assert!(count_non_finite(&[&long, &whole]).is_err());
    let elsewhere = Tensor::from_slice(&[1.0f32], [1], &cpu()).unwrap();
    assert!(count_non_finite(&[&long, &elsewhere]).is_err());
}

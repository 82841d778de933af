//! Counting what is no number.

use crate::case::Case;
use crate::values::Domain;
use belamy_tensor::Tensor;
use belamy_tensor::ops::finite::count_non_finite;

fn count(tensors: &[Tensor]) -> belamy_tensor::Result<Tensor> {
    count_non_finite(&tensors.iter().collect::<Vec<_>>())
}

/// A large tensor with its bad elements far apart: at both ends and in the middle.
fn sprinkled(len: usize) -> Domain {
    let mut values = vec![1.0; len];
    values[0] = f64::NAN;
    values[len / 2] = f64::INFINITY;
    values[len - 1] = f64::NEG_INFINITY;
    Domain::Fixed(values)
}

/// The family's cases.
pub fn cases() -> Vec<Case> {
    let bad = vec![1.0, f64::NAN, f64::INFINITY, -3.0, f64::NEG_INFINITY, 0.0];
    vec![
        Case::new("count_non_finite", "one tensor", count)
            .constant(&[2, 3], Domain::Fixed(bad.clone()))
            .rounded()
            .host_reference(|_| vec![3.0]),
        Case::new("count_non_finite", "several tensors", count)
            .constant(&[4], Domain::Normal)
            .constant(&[6], Domain::Fixed(bad))
            .constant(&[2], Domain::Fixed(vec![f64::NAN, f64::NAN]))
            .constant(&[1, 1], Domain::Normal)
            .rounded()
            .host_reference(|_| vec![5.0]),
        Case::new("count_non_finite", "large", count)
            .constant(&[70_001], sprinkled(70_001))
            .constant(&[300, 100], sprinkled(30_000))
            .rounded()
            .host_reference(|_| vec![6.0])
            .large(),
        // Seven chunks of 4096: where those of a device come in rows, two more than there are.
        Case::new("count_non_finite", "large, seven chunks", count)
            .constant(&[28_001], sprinkled(28_001))
            .rounded()
            .host_reference(|_| vec![3.0])
            .large(),
        Case::new("count_non_finite", "all of many", count)
            .constant(&[5003], Domain::Fixed(vec![f64::NAN; 5003]))
            .rounded()
            .host_reference(|_| vec![5003.0]),
        // The largest finite number is one.
        Case::new("count_non_finite", "largest", count)
            .constant(&[3], Domain::Fixed(vec![f64::from(f32::MAX), f64::from(f32::MIN), f64::NAN]))
            .rounded()
            .host_reference(|_| vec![1.0]),
    ]
}

use super::{adjoint, counting, device, draw, refused, values};
use belamy_tensor::ops::concat::concat;
use belamy_tensor::{Graph, Tensor, grad};

#[test]
fn each_part_is_adjoint_to_its_slice() {
    for (dims, axis, others) in [
        (vec![1], 0, vec![2]),
        (vec![2, 3, 5, 7], 3, vec![1]),
        (vec![2, 3, 5, 7], 1, vec![4, 1]),
        (vec![1, 2, 1, 3, 2, 2], 4, vec![1, 3, 2, 1, 1, 1, 2]),
        (vec![3, 2], 0, vec![0, 5]),
        (vec![3, 0], 1, vec![2]),
    ] {
        let device = device();
        // Zeros keep the map linear in the part that is put among them.
        let zeros: Vec<Tensor> = others
            .iter()
            .map(|&extent| {
                let mut dims = dims.clone();
                dims[axis] = extent;
                draw(&dims, 1, &device).mul_scalar(0.0).unwrap()
            })
            .collect();
        for place in 0..=others.len() {
            let start = others[..place].iter().sum();
            adjoint(
                |x| {
                    let mut parts = zeros.clone();
                    parts.insert(place, x.clone());
                    concat(&parts.iter().collect::<Vec<_>>(), axis)
                },
                |g| g.slice(axis, start, dims[axis]),
                &dims,
            );
        }
    }
}

#[test]
fn worked_by_hand() {
    let device = device();
    let parts: Vec<Tensor> = (1..=9u32)
        .map(|value| Tensor::from_slice(&[value, 10 * value], [2, 1], &device).unwrap())
        .collect();
    let joined = concat(&parts.iter().collect::<Vec<_>>(), 1).unwrap();
    assert_eq!(joined.dims(), [2, 9]);
    let expected: Vec<u32> = (1..=9).chain((1..=9).map(|value| 10 * value)).collect();
    assert_eq!(joined.to_vec::<u32>().unwrap(), expected);

    // One tensor twice: its cotangents add.
    let x = counting(&[2], &device).tracked();
    let y = concat(&[&x, &x, &x], 0).unwrap();
    let g = counting(&[6], &device);
    let first = grad(&y, Some(&g), &[&x], Graph::Drop).unwrap().remove(0).unwrap();
    assert_eq!(values(&first), [1.0 + 3.0 + 5.0, 2.0 + 4.0 + 6.0]);
}

#[test]
fn wrong_calls_are_refused() {
    let device = device();
    let (a, b) = (counting(&[2, 3], &device), counting(&[3, 2], &device));
    refused(concat(&[], 0), "at least one");
    refused(concat(&[&a], 2), "no axis 2");
    refused(concat(&[&a, &b], 0), "along axis 0 only");
    refused(concat(&[&a, &a], 2), "an axis 2");
    refused(concat(&[&a, &a.reshape([6]).unwrap()], 0), "one rank");
    let labels = Tensor::from_slice(&[0u32; 6], [2, 3], &device).unwrap();
    refused(concat(&[&a, &labels], 0), "one type");
}

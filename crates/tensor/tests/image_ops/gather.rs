use super::{adjoint, counting, device, numbers, refused, values};
use belamy_tensor::ops::gather::{gather_rows, scatter_add_rows};
use belamy_tensor::{Shape, Tensor};

#[test]
fn the_two_are_adjoint() {
    // Table, extents of the indices. Rows named often, once, never; indices out of range; no indices at all.
    let cases: &[(&[usize], &[usize])] = &[
        (&[1], &[1]),
        (&[5], &[3]),
        (&[7, 3], &[23]),
        (&[11, 2, 3], &[2, 5]),
        (&[3, 33, 2], &[4, 1, 3]),
        (&[20_011, 5], &[57]),
        (&[4, 3], &[]),
        (&[4, 3], &[0]),
        (&[0, 3], &[2]),
    ];
    for (table, extents) in cases {
        let rows = table[0];
        let extents = Shape::new(extents).unwrap();
        let drawn: Vec<u32> = (0..extents.elements() as u32)
            .map(|k| k.wrapping_mul(2_654_435_761) % (rows as u32 + 2))
            .collect();
        let indices = Tensor::from_slice(&drawn, extents, &device()).unwrap();
        adjoint(|x| gather_rows(x, &indices), |g| scatter_add_rows(g, &indices, rows), table);
        let values = [extents.dims(), &table[1..]].concat();
        adjoint(|g| scatter_add_rows(g, &indices, rows), |x| gather_rows(x, &indices), &values);
    }
}

#[test]
fn worked_by_hand() {
    let device = device();
    let indices = Tensor::from_slice(&[2u32, 0, 2, 3, u32::MAX], [5], &device).unwrap();
    let table = counting(&[3, 2], &device);
    let rows = gather_rows(&table, &indices).unwrap();
    assert_eq!(values(&rows), [5.0, 6.0, 1.0, 2.0, 5.0, 6.0, 0.0, 0.0, 0.0, 0.0]);
    let g = numbers(&[1.0, 2.0, 4.0, 8.0, 16.0], &[5], &device);
    assert_eq!(values(&scatter_add_rows(&g, &indices, 3).unwrap()), [2.0, 0.0, 5.0]);
    assert_eq!(values(&scatter_add_rows(&g, &indices, 4).unwrap()), [2.0, 0.0, 5.0, 8.0]);

    let labels = Tensor::from_slice(&[7u32, 8, 9], [3], &device).unwrap();
    assert_eq!(gather_rows(&labels, &indices).unwrap().to_vec::<u32>().unwrap(), [9, 7, 9, 0, 0]);
    let square = Tensor::from_slice(&[0u32, 1, 1, 0], [2, 2], &device).unwrap();
    assert_eq!(gather_rows(&table, &square).unwrap().dims(), [2, 2, 2]);
}

#[test]
fn wrong_calls_are_refused() {
    let device = device();
    let table = counting(&[3, 2], &device);
    let indices = Tensor::from_slice(&[0u32], [1], &device).unwrap();
    refused(gather_rows(&table, &table), "u32");
    refused(
        gather_rows(
            &table.slice(0, 0, 1).unwrap().slice(1, 0, 1).unwrap().reshape(Shape::SCALAR).unwrap(),
            &indices,
        ),
        "wants a table",
    );
    refused(scatter_add_rows(&table, &indices, 3), "wants values");
    refused(scatter_add_rows(&indices, &indices, 3), "floating-point");
    let many = Tensor::from_slice(&[0u32], [1; 6], &device).unwrap();
    refused(gather_rows(&table, &many), "no shape");
}

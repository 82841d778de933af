//! Faults in reductions and views.

use super::{Fault, Faults, drop_where, inputs, outputs, reads};
use belamy_tensor::kernel::KernelId;
use belamy_tensor::ops::reduce::{RowsParams, SumParams};
use belamy_tensor::ops::view::StridedParams;

/// The family's faults: in words, the kernel, the fault.
pub(super) fn faults() -> Faults {
    use KernelId::{broadcast, max_rows, permute, pick, place, sum};
    let copied = reads!(StridedParams, |p| {
        let mut step = 1;
        for axis in (0..6).rev() {
            p.strides[axis] = step;
            step *= p.dims[axis];
        }
    });
    vec![
        (
            "row's tail beyond fours dropped",
            sum,
            inputs!(SumParams, |p, launch| {
                let columns = p.dims[5] as usize;
                drop_where(&mut launch.inputs[0], |i| {
                    p.reduced[5] == 1 && columns > 4 && i % columns >= columns / 4 * 4
                })
            }),
        ),
        (
            "first element counted twice",
            sum,
            Fault::Inputs(|launch| {
                if let Some(first) = launch.inputs[0].first_mut() {
                    *first *= 2.0;
                }
            }),
        ),
        (
            "partial sums beyond the first block lost",
            sum,
            Fault::Inputs(|launch| {
                drop_where(&mut launch.inputs[0], |i| i >= 16_384);
            }),
        ),
        (
            "mean instead of sum",
            sum,
            outputs!(SumParams, |p, launch| {
                let terms = (0..6).map(|axis| if p.reduced[axis] == 1 { p.dims[axis] } else { 1 });
                let terms = f64::from(terms.product::<u32>());
                launch.outputs[0].iter_mut().for_each(|y| *y /= terms)
            }),
        ),
        (
            "last column never looked at",
            max_rows,
            inputs!(RowsParams, |p, launch| {
                let columns = p.columns as usize;
                for last in launch.inputs[0].iter_mut().skip(columns - 1).step_by(columns) {
                    *last = if columns > 1 { f64::NEG_INFINITY } else { *last };
                }
            }),
        ),
        (
            "index off by one",
            max_rows,
            outputs!(RowsParams, |p, launch| {
                launch.outputs[1].iter_mut().for_each(|i| *i = (*i + 1.0) % f64::from(p.columns))
            }),
        ),
        (
            "last of equals instead of the first",
            max_rows,
            outputs!(RowsParams, |p, launch| {
                let rows = launch.inputs[0].chunks(p.columns as usize);
                let indices: Vec<f64> = rows
                    .zip(&launch.outputs[0])
                    .map(|(row, most)| row.iter().rposition(|x| x == most).unwrap_or(0) as f64)
                    .collect();
                launch.outputs[1] = indices
            }),
        ),
        (
            "maximum starts from 0",
            max_rows,
            Fault::Outputs(|launch| {
                launch.outputs[0].iter_mut().for_each(|y| *y = y.max(0.0));
            }),
        ),
        ("index of the row before", pick, Fault::Inputs(|launch| launch.inputs[1].rotate_right(1))),
        (
            "index past the row clamped",
            pick,
            inputs!(RowsParams, |p, launch| {
                launch.inputs[1].iter_mut().for_each(|i| *i = i.min(f64::from(p.columns) - 1.0))
            }),
        ),
        (
            "placed one column further",
            place,
            inputs!(RowsParams, |p, launch| {
                launch.inputs[1].iter_mut().for_each(|i| *i = (*i + 1.0) % f64::from(p.columns))
            }),
        ),
        (
            "zeros not written",
            place,
            Fault::Outputs(|launch| {
                launch.outputs[0].iter_mut().filter(|y| **y == 0.0).for_each(|y| *y = f64::NAN);
            }),
        ),
        ("copied instead of permuted", permute, copied),
        (
            "inverse permutation of three axes",
            permute,
            Fault::Outputs(|launch| {
                let p = StridedParams::decode(&launch.params);
                if p.dims[..3] == [1, 1, 1] && p.dims[3] > 1 {
                    launch.outputs[0].reverse();
                }
            }),
        ),
        (
            "second axis repeats its first entry",
            broadcast,
            reads!(StridedParams, |p| { p.strides[4] = 0 }),
        ),
        (
            "last axis repeats its first entry",
            broadcast,
            reads!(StridedParams, |p| { p.strides[5] = 0 }),
        ),
    ]
}

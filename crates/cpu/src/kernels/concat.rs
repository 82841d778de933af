//! `concat`: see `belamy_tensor::ops::concat` for the mathematics.
//!
//! One invocation owns one row of the output: a row of each input. Cost: one pass over each operand.

use super::rows::fill_rows;
use super::{Run, for_element};
use belamy_tensor::Element;
use belamy_tensor::ops::concat::ConcatParams;

pub(super) fn concat(run: Run<'_>) {
    for_element!(run, concat_of);
}

fn concat_of<E: Element>(mut run: Run<'_>) {
    let params = ConcatParams::decode(&run.params);
    let (first, second) = (params.first as usize, params.second as usize);
    let (a, b) = (run.input::<E>(0), run.input::<E>(1));
    fill_rows(run.output::<E>(), first + second, 1, |row, y| {
        y[..first].copy_from_slice(&a[row * first..(row + 1) * first]);
        y[first..].copy_from_slice(&b[row * second..(row + 1) * second]);
    });
}

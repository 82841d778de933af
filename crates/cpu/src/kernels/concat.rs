//! `concat`: see `belamy_tensor::ops::concat` for the mathematics.
//!
//! One invocation owns one row of the output, a row of each input, or a part of a long one. Cost: one pass over each operand.

use super::rows::fill_rows;
use super::{Run, SERIAL_ELEMENTS, fill_chunks, for_element};
use belamy_tensor::Element;
use belamy_tensor::ops::concat::ConcatParams;

pub(super) fn concat(run: Run<'_>) {
    for_element!(run, concat_of);
}

fn concat_of<E: Element>(mut run: Run<'_>) {
    let params = ConcatParams::decode(&run.params);
    let (first, second) = (params.first as usize, params.second as usize);
    let (a, b) = (run.input::<E>(0), run.input::<E>(1));
    let row = first + second;
    if row <= SERIAL_ELEMENTS {
        return fill_rows(run.output::<E>(), row, 1, |row, y| {
            y[..first].copy_from_slice(&a[row * first..(row + 1) * first]);
            y[first..].copy_from_slice(&b[row * second..(row + 1) * second]);
        });
    }
    fill_chunks(run.output::<E>(), SERIAL_ELEMENTS, |start, mut y| {
        let mut at = start;
        while !y.is_empty() {
            // What is left of the row's part in either input.
            let from = match (at / row, at % row) {
                (row, column) if column < first => &a[row * first..][column..first],
                (row, column) => &b[row * second..][column - first..second],
            };
            let (now, later) = y.split_at_mut(from.len().min(y.len()));
            now.copy_from_slice(&from[..now.len()]);
            at += now.len();
            y = later;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::SERIAL_ELEMENTS;
    use crate::poisoned;
    use belamy_tensor::Tensor;
    use belamy_tensor::ops::concat::concat;

    /// Parts of a row may begin in either input, and reach over where the second one or the next row begins.
    #[test]
    fn long_rows_are_joined_part_by_part() {
        let device = poisoned(true);
        let (rows, first, second) = (3, SERIAL_ELEMENTS - 5, SERIAL_ELEMENTS + 300);
        let numbers = |columns: usize, start: usize| -> Vec<u32> {
            (start..start + rows * columns).map(|number| number as u32).collect()
        };
        let (a, b) = (numbers(first, 0), numbers(second, 1_000_000));
        let tensor = |values: &[u32], columns| Tensor::from_slice(values, [rows, columns], &device);
        let (x, y) = (tensor(&a, first).unwrap(), tensor(&b, second).unwrap());
        let joined = concat(&[&x, &y], 1).unwrap().to_vec::<u32>().unwrap();
        let rows = a.chunks(first).zip(b.chunks(second));
        let wanted: Vec<u32> = rows.flat_map(|(a, b)| [a, b].concat()).collect();
        assert!(joined == wanted);
    }
}

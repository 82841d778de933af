//! `concat`: see `belamy_tensor::ops::concat` for the mathematics.
//!
//! One invocation owns some elements of the output that follow one another. Cost: one pass over each operand.

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
    let columns = first + second;
    fill_chunks(run.output::<E>(), SERIAL_ELEMENTS, |start, mut y| {
        let (mut row, mut column) = (start / columns, start % columns);
        while !y.is_empty() {
            // What is left of the row's part in either input.
            let from = match column < first {
                true => &a[row * first..][column..first],
                false => &b[row * second..][column - first..second],
            };
            let (now, later) = y.split_at_mut(from.len().min(y.len()));
            now.copy_from_slice(&from[..now.len()]);
            column += now.len();
            if column == columns {
                (row, column) = (row + 1, 0);
            }
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

    /// What an invocation owns may begin in either input, and reach over where the second one or the next row begins.
    #[test]
    fn rows_are_joined_across_invocations() {
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

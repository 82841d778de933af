//! Rows of a table: repeated, absent and out-of-range indices, indices and rows of any rank.

use super::linear::{Entry, applied, transposed};
use crate::case::Case;
use crate::values::Domain;
use belamy_tensor::ops::gather::{gather_rows, scatter_add_rows};

fn entries(rows: usize, columns: usize, index: &[f64]) -> Vec<Entry> {
    let named = index.iter().enumerate().filter(|(_, row)| (**row as usize) < rows);
    named
        .flat_map(|(k, &row)| {
            (0..columns).map(move |column| Entry {
                output: k * columns + column,
                input: row as usize * columns + column,
                weight: 1.0,
            })
        })
        .collect()
}

fn pair(variant: &str, table: &[usize], index: &[usize], bound: u32) -> [Case; 2] {
    let (rows, rest) = (table[0], &table[1..]);
    let columns: usize = rest.iter().product();
    let values = [index, rest].concat();
    let count: usize = values.iter().product();
    [
        Case::new("gather_rows", variant, |t| gather_rows(&t[0], &t[1]))
            .input(table, Domain::Normal)
            .constant(index, Domain::Indices(bound))
            .linear(&[0])
            .absolute(1)
            .host_reference(move |t| applied(&entries(rows, columns, &t[1]), &t[0], count)),
        Case::new("scatter_add_rows", variant, move |t| scatter_add_rows(&t[0], &t[1], rows))
            .input(&values, Domain::Normal)
            .constant(index, Domain::Indices(bound))
            .linear(&[0])
            .absolute(index.iter().product())
            .host_reference(move |t| {
                transposed(&entries(rows, columns, &t[1]), &t[0], rows * columns)
            }),
    ]
}

/// The family's cases.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(pair("repeated", &[4, 3], &[9], 4));
    cases.extend(pair("few of many", &[11, 3], &[5], 11));
    cases.extend(pair("out of range", &[4, 3], &[12], 7));
    cases.extend(pair("one column", &[5, 1], &[6], 5));
    cases.extend(pair("numbers", &[5], &[6], 5));
    cases.extend(pair("matrices by a matrix", &[3, 2, 2], &[2, 3], 3));
    cases.extend(pair("large", &[37, 601], &[71], 37).map(Case::large));
    cases.push(
        Case::new("gather_rows", "u32", |t| gather_rows(&t[0], &t[1]))
            .constant(&[5, 2], Domain::Indices(1000))
            .constant(&[7], Domain::Indices(6))
            .rounded(),
    );
    cases
}

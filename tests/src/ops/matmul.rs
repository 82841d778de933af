//! Matrix products: all four orientations, batches on either side, extents of 1, primes, and extents around the sizes
//! at which blocked kernels change their way.

use crate::case::Case;
use crate::values::{Domain, Numbers};
use belamy_tensor::ops::matmul::matmul;

/// `[m, k, n]`, the batch, and which operands have it.
struct Sizes {
    batch: Option<usize>,
    m: usize,
    k: usize,
    n: usize,
    batched_a: bool,
    batched_b: bool,
}

fn matmul_case(sizes: Sizes, transpose_a: bool, transpose_b: bool) -> Case {
    let Sizes { batch, m, k, n, batched_a, batched_b } = sizes;
    let leading = |batched: bool| batch.filter(|_| batched);
    let shape = |batched: bool, rows: usize, columns: usize, transposed: bool| {
        let matrix = if transposed { [columns, rows] } else { [rows, columns] };
        leading(batched).into_iter().chain(matrix).collect::<Vec<usize>>()
    };
    let letter = |transposed: bool| if transposed { 't' } else { 'n' };
    let of = |batched: bool| leading(batched).map_or(String::new(), |batch| format!("{batch}:"));
    let variant = format!(
        "{}{} {}{m}x{k} {}{k}x{n}",
        letter(transpose_a),
        letter(transpose_b),
        of(batched_a),
        of(batched_b)
    );
    let case =
        Case::new("matmul", variant, move |x| matmul(&x[0], &x[1], transpose_a, transpose_b))
            .input(&shape(batched_a, m, k, transpose_a), Domain::Normal)
            .input(&shape(batched_b, k, n, transpose_b), Domain::Normal)
            .linear(&[0, 1])
            .absolute(k)
            .host_reference(move |x| {
                let batches = batch.unwrap_or(1);
                let mut y = vec![0.0; batches * m * n];
                // Outer products, one k after another: the other order than the kernels'.
                for b in 0..batches {
                    let a = &x[0][if batched_a { b * m * k } else { 0 }..];
                    let other = &x[1][if batched_b { b * k * n } else { 0 }..];
                    for i in 0..k {
                        for row in 0..m {
                            for column in 0..n {
                                let left = a[if transpose_a { i * m + row } else { row * k + i }];
                                let right = other
                                    [if transpose_b { column * k + i } else { i * n + column }];
                                y[(b * m + row) * n + column] += left * right;
                            }
                        }
                    }
                }
                y
            });
    if m * k * n > 10_000 { case.large() } else { case }
}

/// Extents, orientations and batches drawn at random, the same for the same seed.
pub fn sampled(seed: u64, count: usize) -> Vec<Case> {
    let mut numbers = Numbers::new(&format!("matmul sampled {seed}"), "sizes");
    let mut from = |low: usize, high: usize| low + numbers.below((high - low + 1) as u32) as usize;
    (0..count)
        .map(|index| {
            let batch = [None, None, Some(1), Some(2), Some(5)][from(0, 4)];
            let (batched_a, batched_b) = [(true, true), (true, false), (false, true)][from(0, 2)];
            let largest = [4, 20, 80][from(0, 2)];
            let (m, k, n) = (from(1, largest), from(1, largest), from(1, largest));
            let sizes = Sizes { batch, m, k, n, batched_a, batched_b };
            let mut case = matmul_case(sizes, from(0, 1) == 1, from(0, 1) == 1);
            case.variant = format!("sampled {seed}.{index} {}", case.variant);
            case
        })
        .collect()
}

/// The family's cases.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for transpose_a in [false, true] {
        for transpose_b in [false, true] {
            let mut plain = |m, k, n| {
                let sizes = Sizes { batch: None, m, k, n, batched_a: false, batched_b: false };
                cases.push(matmul_case(sizes, transpose_a, transpose_b));
            };
            plain(3, 4, 5);
            plain(1, 1, 1);
            plain(1, 5, 1);
            plain(4, 1, 3);
            plain(1, 6, 5);
            plain(5, 6, 1);
            plain(7, 7, 7);
            plain(6, 16, 8);
            plain(17, 13, 33);
            plain(67, 131, 71);
            plain(129, 257, 48);
            // Few results of many terms: kernels split the sum.
            plain(20, 700, 30);
            let mut batched = |batched_a, batched_b, m, k, n| {
                let sizes = Sizes { batch: Some(3), m, k, n, batched_a, batched_b };
                cases.push(matmul_case(sizes, transpose_a, transpose_b));
            };
            batched(true, true, 2, 3, 4);
            batched(true, false, 3, 2, 4);
            batched(false, true, 4, 3, 2);
            batched(true, true, 33, 47, 29);
            // As many rows and columns as a tile has.
            batched(true, true, 64, 3, 64);
        }
    }
    cases
}

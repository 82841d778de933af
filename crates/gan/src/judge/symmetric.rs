//! Eigenvalues and eigenvectors of symmetric matrices, for distances between Gaussians.
//!
//! ```text
//! A = Q T Qᵀ     T tridiagonal, by n − 2 Householder reflections                    Householder (1958)
//! T = Z Λ Zᵀ     by implicit QL steps with Wilkinson's shift                        Bowdler et al. (1968), tql2
//! ```
//!
//! The form is that of EISPACK's `tred2` and `tql2`, which decades of use have tested. Cost: about 4/3 n³ + 3 n³
//! multiply-adds with eigenvectors. The error of each eigenvalue is a few n ε of the largest one's size.

use crate::error::{Error, Result};

/// A QL iteration that needs more steps than this for one eigenvalue met numbers that are none.
const MOST_STEPS: usize = 60;

/// The eigenvalues of a symmetric matrix in ascending order, and its eigenvectors.
#[derive(Debug, Clone, PartialEq)]
pub struct Eigen {
    /// In ascending order.
    pub values: Vec<f64>,
    /// `[n, n]`; row i is the unit eigenvector of value i.
    pub vectors: Vec<f64>,
}

/// The eigenvalues and eigenvectors of the symmetric part of `[size, size]` numbers.
///
/// Fails if a number is not finite. Panics unless there are size² of them.
///
/// ```
/// use belamy_gan::judge::symmetric::eigen;
/// let found = eigen(&[2.0, 1.0, 1.0, 2.0], 2)?;
/// assert!((found.values[0] - 1.0).abs() < 1e-14 && (found.values[1] - 3.0).abs() < 1e-14);
/// # Ok::<(), belamy_gan::Error>(())
/// ```
pub fn eigen(matrix: &[f64], size: usize) -> Result<Eigen> {
    assert_eq!(matrix.len(), size * size, "a square matrix");
    if !matrix.iter().all(|value| value.is_finite()) {
        return Err(Error::data("a matrix has a number that is not finite"));
    }
    // v[j * n + i] is column i's entry j while T is made.
    let mut v: Vec<f64> = (0..size * size)
        .map(|place| {
            let (row, column) = (place / size, place % size);
            0.5 * matrix[row * size + column] + 0.5 * matrix[column * size + row]
        })
        .collect();
    let (mut diagonal, mut off) = (vec![0.0; size], vec![0.0; size]);
    tridiagonalise(&mut v, &mut diagonal, &mut off);
    // Rows are contiguous: QL turns pairs of eigenvectors.
    let mut vectors: Vec<f64> =
        (0..size * size).map(|place| v[place % size * size + place / size]).collect();
    diagonalise(&mut diagonal, &mut off, &mut vectors)?;
    let mut order: Vec<usize> = (0..size).collect();
    order.sort_by(|&a, &b| diagonal[a].total_cmp(&diagonal[b]));
    Ok(Eigen {
        values: order.iter().map(|&index| diagonal[index]).collect(),
        vectors: order
            .iter()
            .flat_map(|&index| &vectors[index * size..][..size])
            .copied()
            .collect(),
    })
}

/// The symmetric square root of a symmetric matrix without negative eigenvalues, `[size, size]`; eigenvalues below 0,
/// which are rounding in a covariance, count as 0. Fails as [`eigen`].
pub fn square_root(matrix: &[f64], size: usize) -> Result<Vec<f64>> {
    let Eigen { values, vectors } = eigen(matrix, size)?;
    let mut root = vec![0.0; size * size];
    for (value, vector) in values.iter().zip(vectors.chunks_exact(size)) {
        let weight = value.max(0.0).sqrt();
        for (row, &entry) in root.chunks_exact_mut(size).zip(vector) {
            let factor = weight * entry;
            row.iter_mut().zip(vector).for_each(|(sum, other)| *sum += factor * other);
        }
    }
    Ok(root)
}

/// tr √(A B) for symmetric A and B `[size, size]` without negative eigenvalues: the sum of the square roots of the
/// eigenvalues of √A B √A, which is symmetric and similar to A B. Fails as [`eigen`].
pub fn trace_of_root_of_product(a: &[f64], b: &[f64], size: usize) -> Result<f64> {
    let root = square_root(a, size)?;
    let product = multiply(&multiply(&root, b, size), &root, size);
    let values = eigen(&product, size)?.values;
    Ok(values.iter().map(|value| value.max(0.0).sqrt()).sum())
}

/// The product of two `[size, size]` matrices, in loops.
fn multiply(a: &[f64], b: &[f64], size: usize) -> Vec<f64> {
    let mut product = vec![0.0; size * size];
    for (sums, row) in product.chunks_exact_mut(size).zip(a.chunks_exact(size)) {
        for (factor, other) in row.iter().zip(b.chunks_exact(size)) {
            sums.iter_mut().zip(other).for_each(|(sum, value)| *sum += factor * value);
        }
    }
    product
}

/// Brings the symmetric matrix in `v` to tridiagonal form: `v` becomes Q, a column a vector; `off[0]` is 0.
fn tridiagonalise(v: &mut [f64], diagonal: &mut [f64], off: &mut [f64]) {
    let n = diagonal.len();
    if n == 0 {
        return;
    }
    let at = |row: usize, column: usize| row * n + column;
    for j in 0..n {
        diagonal[j] = v[at(n - 1, j)];
    }
    for i in (1..n).rev() {
        let scale: f64 = diagonal[..i].iter().map(|value| value.abs()).sum();
        let mut h = 0.0;
        if scale == 0.0 {
            off[i] = diagonal[i - 1];
            for j in 0..i {
                diagonal[j] = v[at(i - 1, j)];
                v[at(i, j)] = 0.0;
                v[at(j, i)] = 0.0;
            }
        } else {
            for value in &mut diagonal[..i] {
                *value /= scale;
                h += *value * *value;
            }
            let f = diagonal[i - 1];
            let g = if f > 0.0 { -h.sqrt() } else { h.sqrt() };
            off[i] = scale * g;
            h -= f * g;
            diagonal[i - 1] = f - g;
            off[..i].fill(0.0);
            for j in 0..i {
                let f = diagonal[j];
                v[at(j, i)] = f;
                let mut g = off[j] + v[at(j, j)] * f;
                for k in j + 1..i {
                    g += v[at(k, j)] * diagonal[k];
                    off[k] += v[at(k, j)] * f;
                }
                off[j] = g;
            }
            let mut f = 0.0;
            for j in 0..i {
                off[j] /= h;
                f += off[j] * diagonal[j];
            }
            let half = f / (h + h);
            for j in 0..i {
                off[j] -= half * diagonal[j];
            }
            for j in 0..i {
                let (f, g) = (diagonal[j], off[j]);
                for k in j..i {
                    v[at(k, j)] -= f * off[k] + g * diagonal[k];
                }
                diagonal[j] = v[at(i - 1, j)];
                v[at(i, j)] = 0.0;
            }
        }
        diagonal[i] = h;
    }
    // The reflections, one after the other, make Q.
    for i in 0..n - 1 {
        v[at(n - 1, i)] = v[at(i, i)];
        v[at(i, i)] = 1.0;
        let h = diagonal[i + 1];
        if h != 0.0 {
            for k in 0..=i {
                diagonal[k] = v[at(k, i + 1)] / h;
            }
            for j in 0..=i {
                let g: f64 = (0..=i).map(|k| v[at(k, i + 1)] * v[at(k, j)]).sum();
                for k in 0..=i {
                    v[at(k, j)] -= g * diagonal[k];
                }
            }
        }
        for k in 0..=i {
            v[at(k, i + 1)] = 0.0;
        }
    }
    for j in 0..n {
        diagonal[j] = v[at(n - 1, j)];
        v[at(n - 1, j)] = 0.0;
    }
    v[at(n - 1, n - 1)] = 1.0;
    off[0] = 0.0;
}

/// Diagonalises a tridiagonal matrix; `vectors` holds Q's columns as rows and becomes the eigenvectors.
fn diagonalise(diagonal: &mut [f64], off: &mut [f64], vectors: &mut [f64]) -> Result<()> {
    let n = diagonal.len();
    if n == 0 {
        return Ok(());
    }
    off.rotate_left(1);
    let (mut shift, mut largest) = (0.0f64, 0.0f64);
    for l in 0..n {
        largest = largest.max(diagonal[l].abs() + off[l].abs());
        // off[n − 1] is 0, so there is an end.
        let mut m = l;
        while m < n - 1 && off[m].abs() > f64::EPSILON * largest {
            m += 1;
        }
        let mut steps = 0;
        while m > l && off[l].abs() > f64::EPSILON * largest {
            steps += 1;
            if steps > MOST_STEPS {
                return Err(Error::data("the eigenvalues of a matrix were not found"));
            }
            let g = diagonal[l];
            let p = (diagonal[l + 1] - g) / (2.0 * off[l]);
            let r = if p < 0.0 { -p.hypot(1.0) } else { p.hypot(1.0) };
            diagonal[l] = off[l] / (p + r);
            diagonal[l + 1] = off[l] * (p + r);
            let next = diagonal[l + 1];
            let h = g - diagonal[l];
            diagonal[l + 2..].iter_mut().for_each(|value| *value -= h);
            shift += h;
            let mut p = diagonal[m];
            let (mut c, mut c2, mut c3) = (1.0, 1.0, 1.0);
            let (mut s, mut s2) = (0.0, 0.0);
            let next_off = off[l + 1];
            for i in (l..m).rev() {
                c3 = c2;
                c2 = c;
                s2 = s;
                let g = c * off[i];
                let h = c * p;
                let r = p.hypot(off[i]);
                off[i + 1] = s * r;
                s = off[i] / r;
                c = p / r;
                p = c * diagonal[i] - s * g;
                diagonal[i + 1] = h + s * (c * g + s * diagonal[i]);
                let (before, after) = vectors.split_at_mut((i + 1) * n);
                let (x, y) = (&mut before[i * n..], &mut after[..n]);
                for (x, y) in x.iter_mut().zip(y) {
                    let h = *y;
                    *y = s * *x + c * h;
                    *x = c * *x - s * h;
                }
            }
            p = -s * s2 * c3 * next_off * off[l] / next;
            off[l] = s * p;
            diagonal[l] = c * p;
        }
        diagonal[l] += shift;
        off[l] = 0.0;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use belamy_tensor::philox::{Draws, uniform};

    fn close(a: &[f64], b: &[f64], bound: f64) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= bound)
    }

    fn random(size: usize, seed: u64) -> Vec<f64> {
        let draws = Draws { seed, stream: 0, step: 0 };
        (0..size * size).map(|place| uniform(draws.word(place as u32, 0)) - 0.5).collect()
    }

    #[test]
    fn known_matrices_have_known_eigenvalues() {
        // −1, 2, −1 on three diagonals: 2 − 2 cos(kπ / (n + 1)).
        let n = 12;
        let entry = |place: usize| match (place / n).abs_diff(place % n) {
            0 => 2.0,
            1 => -1.0,
            _ => 0.0,
        };
        let values = eigen(&(0..n * n).map(entry).collect::<Vec<_>>(), n).unwrap().values;
        let expected: Vec<f64> = (1..=n)
            .map(|k| 2.0 - 2.0 * (k as f64 * std::f64::consts::PI / (n as f64 + 1.0)).cos())
            .collect();
        assert!(close(&values, &expected, 1e-13), "{values:?} {expected:?}");
        // All ones: 0 (n − 1 times) and n. A diagonal: itself. Zero: zero.
        let values = eigen(&[1.0; 49], 7).unwrap().values;
        assert!(close(&values, &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 7.0], 1e-13), "{values:?}");
        let diagonal = [3.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 2.0];
        assert_eq!(eigen(&diagonal, 3).unwrap().values, [-1.0, 2.0, 3.0]);
        assert_eq!(eigen(&[0.0; 16], 4).unwrap().values, [0.0; 4]);
        assert_eq!(eigen(&[5.0], 1).unwrap(), Eigen { values: vec![5.0], vectors: vec![1.0] });
        assert!(eigen(&[f64::NAN], 1).is_err());
    }

    #[test]
    fn vectors_are_unit_and_orthogonal_and_rebuild_the_matrix() {
        for (size, seed) in [(2, 1), (3, 2), (17, 3), (60, 4)] {
            let draws = random(size, seed);
            let symmetric: Vec<f64> = (0..size * size)
                .map(|place| draws[place] + draws[place % size * size + place / size])
                .collect();
            let Eigen { values, vectors } = eigen(&symmetric, size).unwrap();
            assert!(values.is_sorted());
            for i in 0..size {
                for j in 0..size {
                    let product: f64 =
                        (0..size).map(|k| vectors[i * size + k] * vectors[j * size + k]).sum();
                    let expected = f64::from(u8::from(i == j));
                    assert!((product - expected).abs() < 1e-12, "{size} {i} {j} {product}");
                    let rebuilt: f64 = (0..size)
                        .map(|k| values[k] * vectors[k * size + i] * vectors[k * size + j])
                        .sum();
                    assert!((rebuilt - symmetric[i * size + j]).abs() < 1e-12, "{size} {i} {j}");
                }
            }
        }
    }

    #[test]
    fn the_trace_of_the_root_of_a_product_is_that_of_commuting_and_of_equal_matrices() {
        // Diagonals commute: √(4·9) + √(1·16).
        let trace = trace_of_root_of_product(&[4.0, 0.0, 0.0, 1.0], &[9.0, 0.0, 0.0, 16.0], 2);
        assert!((trace.unwrap() - 10.0).abs() < 1e-12);
        // √(A A) = A, also where A is singular: rank 3 of 6.
        let factor = random(6, 5);
        let a: Vec<f64> = (0..36)
            .map(|place| {
                (0..3).map(|k| factor[place / 6 * 6 + k] * factor[place % 6 * 6 + k]).sum()
            })
            .collect();
        let trace: f64 = (0..6).map(|i| a[i * 7]).sum();
        let found = trace_of_root_of_product(&a, &a, 6).unwrap();
        assert!((found - trace).abs() < 1e-7, "{found} {trace}");
        let root = square_root(&a, 6).unwrap();
        assert!(close(&multiply(&root, &root, 6), &a, 1e-13));
    }
}

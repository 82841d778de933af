//! Every micro-kernel that this processor runs, against a loop in f64.

use super::*;

/// A test's element type, and how it is read as f64.
trait Sample: GemmElement {
    const EPSILON: f64;
    fn from_f64(value: f64) -> Self;
    fn to_f64(self) -> f64;
    fn bits(self) -> u64;
}

impl Sample for f32 {
    const EPSILON: f64 = f32::EPSILON as f64;
    fn from_f64(value: f64) -> Self {
        value as f32
    }
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    fn bits(self) -> u64 {
        u64::from(self.to_bits())
    }
}

impl Sample for f64 {
    const EPSILON: f64 = f64::EPSILON;
    fn from_f64(value: f64) -> Self {
        value
    }
    fn to_f64(self) -> f64 {
        self
    }
    fn bits(self) -> u64 {
        self.to_bits()
    }
}

/// Numbers between -1 and 1 that repeat in no pattern (a multiplicative congruential generator).
fn numbers<E: Sample>(length: usize, seed: u64) -> Vec<E> {
    let mut state = seed.wrapping_mul(2).wrapping_add(0x9E37_79B9_7F4A_7C15) | 1;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(0xD134_2543_DE82_EF95);
            E::from_f64((state >> 40) as f64 / (1u64 << 23) as f64 - 1.0)
        })
        .collect()
}

/// A `rows` x `columns` matrix stored both ways, with unused NaNs between the rows.
struct Stored<E> {
    rows: usize,
    columns: usize,
    straight: Vec<E>,
    transposed: Vec<E>,
}

/// Unused elements after each row.
const GAP: usize = 3;

impl<E: Sample> Stored<E> {
    fn new(rows: usize, columns: usize, seed: u64) -> Self {
        Self::of(rows, columns, &numbers(rows * columns, seed))
    }

    fn of(rows: usize, columns: usize, values: &[E]) -> Self {
        let mut straight = vec![E::from_f64(f64::NAN); rows * (columns + GAP)];
        let mut transposed = vec![E::from_f64(f64::NAN); columns * (rows + GAP)];
        for i in 0..rows {
            for j in 0..columns {
                straight[i * (columns + GAP) + j] = values[i * columns + j];
                transposed[j * (rows + GAP) + i] = values[i * columns + j];
            }
        }
        Self { rows, columns, straight, transposed }
    }

    fn at(&self, i: usize, j: usize) -> f64 {
        self.straight[i * (self.columns + GAP) + j].to_f64()
    }

    /// As the left operand, in either storage.
    fn left(&self, transposed: bool) -> Matrix<'_, E> {
        if transposed {
            Matrix::depth_by_lanes(&self.transposed, self.rows + GAP)
        } else {
            Matrix::lanes_by_depth(&self.straight, self.columns + GAP)
        }
    }

    /// As the right operand, in either storage.
    fn right(&self, transposed: bool) -> Matrix<'_, E> {
        if transposed {
            Matrix::lanes_by_depth(&self.transposed, self.rows + GAP)
        } else {
            Matrix::depth_by_lanes(&self.straight, self.columns + GAP)
        }
    }
}

/// Multiplies with every kernel and in all four storages, and compares each with f64 sums.
///
/// The bound: k roundings of sums below sum |a||b| that go either way, so sqrt(k) of them, with a
/// factor of 3 for the worst of all elements.
fn check<E: Sample>(m: usize, n: usize, k: usize) {
    check_kernels(E::kernels(), &Stored::new(m, k, 1), &Stored::new(k, n, 2));
}

fn check_kernels<E: Sample>(kernels: &[Kernel<E>], a: &Stored<E>, b: &Stored<E>) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    let mut want = vec![(0.0, 0.0); m * n];
    for i in 0..m {
        for d in 0..k {
            let factor = a.at(i, d);
            for j in 0..n {
                let term = factor * b.at(d, j);
                let (sum, size): &mut (f64, f64) = &mut want[i * n + j];
                *sum += term;
                *size += term.abs();
            }
        }
    }
    let factor = 3.0 * E::EPSILON * (k as f64).sqrt();
    for kernel in kernels {
        for (a_transposed, b_transposed) in
            [(false, false), (false, true), (true, false), (true, true)]
        {
            let mut c = vec![E::from_f64(f64::NAN); m * n];
            gemm(kernel, m, n, k, &a.left(a_transposed), &b.right(b_transposed), &mut c);
            for (index, (&got, &(want, size))) in c.iter().zip(&want).enumerate() {
                let (got, bound) = (got.to_f64(), factor * size);
                assert!(
                    (got - want).abs() <= bound,
                    "{} {m} x {n} x {k}, A transposed {a_transposed}, B transposed \
                     {b_transposed}, at ({}, {}): {got}, not {want} within {bound}",
                    kernel.set.name(),
                    index / n,
                    index % n,
                );
            }
        }
    }
}

fn check_grid<E: Sample>() {
    let mut sides = vec![1, 2, 3, 5, 7, 19];
    for kernel in E::kernels() {
        sides.extend([kernel.mr - 1, kernel.mr, kernel.mr + 1]);
        sides.extend([kernel.nr - 1, kernel.nr, kernel.nr + 1, kernel.nr / 2]);
    }
    sides.sort();
    sides.dedup();
    for &m in &sides {
        for &n in &sides {
            for k in [0, 1, 2, 3, 5, 11] {
                check::<E>(m, n, k);
            }
        }
    }
    for (m, n) in [(1, 1), (5, 3), (7, 17), (13, 33)] {
        for k in [DEPTH_BLOCK - 1, DEPTH_BLOCK, DEPTH_BLOCK + 1, 2 * DEPTH_BLOCK + 5] {
            check::<E>(m, n, k);
        }
    }
}

#[test]
fn awkward_sizes_f32() {
    check_grid::<f32>();
}

#[test]
fn awkward_sizes_f64() {
    check_grid::<f64>();
}

/// The micro-kernels for bf16: the processor's own, those of its matrix unit too, and f32's on rounded operands.
fn bf16_kernels() -> Vec<Kernel<f32>> {
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_mut))]
    let mut kernels = vec![Kernel { operands: kernel::Operands::Rounded, ..*f32::best_kernel() }];
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    kernels.extend(micro_amx::kernel());
    #[cfg(target_arch = "x86_64")]
    kernels.extend(micro_bf16::kernel());
    kernels
}

/// The micro-kernels for operands that are pairs of bf16 already: plain loops, and what the processor has.
pub(crate) fn kernels_of_pairs() -> Vec<Kernel<f32>> {
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_mut))]
    let mut kernels = vec![micro_portable::of_pairs()];
    let ready = |kernel| Kernel { operands: kernel::Operands::AsTheyAre, ..kernel };
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    kernels.extend(micro_amx::kernel().map(ready));
    #[cfg(target_arch = "x86_64")]
    kernels.extend(micro_bf16::kernel().map(ready));
    kernels
}

/// The micro-kernels for operands in three parts: in plain loops, and the matrix unit's where there is one.
fn kernels_of_parts() -> Vec<Kernel<f32>> {
    #[cfg_attr(not(all(target_arch = "x86_64", target_os = "linux")), allow(unused_mut))]
    let mut kernels = vec![micro_portable::of_parts()];
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    kernels.extend(micro_amx::kernel_of_parts());
    kernels
}

#[test]
fn products_of_parts_are_those_of_f32() {
    let kernels = kernels_of_parts();
    let shapes = [24, 31, 32, 33, 63, 64, 100, 255, 256, 257, 517]
        .into_iter()
        .flat_map(|k| [(1, 1, k), (5, 3, k), (16, 32, k), (33, 17, k), (40, 70, k)])
        .chain(PARALLEL_SHAPES);
    for (m, n, k) in shapes {
        check_kernels(&kernels, &Stored::new(m, k, 1), &Stored::new(k, n, 2));
    }
}

#[test]
fn products_of_parts_are_as_exact_as_fused_ones() {
    let (m, n, k) = (40, 70, 700);
    let (a, b) = (Stored::<f32>::new(m, k, 1), Stored::<f32>::new(k, n, 2));
    let error = |kernel: &Kernel<f32>| -> f64 {
        let mut c = vec![f32::NAN; m * n];
        gemm(kernel, m, n, k, &a.left(false), &b.right(false), &mut c);
        let (mut errors, mut squares) = (0.0, 0.0);
        for (index, &got) in c.iter().enumerate() {
            let want: f64 = (0..k).map(|d| a.at(index / n, d) * b.at(d, index % n)).sum();
            errors += (f64::from(got) - want).powi(2);
            squares += want.powi(2);
        }
        (errors / squares).sqrt()
    };
    let whole = error(f32::best_kernel());
    // The matrix unit sums pairs and steps apart; plain loops do not.
    for (kernel, most) in kernels_of_parts().iter().zip([1.5, 1.0]) {
        let parts = error(kernel);
        assert!(parts <= most * whole, "{parts:e} in parts, {whole:e} fused");
    }
}

/// Numbers of eight bits, which are bf16 as they are.
pub(crate) fn eight_bits(length: usize, seed: u64) -> Vec<f32> {
    numbers::<f32>(length, seed).iter().map(|x| (x * 128.0).round() / 128.0).collect()
}

/// Numbers that are rounded to these: less than half of the eighth bit, towards either side, is rounded away.
pub(crate) fn nudged(values: &[f32]) -> Vec<f32> {
    let shares = [1.0, 1.0 + 0.9 / 512.0, 1.0 - 0.9 / 1024.0];
    values.iter().zip(shares.iter().cycle()).map(|(x, share)| x * share).collect()
}

#[test]
fn products_of_bf16_are_those_of_rounded_numbers() {
    let kernels = bf16_kernels();
    let shapes = [1, 2, 3, 5, 255, 256, 257, 517]
        .into_iter()
        .flat_map(|k| [(1, 1, k), (5, 3, k), (12, 32, k), (13, 33, k), (40, 70, k)])
        .chain(PARALLEL_SHAPES);
    for (m, n, k) in shapes {
        let (a, b) = (eight_bits(m * k, 1), eight_bits(k * n, 2));
        check_kernels(&kernels, &Stored::of(m, k, &a), &Stored::of(k, n, &b));
        for kernel in &kernels {
            let product = |a: &[f32], b: &[f32]| {
                let mut c = vec![f32::NAN; m * n];
                let (a, b) = (Stored::of(m, k, a), Stored::of(k, n, b));
                gemm(kernel, m, n, k, &a.left(false), &b.right(false), &mut c);
                c
            };
            assert_eq!(product(&a, &b), product(&nudged(&a), &nudged(&b)), "{m} x {n} x {k}");
        }
    }
}

/// Shapes above the threshold of parallel work, one for each way of cutting.
const PARALLEL_SHAPES: [(usize, usize, usize); 7] = [
    (211, 67, 131), // tiles of rows
    (61, 307, 113), // tiles of columns
    (227, 1, 4651), // one column: as a row
    (1753, 3, 263), // few columns: as rows, transposed afterwards
    (1, 509, 2203), // one row
    (19, 37, 3001), // too few tiles of columns: k split
    (41, 31, 1283), // too few tiles of rows: k split
];

#[test]
fn parallel_sizes() {
    for (m, n, k) in PARALLEL_SHAPES {
        assert!(m * n * k >= PARALLEL_WORK);
        check::<f32>(m, n, k);
        check::<f64>(m, n, k);
    }
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    for (m, n, k) in PARALLEL_SHAPES {
        let (a, b) = (Stored::<f32>::new(m, k, 3), Stored::<f32>::new(k, n, 4));
        let results: Vec<Vec<u32>> = [1, 2, 3, 5]
            .into_iter()
            .map(|threads| {
                let mut c = vec![f32::NAN; m * n];
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    gemm(
                        f32::kernel(Products::Whole),
                        m,
                        n,
                        k,
                        &a.left(false),
                        &b.right(false),
                        &mut c,
                    )
                });
                c.into_iter().map(f32::to_bits).collect()
            })
            .collect();
        for result in &results[1..] {
            assert!(*result == results[0], "{m} x {n} x {k}");
        }
    }
}

/// The law of the module: a few rows and columns of a product are the product of these rows and
/// columns, bit for bit, however differently the two are cut.
fn check_parts<E: Sample>(kernels: &[Kernel<E>], m: usize, n: usize, k: usize) {
    let (a, b) = (numbers::<E>(m * k, 5), numbers::<E>(k * n, 6));
    let a = |first: usize| Matrix::lanes_by_depth(&a[first * k..], k);
    let b = |first: usize| Matrix::depth_by_lanes(&b[first..], n);
    for kernel in kernels {
        let mut whole = vec![E::from_f64(f64::NAN); m * n];
        gemm(kernel, m, n, k, &a(0), &b(0), &mut whole);
        for (rows, columns) in
            [(0..1, 0..1), (1..3, 0..n), (0..m, n - 1..n), (m / 2..m / 2 + 9, n / 2..n / 2 + 21)]
        {
            let (height, width) = (rows.len(), columns.len());
            let mut part = vec![E::from_f64(f64::NAN); height * width];
            gemm(kernel, height, width, k, &a(rows.start), &b(columns.start), &mut part);
            for (i, row) in rows.clone().enumerate() {
                for (j, column) in columns.clone().enumerate() {
                    let (part, whole) = (part[i * width + j], whole[row * n + column]);
                    assert!(
                        part.bits() == whole.bits() && whole.to_f64().is_finite(),
                        "{} {m} x {n} x {k}, {rows:?} x {columns:?}: {} at ({row}, {column}), \
                         in the whole {}",
                        kernel.set.name(),
                        part.to_f64(),
                        whole.to_f64(),
                    );
                }
            }
        }
    }
}

#[test]
fn parts_have_the_bits_of_the_whole() {
    check_parts(f64::kernels(), 97, 161, 700);
    for kernels in [f32::kernels(), &bf16_kernels(), &kernels_of_parts()] {
        check_parts(kernels, 97, 61, 700);
        check_parts(kernels, 90, 300, 12_000); // k split in several rounds of partial sums
        check_parts(kernels, 530, 520, 9_000); // the shared side packed in several rounds
        check_parts(kernels, 1500, 1490, 523); // tiles of C gone through some columns at a time
    }
}

#[test]
fn fused_kernels_agree_in_every_bit() {
    let (m, n, k) = (53, 71, 901);
    let (a, b) = (numbers::<f32>(m * k, 9), numbers::<f32>(k * n, 10));
    let results: Vec<Vec<u32>> = f32::kernels()
        .iter()
        .filter(|kernel| kernel.set != crate::vectors::InstructionSet::Portable)
        .map(|kernel| {
            let mut c = vec![f32::NAN; m * n];
            let (a, b) = (Matrix::lanes_by_depth(&a, k), Matrix::depth_by_lanes(&b, n));
            gemm(kernel, m, n, k, &a, &b, &mut c);
            c.into_iter().map(f32::to_bits).collect()
        })
        .collect();
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn scratch_of_an_earlier_multiply_leaves_no_trace() {
    let nan = vec![f32::NAN; 40 * 600];
    let mut c = vec![0.0; 40 * 40];
    for kernel in f32::kernels().iter().chain(&kernels_of_parts()) {
        let (a, b) = (Matrix::lanes_by_depth(&nan, 600), Matrix::lanes_by_depth(&nan, 600));
        gemm(kernel, 40, 40, 600, &a, &b, &mut c);
        assert!(c.iter().all(|value| value.is_nan()));
    }
    check::<f32>(13, 21, 301);
}

#[test]
fn a_nan_reaches_its_row_and_no_other() {
    let (m, n, k) = (23, 37, 300);
    let mut a = numbers::<f32>(m * k, 7);
    let b = numbers::<f32>(k * n, 8);
    a[5 * k + 299] = f32::NAN;
    for kernel in f32::kernels().iter().chain(&kernels_of_parts()) {
        let mut c = vec![0.0; m * n];
        let (a, b) = (Matrix::lanes_by_depth(&a, k), Matrix::depth_by_lanes(&b, n));
        gemm(kernel, m, n, k, &a, &b, &mut c);
        for (i, row) in c.chunks_exact(n).enumerate() {
            assert!(
                row.iter().all(|value| value.is_nan() == (i == 5)),
                "{}, row {i}",
                kernel.set.name()
            );
        }
    }
}

#[test]
fn empty_results_and_empty_sums() {
    let nothing = Matrix::lanes_by_depth(&[] as &[f32], 0);
    gemm(f32::best_kernel(), 0, 5, 7, &nothing, &nothing, &mut []);
    gemm(f32::best_kernel(), 5, 0, 7, &nothing, &nothing, &mut []);
    let mut c = vec![f32::NAN; 6];
    gemm(f32::best_kernel(), 2, 3, 0, &nothing, &nothing, &mut c);
    assert_eq!(c, [0.0; 6]);
}

/// Every number of windows and of vectors, over even and odd depths, which overlap and lie in no order.
fn check_windows<E: Sample>() {
    for kernel in E::kernels().iter().filter(|kernel| kernel.takes_windows()) {
        let half = kernel.nr / 2;
        for (depth, columns) in
            [1, 2, 7, 48].into_iter().zip([1, 2, 3, 5].map(|count| count * half))
        {
            for lanes in 1..=kernel.windows_at_a_time(columns) {
                let starts: Vec<usize> = (0..lanes).map(|lane| (lane * 29) % 61).collect();
                let steps: Vec<usize> = (0..depth).map(|k| (k * 13) % 50).collect();
                let furthest = starts.iter().max().unwrap() + steps.iter().max().unwrap();
                let (apart_b, apart_c) = (columns + 3, columns + 5);
                let a = numbers::<E>(furthest + 1, 1);
                let b = numbers::<E>((depth - 1) * apart_b + columns, 2);
                let old = numbers::<E>((lanes - 1) * apart_c + columns, 3);
                for accumulate in [false, true] {
                    let mut c = old.clone();
                    let listed = Steps::new(steps.clone());
                    let windows = Windows::new(&a, Starts::new(&starts), &listed, depth);
                    let from = Columns { data: &b, apart: apart_b };
                    let to = (&mut c[..], apart_c);
                    kernel.block_of_windows(
                        &windows,
                        &from,
                        columns,
                        &Columns::lines(&a),
                        to,
                        accumulate,
                    );
                    for (index, (&got, &old)) in c.iter().zip(&old).enumerate() {
                        let (lane, column) = (index / apart_c, index % apart_c);
                        if column >= columns {
                            assert_eq!(got.bits(), old.bits(), "what lies between rows of C");
                            continue;
                        }
                        let mut want = if accumulate { old.to_f64() } else { 0.0 };
                        for (k, step) in steps.iter().enumerate() {
                            let a = a[starts[lane] + step].to_f64();
                            want += a * b[k * apart_b + column].to_f64();
                        }
                        let bound = 3.0 * E::EPSILON * (depth as f64 + 1.0).sqrt();
                        let set = kernel.set.name();
                        assert!(
                            (got.to_f64() - want).abs() <= bound,
                            "{set}, {lanes} x {columns} x {depth} at ({lane}, {column}): {}, not {want}",
                            got.to_f64()
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn windows_of_every_number_and_width() {
    check_windows::<f32>();
    check_windows::<f64>();
}

#[test]
#[should_panic(expected = "a window ends at 7 of 7")]
fn windows_end_within_their_slice() {
    Windows::new(&[0.0f32; 7], Starts::new(&[0, 3]), &Steps::new(vec![0, 4]), 2);
}

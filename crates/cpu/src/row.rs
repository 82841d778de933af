//! A small network's function of one row, for programs that want one sample at a time: weights are packed once, and a
//! call works on the calling thread alone and in memory that it is given.
//!
//! ```text
//! dense     y[n] = sum over k of W[n, k] x[k] + b[n]: 64 outputs at a time, in registers; 2 N K FLOP, 4 N K bytes read
//! others    in place
//! ```
//!
//! A product of one row is bound by reading the weights, so nothing is packed in a call, nobody is woken, and a sample
//! costs what its weights take from the caches. **The bits are those of the ops** on any batch: sums go over k in the
//! order of [`crate::gemm`], by the same fused operations, and functions are computed as `unary` computes them.

use crate::functions;
use crate::gemm::{DEPTH_BLOCK, GemmElement, LONG_DEPTH, Products};
#[cfg(target_arch = "x86_64")]
use crate::vectors::InstructionSet;

/// Outputs whose sums are held in registers: eight vectors of AVX2.
const LANES: usize = 64;

/// A matrix of weights and a bias, in the order in which they are read.
#[derive(Debug)]
struct Dense {
    inputs: usize,
    outputs: usize,
    /// `[panel][k][lane]`; the last panel is filled up with zeros.
    panels: Vec<f32>,
    bias: Option<Vec<f32>>,
}

/// One function of a row.
#[derive(Debug)]
enum Step {
    Dense(Dense),
    Relu,
    LeakyRelu(f32),
    Tanh,
    Sigmoid,
}

/// Functions of a row, one after the other.
#[derive(Debug)]
pub struct RowProgram {
    inputs: usize,
    outputs: usize,
    /// The longest row on the way.
    longest: usize,
    steps: Vec<Step>,
}

impl RowProgram {
    /// A program that leaves rows of `inputs` numbers as they are.
    pub fn new(inputs: usize) -> RowProgram {
        RowProgram { inputs, outputs: inputs, longest: inputs, steps: Vec::new() }
    }

    /// The length of the rows it takes.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The length of the rows it makes.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// How many numbers of memory a call needs.
    pub fn scratch(&self) -> usize {
        2 * self.longest
    }

    /// Adds `x Wᵀ + b` with `weight: [outputs, inputs]`. `None` where the lengths do not fit, and where there are so many
    /// inputs (2,048) that a matrix unit sums them in the ops.
    pub fn dense(mut self, weight: &[f32], bias: Option<&[f32]>) -> Option<RowProgram> {
        let inputs = self.outputs;
        let outputs = weight.len().checked_div(inputs)?;
        let in_parts = inputs >= LONG_DEPTH && f32::kernel(Products::Whole).is_matrix_unit();
        if outputs == 0 || weight.len() != inputs * outputs || in_parts {
            return None;
        }
        if bias.is_some_and(|bias| bias.len() != outputs) {
            return None;
        }
        let mut panels = vec![0.0; outputs.div_ceil(LANES) * LANES * inputs];
        for (output, row) in weight.chunks_exact(inputs).enumerate() {
            let panel = &mut panels[output / LANES * LANES * inputs..];
            for (k, weight) in row.iter().enumerate() {
                panel[k * LANES + output % LANES] = *weight;
            }
        }
        let bias = bias.map(<[f32]>::to_vec);
        self.steps.push(Step::Dense(Dense { inputs, outputs, panels, bias }));
        (self.outputs, self.longest) = (outputs, self.longest.max(outputs));
        Some(self)
    }

    /// Adds max(x, 0).
    pub fn relu(mut self) -> RowProgram {
        self.steps.push(Step::Relu);
        self
    }

    /// Adds max(x, 0), with `slope` x below 0.
    pub fn leaky_relu(mut self, slope: f64) -> RowProgram {
        self.steps.push(Step::LeakyRelu(slope as f32));
        self
    }

    /// Adds the hyperbolic tangent.
    pub fn tanh(mut self) -> RowProgram {
        self.steps.push(Step::Tanh);
        self
    }

    /// Adds the logistic function.
    pub fn sigmoid(mut self) -> RowProgram {
        self.steps.push(Step::Sigmoid);
        self
    }

    /// What it makes of `scratch`'s first [`RowProgram::inputs`] numbers, into `out`. Allocates nothing.
    ///
    /// Panics where the lengths are not [`RowProgram::scratch`] and [`RowProgram::outputs`].
    ///
    /// ```
    /// use belamy_cpu::RowProgram;
    /// let program = RowProgram::new(2).dense(&[1.0, 2.0, 0.0, -3.0], Some(&[0.5, 0.0])).unwrap().leaky_relu(0.1);
    /// let mut scratch = vec![0.0; program.scratch()];
    /// let mut out = [0.0; 2];
    /// scratch[..2].copy_from_slice(&[1.0, 1.0]);
    /// program.run(&mut scratch, &mut out);
    /// assert_eq!(out, [3.5, -0.3]);
    /// ```
    pub fn run(&self, scratch: &mut [f32], out: &mut [f32]) {
        assert!(scratch.len() == self.scratch() && out.len() == self.outputs, "lengths of a row");
        let (mut row, mut next) = scratch.split_at_mut(self.longest);
        let mut length = self.inputs;
        for step in &self.steps {
            match step {
                Step::Dense(dense) => {
                    dense.multiply(&row[..length], &mut next[..dense.outputs]);
                    (row, next) = (next, row);
                    length = dense.outputs;
                }
                Step::Relu => {
                    row[..length].iter_mut().for_each(|x| *x = if *x <= 0.0 { 0.0 } else { *x })
                }
                Step::LeakyRelu(slope) => row[..length]
                    .iter_mut()
                    .for_each(|x| *x *= if *x <= 0.0 { *slope } else { 1.0 }),
                Step::Tanh => functions::tanh(&mut row[..length]),
                Step::Sigmoid => functions::sigmoid(&mut row[..length]),
            }
        }
        out.copy_from_slice(&row[..length]);
    }
}

impl Dense {
    fn multiply(&self, x: &[f32], y: &mut [f32]) {
        let panels = self.panels.chunks_exact(LANES * self.inputs);
        for (panel, y) in panels.zip(y.chunks_mut(LANES)) {
            let mut sums = [0.0; LANES];
            product(x, panel, &mut sums);
            y.copy_from_slice(&sums[..y.len()]);
        }
        if let Some(bias) = &self.bias {
            y.iter_mut().zip(bias).for_each(|(y, bias)| *y += bias);
        }
    }
}

/// The sums of one panel, by the best instructions there are.
#[cfg_attr(target_arch = "x86_64", allow(unsafe_code))]
fn product(x: &[f32], panel: &[f32], sums: &mut [f32; LANES]) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")]
        fn avx512(x: &[f32], panel: &[f32], sums: &mut [f32; LANES]) {
            by_blocks(x, panel, sums, f32::mul_add);
        }
        #[target_feature(enable = "avx2,fma")]
        fn avx2(x: &[f32], panel: &[f32], sums: &mut [f32; LANES]) {
            by_blocks(x, panel, sums, f32::mul_add);
        }
        match InstructionSet::best() {
            // SAFETY: the instructions were found in this processor; the function is safe but for them.
            InstructionSet::Avx512 => return unsafe { avx512(x, panel, sums) },
            // SAFETY: as above.
            InstructionSet::Avx2 => return unsafe { avx2(x, panel, sums) },
            InstructionSet::Portable => {}
        }
    }
    by_blocks(x, panel, sums, GemmElement::multiply_add);
}

/// Blocks of k as `gemm` takes them: the first is stored, the others are added.
#[inline(always)]
fn by_blocks(
    x: &[f32],
    panel: &[f32],
    sums: &mut [f32; LANES],
    multiply_add: impl Fn(f32, f32, f32) -> f32,
) {
    let (panel, _) = panel.as_chunks::<LANES>();
    for (block, (x, panel)) in x.chunks(DEPTH_BLOCK).zip(panel.chunks(DEPTH_BLOCK)).enumerate() {
        let mut own = [0.0; LANES];
        for (x, weights) in x.iter().zip(panel) {
            for (sum, weight) in own.iter_mut().zip(weights) {
                *sum = multiply_add(*x, *weight, *sum);
            }
        }
        if block == 0 {
            *sums = own;
        } else {
            sums.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use belamy_tensor::Tensor;
    use belamy_tensor::ops::matmul::matmul;

    fn values(count: usize, salt: u32) -> Vec<f32> {
        let mixed = |i: u32| (i.wrapping_mul(2_654_435_761) ^ salt.wrapping_mul(40_503)) >> 8;
        (0..count as u32).map(|i| mixed(i) as f32 / 8_388_608.0 - 1.0).collect()
    }

    #[test]
    fn rows_are_the_ops_bits() {
        let device = crate::cpu();
        for (inputs, outputs) in [(1, 1), (7, 64), (80, 65), (256, 360), (300, 130), (1024, 784)] {
            let (weight, bias) = (values(inputs * outputs, 1), values(outputs, 2));
            let program = RowProgram::new(inputs).dense(&weight, Some(&bias)).unwrap();
            let programs = [
                (program.leaky_relu(0.2), "leaky"),
                (RowProgram::new(inputs).dense(&weight, None).unwrap().tanh(), "tanh"),
                (RowProgram::new(inputs).dense(&weight, Some(&bias)).unwrap().sigmoid(), "sigmoid"),
            ];
            let rows = 5;
            let x = values(rows * inputs, 3);
            let tensor = |values: &[f32], dims: &[usize]| {
                Tensor::from_slice(values, belamy_tensor::Shape::new(dims).unwrap(), &device)
                    .unwrap()
            };
            let product = matmul(
                &tensor(&x, &[rows, inputs]),
                &tensor(&weight, &[outputs, inputs]),
                false,
                true,
            );
            let product = product.unwrap();
            let biased = product.add(&tensor(&bias, &[outputs])).unwrap();
            for (program, kind) in &programs {
                let expected = match *kind {
                    "leaky" => biased.leaky_relu(0.2),
                    "tanh" => product.tanh(),
                    _ => biased.sigmoid(),
                };
                let expected = expected.unwrap().to_vec::<f32>().unwrap();
                let mut scratch = vec![f32::NAN; program.scratch()];
                let mut out = vec![f32::NAN; outputs];
                for (row, expected) in x.chunks_exact(inputs).zip(expected.chunks_exact(outputs)) {
                    scratch[..inputs].copy_from_slice(row);
                    program.run(&mut scratch, &mut out);
                    assert_eq!(out, expected, "{inputs} to {outputs}, {kind}");
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(RowProgram::new(3).dense(&[1.0; 7], None).is_none());
        assert!(RowProgram::new(3).dense(&[1.0; 6], Some(&[0.0])).is_none());
        assert!(RowProgram::new(0).dense(&[1.0; 6], None).is_none());
        assert!(RowProgram::new(3).dense(&[], None).is_none());
    }
}

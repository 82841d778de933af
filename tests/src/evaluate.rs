//! A case's output and gradients as numbers.

use crate::case::{Build, Case};
use crate::values::Numbers;
use belamy_tensor::{DType, Device, Graph, Result, Shape, Tensor, grad};

/// What a case computes.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// The output's extents.
    pub shape: Shape,
    /// The output.
    pub output: Vec<f64>,
    /// For each operand its gradient, where one was asked for and is not zero by construction.
    pub grads: Vec<Option<Vec<f64>>>,
}

/// The random cotangent of a case's output. All ones would not see a permuted gradient.
pub fn cotangent(case: &Case, elements: usize) -> Vec<f64> {
    Numbers::new(&case.name(), "cotangent").normals(elements)
}

/// Runs the op, without gradients.
pub fn output(
    case: &Case,
    build: &Build,
    values: &[Vec<f64>],
    dtype: DType,
    device: &Device,
) -> Result<Tensor> {
    build(&case.tensors(values, dtype, device, false)?)
}

/// Runs the op and, where it has any, the gradients of its differentiable operands for a cotangent (by default
/// [`cotangent`]'s).
pub fn evaluate(
    case: &Case,
    build: &Build,
    values: &[Vec<f64>],
    weights: Option<&[f64]>,
    dtype: DType,
    device: &Device,
    graph: Graph,
) -> Result<Evaluation> {
    let inputs = case.tensors(values, dtype, device, true)?;
    let output = build(&inputs)?;
    let shape = output.shape();
    let mut grads = vec![None; inputs.len()];
    if output.is_tracked() {
        let weights = match weights {
            Some(weights) => weights.to_vec(),
            None => cotangent(case, shape.elements()),
        };
        let seed = Tensor::from_f64(&weights, shape, output.dtype(), device)?;
        let wanted: Vec<usize> =
            (0..inputs.len()).filter(|&index| case.inputs[index].differentiable).collect();
        let wrt: Vec<&Tensor> = wanted.iter().map(|&index| &inputs[index]).collect();
        for (index, grad) in wanted.iter().zip(grad(&output, Some(&seed), &wrt, graph)?) {
            grads[*index] = grad.map(|grad| grad.to_f64()).transpose()?;
        }
    }
    Ok(Evaluation { shape, output: output.to_f64()?, grads })
}

/// As [`evaluate`], for the output alone: the op runs as it does there, and no gradient is computed.
pub fn evaluate_output(
    case: &Case,
    build: &Build,
    values: &[Vec<f64>],
    dtype: DType,
    device: &Device,
) -> Result<Evaluation> {
    let inputs = case.tensors(values, dtype, device, true)?;
    let output = build(&inputs)?;
    let grads = vec![None; inputs.len()];
    Ok(Evaluation { shape: output.shape(), output: output.to_f64()?, grads })
}

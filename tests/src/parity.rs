//! A device against the oracle, against itself, and an op against its definition.
//!
//! `|got − want| ≤ 4 ε √K · size + tiny`, where ε is the type's unit roundoff, K how many terms an element sums, and
//! `size` what the case's [`Scale`](crate::case::Scale) says: for sums of products the same op on absolute values. Each check returns the
//! largest error as a share of its bound, 0 where bits are compared.

use crate::answers::{Answers, refused};
use crate::case::{Build, Case};
use crate::compare::{EPSILON_F32, EPSILON_F64, Mismatch, compare, identical};
use crate::evaluate::{Evaluation, cotangent, evaluate};
use belamy_tensor::{DType, Device, Graph, Tensor, grad};
use std::sync::Arc;

/// The constant of the bound.
const FACTOR: f64 = 4.0;
/// How much wider the bound is against a definition: in f64 the definition is rounded too, in its own order.
fn definition_factor(dtype: DType) -> f64 {
    if dtype == DType::F64 { 64.0 } else { 2.0 }
}

fn bound(case: &Case, dtype: DType, terms: usize, size: f64) -> f64 {
    let (epsilon, tiny) = match dtype {
        DType::F32 => (EPSILON_F32, 1e-36),
        _ => (EPSILON_F64, 1e-300),
    };
    FACTOR * epsilon * (terms as f64).sqrt() * case.slack * size + tiny
}

/// What a device computes, anew for each check.
fn got(answers: &Answers<'_>, dtype: DType, device: &Device) -> Result<Evaluation, Mismatch> {
    let case = answers.case();
    evaluate(case, &case.build, answers.values(), None, dtype, device, Graph::Drop).map_err(refused)
}

/// Checks the output of a device against the oracle's in f64.
pub fn forward(answers: &Answers<'_>, dtype: DType, device: &Device) -> Result<f64, Mismatch> {
    let case = answers.case();
    let got = got(answers, dtype, device)?;
    let want = answers.right(false)?;
    let sizes = answers.sizes(want, false)?;
    compare(&got.output, got.shape, &want.output, want.shape, |index| {
        bound(case, dtype, case.reduction, sizes.output[index])
    })
}

/// Checks the gradients of a device against the oracle's in f64.
pub fn backward(answers: &Answers<'_>, dtype: DType, device: &Device) -> Result<f64, Mismatch> {
    let case = answers.case();
    let got = got(answers, dtype, device)?;
    let want = answers.right(true)?;
    let sizes = answers.sizes(want, true)?;
    let terms = case.reduction.max(want.output.len());
    let mut share = 0.0f64;
    for (operand, input) in case.inputs.iter().enumerate() {
        let (got, want) = (&got.grads[operand], &want.grads[operand]);
        let (Some(got), Some(want)) = (got, want) else {
            if got.is_some() != want.is_some() || input.differentiable {
                let what = format!("operand {operand} has no gradient");
                return Err(Mismatch::Presence { what });
            }
            continue;
        };
        let shape = input.shape;
        let size = sizes.grads[operand].as_deref().unwrap_or(want);
        let bound = |index: usize| bound(case, dtype, terms, size[index].abs());
        share = share.max(compare(got, shape, want, shape, bound)?);
    }
    Ok(share)
}

/// Checks a device's op against the case's definition: the output, and the gradients where the definition is itself
/// differentiable.
pub fn reference(answers: &Answers<'_>, dtype: DType, device: &Device) -> Result<f64, Mismatch> {
    let case = answers.case();
    let Some(definition) = &case.reference else {
        return Err(Mismatch::Presence { what: "the case has no definition".into() });
    };
    let got = got(answers, dtype, device)?;
    let want = answers.definition(definition)?;
    let sizes = answers.sizes(want, true)?;
    let wider = definition_factor(dtype);
    let mut share = compare(&got.output, got.shape, &want.output, want.shape, |index| {
        wider * bound(case, dtype, case.reduction, sizes.output[index])
    })?;
    let terms = case.reduction.max(want.output.len());
    for (operand, input) in case.inputs.iter().enumerate() {
        let Some(want) = &want.grads[operand] else { continue };
        let Some(got) = &got.grads[operand] else {
            let what = format!("operand {operand} has no gradient");
            return Err(Mismatch::Presence { what });
        };
        let size = sizes.grads[operand].as_deref().unwrap_or(want);
        let bound = |index: usize| wider * bound(case, dtype, terms, size[index].abs());
        share = share.max(compare(got, input.shape, want, input.shape, bound)?);
    }
    Ok(share)
}

/// Checks that a second run gives the same bits.
pub fn twice(case: &Case, dtype: DType, device: &Device) -> Result<f64, Mismatch> {
    let run = || {
        evaluate(case, &case.build, &case.values(), None, dtype, device, Graph::Drop)
            .map_err(refused)
    };
    same_bits(case, &run()?, &run()?)
}

/// Checks that 1, 2 and 3 threads give the same bits.
pub fn threads(case: &Case, dtype: DType, device: &Device) -> Result<f64, Mismatch> {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|error| Mismatch::Presence { what: error.to_string() })?;
        pool.install(|| {
            evaluate(case, &case.build, &case.values(), None, dtype, device, Graph::Drop)
                .map_err(refused)
        })
    };
    let one = run(1)?;
    same_bits(case, &run(2)?, &one)?;
    same_bits(case, &run(3)?, &one)
}

fn same_bits(case: &Case, got: &Evaluation, want: &Evaluation) -> Result<f64, Mismatch> {
    identical(&got.output, &want.output, want.shape)?;
    for (operand, input) in case.inputs.iter().enumerate() {
        match (&got.grads[operand], &want.grads[operand]) {
            (Some(got), Some(want)) => identical(got, want, input.shape)?,
            (None, None) => {}
            _ => {
                let what = format!("operand {operand} has a gradient in one run only");
                return Err(Mismatch::Presence { what });
            }
        }
    }
    Ok(0.0)
}

/// Checks that gradients add where an input is used twice: by the same op applied twice, and, where two operands can
/// be the same tensor, by one op.
pub fn reused(case: &Case, dtype: DType, device: &Device) -> Result<f64, Mismatch> {
    let run = |build: &Build, values: &[Vec<f64>]| {
        evaluate(case, build, values, None, dtype, device, Graph::Drop).map_err(refused)
    };
    let once = run(&case.build, &case.values())?;
    let inner = Arc::clone(&case.build);
    let doubled: Build = Arc::new(move |inputs| inner(inputs)?.add(&inner(inputs)?));
    let twice = run(&doubled, &case.values())?;
    for (operand, input) in case.inputs.iter().enumerate() {
        let (Some(once), Some(twice)) = (&once.grads[operand], &twice.grads[operand]) else {
            continue;
        };
        let want: Vec<f64> = once.iter().map(|grad| 2.0 * grad).collect();
        identical(twice, &want, input.shape)?;
    }
    let differentiable: Vec<usize> =
        (0..case.inputs.len()).filter(|&operand| case.inputs[operand].differentiable).collect();
    let [first, second, ..] = differentiable[..] else { return Ok(0.0) };
    if case.inputs[first].shape != case.inputs[second].shape
        || case.inputs[first].domain != case.inputs[second].domain
    {
        return Ok(0.0);
    }
    shared(case, dtype, device, first, second)
}

/// `f(x, x)` has the gradient of `f(x, y)` at `y = x`, both operands' added.
fn shared(
    case: &Case,
    dtype: DType,
    device: &Device,
    first: usize,
    second: usize,
) -> Result<f64, Mismatch> {
    let mut values = case.values();
    values[second] = values[first].clone();
    let apart =
        evaluate(case, &case.build, &values, None, dtype, device, Graph::Drop).map_err(refused)?;
    let got = (|| {
        let mut inputs = case.tensors(&values, dtype, device, true)?;
        inputs[second] = inputs[first].clone();
        let output = (case.build)(&inputs)?;
        let weights = cotangent(case, output.shape().elements());
        let seed = Tensor::from_f64(&weights, output.shape(), output.dtype(), device)?;
        let sum = grad(&output, Some(&seed), &[&inputs[first]], Graph::Drop)?.remove(0);
        sum.map(|sum| sum.to_f64()).transpose()
    })()
    .map_err(refused)?;
    let shape = case.inputs[first].shape;
    let zeros = || vec![0.0; shape.elements()];
    let part = |operand: usize| apart.grads[operand].clone().unwrap_or_else(zeros);
    let (left, right) = (part(first), part(second));
    let (want, size): (Vec<f64>, Vec<f64>) =
        left.iter().zip(&right).map(|(a, b)| (a + b, a.abs() + b.abs())).unzip();
    if want.iter().all(|value| *value == 0.0) {
        return Ok(0.0);
    }
    let got = got.unwrap_or_else(zeros);
    compare(&got, shape, &want, shape, |index| bound(case, dtype, 1, size[index]))
}

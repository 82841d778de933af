//! Gradients, and gradients of gradients, against four-point central differences in f64.
//!
//! ```text
//! L(x)    = ⟨c, f(x)⟩                     for a random cotangent c: dL/dx against (8 Δ₁ − Δ₂) / 12h
//! S(x, c) = Σ_i ⟨v_i, dL/dx_i⟩            for random directions v_i: dS/dx and dS/dc against differences of dL/dx
//! ```
//!
//! with Δ₁ = F(x + h d) − F(x − h d) and Δ₂ the same at 2h, along every element of small operands and along random
//! directions of large ones. The error is of order h⁴; the bound is relative to the terms that a derivative sums,
//! plus the rounding of those terms over h.

use crate::case::Case;
use crate::compare::{EPSILON_F64, Mismatch, compare};
use crate::evaluate::{cotangent, evaluate, output};
use crate::values::Numbers;
use belamy_tensor::{DType, Device, Graph, Shape, Tensor, grad};

/// The step. Kinks are at least 0.05 away.
const STEP: f64 = 1e-3;
/// The error of the differences, relative to the terms they sum.
const RELATIVE: f64 = 1e-7;
/// How many derivatives along elements a check takes at most; above, random directions are taken.
const MOST_ELEMENTS: usize = 160;
/// How many random directions for each operand, where the case is not large.
const DIRECTIONS: usize = 3;

/// A direction in the space of one operand's elements.
enum Direction {
    Element(usize),
    Random(Vec<f64>),
}

impl Direction {
    /// `values` moved by `distance`.
    fn moved(&self, values: &[f64], distance: f64) -> Vec<f64> {
        let mut values = values.to_vec();
        match self {
            Direction::Element(index) => values[*index] += distance,
            Direction::Random(steps) => {
                values.iter_mut().zip(steps).for_each(|(value, step)| *value += distance * step);
            }
        }
        values
    }

    /// The derivative along this direction, from a gradient.
    fn of(&self, gradient: Option<&[f64]>) -> f64 {
        match (gradient, self) {
            (None, _) => 0.0,
            (Some(gradient), Direction::Element(index)) => gradient[*index],
            (Some(gradient), Direction::Random(steps)) => {
                gradient.iter().zip(steps).map(|(gradient, step)| gradient * step).sum()
            }
        }
    }
}

fn directions(case: &Case, purpose: &str, elements: usize, total: usize) -> Vec<Direction> {
    if total <= MOST_ELEMENTS && !case.large {
        return (0..elements).map(Direction::Element).collect();
    }
    let count = if case.large { 1 } else { DIRECTIONS };
    let mut numbers = Numbers::new(&case.name(), purpose);
    // Steps of at most 3 keep every element on its side of a kink.
    let mut steps = || (0..elements).map(|_| numbers.normal().clamp(-3.0, 3.0)).collect();
    (0..count).map(|_| Direction::Random(steps())).collect()
}

/// One derivative of `Σ_j weight_j F_j` by differences, with the size of its error.
fn difference(
    weights: &[f64],
    around: &[f64],
    terms: usize,
    mut at: impl FnMut(f64) -> Result<Vec<f64>, Mismatch>,
) -> Result<(f64, f64), Mismatch> {
    let (right, left) = (at(STEP)?, at(-STEP)?);
    let (far_right, far_left) = (at(2.0 * STEP)?, at(-2.0 * STEP)?);
    let (mut derivative, mut size, mut noise) = (0.0, 0.0, 0.0);
    for j in 0..weights.len() {
        let (near, far) = (right[j] - left[j], far_right[j] - far_left[j]);
        let term = weights[j] * (8.0 * near - far) / (12.0 * STEP);
        derivative += term;
        size += term.abs();
        if near != 0.0 || far != 0.0 {
            noise += (weights[j] * around[j]).abs();
        }
    }
    let rounding = 4.0 * EPSILON_F64 * (terms as f64).sqrt() * noise / STEP;
    Ok((derivative, RELATIVE * size + rounding))
}

fn refused(error: belamy_tensor::Error) -> Mismatch {
    Mismatch::Presence { what: format!("the op refused: {error:?}") }
}

/// Checks the gradient of every differentiable operand, as `graph` gives it; the largest error as a share of its bound.
pub fn gradient(case: &Case, device: &Device, graph: Graph) -> Result<f64, Mismatch> {
    let values = case.values();
    let got =
        evaluate(case, &case.build, &values, None, DType::F64, device, graph).map_err(refused)?;
    let weights = cotangent(case, got.output.len());
    let (mut gots, mut wants, mut bounds) = (Vec::new(), Vec::new(), Vec::new());
    let total = elements(case);
    for (operand, input) in case.inputs.iter().enumerate() {
        if !input.differentiable {
            continue;
        }
        for direction in
            directions(case, &format!("directions {operand}"), values[operand].len(), total)
        {
            let (want, bound) = difference(&weights, &got.output, case.reduction, |distance| {
                let mut values = values.clone();
                values[operand] = direction.moved(&values[operand], distance);
                output(case, &case.build, &values, DType::F64, device)
                    .and_then(|output| output.to_f64())
                    .map_err(refused)
            })?;
            gots.push(direction.of(got.grads[operand].as_deref()));
            wants.push(want);
            bounds.push(bound);
        }
    }
    verdict(&gots, &wants, &bounds)
}

/// A derivative that cancels, or that differences cannot see, is known as well as a fraction of the others.
fn verdict(gots: &[f64], wants: &[f64], bounds: &[f64]) -> Result<f64, Mismatch> {
    let largest = bounds.iter().copied().fold(0.0, f64::max);
    let shape = Shape::from([wants.len()]);
    compare(gots, shape, wants, shape, |index| bounds[index] + 1e-2 * largest)
}

fn elements(case: &Case) -> usize {
    let counts = case.inputs.iter().filter(|input| input.differentiable);
    counts.map(|input| input.shape.elements()).sum()
}

/// Checks the gradient of `Σ_i ⟨v_i, gradient_i⟩` with respect to every differentiable operand and the cotangent.
pub fn second_gradient(case: &Case, device: &Device) -> Result<f64, Mismatch> {
    let values = case.values();
    let first = |values: &[Vec<f64>], weights: &[f64]| {
        let weights = Some(weights);
        evaluate(case, &case.build, values, weights, DType::F64, device, Graph::Drop)
            .map(|evaluation| {
                let grads = case.inputs.iter().zip(evaluation.grads);
                let grads = grads.filter(|(input, _)| input.differentiable);
                let dense = grads
                    .map(|(input, grad)| grad.unwrap_or_else(|| vec![0.0; input.shape.elements()]));
                dense.collect::<Vec<_>>().concat()
            })
            .map_err(refused)
    };
    let shape = output(case, &case.build, &values, DType::F64, device).map_err(refused)?.shape();
    let weights = cotangent(case, shape.elements());
    let around = first(&values, &weights)?;
    let pulls = Numbers::new(&case.name(), "pulls").normals(around.len());
    let got = analytic(case, device, &values, &weights, &pulls).map_err(refused)?;

    let (mut gots, mut wants, mut bounds) = (Vec::new(), Vec::new(), Vec::new());
    let total = elements(case) + weights.len();
    let terms = case.reduction.max(weights.len());
    for (operand, input) in case.inputs.iter().enumerate() {
        if !input.differentiable {
            continue;
        }
        for direction in
            directions(case, &format!("second {operand}"), values[operand].len(), total)
        {
            let (want, bound) = difference(&pulls, &around, terms, |distance| {
                let mut values = values.clone();
                values[operand] = direction.moved(&values[operand], distance);
                first(&values, &weights)
            })?;
            gots.push(direction.of(got[operand].as_deref()));
            wants.push(want);
            bounds.push(bound);
        }
    }
    for direction in directions(case, "second cotangent", weights.len(), total) {
        let (want, bound) = difference(&pulls, &around, terms, |distance| {
            first(&values, &direction.moved(&weights, distance))
        })?;
        gots.push(direction.of(got[case.inputs.len()].as_deref()));
        wants.push(want);
        bounds.push(bound);
    }
    verdict(&gots, &wants, &bounds)
}

/// The gradient of `Σ_i ⟨v_i, gradient_i⟩` for each operand and, last, for the cotangent.
fn analytic(
    case: &Case,
    device: &Device,
    values: &[Vec<f64>],
    weights: &[f64],
    pulls: &[f64],
) -> belamy_tensor::Result<Vec<Option<Vec<f64>>>> {
    let inputs = case.tensors(values, DType::F64, device, true)?;
    let output = (case.build)(&inputs)?;
    let seed = Tensor::from_f64(weights, output.shape(), DType::F64, device)?.tracked();
    let wanted: Vec<usize> =
        (0..inputs.len()).filter(|&index| case.inputs[index].differentiable).collect();
    let wrt: Vec<&Tensor> = wanted.iter().map(|&index| &inputs[index]).collect();
    let firsts = grad(&output, Some(&seed), &wrt, Graph::Keep)?;
    let variables: Vec<&Tensor> = wrt.iter().copied().chain([&seed]).collect();
    let places: Vec<usize> = wanted.iter().copied().chain([inputs.len()]).collect();
    let mut totals: Vec<Option<Vec<f64>>> = vec![None; inputs.len() + 1];
    let mut from = 0;
    for (first, input) in firsts.iter().zip(&wrt) {
        let count = input.shape().elements();
        let pull = &pulls[from..from + count];
        from += count;
        let Some(first) = first else { continue };
        let pull = Tensor::from_f64(pull, first.shape(), DType::F64, device)?;
        let seconds = grad(first, Some(&pull), &variables, Graph::Drop)?;
        for (place, second) in places.iter().zip(seconds) {
            let Some(second) = second else { continue };
            let second = second.to_f64()?;
            match &mut totals[*place] {
                Some(total) => total.iter_mut().zip(second).for_each(|(sum, part)| *sum += part),
                none => *none = Some(second),
            }
        }
    }
    Ok(totals)
}

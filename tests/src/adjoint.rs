//! ⟨A x, y⟩ = ⟨x, Aᵀ y⟩ for every slot in which an op is linear, with Aᵀ y taken at another point than x.

use crate::case::Case;
use crate::compare::{EPSILON_F32, EPSILON_F64, MEANINGFUL, Mismatch};
use crate::evaluate::{cotangent, evaluate, output};
use crate::values::Numbers;
use belamy_tensor::{DType, Device, Graph};

/// Checks the identity for one linear operand; the error as a share of its bound.
pub fn adjoint(
    case: &Case,
    operand: usize,
    dtype: DType,
    device: &Device,
) -> Result<f64, Mismatch> {
    let refused = |error| Mismatch::Presence { what: format!("the op refused: {error:?}") };
    let values = case.values();
    let count = values[operand].len();
    let mut elsewhere = values.clone();
    elsewhere[operand] = Numbers::new(&case.name(), "elsewhere").normals(count);
    let forward = output(case, &case.build, &values, dtype, device)
        .and_then(|output| output.to_f64())
        .map_err(refused)?;
    let weights = cotangent(case, forward.len());
    let there = evaluate(case, &case.build, &elsewhere, Some(&weights), dtype, device, Graph::Drop)
        .map_err(refused)?;
    let Some(back) = &there.grads[operand] else {
        let what = format!("operand {operand} has no gradient");
        return Err(Mismatch::Presence { what });
    };
    let (left, left_size) = product(&forward, &weights);
    let (right, right_size) = product(&values[operand], back);
    let epsilon = if dtype == DType::F32 { EPSILON_F32 } else { EPSILON_F64 };
    // Each term of the left sum was rounded after summing `reduction` terms; what one way sums `reduction` times over
    // `forward.len()` results, the other way sums over `count`.
    let terms = case.reduction as f64 * (forward.len() as f64 / count as f64).max(1.0);
    let bound = 4.0 * epsilon * terms.sqrt() * case.slack * left_size.max(right_size);
    if !((left - right).abs() <= bound) {
        let at = vec![operand];
        return Err(Mismatch::Element { at, got: right, want: left, bound, wrong: 1 });
    }
    if !(left_size.max(right_size) > MEANINGFUL * bound) {
        return Err(Mismatch::Meaningless { wanted: left_size, bound });
    }
    Ok((left - right).abs() / bound)
}

/// ⟨a, b⟩, and the same of magnitudes.
fn product(a: &[f64], b: &[f64]) -> (f64, f64) {
    let terms = || a.iter().zip(b).map(|(a, b)| a * b);
    (terms().sum(), terms().map(f64::abs).sum())
}

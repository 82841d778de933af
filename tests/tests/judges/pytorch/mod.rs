//! PyTorch's samples of its own operators (OpInfo): values, gradients and gradients of gradients.

mod call;
mod matrices;
mod pictures;
mod pointwise;
mod reductions;
mod views;

use super::archive::{Archive, Array, Kind};
use super::draws::draws;
use super::problem::{Mapped, Problem, left_out};
use belamy_tensor::{DType, Device, Graph, Tensor, grad};
use belamy_tests::compare::{Mismatch, compare};
use call::{Argument, Call};
use serde_json::Value;

/// An operator of PyTorch in our ops.
pub(crate) type Mapping = fn(&Call) -> Mapped<Vec<Tensor>>;

/// The mapping of an operator, by OpInfo's name.
pub(crate) fn mapping(operator: &str) -> Option<Mapping> {
    pointwise::find(operator)
        .or_else(|| reductions::find(operator))
        .or_else(|| matrices::find(operator))
        .or_else(|| pictures::find(operator))
        .or_else(|| views::find(operator))
}

/// One call and what it must give; a refusal has no results.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// The operator, a slash, and the number among its samples.
    pub(crate) name: String,
    arguments: Vec<(String, Argument)>,
    pub(crate) outputs: Vec<Array>,
    /// For each operand that is differentiated; `None` where the result does not depend on it.
    pub(crate) gradients: Option<Vec<Option<Array>>>,
    /// For each operand that is differentiated, then for each cotangent.
    pub(crate) seconds: Option<Vec<Option<Array>>>,
}

/// An operator's samples.
pub(crate) struct Operator {
    pub(crate) name: String,
    pub(crate) samples: Vec<Sample>,
    pub(crate) refusals: Vec<Sample>,
    /// What the script did not write: reasons and how many.
    pub(crate) left_out: Vec<(String, usize)>,
}

/// Every operator of the archive. Fails where the index and the numbers do not fit.
pub(crate) fn read(archive: &Archive) -> Result<Vec<Operator>, String> {
    let operators = archive.index["operators"].as_object().ok_or("the index has no operators")?;
    let read = |(name, entry): (&String, &Value)| {
        let samples = |part: &str| {
            let list = entry[part].as_array().map(Vec::as_slice).unwrap_or_default();
            list.iter().map(|record| sample(archive, record)).collect::<Result<Vec<_>, _>>()
        };
        let left_out = entry["left_out"].as_object().into_iter().flatten();
        let left_out =
            left_out.map(|(reason, count)| (reason.clone(), count.as_u64().unwrap_or(0) as usize));
        Ok(Operator {
            name: name.clone(),
            samples: samples("samples")?,
            refusals: samples("refusals")?,
            left_out: left_out.collect(),
        })
    };
    operators.iter().map(read).collect()
}

fn sample(archive: &Archive, record: &Value) -> Result<Sample, String> {
    let name = record["name"].as_str().unwrap_or_default().to_string();
    let broken = || format!("the index is damaged at {name}");
    let pairs = record["arguments"].as_array().ok_or_else(broken)?;
    let arguments = pairs.iter().map(|pair| {
        let key = pair[0].as_str().unwrap_or_default().to_string();
        Ok((key, Argument::read(archive, &pair[1])?))
    });
    let arguments = arguments.collect::<Result<Vec<_>, String>>()?;
    let array = |value: &Value| archive.array(value).ok_or_else(broken);
    let perhaps = |value: &Value| if value.is_null() { Ok(None) } else { array(value).map(Some) };
    let all = |part: &str| {
        let list = record[part].as_array();
        list.map(|list| list.iter().map(perhaps).collect::<Result<Vec<_>, String>>()).transpose()
    };
    let outputs = record["outputs"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(Sample {
        outputs: outputs.iter().map(array).collect::<Result<_, _>>()?,
        gradients: all("gradients")?,
        seconds: all("seconds")?,
        name,
        arguments,
    })
}

/// How far a result may be from PyTorch's: so much of the largest number of its tensor, for the rounding of the result;
/// and so much of 1 (the size of the cotangents and directions) and of the largest operand, for what cancels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tolerance {
    pub(crate) relative: f64,
    pub(crate) absolute: f64,
}

/// How a part of a sample came out: the largest error over its bound, or what is wrong.
pub(crate) type Outcome = (Part, Verdict);

/// What of a sample is compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Part {
    Output,
    Gradient,
    Second,
}

/// How a comparison came out.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// Within the bound: the largest error as a share of it.
    Within(f64),
    /// Both are so small beside the terms that cancel in them that nothing can be said.
    Lost,
    /// Something is wrong.
    Wrong(Mismatch),
}

impl Sample {
    /// What the mapping computes of this call, or why nothing.
    pub(crate) fn outputs(
        &self,
        mapping: Mapping,
        dtype: DType,
        device: &Device,
    ) -> Mapped<Vec<Tensor>> {
        let call = Call::new(&self.arguments, dtype, device)?;
        if !call.has_tensors() {
            return left_out("a call without a tensor: ours are methods of one");
        }
        mapping(&call)
    }

    /// The same call with one of the wanted numbers wrong by so much of the largest of its tensor, in the first tensor
    /// of the part that has any number; `None` where it has none.
    pub(crate) fn with_one_number_wrong(&self, part: Part, relative: f64) -> Option<Sample> {
        let mut wrong = self.clone();
        let mut arrays: Vec<&mut Array> = match part {
            Part::Output => wrong.outputs.iter_mut().collect(),
            Part::Gradient => wrong.gradients.iter_mut().flatten().flatten().collect(),
            Part::Second => wrong.seconds.iter_mut().flatten().flatten().collect(),
        };
        let peak =
            |array: &Array| array.values.iter().fold(0.0f64, |most, value| most.max(value.abs()));
        let array = arrays.iter_mut().find(|array| peak(array) > 1e-3)?;
        let (largest, last) = (peak(array), array.values.len() - 1);
        array.values[last / 2] += relative * largest;
        Some(wrong)
    }

    /// Compares outputs, gradients and gradients of gradients.
    pub(crate) fn check(
        &self,
        mapping: Mapping,
        dtype: DType,
        device: &Device,
        tolerance: Tolerance,
    ) -> Mapped<Vec<Outcome>> {
        let call = Call::new(&self.arguments, dtype, device)?;
        let tolerance =
            Tolerance { absolute: tolerance.absolute * (1.0 + call.largest()?), ..tolerance };
        let outputs = mapping(&call)?;
        if outputs.len() != self.outputs.len() {
            let what = format!("{} outputs, wanted {}", outputs.len(), self.outputs.len());
            return Ok(vec![(Part::Output, Verdict::Wrong(Mismatch::Presence { what }))]);
        }
        let mut found = Vec::new();
        for (got, want) in outputs.iter().zip(&self.outputs) {
            found.push((Part::Output, compared(Some(got), want, tolerance)?));
        }
        let Some(wanted) = &self.gradients else { return Ok(found) };
        let floats: Vec<usize> =
            (0..outputs.len()).filter(|&place| self.outputs[place].kind == Kind::Float).collect();
        let mut cotangents = Vec::new();
        for &place in &floats {
            let output = &outputs[place];
            let drawn =
                draws(&format!("{} cotangent {place}", self.name), output.shape().elements());
            cotangents.push(Tensor::from_f64(&drawn, output.shape(), dtype, device)?.tracked());
        }
        let leaves: Vec<&Tensor> = call.leaves.iter().collect();
        // As constants, by the fused kernels of a training step, and as part of a graph, by what can be derived again.
        let mut firsts: Vec<Option<Tensor>> = Vec::new();
        for graph in [Graph::Drop, Graph::Keep] {
            firsts = vec![None; leaves.len()];
            for (&place, cotangent) in floats.iter().zip(&cotangents) {
                added(&mut firsts, grad(&outputs[place], Some(cotangent), &leaves, graph)?)?;
            }
            for (first, want) in firsts.iter().zip(wanted) {
                found.push((Part::Gradient, perhaps(first.as_ref(), want.as_ref(), tolerance)?));
            }
        }
        let Some(wanted) = &self.seconds else { return Ok(found) };
        let variables: Vec<&Tensor> = leaves.iter().copied().chain(&cotangents).collect();
        let mut totals: Vec<Option<Tensor>> = vec![None; variables.len()];
        for (place, first) in firsts.iter().enumerate() {
            let Some(first) = first else { continue };
            let drawn =
                draws(&format!("{} direction {place}", self.name), first.shape().elements());
            let direction = Tensor::from_f64(&drawn, first.shape(), dtype, device)?;
            added(&mut totals, grad(first, Some(&direction), &variables, Graph::Drop)?)?;
        }
        for (total, want) in totals.iter().zip(wanted) {
            found.push((Part::Second, perhaps(total.as_ref(), want.as_ref(), tolerance)?));
        }
        Ok(found)
    }
}

fn added(sums: &mut [Option<Tensor>], parts: Vec<Option<Tensor>>) -> belamy_tensor::Result<()> {
    for (sum, part) in sums.iter_mut().zip(parts) {
        *sum = match (sum.take(), part) {
            (Some(sum), Some(part)) => Some(sum.add(&part)?),
            (sum, part) => sum.or(part),
        };
    }
    Ok(())
}

/// Compares where either side may have nothing, which is the same as zeros.
fn perhaps(got: Option<&Tensor>, want: Option<&Array>, bound: Tolerance) -> Mapped<Verdict> {
    match (got, want) {
        (_, Some(want)) => compared(got, want, bound),
        (None, None) => Ok(Verdict::Within(0.0)),
        (Some(got), None) => {
            let values = vec![0.0; got.shape().elements()];
            compared(Some(got), &Array { kind: Kind::Float, shape: got.shape(), values }, bound)
        }
    }
}

fn compared(got: Option<&Tensor>, want: &Array, tolerance: Tolerance) -> Mapped<Verdict> {
    let (values, shape) = match got {
        Some(got) => (got.to_f64().map_err(Problem::Refused)?, got.shape()),
        None => (vec![0.0; want.values.len()], want.shape),
    };
    let peak = |values: &[f64]| values.iter().fold(0.0f64, |most, value| most.max(value.abs()));
    let largest = peak(&want.values);
    let bound = match want.kind {
        Kind::Float => tolerance.relative * largest + tolerance.absolute,
        Kind::Integer | Kind::Boolean => 0.0,
    };
    Ok(match compare(&values, shape, &want.values, want.shape, |_| bound) {
        Ok(share) => Verdict::Within(share),
        // What is 0 must be 0, but for the rounding of what cancels.
        Err(Mismatch::Meaningless { .. }) if largest == 0.0 => Verdict::Within(0.0),
        Err(Mismatch::Meaningless { .. }) => Verdict::Lost,
        Err(wrong) => Verdict::Wrong(wrong),
    })
}

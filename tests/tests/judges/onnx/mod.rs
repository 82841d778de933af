//! ONNX's backend tests: small graphs, run node by node in our ops.

mod host;
mod losses;
mod node;
mod pictures;
mod pointwise;
mod reductions;
mod views;

use super::archive::{Archive, Array, Kind};
use super::problem::{Mapped, Problem, left_out};
use belamy_tensor::{DType, Device, Shape};
use belamy_tests::compare::{Mismatch, compare};
use node::{Node, Value};
use serde_json::Value as Json;
use std::collections::HashMap;

/// An operator of ONNX in our ops.
type Mapping = fn(&Node<'_>) -> Mapped<Vec<Value>>;

fn mapping(operator: &str) -> Option<Mapping> {
    pointwise::find(operator)
        .or_else(|| reductions::find(operator))
        .or_else(|| losses::find(operator))
        .or_else(|| pictures::find(operator))
        .or_else(|| views::find(operator))
        .or_else(|| host::find(operator))
}

/// One test: a graph, what it is given, what it must give.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Which of ONNX's sets it is of.
    pub(crate) set: String,
    opset: i64,
    nodes: Vec<Json>,
    given: Vec<(String, Array)>,
    pub(crate) outputs: Vec<(String, Array)>,
}

/// What the script did not write: reason, set, operators.
pub(crate) type LeftOut = (String, String, String);

/// How many tests have operators that are not ours, and were not written either.
pub(crate) fn others(archive: &Archive) -> u64 {
    archive.index["other"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(_, count)| count.as_u64())
        .sum()
}

/// Every case of the archive, and what applies and is not in it. Fails where the index and the numbers do not fit.
pub(crate) fn read(archive: &Archive) -> Result<(Vec<Case>, Vec<LeftOut>), String> {
    let list = archive.index["cases"].as_array().ok_or("the index has no cases")?;
    let cases = list.iter().map(|record| case(archive, record)).collect::<Result<_, _>>()?;
    let mut left_out = Vec::new();
    for (reason, names) in archive.index["left_out"].as_object().into_iter().flatten() {
        for name in names.as_array().into_iter().flatten() {
            let text = |place: usize| name[place].as_str().unwrap_or_default().to_string();
            left_out.push((reason.clone(), text(0), text(1)));
        }
    }
    Ok((cases, left_out))
}

fn case(archive: &Archive, record: &Json) -> Result<Case, String> {
    let text = |key: &str| record[key].as_str().unwrap_or_default().to_string();
    let name = text("name");
    let broken = || format!("the index is damaged at {name}");
    let array = |value: &Json| archive.array(value).ok_or_else(broken);
    let tensors = record["tensors"].as_object().ok_or_else(broken)?;
    let given = tensors.iter().map(|(key, value)| Ok((key.clone(), array(value)?)));
    let outputs = record["outputs"].as_array().ok_or_else(broken)?.iter();
    let outputs = outputs
        .map(|pair| Ok((pair[0].as_str().unwrap_or_default().to_string(), array(&pair[1])?)));
    Ok(Case {
        set: text("group"),
        opset: record["opset"].as_i64().unwrap_or(0),
        nodes: record["nodes"].as_array().ok_or_else(broken)?.clone(),
        given: given.collect::<Result<_, String>>()?,
        outputs: outputs.collect::<Result<_, String>>()?,
        name,
    })
}

impl Case {
    /// The operators of the graph, each once.
    pub(crate) fn operators(&self) -> String {
        let mut names: Vec<&str> =
            self.nodes.iter().filter_map(|node| node["operator"].as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names.join("+")
    }

    /// The same case with another operator in place of each node's.
    pub(crate) fn with_operator(&self, operator: &str) -> Case {
        let mut other = self.clone();
        other.nodes.iter_mut().for_each(|node| node["operator"] = Json::from(operator));
        other
    }

    /// The same case with one of the wanted numbers wrong by so much of the largest; `None` where there is none.
    pub(crate) fn with_one_number_wrong(&self, relative: f64) -> Option<Case> {
        let mut wrong = self.clone();
        let peak =
            |array: &Array| array.values.iter().fold(0.0f64, |most, value| most.max(value.abs()));
        let outputs = &mut wrong.outputs;
        let (_, array) = outputs.iter_mut().find(|(_, array)| {
            array.kind == Kind::Float && peak(array) > 1e-3 && peak(array).is_finite()
        })?;
        let (largest, middle) = (peak(array), (array.values.len() - 1) / 2);
        array.values[middle] += relative * largest;
        Some(wrong)
    }

    /// Runs the graph and compares each result: the largest error over its bound, or what is wrong.
    pub(crate) fn check(
        &self,
        archive: &Archive,
        dtype: DType,
        device: &Device,
        relative: f64,
    ) -> Mapped<Result<f64, Mismatch>> {
        let mut values = HashMap::new();
        let beyond = |value: &f64| {
            let size = value.abs();
            size.is_finite()
                && (size > f64::from(f32::MAX)
                    || (size > 0.0 && size < f64::from(f32::MIN_POSITIVE)))
        };
        for (name, array) in &self.given {
            if dtype == DType::F32 && array.kind == Kind::Float && array.values.iter().any(beyond) {
                return left_out("numbers that f32 does not hold");
            }
            values.insert(name.clone(), Node::read(array, dtype, device)?);
        }
        let mut wanted = self.outputs.iter().flat_map(|(_, array)| &array.values);
        if device.id().name == "webgpu" && wanted.any(|value| !value.is_finite()) {
            return left_out("infinities and what is not a number, of which WGSL promises nothing");
        }
        for record in &self.nodes {
            let node = Node::new(record, self.opset, &values, archive, dtype, device)?;
            let Some(mapping) = mapping(node.operator) else { return left_out("no mapping") };
            let results = mapping(&node)?;
            let names = record["outputs"].as_array().into_iter().flatten().filter_map(Json::as_str);
            for (name, result) in names.zip(results) {
                values.insert(name.to_string(), result);
            }
        }
        let mut share = 0.0f64;
        for (name, want) in &self.outputs {
            let Some(got) = values.get(name) else {
                return Ok(Err(Mismatch::Presence { what: format!("no result is called {name}") }));
            };
            match compared(got, want, relative)? {
                Ok(one) => share = share.max(one),
                wrong => return Ok(wrong),
            }
        }
        Ok(Ok(share))
    }
}

fn compared(got: &Value, want: &Array, relative: f64) -> Mapped<Result<f64, Mismatch>> {
    let (values, shape) = match got {
        Value::Float(tensor) | Value::Truth(tensor) => {
            (tensor.to_f64().map_err(Problem::Refused)?, tensor.shape())
        }
        Value::Whole(whole) => {
            (whole.values.iter().map(|&value| value as f64).collect(), Shape::new(&whole.dims)?)
        }
    };
    let kind = match got {
        Value::Float(_) => Kind::Float,
        Value::Truth(_) => Kind::Boolean,
        Value::Whole(_) => Kind::Integer,
    };
    if kind != want.kind {
        let what = format!("{kind:?} numbers, wanted {:?}", want.kind);
        return Ok(Err(Mismatch::Presence { what }));
    }
    let finite = want.values.iter().filter(|value| value.is_finite());
    let largest = finite.fold(0.0f64, |most, value| most.max(value.abs()));
    // In units of the largest, whose square need not be a number; what is not a number must not be one here either.
    let unit = if largest > 0.0 { largest } else { 1.0 };
    let both_nan = |place: usize| {
        values.get(place).is_some_and(|value| value.is_nan()) && want.values[place].is_nan()
    };
    let in_units = |list: &[f64]| -> Vec<f64> {
        list.iter()
            .enumerate()
            .map(|(place, value)| if both_nan(place) { 0.0 } else { value / unit })
            .collect()
    };
    let (got, wanted) = if values.len() == want.values.len() {
        (in_units(&values), in_units(&want.values))
    } else {
        (values.clone(), want.values.clone())
    };
    let bound = if kind == Kind::Float { relative } else { 0.0 };
    Ok(match compare(&got, shape, &wanted, want.shape, |_| bound) {
        Err(Mismatch::Meaningless { .. }) if largest == 0.0 => Ok(0.0),
        outcome => outcome,
    })
}

//! One node of a graph: what it is given, and its attributes.

use super::super::archive::{Archive, Array, Kind};
use super::super::problem::{Mapped, left_out};
use belamy_tensor::{DType, Device, Result, Shape, Tensor};
use serde_json::Value as Json;
use std::collections::HashMap;

/// What flows along a graph's edges.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Numbers on the device.
    Float(Tensor),
    /// Zeros and ones on the device, which ONNX calls booleans.
    Truth(Tensor),
    /// Integers on the host: shapes, axes, labels.
    Whole(Whole),
}

/// Integers and their extents.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Whole {
    pub(crate) dims: Vec<usize>,
    pub(crate) values: Vec<i64>,
}

impl Whole {
    /// A list.
    pub(crate) fn list(values: Vec<i64>) -> Whole {
        Whole { dims: vec![values.len()], values }
    }
}

/// A node about to be run.
pub(crate) struct Node<'a> {
    pub(crate) operator: &'a str,
    pub(crate) opset: i64,
    /// How many results are wanted.
    pub(crate) wanted: usize,
    pub(crate) dtype: DType,
    pub(crate) device: &'a Device,
    archive: &'a Archive,
    record: &'a Json,
    given: Vec<Option<Value>>,
}

const INTEGERS: &str = "an operand of integers, where our op takes floating point";
const ABSENT: &str = "an input or attribute of a kind that the mapping does not read";

impl<'a> Node<'a> {
    pub(crate) fn new(
        record: &'a Json,
        opset: i64,
        values: &HashMap<String, Value>,
        archive: &'a Archive,
        dtype: DType,
        device: &'a Device,
    ) -> Mapped<Node<'a>> {
        let names = record["inputs"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut given = Vec::new();
        for name in names.iter().filter_map(Json::as_str) {
            given.push(match values.get(name) {
                Some(value) => Some(value.clone()),
                None if name.is_empty() => None,
                None => return left_out(ABSENT),
            });
        }
        let outputs = record["outputs"].as_array().map_or(0, Vec::len);
        let operator = record["operator"].as_str().unwrap_or_default();
        Ok(Node { operator, opset, wanted: outputs, dtype, device, archive, record, given })
    }

    /// How many inputs there are.
    pub(crate) fn count(&self) -> usize {
        self.given.len()
    }

    /// An input as it is.
    pub(crate) fn value(&self, place: usize) -> Option<&Value> {
        self.given.get(place).and_then(Option::as_ref)
    }

    /// An input of numbers.
    pub(crate) fn tensor(&self, place: usize) -> Mapped {
        match self.value(place) {
            Some(Value::Float(tensor)) => Ok(tensor.clone()),
            Some(_) => left_out(INTEGERS),
            None => left_out(ABSENT),
        }
    }

    /// An input of booleans.
    pub(crate) fn truth(&self, place: usize) -> Mapped {
        match self.value(place) {
            Some(Value::Truth(tensor)) => Ok(tensor.clone()),
            _ => left_out(ABSENT),
        }
    }

    /// As [`Node::tensor`], where it may be absent.
    pub(crate) fn maybe(&self, place: usize) -> Mapped<Option<Tensor>> {
        self.value(place).is_some().then(|| self.tensor(place)).transpose()
    }

    /// All inputs of numbers.
    pub(crate) fn tensors(&self) -> Mapped<Vec<Tensor>> {
        (0..self.count()).map(|place| self.tensor(place)).collect()
    }

    /// An input of integers.
    pub(crate) fn whole(&self, place: usize) -> Mapped<Whole> {
        match self.value(place) {
            Some(Value::Whole(whole)) => Ok(whole.clone()),
            _ => left_out(ABSENT),
        }
    }

    /// An input of one number, on the host.
    pub(crate) fn number(&self, place: usize, default: f64) -> Mapped<f64> {
        match self.value(place) {
            None => Ok(default),
            Some(Value::Float(tensor)) if tensor.shape().elements() == 1 => Ok(tensor.item()?),
            Some(Value::Whole(whole)) if whole.values.len() == 1 => Ok(whole.values[0] as f64),
            Some(_) => left_out(ABSENT),
        }
    }

    fn attribute(&self, name: &str) -> Option<&'a Json> {
        self.record["attributes"].get(name)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    /// An attribute that is a whole number.
    pub(crate) fn integer(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).and_then(Json::as_i64).unwrap_or(default)
    }

    /// An attribute that is a number.
    pub(crate) fn float(&self, name: &str, default: f64) -> f64 {
        self.attribute(name).and_then(Json::as_f64).unwrap_or(default)
    }

    /// An attribute that is a text.
    pub(crate) fn text(&self, name: &str, default: &'static str) -> &'a str {
        self.attribute(name).and_then(Json::as_str).unwrap_or(default)
    }

    /// An attribute that is a list of whole numbers.
    pub(crate) fn integers(&self, name: &str) -> Option<Vec<i64>> {
        let list = self.attribute(name)?.as_array()?;
        list.iter().map(Json::as_i64).collect()
    }

    /// An attribute that is a list of numbers.
    pub(crate) fn floats(&self, name: &str) -> Option<Vec<f64>> {
        let list = self.attribute(name)?.as_array()?;
        list.iter().map(Json::as_f64).collect()
    }

    /// An attribute that is a tensor.
    pub(crate) fn array(&self, name: &str) -> Option<Array> {
        self.archive.array(self.attribute(name)?)
    }

    /// Axes, which older operators have as an attribute and newer ones as an input.
    pub(crate) fn axes(&self, place: usize) -> Mapped<Option<Vec<i64>>> {
        match self.integers("axes") {
            Some(axes) => Ok(Some(axes)),
            None if self.value(place).is_some() => Ok(Some(self.whole(place)?.values)),
            None => Ok(None),
        }
    }

    /// Numbers of a device tensor, made here.
    pub(crate) fn made(&self, values: &[f64], dims: &[usize]) -> Result<Tensor> {
        Tensor::from_f64(values, Shape::new(dims)?, self.dtype, self.device)
    }

    /// A stored tensor as a value.
    pub(crate) fn read(array: &Array, dtype: DType, device: &Device) -> Result<Value> {
        Ok(match array.kind {
            Kind::Float => Value::Float(array.on(dtype, device)?),
            Kind::Boolean => Value::Truth(array.on(dtype, device)?),
            Kind::Integer => {
                Value::Whole(Whole { dims: array.shape.dims().to_vec(), values: array.integers() })
            }
        })
    }
}

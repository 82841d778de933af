//! One call of an operator of PyTorch: its arguments by name, tensors on a device.

use super::super::archive::{Archive, Array, Kind};
use super::super::arrange::counts;
use super::super::problem::{Mapped, left_out};
use belamy_tensor::{DType, Device, Result, Tensor};
use serde_json::Value;

/// An argument as the file has it.
#[derive(Clone, Debug)]
pub(crate) enum Argument {
    Tensor { array: Array, differentiable: bool },
    List(Vec<Argument>),
    Number(f64),
    Text(String),
    Flag(bool),
    Nothing,
}

impl Argument {
    /// Reads a value of the index. Fails for a tensor whose numbers the archive does not have.
    pub(crate) fn read(archive: &Archive, value: &Value) -> Result<Argument, String> {
        Ok(match value {
            Value::Null => Argument::Nothing,
            Value::Bool(flag) => Argument::Flag(*flag),
            Value::Number(number) => Argument::Number(number.as_f64().unwrap_or(f64::NAN)),
            Value::String(text) => Argument::Text(text.clone()),
            Value::Array(list) => {
                let list = list.iter().map(|item| Argument::read(archive, item));
                Argument::List(list.collect::<Result<_, String>>()?)
            }
            Value::Object(_) => Argument::Tensor {
                array: archive.array(value).ok_or_else(|| format!("{value} is no tensor"))?,
                differentiable: value["differentiable"].as_bool().unwrap_or(false),
            },
        })
    }
}

/// An argument on a device.
#[derive(Clone, Debug)]
enum Given {
    Tensor(Tensor),
    Integers(Array),
    List(Vec<Given>),
    Number(f64),
    Text(String),
    Flag(bool),
    Nothing,
}

/// The arguments of a call, and what is differentiated among them.
pub(crate) struct Call {
    dtype: DType,
    device: Device,
    arguments: Vec<(String, Given)>,
    pub(crate) leaves: Vec<Tensor>,
}

const INTEGERS: &str = "an operand of integers or booleans, where our op takes floating point";
const ABSENT: &str = "an argument is of a kind that the mapping does not read";

impl Call {
    pub(crate) fn new(
        arguments: &[(String, Argument)],
        dtype: DType,
        device: &Device,
    ) -> Result<Call> {
        let mut call =
            Call { dtype, device: device.clone(), arguments: Vec::new(), leaves: Vec::new() };
        for (name, argument) in arguments {
            let given = call.given(argument)?;
            call.arguments.push((name.clone(), given));
        }
        Ok(call)
    }

    fn given(&mut self, argument: &Argument) -> Result<Given> {
        Ok(match argument {
            Argument::Tensor { array, .. } if array.kind != Kind::Float => {
                Given::Integers(array.clone())
            }
            Argument::Tensor { array, differentiable } => {
                let mut tensor = array.on(self.dtype, &self.device)?;
                if *differentiable {
                    tensor = tensor.tracked();
                    self.leaves.push(tensor.clone());
                }
                Given::Tensor(tensor)
            }
            Argument::List(list) => {
                Given::List(list.iter().map(|item| self.given(item)).collect::<Result<_>>()?)
            }
            Argument::Number(number) => Given::Number(*number),
            Argument::Text(text) => Given::Text(text.clone()),
            Argument::Flag(flag) => Given::Flag(*flag),
            Argument::Nothing => Given::Nothing,
        })
    }

    /// The argument, unless it is absent or None.
    fn find(&self, name: &str) -> Option<&Given> {
        let found = self.arguments.iter().find(|(other, _)| other == name);
        found.map(|(_, given)| given).filter(|given| !matches!(given, Given::Nothing))
    }

    /// The largest size of a floating-point operand's numbers.
    pub(crate) fn largest(&self) -> Result<f64> {
        fn largest(given: &Given) -> Result<f64> {
            let numbers = match given {
                Given::Tensor(tensor) => tensor.to_f64()?,
                Given::List(list) => list.iter().map(largest).collect::<Result<_>>()?,
                _ => Vec::new(),
            };
            Ok(numbers.into_iter().fold(0.0, |most, number| most.max(number.abs())))
        }
        let each = self.arguments.iter().map(|(_, given)| largest(given));
        Ok(each.collect::<Result<Vec<f64>>>()?.into_iter().fold(0.0, f64::max))
    }

    /// Whether any operand is a tensor.
    pub(crate) fn has_tensors(&self) -> bool {
        fn is_tensor(given: &Given) -> bool {
            match given {
                Given::Tensor(_) | Given::Integers(_) => true,
                Given::List(list) => list.is_empty() || list.iter().any(is_tensor),
                _ => false,
            }
        }
        self.arguments.iter().any(|(_, given)| is_tensor(given))
    }

    /// Whether the call has this argument.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// A floating-point tensor, or a number as a tensor without axes.
    pub(crate) fn tensor(&self, name: &str) -> Mapped {
        match self.find(name) {
            Some(Given::Tensor(tensor)) => Ok(tensor.clone()),
            Some(Given::Number(number)) => Ok(Tensor::from_f64(
                &[*number],
                belamy_tensor::Shape::SCALAR,
                self.dtype,
                &self.device,
            )?),
            Some(Given::Integers(_)) => left_out(INTEGERS),
            _ => left_out(ABSENT),
        }
    }

    /// As [`Call::tensor`], where it may be absent.
    pub(crate) fn maybe(&self, name: &str) -> Mapped<Option<Tensor>> {
        self.has(name).then(|| self.tensor(name)).transpose()
    }

    /// A list of floating-point tensors.
    pub(crate) fn tensors(&self, name: &str) -> Mapped<Vec<Tensor>> {
        let Some(Given::List(list)) = self.find(name) else { return left_out(ABSENT) };
        let tensor = |given: &Given| match given {
            Given::Tensor(tensor) => Ok(tensor.clone()),
            Given::Integers(_) => left_out(INTEGERS),
            _ => left_out(ABSENT),
        };
        list.iter().map(tensor).collect()
    }

    /// A tensor of integers or booleans, on the host.
    pub(crate) fn integers(&self, name: &str) -> Mapped<Array> {
        match self.find(name) {
            Some(Given::Integers(array)) => Ok(array.clone()),
            _ => left_out(ABSENT),
        }
    }

    /// A tensor of booleans as zeros and ones.
    pub(crate) fn condition(&self, name: &str) -> Mapped {
        Ok(self.integers(name)?.on(self.dtype, &self.device)?)
    }

    /// A number, or the default where there is none.
    pub(crate) fn number(&self, name: &str, default: f64) -> Mapped<f64> {
        match self.find(name) {
            None => Ok(default),
            Some(Given::Number(number)) => Ok(*number),
            Some(Given::Flag(flag)) => Ok(f64::from(u8::from(*flag))),
            Some(_) => left_out(ABSENT),
        }
    }

    /// A whole number, also one in a tensor without axes.
    pub(crate) fn whole(&self, name: &str, default: i64) -> Mapped<i64> {
        match self.find(name) {
            Some(Given::Integers(array))
                if array.kind == Kind::Integer && array.values.len() == 1 =>
            {
                Ok(array.integers()[0])
            }
            _ => Ok(self.number(name, default as f64)? as i64),
        }
    }

    /// Whole numbers; one number is a list of it. `None` where absent.
    pub(crate) fn wholes(&self, name: &str) -> Mapped<Option<Vec<i64>>> {
        match self.find(name) {
            None => Ok(None),
            Some(Given::Number(number)) => Ok(Some(vec![*number as i64])),
            Some(Given::List(list)) => {
                let whole = |given: &Given| match given {
                    Given::Number(number) => Ok(*number as i64),
                    _ => left_out(ABSENT),
                };
                Ok(Some(list.iter().map(whole).collect::<Mapped<_>>()?))
            }
            Some(_) => left_out(ABSENT),
        }
    }

    /// Whole numbers or None each, as PyTorch's adaptive pools take them.
    pub(crate) fn perhaps(&self, name: &str) -> Mapped<Vec<Option<i64>>> {
        match self.find(name) {
            Some(Given::Number(number)) => Ok(vec![Some(*number as i64)]),
            Some(Given::List(list)) => {
                Ok(list
                    .iter()
                    .map(|given| {
                        if let Given::Number(number) = given { Some(*number as i64) } else { None }
                    })
                    .collect())
            }
            _ => left_out(ABSENT),
        }
    }

    /// A number for each of the spatial axes; one number serves all, none is the default.
    pub(crate) fn sides(
        &self,
        name: &str,
        spatial: usize,
        default: &[usize],
    ) -> Mapped<Vec<usize>> {
        match self.wholes(name)? {
            Some(numbers) if numbers.len() == 1 => Ok(vec![counts(&numbers)?[0]; spatial]),
            Some(numbers) if !numbers.is_empty() => counts(&numbers),
            _ => Ok(default.to_vec()),
        }
    }

    /// Whether an argument is true.
    pub(crate) fn flag(&self, name: &str, default: bool) -> Mapped<bool> {
        match self.find(name) {
            None => Ok(default),
            Some(Given::Flag(flag)) => Ok(*flag),
            Some(_) => left_out(ABSENT),
        }
    }

    /// An argument that is a text, if it is one.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.find(name) {
            Some(Given::Text(text)) => Some(text),
            _ => None,
        }
    }
}

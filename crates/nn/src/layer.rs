//! What a layer is.

use crate::onnx::{Graph, Value, refused};
use crate::{Context, Param};
use belamy_tensor::{Error, Result, Shape, Tensor};
use std::fmt;

/// A layer and its name among its neighbours: `conv2d_2`.
#[derive(Debug)]
pub struct Named {
    /// The layer's kind and number.
    pub name: String,
    /// The layer.
    pub layer: Box<dyn Layer>,
}

/// Who is shown a layer's name and result.
pub type Observe<'a> = dyn FnMut(&str, &Tensor) + 'a;

/// The function of layers in a row, showing each one's name and result to `observe`. Errors name the layer.
///
/// Without an observer a layer and the leaky ReLU behind it are computed together where there is one pass for both.
pub fn run(
    layers: &[Named],
    x: &Tensor,
    cx: &mut Context,
    mut observe: Option<&mut Observe<'_>>,
) -> Result<Tensor> {
    let mut x = x.clone();
    let mut rest = layers;
    while let [Named { name, layer }, after @ ..] = rest {
        let place = |error: Error| error.within(name.clone());
        rest = after;
        let Some(observe) = &mut observe else {
            if let [next, after @ ..] = after
                && let Some(slope) = next.layer.leaky_slope()
                && let Some(together) = layer.forward_activated(&x, slope, cx)
            {
                (x, rest) = (together.map_err(place)?, after);
            } else {
                x = layer.forward(&x, cx).map_err(place)?;
            }
            continue;
        };
        let mut inner = |inside: &str, y: &Tensor| observe(&format!("{name}.{inside}"), y);
        x = layer.forward_observed(&x, cx, &mut inner).map_err(place)?;
        observe(name, &x);
    }
    Ok(x)
}

/// What a layer does to a single row of numbers in inference.
#[derive(Debug, Clone)]
pub enum RowFunction {
    /// `x Wᵀ + b`: weights `[O, I]`, bias `[O]`.
    Dense(Tensor, Option<Tensor>),
    /// max(x, 0).
    Relu,
    /// max(x, 0), with a slope below 0.
    LeakyRelu(f64),
    /// The hyperbolic tangent.
    Tanh,
    /// The logistic function.
    Sigmoid,
    /// Another view of the same numbers.
    Nothing,
    /// A row of a table `[V, D]` for a label.
    Table(Tensor),
}

/// A part of a network: parameters, and a function of one tensor whose first axis is the batch.
pub trait Layer: fmt::Debug + Send + Sync {
    /// The layer's kind in lower case, from which its name in the network is made: `dense`, `conv2d`, ...
    fn kind(&self) -> &'static str;

    /// What a layer table prints: `Dense 100→256`.
    fn description(&self) -> String {
        self.kind().to_owned()
    }

    /// The layer's function.
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor>;

    /// The layer and a leaky ReLU of `slope` behind it, where it has one pass for both.
    fn forward_activated(
        &self,
        _x: &Tensor,
        _slope: f64,
        _cx: &mut Context,
    ) -> Option<Result<Tensor>> {
        None
    }

    /// The slope below 0, where the layer is a (leaky) ReLU and nothing else.
    fn leaky_slope(&self) -> Option<f64> {
        None
    }

    /// The shape it makes of an input, both without the batch axis.
    fn output(&self, input: Shape) -> Result<Shape>;

    /// As [`Layer::forward`], showing the name and the result of each layer inside to `observe`.
    fn forward_observed(
        &self,
        x: &Tensor,
        cx: &mut Context,
        _observe: &mut dyn FnMut(&str, &Tensor),
    ) -> Result<Tensor> {
        self.forward(x, cx)
    }

    /// What it does to a single row in inference, where that is simple enough to be done without tensors.
    fn of_a_row(&self) -> Option<RowFunction> {
        None
    }

    /// The layer as nodes of an ONNX model, in inference. Refused by layers that ONNX has no operators for.
    fn onnx(&self, _graph: &mut Graph, _x: &Value) -> Result<Value> {
        Err(refused(format!("{} has no ONNX operator", self.description())))
    }

    /// The layers inside it, in the order of computation: none but for a layer that holds others.
    fn inside(&self) -> &[Named] {
        &[]
    }

    /// Its own parameters, in a fixed order; those of the layers inside are not among them.
    fn params(&self) -> Vec<&Param> {
        Vec::new()
    }

    /// Multiply-adds for one sample that makes `output`.
    fn multiply_adds(&self, _input: Shape, _output: Shape) -> u64 {
        0
    }
}

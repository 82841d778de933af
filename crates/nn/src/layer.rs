//! What a layer is.

use crate::{Context, Param};
use belamy_tensor::{Result, Shape, Tensor};
use std::fmt;

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

    /// Its parameters, in a fixed order.
    fn params(&self) -> Vec<&Param> {
        Vec::new()
    }

    /// Multiply-adds for one sample that makes `output`.
    fn multiply_adds(&self, _input: Shape, _output: Shape) -> u64 {
        0
    }
}

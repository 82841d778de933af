//! Activations.

use crate::{Context, Layer};
use belamy_tensor::{Result, Shape, Tensor};

/// A pointwise function without parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// max(x, 0)
    Relu,
    /// x where positive, else slope · x. Keras' default slope is 0.3, PyTorch's 0.01; GAN papers take 0.2.
    LeakyRelu(f64),
    /// The hyperbolic tangent, for images in [-1, 1].
    Tanh,
    /// 1 / (1 + e⁻ˣ), for images in [0, 1].
    Sigmoid,
}

impl Layer for Activation {
    fn kind(&self) -> &'static str {
        match self {
            Activation::Relu => "relu",
            Activation::LeakyRelu(_) => "leaky_relu",
            Activation::Tanh => "tanh",
            Activation::Sigmoid => "sigmoid",
        }
    }

    fn description(&self) -> String {
        match self {
            Activation::Relu => "ReLU".to_owned(),
            Activation::LeakyRelu(slope) => format!("LeakyReLU {slope}"),
            Activation::Tanh => "Tanh".to_owned(),
            Activation::Sigmoid => "Sigmoid".to_owned(),
        }
    }

    fn forward(&self, x: &Tensor, _cx: &mut Context) -> Result<Tensor> {
        match *self {
            Activation::Relu => x.relu(),
            Activation::LeakyRelu(slope) => x.leaky_relu(slope),
            Activation::Tanh => x.tanh(),
            Activation::Sigmoid => x.sigmoid(),
        }
    }

    fn leaky_slope(&self) -> Option<f64> {
        match *self {
            Activation::Relu => Some(0.0),
            Activation::LeakyRelu(slope) => Some(slope),
            Activation::Tanh | Activation::Sigmoid => None,
        }
    }

    fn output(&self, input: Shape) -> Result<Shape> {
        Ok(input)
    }
}

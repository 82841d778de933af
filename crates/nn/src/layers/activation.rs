//! Activations.

use super::Placement;
use crate::initializer::{Fans, Initializer};
use crate::layer::RowFunction;
use crate::onnx::{Attribute, Graph, Value};
use crate::{Context, Layer, Param};
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

    fn of_a_row(&self) -> Option<RowFunction> {
        Some(match *self {
            Activation::Relu => RowFunction::Relu,
            Activation::LeakyRelu(slope) => RowFunction::LeakyRelu(slope),
            Activation::Tanh => RowFunction::Tanh,
            Activation::Sigmoid => RowFunction::Sigmoid,
        })
    }

    fn onnx(&self, graph: &mut Graph, x: &Value) -> Result<Value> {
        let name = match *self {
            Activation::Relu => graph.node("Relu", &[x.name()], &[]),
            Activation::LeakyRelu(slope) => {
                graph.node("LeakyRelu", &[x.name()], &[("alpha", Attribute::Float(slope))])
            }
            Activation::Tanh => graph.node("Tanh", &[x.name()], &[]),
            Activation::Sigmoid => graph.node("Sigmoid", &[x.name()], &[]),
        };
        Ok(x.made(name))
    }

    fn output(&self, input: Shape) -> Result<Shape> {
        Ok(input)
    }
}

/// x where positive, else a · x, with one slope `a` that is learned (He et al., 2015).
#[derive(Debug)]
pub struct PRelu {
    slope: Param,
}

impl PRelu {
    /// A layer whose slope starts at `slope`: 0.25 in PyTorch.
    pub fn new(slope: f64, place: &mut Placement<'_>) -> Result<PRelu> {
        let fans = Fans { fan_in: 1, fan_out: 1 };
        Ok(PRelu { slope: place.trainable("slope", [1], fans, Initializer::Constant(slope))? })
    }
}

impl Layer for PRelu {
    fn kind(&self) -> &'static str {
        "prelu"
    }

    fn description(&self) -> String {
        "PReLU".to_owned()
    }

    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        x.relu()?.sub(&x.neg()?.relu()?.mul(&cx.read(&self.slope))?)
    }

    fn onnx(&self, graph: &mut Graph, x: &Value) -> Result<Value> {
        let slope = graph.param(&self.slope)?;
        Ok(x.made(graph.node("PRelu", &[x.name(), &slope], &[])))
    }

    fn output(&self, input: Shape) -> Result<Shape> {
        Ok(input)
    }

    fn params(&self) -> Vec<&Param> {
        vec![&self.slope]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use belamy_tensor::{DType, Graph, grad};

    #[test]
    fn prelu_learns_its_slope_from_the_negative_side() {
        let device = belamy_cpu::oracle();
        let mut place = Placement::new(&device, DType::F64, 1);
        let layer = PRelu::new(0.25, &mut place).unwrap();
        let mut cx = Context::train(1, 0, 0, &device).unwrap();
        let x = Tensor::from_slice(&[2.0f64, -4.0, -1.0], [1, 3], &device).unwrap().tracked();
        let y = layer.forward(&x, &mut cx).unwrap();
        assert_eq!(y.to_f64().unwrap(), [2.0, -1.0, -0.25]);
        let slope = layer.slope.value();
        let grads = grad(&y.sum_all().unwrap(), None, &[&x, &slope], Graph::Drop).unwrap();
        let values: Vec<Vec<f64>> =
            grads.into_iter().map(|grad| grad.unwrap().to_f64().unwrap()).collect();
        assert_eq!(values, [vec![1.0, 0.25, 0.25], vec![-5.0]]);
    }
}

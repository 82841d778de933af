//! Layers that hold layers: residual blocks and the skips of a U-Net.

use crate::layer::{Named, run};
use crate::onnx::{Graph, Value};
use crate::{Context, Layer};
use belamy_tensor::ops::concat::concat;
use belamy_tensor::{Error, Result, Shape, Tensor};

/// What becomes of the input x and of what the layers inside make of it, f(x).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// x + f(x): a residual block (He et al., 2016). Both have one shape.
    Add,
    /// The channels of x, then those of f(x): a U-Net's level as junyanz/pytorch-CycleGAN-and-pix2pix joins it.
    InputFirst,
    /// The channels of f(x), then those of x: a U-Net's level as the TensorFlow tutorial joins it.
    InputLast,
}

/// Layers in a row, and a way around them (Ronneberger et al., 2015; He et al., 2016).
#[derive(Debug)]
pub struct Skip {
    join: Join,
    inside: Vec<Named>,
}

impl Skip {
    /// A way around `inside`.
    pub fn new(join: Join, inside: Vec<Named>) -> Skip {
        Skip { join, inside }
    }

    fn joined(&self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        let channels = x.shape().rank() - 1;
        match self.join {
            Join::Add => x.add(y),
            Join::InputFirst => concat(&[x, y], channels),
            Join::InputLast => concat(&[y, x], channels),
        }
    }
}

impl Layer for Skip {
    fn kind(&self) -> &'static str {
        match self.join {
            Join::Add => "residual",
            Join::InputFirst | Join::InputLast => "skip",
        }
    }

    fn description(&self) -> String {
        match self.join {
            Join::Add => "Add input",
            Join::InputFirst => "Concat behind input",
            Join::InputLast => "Concat input behind",
        }
        .to_owned()
    }

    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        self.joined(x, &run(&self.inside, x, cx, None)?)
    }

    fn forward_observed(
        &self,
        x: &Tensor,
        cx: &mut Context,
        observe: &mut dyn FnMut(&str, &Tensor),
    ) -> Result<Tensor> {
        self.joined(x, &run(&self.inside, x, cx, Some(observe))?)
    }

    fn onnx(&self, graph: &mut Graph, x: &Value) -> Result<Value> {
        let made = graph.layers(&self.inside, x)?;
        Ok(match self.join {
            Join::Add => x.made(graph.node("Add", &[x.name(), made.name()], &[])),
            Join::InputFirst => graph.joined(x, &made),
            Join::InputLast => graph.joined(&made, x),
        })
    }

    fn inside(&self) -> &[Named] {
        &self.inside
    }

    fn output(&self, input: Shape) -> Result<Shape> {
        let made = self.inside.iter().try_fold(input, |shape, named| named.layer.output(shape))?;
        let refuse = |rule| Err(Error::shape(self.kind(), &[input, made], rule));
        match self.join {
            Join::Add if made == input => Ok(made),
            Join::Add => {
                refuse("the layers inside must keep the shape, to be added to their input")
            }
            _ => match (input.rank().checked_sub(1), made.rank().checked_sub(1)) {
                (Some(last), Some(other))
                    if last == other && input.with(last, 0) == made.with(last, 0) =>
                {
                    Ok(made.with(last, input.dims()[last] + made.dims()[last]))
                }
                _ => refuse("the layers inside must keep all axes but the channels"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::Activation;
    use crate::network::Builder;
    use crate::{Initializer, Network};
    use belamy_tensor::{DType, Device};

    fn network(join: Join, device: &Device) -> Network {
        Builder::new("n", [2], device, DType::F64, 1)
            .skip(join, |inside| {
                inside
                    .dense(2, Initializer::Constant(1.0), None)?
                    .skip(Join::Add, |inner| inner.activation(Activation::Relu))
            })
            .unwrap()
            .build()
    }

    /// f(x) = 2 (a + b) for a + b above 0.
    fn made(join: Join) -> Vec<f64> {
        let device = belamy_cpu::oracle();
        let x = Tensor::from_slice(&[1.0f64, 3.0], [1, 2], &device).unwrap();
        let mut cx = Context::evaluate(1, 0, &device).unwrap();
        network(join, &device).forward(&x, None, &mut cx).unwrap().to_f64().unwrap()
    }

    #[test]
    fn each_join_is_what_it_says() {
        assert_eq!(made(Join::Add), [9.0, 11.0]);
        assert_eq!(made(Join::InputFirst), [1.0, 3.0, 8.0, 8.0]);
        assert_eq!(made(Join::InputLast), [8.0, 8.0, 1.0, 3.0]);
    }

    #[test]
    fn names_shapes_and_counts_reach_inside() {
        let device = belamy_cpu::oracle();
        let network = network(Join::InputFirst, &device);
        let names: Vec<String> = network.params().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["skip_1.dense_1.weight"]);
        let rows = network.table().unwrap();
        let lines: Vec<_> =
            rows.iter().map(|row| (row.name.as_str(), &row.output[..], row.params)).collect();
        let expected = [
            ("skip_1.dense_1", &[2][..], 4),
            ("skip_1.residual_1.relu_1", &[2], 0),
            ("skip_1.residual_1", &[2], 0),
            ("skip_1", &[4], 0),
        ];
        assert_eq!(lines, expected);
        let x = Tensor::from_slice(&[1.0f64, 3.0], [1, 2], &device).unwrap();
        let mut cx = Context::evaluate(1, 0, &device).unwrap();
        let mut seen = Vec::new();
        network
            .forward_observed(&x, None, &mut cx, &mut |name, _| seen.push(name.to_owned()))
            .unwrap();
        assert_eq!(seen, expected.map(|line| line.0));
    }

    #[test]
    fn a_block_that_changes_its_shape_is_refused_with_its_place() {
        let device = belamy_cpu::oracle();
        let builder = Builder::new("n", [2], &device, DType::F64, 1);
        let error = builder
            .skip(Join::Add, |inside| inside.dense(3, Initializer::Constant(1.0), None))
            .unwrap_err()
            .to_string();
        assert!(error.contains("residual") && error.contains("keep the shape"), "{error}");
    }
}

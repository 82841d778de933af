//! The fully connected layer.

use super::{Placement, SpectralNorm};
use crate::initializer::{Fans, Initializer};
use crate::layer::RowFunction;
use crate::onnx::{Attribute, Graph, Value};
use crate::{Context, Layer, Param};
use belamy_tensor::ops::matmul::matmul;
use belamy_tensor::{Error, Result, Shape, Tensor};

/// `y = x Wᵀ + b` for `x: [N, I]`, `W: [O, I]`, `b: [O]`.
#[derive(Debug)]
pub struct Dense {
    weight: Param,
    bias: Option<Param>,
    spectral: Option<SpectralNorm>,
}

impl Dense {
    /// A layer from `inputs` to `outputs` features; `bias` is how a bias starts, or none.
    pub fn new(
        inputs: usize,
        outputs: usize,
        weight: Initializer,
        bias: Option<Initializer>,
        place: &mut Placement<'_>,
    ) -> Result<Dense> {
        let fans = Fans { fan_in: inputs, fan_out: outputs };
        let weight = place.trainable("weight", [outputs, inputs], fans, weight)?;
        let bias = bias.map(|start| place.trainable("bias", [outputs], fans, start)).transpose()?;
        let spectral = place.spectral.then(|| SpectralNorm::new(outputs, place)).transpose()?;
        Ok(Dense { weight, bias, spectral })
    }

    fn extents(&self) -> (usize, usize) {
        let shape = self.weight.meta().shape;
        (shape.dims()[0], shape.dims()[1])
    }
}

impl Layer for Dense {
    fn kind(&self) -> &'static str {
        "dense"
    }

    fn description(&self) -> String {
        let (outputs, inputs) = self.extents();
        format!("Dense {inputs}→{outputs}{}", if self.bias.is_none() { ", no bias" } else { "" })
    }

    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let mut weight = cx.read(&self.weight);
        if let Some(spectral) = &self.spectral {
            weight = spectral.normalised(&weight, cx)?;
        }
        let y = matmul(x, &weight, false, true)?;
        match &self.bias {
            Some(bias) => y.add(&cx.read(bias)),
            None => Ok(y),
        }
    }

    fn of_a_row(&self) -> Option<RowFunction> {
        let values = |param: &Param| param.value().detach();
        let bias = self.bias.as_ref().map(values);
        self.spectral.is_none().then(|| RowFunction::Dense(values(&self.weight), bias))
    }

    fn onnx(&self, graph: &mut Graph, x: &Value) -> Result<Value> {
        let mut weight = graph.context().read(&self.weight);
        if let Some(spectral) = &self.spectral {
            weight = spectral.normalised(&weight, graph.context())?;
        }
        let weight = graph.constant(&weight)?;
        let bias = self.bias.as_ref().map(|bias| graph.param(bias)).transpose()?;
        let inputs: Vec<&str> = [x.name(), &weight].into_iter().chain(bias.as_deref()).collect();
        Ok(x.made(graph.node("Gemm", &inputs, &[("transB", Attribute::Integer(1))])))
    }

    fn output(&self, input: Shape) -> Result<Shape> {
        let (outputs, inputs) = self.extents();
        if input.dims() != [inputs] {
            let rule = format!("a dense layer of {inputs} inputs wants that many features");
            return Err(Error::shape("dense", &[input], rule));
        }
        Ok(Shape::from([outputs]))
    }

    fn params(&self) -> Vec<&Param> {
        let vector = self.spectral.iter().map(SpectralNorm::param);
        std::iter::once(&self.weight).chain(&self.bias).chain(vector).collect()
    }

    fn multiply_adds(&self, _input: Shape, _output: Shape) -> u64 {
        let (outputs, inputs) = self.extents();
        outputs as u64 * inputs as u64
    }
}

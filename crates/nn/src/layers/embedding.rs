//! Label embedding.

use super::Placement;
use crate::initializer::{Fans, Initializer};
use crate::layer::RowFunction;
use crate::onnx::{Graph, Value};
use crate::{Context, Layer, Param};
use belamy_tensor::ops::gather::gather_rows;
use belamy_tensor::{Error, Result, Shape, Tensor};

/// Looks up a row of `weight: [V, D]` for each label `[N]` (u32).
#[derive(Debug)]
pub struct Embedding {
    weight: Param,
}

impl Embedding {
    /// A table of `labels` rows of `features` numbers.
    pub fn new(
        labels: usize,
        features: usize,
        weight: Initializer,
        place: &mut Placement<'_>,
    ) -> Result<Embedding> {
        let fans = Fans { fan_in: labels, fan_out: features };
        Ok(Embedding { weight: place.trainable("weight", [labels, features], fans, weight)? })
    }
}

impl Layer for Embedding {
    fn kind(&self) -> &'static str {
        "embedding"
    }

    fn description(&self) -> String {
        let shape = self.weight.meta().shape;
        format!("Embedding {}×{}", shape.dims()[0], shape.dims()[1])
    }

    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        gather_rows(&cx.read(&self.weight), x)
    }

    fn of_a_row(&self) -> Option<RowFunction> {
        Some(RowFunction::Table(self.weight.value().detach()))
    }

    fn onnx(&self, graph: &mut Graph, labels: &Value) -> Result<Value> {
        let weight = graph.param(&self.weight)?;
        Ok(labels.made(graph.node("Gather", &[&weight, labels.name()], &[])))
    }

    fn output(&self, input: Shape) -> Result<Shape> {
        if input.rank() != 0 {
            return Err(Error::shape("embedding", &[input], "wants one label a sample"));
        }
        Ok(Shape::from([self.weight.meta().shape.dims()[1]]))
    }

    fn params(&self) -> Vec<&Param> {
        vec![&self.weight]
    }
}

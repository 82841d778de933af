//! Dropout.

use crate::onnx::{Graph, Value, refused};
use crate::{Context, Layer};
use belamy_tensor::ops::concat::concat;
use belamy_tensor::ops::dropout::dropout;
use belamy_tensor::{Error, Result, Shape, Tensor};

/// Zeroes each element with probability `rate` and divides the others by 1 − rate, while training
/// (Srivastava et al., 2014) or always.
#[derive(Debug, Clone, Copy)]
pub struct Dropout {
    rate: f64,
    always: bool,
}

impl Dropout {
    /// A rate in [0, 1); others are refused.
    pub fn new(rate: f64) -> Result<Dropout> {
        if !(0.0..1.0).contains(&rate) {
            return Err(Error::argument(
                "dropout",
                format!("rate {rate} must be at least 0 and below 1"),
            ));
        }
        Ok(Dropout { rate, always: false })
    }

    /// The same in inference too, where it is what makes results differ.
    #[must_use]
    pub fn always(self) -> Dropout {
        Dropout { always: true, ..self }
    }
}

impl Layer for Dropout {
    fn kind(&self) -> &'static str {
        "dropout"
    }

    fn description(&self) -> String {
        format!("Dropout {}{}", self.rate, if self.always { ", always" } else { "" })
    }

    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        if !(cx.is_training() || self.always) || self.rate == 0.0 {
            return Ok(x.clone());
        }
        let key = cx.next_key();
        let pieces = cx.pieces();
        if cx.ranks().is_none() || pieces == 1 {
            return dropout(x, self.rate, key, cx.counter());
        }
        // A rank has its share of each piece, and draws for it what a rank that has all of them would.
        let length = x.dims()[0] / pieces;
        let dropped = (0..pieces)
            .map(|piece| {
                let own = x.slice(0, piece * length, length)?;
                dropout(&own, self.rate, key, &cx.counter_of_piece(piece, length)?)
            })
            .collect::<Result<Vec<_>>>()?;
        concat(&dropped.iter().collect::<Vec<_>>(), 0)
    }

    fn onnx(&self, _graph: &mut Graph, x: &Value) -> Result<Value> {
        if self.always && self.rate > 0.0 {
            return Err(refused(
                "dropout in inference has no ONNX operator that draws as Belamy does",
            ));
        }
        Ok(x.clone())
    }

    fn output(&self, input: Shape) -> Result<Shape> {
        Ok(input)
    }
}

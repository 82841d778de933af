//! Dropout.

use crate::{Context, Layer};
use belamy_tensor::ops::dropout::dropout;
use belamy_tensor::{Error, Result, Shape, Tensor};

/// Zeroes each element with probability `rate` and divides the others by 1 − rate, while training
/// (Srivastava et al., 2014).
#[derive(Debug, Clone, Copy)]
pub struct Dropout {
    rate: f64,
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
        Ok(Dropout { rate })
    }
}

impl Layer for Dropout {
    fn kind(&self) -> &'static str {
        "dropout"
    }

    fn description(&self) -> String {
        format!("Dropout {}", self.rate)
    }

    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        if !cx.is_training() || self.rate == 0.0 {
            return Ok(x.clone());
        }
        let key = cx.next_key();
        dropout(x, self.rate, key, cx.counter())
    }

    fn output(&self, input: Shape) -> Result<Shape> {
        Ok(input)
    }
}

//! Exponential moving averages of a network's weights.

use crate::Network;
use belamy_tensor::{Result, Tensor};

/// `average = decay · average + (1 − decay) · weight`, for every trainable parameter of one network.
///
/// Running statistics are copied, not averaged.
#[derive(Debug, Clone)]
pub struct Average {
    decay: f64,
    values: Vec<Tensor>,
}

impl Average {
    /// An average that starts at the network's present weights.
    pub fn new(network: &Network, decay: f64) -> Average {
        let values = network.params().iter().map(|(_, param)| param.value().detach()).collect();
        Average { decay, values }
    }

    /// Moves the average towards the present weights.
    pub fn update(&mut self, network: &Network) -> Result<()> {
        for (average, (_, param)) in self.values.iter_mut().zip(network.params()) {
            let value = param.value().detach();
            *average = if param.is_trainable() {
                average.mul_scalar(self.decay)?.add(&value.mul_scalar(1.0 - self.decay)?)?
            } else {
                value
            };
        }
        Ok(())
    }

    /// The averaged values, in the order of the network's parameters.
    pub fn values(&self) -> &[Tensor] {
        &self.values
    }

    /// Exchanges the network's weights with the averaged ones; a second call undoes the first.
    pub fn exchange(&mut self, network: &Network) {
        for (average, (_, param)) in self.values.iter_mut().zip(network.params()) {
            let value = param.value().detach();
            param.set(std::mem::replace(average, value));
        }
    }

    /// Puts saved values back, in the order of the network's parameters.
    pub fn restore(&mut self, values: Vec<Tensor>) {
        self.values = values;
    }
}

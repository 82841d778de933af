//! The layers, a file a family.

pub mod activation;
pub mod composite;
pub mod convolution;
pub mod dense;
pub mod dropout;
pub mod embedding;
pub mod norm;
pub mod shape;
pub mod spectral;
pub mod variety;

pub use activation::{Activation, PRelu};
pub use composite::{Join, Skip};
pub use convolution::{Conv2d, ConvTranspose2d, Padding};
pub use dense::Dense;
pub use dropout::Dropout;
pub use embedding::Embedding;
pub use norm::{BatchNorm, InstanceNorm, RunningVariance};
pub use shape::{Flatten, PixelShuffle, ReflectPad, Reshape, Upsample};
pub use spectral::SpectralNorm;
pub use variety::MinibatchStddev;

use crate::Param;
use crate::initializer::{Fans, Initializer};
use belamy_tensor::{DType, Device, Result, Shape};

/// Where a network's parameters live and how they start; numbers each parameter so that each draws its own values.
#[derive(Debug)]
pub struct Placement<'a> {
    /// The device of the parameters.
    pub device: &'a Device,
    /// Their type: f32, or f64 for checks.
    pub dtype: DType,
    /// The network's seed.
    pub seed: u64,
    /// Whether weights are drawn; if not, all are 0, which is enough to be counted.
    pub drawn: bool,
    /// Whether dense layers and convolutions divide their weights by their largest singular values.
    pub spectral: bool,
    next: u32,
}

impl<'a> Placement<'a> {
    /// Parameters of type `dtype` on `device`, drawn by `seed`.
    pub fn new(device: &'a Device, dtype: DType, seed: u64) -> Placement<'a> {
        Placement { device, dtype, seed, drawn: true, spectral: false, next: 0 }
    }

    /// A new weight.
    pub fn trainable(
        &mut self,
        name: &'static str,
        shape: impl Into<Shape>,
        fans: Fans,
        initializer: Initializer,
    ) -> Result<Param> {
        let index = self.next;
        self.next += 1;
        let initializer = if self.drawn { initializer } else { Initializer::Constant(0.0) };
        let value =
            initializer.tensor(shape.into(), fans, self.seed, index, self.dtype, self.device)?;
        Ok(Param::trainable(name, value))
    }

    /// A new running statistic, all one number.
    pub fn buffer(&self, name: &'static str, shape: impl Into<Shape>, value: f64) -> Result<Param> {
        let value = belamy_tensor::Tensor::full(value, shape, self.dtype, self.device)?;
        Ok(Param::buffer(name, value))
    }
}

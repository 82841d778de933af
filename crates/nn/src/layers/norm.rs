//! Batch and instance normalisation.

use super::Placement;
use crate::initializer::{Fans, Initializer};
use crate::{Context, Layer, Param};
use belamy_tensor::ops::norm;
use belamy_tensor::{Error, Result, Shape, Tensor};

/// Which variance the running average takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunningVariance {
    /// The batch's own: Keras.
    Biased,
    /// Corrected by n / (n − 1): PyTorch.
    Unbiased,
}

/// Batch normalisation over all axes but the last (Ioffe and Szegedy, 2015).
///
/// Training takes the batch's statistics (each part's own, where [`Context::parts`] says that it has several) and moves
/// the running ones: `running = decay · running + (1 − decay) · batch`. Evaluation takes the running ones.
#[derive(Debug)]
pub struct BatchNorm {
    gamma: Param,
    beta: Param,
    running_mean: Param,
    running_variance: Param,
    decay: f64,
    epsilon: f64,
    variance: RunningVariance,
}

impl BatchNorm {
    /// Normalises `channels` channels. `decay` is Keras' momentum, or 1 − PyTorch's; γ starts by `gamma`, β at 0.
    pub fn new(
        channels: usize,
        decay: f64,
        epsilon: f64,
        variance: RunningVariance,
        gamma: Initializer,
        place: &mut Placement<'_>,
    ) -> Result<BatchNorm> {
        let fans = Fans { fan_in: channels, fan_out: channels };
        Ok(BatchNorm {
            gamma: place.trainable("gamma", [channels], fans, gamma)?,
            beta: place.trainable("beta", [channels], fans, Initializer::Constant(0.0))?,
            running_mean: place.buffer("running_mean", [channels], 0.0)?,
            running_variance: place.buffer("running_variance", [channels], 1.0)?,
            decay,
            epsilon,
            variance,
        })
    }

    /// The layer followed by a leaky ReLU of `slope`; 1 for none.
    fn activated(&self, x: &Tensor, slope: f64, cx: &mut Context) -> Result<Tensor> {
        let (gamma, beta) = (cx.read(&self.gamma), cx.read(&self.beta));
        let (running_mean, running_variance) =
            (self.running_mean.value(), self.running_variance.value());
        if !cx.is_training() {
            let (mean, variance) = (&running_mean, &running_variance);
            let y = norm::normalize(x, mean, variance, Some(&gamma), Some(&beta), self.epsilon)?;
            return if slope == 1.0 { Ok(y) } else { y.leaky_relu(slope) };
        }
        let (y, statistics) = norm::batch_norm_leaky_relu(
            x,
            Some(&gamma),
            Some(&beta),
            self.epsilon,
            slope,
            cx.parts(),
        )?;
        let unbiased = self.variance == RunningVariance::Unbiased;
        let (mean, variance) = norm::running_statistics(
            &running_mean,
            &running_variance,
            &statistics,
            self.decay,
            unbiased,
        )?;
        self.running_mean.set(mean);
        self.running_variance.set(variance);
        Ok(y)
    }
}

impl Layer for BatchNorm {
    fn kind(&self) -> &'static str {
        "batch_norm"
    }

    fn description(&self) -> String {
        format!("BatchNorm (decay {}, ε {})", self.decay, self.epsilon)
    }

    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        self.activated(x, 1.0, cx)
    }

    fn forward_activated(
        &self,
        x: &Tensor,
        slope: f64,
        cx: &mut Context,
    ) -> Option<Result<Tensor>> {
        Some(self.activated(x, slope, cx))
    }

    fn output(&self, input: Shape) -> Result<Shape> {
        channels_fit("batch_norm", input, self.gamma.meta().shape)
    }

    fn params(&self) -> Vec<&Param> {
        vec![&self.gamma, &self.beta, &self.running_mean, &self.running_variance]
    }
}

fn channels_fit(op: &'static str, input: Shape, channels: Shape) -> Result<Shape> {
    if input.dims().last() != channels.dims().first() {
        let rule = "the last axis must have as many channels as the layer";
        return Err(Error::shape(op, &[input, channels], rule));
    }
    Ok(input)
}

/// Instance normalisation over height and width (Ulyanov et al., 2016), the same in training and evaluation.
#[derive(Debug)]
pub struct InstanceNorm {
    affine: Option<(Param, Param)>,
    epsilon: f64,
}

impl InstanceNorm {
    /// Normalises each channel of each image; `affine` adds γ (from 1) and β (from 0) for `channels` channels.
    pub fn new(
        channels: usize,
        epsilon: f64,
        affine: bool,
        place: &mut Placement<'_>,
    ) -> Result<InstanceNorm> {
        let fans = Fans { fan_in: channels, fan_out: channels };
        let mut start =
            |name, value| place.trainable(name, [channels], fans, Initializer::Constant(value));
        let affine = if affine { Some((start("gamma", 1.0)?, start("beta", 0.0)?)) } else { None };
        Ok(InstanceNorm { affine, epsilon })
    }

    /// The layer followed by a leaky ReLU of `slope`; 1 for none.
    fn activated(&self, x: &Tensor, slope: f64, cx: &Context) -> Result<Tensor> {
        let affine = self.affine.as_ref().map(|(gamma, beta)| (cx.read(gamma), cx.read(beta)));
        let (gamma, beta) = affine.as_ref().map(|(gamma, beta)| (gamma, beta)).unzip();
        norm::instance_norm_leaky_relu(x, gamma, beta, self.epsilon, slope)
    }
}

impl Layer for InstanceNorm {
    fn kind(&self) -> &'static str {
        "instance_norm"
    }

    fn description(&self) -> String {
        format!("InstanceNorm (ε {})", self.epsilon)
    }

    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        self.activated(x, 1.0, cx)
    }

    fn forward_activated(
        &self,
        x: &Tensor,
        slope: f64,
        cx: &mut Context,
    ) -> Option<Result<Tensor>> {
        Some(self.activated(x, slope, cx))
    }

    fn output(&self, input: Shape) -> Result<Shape> {
        match &self.affine {
            Some((gamma, _)) => channels_fit("instance_norm", input, gamma.meta().shape),
            None => Ok(input),
        }
    }

    fn params(&self) -> Vec<&Param> {
        self.affine.iter().flat_map(|(gamma, beta)| [gamma, beta]).collect()
    }
}

//! Batch and instance normalisation.

use super::Placement;
use crate::initializer::{Fans, Initializer};
use crate::onnx::{Attribute, Graph, Value};
use crate::{Context, Layer, Param};
use belamy_tensor::ops::norm;
use belamy_tensor::ops::norm_over_ranks::{batch_norm_over_ranks, statistics_over_ranks};
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
/// Training takes the batch's statistics (each part's own, where [`Context::parts`] says that it has several; those of all
/// ranks that share the batch, where [`Context::ranks`] says that there are any and [`Context::own_statistics`] does not
/// keep each to its own) and moves the running ones, by what all ranks saw: `running = decay · running + (1 − decay) ·
/// batch`. Evaluation takes the running ones.
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

    /// One value a channel is its own mean: what is left is β. Keras goes on like this, PyTorch refuses; pix2pix's
    /// innermost level, 1×1 of a batch of one, is trained so.
    fn of_one_value(&self, x: &Tensor, beta: &Tensor) -> Result<Tensor> {
        let value = x.detach().reshape(beta.shape())?;
        let moved = |running: &Param, batch: &Tensor| -> Result<()> {
            let kept = running.value().mul_scalar(self.decay)?;
            running.set(kept.add(&batch.mul_scalar(1.0 - self.decay)?)?);
            Ok(())
        };
        moved(&self.running_mean, &value)?;
        moved(&self.running_variance, &value.zeros_like()?)?;
        beta.broadcast_to(x.shape())
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
        if self.variance == RunningVariance::Biased
            && cx.parts() == 1
            && cx.ranks().is_none()
            && x.shape().elements() == gamma.shape().elements()
        {
            let y = self.of_one_value(x, &beta)?;
            return if slope == 1.0 { Ok(y) } else { y.leaky_relu(slope) };
        }
        let (epsilon, parts) = (self.epsilon, cx.parts());
        let by_itself =
            || norm::batch_norm_leaky_relu(x, Some(&gamma), Some(&beta), epsilon, slope, parts);
        let (y, statistics) = match cx.ranks() {
            Some(ranks) if cx.own_statistics() => {
                let (y, own) = by_itself()?;
                (y, statistics_over_ranks(&own, ranks)?)
            }
            Some(ranks) => batch_norm_over_ranks(x, &gamma, &beta, epsilon, slope, parts, ranks)?,
            None => by_itself()?,
        };
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

    fn onnx(&self, graph: &mut Graph, x: &Value) -> Result<Value> {
        let mut inputs = vec![x.name().to_owned()];
        for param in [&self.gamma, &self.beta, &self.running_mean, &self.running_variance] {
            inputs.push(graph.param(param)?);
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let epsilon = [("epsilon", Attribute::Float(self.epsilon))];
        Ok(x.made(graph.node("BatchNormalization", &inputs, &epsilon)))
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

    fn onnx(&self, graph: &mut Graph, x: &Value) -> Result<Value> {
        let [gamma, beta] = match &self.affine {
            Some((gamma, beta)) => [graph.param(gamma)?, graph.param(beta)?],
            None => {
                let channels = x.shape().dims().last().copied().unwrap_or(1);
                [1.0, 0.0].map(|value| graph.floats(&[channels], &vec![value; channels]))
            }
        };
        let epsilon = [("epsilon", Attribute::Float(self.epsilon))];
        let inputs = [x.name(), &gamma, &beta];
        Ok(x.made(graph.node("InstanceNormalization", &inputs, &epsilon)))
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

#[cfg(test)]
mod tests {
    use super::*;
    use belamy_tensor::{DType, Graph, grad};

    #[test]
    fn one_value_a_channel_leaves_beta_by_keras_convention_only() {
        let device = belamy_cpu::oracle();
        let mut place = Placement::new(&device, DType::F64, 1);
        let mut layer = |variance| {
            BatchNorm::new(2, 0.9, 1e-3, variance, Initializer::Constant(1.0), &mut place).unwrap()
        };
        let mut cx = Context::train(1, 0, 0, &device).unwrap();
        let x = Tensor::from_slice(&[3.0f64, -4.0], [1, 1, 1, 2], &device).unwrap().tracked();
        let keras = layer(RunningVariance::Biased);
        keras.beta.set(Tensor::from_slice(&[0.5f64, 0.25], [2], &device).unwrap());
        let y = keras.forward(&x, &mut cx).unwrap();
        assert_eq!(y.to_f64().unwrap(), [0.5, 0.25]);
        let values = |param: &Param| param.value().to_f64().unwrap();
        let close = |a: &[f64], b: [f64; 2]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12);
        assert!(close(&values(&keras.running_mean), [0.3, -0.4]));
        assert!(close(&values(&keras.running_variance), [0.9, 0.9]));
        // The input has no say, so it gets no gradient.
        let beta = keras.beta.value();
        let grads = grad(&y.sum_all().unwrap(), None, &[&x, &beta], Graph::Drop).unwrap();
        assert!(grads[0].is_none());
        assert_eq!(grads[1].as_ref().unwrap().to_f64().unwrap(), [1.0, 1.0]);
        let pytorch = layer(RunningVariance::Unbiased);
        assert!(pytorch.forward(&x, &mut cx).is_err());
    }
}

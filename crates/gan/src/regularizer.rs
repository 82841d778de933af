//! What keeps a discriminator smooth or a generator varied, for any recipe whose generator takes noise.
//!
//! ```text
//! gradient penalty   λ · mean (‖∇ D(x̂)‖ − 1)²,  x̂ = ε x + (1 − ε) G(z), ε ~ U(0, 1) a sample     WGAN-GP
//! R1                 γ/2 · mean ‖∇ D(x)‖²  on real samples
//! lazy               either each so many steps, so many times as strong
//! weight clipping    every weight of D into ±c after its update                                     WGAN
//! instance noise     x + σ n, n ~ N(0, 1), on all that D sees; σ falls in a line to 0
//! auxiliary labels   cross-entropy of the class that D reads off real and fake samples alike, in both losses  AC-GAN
//! feature matching   mean over features of (mean D_f(x) − mean D_f(G(z)))²,  D_f before D's last layer
//! ```
//!
//! The penalties are real double backward: the gradient of D for its input is a tensor in the graph, and the loss is
//! differentiated through it. Gulrajani et al. (2017); Mescheder et al. (2018); Karras et al. (2020); Arjovsky et al.
//! (2017); Sønderby et al. (2017); Odena et al. (2017); Salimans et al. (2016). Spectral norm and minibatch
//! standard deviation are layers.

use crate::error::{Error, Result};
use belamy_nn::{Context, Network};
use belamy_tensor::ops::random;
use belamy_tensor::{Graph, Tensor, grad};
use serde::{Deserialize, Serialize};

/// Which regularisers a recipe has, each off at 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Regularizers {
    /// λ of the gradient penalty between real and fake samples.
    pub gradient_penalty: f64,
    /// γ of the penalty on real samples.
    pub r1: f64,
    /// Penalties are taken each so many steps, and are so many times as strong then.
    pub penalty_every: u64,
    /// Largest size of the discriminator's weights.
    pub clip_weights: f64,
    /// Divides each of the discriminator's weight matrices by its largest singular value (Miyato et al., 2018).
    pub spectral_norm: bool,
    /// Standard deviation of the noise on what the discriminator sees, at the first step.
    pub instance_noise: f64,
    /// The step at which that noise has fallen to 0.
    pub instance_noise_steps: u64,
    /// Samples in a group whose variety the discriminator is told (Karras et al., 2018).
    pub minibatch_stddev: usize,
    /// Shows the discriminator images changed in colour, place and with a hole, real and fake alike (DiffAugment).
    pub augment: bool,
    /// Weight of feature matching in the generator's loss.
    pub feature_matching: f64,
    /// Weight of a sample's class in both losses. The discriminator of a conditional recipe is then not told the class
    /// but has to name it (Odena et al., 2017).
    pub auxiliary: f64,
    /// Rate of dropout behind each hidden activation of the generator, in training and when samples are drawn
    /// (Isola et al., 2017).
    pub generator_dropout: f64,
}

impl Default for Regularizers {
    /// None.
    fn default() -> Regularizers {
        Regularizers {
            gradient_penalty: 0.0,
            r1: 0.0,
            penalty_every: 1,
            clip_weights: 0.0,
            spectral_norm: false,
            instance_noise: 0.0,
            instance_noise_steps: 1,
            minibatch_stddev: 0,
            augment: false,
            feature_matching: 0.0,
            auxiliary: 0.0,
            generator_dropout: 0.0,
        }
    }
}

impl Regularizers {
    /// What the penalties of a step are multiplied by; none where the step has none.
    pub fn penalty_strength(&self, step: u64) -> Option<f64> {
        let every = self.penalty_every.max(1);
        step.is_multiple_of(every).then_some(every as f64)
    }

    /// Whether each step does the same work with the same constants, so that one can be recorded for all.
    pub fn are_the_same_each_step(&self) -> bool {
        let has_penalty = self.gradient_penalty > 0.0 || self.r1 > 0.0;
        (!has_penalty || self.penalty_every <= 1) && self.instance_noise == 0.0 && !self.augment
    }

    /// The standard deviation of a step's instance noise.
    pub fn noise_at(&self, step: u64) -> f64 {
        let share = step as f64 / self.instance_noise_steps.max(1) as f64;
        self.instance_noise * (1.0 - share).max(0.0)
    }
}

/// A discriminator's answer to samples, in training.
pub type Ask<'a> = dyn FnMut(&Tensor, &mut Context) -> Result<Tensor> + 'a;

/// ‖∇ D‖² of each sample, `[N]`, as part of the graph that leads to D's weights.
fn squared_gradient(samples: &Tensor, cx: &mut Context, ask: &mut Ask<'_>) -> Result<Tensor> {
    let samples = samples.detach().tracked();
    let answers = ask(&samples, cx)?.sum_all()?;
    let slope = grad(&answers, None, &[&samples], Graph::Keep)?.pop().flatten();
    let Some(slope) = slope else {
        return Err(Error::recipe("the discriminator's answer does not depend on its input"));
    };
    let count = samples.dims()[0];
    Ok(slope.square()?.reshape([count, slope.shape().elements() / count])?.sum(&[1])?)
}

/// mean (‖∇ D(x̂)‖ − 1)² at random places between real samples and as many fake ones.
pub fn gradient_penalty(
    real: &Tensor,
    fake: &Tensor,
    cx: &mut Context,
    ask: &mut Ask<'_>,
) -> Result<Tensor> {
    let mut shape = vec![1; real.shape().rank()];
    shape[0] = real.dims()[0];
    let key = cx.next_key();
    let shape = belamy_tensor::Shape::new(&shape)?;
    let share = random::uniform(shape, 0.0, 1.0, real.dtype(), key, cx.counter())?;
    gradient_penalty_at(&share, real, fake, cx, ask)
}

/// As [`gradient_penalty`], at given shares ε of the real samples, `[N, 1, ..]`.
pub fn gradient_penalty_at(
    share: &Tensor,
    real: &Tensor,
    fake: &Tensor,
    cx: &mut Context,
    ask: &mut Ask<'_>,
) -> Result<Tensor> {
    if real.shape() != fake.shape() {
        let message = "a gradient penalty wants as many fake samples as real ones";
        return Err(Error::recipe(message));
    }
    let between = fake.add(&real.sub(fake)?.mul(share)?)?;
    // A tiny number keeps the root's slope finite where the gradient is 0.
    let norm = squared_gradient(&between, cx, ask)?.add_scalar(1e-12)?.sqrt()?;
    Ok(norm.add_scalar(-1.0)?.square()?.mean_all()?)
}

/// ½ mean ‖∇ D(x)‖² on real samples.
pub fn r1(real: &Tensor, cx: &mut Context, ask: &mut Ask<'_>) -> Result<Tensor> {
    Ok(squared_gradient(real, cx, ask)?.mean_all()?.mul_scalar(0.5)?)
}

/// Samples with normal noise on them.
pub fn with_noise(samples: &Tensor, deviation: f64, cx: &mut Context) -> Result<Tensor> {
    let key = cx.next_key();
    let (shape, dtype) = (samples.shape(), samples.dtype());
    Ok(samples.add(&random::normal(shape, 0.0, deviation, dtype, key, cx.counter())?)?)
}

/// Every trainable weight into ±`most`.
pub fn clip_weights(network: &Network, most: f64) -> Result<()> {
    for param in network.trainable() {
        param.set(param.value().detach().clamp(-most, most)?);
    }
    Ok(())
}

/// What a discriminator's last layer with weights is given.
fn features(
    discriminator: &Network,
    samples: &Tensor,
    labels: Option<&Tensor>,
    cx: &mut Context,
) -> Result<Tensor> {
    let mut results: Vec<(bool, Tensor)> = Vec::new();
    discriminator.forward_observed(samples, labels, cx, &mut |name, y| {
        results.push((name.starts_with("dense") || name.starts_with("conv"), y.clone()));
    })?;
    let last = results.iter().rposition(|(has_weights, _)| *has_weights);
    match last {
        Some(last) if last > 0 => Ok(results.swap_remove(last - 1).1),
        _ => Err(Error::recipe("feature matching wants a discriminator of more than one layer")),
    }
}

/// Mean over features of (mean over real samples − mean over fake ones)².
pub fn feature_matching(
    discriminator: &Network,
    (real, real_labels): (&Tensor, Option<&Tensor>),
    (fake, fake_labels): (&Tensor, Option<&Tensor>),
    cx: &mut Context,
) -> Result<Tensor> {
    let real = features(discriminator, real, real_labels, cx)?.detach().mean(&[0])?;
    let fake = features(discriminator, fake, fake_labels, cx)?.mean(&[0])?;
    Ok(real.sub(&fake)?.square()?.mean_all()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use belamy_tensor::Device;

    fn rows(values: &[f64], device: &Device) -> Tensor {
        Tensor::from_slice(values, [values.len() / 2, 2], device).unwrap()
    }

    /// D(x) = w₀ x₀² + w₁ x₁: its gradient is (2 w₀ x₀, w₁).
    fn critic(w: &Tensor, x: &Tensor) -> Result<Tensor> {
        let (a, b) = (x.slice(1, 0, 1)?, x.slice(1, 1, 1)?);
        Ok(a.square()?.mul(&w.slice(0, 0, 1)?)?.add(&b.mul(&w.slice(0, 1, 1)?)?)?)
    }

    #[test]
    fn penalties_and_their_gradients_are_the_closed_forms() {
        let device = belamy_cpu::oracle();
        let mut cx = Context::train(1, 0, 0, &device).unwrap();
        let w = Tensor::from_slice(&[0.5f64, 2.0], [2], &device).unwrap().tracked();
        let x = [1.5, 0.3, -0.5, 2.0];
        let real = rows(&x, &device);
        let mut ask = |x: &Tensor, _: &mut Context| critic(&w, x);
        let loss = r1(&real, &mut cx, &mut ask).unwrap();
        // ½ mean (4 w₀² x₀² + w₁²)
        let squares = (1.5f64 * 1.5 + 0.25) / 2.0;
        assert!((loss.item().unwrap() - 0.5 * (4.0 * 0.25 * squares + 4.0)).abs() < 1e-14);
        let slope = grad(&loss, None, &[&w], Graph::Drop).unwrap()[0].clone().unwrap();
        let expected = [4.0 * 0.5 * squares, 2.0];
        let found = slope.to_f64().unwrap();
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-14), "{found:?}");
        // Where real and fake agree, so do all places between: the penalty is (norm − 1)² there.
        let loss = gradient_penalty(&real, &real, &mut cx, &mut ask).unwrap();
        let norms = [1.5f64, -0.5].map(|x| (x * x + 4.0).sqrt());
        let expected = norms.iter().map(|norm| (norm - 1.0).powi(2)).sum::<f64>() / 2.0;
        assert!((loss.item().unwrap() - expected).abs() < 1e-11, "{loss:?} {expected}");
        let few = rows(&x[..2], &device);
        assert!(gradient_penalty(&real, &few, &mut cx, &mut ask).is_err());
    }

    #[test]
    fn lazy_penalties_are_rare_and_strong_and_noise_falls_in_a_line() {
        let mut own = Regularizers { penalty_every: 4, ..Regularizers::default() };
        let strengths: Vec<_> = (0..5).map(|step| own.penalty_strength(step)).collect();
        assert_eq!(strengths, [Some(4.0), None, None, None, Some(4.0)]);
        (own.instance_noise, own.instance_noise_steps) = (0.2, 10);
        let noise: Vec<f64> = [0, 5, 10, 99].map(|step| own.noise_at(step)).to_vec();
        assert_eq!(noise, [0.2, 0.1, 0.0, 0.0]);
        assert!(!own.are_the_same_each_step());
        assert!(Regularizers::default().are_the_same_each_step());
    }
}

//! What the two networks want: Goodfellow et al. (2014), equation 1, and its variants.
//!
//! With logits a = D's answer before the sigmoid σ, and BCE(a, t) = softplus(a) − t·a:
//!
//! ```text
//! discriminator   BCE(a_real, t_real) and BCE(a_fake, t_fake), added or averaged
//! generator       non-saturating:  BCE(a_fake, t_generator)          = −log D(G(z)) at t = 1
//!                 minimax:         −BCE(a_fake, 0)                   = log(1 − D(G(z)))
//! ```
//!
//! At chance (a = 0) the discriminator's loss is 2 ln 2 by the sum convention, ln 2 by the mean.

use belamy_nn::Context;
use belamy_tensor::ops::concat::concat;
use belamy_tensor::ops::loss::bce_with_logits_mean;
use belamy_tensor::ops::random;
use belamy_tensor::{Result, Tensor};
use serde::{Deserialize, Serialize};

/// How the discriminator's two halves make one loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossConvention {
    /// (real + fake) / 2: ln 2 at chance.
    Mean,
    /// real + fake: 2 ln 2 at chance.
    Sum,
}

impl LossConvention {
    /// What the sum of the two halves is multiplied by.
    pub fn scale(self) -> f64 {
        match self {
            LossConvention::Mean => 0.5,
            LossConvention::Sum => 1.0,
        }
    }

    /// The name in metrics: `mean` or `sum`.
    pub fn name(self) -> &'static str {
        match self {
            LossConvention::Mean => "mean",
            LossConvention::Sum => "sum",
        }
    }
}

/// What the generator minimises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GeneratorLoss {
    /// −log D(G(z)): strong gradients while the discriminator is winning.
    NonSaturating,
    /// log(1 − D(G(z))): the two-player game's own objective.
    Minimax,
}

/// The targets of the three terms, and how they are disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Labels {
    /// Target for real samples: 1, or 0.9 for one-sided smoothing.
    pub real: f64,
    /// Target for fake samples: 0; above it smoothing is two-sided.
    pub fake: f64,
    /// Target of the generator's non-saturating loss.
    pub generator: f64,
    /// Width of uniform noise added to the discriminator's targets: t + noise · U(0, 1). It may be negative.
    pub noise: f64,
    /// Probability with which a sample's target in the discriminator's loss is replaced by the other kind's.
    pub flip: f64,
}

impl Default for Labels {
    /// 1 and 0, undisturbed.
    fn default() -> Labels {
        Labels { real: 1.0, fake: 0.0, generator: 1.0, noise: 0.0, flip: 0.0 }
    }
}

/// A discriminator's answers to a batch of real samples and one of fake ones.
#[derive(Debug, Clone)]
pub enum Answers {
    /// From two passes.
    Apart {
        /// Logits of the real samples.
        real: Tensor,
        /// Logits of the fake ones.
        fake: Tensor,
    },
    /// From one pass over both, as many real samples as fake ones behind them.
    Together(Tensor),
}

impl Answers {
    /// Logits of the real samples.
    pub fn real(&self) -> Result<Tensor> {
        match self {
            Answers::Apart { real, .. } => Ok(real.clone()),
            Answers::Together(logits) => logits.slice(0, 0, logits.dims()[0] / 2),
        }
    }

    /// Logits of the fake samples.
    pub fn fake(&self) -> Result<Tensor> {
        match self {
            Answers::Apart { fake, .. } => Ok(fake.clone()),
            Answers::Together(logits) => {
                let half = logits.dims()[0] / 2;
                logits.slice(0, half, half)
            }
        }
    }

    /// The same numbers, outside the graph.
    #[must_use]
    pub fn detach(&self) -> Answers {
        match self {
            Answers::Apart { real, fake } => {
                Answers::Apart { real: real.detach(), fake: fake.detach() }
            }
            Answers::Together(logits) => Answers::Together(logits.detach()),
        }
    }
}

impl Labels {
    /// Whether the targets are the same at every step.
    fn are_constant(&self) -> bool {
        self.flip == 0.0 && self.noise == 0.0
    }

    /// Targets for `count` logits of the shape and kind of `logits`, that should be `target`, and would be `other` if
    /// flipped.
    fn targets(
        &self,
        logits: &Tensor,
        count: usize,
        [target, other]: [f64; 2],
        cx: &mut Context,
    ) -> Result<Tensor> {
        let (shape, dtype, device) =
            (logits.shape().with(0, count), logits.dtype(), logits.device());
        let mut targets = Tensor::full(target, shape, dtype, device)?;
        if self.flip > 0.0 {
            let key = cx.next_key();
            let flipped = random::bernoulli(shape, self.flip, dtype, key, cx.counter())?;
            targets = targets.add(&flipped.mul_scalar(other - target)?)?;
        }
        if self.noise != 0.0 {
            let key = cx.next_key();
            let (low, high) = (self.noise.min(0.0), self.noise.max(0.0));
            targets = targets.add(&random::uniform(shape, low, high, dtype, key, cx.counter())?)?;
        }
        Ok(targets)
    }

    /// The discriminator's loss, `scale` times the sum of its means over real and fake samples: a scalar, in nats per
    /// sample. `kept` holds the targets of a pass over both for the next step, where they do not change.
    pub fn discriminator_loss(
        &self,
        answers: &Answers,
        scale: f64,
        kept: &mut Option<Tensor>,
        cx: &mut Context,
    ) -> Result<Tensor> {
        let (for_real, for_fake) = ([self.real, self.fake], [self.fake, self.real]);
        match answers {
            Answers::Apart { real, fake } => {
                let targets = self.targets(real, real.dims()[0], for_real, cx)?;
                let loss = bce_with_logits_mean(real, &targets, scale)?;
                let targets = self.targets(fake, fake.dims()[0], for_fake, cx)?;
                loss.add(&bce_with_logits_mean(fake, &targets, scale)?)
            }
            Answers::Together(logits) => {
                let half = logits.dims()[0] / 2;
                let targets = match kept.take() {
                    Some(kept) if kept.meta() == logits.meta() => kept,
                    _ => concat(
                        &[
                            &self.targets(logits, half, for_real, cx)?,
                            &self.targets(logits, half, for_fake, cx)?,
                        ],
                        0,
                    )?,
                };
                *kept = self.are_constant().then(|| targets.clone());
                // The mean over both is half of the sum of the halves' means.
                bce_with_logits_mean(logits, &targets, 2.0 * scale)
            }
        }
    }

    /// The targets of real samples' logits in the discriminator's loss, disturbed.
    pub fn real_targets(&self, logits: &Tensor, cx: &mut Context) -> Result<Tensor> {
        self.targets(logits, logits.dims()[0], [self.real, self.fake], cx)
    }

    /// The targets of fake samples' logits in the discriminator's loss, disturbed.
    pub fn fake_targets(&self, logits: &Tensor, cx: &mut Context) -> Result<Tensor> {
        self.targets(logits, logits.dims()[0], [self.fake, self.real], cx)
    }
}

impl GeneratorLoss {
    /// The generator's loss on its samples' logits: a scalar, in nats per sample.
    pub fn loss(self, logits: &Tensor, labels: &Labels) -> Result<Tensor> {
        let (target, scale) = match self {
            GeneratorLoss::NonSaturating => (labels.generator, 1.0),
            GeneratorLoss::Minimax => (0.0, -1.0),
        };
        let targets = Tensor::full(target, logits.shape(), logits.dtype(), logits.device())?;
        bce_with_logits_mean(logits, &targets, scale)
    }
}

/// The share of logits above 0: samples that the discriminator takes for real.
pub fn taken_for_real(logits: &Tensor) -> Result<Tensor> {
    logits.detach().greater_scalar(0.0)?.mean_all()
}

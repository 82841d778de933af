//! What the two networks want of the discriminator's answers: the families of objectives.
//!
//! With logits a (of real samples) and b (of fake ones), targets t as [`Labels`] sets them, and
//! BCE(a, t) = softplus(a) − t·a:
//!
//! ```text
//!                       discriminator, the sum of two halves             generator
//! cross-entropy         BCE(a, t_real) + BCE(b, t_fake)                  BCE(b, t_generator), or −BCE(b, 0)
//! least-squares         (a − t_real)² + (b − t_fake)²                    (b − t_generator)²
//! hinge                 max(0, 1 − a) + max(0, 1 + b)                    −b
//! wasserstein           −a + b                                           −b
//! relativistic-average  BCE(a − mean b, t_real) + BCE(b − mean a, t_fake)
//!                                                        BCE(b − mean a, t_generator) + BCE(a − mean b, t_fake)
//! ```
//!
//! each averaged over its samples (and a discriminator's patches). Goodfellow et al. (2014); Mao et al. (2017); Lim
//! and Ye (2017); Arjovsky et al. (2017); Jolicoeur-Martineau (2019).

use crate::error::Result;
use crate::objective::{Answers, GeneratorLoss, Labels};
use belamy_nn::Context;
use belamy_tensor::Tensor;
use belamy_tensor::ops::loss::bce_with_logits_mean;
use serde::{Deserialize, Serialize};

/// A family of objectives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// The game of 2014; `generator_loss` says which of its two forms the generator plays.
    #[default]
    CrossEntropy,
    /// LSGAN: squared differences from the targets.
    LeastSquares,
    /// Margins of 1.
    Hinge,
    /// A critic's difference, for discriminators kept smooth by clipping or a penalty.
    Wasserstein,
    /// Real samples against the average fake one, and the other way round.
    RelativisticAverage,
}

impl Objective {
    /// Whether the generator's loss looks at real samples too.
    pub fn needs_real(self) -> bool {
        self == Objective::RelativisticAverage
    }

    /// Answers outside the graph, moved so that those above 0 take a sample for real: half-way between the targets of
    /// least squares lies ½.
    pub fn centred(self, answers: &Answers) -> Result<Answers> {
        let answers = answers.detach();
        Ok(match (self, answers) {
            (Objective::LeastSquares, Answers::Apart { real, fake }) => {
                Answers::Apart { real: real.add_scalar(-0.5)?, fake: fake.add_scalar(-0.5)? }
            }
            (Objective::LeastSquares, Answers::Together(logits)) => {
                Answers::Together(logits.add_scalar(-0.5)?)
            }
            (_, answers) => answers,
        })
    }

    /// The discriminator's loss, `scale` times the sum of its two halves: a scalar. `kept` is what
    /// [`Labels::discriminator_loss`] keeps from step to step.
    pub fn discriminator_loss(
        self,
        answers: &Answers,
        labels: &Labels,
        scale: f64,
        kept: &mut Option<Tensor>,
        cx: &mut Context,
    ) -> Result<Tensor> {
        if self == Objective::CrossEntropy {
            return Ok(labels.discriminator_loss(answers, scale, kept, cx)?);
        }
        let (real, fake) = (answers.real()?, answers.fake()?);
        let halves = match self {
            Objective::LeastSquares => [
                real.sub(&labels.real_targets(&real, cx)?)?.square()?.mean_all()?,
                fake.sub(&labels.fake_targets(&fake, cx)?)?.square()?.mean_all()?,
            ],
            Objective::Hinge => {
                [real.one_minus()?.relu()?.mean_all()?, fake.add_scalar(1.0)?.relu()?.mean_all()?]
            }
            Objective::Wasserstein => [real.mean_all()?.neg()?, fake.mean_all()?],
            Objective::CrossEntropy | Objective::RelativisticAverage => {
                let beyond = Answers::Apart {
                    real: real.sub(&fake.mean_all()?)?,
                    fake: fake.sub(&real.mean_all()?)?,
                };
                return Ok(labels.discriminator_loss(&beyond, scale, kept, cx)?);
            }
        };
        Ok(halves[0].add(&halves[1])?.mul_scalar(scale)?)
    }

    /// The generator's loss on its samples' logits: a scalar. `real` are those of real samples, for objectives that
    /// need them.
    pub fn generator_loss(
        self,
        fake: &Tensor,
        real: Option<&Tensor>,
        labels: &Labels,
        form: GeneratorLoss,
    ) -> Result<Tensor> {
        let against = |logits: &Tensor, target: f64| -> Result<Tensor> {
            let targets = Tensor::full(target, logits.shape(), logits.dtype(), logits.device())?;
            Ok(bce_with_logits_mean(logits, &targets, 1.0)?)
        };
        match (self, real) {
            (Objective::CrossEntropy, _) => Ok(form.loss(fake, labels)?),
            (Objective::LeastSquares, _) => {
                Ok(fake.add_scalar(-labels.generator)?.square()?.mean_all()?)
            }
            (Objective::Hinge | Objective::Wasserstein, _) => Ok(fake.mean_all()?.neg()?),
            (Objective::RelativisticAverage, Some(real)) => {
                let fooled = against(&fake.sub(&real.mean_all()?)?, labels.generator)?;
                let undone = against(&real.sub(&fake.mean_all()?)?, labels.fake)?;
                Ok(fooled.add(&undone)?)
            }
            (Objective::RelativisticAverage, None) => Err(crate::Error::recipe(
                "a relativistic generator's loss needs the logits of real samples",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use belamy_tensor::ops::concat::concat;

    const REAL: [f64; 3] = [1.5, -0.5, 0.25];
    const FAKE: [f64; 3] = [-2.0, 0.5, 3.0];

    fn losses(objective: Objective) -> [f64; 2] {
        let device = belamy_cpu::oracle();
        let mut cx = Context::train(1, 0, 0, &device).unwrap();
        let [real, fake] =
            [REAL, FAKE].map(|values| Tensor::from_slice(&values, [3, 1], &device).unwrap());
        let labels = Labels { real: 0.9, ..Labels::default() };
        let form = GeneratorLoss::NonSaturating;
        let answers = Answers::Apart { real: real.clone(), fake: fake.clone() };
        let d = objective.discriminator_loss(&answers, &labels, 1.0, &mut None, &mut cx).unwrap();
        let both = concat(&[&real, &fake], 0).unwrap();
        let (together, kept) = (Answers::Together(both), &mut None);
        let same = objective.discriminator_loss(&together, &labels, 1.0, kept, &mut cx).unwrap();
        assert!((d.item().unwrap() - same.item().unwrap()).abs() < 1e-14, "{objective:?}");
        let g = objective.generator_loss(&fake, Some(&real), &labels, form).unwrap();
        [d.item().unwrap(), g.item().unwrap()]
    }

    fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
        let values: Vec<f64> = values.into_iter().collect();
        values.iter().sum::<f64>() / values.len() as f64
    }

    #[test]
    fn each_objective_is_its_formula() {
        let bce = |a: f64, t: f64| a.exp().ln_1p() - t * a;
        let over = |values: [f64; 3], f: &dyn Fn(f64) -> f64| mean(values.map(f));
        let (real, fake) = (mean(REAL), mean(FAKE));
        let expected = [
            (
                Objective::CrossEntropy,
                over(REAL, &|a| bce(a, 0.9)) + over(FAKE, &|b| bce(b, 0.0)),
                over(FAKE, &|b| bce(b, 1.0)),
            ),
            (
                Objective::LeastSquares,
                over(REAL, &|a| (a - 0.9).powi(2)) + over(FAKE, &|b| b * b),
                over(FAKE, &|b| (b - 1.0).powi(2)),
            ),
            (
                Objective::Hinge,
                over(REAL, &|a| (1.0 - a).max(0.0)) + over(FAKE, &|b| (1.0 + b).max(0.0)),
                -fake,
            ),
            (Objective::Wasserstein, fake - real, -fake),
            (
                Objective::RelativisticAverage,
                over(REAL, &|a| bce(a - fake, 0.9)) + over(FAKE, &|b| bce(b - real, 0.0)),
                over(FAKE, &|b| bce(b - real, 1.0)) + over(REAL, &|a| bce(a - fake, 0.0)),
            ),
        ];
        for (objective, d, g) in expected {
            let found = losses(objective);
            let close = |a: f64, b: f64| (a - b).abs() < 1e-14;
            assert!(close(found[0], d) && close(found[1], g), "{objective:?}: {found:?} {d} {g}");
        }
    }
}

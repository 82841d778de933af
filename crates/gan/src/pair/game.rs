//! The two sides of one round of the game, and what is measured of it.

use super::{Measures, Pair};
use crate::augment::augment;
use crate::batches::Batch;
use crate::error::Result;
use crate::objective::Answers;
use crate::recipe::{GeneratorUpdate, Passes, Recipe};
use crate::regularizer;
use belamy_nn::Context;
use belamy_tensor::Tensor;
use belamy_tensor::ops::concat::concat;
use belamy_tensor::ops::loss::cross_entropy_with_logits;
use belamy_tensor::ops::optimizer::global_norm;

/// One round of the game, before anybody moves.
pub(super) struct Game {
    pub(super) loss_d: Tensor,
    pub(super) answers: Answers,
    /// What the discriminator said of the fakes' classes, where it has a head for that: logits `[N, classes]`.
    fake_classes: Option<Tensor>,
    parts: Vec<(&'static str, Tensor)>,
}

impl Game {
    /// What the discriminator said of the fakes.
    fn fakes(&self) -> Result<Said> {
        Ok(Said { answers: self.answers.fake()?, classes: self.fake_classes.clone() })
    }
}

/// What a discriminator says of samples.
struct Said {
    /// Whether they are real: logits.
    answers: Tensor,
    /// Of which class they are, where it has a head for that: logits `[N, classes]`.
    classes: Option<Tensor>,
}

impl Said {
    /// The mean cross-entropy of what it said of classes, in nats; none without a head for that.
    fn class_loss(&self, labels: Option<&Tensor>) -> Result<Option<Tensor>> {
        match (&self.classes, labels) {
            (Some(classes), Some(labels)) => {
                Ok(Some(cross_entropy_with_logits(classes, labels)?.mean_all()?))
            }
            _ => Ok(None),
        }
    }
}

impl Pair {
    /// The generator's samples for a batch of noise, in the shape that the discriminator takes.
    pub(super) fn make(&self, noise: &Batch, cx: &mut Context) -> Result<Tensor> {
        Ok(self.generator.forward(&noise.samples, noise.labels.as_ref(), cx)?)
    }

    pub(super) fn move_discriminator(&mut self, grads: &[Tensor]) -> Result<()> {
        self.discriminator_optimizer.apply(&self.discriminator, grads)?;
        let most = self.recipe.regularizers.clip_weights;
        if most > 0.0 { regularizer::clip_weights(&self.discriminator, most) } else { Ok(()) }
    }

    /// What the discriminator is shown of samples: with noise and augmented, as the recipe says.
    fn shown(&self, samples: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let own = &self.recipe.regularizers;
        let mut shown = samples.clone();
        let deviation = own.noise_at(self.step);
        if deviation > 0.0 {
            shown = regularizer::with_noise(&shown, deviation, cx)?;
        }
        if own.augment { augment(&shown, cx) } else { Ok(shown) }
    }

    /// What the discriminator says of samples as they are shown.
    fn ask(&self, shown: &Tensor, labels: Option<&Tensor>, cx: &mut Context) -> Result<Said> {
        let said = self.discriminator.forward(shown, labels, cx)?;
        if self.recipe.regularizers.auxiliary == 0.0 {
            return Ok(Said { answers: said, classes: None });
        }
        let classes = said.slice(1, 1, self.recipe.classes)?;
        Ok(Said { answers: said.slice(1, 0, 1)?, classes: Some(classes) })
    }

    /// The generator's side of the game: its loss, and the parts of it that have names. `game` is the
    /// discriminator's side on the same batches, if it has not moved since.
    pub(super) fn generator_loss(
        &self,
        real: &Batch,
        fake: &Tensor,
        noise: &Batch,
        game: Option<&Game>,
        cx: &mut Context,
    ) -> Result<(Tensor, Vec<(&'static str, Tensor)>)> {
        let Recipe { objective, labels, generator_loss: form, regularizers: own, .. } =
            &self.recipe;
        let fakes = match game {
            Some(game) => game.fakes()?,
            None => self.ask(&self.shown(fake, cx)?, noise.labels.as_ref(), cx)?,
        };
        let reals = match game {
            _ if !objective.needs_real() => None,
            Some(game) => Some(game.answers.real()?),
            None => {
                let shown = self.shown(&real.samples, cx)?;
                Some(self.ask(&shown, real.labels.as_ref(), cx)?.answers)
            }
        };
        let mut loss = objective.generator_loss(&fakes.answers, reals.as_ref(), labels, *form)?;
        if own.feature_matching == 0.0 && fakes.classes.is_none() {
            return Ok((loss, Vec::new()));
        }
        let mut parts = vec![("loss_adversarial", loss.detach())];
        if let Some(mistakes) = fakes.class_loss(noise.labels.as_ref())? {
            parts.push(("loss_classes_g", mistakes.detach()));
            loss = loss.add(&mistakes.mul_scalar(own.auxiliary)?)?;
        }
        if own.feature_matching > 0.0 {
            let (shown_real, shown_fake) = (self.shown(&real.samples, cx)?, self.shown(fake, cx)?);
            let features = regularizer::feature_matching(
                &self.discriminator,
                (&shown_real, real.labels.as_ref()),
                (&shown_fake, noise.labels.as_ref()),
                cx,
            )?;
            parts.push(("loss_features", features.detach()));
            loss = loss.add(&features.mul_scalar(own.feature_matching)?)?;
        }
        Ok((loss, parts))
    }

    /// The penalties that the discriminator's loss has in this step, to be added to it, each with its name.
    fn penalties(
        &self,
        real: &Tensor,
        fake: &Tensor,
        labels: Option<&Tensor>,
        cx: &mut Context,
    ) -> Result<Vec<(&'static str, f64, Tensor)>> {
        let own = &self.recipe.regularizers;
        let mut found = Vec::new();
        let Some(strength) = own.penalty_strength(self.step) else { return Ok(found) };
        let mut ask =
            |samples: &Tensor, cx: &mut Context| Ok(self.ask(samples, labels, cx)?.answers);
        if own.gradient_penalty > 0.0 {
            let penalty = regularizer::gradient_penalty(real, &fake.detach(), cx, &mut ask)?;
            found.push(("loss_gradient_penalty", own.gradient_penalty * strength, penalty));
        }
        if own.r1 > 0.0 {
            found.push(("loss_r1", own.r1 * strength, regularizer::r1(real, cx, &mut ask)?));
        }
        Ok(found)
    }

    pub(super) fn measures(
        &self,
        game: Game,
        loss_g: &Tensor,
        parts: Vec<(&'static str, Tensor)>,
        grads: [&[Tensor]; 2],
    ) -> Result<Measures> {
        let norm = |grads: &[Tensor]| global_norm(&grads.iter().collect::<Vec<_>>());
        let gradient_norms = match self.recipe.watch_gradients {
            true => Some([norm(grads[0])?, norm(grads[1])?]),
            false => None,
        };
        let mut all = game.parts;
        all.extend(parts);
        Ok(Measures {
            loss_d: game.loss_d.detach(),
            loss_g: loss_g.detach(),
            answers: Some(self.recipe.objective.centred(&game.answers)?),
            parts: all,
            gradient_norms,
        })
    }

    /// The discriminator's side of the game.
    ///
    /// Real and fake samples go through it in one pass, as the two parts of a batch where batch norm is to take each
    /// one's own statistics: the same numbers as two passes give, from half as many launches. Only where the
    /// generator's gradient is taken from the same pass are there two: half of the work on the way back would be for
    /// nothing.
    pub(super) fn judge(
        &mut self,
        real: &Batch,
        fake: &Tensor,
        noise: &Batch,
        cx: &mut Context,
    ) -> Result<Game> {
        let (real_shown, fake_shown) = (self.shown(&real.samples, cx)?, self.shown(fake, cx)?);
        let (real_shown, fake_shown) = (&real_shown, &fake_shown);
        let simultaneous = self.recipe.generator_update == GeneratorUpdate::Simultaneous;
        let (reals, fakes) = (real.samples.dims()[0], fake.dims()[0]);
        let (answers, classes, mistakes) = match self.recipe.passes {
            Passes::Separate if simultaneous || reals != fakes => {
                let real_said = self.ask(real_shown, real.labels.as_ref(), cx)?;
                let fake_said = self.ask(fake_shown, noise.labels.as_ref(), cx)?;
                let mistakes = match real_said.class_loss(real.labels.as_ref())? {
                    Some(mistakes) => {
                        let others = fake_said.class_loss(noise.labels.as_ref())?;
                        others.map(|others| mistakes.add(&others)).transpose()?
                    }
                    None => None,
                };
                let answers = Answers::Apart { real: real_said.answers, fake: fake_said.answers };
                (answers, fake_said.classes, mistakes)
            }
            passes => {
                let both = concat(&[real_shown, fake_shown], 0)?;
                let labels = match (&real.labels, &noise.labels) {
                    (Some(real), Some(fake)) => Some(concat(&[real, fake], 0)?),
                    _ => None,
                };
                cx.set_parts(if passes == Passes::Separate { 2 } else { 1 });
                cx.set_pieces(2);
                let said = self.ask(&both, labels.as_ref(), cx);
                cx.set_parts(1);
                cx.set_pieces(1);
                let said = said?;
                // The mean over both is half of the sum of their means.
                let mistakes = said.class_loss(labels.as_ref())?;
                let mistakes = mistakes.map(|mean| mean.mul_scalar(2.0)).transpose()?;
                let classes = said.classes.map(|all| all.slice(0, reals, fakes)).transpose()?;
                let answers = if reals == fakes {
                    Answers::Together(said.answers)
                } else {
                    let real = said.answers.slice(0, 0, reals)?;
                    Answers::Apart { real, fake: said.answers.slice(0, reals, fakes)? }
                };
                (answers, classes, mistakes)
            }
        };
        let (labels, scale) = (self.recipe.labels, self.recipe.loss_convention.scale());
        let objective = self.recipe.objective;
        let mut loss_d =
            objective.discriminator_loss(&answers, &labels, scale, &mut self.targets, cx)?;
        let mut parts = Vec::new();
        for (name, weight, penalty) in
            self.penalties(real_shown, fake_shown, real.labels.as_ref(), cx)?
        {
            parts.push((name, penalty.detach()));
            loss_d = loss_d.add(&penalty.mul_scalar(weight)?)?;
        }
        if let Some(mistakes) = mistakes {
            parts.push(("loss_classes_d", mistakes.detach()));
            let weight = scale * self.recipe.regularizers.auxiliary;
            loss_d = loss_d.add(&mistakes.mul_scalar(weight)?)?;
        }
        Ok(Game { loss_d, answers, fake_classes: classes, parts })
    }
}

//! Images at a higher resolution: SRResNet, then SRGAN (Ledig et al., 2017).
//!
//! ```text
//! y' = G(x)
//! the first pretraining_steps      G descends   content · mean (y − y')²
//! then       D descends   scale · objective(D y, D y')
//!            G descends   content · mean (y − y')² + adversarial · objective(D y')
//! ```
//!
//! The content loss is the pixels' own (the paper's SRGAN-MSE): its features of VGG-19 need weights that are nobody's
//! to give here.

use super::{Player, Round};
use crate::batches::Batches;
use crate::error::{Error, Result};
use crate::objective::Answers;
use crate::pair::Measures;
use crate::recipe::Recipe;

pub(super) fn step(
    recipe: &Recipe,
    step: u64,
    players: &mut [Player],
    batches: &mut dyn Batches,
    round: &mut Round,
) -> Result<Measures> {
    let [generator, discriminator] = players else {
        return Err(Error::recipe("super-resolution has a generator and a discriminator"));
    };
    let [input, target] = batches.two(&mut round.cx)?;
    round.look(&input, || "the batch of inputs".to_owned())?;
    round.look(&target, || "the batch of targets".to_owned())?;
    let made = round.forward(&generator.network, &input)?;
    let content = target.sub(&made)?.square()?.mean_all()?;
    let weighed = content.mul_scalar(recipe.terms.content)?;
    let mut parts = vec![("loss_content", content.detach())];
    if step < recipe.pretraining_steps {
        let grads = round.gradients(&weighed, &generator.network)?;
        round.apply(generator, &grads)?;
        return Measures::without_game(&weighed, parts);
    }
    let real = round.forward(&discriminator.network, &target)?;
    let fake = round.forward(&discriminator.network, &made)?;
    let (labels, form) = (&recipe.labels, recipe.generator_loss);
    let answers = Answers::Apart { real: real.clone(), fake: fake.clone() };
    let scale = recipe.loss_convention.scale();
    let loss_d =
        recipe.objective.discriminator_loss(&answers, labels, scale, &mut None, &mut round.cx)?;
    let adversarial = recipe.objective.generator_loss(&fake, Some(&real), labels, form)?;
    parts.push(("loss_adversarial", adversarial.detach()));
    let loss_g = weighed.add(&adversarial.mul_scalar(recipe.terms.adversarial)?)?;
    let grads_d = round.gradients(&loss_d, &discriminator.network)?;
    let grads_g = round.gradients(&loss_g, &generator.network)?;
    round.apply(discriminator, &grads_d)?;
    round.apply(generator, &grads_g)?;
    let answers = recipe.objective.centred(&answers)?;
    Ok(Measures::of_game(&loss_d, &loss_g, answers, parts))
}

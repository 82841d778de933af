//! Images from the images that belong to them: Isola et al. (2017).
//!
//! ```text
//! y' = G(x)
//! D descends    scale · objective(D[x, y], D[x, y'])                     D sees the input too
//! G descends    adversarial · objective(D[x, y']) + l1 · mean |y − y'|
//! ```
//!
//! Both gradients are taken before either network moves (the TensorFlow tutorial), or the generator's after the
//! discriminator has moved (`generator_update = shared`), on the same y' in either case.

use super::{Player, Round};
use crate::batches::Batches;
use crate::error::{Error, Result};
use crate::objective::Answers;
use crate::pair::Measures;
use crate::recipe::{GeneratorUpdate, Recipe};
use belamy_tensor::Tensor;
use belamy_tensor::ops::concat::concat;

/// Mean |a − b|.
pub(super) fn mean_absolute(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    Ok(a.sub(b)?.abs()?.mean_all()?)
}

pub(super) fn step(
    recipe: &Recipe,
    players: &mut [Player],
    batches: &mut dyn Batches,
    round: &mut Round,
) -> Result<Measures> {
    let [generator, discriminator] = players else {
        return Err(Error::recipe("pix2pix has a generator and a discriminator"));
    };
    let [input, target] = batches.two(&mut round.cx)?;
    round.look(&input, || "the batch of inputs".to_owned())?;
    round.look(&target, || "the batch of targets".to_owned())?;
    let made = round.forward(&generator.network, &input)?;
    let simultaneous = recipe.generator_update == GeneratorUpdate::Simultaneous;
    let beside = |image: &Tensor| concat(&[&input, image], 3);
    let real = round.forward(&discriminator.network, &beside(&target)?)?;
    let fake = if simultaneous { beside(&made)? } else { beside(&made.detach())? };
    let fake = round.forward(&discriminator.network, &fake)?;
    let answers = Answers::Apart { real: real.clone(), fake: fake.clone() };
    let (labels, scale) = (&recipe.labels, recipe.loss_convention.scale());
    let loss_d =
        recipe.objective.discriminator_loss(&answers, labels, scale, &mut None, &mut round.cx)?;
    let grads_d = round.gradients(&loss_d, &discriminator.network)?;
    if !simultaneous {
        round.apply(discriminator, &grads_d)?;
    }
    let told = if simultaneous {
        fake.clone()
    } else {
        round.forward(&discriminator.network, &beside(&made)?)?
    };
    let form = recipe.generator_loss;
    let adversarial = recipe.objective.generator_loss(&told, Some(&real), labels, form)?;
    let l1 = mean_absolute(&target, &made)?;
    let loss_g =
        adversarial.mul_scalar(recipe.terms.adversarial)?.add(&l1.mul_scalar(recipe.terms.l1)?)?;
    let grads_g = round.gradients(&loss_g, &generator.network)?;
    if simultaneous {
        round.apply(discriminator, &grads_d)?;
    }
    round.apply(generator, &grads_g)?;
    let parts = vec![("loss_adversarial", adversarial.detach()), ("loss_l1", l1.detach())];
    let answers = recipe.objective.centred(&answers)?;
    Ok(Measures::of_game(&loss_d, &loss_g, answers, parts))
}

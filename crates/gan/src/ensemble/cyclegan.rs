//! Images of one kind to another and back: Zhu et al. (2017).
//!
//! ```text
//! b' = G(a),  a' = F(b)
//! G and F descend   adversarial · (objective(D_b b') + objective(D_a a'))
//!                   + cycle    · (mean |F(b') − a| + mean |G(a') − b|)
//!                   + identity · (mean |F(a) − a| + mean |G(b) − b|)
//! D_b descends      scale · objective(D_b b, D_b pool(b')),   D_a likewise
//! ```
//!
//! All gradients belong to the weights before the step; in the source the generators move first, but the fakes that
//! the discriminators see were made before, so it is the same. Players: G, D_b, F, D_a.

use super::pix2pix::mean_absolute;
use super::{Player, Round};
use crate::batches::Batches;
use crate::error::{Error, Result};
use crate::objective::Answers;
use crate::pair::Measures;
use crate::pool::Pool;
use crate::recipe::Recipe;

pub(super) fn step(
    recipe: &Recipe,
    players: &mut [Player],
    pools: &mut [Pool],
    batches: &mut dyn Batches,
    round: &mut Round,
) -> Result<Measures> {
    let ([there, judge_b, back, judge_a], [pool_b, pool_a]) = (players, pools) else {
        return Err(Error::recipe("a cycle has two generators, discriminators and pools"));
    };
    let [a, b] = batches.two(&mut round.cx)?;
    round.look(&a, || "the batch of the first kind".to_owned())?;
    round.look(&b, || "the batch of the second kind".to_owned())?;
    let terms = &recipe.terms;

    let made_b = round.forward(&there.network, &a)?;
    let made_a = round.forward(&back.network, &b)?;
    let cycle = mean_absolute(&round.forward(&back.network, &made_b)?, &a)?
        .add(&mean_absolute(&round.forward(&there.network, &made_a)?, &b)?)?;
    let told_b = round.forward(&judge_b.network, &made_b)?;
    let told_a = round.forward(&judge_a.network, &made_a)?;
    let real_b = round.forward(&judge_b.network, &b)?;
    let real_a = round.forward(&judge_a.network, &a)?;
    let (form, labels) = (recipe.generator_loss, &recipe.labels);
    let adversarial = recipe
        .objective
        .generator_loss(&told_b, Some(&real_b), labels, form)?
        .add(&recipe.objective.generator_loss(&told_a, Some(&real_a), labels, form)?)?;
    let mut loss_g =
        adversarial.mul_scalar(terms.adversarial)?.add(&cycle.mul_scalar(terms.cycle)?)?;
    let mut parts =
        vec![("loss_adversarial", adversarial.detach()), ("loss_cycle", cycle.detach())];
    if terms.identity > 0.0 {
        let identity = mean_absolute(&round.forward(&back.network, &a)?, &a)?
            .add(&mean_absolute(&round.forward(&there.network, &b)?, &b)?)?;
        parts.push(("loss_identity", identity.detach()));
        loss_g = loss_g.add(&identity.mul_scalar(terms.identity)?)?;
    }
    let grads_g = round.gradients_of(&loss_g, &[&there.network, &back.network])?;

    let earlier_b = pool_b.exchange(&made_b, &mut round.cx)?;
    let earlier_a = pool_a.exchange(&made_a, &mut round.cx)?;
    let fake_b = round.forward(&judge_b.network, &earlier_b)?;
    let fake_a = round.forward(&judge_a.network, &earlier_a)?;
    let scale = recipe.loss_convention.scale();
    let answers_b = Answers::Apart { real: real_b, fake: fake_b };
    let answers_a = Answers::Apart { real: real_a, fake: fake_a };
    let mut loss = |answers: &Answers| {
        recipe.objective.discriminator_loss(answers, labels, scale, &mut None, &mut round.cx)
    };
    let (loss_b, loss_a) = (loss(&answers_b)?, loss(&answers_a)?);
    let grads_b = round.gradients(&loss_b, &judge_b.network)?;
    let grads_a = round.gradients(&loss_a, &judge_a.network)?;

    round.apply(there, &grads_g[0])?;
    round.apply(back, &grads_g[1])?;
    round.apply(judge_b, &grads_b)?;
    round.apply(judge_a, &grads_a)?;
    parts.push(("loss_d_back", loss_a.detach()));
    let answers = recipe.objective.centred(&answers_b)?;
    Ok(Measures::of_game(&loss_b, &loss_g, answers, parts))
}

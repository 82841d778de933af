//! Batches that several ranks share: which recipes can, and what the ranks tell one another.
//!
//! A rank trains on its even share of every batch, with noise and data drawn by the samples' places in the whole batch,
//! gradients averaged over ranks, and batch norm's statistics taken of all of them. So N ranks do, to rounding, what one
//! does with the whole batch, and the same bits from run to run.
//!
//! Rank 0 is a run as any other and writes its folder; the others are [`Companion`]s, which write nothing.

use crate::adversarial::Objective;
use crate::batches::Batches;
use crate::checkpoint;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::recipe::Recipe;
use crate::run::{self, Outcome, Plan};
use crate::source::Material;
use crate::trainer::{self, Trainer};
use belamy_tensor::communicator::{Numbers, Ranks};
use belamy_tensor::{DType, Device};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// A recipe whose batches cannot be shared because of `what`.
pub fn not_shared(recipe: &Recipe, what: &str) -> Error {
    let name = &recipe.name;
    Error::recipe(format!("recipe {name}: several ranks cannot share batches of {what} yet"))
}

/// Fails unless `ranks` ranks can share the batches of a recipe.
pub fn check(recipe: &Recipe, ranks: usize) -> Result<()> {
    if ranks <= 1 {
        return Ok(());
    }
    if !recipe.batch.is_multiple_of(ranks) {
        let (name, batch) = (&recipe.name, recipe.batch);
        return Err(Error::recipe(format!(
            "recipe {name}: a batch of {batch} cannot be shared evenly by {ranks} ranks"
        )));
    }
    let own = &recipe.regularizers;
    let looks = [
        (recipe.pool > 0, "earlier fakes (pool)"),
        (own.minibatch_stddev > 0, "a discriminator that compares samples (minibatch_stddev)"),
        (own.feature_matching > 0.0, "features that are matched (feature_matching)"),
        (recipe.objective == Objective::RelativisticAverage, "a relativistic objective"),
    ];
    match looks.into_iter().find(|(does, _)| *does) {
        Some((_, what)) => Err(not_shared(recipe, what)),
        None => Ok(()),
    }
}

/// Whether any rank has been asked to stop: all stop after the same step.
pub fn any_stops(stop: &AtomicBool, ranks: Option<&Ranks>) -> Result<bool> {
    let own = stop.load(Ordering::Relaxed);
    match ranks {
        Some(ranks) => Ok(ranks.all_gather(&[u8::from(own)])?.iter().any(|flag| flag == &[1])),
        None => Ok(own),
    }
}

/// What a step measured, over all ranks: means of their shares'.
pub fn mean_of(mut numbers: Vec<f64>, ranks: Option<&Ranks>) -> Result<Vec<f64>> {
    if let Some(ranks) = ranks {
        ranks.all_reduce_sum(Numbers::F64(&mut numbers))?;
        numbers.iter_mut().for_each(|number| *number /= ranks.size() as f64);
    }
    Ok(numbers)
}

/// Fails, naming them, unless all ranks have the weights of rank 0, bit for bit.
pub fn agree_on_weights(trainer: &dyn Trainer, ranks: Option<&Ranks>) -> Result<()> {
    let Some(ranks) = ranks else { return Ok(()) };
    let mut digest = Digest::new();
    for part in trainer.parts() {
        for (_, param) in part.network.params() {
            for value in param.value().to_f64()? {
                digest.update(&value.to_le_bytes());
            }
        }
    }
    let all = ranks.all_gather(&digest.value().to_le_bytes())?;
    let others = all.iter().enumerate().filter(|(_, digest)| digest != &&all[0]);
    let others: Vec<String> = others.map(|(rank, _)| rank.to_string()).collect();
    if others.is_empty() {
        return Ok(());
    }
    let (step, others) = (trainer.steps_made(), others.join(", "));
    let message = format!("after step {step} rank {others} has other weights than rank 0");
    Err(belamy_tensor::Error::ranks(message).into())
}

/// A rank but the first: it trains as that does, and writes nothing.
pub struct Companion {
    plan: Plan,
    trainer: Box<dyn Trainer>,
    batches: Box<dyn Batches>,
    ranks: Ranks,
}

impl std::fmt::Debug for Companion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Companion").field("plan", &self.plan).field("ranks", &self.ranks).finish()
    }
}

impl Companion {
    /// Joins a run that rank 0 begins, or goes on with from the newest checkpoint in `resumed`. Waits until rank 0 is
    /// ready ([`run::Run::share`]).
    pub fn join(
        plan: &Plan,
        data: &Material,
        device: &Device,
        resumed: Option<&Path>,
        ranks: Ranks,
    ) -> Result<Companion> {
        let mut trainer = trainer::new(plan.recipe.clone(), plan.seed, DType::F32, device)?;
        trainer.share(&ranks)?;
        // Rank 0 may first have a cut removal to undo in the folder.
        ranks.all_gather(&[])?;
        if let Some(out) = resumed
            && let Some(newest) = checkpoint::latest(&out.join("checkpoints"))?
        {
            checkpoint::load(trainer.as_mut(), &newest)?;
        }
        let (batches, _) = run::draws(trainer.as_ref(), data, ranks.size())?;
        agree_on_weights(trainer.as_ref(), Some(&ranks))?;
        Ok(Companion { plan: plan.clone(), trainer, batches, ranks })
    }

    /// The networks being trained.
    pub fn trainer(&mut self) -> &mut dyn Trainer {
        self.trainer.as_mut()
    }

    /// Trains as rank 0 does, until it ends.
    pub fn train(&mut self, stop: &AtomicBool) -> Result<Outcome> {
        let steps = self.plan.recipe.steps;
        let ranks = Some(&self.ranks);
        while self.trainer.steps_made() < steps && !any_stops(stop, ranks)? {
            let measures = self.trainer.make_step(self.batches.as_mut())?;
            let due = self.plan.due(self.trainer.steps_made());
            if due.verified(self.trainer.device()) {
                self.trainer.verify_steps(self.batches.as_mut())?;
            }
            if due.logged {
                mean_of(run::numbers(&measures)?, ranks)?;
            }
            if due.saved {
                agree_on_weights(self.trainer.as_ref(), ranks)?;
            }
        }
        self.trainer.verify_steps(self.batches.as_mut())?;
        let step = self.trainer.steps_made();
        Ok(if step >= steps { Outcome::Finished { step } } else { Outcome::Stopped { step } })
    }
}

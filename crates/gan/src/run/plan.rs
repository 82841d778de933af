//! A run's plan: what run.toml holds, and what is due after which step.

use crate::error::{Error, Result};
use crate::recipe::Recipe;
use crate::source::Material;
use belamy_tensor::Device;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What run.toml holds: everything resolved, so that the run can be repeated and resumed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The program's version.
    pub version: String,
    /// The run's seed.
    pub seed: u64,
    /// The device's name.
    pub device: String,
    /// The arithmetic: f32, or f16 for the operands of products alone.
    pub precision: String,
    /// How the CPU convolves: winograd where that is faster and exact enough, or direct.
    #[serde(default = "winograd")]
    pub conv: String,
    /// How many ranks share each batch: the results depend on it, by rounding; in how many processes they are does not
    /// matter.
    #[serde(default = "one_shard", skip_serializing_if = "is_one")]
    pub shards: usize,
    /// The data's path; empty for made or built-in data.
    pub data: PathBuf,
    /// The data's XXH64; empty for endless sources.
    pub data_digest: String,
    /// How many real samples an epoch has; 0 for endless sources.
    pub data_samples: usize,
    /// Losses: natural-log units per sample, by this convention.
    pub loss_convention: String,
    /// A line of metrics each so many steps.
    pub log_every: u64,
    /// A picture of samples each so many steps.
    pub sample_every: u64,
    /// A checkpoint each so many steps.
    pub checkpoint_every: u64,
    /// How many checkpoints are kept.
    pub keep_checkpoints: usize,
    /// The recipe, every field.
    pub recipe: Recipe,
}

/// The usual way to convolve, and that of runs older than the choice.
fn winograd() -> String {
    "winograd".to_owned()
}

fn one_shard() -> usize {
    1
}

fn is_one(shards: &usize) -> bool {
    *shards == 1
}

/// What is to be done after a step.
#[derive(Debug, Clone, Copy)]
pub struct Due {
    /// A line of metrics.
    pub logged: bool,
    /// A picture.
    pub pictured: bool,
    /// A checkpoint.
    pub saved: bool,
}

impl Due {
    /// Whether all numbers are looked at: where something is made of them, and where looking is free, as on the CPU;
    /// another device would have to be waited for.
    pub fn verified(self, device: &Device) -> bool {
        let at_once = matches!(device.id().name, "cpu" | "direct" | "oracle");
        at_once || self.logged || self.pictured || self.saved
    }
}

impl Plan {
    /// What is to be done after step `step`.
    pub fn due(&self, step: u64) -> Due {
        let due = |every: u64| every > 0 && step.is_multiple_of(every);
        let last = step == self.recipe.steps;
        Due {
            logged: due(self.log_every) || last || step == 1,
            pictured: due(self.sample_every) || last,
            saved: due(self.checkpoint_every) || last,
        }
    }

    /// The plan that a run.toml's text tells; `name` stands in errors. Fails, naming the line, if it is damaged, or its
    /// recipe cannot be trained.
    pub fn from_text(name: impl AsRef<Path>, text: &str) -> Result<Plan> {
        let name = name.as_ref();
        let plan: Plan = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            let message = error.message().replace('\n', " ");
            Error::file(name, format!("it is damaged in line {line}: {message}"))
        })?;
        plan.recipe.check().map_err(|error| Error::file(name, error.to_string()))?;
        Ok(plan)
    }

    /// A plan of a recipe with the usual intervals and no data yet.
    pub fn new(recipe: Recipe, seed: u64, device: &Device) -> Plan {
        Plan {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            seed,
            device: device.id().to_string(),
            precision: "f32".to_owned(),
            conv: winograd(),
            shards: 1,
            data: PathBuf::new(),
            data_digest: String::new(),
            data_samples: 0,
            loss_convention: recipe.loss_convention.name().to_owned(),
            log_every: 20,
            sample_every: 500,
            checkpoint_every: 1_000,
            keep_checkpoints: 3,
            recipe,
        }
    }

    /// Writes down what a run's data is.
    pub(super) fn describe_data(&mut self, data: &Material) {
        self.data_digest = data.digest();
        self.data_samples = data.samples().unwrap_or(0);
    }
}

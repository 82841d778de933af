//! Checkpoints: all that an exact resume needs, complete or absent.
//!
//! ```text
//! checkpoints/step-00001000/
//!     generator.safetensors  discriminator.safetensors    weights and running statistics, named <layer>.<parameter>
//!     generator_average.safetensors                       where the recipe keeps a moving average
//!     optimizer.safetensors                               moments, named <network>.<slot>.<layer>.<parameter>
//!     state.json                                          step, seed, updates of each optimiser
//!     complete                                            names, lengths and digests, written last
//! checkpoints/latest                                      the name of the newest complete one
//! ```
//!
//! Random numbers and the data cursor are functions of (seed, step), so the step is all the state they have. Nothing
//! that depends on time or place is in these files: a resumed run writes the same bytes as an unbroken one.

use crate::error::{Error, Result};
use crate::files;
use crate::pair::Pair;
use belamy_nn::{Network, weights};
use belamy_tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What state.json holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The recipe that the networks belong to.
    pub recipe: String,
    /// Generator updates made.
    pub step: u64,
    /// The run's seed.
    pub seed: u64,
    /// Updates made by the generator's optimiser.
    pub generator_updates: u64,
    /// Updates made by the discriminator's optimiser.
    pub discriminator_updates: u64,
}

/// The folder of a step's checkpoint.
pub fn folder_name(step: u64) -> String {
    format!("step-{step:08}")
}

/// Writes a checkpoint of the pair below `folder` and then names it as the latest. Fails, leaving the older ones as
/// they were, if the disk is full or the folder cannot be written.
pub fn save(pair: &Pair, folder: &Path) -> Result<PathBuf> {
    let state = State {
        recipe: pair.recipe.name.clone(),
        step: pair.step,
        seed: pair.seed,
        generator_updates: pair.generator_optimizer.step(),
        discriminator_updates: pair.discriminator_optimizer.step(),
    };
    let mut moments = Vec::new();
    for (optimizer, network) in optimizers(pair) {
        let named = optimizer.state(network).into_iter();
        moments.extend(named.map(|(name, tensor)| (format!("{}.{name}", network.name()), tensor)));
    }
    let name = folder_name(pair.step);
    let path = folder.join(&name);
    files::write_folder_atomically(&path, |partial| {
        let write = |name: &str, tensors: &[(String, Tensor)]| {
            let bytes = weights::to_bytes(tensors, &[])?;
            let path = partial.join(name);
            std::fs::write(&path, bytes).map_err(|error| Error::write(path, error.to_string()))
        };
        for network in pair.networks() {
            write(&format!("{}.safetensors", network.name()), &weights::of_network(network))?;
        }
        if let Some(average) = &pair.average {
            let names = pair.generator.params().into_iter().map(|(name, _)| name);
            let tensors: Vec<_> = names.zip(average.values().iter().cloned()).collect();
            write("generator_average.safetensors", &tensors)?;
        }
        write("optimizer.safetensors", &moments)?;
        let state = serde_json::to_vec_pretty(&state).expect("a state is plain data");
        let path = partial.join("state.json");
        std::fs::write(&path, state).map_err(|error| Error::write(path, error.to_string()))
    })?;
    files::write_atomically(folder.join("latest"), format!("{name}\n").as_bytes())?;
    Ok(path)
}

fn optimizers(pair: &Pair) -> [(&belamy_nn::optimizer::Optimizer, &Network); 2] {
    [
        (&pair.generator_optimizer, &pair.generator),
        (&pair.discriminator_optimizer, &pair.discriminator),
    ]
}

/// The newest complete checkpoint below `folder`: the one that `latest` names, or the highest step that is whole.
pub fn latest(folder: &Path) -> Result<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    if let Ok(name) = std::fs::read_to_string(folder.join("latest")) {
        let name = name.trim();
        if name.starts_with("step-") && !name.contains(['/', '\\']) {
            found.push(folder.join(name));
        }
    }
    let entries = std::fs::read_dir(folder).map_err(|error| Error::file(folder, error.to_string()))?;
    let mut steps: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok())
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("step-")))
        .collect();
    steps.sort();
    found.extend(steps.into_iter().rev());
    found
        .into_iter()
        .find(|path| files::is_complete(path))
        .ok_or_else(|| Error::file(folder, "there is no complete checkpoint in it"))
}

/// Puts a checkpoint's weights, moments and step into a pair of the same recipe.
///
/// Fails, naming the file, on a checkpoint that is incomplete, damaged, or of another recipe.
pub fn load(pair: &mut Pair, path: &Path) -> Result<State> {
    files::verify(path)?;
    let state = read_state(path)?;
    if state.recipe != pair.recipe.name {
        let what = format!("it is a checkpoint of recipe {}, not of {}", state.recipe, pair.recipe.name);
        return Err(Error::file(path, what));
    }
    for network in pair.networks() {
        let file = path.join(format!("{}.safetensors", network.name()));
        weights::into_network(network, weights::read(&file, pair.device())?)
            .map_err(|error| Error::file(&file, error.to_string()))?;
    }
    load_average(pair, path)?;
    let file = path.join("optimizer.safetensors");
    let mut moments = weights::read(&file, pair.device())?;
    let updates = [state.generator_updates, state.discriminator_updates];
    let (generator, discriminator) = (&pair.generator, &pair.discriminator);
    let optimizers = [
        (&mut pair.generator_optimizer, generator),
        (&mut pair.discriminator_optimizer, discriminator),
    ];
    for ((optimizer, network), step) in optimizers.into_iter().zip(updates) {
        optimizer
            .restore(network, step, |name| take(&mut moments, &format!("{}.{name}", network.name())))
            .map_err(|error| Error::file(&file, error.to_string()))?;
    }
    pair.step = state.step;
    pair.seed = state.seed;
    Ok(state)
}

/// Puts a checkpoint's generator into a pair, for sampling: a run, a checkpoint or a lone generator may be given.
pub fn load_generator(pair: &mut Pair, path: &Path) -> Result<()> {
    let file = path.join("generator.safetensors");
    weights::into_network(&pair.generator, weights::read(&file, pair.device())?)
        .map_err(|error| Error::file(&file, error.to_string()))?;
    load_average(pair, path)
}

fn load_average(pair: &mut Pair, path: &Path) -> Result<()> {
    let file = path.join("generator_average.safetensors");
    match &mut pair.average {
        Some(average) if file.exists() => {
            let mut tensors = weights::read(&file, &pair.generator.params()[0].1.value().device().clone())?;
            let values = pair
                .generator
                .params()
                .into_iter()
                .map(|(name, _)| take(&mut tensors, &name))
                .collect::<belamy_nn::Result<Vec<Tensor>>>()
                .map_err(|error| Error::file(&file, error.to_string()))?;
            average.restore(values);
        }
        _ => {}
    }
    Ok(())
}

fn take(tensors: &mut BTreeMap<String, Tensor>, name: &str) -> belamy_nn::Result<Tensor> {
    let missing = || belamy_nn::Error::Weights(format!("there is no tensor {name}"));
    tensors.remove(name).ok_or_else(missing)
}

/// The state of a checkpoint.
pub fn read_state(path: &Path) -> Result<State> {
    let file = path.join("state.json");
    let bytes = std::fs::read(&file).map_err(|error| Error::file(&file, error.to_string()))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::file(&file, format!("it is damaged: {error}")))
}

/// Removes all but the newest `keep` complete checkpoints.
pub fn prune(folder: &Path, keep: usize) -> Result<()> {
    let fail = |error: std::io::Error| Error::write(folder, error.to_string());
    let mut steps: Vec<PathBuf> = std::fs::read_dir(folder)
        .map_err(fail)?
        .filter_map(|entry| entry.ok())
        .map(|entry| entry.path())
        .filter(|path| path.is_dir() && files::is_complete(path))
        .collect();
    steps.sort();
    for old in steps.iter().rev().skip(keep.max(1)) {
        std::fs::remove_dir_all(old).map_err(fail)?;
    }
    Ok(())
}

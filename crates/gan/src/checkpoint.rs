//! Checkpoints: all that an exact resume needs, complete or absent.
//!
//! ```text
//! checkpoints/step-00001000/
//!     generator.safetensors  discriminator.safetensors    weights and running statistics, named <layer>.<parameter>
//!     generator_back.safetensors  ..                      where a system has more networks
//!     generator_average.safetensors                       where the recipe keeps a moving average
//!     pools.safetensors                                   images kept, named <pool>.images, where it has pools
//!     optimizer.safetensors                               moments, named <network>.<slot>.<layer>.<parameter>
//!     state.json                                          step, seed, updates of each optimiser
//!     complete                                            names, lengths and digests, written last
//! checkpoints/latest                                      the name of the newest complete one
//! ```
//!
//! Random numbers and the data cursor are functions of (seed, step), so the step is all the state they have. Nothing
//! that depends on time or place is in these files: a resumed run writes the same bytes as an unbroken one.

use crate::error::{Error, Result};
use crate::files::{self, Files};
use crate::pool::Pool;
use crate::trainer::{Part, PartMut, Trainer};
use belamy_nn::average::Average;
use belamy_nn::{Network, weights};
use belamy_tensor::ops::finite::count_non_finite;
use belamy_tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What state.json holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The recipe that the networks belong to.
    pub recipe: String,
    /// Generator updates made.
    pub step: u64,
    /// The run's seed.
    pub seed: u64,
    /// Updates made by each network's optimiser, named `<network>_updates`.
    #[serde(flatten)]
    pub updates: BTreeMap<String, u64>,
}

impl State {
    /// The state that a file's text tells; `name` stands in errors.
    pub fn from_text(name: impl AsRef<Path>, text: &str) -> Result<State> {
        serde_json::from_str(text)
            .map_err(|error| Error::file(name.as_ref(), format!("it is damaged: {error}")))
    }
}

/// Of the most steps that a recipe may have, each with the most updates.
const MOST_UPDATES: u64 = 1000 << 32;

/// The file of a checkpoint's [`State`].
const STATE: &str = "state.json";
const OPTIMIZER: &str = "optimizer.safetensors";
const POOLS: &str = "pools.safetensors";

/// The file of a network's weights.
fn file_of(network: &Network) -> String {
    format!("{}.safetensors", network.name())
}

/// The file of the moving average of a network's weights.
fn average_of(network: &Network) -> String {
    format!("{}_average.safetensors", network.name())
}

/// The name in [`State::updates`] of a network's optimiser.
fn updates_of(network: &Network) -> String {
    format!("{}_updates", network.name())
}

/// The folder of a step's checkpoint.
pub fn folder_name(step: u64) -> String {
    format!("step-{step:08}")
}

/// The step that a checkpoint's folder name tells.
fn step_of(name: &str) -> Option<u64> {
    name.strip_prefix("step-").and_then(|digits| digits.parse().ok())
}

/// The steps of all checkpoints below `folder`, complete or not, in order.
fn steps(folder: &Path) -> Result<Vec<u64>> {
    let fail = |error: std::io::Error| Error::file(folder, error.to_string());
    let mut steps = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let name = entry.map_err(fail)?.file_name();
        steps.extend(name.to_str().and_then(step_of).filter(|step| *name == *folder_name(*step)));
    }
    steps.sort();
    Ok(steps)
}

/// Writes a checkpoint of what is trained below `folder` and then names it as the latest. Fails, leaving the older
/// ones as they were, if a number in it is not finite, the disk is full or the folder cannot be written.
pub fn save(trainer: &dyn Trainer, folder: &Path) -> Result<PathBuf> {
    let parts = trainer.parts();
    let state = State {
        recipe: trainer.recipe().name.clone(),
        step: trainer.steps_made(),
        seed: trainer.seed(),
        updates: parts
            .iter()
            .map(|part| (updates_of(part.network), part.optimizer.step()))
            .collect(),
    };
    let contents = contents(trainer, &parts)?;
    let name = folder_name(state.step);
    let path = folder.join(&name);
    files::write_folder_atomically(&path, |partial| {
        for (name, tensors) in &contents {
            weights::write(&partial.join(name), tensors, &[])?;
        }
        let state = serde_json::to_vec_pretty(&state).expect("a state is plain data");
        let path = partial.join(STATE);
        std::fs::write(&path, state).map_err(|error| Error::write(path, error.to_string()))
    })?;
    files::write_atomically(folder.join("latest"), format!("{name}\n").as_bytes())?;
    Ok(path)
}

/// A weight file's tensors, each with its name.
type NamedTensors = Vec<(String, Tensor)>;

/// The tensors of each file. Fails, naming the first, if one holds a number that is not finite.
fn contents(trainer: &dyn Trainer, parts: &[Part<'_>]) -> Result<Vec<(String, NamedTensors)>> {
    let mut contents = Vec::new();
    for Part { network, .. } in parts {
        contents.push((file_of(network), weights::of_network(network)?));
    }
    let mut moments = Vec::new();
    for Part { network, optimizer, average } in parts {
        if let Some(average) = average {
            let pairs = network.params().into_iter().zip(average.values());
            let named = pairs.map(|((name, param), value)| Ok((name, param.in_files(value)?)));
            let named = named.collect::<Result<NamedTensors>>()?;
            contents.push((average_of(network), named));
        }
        let named = optimizer.state(network)?.into_iter();
        moments.extend(named.map(|(name, tensor)| (format!("{}.{name}", network.name()), tensor)));
    }
    contents.push((OPTIMIZER.to_owned(), moments));
    if !trainer.pools().is_empty() {
        let pools = trainer.pools().iter().enumerate();
        let kept =
            pools.filter_map(|(index, pool)| Some((pool_name(index), pool.images()?.clone())));
        contents.push((POOLS.to_owned(), kept.collect()));
    }
    for (file, tensors) in contents.iter().filter(|(_, tensors)| !tensors.is_empty()) {
        let all: Vec<&Tensor> = tensors.iter().map(|(_, tensor)| tensor).collect();
        if count_non_finite(&all)?.item()? == 0.0 {
            continue;
        }
        for (name, tensor) in tensors {
            if count_non_finite(&[tensor])?.item()? > 0.0 {
                let place = format!("{name} ({file})");
                return Err(Error::NotFinite { step: trainer.steps_made(), place });
            }
        }
    }
    Ok(contents)
}

fn pool_name(index: usize) -> String {
    format!("{index}.images")
}

/// Whether a checkpoint was finished and its files are still there. A marker that does not list the state is none of
/// ours: what it says of the others is worth nothing.
fn is_complete(path: &Path) -> bool {
    files::is_complete(path) && files::check_listed(path, &[STATE]).is_ok()
}

/// The newest complete checkpoint below `folder`: the one that `latest` names, or the highest step that is whole;
/// `None` if none was ever written. Fails if there are checkpoints and none is complete.
pub fn latest(folder: &Path) -> Result<Option<PathBuf>> {
    let steps = steps(folder)?;
    let named = files::read_text(&folder.join("latest")).ok();
    let named = named.and_then(|name| step_of(name.trim()));
    let found = named.iter().chain(steps.iter().rev()).map(|step| folder.join(folder_name(*step)));
    match found.into_iter().find(|path| is_complete(path)) {
        None if named.is_some() || !steps.is_empty() => {
            Err(Error::file(folder, "there is no complete checkpoint in it"))
        }
        found => Ok(found),
    }
}

/// Puts a checkpoint's weights, moments, pools and step into a trainer of the same recipe. It is a folder's path, or what
/// such a folder would hold.
///
/// Fails, naming the file, on a checkpoint that is incomplete, damaged, or of another recipe.
pub fn load<'a>(trainer: &mut dyn Trainer, checkpoint: impl Into<Files<'a>>) -> Result<State> {
    let files = checkpoint.into();
    let mut wanted = vec![OPTIMIZER.to_owned()];
    wanted.extend(trainer.parts().iter().flat_map(network_files));
    if !trainer.pools().is_empty() {
        wanted.push(POOLS.to_owned());
    }
    let state = verified_state(trainer, files, &wanted)?;
    let device = trainer.device().clone();
    let mut moments = tensors(files, OPTIMIZER, &device)?;
    for PartMut { network, optimizer, average } in trainer.parts_mut() {
        load_network(network, files, &device)?;
        load_average(network, average, files, &device)?;
        let name = updates_of(network);
        let fail = |what: String| Err(Error::file(files.folder().join(STATE), what));
        let Some(&updates) = state.updates.get(&name) else {
            return fail(format!("it has no {name}"));
        };
        if updates > MOST_UPDATES {
            return fail(format!("{name} is {updates}, more than any run makes"));
        }
        optimizer
            .restore(network, updates, |name| {
                take(&mut moments, &format!("{}.{name}", network.name()))
            })
            .map_err(|error| Error::file(files.folder().join(OPTIMIZER), error.to_string()))?;
    }
    load_pools(trainer.pools_mut(), files, &device)?;
    trainer.set_steps_made(state.step);
    Ok(state)
}

/// Puts a checkpoint's generators, their averages and its step into a trainer, for sampling.
///
/// Fails as [`load`] does.
pub fn load_generator<'a>(
    trainer: &mut dyn Trainer,
    checkpoint: impl Into<Files<'a>>,
) -> Result<()> {
    let files = checkpoint.into();
    let parts = trainer.parts();
    let generators = parts.iter().filter(|part| is_generator(part.network));
    let wanted: Vec<String> = generators.flat_map(network_files).collect();
    let state = verified_state(trainer, files, &wanted)?;
    let device = trainer.device().clone();
    for PartMut { network, average, .. } in trainer.parts_mut() {
        if is_generator(network) {
            load_network(network, files, &device)?;
            load_average(network, average, files, &device)?;
        }
    }
    trainer.set_steps_made(state.step);
    Ok(())
}

fn is_generator(network: &Network) -> bool {
    network.name().starts_with("generator")
}

/// The files of a network: its weights, and their average where there is one.
fn network_files(part: &Part<'_>) -> Vec<String> {
    let average = part.average.is_some().then(|| average_of(part.network));
    std::iter::once(file_of(part.network)).chain(average).collect()
}

/// The state of a checkpoint that is whole, undamaged, and of this trainer's run. `wanted` are the files that are going
/// to be read besides it: the marker has to vouch for each.
fn verified_state(trainer: &dyn Trainer, files: Files<'_>, wanted: &[String]) -> Result<State> {
    let read: Vec<&str> = wanted.iter().map(String::as_str).chain([STATE]).collect();
    files::verify_some(files, &read).map_err(|error| match error {
        Error::File { path: file, what } => {
            let name = files.folder().file_name().unwrap_or_default().to_string_lossy();
            Error::file(
                file,
                format!("{what}; remove the folder {name} to go back to the checkpoint before"),
            )
        }
        other => other,
    })?;
    files::check_listed(files, &[STATE])?;
    let state = state(files)?;
    let refuse = |what: String| Err(Error::file(files.folder(), what));
    if state.recipe != trainer.recipe().name {
        let (found, wanted) = (&state.recipe, &trainer.recipe().name);
        return refuse(format!("it is a checkpoint of recipe {found}, not of {wanted}"));
    }
    if state.seed != trainer.seed() {
        let (found, wanted) = (state.seed, trainer.seed());
        return refuse(format!("it is a checkpoint of a run with seed {found}, not with {wanted}"));
    }
    files::check_listed(files, wanted)?;
    Ok(state)
}

/// The tensors of one of a checkpoint's files.
fn tensors(files: Files<'_>, name: &str, device: &Device) -> Result<BTreeMap<String, Tensor>> {
    Ok(match files {
        Files::OnDisk(folder) => weights::read(&folder.join(name), device)?,
        Files::InMemory(folder, held) => {
            let fail = |what: String| Error::file(folder.join(name), what);
            let bytes = Files::held(held, name).map_err(|error| fail(error.to_string()))?;
            weights::from_bytes(bytes, device).map_err(|error| fail(error.to_string()))?
        }
    })
}

fn load_network(network: &Network, files: Files<'_>, device: &Device) -> Result<()> {
    let name = file_of(network);
    weights::into_network(network, tensors(files, &name, device)?)
        .map_err(|error| Error::file(files.folder().join(name), error.to_string()))
}

fn load_average(
    network: &Network,
    average: Option<&mut Average>,
    files: Files<'_>,
    device: &Device,
) -> Result<()> {
    let Some(average) = average else { return Ok(()) };
    let file = average_of(network);
    let mut tensors = tensors(files, &file, device)?;
    let fail = |error: belamy_nn::Error| Error::file(files.folder().join(&file), error.to_string());
    let mut values = Vec::new();
    for (name, param) in network.params() {
        let value = take(&mut tensors, &name)
            .and_then(|value| weights::fitted(&name, param, value))
            .map_err(fail)?;
        values.push(value);
    }
    average.restore(values);
    Ok(())
}

fn load_pools(pools: &mut [Pool], files: Files<'_>, device: &Device) -> Result<()> {
    if pools.is_empty() {
        return Ok(());
    }
    let mut tensors = tensors(files, POOLS, device)?;
    for (index, pool) in pools.iter_mut().enumerate() {
        pool.restore(tensors.remove(&pool_name(index)))
            .map_err(|error| Error::file(files.folder().join(POOLS), error.to_string()))?;
    }
    Ok(())
}

fn take(tensors: &mut BTreeMap<String, Tensor>, name: &str) -> belamy_nn::Result<Tensor> {
    let missing = || belamy_nn::Error::Weights(format!("there is no tensor {name}"));
    tensors.remove(name).ok_or_else(missing)
}

/// The state of a checkpoint.
pub fn read_state(path: &Path) -> Result<State> {
    state(Files::OnDisk(path))
}

fn state(files: Files<'_>) -> Result<State> {
    let file = files.folder().join(STATE);
    let text = files.text(STATE).map_err(|error| Error::file(&file, error.to_string()))?;
    State::from_text(file, &text)
}

/// Removes complete checkpoints up to `step`, all but the newest `keep`. Later ones, left by a run that was taken
/// back, stay until they are overwritten.
pub fn prune(folder: &Path, step: u64, keep: usize) -> Result<()> {
    let complete = |step: &u64| is_complete(&folder.join(folder_name(*step)));
    let steps: Vec<u64> =
        steps(folder)?.into_iter().filter(|at| *at <= step).filter(complete).collect();
    let mut old = steps.iter().rev().skip(keep.max(1));
    old.try_for_each(|step| files::remove_folder(folder.join(folder_name(*step))))
}

#[cfg(test)]
mod tests;

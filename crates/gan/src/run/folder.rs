//! A run's folder: taken by one, its plan and its newest generators read back.

use super::Plan;
use crate::checkpoint;
use crate::ensemble::Ensemble;
use crate::error::{Error, Result};
use crate::files;
use crate::lock::{self, Lock};
use crate::pair::Pair;
use crate::trainer::Trainer;
use belamy_tensor::{DType, Device};
use std::path::Path;

/// Takes a folder that is new or empty for a run, locks it, writes the plan there and lets `fill` write the rest. What a
/// program left that was killed before it wrote a plan counts as nothing. If anything fails, the folder is left as it was
/// found.
pub fn claim<T>(out: &Path, plan: &Plan, fill: impl FnOnce() -> Result<T>) -> Result<(Lock, T)> {
    let fail = |error: std::io::Error| Error::write(out, error.to_string());
    if out.as_os_str().is_empty() {
        return Err(Error::write(out, "a run needs a folder with a name"));
    }
    let is_new = !out.exists();
    let taken = || {
        Error::write(out, "the folder is not empty; choose another --out, or go on with --resume")
    };
    if !is_new && !is_unused(out).map_err(fail)? {
        return Err(taken());
    }
    let text = to_toml(out, plan)?;
    let begin = || {
        files::create_folders(out)?;
        let lock = Lock::take(out)?;
        // Another may have been faster.
        if !is_unused(out).map_err(fail)? {
            return Err(taken());
        }
        let begun = files::clean_leftovers(out)
            .and_then(|_| files::create_folders(&out.join("samples")))
            .and_then(|()| files::create_folders(&out.join("checkpoints")))
            .and_then(|()| files::write_atomically(out.join("run.toml"), text.as_bytes()))
            .and_then(|()| fill())
            .and_then(|filled| files::sync(out).map(|()| filled));
        if begun.is_err() {
            // The first error is the one to report.
            let _ = empty(out);
        }
        Ok((lock, begun?))
    };
    let begun = begin();
    if begun.is_err() && is_new {
        // Only if nothing is in it: another's run is not removed.
        let _ = std::fs::remove_dir(out);
    }
    begun
}

/// Whether a folder holds nothing but what a run makes before it is one.
fn is_unused(out: &Path) -> std::io::Result<bool> {
    for entry in std::fs::read_dir(out)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let unused = match &*name {
            lock::NAME => true,
            "samples" | "checkpoints" => path.is_dir() && path.read_dir()?.next().is_none(),
            name => name.starts_with(".run.toml.tmp-"),
        };
        if !unused {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes what is in a folder.
fn empty(out: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(out)? {
        let path = entry?.path();
        if path.is_dir() {
            std::fs::remove_dir_all(path)?;
        } else {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

pub(super) fn to_toml(out: &Path, plan: &Plan) -> Result<String> {
    toml::to_string_pretty(plan)
        .map_err(|error| Error::write(out.join("run.toml"), error.to_string()))
}

/// Reads a run's plan. Fails, naming the file, if it is missing or damaged.
pub fn read_plan(out: &Path) -> Result<Plan> {
    let path = out.join("run.toml");
    let text = files::read_text(&path).map_err(|error| {
        Error::file(&path, format!("{error}; is {} a run's folder?", out.display()))
    })?;
    Plan::from_text(path, &text)
}

/// The networks of a run with the generator of its newest checkpoint, for sampling from noise. Fails if there is none
/// yet, or the run's generator takes images.
pub fn open_generator(out: &Path, plan: &Plan, device: &Device) -> Result<Pair> {
    if plan.recipe.system.translates() {
        let message = format!(
            "recipe {} makes images from images, not from noise: give some with --input",
            plan.recipe.name
        );
        return Err(Error::recipe(message));
    }
    let mut pair = Pair::undrawn(plan.recipe.clone(), plan.seed, device)?;
    open_newest(&mut pair, out)?;
    Ok(pair)
}

/// The networks of a run whose generators make images from images, with those of its newest checkpoint. Fails if
/// there is none yet, or the run's generator takes noise.
pub fn open_ensemble(out: &Path, plan: &Plan, device: &Device) -> Result<Ensemble> {
    let mut ensemble = Ensemble::new(plan.recipe.clone(), plan.seed, DType::F32, device)?;
    open_newest(&mut ensemble, out)?;
    Ok(ensemble)
}

fn open_newest(trainer: &mut dyn Trainer, out: &Path) -> Result<()> {
    let checkpoints = out.join("checkpoints");
    let newest = checkpoint::latest(&checkpoints)?
        .ok_or_else(|| Error::file(&checkpoints, "there is no checkpoint yet"))?;
    checkpoint::load_generator(trainer, &newest)
}

//! Every recipe made small, with data of its kind that are made here.

use belamy_gan::data::image::Image;
use belamy_gan::networks::System;
use belamy_gan::recipe::{Recipe, Source};
use belamy_gan::run::{Outcome, Plan, Run, Unobserved};
use belamy_gan::source;
use belamy_tensor::Device;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// Steps that every recipe is trained.
pub(crate) const STEPS: u64 = 20;

/// A new empty folder.
pub(crate) fn temporary(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("belamy-recipe-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// A recipe made small: what it does stays the same.
pub(crate) fn small(name: &str) -> Recipe {
    let mut recipe = Recipe::named(name).unwrap();
    recipe.steps = STEPS;
    recipe.batch = 2;
    recipe.latent = recipe.latent.min(8);
    let is_sized = recipe.system.translates()
        || matches!(
            recipe.system,
            System::Dcgan64 | System::CifarDcgan | System::Faces | System::Showers
        );
    if is_sized {
        (recipe.generator_width, recipe.discriminator_width) = (2, 2);
    }
    if recipe.system == System::LettersFailing {
        recipe.discriminator_width = 2;
    }
    if recipe.system.translates() {
        (recipe.side, recipe.blocks) = (32, recipe.blocks.min(1));
        recipe.jitter = if recipe.jitter > 0 { 36 } else { 0 };
        recipe.pool = recipe.pool.min(3);
        recipe.pretraining_steps = recipe.pretraining_steps.min(8);
    }
    if recipe.source.is_made() || recipe.source == Source::Showers {
        recipe.samples = recipe.samples.min(6);
    }
    recipe.check().unwrap();
    recipe
}

fn picture(width: usize, height: usize, salt: usize) -> Vec<u8> {
    let value = |at: usize| ((at * (salt + 3) + at / 97) % 251) as u8;
    let bytes = (0..width * height * 3).map(value).collect();
    Image { width, height, channels: 3, bytes }.png().unwrap()
}

/// Data of the recipe's kind; nothing where it makes its own.
pub(crate) fn data(recipe: &Recipe, folder: &Path) -> Option<PathBuf> {
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    match recipe.source {
        source if source.is_made() => return None,
        Source::Mnist | Source::Showers => return None,
        Source::Cifar => {
            let record = |index: usize| {
                let pixels = (0..3072).map(move |at| (at * (index + 5) % 253) as u8);
                std::iter::once(7).chain(pixels)
            };
            let bytes: Vec<u8> = (0..5).flat_map(record).collect();
            write("test_batch.bin", &bytes);
        }
        Source::TwoFolders => {
            for (index, kind) in ["trainA", "trainB", "trainB"].into_iter().enumerate() {
                write(&format!("{kind}/{index}.png"), &picture(40, 40, index));
            }
        }
        Source::SideBySide => (0..3).for_each(|index| {
            write(&format!("{index}.png"), &picture(72, 36, index));
        }),
        _ => (0..8).for_each(|index| {
            write(&format!("{}/{index}.png", index % 4), &picture(66, 66, index));
        }),
    }
    Some(folder.to_path_buf())
}

/// Trains a recipe on a device, in a folder of the device's own within `folder`; the lines of its log, one a step.
#[allow(dead_code, reason = "each test program uses a part")]
pub(crate) fn trained(
    recipe: Recipe,
    device: &Device,
    folder: &Path,
) -> belamy_gan::Result<Vec<serde_json::Value>> {
    let steps = recipe.steps;
    let path = data(&recipe, &folder.join("data"));
    let material = source::material(&recipe, path.as_deref(), 1)?;
    let mut plan = Plan::new(recipe, 1, device);
    (plan.log_every, plan.sample_every, plan.checkpoint_every) = (1, 0, 0);
    let out = folder.join(device.id().to_string().replace(':', "-"));
    let mut run = Run::create(plan, &material, device, &out)?;
    let outcome = run.train(&mut Unobserved, &AtomicBool::new(false))?;
    assert_eq!(outcome, Outcome::Finished { step: steps });
    let text = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    Ok(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

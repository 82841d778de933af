//! Every recipe trains twenty steps on the WebGPU device, through a run's folder as the program does. Networks that come
//! in sizes are made small; the others are as they are.

mod common;
#[path = "../../gan/tests/common/recipes.rs"]
mod recipes;

use belamy_gan::error::Error;
use belamy_gan::recipe::{RECIPES, Recipe};
use belamy_tensor::Device;
use belamy_webgpu::Options;
use common::{open, say};
use recipes::{STEPS, small, temporary, trained};
use std::path::Path;

/// The generator's loss at each step.
fn losses(recipe: Recipe, device: &Device, folder: &Path) -> Result<Vec<f64>, Error> {
    let lines = trained(recipe, device, folder)?;
    Ok(lines.iter().filter_map(|line| line["loss_g"].as_f64()).collect())
}

/// The first step's loss is the CPU's; where the later ones go is chaotic, but it is a number.
fn trains(name: &str, device: &Device) {
    let folder = temporary(&format!("webgpu-{name}"));
    let found = losses(small(name), device, &folder).unwrap();
    let cpu = losses(Recipe { steps: 1, ..small(name) }, &belamy_cpu::cpu(), &folder).unwrap();
    assert_eq!((found.len(), cpu.len()), (STEPS as usize, 1), "{name}: {found:?}");
    assert!(found.iter().all(|loss| loss.is_finite()), "{name}: {found:?}");
    let error = (found[0] - cpu[0]).abs() / cpu[0].abs();
    say(format_args!(
        "{name} trains {STEPS} steps on webgpu; its first loss is within {error:.1e}"
    ));
    assert!(error <= 1e-3, "{name}: {} is not {}", found[0], cpu[0]);
    assert!(found[0] != found[STEPS as usize - 1], "{name}: nothing was trained");
    std::fs::remove_dir_all(folder).unwrap();
}

/// The first dense layer of letters-failing has 58 million weights, and WebGPU promises no binding of more than 128 MiB:
/// as published it trains where the adapter binds more, and is refused in words elsewhere.
#[test]
fn weights_that_cannot_be_bound_are_refused() {
    let Some((device, _)) = open("weights that cannot be bound", Options::default()) else {
        return;
    };
    let folder = temporary("webgpu-wide");
    let published = Recipe { steps: 1, batch: 2, ..Recipe::named("letters-failing").unwrap() };
    match losses(published, &device, &folder) {
        Ok(found) => assert!(found[0].is_finite(), "{found:?}"),
        Err(error) => assert!(error.to_string().contains("binds at most"), "{error}"),
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn every_recipe_trains_twenty_steps() {
    let Some((device, _)) = open("every recipe", Options::default()) else { return };
    for entry in RECIPES {
        trains(entry.name, &device);
    }
}

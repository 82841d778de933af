//! Every recipe trains twenty steps on a GPU beside the CPU, through a run's folder as the program does. Networks that
//! come in sizes are made small; the others are as they are.
//!
//! Skipped by name where there is no GPU, and required by `BELAMY_REQUIRE=cuda`.

mod common;
#[path = "../../gan/tests/common/recipes.rs"]
mod recipes;

use belamy_gan::recipe::{RECIPES, Recipe};
use belamy_tensor::Device;
use common::{gpu, say};
use recipes::{STEPS, small, temporary, trained};
use std::path::Path;

/// How far two devices' losses may lie apart, in nats, or as a share of a loss beyond 1.
const BAND: f64 = 1e-3;

/// Both losses at each step, of what has them.
fn losses(recipe: Recipe, device: &Device, folder: &Path) -> Vec<f64> {
    let lines = trained(recipe, device, folder).unwrap();
    lines
        .iter()
        .flat_map(|line| ["loss_d", "loss_g"].map(|name| line[name].as_f64()))
        .flatten()
        .collect()
}

/// The most that two runs' losses lie apart.
fn apart(found: &[f64], wanted: &[f64]) -> f64 {
    let errors = found.iter().zip(wanted).map(|(f, w)| (f - w).abs() / w.abs().max(1.0));
    errors.fold(0.0, |most: f64, error| if error <= most { most } else { error })
}

/// Where rounding grows so fast that the processor's own two ways of multiplying part by more than the band, a GPU may be
/// twice as far from either.
#[test]
fn every_recipe_trains_twenty_steps_as_on_the_processor() {
    let Some(cuda) = gpu("every_recipe_trains_twenty_steps_as_on_the_processor") else { return };
    let device = Device::new(cuda);
    let mut failures = Vec::new();
    for entry in RECIPES {
        let name = entry.name;
        let folder = temporary(&format!("cuda-{name}"));
        let found = losses(small(name), &device, &folder);
        let wanted = losses(small(name), &belamy_cpu::cpu(), &folder);
        assert_eq!(found.len(), wanted.len(), "{name}");
        assert!(found.len() >= STEPS as usize, "{name}: {found:?}");
        let error = apart(&found, &wanted);
        say(&format!("{name} trains {STEPS} steps on cuda; its losses stay within {error:.1e}"));
        let mut band = BAND;
        if error > BAND {
            let oracle = losses(small(name), &belamy_cpu::oracle(), &folder.join("oracle"));
            let own = apart(&oracle, &wanted);
            say(&format!("{name}: the processor's two ways of multiplying lie {own:.1e} apart"));
            band = band.max(2.0 * own);
        }
        if error.is_nan() || error > band {
            failures.push(format!("{name}: {error:.1e}\n  {found:?}\n  {wanted:?}"));
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

//! Small systems of each kind: they train, resume exactly, find their bad step, and draw.

use super::*;
use crate::batches::TwoBatches;
use crate::checkpoint;
use crate::data::two::{self, Form};
use crate::recipe::GeneratorUpdate;
use belamy_nn::weights;
use std::path::PathBuf;

/// A recipe whose networks and images are as small as they can be.
fn small(name: &str) -> Recipe {
    let mut recipe = Recipe::named(name).unwrap();
    (recipe.generator_width, recipe.discriminator_width) = (2, 2);
    (recipe.side, recipe.blocks, recipe.batch, recipe.jitter) = (32, 1, 2, 0);
    (recipe.pool, recipe.average_decay) = (if recipe.pool > 0 { 3 } else { 0 }, 0.9);
    recipe.pretraining_steps = if name == "srgan" { 3 } else { 0 };
    recipe.samples = 6;
    recipe.check().unwrap();
    recipe
}

fn batches(recipe: &Recipe, device: &Device) -> TwoBatches {
    let [[small, ..], [side, ..]] = recipe.two_shapes();
    let form = Form { side, input_channels: 3, channels: 3, range: recipe.range };
    let mut made = if recipe.system == System::Cyclegan {
        two::circles_and_squares(6, 1, form).unwrap()
    } else {
        two::circles_and_rectangles(6, 1, form).unwrap()
    };
    if small < side {
        let form = Form { side: small, ..form };
        let less = two::circles_and_rectangles(6, 1, form).unwrap();
        (made.first, made.shown[0]) = (less.first, less.shown[0].clone());
    }
    TwoBatches::new(recipe, &made, DType::F32, device).unwrap()
}

fn start(recipe: &Recipe, device: &Device) -> (Ensemble, TwoBatches) {
    let ensemble = Ensemble::new(recipe.clone(), 7, DType::F32, device).unwrap();
    (ensemble, batches(recipe, device))
}

/// Every number that a checkpoint holds, by name.
fn state(ensemble: &Ensemble) -> Vec<(String, Vec<f64>)> {
    let mut all = Vec::new();
    for part in ensemble.parts() {
        let mut named = weights::of_network(part.network).unwrap();
        named.extend(part.optimizer.state(part.network).unwrap());
        let averages = part.average.iter().flat_map(|average| average.values());
        named
            .extend(averages.enumerate().map(|(i, value)| (format!("average {i}"), value.clone())));
        let name = part.network.name();
        all.extend(named.into_iter().map(|(of, t)| (format!("{name}.{of}"), t.to_f64().unwrap())));
    }
    let pools = ensemble.pools().iter().filter_map(Pool::images);
    all.extend(pools.map(|images| ("pool".to_owned(), images.to_f64().unwrap())));
    all
}

fn temporary(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("belamy-ensemble-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

const SYSTEMS: [&str; 3] = ["pix2pix", "cyclegan", "srgan"];

#[test]
fn a_resumed_run_is_the_unbroken_one_to_the_bit() {
    let device = belamy_cpu::cpu();
    for name in SYSTEMS {
        let recipe = small(name);
        let (mut unbroken, mut draws) = start(&recipe, &device);
        let folder = temporary(name);
        for step in 0..8 {
            // Before the phases change (SRGAN), while a pool fills, and after.
            if [2, 5].contains(&step) {
                unbroken.verify_steps(&mut draws).unwrap();
                checkpoint::save(&unbroken, &folder).unwrap();
            }
            unbroken.make_step(&mut draws).unwrap();
        }
        let expected = state(&unbroken);
        for step in [2, 5] {
            let (mut resumed, mut draws) = start(&recipe, &device);
            let path = folder.join(checkpoint::folder_name(step));
            checkpoint::load(&mut resumed, &path).unwrap();
            assert_eq!(resumed.steps_made(), step);
            for _ in step..8 {
                resumed.make_step(&mut draws).unwrap();
            }
            assert_eq!(state(&resumed), expected, "{name} from step {step}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}

#[test]
fn every_network_learns_and_every_loss_is_told() {
    let device = belamy_cpu::cpu();
    let expected: [&[&str]; 3] = [
        &["loss_adversarial", "loss_l1"],
        &["loss_adversarial", "loss_cycle", "loss_identity", "loss_d_back"],
        &["loss_content", "loss_adversarial"],
    ];
    for (name, expected) in SYSTEMS.into_iter().zip(expected) {
        let (mut ensemble, mut draws) = start(&small(name), &device);
        let before = state(&ensemble);
        let measures: Vec<Measures> =
            (0..4).map(|_| ensemble.make_step(&mut draws).unwrap()).collect();
        let names: Vec<&str> = measures[3].parts.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, expected, "{name}");
        assert_eq!(
            measures.iter().filter(|m| m.answers.is_some()).count(),
            if name == "srgan" { 1 } else { 4 }
        );
        let after = state(&ensemble);
        for ((of, old), (_, new)) in before.iter().zip(&after) {
            // A bias before a norm has no gradient; all else moves.
            let moved = old.len() != new.len() || old != new;
            assert!(moved || of.contains("bias"), "{name}: {of} did not move");
        }
    }
}

#[test]
fn both_orders_of_updates_are_steps_of_pix2pix() {
    let device = belamy_cpu::cpu();
    let mut states = Vec::new();
    for update in [GeneratorUpdate::Simultaneous, GeneratorUpdate::Shared] {
        let mut recipe = small("pix2pix");
        recipe.generator_update = update;
        recipe.dropout = 0.0;
        let (mut ensemble, mut draws) = start(&recipe, &device);
        ensemble.make_step(&mut draws).unwrap();
        states.push(state(&ensemble));
    }
    let of = |all: &[(String, Vec<f64>)], network: &str| -> Vec<Vec<f64>> {
        let own = all.iter().filter(|(name, _)| name.starts_with(network));
        own.filter(|(name, _)| !name.contains("running")).map(|(_, v)| v.clone()).collect()
    };
    // The discriminator learns the same; the generator listens to an older or a newer one.
    assert_eq!(of(&states[0], "discriminator"), of(&states[1], "discriminator"));
    assert_ne!(of(&states[0], "generator"), of(&states[1], "generator"));
}

/// The first failure of a run that blows up, looked for every `every` steps, and what is left.
fn blown_up(name: &str, every: u64) -> (String, Vec<(String, Vec<f64>)>) {
    let device = belamy_cpu::cpu();
    let mut recipe = small(name);
    recipe.generator_optimizer.learning_rate = 1e18;
    recipe.discriminator_optimizer.learning_rate = 1e18;
    let (mut ensemble, mut draws) = start(&recipe, &device);
    for step in 1..=40 {
        ensemble.make_step(&mut draws).unwrap();
        if step % every == 0
            && let Err(error) = ensemble.verify_steps(&mut draws)
        {
            return (error.to_string(), state(&ensemble));
        }
    }
    panic!("{name}: nothing blew up");
}

#[test]
fn a_bad_step_is_found_afterwards_as_if_each_had_been_looked_at() {
    for name in SYSTEMS {
        let at_once = blown_up(name, 1);
        assert!(at_once.0.contains("is not finite"), "{}", at_once.0);
        assert!(!at_once.0.contains("a value between"), "{name}: {}", at_once.0);
        let afterwards = blown_up(name, 40);
        assert_eq!(afterwards.0, at_once.0, "{name}");
        assert!(afterwards.1 == at_once.1, "{name}: another state is left");
    }
}

#[test]
fn pictures_have_a_row_for_each_image_and_leave_the_networks_alone() {
    let device = belamy_cpu::cpu();
    for (name, columns) in SYSTEMS.into_iter().zip([3, 6, 3]) {
        let mut recipe = small(name);
        // As trained: statistics of one image, dropout.
        recipe.batch = 1;
        let (mut ensemble, mut draws) = start(&recipe, &device);
        for _ in 0..2 {
            ensemble.make_step(&mut draws).unwrap();
        }
        let before = state(&ensemble);
        let shown = Shown::Images(draws.shown());
        let canvas = ensemble.picture(&shown, "").unwrap();
        assert_eq!(state(&ensemble), before, "{name}");
        // Eight rows of so many columns, with four pixels between them.
        let scale = (canvas.height() - 4) / 8 - 4;
        assert_eq!(canvas.width(), 4 + columns * (scale + 4), "{name}");
        let again = ensemble.picture(&shown, "").unwrap();
        assert_eq!(again.png().unwrap(), canvas.png().unwrap(), "{name}");
        let noise = Shown::Noise(draws.shown()[0].clone(), None);
        assert!(ensemble.picture(&noise, "").is_err());
    }
}

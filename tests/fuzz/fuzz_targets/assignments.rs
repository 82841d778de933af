//! Fields of a recipe as `--set` takes them, one a line.
#![no_main]

use belamy_fuzz::source::Source;
use belamy_gan::recipe::{RECIPES, Recipe};
use belamy_gan::run::Plan;
use libfuzzer_sys::fuzz_target;

fn seeds() -> Vec<Vec<u8>> {
    let lines = [
        "batch=64\nlabels.real=0.9\nlabels.flip=0.05",
        "preset=fixed\npreset=lecture",
        "preset=narrow",
        "generator_optimizer.rule=sgd",
        "discriminator_optimizer.rule={kind = \"sgd\", momentum = 0.9, nesterov = false}",
        "generator_optimizer.schedule={kind = \"staircase\", every = 3, factor = 0.5}",
        "generator_optimizer.schedule.kind=constant",
        "objective=hinge\nregularizers.r1=10\nregularizers.penalty_every=16",
        "bacth=3",
        "label.real=1",
        "generator_loss=minimaxi",
        "pool=50\nwatch_gradients=true\naverage_decay=0.999",
        "side=32\njitter=40\nclasses=3\nsamples=1_000",
    ];
    let mut seeds = Vec::new();
    for index in [0, 1, 5, 12] {
        for line in lines {
            seeds.push([&[index], line.as_bytes()].concat());
        }
    }
    seeds
}

fuzz_target!(init: belamy_fuzz::begin(seeds), |data: &[u8]| {
    let mut source = Source::new(data);
    let entry = &RECIPES[source.choice(RECIPES.len())];
    let mut recipe = Recipe::named(entry.name).expect("it is in the list");
    let Ok(text) = std::str::from_utf8(source.rest()) else { return };
    let mut changed = false;
    for assignment in text.split('\n').take(4) {
        let before = recipe.clone();
        match recipe.set(assignment) {
            Ok(()) => changed = true,
            Err(_) => assert_eq!(recipe, before, "{assignment} changed something"),
        }
    }
    if !changed {
        return;
    }
    recipe.check().expect("what is set is checked");
    // What is accepted must survive in run.toml.
    let plan = Plan::new(recipe, 1, &DEVICE.with(Clone::clone));
    let text = toml::to_string(&plan).expect("it can be written");
    let again: Plan = toml::from_str(&text).expect("what was written can be read");
    assert_eq!(again, plan);
});

thread_local! {
    static DEVICE: belamy_tensor::Device = belamy_cpu::cpu();
}

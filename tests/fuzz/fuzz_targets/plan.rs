//! A run's run.toml.
#![no_main]

use belamy_fuzz::edits::{edit, edited};
use belamy_fuzz::source::Source;
use belamy_gan::health::Game;
use belamy_gan::lints::warnings;
use belamy_gan::recipe::Recipe;
use belamy_gan::run::Plan;
use belamy_gan::{sharing, show};
use libfuzzer_sys::fuzz_target;

/// Writing a plan and reading it again takes longer than reading it: one of so many is.
const WRITTEN: usize = 8;

thread_local! {
    static BASES: Vec<Vec<u8>> = bases();
}

fn bases() -> Vec<Vec<u8>> {
    let device = belamy_cpu::cpu();
    let text = |name: &str| {
        let plan = Plan::new(Recipe::named(name).expect("a recipe"), 1, &device);
        toml::to_string_pretty(&plan).expect("a plan is plain data").into_bytes()
    };
    ["sine", "mnist-conditional", "pix2pix", "srgan"].map(text).to_vec()
}

fn seeds() -> Vec<Vec<u8>> {
    BASES.with(|bases| {
        let mut seeds = Vec::new();
        for (index, base) in bases.iter().enumerate() {
            seeds.push([&[0], &base[..]].concat());
            let change = |old: &str, new: &str| {
                [&[index as u8 + 1], &edit(base, old.as_bytes(), new.as_bytes())[..]].concat()
            };
            seeds.push(vec![index as u8 + 1]);
            seeds.push(change("seed = 1", "seed = "));
            seeds.push(change("seed = 1", "shards = 0\nseed = 1_0"));
            seeds.push(change("version", "vérsion"));
            seeds.push(change("log_every", "log_every = 0x10 # "));
        }
        seeds
    })
}

fuzz_target!(init: belamy_fuzz::begin(seeds), |data: &[u8]| {
    BASES.with(|bases| {
        let mut source = Source::new(data);
        let bytes = match source.choice(bases.len() + 1) {
            0 => source.rest().to_vec(),
            choice => edited(&bases[choice - 1], &mut source),
        };
        belamy_fuzz::written(&bytes);
        // A file that is no text is refused before this reader sees it.
        let Ok(text) = std::str::from_utf8(&bytes) else { return };
        let Ok(plan) = Plan::from_text("x", text) else { return };
        plan.recipe.check().expect("what is read is checked");
        if text.len().is_multiple_of(WRITTEN) {
            // Texts are compared, as not a number is not itself.
            let text = toml::to_string_pretty(&plan).expect("what was read can be written");
            let again = Plan::from_text("x", &text).expect("what was written can be read");
            assert_eq!(toml::to_string_pretty(&again).expect("as before"), text);
        }
        let recipe = &plan.recipe;
        let _ = (plan.due(1), plan.due(u64::MAX), recipe.sizes(), recipe.two_shapes());
        let _ = (warnings(recipe, &[]), show::samples_shown(recipe));
        let _ = sharing::check(recipe, plan.shards);
        assert!(Game::of(recipe).floor().is_finite());
    });
});

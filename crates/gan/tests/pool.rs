//! A generator of noise whose discriminator is shown earlier fakes too.

use belamy_gan::batches::DeviceBatches;
use belamy_gan::{Pair, Recipe, Trainer, checkpoint};
use belamy_tensor::{DType, Device};

const STEPS: u64 = 9;

fn recipe(assignments: &[&str]) -> Recipe {
    let mut recipe = Recipe::named("sine").unwrap();
    for assignment in ["batch=4"].iter().chain(assignments) {
        recipe.set(assignment).unwrap();
    }
    recipe
}

fn start(recipe: &Recipe, device: &Device) -> (Pair, DeviceBatches) {
    let pair = Pair::new(recipe.clone(), 3, DType::F32, device).unwrap();
    let batches =
        DeviceBatches::new(recipe, None, &pair.discriminator, DType::F32, device).unwrap();
    (pair, batches)
}

/// All weights, and what the pool holds.
fn state(pair: &Pair) -> Vec<Vec<f64>> {
    let networks = [&pair.generator, &pair.discriminator];
    let weights = networks.into_iter().flat_map(|network| network.trainable());
    let weights = weights.map(|parameter| parameter.value().to_f64().unwrap());
    let kept = pair.pools().iter().filter_map(|pool| pool.images());
    weights.chain(kept.map(|images| images.to_f64().unwrap())).collect()
}

fn trained(recipe: &Recipe, device: &Device) -> Vec<Vec<f64>> {
    let (mut pair, mut batches) = start(recipe, device);
    for _ in 0..STEPS {
        pair.step(&mut batches).unwrap();
    }
    pair.verify(&mut batches).unwrap();
    state(&pair)
}

#[test]
fn a_resumed_run_with_a_pool_is_the_unbroken_one_to_the_bit() {
    let device = belamy_cpu::cpu();
    for update in ["generator_update=shared", "generator_update=simultaneous"] {
        // The pool is full after the second step.
        let recipe = recipe(&["pool=7", update]);
        let unbroken = trained(&recipe, &device);
        assert_eq!(unbroken.last().unwrap().len(), 7 * 2);
        let folder = std::env::temp_dir().join(format!(
            "belamy-pool-{}-{}",
            update.len(),
            std::process::id()
        ));
        for stop in [1, 5] {
            let (mut pair, mut batches) = start(&recipe, &device);
            for _ in 0..stop {
                pair.step(&mut batches).unwrap();
            }
            pair.verify(&mut batches).unwrap();
            std::fs::create_dir_all(&folder).unwrap();
            let path = checkpoint::save(&pair, &folder).unwrap();
            let (mut resumed, mut batches) = start(&recipe, &device);
            checkpoint::load(&mut resumed, &path).unwrap();
            for _ in stop..STEPS {
                resumed.step(&mut batches).unwrap();
            }
            resumed.verify(&mut batches).unwrap();
            assert_eq!(state(&resumed), unbroken, "{update}, from step {stop}");
            std::fs::remove_dir_all(&folder).unwrap();
        }
        // It does what it is there for: another run than the one without.
        let without = trained(&self::recipe(&[update]), &device);
        assert_ne!(without[..], unbroken[..without.len()]);
        // A pool that never trades shows every fake as it is.
        let filling = trained(&self::recipe(&["pool=1000", update]), &device);
        assert_eq!(without[..], filling[..without.len()]);
    }
}

#[test]
fn what_belongs_to_a_label_or_an_image_is_not_pooled() {
    for name in ["mnist-conditional", "pix2pix", "srgan"] {
        let refused = Recipe::named(name).unwrap().set("pool=50").unwrap_err().to_string();
        assert!(refused.contains("pool must be 0"), "{name}: {refused}");
    }
    let other = Recipe::named("sine").unwrap().set("discriminator_optimizer.rule.kind=sgd");
    let refused = other.unwrap_err().to_string();
    assert!(refused.contains("discriminator_optimizer.rule={kind = \"sgd\", ...}"), "{refused}");
    let mut whole = Recipe::named("sine").unwrap();
    let table = "discriminator_optimizer.rule={kind = \"sgd\", momentum = 0.0, nesterov = false}";
    whole.set(table).unwrap();
}

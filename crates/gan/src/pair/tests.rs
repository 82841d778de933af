use super::*;
use crate::batches::DeviceBatches;
use std::sync::Arc;

/// The first failure of a run whose learning rate blows it up, looked for every `every` steps, and the weights
/// that are left.
fn blown_up(every: u64) -> (String, u64, Vec<Vec<f64>>) {
    let device = belamy_cpu::cpu();
    let mut recipe = Recipe::named("sine").unwrap();
    recipe.generator_optimizer.learning_rate = 1e18;
    let mut pair = Pair::new(recipe, 1, DType::F32, &device).unwrap();
    let recipe = &pair.recipe;
    let mut batches =
        DeviceBatches::new(recipe, None, &pair.discriminator, DType::F32, &device).unwrap();
    for step in 1..=60 {
        pair.step(&mut batches).unwrap();
        if step % every == 0
            && let Err(error) = pair.verify(&mut batches)
        {
            let weights = pair.snapshot().iter().map(|w| w.to_f64().unwrap()).collect();
            return (error.to_string(), pair.step, weights);
        }
    }
    panic!("nothing blew up");
}

#[test]
fn a_bad_step_is_found_afterwards_as_if_each_had_been_looked_at() {
    let at_once = blown_up(1);
    assert!(at_once.1 > 0, "the first step is bad already: nothing is repeated");
    assert_eq!(blown_up(60), at_once);
}

/// A device whose counts of values that are not finite are wrong once, at the `at`-th of them.
#[derive(Debug)]
struct WrongOnce {
    inner: Device,
    at: usize,
    counts: std::sync::atomic::AtomicUsize,
}

impl belamy_tensor::Wrapper for WrongOnce {
    fn inner(&self) -> &Device {
        &self.inner
    }

    fn launch(&self, call: belamy_tensor::Call<'_>) -> belamy_tensor::Result<()> {
        let belamy_tensor::Call { kernel, params, inputs, outputs } = call;
        let inner = belamy_tensor::Call { kernel, params, inputs, outputs: &mut *outputs };
        self.inner.backend().launch(inner)?;
        if kernel == belamy_tensor::kernel::KernelId::count_non_finite
            && self.counts.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == self.at
        {
            belamy_cpu::bytes_mut(&mut outputs[0]).unwrap().copy_from_slice(&1u32.to_ne_bytes());
        }
        Ok(())
    }
}

#[test]
fn a_value_that_does_not_come_again_ends_training_where_it_was_seen() {
    let weights = |at: usize| {
        let counts = Default::default();
        let device = Device::new(Arc::new(WrongOnce { inner: belamy_cpu::cpu(), at, counts }));
        let mut pair = Pair::new(Recipe::named("sine").unwrap(), 1, DType::F32, &device).unwrap();
        let mut batches =
            DeviceBatches::new(&pair.recipe, None, &pair.discriminator, DType::F32, &device)
                .unwrap();
        for _ in 0..3 {
            pair.step(&mut batches).unwrap();
        }
        let outcome = pair.verify(&mut batches).map_err(|error| error.to_string());
        assert_eq!(pair.step, 3);
        let weights: Vec<Vec<f64>> = pair.snapshot().iter().map(|w| w.to_f64().unwrap()).collect();
        (outcome, weights)
    };
    let (sound, of_sound) = weights(usize::MAX);
    assert_eq!(sound, Ok(()));
    let (wrong, of_wrong) = weights(1);
    let said = wrong.unwrap_err();
    assert!(said.contains("a value that did not come again"), "{said}");
    assert_eq!(of_wrong, of_sound, "the steps that were repeated are those that were made");
}

/// A small recipe of convolutions with one setting more.
fn small(settings: &[&str]) -> Recipe {
    let mut recipe = Recipe::named("lines-upsample").unwrap();
    recipe.system = crate::networks::System::Faces;
    (recipe.side, recipe.generator_width, recipe.discriminator_width) = (32, 2, 2);
    (recipe.source, recipe.batch, recipe.latent) = (crate::recipe::Source::Images, 4, 3);
    for setting in settings {
        recipe.set(setting).unwrap();
    }
    recipe
}

fn small_data() -> crate::data::Dataset {
    let values = (0..6 * 32 * 32 * 3).map(|i| 0.5 + 0.5 * (i as f32 * 0.37).sin()).collect();
    let range = crate::data::ValueRange::Unit;
    crate::data::Dataset::new(values, &[6, 32, 32, 3], None, range).unwrap()
}

/// Some steps, what they measured, and the weights that are left.
fn trained(recipe: Recipe, steps: usize) -> (Vec<Measures>, Vec<Vec<f64>>) {
    let device = belamy_cpu::cpu();
    let mut pair = Pair::new(recipe, 3, DType::F32, &device).unwrap();
    let data = small_data();
    let network = &pair.discriminator;
    let mut batches =
        DeviceBatches::new(&pair.recipe, Some(&data), network, DType::F32, &device).unwrap();
    let measures = (0..steps).map(|_| pair.step(&mut batches).unwrap()).collect();
    pair.verify(&mut batches).unwrap();
    let weights = pair.snapshot().iter().map(|weight| weight.to_f64().unwrap()).collect();
    (measures, weights)
}

const UPDATES: [&str; 3] =
    ["generator_update=simultaneous", "generator_update=shared", "generator_update=redrawn"];

#[test]
fn every_objective_and_regulariser_trains_by_every_order_and_changes_the_result() {
    let settings: [&[&str]; 15] = [
        &["objective=least-squares"],
        &["objective=hinge"],
        &["objective=wasserstein"],
        &["objective=relativistic-average"],
        &["regularizers.gradient_penalty=10", "objective=wasserstein", "batch=3"],
        &["regularizers.r1=10"],
        &["regularizers.r1=10", "regularizers.penalty_every=2"],
        &["regularizers.clip_weights=0.01"],
        &["regularizers.spectral_norm=true"],
        &["regularizers.instance_noise=0.1", "regularizers.instance_noise_steps=100"],
        &["regularizers.minibatch_stddev=2"],
        &["regularizers.augment=true"],
        &["regularizers.feature_matching=1"],
        &["regularizers.generator_dropout=0.5"],
        &["discriminator_optimizer.rule=sgd", "discriminator_optimizer.learning_rate=0.1"],
    ];
    for update in UPDATES {
        let plain = trained(small(&[update]), 2).1;
        for settings in settings {
            let (measures, weights) = trained(small(&[settings, &[update]].concat()), 2);
            assert!(weights != plain, "{settings:?} {update} changed nothing");
            let finite = |tensor: &Tensor| tensor.item().unwrap().is_finite();
            assert!(measures.iter().all(|m| finite(&m.loss_d) && finite(&m.loss_g)));
            // The same again, to the bit.
            assert_eq!(trained(small(&[settings, &[update]].concat()), 2).1, weights);
        }
    }
}

#[test]
fn lazy_penalties_and_named_losses_are_told_when_they_were_taken() {
    let lazy = ["regularizers.r1=10", "regularizers.penalty_every=2"];
    let names = |settings: &[&str]| -> Vec<Vec<&'static str>> {
        let measures = trained(small(settings), 3).0;
        measures.iter().map(|m| m.parts.iter().map(|(name, _)| *name).collect()).collect()
    };
    assert_eq!(names(&lazy), [vec!["loss_r1"], vec![], vec!["loss_r1"]]);
    let both = ["regularizers.gradient_penalty=10", "regularizers.feature_matching=1"];
    let expected = vec!["loss_gradient_penalty", "loss_adversarial", "loss_features"];
    assert_eq!(names(&both), vec![expected; 3]);
}

#[test]
fn the_norms_of_gradients_are_measured() {
    assert!(trained(small(&[]), 1).0[0].gradient_norms.is_none());
    let (measures, _) = trained(small(&["watch_gradients=true"]), 2);
    for step in measures {
        for norm in step.gradient_norms.unwrap() {
            let norm = norm.item().unwrap();
            assert!(norm > 0.0 && norm.is_finite(), "{norm}");
        }
    }
}

#[test]
fn clipped_weights_stay_within_their_bounds() {
    let recipe = small(&["regularizers.clip_weights=0.01", "objective=wasserstein"]);
    let device = belamy_cpu::cpu();
    let own = Pair::new(recipe.clone(), 3, DType::F32, &device).unwrap();
    let before = own.generator.params().len();
    let weights = trained(recipe, 2).1;
    let most = weights[before..].iter().flatten().fold(0.0f64, |most, w| most.max(w.abs()));
    assert!(most <= 0.0100001 && most > 0.009, "{most}");
}

#[test]
fn a_discriminator_that_is_not_told_classes_learns_to_name_them() {
    const STEPS: usize = 200;
    for update in UPDATES {
        for passes in ["passes=separate", "passes=joined"] {
            let mut recipe = Recipe::named("mnist-conditional").unwrap();
            let settings = ["classes=3", "side=8", "batch=12", "latent=4", "dropout=0"];
            for setting in settings.into_iter().chain([update, passes]) {
                recipe.set(setting).unwrap();
            }
            recipe.discriminator_optimizer.learning_rate = 0.001;
            // Images as bright as their class says, with a pattern.
            let labels: Vec<u32> = (0..30).map(|sample| sample % 3).collect();
            let value = |sample: usize, pixel: usize| {
                0.4 * labels[sample] as f32 + 0.1 * (sample as f32 + 1.7 * pixel as f32).sin() + 0.1
            };
            let values = (0..30).flat_map(|n| (0..64).map(move |p| (n, p)));
            let values = values.map(|(n, p)| value(n, p)).collect();
            let range = crate::data::ValueRange::Unit;
            let data =
                crate::data::Dataset::new(values, &[30, 8, 8, 1], Some(labels.clone()), range);
            let data = data.unwrap();
            let device = belamy_cpu::cpu();
            let told = Pair::new(recipe.clone(), 3, DType::F32, &device).unwrap();
            assert!(told.discriminator.is_conditional());
            recipe.set("regularizers.auxiliary=0.5").unwrap();
            let mut pair = Pair::new(recipe, 3, DType::F32, &device).unwrap();
            assert!(!pair.discriminator.is_conditional() && pair.generator.is_conditional());
            assert_eq!(pair.discriminator.output().unwrap().dims(), [1 + 3]);
            let network = &pair.discriminator;
            let mut batches =
                DeviceBatches::new(&pair.recipe, Some(&data), network, DType::F32, &device)
                    .unwrap();
            let (mut named, mut looks) = (0, 0);
            for step in 1..=STEPS {
                let measures = pair.step(&mut batches).unwrap();
                let part = |wanted: &str| {
                    let found = measures.parts.iter().find(|(name, _)| *name == wanted);
                    found.unwrap().1.item().unwrap()
                };
                // Of both halves' answers there is one each, not one a class.
                let (Answers::Apart { real: answers, .. } | Answers::Together(answers)) =
                    measures.answers.as_ref().unwrap();
                assert_eq!(answers.dims()[1], 1);
                // The generator's loss is the sum of its parts.
                let sum = part("loss_adversarial") + 0.5 * part("loss_classes_g");
                assert!((measures.loss_g.item().unwrap() - sum).abs() < 1e-5);
                assert!(part("loss_classes_d") > 0.0);
                if step < STEPS / 2 || step % 10 > 0 {
                    continue;
                }
                pair.verify(&mut batches).unwrap();
                let mut cx = Context::evaluate(1, 0, &device).unwrap();
                let images = Tensor::from_slice(&data.images, [30, 8, 8, 1], &device).unwrap();
                let said = pair.discriminator.forward(&images, None, &mut cx).unwrap();
                let said = said.to_f64().unwrap();
                let right = said.chunks_exact(4).zip(&labels).filter(|(said, label)| {
                    let own = said[1 + **label as usize];
                    said[1..].iter().all(|other| own >= *other)
                });
                (named, looks) = (named + right.count(), looks + 1);
            }
            // A game sways: over its second half most real samples are named rightly, of which chance names a third.
            let named = named as f64 / looks as f64;
            assert!(named >= 20.0, "{update} {passes}: {named} of 30");
        }
    }
}

#[test]
fn dropout_of_a_generator_is_in_force_when_samples_are_drawn_and_knows_each_by_its_number() {
    let device = belamy_cpu::cpu();
    let drawn = |rate: &str| {
        let mut recipe = small(&[]);
        recipe.set(&format!("regularizers.generator_dropout={rate}")).unwrap();
        let mut pair = Pair::new(recipe, 3, DType::F32, &device).unwrap();
        let noise = Tensor::full(0.5, [4, 3], DType::F32, &device).unwrap();
        let all = pair.sample(0, &noise, None).unwrap().to_f64().unwrap();
        let rest = noise.slice(0, 1, 3).unwrap();
        let rest = pair.sample(1, &rest, None).unwrap().to_f64().unwrap();
        (all, rest)
    };
    let (all, rest) = drawn("0.5");
    let (first, others) = all.split_at(all.len() / 4);
    assert_eq!(others, rest);
    // Of the same noise: nothing but dropout tells them apart.
    assert_ne!(first, &others[..first.len()]);
    let (all, _) = drawn("0");
    assert_eq!(all[..first.len()], all[first.len()..2 * first.len()]);
}

//! Whole training steps on the WebGPU device: the oracle's losses, and no more work on the host than there must be.

mod common;

use belamy_gan::batches::DeviceBatches;
use belamy_gan::data::{Dataset, ValueRange};
use belamy_gan::pair::Pair;
use belamy_gan::recipe::Recipe;
use belamy_gan::source;
use belamy_tensor::{DType, Device, Tensor};
use belamy_webgpu::{Counters, Options, WebGpu};
use common::{open, say};
use std::collections::BTreeMap;

/// A recipe made small: what it does stays the same.
fn small(name: &str, batch: usize) -> Recipe {
    let mut recipe = Recipe::named(name).unwrap();
    recipe.batch = batch;
    if name == "dcgan64" {
        (recipe.generator_width, recipe.discriminator_width) = (8, 8);
    }
    recipe
}

fn data(recipe: &Recipe) -> Option<Dataset> {
    if recipe.name != "dcgan64" {
        return source::load(recipe, None, 1).unwrap();
    }
    // Colour images that no file is needed for: smooth waves of their own phase.
    let wave = |n: usize, y: usize, x: usize, c: usize| {
        ((n * 7 + c * 3) as f32 + 0.13 * y as f32 * (1 + n % 3) as f32 + 0.11 * x as f32).sin()
    };
    let mut images = Vec::new();
    for n in 0..12 {
        for at in 0..64 * 64 * 3 {
            images.push(wave(n, at / (64 * 3), at / 3 % 64, at % 3));
        }
    }
    Some(Dataset::new(images, &[12, 64, 64, 3], None, ValueRange::Signed).unwrap())
}

fn start(recipe: &Recipe, device: &Device) -> (Pair, DeviceBatches) {
    start_in(DType::F32, recipe, device)
}

fn start_in(dtype: DType, recipe: &Recipe, device: &Device) -> (Pair, DeviceBatches) {
    // Adam moves a weight by the learning rate along its gradient's sign however small the gradient. Where one is nearly
    // 0, rounding decides, and the runs part: with seed 5 one weight in 150,000 does so at once on webgpu, with seeds 3,
    // 4 and 6 on the CPU's fast path too. With seed 1 none does for a while.
    let seed = if recipe.name == "dcgan64" { 1 } else { 5 };
    let pair = Pair::new(recipe.clone(), seed, dtype, device).unwrap();
    let data = data(recipe);
    let batches =
        DeviceBatches::new(recipe, data.as_ref(), &pair.discriminator, dtype, device).unwrap();
    (pair, batches)
}

/// Both losses of each step.
fn losses(recipe: &Recipe, steps: usize, device: &Device) -> Vec<[f64; 2]> {
    losses_of(start(recipe, device), steps)
}

fn losses_of((mut pair, mut batches): (Pair, DeviceBatches), steps: usize) -> Vec<[f64; 2]> {
    let steps: Vec<_> = (0..steps).map(|_| pair.step(&mut batches).unwrap()).collect();
    pair.verify(&mut batches).unwrap();
    steps
        .iter()
        .map(|measures| [measures.loss_d.item().unwrap(), measures.loss_g.item().unwrap()])
        .collect()
}

/// Twenty steps, or fifteen; the recipes with wide convolutions at their real widths, over two samples.
#[test]
fn steps_have_the_oracles_losses() {
    let Some((device, _)) = open("the oracle's losses", Options::default()) else { return };
    let recipes = [
        ("sine", 150, 20),
        // Over fewer samples, the first input of a leaky ReLU that rounding puts on the other side of 0 moves the run.
        ("mnist-mlp", 32, 20),
        ("dcgan64", 8, 15),
        ("lines-upsample", 2, 20),
        ("lines-transpose", 2, 20),
        ("mnist-dcgan", 2, 20),
    ];
    for (name, batch, steps) in recipes {
        let recipe = small(name, batch);
        let (got, want) =
            (losses(&recipe, steps, &device), losses(&recipe, steps, &belamy_cpu::oracle()));
        let worst = got
            .iter()
            .flatten()
            .zip(want.iter().flatten())
            .map(|(got, want)| (got - want).abs() / want.abs())
            .fold(0.0, f64::max);
        say(format_args!(
            "{steps} steps of {name} on webgpu: losses within {worst:.1e} of the oracle's"
        ));
        // Written so that NaN fails.
        assert!(worst <= 1e-3, "{name}: {worst:e}\n{got:?}\n{want:?}");
        let (first, last) = (want[0], want[steps - 1]);
        let moved = (last[0] - first[0]).abs() + (last[1] - first[1]).abs();
        assert!(moved > 1e-3, "{name}: nothing was trained: {want:?}");
    }
}

/// Puts one pair's weights, running statistics and moments into another on another device.
fn follow(pair: &mut Pair, other: &Pair, device: &Device) {
    let copied = |tensor: &Tensor| {
        Tensor::from_f64(&tensor.to_f64().unwrap(), tensor.shape(), DType::F32, device).unwrap()
    };
    for (network, theirs) in pair.networks().zip(other.networks()) {
        for ((_, param), (_, theirs)) in network.params().into_iter().zip(theirs.params()) {
            param.set(copied(&theirs.value()));
        }
    }
    let optimizers = [
        (&pair.generator, &mut pair.generator_optimizer, &other.generator_optimizer),
        (&pair.discriminator, &mut pair.discriminator_optimizer, &other.discriminator_optimizer),
    ];
    for (network, optimizer, theirs) in optimizers {
        let state: BTreeMap<_, _> = theirs.state(network).unwrap().into_iter().collect();
        optimizer.restore(network, theirs.step(), |name| Ok(copied(&state[name]))).unwrap();
    }
}

/// At its real widths dcgan64 carries no rounding for twenty steps, which the next test shows without any adapter. So
/// each of these twenty steps starts where the oracle's last one ended, moments included.
#[test]
fn each_step_of_a_wide_dcgan64_has_the_oracles_losses() {
    let Some((device, _)) = open("the oracle's wide steps", Options::default()) else { return };
    let mut recipe = Recipe::named("dcgan64").unwrap();
    recipe.batch = 2;
    let oracle = belamy_cpu::oracle();
    let ((mut pair, mut batches), (mut wanted, mut wanted_batches)) =
        (start(&recipe, &device), start(&recipe, &oracle));
    let mut worst: [f64; 2] = [0.0; 2];
    let mut all = Vec::new();
    for _ in 0..20 {
        follow(&mut pair, &wanted, &device);
        let (got, want) =
            (pair.step(&mut batches).unwrap(), wanted.step(&mut wanted_batches).unwrap());
        pair.verify(&mut batches).unwrap();
        wanted.verify(&mut wanted_batches).unwrap();
        let losses = [(got.loss_d, want.loss_d), (got.loss_g, want.loss_g)];
        for ((got, want), worst) in losses.into_iter().zip(&mut worst) {
            let (got, want) = (got.item().unwrap(), want.item().unwrap());
            all.push([got, want]);
            let error = (got - want).abs() / want.abs();
            // Written so that NaN fails.
            assert!(error <= 1e-3, "{error:e}: {all:?}");
            *worst = worst.max(error);
        }
    }
    say(format_args!(
        "20 steps of dcgan64 at its real widths, each from the oracle's state: losses within {:.1e} and {:.1e}",
        worst[0], worst[1]
    ));
    assert!((all[0][1] - all[38][1]).abs() > 1e-3, "nothing was trained: {all:?}");
}

/// Rounding alone parts the losses of a wide dcgan64: the CPU's own runs in f32 and f64 begin within 1e-5 and are more
/// than 1e-3 apart a few steps later. Were this to fail, the test above could let its runs go on by themselves.
#[test]
fn rounding_parts_a_wide_dcgan64_on_the_processor_too() {
    let mut recipe = Recipe::named("dcgan64").unwrap();
    recipe.batch = 2;
    let [single, double] = [DType::F32, DType::F64]
        .map(|dtype| losses_of(start_in(dtype, &recipe, &belamy_cpu::cpu()), 6));
    let apart: Vec<f64> = single
        .iter()
        .zip(&double)
        .map(|(a, b)| ((a[0] - b[0]) / b[0]).abs().max(((a[1] - b[1]) / b[1]).abs()))
        .collect();
    say(format_args!("f32 and f64 losses of dcgan64 at its real widths part by {apart:?}"));
    assert!(apart[0] <= 1e-5 && apart[5] > 1e-3, "{apart:?}");
}

/// What a span of steps added to the counters.
fn spent(before: Counters, after: Counters) -> Counters {
    Counters {
        dispatches: after.dispatches - before.dispatches,
        submissions: after.submissions - before.submissions,
        allocations: after.allocations - before.allocations,
        bind_groups: after.bind_groups - before.bind_groups,
        pipelines: after.pipelines - before.pipelines,
        reads: after.reads - before.reads,
        writes: after.writes - before.writes,
    }
}

/// Steps without looking at the device between, and steps until no new bind group need be made: buffers are handed out
/// by which of them are free, so that the same states come back soon, and with them the same bind groups.
const STEPS: u64 = 4;
const WARM_UP: u64 = 4 * STEPS;

/// How often each entry point was dispatched since.
fn dispatched(gpu: &WebGpu, before: &[(&'static str, u64)]) -> Vec<(&'static str, u64)> {
    let before: BTreeMap<_, _> = before.iter().copied().collect();
    let mut since = gpu.dispatches();
    since.iter_mut().for_each(|(entry, count)| *count -= before.get(entry).unwrap_or(&0));
    since.retain(|(_, count)| *count > 0);
    since
}

/// A repeated step allocates, compiles, reads and writes nothing, makes no bind group, and dispatches no more than
/// `most` times.
fn repeated(name: &str, batch: usize, most: u64, options: Options) {
    let tested = format!("a repeated step of {name}");
    let Some((device, gpu)) = open(&tested, options) else { return };
    let (mut pair, mut batches) = start(&small(name, batch), &device);
    let mut made = Vec::new();
    for step in 1..=WARM_UP {
        let before = gpu.counters();
        pair.step(&mut batches).unwrap();
        made.push(spent(before, gpu.counters()).bind_groups);
        if step % STEPS == 0 {
            pair.verify(&mut batches).unwrap();
        }
    }
    say(format_args!("bind groups made in the first {WARM_UP} steps of {name}: {made:?}"));
    let (before, entries) = (gpu.counters(), gpu.dispatches());
    for _ in 0..STEPS {
        pair.step(&mut batches).unwrap();
    }
    let (spent, entries) = (spent(before, gpu.counters()), dispatched(&gpu, &entries));
    pair.verify(&mut batches).unwrap();
    say(format_args!("{STEPS} repeated steps of {name}: {spent:?}"));
    assert_eq!(
        (spent.allocations, spent.reads, spent.writes, spent.pipelines, spent.bind_groups),
        (0, 0, 0, 0, 0),
        "{name}: {spent:?}"
    );
    assert!(spent.dispatches > 0 && spent.dispatches.is_multiple_of(STEPS), "{name}: {spent:?}");
    assert_eq!(entries.iter().map(|(_, count)| count).sum::<u64>(), spent.dispatches);
    let a_step = spent.dispatches / STEPS;
    let entries: Vec<String> =
        entries.iter().map(|(entry, count)| format!("{} {entry}", count / STEPS)).collect();
    say(format_args!("a step of {name} dispatches {a_step}: {}", entries.join(", ")));
    assert!(a_step <= most, "{name}: {a_step} dispatches a step");
}

#[test]
fn a_repeated_step_makes_nothing_and_reads_nothing() {
    for (name, batch, most) in [("mnist-mlp", 8, 120), ("dcgan64", 2, 120)] {
        repeated(name, batch, most, Options::default());
    }
}

#[test]
fn a_repeated_step_makes_nothing_where_few_buffers_can_be_bound() {
    repeated("mnist-mlp", 8, 150, Options { portable: true, ..Options::default() });
}

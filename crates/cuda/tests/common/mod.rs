//! What the tests of the shim and of a GPU share.

#![allow(dead_code, reason = "each test file uses a part")]

mod products;
mod rounding;

#[allow(unused_imports, reason = "each test file uses a part")]
pub(crate) use products::{large_cases, tensor_cases, tensor_cores};

use belamy_cuda::driver::Counters;
use belamy_cuda::{Cuda, Precision};
use belamy_gan::batches::DeviceBatches;
use belamy_gan::{Pair, Recipe, source};
use belamy_nn::schedule::Schedule;
use belamy_tensor::{Backend, DType, Device, Graph, Result, Tensor, grad};
use belamy_tests::plan::{Subject, run, run_each};
use belamy_tests::{Case, Mode, Report, ops};
use std::io::Write;

/// What is compared on a device without f64.
pub(crate) const MODES: [Mode; 5] =
    [Mode::Parity, Mode::ParityGradient, Mode::Reference, Mode::Twice, Mode::Reused];

/// Prints a line whether or not the test runner captures output.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Says that a test is skipped for want of something; fails where `BELAMY_REQUIRE` names it.
pub(crate) fn skip(test: &str, name: &str, why: &str) {
    let required = std::env::var("BELAMY_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|required| required.trim() == name), "{name}: {why}");
    say(&format!("skipped: {test} ({name}: {why})"));
}

/// The first GPU, if there is one.
pub(crate) fn gpu(test: &str) -> Option<Cuda> {
    match belamy_cuda::open(0) {
        Ok(cuda) => Some(cuda),
        Err(why) => {
            skip(test, "cuda", &why);
            None
        }
    }
}

pub(crate) fn subject(cuda: Cuda) -> Subject {
    Subject { device: Device::new(cuda), dtypes: vec![DType::F32], threaded: false }
}

pub(crate) fn assert_clean(title: &str, report: &Report) {
    say(&format!("\n{title}\n{report}"));
    let failures = report.failures();
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// Products of tensor cores, with warpgroups and without, beside the oracle's of operands that were rounded before: the
/// case table's, and those of shapes drawn by `seed`. Then products of numbers that need no rounding, in all tiles.
pub(crate) fn check_tensor_cores(cuda: &Cuda, seed: u64) {
    let products = ["matmul", "conv2d", "conv2d_grad_input", "conv2d_grad_weight"];
    let mut cases = ops::all_cases();
    cases.retain(|case| products.contains(&case.op) && !case.large);
    cases.extend(ops::conv2d::sampled(seed, 24));
    cases.extend(ops::matmul::sampled(seed, 24));
    let modes = [Mode::Parity];
    let name_of = |(name, ..): &(&'static str, Cuda, Precision)| *name;
    // Warpgroups take convolutions alone.
    let taken = |name: &str, case: &Case| case.op != "matmul" || !name.contains("warpgroups");
    for (name, cuda, precision) in tensor_cores(cuda) {
        let cases: Vec<Case> = cases.iter().filter(|case| taken(name, case)).cloned().collect();
        let oracle = Device::new(rounding::rounding(belamy_cpu::oracle(), precision));
        let report = run(&cases, &subject(cuda), &oracle, &modes);
        assert_clean(&format!("products of rounded operands in {name}"), &report);
    }
    let (products, convolutions): (Vec<Case>, Vec<Case>) =
        tensor_cases().into_iter().partition(|case| case.op == "matmul");
    for short in [products, convolutions] {
        let mut cores = tensor_cores(cuda);
        cores.retain(|core| short.iter().all(|case| taken(name_of(core), case)));
        let subjects: Vec<Subject> =
            cores.iter().map(|(_, cuda, _)| subject(cuda.clone())).collect();
        let reports = run_each(&short, &subjects, &belamy_cpu::oracle(), &modes);
        for (core, report) in cores.iter().zip(reports) {
            assert_clean(&format!("products of short numbers in {}", name_of(core)), &report);
        }
    }
}

/// One step of a small model: a product, its gradient, Adam. Returns the new parameter, moments and counter.
fn step(state: &[Tensor; 4], x: &Tensor) -> Result<[Tensor; 4]> {
    use belamy_tensor::ops::optimizer::{AdamOptions, adam};
    use belamy_tensor::ops::random::{RandomKey, normal};
    let [weight, first, second, control] = state;
    let weight = weight.tracked();
    let noise = normal([5, 3], 0.0, 0.1, DType::F32, RandomKey { seed: 3, stream: 1 }, x)?;
    let y = noise.matmul(&weight)?.tanh()?;
    let loss = y.square()?.mean(&[0, 1])?;
    let grad = grad(&loss, None, &[&weight], Graph::Drop)?.remove(0).expect("the loss has it");
    let rate = control.mul_scalar(1.0)?;
    let new =
        adam(&rate, &[&weight.detach()], &[&grad], &[first], &[second], AdamOptions::default())?;
    Ok([new.params[0].clone(), new.first_moments[0].clone(), new.second_moments[0].clone(), rate])
}

/// Compares five replays of a recorded step with five steps, bit by bit.
pub(crate) fn check_recording(cuda: &Cuda) {
    let device = Device::new(cuda.clone());
    let begin = || -> Result<([Tensor; 4], Tensor)> {
        let weight: Vec<f32> = (0..12).map(|index| index as f32 / 10.0 - 0.5).collect();
        let weight = Tensor::from_slice(&weight, [3, 4], &device)?;
        let zeros = || Tensor::from_slice(&[0.0f32; 12], [3, 4], &device);
        let control = Tensor::from_slice(&[1.0f32, 0.01], [2], &device)?;
        let counter = Tensor::from_slice(&[7u32, 0], [2], &device)?;
        Ok(([weight, zeros()?, zeros()?, control], counter))
    };
    let (mut state, counter) = begin().unwrap();
    let mut warm = cuda.counters();
    for number in 0..5 {
        if number == 3 {
            warm = cuda.counters();
        }
        state = step(&state, &counter).unwrap();
    }
    let now = cuda.counters();
    // A step asks the device for nothing: its memory is the one before's.
    assert_eq!(
        (now.allocations, now.waits, now.copies),
        (warm.allocations, warm.waits, warm.copies)
    );
    let wanted = state[0].to_vec::<f32>().unwrap();

    let (state, counter) = begin().unwrap();
    let recording = cuda
        .record(&mut || {
            assert!(state[0].to_vec::<f32>().is_err(), "a recorded step reads nothing");
            let new = step(&state, &counter)?;
            let pairs = new.iter().zip(&state);
            Ok(pairs.map(|(new, old)| (new.buffer().clone(), old.buffer().clone())).collect())
        })
        .unwrap()
        .expect("CUDA records");
    assert_ne!(state[0].to_vec::<f32>().unwrap(), wanted, "recording runs nothing");
    for _ in 0..5 {
        // Tensors of the recorded sizes that come and go meanwhile must not disturb it, nor be disturbed.
        let other = Tensor::from_slice(&[5.0f32; 12], [3, 4], &device).unwrap();
        recording.replay().unwrap();
        assert_eq!(other.to_vec::<f32>().unwrap(), [5.0; 12]);
    }
    assert_eq!(state[0].to_vec::<f32>().unwrap(), wanted);
    let before = cuda.counters();
    for _ in 0..20 {
        recording.replay().unwrap();
    }
    let now = cuda.counters();
    assert_eq!(Counters { replays: now.replays, ..before }, now, "a replay is one launch");
}

/// A pair whose step uses all that a step may: dropout, data, averaged weights, a learning rate that changes.
fn pair(recipe: &Recipe, device: &Device) -> (Pair, DeviceBatches) {
    let pair = Pair::new(recipe.clone(), 5, DType::F32, device).unwrap();
    let data = source::load(recipe, None, 1).unwrap();
    let network = &pair.discriminator;
    let batches = DeviceBatches::new(recipe, data.as_ref(), network, DType::F32, device).unwrap();
    (pair, batches)
}

/// Compares whole training steps that are recorded and replayed with steps one by one, bit by bit.
pub(crate) fn check_training(cuda: &Cuda) {
    let device = Device::new(cuda.clone());
    for name in ["sine", "mnist-mlp"] {
        let mut recipe = Recipe::named(name).unwrap();
        (recipe.batch, recipe.average_decay) = (4, 0.75);
        recipe.generator_optimizer.schedule = Schedule::LinearDecay { start: 2, end: 40 };
        let run = |records: bool| {
            let (mut pair, mut batches) = pair(&recipe, &device);
            pair.records = records;
            let mut losses = Vec::new();
            for number in 1..=9 {
                let before = cuda.counters();
                let measures = pair.step(&mut batches).unwrap();
                let now = cuda.counters();
                if records && number > 4 {
                    let replayed = Counters { replays: now.replays, ..before };
                    // The first step after somebody looked keeps a copy of what was there.
                    let kept = Counters { launches: now.launches, ..replayed };
                    let wanted = if number == 7 { kept } else { replayed };
                    assert_eq!(now, wanted, "{name}: step {number} is one launch");
                }
                if number % 3 == 0 {
                    pair.verify(&mut batches).unwrap();
                }
                losses.push([measures.loss_d.item().unwrap(), measures.loss_g.item().unwrap()]);
            }
            pair.verify(&mut batches).unwrap();
            let networks = pair.networks().flat_map(|network| network.params());
            let weights: Vec<Vec<f64>> =
                networks.map(|(_, param)| param.value().to_f64().unwrap()).collect();
            let average = pair.average.as_ref().unwrap().values();
            let average: Vec<Vec<f64>> = average.iter().map(|t| t.to_f64().unwrap()).collect();
            let updates = [pair.generator_optimizer.step(), pair.discriminator_optimizer.step()];
            (losses, weights, average, updates, pair.step)
        };
        let (recorded, wanted) = (run(true), run(false));
        assert!(recorded == wanted, "{name}: {:?}, not {:?}", recorded.0, wanted.0);
    }
}

/// A step that goes wrong among replayed ones is found as if each had been looked at.
pub(crate) fn check_bad_steps(cuda: &Cuda) {
    let device = Device::new(cuda.clone());
    let mut recipe = Recipe::named("sine").unwrap();
    recipe.batch = 4;
    recipe.generator_optimizer.learning_rate = 1e18;
    let blown_up = |records: bool, every: u64| {
        let (mut pair, mut batches) = pair(&recipe, &device);
        pair.records = records;
        for step in 1..=60 {
            pair.step(&mut batches).unwrap();
            if step % every == 0
                && let Err(error) = pair.verify(&mut batches)
            {
                let networks = pair.networks().flat_map(|network| network.params());
                let weights: Vec<Vec<f64>> =
                    networks.map(|(_, param)| param.value().to_f64().unwrap()).collect();
                return (error.to_string(), pair.step, weights);
            }
        }
        panic!("nothing blew up");
    };
    let wanted = blown_up(false, 1);
    assert!(wanted.1 > 4, "it must be a replayed step that goes wrong: {wanted:?}");
    assert_eq!(blown_up(true, 20), wanted);
}

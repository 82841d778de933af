//! Whole training steps: `cargo bench -p belamy-benches --bench step -- [RECIPE ..] [--device D] [--batch N] [--steps N] [--queued N]`,
//! and `matmul`: a product of 2048 × 2048 matrices, beside the peak of the instructions that it is made of, which
//! is measured before and after it.
//!
//! Prints one JSON object a line, as the programs in `peers/` do: work, device, adapter, batch, median, least and most
//! milliseconds of a step, images a second, processor time a step (on a software adapter that is the device's time too),
//! the most memory held, threads, instruction set. Real images are two fixed random batches and noise is drawn anew. Each step is
//! waited for. With `--queued N`, also: the milliseconds of a step among N that are queued one after the other, as a run
//! queues them between two lines of its log, and the microseconds after which the host is free again. Devices are cpu, direct (cpu without Winograd), bf16 (cpu
//! with products of bf16), oracle, webgpu, cuda, cuda-tf32 and cuda-bf16.

#![allow(clippy::print_stdout, reason = "a benchmark's result is what it prints")]

use belamy_benches::ceilings::Ceilings;
use belamy_benches::clock::{Timing, peak_memory, processor_seconds};
use belamy_benches::training::Training;
use belamy_gan::Recipe;
use belamy_tensor::ops::matmul::matmul;
use belamy_tensor::{Device, Tensor};
use std::error::Error;
use std::time::Instant;

struct Options {
    works: Vec<String>,
    device: String,
    batch: Option<usize>,
    steps: usize,
    warm: usize,
    queued: usize,
}

impl Options {
    fn parse() -> Result<Options, Box<dyn Error>> {
        let mut options = Options {
            works: Vec::new(),
            device: "cpu".into(),
            batch: None,
            steps: 9,
            warm: 2,
            queued: 0,
        };
        // Cargo adds --bench.
        let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} wants a value"));
            match word.as_str() {
                "--device" => options.device = value()?,
                "--batch" => options.batch = Some(value()?.parse()?),
                "--steps" => options.steps = value()?.parse::<usize>()?.max(1),
                "--queued" => options.queued = value()?.parse()?,
                "--warm" => options.warm = value()?.parse::<usize>()?.max(1),
                other if other.starts_with('-') => return Err(format!("no option {other}").into()),
                _ => options.works.push(word),
            }
        }
        if options.works.is_empty() {
            options.works = ["dcgan64", "mnist-mlp", "mnist-dcgan"].map(str::to_owned).to_vec();
        }
        Ok(options)
    }
}

/// The device of a name, and what it is.
fn device(name: &str) -> Result<(Device, String), Box<dyn Error>> {
    let set = belamy_cpu::instruction_set();
    match name {
        "cpu" => Ok((belamy_cpu::cpu(), set.to_owned())),
        "direct" => Ok((belamy_cpu::direct(), set.to_owned())),
        "bf16" => Ok((belamy_cpu::bf16(), set.to_owned())),
        "oracle" => Ok((belamy_cpu::oracle(), "direct loops".to_owned())),
        "webgpu" => {
            let adapter = belamy_webgpu::adapter::adapters().into_iter().next();
            let what = adapter.map(|adapter| format!("{}, {}", adapter.name, adapter.driver));
            Ok((belamy_webgpu::open(belamy_webgpu::Options::default())?, what.unwrap_or_default()))
        }
        "cuda" | "cuda-tf32" | "cuda-bf16" => {
            let what = belamy_cuda::devices()?.into_iter().next().map(|device| device.name);
            let precision = name.strip_prefix("cuda-").unwrap_or("f32");
            let precision = belamy_cuda::Precision::named(precision).expect("named above");
            let cuda = belamy_cuda::open(0)?.in_precision(precision)?;
            Ok((Device::new(cuda), what.unwrap_or_default()))
        }
        _ => {
            let known = "cpu, direct, bf16, oracle, webgpu, cuda, cuda-tf32 or cuda-bf16";
            Err(format!("--device {name}: {known}").into())
        }
    }
}

fn measure(work: &str, options: &Options) -> Result<(), Box<dyn Error>> {
    let (device, adapter) = device(&options.device)?;
    let mut recipe = Recipe::named(work)?;
    recipe.batch = options.batch.unwrap_or(recipe.batch);
    let batch = recipe.batch;
    let mut training = Training::new(&recipe, &device)?;
    let first = Instant::now();
    for _ in 0..options.warm {
        training.queue()?;
        training.wait()?;
    }
    let first = first.elapsed().as_secs_f64() * 1e3;
    let before = processor_seconds();
    let mut times = Vec::new();
    for _ in 0..options.steps {
        let start = Instant::now();
        training.queue()?;
        training.wait()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let processor = before.zip(processor_seconds()).map(|(before, after)| after - before);
    let losses = training.losses()?;
    let queued = (options.queued > 0).then(|| queued(&mut training, options.queued)).transpose()?;
    let Timing { median, least, most, .. } = Timing::of(times, 1);
    let dtype = match options.device.as_str() {
        "bf16" | "cuda-bf16" => "bf16",
        "cuda-tf32" => "tf32",
        _ => "f32",
    };
    println!(
        "{{\"work\": \"{work}\", \"device\": \"{}\", \"adapter\": \"{adapter}\", \"dtype\": \"{dtype}\", \"batch\": {batch}, \
         \"ms\": {median:.4}, \"ms_min\": {least:.4}, \"ms_max\": {most:.4}, \"img_s\": {:.2}, \"processor_ms\": {}, \
         \"first_ms\": {first:.0}, \"peak_mb\": {}, \"threads\": {}, \"kernels\": \"{}\", \"loss_d\": {:.4}, \"loss_g\": {:.4}{}}}",
        device.id(),
        batch as f64 / median * 1e3,
        processor.map_or("null".to_owned(), |seconds| {
            format!("{:.1}", seconds / options.steps as f64 * 1e3)
        }),
        peak_memory().map_or("null".to_owned(), |bytes| (bytes >> 20).to_string()),
        rayon::current_num_threads(),
        belamy_cpu::instruction_set(),
        losses[0],
        losses[1],
        queued.unwrap_or_default(),
    );
    Ok(())
}

/// Steps queued one after the other, and their losses read at the end: fields of a line.
fn queued(training: &mut Training, steps: usize) -> Result<String, Box<dyn Error>> {
    training.losses()?;
    let mut launches = Vec::new();
    let begun = Instant::now();
    for _ in 0..steps {
        let start = Instant::now();
        training.queue()?;
        launches.push(start.elapsed().as_secs_f64() * 1e6);
    }
    training.losses()?;
    let each = begun.elapsed().as_secs_f64() * 1e3 / steps as f64;
    let launch = Timing::of(launches, 1);
    Ok(format!(
        ", \"queued\": {steps}, \"queued_ms\": {each:.4}, \"launch_us\": {:.1}, \"launch_us_least\": {:.1}",
        launch.median, launch.least
    ))
}

/// The side of the matrices that are multiplied.
const SIDE: usize = 2048;

fn product(options: &Options) -> Result<(), Box<dyn Error>> {
    let (device, adapter) = device(&options.device)?;
    let factor = |seed: u32| {
        let value = |index: usize| ((index as u32).wrapping_mul(seed) >> 16) as f32 / 65536.0 - 0.5;
        Tensor::from_slice(&(0..SIDE * SIDE).map(value).collect::<Vec<_>>(), [SIDE, SIDE], &device)
    };
    let (a, b) = (factor(2_654_435_761)?, factor(2_246_822_519)?);
    let mut ceilings = Ceilings::measure(&device)?;
    let mut times = Vec::new();
    for step in 0..options.warm + options.steps {
        let start = Instant::now();
        let result = matmul(&a, &b, false, false)?;
        device.synchronize()?;
        if step >= options.warm {
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        drop(result);
    }
    ceilings.again(&device)?;
    let Timing { median, least, most, .. } = Timing::of(times, 1);
    let rate = 2.0 * (SIDE as f64).powi(3) / median * 1e3;
    let peak = ceilings.flop_per_second_of(belamy_cpu::instruction_set());
    println!(
        "{{\"work\": \"matmul\", \"device\": \"{}\", \"adapter\": \"{adapter}\", \"m\": {SIDE}, \"k\": {SIDE}, \"n\": {SIDE}, \
         \"ms\": {median:.2}, \"ms_min\": {least:.2}, \"ms_max\": {most:.2}, \"gflop_s\": {:.1}, \"peak_gflop_s\": {:.1}, \
         \"share\": {:.3}, \"threads\": {}, \"kernels\": \"{}\"}}",
        device.id(),
        rate / 1e9,
        peak / 1e9,
        rate / peak,
        rayon::current_num_threads(),
        belamy_cpu::instruction_set(),
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse()?;
    belamy_cpu::start_threads(0, true)?;
    options.works.iter().try_for_each(|work| match work.as_str() {
        "matmul" => product(&options),
        recipe => measure(recipe, &options),
    })
}

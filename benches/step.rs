//! Whole training steps: `cargo bench -p belamy-benches --bench step -- [RECIPE ..] [--device D] [--batch N] [--steps N]`.
//!
//! Prints one JSON object a line, as the programs in `peers/` do: work, device, adapter, batch, median, least and most
//! milliseconds of a step, images a second, processor time a step (on a software adapter that is the device's time too),
//! threads, instruction set. Real images are two fixed random batches and noise is drawn anew. The step's losses are read
//! after each step, so nothing is left undone when the clock stops. Devices are cpu, oracle, webgpu and cuda.

#![allow(clippy::print_stdout, reason = "a benchmark's result is what it prints")]

use belamy_benches::clock::{Timing, processor_seconds};
use belamy_benches::training::Training;
use belamy_gan::Recipe;
use belamy_tensor::Device;
use std::error::Error;
use std::time::Instant;

struct Options {
    works: Vec<String>,
    device: String,
    batch: Option<usize>,
    steps: usize,
    warm: usize,
}

impl Options {
    fn parse() -> Result<Options, Box<dyn Error>> {
        let mut options =
            Options { works: Vec::new(), device: "cpu".into(), batch: None, steps: 9, warm: 2 };
        // Cargo adds --bench.
        let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} wants a value"));
            match word.as_str() {
                "--device" => options.device = value()?,
                "--batch" => options.batch = Some(value()?.parse()?),
                "--steps" => options.steps = value()?.parse::<usize>()?.max(1),
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
        "oracle" => Ok((belamy_cpu::oracle(), "direct loops".to_owned())),
        "webgpu" => {
            let adapter = belamy_webgpu::adapter::adapters().into_iter().next();
            let what = adapter.map(|adapter| format!("{}, {}", adapter.name, adapter.driver));
            Ok((belamy_webgpu::open(belamy_webgpu::Options::default())?, what.unwrap_or_default()))
        }
        "cuda" => {
            let what = belamy_cuda::devices()?.into_iter().next().map(|device| device.name);
            Ok((Device::new(belamy_cuda::open(0)?), what.unwrap_or_default()))
        }
        _ => Err(format!("--device {name}: cpu, oracle, webgpu or cuda").into()),
    }
}

fn measure(work: &str, options: &Options) -> Result<(), Box<dyn Error>> {
    let (device, adapter) = device(&options.device)?;
    let mut recipe = Recipe::named(work)?;
    recipe.batch = options.batch.unwrap_or(recipe.batch);
    let batch = recipe.batch;
    let mut training = Training::new(&recipe, &device)?;
    let mut losses = [0.0; 2];
    let first = Instant::now();
    for _ in 0..options.warm {
        losses = training.step()?;
    }
    let first = first.elapsed().as_secs_f64() * 1e3;
    let before = processor_seconds();
    let mut times = Vec::new();
    for _ in 0..options.steps {
        let start = Instant::now();
        losses = training.step()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let processor = before.zip(processor_seconds()).map(|(before, after)| after - before);
    let Timing { median, least, most, .. } = Timing::of(times, 1);
    println!(
        "{{\"work\": \"{work}\", \"device\": \"{}\", \"adapter\": \"{adapter}\", \"dtype\": \"f32\", \"batch\": {batch}, \
         \"ms\": {median:.2}, \"ms_min\": {least:.2}, \"ms_max\": {most:.2}, \"img_s\": {:.2}, \"processor_ms\": {}, \
         \"first_ms\": {first:.0}, \"threads\": {}, \"kernels\": \"{}\", \"loss_d\": {:.4}, \"loss_g\": {:.4}}}",
        device.id(),
        batch as f64 / median * 1e3,
        processor.map_or("null".to_owned(), |seconds| {
            format!("{:.1}", seconds / options.steps as f64 * 1e3)
        }),
        rayon::current_num_threads(),
        belamy_cpu::instruction_set(),
        losses[0],
        losses[1],
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse()?;
    options.works.iter().try_for_each(|work| measure(work, &options))
}

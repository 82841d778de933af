//! Whole training steps on the CPU: `cargo bench -p belamy-benches -- [dcgan64|mnist-mlp|mnist-dcgan] [--batch N]`.
//!
//! Prints one JSON object a line, as `peers/torch_peer.py` does: work, batch, median, least and most milliseconds of
//! a step, images a second, threads, instruction set. Real images are one fixed random batch and noise is drawn anew,
//! on both sides. The step's losses are read after each step, so nothing is left undone when the clock stops.

#![allow(clippy::print_stdout, reason = "a benchmark's result is what it prints")]

use belamy_gan::batches::{Batch, Batches, normal_noise};
use belamy_gan::{Pair, Recipe};
use belamy_nn::Context;
use belamy_tensor::ops::random;
use belamy_tensor::{DType, Shape, Tensor};
use std::time::Instant;

/// One fixed batch of uniform noise for images, fresh normal noise each time.
struct Fixed {
    real: Tensor,
    batch: usize,
    latent: usize,
}

impl Batches for Fixed {
    fn real(&mut self, _draw: usize, _cx: &mut Context) -> belamy_gan::Result<Batch> {
        Ok(Batch { samples: self.real.clone(), labels: None })
    }

    fn noise(&mut self, cx: &mut Context) -> belamy_gan::Result<Batch> {
        Ok(Batch { samples: normal_noise(self.batch, self.latent, DType::F32, cx)?, labels: None })
    }
}

fn measure(name: &str, batch: Option<usize>) -> Result<(), Box<dyn std::error::Error>> {
    let device = belamy_cpu::cpu();
    let mut recipe = Recipe::named(name)?;
    recipe.batch = batch.unwrap_or(recipe.batch);
    let (batch, latent) = (recipe.batch, recipe.latent);
    let mut pair = Pair::new(recipe, 1, DType::F32, &device)?;
    let shape = Shape::new(&[&[batch], pair.discriminator.input().dims()].concat())?;
    let mut cx = Context::train(1, 0, 0, &device)?;
    let key = cx.next_key();
    let real = random::uniform(shape, -1.0, 1.0, DType::F32, key, cx.counter())?;
    let mut batches = Fixed { real, batch, latent };
    let mut step = || -> Result<f64, Box<dyn std::error::Error>> {
        let start = Instant::now();
        let measures = pair.step(&mut batches)?;
        pair.verify(&mut batches)?;
        measures.loss_d.item()?;
        measures.loss_g.item()?;
        Ok(start.elapsed().as_secs_f64() * 1e3)
    };
    for _ in 0..2 {
        step()?;
    }
    let mut times = (0..9).map(|_| step()).collect::<Result<Vec<f64>, _>>()?;
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    println!(
        "{{\"work\": \"{name}\", \"device\": \"cpu\", \"dtype\": \"f32\", \"batch\": {batch}, \"ms\": {median:.2}, \"ms_min\": {:.2}, \"ms_max\": {:.2}, \"img_s\": {:.1}, \"threads\": {}, \"kernels\": \"{}\"}}",
        times[0],
        times[times.len() - 1],
        batch as f64 / median * 1e3,
        rayon::current_num_threads(),
        belamy_cpu::instruction_set(),
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let batch = arguments
        .iter()
        .position(|argument| argument == "--batch")
        .and_then(|place| arguments.get(place + 1))
        .map(|number| number.parse())
        .transpose()?;
    let named: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|argument| argument.starts_with(|c: char| c.is_ascii_lowercase()))
        .collect();
    let works = if named.is_empty() { vec!["dcgan64", "mnist-mlp", "mnist-dcgan"] } else { named };
    works.into_iter().try_for_each(|work| measure(work, batch))
}

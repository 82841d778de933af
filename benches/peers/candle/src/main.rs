//! DCGAN-64 in candle: the step that `../README.md` describes, timed as `../../step.rs` times ours.
//!
//! ```text
//! cargo run --release -- [dcgan64] [--batch N] [--steps N] [--warm N]
//! ```
//!
//! Prints one JSON object a line: work, device, dtype, batch, the median, least and most milliseconds of a step, images
//! a second, the processor time of a step (all threads of this process) and candle's version. Real images are one fixed
//! random batch and noise is drawn anew. Both losses are read after each step.

use candle_core::{D, DType, Device, Result, Tensor, Var};
use candle_nn::{AdamW, BatchNorm, ModuleT, Optimizer, ParamsAdamW, ops};
use std::time::Instant;

const CANDLE: &str = "0.11.1";
const LATENT: usize = 100;
const WIDTH: usize = 64;
const EPSILON: f64 = 1e-5;

/// A layer's weight, and the scale and shift of the batch norm behind it if there is one.
struct Layer {
    weight: Var,
    norm: Option<[Var; 2]>,
    running: [Tensor; 2],
    stride: usize,
    padding: usize,
}

impl Layer {
    /// A kernel of 4 × 4 taps; `shape` is candle's: [out, in, 4, 4], and [in, out, 4, 4] where it is transposed.
    fn new(shape: [usize; 2], channels: usize, has_norm: bool, is_end: bool) -> Result<Layer> {
        let device = &Device::Cpu;
        let normal = |mean: f32, shape: &[usize]| Var::randn(mean, 0.02f32, shape, device);
        let norm = match has_norm {
            true => Some([normal(1.0, &[channels])?, Var::zeros(channels, DType::F32, device)?]),
            false => None,
        };
        Ok(Layer {
            weight: normal(0.0, &[shape[0], shape[1], 4, 4])?,
            norm,
            running: [
                Tensor::zeros(channels, DType::F32, device)?,
                Tensor::ones(channels, DType::F32, device)?,
            ],
            stride: if is_end { 1 } else { 2 },
            padding: if is_end { 0 } else { 1 },
        })
    }

    fn variables(&self) -> Vec<Var> {
        [&self.weight].into_iter().chain(self.norm.iter().flatten()).cloned().collect()
    }

    /// The layer without its activation; `frozen`: its weights want no gradients.
    fn forward(&self, x: &Tensor, transposed: bool, frozen: bool) -> Result<Tensor> {
        let take = |variable: &Var| {
            if frozen { variable.as_tensor().detach() } else { variable.as_tensor().clone() }
        };
        let weight = take(&self.weight);
        let y = match transposed {
            true => x.conv_transpose2d(&weight, self.padding, 0, self.stride, 1)?,
            false => x.conv2d(&weight, self.padding, self.stride, 1, 1)?,
        };
        let Some([scale, shift]) = &self.norm else { return Ok(y) };
        let [mean, variance] = self.running.clone();
        let channels = scale.elem_count();
        BatchNorm::new(channels, mean, variance, take(scale), take(shift), EPSILON)?
            .forward_t(&y, true)
    }
}

/// z [N, 100, 1, 1] to images [N, 3, 64, 64].
fn generator() -> Result<Vec<Layer>> {
    let channels = [LATENT, WIDTH * 8, WIDTH * 4, WIDTH * 2, WIDTH, 3];
    (0..5)
        .map(|at| Layer::new([channels[at], channels[at + 1]], channels[at + 1], at < 4, at == 0))
        .collect()
}

fn draw(generator: &[Layer], noise: &Tensor) -> Result<Tensor> {
    let mut x = noise.clone();
    for layer in &generator[..4] {
        x = layer.forward(&x, true, false)?.relu()?;
    }
    generator[4].forward(&x, true, false)?.tanh()
}

/// Images [N, 3, 64, 64] to logits [N].
fn discriminator() -> Result<Vec<Layer>> {
    let channels = [3, WIDTH, WIDTH * 2, WIDTH * 4, WIDTH * 8, 1];
    (0..5)
        .map(|at| {
            let shape = [channels[at + 1], channels[at]];
            Layer::new(shape, channels[at + 1], (1..4).contains(&at), at == 4)
        })
        .collect()
}

fn judge(discriminator: &[Layer], images: &Tensor, frozen: bool) -> Result<Tensor> {
    let mut x = images.clone();
    for layer in &discriminator[..4] {
        x = ops::leaky_relu(&layer.forward(&x, false, frozen)?, 0.2)?;
    }
    discriminator[4].forward(&x, false, frozen)?.flatten_all()
}

/// Mean binary cross entropy of logits against all ones or all zeros: ln(1 + exp(∓x)).
fn cross_entropy(logits: &Tensor, real: bool) -> Result<Tensor> {
    let signed = if real { logits.neg()? } else { logits.clone() };
    // max(x, 0) + ln(1 + exp(-|x|))
    let rest = (signed.abs()?.neg()?.exp()? + 1.0)?.log()?;
    (signed.relu()? + rest)?.mean(D::Minus1)
}

fn adam(layers: &[Layer]) -> Result<AdamW> {
    let variables = layers.iter().flat_map(Layer::variables).collect();
    let settings = ParamsAdamW { lr: 2e-4, beta1: 0.5, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 };
    AdamW::new(variables, settings)
}

struct Training {
    generator: Vec<Layer>,
    discriminator: Vec<Layer>,
    generator_optimizer: AdamW,
    discriminator_optimizer: AdamW,
    real: Tensor,
    batch: usize,
}

impl Training {
    fn new(batch: usize) -> Result<Training> {
        let (generator, discriminator) = (generator()?, discriminator()?);
        Ok(Training {
            generator_optimizer: adam(&generator)?,
            discriminator_optimizer: adam(&discriminator)?,
            generator,
            discriminator,
            real: Tensor::rand(-1f32, 1f32, (batch, 3, 64, 64), &Device::Cpu)?,
            batch,
        })
    }

    /// D on real, D on fake, one update of D; then one of G on the same fakes through a D that wants no gradients.
    fn step(&mut self) -> Result<[f32; 2]> {
        let noise = Tensor::randn(0f32, 1f32, (self.batch, LATENT, 1, 1), &Device::Cpu)?;
        let fake = draw(&self.generator, &noise)?;
        let on_real = judge(&self.discriminator, &self.real, false)?;
        let on_fake = judge(&self.discriminator, &fake.detach(), false)?;
        let loss_d = (cross_entropy(&on_real, true)? + cross_entropy(&on_fake, false)?)?;
        self.discriminator_optimizer.backward_step(&loss_d)?;
        let loss_g = cross_entropy(&judge(&self.discriminator, &fake, true)?, true)?;
        self.generator_optimizer.backward_step(&loss_g)?;
        Ok([loss_d.to_scalar()?, loss_g.to_scalar()?])
    }
}

/// Seconds of processor time that this process has used.
fn processor_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut words = text.rsplit(')').next()?.split_whitespace().skip(11);
    let mut ticks = || words.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / 100.0)
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let (mut batch, mut steps, mut warm) = (64, 5usize, 2usize);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} wants a value"));
        match word.as_str() {
            "dcgan64" => {}
            "--batch" => batch = value()?.parse()?,
            "--steps" => steps = value()?.parse::<usize>()?.max(1),
            "--warm" => warm = value()?.parse()?,
            other => return Err(format!("no option {other}").into()),
        }
    }
    let mut training = Training::new(batch)?;
    for _ in 0..warm {
        training.step()?;
    }
    let before = processor_seconds();
    let mut times = Vec::new();
    let mut losses = [0.0; 2];
    for _ in 0..steps {
        let start = Instant::now();
        losses = training.step()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let processor = before.zip(processor_seconds()).map(|(before, after)| after - before);
    times.sort_by(f64::total_cmp);
    let median = (times[(steps - 1) / 2] + times[steps / 2]) / 2.0;
    let processor = processor
        .map_or("null".to_owned(), |seconds| format!("{:.1}", seconds / steps as f64 * 1e3));
    println!(
        "{{\"work\": \"dcgan64\", \"device\": \"cpu\", \"dtype\": \"f32\", \"batch\": {batch}, \"ms\": {median:.2}, \
         \"ms_min\": {:.2}, \"ms_max\": {:.2}, \"img_s\": {:.2}, \"processor_ms\": {processor}, \"candle\": \"{CANDLE}\", \
         \"loss_d\": {:.4}, \"loss_g\": {:.4}}}",
        times[0],
        times[steps - 1],
        batch as f64 / median * 1e3,
        losses[0],
        losses[1],
    );
    Ok(())
}

//! DCGAN-64 in burn: the step that `../README.md` describes, timed as `../../step.rs` times ours.
//!
//! ```text
//! cargo run --release -- [dcgan64] [--batch N] [--steps N] [--warm N] [--adapter cpu|gpu|default]
//! cargo run --release -- ops [--batch N]        each convolution of the discriminator, forward
//! ```
//!
//! Prints one JSON object a line: work, device, dtype, batch, the median, least and most milliseconds of a step, images
//! a second, the processor time of a step (all threads of this process, which on a software adapter is the device's
//! work too), burn's version and features. Real images are one fixed random batch and noise is drawn anew. Both
//! losses are read after each step, so nothing is left undone when the clock stops. The first steps, in which burn
//! tries its kernels for each shape, are not counted: `first_ms` says what they took.

use burn::module::{Initializer, Module};
use burn::nn::conv::{Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, PaddingConfig2d};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::activation::{leaky_relu, log_sigmoid, relu, tanh};
use burn::tensor::{Device, DeviceKind, Distribution, Tensor};
use std::time::Instant;

const BURN: &str = "0.22.1";
const LATENT: usize = 100;
const WIDTH: usize = 64;
const WEIGHTS: Initializer = Initializer::Normal { mean: 0.0, std: 0.02 };

/// z [N, 100, 1, 1] to images [N, 3, 64, 64].
#[derive(Module, Debug)]
struct Generator {
    convolutions: Vec<ConvTranspose2d>,
    norms: Vec<BatchNorm>,
}

impl Generator {
    fn new(device: &Device) -> Generator {
        let channels = [LATENT, WIDTH * 8, WIDTH * 4, WIDTH * 2, WIDTH, 3];
        let convolutions = (0..5)
            .map(|layer| {
                let (stride, padding) = if layer == 0 { (1, 0) } else { (2, 1) };
                ConvTranspose2dConfig::new([channels[layer], channels[layer + 1]], [4, 4])
                    .with_stride([stride; 2])
                    .with_padding([padding; 2])
                    .with_bias(false)
                    .with_initializer(WEIGHTS)
                    .init(device)
            })
            .collect();
        let norms = channels[1..5]
            .iter()
            .map(|&channels| BatchNormConfig::new(channels).init(device))
            .collect();
        Generator { convolutions, norms }
    }

    fn forward(&self, noise: Tensor<4>) -> Tensor<4> {
        let mut x = noise;
        for (convolution, norm) in self.convolutions.iter().zip(&self.norms) {
            x = relu(norm.forward(convolution.forward(x)));
        }
        tanh(self.convolutions[4].forward(x))
    }
}

/// Images [N, 3, 64, 64] to logits [N].
#[derive(Module, Debug)]
struct Discriminator {
    convolutions: Vec<Conv2d>,
    norms: Vec<BatchNorm>,
}

/// (channels in, channels out, stride, padding, side of the input) of the discriminator's convolutions.
const DISCRIMINATOR: [(usize, usize, usize, usize, usize); 5] = [
    (3, WIDTH, 2, 1, 64),
    (WIDTH, WIDTH * 2, 2, 1, 32),
    (WIDTH * 2, WIDTH * 4, 2, 1, 16),
    (WIDTH * 4, WIDTH * 8, 2, 1, 8),
    (WIDTH * 8, 1, 1, 0, 4),
];

fn convolution(layer: usize, device: &Device) -> Conv2d {
    let (channels_in, channels_out, stride, padding, _) = DISCRIMINATOR[layer];
    Conv2dConfig::new([channels_in, channels_out], [4, 4])
        .with_stride([stride; 2])
        .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding))
        .with_bias(false)
        .with_initializer(WEIGHTS)
        .init(device)
}

impl Discriminator {
    fn new(device: &Device) -> Discriminator {
        let convolutions = (0..5).map(|layer| convolution(layer, device)).collect();
        let norms = DISCRIMINATOR[1..4]
            .iter()
            .map(|&(_, channels, ..)| BatchNormConfig::new(channels).init(device))
            .collect();
        Discriminator { convolutions, norms }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<1> {
        let mut x = leaky_relu(self.convolutions[0].forward(images), 0.2);
        for (convolution, norm) in self.convolutions[1..4].iter().zip(&self.norms) {
            x = leaky_relu(norm.forward(convolution.forward(x)), 0.2);
        }
        self.convolutions[4].forward(x).flatten::<1>(0, 3)
    }
}

/// Mean binary cross entropy of logits against all ones or all zeros: -ln sigmoid(x) or -ln sigmoid(-x).
fn cross_entropy(logits: Tensor<1>, real: bool) -> Tensor<1> {
    let signed = if real { logits } else { logits.neg() };
    log_sigmoid(signed).mean().neg()
}

fn adam() -> ModuleOptimizer {
    AdamConfig::new().with_beta_1(0.5).with_beta_2(0.999).with_epsilon(1e-8).init()
}

struct Training {
    generator: Generator,
    discriminator: Discriminator,
    generator_optimizer: ModuleOptimizer,
    discriminator_optimizer: ModuleOptimizer,
    real: Tensor<4>,
    batch: usize,
    device: Device,
}

impl Training {
    fn new(batch: usize, plain: &Device) -> Training {
        let device = plain.clone().autodiff();
        Training {
            generator: Generator::new(&device),
            discriminator: Discriminator::new(&device),
            generator_optimizer: adam(),
            discriminator_optimizer: adam(),
            real: Tensor::random([batch, 3, 64, 64], Distribution::Uniform(-1.0, 1.0), &device),
            batch,
            device,
        }
    }

    /// D on real, D on fake, one update of D; then one of G on the same fakes through a D that wants no gradients.
    fn step(mut self) -> (Training, f32, f32) {
        const RATE: f64 = 2e-4;
        let noise = Distribution::Normal(0.0, 1.0);
        let z = Tensor::random([self.batch, LATENT, 1, 1], noise, &self.device);
        let fake = self.generator.forward(z);
        let loss_d = cross_entropy(self.discriminator.forward(self.real.clone()), true)
            + cross_entropy(self.discriminator.forward(fake.clone().detach()), false);
        let gradients = GradientsParams::from_grads(loss_d.backward(), &self.discriminator);
        self.discriminator = self.discriminator_optimizer.step(RATE, self.discriminator, gradients);

        let frozen = self.discriminator.clone().no_grad();
        let loss_g = cross_entropy(frozen.forward(fake), true);
        let gradients = GradientsParams::from_grads(loss_g.backward(), &self.generator);
        self.generator = self.generator_optimizer.step(RATE, self.generator, gradients);
        let (loss_d, loss_g) = (loss_d.into_scalar::<f32>(), loss_g.into_scalar::<f32>());
        (self, loss_d, loss_g)
    }
}

/// Seconds of processor time that this process has used, all threads together.
fn processor_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = text.rsplit(')').next().unwrap_or_default();
    let ticks = |field: usize| -> f64 {
        after_name
            .split_whitespace()
            .nth(field)
            .and_then(|word| word.parse().ok())
            .unwrap_or(f64::NAN)
    };
    // Fields 14 and 15 of the line, user and system, in hundredths of a second on Linux.
    (ticks(11) + ticks(12)) / 100.0
}

struct Options {
    work: String,
    batch: usize,
    steps: usize,
    warm: usize,
    adapter: String,
}

impl Options {
    fn parse() -> Result<Options, String> {
        let mut options = Options {
            work: "dcgan64".into(),
            batch: 16,
            steps: 9,
            warm: 2,
            adapter: "default".into(),
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} wants a value"));
            let number = |text: String| text.parse::<usize>().map_err(|error| error.to_string());
            match word.as_str() {
                "dcgan64" | "ops" => options.work = word,
                "--batch" => options.batch = number(value()?)?,
                "--steps" => options.steps = number(value()?)?.max(1),
                "--warm" => options.warm = number(value()?)?.max(1),
                "--adapter" => options.adapter = value()?,
                _ => return Err(format!("unknown argument {word}")),
            }
        }
        Ok(options)
    }

    fn device(&self) -> Result<Device, String> {
        let kind = match self.adapter.as_str() {
            "cpu" => DeviceKind::Cpu,
            "gpu" => DeviceKind::DiscreteGpu(0),
            "default" => DeviceKind::DefaultDevice,
            other => return Err(format!("--adapter {other}: cpu, gpu or default")),
        };
        #[cfg(feature = "vulkan")]
        return Ok(Device::vulkan(kind));
        #[cfg(not(feature = "vulkan"))]
        return Ok(Device::wgpu(kind));
    }
}

fn features() -> String {
    [
        ("vulkan", cfg!(feature = "vulkan")),
        ("fusion", cfg!(feature = "fusion")),
        ("autotune", cfg!(feature = "autotune")),
    ]
    .iter()
    .filter(|(_, on)| *on)
    .map(|(name, _)| *name)
    .collect::<Vec<_>>()
    .join("+")
}

/// Prints the line of one work: `once` runs it to the end.
fn report(work: &str, options: &Options, device: &Device, mut once: impl FnMut() -> String) {
    let first = Instant::now();
    let mut note = String::new();
    for _ in 0..options.warm {
        note = once();
    }
    let first = first.elapsed().as_secs_f64() * 1e3;
    let processor = processor_seconds();
    let mut times: Vec<f64> = (0..options.steps)
        .map(|_| {
            let start = Instant::now();
            note = once();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    let processor = (processor_seconds() - processor) / options.steps as f64 * 1e3;
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    println!(
        "{{\"work\": \"{work}\", \"peer\": \"burn\", \"device\": \"wgpu\", \"adapter\": \"{}\", \"dtype\": \"f32\", \
         \"batch\": {}, \"ms\": {median:.2}, \"ms_min\": {:.2}, \"ms_max\": {:.2}, \"img_s\": {:.2}, \
         \"processor_ms\": {processor:.1}, \"first_ms\": {first:.0}, \"burn\": \"{BURN}\", \"features\": \"{}\"{note}}}",
        format!("{device:?}").replace('"', "'"),
        options.batch,
        times[0],
        times[times.len() - 1],
        options.batch as f64 / median * 1e3,
        features(),
    );
}

fn main() -> Result<(), String> {
    let options = Options::parse()?;
    let device = options.device()?;
    device.seed(1);
    if options.work == "ops" {
        for (layer, &(channels, _, _, _, side)) in DISCRIMINATOR.iter().enumerate() {
            let shape = [options.batch, channels, side, side];
            let x = Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &device);
            let convolution = convolution(layer, &device);
            report(&format!("d{layer}.forward"), &options, &device, || {
                let y = convolution.forward(x.clone());
                device.sync().expect("the device failed");
                drop(y);
                String::new()
            });
        }
        return Ok(());
    }
    let mut training = Some(Training::new(options.batch, &device));
    report("dcgan64", &options, &device, || {
        let (next, loss_d, loss_g) =
            training.take().expect("a step gives the training back").step();
        training = Some(next);
        format!(", \"loss_d\": {loss_d:.4}, \"loss_g\": {loss_g:.4}")
    });
    Ok(())
}

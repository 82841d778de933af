//! The systems' networks, layer for layer as their sources have them.
//!
//! Every framework default is spelled out: Keras (Glorot uniform weights, zero biases, LeakyReLU 0.3, batch norm with
//! decay 0.99, ε 1e-3) and PyTorch (normal weights of deviation 0.02 for DCGAN, LeakyReLU 0.2, batch norm with decay
//! 0.9, ε 1e-5). A discriminator returns logits; where its source ends in a sigmoid the loss has it, fused.

mod cifar;
mod conditional;
mod cyclegan;
mod dcgan64;
mod faces;
mod lines;
mod perceptron;
mod points;
mod showers;
mod super_resolution;
mod unet;

use crate::data::showers::{LAYERS, VOXELS_A_LAYER};
use belamy_nn::layers::{Activation, RunningVariance};
use belamy_nn::network::Builder;
use belamy_nn::{Initializer, Network};
use belamy_tensor::{DType, Device, Error, Result, Shape};
use serde::{Deserialize, Serialize};

/// Which networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum System {
    /// Points in the plane: Kasprowski, `gan0`.
    Sine,
    /// The MLP GAN on MNIST: Bonacorsi, ISGC 2021.
    MnistMlp,
    /// The MLP generator against 58 million weights, which collapses: Wolter, `gan_generate_letters_failing`.
    LettersFailing,
    /// Vertical lines and road signs, generator by upsampling: Kasprowski, `gan1` and `gan2`.
    LinesUpsample,
    /// Vertical lines, generator by transposed convolutions: Kasprowski, `gan1`.
    LinesTranspose,
    /// DCGAN on MNIST: the TensorFlow tutorial.
    MnistDcgan,
    /// DCGAN on one class of CIFAR-10: Chollet, section 8.5.
    CifarDcgan,
    /// DCGAN on faces of 32×32 or 64×64: keras.io and the lecture.
    Faces,
    /// DCGAN on 64×64 images: pytorch/examples, after Radford et al. (2015).
    Dcgan64,
    /// Conditional DCGAN on grey images, of road signs or digits: Kasprowski, `lecture7`.
    ConditionalGrey,
    /// Conditional DCGAN on 64×64 road signs of four classes: Kasprowski, `lecture7`.
    ConditionalSigns64,
    /// Calorimeter showers by dense layers, conditioned on their energy: after CaloGAN (Paganini et al., 2018).
    Showers,
    /// Images to images that belong to them: Isola et al. (2017), the TensorFlow tutorial.
    Pix2pix,
    /// Images of one kind to images of another, both ways: Zhu et al. (2017).
    Cyclegan,
    /// Images to four times their resolution: Ledig et al. (2017).
    Srgan,
}

impl System {
    /// Whether the system's source counts running statistics among its parameters: Keras' `summary()` does,
    /// PyTorch's usual sum over `parameters()` and the figures of pix2pix do not.
    pub fn counts_running_statistics(self) -> bool {
        !matches!(self, System::Dcgan64 | System::Pix2pix | System::Cyclegan | System::Srgan)
    }

    /// Whether its generator makes images from images, not from noise.
    pub fn translates(self) -> bool {
        matches!(self, System::Pix2pix | System::Cyclegan | System::Srgan)
    }

    /// The parameters of a network as the system's source counts them.
    pub fn count_params(self, network: &Network) -> usize {
        let params = network.params();
        let counted = params
            .iter()
            .filter(|(_, param)| param.is_trainable() || self.counts_running_statistics());
        counted.map(|(_, param)| param.meta().shape.elements()).sum()
    }
}

/// What a system's networks are made from besides the system itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sizes {
    /// Length of the noise vector.
    pub latent: usize,
    /// Channels that the generator's layers are multiples of: DCGAN-64's ngf. Some systems have one size.
    pub generator_width: usize,
    /// Channels that the discriminator's layers are multiples of: DCGAN-64's ndf. Some systems have one size.
    pub discriminator_width: usize,
    /// The dropout rate: of the discriminator, or of a U-Net's innermost levels.
    pub dropout: f64,
    /// Classes of a conditional system.
    pub classes: usize,
    /// Side of the images that the discriminator sees, for systems of several sizes.
    pub side: usize,
    /// Channels of the images that a generator takes, if it takes images.
    pub input_channels: usize,
    /// Channels of the images that it makes, for systems of several sizes.
    pub channels: usize,
    /// Residual blocks.
    pub blocks: usize,
    /// Whether the discriminators' weights are divided by their largest singular values.
    pub spectral_norm: bool,
    /// Samples in a group whose variety a discriminator of convolutions is told; 0 for none.
    pub minibatch_stddev: usize,
    /// Whether a conditional discriminator names classes instead of being told them.
    pub auxiliary: bool,
    /// The rate of dropout behind the generator's hidden activations; 0 for none.
    pub generator_dropout: f64,
}

/// How much larger the images of super-resolution become.
pub const SUPER_RESOLUTION: usize = 4;

const GLOROT: Initializer = Initializer::GlorotUniform;
const ZERO: Option<Initializer> = Some(Initializer::Constant(0.0));
const ONE: Initializer = Initializer::Constant(1.0);
/// DCGAN's weights: normal with deviation 0.02.
const DCGAN: Initializer = Initializer::Normal(0.0, 0.02);
/// Keras' default slope.
const KERAS_LEAKY: Activation = Activation::LeakyRelu(0.3);

/// Batch norm with Keras' defaults.
fn keras_batch_norm(builder: Builder<'_>) -> Result<Builder<'_>> {
    builder.batch_norm(0.99, 1e-3, RunningVariance::Biased, ONE)
}

/// Batch norm as pytorch/examples' DCGAN starts it.
fn dcgan_batch_norm(builder: Builder<'_>) -> Result<Builder<'_>> {
    builder.batch_norm(0.9, 1e-5, RunningVariance::Unbiased, Initializer::Normal(1.0, 0.02))
}

/// Tells a discriminator how varied its samples are, if the sizes say so: before its last layer with weights.
fn variety<'a>(builder: Builder<'a>, sizes: &Sizes) -> Result<Builder<'a>> {
    match sizes.minibatch_stddev {
        0 => Ok(builder),
        group => builder.minibatch_stddev(group),
    }
}

/// The generator and the discriminator of a system of two, their parameters of type `dtype` on `device`, drawn by
/// `seed`. Fails for a system of more.
pub fn build(
    system: System,
    sizes: &Sizes,
    device: &Device,
    dtype: DType,
    seed: u64,
) -> Result<(Network, Network)> {
    two(system, all(system, sizes, device, dtype, seed)?)
}

/// The generator and the discriminator among a system's networks. Fails where there are more.
pub(crate) fn two(system: System, networks: Vec<Network>) -> Result<(Network, Network)> {
    let count = networks.len();
    match <[Network; 2]>::try_from(networks) {
        Ok([generator, discriminator]) => Ok((generator, discriminator)),
        Err(_) => {
            let message = format!("{system:?} has {count} networks, not two");
            Err(Error::argument("networks", message))
        }
    }
}

/// Every network of a system: `generator`, `discriminator`, and for two ways `generator_back`, `discriminator_back`.
pub fn all(
    system: System,
    sizes: &Sizes,
    device: &Device,
    dtype: DType,
    seed: u64,
) -> Result<Vec<Network>> {
    assemble(system, sizes, device, dtype, seed, true)
}

/// As [`all`], with weights of 0: to be counted, listed or overwritten, in a fraction of the time.
pub fn outline(system: System, sizes: &Sizes, device: &Device) -> Result<Vec<Network>> {
    assemble(system, sizes, device, DType::F32, 0, false)
}

fn assemble(
    system: System,
    sizes: &Sizes,
    device: &Device,
    dtype: DType,
    seed: u64,
    drawn: bool,
) -> Result<Vec<Network>> {
    // Another key each, so that the networks' weights are independent.
    const KEY: u64 = 0x9E37_79B9_7F4A_7C15;
    let named = |name: &str, key: u64, input: &[usize]| -> Result<Builder<'_>> {
        let builder = Builder::new(name, Shape::new(input)?, device, dtype, seed ^ key);
        let builder = if drawn { builder } else { builder.undrawn() };
        let is_generator = name.starts_with("generator");
        match sizes.generator_dropout {
            rate if rate > 0.0 && is_generator => builder.hidden_dropout(rate),
            _ if sizes.spectral_norm && !is_generator => Ok(builder.spectral_norm()),
            _ => Ok(builder),
        }
    };
    let generator = |input: &[usize]| named("generator", 0, input);
    let discriminator = |input: &[usize]| named("discriminator", KEY, input);
    let noise = || generator(&[sizes.latent]);
    let Sizes { generator_width, discriminator_width, dropout, classes, side, channels, .. } =
        *sizes;
    let grey = |side: usize| [side, side, 1];
    let colour = |side: usize| [side, side, 3];
    Ok(match system {
        System::Sine => vec![
            points::sine_generator(noise()?)?,
            points::sine_discriminator(discriminator(&[2])?)?,
        ],
        System::MnistMlp => vec![
            perceptron::mlp_generator(noise()?)?,
            perceptron::mlp_discriminator(discriminator(&[784])?, dropout)?,
        ],
        System::LettersFailing => vec![
            perceptron::letters_generator(noise()?)?,
            perceptron::letters_failing_discriminator(
                discriminator(&grey(28))?,
                discriminator_width,
                dropout,
            )?,
        ],
        System::LinesUpsample => vec![
            lines::lines_upsample_generator(noise()?)?,
            lines::strided_discriminator(discriminator(&grey(32))?, sizes)?,
        ],
        System::LinesTranspose => vec![
            lines::transposed_generator(noise()?, 8, Activation::Sigmoid)?,
            lines::strided_discriminator(discriminator(&grey(32))?, sizes)?,
        ],
        System::MnistDcgan => vec![
            lines::transposed_generator(noise()?, 7, Activation::Tanh)?,
            lines::strided_discriminator(discriminator(&grey(28))?, sizes)?,
        ],
        System::CifarDcgan => vec![
            cifar::generator(noise()?, generator_width)?,
            cifar::discriminator(discriminator(&colour(32))?, sizes)?,
        ],
        System::Faces => vec![
            faces::generator(noise()?, generator_width, side)?,
            faces::discriminator(discriminator(&colour(side))?, sizes)?,
        ],
        System::Dcgan64 => vec![
            dcgan64::dcgan64_generator(noise()?, generator_width)?,
            dcgan64::dcgan64_discriminator(discriminator(&colour(64))?, sizes)?,
        ],
        System::ConditionalGrey => vec![
            conditional::grey_generator(noise()?, classes, side)?,
            conditional::grey_discriminator(discriminator(&grey(side))?, sizes)?,
        ],
        System::ConditionalSigns64 => vec![
            conditional::colour64_generator(noise()?, classes)?,
            conditional::colour64_discriminator(discriminator(&colour(64))?, sizes)?,
        ],
        System::Showers => vec![
            showers::generator(noise()?, sizes)?,
            showers::discriminator(discriminator(&[LAYERS, VOXELS_A_LAYER, 1])?, sizes)?,
        ],
        System::Pix2pix => {
            let input = generator(&[side, side, sizes.input_channels])?;
            let both = discriminator(&[side, side, sizes.input_channels + channels])?;
            vec![
                unet::generator(input, generator_width, side, channels, dropout)?,
                unet::discriminator(both, discriminator_width)?,
            ]
        }
        System::Cyclegan => {
            let (first, second) = ([side, side, sizes.input_channels], [side, side, channels]);
            let back = named("generator_back", KEY.rotate_left(16), &second)?;
            let back_discriminator = named("discriminator_back", KEY.rotate_left(32), &first)?;
            let (width, blocks) = (generator_width, sizes.blocks);
            vec![
                cyclegan::generator(generator(&first)?, width, blocks, channels)?,
                cyclegan::discriminator(discriminator(&second)?, discriminator_width)?,
                cyclegan::generator(back, width, blocks, sizes.input_channels)?,
                cyclegan::discriminator(back_discriminator, discriminator_width)?,
            ]
        }
        System::Srgan => {
            let small = side / SUPER_RESOLUTION;
            let input = generator(&[small, small, channels])?;
            let large = discriminator(&[side, side, channels])?;
            vec![
                super_resolution::generator(input, generator_width, sizes.blocks, channels)?,
                super_resolution::discriminator(large, discriminator_width)?,
            ]
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{RECIPES, Recipe};

    /// As the originals print them or as their code makes them.
    const TOTALS: &[(&str, &[usize])] = &[
        ("sine", &[1_547, 101]),
        ("mnist-mlp", &[1_486_352, 1_460_225]),
        ("letters-failing", &[1_486_352, 58_494_257]),
        ("lines-upsample", &[2_073_920, 214_785]),
        ("lines-transpose", &[2_730_304, 214_785]),
        ("mnist-dcgan", &[2_330_944, 212_865]),
        ("cifar-dcgan", &[6_264_579, 790_913]),
        ("faces32", &[3_455_363, 398_657]),
        ("faces64", &[3_979_651, 404_801]),
        ("dcgan64", &[3_576_704, 2_765_568]),
        ("signs", &[2_073_920, 214_785]),
        ("signs-conditional", &[2_078_536, 268_809]),
        ("conditional-signs64", &[523_688, 782_729]),
        // The grey conditional networks at 28×28 with ten classes: no original prints them. By hand, G: 1,254,400 +
        // 50,176 + 500 + 2,499 + 296,064 + 512 + 73,728 + 256 + 576; D: 500 + 39,984 + 3,264 + 204,928 + 6,273.
        ("mnist-conditional", &[1_678_711, 254_949]),
        // G: 15 · 16 + (80 + 1) · 128 + (128 + 1) · 256 + (256 + 1) · 512 + (512 + 1) · 360; D: 240 + (376 + 1) · 1,024 +
        // (1,024 + 1) · 512 + (512 + 1) · 256 + 257.
        ("showers", &[139_288, 1_042_673]),
        ("pix2pix", &[54_414_979, 2_768_641]),
        ("circles-rectangles", &[54_414_979, 2_768_641]),
        // One input channel less than two: 2 · 64 · 16 weights less in each network.
        ("colorize", &[54_412_931, 2_766_593]),
        ("cyclegan", &[11_378_179, 2_764_737, 11_378_179, 2_764_737]),
        ("circles-squares", &[7_837_699, 2_764_737, 7_837_699, 2_764_737]),
        ("srgan", &[1_547_350, 23_563_649]),
    ];

    #[test]
    fn every_total_is_the_originals() {
        let device = belamy_cpu::cpu();
        for (name, expected) in TOTALS {
            let recipe = Recipe::named(name).unwrap();
            let networks = outline(recipe.system, &recipe.sizes(), &device).unwrap();
            let found: Vec<usize> =
                networks.iter().map(|network| recipe.system.count_params(network)).collect();
            assert_eq!(found, *expected, "{name}");
        }
        let named: Vec<&str> = TOTALS.iter().map(|(name, _)| *name).collect();
        for entry in RECIPES {
            assert!(named.contains(&entry.name), "{} has no total", entry.name);
        }
    }

    #[test]
    fn outputs_have_the_shapes_that_the_sources_say() {
        let device = belamy_cpu::cpu();
        let expected: &[(&str, &[&[usize]])] = &[
            ("pix2pix", &[&[256, 256, 3], &[30, 30, 1]]),
            ("colorize", &[&[256, 256, 3], &[30, 30, 1]]),
            ("cyclegan", &[&[256, 256, 3], &[30, 30, 1], &[256, 256, 3], &[30, 30, 1]]),
            ("srgan", &[&[96, 96, 3], &[1]]),
            ("faces32", &[&[32, 32, 3], &[1]]),
            ("faces64", &[&[64, 64, 3], &[1]]),
            ("cifar-dcgan", &[&[32, 32, 3], &[1]]),
            ("signs-conditional", &[&[32, 32, 1], &[1]]),
            ("mnist-conditional", &[&[28, 28, 1], &[1]]),
            ("letters-failing", &[&[28, 28, 1], &[1]]),
            ("showers", &[&[12, 30, 1], &[1]]),
        ];
        for (name, expected) in expected {
            let recipe = Recipe::named(name).unwrap();
            let networks = outline(recipe.system, &recipe.sizes(), &device).unwrap();
            for (network, expected) in networks.iter().zip(*expected) {
                assert_eq!(network.output().unwrap().dims(), *expected, "{name}");
            }
        }
    }

    #[test]
    fn multiply_adds_are_the_sources() {
        let device = belamy_cpu::cpu();
        let millions = [
            ("pix2pix", [6048.2, 3197.1]),
            ("cyclegan", [49551.5, 3146.8]),
            ("srgan", [1277.7, 884.1]),
            ("cifar-dcgan", [3873.2, 65.0]),
            ("letters-failing", [1.5, 101.3]),
        ];
        for (name, expected) in millions {
            let recipe = Recipe::named(name).unwrap();
            let networks = outline(recipe.system, &recipe.sizes(), &device).unwrap();
            for (network, expected) in networks.iter().zip(expected) {
                let rows = network.table().unwrap();
                let found: u64 = rows.iter().map(|row| row.multiply_adds).sum();
                assert!((found as f64 / 1e6 - expected).abs() < 0.06, "{name}: {found} {expected}");
            }
        }
    }

    #[test]
    fn a_cycle_is_no_pair() {
        let recipe = Recipe::named("cyclegan").unwrap();
        let mut sizes = recipe.sizes();
        (sizes.generator_width, sizes.discriminator_width, sizes.blocks) = (1, 1, 0);
        let error = build(recipe.system, &sizes, &belamy_cpu::cpu(), DType::F32, 1).unwrap_err();
        assert!(error.to_string().contains("4 networks"), "{error}");
    }
}

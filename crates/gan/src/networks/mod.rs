//! The systems' networks, layer for layer as their sources have them.
//!
//! Every framework default is spelled out: Keras (Glorot uniform weights, zero biases, LeakyReLU 0.3, batch norm with
//! decay 0.99, ε 1e-3) and PyTorch (normal weights of deviation 0.02 for DCGAN, LeakyReLU 0.2, batch norm with decay
//! 0.9, ε 1e-5). A discriminator returns logits; where its source ends in a sigmoid the loss has it, fused.

use belamy_nn::layers::shape::Interpolation;
use belamy_nn::layers::{Activation, Padding, RunningVariance};
use belamy_nn::network::Builder;
use belamy_nn::{Initializer, Network};
use belamy_tensor::{DType, Device, Result};
use serde::{Deserialize, Serialize};

/// Which pair of networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum System {
    /// Points in the plane: Kasprowski, `gan0`.
    Sine,
    /// The MLP GAN on MNIST: Bonacorsi, ISGC 2021.
    MnistMlp,
    /// Vertical lines, generator by upsampling: Kasprowski, `gan1`.
    LinesUpsample,
    /// Vertical lines, generator by transposed convolutions: Kasprowski, `gan1`.
    LinesTranspose,
    /// DCGAN on MNIST: the TensorFlow tutorial.
    MnistDcgan,
    /// DCGAN on 64×64 images: pytorch/examples, after Radford et al. (2015).
    Dcgan64,
    /// Conditional DCGAN on 64×64 road signs of four classes: Kasprowski, `lecture7`.
    ConditionalSigns64,
}

impl System {
    /// Whether the system's source counts running statistics among its parameters: Keras' `summary()` does,
    /// PyTorch's usual sum over `parameters()` does not.
    pub fn counts_running_statistics(self) -> bool {
        self != System::Dcgan64
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
    /// DCGAN-64's ngf: channels of the generator's last hidden layer. Other systems have one size.
    pub generator_width: usize,
    /// DCGAN-64's ndf: channels of the discriminator's first layer. Other systems have one size.
    pub discriminator_width: usize,
    /// The discriminator's dropout rate, where it has dropout.
    pub dropout: f64,
    /// Classes of a conditional system.
    pub classes: usize,
}

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

/// The generator and the discriminator of a system, their parameters of type `dtype` on `device`, drawn by `seed`.
pub fn build(
    system: System,
    sizes: &Sizes,
    device: &Device,
    dtype: DType,
    seed: u64,
) -> Result<(Network, Network)> {
    let generator = |input: usize| Builder::new("generator", [input], device, dtype, seed);
    // Another key, so that the two networks' weights are independent.
    let discriminator_seed = seed ^ 0x9E37_79B9_7F4A_7C15;
    let discriminator = |input: &[usize]| -> Result<Builder<'_>> {
        let input = belamy_tensor::Shape::new(input)?;
        Ok(Builder::new("discriminator", input, device, dtype, discriminator_seed))
    };
    let latent = sizes.latent;
    match system {
        System::Sine => {
            Ok((sine_generator(generator(latent))?, sine_discriminator(discriminator(&[2])?)?))
        }
        System::MnistMlp => Ok((
            mlp_generator(generator(latent))?,
            mlp_discriminator(discriminator(&[784])?, sizes.dropout)?,
        )),
        System::LinesUpsample => Ok((
            lines_upsample_generator(generator(latent))?,
            strided_discriminator(discriminator(&[32, 32, 1])?, sizes.dropout)?,
        )),
        System::LinesTranspose => Ok((
            transposed_generator(generator(latent), 8, Activation::Sigmoid)?,
            strided_discriminator(discriminator(&[32, 32, 1])?, sizes.dropout)?,
        )),
        System::MnistDcgan => Ok((
            transposed_generator(generator(latent), 7, Activation::Tanh)?,
            strided_discriminator(discriminator(&[28, 28, 1])?, sizes.dropout)?,
        )),
        System::Dcgan64 => Ok((
            dcgan64_generator(generator(latent), sizes.generator_width)?,
            dcgan64_discriminator(discriminator(&[64, 64, 3])?, sizes.discriminator_width)?,
        )),
        System::ConditionalSigns64 => Ok((
            conditional64_generator(generator(latent), sizes.classes)?,
            conditional64_discriminator(discriminator(&[64, 64, 3])?, sizes)?,
        )),
    }
}

fn sine_generator(builder: Builder<'_>) -> Result<Network> {
    Ok(builder
        .dense(15, GLOROT, ZERO)?
        .activation(Activation::Relu)?
        .dense(2, GLOROT, ZERO)?
        .build())
}

fn sine_discriminator(builder: Builder<'_>) -> Result<Network> {
    Ok(builder
        .dense(25, GLOROT, ZERO)?
        .activation(Activation::Relu)?
        .dense(1, GLOROT, ZERO)?
        .build())
}

fn mlp_generator(mut builder: Builder<'_>) -> Result<Network> {
    for width in [256, 512, 1024] {
        builder = builder.dense(width, GLOROT, ZERO)?.activation(Activation::LeakyRelu(0.2))?;
    }
    Ok(builder.dense(784, GLOROT, ZERO)?.activation(Activation::Tanh)?.build())
}

fn mlp_discriminator(mut builder: Builder<'_>, dropout: f64) -> Result<Network> {
    for width in [1024, 512] {
        builder = builder
            .dense(width, GLOROT, ZERO)?
            .activation(Activation::LeakyRelu(0.2))?
            .dropout(dropout)?;
    }
    let builder = builder.dense(256, GLOROT, ZERO)?.activation(Activation::LeakyRelu(0.2))?;
    Ok(builder.dense(1, GLOROT, ZERO)?.build())
}

/// Dense to 256 channels of `side`², batch norm, leaky relu: how both kinds of lines generator and the TensorFlow
/// tutorial begin.
fn keras_stem(builder: Builder<'_>, side: usize) -> Result<Builder<'_>> {
    let builder = builder.dense(256 * side * side, GLOROT, None)?;
    keras_batch_norm(builder)?.activation(KERAS_LEAKY)?.reshape([side, side, 256])
}

fn lines_upsample_generator(builder: Builder<'_>) -> Result<Network> {
    let mut builder = keras_stem(builder, 8)?;
    for channels in [128, 64] {
        builder = builder.conv2d(channels, 3, 1, Padding::Same, GLOROT, None)?;
        builder = keras_batch_norm(builder)?
            .activation(KERAS_LEAKY)?
            .upsample(2, Interpolation::Nearest)?;
    }
    let builder = builder.conv2d(1, 3, 1, Padding::Same, GLOROT, None)?;
    Ok(builder.activation(Activation::Sigmoid)?.build())
}

/// 256 channels of `side`² through transposed 5×5 convolutions to one channel of (4·side)²: lines and the TensorFlow
/// tutorial.
fn transposed_generator(builder: Builder<'_>, side: usize, last: Activation) -> Result<Network> {
    let mut builder = keras_stem(builder, side)?;
    for (channels, stride) in [(128, 1), (64, 2)] {
        builder = builder.conv_transpose2d(channels, 5, stride, Padding::Same, GLOROT, None)?;
        builder = keras_batch_norm(builder)?.activation(KERAS_LEAKY)?;
    }
    let builder = builder.conv_transpose2d(1, 5, 2, Padding::Same, GLOROT, None)?;
    Ok(builder.activation(last)?.build())
}

/// Two strided 5×5 convolutions and a logit: lines and the TensorFlow tutorial.
fn strided_discriminator(mut builder: Builder<'_>, dropout: f64) -> Result<Network> {
    for channels in [64, 128] {
        builder = builder
            .conv2d(channels, 5, 2, Padding::Same, GLOROT, ZERO)?
            .activation(KERAS_LEAKY)?
            .dropout(dropout)?;
    }
    Ok(builder.flatten()?.dense(1, GLOROT, ZERO)?.build())
}

fn dcgan64_generator(builder: Builder<'_>, width: usize) -> Result<Network> {
    let latent = builder.channels();
    let mut builder = builder.reshape([1, 1, latent])?;
    let blocks = [(8, 1, 0), (4, 2, 1), (2, 2, 1), (1, 2, 1)];
    for (multiple, stride, padding) in blocks {
        let padding = Padding::Zeros(padding);
        builder = builder.conv_transpose2d(multiple * width, 4, stride, padding, DCGAN, None)?;
        builder = dcgan_batch_norm(builder)?.activation(Activation::Relu)?;
    }
    let builder = builder.conv_transpose2d(3, 4, 2, Padding::Zeros(1), DCGAN, None)?;
    Ok(builder.activation(Activation::Tanh)?.build())
}

fn dcgan64_discriminator(mut builder: Builder<'_>, width: usize) -> Result<Network> {
    for multiple in [1, 2, 4, 8] {
        builder = builder.conv2d(multiple * width, 4, 2, Padding::Zeros(1), DCGAN, None)?;
        if multiple > 1 {
            builder = dcgan_batch_norm(builder)?;
        }
        builder = builder.activation(Activation::LeakyRelu(0.2))?;
    }
    Ok(builder.conv2d(1, 4, 1, Padding::Zeros(0), DCGAN, None)?.flatten()?.build())
}

/// Keras starts embeddings uniformly in ±0.05.
const KERAS_EMBEDDING: Initializer = Initializer::Uniform(-0.05, 0.05);

fn conditional64_generator(builder: Builder<'_>, classes: usize) -> Result<Network> {
    let builder = builder.dense(4096, GLOROT, None)?;
    let builder = keras_batch_norm(builder)?.activation(KERAS_LEAKY)?.reshape([8, 8, 64])?;
    let mut builder = builder
        .branch()
        .embedding(classes, 50, KERAS_EMBEDDING)?
        .dense(64, GLOROT, ZERO)?
        .reshape([8, 8, 1])?
        .join()?;
    for channels in [64, 64, 32] {
        builder = builder.conv2d(channels, 3, 1, Padding::Same, GLOROT, None)?;
        builder = keras_batch_norm(builder)?
            .activation(KERAS_LEAKY)?
            .dropout(0.3)?
            .upsample(2, Interpolation::Nearest)?;
    }
    let builder = builder.conv2d(3, 3, 1, Padding::Same, GLOROT, None)?;
    Ok(builder.activation(Activation::Sigmoid)?.build())
}

fn conditional64_discriminator(builder: Builder<'_>, sizes: &Sizes) -> Result<Network> {
    let mut builder = builder
        .branch()
        .embedding(sizes.classes, 50, KERAS_EMBEDDING)?
        .dense(4096, GLOROT, ZERO)?
        .reshape([64, 64, 1])?
        .join()?;
    for channels in [64, 128] {
        builder = builder
            .conv2d(channels, 8, 2, Padding::Same, GLOROT, ZERO)?
            .activation(KERAS_LEAKY)?
            .dropout(sizes.dropout)?;
    }
    Ok(builder.flatten()?.dense(1, GLOROT, ZERO)?.build())
}

//! Digits by dense layers: Bonacorsi (ISGC 2021), and the lecture's example of a collapse.

use super::{GLOROT, ZERO};
use belamy_nn::Network;
use belamy_nn::layers::{Activation, Padding};
use belamy_nn::network::Builder;
use belamy_tensor::Result;

pub(super) fn mlp_generator(mut builder: Builder<'_>) -> Result<Network> {
    for width in [256, 512, 1024] {
        builder = builder.dense(width, GLOROT, ZERO)?.activation(Activation::LeakyRelu(0.2))?;
    }
    Ok(builder.dense(784, GLOROT, ZERO)?.activation(Activation::Tanh)?.build())
}

pub(super) fn mlp_discriminator(mut builder: Builder<'_>, dropout: f64) -> Result<Network> {
    for width in [1024, 512] {
        builder = builder
            .dense(width, GLOROT, ZERO)?
            .activation(Activation::LeakyRelu(0.2))?
            .dropout(dropout)?;
    }
    let builder = builder.dense(256, GLOROT, ZERO)?.activation(Activation::LeakyRelu(0.2))?;
    Ok(builder.dense(1, GLOROT, ZERO)?.build())
}

/// The generator of the collapsing example: the dense one, whose row of pixels becomes an image for convolutions.
pub(super) fn letters_generator(mut builder: Builder<'_>) -> Result<Network> {
    for width in [256, 512, 1024] {
        builder = builder.dense(width, GLOROT, ZERO)?.activation(Activation::LeakyRelu(0.2))?;
    }
    let builder = builder.dense(784, GLOROT, ZERO)?.activation(Activation::Tanh)?;
    Ok(builder.reshape([28, 28, 1])?.build())
}

/// Two convolutions that keep the resolution and 58 million weights behind them, against a generator of 1.5 million.
pub(super) fn letters_failing_discriminator(
    mut builder: Builder<'_>,
    width: usize,
    dropout: f64,
) -> Result<Network> {
    for channels in [width, 2 * width] {
        builder = builder
            .conv2d(channels, 3, 1, Padding::Zeros(0), GLOROT, ZERO)?
            .activation(Activation::LeakyRelu(0.2))?
            .dropout(dropout)?;
    }
    builder = builder.flatten()?;
    for _ in 0..2 {
        builder = builder.dense(784, GLOROT, ZERO)?.activation(Activation::LeakyRelu(0.2))?;
    }
    Ok(builder.dense(1, GLOROT, ZERO)?.build())
}

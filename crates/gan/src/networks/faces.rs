//! DCGAN on faces: keras.io's `dcgan_overriding_train_step` at 64×64, and the lecture's variant at 32×32.

use super::{GLOROT, Sizes, ZERO, variety};
use belamy_nn::Network;
use belamy_nn::layers::{Activation, Padding};
use belamy_nn::network::Builder;
use belamy_tensor::Result;

const LEAKY: Activation = Activation::LeakyRelu(0.2);

/// From 8×8: at 32×32 the last transposed convolution keeps the resolution. `width` is 128 in the source.
pub(super) fn generator(builder: Builder<'_>, width: usize, side: usize) -> Result<Network> {
    let mut builder = builder.dense(64 * width, GLOROT, ZERO)?.reshape([8, 8, width])?;
    for (multiple, stride) in [(1, 2), (2, 2), (4, side / 32)] {
        builder = builder
            .conv_transpose2d(multiple * width, 4, stride, Padding::Same, GLOROT, ZERO)?
            .activation(LEAKY)?;
    }
    let builder = builder.conv2d(3, 5, 1, Padding::Same, GLOROT, ZERO)?;
    Ok(builder.activation(Activation::Sigmoid)?.build())
}

/// The width is 64 in the source.
pub(super) fn discriminator(mut builder: Builder<'_>, sizes: &Sizes) -> Result<Network> {
    let width = sizes.discriminator_width;
    for multiple in [1, 2, 2] {
        builder = builder
            .conv2d(multiple * width, 4, 2, Padding::Same, GLOROT, ZERO)?
            .activation(LEAKY)?;
    }
    Ok(variety(builder, sizes)?.flatten()?.dropout(sizes.dropout)?.dense(1, GLOROT, ZERO)?.build())
}

//! DCGAN on CIFAR-10's images of one class: Chollet, Deep Learning with Python, section 8.5.

use super::{GLOROT, KERAS_LEAKY, Sizes, ZERO, variety};
use belamy_nn::Network;
use belamy_nn::layers::{Activation, Padding};
use belamy_nn::network::Builder;
use belamy_tensor::Result;

/// `width` is 256 in the book.
pub(super) fn generator(builder: Builder<'_>, width: usize) -> Result<Network> {
    let mut builder = builder
        .dense(128 * 16 * 16, GLOROT, ZERO)?
        .activation(KERAS_LEAKY)?
        .reshape([16, 16, 128])?
        .conv2d(width, 5, 1, Padding::Same, GLOROT, ZERO)?
        .activation(KERAS_LEAKY)?
        .conv_transpose2d(width, 4, 2, Padding::Same, GLOROT, ZERO)?
        .activation(KERAS_LEAKY)?;
    for _ in 0..2 {
        builder =
            builder.conv2d(width, 5, 1, Padding::Same, GLOROT, ZERO)?.activation(KERAS_LEAKY)?;
    }
    let builder = builder.conv2d(3, 7, 1, Padding::Same, GLOROT, ZERO)?;
    Ok(builder.activation(Activation::Tanh)?.build())
}

/// The width is 128 in the book.
pub(super) fn discriminator(mut builder: Builder<'_>, sizes: &Sizes) -> Result<Network> {
    let width = sizes.discriminator_width;
    for (kernel, stride) in [(3, 1), (4, 2), (4, 2), (4, 2)] {
        builder = builder
            .conv2d(width, kernel, stride, Padding::Zeros(0), GLOROT, ZERO)?
            .activation(KERAS_LEAKY)?;
    }
    Ok(variety(builder, sizes)?.flatten()?.dropout(sizes.dropout)?.dense(1, GLOROT, ZERO)?.build())
}

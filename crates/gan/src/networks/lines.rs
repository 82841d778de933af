//! Grey images by a stem and two enlargements: lines and road signs (Kasprowski, `gan1` and `gan2`), and DCGAN on
//! MNIST (the TensorFlow tutorial).

use super::{GLOROT, KERAS_LEAKY, Sizes, ZERO, keras_batch_norm, variety};
use belamy_nn::Network;
use belamy_nn::layers::shape::Interpolation;
use belamy_nn::layers::{Activation, Padding};
use belamy_nn::network::Builder;
use belamy_tensor::Result;

/// Dense to 256 channels of `side`², batch norm, leaky relu: how both kinds of lines generator and the TensorFlow
/// tutorial begin.
pub(super) fn keras_stem(builder: Builder<'_>, side: usize) -> Result<Builder<'_>> {
    let builder = builder.dense(256 * side * side, GLOROT, None)?;
    keras_batch_norm(builder)?.activation(KERAS_LEAKY)?.reshape([side, side, 256])
}

pub(super) fn lines_upsample_generator(builder: Builder<'_>) -> Result<Network> {
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
pub(super) fn transposed_generator(
    builder: Builder<'_>,
    side: usize,
    last: Activation,
) -> Result<Network> {
    let mut builder = keras_stem(builder, side)?;
    for (channels, stride) in [(128, 1), (64, 2)] {
        builder = builder.conv_transpose2d(channels, 5, stride, Padding::Same, GLOROT, None)?;
        builder = keras_batch_norm(builder)?.activation(KERAS_LEAKY)?;
    }
    let builder = builder.conv_transpose2d(1, 5, 2, Padding::Same, GLOROT, None)?;
    Ok(builder.activation(last)?.build())
}

/// Two strided 5×5 convolutions and a logit: lines and the TensorFlow tutorial.
pub(super) fn strided_discriminator(mut builder: Builder<'_>, sizes: &Sizes) -> Result<Network> {
    for channels in [64, 128] {
        builder = builder
            .conv2d(channels, 5, 2, Padding::Same, GLOROT, ZERO)?
            .activation(KERAS_LEAKY)?
            .dropout(sizes.dropout)?;
    }
    Ok(variety(builder, sizes)?.flatten()?.dense(1, GLOROT, ZERO)?.build())
}

//! Conditional DCGANs of Kasprowski's `lecture7`: a label becomes one more plane of the image.

use super::lines::keras_stem;
use super::{GLOROT, KERAS_LEAKY, Sizes, ZERO, keras_batch_norm, variety};
use belamy_nn::layers::shape::Interpolation;
use belamy_nn::layers::{Activation, Padding};
use belamy_nn::network::Builder;
use belamy_nn::{Initializer, Network};
use belamy_tensor::Result;

/// Keras starts embeddings uniformly in ±0.05.
const KERAS_EMBEDDING: Initializer = Initializer::Uniform(-0.05, 0.05);

/// Joins a plane of `side`² that a label decides.
fn label_plane(builder: Builder<'_>, classes: usize, side: usize) -> Result<Builder<'_>> {
    builder
        .branch()
        .embedding(classes, 50, KERAS_EMBEDDING)?
        .dense(side * side, GLOROT, ZERO)?
        .reshape([side, side, 1])?
        .join()
}

/// Tells a discriminator the label, unless it is to name it.
fn told<'a>(builder: Builder<'a>, sizes: &Sizes, side: usize) -> Result<Builder<'a>> {
    if sizes.auxiliary { Ok(builder) } else { label_plane(builder, sizes.classes, side) }
}

/// A discriminator's answers: whether a sample is real, then a logit for each class if it is to name it.
fn answers(sizes: &Sizes) -> usize {
    1 + if sizes.auxiliary { sizes.classes } else { 0 }
}

/// One channel of `side`², which 4 divides: 32 in the lecture, 28 for digits.
pub(super) fn grey_generator(builder: Builder<'_>, classes: usize, side: usize) -> Result<Network> {
    let builder = keras_stem(builder, side / 4)?;
    let mut builder = label_plane(builder, classes, side / 4)?;
    for channels in [128, 64] {
        builder = builder.conv2d(channels, 3, 1, Padding::Same, GLOROT, None)?;
        builder = keras_batch_norm(builder)?
            .activation(KERAS_LEAKY)?
            .upsample(2, Interpolation::Nearest)?;
    }
    let builder = builder.conv2d(1, 3, 1, Padding::Same, GLOROT, None)?;
    Ok(builder.activation(Activation::Sigmoid)?.build())
}

pub(super) fn grey_discriminator(builder: Builder<'_>, sizes: &Sizes) -> Result<Network> {
    let mut builder = told(builder, sizes, sizes.side)?;
    for channels in [64, 128] {
        builder = builder
            .conv2d(channels, 5, 2, Padding::Same, GLOROT, ZERO)?
            .activation(KERAS_LEAKY)?
            .dropout(sizes.dropout)?;
    }
    Ok(variety(builder, sizes)?.flatten()?.dense(answers(sizes), GLOROT, ZERO)?.build())
}

pub(super) fn colour64_generator(builder: Builder<'_>, classes: usize) -> Result<Network> {
    let builder = builder.dense(4096, GLOROT, None)?;
    let builder = keras_batch_norm(builder)?.activation(KERAS_LEAKY)?.reshape([8, 8, 64])?;
    let mut builder = label_plane(builder, classes, 8)?;
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

pub(super) fn colour64_discriminator(builder: Builder<'_>, sizes: &Sizes) -> Result<Network> {
    let mut builder = told(builder, sizes, 64)?;
    for channels in [64, 128] {
        builder = builder
            .conv2d(channels, 8, 2, Padding::Same, GLOROT, ZERO)?
            .activation(KERAS_LEAKY)?
            .dropout(sizes.dropout)?;
    }
    Ok(variety(builder, sizes)?.flatten()?.dense(answers(sizes), GLOROT, ZERO)?.build())
}

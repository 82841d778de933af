//! CycleGAN (Zhu et al., 2017) as junyanz/pytorch-CycleGAN-and-pix2pix has it: a residual generator, and a
//! discriminator of patches. Instance norm has no weights; convolutions have biases.

use super::{DCGAN, ZERO};
use belamy_nn::Network;
use belamy_nn::layers::{Activation, Join, Padding};
use belamy_nn::network::Builder;
use belamy_tensor::Result;

fn norm_relu(builder: Builder<'_>) -> Result<Builder<'_>> {
    builder.instance_norm(1e-5, false)?.activation(Activation::Relu)
}

/// A 3×3 convolution that keeps the shape.
fn mirrored_convolution(builder: Builder<'_>) -> Result<Builder<'_>> {
    let channels = builder.channels();
    builder.reflect_pad(1)?.conv2d(channels, 3, 1, Padding::Zeros(0), DCGAN, ZERO)
}

/// c7s1-64, d128, d256, `blocks` times R256, u128, u64, c7s1-3 for `width` 64.
pub(super) fn generator(
    builder: Builder<'_>,
    width: usize,
    blocks: usize,
    outputs: usize,
) -> Result<Network> {
    let builder = builder.reflect_pad(3)?.conv2d(width, 7, 1, Padding::Zeros(0), DCGAN, ZERO)?;
    let mut builder = norm_relu(builder)?;
    for multiple in [2, 4] {
        builder = builder.conv2d(multiple * width, 3, 2, Padding::Zeros(1), DCGAN, ZERO)?;
        builder = norm_relu(builder)?;
    }
    for _ in 0..blocks {
        builder = builder.skip(Join::Add, |inside| {
            let inside = norm_relu(mirrored_convolution(inside)?)?;
            mirrored_convolution(inside)?.instance_norm(1e-5, false)
        })?;
    }
    for multiple in [2, 1] {
        let padding = Padding::Open { zeros: 1, open: 1 };
        builder = builder.conv_transpose2d(multiple * width, 3, 2, padding, DCGAN, ZERO)?;
        builder = norm_relu(builder)?;
    }
    let builder = builder.reflect_pad(3)?.conv2d(outputs, 7, 1, Padding::Zeros(0), DCGAN, ZERO)?;
    Ok(builder.activation(Activation::Tanh)?.build())
}

/// A logit for each patch of 70×70.
pub(super) fn discriminator(mut builder: Builder<'_>, width: usize) -> Result<Network> {
    for (multiple, stride) in [(1, 2), (2, 2), (4, 2), (8, 1)] {
        builder = builder.conv2d(multiple * width, 4, stride, Padding::Zeros(1), DCGAN, ZERO)?;
        if multiple > 1 {
            builder = builder.instance_norm(1e-5, false)?;
        }
        builder = builder.activation(Activation::LeakyRelu(0.2))?;
    }
    Ok(builder.conv2d(1, 4, 1, Padding::Zeros(1), DCGAN, ZERO)?.build())
}

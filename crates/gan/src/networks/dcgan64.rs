//! DCGAN on 64×64 images: pytorch/examples, after Radford et al. (2015).

use super::{DCGAN, Sizes, dcgan_batch_norm, variety};
use belamy_nn::Network;
use belamy_nn::layers::{Activation, Padding};
use belamy_nn::network::Builder;
use belamy_tensor::Result;

pub(super) fn dcgan64_generator(builder: Builder<'_>, width: usize) -> Result<Network> {
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

pub(super) fn dcgan64_discriminator(mut builder: Builder<'_>, sizes: &Sizes) -> Result<Network> {
    let width = sizes.discriminator_width;
    for multiple in [1, 2, 4, 8] {
        builder = builder.conv2d(multiple * width, 4, 2, Padding::Zeros(1), DCGAN, None)?;
        if multiple > 1 {
            builder = dcgan_batch_norm(builder)?;
        }
        builder = builder.activation(Activation::LeakyRelu(0.2))?;
    }
    let builder = variety(builder, sizes)?;
    Ok(builder.conv2d(1, 4, 1, Padding::Zeros(0), DCGAN, None)?.flatten()?.build())
}

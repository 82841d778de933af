//! Calorimeter showers by dense layers, conditioned on the incident energy: a CaloGAN (Paganini et al., 2018) reduced to
//! its idea. A share of the incident energy, voxel by voxel, is what both networks speak of.

use super::{GLOROT, Sizes, ZERO};
use crate::data::showers::{LAYERS, VOXELS_A_LAYER};
use belamy_nn::layers::Activation;
use belamy_nn::network::Builder;
use belamy_nn::{Initializer, Network};
use belamy_tensor::Result;

/// Numbers that stand for an incident energy.
const FEATURES: usize = 16;
const LEAKY: Activation = Activation::LeakyRelu(0.2);

/// Joins what stands for the incident energy.
fn energy(builder: Builder<'_>, classes: usize) -> Result<Builder<'_>> {
    builder.branch().embedding(classes, FEATURES, Initializer::Normal(0.0, 1.0))?.join()
}

pub(super) fn generator(builder: Builder<'_>, sizes: &Sizes) -> Result<Network> {
    let mut builder = energy(builder, sizes.classes)?;
    for width in [1, 2, 4] {
        builder = builder.dense(width * sizes.generator_width, GLOROT, ZERO)?.activation(LEAKY)?;
    }
    // Most voxels are almost empty.
    let empty = Some(Initializer::Constant(-3.0));
    let builder = builder.dense(LAYERS * VOXELS_A_LAYER, GLOROT, empty)?;
    let builder = builder.activation(Activation::Sigmoid)?;
    Ok(builder.reshape([LAYERS, VOXELS_A_LAYER, 1])?.build())
}

pub(super) fn discriminator(builder: Builder<'_>, sizes: &Sizes) -> Result<Network> {
    let mut builder = energy(builder.flatten()?, sizes.classes)?;
    for width in [4, 2, 1] {
        builder =
            builder.dense(width * sizes.discriminator_width, GLOROT, ZERO)?.activation(LEAKY)?;
    }
    Ok(builder.dense(1, GLOROT, ZERO)?.build())
}

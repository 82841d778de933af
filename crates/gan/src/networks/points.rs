//! Points in the plane: Kasprowski, `gan0`.

use super::{GLOROT, ZERO};
use belamy_nn::Network;
use belamy_nn::layers::Activation;
use belamy_nn::network::Builder;
use belamy_tensor::Result;

pub(super) fn sine_generator(builder: Builder<'_>) -> Result<Network> {
    Ok(builder
        .dense(15, GLOROT, ZERO)?
        .activation(Activation::Relu)?
        .dense(2, GLOROT, ZERO)?
        .build())
}

pub(super) fn sine_discriminator(builder: Builder<'_>) -> Result<Network> {
    Ok(builder
        .dense(25, GLOROT, ZERO)?
        .activation(Activation::Relu)?
        .dense(1, GLOROT, ZERO)?
        .build())
}

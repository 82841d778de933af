//! pix2pix (Isola et al., 2017) as the TensorFlow tutorial has it: a U-Net, and a discriminator of patches.
//!
//! ```text
//! down i    conv 4×4 stride 2 → batch norm (not the first) → leaky relu 0.3      width · min(2^i, 8) channels
//! up        transposed conv 4×4 stride 2 → batch norm → dropout (the three innermost) → relu
//! level i   x ↦ [up(level i+1(down i+1(x))), x]                                   down to 1×1
//! ```

use super::{DCGAN, KERAS_LEAKY, ZERO, keras_batch_norm};
use belamy_nn::Network;
use belamy_nn::layers::{Activation, Join, Padding};
use belamy_nn::network::Builder;
use belamy_tensor::{Error, Result};

/// Channels of level `level` of a U-Net of `width`.
fn channels(width: usize, level: usize) -> usize {
    width * (1 << level.min(3))
}

fn down(builder: Builder<'_>, channels: usize, normalised: bool) -> Result<Builder<'_>> {
    let builder = builder.conv2d(channels, 4, 2, Padding::Same, DCGAN, None)?;
    let builder = if normalised { keras_batch_norm(builder)? } else { builder };
    builder.activation(KERAS_LEAKY)
}

/// All that lies below level `level` of `levels`, and a way around it.
fn below(
    builder: Builder<'_>,
    width: usize,
    level: usize,
    levels: usize,
    dropout: f64,
) -> Result<Builder<'_>> {
    builder.skip(Join::InputLast, |inside| {
        let mut inside = down(inside, channels(width, level + 1), true)?;
        if level + 2 < levels {
            inside = below(inside, width, level + 1, levels, dropout)?;
        }
        let inside =
            inside.conv_transpose2d(channels(width, level), 4, 2, Padding::Same, DCGAN, None)?;
        let mut inside = keras_batch_norm(inside)?;
        if levels - level < 5 {
            inside = inside.dropout(dropout)?;
        }
        inside.activation(Activation::Relu)
    })
}

/// A U-Net of images of `side`², a power of two from 4 on, to `outputs` channels.
pub(super) fn generator(
    builder: Builder<'_>,
    width: usize,
    side: usize,
    outputs: usize,
    dropout: f64,
) -> Result<Network> {
    if !side.is_power_of_two() || side < 4 {
        let message = format!("its side must be a power of two from 4 on, not {side}");
        return Err(Error::argument("u-net", message));
    }
    let levels = side.ilog2() as usize;
    let builder = down(builder, channels(width, 0), false)?;
    let builder = below(builder, width, 0, levels, dropout)?;
    let builder = builder.conv_transpose2d(outputs, 4, 2, Padding::Same, DCGAN, ZERO)?;
    Ok(builder.activation(Activation::Tanh)?.build())
}

/// A logit for each patch of 70×70 of an input and a target side by side in channels.
pub(super) fn discriminator(builder: Builder<'_>, width: usize) -> Result<Network> {
    let mut builder = down(builder, width, false)?;
    for level in [1, 2] {
        builder = down(builder, channels(width, level), true)?;
    }
    // The source pads with zeros in a layer of its own.
    let builder = builder.conv2d(channels(width, 3), 4, 1, Padding::Zeros(1), DCGAN, None)?;
    let builder = keras_batch_norm(builder)?.activation(KERAS_LEAKY)?;
    Ok(builder.conv2d(1, 4, 1, Padding::Zeros(1), DCGAN, ZERO)?.build())
}

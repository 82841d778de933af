//! SRResNet and SRGAN, four times the resolution: Ledig et al. (2017), with PyTorch's defaults.

use super::ONE;
use belamy_nn::layers::{Activation, Join, Padding, RunningVariance};
use belamy_nn::network::Builder;
use belamy_nn::{Initializer, Network};
use belamy_tensor::Result;

/// PyTorch's start of weights and biases.
const PYTORCH: Initializer = Initializer::FanInUniform;
/// PyTorch's start of a PReLU's slope.
const SLOPE: f64 = 0.25;

fn batch_norm(builder: Builder<'_>) -> Result<Builder<'_>> {
    builder.batch_norm(0.9, 1e-5, RunningVariance::Unbiased, ONE)
}

/// A 3×3 convolution that keeps the shape, normalised.
fn convolution(builder: Builder<'_>) -> Result<Builder<'_>> {
    let channels = builder.channels();
    batch_norm(builder.conv2d(channels, 3, 1, Padding::Zeros(1), PYTORCH, None)?)
}

/// `width` 64 and 16 `blocks` in the paper.
pub(super) fn generator(
    builder: Builder<'_>,
    width: usize,
    blocks: usize,
    outputs: usize,
) -> Result<Network> {
    let builder =
        builder.conv2d(width, 9, 1, Padding::Zeros(4), PYTORCH, Some(PYTORCH))?.prelu(SLOPE)?;
    let mut builder = builder.skip(Join::Add, |mut inside| {
        for _ in 0..blocks {
            inside =
                inside.skip(Join::Add, |block| convolution(convolution(block)?.prelu(SLOPE)?))?;
        }
        convolution(inside)
    })?;
    for _ in 0..2 {
        builder = builder
            .conv2d(4 * width, 3, 1, Padding::Zeros(1), PYTORCH, Some(PYTORCH))?
            .pixel_shuffle(2)?
            .prelu(SLOPE)?;
    }
    Ok(builder.conv2d(outputs, 9, 1, Padding::Zeros(4), PYTORCH, Some(PYTORCH))?.build())
}

/// `width` 64 in the paper: eight convolutions, every second one halves the image.
pub(super) fn discriminator(mut builder: Builder<'_>, width: usize) -> Result<Network> {
    let leaky = Activation::LeakyRelu(0.2);
    for (index, multiple) in [1, 1, 2, 2, 4, 4, 8, 8].into_iter().enumerate() {
        let (stride, bias) = (1 + index % 2, (index == 0).then_some(PYTORCH));
        builder = builder.conv2d(multiple * width, 3, stride, Padding::Zeros(1), PYTORCH, bias)?;
        if index > 0 {
            builder = batch_norm(builder)?;
        }
        builder = builder.activation(leaky)?;
    }
    builder = builder.flatten()?.dense(16 * width, PYTORCH, Some(PYTORCH))?.activation(leaky)?;
    Ok(builder.dense(1, PYTORCH, Some(PYTORCH))?.build())
}

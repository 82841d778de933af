//! Trading channels for resolution.
//!
//! ```text
//! pixel_shuffle     y[n, h·r + i, w·r + j, c] = x[n, h, w, (c·r + i)·r + j]
//! pixel_unshuffle   the way back
//!
//! x: [N, H, W, C·r²]    y: [N, H·r, W·r, C]
//! ```
//!
//! A change of view and one permutation of six axes, `[N, H, W, C, r, r]` to `[N, H, r, W, r, C]`: no kernel of its
//! own, and the derivative is that of [`Tensor::permute`]. PyTorch's channel order. Linear; the two are inverse and
//! adjoint. Numbers of any type. Cost: one pass over each operand.

use crate::error::{Error, Result};
use crate::{Shape, Tensor};

/// `x: [N, H, W, C·factor²]` to `[N, H·factor, W·factor, C]`. Fails unless `factor²` divides the channels.
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::{Tensor, ops::pixel_shuffle::pixel_shuffle};
/// let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [1, 1, 1, 4], &device)?;
/// let y = pixel_shuffle(&x, 2)?;
/// assert_eq!(y.dims(), [1, 2, 2, 1]);
/// assert_eq!(y.to_vec::<f32>()?, [1.0, 2.0, 3.0, 4.0]);
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
#[track_caller]
pub fn pixel_shuffle(x: &Tensor, factor: usize) -> Result<Tensor> {
    let refuse = |rule: String| Err(Error::shape("pixel_shuffle", &[x.shape()], rule));
    let &[n, h, w, channels] = x.dims() else {
        return refuse("wants an image [N, H, W, C·factor²]".into());
    };
    let c = match factor.checked_mul(factor) {
        Some(square) if square > 0 && channels % square == 0 => channels / square,
        _ => return refuse(format!("the square of factor {factor} must divide the channels")),
    };
    let (Some(tall), Some(wide)) = (h.checked_mul(factor), w.checked_mul(factor)) else {
        return refuse(format!("factor {factor} makes too large an image"));
    };
    let output = Shape::new(&[n, tall, wide, c])?;
    x.reshape(Shape::new(&[n, h, w, c, factor, factor])?)?
        .permute(&[0, 1, 4, 2, 5, 3])?
        .reshape(output)
}

/// `x: [N, H·factor, W·factor, C]` to `[N, H, W, C·factor²]`: the inverse and adjoint of [`pixel_shuffle`]. Fails unless
/// `factor` divides both sides of the image.
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::{Tensor, ops::pixel_shuffle::pixel_unshuffle};
/// let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [1, 2, 2, 1], &device)?;
/// assert_eq!(pixel_unshuffle(&x, 2)?.dims(), [1, 1, 1, 4]);
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
#[track_caller]
pub fn pixel_unshuffle(x: &Tensor, factor: usize) -> Result<Tensor> {
    let refuse = |rule: String| Err(Error::shape("pixel_unshuffle", &[x.shape()], rule));
    let &[n, tall, wide, c] = x.dims() else {
        return refuse("wants an image [N, H·factor, W·factor, C]".into());
    };
    if factor == 0 || tall % factor != 0 || wide % factor != 0 {
        return refuse(format!("factor {factor} must divide both sides of the image"));
    }
    let Some(channels) = factor.checked_mul(factor).and_then(|square| square.checked_mul(c)) else {
        return refuse(format!("factor {factor} makes too many channels"));
    };
    let (h, w) = (tall / factor, wide / factor);
    let output = Shape::new(&[n, h, w, channels])?;
    x.reshape(Shape::new(&[n, h, factor, w, factor, c])?)?
        .permute(&[0, 1, 3, 5, 2, 4])?
        .reshape(output)
}

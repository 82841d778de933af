//! Resizing an image's plane: nearest and bilinear, each with its adjoint.
//!
//! ```text
//! resize_nearest         y[n, oh, ow, c] = x[n, ⌊oh·H/OH⌋, ⌊ow·W/OW⌋, c]
//! resize_nearest_fold    x[n, ih, iw, c] = Σ y[n, oh, ow, c] over the outputs that copy pixel (ih, iw)
//!
//! resize_bilinear        y[n, oh, ow, c] = Σ_ih Σ_iw weight_h(oh, ih) weight_w(ow, iw) x[n, ih, iw, c]
//! resize_bilinear_fold   x[n, ih, iw, c] = Σ_oh Σ_ow weight_h(oh, ih) weight_w(ow, iw) y[n, oh, ow, c]
//!   along a side:  source(o) = o·(in−1)/(out−1)                      with align_corners (0 where out = 1)
//!                            = max(0, (o + ½)·in/out − ½)            without: pixels are squares, not points
//!                  f = source − ⌊source⌋;  weight(o, i) = (i = ⌊source⌋)·(1−f) + (i = min(⌊source⌋+1, in−1))·f
//!
//! x: [N, H, W, C]    y: [N, OH, OW, C]
//! ```
//!
//! PyTorch's semantics, without antialiasing; Keras' `UpSampling2D` is the nearest rule at an integer factor. Sources
//! are found in integers as quotient and remainder, so every backend, and the fold, agrees on them exactly. (PyTorch
//! multiplies by an f32 ratio instead, which puts a few outputs of non-integer ratios one pixel earlier.)
//!
//! Each pair is linear and adjoint. One invocation owns one output element; a fold's pixel sums over the contiguous
//! range of outputs whose sources lie within one pixel of it. Cost: nearest none, its fold N·OH·OW·C; bilinear and its
//! fold 8·N·OH·OW·C operations; each operand moved once.

use crate::autograd::Backward;
use crate::device::Meta;
use crate::error::{Error, Result};
use crate::kernel::KernelId;
use crate::op::{self, Launch, Op};
use crate::{Shape, Tensor};

crate::kernel_params! {
    /// Parameters of the family's kernels: the image is `[batch, in_height, in_width, channels]`, the resized one
    /// `[batch, out_height, out_width, channels]`, whichever of them a kernel reads. `align_corners` is 1 or 0, and
    /// only the bilinear kernels read it.
    pub struct ResizeParams {
        integers {
            batch: u32, in_height: u32, in_width: u32, channels: u32, out_height: u32, out_width: u32,
            align_corners: u32,
        }
        scalars {}
    }
}

/// The shape with its plane replaced, or why it cannot be resized (in either direction).
fn resized(op: &'static str, image: Shape, size: [usize; 2]) -> Result<Shape> {
    let &[n, h, w, c] = image.dims() else {
        return Err(Error::shape(op, &[image], "wants an image [N, H, W, C]"));
    };
    if h * w == 0 || size.contains(&0) {
        let rule = format!("to {size:?}: neither plane may be empty");
        return Err(Error::shape(op, &[image], rule));
    }
    // Kernels form 2·in·out in 32 bits.
    let fits = |from: usize, to: usize| {
        from.checked_mul(to).is_some_and(|product| product <= u32::MAX as usize / 2)
    };
    if !fits(h, size[0]) || !fits(w, size[1]) {
        let rule = format!("to {size:?}: old times new extent of a side must be below 2³¹");
        return Err(Error::shape(op, &[image], rule));
    }
    Shape::new(&[n, size[0], size[1], c])
}

fn launch(kernel: KernelId, image: Shape, output: Shape, align_corners: bool) -> Launch {
    let (&[n, h, w, c], &[_, oh, ow, _]) = (image.dims(), output.dims()) else {
        unreachable!("infer accepted images only")
    };
    let params = ResizeParams {
        batch: n as u32,
        in_height: h as u32,
        in_width: w as u32,
        channels: c as u32,
        out_height: oh as u32,
        out_width: ow as u32,
        align_corners: u32::from(align_corners),
    };
    Launch::Kernel(kernel, params.encode())
}

/// Height and width of an image that `infer` accepted.
fn sides(image: &Tensor) -> [usize; 2] {
    [image.dims()[1], image.dims()[2]]
}

#[derive(Debug, Clone, Copy)]
struct ResizeNearest {
    size: [usize; 2],
}

impl Op for ResizeNearest {
    fn name(&self) -> &'static str {
        "resize_nearest"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let shape = resized(self.name(), inputs[0].shape, self.size)?;
        Ok(Meta { shape, dtype: inputs[0].dtype })
    }

    fn launch(&self, inputs: &[Meta], output: Meta) -> Launch {
        launch(KernelId::resize_nearest, inputs[0].shape, output.shape, false)
    }

    fn reads_input(&self, _index: usize, _tracked: &[bool]) -> bool {
        false
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(resize_nearest_fold(cx.grad, sides(&cx.inputs[0]))?)])
    }

    fn flop(&self, _inputs: &[Meta], _output: Meta) -> u64 {
        0
    }
}

#[derive(Debug, Clone, Copy)]
struct ResizeNearestFold {
    image: [usize; 2],
}

impl Op for ResizeNearestFold {
    fn name(&self) -> &'static str {
        "resize_nearest_fold"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let dtype = op::same_float(self.name(), inputs)?;
        Ok(Meta { shape: resized(self.name(), inputs[0].shape, self.image)?, dtype })
    }

    fn launch(&self, inputs: &[Meta], image: Meta) -> Launch {
        launch(KernelId::resize_nearest_fold, image.shape, inputs[0].shape, false)
    }

    fn reads_input(&self, _index: usize, _tracked: &[bool]) -> bool {
        false
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(resize_nearest(cx.grad, sides(&cx.inputs[0]))?)])
    }

    fn flop(&self, inputs: &[Meta], _image: Meta) -> u64 {
        inputs[0].shape.elements() as u64
    }
}

#[derive(Debug, Clone, Copy)]
struct ResizeBilinear {
    size: [usize; 2],
    align_corners: bool,
}

impl Op for ResizeBilinear {
    fn name(&self) -> &'static str {
        "resize_bilinear"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let dtype = op::same_float(self.name(), inputs)?;
        Ok(Meta { shape: resized(self.name(), inputs[0].shape, self.size)?, dtype })
    }

    fn launch(&self, inputs: &[Meta], output: Meta) -> Launch {
        launch(KernelId::resize_bilinear, inputs[0].shape, output.shape, self.align_corners)
    }

    fn reads_input(&self, _index: usize, _tracked: &[bool]) -> bool {
        false
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let image = sides(&cx.inputs[0]);
        Ok(vec![Some(resize_bilinear_fold(cx.grad, image, self.align_corners)?)])
    }

    fn flop(&self, _inputs: &[Meta], output: Meta) -> u64 {
        8 * output.shape.elements() as u64
    }
}

#[derive(Debug, Clone, Copy)]
struct ResizeBilinearFold {
    image: [usize; 2],
    align_corners: bool,
}

impl Op for ResizeBilinearFold {
    fn name(&self) -> &'static str {
        "resize_bilinear_fold"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let dtype = op::same_float(self.name(), inputs)?;
        Ok(Meta { shape: resized(self.name(), inputs[0].shape, self.image)?, dtype })
    }

    fn launch(&self, inputs: &[Meta], image: Meta) -> Launch {
        launch(KernelId::resize_bilinear_fold, image.shape, inputs[0].shape, self.align_corners)
    }

    fn reads_input(&self, _index: usize, _tracked: &[bool]) -> bool {
        false
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let size = sides(&cx.inputs[0]);
        Ok(vec![Some(resize_bilinear(cx.grad, size, self.align_corners)?)])
    }

    fn flop(&self, inputs: &[Meta], _image: Meta) -> u64 {
        8 * inputs[0].shape.elements() as u64
    }
}

/// The nearest pixel above and to the left: `x: [N, H, W, C]`, of any type, to `[N, size[0], size[1], C]`, larger or
/// smaller. Fails when either plane is empty.
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::{Tensor, ops::resize::resize_nearest};
/// let x = Tensor::from_slice(&[1.0f32, 2.0], [1, 1, 2, 1], &device)?;
/// let y = resize_nearest(&x, [2, 4])?; // Keras' UpSampling2D(2)
/// assert_eq!(y.to_vec::<f32>()?, [1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0]);
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
#[track_caller]
pub fn resize_nearest(x: &Tensor, size: [usize; 2]) -> Result<Tensor> {
    op::apply(ResizeNearest { size }, &[x])
}

/// The adjoint of [`resize_nearest`]: `g: [N, OH, OW, C]` summed into an image `[N, image[0], image[1], C]`, each element
/// where it would have been copied from. Fails when either plane is empty.
#[track_caller]
pub fn resize_nearest_fold(g: &Tensor, image: [usize; 2]) -> Result<Tensor> {
    op::apply(ResizeNearestFold { image }, &[g])
}

/// Between the four pixels around each source: `x: [N, H, W, C]` to `[N, size[0], size[1], C]`, larger or smaller.
///
/// `align_corners` as PyTorch means it: true maps corner pixels' centres onto each other, false the planes' edges.
/// Fails when either plane is empty.
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::{Tensor, ops::resize::resize_bilinear};
/// let x = Tensor::from_slice(&[0.0f32, 4.0], [1, 1, 2, 1], &device)?;
/// assert_eq!(resize_bilinear(&x, [1, 4], false)?.to_vec::<f32>()?, [0.0, 1.0, 3.0, 4.0]);
/// assert_eq!(resize_bilinear(&x, [1, 5], true)?.to_vec::<f32>()?, [0.0, 1.0, 2.0, 3.0, 4.0]);
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
#[track_caller]
pub fn resize_bilinear(x: &Tensor, size: [usize; 2], align_corners: bool) -> Result<Tensor> {
    op::apply(ResizeBilinear { size, align_corners }, &[x])
}

/// The adjoint of [`resize_bilinear`]: `g: [N, OH, OW, C]` summed into an image `[N, image[0], image[1], C]` with the same
/// weights. Fails when either plane is empty.
#[track_caller]
pub fn resize_bilinear_fold(g: &Tensor, image: [usize; 2], align_corners: bool) -> Result<Tensor> {
    op::apply(ResizeBilinearFold { image, align_corners }, &[g])
}

//! Pooling: the mean or the maximum of each window of an image's plane.
//!
//! ```text
//! tap (kh, kw) of window (oh, ow) lies on ih = oh·stride_height − padding_top  + kh·dilation_height
//!                                         iw = ow·stride_width  − padding_left + kw·dilation_width
//!
//! avg_pool2d          y[n, oh, ow, c] = Σ_taps x[n, ih, iw, c] / count        (taps outside the image are 0)
//! avg_pool2d_spread   x[n, ih, iw, c] = Σ_windows over the pixel y[n, oh, ow, c] / count
//!   with count = KH·KW, or, without count_include_pad, the taps of that window that are inside the image
//!
//! max_pool2d          y[n, oh, ow, c] = max_taps x[n, ih, iw, c]              (taps outside the image never win)
//!                     index[n, oh, ow, c] = ih·W + iw of the first largest, or of the first NaN
//! max_pool2d_pick     y[n, oh, ow, c] = x[n, index / W, index % W, c]         (0 where that is no tap of the window)
//! max_pool2d_place    x[n, ih, iw, c] = Σ_windows over the pixel (index[n, oh, ow, c] == ih·W + iw) y[n, oh, ow, c]
//!
//! x: [N, H, W, C]    y, index: [N, OH, OW, C]
//! ```
//!
//! avg_pool2d ↔ avg_pool2d_spread and max_pool2d_pick ↔ max_pool2d_place are linear and each other's adjoints; the
//! derivative of max_pool2d is place at the saved index. One invocation owns one output element (for max_pool2d a
//! value and its index) and gathers it: a pixel looks through the windows that lie over it, so overlaps add without
//! atomics. Cost: N·OH·OW·C·KH·KW operations (pick: none); each operand moved once.

use crate::autograd::Backward;
use crate::device::Meta;
use crate::error::{Error, Result};
use crate::kernel::KernelId;
use crate::op::{self, Launch, Op};
use crate::ops::conv2d::Window;
use crate::{DType, Shape, Tensor};

crate::kernel_params! {
    /// Parameters of the family's kernels; names as in the file's header. `count_include_pad` is 1 or 0, and only
    /// the averages read it.
    pub struct Pool2dParams {
        integers {
            batch: u32, in_height: u32, in_width: u32, channels: u32, out_height: u32, out_width: u32,
            kernel_height: u32, kernel_width: u32, stride_height: u32, stride_width: u32,
            padding_top: u32, padding_left: u32, dilation_height: u32, dilation_width: u32,
            count_include_pad: u32,
        }
        scalars {}
    }
}

/// What all pools share: the window, and whether each must see at least one pixel.
#[derive(Debug, Clone, Copy)]
struct Pool {
    kernel: [usize; 2],
    window: Window,
    /// For averages: whether padding counts. A maximum and a mean over pixels alone need a pixel in each window.
    count_include_pad: bool,
}

impl Pool {
    /// The shape of the pooled image, or why there is none.
    fn output(&self, op: &'static str, image: Shape) -> Result<Shape> {
        let Pool { kernel, window, .. } = self;
        // Bounds that keep every coordinate of the kernels within 32 bits.
        let limit = u32::MAX as usize / 4;
        let fits = |value: usize| (1..=limit).contains(&value);
        let steps = [window.stride.0, window.stride.1, window.dilation.0, window.dilation.1];
        if !steps.into_iter().chain(*kernel).all(fits) {
            let message = format!(
                "{kernel:?} with {window:?}: kernel, strides and dilations must be at least 1"
            );
            return Err(Error::argument(op, message));
        }
        if window.groups != 1 {
            let message =
                format!("a pool keeps channels apart: groups must be 1, not {}", window.groups);
            return Err(Error::argument(op, message));
        }
        let &[n, h, w, c] = image.dims() else {
            return Err(Error::shape(op, &[image], "wants an image [N, H, W, C]"));
        };
        let ((top, bottom), (left, right)) = window.padding;
        let padded = |side: usize, pads: [usize; 2]| {
            pads.iter()
                .try_fold(side, |sum, pad| sum.checked_add(*pad))
                .is_some_and(|sum| sum <= limit)
        };
        let output = window.output(&[h, w], kernel);
        let (Some([oh, ow]), true, true) =
            (output, padded(h, [top, bottom]), padded(w, [left, right]))
        else {
            let rule =
                format!("the kernel {kernel:?} reaches beyond the padded image ({window:?})");
            return Err(Error::shape(op, &[image], rule));
        };
        let sees = |side, outputs, taps, stride, padding: usize, dilation| {
            (0..outputs).all(|out| {
                let first_inside = padding.saturating_sub(out * stride).div_ceil(dilation);
                first_inside < taps && out * stride + first_inside * dilation - padding < side
            })
        };
        let all_see = sees(h, oh, kernel[0], window.stride.0, top, window.dilation.0)
            && sees(w, ow, kernel[1], window.stride.1, left, window.dilation.1);
        if !self.count_include_pad && !all_see {
            let rule = format!(
                "a window of kernel {kernel:?} would see padding only ({window:?}): pad less than the kernel"
            );
            return Err(Error::shape(op, &[image], rule));
        }
        Shape::new(&[n, oh, ow, c])
    }

    /// Refuses a pooled tensor that is not what `output` of the image would be; gives the image's shape.
    fn image(&self, op: &'static str, pooled: Shape, sides: [usize; 2]) -> Result<Shape> {
        let &[n, _, _, c] = pooled.dims() else {
            return Err(Error::shape(op, &[pooled], "wants a pooled image [N, OH, OW, C]"));
        };
        let image = Shape::new(&[n, sides[0], sides[1], c])?;
        let output = self.output(op, image)?;
        if output != pooled {
            let rule = format!("pooling an image {image} gives {output}");
            return Err(Error::shape(op, &[pooled], rule));
        }
        Ok(image)
    }

    fn launch(&self, kernel: KernelId, image: Shape, output: Shape) -> Launch {
        let (&[n, h, w, c], &[_, oh, ow, _]) = (image.dims(), output.dims()) else {
            unreachable!("infer accepted images only")
        };
        let params = Pool2dParams {
            batch: n as u32,
            in_height: h as u32,
            in_width: w as u32,
            channels: c as u32,
            out_height: oh as u32,
            out_width: ow as u32,
            kernel_height: self.kernel[0] as u32,
            kernel_width: self.kernel[1] as u32,
            stride_height: self.window.stride.0 as u32,
            stride_width: self.window.stride.1 as u32,
            padding_top: self.window.padding.0.0 as u32,
            padding_left: self.window.padding.1.0 as u32,
            dilation_height: self.window.dilation.0 as u32,
            dilation_width: self.window.dilation.1 as u32,
            count_include_pad: u32::from(self.count_include_pad),
        };
        Launch::Kernel(kernel, params.encode())
    }

    fn flop(&self, output: Shape) -> u64 {
        output.elements() as u64 * (self.kernel[0] * self.kernel[1]) as u64
    }
}

/// Height and width of an image that `infer` accepted.
fn sides(image: &Tensor) -> [usize; 2] {
    [image.dims()[1], image.dims()[2]]
}

/// Refuses indices that are not u32 or not one for each pooled element.
fn check_index(op: &'static str, index: Meta, pooled: Shape) -> Result<()> {
    op::integers(op, index)?;
    if index.shape != pooled {
        let rule = "wants one index for each pooled element";
        return Err(Error::shape(op, &[pooled, index.shape], rule));
    }
    Ok(())
}

#[derive(Debug, Clone, Copy)]
struct AvgPool2d {
    pool: Pool,
}

impl Op for AvgPool2d {
    fn name(&self) -> &'static str {
        "avg_pool2d"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let dtype = op::same_float(self.name(), inputs)?;
        Ok(Meta { shape: self.pool.output(self.name(), inputs[0].shape)?, dtype })
    }

    fn launch(&self, inputs: &[Meta], output: Meta) -> Launch {
        self.pool.launch(KernelId::avg_pool2d, inputs[0].shape, output.shape)
    }

    fn reads_input(&self, _index: usize, _tracked: &[bool]) -> bool {
        false
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let Pool { kernel, window, count_include_pad } = self.pool;
        let image = sides(&cx.inputs[0]);
        Ok(vec![Some(avg_pool2d_spread(cx.grad, image, kernel, window, count_include_pad)?)])
    }

    fn flop(&self, _inputs: &[Meta], output: Meta) -> u64 {
        self.pool.flop(output.shape)
    }
}

#[derive(Debug, Clone, Copy)]
struct AvgPool2dSpread {
    pool: Pool,
    image: [usize; 2],
}

impl Op for AvgPool2dSpread {
    fn name(&self) -> &'static str {
        "avg_pool2d_spread"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let dtype = op::same_float(self.name(), inputs)?;
        Ok(Meta { shape: self.pool.image(self.name(), inputs[0].shape, self.image)?, dtype })
    }

    fn launch(&self, inputs: &[Meta], image: Meta) -> Launch {
        self.pool.launch(KernelId::avg_pool2d_spread, image.shape, inputs[0].shape)
    }

    fn reads_input(&self, _index: usize, _tracked: &[bool]) -> bool {
        false
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let Pool { kernel, window, count_include_pad } = self.pool;
        Ok(vec![Some(avg_pool2d(cx.grad, kernel, window, count_include_pad)?)])
    }

    fn flop(&self, inputs: &[Meta], _image: Meta) -> u64 {
        self.pool.flop(inputs[0].shape)
    }
}

#[derive(Debug, Clone, Copy)]
struct MaxPool2d {
    pool: Pool,
}

impl Op for MaxPool2d {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let dtype = op::same_float(self.name(), inputs)?;
        Ok(Meta { shape: self.pool.output(self.name(), inputs[0].shape)?, dtype })
    }

    fn launch(&self, inputs: &[Meta], output: Meta) -> Launch {
        self.pool.launch(KernelId::max_pool2d, inputs[0].shape, output.shape)
    }

    fn saved(&self, _inputs: &[Meta], output: Meta) -> Vec<Meta> {
        vec![Meta { shape: output.shape, dtype: DType::U32 }]
    }

    fn reads_input(&self, _index: usize, _tracked: &[bool]) -> bool {
        false
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let Pool { kernel, window, .. } = self.pool;
        let image = sides(&cx.inputs[0]);
        Ok(vec![Some(max_pool2d_place(cx.grad, &cx.saved[0], image, kernel, window)?)])
    }

    fn flop(&self, _inputs: &[Meta], output: Meta) -> u64 {
        self.pool.flop(output.shape)
    }
}

#[derive(Debug, Clone, Copy)]
struct MaxPool2dPlace {
    pool: Pool,
    image: [usize; 2],
}

impl Op for MaxPool2dPlace {
    fn name(&self) -> &'static str {
        "max_pool2d_place"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let dtype = op::same_float(self.name(), &inputs[..1])?;
        check_index(self.name(), inputs[1], inputs[0].shape)?;
        Ok(Meta { shape: self.pool.image(self.name(), inputs[0].shape, self.image)?, dtype })
    }

    fn launch(&self, inputs: &[Meta], image: Meta) -> Launch {
        self.pool.launch(KernelId::max_pool2d_place, image.shape, inputs[0].shape)
    }

    fn reads_input(&self, index: usize, _tracked: &[bool]) -> bool {
        index == 1
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let Pool { kernel, window, .. } = self.pool;
        Ok(vec![Some(max_pool2d_pick(cx.grad, &cx.inputs[1], kernel, window)?), None])
    }

    fn flop(&self, inputs: &[Meta], _image: Meta) -> u64 {
        self.pool.flop(inputs[0].shape)
    }
}

#[derive(Debug, Clone, Copy)]
struct MaxPool2dPick {
    pool: Pool,
}

impl Op for MaxPool2dPick {
    fn name(&self) -> &'static str {
        "max_pool2d_pick"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let dtype = op::same_float(self.name(), &inputs[..1])?;
        let pooled = self.pool.output(self.name(), inputs[0].shape)?;
        check_index(self.name(), inputs[1], pooled)?;
        Ok(Meta { shape: pooled, dtype })
    }

    fn launch(&self, inputs: &[Meta], output: Meta) -> Launch {
        self.pool.launch(KernelId::max_pool2d_pick, inputs[0].shape, output.shape)
    }

    fn reads_input(&self, index: usize, _tracked: &[bool]) -> bool {
        index == 1
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let Pool { kernel, window, .. } = self.pool;
        let image = sides(&cx.inputs[0]);
        let placed = max_pool2d_place(cx.grad, &cx.inputs[1], image, kernel, window)?;
        Ok(vec![Some(placed), None])
    }

    fn flop(&self, _inputs: &[Meta], _output: Meta) -> u64 {
        0
    }
}

/// The mean of each window: `x: [N, H, W, C]` to `[N, OH, OW, C]`.
///
/// `count_include_pad` says whether the zeros around the image count in the mean. Fails when the kernel does not fit
/// the padded image, when `window.groups` is not 1, and, without `count_include_pad`, when a window would see no
/// pixel.
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::{Tensor, ops::conv2d::Window, ops::pool2d::avg_pool2d};
/// let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 6.0], [1, 2, 2, 1], &device)?;
/// let y = avg_pool2d(&x, [2, 2], Window::new(2, 0), true)?;
/// assert_eq!(y.to_vec::<f32>()?, [3.0]);
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
#[track_caller]
pub fn avg_pool2d(
    x: &Tensor,
    kernel: [usize; 2],
    window: Window,
    count_include_pad: bool,
) -> Result<Tensor> {
    op::apply(AvgPool2d { pool: Pool { kernel, window, count_include_pad } }, &[x])
}

/// The adjoint of [`avg_pool2d`]: each element of `g: [N, OH, OW, C]` shared out over its window, summed into an image
/// `[N, image[0], image[1], C]`. Fails unless pooling that image gives the shape of `g`.
#[track_caller]
pub fn avg_pool2d_spread(
    g: &Tensor,
    image: [usize; 2],
    kernel: [usize; 2],
    window: Window,
    count_include_pad: bool,
) -> Result<Tensor> {
    op::apply(AvgPool2dSpread { pool: Pool { kernel, window, count_include_pad }, image }, &[g])
}

/// The maximum of each window: `x: [N, H, W, C]` to `[N, OH, OW, C]`.
///
/// Padding never wins. Of equal elements the first in the window's order (rows, then columns) has the derivative; a
/// NaN wins over everything. Fails when the kernel does not fit the padded image, when `window.groups` is not 1, and
/// when a window would see no pixel.
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::{Tensor, ops::conv2d::Window, ops::pool2d::max_pool2d};
/// let x = Tensor::from_slice(&[-1.0f32, -2.0, -3.0, -6.0], [1, 2, 2, 1], &device)?;
/// let y = max_pool2d(&x, [2, 2], Window::new(2, 1))?; // one pixel in each of the four windows
/// assert_eq!(y.to_vec::<f32>()?, [-1.0, -2.0, -3.0, -6.0]);
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
#[track_caller]
pub fn max_pool2d(x: &Tensor, kernel: [usize; 2], window: Window) -> Result<Tensor> {
    Ok(max_pool2d_with_indices(x, kernel, window)?.0)
}

/// As [`max_pool2d`], with the flat position `ih·W + iw` of each maximum within its plane, `[N, OH, OW, C]` of u32.
#[track_caller]
pub fn max_pool2d_with_indices(
    x: &Tensor,
    kernel: [usize; 2],
    window: Window,
) -> Result<(Tensor, Tensor)> {
    let pool = Pool { kernel, window, count_include_pad: false };
    let (values, mut saved) = op::apply_with_saved(MaxPool2d { pool }, &[x])?;
    let indices = saved.pop().expect("max_pool2d saves its indices");
    Ok((values, indices))
}

/// Each element of `g: [N, OH, OW, C]` put where `index`, of that shape, says in an image `[N, image[0], image[1], C]`;
/// elements that meet add.
///
/// The adjoint of [`max_pool2d_pick`]. An index that names no tap of its window is dropped. Fails unless pooling that
/// image gives the shape of `g`.
#[track_caller]
pub fn max_pool2d_place(
    g: &Tensor,
    index: &Tensor,
    image: [usize; 2],
    kernel: [usize; 2],
    window: Window,
) -> Result<Tensor> {
    let pool = Pool { kernel, window, count_include_pad: false };
    op::apply(MaxPool2dPlace { pool, image }, &[g, index])
}

/// The element of `x: [N, H, W, C]` that `index: [N, OH, OW, C]` names in each window; 0 where it names none of the
/// window's taps.
///
/// The adjoint of [`max_pool2d_place`]. Fails unless pooling `x` gives the shape of `index`.
#[track_caller]
pub fn max_pool2d_pick(
    x: &Tensor,
    index: &Tensor,
    kernel: [usize; 2],
    window: Window,
) -> Result<Tensor> {
    let pool = Pool { kernel, window, count_include_pad: false };
    op::apply(MaxPool2dPick { pool }, &[x, index])
}

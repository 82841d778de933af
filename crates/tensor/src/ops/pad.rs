//! Adding a border and taking it away: zero padding and cropping of any axes, reflection of an image's plane.
//!
//! ```text
//! pad                y[i + before] = x[i], and 0 elsewhere       y's extents: before + x's + after
//! crop               y[i] = x[i + start]                         y's extents: size
//! reflect_pad        y[n, oh, ow, c] = x[n, mirror_h(oh), mirror_w(ow), c]
//!                    along a side: mirror(o) = t = o − before, −t where t < 0, 2·(in−1) − t where t ≥ in
//! reflect_pad_fold   x[n, ih, iw, c] = Σ y[n, oh, ow, c] over the outputs that show pixel (ih, iw)
//! ```
//!
//! pad ↔ crop and reflect_pad ↔ reflect_pad_fold are linear and each other's adjoints. All but the fold move numbers
//! of any type. One invocation owns one output element; a pixel is shown at most three times along each side (itself
//! and its two mirror images). Cost: one pass over each operand; the fold N·OH·OW·C additions.

use crate::autograd::Backward;
use crate::device::Meta;
use crate::error::{Error, Result};
use crate::kernel::KernelId;
use crate::op::{self, Launch, Op};
use crate::{MAX_RANK, Shape, Tensor};

crate::kernel_params! {
    /// Parameters of `pad` and `crop`, right-aligned in six axes: the extents with the border, those without, and how
    /// far inside the border the small tensor begins.
    pub struct PadParams { integers { large: [u32; 6], small: [u32; 6], before: [u32; 6] } scalars {} }
}

crate::kernel_params! {
    /// Parameters of `reflect_pad` and `reflect_pad_fold`: the image `[batch, in_height, in_width, channels]` without
    /// its border, the extents with it, and the border's width at the top and at the left.
    pub struct ReflectPadParams {
        integers {
            batch: u32, in_height: u32, in_width: u32, channels: u32, out_height: u32, out_width: u32,
            top: u32, left: u32,
        }
        scalars {}
    }
}

/// The kernel's view of a border: an axis without one is merged into the axis before it, so that what moves as one
/// block is one row.
fn pad_params(large: Shape, small: Shape, before: &[usize]) -> PadParams {
    let mut axes: Vec<[usize; 3]> = Vec::new();
    for (axis, (&large, &small)) in large.dims().iter().zip(small.dims()).enumerate() {
        match axes.last_mut() {
            Some(merged) if large == small => merged.iter_mut().for_each(|extent| *extent *= large),
            _ => axes.push([large, small, before[axis]]),
        }
    }
    let mut params = PadParams { large: [1; 6], small: [1; 6], before: [0; 6] };
    let first = MAX_RANK - axes.len();
    for (axis, [large, small, before]) in axes.into_iter().enumerate() {
        params.large[first + axis] = large as u32;
        params.small[first + axis] = small as u32;
        params.before[first + axis] = before as u32;
    }
    params
}

#[derive(Debug, Clone)]
struct Pad {
    before: Vec<usize>,
    after: Vec<usize>,
}

impl Op for Pad {
    fn name(&self) -> &'static str {
        "pad"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let shape = inputs[0].shape;
        let Pad { before, after } = self;
        if before.len() != shape.rank() || after.len() != shape.rank() {
            let rule =
                format!("{before:?} before and {after:?} after must give one number for each axis");
            return Err(Error::shape("pad", &[shape], rule));
        }
        let padded =
            |axis: usize| shape.dims()[axis].checked_add(before[axis])?.checked_add(after[axis]);
        let dims: Option<Vec<usize>> = (0..shape.rank()).map(padded).collect();
        let Some(dims) = dims else {
            let rule = format!("{before:?} before and {after:?} after are too much");
            return Err(Error::shape("pad", &[shape], rule));
        };
        Ok(Meta { shape: Shape::new(&dims)?, dtype: inputs[0].dtype })
    }

    fn launch(&self, inputs: &[Meta], output: Meta) -> Launch {
        let params = pad_params(output.shape, inputs[0].shape, &self.before);
        Launch::Kernel(KernelId::pad, params.encode())
    }

    fn reads_input(&self, _index: usize, _tracked: &[bool]) -> bool {
        false
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(cx.grad.crop(&self.before, cx.inputs[0].dims())?)])
    }

    fn flop(&self, _inputs: &[Meta], _output: Meta) -> u64 {
        0
    }
}

#[derive(Debug, Clone)]
struct Crop {
    start: Vec<usize>,
    size: Vec<usize>,
}

impl Op for Crop {
    fn name(&self) -> &'static str {
        "crop"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let shape = inputs[0].shape;
        let Crop { start, size } = self;
        if start.len() != shape.rank() || size.len() != shape.rank() {
            let rule =
                format!("start {start:?} and size {size:?} must give one number for each axis");
            return Err(Error::shape("crop", &[shape], rule));
        }
        let inside = |axis: usize| {
            start[axis].checked_add(size[axis]).is_some_and(|end| end <= shape.dims()[axis])
        };
        if !(0..shape.rank()).all(inside) {
            let rule = format!("start {start:?} with size {size:?} reaches beyond it");
            return Err(Error::shape("crop", &[shape], rule));
        }
        Ok(Meta { shape: Shape::new(size)?, dtype: inputs[0].dtype })
    }

    fn launch(&self, inputs: &[Meta], output: Meta) -> Launch {
        let params = pad_params(inputs[0].shape, output.shape, &self.start);
        Launch::Kernel(KernelId::crop, params.encode())
    }

    fn reads_input(&self, _index: usize, _tracked: &[bool]) -> bool {
        false
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let shape = cx.inputs[0].shape();
        let after: Vec<usize> = (0..shape.rank())
            .map(|axis| shape.dims()[axis] - self.start[axis] - self.size[axis])
            .collect();
        Ok(vec![Some(cx.grad.pad(&self.start, &after)?)])
    }

    fn flop(&self, _inputs: &[Meta], _output: Meta) -> u64 {
        0
    }
}

/// Widths of the border: (top, bottom), (left, right).
type Border = ((usize, usize), (usize, usize));

fn reflect_params(image: Shape, output: Shape, border: Border) -> ReflectPadParams {
    let (&[n, h, w, c], &[_, oh, ow, _]) = (image.dims(), output.dims()) else {
        unreachable!("infer accepted images only")
    };
    ReflectPadParams {
        batch: n as u32,
        in_height: h as u32,
        in_width: w as u32,
        channels: c as u32,
        out_height: oh as u32,
        out_width: ow as u32,
        top: border.0.0 as u32,
        left: border.1.0 as u32,
    }
}

#[derive(Debug, Clone, Copy)]
struct ReflectPad {
    border: Border,
}

impl Op for ReflectPad {
    fn name(&self) -> &'static str {
        "reflect_pad"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let shape = inputs[0].shape;
        let &[n, h, w, c] = shape.dims() else {
            return Err(Error::shape("reflect_pad", &[shape], "wants an image [N, H, W, C]"));
        };
        let ((top, bottom), (left, right)) = self.border;
        if top.max(bottom) >= h || left.max(right) >= w {
            let rule = format!(
                "a border {:?} must be narrower than the image: an edge is not shown twice",
                self.border
            );
            return Err(Error::shape("reflect_pad", &[shape], rule));
        }
        let shape = Shape::new(&[n, h + top + bottom, w + left + right, c])?;
        Ok(Meta { shape, dtype: inputs[0].dtype })
    }

    fn launch(&self, inputs: &[Meta], output: Meta) -> Launch {
        let params = reflect_params(inputs[0].shape, output.shape, self.border);
        Launch::Kernel(KernelId::reflect_pad, params.encode())
    }

    fn reads_input(&self, _index: usize, _tracked: &[bool]) -> bool {
        false
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(reflect_pad_fold(cx.grad, self.border)?)])
    }

    fn flop(&self, _inputs: &[Meta], _output: Meta) -> u64 {
        0
    }
}

#[derive(Debug, Clone, Copy)]
struct ReflectPadFold {
    border: Border,
}

impl Op for ReflectPadFold {
    fn name(&self) -> &'static str {
        "reflect_pad_fold"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let dtype = op::same_float(self.name(), inputs)?;
        let shape = inputs[0].shape;
        let &[n, oh, ow, c] = shape.dims() else {
            return Err(Error::shape(self.name(), &[shape], "wants a padded image [N, H, W, C]"));
        };
        let inner = |side: usize, (before, after): (usize, usize)| {
            let inner = side.checked_sub(before)?.checked_sub(after)?;
            (before.max(after) < inner).then_some(inner)
        };
        let (Some(h), Some(w)) = (inner(oh, self.border.0), inner(ow, self.border.1)) else {
            let rule = format!("a border {:?} leaves no image wider than itself", self.border);
            return Err(Error::shape(self.name(), &[shape], rule));
        };
        Ok(Meta { shape: Shape::new(&[n, h, w, c])?, dtype })
    }

    fn launch(&self, inputs: &[Meta], image: Meta) -> Launch {
        let params = reflect_params(image.shape, inputs[0].shape, self.border);
        Launch::Kernel(KernelId::reflect_pad_fold, params.encode())
    }

    fn reads_input(&self, _index: usize, _tracked: &[bool]) -> bool {
        false
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(cx.grad.reflect_pad2d(self.border)?)])
    }

    fn flop(&self, inputs: &[Meta], _image: Meta) -> u64 {
        inputs[0].shape.elements() as u64
    }
}

/// The adjoint of [`Tensor::reflect_pad2d`]: the border `((top, bottom), (left, right))` of `g: [N, H+top+bottom,
/// W+left+right, C]` folded back and added, to `[N, H, W, C]`. Fails when what is inside is not wider than the border.
#[track_caller]
pub fn reflect_pad_fold(g: &Tensor, border: ((usize, usize), (usize, usize))) -> Result<Tensor> {
    op::apply(ReflectPadFold { border }, &[g])
}

/// Borders and parts.
impl Tensor {
    /// Zeros around a tensor of any type: `before[k]` and `after[k]` of them along axis `k`. Fails unless both give one
    /// number for each axis.
    ///
    /// ```
    /// # let device = belamy_cpu::oracle();
    /// use belamy_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1.0f32, 2.0], [1, 2], &device)?;
    /// let y = x.pad(&[0, 1], &[1, 0])?;
    /// assert_eq!(y.dims(), [2, 3]);
    /// assert_eq!(y.to_vec::<f32>()?, [0.0, 1.0, 2.0, 0.0, 0.0, 0.0]);
    /// # Ok::<(), belamy_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn pad(&self, before: &[usize], after: &[usize]) -> Result<Tensor> {
        op::apply(Pad { before: before.to_vec(), after: after.to_vec() }, &[self])
    }

    /// The part that begins at `start` and has extents `size`. Fails when it reaches beyond the tensor.
    ///
    /// ```
    /// # let device = belamy_cpu::oracle();
    /// use belamy_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1u32, 2, 3, 4, 5, 6], [2, 3], &device)?;
    /// assert_eq!(x.crop(&[0, 1], &[2, 2])?.to_vec::<u32>()?, [2, 3, 5, 6]);
    /// # Ok::<(), belamy_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn crop(&self, start: &[usize], size: &[usize]) -> Result<Tensor> {
        op::apply(Crop { start: start.to_vec(), size: size.to_vec() }, &[self])
    }

    /// The `len` elements from `start` along one axis, and all along the others. Fails when there are not so many.
    #[track_caller]
    pub fn slice(&self, axis: usize, start: usize, len: usize) -> Result<Tensor> {
        let shape = self.shape();
        if axis >= shape.rank() {
            let rule = format!("has no axis {axis}");
            return Err(Error::shape("slice", &[shape], rule));
        }
        let mut starts = vec![0; shape.rank()];
        starts[axis] = start;
        self.crop(&starts, shape.with(axis, len).dims())
    }

    /// A mirror image around the plane of an image `[N, H, W, C]`, `border` = ((top, bottom), (left, right)) wide; the
    /// edge itself is not repeated (PyTorch's `reflect`). Fails unless the border is narrower than the image.
    ///
    /// ```
    /// # let device = belamy_cpu::oracle();
    /// use belamy_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0], [1, 1, 3, 1], &device)?;
    /// let y = x.reflect_pad2d(((0, 0), (2, 1)))?;
    /// assert_eq!(y.to_vec::<f32>()?, [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]);
    /// # Ok::<(), belamy_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn reflect_pad2d(&self, border: ((usize, usize), (usize, usize))) -> Result<Tensor> {
        op::apply(ReflectPad { border }, &[self])
    }
}

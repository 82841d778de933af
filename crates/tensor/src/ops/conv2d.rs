//! Convolution: one trilinear form with three slots.
//!
//! ```text
//! T(x, w, g) = Σ x[n, ih, iw, ic] w[o, kh, kw, c] g[n, oh, ow, o]
//!   with ih = oh·stride_height − padding_top  + kh·dilation_height     (terms outside the image are 0)
//!        iw = ow·stride_width  − padding_left + kw·dilation_width
//!        ic = (o / (O/groups)) · (C/groups) + c
//!
//! conv2d             y[n, oh, ow, o]  = T with g open     a cross-correlation, as every framework means it
//! conv2d_grad_input  x[n, ih, iw, ic] = T with x open     = the forward pass of a transposed convolution
//! conv2d_grad_weight w[o, kh, kw, c]  = T with w open
//!
//! x: [N, H, W, C]    w: [O, KH, KW, C/groups]    y, g: [N, OH, OW, O]
//! ```
//!
//! Each one's two gradients are the other two, so three kernels give convolution, transposed convolution and every
//! derivative of both. One invocation owns one element of the open slot and gathers it (a tile, in the fast
//! variants). Cost of each: 2·N·OH·OW·O·KH·KW·C/groups operations; each operand moved once.

use crate::autograd::Backward;
use crate::device::Meta;
use crate::error::{Error, Result};
use crate::kernel::{KernelId, Params};
use crate::op::{self, Launch, Op};
use crate::{Shape, Tensor};

crate::kernel_params! {
    /// Parameters of the three kernels; names as in the file's header. `in_channels` and `out_channels` count all
    /// groups. Padding below and at the right is implied by the output's extents.
    pub struct Conv2dParams {
        integers {
            batch: u32, in_height: u32, in_width: u32, in_channels: u32,
            out_height: u32, out_width: u32, out_channels: u32,
            kernel_height: u32, kernel_width: u32, stride_height: u32, stride_width: u32,
            padding_top: u32, padding_left: u32, dilation_height: u32, dilation_width: u32, groups: u32,
        }
        scalars {}
    }
}

/// How a window moves over an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Step between outputs, (height, width).
    pub stride: (usize, usize),
    /// Zeros around the image: (top, bottom), (left, right).
    pub padding: ((usize, usize), (usize, usize)),
    /// Distance between a kernel's taps, (height, width).
    pub dilation: (usize, usize),
    /// Into how many independent parts the channels are split.
    pub groups: usize,
}

impl Default for Window {
    /// Stride 1, no padding, no dilation, one group.
    fn default() -> Window {
        Window { stride: (1, 1), padding: ((0, 0), (0, 0)), dilation: (1, 1), groups: 1 }
    }
}

impl Window {
    /// A window that steps by `stride` in both directions, over `padding` zeros on all sides.
    ///
    /// ```
    /// use belamy_tensor::ops::conv2d::Window;
    /// let window = Window::new(2, 1); // DCGAN's: 4×4, stride 2, padding 1 halves the image
    /// assert_eq!(window.output(&[64, 64], &[4, 4]), Some([32, 32]));
    /// ```
    pub fn new(stride: usize, padding: usize) -> Window {
        let both = (padding, padding);
        Window { stride: (stride, stride), padding: (both, both), ..Window::default() }
    }

    /// Padding as Keras' `same` means it: ⌈image / stride⌉ outputs, and where the zeros are odd in number the
    /// spare one goes below and to the right (k = 5, stride 2 on an even side: 1 before, 2 after).
    pub fn same(stride: usize, image: [usize; 2], kernel: [usize; 2]) -> Window {
        let side = |axis: usize| {
            let reach = (image[axis].div_ceil(stride).max(1) - 1) * stride + kernel[axis];
            let total = reach.saturating_sub(image[axis]);
            (total / 2, total - total / 2)
        };
        Window { padding: (side(0), side(1)), ..Window::new(stride, 0) }
    }

    /// How many outputs fit, (height, width); `None` when the kernel is larger than the padded image.
    pub fn output(&self, image: &[usize; 2], kernel: &[usize; 2]) -> Option<[usize; 2]> {
        let side = |image: usize, kernel: usize, stride, padding: (usize, usize), dilation| {
            let reach = kernel.checked_sub(1)?.checked_mul(dilation)?.checked_add(1)?;
            let padded = image.checked_add(padding.0)?.checked_add(padding.1)?;
            Some(padded.checked_sub(reach)?.checked_div(stride)? + 1)
        };
        Some([
            side(image[0], kernel[0], self.stride.0, self.padding.0, self.dilation.0)?,
            side(image[1], kernel[1], self.stride.1, self.padding.1, self.dilation.1)?,
        ])
    }

    /// The image that a transposed convolution of `input` makes: the inverse of [`Window::output`], enlarged by
    /// `output_padding` rows and columns that the division had cut off; `None` where padding takes it all.
    pub fn transposed_output(
        &self,
        input: &[usize; 2],
        kernel: &[usize; 2],
        output_padding: (usize, usize),
    ) -> Option<[usize; 2]> {
        let side =
            |input: usize, kernel: usize, stride, padding: (usize, usize), dilation, extra| {
                let reach = kernel.checked_sub(1)?.checked_mul(dilation)?.checked_add(1)?;
                let full = input
                    .checked_sub(1)?
                    .checked_mul(stride)?
                    .checked_add(reach)?
                    .checked_add(extra)?;
                full.checked_sub(padding.0.checked_add(padding.1)?).filter(|&side| side > 0)
            };
        Some([
            side(
                input[0],
                kernel[0],
                self.stride.0,
                self.padding.0,
                self.dilation.0,
                output_padding.0,
            )?,
            side(
                input[1],
                kernel[1],
                self.stride.1,
                self.padding.1,
                self.dilation.1,
                output_padding.1,
            )?,
        ])
    }

    fn is_valid(&self) -> bool {
        let Window { stride, dilation, groups, .. } = *self;
        let limit = u32::MAX as usize / 4;
        let small = |(a, b): (usize, usize)| a <= limit && b <= limit;
        [stride.0, stride.1, dilation.0, dilation.1, groups].iter().all(|&extent| extent > 0)
            && small(stride)
            && small(dilation)
            && small(self.padding.0)
            && small(self.padding.1)
    }
}

/// The full shape of one convolution: image, weight and output agree with the window.
fn params(
    op: &'static str,
    image: Shape,
    weight: Shape,
    output: Shape,
    window: &Window,
) -> Result<Params> {
    let refuse = |rule: String| Err(Error::shape(op, &[image, weight, output], rule));
    let (&[n, h, w, c], &[o, kh, kw, c_group], &[on, oh, ow, oc]) =
        (image.dims(), weight.dims(), output.dims())
    else {
        return refuse("wants an image [N, H, W, C], a weight [O, KH, KW, C/groups] and an output [N, OH, OW, O]".into());
    };
    let groups = window.groups;
    if c != c_group * groups || o % groups != 0 {
        return refuse(format!(
            "{groups} groups must split {c} input channels into the weight's {c_group}, and {o} outputs evenly"
        ));
    }
    if on != n || oc != o {
        return refuse("image and output must agree on N, weight and output on O".into());
    }
    if window.output(&[h, w], &[kh, kw]) != Some([oh, ow]) {
        return refuse(format!(
            "{window:?} over this image gives {:?} outputs",
            window.output(&[h, w], &[kh, kw])
        ));
    }
    let params = Conv2dParams {
        batch: n as u32,
        in_height: h as u32,
        in_width: w as u32,
        in_channels: c as u32,
        out_height: oh as u32,
        out_width: ow as u32,
        out_channels: o as u32,
        kernel_height: kh as u32,
        kernel_width: kw as u32,
        stride_height: window.stride.0 as u32,
        stride_width: window.stride.1 as u32,
        padding_top: window.padding.0.0 as u32,
        padding_left: window.padding.1.0 as u32,
        dilation_height: window.dilation.0 as u32,
        dilation_width: window.dilation.1 as u32,
        groups: groups as u32,
    };
    Ok(params.encode())
}

fn check_window(op: &'static str, window: &Window) -> Result<()> {
    if window.is_valid() {
        return Ok(());
    }
    Err(Error::argument(
        op,
        format!("{window:?}: strides, dilations and groups must be at least 1"),
    ))
}

/// 2·N·OH·OW·O·KH·KW·C/groups.
fn flop(weight: Shape, output: Shape) -> u64 {
    let per_output: usize = weight.dims()[1..].iter().product();
    2 * output.elements() as u64 * per_output as u64
}

#[derive(Debug, Clone, Copy)]
struct Conv2d {
    window: Window,
}

impl Op for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let dtype = op::same_float("conv2d", inputs)?;
        check_window("conv2d", &self.window)?;
        let (image, weight) = (inputs[0].shape, inputs[1].shape);
        let (&[n, h, w, _], &[o, kh, kw, _]) = (image.dims(), weight.dims()) else {
            let rule = "wants an image [N, H, W, C] and a weight [O, KH, KW, C/groups]";
            return Err(Error::shape("conv2d", &[image, weight], rule));
        };
        let Some([oh, ow]) = self.window.output(&[h, w], &[kh, kw]) else {
            let rule = format!("the kernel reaches beyond the padded image ({:?})", self.window);
            return Err(Error::shape("conv2d", &[image, weight], rule));
        };
        let output = Shape::new(&[n, oh, ow, o])?;
        params("conv2d", image, weight, output, &self.window)?;
        Ok(Meta { shape: output, dtype })
    }

    fn launch(&self, inputs: &[Meta], output: Meta) -> Launch {
        let (image, weight) = (inputs[0].shape, inputs[1].shape);
        let params = params("conv2d", image, weight, output.shape, &self.window);
        Launch::Kernel(KernelId::conv2d, params.expect("infer accepted these shapes"))
    }

    // Bilinear: of each operand the other's derivative is made.
    fn reads_input(&self, index: usize, tracked: &[bool]) -> bool {
        tracked[1 - index]
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let (x, w, g) = (&cx.inputs[0], &cx.inputs[1], cx.grad);
        triangle(
            cx,
            || conv2d_grad_input(g, w, [x.dims()[1], x.dims()[2]], self.window),
            || conv2d_grad_weight(x, g, [w.dims()[1], w.dims()[2]], self.window),
        )
    }

    fn flop(&self, inputs: &[Meta], output: Meta) -> u64 {
        flop(inputs[1].shape, output.shape)
    }
}

#[derive(Debug, Clone, Copy)]
struct Conv2dGradInput {
    window: Window,
    image: [usize; 2],
}

impl Op for Conv2dGradInput {
    fn name(&self) -> &'static str {
        "conv2d_grad_input"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let dtype = op::same_float(self.name(), inputs)?;
        check_window(self.name(), &self.window)?;
        let (output, weight) = (inputs[0].shape, inputs[1].shape);
        let (&[n, ..], &[_, _, _, c_group]) = (output.dims(), weight.dims()) else {
            let rule =
                "wants an output's cotangent [N, OH, OW, O] and a weight [O, KH, KW, C/groups]";
            return Err(Error::shape(self.name(), &[output, weight], rule));
        };
        let channels = c_group.saturating_mul(self.window.groups);
        let image = Shape::new(&[n, self.image[0], self.image[1], channels])?;
        params(self.name(), image, weight, output, &self.window)?;
        Ok(Meta { shape: image, dtype })
    }

    fn launch(&self, inputs: &[Meta], image: Meta) -> Launch {
        let (output, weight) = (inputs[0].shape, inputs[1].shape);
        let params = params(self.name(), image.shape, weight, output, &self.window);
        Launch::Kernel(KernelId::conv2d_grad_input, params.expect("infer accepted these shapes"))
    }

    // Bilinear: of each operand the other's derivative is made.
    fn reads_input(&self, index: usize, tracked: &[bool]) -> bool {
        tracked[1 - index]
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        // The cotangent of the open slot x is itself an image.
        let (g, w, image) = (&cx.inputs[0], &cx.inputs[1], cx.grad);
        triangle(
            cx,
            || conv2d(image, w, self.window),
            || conv2d_grad_weight(image, g, [w.dims()[1], w.dims()[2]], self.window),
        )
    }

    fn flop(&self, inputs: &[Meta], _output: Meta) -> u64 {
        flop(inputs[1].shape, inputs[0].shape)
    }
}

#[derive(Debug, Clone, Copy)]
struct Conv2dGradWeight {
    window: Window,
    kernel: [usize; 2],
}

impl Op for Conv2dGradWeight {
    fn name(&self) -> &'static str {
        "conv2d_grad_weight"
    }

    fn infer(&self, inputs: &[Meta]) -> Result<Meta> {
        let dtype = op::same_float(self.name(), inputs)?;
        check_window(self.name(), &self.window)?;
        let (image, output) = (inputs[0].shape, inputs[1].shape);
        let (&[_, _, _, c], &[_, _, _, o]) = (image.dims(), output.dims()) else {
            let rule = "wants an image [N, H, W, C] and an output's cotangent [N, OH, OW, O]";
            return Err(Error::shape(self.name(), &[image, output], rule));
        };
        let weight = Shape::new(&[o, self.kernel[0], self.kernel[1], c / self.window.groups])?;
        params(self.name(), image, weight, output, &self.window)?;
        Ok(Meta { shape: weight, dtype })
    }

    fn launch(&self, inputs: &[Meta], weight: Meta) -> Launch {
        let (image, output) = (inputs[0].shape, inputs[1].shape);
        let params = params(self.name(), image, weight.shape, output, &self.window);
        Launch::Kernel(KernelId::conv2d_grad_weight, params.expect("infer accepted these shapes"))
    }

    // Bilinear: of each operand the other's derivative is made.
    fn reads_input(&self, index: usize, tracked: &[bool]) -> bool {
        tracked[1 - index]
    }

    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        // The cotangent of the open slot w is itself a weight.
        let (x, g, weight) = (&cx.inputs[0], &cx.inputs[1], cx.grad);
        triangle(
            cx,
            || conv2d_grad_input(g, weight, [x.dims()[1], x.dims()[2]], self.window),
            || conv2d(x, weight, self.window),
        )
    }

    fn flop(&self, inputs: &[Meta], output: Meta) -> u64 {
        flop(output.shape, inputs[1].shape)
    }
}

/// The two gradients of one corner of the triangle, each only if it is wanted.
fn triangle(
    cx: &Backward<'_>,
    first: impl FnOnce() -> Result<Tensor>,
    second: impl FnOnce() -> Result<Tensor>,
) -> Result<Vec<Option<Tensor>>> {
    Ok(vec![
        if cx.needs[0] { Some(first()?) } else { None },
        if cx.needs[1] { Some(second()?) } else { None },
    ])
}

/// `x: [N, H, W, C]` with `w: [O, KH, KW, C/groups]` to `[N, OH, OW, O]`. Fails when channels, groups or the window
/// do not fit.
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::{Tensor, ops::conv2d::{Window, conv2d}};
/// let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [1, 2, 2, 1], &device)?;
/// let w = Tensor::from_slice(&[1.0f32, 0.0, 0.0, 10.0], [1, 2, 2, 1], &device)?;
/// assert_eq!(conv2d(&x, &w, Window::default())?.to_vec::<f32>()?, [41.0]);
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
#[track_caller]
pub fn conv2d(x: &Tensor, w: &Tensor, window: Window) -> Result<Tensor> {
    op::apply(Conv2d { window }, &[x, w])
}

/// The cotangent of a convolution's image of height and width `image`, from `g: [N, OH, OW, O]` and the weight.
#[track_caller]
pub fn conv2d_grad_input(
    g: &Tensor,
    w: &Tensor,
    image: [usize; 2],
    window: Window,
) -> Result<Tensor> {
    op::apply(Conv2dGradInput { window, image }, &[g, w])
}

/// The cotangent of a convolution's weight with taps `kernel`, from the image and `g: [N, OH, OW, O]`.
#[track_caller]
pub fn conv2d_grad_weight(
    x: &Tensor,
    g: &Tensor,
    kernel: [usize; 2],
    window: Window,
) -> Result<Tensor> {
    op::apply(Conv2dGradWeight { window, kernel }, &[x, g])
}

/// The transposed convolution: `x: [N, H, W, I]` with `w: [O, KH, KW, I/groups]`, where O counts the channels it
/// produces, to an image `[N, ~H·stride, ~W·stride, O]`.
///
/// It is [`conv2d_grad_input`] of the convolution that would lead back, whose weight is `w` with its channel axes
/// exchanged within each group. `output_padding` adds rows and columns below and at the right that stride > 1
/// leaves open. `same` padding as Keras means it: take [`Window::same`] of the image to be made.
#[track_caller]
pub fn conv_transpose2d(
    x: &Tensor,
    w: &Tensor,
    window: Window,
    output_padding: (usize, usize),
) -> Result<Tensor> {
    const OP: &str = "conv_transpose2d";
    check_window(OP, &window)?;
    let (&[_, h, width, i], &[o, kh, kw, i_group]) = (x.dims(), w.dims()) else {
        let rule = "wants an image [N, H, W, I] and a weight [O, KH, KW, I/groups]";
        return Err(Error::shape(OP, &[x.shape(), w.shape()], rule));
    };
    let groups = window.groups;
    if i != i_group * groups || o % groups != 0 {
        let rule = format!(
            "{groups} groups must split {i} input channels into the weight's {i_group}, and {o} outputs evenly"
        );
        return Err(Error::shape(OP, &[x.shape(), w.shape()], rule));
    }
    if output_padding.0 >= window.stride.0.max(window.dilation.0)
        || output_padding.1 >= window.stride.1.max(window.dilation.1)
    {
        let message =
            format!("output padding {output_padding:?} must be below the stride or the dilation");
        return Err(Error::argument(OP, message));
    }
    let Some(image) = window.transposed_output(&[h, width], &[kh, kw], output_padding) else {
        let rule = format!("{window:?} leaves no image");
        return Err(Error::shape(OP, &[x.shape(), w.shape()], rule));
    };
    let swapped = w
        .reshape([groups, o / groups, kh * kw, i_group])?
        .permute(&[0, 3, 2, 1])?
        .reshape([i, kh, kw, o / groups])?;
    conv2d_grad_input(x, &swapped, image, window)
}

//! Convolution and transposed convolution.

use super::{Placement, SpectralNorm};
use crate::initializer::{Fans, Initializer};
use crate::onnx::{Attribute, Graph, Value};
use crate::{Context, Layer, Param};
use belamy_tensor::ops::conv2d::{Window, conv2d, conv2d_grad_input};
use belamy_tensor::{Error, Result, Shape, Tensor};

/// How a convolution treats the image's border.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// The same number of zeros on all sides, PyTorch's way; 0 is Keras' `valid`.
    Zeros(usize),
    /// Keras' `same`: outputs are ⌈side / stride⌉ (inputs · stride when transposed), a spare zero goes below and right.
    Same,
    /// PyTorch's `padding` and `output_padding` of a transposed convolution: `open` more rows and columns, below and
    /// right.
    Open {
        /// The zeros on all sides of the image that the way back would start from.
        zeros: usize,
        /// Rows and columns that the division by the stride had cut off.
        open: usize,
    },
}

/// What both kinds of convolution are made from.
#[derive(Debug, Clone, Copy)]
pub struct Convolution {
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// Side of the square kernel.
    pub kernel: usize,
    /// Step in both directions.
    pub stride: usize,
    /// The border.
    pub padding: Padding,
    /// How the weight starts.
    pub weight: Initializer,
    /// How the bias starts, if there is one.
    pub bias: Option<Initializer>,
}

impl Convolution {
    fn description(&self, name: &str) -> String {
        let Convolution { inputs, outputs, kernel, stride, padding, bias, .. } = *self;
        let padding = match padding {
            Padding::Zeros(0) => String::new(),
            Padding::Zeros(zeros) => format!(", padding {zeros}"),
            Padding::Same => ", same".to_owned(),
            Padding::Open { zeros, open } => format!(", padding {zeros}, output padding {open}"),
        };
        let bias = if bias.is_none() { ", no bias" } else { "" };
        format!("{name} {inputs}→{outputs}, {kernel}×{kernel}, stride {stride}{padding}{bias}")
    }

    /// The weight `[O, K, K, I]` and the bias `[O]`.
    fn params(&self, fans: Fans, place: &mut Placement<'_>) -> Result<(Param, Option<Param>)> {
        let shape = [self.outputs, self.kernel, self.kernel, self.inputs];
        let weight = place.trainable("weight", shape, fans, self.weight)?;
        let bias = self
            .bias
            .map(|start| place.trainable("bias", [self.outputs], fans, start))
            .transpose()?;
        Ok((weight, bias))
    }

    /// A convolution's node, either kind's: the weight with channels first, then what both have.
    fn onnx(
        &self,
        graph: &mut Graph,
        x: &Value,
        op: &str,
        weight: &Tensor,
        bias: &Option<Param>,
        window: Window,
        more: &[(&str, Attribute)],
    ) -> Result<Value> {
        // [O, K, K, I] to [O, I, K, K], and of a transposed one [I, K, K, O] to [I, O, K, K].
        let weight = graph.constant(&weight.permute(&[0, 3, 1, 2])?)?;
        let bias = bias.as_ref().map(|bias| graph.param(bias)).transpose()?;
        let ((top, bottom), (left, right)) = window.padding;
        let both = |(height, width): (usize, usize)| vec![height as i64, width as i64];
        let pads = [top, left, bottom, right].map(|zeros| zeros as i64).to_vec();
        let mut attributes = vec![
            ("kernel_shape", Attribute::Integers(vec![self.kernel as i64; 2])),
            ("strides", Attribute::Integers(both(window.stride))),
            ("pads", Attribute::Integers(pads)),
        ];
        attributes.extend_from_slice(more);
        let inputs: Vec<&str> = [x.name(), &weight].into_iter().chain(bias.as_deref()).collect();
        Ok(x.made(graph.node(op, &inputs, &attributes)))
    }

    fn image(&self, name: &'static str, input: Shape) -> Result<[usize; 2]> {
        match *input.dims() {
            [height, width, channels] if channels == self.inputs => Ok([height, width]),
            _ => {
                let rule = format!("wants an image [H, W, {}]", self.inputs);
                Err(Error::shape(name, &[input], rule))
            }
        }
    }
}

fn with_bias(y: Tensor, bias: &Option<Param>, cx: &Context) -> Result<Tensor> {
    match bias {
        Some(bias) => y.add(&cx.read(bias)),
        None => Ok(y),
    }
}

/// A convolution `[N, H, W, I] → [N, OH, OW, O]` with weight `[O, K, K, I]`.
#[derive(Debug)]
pub struct Conv2d {
    spec: Convolution,
    weight: Param,
    bias: Option<Param>,
    spectral: Option<SpectralNorm>,
}

impl Conv2d {
    /// A layer with fresh parameters.
    pub fn new(spec: Convolution, place: &mut Placement<'_>) -> Result<Conv2d> {
        if let Padding::Open { .. } = spec.padding {
            let message = "only a transposed convolution has output padding";
            return Err(Error::argument("conv2d", message));
        }
        let taps = spec.kernel * spec.kernel;
        let fans = Fans { fan_in: spec.inputs * taps, fan_out: spec.outputs * taps };
        let (weight, bias) = spec.params(fans, place)?;
        let spectral =
            place.spectral.then(|| SpectralNorm::new(spec.outputs, place)).transpose()?;
        Ok(Conv2d { spec, weight, bias, spectral })
    }

    fn window(&self, image: [usize; 2]) -> Window {
        let Convolution { kernel, stride, padding, .. } = self.spec;
        match padding {
            Padding::Zeros(zeros) | Padding::Open { zeros, .. } => Window::new(stride, zeros),
            Padding::Same => Window::same(stride, image, [kernel, kernel]),
        }
    }
}

impl Layer for Conv2d {
    fn kind(&self) -> &'static str {
        "conv2d"
    }

    fn description(&self) -> String {
        self.spec.description("Conv")
    }

    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let image = self.spec.image("conv2d", Shape::new(&x.dims()[1..])?)?;
        let mut weight = cx.read(&self.weight);
        if let Some(spectral) = &self.spectral {
            weight = spectral.normalised(&weight, cx)?;
        }
        let y = conv2d(x, &weight, self.window(image))?;
        with_bias(y, &self.bias, cx)
    }

    fn onnx(&self, graph: &mut Graph, x: &Value) -> Result<Value> {
        let window = self.window(self.spec.image("conv2d", x.shape())?);
        let mut weight = graph.context().read(&self.weight);
        if let Some(spectral) = &self.spectral {
            weight = spectral.normalised(&weight, graph.context())?;
        }
        self.spec.onnx(graph, x, "Conv", &weight, &self.bias, window, &[])
    }

    fn output(&self, input: Shape) -> Result<Shape> {
        let image = self.spec.image("conv2d", input)?;
        let kernel = [self.spec.kernel, self.spec.kernel];
        let [height, width] = self.window(image).output(&image, &kernel).ok_or_else(|| {
            Error::shape("conv2d", &[input], "the kernel is larger than the padded image")
        })?;
        Shape::new(&[height, width, self.spec.outputs])
    }

    fn params(&self) -> Vec<&Param> {
        let vector = self.spectral.iter().map(SpectralNorm::param);
        std::iter::once(&self.weight).chain(&self.bias).chain(vector).collect()
    }

    fn multiply_adds(&self, _input: Shape, output: Shape) -> u64 {
        let per_output = self.spec.kernel * self.spec.kernel * self.spec.inputs;
        output.elements() as u64 * per_output as u64
    }
}

/// A transposed convolution `[N, H, W, I] → [N, ~H·stride, ~W·stride, O]` with weight `[O, K, K, I]`.
///
/// It is computed as what it is, the adjoint of the convolution that leads back, and the weight is kept as that one's,
/// `[I, K, K, O]`: [`Param::exchanged`].
#[derive(Debug)]
pub struct ConvTranspose2d {
    spec: Convolution,
    weight: Param,
    bias: Option<Param>,
}

impl ConvTranspose2d {
    /// A layer with fresh parameters.
    ///
    /// Its fans are those of the convolution that leads back, as both Keras and PyTorch count them.
    pub fn new(spec: Convolution, place: &mut Placement<'_>) -> Result<ConvTranspose2d> {
        let taps = spec.kernel * spec.kernel;
        let fans = Fans { fan_in: spec.outputs * taps, fan_out: spec.inputs * taps };
        let (weight, bias) = spec.params(fans, place)?;
        Ok(ConvTranspose2d { spec, weight: weight.exchanged()?, bias })
    }

    /// The window, and the rows and columns that the division by the stride leaves open.
    fn window(&self, image: [usize; 2]) -> (Window, (usize, usize)) {
        let Convolution { kernel, stride, padding, .. } = self.spec;
        match padding {
            Padding::Zeros(zeros) => (Window::new(stride, zeros), (0, 0)),
            Padding::Open { zeros, open } => (Window::new(stride, zeros), (open, open)),
            Padding::Same => {
                let made = image.map(|side| side * stride);
                let window = Window::same(stride, made, [kernel, kernel]);
                let open = |axis: usize, (before, after): (usize, usize)| {
                    (made[axis] + before + after)
                        .saturating_sub((image[axis] - 1) * stride + kernel)
                };
                (window, (open(0, window.padding.0), open(1, window.padding.1)))
            }
        }
    }
}

impl Layer for ConvTranspose2d {
    fn kind(&self) -> &'static str {
        "conv_transpose2d"
    }

    fn description(&self) -> String {
        self.spec.description("ConvTranspose")
    }

    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let image = self.spec.image("conv_transpose2d", Shape::new(&x.dims()[1..])?)?;
        let (window, _) = self.window(image);
        let [height, width, _] = *self.output(Shape::new(&x.dims()[1..])?)?.dims() else {
            unreachable!("an output is an image")
        };
        let y = conv2d_grad_input(x, &cx.read(&self.weight), [height, width], window)?;
        with_bias(y, &self.bias, cx)
    }

    fn onnx(&self, graph: &mut Graph, x: &Value) -> Result<Value> {
        let (window, open) = self.window(self.spec.image("conv_transpose2d", x.shape())?);
        let weight = graph.context().read(&self.weight);
        let open = Attribute::Integers(vec![open.0 as i64, open.1 as i64]);
        let more = [("output_padding", open)];
        self.spec.onnx(graph, x, "ConvTranspose", &weight, &self.bias, window, &more)
    }

    fn output(&self, input: Shape) -> Result<Shape> {
        let image = self.spec.image("conv_transpose2d", input)?;
        let kernel = [self.spec.kernel, self.spec.kernel];
        let (window, open) = self.window(image);
        let [height, width] = window
            .transposed_output(&image, &kernel, open)
            .ok_or_else(|| Error::shape("conv_transpose2d", &[input], "padding leaves no image"))?;
        Shape::new(&[height, width, self.spec.outputs])
    }

    fn params(&self) -> Vec<&Param> {
        std::iter::once(&self.weight).chain(&self.bias).collect()
    }

    fn multiply_adds(&self, input: Shape, _output: Shape) -> u64 {
        // Each input pixel meets each tap once.
        let per_input = self.spec.kernel * self.spec.kernel * self.spec.outputs;
        input.elements() as u64 * per_input as u64
    }
}

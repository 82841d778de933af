//! Layers that only move or repeat what they are given.

use crate::layer::RowFunction;
use crate::onnx::{Attribute, Graph, Value};
use crate::{Context, Layer};
use belamy_tensor::ops::pixel_shuffle::pixel_shuffle;
use belamy_tensor::ops::resize;
use belamy_tensor::{Error, Result, Shape, Tensor};

/// Sees each sample under another shape.
#[derive(Debug, Clone, Copy)]
pub struct Reshape {
    /// The shape of one sample.
    pub shape: Shape,
}

impl Layer for Reshape {
    fn kind(&self) -> &'static str {
        "reshape"
    }

    fn description(&self) -> String {
        "Reshape".to_owned()
    }

    fn forward(&self, x: &Tensor, _cx: &mut Context) -> Result<Tensor> {
        x.reshape(Shape::new(&[&x.dims()[..1], self.shape.dims()].concat())?)
    }

    fn of_a_row(&self) -> Option<RowFunction> {
        Some(RowFunction::Nothing)
    }

    fn onnx(&self, graph: &mut Graph, x: &Value) -> Result<Value> {
        let flat = graph.flat(x);
        graph.shaped(&flat, self.shape)
    }

    fn output(&self, input: Shape) -> Result<Shape> {
        if input.elements() != self.shape.elements() {
            let rule = format!("a sample cannot become {}", self.shape);
            return Err(Error::shape("reshape", &[input], rule));
        }
        Ok(self.shape)
    }
}

/// Sees each sample as one row of features.
#[derive(Debug, Clone, Copy)]
pub struct Flatten;

impl Layer for Flatten {
    fn kind(&self) -> &'static str {
        "flatten"
    }

    fn description(&self) -> String {
        "Flatten".to_owned()
    }

    fn forward(&self, x: &Tensor, _cx: &mut Context) -> Result<Tensor> {
        let features = x.dims()[1..].iter().product();
        x.reshape([x.dims()[0], features])
    }

    fn of_a_row(&self) -> Option<RowFunction> {
        Some(RowFunction::Nothing)
    }

    fn onnx(&self, graph: &mut Graph, x: &Value) -> Result<Value> {
        Ok(graph.flat(x))
    }

    fn output(&self, input: Shape) -> Result<Shape> {
        Ok(Shape::from([input.elements()]))
    }
}

/// How new pixels come from old ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interpolation {
    /// The nearest pixel: Keras' `UpSampling2D` by default.
    Nearest,
    /// Between the four neighbours, pixel centres at half integers.
    Bilinear,
}

/// Enlarges images by a whole factor in both directions.
#[derive(Debug, Clone, Copy)]
pub struct Upsample {
    /// The factor.
    pub factor: usize,
    /// How new pixels come from old ones.
    pub interpolation: Interpolation,
}

impl Layer for Upsample {
    fn kind(&self) -> &'static str {
        "upsample"
    }

    fn description(&self) -> String {
        let kind = match self.interpolation {
            Interpolation::Nearest => "nearest",
            Interpolation::Bilinear => "bilinear",
        };
        format!("Upsample ×{} {kind}", self.factor)
    }

    fn forward(&self, x: &Tensor, _cx: &mut Context) -> Result<Tensor> {
        let input = Shape::new(&x.dims()[1..])?;
        let output = self.output(input)?;
        let size = [output.dims()[0], output.dims()[1]];
        match self.interpolation {
            Interpolation::Nearest => resize::resize_nearest(x, size),
            Interpolation::Bilinear => resize::resize_bilinear(x, size, false),
        }
    }

    fn onnx(&self, graph: &mut Graph, x: &Value) -> Result<Value> {
        let factor = self.factor as f32;
        let scales = graph.floats(&[4], &[1.0, 1.0, factor, factor]);
        let (mode, place) = match self.interpolation {
            Interpolation::Nearest => ("nearest", "asymmetric"),
            Interpolation::Bilinear => ("linear", "half_pixel"),
        };
        let attributes = [
            ("mode", Attribute::Text(mode)),
            ("coordinate_transformation_mode", Attribute::Text(place)),
            ("nearest_mode", Attribute::Text("floor")),
        ];
        // Between the two stands a region of interest, which these modes do not look at.
        Ok(x.made(graph.node("Resize", &[x.name(), "", &scales], &attributes)))
    }

    fn output(&self, input: Shape) -> Result<Shape> {
        match *input.dims() {
            [height, width, channels] => {
                Shape::new(&[height * self.factor, width * self.factor, channels])
            }
            _ => Err(Error::shape("upsample", &[input], "wants an image [H, W, C]")),
        }
    }
}

/// Mirrors an image's border outwards, the edge itself not repeated: PyTorch's `ReflectionPad2d`.
#[derive(Debug, Clone, Copy)]
pub struct ReflectPad {
    /// Pixels added on each side; fewer than the image has.
    pub border: usize,
}

impl Layer for ReflectPad {
    fn kind(&self) -> &'static str {
        "reflect_pad"
    }

    fn description(&self) -> String {
        format!("ReflectPad {}", self.border)
    }

    fn forward(&self, x: &Tensor, _cx: &mut Context) -> Result<Tensor> {
        let both = (self.border, self.border);
        x.reflect_pad2d((both, both))
    }

    fn onnx(&self, graph: &mut Graph, x: &Value) -> Result<Value> {
        let border = self.border as i64;
        let pads = graph.integers(&[0, 0, border, border, 0, 0, border, border]);
        let mode = [("mode", Attribute::Text("reflect"))];
        Ok(x.made(graph.node("Pad", &[x.name(), &pads], &mode)))
    }

    fn output(&self, input: Shape) -> Result<Shape> {
        match *input.dims() {
            [height, width, channels] if self.border < height.min(width) => {
                Shape::new(&[height + 2 * self.border, width + 2 * self.border, channels])
            }
            _ => {
                let rule = format!("wants an image [H, W, C] of sides above {}", self.border);
                Err(Error::shape("reflect_pad", &[input], rule))
            }
        }
    }
}

/// Turns `factor`² channels into `factor` times the rows and columns (Shi et al., 2016), in PyTorch's order.
#[derive(Debug, Clone, Copy)]
pub struct PixelShuffle {
    /// The factor.
    pub factor: usize,
}

impl Layer for PixelShuffle {
    fn kind(&self) -> &'static str {
        "pixel_shuffle"
    }

    fn description(&self) -> String {
        format!("PixelShuffle ×{}", self.factor)
    }

    fn forward(&self, x: &Tensor, _cx: &mut Context) -> Result<Tensor> {
        pixel_shuffle(x, self.factor)
    }

    fn onnx(&self, graph: &mut Graph, x: &Value) -> Result<Value> {
        let attributes = [
            ("blocksize", Attribute::Integer(self.factor as i64)),
            ("mode", Attribute::Text("CRD")),
        ];
        Ok(x.made(graph.node("DepthToSpace", &[x.name()], &attributes)))
    }

    fn output(&self, input: Shape) -> Result<Shape> {
        let square = self.factor * self.factor;
        match *input.dims() {
            [height, width, channels] if square > 0 && channels % square == 0 => {
                Shape::new(&[height * self.factor, width * self.factor, channels / square])
            }
            _ => {
                let rule = format!("wants an image [H, W, C] whose channels {square} divides");
                Err(Error::shape("pixel_shuffle", &[input], rule))
            }
        }
    }
}

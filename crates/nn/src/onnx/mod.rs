//! Networks as ONNX models, for programs that embed a runtime for those.
//!
//! A model computes what the network computes in inference: running statistics, no dropout. The batch may have any extent.
//! Images have their channels before rows and columns there ([`Layout::ChannelsFirst`], ONNX's own) or behind, as
//! everywhere in Belamy; the model turns them itself. Inputs are `input` and, for a conditional network, `labels` of 64-bit
//! integers; the output is `output`.

mod protobuf;

use crate::layer::Named;
use crate::{Context, Network, Param};
use belamy_tensor::{Error, Result, Shape, Tensor};
use protobuf::{Elements, Message, tensor, value};

pub(crate) use protobuf::Attribute;

/// The versions of the operator set that a model may be of.
pub const OPSETS: [u32; 3] = [13, 17, 21];

/// The version of the file format that came with an operator set.
fn file_version(opset: u32) -> i64 {
    match opset {
        ..=14 => 7,
        15..=18 => 8,
        _ => 10,
    }
}

/// Where the channels of the images stand that go in and come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `[N, C, H, W]`.
    ChannelsFirst,
    /// `[N, H, W, C]`.
    ChannelsLast,
}

/// A value on the way: its name in the model, and the shape of one sample with the channels last. The model has images
/// with the channels first.
#[derive(Clone, Debug)]
pub struct Value {
    name: String,
    shape: Shape,
}

/// A model under way.
#[derive(Debug)]
pub struct Graph {
    nodes: Vec<Message>,
    constants: Vec<Message>,
    /// Names given so far.
    names: usize,
    /// What layers read their parameters by.
    cx: Context,
}

impl Graph {
    fn name(&mut self, of: &str) -> String {
        self.names += 1;
        format!("{of}_{}", self.names)
    }

    /// The context of inference.
    pub(crate) fn context(&mut self) -> &mut Context {
        &mut self.cx
    }

    /// Adds a node, and returns the name of what it makes.
    pub(crate) fn node(
        &mut self,
        op: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute)],
    ) -> String {
        let output = self.name(&op.to_ascii_lowercase());
        self.named_node(op, inputs, attributes, &output);
        output
    }

    fn named_node(
        &mut self,
        op: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute)],
        output: &str,
    ) {
        let node = inputs.iter().fold(Message::default(), |node, input| node.bytes(1, input));
        let node = node.bytes(2, output).bytes(3, format!("node_{output}")).bytes(4, op);
        let node = attributes
            .iter()
            .fold(node, |node, (name, attribute)| node.message(5, &attribute.message(name)));
        self.nodes.push(node);
    }

    /// Adds constant numbers, and returns their name.
    pub(crate) fn floats(&mut self, dims: &[usize], values: &[f32]) -> String {
        let name = self.name("weight");
        let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constants.push(tensor(&name, dims, Elements::F32, &data));
        name
    }

    /// Adds a row of constant integers, and returns its name.
    pub(crate) fn integers(&mut self, values: &[i64]) -> String {
        let name = self.name("extents");
        let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constants.push(tensor(&name, &[values.len()], Elements::I64, &data));
        name
    }

    /// Adds a parameter as it is, and returns its name.
    pub(crate) fn param(&mut self, param: &Param) -> Result<String> {
        self.constant(&param.value())
    }

    /// Adds a tensor as it is, and returns its name.
    pub(crate) fn constant(&mut self, value: &Tensor) -> Result<String> {
        let numbers: Vec<f32> = value.to_f64()?.into_iter().map(|number| number as f32).collect();
        Ok(self.floats(value.dims(), &numbers))
    }

    /// A value as one row of features for each sample, in the order of channels-last images.
    pub(crate) fn flat(&mut self, x: &Value) -> Value {
        let shape = Shape::from([x.shape.elements()]);
        if x.shape == shape {
            return x.clone();
        }
        let last = self.channels_last(x);
        let extents = self.integers(&[0, shape.elements() as i64]);
        Value { name: self.node("Reshape", &[&last, &extents], &[]), shape }
    }

    /// A row of features as samples of another shape.
    pub(crate) fn shaped(&mut self, x: &Value, shape: Shape) -> Result<Value> {
        let extents: Vec<i64> =
            std::iter::once(0).chain(shape.dims().iter().map(|&extent| extent as i64)).collect();
        match shape.rank() {
            1 => Ok(x.clone()),
            3 => {
                let extents = self.integers(&extents);
                let name = self.node("Reshape", &[x.name(), &extents], &[]);
                Ok(Value { name: self.channels_first(&name), shape })
            }
            _ => Err(refused(format!("samples of shape {shape} are neither rows nor images"))),
        }
    }

    /// The name of an image with the channels last, or of what has none as it is.
    fn channels_last(&mut self, x: &Value) -> String {
        if x.shape.rank() != 3 {
            return x.name.clone();
        }
        self.node("Transpose", &[&x.name], &[("perm", Attribute::Integers(vec![0, 2, 3, 1]))])
    }

    fn channels_first(&mut self, name: &str) -> String {
        self.node("Transpose", &[name], &[("perm", Attribute::Integers(vec![0, 3, 1, 2]))])
    }

    /// Two values with the channels of the one behind those of the other.
    pub(crate) fn joined(&mut self, x: &Value, y: &Value) -> Value {
        let last = x.shape.rank() - 1;
        let channels = x.shape.dims()[last] + y.shape.dims()[last];
        let name = self.node("Concat", &[&x.name, &y.name], &[("axis", Attribute::Integer(1))]);
        Value { name, shape: x.shape.with(last, channels) }
    }

    /// What a row of layers makes of a value. Errors name the layer.
    pub(crate) fn layers(&mut self, layers: &[Named], x: &Value) -> Result<Value> {
        layers.iter().try_fold(x.clone(), |x, named| {
            let shape = named.layer.output(x.shape)?;
            let made =
                named.layer.onnx(self, &x).map_err(|error| error.within(named.name.clone()))?;
            Ok(Value { shape, ..made })
        })
    }
}

impl Value {
    /// The name of the value in the model.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The shape of one sample, channels last.
    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// The same samples under another name: what a node makes of them.
    pub(crate) fn made(&self, name: String) -> Value {
        Value { name, shape: self.shape }
    }
}

/// Why a layer has no place in a model.
pub(crate) fn refused(why: impl Into<String>) -> Error {
    Error::argument("onnx", why)
}

impl Network {
    /// The network as an ONNX model: the bytes of a file.
    ///
    /// `notes` are kept in the model as its metadata. Fails for an operator set that is not one of [`OPSETS`], and for layers
    /// that ONNX has no operators for: dropout in inference, and the deviation over a batch.
    pub fn onnx(&self, opset: u32, layout: Layout, notes: &[(&str, &str)]) -> Result<Vec<u8>> {
        if !OPSETS.contains(&opset) {
            let [first, second, third] = OPSETS;
            return Err(refused(format!(
                "there is no operator set {opset} here: {first}, {second} and {third} are"
            )));
        }
        let device = self.params().first().map(|(_, param)| param.value().device().clone());
        let device = device.ok_or_else(|| refused("a network without parameters is no model"))?;
        let mut graph = Graph {
            nodes: Vec::new(),
            constants: Vec::new(),
            names: 0,
            cx: Context::evaluate(0, 0, &device)?,
        };
        let outside = |shape: Shape| match (shape.dims(), layout) {
            (&[height, width, channels], Layout::ChannelsFirst) => vec![channels, height, width],
            (dims, _) => dims.to_vec(),
        };
        let mut inputs = vec![value("input", &outside(self.input()), Elements::F32)];
        let mut x = Value { name: "input".to_owned(), shape: self.input() };
        if layout == Layout::ChannelsLast && x.shape.rank() == 3 {
            x.name = graph.channels_first("input");
        }
        let (before, branch, after) = self.parts();
        let place = |error: Error| error.within(self.name().to_owned());
        x = graph.layers(before, &x).map_err(place)?;
        if let Some(branch) = branch {
            inputs.push(value("labels", &[], Elements::I64));
            let labels = Value { name: "labels".to_owned(), shape: Shape::SCALAR };
            let planes = graph.layers(branch, &labels).map_err(place)?;
            x = graph.joined(&x, &planes);
            x = graph.layers(after, &x).map_err(place)?;
        }
        let last = match layout {
            Layout::ChannelsFirst => x.name.clone(),
            Layout::ChannelsLast => graph.channels_last(&x),
        };
        graph.named_node("Identity", &[&last], &[], "output");
        let body = graph.nodes.iter().fold(Message::default(), |body, node| body.message(1, node));
        let mut body = body.bytes(2, self.name());
        for constant in &graph.constants {
            body = body.message(5, constant);
        }
        for input in &inputs {
            body = body.message(11, input);
        }
        body = body.message(12, &value("output", &outside(x.shape), Elements::F32));
        let operators = Message::default().bytes(1, "").integer(2, i64::from(opset));
        let mut model = Message::default()
            .integer(1, file_version(opset))
            .bytes(2, "belamy")
            .bytes(3, env!("CARGO_PKG_VERSION"))
            .message(7, &body)
            .message(8, &operators);
        for (key, value) in notes {
            model = model.message(14, &Message::default().bytes(1, key).bytes(2, value));
        }
        Ok(model.done())
    }
}

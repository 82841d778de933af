//! Layers in a row, optionally joined by a conditioning branch.

use crate::initializer::Initializer;
use crate::layers::convolution::Convolution;
use crate::layers::shape::Interpolation;
use crate::layers::{
    Activation, BatchNorm, Conv2d, ConvTranspose2d, Dense, Dropout, Embedding, Flatten,
    InstanceNorm, Padding, Placement, Reshape, RunningVariance, Upsample,
};
use crate::{Context, Layer, Param};
use belamy_tensor::ops::concat::concat;
use belamy_tensor::{DType, Device, Error, Result, Shape, Tensor};
use std::collections::HashMap;

/// A layer and its name within the network.
#[derive(Debug)]
struct Named {
    name: String,
    layer: Box<dyn Layer>,
}

/// A branch that turns labels into extra channels.
#[derive(Debug)]
struct Condition {
    /// How many layers of the main row come before the channels are joined.
    after: usize,
    branch: Vec<Named>,
}

/// A network: a row of layers, whose channels may be joined by those of a label's branch on the way.
#[derive(Debug)]
pub struct Network {
    name: String,
    input: Shape,
    main: Vec<Named>,
    condition: Option<Condition>,
}

/// A row of a network's layer table, as Keras' `summary()` prints it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LayerRow {
    /// The layer's name, unique in the network.
    pub name: String,
    /// What it is.
    pub layer: String,
    /// The shape it makes, without the batch axis.
    pub output: Vec<usize>,
    /// All its numbers, running statistics included.
    pub params: usize,
    /// Those that optimisers move.
    pub trainable: usize,
    /// Multiply-adds for one sample.
    pub multiply_adds: u64,
}

impl Network {
    /// The network's name: `generator`, `discriminator`, ...
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The shape of one input sample.
    pub fn input(&self) -> Shape {
        self.input
    }

    /// Whether it takes labels.
    pub fn is_conditional(&self) -> bool {
        self.condition.is_some()
    }

    /// The network's function of `x: [N, ..input]` and, for a conditional one, `labels: [N]` (u32).
    ///
    /// Errors name the layer they happened in.
    pub fn forward(&self, x: &Tensor, labels: Option<&Tensor>, cx: &mut Context) -> Result<Tensor> {
        self.walk(x, labels, cx, None)
    }

    /// As [`Network::forward`], showing each layer's name and result to `observe`: to find where a NaN begins. Layers
    /// that would be computed together are then computed one by one.
    pub fn forward_observed(
        &self,
        x: &Tensor,
        labels: Option<&Tensor>,
        cx: &mut Context,
        observe: &mut dyn FnMut(&str, &Tensor),
    ) -> Result<Tensor> {
        self.walk(x, labels, cx, Some(observe))
    }

    fn walk(
        &self,
        x: &Tensor,
        labels: Option<&Tensor>,
        cx: &mut Context,
        mut observe: Option<&mut dyn FnMut(&str, &Tensor)>,
    ) -> Result<Tensor> {
        let mut run = |layers: &[Named], mut x: Tensor, cx: &mut Context| -> Result<Tensor> {
            let mut rest = layers;
            while let [Named { name, layer }, after @ ..] = rest {
                let place = |error: Error| error.within(format!("{}.{name}", self.name));
                rest = after;
                if observe.is_none()
                    && let [next, after @ ..] = after
                    && let Some(slope) = next.layer.leaky_slope()
                    && let Some(together) = layer.forward_activated(&x, slope, cx)
                {
                    (x, rest) = (together.map_err(place)?, after);
                    continue;
                }
                x = layer.forward(&x, cx).map_err(place)?;
                if let Some(observe) = &mut observe {
                    observe(name, &x);
                }
            }
            Ok(x)
        };
        match (&self.condition, labels) {
            (None, _) => run(&self.main, x.clone(), cx),
            (Some(condition), Some(labels)) => {
                let (before, after) = self.main.split_at(condition.after);
                let x = run(before, x.clone(), cx)?;
                let planes = run(&condition.branch, labels.clone(), cx)?;
                let joined = concat(&[&x, &planes], x.shape().rank() - 1)
                    .map_err(|error| error.within(format!("{}.concat", self.name)))?;
                run(after, joined, cx)
            }
            (Some(_), None) => {
                let message =
                    format!("{} is conditional and wants a label for each sample", self.name);
                Err(Error::argument("forward", message))
            }
        }
    }

    /// Layers in the order of computation: main row up to the join, branch, rest of the row.
    fn layers(&self) -> impl Iterator<Item = &Named> {
        let after = self.condition.as_ref().map_or(self.main.len(), |condition| condition.after);
        let branch = self.condition.iter().flat_map(|condition| &condition.branch);
        self.main[..after].iter().chain(branch).chain(&self.main[after..])
    }

    /// Every parameter with its full name, `<layer>.<parameter>`, in the order of computation.
    pub fn params(&self) -> Vec<(String, &Param)> {
        self.layers()
            .flat_map(|Named { name, layer }| {
                layer
                    .params()
                    .into_iter()
                    .map(move |param| (format!("{name}.{}", param.name()), param))
            })
            .collect()
    }

    /// The parameters that optimisers move, in the same order.
    pub fn trainable(&self) -> Vec<&Param> {
        self.params()
            .into_iter()
            .map(|(_, param)| param)
            .filter(|param| param.is_trainable())
            .collect()
    }

    /// Each layer with parameters: its name, kind and parameters, in the order of computation.
    pub(crate) fn layers_with_params(&self) -> Vec<(&str, &'static str, Vec<&Param>)> {
        self.layers()
            .map(|Named { name, layer }| (name.as_str(), layer.kind(), layer.params()))
            .filter(|(_, _, params)| !params.is_empty())
            .collect()
    }

    /// The layer table.
    pub fn table(&self) -> Result<Vec<LayerRow>> {
        let row = |named: &Named, input: Shape| -> Result<(LayerRow, Shape)> {
            let output = named.layer.output(input)?;
            let params = named.layer.params();
            let count = |params: &[&Param]| params.iter().map(|p| p.meta().shape.elements()).sum();
            let trainable: Vec<&Param> =
                params.iter().copied().filter(|p| p.is_trainable()).collect();
            let row = LayerRow {
                name: named.name.clone(),
                layer: named.layer.description(),
                output: output.dims().to_vec(),
                params: count(&params),
                trainable: count(&trainable),
                multiply_adds: named.layer.multiply_adds(input, output),
            };
            Ok((row, output))
        };
        let mut rows = Vec::new();
        let mut shape = self.input;
        for (index, named) in self.main.iter().enumerate() {
            if let Some(condition) = self.condition.as_ref().filter(|join| join.after == index) {
                let mut plane = Shape::SCALAR;
                for named in &condition.branch {
                    let (mut line, output) = row(named, plane)?;
                    line.layer.push_str(" (label)");
                    rows.push(line);
                    plane = output;
                }
                let last = shape.rank() - 1;
                shape = shape.with(last, shape.dims()[last] + plane.dims()[plane.rank() - 1]);
                rows.push(LayerRow {
                    name: "concat".to_owned(),
                    layer: "Concat".to_owned(),
                    output: shape.dims().to_vec(),
                    params: 0,
                    trainable: 0,
                    multiply_adds: 0,
                });
            }
            let (line, output) = row(named, shape)?;
            rows.push(line);
            shape = output;
        }
        Ok(rows)
    }

    /// The shape of one output sample.
    pub fn output(&self) -> Result<Shape> {
        let table = self.table()?;
        table.last().map_or(Ok(self.input), |row| Shape::new(&row.output))
    }
}

/// Builds a network layer by layer, carrying the shape along.
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_nn::{Initializer, layers::Activation, network::Builder};
/// use belamy_tensor::DType;
/// let zero = Some(Initializer::Constant(0.0));
/// let network = Builder::new("generator", [100], &device, DType::F32, 1)
///     .dense(15, Initializer::GlorotUniform, zero)?
///     .activation(Activation::Relu)?
///     .dense(2, Initializer::GlorotUniform, zero)?
///     .build();
/// let total: usize = network.table()?.iter().map(|row| row.params).sum();
/// assert_eq!(total, 1_547);
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
#[derive(Debug)]
pub struct Builder<'a> {
    network: Network,
    place: Placement<'a>,
    shape: Shape,
    /// The main row's shape at the join, while the branch is being built.
    branching: Option<Shape>,
    counts: HashMap<&'static str, usize>,
}

impl<'a> Builder<'a> {
    /// A network of samples of shape `input`, its parameters of type `dtype` on `device`, drawn by `seed`.
    pub fn new(
        name: impl Into<String>,
        input: impl Into<Shape>,
        device: &'a Device,
        dtype: DType,
        seed: u64,
    ) -> Builder<'a> {
        let input = input.into();
        let network = Network { name: name.into(), input, main: Vec::new(), condition: None };
        Builder {
            network,
            place: Placement::new(device, dtype, seed),
            shape: input,
            branching: None,
            counts: HashMap::new(),
        }
    }

    /// Adds any layer.
    pub fn layer(mut self, layer: impl Layer + 'static) -> Result<Self> {
        self.shape = layer.output(self.shape)?;
        let count = self.counts.entry(layer.kind()).or_default();
        *count += 1;
        let named = Named { name: format!("{}_{count}", layer.kind()), layer: Box::new(layer) };
        match (&mut self.network.condition, self.branching) {
            (Some(condition), Some(_)) => condition.branch.push(named),
            _ => self.network.main.push(named),
        }
        Ok(self)
    }

    /// The extent of the last axis so far.
    pub fn channels(&self) -> usize {
        self.shape.dims().last().copied().unwrap_or(1)
    }

    /// Adds a dense layer of `outputs` features.
    pub fn dense(
        mut self,
        outputs: usize,
        weight: Initializer,
        bias: Option<Initializer>,
    ) -> Result<Self> {
        let layer = Dense::new(self.channels(), outputs, weight, bias, &mut self.place)?;
        self.layer(layer)
    }

    /// Adds a convolution.
    pub fn conv2d(
        mut self,
        outputs: usize,
        kernel: usize,
        stride: usize,
        padding: Padding,
        weight: Initializer,
        bias: Option<Initializer>,
    ) -> Result<Self> {
        let inputs = self.channels();
        let spec = Convolution { inputs, outputs, kernel, stride, padding, weight, bias };
        let layer = Conv2d::new(spec, &mut self.place)?;
        self.layer(layer)
    }

    /// Adds a transposed convolution.
    pub fn conv_transpose2d(
        mut self,
        outputs: usize,
        kernel: usize,
        stride: usize,
        padding: Padding,
        weight: Initializer,
        bias: Option<Initializer>,
    ) -> Result<Self> {
        let inputs = self.channels();
        let spec = Convolution { inputs, outputs, kernel, stride, padding, weight, bias };
        let layer = ConvTranspose2d::new(spec, &mut self.place)?;
        self.layer(layer)
    }

    /// Adds batch normalisation.
    pub fn batch_norm(
        mut self,
        decay: f64,
        epsilon: f64,
        variance: RunningVariance,
        gamma: Initializer,
    ) -> Result<Self> {
        let channels = self.channels();
        let layer = BatchNorm::new(channels, decay, epsilon, variance, gamma, &mut self.place)?;
        self.layer(layer)
    }

    /// Adds instance normalisation.
    pub fn instance_norm(mut self, epsilon: f64, affine: bool) -> Result<Self> {
        let layer = InstanceNorm::new(self.channels(), epsilon, affine, &mut self.place)?;
        self.layer(layer)
    }

    /// Adds an embedding of one label a sample, the start of a conditioning branch.
    pub fn embedding(
        mut self,
        labels: usize,
        features: usize,
        weight: Initializer,
    ) -> Result<Self> {
        let layer = Embedding::new(labels, features, weight, &mut self.place)?;
        self.layer(layer)
    }

    /// Adds an activation.
    pub fn activation(self, activation: Activation) -> Result<Self> {
        self.layer(activation)
    }

    /// Adds dropout.
    pub fn dropout(self, rate: f64) -> Result<Self> {
        let layer = Dropout::new(rate)?;
        self.layer(layer)
    }

    /// Sees each sample under another shape.
    pub fn reshape(self, shape: impl Into<Shape>) -> Result<Self> {
        let shape = shape.into();
        self.layer(Reshape { shape })
    }

    /// Sees each sample as one row of features.
    pub fn flatten(self) -> Result<Self> {
        self.layer(Flatten)
    }

    /// Enlarges images by a whole factor.
    pub fn upsample(self, factor: usize, interpolation: Interpolation) -> Result<Self> {
        self.layer(Upsample { factor, interpolation })
    }

    /// Begins the branch that turns a label into channels; [`Builder::join`] ends it.
    #[must_use]
    pub fn branch(mut self) -> Self {
        self.network.condition =
            Some(Condition { after: self.network.main.len(), branch: Vec::new() });
        self.branching = Some(self.shape);
        self.shape = Shape::SCALAR;
        self
    }

    /// Joins the branch's channels to the main row's. Fails unless all other axes agree.
    pub fn join(mut self) -> Result<Self> {
        let Some(main) = self.branching.take() else {
            return Err(Error::argument("join", "there is no branch to join"));
        };
        let last = main.rank().saturating_sub(1);
        if main.rank() == 0 || main.with(last, 0) != with_last(self.shape, 0) {
            let rule = "the branch must agree with the main row on all axes but the channels";
            return Err(Error::shape("concat", &[main, self.shape], rule));
        }
        self.shape = main.with(last, main.dims()[last] + self.channels());
        Ok(self)
    }

    /// The finished network.
    pub fn build(self) -> Network {
        self.network
    }
}

fn with_last(shape: Shape, extent: usize) -> Shape {
    match shape.rank() {
        0 => shape,
        rank => shape.with(rank - 1, extent),
    }
}

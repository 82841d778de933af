//! Layers in a row, optionally joined by a conditioning branch.

use crate::initializer::Initializer;
use crate::layer::{self, Named, Observe, RowFunction};
use crate::layers::convolution::Convolution;
use crate::layers::shape::Interpolation;
use crate::layers::{
    Activation, BatchNorm, Conv2d, ConvTranspose2d, Dense, Dropout, Embedding, Flatten,
    InstanceNorm, Join, MinibatchStddev, PRelu, Padding, PixelShuffle, Placement, ReflectPad,
    Reshape, RunningVariance, Skip, Upsample,
};
use crate::{Context, Layer, Param};
use belamy_tensor::ops::concat::concat;
use belamy_tensor::{DType, Device, Error, Result, Shape, Tensor};
use std::collections::HashMap;

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

/// What a network does to a single row: [`Network::of_a_row`].
#[derive(Debug, Clone)]
pub struct RowNetwork {
    /// The functions of the main row.
    pub functions: Vec<RowFunction>,
    /// Before which of them a label's row of a table is joined.
    pub joined: Option<(usize, Tensor)>,
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

    /// The layers of the main row up to where labels join, those of the labels' branch if there is one, and the rest.
    pub(crate) fn parts(&self) -> (&[Named], Option<&[Named]>, &[Named]) {
        match &self.condition {
            None => (&self.main, None, &[]),
            Some(condition) => {
                let (before, after) = self.main.split_at(condition.after);
                (before, Some(&condition.branch), after)
            }
        }
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

    /// What the network does to a single row in inference, layer by layer: the functions of its main row, and the table
    /// whose row for the label is joined before the `after`-th of them, if there is one. `None` for networks of other layers.
    pub fn of_a_row(&self) -> Option<RowNetwork> {
        let functions = self.main.iter().map(|named| named.layer.of_a_row());
        let functions = functions.collect::<Option<Vec<RowFunction>>>()?;
        let joined = match &self.condition {
            None => None,
            Some(Condition { after, branch }) => match &branch[..] {
                [only] => match only.layer.of_a_row()? {
                    RowFunction::Table(table) => Some((*after, table)),
                    _ => return None,
                },
                _ => return None,
            },
        };
        Some(RowNetwork { functions, joined })
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
        mut observe: Option<&mut Observe<'_>>,
    ) -> Result<Tensor> {
        let mut run = |layers: &[Named], x: &Tensor, cx: &mut Context| {
            let observe: Option<&mut Observe<'_>> = match &mut observe {
                Some(observe) => Some(&mut **observe),
                None => None,
            };
            layer::run(layers, x, cx, observe).map_err(|error| error.within(self.name.clone()))
        };
        match (&self.condition, labels) {
            (None, _) => run(&self.main, x, cx),
            (Some(condition), Some(labels)) => {
                let (before, after) = self.main.split_at(condition.after);
                let x = run(before, x, cx)?;
                let planes = run(&condition.branch, labels, cx)?;
                let joined = concat(&[&x, &planes], x.shape().rank() - 1)
                    .map_err(|error| error.within(format!("{}.concat", self.name)))?;
                run(after, &joined, cx)
            }
            (Some(_), None) => {
                let message =
                    format!("{} is conditional and wants a label for each sample", self.name);
                Err(Error::argument("forward", message))
            }
        }
    }

    /// The layers that hold no others, with their full names, in the order of computation: main row up to the join,
    /// branch, rest of the row.
    fn layers(&self) -> Vec<(String, &dyn Layer)> {
        fn gather<'a>(prefix: &str, rows: &'a [Named], found: &mut Vec<(String, &'a dyn Layer)>) {
            for Named { name, layer } in rows {
                let name = format!("{prefix}{name}");
                match layer.inside() {
                    [] => found.push((name, layer.as_ref())),
                    inside => gather(&format!("{name}."), inside, found),
                }
            }
        }
        let after = self.condition.as_ref().map_or(self.main.len(), |condition| condition.after);
        let branch = self.condition.as_ref().map_or(&[][..], |condition| &condition.branch);
        let mut found = Vec::new();
        for rows in [&self.main[..after], branch, &self.main[after..]] {
            gather("", rows, &mut found);
        }
        found
    }

    /// Every parameter with its full name, `<layer>.<parameter>`, in the order of computation. A layer inside another
    /// one has that one's name before its own.
    pub fn params(&self) -> Vec<(String, &Param)> {
        self.layers()
            .into_iter()
            .flat_map(|(name, layer)| {
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

    /// Each layer with parameters: its full name, kind and parameters, in the order of computation.
    pub(crate) fn layers_with_params(&self) -> Vec<(String, &'static str, Vec<&Param>)> {
        self.layers()
            .into_iter()
            .map(|(name, layer)| (name, layer.kind(), layer.params()))
            .filter(|(_, _, params)| !params.is_empty())
            .collect()
    }

    /// The layer table. The layers inside another one stand before it.
    pub fn table(&self) -> Result<Vec<LayerRow>> {
        let mut rows = Vec::new();
        let mut shape = self.input;
        for (index, named) in self.main.iter().enumerate() {
            if let Some(condition) = self.condition.as_ref().filter(|join| join.after == index) {
                let first = rows.len();
                let mut plane = Shape::SCALAR;
                for named in &condition.branch {
                    plane = named.list("", plane, &mut rows)?;
                }
                rows[first..].iter_mut().for_each(|row| row.layer.push_str(" (label)"));
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
            shape = named.list("", shape, &mut rows)?;
        }
        Ok(rows)
    }

    /// The shape of one output sample.
    pub fn output(&self) -> Result<Shape> {
        let table = self.table()?;
        table.last().map_or(Ok(self.input), |row| Shape::new(&row.output))
    }
}

impl Named {
    /// Appends the rows of the layers inside it and its own to a table; the shape that it makes of `input`.
    fn list(&self, prefix: &str, input: Shape, rows: &mut Vec<LayerRow>) -> Result<Shape> {
        let Named { name, layer } = self;
        let name = format!("{prefix}{name}");
        let mut shape = input;
        for inside in layer.inside() {
            shape = inside.list(&format!("{name}."), shape, rows)?;
        }
        let output = layer.output(input)?;
        let params = layer.params();
        let count = |params: &[&Param]| params.iter().map(|p| p.meta().shape.elements()).sum();
        let trainable: Vec<&Param> = params.iter().copied().filter(|p| p.is_trainable()).collect();
        rows.push(LayerRow {
            name,
            layer: layer.description(),
            output: output.dims().to_vec(),
            params: count(&params),
            trainable: count(&trainable),
            multiply_adds: layer.multiply_adds(input, output),
        });
        Ok(output)
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
    /// What follows each hidden activation.
    hidden_dropout: Option<Dropout>,
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
            hidden_dropout: None,
        }
    }

    /// From here on dropout follows every activation but those that end a network, in training and in inference.
    pub fn hidden_dropout(mut self, rate: f64) -> Result<Self> {
        self.hidden_dropout = Some(Dropout::new(rate)?.always());
        Ok(self)
    }

    /// From here on weights are 0 instead of drawn: for layer tables of large networks.
    #[must_use]
    pub fn undrawn(mut self) -> Self {
        self.place.drawn = false;
        self
    }

    /// From here on dense layers and convolutions divide their weights by their largest singular values.
    #[must_use]
    pub fn spectral_norm(mut self) -> Self {
        self.place.spectral = true;
        self
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
        let dropout = self.hidden_dropout.filter(|_| activation.leaky_slope().is_some());
        let builder = self.layer(activation)?;
        match dropout {
            Some(dropout) => builder.layer(dropout),
            None => Ok(builder),
        }
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

    /// Adds a PReLU whose slope starts at `slope`.
    pub fn prelu(mut self, slope: f64) -> Result<Self> {
        let layer = PRelu::new(slope, &mut self.place)?;
        self.layer(layer)
    }

    /// Mirrors the border outwards by `border` pixels.
    pub fn reflect_pad(self, border: usize) -> Result<Self> {
        self.layer(ReflectPad { border })
    }

    /// Adds a channel that tells how varied groups of samples are.
    pub fn minibatch_stddev(self, group: usize) -> Result<Self> {
        self.layer(MinibatchStddev { group })
    }

    /// Trades channels for resolution.
    pub fn pixel_shuffle(self, factor: usize) -> Result<Self> {
        self.layer(PixelShuffle { factor })
    }

    /// Adds a way around the layers that `inside` adds: a residual block, or a level of a U-Net.
    ///
    /// ```
    /// # let device = belamy_cpu::oracle();
    /// use belamy_nn::{Initializer, layers::{Activation, Join}, network::Builder};
    /// let network = Builder::new("generator", [8], &device, belamy_tensor::DType::F32, 1)
    ///     .skip(Join::Add, |inside| {
    ///         inside.dense(8, Initializer::HeNormal, None)?.activation(Activation::Relu)
    ///     })?
    ///     .build();
    /// assert_eq!(network.output()?.dims(), [8]);
    /// # Ok::<(), belamy_tensor::Error>(())
    /// ```
    pub fn skip(mut self, join: Join, inside: impl FnOnce(Self) -> Result<Self>) -> Result<Self> {
        if self.branching.is_some() {
            return Err(Error::argument("skip", "a label's branch has no way around its layers"));
        }
        let (outer, counts) =
            (std::mem::take(&mut self.network.main), std::mem::take(&mut self.counts));
        let (shape, condition) = (self.shape, self.network.condition.is_some());
        let mut built = inside(self)?;
        if built.branching.is_some() || built.network.condition.is_some() != condition {
            return Err(Error::argument("skip", "labels join outside of a skip"));
        }
        let layers = std::mem::replace(&mut built.network.main, outer);
        built.counts = counts;
        built.shape = shape;
        built.layer(Skip::new(join, layers))
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

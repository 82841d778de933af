//! Parameters: the only mutable cell in the house.

use belamy_tensor::{Meta, Result, Shape, Tensor};
use std::sync::{PoisonError, RwLock};

/// Whether gradients move a parameter or the forward pass does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A weight: optimisers move it.
    Trainable,
    /// A running statistic: batch normalisation moves it.
    Buffer,
}

/// A named place for a tensor that training rebinds.
///
/// The tensor itself never changes: [`Param::set`] puts a new one in its place, so a graph in flight keeps the
/// weights it was built from. Inside a network a parameter's full name is `<layer>.<name>`.
#[derive(Debug)]
pub struct Param {
    name: &'static str,
    kind: Kind,
    /// Whether files have its first and last axes the other way round.
    exchanged: bool,
    value: RwLock<Tensor>,
}

impl Param {
    /// A weight that starts as `value`.
    pub fn trainable(name: &'static str, value: Tensor) -> Param {
        Param::new(name, Kind::Trainable, value.tracked())
    }

    /// A running statistic that starts as `value`.
    pub fn buffer(name: &'static str, value: Tensor) -> Param {
        Param::new(name, Kind::Buffer, value.detach())
    }

    fn new(name: &'static str, kind: Kind, value: Tensor) -> Param {
        Param { name, kind, exchanged: false, value: RwLock::new(value) }
    }

    /// The same weight, kept from now on as `[I, .., O]` where it was `[O, .., I]`, as files go on having it.
    ///
    /// A transposed convolution is the adjoint of one that leads back, and this is that one's weight: kept so, no step
    /// has to exchange its axes, forwards or backwards.
    pub fn exchanged(self) -> Result<Param> {
        let value = exchange(&self.value())?.tracked();
        Ok(Param { exchanged: true, value: RwLock::new(value), ..self })
    }

    /// The shape that files have it in.
    pub fn shape_in_files(&self) -> Shape {
        let mut dims = self.meta().shape.dims().to_vec();
        if self.exchanged {
            let last = dims.len() - 1;
            dims.swap(0, last);
        }
        Shape::new(&dims).expect("as many elements as the weight has")
    }

    /// A tensor of this parameter's shape (its value, its average, a moment) in the layout of files; or, as the
    /// exchange of two axes undoes itself, one from a file in the parameter's own layout.
    pub fn in_files(&self, tensor: &Tensor) -> Result<Tensor> {
        if self.exchanged { exchange(tensor) } else { Ok(tensor.clone()) }
    }

    /// The name within its layer: `weight`, `bias`, `running_mean`, ...
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether optimisers move it.
    pub fn is_trainable(&self) -> bool {
        self.kind == Kind::Trainable
    }

    /// The current tensor; a weight's is the start of a graph.
    pub fn value(&self) -> Tensor {
        self.value.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Shape and type.
    pub fn meta(&self) -> Meta {
        self.value().meta()
    }

    /// Puts another tensor of the same shape and type in the place.
    ///
    /// Panics on another shape: every caller computes the new value from the old one, or has compared them.
    pub fn set(&self, value: Tensor) {
        assert_eq!(
            value.meta(),
            self.meta(),
            "{}: a parameter keeps its shape and type",
            self.name
        );
        let value = match self.kind {
            Kind::Trainable => value.detach().tracked(),
            Kind::Buffer => value.detach(),
        };
        *self.value.write().unwrap_or_else(PoisonError::into_inner) = value;
    }
}

/// The tensor with its first and last axes exchanged.
fn exchange(tensor: &Tensor) -> Result<Tensor> {
    let mut axes: Vec<usize> = (0..tensor.shape().rank()).collect();
    let last = axes.len() - 1;
    axes.swap(0, last);
    tensor.detach().permute(&axes)
}

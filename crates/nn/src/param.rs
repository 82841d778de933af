//! Parameters: the only mutable cell in the house.

use belamy_tensor::{Meta, Tensor};
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
    value: RwLock<Tensor>,
}

impl Param {
    /// A weight that starts as `value`.
    pub fn trainable(name: &'static str, value: Tensor) -> Param {
        Param { name, kind: Kind::Trainable, value: RwLock::new(value.tracked()) }
    }

    /// A running statistic that starts as `value`.
    pub fn buffer(name: &'static str, value: Tensor) -> Param {
        Param { name, kind: Kind::Buffer, value: RwLock::new(value.detach()) }
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

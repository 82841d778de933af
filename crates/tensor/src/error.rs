//! The one error type of the core: what failed, with which shapes, called from where.

use crate::{DType, DeviceId, Shape};
use std::fmt;
use std::panic::Location;

/// A result whose error is a core [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an op was refused or a device failed, where it was called, and inside which layers.
///
/// One word wide, so that `Result<Tensor>` stays cheap to pass.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    location: &'static Location<'static>,
    /// Layers or files around the failing call, innermost first.
    context: Vec<String>,
}

/// What went wrong.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The operands' shapes do not fit the op.
    Shape {
        /// The op that refused.
        op: &'static str,
        /// The operands' shapes, in the op's order.
        shapes: Vec<Shape>,
        /// The rule that does not hold.
        rule: String,
    },
    /// An operand has an element type that the op does not take.
    DType {
        /// The op that refused.
        op: &'static str,
        /// What it takes.
        expected: &'static str,
        /// What it was given.
        found: Vec<DType>,
    },
    /// Operands live on different devices.
    DeviceMismatch {
        /// The op that refused.
        op: &'static str,
        /// The device of each operand.
        found: Vec<DeviceId>,
    },
    /// An attribute of the call (an axis, a stride, a probability) is out of range.
    Argument {
        /// The op that refused.
        op: &'static str,
        /// What is wrong and what would be right.
        message: String,
    },
    /// The device failed: out of memory, lost, or a kernel it does not have.
    Device {
        /// The failing device.
        device: DeviceId,
        /// What it said.
        message: String,
    },
    /// The ranks that train together are not together any more: one has left, does not come, or does something else.
    Ranks {
        /// Which one, and what is known of it.
        message: String,
    },
}

impl Error {
    /// An error of the given kind at the caller's place.
    #[track_caller]
    pub fn new(kind: ErrorKind) -> Error {
        Error(Box::new(Inner { kind, location: Location::caller(), context: Vec::new() }))
    }

    /// Shapes that break an op's rule.
    #[track_caller]
    pub fn shape(op: &'static str, shapes: &[Shape], rule: impl Into<String>) -> Error {
        Error::new(ErrorKind::Shape { op, shapes: shapes.to_vec(), rule: rule.into() })
    }

    /// An attribute out of range.
    #[track_caller]
    pub fn argument(op: &'static str, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Argument { op, message: message.into() })
    }

    /// Ranks that are not together any more.
    #[track_caller]
    pub fn ranks(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Ranks { message: message.into() })
    }

    /// What went wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The source line that made the failing call.
    pub fn location(&self) -> &'static Location<'static> {
        self.0.location
    }

    /// The same error, said to have happened inside `place` (a layer, a file, a step).
    #[must_use]
    pub fn within(mut self, place: impl Into<String>) -> Error {
        self.0.context.push(place.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in self.0.context.iter().rev() {
            write!(f, "{place}: ")?;
        }
        match &self.0.kind {
            ErrorKind::Shape { op, shapes, rule } => {
                write!(f, "{op}: ")?;
                for (index, shape) in shapes.iter().enumerate() {
                    write!(f, "{}{shape}", if index == 0 { "" } else { " with " })?;
                }
                write!(f, ": {rule}")?;
            }
            ErrorKind::DType { op, expected, found } => {
                write!(f, "{op}: takes {expected}, not ")?;
                for (index, dtype) in found.iter().enumerate() {
                    write!(f, "{}{dtype}", if index == 0 { "" } else { ", " })?;
                }
            }
            ErrorKind::DeviceMismatch { op, found } => {
                write!(f, "{op}: operands live on different devices:")?;
                for device in found {
                    write!(f, " {device}")?;
                }
            }
            ErrorKind::Argument { op, message } => write!(f, "{op}: {message}")?,
            ErrorKind::Device { device, message } => write!(f, "device {device}: {message}")?,
            ErrorKind::Ranks { message } => write!(f, "{message}")?,
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} (called at {})", self.0.location)
    }
}

impl std::error::Error for Error {}

//! Parameters, layers, initialisers, optimisers and weight files for Belamy.
//!
//! | file | what it holds |
//! |---|---|
//! | [`param`] | [`Param`]: the only mutable cell in the house |
//! | [`context`] | [`Context`]: training or evaluating, and where random numbers come from |
//! | [`initializer`] | how a weight starts |
//! | [`layer`] | what a layer is |
//! | [`layers`] | dense, convolutions, norms, embedding, dropout, activations, shapes |
//! | [`network`] | layers in a row, with an optional conditioning branch; the layer table |
//! | [`onnx`] | networks as ONNX models |
//! | [`optimizer`] | Adam, SGD, RMSProp, gradient clipping |
//! | [`schedule`] | learning rates over steps |
//! | [`average`] | exponential moving averages of weights |
//! | [`weights`] | safetensors, and importing Keras' and PyTorch's names |
//! | [`error`] | what went wrong, and where |
//!
//! Defaults of Keras and PyTorch differ in ways that change results silently (LeakyReLU 0.3 or 0.01, batch-norm
//! epsilon 1e-3 or 1e-5, ...); no layer here has a default for such a value. A recipe spells each one out.
#![forbid(unsafe_code)]

pub mod average;
pub mod context;
pub mod error;
pub mod initializer;
pub mod layer;
pub mod layers;
pub mod network;
pub mod onnx;
pub mod optimizer;
pub mod param;
pub mod schedule;
pub mod weights;

pub use context::{Context, Mode};
pub use error::{Error, Result};
pub use initializer::Initializer;
pub use layer::Layer;
pub use network::Network;
pub use param::Param;

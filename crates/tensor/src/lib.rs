//! Belamy's core: shapes, devices, the op set, autograd of any order, counter-based randomness.
//!
//! | file | what it holds |
//! |---|---|
//! | [`shape`] | extents of up to six axes |
//! | [`dtype`] | f32, f64, u32 |
//! | [`device`] | what a backend is: memory, and running a kernel by name |
//! | [`kernel`] | the one list of kernels, and how parameters travel |
//! | [`op`] | what an op is: shape rule, kernel, derivative in Tensors, cost |
//! | [`cost`] | what one launch of a kernel costs |
//! | [`tensor`] | the immutable tensor |
//! | [`autograd`] | [`grad`]: gradients as values |
//! | [`ops`] | the op set, a file a family |
//! | [`communicator`] | ranks that train one network together |
//! | [`philox`] | random numbers as a function of a counter |
//! | [`cache`] | what backends keep on disk between runs |
//! | [`foreign`] | somebody else's kernel in the place of one of these |
//! | [`error`] | what failed, with which shapes, where |
//!
//! No GPU dependency, no unsafe. Backends are separate crates; `belamy_cpu` is the oracle.
//!
//! ```
//! # let device = belamy_cpu::oracle();
//! use belamy_tensor::{Graph, Tensor, grad};
//! // d/dw of Σ (x w)²
//! let x = Tensor::from_slice(&[1.0f64, 2.0, 3.0, 4.0], [2, 2], &device)?;
//! let w = Tensor::from_slice(&[1.0f64, -1.0], [2, 1], &device)?.tracked();
//! let y = x.matmul(&w)?.square()?.sum_all()?;
//! let grad_w = grad(&y, None, &[&w], Graph::Drop)?.remove(0).unwrap();
//! assert_eq!(grad_w.to_vec::<f64>()?, [-8.0, -12.0]);
//! # Ok::<(), belamy_tensor::Error>(())
//! ```
#![forbid(unsafe_code)]

pub mod autograd;
pub mod cache;
pub mod communicator;
pub mod cost;
pub mod device;
pub mod dtype;
pub mod error;
pub mod foreign;
pub mod kernel;
pub mod op;
pub mod ops;
pub mod philox;
pub mod shape;
pub mod tensor;

pub use autograd::{Graph, grad, grad_each};
pub use device::{
    Backend, Buffer, Call, Device, DeviceId, Meta, RecordedStep, Recording, Work, Wrapper,
};
pub use dtype::{DType, Element};
pub use error::{Error, ErrorKind, Result};
pub use op::{Cost, Launch, Op};
pub use shape::{MAX_RANK, Shape};
pub use tensor::Tensor;

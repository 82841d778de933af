//! Watching for numbers that are none.
//!
//! ```text
//! count_non_finite   y = how many elements of x_1, .., x_n are infinite or NaN    u32, no axes
//! ```
//!
//! Any number of tensors in one launch, each of any shape and floating-point type (kernels take each one's length
//! from its buffer). One group of threads owns a fixed chunk of one tensor; whole numbers add up the same in any
//! order. Cost: one pass over the tensors. Not differentiable.

use crate::device::Meta;
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::KernelId;
use crate::op;
use crate::{DType, Device, Shape, Tensor};

crate::kernel_params! {
    /// Parameters of `count_non_finite`.
    pub struct FiniteParams { integers { tensors: u32 } scalars {} }
}

/// The one device of operands that do not go through [`op::apply`]; refuses none and several.
#[track_caller]
pub(crate) fn one_device<'a>(op: &'static str, tensors: &[&'a Tensor]) -> Result<&'a Device> {
    let Some(first) = tensors.first() else {
        return Err(Error::argument(op, "wants at least one tensor"));
    };
    if tensors.iter().any(|tensor| !tensor.device().is(first.device())) {
        let found = tensors.iter().map(|tensor| tensor.device().id()).collect();
        return Err(Error::new(ErrorKind::DeviceMismatch { op, found }));
    }
    Ok(first.device())
}

/// How many elements of all the tensors are infinite or NaN: a u32 scalar on their device, at most `u32::MAX`.
/// Fails when there is no tensor, or one is of integers.
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::{Tensor, ops::finite::count_non_finite};
/// let a = Tensor::from_slice(&[1.0f32, f32::NAN], [2], &device)?;
/// let b = Tensor::from_slice(&[f64::INFINITY, f64::NEG_INFINITY, 0.0], [3, 1], &device)?;
/// assert_eq!(count_non_finite(&[&a, &b])?.item()?, 3.0);
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
#[track_caller]
pub fn count_non_finite(tensors: &[&Tensor]) -> Result<Tensor> {
    let device = one_device("count_non_finite", tensors)?;
    if tensors.iter().any(|tensor| !tensor.dtype().is_float()) {
        return Err(Error::new(ErrorKind::DType {
            op: "count_non_finite",
            expected: "floating-point tensors",
            found: tensors.iter().map(|tensor| tensor.dtype()).collect(),
        }));
    }
    let params = FiniteParams { tensors: tensors.len() as u32 }.encode();
    let output = Meta { shape: Shape::SCALAR, dtype: DType::U32 };
    let mut results =
        op::launch_on(device, KernelId::count_non_finite, params, tensors, &[output])?;
    Ok(results.pop().expect("a kernel launch returns one tensor per output"))
}

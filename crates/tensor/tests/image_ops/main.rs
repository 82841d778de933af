//! Pools, resizing, borders, joining, pixel shuffling and gathering: values worked by hand, and for every linear pair
//! ⟨A x, g⟩ = ⟨x, Aᵀ g⟩ with both derivatives, on the shapes where hand-written adjoints fail.
//!
//! Buffers start out poisoned with NaN, so an element that a kernel forgets shows.

mod concat;
mod gather;
mod pad;
mod pixel_shuffle;
mod pool2d;
mod resize;

use belamy_tensor::philox::Draws;
use belamy_tensor::{DType, Device, Graph, Result, Shape, Tensor, grad};
use std::sync::LazyLock;

/// One device for all tests, so that tensors made in different places may meet.
fn device() -> Device {
    static DEVICE: LazyLock<Device> = LazyLock::new(|| belamy_cpu::poisoned(false));
    DEVICE.clone()
}

/// Numbers in (−1, 1), different for each stream.
fn draw(dims: &[usize], stream: u32, device: &Device) -> Tensor {
    let draws = Draws { seed: 7, stream, step: 0 };
    let shape = Shape::new(dims).unwrap();
    let values: Vec<f64> = (0..shape.elements())
        .map(|index| f64::from(draws.word(0, index as u32)) / 2f64.powi(31) - 1.0)
        .collect();
    Tensor::from_f64(&values, shape, DType::F64, device).unwrap()
}

fn numbers(values: &[f64], dims: &[usize], device: &Device) -> Tensor {
    Tensor::from_slice(values, Shape::new(dims).unwrap(), device).unwrap()
}

/// 1, 2, 3, ...
fn counting(dims: &[usize], device: &Device) -> Tensor {
    let shape = Shape::new(dims).unwrap();
    let values: Vec<f64> = (1..=shape.elements()).map(|value| value as f64).collect();
    numbers(&values, dims, device)
}

fn values(x: &Tensor) -> Vec<f64> {
    x.to_vec().unwrap()
}

fn dot(a: &Tensor, b: &Tensor) -> f64 {
    values(a).iter().zip(values(b)).map(|(a, b)| a * b).sum()
}

fn refused(result: Result<Tensor>, hint: &str) {
    let message = result.unwrap_err().to_string();
    assert!(message.contains(hint), "{message:?} does not say {hint:?}");
}

/// Checks that `backward` is the adjoint of the linear `forward` on inputs of extents `dims`; that the derivative of
/// either is the other; and that the derivative of the derivative comes back to the first.
fn adjoint(
    forward: impl Fn(&Tensor) -> Result<Tensor>,
    backward: impl Fn(&Tensor) -> Result<Tensor>,
    dims: &[usize],
) {
    let device = device();
    let x = draw(dims, 1, &device).tracked();
    let y = forward(&x).unwrap();
    let g = draw(y.dims(), 2, &device).tracked();
    let back = backward(&g).unwrap();
    assert_eq!(back.shape(), x.shape());
    let (left, right) = (dot(&y, &g), dot(&x, &back));
    let scale = (dot(&y, &y) * dot(&g, &g)).sqrt().max(1e-300);
    assert!(
        (left - right).abs() < 1e-13 * scale,
        "⟨A x, g⟩ = {left}, ⟨x, Aᵀ g⟩ = {right} on {dims:?}"
    );

    let first = grad(&y, Some(&g), &[&x], Graph::Keep).unwrap().remove(0).unwrap();
    assert_eq!(values(&first), values(&back), "the derivative on {dims:?}");
    let h = draw(dims, 3, &device);
    let second = grad(&first, Some(&h), &[&g], Graph::Keep).unwrap().remove(0).unwrap();
    assert_eq!(values(&second), values(&forward(&h).unwrap()), "its derivative on {dims:?}");
}

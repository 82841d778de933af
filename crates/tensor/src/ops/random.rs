//! Random tensors as functions of a key and a counter that lives on the device.
//!
//! ```text
//! key      (seed, stream): which use of randomness this is, known to the host
//! counter  u32 [2] = [step, first_sample]: which step, and which global sample this tensor's axis 0 starts at
//!
//! word(n, j) = lane j mod 4 of philox4x32(seed, [j / 4, first_sample + n, step, stream])
//!   for element j of sample n: n counts along axis 0, j along the other axes flattened
//!
//! uniform            y[n, j] = low + (high − low) u(word(n, j)),  u = upper 24 bits / 2²⁴
//! normal             y[n, j] = mean + std z,  z by Box and Muller from words 2⌊j/2⌋ and 2⌊j/2⌋ + 1
//! bernoulli          y[n, j] = u(word(n, j)) < p ? 1 : 0
//! integers           y[n, j] = ⌊word(n, j) bound / 2³²⌋
//! advance_counter    [step, first_sample] → [step + steps, first_sample]
//! shuffled_indices   y[i] = permutation of epoch ⌊position / count⌋ at position mod count,
//!                    position = (step draws + draw) global_batch + first_sample + i
//! ```
//!
//! No draw depends on how a batch is split, and no kernel argument changes from step to step, so a recorded step can
//! be replayed. Uniforms are computed in the tensor's own type as a product, rounded, then a sum, rounded: the same
//! bits on every device; f32 and f64 tensors draw the same words. One invocation owns the four elements of one block.
//! Cost: about 100 integer operations a block. Nothing here has a derivative.

use crate::device::Meta;
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::{KernelId, Params};
use crate::op;
use crate::{DType, Device, Shape, Tensor};

crate::kernel_params! {
    /// Parameters of `uniform` (a = low, b = high), `normal` (a = mean, b = std), `bernoulli` (a = p), `integers`
    /// (bound) and `dropout` (a = rate). `per_sample` elements make one sample; `seed` is its low and high word.
    pub struct DrawParams {
        integers { per_sample: u32, seed: [u32; 2], stream: u32, bound: u32 }
        scalars { a, b }
    }
}

crate::kernel_params! {
    /// Parameters of `shuffled_indices`; names as in the file's header.
    pub struct ShuffleParams {
        integers { count: u32, global_batch: u32, draw: u32, draws: u32, seed: [u32; 2], stream: u32 }
        scalars {}
    }
}

crate::kernel_params! {
    /// Parameters of `advance_counter`.
    pub struct AdvanceParams { integers { steps: u32 } scalars {} }
}

/// Which use of randomness a draw is for. Two uses with different keys are independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RandomKey {
    /// The run's seed.
    pub seed: u64,
    /// The use: latent noise, one layer's dropout, shuffling, ...
    pub stream: u32,
}

impl RandomKey {
    /// The seed as its low and high word, as kernels take it.
    pub(crate) fn seed_words(self) -> [u32; 2] {
        [self.seed as u32, (self.seed >> 32) as u32]
    }
}

/// How an epoch's order is walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shuffle {
    /// How many items the data set has.
    pub count: u32,
    /// How many items all devices together take in one draw.
    pub global_batch: u32,
    /// Which of a step's draws this is, from 0.
    pub draw: u32,
    /// How many draws a step makes.
    pub draws: u32,
}

/// The counter tensor for a step: u32 `[2]` = `[step, first_sample]`.
///
/// `first_sample` is the global index of the first sample that this device draws: 0 unless a batch is split.
#[track_caller]
pub fn counter(step: u32, first_sample: u32, device: &Device) -> Result<Tensor> {
    Tensor::from_slice(&[step, first_sample], [2], device)
}

/// The counter of the step that is `steps` later, made where the counter is. Steps wrap at 2³².
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::ops::random::{advance_counter, counter};
/// let next = advance_counter(&counter(6, 3, &device)?, 1)?;
/// assert_eq!(next.to_vec::<u32>()?, [7, 3]);
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
#[track_caller]
pub fn advance_counter(counter: &Tensor, steps: u32) -> Result<Tensor> {
    let params = AdvanceParams { steps }.encode();
    draw(KernelId::advance_counter, params, counter.meta(), counter)
}

/// Refuses what is no counter tensor.
#[track_caller]
pub(crate) fn check_counter(op: &'static str, counter: Meta) -> Result<()> {
    if counter.dtype != DType::U32 {
        let expected = "a u32 counter [step, first_sample]";
        return Err(Error::new(ErrorKind::DType { op, expected, found: vec![counter.dtype] }));
    }
    if counter.shape.dims() != [2] {
        let rule = "the counter must hold two numbers: [step, first_sample]";
        return Err(Error::shape(op, &[counter.shape], rule));
    }
    Ok(())
}

/// The parameters of one draw of `shape`.
pub(crate) fn draw_params(shape: Shape, key: RandomKey, bound: u32, a: f64, b: f64) -> Params {
    let per_sample: usize = shape.dims().iter().skip(1).product();
    let (seed, stream) = (key.seed_words(), key.stream);
    DrawParams { per_sample: per_sample as u32, seed, stream, bound, a, b }.encode()
}

/// Launches one generator.
#[track_caller]
fn draw(kernel: KernelId, params: Params, output: Meta, counter: &Tensor) -> Result<Tensor> {
    check_counter(kernel.name(), counter.meta())?;
    let mut results = op::launch_on(counter.device(), kernel, params, &[counter], &[output])?;
    Ok(results.pop().expect("a kernel launch returns one tensor per output"))
}

#[track_caller]
fn check_float(op: &'static str, dtype: DType) -> Result<()> {
    if dtype.is_float() {
        return Ok(());
    }
    let expected = "a floating-point result; `integers` draws u32";
    Err(Error::new(ErrorKind::DType { op, expected, found: vec![dtype] }))
}

/// Uniform numbers in `[low, high)` (rounding may reach `high`), on the counter's device. Fails unless both bounds
/// are finite and `low <= high`.
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::{DType, ops::random::{RandomKey, counter, uniform}};
/// let (key, step) = (RandomKey { seed: 1, stream: 0 }, counter(0, 0, &device)?);
/// let x = uniform([4, 3], -1.0, 1.0, DType::F32, key, &step)?;
/// assert!(x.to_vec::<f32>()?.iter().all(|x| (-1.0..1.0).contains(x)));
/// // Sample 2 and 3 of the batch, drawn apart.
/// let tail = uniform([2, 3], -1.0, 1.0, DType::F32, key, &counter(0, 2, &device)?)?;
/// assert_eq!(tail.to_vec::<f32>()?, x.to_vec::<f32>()?[6..]);
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
#[track_caller]
pub fn uniform(
    shape: impl Into<Shape>,
    low: f64,
    high: f64,
    dtype: DType,
    key: RandomKey,
    counter: &Tensor,
) -> Result<Tensor> {
    check_float("uniform", dtype)?;
    if !(low <= high && (high - low).is_finite()) {
        let message = format!("bounds {low} and {high} must be finite, the lower first");
        return Err(Error::argument("uniform", message));
    }
    let output = Meta::new(shape, dtype);
    let params = draw_params(output.shape, key, 0, low, high);
    draw(KernelId::uniform, params, output, counter)
}

/// Normal numbers of the given mean and standard deviation, on the counter's device; at most 5.77 deviations from
/// the mean. Fails unless both are finite and `std >= 0`.
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::{DType, ops::random::{RandomKey, counter, normal}};
/// let (key, step) = (RandomKey { seed: 1, stream: 0 }, counter(0, 0, &device)?);
/// let z = normal([64, 100], 0.0, 1.0, DType::F64, key, &step)?;
/// assert!(z.mean_all()?.item()?.abs() < 0.05);
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
#[track_caller]
pub fn normal(
    shape: impl Into<Shape>,
    mean: f64,
    std: f64,
    dtype: DType,
    key: RandomKey,
    counter: &Tensor,
) -> Result<Tensor> {
    check_float("normal", dtype)?;
    if !(mean.is_finite() && std.is_finite() && std >= 0.0) {
        let message = format!("mean {mean} and std {std} must be finite, the std not negative");
        return Err(Error::argument("normal", message));
    }
    let output = Meta::new(shape, dtype);
    let params = draw_params(output.shape, key, 0, mean, std);
    draw(KernelId::normal, params, output, counter)
}

/// Ones with probability `p`, zeros otherwise, on the counter's device. Fails unless `0 <= p <= 1`.
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::{DType, ops::random::{RandomKey, bernoulli, counter}};
/// let (key, step) = (RandomKey { seed: 1, stream: 0 }, counter(0, 0, &device)?);
/// let flips = bernoulli([1000], 0.25, DType::F32, key, &step)?;
/// assert!((flips.mean_all()?.item()? - 0.25).abs() < 0.05);
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
#[track_caller]
pub fn bernoulli(
    shape: impl Into<Shape>,
    p: f64,
    dtype: DType,
    key: RandomKey,
    counter: &Tensor,
) -> Result<Tensor> {
    check_float("bernoulli", dtype)?;
    if !(0.0..=1.0).contains(&p) {
        return Err(Error::argument("bernoulli", format!("probability {p} must be in 0..=1")));
    }
    let output = Meta::new(shape, dtype);
    draw(KernelId::bernoulli, draw_params(output.shape, key, 0, p, 0.0), output, counter)
}

/// Integers in `0..bound` as u32, on the counter's device. Fails when `bound` is 0.
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::ops::random::{RandomKey, counter, integers};
/// let (key, step) = (RandomKey { seed: 1, stream: 0 }, counter(0, 0, &device)?);
/// let labels = integers([64], 10, key, &step)?;
/// assert!(labels.to_vec::<u32>()?.iter().all(|&label| label < 10));
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
#[track_caller]
pub fn integers(
    shape: impl Into<Shape>,
    bound: u32,
    key: RandomKey,
    counter: &Tensor,
) -> Result<Tensor> {
    if bound == 0 {
        return Err(Error::argument("integers", "no integer is below a bound of 0"));
    }
    let output = Meta::new(shape, DType::U32);
    draw(KernelId::integers, draw_params(output.shape, key, bound, 0.0, 0.0), output, counter)
}

/// The data items of one batch, u32 `[batch]`, on the counter's device: every epoch visits each of `shuffle.count`
/// items once, in an order of its own, and batches run on across the epochs' borders.
///
/// `batch` is what this device takes of `shuffle.global_batch`. Fails when a count is 0, the draw is not one of the
/// step's, or the batch exceeds the global batch.
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::ops::random::{RandomKey, Shuffle, counter, shuffled_indices};
/// let key = RandomKey { seed: 1, stream: 0 };
/// let shuffle = Shuffle { count: 6, global_batch: 3, draw: 0, draws: 1 };
/// let mut epoch = shuffled_indices(3, shuffle, key, &counter(0, 0, &device)?)?.to_vec::<u32>()?;
/// epoch.extend(shuffled_indices(3, shuffle, key, &counter(1, 0, &device)?)?.to_vec::<u32>()?);
/// epoch.sort_unstable();
/// assert_eq!(epoch, [0, 1, 2, 3, 4, 5]);
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
#[track_caller]
pub fn shuffled_indices(
    batch: usize,
    shuffle: Shuffle,
    key: RandomKey,
    counter: &Tensor,
) -> Result<Tensor> {
    let Shuffle { count, global_batch, draw: index, draws } = shuffle;
    if count == 0 || index >= draws || batch > global_batch as usize {
        let message = format!(
            "{shuffle:?}: wants a count of at least 1, draw < draws, and global_batch ≥ batch ({batch})"
        );
        return Err(Error::argument("shuffled_indices", message));
    }
    let (seed, stream) = (key.seed_words(), key.stream);
    let params = ShuffleParams { count, global_batch, draw: index, draws, seed, stream }.encode();
    draw(KernelId::shuffled_indices, params, Meta::new([batch], DType::U32), counter)
}

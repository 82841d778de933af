//! Optimiser updates: all parameters in one launch, new tensors for old.
//!
//! For each element of each parameter p with gradient g, after g ← g + weight_decay p:
//!
//! ```text
//! control  [2] = [step t, learning rate η]   on the device, so that a recorded step can be replayed; t counts from 1
//!
//! next_control   from a counter [2] of u32 = [n, _], updates made so far: control = [n + 1, η(n)] and the counter
//!                [n + 1, _]
//!   constant  η = base        linear     η = base (1 − (n − start) / (end − start)), held to base before, to 0 behind
//!   staircase η = base factor^⌊n / every⌋           geometric  η = max(base divisor^−n, lowest)
//!   inverse time  η = base / (1 + decay n)
//!
//! adam     m ← β₁ m + (1 − β₁) g          v ← β₂ v + (1 − β₂) g²
//!          PyTorch   p ← p − η (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)
//!          Keras     p ← p − η (√(1 − β₂ᵗ) / (1 − β₁ᵗ)) m / (√v + ε)
//!
//! sgd      u ← momentum u + g             p ← p − η (nesterov ? g + momentum u : u)      without momentum u = g
//!
//! rmsprop  s ← ρ s + (1 − ρ) g²
//!          PyTorch   d = g / (√s + ε)     with momentum: u ← momentum u + d,    p ← p − η u
//!          Keras     d = g / √(s + ε)     with momentum: u ← momentum u + η d,  p ← p − u
//!
//! global_norm   y = √(Σ over all tensors Σ g²)
//! ```
//!
//! All operands are of one floating-point type, and arithmetic is in it; βᵗ is taken in f64 where the device has it.
//! Lists go to the kernel one after another: control, params, grads, then each list of state; outputs are the new
//! params, then the new state; kernels take lengths from the buffers. One group of threads owns a fixed chunk of one
//! parameter. Cost: one pass over each operand: 7 of them and about 12 operations an element for Adam. `global_norm`
//! adds the chunks' sums of squares in order; `next_control` is one thread's. Not differentiable.

use crate::device::Meta;
use crate::error::{Error, Result};
use crate::kernel::{KernelId, Params};
use crate::op;
use crate::ops::finite::one_device;
use crate::ops::random::check_counter;
use crate::{DType, Shape, Tensor};

crate::kernel_params! {
    /// Parameters of `adam`; `keras` is 1 for the Keras form.
    pub struct AdamParams {
        integers { tensors: u32, keras: u32 }
        scalars { beta_1, beta_2, epsilon, weight_decay }
    }
}

crate::kernel_params! {
    /// Parameters of `sgd`; without momentum there are no velocities among the operands.
    pub struct SgdParams {
        integers { tensors: u32, nesterov: u32 }
        scalars { momentum, weight_decay }
    }
}

crate::kernel_params! {
    /// Parameters of `rmsprop`; without momentum there are no velocities among the operands.
    pub struct RmspropParams {
        integers { tensors: u32, keras: u32 }
        scalars { rho, epsilon, momentum, weight_decay }
    }
}

crate::kernel_params! {
    /// Parameters of `global_norm`.
    pub struct GlobalNormParams { integers { tensors: u32 } scalars {} }
}

crate::kernel_params! {
    /// Parameters of `next_control`: the schedule's code, its two step numbers, and its constants; `log_factor` is the
    /// logarithm of the staircase's factor or of the geometric divisor, which f32 would round too far.
    pub struct ScheduleParams {
        integers { kind: u32, start: u32, end: u32 }
        scalars { base, factor, log_factor, lowest }
    }
}

/// How a learning rate changes with the number n of updates made so far, as the file's header writes it out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RateSchedule {
    /// The base rate throughout.
    Constant,
    /// The base rate until `start`, then in a straight line to 0 at `end`.
    Linear {
        /// The last update at the base rate.
        start: u32,
        /// The update at which the rate reaches 0.
        end: u32,
    },
    /// The base rate times `factor` every `every` updates.
    Staircase {
        /// Updates between drops; at least 1.
        every: u32,
        /// What each drop multiplies by.
        factor: f64,
    },
    /// The base rate divided by `divisor` each update, but not below `lowest`.
    Geometric {
        /// What each update divides by.
        divisor: f64,
        /// The floor.
        lowest: f64,
    },
    /// base / (1 + decay n).
    InverseTime {
        /// The decay per update.
        decay: f64,
    },
}

impl RateSchedule {
    fn params(self, base: f64) -> ScheduleParams {
        let constant = ScheduleParams {
            kind: 0,
            start: 0,
            end: 1,
            base,
            factor: 1.0,
            log_factor: 0.0,
            lowest: 0.0,
        };
        match self {
            RateSchedule::Constant => constant,
            RateSchedule::Linear { start, end } => {
                ScheduleParams { kind: 1, start, end: end.max(start.saturating_add(1)), ..constant }
            }
            RateSchedule::Staircase { every, factor } => {
                let (end, log_factor) = (every.max(1), factor.ln());
                ScheduleParams { kind: 2, end, factor, log_factor, ..constant }
            }
            RateSchedule::Geometric { divisor, lowest } => {
                let (factor, log_factor) = (divisor, divisor.ln());
                ScheduleParams { kind: 3, factor, log_factor, lowest, ..constant }
            }
            RateSchedule::InverseTime { decay } => {
                ScheduleParams { kind: 4, factor: decay, ..constant }
            }
        }
    }
}

impl ScheduleParams {
    /// The learning rate of the update that `n` others came before.
    pub fn rate(&self, n: u32) -> f64 {
        let ScheduleParams { kind, start, end, base, factor, lowest, .. } = *self;
        match kind {
            1 => {
                let gone = f64::from(n.saturating_sub(start)) / f64::from(end - start);
                base * (1.0 - gone).clamp(0.0, 1.0)
            }
            2 => base * factor.powf(f64::from(n / end)),
            3 => (base / factor.powf(f64::from(n))).max(lowest),
            4 => base / (1.0 + factor * f64::from(n)),
            _ => base,
        }
    }
}

/// The control `[2]` of the next update, of type `dtype`, from a counter `[2]` (u32) of updates made so far; and the
/// counter after it. Nothing visits the host.
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::{DType, ops::{optimizer::{RateSchedule, next_control}, random::counter}};
/// let schedule = RateSchedule::Linear { start: 0, end: 4 };
/// let made = counter(3, 0, &device)?;
/// let (control, made) = next_control(&made, 0.5, schedule, DType::F32)?;
/// assert_eq!(control.to_vec::<f32>()?, [4.0, 0.125]);
/// assert_eq!(made.to_vec::<u32>()?, [4, 0]);
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
#[track_caller]
pub fn next_control(
    counter: &Tensor,
    base: f64,
    schedule: RateSchedule,
    dtype: DType,
) -> Result<(Tensor, Tensor)> {
    let op = "next_control";
    check_counter(op, counter.meta())?;
    if !dtype.is_float() {
        return Err(Error::argument(op, "a control is of floating-point type"));
    }
    let params = schedule.params(base);
    let ScheduleParams { factor, lowest, .. } = params;
    if ![base, factor, lowest].iter().all(|number| number.is_finite()) || factor < 0.0 {
        let message = format!("{schedule:?} of base {base} wants finite numbers, none negative");
        return Err(Error::argument(op, message));
    }
    let outputs = [Meta::new([2], dtype), counter.meta()];
    let (device, kernel) = (counter.device(), KernelId::next_control);
    let mut made = op::launch_on(device, kernel, params.encode(), &[counter], &outputs)?;
    let (counter, control) = (made.pop(), made.pop());
    Ok(control.zip(counter).expect("a kernel launch returns one tensor per output"))
}

/// Whose reading of an adaptive update: where ε stands, as the file's header writes it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpsilonForm {
    /// ε is added to the root of the corrected second moment.
    Pytorch,
    /// Adam: ε is added to the root of the uncorrected one. RMSprop: ε is added under the root, and the learning
    /// rate goes into the velocity.
    Keras,
}

/// What Adam is set to. [`Default`] is PyTorch's: 0.9, 0.999, 1e-8, no decay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamOptions {
    /// How much of the first moment is kept each step, in 0..1.
    pub beta_1: f64,
    /// How much of the second moment is kept each step, in 0..1.
    pub beta_2: f64,
    /// What keeps the division defined; not negative.
    pub epsilon: f64,
    /// The L2 penalty's slope, added to the gradient as weight_decay · p.
    pub weight_decay: f64,
    /// Where ε stands.
    pub epsilon_form: EpsilonForm,
}

impl Default for AdamOptions {
    fn default() -> AdamOptions {
        AdamOptions {
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            epsilon_form: EpsilonForm::Pytorch,
        }
    }
}

/// What stochastic gradient descent is set to. [`Default`] is plain descent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SgdOptions {
    /// How much of the velocity is kept each step, in 0..1; 0 keeps no velocities at all.
    pub momentum: f64,
    /// Whether the step looks ahead along the velocity (Nesterov, as PyTorch writes it).
    pub nesterov: bool,
    /// The L2 penalty's slope, added to the gradient as weight_decay · p.
    pub weight_decay: f64,
}

/// What RMSprop is set to. [`Default`] is PyTorch's: 0.99, 1e-8, no momentum, no decay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmspropOptions {
    /// How much of the mean square is kept each step, in 0..1.
    pub rho: f64,
    /// What keeps the division defined; not negative.
    pub epsilon: f64,
    /// How much of the velocity is kept each step, in 0..1; 0 keeps no velocities at all.
    pub momentum: f64,
    /// The L2 penalty's slope, added to the gradient as weight_decay · p.
    pub weight_decay: f64,
    /// Where ε stands.
    pub epsilon_form: EpsilonForm,
}

impl Default for RmspropOptions {
    fn default() -> RmspropOptions {
        RmspropOptions {
            rho: 0.99,
            epsilon: 1e-8,
            momentum: 0.0,
            weight_decay: 0.0,
            epsilon_form: EpsilonForm::Pytorch,
        }
    }
}

/// Parameters and moments after a step of Adam, in the order of the parameters.
#[derive(Clone, Debug)]
pub struct AdamUpdate {
    /// The new parameters.
    pub params: Vec<Tensor>,
    /// The new running means of the gradients.
    pub first_moments: Vec<Tensor>,
    /// The new running means of their squares.
    pub second_moments: Vec<Tensor>,
}

/// Parameters and velocities after a step of descent, in the order of the parameters.
#[derive(Clone, Debug)]
pub struct SgdUpdate {
    /// The new parameters.
    pub params: Vec<Tensor>,
    /// The new velocities; none without momentum.
    pub velocities: Vec<Tensor>,
}

/// Parameters and state after a step of RMSprop, in the order of the parameters.
#[derive(Clone, Debug)]
pub struct RmspropUpdate {
    /// The new parameters.
    pub params: Vec<Tensor>,
    /// The new running means of the gradients' squares.
    pub mean_squares: Vec<Tensor>,
    /// The new velocities; none without momentum.
    pub velocities: Vec<Tensor>,
}

#[track_caller]
fn check_fraction(op: &'static str, name: &str, value: f64) -> Result<()> {
    if (0.0..1.0).contains(&value) {
        return Ok(());
    }
    Err(Error::argument(op, format!("{name} {value} must be at least 0 and below 1")))
}

#[track_caller]
fn check_amount(op: &'static str, name: &str, value: f64) -> Result<()> {
    if value >= 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::argument(op, format!("{name} {value} must be finite and not negative")))
}

/// Launches one update of `lists[0]`, the parameters, by `lists[1]`, their gradients, and `lists[2..]`, their state.
/// Returns the new parameters and the new state, list by list.
#[track_caller]
fn update(
    kernel: KernelId,
    params: Params,
    control: &Tensor,
    lists: &[&[&Tensor]],
) -> Result<Vec<Vec<Tensor>>> {
    let op = kernel.name();
    let count = lists[0].len();
    if lists.iter().any(|list| list.len() != count) {
        let lengths: Vec<usize> = lists.iter().map(|list| list.len()).collect();
        let message = format!(
            "wants one gradient and one tensor of each state for each parameter, and the lists' lengths are {lengths:?}"
        );
        return Err(Error::argument(op, message));
    }
    let mut inputs = vec![control];
    inputs.extend(lists.iter().copied().flatten());
    let device = one_device(op, &inputs)?;
    let metas: Vec<Meta> = inputs.iter().map(|input| input.meta()).collect();
    op::same_float(op, &metas)?;
    if control.dims() != [2] {
        let rule = "the control must hold two numbers: [step, learning rate]";
        return Err(Error::shape(op, &[control.shape()], rule));
    }
    for index in 0..count {
        let shapes: Vec<Shape> = lists.iter().map(|list| list[index].shape()).collect();
        if shapes.iter().any(|shape| *shape != shapes[0]) {
            let rule = format!("parameter {index}, its gradient and its state must have one shape");
            return Err(Error::shape(op, &shapes, rule));
        }
    }
    // The gradients are used up; everything else has a successor.
    let outputs: Vec<Meta> = [&lists[..1], &lists[2..]]
        .concat()
        .iter()
        .flat_map(|list| list.iter().map(|tensor| tensor.meta()))
        .collect();
    let mut results = op::launch_on(device, kernel, params, &inputs, &outputs)?.into_iter();
    Ok((1..lists.len()).map(|_| results.by_ref().take(count).collect()).collect())
}

/// One step of Adam (Kingma and Ba, ICLR 2015) for all parameters.
///
/// `control: [2]` holds the step, from 1, and the learning rate, in the parameters' type. Each list has one tensor of
/// its parameter's shape for each parameter; moments start as zeros. Fails when lists, shapes, types or options do
/// not fit.
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::{Tensor, ops::optimizer::{AdamOptions, adam}};
/// let tensor = |value: f64| Tensor::from_slice(&[value], [1], &device);
/// let control = Tensor::from_slice(&[1.0f64, 0.1], [2], &device)?;
/// let (p, g, zero) = (tensor(1.0)?, tensor(4.0)?, tensor(0.0)?);
/// let new = adam(&control, &[&p], &[&g], &[&zero], &[&zero], AdamOptions::default())?;
/// // The first step moves by the learning rate, against the gradient's sign.
/// assert!((new.params[0].item()? - 0.9).abs() < 1e-8);
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
#[track_caller]
pub fn adam(
    control: &Tensor,
    params: &[&Tensor],
    grads: &[&Tensor],
    first_moments: &[&Tensor],
    second_moments: &[&Tensor],
    options: AdamOptions,
) -> Result<AdamUpdate> {
    let AdamOptions { beta_1, beta_2, epsilon, weight_decay, epsilon_form } = options;
    check_fraction("adam", "beta_1", beta_1)?;
    check_fraction("adam", "beta_2", beta_2)?;
    check_amount("adam", "epsilon", epsilon)?;
    check_amount("adam", "weight_decay", weight_decay)?;
    let tensors = params.len() as u32;
    let keras = u32::from(epsilon_form == EpsilonForm::Keras);
    let encoded = AdamParams { tensors, keras, beta_1, beta_2, epsilon, weight_decay }.encode();
    let lists = [params, grads, first_moments, second_moments];
    let [params, first_moments, second_moments] =
        taken(update(KernelId::adam, encoded, control, &lists)?);
    Ok(AdamUpdate { params, first_moments, second_moments })
}

/// One step of stochastic gradient descent for all parameters, as PyTorch has it.
///
/// `control: [2]` holds the step, which is not used, and the learning rate, in the parameters' type. `velocities`
/// start as zeros, and are empty without momentum. Fails when lists, shapes, types or options do not fit.
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::{Tensor, ops::optimizer::{SgdOptions, sgd}};
/// let tensor = |value: f64| Tensor::from_slice(&[value], [1], &device);
/// let control = Tensor::from_slice(&[1.0f64, 0.5], [2], &device)?;
/// let new = sgd(&control, &[&tensor(1.0)?], &[&tensor(4.0)?], &[], SgdOptions::default())?;
/// assert_eq!(new.params[0].item()?, -1.0);
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
#[track_caller]
pub fn sgd(
    control: &Tensor,
    params: &[&Tensor],
    grads: &[&Tensor],
    velocities: &[&Tensor],
    options: SgdOptions,
) -> Result<SgdUpdate> {
    let SgdOptions { momentum, nesterov, weight_decay } = options;
    check_fraction("sgd", "momentum", momentum)?;
    check_amount("sgd", "weight_decay", weight_decay)?;
    if nesterov && momentum == 0.0 {
        return Err(Error::argument("sgd", "nesterov looks ahead by the momentum, which is 0"));
    }
    let (tensors, nesterov) = (params.len() as u32, u32::from(nesterov));
    let encoded = SgdParams { tensors, nesterov, momentum, weight_decay }.encode();
    if momentum > 0.0 {
        let [params, velocities] =
            taken(update(KernelId::sgd, encoded, control, &[params, grads, velocities])?);
        return Ok(SgdUpdate { params, velocities });
    }
    refuse_velocities("sgd", velocities)?;
    let [params] = taken(update(KernelId::sgd, encoded, control, &[params, grads])?);
    Ok(SgdUpdate { params, velocities: Vec::new() })
}

/// One step of RMSprop (Tieleman and Hinton, 2012) for all parameters.
///
/// `control: [2]` holds the step, which is not used, and the learning rate, in the parameters' type. `mean_squares`
/// and `velocities` start as zeros; velocities are empty without momentum. Fails when lists, shapes, types or options
/// do not fit.
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::{Tensor, ops::optimizer::{RmspropOptions, rmsprop}};
/// let tensor = |value: f64| Tensor::from_slice(&[value], [1], &device);
/// let control = Tensor::from_slice(&[1.0f64, 0.1], [2], &device)?;
/// let (p, g, zero) = (tensor(1.0)?, tensor(4.0)?, tensor(0.0)?);
/// let new = rmsprop(&control, &[&p], &[&g], &[&zero], &[], RmspropOptions::default())?;
/// assert!(new.params[0].item()?.abs() < 1e-7); // 1 − 0.1 · 4 / √(0.01 · 16)
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
#[track_caller]
pub fn rmsprop(
    control: &Tensor,
    params: &[&Tensor],
    grads: &[&Tensor],
    mean_squares: &[&Tensor],
    velocities: &[&Tensor],
    options: RmspropOptions,
) -> Result<RmspropUpdate> {
    let RmspropOptions { rho, epsilon, momentum, weight_decay, epsilon_form } = options;
    check_fraction("rmsprop", "rho", rho)?;
    check_fraction("rmsprop", "momentum", momentum)?;
    check_amount("rmsprop", "epsilon", epsilon)?;
    check_amount("rmsprop", "weight_decay", weight_decay)?;
    let tensors = params.len() as u32;
    let keras = u32::from(epsilon_form == EpsilonForm::Keras);
    let encoded = RmspropParams { tensors, keras, rho, epsilon, momentum, weight_decay }.encode();
    if momentum > 0.0 {
        let lists = [params, grads, mean_squares, velocities];
        let [params, mean_squares, velocities] =
            taken(update(KernelId::rmsprop, encoded, control, &lists)?);
        return Ok(RmspropUpdate { params, mean_squares, velocities });
    }
    refuse_velocities("rmsprop", velocities)?;
    let lists = [params, grads, mean_squares];
    let [params, mean_squares] = taken(update(KernelId::rmsprop, encoded, control, &lists)?);
    Ok(RmspropUpdate { params, mean_squares, velocities: Vec::new() })
}

/// The lists that `update` returns, by number.
fn taken<const N: usize>(lists: Vec<Vec<Tensor>>) -> [Vec<Tensor>; N] {
    lists.try_into().expect("an update returns one list for the parameters and one for each state")
}

#[track_caller]
fn refuse_velocities(op: &'static str, velocities: &[&Tensor]) -> Result<()> {
    if velocities.is_empty() {
        return Ok(());
    }
    Err(Error::argument(op, "velocities were given, but the momentum is 0"))
}

/// The Euclidean norm of all the tensors' elements together: a scalar of their type on their device. For clipping
/// and for watching gradients. Fails when there is no tensor, or they are not of one floating-point type.
///
/// ```
/// # let device = belamy_cpu::oracle();
/// use belamy_tensor::{Tensor, ops::optimizer::global_norm};
/// let a = Tensor::from_slice(&[1.0f32, 2.0], [2], &device)?;
/// let b = Tensor::from_slice(&[2.0f32], [1, 1], &device)?;
/// assert_eq!(global_norm(&[&a, &b])?.item()?, 3.0);
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
#[track_caller]
pub fn global_norm(grads: &[&Tensor]) -> Result<Tensor> {
    let device = one_device("global_norm", grads)?;
    let metas: Vec<Meta> = grads.iter().map(|grad| grad.meta()).collect();
    let dtype = op::same_float("global_norm", &metas)?;
    let params = GlobalNormParams { tensors: grads.len() as u32 }.encode();
    let output = Meta { shape: Shape::SCALAR, dtype };
    let mut results = op::launch_on(device, KernelId::global_norm, params, grads, &[output])?;
    Ok(results.pop().expect("a kernel launch returns one tensor per output"))
}

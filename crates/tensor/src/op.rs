//! What an op is: a shape rule, a kernel, a derivative written in Tensors, and a cost.

use crate::autograd::Backward;
use crate::communicator::{Numbers, Order, Ranks, Reduction};
use crate::cost::{self, Extent};
use crate::device::{Device, Meta};
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::{KernelId, Params};
use crate::{DType, Tensor};
use std::fmt;

/// How an op's result comes about.
#[derive(Debug)]
pub enum Launch {
    /// By running a kernel.
    Kernel(KernelId, Params),
    /// By looking at the first input's memory under another shape.
    View,
    /// By adding up what all ranks have, on the device or through the host.
    AllReduceSum(Ranks),
}

/// The arithmetic and the traffic of one call, for shares of a machine's ceilings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Floating-point operations; a multiply-add counts two. Transcendentals count one.
    pub flop: u64,
    /// Bytes that must be read and written at least once.
    pub bytes: u64,
}

/// An op: validated once here, run by any backend, differentiated to any order.
pub trait Op: fmt::Debug + Send + Sync + 'static {
    /// The op's name, as errors and tables print it.
    fn name(&self) -> &'static str;

    /// The result's shape and type, or why there is none. The only room that validates.
    fn infer(&self, inputs: &[Meta]) -> Result<Meta>;

    /// The kernel and its parameters, for inputs that `infer` accepted.
    fn launch(&self, inputs: &[Meta], output: Meta) -> Launch;

    /// Further results that the derivative needs (indices, statistics), constants to the graph.
    fn saved(&self, _inputs: &[Meta], _output: Meta) -> Vec<Meta> {
        Vec::new()
    }

    /// Whether the derivative rule reads an input's numbers, and not its shape alone, where the inputs so marked are
    /// tracked. What no rule reads is let go of as soon as nobody else holds it.
    fn reads_input(&self, _index: usize, _tracked: &[bool]) -> bool {
        true
    }

    /// Whether the derivative rule reads the output's numbers.
    fn reads_output(&self, _tracked: &[bool]) -> bool {
        false
    }

    /// The cotangent of each input, in Tensors; `None` where it is zero or was not asked for.
    /// Cotangents may have the output's broadcast shape: the walker sums them to the input's.
    fn backward(&self, cx: &Backward<'_>) -> Result<Vec<Option<Tensor>>>;

    /// A fused op's definition in primitives: its documentation, its oracle and its derivative of any order.
    fn reference(&self, _inputs: &[Tensor]) -> Option<Result<Tensor>> {
        None
    }

    /// Floating-point operations beyond the pointwise count of one per output element.
    fn flop(&self, _inputs: &[Meta], output: Meta) -> u64 {
        output.shape.elements() as u64
    }

    /// The op's cost: its arithmetic, and every operand moved once.
    fn cost(&self, inputs: &[Meta], output: Meta) -> Cost {
        let saved = self.saved(inputs, output);
        let moved = inputs.iter().chain([&output]).chain(&saved).map(Meta::bytes).sum::<usize>();
        Cost { flop: self.flop(inputs, output), bytes: moved as u64 }
    }
}

/// Runs an op: infer, allocate, launch, record. The one door of the house.
#[track_caller]
pub fn apply<O: Op>(op: O, inputs: &[&Tensor]) -> Result<Tensor> {
    apply_with_saved(op, inputs).map(|(output, _)| output)
}

/// As [`apply`], with the op's saved results too.
#[track_caller]
pub fn apply_with_saved<O: Op>(op: O, inputs: &[&Tensor]) -> Result<(Tensor, Vec<Tensor>)> {
    let device = inputs.first().expect("an op with no inputs goes through `launch_on`").device();
    if inputs.iter().any(|input| !input.device().is(device)) {
        let found = inputs.iter().map(|input| input.device().id()).collect();
        return Err(Error::new(ErrorKind::DeviceMismatch { op: op.name(), found }));
    }
    let metas: Vec<Meta> = inputs.iter().map(|input| input.meta()).collect();
    let output = op.infer(&metas)?;
    match op.launch(&metas, output) {
        Launch::View => {
            let buffer = inputs[0].buffer().clone();
            Ok((Tensor::recorded(op, inputs, output, buffer, Vec::new()), Vec::new()))
        }
        Launch::AllReduceSum(ranks) => {
            let buffer = summed(inputs[0], &ranks)?.buffer().clone();
            Ok((Tensor::recorded(op, inputs, output, buffer, Vec::new()), Vec::new()))
        }
        Launch::Kernel(kernel, params) => {
            let mut wanted = vec![output];
            wanted.extend(op.saved(&metas, output));
            debug_assert_eq!(
                op.flop(&metas, output),
                cost::of_launch(kernel, &params, &extents(&metas), &extents(&wanted)).flop,
                "{} and its kernel {} state different costs",
                op.name(),
                kernel.name()
            );
            let mut results = launch_on(device, kernel, params, inputs, &wanted)?.into_iter();
            let result = results.next().expect("a kernel launch returns one tensor per output");
            let saved: Vec<Tensor> = results.collect();
            let buffer = result.buffer().clone();
            Ok((Tensor::recorded(op, inputs, output, buffer, saved.clone()), saved))
        }
    }
}

fn summed(x: &Tensor, ranks: &Ranks) -> Result<Tensor> {
    let (shape, device) = (x.shape(), x.device());
    if let Some(own) = ranks.on_device(device) {
        return own.all_reduce_tensor(Reduction::Sum, x, Order::InTurn);
    }
    if x.dtype() == DType::F64 {
        let mut values = x.to_vec::<f64>()?;
        ranks.all_reduce_sum(Numbers::F64(&mut values))?;
        return Tensor::from_slice(&values, shape, device);
    }
    let mut values = x.to_vec::<f32>()?;
    ranks.all_reduce_sum(Numbers::F32(&mut values))?;
    Tensor::from_slice(&values, shape, device)
}

fn extents(metas: &[Meta]) -> Vec<Extent> {
    metas.iter().map(|&meta| Extent::from(meta)).collect()
}

/// Runs a kernel outside the graph: random draws, optimiser updates, hand-written gradients.
///
/// The caller has validated the shapes. The results are constants.
pub fn launch_on(
    device: &Device,
    kernel: KernelId,
    params: Params,
    inputs: &[&Tensor],
    outputs: &[Meta],
) -> Result<Vec<Tensor>> {
    let buffers: Vec<_> = inputs.iter().map(|input| input.buffer()).collect();
    // Of a derivative rule that reads more than it says.
    assert!(!buffers.iter().any(|buffer| buffer.is_released()), "{}: released", kernel.name());
    let results = device.run(kernel, params, &buffers, outputs)?;
    Ok(outputs
        .iter()
        .zip(results)
        .map(|(meta, buffer)| Tensor::constant(device.clone(), *meta, buffer))
        .collect())
}

/// Refuses operands that are not all of one floating-point type.
#[track_caller]
pub(crate) fn same_float(op: &'static str, inputs: &[Meta]) -> Result<DType> {
    let dtype = inputs[0].dtype;
    if !dtype.is_float() || inputs.iter().any(|input| input.dtype != dtype) {
        let found = inputs.iter().map(|input| input.dtype).collect();
        return Err(Error::new(ErrorKind::DType {
            op,
            expected: "operands of one floating-point type",
            found,
        }));
    }
    Ok(dtype)
}

/// Refuses an operand that is not made of unsigned integers.
#[track_caller]
pub(crate) fn integers(op: &'static str, input: Meta) -> Result<()> {
    match input.dtype {
        DType::U32 => Ok(()),
        other => {
            Err(Error::new(ErrorKind::DType { op, expected: "u32 indices", found: vec![other] }))
        }
    }
}

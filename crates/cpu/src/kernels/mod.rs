//! The kernels, a file a family, and what they share.
//!
//! Every kernel is a function of a [`Run`]. The direct loops are written in the gather form: an output element is
//! computed by one invocation, which sums in f64 in a fixed order, so results do not depend on the number of
//! threads.

mod concat;
mod conv2d;
mod conv2d_columns;
mod conv2d_few_channels;
mod conv2d_gemm;
mod conv2d_pairs;
mod dropout;
mod finite;
mod gather;
mod loss;
mod matmul;
mod norm;
mod optimizer;
mod pad;
mod patches;
mod pointwise;
mod pool2d;
mod random;
mod reduce;
mod resize;
mod rows;
mod view;
mod winograd;

use crate::gemm::Products;
use crate::storage::Storage;
use belamy_tensor::kernel::{KernelId, Params};
use belamy_tensor::{DType, Element};
use rayon::prelude::*;

/// What a kernel is given.
pub(crate) struct Run<'a> {
    /// Its parameters, flat.
    pub(crate) params: Params,
    /// What it reads.
    pub(crate) inputs: Vec<&'a Storage>,
    /// What it writes.
    pub(crate) outputs: Vec<&'a mut Storage>,
    /// Whether it may take a fast path.
    pub(crate) fast: bool,
    /// Whether that may be Winograd's.
    pub(crate) winograd: bool,
    /// What fast paths round the operands of products to.
    pub(crate) products: Products,
}

impl<'a> Run<'a> {
    /// The type of the first output, which decides the kernel's instance.
    pub(crate) fn dtype(&self) -> DType {
        self.outputs[0].dtype()
    }

    /// An input's numbers.
    pub(crate) fn input<E: Element>(&self, index: usize) -> &'a [E] {
        self.inputs[index].values()
    }

    /// The only output's numbers.
    pub(crate) fn output<E: Element>(&mut self) -> &mut [E] {
        self.outputs[0].values_mut()
    }
}

/// A floating-point type that kernels compute in.
pub(crate) trait Real: Element {
    /// Rounds to this type.
    fn from_f64(value: f64) -> Self;
    /// Widens to f64.
    fn to_f64(self) -> f64;
}

impl Real for f32 {
    fn from_f64(value: f64) -> f32 {
        value as f32
    }
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    fn from_f64(value: f64) -> f64 {
        value
    }
    fn to_f64(self) -> f64 {
        self
    }
}

/// Calls a kernel's generic body for the run's floating-point type.
macro_rules! for_real {
    ($run:expr, $body:ident) => {
        match $run.dtype() {
            belamy_tensor::DType::F32 => $body::<f32>($run),
            belamy_tensor::DType::F64 => $body::<f64>($run),
            belamy_tensor::DType::U32 => unreachable!("infer admits floating-point operands only"),
        }
    };
}
pub(crate) use for_real;
#[cfg(test)]
pub(crate) use pointwise::sigmoid;

/// Calls a kernel's generic body for the run's element type, whatever it is: for kernels that only move numbers.
macro_rules! for_element {
    ($run:expr, $body:ident) => {
        match $run.dtype() {
            belamy_tensor::DType::F32 => $body::<f32>($run),
            belamy_tensor::DType::F64 => $body::<f64>($run),
            belamy_tensor::DType::U32 => $body::<u32>($run),
        }
    };
}
pub(crate) use for_element;

/// Below this many elements a loop runs on the calling thread: waking others would cost more.
pub(crate) const SERIAL_ELEMENTS: usize = 8192;

/// Fills each element of an output from its index, in parallel.
pub(crate) fn fill<E: Element>(output: &mut [E], value: impl Fn(usize) -> E + Sync) {
    fill_chunks(output, SERIAL_ELEMENTS, |start, chunk| {
        for (offset, element) in chunk.iter_mut().enumerate() {
            *element = value(start + offset);
        }
    });
}

/// As [`fill`] where an element costs about `work` operations, so that few but heavy elements spread too.
pub(crate) fn fill_heavy<E: Element>(
    output: &mut [E],
    work: usize,
    value: impl Fn(usize) -> E + Sync,
) {
    let chunk = (SERIAL_ELEMENTS / work.max(1)).max(1);
    fill_chunks(output, chunk, |start, chunk| {
        for (offset, element) in chunk.iter_mut().enumerate() {
            *element = value(start + offset);
        }
    });
}

/// Hands out an output in chunks of a fixed length, in parallel, each with the index it starts at.
///
/// The body is called through a pointer, once a chunk, so that rayon's machinery is compiled once an element type and
/// not once a kernel: that was half of the time to build this crate.
pub(crate) fn fill_chunks<E: Element>(
    output: &mut [E],
    length: usize,
    body: impl Fn(usize, &mut [E]) + Sync,
) {
    if output.len() <= length {
        body(0, output);
    } else {
        spread(output, length, &|index, chunk| body(index * length, chunk));
    }
}

/// Calls `body(index, chunk)` for each chunk of a slice, in parallel.
pub(crate) fn spread<T: Send>(
    slice: &mut [T],
    length: usize,
    body: &(dyn Fn(usize, &mut [T]) + Sync),
) {
    slice.par_chunks_mut(length).enumerate().for_each(|(index, chunk)| body(index, chunk));
}

/// Splits a flat index into the six coordinates of `dims`.
pub(crate) fn coordinates(mut index: usize, dims: &[u32; 6]) -> [usize; 6] {
    let mut at = [0; 6];
    for axis in (0..6).rev() {
        at[axis] = index % dims[axis] as usize;
        index /= dims[axis] as usize;
    }
    at
}

macro_rules! dispatch_all {
    ($($family:ident: [$($kernel:ident($params:ident)),* $(,)?];)*) => {
        /// Runs a kernel by name.
        pub(crate) fn dispatch(kernel: KernelId, run: Run<'_>) {
            match kernel {
                $($(KernelId::$kernel => $family::$kernel(run),)*)*
                _ => unreachable!("the match above is made from the list of all kernels"),
            }
        }
    };
}
belamy_tensor::for_each_kernel!(dispatch_all);

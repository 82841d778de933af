//! What each kernel's call becomes: passes, grids and workspaces, a file a family.
//!
//! Plans depend on shapes alone, never on the device, so that a result's bits do not either as far as arithmetic allows.
//! Every launch is one-dimensional: blocks along x, threads along x; kernels find tiles and batches from their number.

mod concat;
mod conv2d;
mod dropout;
mod finite;
mod gather;
mod lists;
mod loss;
mod matmul;
mod norm;
mod optimizer;
mod pad;
mod pointwise;
mod pool2d;
mod random;
mod reduce;
mod resize;
mod tile;
mod view;

pub use tile::Precision;

use crate::driver::{Argument, Driver, Launch};
use crate::memory::Memory;
use crate::source::Source;
use belamy_tensor::foreign::{Foreign, Grid};
use belamy_tensor::kernel::{KernelId, Params};
use std::sync::Arc;

/// Why a launch failed.
pub(crate) type Result<T> = std::result::Result<T, String>;

/// A buffer of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operand {
    pub(crate) address: u64,
    pub(crate) elements: usize,
}

impl From<Operand> for Argument {
    fn from(operand: Operand) -> Argument {
        Argument::Pointer(operand.address)
    }
}

impl From<&Memory> for Argument {
    fn from(memory: &Memory) -> Argument {
        Argument::Pointer(memory.address())
    }
}

impl From<u32> for Argument {
    fn from(word: u32) -> Argument {
        Argument::U32(word)
    }
}

impl From<f32> for Argument {
    fn from(number: f32) -> Argument {
        Argument::F32(number)
    }
}

impl From<f64> for Argument {
    fn from(number: f64) -> Argument {
        Argument::F64(number)
    }
}

/// The arguments of a launch after the parameter struct.
macro_rules! arguments {
    ($($argument:expr),* $(,)?) => { &[$($crate::driver::Argument::from($argument)),*] };
}
pub(crate) use arguments;

/// Threads of a block where nothing else is said.
pub(crate) const THREADS: u32 = 256;

/// Elements that one thread of a flat kernel owns: 16 bytes.
pub(crate) const VECTOR: u32 = 4;

/// What a kernel is given.
pub(crate) struct Run<'a> {
    pub(crate) driver: &'a Arc<dyn Driver>,
    pub(crate) precision: Precision,
    /// Whether warpgroups may multiply.
    pub(crate) warpgroups: bool,
    pub(crate) kernel: KernelId,
    pub(crate) params: Params,
    pub(crate) inputs: Vec<Operand>,
    pub(crate) outputs: Vec<Operand>,
}

impl Run<'_> {
    /// Memory between two passes. It may be dropped as soon as both are queued.
    pub(crate) fn workspace(&self, bytes: usize) -> Result<Memory> {
        Memory::new(self.driver, bytes)
    }

    /// Queues `entry` of the kernel's own family, with the kernel's parameters as its first argument.
    pub(crate) fn launch(
        &self,
        entry: &str,
        blocks: usize,
        threads: u32,
        arguments: &[Argument],
    ) -> Result<()> {
        let mut all = vec![Argument::Struct(self.params.packed(self.kernel.layout()))];
        all.extend_from_slice(arguments);
        self.launch_bare(self.kernel.family(), entry, blocks, threads, &all)
    }

    /// Queues an entry point with these arguments and no others.
    pub(crate) fn launch_bare(
        &self,
        family: &'static str,
        entry: &str,
        blocks: usize,
        threads: u32,
        arguments: &[Argument],
    ) -> Result<()> {
        self.launch_shared(family, entry, blocks, threads, 0, arguments)
    }

    /// As [`Run::launch_bare`], with so many bytes of shared memory for each block besides what the kernel declares.
    pub(crate) fn launch_shared(
        &self,
        family: &'static str,
        entry: &str,
        blocks: usize,
        threads: u32,
        shared: u32,
        arguments: &[Argument],
    ) -> Result<()> {
        if blocks == 0 {
            return Ok(());
        }
        let blocks = i32::try_from(blocks)
            .map_err(|_| format!("{entry} would need {blocks} blocks, and 2³¹ − 1 is the most"))?;
        let source = Source::of(family).ok_or_else(|| format!("there is no family {family}"))?;
        let launch = Launch { source, entry, blocks: blocks as u32, threads, shared, arguments };
        self.driver.launch(&launch)
    }

    /// Queues the kernel of the call's own name, a thread for each of `items`.
    pub(crate) fn launch_items(&self, items: usize, arguments: &[Argument]) -> Result<()> {
        let blocks = items.div_ceil(THREADS as usize);
        self.launch(self.kernel.name(), blocks, THREADS, arguments)
    }

    /// Queues the kernel of the call's own name over all operands in their order, a thread for each of `items`.
    pub(crate) fn launch_plain(&self, items: usize) -> Result<()> {
        let operands = self.inputs.iter().chain(&self.outputs);
        let arguments: Vec<Argument> = operands.map(|&operand| operand.into()).collect();
        self.launch_items(items, &arguments)
    }
}

/// Runs somebody else's kernel: one launch, over all operands in their order.
pub(crate) fn foreign(run: &Run<'_>, foreign: &Foreign, source: &'static Source) -> Result<()> {
    let elements = run.outputs.first().map_or(0, |output| output.elements);
    let Grid { blocks, threads, shared } = (foreign.grid)(&run.params, elements)?;
    if blocks == 0 || elements == 0 {
        return Ok(());
    }
    let mut arguments = vec![Argument::Struct(run.params.packed(run.kernel.layout()))];
    arguments.extend(run.inputs.iter().chain(&run.outputs).map(|&operand| operand.into()));
    let (entry, arguments) = (foreign.entry, arguments.as_slice());
    run.driver.launch(&Launch { source, entry, blocks, threads, shared, arguments })
}

macro_rules! dispatch_all {
    ($($family:ident: [$($kernel:ident($params:ident)),* $(,)?];)*) => {
        /// Runs a kernel by name.
        pub(crate) fn dispatch(run: Run<'_>) -> Result<()> {
            match run.kernel {
                $($(KernelId::$kernel => $family::$kernel(&run),)*)*
                _ => unreachable!("the match above is made from the list of all kernels"),
            }
        }
    };
}
belamy_tensor::for_each_kernel!(dispatch_all);

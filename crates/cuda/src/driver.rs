//! The seam between planning launches and whatever runs them: a GPU, or the processor in its place.
//!
//! Everything above it (parameters, grids, workspaces, the order of passes) is the same for every driver, so that a test
//! that runs the kernels on the processor tests the very launches that a GPU gets.

use crate::recording::Step;
use crate::source::Source;
use belamy_tensor::communicator::Communicator;
use belamy_tensor::{DType, DeviceId};
use std::fmt::Debug;

/// What runs launches, in order, and owns memory.
///
/// All of it is one queue: whatever is asked for takes effect after what was asked for earlier.
pub trait Driver: Debug + Send + Sync {
    /// The device's name and index.
    fn id(&self) -> DeviceId;

    /// The address of `bytes` of memory, aligned to 256; its contents are unspecified.
    fn alloc(&self, bytes: usize) -> Result<u64, String>;

    /// Takes memory back. Launches that were queued earlier may still use it.
    fn free(&self, address: u64, bytes: usize);

    /// Copies from the host; `bytes` may be changed once this has returned.
    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), String>;

    /// Writes one 32-bit word `count` times.
    fn fill(&self, address: u64, word: u32, count: usize) -> Result<(), String>;

    /// Copies to the host, after everything that was queued.
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), String>;

    /// Copies from one place on the device to another.
    fn copy(&self, from: u64, to: u64, bytes: usize) -> Result<(), String>;

    /// Queues a kernel.
    fn launch(&self, launch: &Launch<'_>) -> Result<(), String>;

    /// Compiles and loads a text before its first launch. Fails with what the compiler says.
    fn prepare(&self, source: &'static Source) -> Result<(), String>;

    /// Waits for all that was queued.
    fn synchronize(&self) -> Result<(), String>;

    /// Gives back to the device the memory that is kept for later.
    fn release(&self) -> Result<(), String> {
        Ok(())
    }

    /// How many seconds pass on the device between two marks in the queue, one before what `work` queues and one behind it;
    /// waits for the second. `None`, and `work` not called, where there is no such clock.
    fn seconds_between_marks(&self, _work: &mut dyn FnMut()) -> Result<Option<f64>, String> {
        Ok(None)
    }

    /// Whether there are tensor cores that multiply tf32 and bf16.
    fn has_tensor_cores(&self) -> bool {
        true
    }

    /// Whether warpgroups multiply from shared memory, as on sm_90a.
    fn has_warpgroups(&self) -> bool {
        false
    }

    /// What was done since the device was opened, where the driver counts it.
    fn counters(&self) -> Counters {
        Counters::default()
    }

    /// Connects the device with those of the other ranks, and numbers the group; `None` where that is not to be had. Every
    /// rank calls it.
    fn meet(&self, _ranks: &dyn Communicator) -> belamy_tensor::Result<Option<usize>> {
        Ok(None)
    }

    /// Queues a reduction over the ranks of a group that has met.
    fn reduce(&self, _reduce: &Reduce) -> Result<(), String> {
        Err("this device is connected with no other".into())
    }

    /// What is queued after this comes after all reductions that went beside.
    fn join(&self) -> Result<(), String> {
        Ok(())
    }

    /// Begins to note what is queued instead of running it.
    fn begin_capture(&self) -> Result<(), String>;

    /// Ends that; `finish` may change what was noted before it is made into something to replay.
    fn end_capture(
        &self,
        finish: &mut dyn FnMut(&mut Vec<Step>),
    ) -> Result<Box<dyn Replay>, String>;
}

/// What a driver has done: in the steady state of training, launches and replays alone go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Times that the device was asked for memory.
    pub allocations: u64,
    /// Times that the host waited for the device.
    pub waits: u64,
    /// Copies between host and device.
    pub copies: u64,
    /// Kernels queued or recorded.
    pub launches: u64,
    /// Recorded steps queued.
    pub replays: u64,
}

/// A recorded sequence of launches. It owns the memory that was taken while it was recorded.
pub trait Replay: Debug + Send {
    /// Queues the whole sequence.
    fn replay(&self) -> Result<(), String>;
}

/// What all ranks have in one place into another of each one's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reduce {
    /// Which group of ranks, as [`Driver::meet`] has numbered it.
    pub group: usize,
    /// Where each one's numbers lie.
    pub from: u64,
    /// Where the result goes.
    pub to: u64,
    /// How many numbers.
    pub count: usize,
    /// Of which type: f32 or u32.
    pub dtype: DType,
    /// Whether the sum is divided by the number of ranks.
    pub mean: bool,
    /// Whether what is queued next need not wait for it, until [`Driver::join`].
    pub beside: bool,
}

/// A kernel to queue.
#[derive(Debug)]
pub struct Launch<'a> {
    /// The text that holds it.
    pub source: &'static Source,
    /// Its entry point.
    pub entry: &'a str,
    /// How many blocks.
    pub blocks: u32,
    /// How many threads a block has.
    pub threads: u32,
    /// How many bytes of shared memory a block has besides what the kernel declares.
    pub shared: u32,
    /// What it is given, in order.
    pub arguments: &'a [Argument],
}

impl Launch<'_> {
    /// The same as a step of a recording.
    pub(crate) fn noted(&self) -> Step {
        Step::Launch {
            source: self.source,
            entry: self.entry.to_owned(),
            blocks: self.blocks,
            threads: self.threads,
            shared: self.shared,
            arguments: self.arguments.to_vec(),
        }
    }
}

/// One argument of a kernel, by value.
#[derive(Clone, Debug, PartialEq)]
pub enum Argument {
    /// A struct, as its bytes.
    Struct(Vec<u8>),
    /// A place in the device's memory; 0 is null.
    Pointer(u64),
    /// `unsigned`
    U32(u32),
    /// `float`
    F32(f32),
    /// `double`
    F64(f64),
}

impl Argument {
    /// The argument's bytes, as a kernel finds them.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Argument::Struct(bytes) => bytes.clone(),
            Argument::Pointer(address) => address.to_ne_bytes().to_vec(),
            Argument::U32(word) => word.to_ne_bytes().to_vec(),
            Argument::F32(number) => number.to_ne_bytes().to_vec(),
            Argument::F64(number) => number.to_ne_bytes().to_vec(),
        }
    }
}

/// The arguments of one launch where each begins at an address of its own, aligned to 8: what both a GPU's driver and
/// the processor's are handed.
#[derive(Debug)]
pub(crate) struct Packed {
    words: Vec<u64>,
    starts: Vec<usize>,
}

impl Packed {
    pub(crate) fn new(arguments: &[Argument]) -> Packed {
        let mut packed = Packed { words: Vec::new(), starts: Vec::new() };
        for argument in arguments {
            packed.starts.push(packed.words.len());
            for chunk in argument.bytes().chunks(8) {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                packed.words.push(u64::from_ne_bytes(word));
            }
        }
        packed
    }

    /// Where each argument lies. Valid while `self` is.
    pub(crate) fn pointers(&mut self) -> Vec<*mut std::ffi::c_void> {
        let first = self.words.as_mut_ptr();
        self.starts.iter().map(|&start| first.wrapping_add(start).cast()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_argument_begins_on_a_word_of_its_own() {
        let arguments = [
            Argument::U32(7),
            Argument::Struct(vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
            Argument::F32(0.5),
            Argument::Pointer(1 << 40),
        ];
        let mut packed = Packed::new(&arguments);
        assert_eq!(packed.starts, [0, 1, 3, 4]);
        assert_eq!(packed.words[4], 1 << 40);
        let first = packed.words.as_ptr().cast::<std::ffi::c_void>();
        assert_eq!(packed.pointers()[0].cast_const(), first);
    }
}

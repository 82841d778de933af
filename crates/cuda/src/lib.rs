//! Belamy's CUDA backend: every kernel in hand-written CUDA C++ (`kernels/*.cu`), and what runs them.
//!
//! | file | what it holds |
//! |---|---|
//! | [`Cuda`] | the backend: buffers and kernels by name, above any driver |
//! | [`driver`] | the seam between planning launches and running them |
//! | `kernels` | one file a family: which passes, grids and workspaces a kernel's call takes |
//! | [`nccl`] | reductions over ranks' GPUs |
//! | [`recording`] | a recorded step as a list, and how a replay hands its results to the next |
//! | [`source`] | the kernels' texts |
//! | [`compile`] | NVRTC, the disk cache, kernels compiled beforehand |
//! | `gpu` | the driver of a real GPU: stream, pool, staging, graphs |
//! | `shim` | the driver that runs the same texts on the processor, for tests (feature `shim`) |
//!
//! Builds where no CUDA is installed: libraries are looked for when a device is opened, and their absence is an error.
//! Tensors are f32 and u32. [`Precision`] says what products round their operands to.

pub mod compile;
pub mod driver;
mod gpu;
mod kernels;
mod memory;
pub mod nccl;
pub mod recording;
#[cfg(feature = "shim")]
pub mod shim;
pub mod source;

pub use gpu::{Found, devices, open, usable};
pub use kernels::Precision;

use belamy_tensor::communicator::{Communicator, DeviceRanks, Order, Reduction};
use belamy_tensor::foreign::Foreign;
use belamy_tensor::kernel::KernelId;
use belamy_tensor::{
    Backend, Buffer, Call, DType, DeviceId, Error, ErrorKind, RecordedStep, Recording, Result, Work,
};
use driver::{Counters, Driver, Reduce, Replay};
use memory::Memory;
use source::Source;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A CUDA device as a backend. Clones are handles to one device.
///
/// Not every device computes in f64 at a useful rate, and no recipe trains in it: f64 tensors are refused.
#[derive(Clone, Debug)]
pub struct Cuda {
    driver: Arc<dyn Driver>,
    precision: Precision,
    warpgroups: bool,
    /// Somebody else's kernel, in the place of one of these.
    foreign: Option<Arc<(Foreign, &'static Source)>>,
    /// While a step is recorded: what it touches.
    recorded: Arc<Mutex<Option<Touched>>>,
}

/// What a recorded step's launches touch.
#[derive(Debug, Default)]
struct Touched {
    /// Addresses that were taken since it began: the driver keeps those.
    taken: HashSet<u64>,
    /// Operands from before, which must live as long as the recording.
    operands: Vec<Buffer>,
}

impl Cuda {
    /// The backend above a driver.
    pub fn new(driver: Arc<dyn Driver>) -> Cuda {
        let warpgroups = driver.has_warpgroups();
        Cuda {
            driver,
            precision: Precision::F32,
            warpgroups,
            foreign: None,
            recorded: Arc::default(),
        }
    }

    /// The same device, running somebody else's kernel in the place of its own of that name. Fails with what the compiler
    /// says of it.
    ///
    /// The kernel is given a struct of the kernel's parameters, then a pointer for each input and each output, of `float` or
    /// `unsigned`, and is declared `extern "C" __global__`.
    ///
    /// # Safety
    ///
    /// The text runs as it is, and may read and write whatever this process may: the process must be there for nothing
    /// else.
    pub unsafe fn with_foreign(self, foreign: Foreign) -> std::result::Result<Cuda, String> {
        let source = Source::foreign(&foreign.file, &foreign.text);
        if !source.entries().contains(&foreign.entry) {
            let Foreign { file, entry, .. } = &foreign;
            return Err(format!("{file} has no `extern \"C\" __global__ void {entry}(...)`"));
        }
        self.driver.prepare(source)?;
        Ok(Cuda { foreign: Some(Arc::new((foreign, source))), ..self })
    }

    /// The same device, multiplying in another precision. Fails with a sentence where it has no tensor cores for it.
    pub fn in_precision(self, precision: Precision) -> std::result::Result<Cuda, String> {
        if precision != Precision::F32 && !self.driver.has_tensor_cores() {
            return Err("tf32 and bf16 want the tensor cores of compute capability 8.0".into());
        }
        Ok(Cuda { precision, ..self })
    }

    /// The same device, multiplying as one without warpgroups does: for comparisons.
    pub fn without_warpgroups(self) -> Cuda {
        Cuda { warpgroups: false, ..self }
    }

    /// What operands of products are rounded to.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    fn recorded(&self) -> MutexGuard<'_, Option<Touched>> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was done since the device was opened: for tests that a step allocates nothing and waits for nothing.
    pub fn counters(&self) -> Counters {
        self.driver.counters()
    }

    #[track_caller]
    fn error(&self, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Device { device: self.id(), message: message.into() })
    }

    /// What a replay is to leave in the place of an operand.
    fn carried(&self, result: &Buffer, operand: &Buffer) -> Result<recording::Carried> {
        if (result.dtype, result.elements) != (operand.dtype, operand.elements) {
            return Err(self.error(format!(
                "cannot carry {result:?} to {operand:?} from one replay to the next"
            )));
        }
        let (from, to) = (self.memory(result)?.address(), self.memory(operand)?.address());
        Ok(recording::Carried { from, to, bytes: result.elements * result.dtype.bytes() })
    }

    /// Notes, while a step is recorded, that it reads a buffer.
    fn touch(&self, buffer: &Buffer, address: u64) {
        if let Some(touched) = &mut *self.recorded()
            && touched.taken.insert(address)
        {
            touched.operands.push(buffer.clone());
        }
    }

    fn memory<'a>(&self, buffer: &'a Buffer) -> Result<&'a Memory> {
        let memory = buffer.storage.downcast_ref::<Memory>();
        memory.ok_or_else(|| self.error("was handed another device's buffer"))
    }

    /// As [`Cuda::memory`], of a buffer that nobody else holds.
    fn fresh<'a>(&self, buffer: &'a mut Buffer) -> Result<&'a Memory> {
        match Arc::get_mut(&mut buffer.storage) {
            Some(storage) => {
                let memory = storage.downcast_ref::<Memory>();
                memory.ok_or_else(|| self.error("was handed another device's buffer"))
            }
            None => Err(self.error("cannot write a buffer that is shared")),
        }
    }
}

/// A recorded step: one graph, which the host launches as one.
#[derive(Debug)]
struct Graph {
    replay: Box<dyn Replay>,
    backend: Cuda,
    /// What the recorded launches read and write beyond their own memory must live as long as they.
    _kept: Vec<Buffer>,
}

impl Recording for Graph {
    fn replay(&self) -> Result<()> {
        self.replay.replay().map_err(|message| self.backend.error(message))
    }
}

impl Backend for Cuda {
    fn id(&self) -> DeviceId {
        self.driver.id()
    }

    fn alloc(&self, dtype: DType, elements: usize) -> Result<Buffer> {
        if dtype == DType::F64 {
            let message = format!(
                "computes in f32 and holds no f64 tensors ({elements} elements were asked for): convert them, or \
                 use the CPU"
            );
            return Err(self.error(message));
        }
        let memory = Memory::new(&self.driver, elements * dtype.bytes())
            .map_err(|message| self.error(format!("{elements} × {dtype}: {message}")))?;
        if let Some(touched) = &mut *self.recorded() {
            touched.taken.insert(memory.address());
        }
        Ok(Buffer::new(dtype, elements, Arc::new(memory)))
    }

    fn write(&self, buffer: &mut Buffer, bytes: &[u8]) -> Result<()> {
        let address = self.fresh(buffer)?.address();
        let written = match repeated_word(bytes) {
            // Zeros and ones need no copy, so that a recorded step may make them.
            Some((word, count)) => self.driver.fill(address, word, count),
            None => self.driver.write(address, bytes),
        };
        written.map_err(|message| self.error(message))
    }

    fn read(&self, buffer: &Buffer, bytes: &mut [u8]) -> Result<()> {
        let address = self.memory(buffer)?.address();
        self.driver.read(address, bytes).map_err(|message| self.error(message))
    }

    fn launch(&self, call: Call<'_>) -> Result<()> {
        let place = |buffer: &Buffer| -> Result<kernels::Operand> {
            let address = self.memory(buffer)?.address();
            Ok(kernels::Operand { address, elements: buffer.elements })
        };
        let inputs = call.inputs.iter().map(|buffer| place(buffer)).collect::<Result<Vec<_>>>()?;
        for (buffer, place) in call.inputs.iter().zip(&inputs) {
            self.touch(buffer, place.address);
        }
        let outputs = call
            .outputs
            .iter_mut()
            .map(|buffer| {
                let address = self.fresh(buffer)?.address();
                Ok(kernels::Operand { address, elements: buffer.elements })
            })
            .collect::<Result<Vec<_>>>()?;
        let run = kernels::Run {
            driver: &self.driver,
            precision: self.precision,
            warpgroups: self.warpgroups,
            kernel: call.kernel,
            params: call.params,
            inputs,
            outputs,
        };
        let launched = match self.foreign.as_deref() {
            Some((foreign, source)) if foreign.kernel == call.kernel => {
                kernels::foreign(&run, foreign, source)
            }
            _ => kernels::dispatch(run),
        };
        launched.map_err(|message| self.error(format!("{}: {message}", call.kernel.name())))
    }

    fn synchronize(&self) -> Result<()> {
        self.driver.synchronize().map_err(|message| self.error(message))
    }

    fn release(&self) -> Result<()> {
        self.driver.release().map_err(|message| self.error(message))
    }

    fn device_seconds(&self, work: Work<'_>) -> Result<Option<f64>> {
        let mut outcome = Ok(());
        let seconds = self.driver.seconds_between_marks(&mut || outcome = work());
        outcome?;
        seconds.map_err(|message| self.error(message))
    }

    fn join(&self, ranks: &dyn Communicator) -> Result<Option<Arc<dyn DeviceRanks>>> {
        let Some(group) = self.driver.meet(ranks)? else { return Ok(None) };
        Ok(Some(Arc::new(Connected { cuda: self.clone(), group })))
    }

    fn record(&self, step: RecordedStep<'_>) -> Result<Option<Box<dyn Recording>>> {
        self.driver.begin_capture().map_err(|message| self.error(message))?;
        *self.recorded() = Some(Touched::default());
        let pairs = step().and_then(|pairs| {
            let carried = pairs.iter().map(|(result, operand)| self.carried(result, operand));
            Ok((carried.collect::<Result<Vec<_>>>()?, pairs))
        });
        let carried = pairs.as_ref().map_or(&[][..], |(carried, _)| carried);
        // Ended whatever happened: a device left recording would refuse everything after.
        let replay = self.driver.end_capture(&mut |steps| recording::carry(steps, carried));
        let replay = replay.map_err(|message| self.error(message));
        let touched = self.recorded().take().unwrap_or_default();
        let mut kept = touched.operands;
        kept.extend(pairs?.1.into_iter().flat_map(|(result, operand)| [result, operand]));
        Ok(Some(Box::new(Graph { replay: replay?, backend: self.clone(), _kept: kept })))
    }
}

/// The device's way to those of the other ranks.
#[derive(Debug)]
struct Connected {
    cuda: Cuda,
    group: usize,
}

impl DeviceRanks for Connected {
    fn all_reduce(
        &self,
        reduction: Reduction,
        from: &Buffer,
        to: &mut Buffer,
        order: Order,
    ) -> Result<()> {
        let Connected { cuda, group } = self;
        if (from.dtype, from.elements) != (to.dtype, to.elements) {
            return Err(cuda.error(format!("cannot reduce {from:?} into {to:?}")));
        }
        let reduce = Reduce {
            group: *group,
            from: cuda.memory(from)?.address(),
            to: cuda.fresh(to)?.address(),
            count: from.elements,
            dtype: from.dtype,
            mean: reduction == Reduction::Mean,
            beside: order == Order::Beside,
        };
        cuda.touch(from, reduce.from);
        cuda.driver.reduce(&reduce).map_err(|message| cuda.error(message))
    }

    fn join(&self) -> Result<()> {
        self.cuda.driver.join().map_err(|message| self.cuda.error(message))
    }
}

/// The 32-bit word that the bytes repeat, and how often, if they are of one.
fn repeated_word(bytes: &[u8]) -> Option<(u32, usize)> {
    let (first, rest) = bytes.split_first_chunk::<4>()?;
    let same = rest.len() % 4 == 0 && rest.chunks_exact(4).all(|word| word == first);
    same.then_some((u32::from_ne_bytes(*first), bytes.len() / 4))
}

/// Every kernel that this backend runs: all of them, or it would not compile.
pub fn kernels() -> &'static [KernelId] {
    KernelId::ALL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_repeated_is_seen() {
        assert_eq!(repeated_word(&[1, 0, 0, 0, 1, 0, 0, 0]), Some((1u32.to_le(), 2)));
        assert_eq!(repeated_word(&[0; 4]), Some((0, 1)));
        for other in [&[][..], &[0; 3], &[0; 6], &[0, 0, 0, 0, 0, 0, 0, 1]] {
            assert_eq!(repeated_word(other), None);
        }
    }
}

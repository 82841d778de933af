//! Belamy's CUDA backend: every kernel in hand-written CUDA C++ (`kernels/*.cu`), and what runs them.
//!
//! | file | what it holds |
//! |---|---|
//! | [`Cuda`] | the backend: buffers and kernels by name, above any driver |
//! | [`driver`] | the seam between planning launches and running them |
//! | `kernels` | one file a family: which passes, grids and workspaces a kernel's call takes |
//! | [`source`] | the kernels' texts |
//! | [`compile`] | NVRTC, the disk cache, kernels compiled beforehand |
//! | `gpu` | the driver of a real GPU: stream, pool, staging, graphs |
//! | `shim` | the driver that runs the same texts on the processor, for tests (feature `shim`) |
//!
//! Builds where no CUDA is installed: libraries are looked for when a device is opened, and their absence is an error.
//! f32 and u32 only.

pub mod compile;
pub mod driver;
mod gpu;
mod kernels;
mod memory;
#[cfg(feature = "shim")]
pub mod shim;
pub mod source;

pub use gpu::{Found, devices, open};

use belamy_tensor::kernel::KernelId;
use belamy_tensor::{
    Backend, Buffer, Call, DType, DeviceId, Error, ErrorKind, RecordedStep, Recording, Result,
};
use driver::{Counters, Driver, Replay};
use memory::Memory;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A CUDA device as a backend. Clones are handles to one device.
///
/// Not every device computes in f64 at a useful rate, and no recipe trains in it: f64 tensors are refused.
#[derive(Clone, Debug)]
pub struct Cuda {
    driver: Arc<dyn Driver>,
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
        Cuda { driver, recorded: Arc::default() }
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
        if let Some(touched) = &mut *self.recorded() {
            for (buffer, place) in call.inputs.iter().zip(&inputs) {
                if touched.taken.insert(place.address) {
                    touched.operands.push((*buffer).clone());
                }
            }
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
            kernel: call.kernel,
            params: call.params,
            inputs,
            outputs,
        };
        kernels::dispatch(run)
            .map_err(|message| self.error(format!("{}: {message}", call.kernel.name())))
    }

    fn synchronize(&self) -> Result<()> {
        self.driver.synchronize().map_err(|message| self.error(message))
    }

    fn record(&self, step: RecordedStep<'_>) -> Result<Option<Box<dyn Recording>>> {
        self.driver.begin_capture().map_err(|message| self.error(message))?;
        *self.recorded() = Some(Touched::default());
        let carried = step().and_then(|pairs| {
            for (result, operand) in &pairs {
                if (result.dtype, result.elements) != (operand.dtype, operand.elements) {
                    return Err(self.error(format!(
                        "cannot carry {result:?} to {operand:?} from one replay to the next"
                    )));
                }
                let (from, to) = (self.memory(result)?.address(), self.memory(operand)?.address());
                let bytes = result.elements * result.dtype.bytes();
                self.driver.copy(from, to, bytes).map_err(|message| self.error(message))?;
            }
            Ok(pairs)
        });
        // Ended whatever happened: a stream left recording would refuse everything after.
        let replay = self.driver.end_capture().map_err(|message| self.error(message));
        let touched = self.recorded().take().unwrap_or_default();
        let mut kept = touched.operands;
        kept.extend(carried?.into_iter().flat_map(|(result, operand)| [result, operand]));
        Ok(Some(Box::new(Graph { replay: replay?, backend: self.clone(), _kept: kept })))
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

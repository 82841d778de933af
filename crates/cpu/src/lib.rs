//! Belamy's CPU backend on rayon: the oracle for every op, and fast paths for the hot ones.
//!
//! | file | what it holds |
//! |---|---|
//! | [`Cpu`] | the backend: buffers from a pool, kernels by name |
//! | `memory` | memory of kernels that the system may refuse |
//! | `pages` | large pages for large buffers |
//! | `storage` | memory that goes back to the pool when the last tensor lets go of it |
//! | `kernels` | one file a family: direct loops in f64 accumulation, parallel over outputs |
//! | `functions` | exponential functions of many f32 at once, in plain arithmetic that becomes vector instructions |
//! | `transpose` | squares of numbers, transposed in registers |
//! | `vectors` | the processor's vector instructions; `BELAMY_ISA=avx2` or `portable` keeps to narrower ones, `avx512` off the matrix unit, `amx` has it multiply f32 too |
//! | [`RowProgram`] | a small network's function of one row, without memory or threads of its own |
//! | `gemm` | packed, register-blocked matrix multiplication for AVX-512, AVX2, AMX and any other processor |
//!
//! [`oracle`] runs the direct loops only: simple enough to be believed. [`cpu`] takes, by the rule stated in each
//! kernel's file, a fast path for matrix products, convolutions and norms. Both give the same bits from run to run
//! and at any number of threads, because the order of every sum depends on shapes alone.
#![deny(unsafe_code)]

mod functions;
mod gemm;
mod kernels;
mod memory;
mod pages;
mod row;
mod storage;
mod transpose;
mod vectors;

use belamy_tensor::kernel::KernelId;
use belamy_tensor::{Backend, Buffer, Call, DType, Device, DeviceId, Error, ErrorKind, Result};
pub use row::RowProgram;
use std::sync::Arc;
use storage::{Pool, Storage};

/// How the CPU computes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Path {
    /// Direct loops accumulating in f64.
    Oracle,
    /// Fast variants where there are some, but for those that compute another, shorter sum.
    Direct,
    /// As `Direct`, with the operands of products rounded to bf16.
    Bf16,
    /// Fast variants where there are some.
    Fast,
}

/// The CPU as a device.
#[derive(Debug)]
pub struct Cpu {
    path: Path,
    pool: Arc<Pool>,
}

/// The CPU by direct loops that accumulate in f64: slow, and right.
pub fn oracle() -> Device {
    Device::new(Cpu { path: Path::Oracle, pool: Pool::new(false) })
}

/// The CPU by its fast paths.
pub fn cpu() -> Device {
    Device::new(Cpu { path: Path::Fast, pool: Pool::new(false) })
}

/// As [`cpu`] without Winograd's convolutions: every product of the sum that defines a convolution is made.
pub fn direct() -> Device {
    Device::new(Cpu { path: Path::Direct, pool: Pool::new(false) })
}

/// As [`direct`] with the f32 operands of fast matrix products and convolutions rounded to bf16, to nearest; sums and all
/// other arithmetic stay f32. Twice as fast in products where the processor has AVX512-BF16, and the same arithmetic, but
/// for the order of pairs in a sum and for subnormal operands, which those instructions take for zeros, where it has not.
pub fn bf16() -> Device {
    Device::new(Cpu { path: Path::Bf16, pool: Pool::new(false) })
}

/// As [`oracle`] or [`cpu`] with every new buffer filled with NaN, so that an element which a kernel forgets to
/// write is seen. For tests.
pub fn poisoned(fast: bool) -> Device {
    let path = if fast { Path::Fast } else { Path::Oracle };
    Device::new(Cpu { path, pool: Pool::new(true) })
}

/// The bytes of one of this backend's buffers; none of another's.
pub fn bytes(buffer: &Buffer) -> Option<&[u8]> {
    buffer.storage.downcast_ref::<Storage>().map(Storage::bytes)
}

/// The bytes of one of this backend's buffers that nobody else holds, to write.
pub fn bytes_mut(buffer: &mut Buffer) -> Option<&mut [u8]> {
    let storage = Arc::get_mut(&mut buffer.storage)?.downcast_mut::<Storage>()?;
    Some(storage.bytes_mut())
}

/// Which instruction set the fast paths use on this machine: `avx512`, `avx2` or `portable`.
pub fn instruction_set() -> &'static str {
    gemm::instruction_set()
}

/// Makes the threads that kernels of this process run on: so many, or for 0 what `RAYON_NUM_THREADS` says, or as many as the
/// machine runs at once. The calling thread is `one_of_them`, or waits while they work.
///
/// A program that launches kernels from one thread alone gains by its being one: it need not be put to sleep and woken for each
/// kernel (a step of `mnist-mlp` took 27.7 ms instead of 29.8 on two threads of a Xeon). Where several threads launch kernels
/// none should be, as while it waits for another it is missing, or, if it is the only one, does not come to what that waits for.
/// Without this call the first kernel makes threads, all others. Results do not depend on it.
///
/// Fails if there are such threads already, or the system has no more.
///
/// ```
/// belamy_cpu::start_threads(2, true).unwrap();
/// assert!(belamy_cpu::start_threads(2, true).is_err());
/// ```
pub fn start_threads(number: usize, one_of_them: bool) -> Result<()> {
    let mut pool = rayon::ThreadPoolBuilder::new().num_threads(number);
    if one_of_them {
        pool = pool.use_current_thread();
    }
    pool.build_global().map_err(|why| {
        let device = DeviceId { name: "cpu", index: 0 };
        Error::new(ErrorKind::Device { device, message: format!("its threads: {why}") })
    })
}

impl Cpu {
    fn error(&self, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Device { device: self.id(), message: message.into() })
    }

    fn storage<'a>(&self, buffer: &'a Buffer) -> Result<&'a Storage> {
        buffer
            .storage
            .downcast_ref::<Storage>()
            .ok_or_else(|| self.error("was handed another device's buffer"))
    }

    fn storage_mut<'a>(&self, buffer: &'a mut Buffer) -> Result<&'a mut Storage> {
        Arc::get_mut(&mut buffer.storage)
            .and_then(|storage| storage.downcast_mut::<Storage>())
            .ok_or_else(|| self.error("cannot write a buffer that is shared"))
    }
}

impl Backend for Cpu {
    fn id(&self) -> DeviceId {
        let name = match self.path {
            Path::Oracle => "oracle",
            Path::Direct => "direct",
            Path::Bf16 | Path::Fast => "cpu",
        };
        DeviceId { name, index: 0 }
    }

    fn alloc(&self, dtype: DType, elements: usize) -> Result<Buffer> {
        let storage = Pool::take(&self.pool, dtype, elements).ok_or_else(|| {
            let bytes = elements.saturating_mul(dtype.bytes());
            self.error(format!("out of memory: {bytes} bytes for a tensor of {elements} × {dtype}"))
        })?;
        Ok(Buffer::new(dtype, elements, Arc::new(storage)))
    }

    fn write(&self, buffer: &mut Buffer, bytes: &[u8]) -> Result<()> {
        self.storage_mut(buffer)?.bytes_mut().copy_from_slice(bytes);
        Ok(())
    }

    fn read(&self, buffer: &Buffer, bytes: &mut [u8]) -> Result<()> {
        bytes.copy_from_slice(self.storage(buffer)?.bytes());
        Ok(())
    }

    fn launch(&self, call: Call<'_>) -> Result<()> {
        let inputs = call
            .inputs
            .iter()
            .map(|buffer| self.storage(buffer))
            .collect::<Result<Vec<&Storage>>>()?;
        let outputs = call
            .outputs
            .iter_mut()
            .map(|buffer| self.storage_mut(buffer))
            .collect::<Result<Vec<&mut Storage>>>()?;
        let run = kernels::Run {
            params: call.params,
            inputs,
            outputs,
            fast: self.path != Path::Oracle,
            winograd: self.path == Path::Fast,
            products: match self.path {
                Path::Bf16 => gemm::Products::Bf16,
                _ => gemm::Products::Whole,
            },
        };
        memory::caught(|| kernels::dispatch(call.kernel, run)).map_err(|bytes| {
            let what = format!("out of memory: {bytes} bytes for what {:?} works in", call.kernel);
            self.error(what)
        })
    }

    fn synchronize(&self) -> Result<()> {
        Ok(())
    }

    fn release(&self) -> Result<()> {
        self.pool.clear();
        Ok(())
    }
}

/// Every kernel that this backend runs: all of them, or it would not compile.
pub fn kernels() -> &'static [KernelId] {
    KernelId::ALL
}

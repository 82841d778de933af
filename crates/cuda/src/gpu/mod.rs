//! The driver of a real GPU: one context, one stream, memory from a pool, graphs.
//!
//! | file | what it holds |
//! |---|---|
//! | `found` | the GPUs of this machine, and what their driver must have |
//! | `graph` | a recorded step |
//! | `pool` | memory by size class, kept for the next step, and apart for a recorded one |
//! | `staging` | pinned host memory through which uploads run while the host goes on |
//! | `ranks` | reductions over ranks, on a stream beside the device's own |
//! | `modules` | families loaded at first use, their entry points by name |
//!
//! Everything goes to one stream of its own: the legacy stream cannot be recorded, and with one stream no events are
//! needed between launches. A kernel's fault is seen by a later call, whichever it is; the error names the kernels that
//! ran since the last wait. With `BELAMY_CUDA_SYNC=1` each launch is waited for, and the error names the one.

mod found;
mod graph;
mod modules;
mod pool;
mod ranks;
mod staging;

use crate::Cuda;
use crate::driver::{Counters, Driver, Launch, Packed, Reduce, Replay};
use crate::recording::Step;
use crate::source::Source;
use belamy_tensor::DeviceId;
use belamy_tensor::communicator::Communicator;
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;
use found::{FOR_THE_CLOCK, has, numbered, text};
pub use found::{Found, devices, usable};
use graph::Graph;
use modules::Modules;
use pool::Pool;
use staging::Staging;
use std::ffi::CString;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Opens a device by its number. Fails with a sentence where there is no driver, no such device, or it is not usable.
pub fn open(index: u32) -> Result<Cuda, String> {
    let found = numbered(index)?;
    let gpu =
        Gpu::new(found.clone()).map_err(|error| format!("{}: {}", found.name, text(error)))?;
    Ok(Cuda::new(Arc::new(Handle(Arc::new(gpu)))))
}

/// The last kernels that are remembered for an error's message.
const REMEMBERED: usize = 32;

/// A device that is open.
struct Gpu {
    found: Found,
    device: sys::CUdevice,
    context: sys::CUcontext,
    stream: sys::CUstream,
    wait_each: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pool: Pool,
    staging: Staging,
    modules: Modules,
    ranks: ranks::Ranks,
    counters: Counters,
    /// What was noted of a step that is being recorded.
    noted: Vec<Step>,
    /// Entry points launched since the last wait.
    recent: Vec<String>,
    /// A fault ends a context: what it was is all that can be said from then on.
    failed: Option<String>,
}

// SAFETY: contexts and streams may be used from any thread that has the context current, which `enter` sees to; all that
// changes is behind the lock.
unsafe impl Send for Gpu {}
// SAFETY: as above.
unsafe impl Sync for Gpu {}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gpu({}, {})", self.found.index, self.found.name)
    }
}

/// Whether an error leaves the context as it was.
fn is_harmless(error: DriverError) -> bool {
    use sys::CUresult as E;
    matches!(
        error.0,
        E::CUDA_ERROR_OUT_OF_MEMORY
            | E::CUDA_ERROR_INVALID_VALUE
            | E::CUDA_ERROR_NOT_FOUND
            | E::CUDA_ERROR_NO_BINARY_FOR_GPU
            | E::CUDA_ERROR_INVALID_IMAGE
            | E::CUDA_ERROR_UNSUPPORTED_PTX_VERSION
            | E::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED
            | E::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED
            | E::CUDA_ERROR_STREAM_CAPTURE_UNMATCHED
    )
}

const RECORDING: &str =
    "a step is being recorded: it must not copy between host and device, nor wait";

impl Gpu {
    fn new(found: Found) -> Result<Gpu, DriverError> {
        let device = result::device::get(found.index as i32)?;
        // SAFETY: the device exists; the context is released by `drop`, or here if the stream cannot be had.
        let context = unsafe { result::primary_ctx::retain(device)? };
        let made = (|| {
            // SAFETY: the context was just retained.
            unsafe { result::ctx::set_current(context)? };
            result::stream::create(result::stream::StreamKind::NonBlocking)
        })();
        let stream = match made {
            Ok(stream) => stream,
            Err(error) => {
                // SAFETY: retained above, and not used after.
                let _ = unsafe { result::primary_ctx::release(device) };
                return Err(error);
            }
        };
        let wait_each = std::env::var_os("BELAMY_CUDA_SYNC").is_some_and(|value| value == "1");
        Ok(Gpu { found, device, context, stream, wait_each, state: Mutex::default() })
    }

    /// Makes the context current and takes the lock; refuses when the device has failed.
    fn enter(&self) -> Result<MutexGuard<'_, State>, String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(message) = &state.failed {
            return Err(format!("{message}; the device must be opened anew"));
        }
        // SAFETY: the context lives as long as `self`.
        unsafe { result::ctx::set_current(self.context) }.map_err(text)?;
        Ok(state)
    }

    /// The message for an error, which is kept if nothing can run after it.
    fn fault(&self, state: &mut State, doing: &str, error: DriverError) -> String {
        let said = text(error);
        if is_harmless(error) {
            return format!("{doing}: {said}");
        }
        let mut names: Vec<&str> = Vec::new();
        for name in state.recent.iter().rev() {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        let message = match &names[..] {
            [] => format!("{doing}: {said}"),
            [only] => format!("the kernel `{only}` failed: {said}"),
            many => format!(
                "one of the kernels {} (the last is named first) failed: {said}; BELAMY_CUDA_SYNC=1 tells which",
                many.join(", ")
            ),
        };
        state.failed = Some(message.clone());
        message
    }

    fn wait(&self, state: &mut State, doing: &str) -> Result<(), String> {
        state.counters.waits += 1;
        if state.ranks.are_there() {
            self.wait_among_ranks(state, doing)?;
        }
        // SAFETY: the stream lives as long as `self`.
        match unsafe { result::stream::synchronize(self.stream) } {
            Ok(()) => {
                state.recent.clear();
                Ok(())
            }
            Err(error) => Err(self.fault(state, doing, error)),
        }
    }

    fn out_of_memory(&self, state: &State, bytes: usize) -> String {
        let mib = |bytes: usize| bytes.div_ceil(1 << 20);
        let held = mib(state.pool.bytes_in_use());
        match result::mem_get_info() {
            Ok((free, total)) => format!(
                "out of memory: {} MiB were asked for, {} of {} MiB are free, and tensors hold {held} MiB here; take a \
                 smaller batch",
                mib(bytes),
                mib(free),
                mib(total)
            ),
            Err(_) => {
                format!("out of memory: {} MiB were asked for; tensors hold {held} MiB", mib(bytes))
            }
        }
    }
}

// What is queued on the stream, or recorded there.
impl Gpu {
    fn queue(&self, state: &mut State, step: &Step) -> Result<(), String> {
        match step {
            Step::Launch { source, entry, blocks, threads, shared, arguments } => {
                let (blocks, threads, shared) = (*blocks, *threads, *shared);
                self.queue_launch(
                    state,
                    &Launch { source, entry, blocks, threads, shared, arguments },
                )
            }
            &Step::Copy { from, to, bytes } => self.queue_copy(state, from, to, bytes),
            &Step::Fill { address, word, count } => self.queue_fill(state, address, word, count),
            Step::Reduce(reduce) => self.queue_reduce(state, reduce),
            Step::Join => self.queue_join(state),
        }
    }

    /// Waits for all that was queued, and frees what the pool keeps.
    fn give_back(&self, state: &mut State) -> Result<(), String> {
        self.wait(state, "waiting for memory")?;
        for address in state.pool.release() {
            // SAFETY: the pool gave it up, and nothing that was queued uses it any more.
            let _ = unsafe { result::free_sync(address) };
        }
        Ok(())
    }

    fn queue_fill(
        &self,
        state: &mut State,
        address: u64,
        word: u32,
        count: usize,
    ) -> Result<(), String> {
        // SAFETY: the caller alone holds the buffer, of at least this length; the context is current.
        let outcome = unsafe { sys::cuMemsetD32Async(address, word, count, self.stream) }.result();
        outcome.map_err(|error| self.fault(state, "filling memory", error))
    }

    fn queue_copy(
        &self,
        state: &mut State,
        from: u64,
        to: u64,
        bytes: usize,
    ) -> Result<(), String> {
        // SAFETY: both are buffers of at least this length, which live until the copy is done or recorded for as long
        // as the recording does.
        let outcome = unsafe { result::memcpy_dtod_async(to, from, bytes, self.stream) };
        outcome.map_err(|error| self.fault(state, "copying on the device", error))
    }

    fn queue_launch(&self, state: &mut State, launch: &Launch<'_>) -> Result<(), String> {
        let function = state.modules.function(launch, self.found.capability)?;
        state.counters.launches += 1;
        let mut packed = Packed::new(launch.arguments);
        let mut pointers = packed.pointers();
        // SAFETY: number and layout of the arguments are the kernel's, which tests compare; buffers live until the stream
        // has passed the launch, because memory only returns to a pool of the same stream.
        let outcome = unsafe {
            result::launch_kernel(
                function,
                (launch.blocks, 1, 1),
                (launch.threads, 1, 1),
                launch.shared,
                self.stream,
                &mut pointers,
            )
        };
        if state.recent.len() == REMEMBERED {
            state.recent.remove(0);
        }
        state.recent.push(launch.entry.to_string());
        outcome.map_err(|error| self.fault(state, &format!("launching `{}`", launch.entry), error))
    }
}

/// A shared handle: a recorded graph keeps its device.
#[derive(Debug)]
struct Handle(Arc<Gpu>);

impl Driver for Handle {
    fn id(&self) -> DeviceId {
        DeviceId { name: "cuda", index: self.0.found.index }
    }

    fn alloc(&self, bytes: usize) -> Result<u64, String> {
        let gpu = &*self.0;
        let mut state = gpu.enter()?;
        if let Some(address) = state.pool.take(bytes) {
            return Ok(address);
        }
        let class = pool::class(bytes);
        state.counters.allocations += 1;
        // SAFETY: the context is current; the pool owns what it is given until `drop`.
        let mut outcome = unsafe { result::malloc_sync(class) };
        if outcome.is_err() && !state.pool.is_recording() {
            // What is kept of other sizes may be what is missing. Launches may still use it.
            gpu.give_back(&mut state)?;
            // SAFETY: as above.
            outcome = unsafe { result::malloc_sync(class) };
        }
        match outcome {
            Ok(address) => {
                state.pool.add(address, bytes);
                Ok(address)
            }
            Err(error) if error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
                Err(gpu.out_of_memory(&state, bytes))
            }
            Err(error) => Err(gpu.fault(&mut state, "taking memory", error)),
        }
    }

    fn free(&self, address: u64, bytes: usize) {
        // Also after a fault: the pool only notes it.
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.pool.put(address, bytes);
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), String> {
        let gpu = &*self.0;
        let mut state = gpu.enter()?;
        if state.pool.is_recording() {
            return Err(RECORDING.into());
        }
        state.counters.copies += 1;
        // SAFETY: the caller alone holds the buffer, of at least this length; the context is current.
        let outcome = unsafe { state.staging.upload(gpu.stream, address, bytes) };
        outcome.map_err(|error| gpu.fault(&mut state, "copying to the device", error))
    }

    fn fill(&self, address: u64, word: u32, count: usize) -> Result<(), String> {
        let gpu = &*self.0;
        let mut state = gpu.enter()?;
        if state.pool.is_recording() {
            state.noted.push(Step::Fill { address, word, count });
            return Ok(());
        }
        gpu.queue_fill(&mut state, address, word, count)
    }

    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), String> {
        let gpu = &*self.0;
        let mut state = gpu.enter()?;
        if state.pool.is_recording() {
            return Err(RECORDING.into());
        }
        if state.ranks.are_there() {
            gpu.wait(&mut state, "copying from the device")?;
        }
        state.counters.copies += 1;
        state.counters.waits += 1;
        // SAFETY: the buffer is at least this long; the context is current.
        let outcome = unsafe { state.staging.download(gpu.stream, address, bytes) };
        outcome.map_err(|error| gpu.fault(&mut state, "copying from the device", error))?;
        if !bytes.is_empty() {
            // The copies were waited for, and all kernels before them.
            state.recent.clear();
        }
        Ok(())
    }

    fn copy(&self, from: u64, to: u64, bytes: usize) -> Result<(), String> {
        let gpu = &*self.0;
        let mut state = gpu.enter()?;
        if bytes == 0 || from == to {
            return Ok(());
        }
        if state.pool.is_recording() {
            state.noted.push(Step::Copy { from, to, bytes });
            return Ok(());
        }
        gpu.queue_copy(&mut state, from, to, bytes)
    }

    fn launch(&self, launch: &Launch<'_>) -> Result<(), String> {
        let gpu = &*self.0;
        let mut state = gpu.enter()?;
        if state.pool.is_recording() {
            state.noted.push(launch.noted());
            return Ok(());
        }
        gpu.queue_launch(&mut state, launch)?;
        if gpu.wait_each {
            gpu.wait(&mut state, &format!("launching `{}`", launch.entry))?;
        }
        Ok(())
    }

    fn prepare(&self, source: &'static Source) -> Result<(), String> {
        let gpu = &*self.0;
        gpu.enter()?.modules.load(source, gpu.found.capability)
    }

    fn synchronize(&self) -> Result<(), String> {
        let gpu = &*self.0;
        let mut state = gpu.enter()?;
        if state.pool.is_recording() {
            return Err(RECORDING.into());
        }
        gpu.wait(&mut state, "waiting for the device")
    }

    fn release(&self) -> Result<(), String> {
        let gpu = &*self.0;
        let mut state = gpu.enter()?;
        if state.pool.is_recording() {
            return Err(RECORDING.into());
        }
        gpu.give_back(&mut state)
    }

    fn seconds_between_marks(&self, work: &mut dyn FnMut()) -> Result<Option<f64>, String> {
        use sys::CUevent_flags_enum::CU_EVENT_DEFAULT;
        if !has(FOR_THE_CLOCK) {
            return Ok(None);
        }
        let gpu = &*self.0;
        let mark = || -> Result<sys::CUevent, String> {
            let mut state = gpu.enter()?;
            if state.pool.is_recording() {
                return Err(RECORDING.into());
            }
            let made = result::event::create(CU_EVENT_DEFAULT);
            let event = made.map_err(|error| gpu.fault(&mut state, "making an event", error))?;
            // SAFETY: the event was just made, and the stream is the device's own.
            let queued = unsafe { result::event::record(event, gpu.stream) };
            queued.map_err(|error| gpu.fault(&mut state, "queueing an event", error))?;
            Ok(event)
        };
        let first = mark()?;
        work();
        let last = mark()?;
        let mut state = gpu.enter()?;
        gpu.wait(&mut state, "waiting for the device")?;
        // SAFETY: both were queued on one stream, have passed, and are there.
        let passed = unsafe { result::event::elapsed(first, last) };
        for event in [first, last] {
            // SAFETY: nobody has it any more.
            let _ = unsafe { result::event::destroy(event) };
        }
        let milliseconds =
            passed.map_err(|error| gpu.fault(&mut state, "reading a device's clock", error))?;
        Ok(Some(f64::from(milliseconds) * 1e-3))
    }

    fn has_tensor_cores(&self) -> bool {
        self.0.found.capability >= (8, 0)
    }

    fn has_warpgroups(&self) -> bool {
        self.0.found.capability == (9, 0)
    }

    fn counters(&self) -> Counters {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).counters
    }

    fn meet(&self, ranks: &dyn Communicator) -> belamy_tensor::Result<Option<usize>> {
        self.0.meet(ranks)
    }

    fn reduce(&self, reduce: &Reduce) -> Result<(), String> {
        let gpu = &*self.0;
        let mut state = gpu.enter()?;
        if state.pool.is_recording() {
            state.noted.push(Step::Reduce(*reduce));
            return Ok(());
        }
        gpu.queue_reduce(&mut state, reduce)
    }

    fn join(&self) -> Result<(), String> {
        let gpu = &*self.0;
        let mut state = gpu.enter()?;
        if state.pool.is_recording() {
            state.noted.push(Step::Join);
            return Ok(());
        }
        gpu.queue_join(&mut state)
    }

    fn begin_capture(&self) -> Result<(), String> {
        self.0.begin_recording()
    }

    fn end_capture(
        &self,
        finish: &mut dyn FnMut(&mut Vec<Step>),
    ) -> Result<Box<dyn Replay>, String> {
        Ok(Box::new(Graph::record(&self.0, finish)?))
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        let mut state =
            std::mem::take(&mut *self.state.lock().unwrap_or_else(PoisonError::into_inner));
        // SAFETY: the context is released below.
        let _ = unsafe { result::ctx::set_current(self.context) };
        let _ = self.wait(&mut state, "closing the device");
        state.ranks.release();
        // SAFETY: nobody holds the device any more: every buffer and graph has a share in it. What was queued was waited
        // for.
        unsafe {
            state.staging.release();
            for address in state.pool.release() {
                let _ = result::free_sync(address);
            }
            state.modules.release();
            let _ = result::stream::destroy(self.stream);
            let _ = result::primary_ctx::release(self.device);
        }
    }
}

/// An entry point's name as C has it.
fn c_name(entry: &str) -> Result<CString, String> {
    CString::new(entry).map_err(|error| format!("{entry}: {error}"))
}

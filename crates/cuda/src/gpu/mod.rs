//! The driver of a real GPU: one context, one stream, memory from a pool, graphs.
//!
//! | file | what it holds |
//! |---|---|
//! | `pool` | memory by size class, kept for the next step, and apart for a recorded one |
//! | `staging` | pinned host memory through which uploads run while the host goes on |
//! | `ranks` | reductions over ranks, on a stream beside the device's own |
//! | `modules` | families loaded at first use, their entry points by name |
//!
//! Everything goes to one stream of its own: the legacy stream cannot be recorded, and with one stream no events are
//! needed between launches. A kernel's fault is seen by a later call, whichever it is; the error names the kernels that
//! ran since the last wait. With `BELAMY_CUDA_SYNC=1` each launch is waited for, and the error names the one.

mod modules;
mod pool;
mod ranks;
mod staging;

use crate::Cuda;
use crate::compile;
use crate::driver::{Counters, Driver, Launch, Packed, Reduce, Replay};
use crate::recording::Step;
use crate::source::Source;
use belamy_tensor::DeviceId;
use belamy_tensor::communicator::Communicator;
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;
use modules::Modules;
use pool::Pool;
use staging::Staging;
use std::ffi::CString;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// A CUDA device of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its number, as [`open`] takes it.
    pub index: u32,
    /// What its maker calls it.
    pub name: String,
    /// Its memory, in bytes.
    pub memory: usize,
    /// Its compute capability, major and minor.
    pub capability: (u32, u32),
}

/// What a device is used through. The bindings panic over a function that the library lacks: an old driver's, or one
/// that was put there for linkers alone.
const NEEDED: [&str; 41] = [
    "cuCtxSetCurrent",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDeviceGetCount",
    "cuDeviceGetName",
    "cuDevicePrimaryCtxRelease_v2",
    "cuDevicePrimaryCtxRetain",
    "cuDeviceTotalMem_v2",
    "cuEventCreate",
    "cuEventDestroy_v2",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuFuncSetAttribute",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuGraphDestroy",
    "cuGraphExecDestroy",
    "cuGraphInstantiateWithFlags",
    "cuGraphLaunch",
    "cuGraphUpload",
    "cuInit",
    "cuLaunchKernel",
    "cuMemAlloc_v2",
    "cuMemFreeHost",
    "cuMemFree_v2",
    "cuMemGetInfo_v2",
    "cuMemHostAlloc",
    "cuMemcpyDtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuMemsetD32Async",
    "cuModuleGetFunction",
    "cuModuleLoadData",
    "cuModuleUnload",
    "cuStreamBeginCapture_v2",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamEndCapture",
    "cuStreamQuery",
    "cuStreamSynchronize",
    "cuStreamWaitEvent",
];

/// What the device's clock is read through besides, which drivers have had since CUDA 12.8.
const FOR_THE_CLOCK: &str = "cuEventElapsedTime_v2";

/// Whether the driver's library, which is there, has a function.
fn has(name: &str) -> bool {
    // SAFETY: the symbol is looked up, and not called.
    unsafe { sys::culib().get::<unsafe extern "C" fn()>(name.as_bytes()).is_ok() }
}

fn start() -> Result<(), String> {
    static STARTED: OnceLock<Result<(), String>> = OnceLock::new();
    let begin = || {
        // SAFETY: it opens libraries by name; the driver's initialisers do nothing that matters here.
        if !unsafe { sys::is_culib_present() } {
            return Err("no CUDA driver is installed (libcuda was not found, or cannot be loaded): install NVIDIA's \
                        driver, or take another device, such as cpu"
                .into());
        }
        let lacking = |name: &str| {
            format!(
                "libcuda, as it was found, has no function {name}: it is a stub, or too old a driver; install a newer \
                 one of NVIDIA's, or take another device, such as cpu"
            )
        };
        if !has("cuInit") {
            return Err(lacking("cuInit"));
        }
        result::init().map_err(|error| {
            format!(
                "the CUDA driver finds no device: {}; see that `nvidia-smi` lists one and that CUDA_VISIBLE_DEVICES does \
                 not hide it, or take another device, such as cpu",
                text(error)
            )
        })?;
        NEEDED.iter().find(|name| !has(name)).map_or(Ok(()), |name| Err(lacking(name)))
    };
    STARTED.get_or_init(begin).clone()
}

/// What the driver says of an error.
fn text(error: DriverError) -> String {
    if !has("cuGetErrorString") || !has("cuGetErrorName") {
        return format!("{:?}", error.0);
    }
    let told = |text: Result<&std::ffi::CStr, DriverError>| {
        text.map_or_else(|_| format!("{:?}", error.0), |text| text.to_string_lossy().into_owned())
    };
    format!("{} ({})", told(error.error_string()), told(error.error_name()))
}

/// The CUDA devices of this machine, or a sentence that says why there are none.
pub fn devices() -> Result<Vec<Found>, String> {
    start()?;
    let count = result::device::get_count().map_err(text)?;
    (0..count).map(|index| found(index).map_err(text)).collect()
}

/// Whether a device can be trained on: it is there, and kernels for it are at hand or can be compiled. If not, the
/// sentence says what is missing.
pub fn usable(index: u32) -> Result<(), String> {
    let (major, minor) = numbered(index)?.capability;
    // A light family stands for all.
    let family = Source::of("concat").ok_or("there is no family `concat`")?;
    compile::image(family, major, minor).map(drop)
}

fn numbered(index: u32) -> Result<Found, String> {
    let found = devices()?;
    let count = found.len();
    let mut found = found.into_iter();
    found
        .find(|found| found.index == index)
        .ok_or_else(|| format!("there is no CUDA device {index}: this machine has {count}"))
}

fn found(index: i32) -> Result<Found, DriverError> {
    use sys::CUdevice_attribute as Attribute;
    let device = result::device::get(index)?;
    // SAFETY: the device was just returned by the driver.
    let (memory, major, minor) = unsafe {
        (
            result::device::total_mem(device)?,
            result::device::get_attribute(
                device,
                Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
            )?,
            result::device::get_attribute(
                device,
                Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
            )?,
        )
    };
    let name = result::device::get_name(device)?;
    Ok(Found { index: index as u32, name, memory, capability: (major as u32, minor as u32) })
}

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
        let gpu = &*self.0;
        let mut state = gpu.enter()?;
        if state.pool.is_recording() {
            return Err("a step is being recorded already".into());
        }
        gpu.wait(&mut state, "waiting for the device")?;
        state.noted.clear();
        state.pool.begin_recording();
        Ok(())
    }

    fn end_capture(
        &self,
        finish: &mut dyn FnMut(&mut Vec<Step>),
    ) -> Result<Box<dyn Replay>, String> {
        let gpu = &*self.0;
        let mut state = gpu.enter()?;
        let mut steps = std::mem::take(&mut state.noted);
        finish(&mut steps);
        let blocks = state.pool.end_recording();
        // From here on the graph gives the memory back, whatever happens.
        let mut graph = Graph {
            gpu: Arc::clone(&self.0),
            graph: std::ptr::null_mut(),
            executable: std::ptr::null_mut(),
            blocks,
        };
        // Relaxed: other threads may take memory meanwhile, which is no launch and is not recorded.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        // SAFETY: the stream lives as long as `self`.
        let begun = unsafe { result::stream::begin_capture(gpu.stream, mode) };
        begun.map_err(|error| gpu.fault(&mut state, "beginning to record", error))?;
        let queued = steps.iter().try_for_each(|step| gpu.queue(&mut state, step));
        let outcome = (|| {
            // Ended whatever happened: a stream left recording would refuse everything after.
            // SAFETY: the stream lives as long as `gpu`; a graph that it returns is destroyed by `graph`.
            unsafe {
                graph.graph = result::stream::end_capture(gpu.stream)?;
                graph.executable =
                    result::graph::instantiate(graph.graph, sys::CUgraphInstantiate_flags(0))?;
                result::graph::upload(graph.executable, gpu.stream)
            }
        })();
        let outcome = outcome.map_err(|error| gpu.fault(&mut state, "recording a step", error));
        let outcome = queued.and(outcome);
        drop(state); // a graph that is dropped takes the lock
        outcome?;
        Ok(Box::new(graph))
    }
}

/// A recorded step and the memory that its launches use between them.
struct Graph {
    gpu: Arc<Gpu>,
    graph: sys::CUgraph,
    executable: sys::CUgraphExec,
    blocks: pool::Recorded,
}

// SAFETY: a graph may be launched from any thread; the driver's lock is taken for each launch.
unsafe impl Send for Graph {}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Graph(on {:?})", self.gpu)
    }
}

impl Replay for Graph {
    fn replay(&self) -> Result<(), String> {
        let mut state = self.gpu.enter()?;
        if state.pool.is_recording() {
            return Err("a step is being recorded: it cannot replay another".into());
        }
        if state.recent.last().is_none_or(|last| last != "a recorded step") {
            state.recent.push("a recorded step".into());
        }
        state.counters.replays += 1;
        // SAFETY: graph and stream live; the memory that the launches use is kept by the pool and by the recording.
        unsafe { result::graph::launch(self.executable, self.gpu.stream) }
            .map_err(|error| self.gpu.fault(&mut state, "replaying a step", error))
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        let mut state = self.gpu.state.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the context lives as long as `gpu`.
        let _ = unsafe { result::ctx::set_current(self.gpu.context) };
        // What it says has been said before, or will be.
        let _ = self.gpu.wait(&mut state, "waiting for a recorded step");
        // SAFETY: the graph is destroyed once, when no replay of it is running.
        unsafe {
            if !self.executable.is_null() {
                let _ = result::graph::exec_destroy(self.executable);
            }
            if !self.graph.is_null() {
                let _ = result::graph::destroy(self.graph);
            }
        }
        state.pool.forget_recording(&self.blocks);
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

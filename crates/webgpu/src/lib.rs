//! Belamy's WebGPU backend: every kernel in WGSL, run by wgpu on Vulkan or Metal.
//!
//! | file | what it holds |
//! |---|---|
//! | [`WebGpu`] | the backend: one adapter, opened |
//! | [`open`] | a device of an adapter, with [`Options`] |
//! | [`adapter`] | which adapters this machine has |
//! | [`Products`], [`Precision`] | in which of several ways matrices and convolutions are multiplied |
//! | `memory` | buffers that go back to a pool, with canaries around them in tests |
//! | `textures` | operands as textures, where an adapter reads them so faster |
//! | `recorder` | launches, collected and submitted together |
//! | `pipelines` | shaders compiled at first use, bind groups kept |
//! | `cache` | compiled shaders on disk |
//! | `timestamps` | the device's own clock |
//! | `uniforms` | a kernel's parameters as its WGSL struct has them |
//! | `kernels` | one file a family: how many groups a kernel needs, and its passes |
//!
//! The shaders are in `shaders/`, and their README says what they may rely on. They stay within WebGPU's default
//! limits, so that whatever adapter there is can run them; only the size of a buffer follows the adapter.
//!
//! Launches are recorded and submitted in batches; nothing waits for the device but `read` and `synchronize`. A
//! training step that repeats allocates no buffer, compiles nothing and makes no bind group: [`WebGpu::counters`]
//! shows it.

pub mod adapter;
mod cache;
mod kernels;
mod memory;
mod opening;
mod pipelines;
mod recorder;
mod textures;
mod timestamps;
mod uniforms;

pub use kernels::variant::{Precision, Products};
pub use opening::{Options, open};

use adapter::ready;
use belamy_tensor::foreign::Foreign;
use belamy_tensor::{Backend, Buffer, Call, DType, DeviceId, Error, ErrorKind, Result, Work};
use cache::Cache;
use kernels::Outlives;
use kernels::variant::Blocks;
use memory::{Lineage, Pool, Storage};
use pipelines::Pipelines;
use recorder::Recorder;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use textures::Textures;
use timestamps::Timestamps;

/// What a device has done so far, to see that a repeated step costs no more than it must.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Shader dispatches recorded.
    pub dispatches: u64,
    /// Batches handed to the device's queue.
    pub submissions: u64,
    /// Buffers taken from the system.
    pub allocations: u64,
    /// Bind groups made.
    pub bind_groups: u64,
    /// Shaders compiled.
    pub pipelines: u64,
    /// Copies to the host.
    pub reads: u64,
    /// Copies from the host.
    pub writes: u64,
}

/// One adapter, opened.
#[derive(Debug)]
pub struct WebGpu {
    id: DeviceId,
    device: wgpu::Device,
    queue: wgpu::Queue,
    /// Bytes of a tensor at most.
    largest: u64,
    /// Groups along an axis at most.
    most_groups: u32,
    /// Whether kernels may bind [`kernels::WIDE`] buffers.
    wide: bool,
    products: Products,
    /// Whether small products may be computed in another way than `products`.
    by_shape: bool,
    precision: Precision,
    /// The cooperative matrices of this adapter, where products are multiplied by them.
    blocks: Option<Blocks>,
    /// Somebody else's kernel, in the place of one of these.
    foreign: Option<Foreign>,
    timestamps: Option<Timestamps>,
    pool: Arc<Pool>,
    state: Mutex<State>,
    faults: Arc<Faults>,
}

/// What changes from launch to launch.
#[derive(Debug)]
struct State {
    pipelines: Pipelines,
    textures: Textures,
    recorder: Recorder,
    counters: Counters,
    /// Dispatches by entry point.
    dispatches: BTreeMap<&'static str, u64>,
}

/// What went wrong on the device, kept until someone asks: faults surface at a later call than the one that caused
/// them, and do not go away.
#[derive(Debug, Default)]
struct Faults(Mutex<Option<String>>);

impl Faults {
    fn set(&self, message: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(message);
    }

    fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl WebGpu {
    /// How products are computed on this device, where their shapes are such that they can be; the others are computed
    /// as [`Products::Large`] or [`Products::Portable`] says.
    pub fn products(&self) -> Products {
        self.products
    }

    /// What the operands of products are rounded to on this device.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Whether so many products of so many rows and columns are computed by large tiles.
    fn takes_large_tiles(&self, rows: u32, columns: u32, products: u32) -> bool {
        let fill = kernels::variant::large_tiles_fill_a_gpu(rows, columns, products);
        match self.products {
            Products::Large => fill || !self.by_shape,
            Products::Cooperative => fill,
            Products::Portable | Products::Software => false,
        }
    }

    /// The cooperative matrices that products of whole blocks are multiplied by, if any.
    fn blocks(&self) -> Option<Blocks> {
        self.blocks
    }

    /// What the device has done so far.
    pub fn counters(&self) -> Counters {
        self.state().counters
    }

    /// How often each entry point was dispatched so far, by name.
    pub fn dispatches(&self) -> Vec<(&'static str, u64)> {
        self.state().dispatches.iter().map(|(entry, count)| (*entry, *count)).collect()
    }

    /// Bytes of compiled shaders that were found on disk when the device was opened.
    pub fn found_in_cache(&self) -> usize {
        self.state().pipelines.cache.as_ref().map_or(0, Cache::found)
    }

    /// Whether the adapter grants more storage buffers than WebGPU's default, so that kernels on many tensors take
    /// several in a dispatch.
    pub fn binds_many(&self) -> bool {
        self.wide
    }

    /// Bytes of all buffers there are, in use or kept for later.
    pub fn memory(&self) -> u64 {
        self.pool.taken()
    }

    /// Takes the device away, as a driver does that has to start again: for tests.
    #[doc(hidden)]
    pub fn lose(&self) {
        self.device.destroy();
        // The loss is told when somebody waits.
        let _ = self.poll();
    }

    /// Gives a shader another text than its file's, before its first use: for tests that a wrong one is seen.
    ///
    /// # Safety
    ///
    /// Unless the device is [`Options::checked`] the text runs as it is, and on a software adapter what it reads or writes
    /// beyond its buffers is this process's memory: it must be right, or the process must be there for nothing else.
    #[doc(hidden)]
    pub unsafe fn replace_shader(&self, shader: &'static str, text: String) {
        self.state().pipelines.replaced.insert(shader, text);
    }

    /// The same device, running somebody else's shader in the place of its kernel of that name. Fails with what the
    /// compiler says of it.
    ///
    /// The shader's bindings are those of `shaders/README.md`: inputs from 0, outputs from 8, the parameters at 16.
    ///
    /// # Safety
    ///
    /// As [`WebGpu::replace_shader`].
    pub unsafe fn with_foreign(mut self, foreign: Foreign) -> std::result::Result<WebGpu, String> {
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        {
            let mut state = self.state();
            state.pipelines.replaced.insert(kernels::FOREIGN, foreign.text.clone());
            let [inputs, outputs] = foreign.operands;
            let arity = pipelines::Arity::new(inputs, outputs, pipelines::Reads::Buffers);
            state.pipelines.pipeline(&self.device, kernels::FOREIGN, foreign.entry, arity);
        }
        if let Some(error) = ready(scope.pop()) {
            return Err(error.to_string());
        }
        self.foreign = Some(foreign);
        Ok(self)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Device { device: self.id, message: message.into() })
    }

    /// Fails if anything has gone wrong on the device so far.
    fn sound(&self) -> Result<()> {
        self.faults.get().map_or(Ok(()), |message| Err(self.error(message)))
    }

    fn storage<'a>(&self, buffer: &'a Buffer) -> Result<&'a Storage> {
        buffer
            .storage
            .downcast_ref::<Storage>()
            .ok_or_else(|| self.error("was handed another device's buffer"))
    }

    /// Memory for `elements` numbers of 32 bits.
    fn take(&self, state: &mut State, elements: usize, lineage: Lineage) -> Result<Storage> {
        let bytes = elements as u64 * 4;
        if bytes > self.largest {
            return Err(self.error(format!(
                "{bytes} bytes were asked for in one tensor, and this adapter binds at most {}",
                self.largest
            )));
        }
        if let Some(storage) = Pool::reuse(&self.pool, elements, lineage) {
            if self.pool.canaries() {
                self.flush(state);
                storage.poison(&self.queue);
            }
            return Ok(storage);
        }
        self.make(state, elements, lineage)
    }

    /// A buffer that is taken from the system. If it has none left, what the pool keeps for later is given back first.
    fn make(&self, state: &mut State, elements: usize, lineage: Lineage) -> Result<Storage> {
        let storage = match self.try_make(state, elements, lineage) {
            Some(storage) => storage,
            None => {
                // The free buffers may be part of what is recorded, and bind groups hold them.
                self.flush(state);
                state.pipelines.forget_bind_groups();
                self.pool.release();
                self.wait()?;
                self.try_make(state, elements, lineage).ok_or_else(|| {
                    let (bytes, taken) = (elements as u64 * 4, self.pool.taken());
                    self.error(format!(
                        "out of memory: {bytes} bytes were asked for, and {taken} are in use"
                    ))
                })?
            }
        };
        if self.pool.canaries() {
            storage.poison(&self.queue);
        }
        Ok(storage)
    }

    fn try_make(&self, state: &mut State, elements: usize, lineage: Lineage) -> Option<Storage> {
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let storage = Pool::make(&self.pool, &self.device, elements, lineage)?;
        if ready(scope.pop()).is_some() {
            storage.discard();
            return None;
        }
        state.counters.allocations += 1;
        Some(storage)
    }

    fn flush(&self, state: &mut State) {
        if state.recorder.submit(&self.device, &self.queue) {
            state.counters.submissions += 1;
        }
    }

    fn wait(&self) -> Result<()> {
        let waited = self.poll();
        // Why the device was lost says more than that it could not be waited for.
        self.sound()?;
        waited.map_err(|message| self.error(message))
    }

    fn poll(&self) -> std::result::Result<(), String> {
        let poll = || self.device.poll(wgpu::PollType::wait_indefinitely());
        // wgpu panics where the device is lost while it is waited for.
        match catch_unwind(AssertUnwindSafe(poll)) {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the device was lost while it was waited for".to_string()),
        }
    }

    /// Fails if one of these buffers was written beyond its ends, where they have canaries.
    fn check_canaries(&self, state: &mut State, entry: &str, outputs: &[&Storage]) -> Result<()> {
        if !self.pool.canaries() {
            return Ok(());
        }
        for storage in outputs {
            for from in storage.canaries() {
                let mut bytes = [0; memory::CANARY as usize];
                self.fetch(state, storage, from, &mut bytes)?;
                if !storage.is_alive(from, &bytes) {
                    return Err(self.error(format!("{entry} wrote outside its output")));
                }
            }
        }
        Ok(())
    }

    /// Copies part of a device buffer to the host, after all that was recorded.
    fn fetch(
        &self,
        state: &mut State,
        storage: &Storage,
        from: u64,
        bytes: &mut [u8],
    ) -> Result<()> {
        let staging = state.recorder.copy_out(&self.device, storage, from, bytes.len() as u64);
        self.flush(state);
        staging.slice(..bytes.len() as u64).map_async(wgpu::MapMode::Read, |_| {});
        self.wait()?;
        let view = staging
            .slice(..bytes.len() as u64)
            .get_mapped_range()
            .map_err(|error| self.error(format!("could not be read: {error}")))?;
        bytes.copy_from_slice(&view);
        drop(view);
        staging.unmap();
        if let Some(cache) = &mut state.pipelines.cache {
            cache.save_when_quiet(state.counters.pipelines);
        }
        Ok(())
    }
}

impl Drop for WebGpu {
    fn drop(&mut self) {
        if self.sound().is_ok() {
            let mut state = self.state();
            let State { pipelines, counters, .. } = &mut *state;
            if let Some(cache) = &mut pipelines.cache {
                cache.save(counters.pipelines);
            }
        }
    }
}

impl Backend for WebGpu {
    fn id(&self) -> DeviceId {
        self.id
    }

    fn alloc(&self, dtype: DType, elements: usize) -> Result<Buffer> {
        if dtype == DType::F64 {
            return Err(self.error("computes in f32: WGSL has no f64; use --device cpu or oracle"));
        }
        let storage = self.take(&mut self.state(), elements, Lineage::Common)?;
        Ok(Buffer::new(dtype, elements, Arc::new(storage)))
    }

    fn write(&self, buffer: &mut Buffer, bytes: &[u8]) -> Result<()> {
        self.sound()?;
        if bytes.is_empty() {
            return Ok(());
        }
        let mut state = self.state();
        state.counters.writes += 1;
        let storage = self.storage(buffer)?;
        if Recorder::can_write(bytes.len()) {
            if state.recorder.write(storage, bytes) {
                self.flush(&mut state);
            }
        } else {
            // It takes effect before whatever is submitted next, and the buffer may have had another life in the batch
            // that is being recorded.
            self.flush(&mut state);
            self.queue.write_buffer(storage.buffer(), storage.start(), bytes);
        }
        Ok(())
    }

    fn read(&self, buffer: &Buffer, bytes: &mut [u8]) -> Result<()> {
        self.sound()?;
        let storage = self.storage(buffer)?;
        if bytes.is_empty() {
            return Ok(());
        }
        let mut state = self.state();
        state.counters.reads += 1;
        self.fetch(&mut state, storage, storage.start(), bytes)
    }

    fn launch(&self, call: Call<'_>) -> Result<()> {
        self.sound().map_err(|error| error.within(call.kernel.name()))?;
        let inputs = call
            .inputs
            .iter()
            .map(|buffer| self.storage(buffer))
            .collect::<Result<Vec<&Storage>>>()?;
        let mut state = self.state();
        let counts = [inputs.len(), call.outputs.len()];
        for (index, output) in call.outputs.iter_mut().enumerate() {
            let lineage = match kernels::outlives(call.kernel, counts, index) {
                Outlives::No => continue,
                Outlives::InPlaceOf(input) => inputs[input].successors(),
                Outlives::Alone => Lineage::Lasting,
            };
            output.storage = Arc::new(self.take(&mut state, output.elements, lineage)?);
        }
        let outputs = call
            .outputs
            .iter()
            .map(|buffer| self.storage(buffer))
            .collect::<Result<Vec<&Storage>>>()?;
        let elements = |buffer: &Buffer| buffer.elements as u32;
        let input_elements: Vec<u32> = call.inputs.iter().map(|buffer| elements(buffer)).collect();
        let output_elements: Vec<u32> = call.outputs.iter().map(elements).collect();
        let kernel = call.kernel;
        let mut run = kernels::Run {
            gpu: self,
            state: &mut state,
            kernel,
            params: call.params,
            inputs: &inputs,
            input_elements: &input_elements,
            outputs: &outputs,
            output_elements: &output_elements,
        };
        let launched = match &self.foreign {
            Some(foreign) if foreign.kernel == kernel => kernels::foreign(&mut run, foreign),
            _ => kernels::dispatch(kernel, &mut run),
        };
        launched.map_err(|error| error.within(kernel.name()))
    }

    fn synchronize(&self) -> Result<()> {
        let mut state = self.state();
        self.flush(&mut state);
        drop(state);
        self.wait()
    }

    fn release(&self) -> Result<()> {
        self.synchronize()?;
        // Bind groups hold the buffers that are free.
        self.state().pipelines.forget_bind_groups();
        self.pool.release();
        self.wait()
    }

    fn device_seconds(&self, work: Work<'_>) -> Result<Option<f64>> {
        let Some(timestamps) = &self.timestamps else { return Ok(None) };
        let take = |place: u32| {
            self.flush(&mut self.state());
            timestamps.take(&self.device, &self.queue, place);
        };
        take(0);
        work()?;
        take(1);
        timestamps.seconds(|| self.wait())
    }
}

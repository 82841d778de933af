//! Devices: what a backend is, and the buffers it owns.

use crate::communicator::{Communicator, DeviceRanks};
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::{KernelId, Params};
use crate::{DType, Shape};
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// Which device: a backend's name and its index among the machine's devices of that kind.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DeviceId {
    /// `cpu`, `oracle`, `cuda`, `webgpu`.
    pub name: &'static str,
    /// Counts devices of one kind from 0.
    pub index: u32,
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            0 => f.write_str(self.name),
            index => write!(f, "{}:{index}", self.name),
        }
    }
}

/// All that a backend is: memory, and running a kernel by name. It knows no ops and checks no shapes; those are
/// validated once, above all backends, in each op's `infer`.
pub trait Backend: fmt::Debug + Send + Sync {
    /// The device's name and index.
    fn id(&self) -> DeviceId;
    /// Memory for `elements` numbers; the contents are unspecified.
    fn alloc(&self, dtype: DType, elements: usize) -> Result<Buffer>;
    /// Copies host bytes into a buffer that nobody else holds.
    fn write(&self, buffer: &mut Buffer, bytes: &[u8]) -> Result<()>;
    /// Copies a buffer to the host, after all launches that write it.
    fn read(&self, buffer: &Buffer, bytes: &mut [u8]) -> Result<()>;
    /// Enqueues one kernel. Faults may surface at the next `read` or `synchronize`.
    fn launch(&self, call: Call<'_>) -> Result<()>;
    /// Waits for all that was enqueued.
    fn synchronize(&self) -> Result<()>;

    /// Records what `step` launches, and runs none of it. `None`, and `step` not called, where the backend cannot.
    ///
    /// `step` must neither read from the device nor write to it, and nothing else may use the device meanwhile. It
    /// returns pairs (result, operand) of one length each: the next replay finds the result in the operand's place (new
    /// parameters for old, the counter after for the counter before). Run the step a few times beforehand, so that all
    /// that it needs is loaded.
    fn record(&self, _step: RecordedStep<'_>) -> Result<Option<Box<dyn Recording>>> {
        Ok(None)
    }

    /// Finds the device's own way to those of the other ranks; `None` where this one, or another rank's, has none. Every rank
    /// calls it.
    fn join(&self, _ranks: &dyn Communicator) -> Result<Option<Arc<dyn DeviceRanks>>> {
        Ok(None)
    }

    /// Gives back to the system the memory that is kept for tensors to come: for programs that move on to other shapes.
    fn release(&self) -> Result<()> {
        Ok(())
    }

    /// How many seconds the device takes for what `work` enqueues, by its own clock, once all that was enqueued before is
    /// done; waits for it. `None`, and `work` not called, where it has no clock.
    fn device_seconds(&self, _work: Work<'_>) -> Result<Option<f64>> {
        Ok(None)
    }
}

/// Another device, but for what happens when a kernel is launched: to look on, or to step in. Everything else is that
/// device's; steps are not recorded, so that each launch is seen.
///
/// ```
/// use belamy_tensor::{Call, DType, Device, Result, Tensor, Wrapper};
/// use std::sync::Mutex;
/// #[derive(Debug)]
/// struct Noting(Device, Mutex<Vec<&'static str>>);
/// impl Wrapper for Noting {
///     fn inner(&self) -> &Device {
///         &self.0
///     }
///     fn launch(&self, call: Call<'_>) -> Result<()> {
///         self.1.lock().unwrap().push(call.kernel.name());
///         self.0.backend().launch(call)
///     }
/// }
/// let noting = std::sync::Arc::new(Noting(belamy_cpu::oracle(), Mutex::default()));
/// let device = Device::new(std::sync::Arc::clone(&noting));
/// Tensor::full(1.0, [3], DType::F32, &device)?.exp()?;
/// assert_eq!(noting.1.lock().unwrap().last(), Some(&"unary"));
/// # Ok::<(), belamy_tensor::Error>(())
/// ```
pub trait Wrapper: fmt::Debug + Send + Sync {
    /// The device that does the work.
    fn inner(&self) -> &Device;
    /// What becomes of a launch.
    fn launch(&self, call: Call<'_>) -> Result<()>;
    /// The name that it goes by: the inner device's unless it says otherwise.
    fn id(&self) -> DeviceId {
        self.inner().id()
    }
}

impl<W: Wrapper> Backend for W {
    fn id(&self) -> DeviceId {
        Wrapper::id(self)
    }
    fn alloc(&self, dtype: DType, elements: usize) -> Result<Buffer> {
        self.inner().backend().alloc(dtype, elements)
    }
    fn write(&self, buffer: &mut Buffer, bytes: &[u8]) -> Result<()> {
        self.inner().backend().write(buffer, bytes)
    }
    fn read(&self, buffer: &Buffer, bytes: &mut [u8]) -> Result<()> {
        self.inner().backend().read(buffer, bytes)
    }
    fn launch(&self, call: Call<'_>) -> Result<()> {
        Wrapper::launch(self, call)
    }
    fn synchronize(&self) -> Result<()> {
        self.inner().synchronize()
    }
    fn release(&self) -> Result<()> {
        self.inner().backend().release()
    }
    fn device_seconds(&self, work: Work<'_>) -> Result<Option<f64>> {
        self.inner().backend().device_seconds(work)
    }
}

/// Something that launches kernels.
pub type Work<'a> = &'a mut dyn FnMut() -> Result<()>;

/// A step to record: launches, and what one replay hands to the next.
pub type RecordedStep<'a> = &'a mut dyn FnMut() -> Result<Vec<(Buffer, Buffer)>>;

/// A recorded step, ready to run again with no work on the host but one call. It owns the memory that the step took.
pub trait Recording: fmt::Debug + Send {
    /// Enqueues the recorded step once more.
    fn replay(&self) -> Result<()>;
}

/// A backend that somebody else keeps a handle of too.
impl<B: Backend + ?Sized> Backend for Arc<B> {
    fn id(&self) -> DeviceId {
        (**self).id()
    }
    fn alloc(&self, dtype: DType, elements: usize) -> Result<Buffer> {
        (**self).alloc(dtype, elements)
    }
    fn write(&self, buffer: &mut Buffer, bytes: &[u8]) -> Result<()> {
        (**self).write(buffer, bytes)
    }
    fn read(&self, buffer: &Buffer, bytes: &mut [u8]) -> Result<()> {
        (**self).read(buffer, bytes)
    }
    fn launch(&self, call: Call<'_>) -> Result<()> {
        (**self).launch(call)
    }
    fn synchronize(&self) -> Result<()> {
        (**self).synchronize()
    }
    fn record(&self, step: RecordedStep<'_>) -> Result<Option<Box<dyn Recording>>> {
        (**self).record(step)
    }
    fn join(&self, ranks: &dyn Communicator) -> Result<Option<Arc<dyn DeviceRanks>>> {
        (**self).join(ranks)
    }
    fn release(&self) -> Result<()> {
        (**self).release()
    }
    fn device_seconds(&self, work: Work<'_>) -> Result<Option<f64>> {
        (**self).device_seconds(work)
    }
}

/// A kernel to run and what it runs on.
#[derive(Debug)]
pub struct Call<'a> {
    /// Which kernel.
    pub kernel: KernelId,
    /// Its shape parameters and scalars.
    pub params: Params,
    /// What it reads, in the order of its mathematics.
    pub inputs: &'a [&'a Buffer],
    /// What it writes: fresh buffers, each element exactly once.
    pub outputs: &'a mut [Buffer],
}

/// A device's memory. Shared by the tensors that view it; written once, by the launch that makes it.
#[derive(Clone)]
pub struct Buffer {
    /// The type of the elements.
    pub dtype: DType,
    /// How many elements.
    pub elements: usize,
    /// The backend's own handle.
    pub storage: Arc<dyn Any + Send + Sync>,
}

impl Buffer {
    /// A buffer around a backend's own storage.
    pub fn new(dtype: DType, elements: usize, storage: Arc<dyn Any + Send + Sync>) -> Buffer {
        Buffer { dtype, elements, storage }
    }

    /// A buffer whose memory has been given back: its extent is all that is left.
    pub(crate) fn released(&self) -> Buffer {
        Buffer { storage: Arc::new(Released), ..*self }
    }

    /// Whether its memory has been given back.
    pub(crate) fn is_released(&self) -> bool {
        self.storage.is::<Released>()
    }
}

/// In the place of memory that a graph does not need.
struct Released;

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} × {})", self.elements, self.dtype)
    }
}

/// A shared handle to a backend.
#[derive(Clone)]
pub struct Device(Arc<dyn Backend>);

impl Device {
    /// A device that runs on `backend`.
    pub fn new(backend: impl Backend + 'static) -> Device {
        Device(Arc::new(backend))
    }

    /// The device's name and index.
    pub fn id(&self) -> DeviceId {
        self.0.id()
    }

    /// The backend itself.
    pub fn backend(&self) -> &dyn Backend {
        &*self.0
    }

    /// Whether both handles name the same backend object, so that buffers may be mixed.
    pub fn is(&self, other: &Device) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Waits for all that was enqueued.
    pub fn synchronize(&self) -> Result<()> {
        self.0.synchronize()
    }

    /// An error of this device.
    #[track_caller]
    pub fn error(&self, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Device { device: self.id(), message: message.into() })
    }

    /// Allocates the outputs and runs one kernel: the only way anything is computed.
    pub(crate) fn run(
        &self,
        kernel: KernelId,
        params: Params,
        inputs: &[&Buffer],
        outputs: &[Meta],
    ) -> Result<Vec<Buffer>> {
        let mut buffers = outputs
            .iter()
            .map(|meta| self.0.alloc(meta.dtype, meta.shape.elements()))
            .collect::<Result<Vec<_>>>()?;
        if outputs.iter().any(|meta| meta.shape.elements() > 0) {
            self.0.launch(Call { kernel, params, inputs, outputs: &mut buffers })?;
        }
        Ok(buffers)
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({})", self.id())
    }
}

/// What is known of a tensor before it is computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Meta {
    /// Its extents.
    pub shape: Shape,
    /// Its element type.
    pub dtype: DType,
}

impl Meta {
    /// A tensor of this shape and type.
    pub fn new(shape: impl Into<Shape>, dtype: DType) -> Meta {
        Meta { shape: shape.into(), dtype }
    }

    /// The tensor's size in bytes.
    pub fn bytes(&self) -> usize {
        self.shape.elements() * self.dtype.bytes()
    }
}

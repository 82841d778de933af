//! The tensor: immutable, shared, and aware of how it was made.

use crate::device::{Buffer, Device, Meta};
use crate::error::{Error, ErrorKind, Result};
use crate::op::Op;
use crate::{DType, Element, Shape};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// An immutable array of numbers on a device, which knows the op and the inputs that made it.
///
/// Cloning is cheap: one word, shared. Nothing can change a tensor, so a graph in flight always sees the values it
/// was built from; training rebinds parameters to new tensors instead.
#[derive(Clone)]
pub struct Tensor(Arc<Inner>);

struct Inner {
    id: u64,
    meta: Meta,
    device: Device,
    buffer: Buffer,
    /// Whether gradients may be asked of this tensor or of something it was made from.
    tracked: bool,
    node: Option<Arc<Node>>,
}

/// How a tensor was made.
pub(crate) struct Node {
    pub(crate) op: Box<dyn Op>,
    /// Without numbers where the op's derivative rule does not read them.
    pub(crate) inputs: Vec<Tensor>,
    pub(crate) saved: Vec<Tensor>,
    /// The result's numbers, if the rule reads them.
    output: Option<Buffer>,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

impl Tensor {
    fn new(
        device: Device,
        meta: Meta,
        buffer: Buffer,
        tracked: bool,
        node: Option<Arc<Node>>,
    ) -> Tensor {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Tensor(Arc::new(Inner { id, meta, device, buffer, tracked, node }))
    }

    /// A tensor outside any graph.
    pub(crate) fn constant(device: Device, meta: Meta, buffer: Buffer) -> Tensor {
        Tensor::new(device, meta, buffer, false, None)
    }

    /// An op's result, which remembers the op if any of its inputs is tracked.
    pub(crate) fn recorded<O: Op>(
        op: O,
        inputs: &[&Tensor],
        meta: Meta,
        buffer: Buffer,
        saved: Vec<Tensor>,
    ) -> Tensor {
        let tracked = meta.dtype.is_float() && inputs.iter().any(|input| input.is_tracked());
        let node = tracked.then(|| {
            let tracked: Vec<bool> = inputs.iter().map(|input| input.is_tracked()).collect();
            let seen = |(index, input): (usize, &&Tensor)| {
                if op.reads_input(index, &tracked) {
                    (*input).clone()
                } else {
                    input.with_numbers(input.buffer().released())
                }
            };
            let inputs = inputs.iter().enumerate().map(seen).collect();
            let output = op.reads_output(&tracked).then(|| buffer.clone());
            Arc::new(Node { op: Box::new(op), inputs, saved, output })
        });
        Tensor::new(inputs[0].device().clone(), meta, buffer, tracked, node)
    }

    /// The same tensor, of the same origin, with other memory.
    fn with_numbers(&self, buffer: Buffer) -> Tensor {
        let Inner { id, meta, device, tracked, node, .. } = &*self.0;
        let (id, meta, tracked) = (*id, *meta, *tracked);
        Tensor(Arc::new(Inner {
            id,
            meta,
            device: device.clone(),
            buffer,
            tracked,
            node: node.clone(),
        }))
    }

    /// The tensor as the rule of the op that made it sees it: with its numbers if the rule says that it reads them, and
    /// without them otherwise, though somebody may hold them still.
    pub(crate) fn as_output(&self) -> Tensor {
        let kept = self.node().and_then(|node| node.output.clone());
        self.with_numbers(kept.unwrap_or_else(|| self.buffer().released()))
    }

    /// Copies host numbers to a device. Fails when their count is not the shape's.
    ///
    /// See [`Tensor::to_vec`] for the way back.
    #[track_caller]
    pub fn from_slice<E: Element>(
        values: &[E],
        shape: impl Into<Shape>,
        device: &Device,
    ) -> Result<Tensor> {
        let meta = Meta::new(shape, E::DTYPE);
        if values.len() != meta.shape.elements() {
            let message = format!("{} values cannot fill {}", values.len(), meta.shape);
            return Err(Error::argument("from_slice", message));
        }
        let mut buffer = device.backend().alloc(meta.dtype, values.len())?;
        device.backend().write(&mut buffer, bytemuck::cast_slice(values))?;
        Ok(Tensor::constant(device.clone(), meta, buffer))
    }

    /// Copies host numbers to a device as `dtype` (F32 or F64), rounding as needed.
    #[track_caller]
    pub fn from_f64(
        values: &[f64],
        shape: impl Into<Shape>,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        match dtype {
            DType::F64 => Tensor::from_slice(values, shape, device),
            DType::F32 => {
                let shape = shape.into();
                let mut rounded = host_memory(values.len(), shape, device)?;
                rounded.extend(values.iter().map(|&value| value as f32));
                Tensor::from_slice::<f32>(&rounded, shape, device)
            }
            DType::U32 => Err(Error::argument("from_f64", "u32 tensors are made by from_slice")),
        }
    }

    /// The same values as the start of a graph: gradients may be asked of the result.
    #[must_use]
    pub fn tracked(&self) -> Tensor {
        Tensor::new(self.device().clone(), self.meta(), self.buffer().clone(), true, None)
    }

    /// The same values, cut off from the graph that made them.
    #[must_use]
    pub fn detach(&self) -> Tensor {
        if self.is_tracked() {
            Tensor::constant(self.device().clone(), self.meta(), self.buffer().clone())
        } else {
            self.clone()
        }
    }

    /// The extents.
    pub fn shape(&self) -> Shape {
        self.0.meta.shape
    }

    /// The extents as a slice.
    pub fn dims(&self) -> &[usize] {
        self.0.meta.shape.dims()
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.0.meta.dtype
    }

    /// Shape and element type.
    pub fn meta(&self) -> Meta {
        self.0.meta
    }

    /// Where the numbers are.
    pub fn device(&self) -> &Device {
        &self.0.device
    }

    /// Whether gradients may be asked of this tensor or of something it was made from.
    pub fn is_tracked(&self) -> bool {
        self.0.tracked
    }

    /// The name of the op that made this tensor, if it is part of a graph.
    pub fn op_name(&self) -> Option<&'static str> {
        self.0.node.as_ref().map(|node| node.op.name())
    }

    pub(crate) fn id(&self) -> u64 {
        self.0.id
    }

    /// The memory, for a backend to record what a replayed step reads and writes.
    pub fn buffer(&self) -> &Buffer {
        &self.0.buffer
    }

    /// Whether both tensors look at the same memory.
    pub fn shares_memory(&self, other: &Tensor) -> bool {
        Arc::ptr_eq(&self.buffer().storage, &other.buffer().storage)
    }

    pub(crate) fn node(&self) -> Option<&Node> {
        self.0.node.as_deref()
    }

    /// Copies the numbers to the host. Fails when `E` is not the tensor's element type.
    ///
    /// ```
    /// # let device = belamy_cpu::oracle();
    /// use belamy_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1.0f32, 2.0], [2], &device)?;
    /// assert_eq!(x.to_vec::<f32>()?, [1.0, 2.0]);
    /// # Ok::<(), belamy_tensor::Error>(())
    /// ```
    #[track_caller]
    pub fn to_vec<E: Element>(&self) -> Result<Vec<E>> {
        self.check_dtype::<E>("to_vec")?;
        let elements = self.shape().elements();
        let mut values = host_memory(elements, self.shape(), self.device())?;
        values.resize(elements, E::zeroed());
        self.device().backend().read(self.buffer(), bytemuck::cast_slice_mut(&mut values))?;
        Ok(values)
    }

    /// Copies the numbers to host memory that is there already. Panics where there is not as much of it as there are
    /// numbers.
    pub(crate) fn read_into<E: Element>(&self, values: &mut [E]) -> Result<()> {
        self.check_dtype::<E>("read_into")?;
        assert_eq!(values.len(), self.shape().elements(), "read_into");
        self.device().backend().read(self.buffer(), bytemuck::cast_slice_mut(values))
    }

    #[track_caller]
    fn check_dtype<E: Element>(&self, op: &'static str) -> Result<()> {
        if E::DTYPE != self.dtype() {
            return Err(Error::new(ErrorKind::DType {
                op,
                expected: match E::DTYPE {
                    DType::F32 => "an f32 tensor",
                    DType::F64 => "an f64 tensor",
                    DType::U32 => "a u32 tensor",
                },
                found: vec![self.dtype()],
            }));
        }
        Ok(())
    }

    /// Copies the numbers to the host as f64, whatever their type.
    pub fn to_f64(&self) -> Result<Vec<f64>> {
        Ok(match self.dtype() {
            DType::F32 => self.widened(self.to_vec::<f32>()?)?,
            DType::F64 => self.to_vec()?,
            DType::U32 => self.widened(self.to_vec::<u32>()?)?,
        })
    }

    fn widened<E: Into<f64>>(&self, values: Vec<E>) -> Result<Vec<f64>> {
        let mut wide = host_memory(values.len(), self.shape(), self.device())?;
        wide.extend(values.into_iter().map(Into::into));
        Ok(wide)
    }

    /// The one number of a tensor with one element.
    #[track_caller]
    pub fn item(&self) -> Result<f64> {
        match self.to_f64()?[..] {
            [value] => Ok(value),
            _ => Err(Error::shape("item", &[self.shape()], "holds more or less than one element")),
        }
    }
}

/// An empty vector with room for so many numbers, a copy of a tensor.
fn host_memory<E>(elements: usize, shape: Shape, device: &Device) -> Result<Vec<E>> {
    let mut values = Vec::new();
    values.try_reserve_exact(elements).map_err(|_| {
        let bytes = elements.saturating_mul(size_of::<E>());
        let message = format!("out of memory: {bytes} bytes for a copy of {shape} on the host");
        Error::new(ErrorKind::Device { device: device.id(), message })
    })?;
    Ok(values)
}

impl Drop for Inner {
    /// Takes long graphs apart in a loop: dropping 200,000 chained nodes by recursion would overflow the stack.
    fn drop(&mut self) {
        let mut waiting = Vec::new();
        let mut own = self.node.take();
        loop {
            // A node is shared by the tensor with its numbers and those without.
            if let Some(node) = own.take().and_then(Arc::into_inner) {
                waiting.extend(node.inputs);
            }
            let Some(Tensor(inner)) = waiting.pop() else { return };
            own = Arc::into_inner(inner).and_then(|mut last| last.node.take());
        }
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({} {} on {}", self.shape(), self.dtype(), self.device().id())?;
        if let Some(op) = self.op_name() {
            write!(f, ", from {op}")?;
        }
        f.write_str(")")
    }
}

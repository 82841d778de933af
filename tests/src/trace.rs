//! Which kernels a case launches: asked of the backend, not declared.

use crate::case::Case;
use belamy_tensor::kernel::KernelId;
use belamy_tensor::{Backend, Buffer, Call, DType, Device, DeviceId, Graph, Result};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// A device that passes everything on and notes each kernel's name.
#[derive(Debug)]
struct Tracer {
    inner: Device,
    seen: Arc<Mutex<HashSet<KernelId>>>,
}

impl Backend for Tracer {
    fn id(&self) -> DeviceId {
        DeviceId { name: "tracer", index: 0 }
    }

    fn alloc(&self, dtype: DType, elements: usize) -> Result<Buffer> {
        self.inner.backend().alloc(dtype, elements)
    }

    fn write(&self, buffer: &mut Buffer, bytes: &[u8]) -> Result<()> {
        self.inner.backend().write(buffer, bytes)
    }

    fn read(&self, buffer: &Buffer, bytes: &mut [u8]) -> Result<()> {
        self.inner.backend().read(buffer, bytes)
    }

    fn launch(&self, call: Call<'_>) -> Result<()> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(call.kernel);
        self.inner.backend().launch(call)
    }

    fn synchronize(&self) -> Result<()> {
        self.inner.synchronize()
    }
}

/// The kernels that a case's output and its gradients, as constants and as part of a graph, run on the oracle.
/// `full` and broadcasting of constants count like any other launch.
pub fn kernels(case: &Case) -> HashSet<KernelId> {
    let seen = Arc::new(Mutex::new(HashSet::new()));
    let device =
        Device::new(Tracer { inner: belamy_cpu::oracle(), seen: Arc::clone(&seen) });
    let values = case.values();
    for graph in [Graph::Drop, Graph::Keep] {
        // A refusal shows up as a failed parity check; here it only means fewer kernels.
        let _ = crate::evaluate::evaluate(case, &case.build, &values, None, DType::F64, &device, graph);
    }
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    seen.clone()
}

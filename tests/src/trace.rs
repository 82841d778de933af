//! Which kernels a case launches: asked of the backend, not declared.

use crate::case::Case;
use crate::evaluate::evaluate;
use belamy_tensor::kernel::KernelId;
use belamy_tensor::{Call, DType, Device, DeviceId, Graph, Result, Wrapper};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// A device that passes everything on and notes each kernel's name.
#[derive(Debug)]
struct Tracer {
    inner: Device,
    seen: Seen,
}

impl Wrapper for Tracer {
    fn inner(&self) -> &Device {
        &self.inner
    }

    fn id(&self) -> DeviceId {
        DeviceId { name: "tracer", index: 0 }
    }

    fn launch(&self, call: Call<'_>) -> Result<()> {
        self.seen.0.lock().unwrap_or_else(PoisonError::into_inner).insert(call.kernel);
        self.inner.backend().launch(call)
    }
}

/// The names of the kernels that a device was asked for.
#[derive(Clone, Debug, Default)]
pub struct Seen(Arc<Mutex<HashSet<KernelId>>>);

impl Seen {
    /// The kernels so far.
    pub fn kernels(&self) -> HashSet<KernelId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The oracle, noting which kernels it runs.
pub fn traced() -> (Device, Seen) {
    let seen = Seen::default();
    let device = Device::new(Tracer { inner: belamy_cpu::oracle(), seen: seen.clone() });
    (device, seen)
}

/// The kernels that a case's output and its gradients, as constants and as part of a graph, run on the oracle.
pub fn kernels(case: &Case) -> HashSet<KernelId> {
    let (device, seen) = traced();
    let values = case.values();
    for graph in [Graph::Drop, Graph::Keep] {
        // A refusal shows up as a failed parity check; here it only means fewer kernels.
        let _ = evaluate(case, &case.build, &values, None, DType::F64, &device, graph);
    }
    seen.kernels()
}

//! A device that runs somebody else's kernel in the place of its own.

use crate::language::{Language, grid};
use crate::library::Loaded;
use crate::{interface, verdict};
use belamy_tensor::foreign::Foreign;
use belamy_tensor::kernel::KernelId;
use belamy_tensor::{Call, Device, Error, ErrorKind, Result, Wrapper};
use std::path::Path;

/// On what a kernel is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The processor: shared libraries.
    Cpu,
    /// The first adapter of WebGPU.
    WebGpu,
    /// The first CUDA device.
    Cuda,
    /// The processor in a CUDA device's place, by a C++ compiler: each block's threads one after the other, in changing
    /// order, with NaN in shared memory and around every buffer.
    Shim,
}

impl On {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            On::Cpu => "cpu",
            On::WebGpu => "webgpu",
            On::Cuda => "cuda",
            On::Shim => "cuda-shim",
        }
    }

    /// What is meant by a name.
    pub fn named(name: &str) -> Option<On> {
        [On::Cpu, On::WebGpu, On::Cuda, On::Shim].into_iter().find(|on| on.name() == name)
    }

    /// Where a kernel of a language is checked on this machine, the strictest first, and for what reason nowhere.
    pub fn of(language: Language) -> std::result::Result<Vec<On>, String> {
        match language {
            Language::C | Language::Rust => Ok(vec![On::Cpu]),
            Language::Wgsl => Ok(vec![On::WebGpu]),
            Language::Cuda => cuda(),
        }
    }

    /// Whether its times mean anything.
    pub fn can_be_timed(self) -> bool {
        self != On::Shim
    }
}

#[cfg(feature = "cuda")]
fn cuda() -> std::result::Result<Vec<On>, String> {
    let mut found = Vec::new();
    if belamy_cuda::shim::present() {
        found.push(On::Shim);
    }
    match belamy_cuda::usable(0) {
        Ok(_) => found.push(On::Cuda),
        Err(why) if found.is_empty() => {
            return Err(format!(
                "there is no CUDA device ({why}), and no C++ compiler to run the kernel on the processor"
            ));
        }
        Err(_) => {}
    }
    Ok(found)
}

#[cfg(not(feature = "cuda"))]
fn cuda() -> std::result::Result<Vec<On>, String> {
    Err("this build has no CUDA backend".to_owned())
}

/// What a kernel is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// To be checked: on memory that is watched, telling when it runs.
    Checks,
    /// To be timed.
    Times,
}

/// Opens a device that runs the kernel of a file.
///
/// Fails with what the compiler says, or because there is no such device.
///
/// # Safety
///
/// The kernel runs as it is, and may do whatever this process may: it must be there for nothing else.
pub unsafe fn open(
    path: &Path,
    kernel: KernelId,
    on: On,
    purpose: For,
) -> std::result::Result<Device, Refusal> {
    let checks = purpose == For::Checks;
    let (inner, library) = match on {
        On::Cpu => {
            // SAFETY: the caller answers for it.
            let loaded = unsafe { Loaded::open(path, kernel, checks) };
            (belamy_cpu::cpu(), Some(loaded.map_err(Refusal::Kernel)?))
        }
        _ => {
            // SAFETY: the same.
            (unsafe { on_a_gpu(foreign(path, kernel)?, on, checks) }?, None)
        }
    };
    Ok(Device::new(Stranger { inner, kernel, library, tells: checks }))
}

/// Why a kernel cannot be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The kernel is at fault: it does not compile, or is not there.
    Kernel(String),
    /// This machine is.
    Machine(String),
}

/// A kernel of a GPU, by its text.
fn foreign(path: &Path, kernel: KernelId) -> std::result::Result<Foreign, Refusal> {
    let interface = interface::of(kernel);
    if interface.lists {
        return Err(Refusal::Machine(format!(
            "{} takes lists of tensors, which only a shared library can be given",
            kernel.name()
        )));
    }
    let text = std::fs::read_to_string(path)
        .map_err(|error| Refusal::Kernel(format!("{}: {error}", path.display())))?;
    Ok(Foreign {
        kernel,
        operands: [interface.inputs.len(), interface.outputs.len()],
        file: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        grid: grid(&text, kernel).map_err(Refusal::Kernel)?,
        text,
        entry: format!("belamy_{}", kernel.name()).leak(),
    })
}

/// As [`open`], of a kernel's text.
#[cfg_attr(not(all(feature = "cuda", feature = "webgpu")), allow(unused_variables))]
unsafe fn on_a_gpu(foreign: Foreign, on: On, checks: bool) -> std::result::Result<Device, Refusal> {
    match on {
        #[cfg(feature = "webgpu")]
        On::WebGpu => {
            let options =
                belamy_webgpu::Options { checked: checks, canaries: checks, ..Default::default() };
            let device = belamy_webgpu::WebGpu::open(options);
            let device = device.map_err(|error| Refusal::Machine(error.to_string()))?;
            // SAFETY: the caller answers for it.
            unsafe { device.with_foreign(foreign) }.map(Device::new).map_err(Refusal::Kernel)
        }
        #[cfg(feature = "cuda")]
        On::Cuda => {
            let device = belamy_cuda::open(0).map_err(Refusal::Machine)?;
            // SAFETY: the same.
            unsafe { device.with_foreign(foreign) }.map(Device::new).map_err(Refusal::Kernel)
        }
        #[cfg(feature = "cuda")]
        On::Shim => {
            let folder = belamy_tensor::cache::folder("shim")
                .unwrap_or_else(|| std::env::temp_dir().join("belamy-shim"));
            let device = belamy_cuda::shim::open(&folder, &[]).map_err(Refusal::Machine)?;
            // SAFETY: the same.
            unsafe { device.with_foreign(foreign) }.map(Device::new).map_err(Refusal::Kernel)
        }
        _ => Err(Refusal::Machine(format!("this build has no {} backend", on.name()))),
    }
}

/// A device with another kernel.
#[derive(Debug)]
struct Stranger {
    /// What runs everything else; of a GPU, that kernel too.
    inner: Device,
    kernel: KernelId,
    library: Option<Loaded>,
    /// Whether it tells when the kernel begins and when it has ended.
    tells: bool,
}

impl Stranger {
    fn run(&self, call: Call<'_>) -> Result<()> {
        match &self.library {
            Some(library) if library.takes(call.inputs, call.outputs) => {
                let Call { params, inputs, outputs, kernel } = call;
                library.call(&params, inputs, outputs).map_err(|message| {
                    let error = ErrorKind::Device { device: self.id(), message };
                    Error::new(error).within(kernel.name())
                })
            }
            _ => self.inner.backend().launch(call),
        }
    }
}

impl Wrapper for Stranger {
    fn inner(&self) -> &Device {
        &self.inner
    }

    fn launch(&self, call: Call<'_>) -> Result<()> {
        if call.kernel != self.kernel {
            return self.inner.backend().launch(call);
        }
        if !self.tells {
            return self.run(call);
        }
        verdict::say(verdict::BEGINS);
        self.run(call)?;
        self.inner.synchronize()?;
        verdict::say(verdict::HAS_ENDED);
        Ok(())
    }
}

//! The GPUs of this machine, and the driver that they are used through.

use crate::compile;
use crate::source::Source;
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;
use std::sync::OnceLock;

/// A CUDA device of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its number, as [`open`](super::open) takes it.
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
pub(super) const FOR_THE_CLOCK: &str = "cuEventElapsedTime_v2";

/// Whether the driver's library, which is there, has a function.
pub(super) fn has(name: &str) -> bool {
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
pub(super) fn text(error: DriverError) -> String {
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

pub(super) fn numbered(index: u32) -> Result<Found, String> {
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

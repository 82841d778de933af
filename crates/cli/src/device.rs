//! Finding the device that `--device` names.

use crate::failure::{Failure, Result};
use belamy_tensor::Device;

/// The device of a name, multiplying in a precision: f32, which all do, or f16, which an adapter may.
pub(crate) fn find_in(name: &str, precision: &str) -> Result<Device> {
    #[cfg(feature = "webgpu")]
    if precision == "f16" && name.split(':').next() == Some("webgpu") {
        return open_webgpu(name, belamy_webgpu::Precision::F16);
    }
    let device = find(name)?;
    match precision {
        "f32" => Ok(device),
        "f16" | "tf32" | "bf16" => {
            let id = device.id();
            Err(Failure::usage(format!("device {id} trains in f32, not in {precision}")))
        }
        _ => Err(Failure::usage(format!(
            "--precision {precision}: there are f32, f16 (of webgpu), tf32 and bf16"
        ))),
    }
}

/// The device of a name. `auto` is the CPU: no other backend has been measured to be faster on a machine that is not
/// known beforehand.
pub(crate) fn find(name: &str) -> Result<Device> {
    let (kind, number) = parts(name)?;
    match kind {
        "auto" | "cpu" if number == 0 => Ok(belamy_cpu::cpu()),
        "oracle" if number == 0 => Ok(belamy_cpu::oracle()),
        #[cfg(feature = "webgpu")]
        "webgpu" => open_webgpu(name, belamy_webgpu::Precision::F32),
        #[cfg(not(feature = "webgpu"))]
        "webgpu" => Err(absent(name, kind)),
        #[cfg(feature = "cuda")]
        "cuda" => match belamy_cuda::open(number) {
            Ok(cuda) => Ok(Device::new(cuda)),
            Err(why) => Err(Failure::new(format!("--device {name}: {why}"))),
        },
        #[cfg(not(feature = "cuda"))]
        "cuda" => Err(absent(name, kind)),
        "auto" | "cpu" | "oracle" => {
            Err(Failure::usage(format!("--device {name}: there is only one {kind}")))
        }
        _ => {
            let known = vec!["auto", "cpu", "oracle", "webgpu", "cuda"];
            let hint = belamy_gan::recipe::suggestion(kind, known);
            Err(Failure::usage(format!("there is no device {kind:?}; {hint}")))
        }
    }
}

/// A device's kind and number.
fn parts(name: &str) -> Result<(&str, u32)> {
    let (kind, index) = name.split_once(':').unwrap_or((name, "0"));
    let Ok(number) = index.parse::<u32>() else {
        return Err(Failure::usage(format!("--device {name}: {index:?} is not a device number")));
    };
    Ok((kind, number))
}

#[cfg(feature = "webgpu")]
fn open_webgpu(name: &str, precision: belamy_webgpu::Precision) -> Result<Device> {
    let (_, index) = parts(name)?;
    let options = belamy_webgpu::Options { index, precision, ..Default::default() };
    belamy_webgpu::open(options).map_err(|error| Failure::new(format!("--device {name}: {error}")))
}

#[cfg(not(all(feature = "cuda", feature = "webgpu")))]
fn absent(name: &str, kind: &str) -> Failure {
    let has = "`belamy devices` lists what it has";
    Failure::usage(format!("--device {name}: this build has no {kind} backend; {has}"))
}

/// More threads than any machine has cores only cost memory.
const MOST_THREADS: usize = 4096;

/// Limits the threads that kernels run on; 0 leaves the choice to the machine.
pub(crate) fn limit_threads(threads: usize) -> Result<()> {
    if threads == 0 {
        return Ok(());
    }
    if threads > MOST_THREADS {
        return Err(Failure::usage(format!("--threads {threads}: must be at most {MOST_THREADS}")));
    }
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .map_err(|error| Failure::new(format!("--threads {threads}: {error}")))
}

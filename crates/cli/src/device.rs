//! Finding the device that `--device` names.

use crate::failure::{Failure, Result};
use belamy_tensor::Device;

/// The device of a name, multiplying in a precision: f32, which all do, bf16, which the CPU and CUDA do, tf32, which CUDA
/// does, or f16, which an adapter may; and convolving by `conv`: winograd, the usual way, or direct, which all but the CPU in f32 do anyway.
pub(crate) fn find_in(name: &str, precision: &str, conv: &str) -> Result<Device> {
    // What only the CPU does asks for it.
    let name = if conv == "direct" { name } else { resolved(name) };
    #[cfg(feature = "webgpu")]
    if precision == "f16" && name.split(':').next() == Some("webgpu") {
        return open_webgpu(name, belamy_webgpu::Precision::F16);
    }
    if !matches!(conv, "direct" | "winograd") {
        let message = format!("--set conv={conv}: there are winograd and direct");
        return Err(Failure::usage(message));
    }
    #[cfg(feature = "cuda")]
    if let (Some(precision), ("cuda", number)) =
        (belamy_cuda::Precision::named(precision), parts(name)?)
    {
        return open_cuda(name, number, precision);
    }
    let device = match (conv, parts(name)?) {
        ("direct", ("auto" | "cpu", 0)) => find("direct")?,
        _ => find(name)?,
    };
    match precision {
        "f32" => Ok(device),
        "bf16" if matches!(parts(name)?, ("auto" | "cpu" | "direct", 0)) => Ok(belamy_cpu::bf16()),
        "f16" | "tf32" | "bf16" => {
            let id = device.id();
            Err(Failure::usage(format!("device {id} trains in f32, not in {precision}")))
        }
        _ => Err(Failure::usage(format!(
            "--precision {precision}: there are f32, f16 (of webgpu), tf32 (of cuda) and bf16 (of cpu and cuda)"
        ))),
    }
}

/// Takes `conv=…` out of assignments to settings: what it says last, if anything. It chooses kernels, and is no part of
/// a recipe.
pub(crate) fn take_conv(assignments: &mut Vec<String>) -> Option<String> {
    let mut conv = None;
    assignments.retain(|assignment| match assignment.strip_prefix("conv=") {
        Some(way) => {
            conv = Some(way.to_owned());
            false
        }
        None => true,
    });
    conv
}

/// The name of the device that `auto` stands for: a CUDA device that can be used, else the CPU. No adapter of WebGPU has
/// been measured to be faster on a machine that is not known beforehand.
pub(crate) fn resolved(name: &str) -> &str {
    if !matches!(name, "auto" | "auto:0") {
        return name;
    }
    #[cfg(feature = "cuda")]
    if belamy_cuda::usable(0).is_ok() {
        return "cuda";
    }
    "cpu"
}

/// The device of a name for this process: of a job's processes on one machine each has a GPU of its own, where there are as
/// many, and they take turns where there are not.
#[cfg(feature = "cuda")]
fn own_number(name: &str, number: u32) -> u32 {
    let place = belamy_ranks::launched::on_this_machine(&|name| std::env::var(name).ok());
    match (place, belamy_cuda::devices()) {
        (Some(place), Ok(found)) if !name.contains(':') && !found.is_empty() => {
            (place % found.len()) as u32
        }
        _ => number,
    }
}

/// The device of a name; `auto` is the fastest that can be used.
pub(crate) fn find(name: &str) -> Result<Device> {
    let name = resolved(name);
    let (kind, number) = parts(name)?;
    match kind {
        "auto" | "cpu" if number == 0 => Ok(belamy_cpu::cpu()),
        "direct" if number == 0 => Ok(belamy_cpu::direct()),
        "oracle" if number == 0 => Ok(belamy_cpu::oracle()),
        #[cfg(feature = "webgpu")]
        "webgpu" => open_webgpu(name, belamy_webgpu::Precision::F32),
        #[cfg(not(feature = "webgpu"))]
        "webgpu" => Err(absent(name, kind)),
        #[cfg(feature = "cuda")]
        "cuda" => open_cuda(name, number, belamy_cuda::Precision::F32),
        #[cfg(not(feature = "cuda"))]
        "cuda" => Err(absent(name, kind)),
        "auto" | "cpu" | "direct" | "oracle" => {
            Err(Failure::usage(format!("--device {name}: there is only one {kind}")))
        }
        _ => {
            let known = vec!["auto", "cpu", "direct", "oracle", "webgpu", "cuda"];
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

#[cfg(feature = "cuda")]
fn open_cuda(name: &str, number: u32, precision: belamy_cuda::Precision) -> Result<Device> {
    let number = own_number(name, number);
    let cuda = belamy_cuda::open(number).and_then(|cuda| cuda.in_precision(precision));
    cuda.map(Device::new).map_err(|why| Failure::new(format!("--device {name}: {why}")))
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

/// Makes the threads that kernels run on; 0 leaves the number to the machine. The calling thread is `one_of_them` where it
/// alone launches kernels.
pub(crate) fn start_threads(threads: usize, one_of_them: bool) -> Result<()> {
    if threads > MOST_THREADS {
        return Err(Failure::usage(format!("--threads {threads}: must be at most {MOST_THREADS}")));
    }
    match belamy_cpu::start_threads(threads, one_of_them) {
        Err(why) if threads > 0 => Err(Failure::new(format!("--threads {threads}: {why}"))),
        // Where there are some already, any will do.
        _ => Ok(()),
    }
}

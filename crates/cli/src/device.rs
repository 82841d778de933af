//! Finding the device that `--device` names.

use crate::failure::{Failure, Result};
use belamy_tensor::Device;

/// The device of a name: `auto` is the best that this build and machine have.
pub(crate) fn find(name: &str) -> Result<Device> {
    let (kind, index) = name.split_once(':').unwrap_or((name, "0"));
    if index.parse::<u32>().is_err() {
        return Err(Failure::usage(format!("--device {name}: {index:?} is not a device number")));
    }
    match kind {
        "auto" | "cpu" if index == "0" => Ok(belamy_cpu::cpu()),
        "oracle" if index == "0" => Ok(belamy_cpu::oracle()),
        "webgpu" | "cuda" => {
            let message = format!(
                "--device {name}: this build has no {kind} backend; `belamy devices` lists what it has"
            );
            Err(Failure::usage(message))
        }
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

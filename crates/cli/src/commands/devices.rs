//! `belamy devices`: what can compute here, and why the rest cannot.

use crate::device;
use crate::failure::Result;
use crate::output;
use serde::Serialize;

/// Lists the devices of this machine, what each can do, and why each missing backend is missing.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  belamy devices --json")]
pub(crate) struct Arguments {
    /// Print a JSON array instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Line {
    name: String,
    available: bool,
    what: String,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let set = belamy_cpu::instruction_set();
    let mut lines = vec![
        Line {
            name: "cpu".to_owned(),
            available: true,
            what: format!("{threads} threads, {set} kernels, f32 and f64"),
        },
        Line {
            name: "direct".to_owned(),
            available: true,
            what: "cpu whose convolutions go without Winograd's filtering, to compare".to_owned(),
        },
        Line {
            name: "oracle".to_owned(),
            available: true,
            what: format!(
                "{threads} threads, direct loops in f64 accumulation, f32 and f64; slow, for checks"
            ),
        },
    ];
    lines.extend(webgpu());
    lines.extend(cuda());
    let default = device::resolved("auto");
    for line in lines.iter_mut().filter(|line| line.name == default) {
        line.what += "; the default";
    }
    if arguments.json {
        return output::print_json(&lines);
    }
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            let state = if line.available { "available" } else { "missing" };
            vec![line.name.clone(), state.to_owned(), line.what.clone()]
        })
        .collect();
    output::print(&output::table(&rows, &[]))
}

fn missing(name: &str, what: &str) -> Line {
    Line { name: name.to_owned(), available: false, what: what.to_owned() }
}

/// A line for each adapter, or one that says how to get one.
#[cfg(feature = "webgpu")]
fn webgpu() -> Vec<Line> {
    let adapters = belamy_webgpu::adapter::adapters();
    if adapters.is_empty() {
        let what = "no adapter: install a GPU's Vulkan driver, or the software one of the Debian package \
                    mesa-vulkan-drivers";
        return vec![missing("webgpu", what)];
    }
    adapters
        .into_iter()
        .map(|adapter| Line {
            name: match adapter.index {
                0 => "webgpu".to_owned(),
                index => format!("webgpu:{index}"),
            },
            available: true,
            what: format!(
                "{}, {}, {} through {}, f32",
                adapter.name, adapter.kind, adapter.driver, adapter.interface
            ),
        })
        .collect()
}

#[cfg(not(feature = "webgpu"))]
fn webgpu() -> Vec<Line> {
    vec![missing("webgpu", "not in this build: build it with --features webgpu")]
}

/// A line for each device, or one that says why there is none.
#[cfg(feature = "cuda")]
fn cuda() -> Vec<Line> {
    let found = match belamy_cuda::devices() {
        Ok(found) if found.is_empty() => {
            return vec![missing("cuda", "the driver finds no device")];
        }
        Ok(found) => found,
        Err(why) => return vec![missing("cuda", &why)],
    };
    let processes = match belamy_cuda::nccl::version() {
        Ok(version) => format!("processes' sums by NCCL {version}"),
        Err(why) => format!("processes' sums through the host: {why}"),
    };
    found
        .into_iter()
        .map(|found| {
            let usable = belamy_cuda::usable(found.index);
            let precisions = if found.capability.0 >= 8 { "f32, tf32, bf16" } else { "f32" };
            let what = format!(
                "{}, {:.0} GiB, compute capability {}.{}, {precisions}; {processes}",
                found.name,
                found.memory as f64 / f64::from(1 << 30),
                found.capability.0,
                found.capability.1
            );
            Line {
                name: match found.index {
                    0 => "cuda".to_owned(),
                    index => format!("cuda:{index}"),
                },
                available: usable.is_ok(),
                what: usable.map_or_else(|why| format!("{what}; {why}"), |()| what.clone()),
            }
        })
        .collect()
}

#[cfg(not(feature = "cuda"))]
fn cuda() -> Vec<Line> {
    vec![missing("cuda", "not in this build: build it with --features cuda")]
}

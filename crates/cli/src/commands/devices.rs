//! `belamy devices`: what can compute here, and why the rest cannot.

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
    name: &'static str,
    available: bool,
    what: String,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let set = belamy_cpu::instruction_set();
    let missing = |name, what: &str| Line { name, available: false, what: what.to_owned() };
    let lines = [
        Line {
            name: "cpu",
            available: true,
            what: format!("{threads} threads, {set} kernels, f32 and f64; the default"),
        },
        Line {
            name: "oracle",
            available: true,
            what: format!(
                "{threads} threads, direct loops in f64 accumulation, f32 and f64; slow, for checks"
            ),
        },
        missing("webgpu", "not in this version: the WGSL backend is not written yet"),
        missing("cuda", "not in this version: the CUDA backend is not written yet"),
    ];
    if arguments.json {
        return output::print_json(&lines);
    }
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            let state = if line.available { "available" } else { "missing" };
            vec![line.name.to_owned(), state.to_owned(), line.what.clone()]
        })
        .collect();
    output::print(&output::table(&rows, &[]))
}

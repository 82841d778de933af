//! Judges that we did not write: PyTorch's samples of its operators and ONNX's tests of its own, replayed in our ops.
//!
//! | file | what it holds |
//! |---|---|
//! | `archive` | the files in `tests/judges`: an index, and all numbers end to end |
//! | `draws` | cotangents and directions, drawn here as the scripts drew them |
//! | `problem` | why a case gives no numbers |
//! | `arrange`, `images` | what both mappings say often, in our ops |
//! | `pytorch` | PyTorch's calls, its operators in our ops, the comparison |
//! | `onnx` | ONNX's graphs, its operators in our ops, the comparison |
//! | `different` | where a judge means something else |
//! | `replay` | every case on one device |
//! | `tally` | what came of the cases: the tables in `judges.md` |
//! | `doubt` | that the judges can fail: wrong numbers, wrong operators, wrong kernels |

mod archive;
mod arrange;
mod different;
mod doubt;
mod draws;
mod images;
mod onnx;
mod problem;
mod pytorch;
mod replay;
mod tally;

use belamy_tensor::{DType, Device};
use belamy_tests::margins;
use belamy_webgpu::{Options, WebGpu};
use replay::{Bench, Graphs, graphs, samples};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use tally::{Column, Tally};

/// The CPU's devices, and WebGPU's where there is an adapter.
fn benches() -> Vec<Bench> {
    let mut benches = vec![
        Bench::oracle(),
        Bench::new("cpu, f64", belamy_cpu::poisoned(true), DType::F64),
        Bench::new("cpu, f32", belamy_cpu::poisoned(true), DType::F32),
    ];
    match WebGpu::open_with_cache(Options::default(), None) {
        Ok(gpu) => benches.push(Bench::new("webgpu, f32", Device::new(Arc::new(gpu)), DType::F32)),
        Err(error) => {
            let required = std::env::var("BELAMY_REQUIRE").unwrap_or_default();
            assert!(!required.split(',').any(|name| name.trim() == "webgpu"), "{error}");
            say(&format!("skipped: the outside judges on webgpu: {error}"));
        }
    }
    benches
}

/// A line that is seen though the test passes.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

fn assert_clean(what: &str, columns: &[Column<'_>]) {
    for (name, tally) in columns {
        let lines = tally.failures.join("\n");
        assert!(
            tally.failures.is_empty(),
            "{what} on {name}: {} fail:\n{lines}",
            tally.failures.len()
        );
    }
}

#[test]
fn the_judges_find_nothing_wrong() {
    let (operators, graphs) = (samples(), graphs());
    let Graphs { archive, cases, left_out } = &graphs;
    let benches = benches();
    // One thread for each device; the software adapter is the slowest.
    let tallies: Vec<[Tally; 3]> = std::thread::scope(|scope| {
        let run = |bench| {
            let [by_operator, by_set] = replay::graphs_on(archive, cases, left_out, bench);
            [replay::samples_on(&operators, bench), by_operator, by_set]
        };
        let running: Vec<_> = benches.iter().map(|bench| scope.spawn(move || run(bench))).collect();
        running.into_iter().map(|thread| thread.join().expect("a mapping panicked")).collect()
    });
    let columns = |which: usize| -> Vec<Column<'_>> {
        benches.iter().zip(&tallies).map(|(bench, tallies)| (bench.name, &tallies[which])).collect()
    };
    let refused = replay::refusals_on(&operators, &benches[0]);
    let refusals = [(benches[0].name, &refused)];
    let views = replay::without_kernels(&operators, &graphs);
    let text = format!(
        "# Judges that we did not write\n\n\
         Made by `cargo test`; what is replayed is in `judges/`, the mappings to our ops in `tests/judges/`.\n\n\
         ## PyTorch's samples of its operators (OpInfo)\n\n\
         {} of those that pass launch no kernel: views, and tensors without elements.\n\n{}\n{}\n\
         Passed of all on the oracle, by OpInfo's names:\n\n{}\n\
         ## ONNX's backend tests\n\n\
         A test applies where all operators of its graph are ours or composed of ours; {} others do not.\n\
         {} of those that pass launch no kernel.\n\n{}\n{}\n\
         Passed of all on the oracle, by set: {}\n\
         And by operator:\n\n{}\n\
         ## Calls that PyTorch refuses (OpInfo's error inputs)\n\n\
         A call passes where an op of ours refuses it too, with a typed error.\n\n{}\n{}",
        views[0],
        tally::counts("samples", &columns(0), true),
        tally::reasons(&columns(0)),
        tally::operators(&tallies[0][0]),
        onnx::others(archive),
        views[1],
        tally::counts("tests", &columns(1), false),
        tally::reasons(&columns(1)),
        tally::operators(&tallies[0][2]),
        tally::operators(&tallies[0][1]),
        tally::counts("calls", &refusals, false),
        tally::reasons(&refusals),
    );
    assert_clean("PyTorch's samples", &columns(0));
    assert_clean("ONNX's tests", &columns(1));
    assert_clean("PyTorch's refusals", &refusals);
    for (bench, [samples, graphs, _]) in benches.iter().zip(&tallies) {
        let (both_orders, graphs) = (samples.passed[2], graphs.all_passed());
        say(&format!(
            "{}: {both_orders} samples of PyTorch to the second order and {graphs} tests of ONNX pass",
            bench.name
        ));
        assert!(both_orders >= 3800 && graphs >= 800, "{}: some are lost", bench.name);
    }
    assert!(refused.all_passed() >= 80, "{} refusals", refused.all_passed());
    let adapters = belamy_webgpu::adapter::adapters();
    if benches.len() < 4 || adapters.first().is_none_or(|found| found.kind != "software") {
        return say("skipped: the table judges.md, which is of the CPU and a software adapter");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("judges.md");
    margins::agrees(&path, &text).unwrap_or_else(|why| panic!("{why}"));
}

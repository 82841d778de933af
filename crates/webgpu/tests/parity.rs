//! Every op on the WebGPU device against the oracle, by the workspace's case table.

use belamy_tensor::{DType, Device};
use belamy_tests::plan::{Subject, run};
use belamy_tests::{Mode, ops};
use belamy_webgpu::Options;
use std::io::Write;

const MODES: [Mode; 5] =
    [Mode::Parity, Mode::ParityGradient, Mode::Reference, Mode::Twice, Mode::Reused];

/// The device, or nothing, said by name, where this machine has no adapter. `BELAMY_REQUIRE=webgpu` makes that fail.
fn device(options: Options) -> Option<Device> {
    match belamy_webgpu::open(options) {
        Ok(device) => Some(device),
        Err(error) => {
            let required = std::env::var("BELAMY_REQUIRE").unwrap_or_default();
            assert!(!required.split(',').any(|name| name.trim() == "webgpu"), "{error}");
            let _ = writeln!(std::io::stdout().lock(), "skipped: parity on webgpu: {error}");
            None
        }
    }
}

fn check(options: Options) {
    let Some(device) = device(options) else { return };
    let filter = std::env::var("BELAMY_OPS").unwrap_or_default();
    let mut cases = ops::all_cases();
    cases.retain(|case| {
        filter.is_empty() || filter.split(',').any(|op| case.name().starts_with(op))
    });
    let subject = Subject { device, dtypes: vec![DType::F32], threaded: false };
    let report = run(&cases, &subject, &belamy_cpu::oracle(), &MODES);
    let _ = writeln!(std::io::stdout().lock(), "\nparity on webgpu, {options:?}\n{report}");
    let failures = report.failures();
    assert!(report.total() > 0, "BELAMY_OPS={filter} names no case");
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_op_agrees_with_the_oracle_unchecked_between_canaries() {
    check(Options { canaries: true, ..Options::default() });
}

#[test]
fn every_op_agrees_with_the_oracle_with_every_access_checked() {
    check(Options { checked: true, ..Options::default() });
}

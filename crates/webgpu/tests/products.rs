//! Products in every way that the adapter can compute them: the case table between canaries and with every access
//! checked, and the rounding of long sums.

use belamy_tensor::{DType, Device};
use belamy_tests::plan::{Subject, run};
use belamy_tests::{Mode, ops};
use belamy_webgpu::{Options, Products};
use std::io::Write;

const MODES: [Mode; 5] =
    [Mode::Parity, Mode::ParityGradient, Mode::Reference, Mode::Twice, Mode::Reused];

/// The device, or nothing, said by name. `BELAMY_REQUIRE=webgpu` makes that fail, but for ways that need what few
/// adapters have.
fn device(options: Options) -> Option<Device> {
    match belamy_webgpu::open(options) {
        Ok(device) => Some(device),
        Err(error) => {
            let required = std::env::var("BELAMY_REQUIRE").unwrap_or_default();
            let required = required.split(',').any(|name| name.trim() == "webgpu");
            assert!(!required || options.products != Some(Products::Portable), "{error}");
            let _ = writeln!(std::io::stdout().lock(), "skipped: products, {options:?}: {error}");
            None
        }
    }
}

fn check(options: Options) {
    for products in Products::ALL {
        let options = Options { products: Some(products), ..options };
        let Some(device) = device(options) else { continue };
        let mut cases = ops::all_cases();
        cases.retain(|case| ["matmul", "conv"].iter().any(|op| case.name().starts_with(op)));
        assert!(cases.len() > 50);
        let subject = Subject { device, dtypes: vec![DType::F32], threaded: false };
        let report = run(&cases, &subject, &belamy_cpu::oracle(), &MODES);
        let _ = writeln!(std::io::stdout().lock(), "\nproducts, {options:?}\n{report}");
        let failures = report.failures();
        assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    }
}

#[test]
fn every_way_agrees_with_the_oracle_unchecked_between_canaries() {
    check(Options { canaries: true, ..Options::default() });
}

#[test]
fn every_way_agrees_with_the_oracle_with_every_access_checked() {
    check(Options { checked: true, ..Options::default() });
}

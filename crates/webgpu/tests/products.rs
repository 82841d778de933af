//! Products in every way that the adapter can compute them: the case table between canaries and with every access
//! checked, products of more than one tile, and the rounding of long sums.

mod common;

use belamy_tensor::ops::matmul::matmul;
use belamy_tensor::{DType, Device};
use belamy_tests::plan::{Subject, run};
use belamy_tests::{Mode, ops};
use belamy_webgpu::{Options, Precision, Products};
use common::products::{normal, rounding, several_tiles};
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
            assert!(!required || options.products == Some(Products::Software), "{error}");
            let _ = writeln!(std::io::stdout().lock(), "skipped: products, {options:?}: {error}");
            None
        }
    }
}

/// Every way to multiply in f32.
fn ways() -> impl Iterator<Item = Products> {
    Products::ALL.into_iter().filter(|way| way.computes_in(Precision::F32))
}

fn check(options: Options) {
    for products in ways() {
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

#[test]
fn products_of_several_tiles_are_whole() {
    let oracle = belamy_cpu::oracle();
    for products in ways() {
        let options = Options { products: Some(products), canaries: true, ..Options::default() };
        let Some(device) = device(options) else { continue };
        for fours in [false, true] {
            let (got, want) = (several_tiles(fours, &device), several_tiles(fours, &oracle));
            for (place, (got, want)) in got.iter().zip(&want).enumerate() {
                let error = rounding(got, want);
                // One element of 30,000 that is missing is an error of some 50,000 units.
                assert!(error <= 5.0, "{products:?}: product {place} is wrong by {error} units");
            }
        }
    }
}

/// A sum of normal terms in one chain is wrong by about 0.2 units times the root of half its length: 18 units for 16,384
/// terms, 2.3 for blocks of 256.
#[test]
fn long_sums_round_as_their_blocks_do() {
    let oracle = belamy_cpu::oracle();
    for products in ways() {
        let options = Options { products: Some(products), ..Options::default() };
        let Some(device) = device(options) else { continue };
        let errors = [256, 16_384].map(|k| {
            let on = |device: &Device| {
                let (a, b) = (normal(&[16, k], device), normal(&[k, 20], device));
                matmul(&a, &b, false, false).unwrap()
            };
            rounding(&on(&device), &on(&oracle))
        });
        let line = format!("{products:?} products of depths 256, 16384 are wrong by {errors:.2?}");
        let _ = writeln!(std::io::stdout().lock(), "{line} units in the last place");
        assert!(errors.iter().all(|error| *error <= 5.0), "{line}");
    }
}

#[test]
fn a_software_adapter_multiplies_in_its_own_way() {
    let own = Options { products: Some(Products::Software), ..Options::default() };
    let (Some(_), Some((_, gpu))) = (device(own), common::open("the rule", Options::default()))
    else {
        return;
    };
    let kind = belamy_webgpu::adapter::adapters()[0].kind;
    assert_eq!(gpu.products() == Products::Software, kind == "software", "{kind}");
}

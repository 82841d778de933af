//! Products whose operands are rounded to f16: what they give, that sums stay in f32, and that an operand which f16
//! cannot hold stops training.

mod common;

use belamy_gan::recipe::Recipe;
use belamy_gan::run::{Plan, Run, Unobserved};
use belamy_gan::source::Material;
use belamy_tensor::ops::matmul::matmul;
use belamy_tensor::{Call, DType, Device, Tensor};
use belamy_tests::plan::{Subject, run};
use belamy_tests::rounding::Rounding;
use belamy_tests::{Mode, ops};
use belamy_webgpu::{Options, Precision, Products, WebGpu};
use common::products::{normal, rounding, several_tiles};
use common::{open, say};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The largest f16, and the smallest that is not subnormal.
const MOST: f32 = 65_504.0;
const LEAST: f32 = 1.0 / 16_384.0;

/// The nearest f16, of two the even one; 0 for what would be subnormal, as an adapter may have it.
fn to_f16(value: f32) -> f32 {
    assert!(value.abs() <= MOST, "{value} is beyond what the tests round");
    if value.abs() < LEAST {
        return 0.0;
    }
    // 13 bits of 24 are dropped.
    let bits = value.to_bits();
    f32::from_bits((bits + 0xfff + (bits >> 13 & 1)) & !0x1fff)
}

#[test]
fn numbers_are_rounded_to_eleven_bits() {
    let third = 0.333_251_95;
    for (value, rounded) in [
        (1.0, 1.0),
        (-65_504.0, -65_504.0),
        (1.0 / 3.0, third),
        (2_049.0, 2_048.0),
        (2_051.0, 2_052.0),
        (2_049.1, 2_050.0),
        (-1.999_9, -2.0),
        (6.0e-5, 0.0),
        (6.2e-5, 6.198_883e-5),
    ] {
        assert_eq!(to_f16(value), rounded, "{value}");
    }
}

/// A device whose products are given operands that were rounded to f16 on the host.
fn rounding_to_f16(device: Device) -> Device {
    let rounds = |call: &Call<'_>| ["matmul", "conv2d"].contains(&call.kernel.family());
    Device::new(Rounding { device, round: to_f16, rounds })
}

/// A device that multiplies in f16; nothing, said by name, where there is no adapter or it has no f16.
/// `BELAMY_REQUIRE=webgpu` makes that fail: the software adapter has it. Few have cooperative matrices: these are
/// required by `BELAMY_REQUIRE=webgpu,cooperative`.
fn half(options: Options) -> Option<(Device, Arc<WebGpu>)> {
    let options = Options { precision: Precision::F16, ..options };
    if options.products == Some(Products::Cooperative) {
        let required = std::env::var("BELAMY_REQUIRE").unwrap_or_default();
        let required = required.split(',').any(|name| name.trim() == "cooperative");
        if let Err(error) = WebGpu::open_with_cache(options, None) {
            assert!(!required, "{error}");
            say(format_args!("skipped: cooperative matrices on webgpu: {error}"));
            return None;
        }
    }
    open("products in f16", options)
}

/// Every way to multiply in f16.
fn ways() -> impl Iterator<Item = Products> {
    Products::ALL.into_iter().filter(|way| way.computes_in(Precision::F16))
}

#[test]
fn a_way_that_is_in_the_other_precision_alone_is_refused() {
    let Some((_, gpu)) = half(Options::default()) else { return };
    assert_eq!(gpu.precision(), Precision::F16);
    assert!(gpu.products().computes_in(Precision::F16));
    for (products, precision, words) in [
        (Products::Software, Precision::F16, "Software products are computed in f32 alone"),
        (Products::Cooperative, Precision::F32, "Cooperative products are computed in f16 alone"),
    ] {
        let options = Options { products: Some(products), precision, ..Options::default() };
        let error = belamy_webgpu::open(options).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

/// The case table of products, of rounded operands, within the bounds of f32.
fn check(options: Options, modes: &[Mode]) {
    let oracle = rounding_to_f16(belamy_cpu::oracle());
    for products in ways() {
        let (products, precision) = (Some(products), Precision::F16);
        let options = Options { products, precision, ..options };
        let Some((device, _)) = half(options) else { continue };
        let device = rounding_to_f16(device);
        let mut cases = ops::all_cases();
        cases.retain(|case| ["matmul", "conv"].iter().any(|op| case.name().starts_with(op)));
        assert!(cases.len() > 50);
        let subject = Subject { device, dtypes: vec![DType::F32], threaded: false };
        let report = run(&cases, &subject, &oracle, modes);
        say(format_args!("\nproducts, {options:?}\n{report}"));
        let failures = report.failures();
        assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    }
}

#[test]
fn products_of_rounded_operands_have_the_bounds_of_f32_between_canaries() {
    let modes = [Mode::Parity, Mode::ParityGradient, Mode::Twice, Mode::Reused];
    check(Options { canaries: true, ..Options::default() }, &modes);
}

#[test]
fn products_of_rounded_operands_have_the_bounds_of_f32_with_every_access_checked() {
    check(Options { checked: true, ..Options::default() }, &[Mode::Parity]);
}

/// Products of whole blocks of 8 or 16, of several tiles which end within one, and with depths that end within a slice.
fn whole_blocks(device: &Device) -> Vec<Tensor> {
    let mut products = Vec::new();
    for [m, n, k] in [[144, 112, 520], [136, 104, 517]] {
        for (transpose_a, transpose_b) in
            [(false, false), (false, true), (true, false), (true, true)]
        {
            let a = normal(&if transpose_a { [3, k, m] } else { [3, m, k] }, device);
            let b = normal(&if transpose_b { [3, n, k] } else { [3, k, n] }, device);
            products.push(matmul(&a, &b, transpose_a, transpose_b).unwrap());
        }
    }
    let (a, b) = (normal(&[16, 16_384], device), normal(&[16_384, 32], device));
    products.push(matmul(&a, &b, false, false).unwrap());
    products
}

/// Those, others of several tiles, and one of 16,384 terms.
fn products(device: &Device) -> Vec<Tensor> {
    let mut products = whole_blocks(device);
    products.extend(several_tiles(true, device));
    products.extend(several_tiles(false, device));
    let (a, b) = (normal(&[16, 16_384], device), normal(&[16_384, 20], device));
    products.push(matmul(&a, &b, false, false).unwrap());
    products
}

#[test]
fn whole_blocks_are_multiplied_by_cooperative_matrices_and_repeat_their_bits() {
    let options = Options { products: Some(Products::Cooperative), ..Options::default() };
    for options in [Options { canaries: true, ..options }, Options { checked: true, ..options }] {
        let Some((device, gpu)) = half(options) else { return };
        let once = whole_blocks(&device);
        let dispatches = gpu.dispatches();
        assert!(dispatches.contains(&("matmul_cooperative", once.len() as u64)), "{dispatches:?}");
        for (once, twice) in once.iter().zip(&whole_blocks(&device)) {
            // A NaN that was read from a canary is no number, and not the same.
            assert!(once.to_vec::<f32>().unwrap() == twice.to_vec::<f32>().unwrap());
        }
    }
}

/// The nearest 11 bits are wrong by 4,096 units in the last place of f32 at most, and by some 1,700 in the root of the
/// mean square; of two operands, by 1.4 times as much. Where an adapter cuts off instead, all are wrong to one side, and
/// by up to four times that. Sums in f16 would be wrong by more again, however their operands were rounded before.
#[test]
fn operands_are_rounded_and_sums_are_not() {
    let oracle = belamy_cpu::oracle();
    let (exact, rounded) = (products(&oracle), products(&rounding_to_f16(oracle.clone())));
    for way in ways() {
        let Some((device, _)) = half(Options { products: Some(way), ..Options::default() }) else {
            continue;
        };
        let rounded_before = products(&rounding_to_f16(device.clone()));
        let mut worst = 0.0f64;
        for (got, want) in rounded_before.iter().zip(&rounded) {
            let error = rounding(got, want);
            assert!(error <= 5.0, "{way:?}: sums are wrong by {error} units");
            worst = worst.max(error);
        }
        let errors: Vec<f64> =
            products(&device).iter().zip(&exact).map(|(got, want)| rounding(got, want)).collect();
        say(format_args!(
            "{way:?} products in f16 are wrong by {errors:.0?} units in the last place, of rounded operands by {worst:.2}"
        ));
        assert!(errors.iter().all(|error| (500.0..10_000.0).contains(error)), "{errors:?}");
    }
}

/// One operand beyond the largest f16: whatever it is multiplied into is not finite, and nothing else.
#[test]
fn an_operand_beyond_f16_is_seen_in_every_sum_that_it_meets() {
    for way in ways() {
        let Some((device, _)) = half(Options { products: Some(way), ..Options::default() }) else {
            continue;
        };
        for (beyond, is_finite) in [(MOST, true), (-MOST, true), (65_505.0, false), (-1e30, false)]
        {
            // The second of m rows, with and without whole blocks.
            for [m, n] in [[3, 9], [16, 32]] {
                let mut numbers = vec![1.0f32; m * 70];
                numbers[70 + 5] = beyond;
                let a = Tensor::from_slice(&numbers, [m, 70], &device).unwrap();
                let b = Tensor::from_slice(&vec![0.5f32; n * 70], [n, 70], &device).unwrap();
                let of_a = matmul(&a, &b, false, true).unwrap().to_vec::<f32>().unwrap();
                let of_b = matmul(&b, &a, false, true).unwrap().to_vec::<f32>().unwrap();
                for place in 0..m * n {
                    let met = [place / n == 1, place % m == 1];
                    for (sum, met) in [of_a[place], of_b[place]].into_iter().zip(met) {
                        let want = if met { (69.0 + beyond) / 2.0 } else { 35.0 };
                        let finite = is_finite || !met;
                        assert!(sum.is_finite() == finite, "{way:?}: {beyond}: {sum} at {place}");
                        assert!(!finite || sum == want, "{way:?}: {sum} instead of {want}");
                    }
                }
            }
        }
    }
}

/// A folder of its own that goes away with the test.
struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn training_stops_where_f16_overflows_and_f32_does_not() {
    let Some((device, _)) = half(Options::default()) else { return };
    let (single, _) = open("training in f32", Options::default()).unwrap();
    let name = format!("webgpu-precision-{}", std::process::id());
    let folder = Folder(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
    let train = |device: &Device, rate: f64, out: &str| {
        let mut plan = Plan::new(Recipe::named("sine").unwrap(), 3, device);
        (plan.recipe.steps, plan.log_every, plan.sample_every) = (3, 1, 0);
        for part in ["generator_optimizer", "discriminator_optimizer"] {
            plan.recipe.set(&format!("{part}.learning_rate={rate}")).unwrap();
        }
        let out = folder.0.join(out);
        let mut run = Run::create(plan, &Material::Endless, device, &out).unwrap();
        run.train(&mut Unobserved, &AtomicBool::new(false)).map_err(|error| error.to_string())
    };
    // Adam moves each weight by the learning rate: with the usual one it trains, and with this one weights are beyond f16.
    train(&device, 1e-3, "half").unwrap();
    train(&single, 1e5, "single").unwrap();
    let error = train(&device, 1e5, "beyond").unwrap_err();
    say(format_args!("training beyond f16: {error}"));
    assert!(error.starts_with("step 2: ") && error.contains("is not finite"), "{error}");
}

//! The metrics of `belamy evaluate` against numpy, scipy and scikit-image (tests/python/make_metric_golden.py), and
//! bicubic ×4 of Set5 against the numbers that the field publishes.

use belamy_gan::data::image::Image;
use belamy_gan::judge::features::Features;
use belamy_gan::judge::fid::frechet_distance;
use belamy_gan::judge::kid::squared_discrepancy;
use belamy_gan::judge::ms_ssim::ms_ssim;
use belamy_gan::judge::neighbours::neighbourhoods;
use belamy_gan::judge::psnr::{self, SHAVE};
use belamy_gan::judge::symmetric::eigen;
use belamy_gan::judge::wasserstein::{pyramid, sliced_distance};
use serde_json::Value;
use std::io::Write;
use std::path::Path;

/// Both sides sum in f64: what differs is the order.
const BOUND: f64 = 1e-10;

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/metrics.json")).unwrap()
}

fn list(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

fn compare(what: &str, found: &[f64], wanted: &[f64], bound: f64) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    for (found, wanted) in found.iter().zip(wanted) {
        assert!(
            (found - wanted).abs() <= bound * wanted.abs().max(1.0),
            "{what}: {found} {wanted}"
        );
    }
}

/// As `numbers` of the script.
fn numbers(count: usize, seed: u32) -> Vec<f64> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / 16_777_216.0
    };
    (0..count).map(next).collect()
}

fn features(count: usize, length: usize, seed: u32, scale: f64, shift: f64) -> Features {
    let mut values: Vec<f64> =
        numbers(count * length, seed).into_iter().map(|value| value * scale + shift).collect();
    for row in values.chunks_exact_mut(length) {
        for column in 1..length {
            row[column] += 0.5 * row[column - 1];
        }
    }
    Features::new(values, length).unwrap()
}

#[test]
fn distances_of_features_are_numpys() {
    let golden = golden();
    let (real, fake) = (features(300, 8, 1, 1.0, 0.0), features(200, 8, 2, 1.3, 0.1));
    let found = frechet_distance(&real, &fake).unwrap();
    let parts = [found.of_means, found.of_covariances];
    compare("frechet", &parts, &list(&golden["frechet"]), BOUND);
    // Fewer samples than features: the covariances have no inverse, and scipy's root itself errs.
    let (few, many) = (features(12, 20, 3, 1.0, 0.0), features(15, 20, 4, 2.0, 0.3));
    let found = frechet_distance(&few, &many).unwrap();
    let parts = [found.of_means, found.of_covariances];
    compare("frechet_singular", &parts, &list(&golden["frechet_singular"]), 1e-5);
    let found = squared_discrepancy(&real, &fake).unwrap();
    compare("discrepancy", &[found], &[golden["discrepancy"].as_f64().unwrap()], BOUND);
    let found = neighbourhoods(&real, &fake, 3, 5).unwrap();
    let parts = [found.precision, found.recall, found.density, found.coverage];
    compare("neighbours", &parts, &list(&golden["neighbours"]), BOUND);
}

#[test]
fn eigenvalues_are_lapacks() {
    let draws = numbers(1600, 7);
    let matrix: Vec<f64> = (0..1600)
        .map(|place| draws[place] - 0.5 + draws[place % 40 * 40 + place / 40] - 0.5)
        .collect();
    let found = eigen(&matrix, 40).unwrap().values;
    compare("eigenvalues", &found, &list(&golden()["eigenvalues"]), 1e-12);
}

#[test]
fn likeness_is_scikit_images() {
    let golden = golden();
    let number = |name: &str| [golden[name].as_f64().unwrap()];
    let a = numbers(45 * 37, 5);
    let b: Vec<f64> = a.iter().zip(numbers(45 * 37, 6)).map(|(a, b)| 0.7 * a + 0.3 * b).collect();
    compare("psnr", &[psnr::psnr(&a, &b, 1.0).unwrap()], &number("psnr"), BOUND);
    compare("ssim", &[psnr::ssim(&a, &b, [45, 37], 1.0).unwrap()], &number("ssim"), BOUND);
    compare("ms_ssim", &[ms_ssim(&a, &b, [45, 37, 1], 1.0).unwrap()], &number("ms_ssim"), BOUND);
    let corner = |image: &[f64]| -> Vec<f64> {
        (0..28).flat_map(|y| image[y * 37..][..28].to_vec()).collect()
    };
    let found = ms_ssim(&corner(&a), &corner(&b), [28, 28, 1], 1.0).unwrap();
    compare("ms_ssim_28", &[found], &number("ms_ssim_28"), BOUND);
}

#[test]
fn pyramids_and_sliced_distances_are_scipys() {
    let golden = golden();
    let levels = pyramid(&numbers(4096, 8), [64, 64, 1], 3);
    for (level, wanted) in levels.iter().zip(golden["pyramid"].as_array().unwrap()) {
        let count = level.len() as f64;
        let mean = level.iter().sum::<f64>() / count;
        let variance = level.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        let sum = level.iter().map(|value| value.abs()).sum();
        let found = [level[0], level[level.len() - 1], variance.sqrt(), sum];
        compare("pyramid", &found, &list(wanted), BOUND);
    }
    let a = numbers(3000, 9);
    let b: Vec<f64> = numbers(3000, 10).into_iter().map(|value| value * value).collect();
    let mut directions: Vec<f64> = numbers(60, 11).into_iter().map(|value| value - 0.5).collect();
    for direction in directions.chunks_exact_mut(6) {
        let norm = direction.iter().map(|value| value * value).sum::<f64>().sqrt();
        direction.iter_mut().for_each(|value| *value /= norm);
    }
    let found = sliced_distance(&a, &b, 6, &directions).unwrap();
    compare("sliced", &[found], &[golden["sliced"].as_f64().unwrap()], BOUND);
}

#[test]
fn bicubic_of_set5_is_28_43_decibels_and_scikit_images_ssim() {
    let Some(data) = std::env::var_os("BELAMY_DATA") else {
        let required = std::env::var("BELAMY_REQUIRE").is_ok_and(|kinds| kinds.contains("data"));
        let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!required && !ci, "Set5 must not be skipped: BELAMY_DATA is not set");
        let _ = writeln!(std::io::stderr(), "skipped: BELAMY_DATA not set: bicubic of Set5");
        return;
    };
    let golden = golden();
    let (mut decibels, mut similarity) = (0.0, 0.0);
    for name in ["baby", "bird", "butterfly", "head", "woman"] {
        let path = Path::new(&data).join("sr/Set5").join(name).with_extension("png");
        let image = Image::decode(&path, &std::fs::read(&path).unwrap()).unwrap();
        let (width, height) = (image.width / 4 * 4, image.height / 4 * 4);
        let rows = image.bytes.chunks_exact(image.width * image.channels).take(height);
        let bytes = rows.flat_map(|row| &row[..width * image.channels]).copied().collect();
        let image = Image { width, height, channels: image.channels, bytes };
        let large = image.bicubic(width / 4, height / 4).bicubic(width, height);
        let found = psnr::of_luminance(&image, &large, SHAVE).unwrap();
        // Bytes on the very half round either way.
        let parts = [found.psnr, found.ssim];
        compare(name, &parts, &list(&golden["set5"][name]), 1e-5);
        decibels += found.psnr / 5.0;
        similarity += found.ssim / 5.0;
    }
    let _ =
        writeln!(std::io::stdout().lock(), "Set5, bicubic ×4: {decibels:.4} dB, {similarity:.5}");
    // SRGAN's table 2 (Ledig et al. 2017) has 28.43. Its SSIM, 0.8211, is that of the Daala project's tools, whose window
    // grows with the image's height; the window of 11, which scikit-image's numbers above are of too, says 0.8113.
    assert!((decibels - 28.43).abs() <= 0.01, "{decibels}");
    assert!((similarity - 0.8113).abs() <= 0.0001, "{similarity}");
}

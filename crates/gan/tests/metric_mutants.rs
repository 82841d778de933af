//! Would the goldens of `metrics.rs` notice a wrong metric? Each metric is written out once more, with a place for each
//! fault that its formula invites. Without a fault it must agree with numpy's, scipy's or scikit-image's number within
//! the bound that the real one is held to; with any one of them it must not.

use belamy_gan::judge::symmetric::trace_of_root_of_product;
use serde_json::Value;

/// The bound of `metrics.rs`.
const BOUND: f64 = 1e-10;

fn golden(name: &str) -> Vec<f64> {
    let all: Value = serde_json::from_str(include_str!("golden/metrics.json")).unwrap();
    match &all[name] {
        Value::Array(values) => values.iter().map(|value| value.as_f64().unwrap()).collect(),
        value => vec![value.as_f64().unwrap()],
    }
}

fn agrees(found: &[f64], wanted: &[f64]) -> bool {
    found.len() == wanted.len()
        && found.iter().zip(wanted).all(|(a, b)| (a - b).abs() <= BOUND * b.abs().max(1.0))
}

/// Computes a metric without a fault and with each, and says how many were seen.
fn try_all(name: &str, faults: &[&str], metric: impl Fn(&str) -> Vec<f64>) -> usize {
    let wanted = golden(name);
    let right = metric("");
    assert!(agrees(&right, &wanted), "{name} without a fault: {right:?}, not {wanted:?}");
    for fault in faults {
        let wrong = metric(fault);
        assert!(!agrees(&wrong, &wanted), "{name}: {fault} is not seen: {wrong:?}");
    }
    faults.len()
}

/// As `numbers` of `make_metric_golden.py`.
fn numbers(count: usize, seed: u32) -> Vec<f64> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / 16_777_216.0
    };
    (0..count).map(next).collect()
}

type Rows = Vec<Vec<f64>>;

fn rows(count: usize, seed: u32, scale: f64, shift: f64) -> Rows {
    let values = numbers(count * 8, seed);
    let mut rows: Rows = values
        .chunks_exact(8)
        .map(|row| row.iter().map(|value| value * scale + shift).collect())
        .collect();
    for row in &mut rows {
        for column in 1..8 {
            row[column] += 0.5 * row[column - 1];
        }
    }
    rows
}

fn sets() -> (Rows, Rows) {
    (rows(300, 1, 1.0, 0.0), rows(200, 2, 1.3, 0.1))
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

#[test]
fn a_wrong_frechet_distance_is_seen() {
    let (real, fake) = sets();
    let faults = [
        "divisor n",
        "means not squared",
        "distance of means",
        "no root",
        "root of each",
        "one root",
        "no root taken off",
        "traces taken off",
        "variances only",
        "second moments",
    ];
    let seen = try_all("frechet", &faults, |fault| {
        let moments = |rows: &Rows| {
            let count = rows.len() as f64;
            let mean: Vec<f64> =
                (0..8).map(|c| rows.iter().map(|row| row[c]).sum::<f64>() / count).collect();
            let centre = if fault == "second moments" { vec![0.0; 8] } else { mean.clone() };
            let divisor = if fault == "divisor n" { count } else { count - 1.0 };
            let mut covariance = vec![0.0; 64];
            for (place, value) in covariance.iter_mut().enumerate() {
                let (i, j) = (place / 8, place % 8);
                if fault == "variances only" && i != j {
                    continue;
                }
                let term = |row: &Vec<f64>| (row[i] - centre[i]) * (row[j] - centre[j]);
                *value = rows.iter().map(term).sum::<f64>() / divisor;
            }
            (mean, covariance)
        };
        let ((mean_r, r), (mean_f, f)) = (moments(&real), moments(&fake));
        let trace = |matrix: &[f64]| matrix.iter().step_by(9).sum::<f64>();
        let differences = mean_r.iter().zip(&mean_f).map(|(a, b)| a - b);
        let means = match fault {
            "means not squared" => differences.map(f64::abs).sum(),
            "distance of means" => differences.map(|x| x * x).sum::<f64>().sqrt(),
            _ => differences.map(|x| x * x).sum(),
        };
        let product = |i: usize, j: usize| (0..8).map(|k| r[i * 8 + k] * f[k * 8 + j]).sum::<f64>();
        let shared = match fault {
            "no root" => (0..8).map(|i| product(i, i)).sum(),
            "root of each" => (0..8).map(|i| (r[i * 9] * f[i * 9]).sqrt()).sum(),
            "no root taken off" => 0.0,
            "one root" => trace_of_root_of_product(&r, &f, 8).unwrap() / 2.0,
            _ => trace_of_root_of_product(&r, &f, 8).unwrap(),
        };
        let sum =
            if fault == "traces taken off" { trace(&r) - trace(&f) } else { trace(&r) + trace(&f) };
        vec![means, sum - 2.0 * shared]
    });
    assert_eq!(seen, 10);
}

#[test]
fn a_wrong_kernel_distance_is_seen() {
    let (real, fake) = sets();
    let faults = [
        "with itself",
        "divisor of a biased estimate",
        "one cross term",
        "degree two",
        "not divided by the length",
        "no constant",
        "root",
    ];
    let seen = try_all("discrepancy", &faults, |fault| {
        let kernel = |a: &[f64], b: &[f64]| {
            let length = if fault == "not divided by the length" { 1.0 } else { 8.0 };
            let constant = if fault == "no constant" { 0.0 } else { 1.0 };
            let degree = if fault == "degree two" { 2 } else { 3 };
            (dot(a, b) / length + constant).powi(degree)
        };
        let own = |rows: &Rows| {
            let count = rows.len() as f64;
            let mut sum = 0.0;
            for (i, a) in rows.iter().enumerate() {
                for (j, b) in rows.iter().enumerate() {
                    if i != j || fault == "with itself" {
                        sum += kernel(a, b);
                    }
                }
            }
            let others = if fault == "divisor of a biased estimate" { count } else { count - 1.0 };
            sum / (count * others)
        };
        let cross: f64 = real.iter().flat_map(|a| fake.iter().map(move |b| kernel(a, b))).sum();
        let weight = if fault == "one cross term" { 1.0 } else { 2.0 };
        let found = own(&real) + own(&fake) - weight * cross / (real.len() * fake.len()) as f64;
        vec![if fault == "root" { found.abs().sqrt() } else { found }]
    });
    assert_eq!(seen, 7);
}

#[test]
fn wrong_neighbourhoods_are_seen() {
    let (real, fake) = sets();
    let faults = [
        "counts itself",
        "one neighbour more",
        "k exchanged",
        "sets exchanged",
        "radius of the other",
        "density not divided",
        "density as precision",
        "coverage by fakes",
        "half the radius",
    ];
    let seen = try_all("neighbours", &faults, |fault| {
        let (real, fake) = if fault == "sets exchanged" { (&fake, &real) } else { (&real, &fake) };
        let radii = |rows: &Rows, k: usize| -> Vec<f64> {
            let nearest = match fault {
                "counts itself" => k - 1,
                "one neighbour more" => k + 1,
                _ => k,
            };
            let scale = if fault == "half the radius" { 0.25 } else { 1.0 };
            let radius = |row: &Vec<f64>| {
                let mut all: Vec<f64> = rows.iter().map(|other| distance(row, other)).collect();
                all.sort_by(f64::total_cmp);
                // The first is the row itself.
                all[nearest] * scale
            };
            rows.iter().map(radius).collect()
        };
        let (k, dense) = if fault == "k exchanged" { (5, 3) } else { (3, 5) };
        let (of_real, of_fake) = (radii(real, k), radii(fake, k));
        let of_dense = radii(real, dense);
        let balls = |point: &Vec<f64>, centres: &Rows, radii: &[f64]| {
            centres.iter().zip(radii).filter(|(c, r)| distance(point, c) <= **r).count()
        };
        let share = |points: &Rows, centres: &Rows, radii: &[f64]| {
            let inside = points.iter().filter(|point| balls(point, centres, radii) > 0).count();
            inside as f64 / points.len() as f64
        };
        let other: Vec<f64> = (0..real.len()).map(|index| of_fake[index % of_fake.len()]).collect();
        let radii_real = if fault == "radius of the other" { &other } else { &of_real };
        let precision = share(fake, real, radii_real);
        let recall = share(real, fake, &of_fake);
        let all: usize = fake.iter().map(|point| balls(point, real, &of_dense)).sum();
        let density = match fault {
            "density not divided" => all as f64 / fake.len() as f64,
            "density as precision" => share(fake, real, &of_dense),
            _ => all as f64 / (dense * fake.len()) as f64,
        };
        let coverage = if fault == "coverage by fakes" {
            share(fake, real, &of_dense)
        } else {
            let held = |(centre, radius): (&Vec<f64>, &f64)| {
                fake.iter().any(|point| distance(point, centre) <= *radius)
            };
            real.iter().zip(&of_dense).filter(|pair| held(*pair)).count() as f64 / real.len() as f64
        };
        vec![precision, recall, density, coverage]
    });
    assert_eq!(seen, 9);
}

/// The two images of the goldens, 45×37.
fn pictures() -> (Vec<f64>, Vec<f64>) {
    let a = numbers(45 * 37, 5);
    let b = a.iter().zip(numbers(45 * 37, 6)).map(|(a, b)| 0.7 * a + 0.3 * b).collect();
    (a, b)
}

#[test]
fn a_wrong_psnr_is_seen() {
    let (a, b) = pictures();
    let faults = [
        "natural logarithm",
        "twenty times",
        "not squared",
        "of the sum",
        "peak of bytes",
        "upside down",
    ];
    let seen = try_all("psnr", &faults, |fault| {
        let count = a.len() as f64;
        let error = match fault {
            "not squared" => a.iter().zip(&b).map(|(a, b)| (a - b).abs()).sum::<f64>() / count,
            "of the sum" => distance(&a, &b),
            _ => distance(&a, &b) / count,
        };
        let peak: f64 = if fault == "peak of bytes" { 255.0 } else { 1.0 };
        let ratio = if fault == "upside down" { error } else { peak * peak / error };
        vec![match fault {
            "natural logarithm" => 10.0 * ratio.ln(),
            "twenty times" => 20.0 * ratio.log10(),
            _ => 10.0 * ratio.log10(),
        }]
    });
    assert_eq!(seen, 6);
}

/// SSIM and its contrast factor, by windows laid over two planes one by one.
fn ssim(a: &[f64], b: &[f64], [height, width]: [usize; 2], size: usize, fault: &str) -> [f64; 2] {
    let sigma = if fault == "another deviation" { 1.0 } else { 1.5 * size as f64 / 11.0 };
    let middle = (size as f64 - 1.0) / 2.0;
    let bell = |place: usize| {
        if fault == "even window" {
            1.0
        } else {
            (-(place as f64 - middle).powi(2) / (2.0 * sigma * sigma)).exp()
        }
    };
    let weights: Vec<f64> =
        (0..size * size).map(|place| bell(place / size) * bell(place % size)).collect();
    let whole: f64 = weights.iter().sum();
    let (mut c1, mut c2) = (1e-4, 9e-4);
    match fault {
        "constants exchanged" => std::mem::swap(&mut c1, &mut c2),
        "constants not squared" => (c1, c2) = (0.01, 0.03),
        "no constants" => (c1, c2) = (0.0, 0.0),
        _ => {}
    }
    let mut sums = [0.0; 2];
    let mut windows = 0;
    let step = if fault == "windows apart" { size } else { 1 };
    for top in (0..=height - size).step_by(step) {
        for left in (0..=width - size).step_by(step) {
            let mean = |value: &dyn Fn(usize) -> f64| {
                let at = |place: usize| (top + place / size) * width + left + place % size;
                weights.iter().enumerate().map(|(p, weight)| weight * value(at(p))).sum::<f64>()
                    / whole
            };
            let (mean_a, mean_b) = (mean(&|p| a[p]), mean(&|p| b[p]));
            let mut variance_a = mean(&|p| a[p] * a[p]) - mean_a * mean_a;
            let mut variance_b = mean(&|p| b[p] * b[p]) - mean_b * mean_b;
            let mut shared = mean(&|p| a[p] * b[p]) - mean_a * mean_b;
            if fault == "sample covariance" {
                let count = (size * size) as f64;
                [&mut variance_a, &mut variance_b, &mut shared]
                    .into_iter()
                    .for_each(|value| *value *= count / (count - 1.0));
            }
            let contrast = match fault {
                "product of deviations" => {
                    (2.0 * shared + c2) / (2.0 * (variance_a * variance_b).sqrt() + c2)
                }
                _ => (2.0 * shared + c2) / (variance_a + variance_b + c2),
            };
            let light = (2.0 * mean_a * mean_b + c1) / (mean_a * mean_a + mean_b * mean_b + c1);
            sums[0] += if fault == "no luminance" { contrast } else { light * contrast };
            sums[1] += contrast;
            windows += 1;
        }
    }
    sums.map(|sum| sum / f64::from(windows))
}

#[test]
fn a_wrong_ssim_is_seen() {
    let (a, b) = pictures();
    let faults = [
        "even window",
        "another deviation",
        "constants exchanged",
        "constants not squared",
        "no constants",
        "windows apart",
        "sample covariance",
        "product of deviations",
        "no luminance",
        "smaller window",
    ];
    let seen = try_all("ssim", &faults, |fault| {
        let size = if fault == "smaller window" { 9 } else { 11 };
        vec![ssim(&a, &b, [45, 37], size, fault)[0]]
    });
    assert_eq!(seen, 10);
}

#[test]
fn a_wrong_ms_ssim_is_seen() {
    let faults = [
        "exponents reversed",
        "four scales",
        "luminance at every scale",
        "no luminance at all",
        "every other pixel",
        "sum of scales",
        "border dropped",
    ];
    let seen = try_all("ms_ssim", &faults, |fault| {
        let (mut a, mut b) = pictures();
        let mut size = [45, 37];
        let mut exponents = vec![0.0448, 0.2856, 0.3001, 0.2363, 0.1333];
        match fault {
            "exponents reversed" => exponents.reverse(),
            "four scales" => exponents.truncate(4),
            _ => {}
        }
        let (mut product, mut sum, last) = (1.0, 0.0, exponents.len() - 1);
        for (scale, exponent) in exponents.into_iter().enumerate() {
            let found = ssim(&a, &b, size, 11.min(size[0]).min(size[1]), "");
            let whole = match fault {
                "luminance at every scale" => true,
                "no luminance at all" => false,
                _ => scale == last,
            };
            let factor = f64::max(if whole { found[0] } else { found[1] }, 0.0);
            product *= factor.powf(exponent);
            sum += exponent * factor;
            let [height, width] = size;
            let drop = fault == "border dropped";
            let half = |extent: usize| if drop { extent / 2 } else { extent.div_ceil(2) };
            let halved = |plane: &[f64]| -> Vec<f64> {
                let at = |y: usize, x: usize| plane[y.min(height - 1) * width + x.min(width - 1)];
                let mean = |y: usize, x: usize| {
                    if fault == "every other pixel" {
                        return at(2 * y, 2 * x);
                    }
                    let below = at(2 * y + 1, 2 * x) + at(2 * y + 1, 2 * x + 1);
                    (at(2 * y, 2 * x) + at(2 * y, 2 * x + 1) + below) / 4.0
                };
                (0..half(height)).flat_map(|y| (0..half(width)).map(move |x| mean(y, x))).collect()
            };
            (a, b) = (halved(&a), halved(&b));
            size = [half(height), half(width)];
        }
        vec![if fault == "sum of scales" { sum } else { product }]
    });
    assert_eq!(seen, 7);
}

#[test]
fn a_wrong_sliced_distance_is_seen() {
    let a = numbers(3000, 9);
    let b: Vec<f64> = numbers(3000, 10).into_iter().map(|value| value * value).collect();
    let faults =
        ["not sorted", "squared", "of the means", "greatest", "directions not of length one"];
    let seen = try_all("sliced", &faults, |fault| {
        let draws = numbers(60, 11);
        let distances = draws.chunks_exact(6).map(|draws| {
            let direction: Vec<f64> = draws.iter().map(|value| value - 0.5).collect();
            let norm = if fault == "directions not of length one" {
                1.0
            } else {
                dot(&direction, &direction).sqrt()
            };
            let shadow = |rows: &[f64]| -> Vec<f64> {
                let mut all: Vec<f64> =
                    rows.chunks_exact(6).map(|row| dot(row, &direction) / norm).collect();
                if fault != "not sorted" {
                    all.sort_by(f64::total_cmp);
                }
                all
            };
            let (a, b) = (shadow(&a), shadow(&b));
            let count = a.len() as f64;
            let differences = a.iter().zip(&b).map(|(a, b)| a - b);
            match fault {
                "squared" => differences.map(|x| x * x).sum::<f64>() / count,
                "of the means" => (differences.sum::<f64>() / count).abs(),
                _ => differences.map(f64::abs).sum::<f64>() / count,
            }
        });
        let distances: Vec<f64> = distances.collect();
        vec![if fault == "greatest" {
            distances.iter().copied().fold(0.0, f64::max)
        } else {
            distances.iter().sum::<f64>() / distances.len() as f64
        }]
    });
    assert_eq!(seen, 5);
}

//! The parametrisation's moments, computed apart from it.

use super::*;

/// The mean of `value(t₀)` over where showers begin: Simpson's rule over 40 mean depths.
fn over_starts(value: impl Fn(f64) -> f64) -> f64 {
    let (count, end) = (4_000, 40.0 * CONVERSION);
    let step = end / f64::from(count);
    let term = |i: i32| {
        let start = step * f64::from(i);
        let weight = if i == 0 || i == count { 1.0 } else { f64::from(2 + 2 * (i % 2)) };
        weight * (-start / CONVERSION).exp() / CONVERSION * value(start)
    };
    (0..=count).map(term).sum::<f64>() * step / 3.0
}

fn moments(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for value in values {
        count += 1.0;
        sum += value;
        squares += value * value;
    }
    let mean = sum / count;
    (count, mean, squares / count - mean * mean)
}

#[test]
fn gamma_functions_are_the_known_ones() {
    for (x, expected) in [(1.0, 0.0), (2.0, 0.0), (5.0, 24f64.ln()), (0.5, 0.572_364_942_924_700_1)]
    {
        assert!((ln_gamma(x) - expected).abs() < 1e-12, "{x}");
    }
    // P(1, x) = 1 - exp(-x), P(2, x) = 1 - (1 + x) exp(-x): on both sides of the change of method.
    for x in [0.01, 0.7, 1.9, 2.1, 2.9, 3.1, 9.0, 40.0] {
        let one = 1.0 - f64::exp(-x);
        let two = 1.0 - (1.0 + x) * f64::exp(-x);
        assert!((gamma_below(1.0, x) - one).abs() < 1e-13, "{x}");
        assert!((gamma_below(2.0, x) - two).abs() < 1e-13, "{x}");
    }
    assert_eq!(gamma_below(3.0, -1.0), 0.0);
}

#[test]
fn shares_add_up() {
    for layer in 0..LAYERS {
        assert!((across(layer).iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }
    for direction in [0.0, 1.0, 4.0] {
        assert!((around(direction).iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }
    // What leaves by the back: more at higher energies.
    let kept: Vec<f64> =
        (0..ENERGIES as u32).map(|k| along(incident_energy(k), 1.0).iter().sum()).collect();
    assert!(kept.is_sorted_by(|low, high| low > high) && kept[0] > 0.999, "{kept:?}");
    assert!(kept[ENERGIES - 1] > 0.9, "{kept:?}");
}

#[test]
fn showers_have_the_moments_that_the_formulae_say() {
    let each = 2_000;
    let data = parametrised(each * ENERGIES, 5).unwrap();
    assert_eq!(data.shape, [each * ENERGIES, LAYERS, VOXELS_A_LAYER, 1]);
    assert_eq!(data.classes, ENERGIES);
    for class in 0..ENERGIES as u32 {
        let energy = incident_energy(class);
        let shares: Vec<Vec<f64>> = (0..data.samples())
            .filter(|index| data.labels.as_ref().unwrap()[*index] == class)
            .map(|index| data.sample(index).unwrap().iter().map(|seen| share(*seen)).collect())
            .collect();
        assert_eq!(shares.len(), each);
        // Within five deviations of a mean, what each layer and ring gets.
        let check = |what: String, expected: f64, found: (f64, f64, f64)| {
            let (count, mean, variance) = found;
            let allowed = 5.0 * (variance / count).sqrt() + 1e-6;
            assert!(
                (mean - expected).abs() < allowed,
                "{energy} MeV, {what}: {mean}, not {expected}"
            );
        };
        for layer in 0..LAYERS {
            let expected = over_starts(|start| along(energy, start)[layer]);
            let sums = shares.iter().map(|voxels| {
                voxels[layer * VOXELS_A_LAYER..][..VOXELS_A_LAYER].iter().sum::<f64>()
            });
            check(format!("layer {layer}"), expected, moments(sums));
        }
        for ring in 0..RINGS {
            let layers: Vec<f64> =
                (0..LAYERS).map(|layer| over_starts(|start| along(energy, start)[layer])).collect();
            let expected =
                layers.iter().enumerate().map(|(layer, share)| share * across(layer)[ring]).sum();
            let sums = shares.iter().map(|voxels| voxels.iter().skip(ring).step_by(RINGS).sum());
            check(format!("ring {ring}"), expected, moments(sums));
        }
        // The variance of the sum: of the spots, and of what leaves by the back.
        let kept = |start: f64| along(energy, start).iter().sum::<f64>();
        let mean = over_starts(kept);
        let leaks = over_starts(|start| kept(start).powi(2)) - mean * mean;
        let expected = 2.0 * SPOT / energy * mean + leaks;
        let (_, _, variance) = moments(shares.iter().map(|voxels| voxels.iter().sum()));
        // A variance of 2,000 is known to 3 %, of tails to somewhat less.
        assert!(
            (variance / expected - 1.0).abs() < 0.25,
            "{energy} MeV: {variance}, not {expected}"
        );
    }
}

#[test]
fn a_shower_is_a_function_of_its_number() {
    let few = parametrised(20, 9).unwrap();
    let more = parametrised(40, 9).unwrap();
    assert_eq!(few.images[..], more.images[..few.images.len()]);
    assert_ne!(few.digest, parametrised(20, 8).unwrap().digest);
    assert!(parametrised(0, 1).is_err());
}

#[test]
fn energies_in_mev_become_what_networks_see() {
    let size = LAYERS * VOXELS_A_LAYER;
    let mut voxels = vec![0.0; 2 * size];
    (voxels[3], voxels[size + 359]) = (64.0, 4_194_304.0);
    let data = from_energies(&[256.0, 4_194_304.0], &voxels).unwrap();
    assert_eq!(data.labels.as_deref(), Some(&[0, 14][..]));
    assert_eq!((data.images[3], data.images[size + 359]), (0.5, 1.0));
    assert_eq!(data.images.iter().sum::<f32>(), 1.5);
    let message =
        |incident: &[f64], voxels: &[f64]| from_energies(incident, voxels).unwrap_err().to_string();
    assert!(message(&[256.0, 300.0], &voxels).contains("shower 1 is of 300 MeV"));
    assert!(message(&[256.0], &voxels).contains("720 voxels, not 360 each"));
    voxels[size + 7] = f64::NAN;
    assert!(message(&[256.0, 512.0], &voxels).contains("voxel 7 of shower 1 has NaN MeV"));
    assert!(message(&[], &[]).contains("0 showers"));
    assert_eq!(class_of(f64::INFINITY), None);
    assert_eq!(class_of(-256.0), None);
}

//! What people who simulate detectors ask of generated showers: the moments of each, energy by energy, beside those of
//! real ones.
//!
//! ```text
//! response    Σ E_v / E                        what the calorimeter sees of the incident energy
//! depth       t̄ = Σ E_v t_v / Σ E_v            in radiation lengths
//! length      √(Σ E_v (t_v - t̄)² / Σ E_v)      likewise
//! width       Σ E_v r_v / Σ E_v                in Molière radii
//! sparsity    the share of voxels below 1 MeV, the least that is read out; such voxels count as empty everywhere
//! ```
//!
//! Two samples of an observable x are compared by their means and deviations, and by the Wasserstein distance of their
//! distributions, W₁ = ∫ |F - G| dx, in units of the real deviation at that energy: 0 for equal distributions, and about
//! |Δ| for ones apart by Δ deviations. Two samples of n from one distribution are about 1/√n apart, which is measured
//! beside: `floor` is the distance between two halves of the real ones.

use crate::data::showers::{
    LAYERS, RING_RADII, RINGS, THICKNESS, VOXELS_A_LAYER, incident_energy, share,
};
use crate::error::{Error, Result};
use serde::Serialize;

/// The least energy in MeV that is read out.
pub const READ_OUT: f64 = 1.0;

/// The observables' names.
pub const OBSERVABLES: [&str; 5] = ["response", "depth", "length", "width", "sparsity"];

/// An observable of generated showers beside that of real ones.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Observable {
    /// One of [`OBSERVABLES`].
    pub name: &'static str,
    /// The mean of real showers.
    pub real_mean: f64,
    /// Their deviation.
    pub real_deviation: f64,
    /// The mean of generated showers.
    pub fake_mean: f64,
    /// Their deviation.
    pub fake_deviation: f64,
    /// The Wasserstein distance of the distributions, in real deviations.
    pub distance: f64,
    /// That of two halves of the real showers.
    pub floor: f64,
}

/// The observables at one incident energy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AtEnergy {
    /// In MeV.
    pub energy: f64,
    /// Real showers.
    pub real: usize,
    /// Generated showers.
    pub fake: usize,
    /// Each observable.
    pub observables: Vec<Observable>,
}

/// How far generated showers are from real ones.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShowerCard {
    /// At each energy that both kinds have at least two showers of.
    pub energies: Vec<AtEnergy>,
    /// Over these, the mean distance of each observable, in the order of [`OBSERVABLES`].
    pub distances: [f64; OBSERVABLES.len()],
    /// Likewise of the floors.
    pub floors: [f64; OBSERVABLES.len()],
    /// The Wasserstein distance between the mean profiles along the shower, in layers, averaged over energies.
    pub profile: f64,
}

/// The observables of one shower as networks see it.
fn observables(image: &[f32], energy: f64) -> [f64; OBSERVABLES.len()] {
    let voxels = image.iter().map(|seen| {
        let voxel = energy * share(*seen);
        if voxel < READ_OUT { 0.0 } else { voxel }
    });
    let voxels: Vec<f64> = voxels.collect();
    let total: f64 = voxels.iter().sum();
    let empty = voxels.iter().filter(|voxel| **voxel == 0.0).count() as f64 / voxels.len() as f64;
    if total == 0.0 {
        return [0.0, 0.0, 0.0, 0.0, empty];
    }
    let depth = |voxel: usize| THICKNESS * ((voxel / VOXELS_A_LAYER) as f64 + 0.5);
    let mean = |value: &dyn Fn(usize) -> f64| {
        let terms = voxels.iter().enumerate().map(|(voxel, energy)| energy * value(voxel));
        terms.sum::<f64>() / total
    };
    let centre = mean(&depth);
    let length = mean(&|voxel| (depth(voxel) - centre).powi(2)).sqrt();
    let width = mean(&|voxel| RING_RADII[voxel % RINGS]);
    [total / energy, centre, length, width, empty]
}

/// The Wasserstein distance between two samples of numbers, of any sizes: the integral of |F - G| over the sorted union.
///
/// ```
/// use belamy_gan::judge::showers::wasserstein;
/// assert_eq!(wasserstein(&[0.0, 2.0], &[1.0]), 1.0);
/// assert_eq!(wasserstein(&[3.0, 1.0], &[1.0, 3.0]), 0.0);
/// ```
pub fn wasserstein(a: &[f64], b: &[f64]) -> f64 {
    let marked = |values: &[f64], weight: f64| -> Vec<(f64, f64)> {
        values.iter().map(|value| (*value, weight / values.len() as f64)).collect()
    };
    let mut steps = [marked(a, 1.0), marked(b, -1.0)].concat();
    steps.sort_by(|x, y| x.0.total_cmp(&y.0));
    let mut difference = 0.0;
    let mut distance = 0.0;
    for pair in steps.windows(2) {
        difference += pair[0].1;
        distance += difference.abs() * (pair[1].0 - pair[0].0);
    }
    distance
}

fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    (mean, (squares / (count - 1.0)).sqrt())
}

fn compared(name: &'static str, real: &[f64], fake: &[f64]) -> Observable {
    let ((real_mean, real_deviation), (fake_mean, fake_deviation)) = (moments(real), moments(fake));
    // An observable that never changes has no unit of its own.
    let unit = if real_deviation > 0.0 { real_deviation } else { 1.0 };
    let half =
        |parity: usize| -> Vec<f64> { real.iter().skip(parity).step_by(2).copied().collect() };
    Observable {
        name,
        real_mean,
        real_deviation,
        fake_mean,
        fake_deviation,
        distance: wasserstein(real, fake) / unit,
        floor: wasserstein(&half(0), &half(1)) / unit,
    }
}

/// The mean share of the seen energy in each layer.
fn profile(images: &[&[f32]]) -> [f64; LAYERS] {
    let mut layers = [0.0; LAYERS];
    for image in images {
        for (layer, voxels) in layers.iter_mut().zip(image.chunks_exact(VOXELS_A_LAYER)) {
            *layer += voxels.iter().map(|seen| share(*seen)).sum::<f64>();
        }
    }
    let total: f64 = layers.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    layers.map(|layer| layer / total)
}

/// Compares showers `[n, 12, 30, 1]` as networks see them, each of a class of energies. Fails where no energy has two of
/// both kinds.
pub fn judge(
    real: &[f32],
    real_classes: &[u32],
    fake: &[f32],
    fake_classes: &[u32],
) -> Result<ShowerCard> {
    let size = LAYERS * VOXELS_A_LAYER;
    let of_class = |images: &'_ [f32], classes: &[u32], class: u32| -> Vec<Vec<f32>> {
        let images = images.chunks_exact(size).zip(classes);
        images.filter(|(_, of)| **of == class).map(|(image, _)| image.to_vec()).collect()
    };
    let mut classes: Vec<u32> = real_classes.to_vec();
    classes.sort_unstable();
    classes.dedup();
    let (mut energies, mut profiles) = (Vec::new(), 0.0);
    for class in classes {
        let (real, fake) =
            (of_class(real, real_classes, class), of_class(fake, fake_classes, class));
        if real.len() < 4 || fake.len() < 2 {
            continue;
        }
        let energy = incident_energy(class);
        let seen = |images: &[Vec<f32>]| -> Vec<[f64; OBSERVABLES.len()]> {
            images.iter().map(|image| observables(image, energy)).collect()
        };
        let (of_real, of_fake) = (seen(&real), seen(&fake));
        let column = |rows: &[[f64; OBSERVABLES.len()]], at: usize| -> Vec<f64> {
            rows.iter().map(|row| row[at]).collect()
        };
        let compared = OBSERVABLES
            .iter()
            .enumerate()
            .map(|(at, name)| compared(name, &column(&of_real, at), &column(&of_fake, at)));
        let observables = compared.collect();
        let slices =
            |images: &'_ [Vec<f32>]| profile(&images.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let mut difference = 0.0;
        for (real, fake) in slices(&real).into_iter().zip(slices(&fake)) {
            difference += real - fake;
            profiles += f64::abs(difference);
        }
        energies.push(AtEnergy { energy, real: real.len(), fake: fake.len(), observables });
    }
    if energies.is_empty() {
        return Err(Error::data("no incident energy has enough real and generated showers"));
    }
    let count = energies.len() as f64;
    let mean = |value: fn(&Observable) -> f64| {
        std::array::from_fn(|at| {
            energies.iter().map(|energy| value(&energy.observables[at])).sum::<f64>() / count
        })
    };
    Ok(ShowerCard {
        distances: mean(|observable| observable.distance),
        floors: mean(|observable| observable.floor),
        profile: profiles / count,
        energies,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::showers::{parametrised, seen};

    #[test]
    fn the_distance_is_that_of_the_distributions() {
        assert_eq!(wasserstein(&[0.0, 1.0, 2.0], &[5.0, 6.0, 7.0]), 5.0);
        // Three quarters move by 1, one by 3, whatever the sizes.
        let (a, b) = ([0.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 4.0, 1.0, 1.0, 1.0, 4.0]);
        assert!((wasserstein(&a, &b) - 1.5).abs() < 1e-12);
        assert_eq!(wasserstein(&a, &a), 0.0);
    }

    #[test]
    fn observables_are_what_their_formulae_say() {
        let mut image = vec![0.0; LAYERS * VOXELS_A_LAYER];
        // A quarter of the energy in the first layer's first ring, a quarter in the third layer's last.
        (image[0], image[2 * VOXELS_A_LAYER + 4]) = (seen(0.25), seen(0.25));
        let [response, depth, length, width, sparsity] = observables(&image, 1024.0);
        assert!((response - 0.5).abs() < 1e-9 && (depth - 3.0).abs() < 1e-9);
        assert!((length - 2.0).abs() < 1e-9 && (width - 0.5 * (0.075 + 3.0)).abs() < 1e-9);
        assert!((sparsity - 358.0 / 360.0).abs() < 1e-12);
        // Below what is read out.
        assert_eq!(observables(&vec![seen(0.9 / 256.0); 360], 256.0), [0.0, 0.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn real_showers_are_as_near_as_chance_and_wrong_ones_are_not() {
        let (real, again) = (parametrised(6_000, 1).unwrap(), parametrised(6_000, 2).unwrap());
        let classes = real.labels.as_deref().unwrap();
        let same = judge(&real.images, classes, &again.images, classes).unwrap();
        assert_eq!(same.energies.len(), 15);
        for (distance, floor) in same.distances.iter().zip(same.floors) {
            assert!(*distance < 1.5 * floor && *distance < 0.15, "{same:?}");
        }
        assert!(same.profile < 0.03, "{}", same.profile);
        // Each fault moves its own observable by far more than chance does.
        type Fault = fn(usize, f32) -> f32;
        let faults: [(&str, usize, Fault); 3] = [
            ("a tenth less energy", 0, |_, seen| seen * 0.9f32.sqrt()),
            ("no tails", 3, |voxel, seen| if voxel % RINGS == RINGS - 1 { 0.0 } else { seen }),
            ("nothing is empty", 4, |_, seen| seen.max(0.08)),
        ];
        for (what, at, fault) in faults {
            let wrong: Vec<f32> = real
                .images
                .chunks_exact(360)
                .flat_map(|image| {
                    image
                        .iter()
                        .enumerate()
                        .map(|(voxel, seen)| fault(voxel, *seen))
                        .collect::<Vec<_>>()
                })
                .collect();
            let card = judge(&real.images, classes, &wrong, classes).unwrap();
            assert!(card.distances[at] > 5.0 * same.floors[at], "{what}: {card:?}");
        }
        // The other energies' showers.
        let shifted: Vec<u32> = classes.iter().map(|class| (class + 1) % 15).collect();
        let card = judge(&real.images, classes, &real.images, &shifted).unwrap();
        assert!(card.distances[1] > 0.3 && card.profile > 0.2, "{card:?}");
        assert!(judge(&real.images, classes, &[], &[]).is_err());
    }
}

//! Two sets beside each other: all measures that features, or images, allow, as one card.

use super::features::Features;
use super::fid::{FrechetDistance, frechet_distance};
use super::kid::{KernelDistance, Subsets, kernel_distance};
use super::ms_ssim::mean_of_pairs;
use super::neighbours::{Neighbourhoods, neighbourhoods};
use super::wasserstein::{self, SlicedDistance};
use crate::error::{Error, Result};
use crate::health::relative_variety;
use serde::Serialize;

/// k of precision and recall, and of density and coverage, as published.
pub const NEIGHBOURS: [usize; 2] = [3, 5];

/// Pairs whose similarity is averaged.
pub const PAIRS: usize = 1_000;

/// What features say of two sets.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeatureCard {
    /// Who extracted the features.
    pub extractor: String,
    /// Features a sample.
    pub length: usize,
    /// Real samples.
    pub real: usize,
    /// Fake samples.
    pub fake: usize,
    /// FID, where the features are Inception's.
    pub frechet: FrechetDistance,
    /// KID, likewise.
    pub kernel: KernelDistance,
    /// Quality and variety apart; none for sets of fewer than six samples.
    pub neighbours: Option<Neighbourhoods>,
}

/// What pixels say of two sets.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ImageCard {
    /// Images of each kind.
    pub count: usize,
    /// `[height, width, channels]`.
    pub shape: [usize; 3],
    /// Decides patches, directions and pairs.
    pub seed: u64,
    /// The sliced Wasserstein distance; none for images below a patch.
    pub wasserstein: Option<SlicedDistance>,
    /// Pairs whose similarity was averaged.
    pub pairs: usize,
    /// The mean MS-SSIM of pairs of fakes: 1 if all are one.
    pub similarity_fake: f64,
    /// That of pairs of real images: what to aim at.
    pub similarity_real: f64,
    /// The root mean squared distance of two fakes as a share of that of two real ones.
    pub variety: f64,
}

/// Compares features. KID takes 100 subsets of half of the smaller set, at most 1,000.
///
/// Fails when a set has fewer than four samples, or the lengths differ.
pub fn of_features(
    real: &Features,
    fake: &Features,
    extractor: &str,
    seed: u64,
) -> Result<FeatureCard> {
    let least = real.count().min(fake.count());
    if least < 4 {
        return Err(Error::data("features are compared of at least four samples of each kind"));
    }
    let subsets = Subsets { size: (least / 2).min(1_000), seed, ..Subsets::default() };
    let [k, k_dense] = NEIGHBOURS;
    let neighbours =
        if least > k_dense { Some(neighbourhoods(real, fake, k, k_dense)?) } else { None };
    Ok(FeatureCard {
        extractor: extractor.to_owned(),
        length: real.length(),
        real: real.count(),
        fake: fake.count(),
        frechet: frechet_distance(real, fake)?,
        kernel: kernel_distance(real, fake, subsets)?,
        neighbours,
    })
}

/// Compares as many real images as fakes, `[count, height, width, channels]`, values in [0, 1].
///
/// Fails when they are not of one shape, or fewer than two.
pub fn of_images(real: &[f32], fake: &[f32], shape: [usize; 4], seed: u64) -> Result<ImageCard> {
    let [count, height, width, channels] = shape;
    let similarity = |images: &[f32]| mean_of_pairs(images, shape, 1.0, PAIRS, seed);
    let fits = !wasserstein::sizes([height, width]).is_empty();
    Ok(ImageCard {
        count,
        shape: [height, width, channels],
        seed,
        wasserstein: match fits {
            true => Some(wasserstein::of_images(real, fake, shape, seed)?),
            false => None,
        },
        pairs: PAIRS,
        similarity_fake: similarity(fake)?,
        similarity_real: similarity(real)?,
        variety: relative_variety(real, fake, height * width * channels)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{ValueRange, mnist};

    #[test]
    fn real_digits_are_nearer_to_real_digits_than_repeated_or_inverted_ones() {
        let data = mnist::embedded().unwrap().dataset(ValueRange::Unit).unwrap();
        let part = |start: usize| &data.images[start * 784..(start + 100) * 784];
        let shape = [100, 28, 28, 1];
        let like = of_images(part(0), part(100), shape, 1).unwrap();
        let one = part(7)[..784].repeat(100);
        let collapsed = of_images(part(0), &one, shape, 1).unwrap();
        let inverse: Vec<f32> = part(100).iter().map(|value| 1.0 - value).collect();
        let wrong = of_images(part(0), &inverse, shape, 1).unwrap();
        let distance = |card: &ImageCard| card.wasserstein.as_ref().unwrap().mean;
        assert!(distance(&like) < 0.5 * distance(&collapsed).min(distance(&wrong)));
        assert!((collapsed.similarity_fake - 1.0).abs() < 1e-9 && collapsed.variety == 0.0);
        assert!(like.similarity_fake < 0.5 && (like.variety - 1.0).abs() < 0.1, "{like:?}");
    }

    #[test]
    fn small_sets_say_what_they_can() {
        let rows = |count: usize, shift: f64| {
            let values = (0..count).map(|index| index as f64 + shift).collect();
            Features::new(values, 1).unwrap()
        };
        let card = of_features(&rows(5, 0.0), &rows(9, 0.0), "numbers", 1).unwrap();
        assert!(card.neighbours.is_none() && card.kernel.subsets.size == 2);
        let card = of_features(&rows(9, 0.0), &rows(9, 0.0), "numbers", 1).unwrap();
        assert_eq!(card.neighbours.map(|found| found.precision), Some(1.0));
        assert!(of_features(&rows(3, 0.0), &rows(9, 0.0), "numbers", 1).is_err());
    }
}

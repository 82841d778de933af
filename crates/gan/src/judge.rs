//! The judge of samples: numbers that say whether a generator learned what its recipe is about.
//!
//! | recipe's data | judged by | file |
//! |---|---|---|
//! | digits | a classifier trained on real digits with this very code | [`classifier`], [`digits`] |
//! | images of classes asked for | the same, trained on the labelled images | [`classifier`], [`classes`] |
//! | points on a sine | their distance from the curve, and how much of it they cover | [`points`] |
//! | circles turned into squares | what the shapes cover, where they are and their colours | [`geometry`] |
//! | calorimeter showers | moments that physicists look at, energy by energy | [`showers`] |
//! | vertical lines | variance between columns against variance within | [`lines`] |
//!
//! Any images or features, a data set beside samples:
//!
//! | question | measure | file |
//! |---|---|---|
//! | are they alike as a whole? | Fréchet distance (FID), kernel distance (KID) of features | [`fid`], [`kid`] |
//! | good, varied, or both? | precision, recall, density, coverage of features | [`neighbours`] |
//! | are they alike patch by patch? | sliced Wasserstein distance (SWD) | [`wasserstein`] |
//! | do samples repeat themselves? | mean MS-SSIM of pairs | [`ms_ssim`] |
//! | are all classes there, as often as in the data? | modes, divergence of histograms | [`modes`] |
//! | is it the image that it should be? | PSNR, SSIM | [`psnr`] |
//!
//! [`comparison`] puts them together; [`features`] holds what features are, [`symmetric`] the eigenvalues that a Fréchet distance needs.
//!
//! A generator never sees its judge, and each judge is checked on samples whose verdict is known beforehand.

pub mod classes;
pub mod classifier;
pub mod comparison;
pub mod digits;
pub mod features;
pub mod fid;
pub mod geometry;
pub mod kid;
pub mod lines;
pub mod modes;
pub mod ms_ssim;
pub mod neighbours;
pub mod points;
pub mod psnr;
pub mod showers;
pub mod symmetric;
pub mod wasserstein;

use crate::error::{Error, Result};
use crate::pair::Pair;
use crate::run::noise_for;
use belamy_tensor::Tensor;

/// Samples that are drawn and judged at a time: bounds the memory, changes no number.
const AT_ONCE: usize = 250;

/// Draws `count` samples of a pair's generator for noise of a seed (labels in turn where there are classes), by the
/// running statistics, and shows them to `look` batch by batch, `[N, ..]`, in order. Returns the labels asked for, none
/// where there are no classes.
pub fn draw(
    pair: &mut Pair,
    count: usize,
    seed: u64,
    mut look: impl FnMut(&Tensor) -> Result<()>,
) -> Result<Option<Vec<u32>>> {
    let (noise, labels) = noise_for(pair, count, seed)?;
    let labels = labels.map(|labels| labels.to_vec::<u32>()).transpose()?;
    for start in (0..count).step_by(AT_ONCE) {
        let length = AT_ONCE.min(count - start);
        let labels = match &labels {
            Some(labels) => {
                let part = &labels[start..start + length];
                Some(Tensor::from_slice(part, [length], pair.device())?)
            }
            None => None,
        };
        look(&pair.sample(start, &noise.slice(0, start, length)?, labels.as_ref())?)?;
    }
    Ok(labels)
}

/// Refuses to judge nothing.
fn some(count: usize) -> Result<f64> {
    if count == 0 {
        return Err(Error::data("there is no sample to judge"));
    }
    Ok(count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Recipe;
    use belamy_tensor::DType;

    #[test]
    fn samples_are_those_of_the_whole_batch_in_order() {
        let device = belamy_cpu::cpu();
        let recipe = Recipe::named("sine").unwrap();
        let mut pair = Pair::new(recipe, 3, DType::F32, &device).unwrap();
        let count = 2 * AT_ONCE + 7;
        let mut values = Vec::new();
        let mut batches = Vec::new();
        draw(&mut pair, count, 5, |samples| {
            batches.push(samples.dims()[0]);
            values.extend(samples.to_f64()?);
            Ok(())
        })
        .unwrap();
        assert_eq!(batches, [AT_ONCE, AT_ONCE, 7]);
        let (noise, _) = noise_for(&pair, count, 5).unwrap();
        let whole = pair.sample(0, &noise, None).unwrap().to_f64().unwrap();
        assert_eq!(values.len(), whole.len());
        assert!(values.iter().zip(&whole).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}

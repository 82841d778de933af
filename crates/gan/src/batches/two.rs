//! Batches of images of two kinds.

use super::{Batch, Batches, SHUFFLE_STREAM, even_odds, mirrored, samples_on_device};
use crate::data::two::Two;
use crate::error::{Error, Result};
use crate::recipe::Recipe;
use belamy_nn::Context;
use belamy_tensor::ops::gather::gather_rows;
use belamy_tensor::ops::pointwise::select;
use belamy_tensor::ops::random::{self, Shuffle};
use belamy_tensor::{DType, Device, Tensor};

/// Batches of a recipe's images of two kinds on a device.
///
/// Images that belong together are shuffled, cropped and mirrored together; others each for themselves. A crop's place
/// is drawn once for a whole batch.
#[derive(Debug)]
pub struct TwoBatches {
    images: [Tensor; 2],
    shown: [Tensor; 2],
    paired: bool,
    batch: usize,
    /// Sides of the crop where images are larger, for each kind.
    jittered: Option<usize>,
    mirror: bool,
}

impl TwoBatches {
    /// Puts images of two kinds on the device. Fails when they are not of the recipe's size and range.
    pub fn new(recipe: &Recipe, two: &Two, dtype: DType, device: &Device) -> Result<TwoBatches> {
        let jittered = (recipe.jitter > recipe.side).then_some(recipe.side);
        let found = [&two.first.shape, &two.second.shape];
        let wanted = recipe.two_shapes();
        for (found, wanted) in found.into_iter().zip(wanted) {
            if found[1..] != wanted {
                let message = format!(
                    "recipe {} takes images of {wanted:?}, the data are {:?}",
                    recipe.name,
                    &found[1..]
                );
                return Err(Error::data(message));
            }
        }
        if two.first.range != recipe.range || two.second.range != recipe.range {
            let message = format!("recipe {} takes another range of values", recipe.name);
            return Err(Error::data(message));
        }
        let on = |data: &crate::data::Dataset| samples_on_device(data, &data.shape, dtype, device);
        let centred = |images: Tensor| -> Result<Tensor> {
            let Some(side) = jittered else { return Ok(images) };
            let &[n, h, w, c] = images.dims() else { return Err(Error::data("no images")) };
            Ok(images.crop(&[0, (h - side) / 2, (w - side) / 2, 0], &[n, side, side, c])?)
        };
        Ok(TwoBatches {
            images: [on(&two.first)?, on(&two.second)?],
            shown: [centred(on(&two.shown[0])?)?, centred(on(&two.shown[1])?)?],
            paired: two.paired,
            batch: recipe.batch,
            jittered,
            mirror: recipe.mirror,
        })
    }

    /// Images of each kind to show results on.
    pub fn shown(&self) -> [Tensor; 2] {
        self.shown.clone()
    }

    fn drawn(&self, kind: usize, stream: u32, cx: &Context) -> Result<Tensor> {
        let shuffle = Shuffle {
            count: self.images[kind].dims()[0] as u32,
            global_batch: self.batch as u32,
            draw: 0,
            draws: 1,
        };
        let key = cx.key(SHUFFLE_STREAM + stream);
        let indices = random::shuffled_indices(self.batch, shuffle, key, cx.counter())?;
        Ok(gather_rows(&self.images[kind], &indices)?)
    }
}

impl Batches for TwoBatches {
    fn real(&mut self, _draw: usize, _cx: &mut Context) -> Result<Batch> {
        Err(Error::data("these data are of two kinds, not of one"))
    }

    fn noise(&mut self, _cx: &mut Context) -> Result<Batch> {
        Err(Error::data("a generator of images from images takes no noise"))
    }

    fn two(&mut self, cx: &mut Context) -> Result<[Tensor; 2]> {
        // One order for what belongs together; whether it does is also whether one choice serves both.
        let mut two = [self.drawn(0, 0, cx)?, self.drawn(1, u32::from(!self.paired), cx)?];
        if let Some(side) = self.jittered {
            let mut places = [self.place(side, cx)?, self.place(side, cx)?];
            if self.paired {
                places[1] = places[0].clone();
            }
            for (images, [rows, columns]) in two.iter_mut().zip(places) {
                *images = cropped(images, &rows, &columns)?;
            }
        }
        if self.mirror {
            let dtype = two[0].dtype();
            let mut coins = [even_odds(self.batch, dtype, cx)?, even_odds(self.batch, dtype, cx)?];
            if self.paired {
                coins[1] = coins[0].clone();
            }
            for (images, coin) in two.iter_mut().zip(&coins) {
                *images = select(coin, &mirrored(images)?, images)?;
            }
        }
        Ok(two)
    }

    fn count(&self) -> Option<usize> {
        Some(self.images[0].dims()[0])
    }
}

impl TwoBatches {
    /// The rows and the columns of a crop at random, each `side` running numbers.
    fn place(&self, side: usize, cx: &mut Context) -> Result<[Tensor; 2]> {
        let extent = self.images[0].dims()[1];
        let starts = extent - side + 1;
        let running: Vec<u32> = (0..starts as u32).flat_map(|at| at..at + side as u32).collect();
        let device = self.images[0].device();
        let running = Tensor::from_slice(&running, [starts, side], device)?;
        let mut axis = || -> Result<Tensor> {
            let key = cx.next_key();
            let start = random::integers([1], starts as u32, key, cx.counter())?;
            Ok(gather_rows(&running, &start)?.reshape([side])?)
        };
        Ok([axis()?, axis()?])
    }
}

/// The given rows and columns of each image `[N, H, W, C]`.
fn cropped(images: &Tensor, rows: &Tensor, columns: &Tensor) -> Result<Tensor> {
    let &[n, h, w, c] = images.dims() else { return Err(Error::data("only images are cropped")) };
    let (tall, wide) = (rows.dims()[0], columns.dims()[0]);
    let by_row = images.permute(&[1, 2, 0, 3])?.reshape([h, w * n * c])?;
    let by_row = gather_rows(&by_row, rows)?.reshape([tall, w, n, c])?;
    let by_column = by_row.permute(&[1, 0, 2, 3])?.reshape([w, tall * n * c])?;
    let by_column = gather_rows(&by_column, columns)?.reshape([wide, tall, n, c])?;
    Ok(by_column.permute(&[2, 1, 0, 3])?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Dataset, ValueRange};

    /// Images whose pixel is (1000 · index + 40 · y + x) and the same negated.
    fn two(count: usize, side: usize, paired: bool) -> Two {
        let values: Vec<f32> = (0..count * side * side)
            .flat_map(|at| {
                let (index, y, x) = (at / (side * side), at / side % side, at % side);
                [(1000 * index + 40 * y + x) as f32; 3]
            })
            .collect();
        let negated = values.iter().map(|value| -value).collect();
        let data = |values| {
            Dataset::new(values, &[count, side, side, 3], None, ValueRange::Signed).unwrap()
        };
        let (first, second) = (data(values), data(negated));
        Two { shown: [first.clone(), second.clone()], first, second, paired }
    }

    fn recipe(jitter: usize) -> Recipe {
        let mut recipe = Recipe::named("pix2pix").unwrap();
        (recipe.side, recipe.jitter, recipe.batch) = (32, jitter, 4);
        recipe
    }

    fn steps(recipe: &Recipe, two: &Two, count: u32) -> Vec<[Vec<f64>; 2]> {
        let device = belamy_cpu::cpu();
        let mut batches = TwoBatches::new(recipe, two, DType::F32, &device).unwrap();
        (0..count)
            .map(|step| {
                let mut cx = Context::train(1, step, 0, &device).unwrap();
                batches.two(&mut cx).unwrap().map(|images| images.to_f64().unwrap())
            })
            .collect()
    }

    #[test]
    fn what_belongs_together_is_cropped_and_mirrored_together() {
        let (mut mirrored, mut starts) = (0, std::collections::HashSet::new());
        for [input, target] in steps(&recipe(38), &two(6, 38, true), 30) {
            assert_eq!(input.len(), 4 * 32 * 32 * 3);
            assert!(input.iter().zip(&target).all(|(a, b)| *a == -b));
            for image in input.chunks(32 * 32 * 3) {
                let (first, next, below) = (image[0], image[3], image[32 * 3]);
                assert_eq!((first - below).abs(), 40.0);
                let turned = next - first == -1.0;
                mirrored += usize::from(turned);
                let left = if turned { image[31 * 3] } else { first };
                starts.insert((left % 1000.0) as i64);
            }
        }
        assert!((30..90).contains(&mirrored), "{mirrored} of 120 are mirrored");
        assert!(starts.len() > 15, "{} places of 49", starts.len());
    }

    #[test]
    fn an_epoch_visits_each_image_once_and_kinds_apart_have_orders_apart() {
        let mut recipe = recipe(0);
        (recipe.batch, recipe.mirror) = (2, false);
        let order = |paired: bool| -> [Vec<i64>; 2] {
            let all = steps(&recipe, &two(6, 32, paired), 3);
            [0, 1].map(|kind| {
                let firsts = all.iter().flat_map(|two| two[kind].iter().step_by(32 * 32 * 3));
                firsts.map(|value| (value.abs() / 1000.0) as i64).collect()
            })
        };
        let [first, second] = order(true);
        assert_eq!(first, second);
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 1, 2, 3, 4, 5]);
        let [again, other] = order(false);
        assert_eq!(first, again);
        assert_ne!(other, again);
    }

    #[test]
    fn images_of_another_size_or_range_are_refused() {
        let device = belamy_cpu::cpu();
        let refuse = |recipe: &Recipe| {
            TwoBatches::new(recipe, &two(2, 38, true), DType::F32, &device).unwrap_err().to_string()
        };
        assert!(refuse(&recipe(0)).contains("takes images of [32, 32, 3]"));
        let mut other = recipe(38);
        other.range = ValueRange::Unit;
        assert!(refuse(&other).contains("another range"));
    }
}

//! Runs whose generators make images from images, against the images that they should make.

use super::card::{Card, Real, Targets};
use super::{Arguments, compared};
use crate::failure::{Failure, Result};
use crate::progress::Waiting;
use belamy_gan::data::image::Image;
use belamy_gan::data::{Dataset, ValueRange, folder};
use belamy_gan::ensemble::Ensemble;
use belamy_gan::judge::geometry::{self, Form, GeometryCard};
use belamy_gan::judge::psnr::{Likeness, SHAVE, of_luminance};
use belamy_gan::recipe::{Recipe, Source};
use belamy_gan::run::{self, Plan};
use belamy_gan::source::{self, Material};
use belamy_tensor::{Device, Tensor};
use std::path::{Path, PathBuf};

/// Super-resolution enlarges by this.
const FACTOR: usize = 4;

/// What is added up over images.
#[derive(Default)]
struct Sums {
    images: usize,
    difference: f64,
    psnr: f64,
    ssim: f64,
}

impl Sums {
    fn add(&mut self, made: &Image, target: &Image, shave: usize) -> Result<()> {
        let likeness = of_luminance(target, made, shave)?;
        let differences =
            made.bytes.iter().zip(&target.bytes).map(|(a, b)| f64::from(a.abs_diff(*b)));
        self.difference += differences.sum::<f64>() / (255.0 * made.bytes.len() as f64);
        self.psnr += likeness.psnr;
        self.ssim += likeness.ssim;
        self.images += 1;
        Ok(())
    }

    fn likeness(&self) -> Likeness {
        let count = self.images as f64;
        Likeness { psnr: self.psnr / count, ssim: self.ssim / count }
    }

    fn targets(&self, shave: usize, bicubic: Option<Likeness>) -> Targets {
        let Likeness { psnr, ssim } = self.likeness();
        let mean_difference = self.difference / self.images as f64;
        Targets { images: self.images, mean_difference, psnr, ssim, shave, bicubic }
    }
}

pub(super) fn of_run(
    path: &Path,
    plan: &Plan,
    arguments: &Arguments,
    device: &Device,
) -> Result<Card> {
    let recipe = &plan.recipe;
    let mut ensemble = run::open_ensemble(path, plan, device)?;
    let trained_on = (plan.data != Path::new("")).then_some(&plan.data);
    let place = arguments.data.as_ref().or(trained_on);
    let card = Card {
        subject: path.display().to_string(),
        recipe: Some(recipe.name.clone()),
        step: Some(belamy_gan::trainer::Trainer::steps_made(&ensemble)),
        ..Card::default()
    };
    if recipe.source == Source::SuperResolution {
        let place = place.ok_or_else(|| Failure::usage("give whole photographs by --data"))?;
        return enlarged(&mut ensemble, place, arguments, device, card);
    }
    // Made pairs are drawn anew by --seed, so that they were not seen in training.
    let seed = if recipe.source.is_made() { plan.seed ^ (arguments.seed << 32) } else { plan.seed };
    let place = place.map(PathBuf::as_path).filter(|_| !recipe.source.is_made());
    let Material::Two(two) = source::material(recipe, place, seed)? else {
        return Err(Failure::usage(format!("recipe {} has no images of two kinds", recipe.name)));
    };
    let side = recipe.side;
    let (inputs, targets) = (brought(&two.first, side)?, brought(&two.second, side)?);
    let count = inputs.samples().min(arguments.n);
    let made = made(&mut ensemble, 0, &inputs, count, device)?;
    let real = Real {
        data: place.map_or("made from the seed".to_owned(), |place| place.display().to_string()),
        digest: Some(two.digest()),
        samples: targets.samples(),
    };
    let shape = [side, side, recipe.channels];
    let unit = |values: &[f32], range| super::brought(values, range, ValueRange::Unit);
    let real_unit = unit(&targets.images, targets.range);
    let real_unit = Dataset::new(real_unit, &targets.shape, None, ValueRange::Unit)?;
    let fake_unit = unit(&made, recipe.range);
    let images =
        if count > 1 { Some(compared(&real_unit, &fake_unit, shape, arguments)?) } else { None };
    let mut sums = Sums::default();
    if two.paired {
        let elements = side * side * recipe.channels;
        for (made, target) in made.chunks_exact(elements).zip(targets.images.chunks_exact(elements))
        {
            let (made, target) =
                (image(made, shape, recipe.range), image(target, shape, recipe.range));
            sums.add(&made, &target, 0)?;
        }
    }
    let mut geometry = Vec::new();
    if recipe.source == Source::CirclesSquares {
        let back = self::made(&mut ensemble, 2, &targets, count, device)?;
        geometry = vec![
            turned(&inputs, &made, recipe, Form::Square)?,
            turned(&targets, &back, recipe, Form::Disc)?,
        ];
    }
    Ok(Card {
        geometry,
        samples: count,
        preprocessing: format!("brought to {side}×{side}; compared as bytes"),
        real: Some(real),
        images,
        targets: two.paired.then(|| sums.targets(0, None)),
        ..card
    })
}

/// The centres of a data set's images, of a side.
fn brought(data: &Dataset, side: usize) -> Result<Dataset> {
    let &[count, height, width, channels] = &data.shape[..] else {
        return Err(Failure::new("the data hold no images"));
    };
    if (height, width) == (side, side) {
        return Ok(data.clone());
    }
    if height < side || width < side {
        let message = format!("the data's images are {height}×{width}, not {side}×{side}");
        return Err(Failure::new(message));
    }
    let (top, left) = ((height - side) / 2, (width - side) / 2);
    let mut images = Vec::with_capacity(count * side * side * channels);
    for image in data.images.chunks_exact(height * width * channels) {
        for y in top..top + side {
            images.extend_from_slice(&image[(y * width + left) * channels..][..side * channels]);
        }
    }
    Ok(Dataset::new(images, &[count, side, side, channels], None, data.range)?)
}

/// What became of the shapes of the first inputs.
fn turned(inputs: &Dataset, made: &[f32], recipe: &Recipe, wanted: Form) -> Result<GeometryCard> {
    let shape = [recipe.side, recipe.side, recipe.channels];
    let images = |values: &[f32], range| -> Vec<Image> {
        values
            .chunks_exact(shape.iter().product())
            .map(|values| image(values, shape, range))
            .collect()
    };
    let after = images(made, recipe.range);
    let before = images(&inputs.images[..made.len()], inputs.range);
    Ok(geometry::judge(&before, &after, wanted)?)
}

/// What a generator (by its number among the players) makes of the first inputs, a few at a time.
fn made(
    ensemble: &mut Ensemble,
    generator: usize,
    inputs: &Dataset,
    count: usize,
    device: &Device,
) -> Result<Vec<f32>> {
    let mut waiting = Waiting::on("making images");
    let mut values = Vec::new();
    let elements = inputs.sample_elements();
    for start in (0..count).step_by(8) {
        let part = &inputs.images[start * elements..(start + 8).min(count) * elements];
        let samples = part.len() / elements;
        let [height, width, channels] = [inputs.shape[1], inputs.shape[2], inputs.shape[3]];
        let tensor = Tensor::from_slice(part, [samples, height, width, channels], device)?;
        let made = ensemble.translate(generator, &tensor)?;
        values.extend(made.to_f64()?.into_iter().map(|value| value as f32));
        waiting.reached((start + samples) as u64, count as u64);
    }
    Ok(values)
}

/// Numbers of a range as an image.
fn image(values: &[f32], [height, width, channels]: [usize; 3], range: ValueRange) -> Image {
    // A number that is none is black: it cannot be like the target.
    let bytes = values.iter().map(|&value| range.to_byte(value).unwrap_or(0)).collect();
    Image { width, height, channels, bytes }
}

/// Whole photographs, shrunk by bicubic ×4 and enlarged by the generator, and by bicubic ×4 for comparison.
fn enlarged(
    ensemble: &mut Ensemble,
    place: &Path,
    arguments: &Arguments,
    device: &Device,
    card: Card,
) -> Result<Card> {
    let recipe = belamy_gan::trainer::Trainer::recipe(ensemble).clone();
    let mut waiting = Waiting::on("enlarging images");
    let (mut sums, mut plain) = (Sums::default(), Sums::default());
    let (places, _) = folder::find(place)?;
    let count = places.len().min(arguments.n);
    for (index, place) in places.into_iter().take(count).enumerate() {
        let whole = place.decode()?;
        let (width, height) = (whole.width / FACTOR * FACTOR, whole.height / FACTOR * FACTOR);
        if width == 0 || height == 0 {
            continue;
        }
        let mut target = whole.part(0, 0, width, height);
        if target.channels == 1 {
            target.bytes = target.bytes.iter().flat_map(|&byte| [byte; 3]).collect();
            target.channels = 3;
        }
        let small = target.bicubic(width / FACTOR, height / FACTOR);
        plain.add(&small.bicubic(width, height), &target, SHAVE)?;
        let values: Vec<f32> =
            small.bytes.iter().map(|&byte| recipe.range.from_byte(byte)).collect();
        let tensor = Tensor::from_slice(&values, [1, small.height, small.width, 3], device)?;
        let made = ensemble.translate(0, &tensor)?.to_f64()?;
        let made: Vec<f32> = made.into_iter().map(|value| value as f32).collect();
        sums.add(&image(&made, [height, width, 3], recipe.range), &target, SHAVE)?;
        waiting.reached(index as u64 + 1, count as u64);
    }
    if sums.images == 0 {
        return Err(Failure::new(format!("{}: no image can be enlarged", place.display())));
    }
    Ok(Card {
        samples: sums.images,
        preprocessing: format!(
            "cropped to multiples of {FACTOR}, shrunk by MATLAB-style bicubic ×{FACTOR}; Y of BT.601"
        ),
        real: Some(Real { data: place.display().to_string(), digest: None, samples: sums.images }),
        targets: Some(sums.targets(SHAVE, Some(plain.likeness()))),
        ..card
    })
}

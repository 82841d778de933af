//! Finding a recipe's data.

use crate::data::{Dataset, folder, idx, mnist, synthetic};
use crate::error::{Error, Result};
use crate::networks::System;
use crate::recipe::{Recipe, Source};
use std::path::Path;

/// The data set of a recipe: made from the seed, built in, or read from `path`; none for endless sources.
///
/// Fails when a path is missing where one is needed, given where none is taken, or holds something else.
pub fn load(recipe: &Recipe, path: Option<&Path>, seed: u64) -> Result<Option<Dataset>> {
    let data = match (recipe.source, path) {
        (Source::Sine | Source::Lines, Some(path)) => {
            let message = format!(
                "recipe {} makes its data from the seed; leave --data {} out",
                recipe.name,
                path.display()
            );
            return Err(Error::data(message));
        }
        (Source::Sine, None) => return Ok(None),
        (Source::Lines, None) => synthetic::vertical_lines(recipe.samples, seed)?,
        (Source::Mnist, None) => mnist::embedded()?.dataset(recipe.range)?,
        (Source::Mnist, Some(path)) => digits(recipe, path)?,
        (Source::Images, None) => {
            let message = format!("recipe {} needs images: give a folder with --data", recipe.name);
            return Err(Error::data(message));
        }
        (Source::Images, Some(path)) => {
            let side = image_side(recipe.system);
            folder::load(path, side, 3, recipe.range)?
        }
    };
    Ok(Some(limited(data, recipe)?))
}

/// The side of the images that a system takes from a folder.
fn image_side(system: System) -> usize {
    match system {
        System::Dcgan64 | System::ConditionalSigns64 => 64,
        System::LinesUpsample | System::LinesTranspose => 32,
        System::MnistMlp | System::MnistDcgan | System::Sine => 28,
    }
}

/// A folder with MNIST's files (the 60,000 training digits if they are there), or one idx file of images.
fn digits(recipe: &Recipe, path: &Path) -> Result<Dataset> {
    if path.is_dir() {
        let part = match mnist::is_present(path, mnist::Part::Train) {
            false if mnist::is_present(path, mnist::Part::Test) => mnist::Part::Test,
            _ => mnist::Part::Train,
        };
        return mnist::load(path, part)?.dataset(recipe.range);
    }
    let file = idx::read(path)?;
    let &[count, height, width] = &file.dims[..] else {
        let what = format!("it holds an array of shape {:?}, not images", file.dims);
        return Err(Error::file(path, what));
    };
    Dataset::from_bytes(&file.bytes, &[count, height, width, 1], None, recipe.range)
}

/// The first `samples` of a data set, if the recipe asks for fewer than there are.
fn limited(data: Dataset, recipe: &Recipe) -> Result<Dataset> {
    let wanted = recipe.samples;
    if wanted == 0 || wanted == data.samples() {
        return Ok(data);
    }
    if wanted > data.samples() {
        let message = format!("samples={wanted}, but the data hold {}", data.samples());
        return Err(Error::data(message));
    }
    let images = data.images[..wanted * data.sample_elements()].to_vec();
    let shape: Vec<usize> =
        std::iter::once(wanted).chain(data.shape[1..].iter().copied()).collect();
    let labels = data.labels.map(|labels| labels[..wanted].to_vec());
    Dataset::new(images, &shape, labels, data.range)
}

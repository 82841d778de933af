//! Finding a recipe's data.

use crate::data::two::{self, Form, Two};
use crate::data::{Dataset, cifar, folder, hdf5, idx, mnist, showers, synthetic};
use crate::error::{Error, Result};
use crate::networks::{SUPER_RESOLUTION, System};
use crate::recipe::{RECIPES, Recipe, Source};
use std::path::Path;

/// What a recipe trains on.
#[allow(clippy::large_enum_variant, reason = "a run has one")]
#[derive(Debug, Clone)]
pub enum Material {
    /// Samples without end, made as they are drawn.
    Endless,
    /// A data set.
    Samples(Dataset),
    /// Images of two kinds.
    Two(Box<Two>),
}

impl Material {
    /// Says whether two runs saw the same data; empty for endless sources.
    pub fn digest(&self) -> String {
        match self {
            Material::Endless => String::new(),
            Material::Samples(data) => data.digest.clone(),
            Material::Two(two) => two.digest(),
        }
    }

    /// How many samples make an epoch; `None` where they never end.
    pub fn samples(&self) -> Option<usize> {
        match self {
            Material::Endless => None,
            Material::Samples(data) => Some(data.samples()),
            Material::Two(two) => Some(two.samples()),
        }
    }
}

/// What a recipe trains on: made from the seed, built in, or read from `path`.
///
/// Fails when a path is missing where one is needed, given where none is taken, or holds something else.
pub fn material(recipe: &Recipe, path: Option<&Path>, seed: u64) -> Result<Material> {
    if recipe.source.is_two() {
        return Ok(Material::Two(Box::new(two_kinds(recipe, path, seed)?)));
    }
    Ok(load(recipe, path, seed)?.map_or(Material::Endless, Material::Samples))
}

/// The data set of a recipe of one kind of samples: made from the seed, built in, or read from `path`; none for
/// endless sources.
///
/// Fails when a path is missing where one is needed, given where none is taken, or holds something else.
pub fn load(recipe: &Recipe, path: Option<&Path>, seed: u64) -> Result<Option<Dataset>> {
    if recipe.source.is_two() {
        let message = format!("the data of recipe {} are of two kinds", recipe.name);
        return Err(Error::data(message));
    }
    refuse_path(recipe, path)?;
    let data = match (recipe.source, path) {
        (Source::Sine, _) => return Ok(None),
        (Source::Lines, _) => synthetic::vertical_lines(recipe.samples, seed)?,
        (Source::Mnist, None) => mnist::embedded()?.dataset(recipe.range)?,
        (Source::Mnist, Some(path)) => digits(recipe, path)?,
        (Source::Showers, None) => showers::parametrised(recipe.samples.max(1), seed)?,
        (Source::Showers, Some(path)) => hdf5::load(path)?,
        (Source::Cifar, path) => cifar::load(needed(recipe, path)?, recipe.class, recipe.range)?,
        (_, path) => {
            let (side, channels) = image_extents(recipe);
            folder::load(needed(recipe, path)?, side, channels, recipe.range)?
        }
    };
    Ok(Some(limited(data, recipe)?))
}

/// Images of two kinds, made from the seed or read.
fn two_kinds(recipe: &Recipe, path: Option<&Path>, seed: u64) -> Result<Two> {
    refuse_path(recipe, path)?;
    let form = Form {
        side: recipe.side.max(recipe.jitter),
        input_channels: recipe.input_channels,
        channels: recipe.channels,
        range: recipe.range,
    };
    match recipe.source {
        Source::CirclesRectangles => two::circles_and_rectangles(recipe.samples, seed, form),
        Source::CirclesSquares => two::circles_and_squares(recipe.samples, seed, form),
        Source::GreyToColour => two::grey_to_colour(needed(recipe, path)?, form),
        Source::TwoFolders => two::two_folders(needed(recipe, path)?, form),
        Source::SuperResolution => {
            two::super_resolution(needed(recipe, path)?, SUPER_RESOLUTION, recipe.samples, form)
        }
        _ => two::side_by_side(needed(recipe, path)?, form),
    }
}

fn refuse_path(recipe: &Recipe, path: Option<&Path>) -> Result<()> {
    match path {
        Some(path) if recipe.source.is_made() => Err(Error::data(format!(
            "recipe {} makes its data from the seed; leave --data {} out",
            recipe.name,
            path.display()
        ))),
        _ => Ok(()),
    }
}

fn needed<'a>(recipe: &Recipe, path: Option<&'a Path>) -> Result<&'a Path> {
    path.ok_or_else(|| {
        let what = RECIPES.iter().find(|entry| entry.name == recipe.name);
        let what = what.map_or("a folder", |entry| entry.data);
        Error::data(format!("recipe {} needs images: give with --data {what}", recipe.name))
    })
}

/// The side and the channels of the images that a system of one kind takes from a folder.
fn image_extents(recipe: &Recipe) -> (usize, usize) {
    match recipe.system {
        System::Dcgan64 | System::ConditionalSigns64 => (64, 3),
        System::Faces => (recipe.side, 3),
        System::CifarDcgan => (32, 3),
        System::ConditionalGrey => (recipe.side, 1),
        System::LinesUpsample | System::LinesTranspose => (32, 1),
        _ => (28, 1),
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

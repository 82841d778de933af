//! The real data of the lectures' systems are read as their recipes read them: kinds, counts and places of pixels.
//! Skipped by name where `BELAMY_DATA` is not set.

use belamy_gan::data::{cifar, folder};
use belamy_gan::recipe::Recipe;
use belamy_gan::source::{self, Material};
use std::io::Write;
use std::path::PathBuf;

fn data(test: &str) -> Option<PathBuf> {
    let found = std::env::var_os("BELAMY_DATA").map(PathBuf::from);
    if found.is_none() {
        let required = std::env::var("BELAMY_REQUIRE").unwrap_or_default();
        assert!(!required.split(',').any(|name| name.trim() == "data"), "BELAMY_DATA is not set");
        let _ = writeln!(std::io::stdout().lock(), "skipped: {test}: BELAMY_DATA is not set");
    }
    found
}

/// A recipe's material, at a side that is quick to read.
fn material(name: &str, side: usize, path: PathBuf) -> Material {
    let mut recipe = Recipe::named(name).unwrap();
    if recipe.side > 0 {
        (recipe.side, recipe.jitter) = (side, 0);
    }
    source::material(&recipe, Some(&path), 1).unwrap()
}

fn shapes(material: &Material) -> [Vec<usize>; 4] {
    let Material::Two(two) = material else { panic!("these data are of two kinds") };
    [&two.first, &two.second, &two.shown[0], &two.shown[1]].map(|data| data.shape.clone())
}

#[test]
fn samples_of_one_kind() {
    let Some(data) = data("samples_of_one_kind") else { return };
    let signs = material("signs", 32, data.join("lecture/signs.zip"));
    assert_eq!(signs.samples(), Some(1500));
    let horses = material("cifar-dcgan", 32, data.join("cifar-10-batches-bin"));
    assert_eq!(horses.samples(), Some(1000));
    let all = cifar::load(
        data.join("cifar-10-batches-bin"),
        cifar::CLASSES,
        belamy_gan::data::ValueRange::Unit,
    );
    assert_eq!(all.unwrap().classes, 10);
    let faces = material("faces32", 32, data.join("caltech-faces"));
    assert_eq!(faces.samples(), Some(435));
    // Sub-folders are classes in the order of their names: 1, 14, 15, 16, 7.
    let (places, labels) = folder::find(&data.join("gtsrb/train")).unwrap();
    let mut counts = [0; 5];
    labels.unwrap().iter().for_each(|&label| counts[label as usize] += 1);
    assert_eq!((places.len(), counts), (2900, [740, 390, 630, 420, 720]));
}

#[test]
fn images_of_two_kinds() {
    let Some(data) = data("images_of_two_kinds") else { return };
    let facades = material("pix2pix", 32, data.join("facades"));
    let expected =
        [vec![120, 32, 32, 3], vec![120, 32, 32, 3], vec![8, 32, 32, 3], vec![8, 32, 32, 3]];
    assert_eq!(shapes(&facades), expected);
    let horses = material("cyclegan", 32, data.join("horse2zebra"));
    let expected =
        [vec![80, 32, 32, 3], vec![80, 32, 32, 3], vec![8, 32, 32, 3], vec![8, 32, 32, 3]];
    assert_eq!(shapes(&horses), expected);
    let grey = material("colorize", 32, data.join("caltech-faces"));
    let expected =
        [vec![427, 32, 32, 1], vec![427, 32, 32, 3], vec![8, 32, 32, 1], vec![8, 32, 32, 3]];
    assert_eq!(shapes(&grey), expected);
    let crops = shapes(&material("srgan", 96, data.join("sr/Set5")));
    assert_eq!((&crops[0][1..], &crops[1][1..]), (&[24, 24, 3][..], &[96, 96, 3][..]));
    assert!(crops[0][0] > 50 && crops[2][0] == 8, "{crops:?}");
}

#[test]
fn a_facades_label_map_is_its_input() {
    let Some(data) = data("a_facades_label_map_is_its_input") else { return };
    let Material::Two(facades) = material("pix2pix", 64, data.join("facades")) else { panic!() };
    // Label maps are drawn in a few flat colours: many neighbours are alike. Photographs are not.
    let flat = |images: &[f32]| {
        let pairs = images
            .chunks_exact(6)
            .filter(|pair| (0..3).all(|channel| (pair[channel] - pair[channel + 3]).abs() < 0.02));
        pairs.count() as f64 / (images.len() / 6) as f64
    };
    let (labels, photographs) = (flat(&facades.first.images), flat(&facades.second.images));
    assert!(labels > 0.5 && photographs < 0.35, "{labels} {photographs}");
}

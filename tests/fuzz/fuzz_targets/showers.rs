//! Calorimeter showers in HDF5 files.
#![no_main]

use belamy_fuzz::containers::with_hdf5_sums;
use belamy_fuzz::edits::edited;
use belamy_fuzz::source::Source;
use belamy_gan::data::{hdf5, showers};
use libfuzzer_sys::fuzz_target;
use std::path::Path;

const VOXELS: usize = showers::LAYERS * showers::VOXELS_A_LAYER;

/// More numbers say nothing new and take long: only one input of so many is read.
const LARGE: (u64, usize) = (1 << 12, 16);

thread_local! {
    static SOUND: Vec<u8> = sound();
}

fn sound() -> Vec<u8> {
    let voxels: Vec<f32> = (0..VOXELS).map(|voxel| voxel as f32 / 1000.0).collect();
    let file = hdf5::to_bytes(&voxels, &[3]).expect("a sound shower");
    assert!(with_hdf5_sums(file.clone()) == file, "its sums are other ones");
    file
}

fn seeds() -> Vec<Vec<u8>> {
    SOUND.with(|sound| vec![[&[0], &sound[..]].concat(), [&[1], &sound[..]].concat(), vec![2]])
}

/// The most numbers that a file's data sets promise.
fn numbers(file: &[u8]) -> u64 {
    let Ok(file) = hdf5_pure::File::from_bytes(file.to_vec()) else { return 0 };
    let shape = |name: &str| file.dataset(name).ok()?.shape().ok();
    let shapes = ["incident_energies", "showers"].into_iter().filter_map(shape);
    shapes.map(|shape| shape.into_iter().fold(1, u64::saturating_mul)).max().unwrap_or(0)
}

fuzz_target!(init: belamy_fuzz::begin(seeds), |data: &[u8]| {
    SOUND.with(|sound| {
        let mut source = Source::new(data);
        let file = match source.choice(3) {
            0 => source.rest().to_vec(),
            1 => with_hdf5_sums(source.rest().to_vec()),
            _ => with_hdf5_sums(edited(sound, &mut source)),
        };
        if !file.len().is_multiple_of(LARGE.1) && numbers(&file) > LARGE.0 {
            return;
        }
        belamy_fuzz::written(&file);
        let Ok(data) = hdf5::from_bytes(Path::new("x"), &file) else { return };
        assert_eq!(data.images.len(), data.samples() * VOXELS);
        assert!(data.images.iter().all(|seen| (0.0..=1.0).contains(seen)));
        let labels = data.labels.expect("an energy is a class");
        let again = hdf5::to_bytes(&data.images, &labels).expect("what was read can be written");
        let again = hdf5::from_bytes(Path::new("x"), &again).expect("what was written can be read");
        assert_eq!(again.labels, Some(labels));
    });
});

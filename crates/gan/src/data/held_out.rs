//! Labelled images in sub-folders, parted into those that a classifier learns from and those that it is tested on.
//!
//! Images of one thing taken one after the other are nearly the same image. The frames of one track of the German
//! traffic signs, `class_track_frame` or `track_frame`, are such: a classifier that has seen one knows the others, and
//! its accuracy on them says nothing. So whole tracks are held out, one of five of each class. Images whose names are
//! not whole numbers joined by underscores are each a track of their own.

use super::folder::{self, Place};
use super::{Dataset, ValueRange};
use crate::error::{Error, Result};
use std::path::Path;

/// One of this many tracks of a class is held out.
pub const ONE_OF: usize = 5;

/// Labelled images in two parts that share no track.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Parted {
    /// What a classifier may learn from.
    pub train: Dataset,
    /// What it is tested on.
    pub test: Dataset,
    /// The names of the classes, in the order of their numbers.
    pub classes: Vec<String>,
}

/// The images of a folder or a zip archive with one sub-folder a class, as [`folder::load`] reads them, in two parts.
///
/// Fails as that does, and if there are no sub-folders, fewer than two classes, or a class of one track.
pub fn load(
    path: impl AsRef<Path>,
    side: usize,
    channels: usize,
    range: ValueRange,
) -> Result<Parted> {
    let path = path.as_ref();
    let (places, labels) = folder::find(path)?;
    let labels = labels.ok_or_else(|| {
        Error::file(path, "its images lie in no sub-folders, so they have no classes")
    })?;
    let names: Vec<[String; 2]> = places.iter().map(Place::folder_and_name).collect();
    let held = held_out(&names.iter().map(|[_, name]| name.as_str()).collect::<Vec<_>>(), &labels)
        .map_err(|index| {
            let class = &names[index][0];
            let what =
                format!("all images of class {class} are of one track: none can be held out");
            Error::file(path, what)
        })?;
    let all = folder::load(path, side, channels, range)?;
    if all.classes < 2 {
        return Err(Error::file(path, "a classifier wants sub-folders of two classes or more"));
    }
    let first = |class: usize| labels.iter().position(|&label| label as usize == class);
    let classes = (0..all.classes).filter_map(first).map(|index| names[index][0].clone());
    Ok(Parted {
        train: chosen(&all, &held, false)?,
        test: chosen(&all, &held, true)?,
        classes: classes.collect(),
    })
}

/// Which images are held out: those of every fifth track of a class in the order of their names, and of the last one
/// where there are fewer. Fails with the index of an image whose class has a single track.
fn held_out(names: &[&str], labels: &[u32]) -> std::result::Result<Vec<bool>, usize> {
    let mut held = vec![false; names.len()];
    let classes = labels.iter().max().map_or(0, |&largest| largest + 1);
    for class in 0..classes {
        let own: Vec<usize> = (0..names.len()).filter(|&index| labels[index] == class).collect();
        let mut tracks: Vec<&str> = own.iter().map(|&index| track(names[index])).collect();
        tracks.sort_unstable();
        tracks.dedup();
        if tracks.len() == 1 {
            return Err(own[0]);
        }
        for index in own {
            let place = tracks.binary_search(&track(names[index])).unwrap_or(0);
            let is_last = tracks.len() < ONE_OF && place + 1 == tracks.len();
            held[index] = is_last || (place + 1).is_multiple_of(ONE_OF);
        }
    }
    Ok(held)
}

/// What names of one track have in common: all but the last of whole numbers joined by underscores, or the whole name.
fn track(name: &str) -> &str {
    let numbers = |text: &str| {
        text.split('_').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
    };
    match name.rsplit_once('_') {
        Some((track, _)) if numbers(name) => track,
        _ => name,
    }
}

/// The images that are held out, or those that are not.
fn chosen(all: &Dataset, held: &[bool], wanted: bool) -> Result<Dataset> {
    let indices = (0..held.len()).filter(|&index| held[index] == wanted);
    let images: Vec<f32> =
        indices.clone().filter_map(|index| all.sample(index)).flatten().copied().collect();
    let labels: Option<Vec<u32>> =
        all.labels.as_ref().map(|labels| indices.clone().map(|index| labels[index]).collect());
    let shape = [&[indices.count()], &all.shape[1..]].concat();
    Dataset::new(images, &shape, labels, all.range)
}

#[cfg(test)]
mod tests {
    use super::super::idx::tests::tempfile_folder;
    use super::super::image::Image;
    use super::*;

    #[test]
    fn frames_of_a_track_stay_together_and_other_names_stand_alone() {
        assert_eq!(track("00001_00007_00029"), "00001_00007");
        assert_eq!(track("00007_00029"), "00007");
        assert_eq!(track("00029"), "00029");
        assert_eq!(track("img_0001"), "img_0001");
        assert_eq!(track("1__2"), "1__2");
        // Twelve tracks of three frames, then a class of three single images.
        let mut names: Vec<String> =
            (0..36).map(|index| format!("00001_{:05}_{:05}", index / 3, index % 3)).collect();
        names.extend(["a", "b", "c"].map(String::from));
        let labels: Vec<u32> = (0..39).map(|index| u32::from(index >= 36)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let held = held_out(&names, &labels).unwrap();
        let wanted: Vec<bool> = (0..39)
            .map(|index| if index < 36 { matches!(index / 3, 4 | 9) } else { index == 38 })
            .collect();
        assert_eq!(held, wanted);
        // A class whose images are all of one track cannot be parted.
        assert_eq!(held_out(&["a", "1_2_3", "1_2_4"], &[0, 1, 1]), Err(0));
        assert_eq!(held_out(&["a", "b", "1_2_3", "1_2_4"], &[0, 0, 1, 1]), Err(2));
    }

    #[test]
    fn no_track_is_in_both_parts_and_labels_stay_with_their_images() {
        let folder = tempfile_folder("held-out");
        for (class, grey) in [("stop", 100), ("limit", 200)] {
            std::fs::create_dir_all(folder.join(class)).unwrap();
            for (track, frame) in (0..7).flat_map(|track| [(track, 0), (track, 1)]) {
                // All frames of a track have its grey.
                let image =
                    Image { width: 4, height: 4, channels: 1, bytes: vec![grey + track as u8; 16] };
                let name = format!("00014_{track:05}_{frame:05}.png");
                std::fs::write(folder.join(class).join(name), image.png().unwrap()).unwrap();
            }
        }
        let parted = load(&folder, 4, 1, ValueRange::Unbounded).unwrap();
        assert_eq!(parted.classes, ["limit", "stop"]);
        assert_eq!((parted.train.samples(), parted.test.samples()), (24, 4));
        let greys = |data: &Dataset| -> Vec<(u32, u32)> {
            let labels = data.labels.as_ref().unwrap();
            (0..data.samples())
                .map(|index| (labels[index], data.sample(index).unwrap()[0] as u32))
                .collect()
        };
        assert_eq!(greys(&parted.test), [(0, 204), (0, 204), (1, 104), (1, 104)]);
        assert!(greys(&parted.train).iter().all(|seen| !greys(&parted.test).contains(seen)));
        assert!(greys(&parted.train).iter().all(|&(label, grey)| (label == 0) == (grey >= 200)));
        let flat = load(folder.join("stop"), 4, 1, ValueRange::Unit).unwrap_err().to_string();
        assert!(flat.contains("no sub-folders"), "{flat}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}

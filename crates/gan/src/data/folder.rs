//! Folders of PNG and JPEG images, brought to one size.

use super::image::{Image, LARGEST_SIDE};
use super::{Dataset, ValueRange, idx::open_regular, reserve};
use crate::error::{Error, Result, bytes_in_words};
use std::io::Read;
use std::path::{Path, PathBuf};

const LARGEST_FILE: u64 = 64 << 20;

/// The images of a folder as `[n, side, side, channels]`, with 1 channel (grey) or 3 (RGB).
///
/// Reads `*.png`, `*.jpg` and `*.jpeg`, sorted by name. If the images lie in sub-folders (one level), each sub-folder
/// is a class, numbered in the order of the names. Each image is cropped to the square around its centre and resized
/// with a triangle filter that averages when it shrinks. Transparency is dropped.
///
/// Fails, naming the file, on an image that cannot be decoded, is above 8192 pixels a side or needs more than 64 MiB;
/// and if the folder holds no image, or holds images both beside and inside sub-folders.
pub fn load(
    folder: impl AsRef<Path>,
    side: usize,
    channels: usize,
    range: ValueRange,
) -> Result<Dataset> {
    let folder = folder.as_ref();
    if !(1..=LARGEST_SIDE).contains(&side) || !matches!(channels, 1 | 3) {
        let message = format!(
            "images of {side} x {side} x {channels} cannot be loaded: sides of 1 to {LARGEST_SIDE}, 1 or 3 channels can"
        );
        return Err(Error::data(message));
    }
    let (paths, labels) = find(folder)?;
    let elements = side * side * channels;
    let total = paths.len().checked_mul(elements).filter(|&total| total <= u32::MAX as usize);
    let Some(total) = total else {
        let needed = bytes_in_words(4 * paths.len() as u128 * elements as u128);
        let what = format!("its {} images need {needed} at {side} x {side}", paths.len());
        return Err(Error::file(folder, what));
    };
    let mut images = reserve(total)?;
    images.resize(total, 0.0);

    // Decoding is most of the work; each thread fills its own part, so the order never changes.
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    let share = paths.len().div_ceil(threads);
    let table: [f32; 256] = std::array::from_fn(|byte| range.from_byte(byte as u8));
    let work = |paths: &[PathBuf], images: &mut [f32]| -> Result<()> {
        for (path, image) in paths.iter().zip(images.chunks_exact_mut(elements)) {
            let bytes = decode_file(path)?.square(side, channels);
            for (value, byte) in image.iter_mut().zip(bytes) {
                *value = table[usize::from(byte)];
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let parts: Vec<_> = paths
            .chunks(share)
            .zip(images.chunks_mut(share * elements))
            .map(|(paths, images)| scope.spawn(move || work(paths, images)))
            .collect();
        parts.into_iter().try_for_each(|part| match part.join() {
            Ok(result) => result,
            Err(_) => Err(Error::file(folder, "the image decoder failed on one of its images")),
        })
    })?;
    Dataset::new(images, &[paths.len(), side, side, channels], labels, range)
}

/// The images of a folder in order, and the class of each if they lie in sub-folders.
fn find(folder: &Path) -> Result<(Vec<PathBuf>, Option<Vec<u32>>)> {
    let mut direct = Vec::new();
    let mut inside = Vec::new();
    let mut labels = Vec::new();
    let mut classes = 0;
    for path in sorted_entries(folder)? {
        if path.is_dir() {
            let images: Vec<_> =
                sorted_entries(&path)?.into_iter().filter(|path| is_image(path)).collect();
            if !images.is_empty() {
                labels.extend(images.iter().map(|_| classes));
                inside.extend(images);
                classes += 1;
            }
        } else if is_image(&path) {
            direct.push(path);
        }
    }
    match (direct.is_empty(), inside.is_empty()) {
        (true, true) => Err(Error::file(
            folder,
            "it holds no image (*.png, *.jpg or *.jpeg, in it or in its sub-folders)",
        )),
        (false, false) => Err(Error::file(
            folder,
            format!(
                "it holds {} images of its own and {} in sub-folders; sub-folders are classes, so move one kind away",
                direct.len(),
                inside.len()
            ),
        )),
        (false, true) => Ok((direct, None)),
        (true, false) => Ok((inside, Some(labels))),
    }
}

/// A folder's visible entries, sorted by name, so that the order is the same on every machine.
fn sorted_entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let fail = |error: std::io::Error| Error::file(folder, error.to_string());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

fn is_image(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    matches!(ending.as_deref(), Some("png" | "jpg" | "jpeg"))
}

fn decode_file(path: &Path) -> Result<Image> {
    let mut bytes = Vec::new();
    open_regular(path)?
        .take(LARGEST_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::file(path, error.to_string()))?;
    if bytes.len() as u64 > LARGEST_FILE {
        let largest = bytes_in_words(LARGEST_FILE.into());
        return Err(Error::file(path, format!("it is larger than {largest}")));
    }
    Image::decode(path, &bytes)
}

#[cfg(test)]
mod tests {
    use super::super::idx::tests::tempfile_folder;
    use super::*;

    const GREY_JPEG: &[u8] = include_bytes!("../../assets/tests/grey.jpg");

    fn png(grey: u8) -> Vec<u8> {
        Image { width: 9, height: 12, channels: 3, bytes: vec![grey; 9 * 12 * 3] }.png().unwrap()
    }

    #[test]
    fn images_come_in_order_of_name_and_sub_folders_are_classes() {
        let folder = tempfile_folder("folder-classes");
        let files = [
            ("stop", "b.png", &png(30)[..]),
            ("stop", "a.JPG", GREY_JPEG),
            ("limit", "z.png", &png(10)),
            ("none", "x.txt", b"text"),
        ];
        for (class, name, bytes) in files {
            std::fs::create_dir_all(folder.join(class)).unwrap();
            std::fs::write(folder.join(class).join(name), bytes).unwrap();
        }
        std::fs::write(folder.join(".DS_Store"), "x").unwrap();
        let data = load(&folder, 4, 1, ValueRange::Unbounded).unwrap();
        assert_eq!(data.shape, [3, 4, 4, 1]);
        assert_eq!((data.labels.as_deref(), data.classes), (Some(&[0, 1, 1][..]), 2));
        for (index, grey) in [10.0, 20.0, 30.0].into_iter().enumerate() {
            let image = data.sample(index).unwrap();
            assert!(image.iter().all(|value| (value - grey).abs() <= 1.0), "{index}: {image:?}");
        }
        std::fs::write(folder.join("stray.png"), png(0)).unwrap();
        let error = load(&folder, 4, 1, ValueRange::Unit).unwrap_err().to_string();
        assert!(error.contains("sub-folders are classes"), "{error}");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn empty_missing_and_damaged_are_told_with_the_path() {
        let folder = tempfile_folder("folder-errors");
        let message =
            |folder: &Path| load(folder, 8, 3, ValueRange::Signed).unwrap_err().to_string();
        assert!(message(&folder).contains("holds no image"), "{}", message(&folder));
        assert!(message(&folder.join("missing")).contains("missing"));
        std::fs::write(folder.join("good.png"), png(1)).unwrap();
        std::fs::write(folder.join("liar.png"), "this is text").unwrap();
        assert!(message(&folder).contains("liar.png"), "{}", message(&folder));
        assert!(load(&folder, 0, 3, ValueRange::Unit).is_err());
        assert!(load(&folder, 8, 2, ValueRange::Unit).is_err());
        std::fs::remove_dir_all(folder).unwrap();
    }
}

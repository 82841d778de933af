//! CIFAR-10's binary batches (Krizhevsky, 2009): a label byte and 3,072 bytes of three planes, 10,000 times.

use super::idx::open_regular;
use super::{Dataset, ValueRange};
use crate::error::{Error, Result, bytes_in_words};
use std::io::Read;
use std::path::{Path, PathBuf};

const SIDE: usize = 32;
const PIXELS: usize = SIDE * SIDE;
const RECORD: usize = 1 + 3 * PIXELS;
/// Six batches of 10,000 and room to spare.
const LARGEST: u64 = 1 << 30;
/// The number of classes.
pub const CLASSES: usize = 10;

/// The images of class `class` as `[n, 32, 32, 3]`; for [`CLASSES`] all of them, labelled.
///
/// `path` is a batch, or a folder: of its files `data_batch_*.bin` if there are any, else `test_batch.bin`. Fails,
/// naming the file, if it does not hold whole records of labels below 10, or no image of the class.
pub fn load(path: impl AsRef<Path>, class: usize, range: ValueRange) -> Result<Dataset> {
    let path = path.as_ref();
    let mut kept = Kept::default();
    for file in batches(path)? {
        let mut bytes = Vec::new();
        open_regular(&file)?
            .take(LARGEST + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| Error::file(&file, error.to_string()))?;
        kept.add(&file, &bytes, class)?;
    }
    kept.finish(path, class, range)
}

/// As [`load`] of one batch that is already in memory; `name` stands in errors.
pub fn from_bytes(
    name: impl AsRef<Path>,
    bytes: &[u8],
    class: usize,
    range: ValueRange,
) -> Result<Dataset> {
    let mut kept = Kept::default();
    kept.add(name.as_ref(), bytes, class)?;
    kept.finish(name.as_ref(), class, range)
}

/// Images that were asked for, from one batch after the other.
#[derive(Default)]
struct Kept {
    images: Vec<u8>,
    labels: Vec<u32>,
}

impl Kept {
    fn add(&mut self, file: &Path, bytes: &[u8], class: usize) -> Result<()> {
        if bytes.is_empty() || !bytes.len().is_multiple_of(RECORD) || bytes.len() as u64 > LARGEST {
            let found = bytes_in_words(bytes.len() as u128);
            let what =
                format!("the file of {found} is no CIFAR-10 batch: records of {RECORD} bytes");
            return Err(Error::file(file, what));
        }
        for (index, record) in bytes.chunks_exact(RECORD).enumerate() {
            let label = usize::from(record[0]);
            if label >= CLASSES {
                let what = format!("image {index} has label {label}, but there are 0 to 9");
                return Err(Error::file(file, what));
            }
            if class == CLASSES || class == label {
                self.labels.push(label as u32);
                let (red, rest) = record[1..].split_at(PIXELS);
                let (green, blue) = rest.split_at(PIXELS);
                self.images.reserve(3 * PIXELS);
                for ((red, green), blue) in red.iter().zip(green).zip(blue) {
                    self.images.extend_from_slice(&[*red, *green, *blue]);
                }
            }
        }
        Ok(())
    }

    fn finish(self, path: &Path, class: usize, range: ValueRange) -> Result<Dataset> {
        let Kept { images, labels } = self;
        if labels.is_empty() {
            return Err(Error::file(path, format!("it holds no image of class {class}")));
        }
        let shape = [labels.len(), SIDE, SIDE, 3];
        Dataset::from_bytes(&images, &shape, (class == CLASSES).then_some(labels), range)
    }
}

fn batches(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let training: Vec<PathBuf> = (1..=5)
        .map(|batch| path.join(format!("data_batch_{batch}.bin")))
        .filter(|file| file.exists())
        .collect();
    let test = path.join("test_batch.bin");
    match (training.is_empty(), test.exists()) {
        (false, _) => Ok(training),
        (true, true) => Ok(vec![test]),
        (true, false) => {
            Err(Error::file(path, "it holds neither data_batch_1.bin nor test_batch.bin"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::idx::tests::tempfile_folder;
    use super::*;

    fn record(label: u8, planes: [u8; 3]) -> Vec<u8> {
        let planes = planes.into_iter().flat_map(|value| [value; PIXELS]);
        std::iter::once(label).chain(planes).collect()
    }

    #[test]
    fn planes_become_pixels_and_one_class_is_kept() {
        let folder = tempfile_folder("cifar");
        let batch = [record(7, [1, 2, 3]), record(0, [4, 5, 6]), record(7, [7, 8, 9])].concat();
        std::fs::write(folder.join("test_batch.bin"), &batch).unwrap();
        let horses = load(&folder, 7, ValueRange::Unbounded).unwrap();
        assert_eq!(horses.shape, [2, 32, 32, 3]);
        assert_eq!(
            (&horses.sample(0).unwrap()[..4], horses.labels.is_none()),
            (&[1.0, 2.0, 3.0, 1.0][..], true)
        );
        assert_eq!(horses.sample(1).unwrap()[..3], [7.0, 8.0, 9.0]);
        let all = load(folder.join("test_batch.bin"), CLASSES, ValueRange::Unit).unwrap();
        assert_eq!(all.labels, Some(vec![7, 0, 7]));
        let read = from_bytes("x", &batch, 7, ValueRange::Unbounded).unwrap();
        assert_eq!(read.digest, horses.digest);
        // Training batches, where they are, come before the test split.
        std::fs::write(folder.join("data_batch_1.bin"), record(7, [9, 9, 9])).unwrap();
        assert_eq!(load(&folder, 7, ValueRange::Unit).unwrap().samples(), 1);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn damaged_batches_are_named() {
        let folder = tempfile_folder("cifar-damaged");
        let message = |class| load(&folder, class, ValueRange::Unit).unwrap_err().to_string();
        assert!(message(7).contains("neither"), "{}", message(7));
        let file = folder.join("test_batch.bin");
        std::fs::write(&file, &record(7, [0; 3])[1..]).unwrap();
        assert!(message(7).contains("no CIFAR-10 batch"), "{}", message(7));
        std::fs::write(&file, record(11, [0; 3])).unwrap();
        assert!(message(7).contains("label 11"), "{}", message(7));
        std::fs::write(&file, record(3, [0; 3])).unwrap();
        assert!(message(7).contains("no image of class 7"), "{}", message(7));
        std::fs::remove_dir_all(folder).unwrap();
    }
}

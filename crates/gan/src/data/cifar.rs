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
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for file in batches(path)? {
        let mut bytes = Vec::new();
        open_regular(&file)?
            .take(LARGEST + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| Error::file(&file, error.to_string()))?;
        if bytes.is_empty() || bytes.len() % RECORD != 0 || bytes.len() as u64 > LARGEST {
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
                labels.push(label as u32);
                let planes = &record[1..];
                images.extend((0..PIXELS).flat_map(|pixel| {
                    [planes[pixel], planes[PIXELS + pixel], planes[2 * PIXELS + pixel]]
                }));
            }
        }
    }
    if labels.is_empty() {
        return Err(Error::file(path, format!("it holds no image of class {class}")));
    }
    let shape = [labels.len(), SIDE, SIDE, 3];
    Dataset::from_bytes(&images, &shape, (class == CLASSES).then_some(labels), range)
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

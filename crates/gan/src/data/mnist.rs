//! MNIST: the 10,000 test digits inside the program, and the whole set from a folder.

use super::idx::{self, Idx};
use super::{Dataset, ValueRange};
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

// Y. LeCun, C. Cortes and C. J. C. Burges, CC BY-SA 3.0: see assets/mnist/README.md.
const TEST_IMAGES: &[u8] = include_bytes!("../../assets/mnist/t10k-images-idx3-ubyte.gz");
const TEST_LABELS: &[u8] = include_bytes!("../../assets/mnist/t10k-labels-idx1-ubyte.gz");

/// Which part of the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// 60,000 digits in `train-images-idx3-ubyte` and `train-labels-idx1-ubyte`.
    Train,
    /// 10,000 digits in `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`.
    Test,
}

impl Part {
    fn prefix(self) -> &'static str {
        match self {
            Part::Train => "train",
            Part::Test => "t10k",
        }
    }
}

/// Grey images as bytes, with their labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digits {
    /// `[n, height, width]`, 0 for paper and 255 for ink.
    pub images: Vec<u8>,
    /// n, height, width: 28 by 28 for MNIST.
    pub dims: [usize; 3],
    /// One label an image.
    pub labels: Vec<u8>,
}

impl Digits {
    fn new(name: &Path, images: Idx, labels: Idx) -> Result<Digits> {
        let &[count, height, width] = &images.dims[..] else {
            let what = format!("images have 3 dimensions [n, h, w], this file {:?}", images.dims);
            return Err(Error::file(name, what));
        };
        if images.bytes.is_empty() {
            return Err(Error::file(name, format!("it holds no image: {:?}", images.dims)));
        }
        if labels.dims != [count] {
            let what = format!("{count} images do not go with labels of shape {:?}", labels.dims);
            return Err(Error::file(name, what));
        }
        Ok(Digits { images: images.bytes, dims: [count, height, width], labels: labels.bytes })
    }

    /// The digits as `[n, h, w, 1]` numbers of `range`, labelled.
    pub fn dataset(&self, range: ValueRange) -> Result<Dataset> {
        let [count, height, width] = self.dims;
        let labels = self.labels.iter().map(|&label| u32::from(label)).collect();
        Dataset::from_bytes(&self.images, &[count, height, width, 1], Some(labels), range)
    }
}

/// The 10,000 test digits embedded in the program.
pub fn embedded() -> Result<Digits> {
    let name = Path::new("the embedded digits");
    Digits::new(name, idx::from_bytes(name, TEST_IMAGES)?, idx::from_bytes(name, TEST_LABELS)?)
}

/// One part of MNIST, or of a set in its format, from a folder that holds the standard files, gzipped or not.
///
/// Fails, naming the file, if one is missing or damaged or if images and labels do not go together.
pub fn load(folder: impl AsRef<Path>, part: Part) -> Result<Digits> {
    let [images, labels] = paths(folder.as_ref(), part)?;
    Digits::new(&images, idx::read(&images)?, idx::read(&labels)?)
}

/// Whether a folder holds the images of that part, under the name that [`load`] looks for.
pub fn is_present(folder: impl AsRef<Path>, part: Part) -> bool {
    find(folder.as_ref(), part, "images-idx3-ubyte").is_ok()
}

fn paths(folder: &Path, part: Part) -> Result<[PathBuf; 2]> {
    Ok([find(folder, part, "images-idx3-ubyte")?, find(folder, part, "labels-idx1-ubyte")?])
}

fn find(folder: &Path, part: Part, rest: &str) -> Result<PathBuf> {
    let prefix = part.prefix();
    // Some archives unpack with a dot for the dash.
    let names = [rest.to_string(), rest.replacen("-idx", ".idx", 1)];
    for name in &names {
        for ending in [".gz", ""] {
            let path = folder.join(format!("{prefix}-{name}{ending}"));
            if path.is_file() {
                return Ok(path);
            }
        }
    }
    Err(Error::file(folder, format!("it holds neither {prefix}-{rest}.gz nor {prefix}-{rest}")))
}

#[cfg(test)]
mod tests {
    use super::super::idx::tests::{gzip, idx_bytes, tempfile_folder};
    use super::*;

    #[test]
    fn the_embedded_digits_are_the_10000_of_the_test_part() {
        let digits = embedded().unwrap();
        assert_eq!(digits.dims, [10_000, 28, 28]);
        // The first labels and the count of each digit as published.
        assert_eq!(digits.labels[..10], [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]);
        let mut counts = [0; 10];
        digits.labels.iter().for_each(|&label| counts[usize::from(label)] += 1);
        assert_eq!(counts, [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
        // The mean grey value of the test part is 33.79 (0.1325 of 255).
        let sum: u64 = digits.images.iter().map(|&byte| u64::from(byte)).sum();
        assert!((sum as f64 / digits.images.len() as f64 - 33.79).abs() < 0.01);
        let data = digits.dataset(ValueRange::Signed).unwrap();
        assert_eq!((data.shape.as_slice(), data.classes), (&[10_000, 28, 28, 1][..], 10));
        assert!(data.images.iter().all(|value| value.abs() <= 1.0));
    }

    #[test]
    fn a_folder_is_read_gzipped_or_not() {
        let folder = tempfile_folder("mnist");
        std::fs::write(
            folder.join("train-images-idx3-ubyte.gz"),
            gzip(&idx_bytes(&[2, 1, 3], &[1; 6])),
        )
        .unwrap();
        let error = load(&folder, Part::Train).unwrap_err().to_string();
        assert!(error.contains("train-labels-idx1-ubyte"), "{error}");
        std::fs::write(folder.join("train-labels-idx1-ubyte"), idx_bytes(&[2], &[3, 4])).unwrap();
        let digits = load(&folder, Part::Train).unwrap();
        assert_eq!((digits.dims, &digits.labels[..]), ([2, 1, 3], &[3, 4][..]));
        assert!(is_present(&folder, Part::Train) && !is_present(&folder, Part::Test));

        std::fs::write(folder.join("train-labels-idx1-ubyte"), idx_bytes(&[3], &[3, 4, 5]))
            .unwrap();
        let error = load(&folder, Part::Train).unwrap_err().to_string();
        assert!(error.contains("2 images do not go with labels of shape [3]"), "{error}");
        std::fs::remove_dir_all(folder).unwrap();
    }

    /// The real 60,000, where the machine has them.
    #[test]
    fn the_training_part_is_read_where_it_is() {
        let Some(folder) = std::env::var_os("BELAMY_DATA") else { return };
        let digits = load(Path::new(&folder).join("mnist"), Part::Train).unwrap();
        assert_eq!(digits.dims, [60_000, 28, 28]);
        assert_eq!(digits.labels[..5], [5, 0, 4, 1, 9]);
    }
}

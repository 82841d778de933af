//! Data sets.
//!
//! | file | what it reads or makes |
//! |---|---|
//! | [`mnist`], [`idx`] | the embedded digits; idx files |
//! | [`cifar`] | CIFAR-10's binary batches |
//! | [`folder`], [`archive`], [`image`] | folders and zip archives of PNG, JPEG and PPM images |
//! | [`held_out`] | labelled images in two parts, to learn from and to be tested on |
//! | [`showers`], [`hdf5`] | calorimeter showers, by a parametrisation or from CaloChallenge's files |
//! | [`synthetic`] | points on a sine, images of lines, from a seed |
//! | [`two`] | images of two kinds: side by side, in two folders, grey and coloured, small and large, made from a seed |
//! | [`shapes`] | circles, rectangles and squares, from a seed |
//! | [`bicubic`] | MATLAB's resizing, and luminance |

pub mod archive;
pub mod bicubic;
pub mod cifar;
pub mod folder;
pub mod hdf5;
pub mod held_out;
pub mod idx;
pub mod image;
pub mod mnist;
pub mod shapes;
pub mod showers;
pub mod synthetic;
pub mod two;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::memory;

/// What the numbers of an image mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValueRange {
    /// Black is -1 and white is 1: what a generator ending in tanh makes.
    Signed,
    /// Black is 0 and white is 1: what a generator ending in a sigmoid makes.
    Unit,
    /// Plain numbers, such as the coordinates of points.
    Unbounded,
}

impl ValueRange {
    /// The number that stands for a byte: (x - 127.5) / 127.5, x / 255, or x itself.
    pub fn from_byte(self, byte: u8) -> f32 {
        match self {
            ValueRange::Signed => (f32::from(byte) - 127.5) / 127.5,
            ValueRange::Unit => f32::from(byte) / 255.0,
            ValueRange::Unbounded => f32::from(byte),
        }
    }

    /// The nearest byte, with values outside the range cut off; `None` if the value is no number.
    pub fn to_byte(self, value: f32) -> Option<u8> {
        let level = match self {
            ValueRange::Signed => value * 127.5 + 127.5,
            ValueRange::Unit => value * 255.0,
            ValueRange::Unbounded => value,
        };
        (!level.is_nan()).then(|| level.round().clamp(0.0, 255.0) as u8)
    }
}

/// Samples held in memory, with their labels if they have any.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Dataset {
    /// All samples, one after the other.
    pub images: Vec<f32>,
    /// `[n, h, w, c]` for images, `[n, d]` for points; n is at least 1.
    pub shape: Vec<usize>,
    /// The class of each sample, below `classes`.
    pub labels: Option<Vec<u32>>,
    /// The number of classes; 0 without labels.
    pub classes: usize,
    /// What the numbers mean.
    pub range: ValueRange,
    /// XXH64 over shape, values and labels, as 16 hexadecimal digits: says whether two runs saw the same data.
    pub digest: String,
}

impl Dataset {
    /// A data set from its samples; fails unless the numbers of values, samples and labels agree.
    pub fn new(
        images: Vec<f32>,
        shape: &[usize],
        labels: Option<Vec<u32>>,
        range: ValueRange,
    ) -> Result<Dataset> {
        let elements = shape.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
        if shape.len() < 2 || elements != Some(images.len()) {
            let message = format!("{} values are no data set of shape {shape:?}", images.len());
            return Err(Error::data(message));
        }
        if images.is_empty() {
            return Err(Error::data(format!("a data set of shape {shape:?} holds no sample")));
        }
        if let Some(found) = labels.as_ref().map(Vec::len).filter(|&found| found != shape[0]) {
            return Err(Error::data(format!("{} samples have {found} labels", shape[0])));
        }
        let mut digest = Digest::new();
        for &dim in shape {
            digest.update(&(dim as u64).to_le_bytes());
        }
        update_with_words(&mut digest, &images, f32::to_le_bytes);
        let mut classes = 0;
        if let Some(labels) = &labels {
            update_with_words(&mut digest, labels, u32::to_le_bytes);
            classes = labels.iter().max().map_or(0, |&largest| largest as usize + 1);
        }
        Ok(Dataset { images, shape: shape.to_vec(), labels, classes, range, digest: digest.hex() })
    }

    /// A data set from bytes, each turned into a number of `range`.
    pub fn from_bytes(
        bytes: &[u8],
        shape: &[usize],
        labels: Option<Vec<u32>>,
        range: ValueRange,
    ) -> Result<Dataset> {
        let table: [f32; 256] = std::array::from_fn(|byte| range.from_byte(byte as u8));
        let mut images = memory::room(bytes.len(), "data")?;
        images.extend(bytes.iter().map(|&byte| table[usize::from(byte)]));
        Dataset::new(images, shape, labels, range)
    }

    /// The number of samples.
    pub fn samples(&self) -> usize {
        self.shape[0]
    }

    /// The numbers in one sample.
    pub fn sample_elements(&self) -> usize {
        self.shape[1..].iter().product()
    }

    /// The values of sample `index`, or `None` past the end.
    pub fn sample(&self, index: usize) -> Option<&[f32]> {
        let length = self.sample_elements();
        self.images.get(index.checked_mul(length)?..)?.get(..length).filter(|part| !part.is_empty())
    }
}

/// The digest takes little-endian bytes, on every machine.
fn update_with_words<T: Copy>(digest: &mut Digest, values: &[T], bytes: fn(T) -> [u8; 4]) {
    let mut buffer = [0u8; 4096];
    for chunk in values.chunks(buffer.len() / 4) {
        let (words, _) = buffer.as_chunks_mut::<4>();
        for (word, &value) in words.iter_mut().zip(chunk) {
            *word = bytes(value);
        }
        digest.update(&buffer[..chunk.len() * 4]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_values_convert_both_ways() {
        for range in [ValueRange::Signed, ValueRange::Unit, ValueRange::Unbounded] {
            for byte in 0..=255 {
                assert_eq!(range.to_byte(range.from_byte(byte)), Some(byte));
            }
            assert_eq!(range.to_byte(f32::NAN), None);
            assert_eq!(range.to_byte(f32::INFINITY), Some(255));
            assert_eq!(range.to_byte(-1000.0), Some(0));
        }
        assert_eq!(ValueRange::Signed.from_byte(0), -1.0);
        assert_eq!(ValueRange::Signed.from_byte(255), 1.0);
        assert_eq!(ValueRange::Unit.from_byte(255), 1.0);
    }

    #[test]
    fn counts_must_agree() {
        let range = ValueRange::Unbounded;
        assert!(Dataset::new(vec![0.0; 6], &[3, 2], Some(vec![0, 4, 1]), range).is_ok());
        for (values, shape, labels) in [
            (5, vec![3, 2], None),
            (6, vec![3, 2], Some(vec![0, 1])),
            (6, vec![6], None),
            (0, vec![0, 2], None),
            (1, vec![], None),
            (0, vec![usize::MAX, usize::MAX], None),
        ] {
            assert!(Dataset::new(vec![0.0; values], &shape, labels, range).is_err(), "{shape:?}");
        }
    }

    #[test]
    fn samples_are_found_by_index() {
        let values = (0..6).map(|value| value as f32).collect();
        let data = Dataset::new(values, &[3, 2], Some(vec![0, 4, 1]), ValueRange::Unbounded);
        let data = data.unwrap();
        assert_eq!((data.samples(), data.sample_elements(), data.classes), (3, 2, 5));
        assert_eq!(data.sample(2), Some(&[4.0, 5.0][..]));
        assert_eq!(data.sample(3), None);
        assert_eq!(data.sample(usize::MAX), None);
    }

    #[test]
    fn the_digest_sees_values_shape_and_labels() {
        let make = |values: Vec<f32>, shape: &[usize], labels: Option<Vec<u32>>| {
            Dataset::new(values, shape, labels, ValueRange::Unit).unwrap().digest
        };
        let base = make(vec![0.0, 1.0, 2.0, 3.0], &[2, 2], None);
        assert_eq!(base, make(vec![0.0, 1.0, 2.0, 3.0], &[2, 2], None));
        assert_ne!(base, make(vec![0.0, 1.0, 2.0, 3.5], &[2, 2], None));
        assert_ne!(base, make(vec![0.0, 1.0, 2.0, 3.0], &[4, 1], None));
        assert_ne!(base, make(vec![0.0, 1.0, 2.0, 3.0], &[2, 2], Some(vec![0, 1])));
        assert_eq!(base.len(), 16);
    }
}

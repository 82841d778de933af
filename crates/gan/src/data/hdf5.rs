//! Calorimeter showers in CaloChallenge's layout, read and written: HDF5 files with `incident_energies` `[N, 1]` (or `[N]`)
//! and `showers` `[N, V]`, energies in MeV, as whole or real numbers of any size, compressed or not.

use super::Dataset;
use super::idx::open_regular;
use super::showers;
use crate::error::{Error, Result, bytes_in_words};
use std::path::Path;

/// Deflate packs at most 258 bytes into 2 bits.
const LARGEST_RATIO: u64 = 1032;
/// Bytes of the largest number that is read.
const LARGEST_NUMBER: u64 = 8;
/// Elements are indexed with 32 bits everywhere else.
const LARGEST_CONTENT: u64 = u32::MAX as u64;

/// The showers of an HDF5 file as [`showers::from_energies`] makes them.
///
/// Fails, naming the file, if it is missing, is damaged, lacks one of the two sets, or they do not fit each other.
pub fn load(path: &Path) -> Result<Dataset> {
    let size = open_regular(path)?.metadata().map_err(|error| Error::file(path, error.to_string()));
    let file = hdf5_pure::File::open_streaming(path);
    read(path, file.map_err(|error| Error::file(path, error.to_string()))?, size?.len())
}

/// The showers of an HDF5 file that is already in memory; `name` stands in errors.
pub fn from_bytes(name: &Path, bytes: &[u8]) -> Result<Dataset> {
    let file = hdf5_pure::File::from_bytes(bytes.to_vec());
    read(name, file.map_err(|error| Error::file(name, error.to_string()))?, bytes.len() as u64)
}

/// The bytes of an HDF5 file of showers as networks see them, `[N, 360]` numbers, each of a class of energies: energies in
/// MeV, in f32. Fails where their numbers do not fit each other.
pub fn to_bytes(images: &[f32], classes: &[u32]) -> Result<Vec<u8>> {
    let size = showers::LAYERS * showers::VOXELS_A_LAYER;
    let count = classes.len();
    if count == 0 || images.len() != count * size {
        let found = images.len();
        return Err(Error::data(format!("{count} showers have {found} voxels, not {size} each")));
    }
    let incident = classes.iter().map(|class| showers::incident_energy(*class) as f32);
    let incident: Vec<f32> = incident.collect();
    let voxels = images.chunks_exact(size).zip(&incident).flat_map(|(image, energy)| {
        image.iter().map(move |seen| (showers::share(*seen) * f64::from(*energy)) as f32)
    });
    let voxels: Vec<f32> = voxels.collect();
    let mut builder = hdf5_pure::FileBuilder::new();
    let set = builder.create_dataset("incident_energies").with_f32_data(&incident);
    set.with_shape(&[count as u64, 1]);
    let set = builder.create_dataset("showers").with_f32_data(&voxels);
    set.with_shape(&[count as u64, size as u64]);
    builder.finish().map_err(|error| Error::data(error.to_string()))
}

fn read(path: &Path, file: hdf5_pure::File, size: u64) -> Result<Dataset> {
    let (energies, rows) = numbers(path, &file, "incident_energies", size)?;
    let (voxels, showers) = numbers(path, &file, "showers", size)?;
    if rows != showers || energies.len() as u64 != rows {
        let found = energies.len();
        let what = format!("it has {showers} showers and {found} incident_energies");
        return Err(Error::file(path, what));
    }
    showers::from_energies(&energies, &voxels).map_err(|error| Error::file(path, error.to_string()))
}

/// A data set's numbers, and how many rows they are. Memory is taken only for what the file can hold.
fn numbers(path: &Path, file: &hdf5_pure::File, name: &str, size: u64) -> Result<(Vec<f64>, u64)> {
    let fail = |what: String| Error::file(path, format!("{name}: {what}"));
    let set = file.dataset(name).map_err(|error| fail(error.to_string()))?;
    let shape = set.shape().map_err(|error| fail(error.to_string()))?;
    let count = shape.iter().try_fold(1u64, |product, &extent| product.checked_mul(extent));
    // A number takes a byte at least, before it is packed.
    let most = LARGEST_CONTENT.min(size.saturating_mul(LARGEST_RATIO));
    let Some(count) = count.filter(|count| *count <= most) else {
        let found = bytes_in_words(size.into());
        return Err(fail(format!("a file of {found} holds no {shape:?} numbers")));
    };
    // Numbers that were never written are all made when they are read, of whatever size they are said to be.
    let bytes = set.element_size().map_err(|error| fail(error.to_string()))?;
    if bytes > LARGEST_NUMBER {
        return Err(fail(format!(
            "a number takes {bytes} bytes, and {LARGEST_NUMBER} are the most"
        )));
    }
    // All chunks are listed before one is read.
    let chunk = set.chunk_shape().map_err(|error| fail(error.to_string()))?.unwrap_or_default();
    if !are_few(&shape, &chunk, size) {
        let found = bytes_in_words(size.into());
        return Err(fail(format!(
            "a file of {found} holds no {shape:?} numbers in chunks of {chunk:?}"
        )));
    }
    let values = set.read_f64().map_err(|error| fail(error.to_string()))?;
    if values.len() as u64 != count || count == 0 {
        let found = values.len();
        return Err(fail(format!("it is to be {shape:?} numbers and has {found}")));
    }
    Ok((values, shape.first().copied().unwrap_or(1)))
}

/// Whether a data set of a shape is cut into no more chunks than a file of so many bytes can hold: a chunk takes a byte at least.
fn are_few(shape: &[u64], chunk: &[u64], size: u64) -> bool {
    let mut pieces =
        shape.iter().zip(chunk).map(|(extent, chunk)| extent.div_ceil((*chunk).max(1)));
    let chunks = pieces.try_fold(1u64, |product, pieces| product.checked_mul(pieces));
    chunks.is_some_and(|chunks| chunks <= size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdf5_pure::FileBuilder;

    const VOXELS: usize = showers::LAYERS * showers::VOXELS_A_LAYER;

    fn file(energies: &[f64], voxels: &[f64], shape: &[u64]) -> Vec<u8> {
        let mut builder = FileBuilder::new();
        let set = builder.create_dataset("incident_energies").with_f64_data(energies);
        set.with_shape(&[energies.len() as u64, 1]);
        builder.create_dataset("showers").with_f64_data(voxels).with_shape(shape);
        builder.finish().unwrap()
    }

    #[test]
    fn showers_are_read_and_their_energies_are_classes() {
        let mut voxels = vec![0.0; 3 * VOXELS];
        voxels[VOXELS + 5] = 128.0;
        let bytes = file(&[256.0, 512.0, 1024.0], &voxels, &[3, VOXELS as u64]);
        let data = from_bytes(Path::new("x.hdf5"), &bytes).unwrap();
        assert_eq!(data.shape, [3, showers::LAYERS, showers::VOXELS_A_LAYER, 1]);
        assert_eq!(data.labels.as_deref(), Some(&[0, 1, 2][..]));
        assert_eq!(data.images[VOXELS + 5], 0.5);
        assert_eq!(data.images.iter().sum::<f32>(), 0.5);
        let path = std::env::temp_dir().join(format!("belamy-showers-{}.h5", std::process::id()));
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(load(&path).unwrap().digest, data.digest);
        std::fs::remove_file(&path).unwrap();
        assert!(load(&path).unwrap_err().to_string().contains(".h5"));
    }

    #[test]
    fn chunks_are_no_more_than_bytes() {
        assert!(are_few(&[10, 360], &[], 1));
        assert!(are_few(&[10, 360], &[1, 360], 10));
        assert!(are_few(&[10, 360], &[3, 100], 16));
        assert!(!are_few(&[10, 360], &[3, 100], 15));
        // What the fuzzer found: 807 bytes, and a chunk for each number.
        assert!(!are_few(&[832_000, 1], &[1, 1], 807));
        assert!(!are_few(&[u64::MAX, 2], &[1, 0], u64::MAX));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let made = showers::parametrised(30, 4).unwrap();
        let bytes = to_bytes(&made.images, made.labels.as_deref().unwrap()).unwrap();
        let read = from_bytes(Path::new("x.h5"), &bytes).unwrap();
        assert_eq!((&read.labels, &read.shape), (&made.labels, &made.shape));
        for (read, made) in read.images.iter().zip(&made.images) {
            assert!((read - made).abs() <= 1e-6 * made, "{read} and {made}");
        }
        assert!(to_bytes(&made.images[1..], made.labels.as_deref().unwrap()).is_err());
    }

    #[test]
    fn what_is_no_file_of_showers_is_refused_with_its_name() {
        let refused = |bytes: &[u8], because: &str| {
            let error = from_bytes(Path::new("x.hdf5"), bytes).unwrap_err().to_string();
            assert!(error.contains("x.hdf5") && error.contains(because), "{error}");
        };
        refused(b"", "");
        refused(&[7; 4096], "");
        let voxels = vec![0.0; 2 * VOXELS];
        refused(&file(&[256.0], &voxels, &[2, VOXELS as u64]), "2 showers and 1 incident_energies");
        refused(&file(&[256.0, 300.0], &voxels, &[2, VOXELS as u64]), "shower 1 is of 300 MeV");
        refused(&file(&[256.0, 512.0], &voxels[..360], &[2, 180]), "360 voxels, not 360 each");
        let mut builder = FileBuilder::new();
        builder.create_dataset("showers").with_f64_data(&[1.0]);
        refused(&builder.finish().unwrap(), "incident_energies");
        let mut builder = FileBuilder::new();
        builder.create_dataset("incident_energies").with_ascii_strings(&["256.0 MeV"]).unwrap();
        builder.create_dataset("showers").with_f64_data(&voxels);
        refused(&builder.finish().unwrap(), "a number takes 9 bytes");
        // Cut anywhere, it is refused or read as it was; nothing panics.
        let whole = file(&[256.0, 512.0], &voxels, &[2, VOXELS as u64]);
        for length in (0..whole.len()).step_by(97) {
            let _ = from_bytes(Path::new("x.hdf5"), &whole[..length]);
        }
        for at in 0..whole.len().min(2000) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x41;
            let _ = from_bytes(Path::new("x.hdf5"), &bytes);
        }
    }
}

//! Reader of idx files, the format of MNIST and its kin, plain or gzipped.
//!
//! A header (two zero bytes, the element type, the number of dimensions, each dimension as a big-endian u32), then
//! the elements. The reader believes nothing: memory grows with the bytes that are really there, never with what a
//! header promises.

use crate::error::{Error, Result, bytes_in_words};
use std::cmp::Ordering;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

/// Deflate packs at most 258 bytes into 2 bits, so gzip cannot unpack to more than this times its size.
const LARGEST_GZIP_RATIO: u128 = 1032;
/// Elements are indexed with 32 bits everywhere else.
const LARGEST_CONTENT: u128 = u32::MAX as u128;

/// The content of an idx file of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idx {
    /// One to four extents, outermost first.
    pub dims: Vec<usize>,
    /// The elements in row-major order: as many as the product of `dims`.
    pub bytes: Vec<u8>,
}

/// Reads an idx file, gzipped or not (its first bytes tell, not its name).
///
/// Fails, naming the file, if it is missing, is no idx file of bytes, is damaged, or is shorter or longer than its
/// header promises.
pub fn read(path: impl AsRef<Path>) -> Result<Idx> {
    let path = path.as_ref();
    let file = open_regular(path)?;
    let size = file.metadata().map_err(|error| Error::file(path, error.to_string()))?.len();
    parse(path, BufReader::new(file), size)
}

/// Reads an idx file that is already in memory; `name` stands in errors.
pub fn from_bytes(name: impl AsRef<Path>, bytes: &[u8]) -> Result<Idx> {
    parse(name.as_ref(), bytes, bytes.len() as u64)
}

/// Opens a file that has an end: pipes and devices would block or never stop.
pub(crate) fn open_regular(path: &Path) -> Result<File> {
    let metadata = std::fs::metadata(path).map_err(|error| Error::file(path, error.to_string()))?;
    if !metadata.is_file() {
        let what = if metadata.is_dir() { "it is a folder" } else { "it is not a regular file" };
        return Err(Error::file(path, what));
    }
    File::open(path).map_err(|error| Error::file(path, error.to_string()))
}

fn parse(path: &Path, mut input: impl std::io::BufRead, size: u64) -> Result<Idx> {
    let start = input.fill_buf().map_err(|error| Error::file(path, error.to_string()))?;
    if start.starts_with(&[0x1f, 0x8b]) {
        let limit = u128::from(size) * LARGEST_GZIP_RATIO;
        let found = format!("the gzip file of {}", bytes_in_words(size.into()));
        parse_unpacked(path, flate2::bufread::MultiGzDecoder::new(input), limit, &found)
    } else {
        let found = format!("the file of {}", bytes_in_words(size.into()));
        parse_unpacked(path, input, size.into(), &found)
    }
}

/// `limit` is the most bytes the input can hold; `found` says in words how large it is.
fn parse_unpacked(path: &Path, mut input: impl Read, limit: u128, found: &str) -> Result<Idx> {
    let fail = |what: String| Error::file(path, what);
    let damaged = |error: std::io::Error, place: &str| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => fail(format!("{found} ends within {place}")),
        _ => fail(format!("{found} is damaged within {place}: {error}")),
    };

    let mut magic = [0u8; 4];
    input.read_exact(&mut magic).map_err(|error| damaged(error, "the idx header"))?;
    let [zero_0, zero_1, element, rank] = magic;
    if (zero_0, zero_1) != (0, 0) {
        return Err(fail(format!(
            "it is no idx file: it begins with bytes {magic:02x?}, an idx file with 00 00"
        )));
    }
    if element != 0x08 {
        return Err(fail(format!(
            "its elements are of idx type 0x{element:02x}; only bytes (0x08) are read"
        )));
    }
    if !(1..=4).contains(&rank) {
        return Err(fail(format!("its header promises {rank} dimensions; 1 to 4 are read")));
    }
    let mut dims = Vec::with_capacity(4);
    for _ in 0..rank {
        let mut dim = [0u8; 4];
        input.read_exact(&mut dim).map_err(|error| damaged(error, "the idx header"))?;
        dims.push(u32::from_be_bytes(dim) as usize);
    }

    // Four factors below 2^32 cannot overflow 128 bits.
    let promised: u128 = dims.iter().map(|&dim| dim as u128).product();
    let promise = format!("the header promises {} of elements, {dims:?}", bytes_in_words(promised));
    if promised + 4 + 4 * u128::from(rank) > limit {
        return Err(fail(format!("{promise}, but {found} cannot hold them")));
    }
    // Where one extent is 0 the others have no elements, and still whoever multiplies them must not overflow.
    let spanned: u128 = dims.iter().filter(|&&dim| dim > 0).map(|&dim| dim as u128).product();
    if spanned > LARGEST_CONTENT {
        return Err(fail(format!(
            "{promise}; at most {} are read",
            bytes_in_words(LARGEST_CONTENT)
        )));
    }

    // One byte more than promised shows whether something follows, and lets gzip check its sum.
    let mut bytes = Vec::new();
    let outcome = input.take(promised as u64 + 1).read_to_end(&mut bytes);
    if outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::OutOfMemory) {
        return Err(Error::Memory { bytes: promised as usize, what: "data" });
    }
    let held = bytes_in_words(bytes.len() as u128);
    match (bytes.len() as u128).cmp(&promised) {
        Ordering::Less => Err(fail(match outcome {
            Ok(_) => format!("{promise}, but only {held} follow it"),
            Err(error) => {
                format!("{promise}, but {found} is damaged after {held} of them: {error}")
            }
        })),
        Ordering::Greater => Err(fail(format!("{promise}, but more bytes than that follow it"))),
        Ordering::Equal => outcome.map_err(|error| {
            fail(format!("{promise}, and {found} is damaged or goes on after them: {error}"))
        }),
    }?;
    bytes.shrink_to_fit();
    Ok(Idx { dims, bytes })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use belamy_tensor::philox::{Draws, integer};
    use std::io::Write;

    /// An idx file's bytes, with `rank` and `dims` as given, true or not.
    pub(crate) fn idx_bytes(dims: &[u32], elements: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, dims.len() as u8];
        dims.iter().for_each(|dim| bytes.extend(dim.to_be_bytes()));
        bytes.extend(elements);
        bytes
    }

    pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn refusal(bytes: &[u8]) -> String {
        from_bytes("set/file", bytes).expect_err("must be refused").to_string()
    }

    fn small() -> Vec<u8> {
        let elements: Vec<u8> = (0..3 * 5 * 7).map(|i: u32| (i * i % 251) as u8).collect();
        idx_bytes(&[3, 5, 7], &elements)
    }

    #[test]
    fn plain_and_gzipped_files_read_alike() {
        let plain = from_bytes("x", &small()).unwrap();
        assert_eq!(plain.dims, [3, 5, 7]);
        assert_eq!(plain.bytes[..4], [0, 1, 4, 9]);
        assert_eq!(plain, from_bytes("x", &gzip(&small())).unwrap());
        let folder = tempfile_folder("idx");
        let path = folder.join("misnamed.png");
        std::fs::write(&path, gzip(&small())).unwrap();
        assert_eq!(read(&path).unwrap(), plain);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn one_to_four_dimensions_are_read() {
        for rank in 1..=4 {
            let idx = from_bytes("x", &idx_bytes(&vec![2; rank], &vec![9; 1 << rank])).unwrap();
            assert_eq!((idx.dims.len(), idx.bytes.len()), (rank, 1 << rank));
        }
        assert_eq!(from_bytes("x", &idx_bytes(&[0, 28, 28], &[])).unwrap().bytes, [0u8; 0]);
    }

    #[test]
    fn a_gzip_file_of_two_members_is_one_file() {
        let (head, tail) = (&small()[..40], &small()[40..]);
        let joined = [gzip(head), gzip(tail)].concat();
        assert_eq!(from_bytes("x", &joined).unwrap(), from_bytes("x", &small()).unwrap());
    }

    #[test]
    fn promises_of_terabytes_are_refused_with_both_sizes() {
        let header = idx_bytes(&[5_000_000, 1000, 800], &[1; 10]);
        let error = refusal(&header);
        assert!(error.contains("set/file"), "{error}");
        assert!(error.contains("4.0 TB") && error.contains("26 bytes"), "{error}");
        let error = refusal(&gzip(&header));
        assert!(error.contains("4.0 TB") && error.contains("gzip file of"), "{error}");
        let error = refusal(&idx_bytes(&[u32::MAX; 4], &[1; 10]));
        assert!(error.contains("EB"), "{error}");
        // A product that is 0 modulo 2^64 must not look like an empty file.
        let error = refusal(&idx_bytes(&[1 << 31, 1 << 31, 4, 1], &[]));
        assert!(error.contains("18.4 EB"), "{error}");
        // Neither must one that is 0 only after it has overflown 64 bits.
        for dims in [[1 << 31, 1 << 31, 4, 0], [0, 1 << 31, 1 << 31, 4]] {
            let error = refusal(&idx_bytes(&dims, &[]));
            assert!(error.contains("at most 4.3 GB"), "{error}");
        }
    }

    #[test]
    fn wrong_headers_say_what_is_wrong() {
        assert!(refusal(b"\x89PNG\r\n\x1a\n").contains("no idx file"));
        assert!(refusal(&[0, 0, 0x0d, 1, 0, 0, 0, 1, 0, 0, 0, 0]).contains("0x0d"));
        assert!(refusal(&[0, 0, 8, 255, 0, 0]).contains("255 dimensions"));
        assert!(refusal(&[0, 0, 8, 0]).contains("0 dimensions"));
        assert!(refusal(&[]).contains("0 bytes"));
        assert!(refusal(&small()[..9]).contains("ends within the idx header"));
    }

    #[test]
    fn too_short_and_too_long_are_told_apart() {
        let whole = small();
        assert!(refusal(&whole[..whole.len() - 1]).contains("cannot hold"));
        assert!(refusal(&[&whole[..], &[0]].concat()).contains("more bytes"));
        let packed = gzip(&whole[..whole.len() - 2]);
        let error = refusal(&packed);
        assert!(error.contains("105 bytes") && error.contains("103 bytes"), "{error}");
        assert!(refusal(&gzip(&[&whole[..], &[0]].concat())).contains("more bytes"));
        let error = refusal(&[gzip(&whole), vec![1, 2, 3]].concat());
        assert!(error.contains("damaged or goes on"), "{error}");
    }

    #[test]
    fn a_gzip_bomb_is_inflated_no_further_than_promised() {
        let mut content = small();
        content.resize(40_000_000, 0);
        let error = refusal(&gzip(&content));
        assert!(error.contains("more bytes"), "{error}");
    }

    #[test]
    fn a_wrong_checksum_is_reported() {
        let mut packed = gzip(&small());
        let sum = packed.len() - 8;
        packed[sum] ^= 1;
        assert!(refusal(&packed).contains("checksum"), "{}", refusal(&packed));
    }

    #[test]
    fn missing_files_folders_and_devices_are_refused() {
        let missing = read("no/such/file").unwrap_err().to_string();
        assert!(missing.contains("no/such/file"), "{missing}");
        assert!(read(std::env::temp_dir()).unwrap_err().to_string().contains("folder"));
        #[cfg(unix)]
        assert!(read("/dev/zero").unwrap_err().to_string().contains("not a regular file"));
    }

    #[test]
    fn every_truncation_and_2000_bit_flips_return() {
        let truth = from_bytes("x", &small()).unwrap();
        let (plain, packed) = (small(), gzip(&small()));
        for bytes in [&plain, &packed] {
            for length in 0..bytes.len() {
                assert!(from_bytes("x", &bytes[..length]).is_err(), "{length}");
            }
        }
        let draws = Draws { seed: 1, stream: 0, step: 0 };
        let mut unnoticed = 0;
        for flip in 0..2000 {
            let bit = integer(draws.word(flip, 0), 8 * packed.len() as u32);
            let mut bytes = packed.clone();
            bytes[bit as usize / 8] ^= 1 << (bit % 8);
            // Only gzip's own header (time, system, flags) may change without notice, never the content.
            if let Ok(read) = from_bytes("x", &bytes) {
                assert_eq!(read, truth, "bit {bit}");
                unnoticed += 1;
            }
            let bit = integer(draws.word(flip, 1), 8 * plain.len() as u32);
            let mut bytes = plain.clone();
            bytes[bit as usize / 8] ^= 1 << (bit % 8);
            if let Ok(read) = from_bytes("x", &bytes) {
                assert_eq!(read.bytes.len(), truth.bytes.len());
            }
        }
        assert!(unnoticed < 2000 / 4, "{unnoticed}");
    }

    /// A new empty folder for one test.
    pub(crate) fn tempfile_folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("belamy-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }
}

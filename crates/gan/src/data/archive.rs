//! Zip archives of images, read with strict limits: stored or deflated members, no encryption, no zip64.
//!
//! The list at the archive's end is believed only as far as the bytes bear it out: places and lengths are checked
//! against the file, a member never unpacks to more than its entry says, and its CRC-32 must agree.

use super::idx::open_regular;
use crate::error::{Error, Result, bytes_in_words};
use std::io::Read;
use std::path::{Path, PathBuf};

const LARGEST_ARCHIVE: u64 = 2 << 30;
const LARGEST_MEMBER: u32 = 64 << 20;
const END: &[u8] = b"PK\x05\x06";
const ENTRY: &[u8] = b"PK\x01\x02";
const MEMBER: &[u8] = b"PK\x03\x04";
const END_LENGTH: usize = 22;
const ENTRY_LENGTH: usize = 46;
const MEMBER_LENGTH: usize = 30;

/// A member of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its path within the archive, with `/` between parts.
    pub name: String,
    method: u16,
    crc: u32,
    packed: u32,
    size: u32,
    offset: u32,
}

/// An archive in memory.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    bytes: Vec<u8>,
    members: Vec<Member>,
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

impl Archive {
    /// Reads an archive's list of members. Fails, naming the file, if it is no zip archive, or a damaged one.
    pub fn open(path: impl AsRef<Path>) -> Result<Archive> {
        let path = path.as_ref();
        let mut bytes = Vec::new();
        open_regular(path)?
            .take(LARGEST_ARCHIVE + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| Error::file(path, error.to_string()))?;
        if bytes.len() as u64 > LARGEST_ARCHIVE {
            let largest = bytes_in_words(LARGEST_ARCHIVE.into());
            return Err(Error::file(path, format!("it is larger than {largest}")));
        }
        Archive::from_bytes(path, bytes)
    }

    /// As [`Archive::open`], of bytes that are in memory; `path` stands in errors.
    pub fn from_bytes(path: impl AsRef<Path>, bytes: Vec<u8>) -> Result<Archive> {
        let path = path.as_ref().to_path_buf();
        // The end's record may be followed by a comment of up to 65,535 bytes.
        let first = bytes.len().saturating_sub(END_LENGTH + usize::from(u16::MAX));
        let end = bytes[first..].windows(END.len()).rposition(|window| window == END);
        let Some(end) = end.map(|end| first + end) else {
            let found = bytes_in_words(bytes.len() as u128);
            return Err(Error::file(path, format!("the file of {found} is no zip archive")));
        };
        let members = list(&bytes, end)
            .ok_or_else(|| Error::file(&path, "the zip archive's list of members is damaged"))?;
        Ok(Archive { path, bytes, members })
    }

    /// Its members, folders included, in the order of its list.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The archive's path, and the member's within it.
    pub fn name(&self, member: &Member) -> PathBuf {
        self.path.join(&member.name)
    }

    /// What a member holds. Fails, naming it, if it is damaged, encrypted, larger than 64 MiB or packed in a way that
    /// is not read.
    pub fn read(&self, member: &Member) -> Result<Vec<u8>> {
        let fail = |what: String| Error::file(self.name(member), what);
        if member.size > LARGEST_MEMBER {
            let (size, most) = (member.size.into(), LARGEST_MEMBER.into());
            let what =
                format!("{}; at most {} are read", bytes_in_words(size), bytes_in_words(most));
            return Err(fail(what));
        }
        let packed =
            self.packed(member).ok_or_else(|| fail("it lies outside the archive".into()))?;
        let mut content = Vec::new();
        let limit = u64::from(member.size) + 1;
        let outcome = match member.method {
            0 => packed.take(limit).read_to_end(&mut content),
            8 => flate2::bufread::DeflateDecoder::new(packed).take(limit).read_to_end(&mut content),
            other => {
                return Err(fail(format!("it is packed by method {other}; 0 and 8 are read")));
            }
        };
        outcome.map_err(|error| fail(format!("it is damaged: {error}")))?;
        let mut crc = flate2::Crc::new();
        crc.update(&content);
        if content.len() != member.size as usize || crc.sum() != member.crc {
            return Err(fail("it is damaged: its length or CRC-32 is another".into()));
        }
        Ok(content)
    }

    fn packed(&self, member: &Member) -> Option<&[u8]> {
        let start = self.bytes.get(member.offset as usize..)?;
        if !start.starts_with(MEMBER) {
            return None;
        }
        // The member's own header repeats the name, and may have another extra field than the list.
        let skip = usize::from(u16_at(start, 26)?) + usize::from(u16_at(start, 28)?);
        start.get(MEMBER_LENGTH + skip..)?.get(..member.packed as usize)
    }
}

fn list(bytes: &[u8], end: usize) -> Option<Vec<Member>> {
    bytes.get(end..end + END_LENGTH)?;
    let count = u16_at(bytes, end + 10)?;
    let mut at = u32_at(bytes, end + 16)? as usize;
    let mut members = Vec::new();
    for _ in 0..count {
        let entry = bytes.get(at..end)?;
        if !entry.starts_with(ENTRY) {
            return None;
        }
        let [name, extra, comment] = [28, 30, 32].map(|at| u16_at(entry, at).map(usize::from));
        let (name, extra, comment) = (name?, extra?, comment?);
        // Bit 0 of the flags says that the member is encrypted; its method is then none that is read.
        let encrypted = u16_at(entry, 8)? & 1 == 1;
        members.push(Member {
            name: String::from_utf8_lossy(entry.get(ENTRY_LENGTH..)?.get(..name)?).into_owned(),
            method: if encrypted { u16::MAX } else { u16_at(entry, 10)? },
            crc: u32_at(entry, 16)?,
            packed: u32_at(entry, 20)?,
            size: u32_at(entry, 24)?,
            offset: u32_at(entry, 42)?,
        });
        at += ENTRY_LENGTH + name + extra + comment;
    }
    Some(members)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use belamy_tensor::philox::{Draws, integer};
    use std::io::Write;

    /// A zip archive of files, every second one deflated.
    pub(crate) fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
        let (mut bytes, mut list) = (Vec::new(), Vec::new());
        for (index, (name, content)) in files.iter().enumerate() {
            let mut crc = flate2::Crc::new();
            crc.update(content);
            let (method, packed) = match index % 2 {
                0 => (0u16, content.to_vec()),
                _ => {
                    let level = flate2::Compression::default();
                    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), level);
                    encoder.write_all(content).unwrap();
                    (8, encoder.finish().unwrap())
                }
            };
            let offset = bytes.len() as u32;
            let mut common = Vec::new();
            for half in [20, 0, method, 0, 0] {
                common.extend(half.to_le_bytes());
            }
            for word in [crc.sum(), packed.len() as u32, content.len() as u32] {
                common.extend(word.to_le_bytes());
            }
            common.extend((name.len() as u16).to_le_bytes());
            common.extend(0u16.to_le_bytes());
            bytes.extend([MEMBER, &common, name.as_bytes(), &packed].concat());
            list.extend(
                [ENTRY, &20u16.to_le_bytes(), &common, &[0; 10], &offset.to_le_bytes()].concat(),
            );
            list.extend(name.as_bytes());
        }
        let (start, length) = (bytes.len() as u32, list.len() as u32);
        bytes.extend(list);
        let count = (files.len() as u16).to_le_bytes();
        bytes.extend(
            [END, &[0; 4], &count, &count, &length.to_le_bytes(), &start.to_le_bytes(), &[0; 2]]
                .concat(),
        );
        bytes
    }

    fn archive() -> Vec<u8> {
        zip(&[("a/one.txt", b"first"), ("b/two.txt", &[b'x'; 1000]), ("b/", b"")])
    }

    #[test]
    fn members_come_back_as_they_were() {
        let archive = Archive::from_bytes("x.zip", archive()).unwrap();
        let names: Vec<_> = archive.members().iter().map(|member| member.name.as_str()).collect();
        assert_eq!(names, ["a/one.txt", "b/two.txt", "b/"]);
        assert_eq!(archive.read(&archive.members()[0]).unwrap(), b"first");
        assert_eq!(archive.read(&archive.members()[1]).unwrap(), [b'x'; 1000]);
    }

    #[test]
    fn damage_is_found_and_nothing_panics() {
        let whole = archive();
        for length in 0..whole.len() {
            assert!(Archive::from_bytes("x.zip", whole[..length].to_vec()).is_err(), "{length}");
        }
        let draws = Draws { seed: 3, stream: 0, step: 0 };
        let mut refused = 0;
        for flip in 0..2000 {
            let bit = integer(draws.word(flip, 0), 8 * whole.len() as u32);
            let mut damaged = whole.clone();
            damaged[bit as usize / 8] ^= 1 << (bit % 8);
            match Archive::from_bytes("x.zip", damaged) {
                Ok(archive) => {
                    let members = archive.members();
                    let read = members.iter().map(|member| archive.read(member));
                    refused += usize::from(read.into_iter().any(|content| content.is_err()));
                }
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 500, "{refused}");
    }

    #[test]
    fn a_member_that_promises_too_much_or_is_encrypted_is_refused() {
        let mut bytes = archive();
        let list = bytes.windows(4).position(|window| window == ENTRY).unwrap();
        bytes[list + 8] |= 1;
        let refused = Archive::from_bytes("x.zip", bytes.clone()).unwrap();
        let error = refused.read(&refused.members()[0]).unwrap_err().to_string();
        assert!(error.contains("method 65535") && error.contains("one.txt"), "{error}");
        bytes[list + 24..list + 28].copy_from_slice(&u32::MAX.to_le_bytes());
        let refused = Archive::from_bytes("x.zip", bytes).unwrap();
        let error = refused.read(&refused.members()[0]).unwrap_err().to_string();
        assert!(error.contains("4.3 GB"), "{error}");
        assert!(Archive::from_bytes("x.zip", b"no zip".to_vec()).is_err());
    }
}

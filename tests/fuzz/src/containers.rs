//! gzip, zip, PNG and HDF5 around content that has no right sums yet.

use crate::source::Source;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use std::io::{Read, Write};

/// No description unpacks to more: what is larger says nothing new and takes long.
const MOST: u64 = 1 << 16;

/// The CRC-32 of bytes.
pub fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// Bytes as a deflate stream.
pub fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes everything")
}

/// Bytes as a gzip file.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes everything")
}

/// What a deflate stream unpacks to, as far as it is sound.
fn inflated(stream: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    let _ = flate2::bufread::DeflateDecoder::new(stream).take(MOST).read_to_end(&mut content);
    content
}

/// A gzip file of a deflate stream, with the sum and the length of what that unpacks to.
pub fn gzip_of_stream(stream: &[u8]) -> Vec<u8> {
    let content = inflated(stream);
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    file.extend(stream);
    file.extend(crc(&content).to_le_bytes());
    file.extend((content.len() as u32).to_le_bytes());
    file
}

/// A member of a zip archive as it is put in.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its path.
    pub name: Vec<u8>,
    /// 0 for stored, 8 for deflated.
    pub method: u16,
    /// As it lies in the archive.
    pub packed: Vec<u8>,
    /// What its entry says of its length, if not the truth.
    pub size: Option<u32>,
}

/// A zip archive with right sums and places.
pub fn zip(members: &[Member]) -> Vec<u8> {
    let (mut bytes, mut list) = (Vec::new(), Vec::new());
    for member in members {
        let content =
            if member.method == 8 { inflated(&member.packed) } else { member.packed.clone() };
        let offset = bytes.len() as u32;
        let mut common = Vec::new();
        for half in [20, 0, member.method, 0, 0] {
            common.extend(half.to_le_bytes());
        }
        let size = member.size.unwrap_or(content.len() as u32);
        for word in [crc(&content), member.packed.len() as u32, size] {
            common.extend(word.to_le_bytes());
        }
        common.extend((member.name.len() as u16).to_le_bytes());
        common.extend([0; 2]);
        bytes.extend([b"PK\x03\x04", &common[..], &member.name, &member.packed].concat());
        let version = 20u16.to_le_bytes();
        let place = offset.to_le_bytes();
        list.extend(
            [b"PK\x01\x02", &version[..], &common, &[0; 10], &place, &member.name].concat(),
        );
    }
    let (start, length) = ((bytes.len() as u32).to_le_bytes(), (list.len() as u32).to_le_bytes());
    let count = (members.len() as u16).to_le_bytes();
    bytes.extend(list);
    bytes.extend([b"PK\x05\x06", &[0; 4][..], &count, &count, &length, &start, &[0; 2]].concat());
    bytes
}

/// Bytes as a zlib stream that packs nothing: a packer's tables would take longer than what is tested.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len() as u16;
    let (mut low, mut high) = (1u32, 0u32);
    for byte in bytes {
        low = (low + u32::from(*byte)) % 65_521;
        high = (high + low) % 65_521;
    }
    let mut stream = vec![0x78, 1, 1];
    stream.extend(length.to_le_bytes());
    stream.extend((!length).to_le_bytes());
    stream.extend(bytes);
    stream.extend((high << 16 | low).to_be_bytes());
    stream
}

/// What every PNG file begins with.
pub const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The chunks that a PNG description names by number.
const CHUNKS: [&[u8; 4]; 14] = [
    b"IDAT", b"PLTE", b"tRNS", b"IEND", b"acTL", b"fcTL", b"fdAT", b"gAMA", b"cHRM", b"sRGB",
    b"iCCP", b"pHYs", b"tEXt", b"IHDR",
];

/// A PNG file with right lengths and sums: width, height, depth, colours and interlacing, then chunks. Pixels are
/// described as they are before they are packed, or as a stream.
pub fn png(source: &mut Source<'_>) -> Vec<u8> {
    let mut file = PNG.to_vec();
    let mut chunk = |kind: &[u8], content: &[u8]| {
        let body = [kind, content].concat();
        file.extend((content.len() as u32).to_be_bytes());
        file.extend(&body);
        file.extend(crc(&body).to_be_bytes());
    };
    let (width, height) = (u32::from(source.byte()), u32::from(source.byte()));
    let kind = source.byte();
    let depth = [1, 2, 4, 8, 16, kind][usize::from(kind) % 6];
    let colours = source.byte();
    let colours = [0, 2, 3, 4, 6, colours][usize::from(colours) % 6];
    let interlaced = source.byte() & 1;
    let header =
        [&width.to_be_bytes()[..], &height.to_be_bytes(), &[depth, colours, 0, 0, interlaced]];
    chunk(b"IHDR", &header.concat());
    while !source.is_empty() {
        let choice = source.byte();
        match usize::from(choice) % 18 {
            14..18 => {
                chunk(b"IDAT", &stored(source.long()));
            }
            index => chunk(CHUNKS[index], source.long()),
        }
    }
    chunk(b"IEND", &[]);
    file
}

/// Bob Jenkins' lookup3, which HDF5 sums its headers with.
fn lookup3(bytes: &[u8]) -> u32 {
    let [mut a, mut b, mut c] = [0xDEAD_BEEF_u32.wrapping_add(bytes.len() as u32); 3];
    let mut parts = bytes.chunks(12).peekable();
    while let Some(part) = parts.next() {
        let mut padded = [0; 12];
        padded[..part.len()].copy_from_slice(part);
        let word = |at: usize| {
            u32::from_le_bytes([padded[at], padded[at + 1], padded[at + 2], padded[at + 3]])
        };
        a = a.wrapping_add(word(0));
        b = b.wrapping_add(word(4));
        c = c.wrapping_add(word(8));
        if parts.peek().is_some() {
            for (first, second, third) in [(4, 6, 8), (16, 19, 4)] {
                a = a.wrapping_sub(c) ^ c.rotate_left(first);
                c = c.wrapping_add(b);
                b = b.wrapping_sub(a) ^ a.rotate_left(second);
                a = a.wrapping_add(c);
                c = c.wrapping_sub(b) ^ b.rotate_left(third);
                b = b.wrapping_add(a);
            }
        } else {
            c = (c ^ b).wrapping_sub(b.rotate_left(14));
            a = (a ^ c).wrapping_sub(c.rotate_left(11));
            b = (b ^ a).wrapping_sub(a.rotate_left(25));
            c = (c ^ b).wrapping_sub(b.rotate_left(16));
            a = (a ^ c).wrapping_sub(c.rotate_left(4));
            b = (b ^ a).wrapping_sub(a.rotate_left(14));
            c = (c ^ b).wrapping_sub(b.rotate_left(24));
        }
    }
    c
}

/// An HDF5 file whose superblock and object headers have right sums again.
pub fn with_hdf5_sums(mut file: Vec<u8>) -> Vec<u8> {
    let mut parts = Vec::new();
    if matches!(file.get(8), Some(2 | 3)) {
        parts.push((0, 44));
    }
    for (start, first) in file.iter().enumerate() {
        // Calls that compare texts are watched, and so take long.
        if *first != b'O' {
            continue;
        }
        let Some(flags) = file[start..].strip_prefix(b"OHDR").and_then(|rest| rest.get(1)) else {
            continue;
        };
        let width = 1 << (flags & 3);
        let times = if flags & 32 == 0 { 0 } else { 16 };
        let limits = if flags & 16 == 0 { 0 } else { 4 };
        let size = start + 6 + times + limits;
        let Some(bytes) = file.get(size..size + width) else { continue };
        let length = bytes.iter().rev().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
        parts.push((start, (size + width).saturating_add(length)));
    }
    for (start, end) in parts {
        if let Some(sum) = file.get(start..end).map(lookup3)
            && let Some(place) = file.get_mut(end..).and_then(|rest| rest.get_mut(..4))
        {
            place.copy_from_slice(&sum.to_le_bytes());
        }
    }
    file
}

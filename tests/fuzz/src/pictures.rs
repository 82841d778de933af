//! What must hold of every image that is decoded, and descriptions of JPEG files.

use crate::source::Source;
use belamy_gan::data::image::Image;

/// Images of more pixels say nothing new and take long: only one input of so many is decoded.
const LARGE: (u64, usize) = (1 << 11, 16);
/// Changing an image takes longer than reading it: only one input of so many is.
const CHANGED: usize = 32;
/// Images of more bytes are changed more rarely still: only one input of so many is.
const LONG: (usize, usize) = (1 << 12, 512);
/// Packing an image takes longer than all else: only one input of so many is.
const WRITTEN: usize = 512;

/// Decodes a file and looks at what came out.
pub fn check(file: &[u8], pixels: u64) {
    if pixels > LARGE.0 && !file.len().is_multiple_of(LARGE.1) {
        return;
    }
    crate::written(file);
    let decoded = std::panic::catch_unwind(|| Image::decode("x", file));
    let Ok(Ok(image)) = decoded else { return };
    let Image { width, height, channels, .. } = image;
    assert!(width > 0 && height > 0 && matches!(channels, 1 | 3));
    assert_eq!(image.bytes.len(), width * height * channels);
    let is_long = image.bytes.len() > LONG.0;
    if !file.len().is_multiple_of(if is_long { LONG.1 } else { CHANGED }) {
        return;
    }
    assert_eq!(image.square(8, 1).len(), 64);
    assert_eq!(image.square(3, 3).len(), 27);
    if is_long {
        return;
    }
    assert_eq!(image.part(width / 2, height / 2, 2, 2).channels, channels);
    assert_eq!(image.bicubic(3, 2).bytes.len(), 6 * channels);
    if !file.len().is_multiple_of(WRITTEN) {
        return;
    }
    let again = Image::decode("x", &image.png().expect("an image can be written"));
    assert!(again.expect("what was written can be read") == image);
}

/// The pixels that a PNG file's header promises.
pub fn png_pixels(file: &[u8]) -> u64 {
    let number = |at: usize| -> u64 {
        let bytes = file.get(at..).and_then(|rest| rest.first_chunk());
        u32::from_be_bytes(bytes.copied().unwrap_or_default()).into()
    };
    number(16) * number(20)
}

/// The most pixels that a JPEG file's frame headers promise.
pub fn jpeg_pixels(file: &[u8]) -> u64 {
    let frames = file.windows(9).filter(|at| at[0] == 0xFF && matches!(at[1], 0xC0..=0xCF));
    let number = |high: u8, low: u8| u64::from(u16::from_be_bytes([high, low]));
    frames.map(|at| number(at[5], at[6]) * number(at[7], at[8])).max().unwrap_or(0)
}

/// What every JPEG file begins with.
pub const JPEG: &[u8] = &[0xFF, 0xD8, 0xFF];
/// Written by PIL at quality 90, chroma halved.
pub const COLOUR: &[u8] = include_bytes!("../../../crates/gan/assets/tests/colour.jpg");
/// As [`COLOUR`], in grey.
pub const GREY: &[u8] = include_bytes!("../../../crates/gan/assets/tests/grey.jpg");

/// The segments of a JPEG file up to its first scan: each marker with what follows its length.
fn segments(file: &[u8]) -> Vec<(u8, &[u8])> {
    let mut segments = Vec::new();
    let mut rest = &file[2..];
    while let [0xFF, marker, high, low, ..] = *rest {
        let length = usize::from(u16::from_be_bytes([high, low]));
        segments.push((marker, &rest[4..2 + length]));
        if marker == 0xDA {
            break;
        }
        rest = &rest[2 + length..];
    }
    segments
}

/// A JPEG file with sound tables and right lengths: the kind of frame, whether colours have tables of their own, the
/// size, the sampling of each component, then scans or other segments. Entropy-coded bytes are escaped.
pub fn jpeg(source: &mut Source<'_>) -> Vec<u8> {
    let mut file = JPEG[..2].to_vec();
    let mut segment = |marker: u8, content: &[u8], coded: &[u8]| {
        file.extend([0xFF, marker]);
        file.extend((content.len() as u16 + 2).to_be_bytes());
        file.extend(content);
        for byte in coded {
            file.push(*byte);
            if *byte == 0xFF {
                file.push(0);
            }
        }
    };
    let frame = [0xC0, 0xC1, 0xC2][source.choice(3)];
    // Unpacking tables takes a good part of the time of small images.
    let own_tables = source.choice(4) == 0;
    for (marker, content) in segments(COLOUR) {
        if matches!(marker, 0xDB | 0xC4) && (own_tables || content[0] & 15 == 0) {
            segment(marker, content, &[]);
        }
    }
    let (height, width) = (source.byte(), source.byte());
    let count = [1, 3, 4, 2][source.choice(4)];
    let mut header = vec![8, 0, height, 0, width, count];
    for component in 1..=count {
        let sampling = source.byte();
        let sampling = [0x11, 0x22, 0x21, 0x12, sampling][usize::from(sampling) % 5];
        header.extend([component, sampling, u8::from(own_tables && component > 1)]);
    }
    segment(frame, &header, &[]);
    while !source.is_empty() {
        match source.choice(8) {
            0..4 => {
                let (which, tables) = (source.byte(), source.byte());
                let chosen: Vec<u8> = (1..=count)
                    .filter(|component| which == 0 || which >> component & 1 == 1)
                    .collect();
                let mut header = vec![chosen.len() as u8];
                for component in chosen {
                    let own = if own_tables && component > 1 { 0x11 } else { 0 };
                    header.extend([component, own ^ tables & 0x33]);
                }
                header.extend(match frame {
                    0xC2 => [source.byte() % 64, source.byte() % 64, source.byte()],
                    _ => [0, 63, 0],
                });
                segment(0xDA, &header, source.long());
            }
            4 => segment(0xDD, &[0, source.byte()], &[]),
            5 => segment([0xE0, 0xE1, 0xE2, 0xEE, 0xFE][source.choice(5)], source.short(), &[]),
            6 => segment([0xDB, 0xC4][source.choice(2)], source.short(), &[]),
            _ => segment(source.byte(), source.short(), &[]),
        }
    }
    file.extend([0xFF, 0xD9]);
    file
}

/// A description of [`COLOUR`]'s own scan under another kind of frame.
pub fn jpeg_seeds() -> Vec<Vec<u8>> {
    let coded = |file: &[u8]| -> Vec<u8> {
        let start = file.windows(2).position(|pair| pair == [0xFF, 0xDA]).expect("a scan") + 2;
        let length = usize::from(u16::from_be_bytes([file[start], file[start + 1]]));
        let coded = &file[start + length..file.len() - 2];
        let mut plain = Vec::new();
        let mut escaped = false;
        for byte in coded {
            if !escaped {
                plain.push(*byte);
            }
            escaped = *byte == 0xFF;
        }
        plain
    };
    let colour = coded(COLOUR);
    let length = (colour.len() as u16).to_le_bytes();
    let mut seeds = Vec::new();
    for frame in 0..3 {
        for sampling in [1, 0, 2] {
            let start = [1, frame, 0, 11, 13, 1, sampling, 0, 0];
            let scan: &[u8] = if frame == 2 { &[0, 0, 0, 0, 0, 0] } else { &[0, 0, 0] };
            let mut seed = [&start, scan, &length, &colour].concat();
            if frame == 2 {
                // A second scan of the other coefficients.
                seed.extend([&[0, 2, 0, 1, 63, 0], &length[..], &colour].concat());
            }
            seeds.push(seed);
        }
    }
    let grey = coded(GREY);
    let length = (grey.len() as u16).to_le_bytes();
    seeds.push([&[1, 0, 1, 12, 9, 0, 0, 4, 1, 0, 0, 0], &length[..], &grey].concat());
    seeds
}

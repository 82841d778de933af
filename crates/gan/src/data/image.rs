//! One image of bytes: decoding PNG, JPEG and PPM with strict limits, cropping, resizing, encoding PNG.

use crate::error::{Error, Result, bytes_in_words};
use crate::memory::Bytes;
use std::io::{Cursor, Write};
use std::path::Path;
use zune_jpeg::zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};

/// The largest width and height that are decoded.
pub const LARGEST_SIDE: usize = 8192;
/// The most bytes that an image may have when it is decoded.
const LARGEST_DECODED: u64 = 64 << 20;
/// Neither PNG (deflate: 1032) nor JPEG (a block in two bits: 512; progressive with end-of-band runs: 1024) packs
/// tighter, so a file that promises more is damaged and must not be given memory.
const LARGEST_RATIO: u64 = 1032;

/// An image of bytes, `[height, width, channels]` with 1 channel (grey) or 3 (RGB).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The width in pixels, at least 1.
    pub width: usize,
    /// The height in pixels, at least 1.
    pub height: usize,
    /// 1 or 3.
    pub channels: usize,
    /// The values, row by row.
    pub bytes: Vec<u8>,
}

impl Image {
    /// Decodes a PNG, JPEG or binary PPM image that is in memory (its first bytes tell which); `name` stands in errors.
    ///
    /// Palettes become RGB, 16 bits become 8, transparency is dropped. Fails above 8192 pixels a side or 64 MiB, if
    /// the header promises more than such a file can hold, and if the file is damaged.
    pub fn decode(name: impl AsRef<Path>, bytes: &[u8]) -> Result<Image> {
        let name = name.as_ref();
        // Decoders are others' work: one that panics over a damaged file ends that file, not the program.
        std::panic::catch_unwind(|| Image::decoded(name, bytes)).unwrap_or_else(|_| {
            let found = bytes_in_words(bytes.len() as u128);
            Err(Error::file(name, format!("the decoder failed on the file of {found}")))
        })
    }

    fn decoded(name: &Path, bytes: &[u8]) -> Result<Image> {
        let found = format!("the file of {}", bytes_in_words(bytes.len() as u128));
        let fail = |what: String| Error::file(name, what);
        // The bits of a pixel as stored say what the file must hold; its decoded bytes, what memory must.
        let check = |width: usize, height: usize, stored_bits: usize, decoded_bytes: usize| {
            let pixels = width as u128 * height as u128;
            let decoded = pixels.saturating_mul(decoded_bytes as u128);
            let size = bytes_in_words(decoded);
            let header = format!("the header promises {width} x {height} pixels, {size}");
            let room = u128::from(LARGEST_RATIO) * (bytes.len() as u128 + 64);
            if width == 0 || height == 0 || pixels.saturating_mul(stored_bits as u128) / 8 > room {
                return Err(fail(format!("{header}, but {found} cannot hold them")));
            }
            let most = u128::from(LARGEST_DECODED);
            if width.max(height) > LARGEST_SIDE || decoded > most {
                let most = bytes_in_words(most);
                return Err(fail(format!(
                    "{header}; at most {LARGEST_SIDE} a side and {most} are read"
                )));
            }
            Ok(())
        };
        if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            let damaged = |error| fail(format!("{found} is no sound PNG image: {error}"));
            let limits = png::Limits { bytes: LARGEST_DECODED as usize };
            let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
            decoder.set_transformations(png::Transformations::normalize_to_color8());
            decoder.set_ignore_text_chunk(true);
            decoder.set_ignore_iccp_chunk(true);
            let header = decoder.read_header_info().map_err(damaged)?;
            let (width, height) = (header.width as usize, header.height as usize);
            let stored_bits = header.bits_per_pixel();
            check(width, height, stored_bits, 1)?;
            let mut reader = decoder.read_info().map_err(damaged)?;
            let samples = reader.output_color_type().0.samples();
            check(width, height, stored_bits, samples)?;
            let mut decoded = vec![0; width * height * samples];
            reader.next_frame(&mut decoded).map_err(damaged)?;
            reader.finish().map_err(damaged)?;
            Ok(Image::from_samples(width, height, samples, decoded))
        } else if bytes.starts_with(&[0xFF, 0xD8, 0xFF]) {
            let damaged = |error| fail(format!("{found} is no sound JPEG image: {error:?}"));
            let options =
                DecoderOptions::default().set_max_width(LARGEST_SIDE).set_max_height(LARGEST_SIDE);
            let mut decoder =
                zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(bytes), options);
            decoder.decode_headers().map_err(damaged)?;
            let (width, height) = decoder.dimensions().unwrap_or((0, 0));
            let stored = decoder.input_colorspace().unwrap_or(ColorSpace::Unknown);
            let components = decoder.info().map_or(0, |info| usize::from(info.components));
            // The decoder makes room for those of the colour space, and reads all.
            if stored.num_components() != components {
                return Err(fail(format!(
                    "{found} has {components} components, of which its colour space has {}",
                    stored.num_components()
                )));
            }
            let grey = stored == ColorSpace::Luma;
            let (space, channels) = if grey { (ColorSpace::Luma, 1) } else { (ColorSpace::RGB, 3) };
            check(width, height, 8 * channels, channels)?;
            decoder.set_options(options.jpeg_set_out_colorspace(space));
            let decoded = decoder.decode().map_err(damaged)?;
            if decoded.len() != width * height * channels {
                return Err(fail(format!("{found} has a colour space that is not read")));
            }
            Ok(Image { width, height, channels, bytes: decoded })
        } else if let [b'P', kind @ (b'5' | b'6'), ..] = bytes {
            let channels = if *kind == b'5' { 1 } else { 3 };
            let (numbers, pixels) = netpbm_header(bytes)
                .ok_or_else(|| fail(format!("{found} has a damaged PPM header")))?;
            let [width, height, most] = numbers;
            check(width, height, 8 * channels, channels)?;
            if most != 255 {
                return Err(fail(format!("its largest value is {most}; 255 is read")));
            }
            let length = width * height * channels;
            let decoded = pixels.get(..length).ok_or_else(|| {
                fail(format!("{found} ends within its {width} x {height} pixels"))
            })?;
            Ok(Image { width, height, channels, bytes: decoded.to_vec() })
        } else {
            Err(fail(format!("{found} is neither a PNG, a JPEG nor a binary PPM image")))
        }
    }

    /// Drops transparency: 1, 2, 3 or 4 samples a pixel become 1 or 3.
    fn from_samples(width: usize, height: usize, samples: usize, mut bytes: Vec<u8>) -> Image {
        let channels = if samples < 3 { 1 } else { 3 };
        if samples != channels {
            bytes =
                bytes.chunks_exact(samples).flat_map(|pixel| &pixel[..channels]).copied().collect();
        }
        Image { width, height, channels, bytes }
    }

    /// The square around the centre, brought to `side * side * channels` bytes (1 or 3 channels).
    ///
    /// Resizing averages over a triangle that widens when it shrinks, as PIL's `BILINEAR` does; grey is 0.299 red +
    /// 0.587 green + 0.114 blue, as PIL's `L`.
    pub fn square(&self, side: usize, channels: usize) -> Vec<u8> {
        let extent = self.width.min(self.height);
        let (left, top) = ((self.width - extent) / 2, (self.height - extent) / 2);
        let weights = triangle(extent, side);
        // Rows first: [extent, side, channels].
        let mut narrow = vec![0.0f32; extent * side * self.channels];
        for (y, row) in narrow.chunks_exact_mut(side * self.channels).enumerate() {
            let start = ((top + y) * self.width + left) * self.channels;
            let source = &self.bytes[start..][..extent * self.channels];
            for (pixel, (first, weights)) in row.chunks_exact_mut(self.channels).zip(&weights) {
                let sources = source[first * self.channels..].chunks_exact(self.channels);
                for (source, weight) in sources.zip(weights) {
                    for (sum, byte) in pixel.iter_mut().zip(source) {
                        *sum += weight * f32::from(*byte);
                    }
                }
            }
        }
        let length = side * self.channels;
        let mut result = Vec::with_capacity(side * side * channels);
        let mut row = vec![0.0f32; length];
        for (first, weights) in &weights {
            row.fill(0.0);
            for (source, weight) in narrow[first * length..].chunks_exact(length).zip(weights) {
                for (sum, value) in row.iter_mut().zip(source) {
                    *sum += weight * value;
                }
            }
            for pixel in row.chunks_exact(self.channels) {
                match (pixel, channels) {
                    (&[red, green, blue], 1) => {
                        result.push(byte(0.299 * red + 0.587 * green + 0.114 * blue));
                    }
                    (&[grey], 3) => result.extend([byte(grey); 3]),
                    _ => result.extend(pixel.iter().map(|value| byte(*value))),
                }
            }
        }
        result
    }

    /// The part of `width` by `height` pixels from `left` and `top` on, cut off where the image ends.
    ///
    /// Panics if nothing is left.
    pub fn part(&self, left: usize, top: usize, width: usize, height: usize) -> Image {
        let (right, bottom) = ((left + width).min(self.width), (top + height).min(self.height));
        assert!(left < right && top < bottom, "a part of an image holds a pixel");
        let row = |y: usize| {
            &self.bytes[(y * self.width + left) * self.channels..][..(right - left) * self.channels]
        };
        let bytes = (top..bottom).flat_map(row).copied().collect();
        Image { width: right - left, height: bottom - top, channels: self.channels, bytes }
    }

    /// The image as the bytes of a PNG file.
    pub fn png(&self) -> Result<Vec<u8>> {
        encode_png(self.width, self.height, self.channels, &self.bytes)
    }
}

/// Width, height and largest value of a binary PPM or PGM file, and what follows them.
fn netpbm_header(bytes: &[u8]) -> Option<([usize; 3], &[u8])> {
    let mut rest = &bytes[2..];
    let mut numbers = [0; 3];
    for number in &mut numbers {
        loop {
            let space = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            rest = &rest[space..];
            if rest.first() != Some(&b'#') {
                break;
            }
            rest = &rest[rest.iter().position(|&byte| byte == b'\n')?..];
        }
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        *number = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
        rest = &rest[digits..];
    }
    let (first, pixels) = rest.split_first()?;
    first.is_ascii_whitespace().then_some((numbers, pixels))
}

/// `[height, width, channels]` bytes as a PNG file. Row by row, in chunks of 32 KiB: encoded at once, the compressed picture
/// would be held by others' code, which ends the program where there is no memory.
pub(crate) fn encode_png(
    width: usize,
    height: usize,
    channels: usize,
    bytes: &[u8],
) -> Result<Vec<u8>> {
    let mut file = Bytes::new("a picture's file");
    let mut encoder = png::Encoder::new(&mut file, width as u32, height as u32);
    encoder.set_color(if channels == 1 { png::ColorType::Grayscale } else { png::ColorType::Rgb });
    encoder.set_depth(png::BitDepth::Eight);
    let written = encoder.write_header().and_then(|mut writer| {
        let mut rows = writer.stream_writer()?;
        rows.write_all(bytes)?;
        rows.finish()?;
        writer.finish()
    });
    file.whole(written)
}

fn byte(value: f32) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

/// For each of `to` outputs the first of `from` inputs that it averages, and their weights, which sum to 1.
fn triangle(from: usize, to: usize) -> Vec<(usize, Vec<f32>)> {
    let scale = from as f64 / to as f64;
    let reach = scale.max(1.0);
    let weights = |output: usize| {
        let centre = (output as f64 + 0.5) * scale;
        let first = (centre - reach).floor().max(0.0) as usize;
        let end = ((centre + reach).ceil() as usize).clamp(first + 1, from);
        let weight = |input: usize| (1.0 - (input as f64 + 0.5 - centre).abs() / reach).max(0.0);
        let sum: f64 = (first..end).map(weight).sum();
        (first, (first..end).map(|input| (weight(input) / sum) as f32).collect())
    };
    (0..to).map(weights).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use belamy_tensor::philox::{Draws, integer};

    const COLOUR_JPEG: &[u8] = include_bytes!("../../assets/tests/colour.jpg");
    const GREY_JPEG: &[u8] = include_bytes!("../../assets/tests/grey.jpg");

    fn pattern() -> Image {
        let pixel = |x: usize, y: usize| [x * 19, y * 23, x * y * 3].map(|value| value as u8);
        let bytes = (0..11).flat_map(|y| (0..13).flat_map(move |x| pixel(x, y))).collect();
        Image { width: 13, height: 11, channels: 3, bytes }
    }

    #[test]
    fn png_reads_back_exactly() {
        let image = pattern();
        assert_eq!(Image::decode("x", &image.png().unwrap()).unwrap(), image);
        let grey =
            Image { width: 3, height: 2, channels: 1, bytes: vec![0, 50, 100, 150, 200, 255] };
        assert_eq!(Image::decode("x", &grey.png().unwrap()).unwrap(), grey);
    }

    #[test]
    fn ppm_is_read_and_its_damage_found() {
        let file = b"P6\n# made by hand\n2 1\n255\n\x01\x02\x03\x04\x05\x06";
        let image = Image::decode("x.ppm", file).unwrap();
        assert_eq!((image.width, image.height, image.channels), (2, 1, 3));
        assert_eq!(image.bytes, [1, 2, 3, 4, 5, 6]);
        let grey = Image::decode("x.pgm", b"P5 1 2 255 \x07\x08").unwrap();
        assert_eq!((grey.channels, &grey.bytes[..]), (1, &[7, 8][..]));
        for length in 2..file.len() {
            assert!(Image::decode("x.ppm", &file[..length]).is_err(), "{length}");
        }
        for header in ["P6 99999 99999 255 ", "P6 1 1 65535 ", "P6 -1 1 255 ", "P6 # no end"] {
            assert!(Image::decode("x.ppm", header.as_bytes()).is_err(), "{header}");
        }
    }

    #[test]
    fn a_header_of_more_pixels_than_can_be_counted_is_refused() {
        // The pixels, and their bytes, overflow 64 and 128 bits.
        let most = u64::MAX;
        for header in [format!("P6 {most} {most} 255 "), format!("P5 {most} 2 255 ")] {
            let error = Image::decode("x.ppm", header.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("x.ppm") && error.contains("the header promises"), "{error}");
        }
    }

    #[test]
    fn parts_keep_their_pixels() {
        let image = pattern();
        let part = image.part(10, 8, 2, 99);
        assert_eq!((part.width, part.height), (2, 3));
        assert_eq!(part.bytes[..6], image.bytes[(8 * 13 + 10) * 3..][..6]);
    }

    #[test]
    fn palettes_few_bits_sixteen_bits_and_transparency_become_plain_bytes() {
        let encode = |colour, depth, data: &[u8], palette: Option<&'static [u8]>| {
            let mut file = Vec::new();
            let mut encoder = png::Encoder::new(&mut file, 2, 1);
            encoder.set_color(colour);
            encoder.set_depth(depth);
            if let Some(palette) = palette {
                encoder.set_palette(palette);
            }
            let mut writer = encoder.write_header().unwrap();
            writer.write_image_data(data).unwrap();
            writer.finish().unwrap();
            Image::decode("x", &file).unwrap()
        };
        use png::{BitDepth::*, ColorType::*};
        let palette = encode(Indexed, One, &[0b0100_0000], Some(&[9, 8, 7, 1, 2, 3]));
        assert_eq!((palette.channels, &palette.bytes[..]), (3, &[9, 8, 7, 1, 2, 3][..]));
        let bits = encode(Grayscale, One, &[0b0100_0000], None);
        assert_eq!((bits.channels, &bits.bytes[..]), (1, &[0, 255][..]));
        let deep = encode(Grayscale, Sixteen, &[10, 99, 200, 1], None);
        assert_eq!((deep.channels, &deep.bytes[..]), (1, &[10, 200][..]));
        let clear = encode(Rgba, Eight, &[1, 2, 3, 0, 4, 5, 6, 255], None);
        assert_eq!((clear.channels, &clear.bytes[..]), (3, &[1, 2, 3, 4, 5, 6][..]));
        let clear = encode(GrayscaleAlpha, Eight, &[7, 0, 8, 255], None);
        assert_eq!((clear.channels, &clear.bytes[..]), (1, &[7, 8][..]));
    }

    #[test]
    fn jpeg_agrees_with_pil() {
        let image = Image::decode("x", COLOUR_JPEG).unwrap();
        assert_eq!((image.width, image.height, image.channels), (13, 11, 3));
        // Pixels as PIL 12 decodes this file (written by it at quality 90, chroma halved).
        for (x, y, expected) in
            [(0, 0, [0, 6, 0]), (6, 5, [112, 116, 91]), (12, 10, [232, 230, 93])]
        {
            let found = &image.bytes[(y * 13 + x) * 3..][..3];
            for (found, expected) in found.iter().zip(expected) {
                assert!(found.abs_diff(expected) <= 12, "({x}, {y}): {found} {expected}");
            }
        }
        let grey = Image::decode("x", GREY_JPEG).unwrap();
        assert_eq!((grey.width, grey.height, grey.channels), (9, 12, 1));
        assert!(grey.bytes.iter().all(|byte| byte.abs_diff(20) <= 1));
    }

    #[test]
    fn no_sampling_of_components_and_no_scan_of_some_ends_the_jpeg_decoder() {
        let marker = |name| COLOUR_JPEG.windows(2).position(|pair| pair == [0xFF, name]).unwrap();
        let (frame, scan) = (marker(0xC0), marker(0xDA));
        let samplings = [0x11, 0x12, 0x21, 0x22];
        for scanned in [&[1u8][..], &[2], &[3], &[1, 2], &[2, 3], &[1, 3], &[1, 2, 3]] {
            let count = scanned.len() as u8;
            let mut header = vec![0xFF, 0xDA, 0, 6 + 2 * count, count];
            header.extend(scanned.iter().flat_map(|&id| [id, if id == 1 { 0 } else { 0x11 }]));
            header.extend([0, 63, 0]);
            let mut read = 0;
            for at in 0..64 {
                // Behind the file's own header of 14 bytes is what was coded.
                let mut file = [&COLOUR_JPEG[..scan], &header, &COLOUR_JPEG[scan + 14..]].concat();
                let chosen = [at / 16, at / 4 % 4, at % 4].map(|index| samplings[index]);
                for (component, sampling) in chosen.into_iter().enumerate() {
                    file[frame + 11 + 3 * component] = sampling;
                }
                match Image::decode("x", &file).map_err(|error| error.to_string()) {
                    Ok(image) => read += usize::from(image.bytes.len() == 13 * 11 * 3),
                    Err(error) => {
                        assert!(!error.contains("decoder failed"), "{chosen:x?}: {error}")
                    }
                }
            }
            assert!(read > 0, "{scanned:?}");
        }
    }

    /// What zune-jpeg 0.5.16-rc3 falls over: YCbCr, as Adobe's segment says, of four components in a progressive image.
    #[test]
    fn a_fourth_component_of_a_colour_space_of_three_is_refused() {
        let marker = |name| COLOUR_JPEG.windows(2).position(|pair| pair == [0xFF, name]).unwrap();
        let (frame, scan) = (marker(0xC0), marker(0xDA));
        let file = [
            &COLOUR_JPEG[..frame],
            &[0xFF, 0xC2, 0, 20, 8, 0, 37, 0, 5, 4, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1, 4, 0x21, 1],
            &COLOUR_JPEG[frame + 19..scan], // behind the frame's header of 19 bytes: tables
            b"\xFF\xEE\0\x0EAdobe\0d\0\0\0\0\x01",
            &[0xFF, 0xDA, 0, 14, 4, 1, 0, 2, 0x11, 3, 0x11, 4, 0x11, 0, 0, 0],
            &[0; 8],
            &[0xFF, 0xD9],
        ]
        .concat();
        let error = Image::decode("x", &file).unwrap_err().to_string();
        assert!(error.contains("has 4 components, of which its colour space has 3"), "{error}");
    }

    #[test]
    fn resizing_agrees_with_pil() {
        let value = |x: usize, y: usize| ((x * x * 3 + y * 7 * x + y * 11) / 5 % 256) as u8;
        let bytes = (0..30).flat_map(|y| (0..40).map(move |x| value(x, y))).collect();
        let image = Image { width: 40, height: 30, channels: 1, bytes };
        // PIL 12: crop((5, 0, 35, 30)).resize((side, side), BILINEAR), three stretches of seven pixels.
        let golden = [
            (
                7,
                [55, 109, 168, 119, 127, 129, 139],
                [171, 114, 142, 126, 128, 131, 126],
                [109, 119, 131, 128, 128, 128, 131],
            ),
            (
                41,
                [15, 19, 24, 30, 36, 43, 51],
                [148, 164, 185, 205, 227, 181, 110],
                [75, 66, 123, 180, 67, 41, 89],
            ),
        ];
        for (side, first, middle, last) in golden {
            let resized = image.square(side, 1);
            assert_eq!(resized.len(), side * side);
            let starts = [0, side / 2 * side, side * side - 7];
            for (start, expected) in starts.into_iter().zip([first, middle, last]) {
                let found = &resized[start..start + 7];
                let close = found.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 1);
                assert!(close, "{side}: {found:?} {expected:?}");
            }
        }
    }

    #[test]
    fn the_centre_is_kept_and_colour_and_grey_become_each_other() {
        let square = pattern().square(11, 3);
        assert_eq!(square[..3], pattern().bytes[3..6]);
        // PIL's convert("L") of the same pixels.
        let grey = Image { width: 2, height: 2, channels: 3, bytes: [[114, 115, 90]; 4].concat() };
        assert_eq!(grey.square(1, 1), [112]);
        let grey = Image { width: 1, height: 3, channels: 1, bytes: vec![0, 7, 255] };
        assert_eq!(grey.square(1, 3), [7, 7, 7]);
    }

    #[test]
    fn a_large_blank_sheet_is_no_bomb() {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, 4000, 4000);
        encoder.set_depth(png::BitDepth::One);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&vec![255; 4000 * 500]).unwrap();
        writer.finish().unwrap();
        assert!(file.len() < 20_000, "{}", file.len());
        let image = Image::decode("x", &file).unwrap();
        assert_eq!(image.square(2, 1), [255; 4]);
    }

    #[test]
    fn a_png_that_promises_gigabytes_is_refused() {
        for (width, height) in
            [(100_000u32, 100_000u32), (8192, 8192), (4096, 4096), (1, u32::MAX), (0, 1), (9000, 1)]
        {
            let mut bytes = pattern().png().unwrap();
            bytes[16..20].copy_from_slice(&width.to_be_bytes());
            bytes[20..24].copy_from_slice(&height.to_be_bytes());
            let mut crc = flate2::Crc::new();
            crc.update(&bytes[12..29]);
            bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
            let error = Image::decode("set/bomb.png", &bytes).unwrap_err().to_string();
            assert!(error.contains("set/bomb.png"), "{error}");
        }
        let error = Image::decode("x.png", b"this is text").unwrap_err().to_string();
        assert!(error.contains("x.png: the file of 12 bytes is neither"), "{error}");
    }

    #[test]
    fn every_truncation_and_2000_bit_flips_return() {
        let png = pattern().png().unwrap();
        for (name, bytes) in [("png", &png[..]), ("jpeg", COLOUR_JPEG), ("grey jpeg", GREY_JPEG)] {
            for length in 0..bytes.len() {
                let result = Image::decode("x", &bytes[..length]);
                // A JPEG may be read to where it ends; a PNG says how long it is.
                assert!(
                    result.is_err() || name != "png" && length > bytes.len() / 2,
                    "{name} {length}"
                );
            }
            let draws = Draws { seed: 2, stream: 0, step: 0 };
            let mut refused = 0;
            for flip in 0..2000 {
                let bit = integer(draws.word(flip, 0), 8 * bytes.len() as u32);
                let mut damaged = bytes.to_vec();
                damaged[bit as usize / 8] ^= 1 << (bit % 8);
                match Image::decode("x", &damaged) {
                    Ok(image) => assert_eq!(image.square(8, 3).len(), 192),
                    Err(_) => refused += 1,
                }
            }
            assert!(refused > if name == "png" { 1500 } else { 100 }, "{name}: {refused}");
        }
    }
}

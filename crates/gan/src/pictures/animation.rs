//! Pictures that move: canvases of one size as an animated PNG, which every browser shows.
//!
//! ```text
//! acTL, then of each frame fcTL and its image data: IDAT of the first, fdAT (a number, then the same) of the others
//! ```
//!
//! (Portable Network Graphics, third edition, W3C 2025, 11.3.6.) The image data are those of the frame as a picture of its own.

use super::canvas::Canvas;
use crate::error::{Error, Result};
use crate::memory::Bytes;
use png::chunk::{ChunkType, IDAT, fcTL, fdAT};

/// Frames of one size as the bytes of an animated PNG that repeats for ever, `milliseconds` a frame.
///
/// A viewer that knows no animation shows the first frame. Fails without frames, where one is of another size, and without
/// memory for the file.
///
/// ```
/// use belamy_gan::pictures::{animation::animated_png, canvas::Canvas};
/// let bytes = animated_png(&[Canvas::new(4, 4)?, Canvas::new(4, 4)?], 80)?;
/// assert!(bytes.windows(4).any(|chunk| chunk == b"acTL"));
/// # Ok::<(), belamy_gan::Error>(())
/// ```
pub fn animated_png(frames: &[Canvas], milliseconds: u16) -> Result<Vec<u8>> {
    let first = frames.first().ok_or_else(|| Error::data("an animation needs a frame"))?;
    let size = (first.width(), first.height());
    if frames.iter().any(|frame| (frame.width(), frame.height()) != size) {
        return Err(Error::data("the frames of an animation must be of one size"));
    }
    let stills = frames.iter().map(Canvas::png).collect::<Result<Vec<_>>>()?;
    let mut file = Bytes::new("an animation's file");
    let mut encoder = png::Encoder::new(&mut file, size.0, size.1);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let written = encoder.set_animated(frames.len() as u32, 0).and_then(|()| {
        let mut writer = encoder.write_header()?;
        let mut part = 0u32;
        for (index, still) in stills.iter().enumerate() {
            writer.write_chunk(fcTL, &frame_control(part, size, milliseconds))?;
            part += 1;
            for (_, content) in chunks(still).filter(|(kind, _)| *kind == IDAT) {
                if index == 0 {
                    writer.write_chunk(IDAT, content)?;
                } else {
                    writer.write_chunk(fdAT, &[&part.to_be_bytes()[..], content].concat())?;
                    part += 1;
                }
            }
        }
        writer.finish()
    });
    file.whole(written)
}

/// A frame control chunk: its place among all parts of frames, the frame's size and place, the numerator and the denominator
/// of the seconds that it is shown; it is neither cleared away nor blended with the one before.
fn frame_control(part: u32, (width, height): (u32, u32), milliseconds: u16) -> [u8; 26] {
    let mut content = [0; 26];
    content[..4].copy_from_slice(&part.to_be_bytes());
    content[4..8].copy_from_slice(&width.to_be_bytes());
    content[8..12].copy_from_slice(&height.to_be_bytes());
    content[20..22].copy_from_slice(&milliseconds.to_be_bytes());
    content[22..24].copy_from_slice(&1000u16.to_be_bytes());
    content
}

/// The chunks of a sound PNG file: after the signature each is its length, its kind, its content and a checksum.
fn chunks(file: &[u8]) -> impl Iterator<Item = (ChunkType, &[u8])> {
    let mut rest = file.get(8..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (kind, after) = after.split_first_chunk::<4>()?;
        let (content, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        rest = after.get(4..)?;
        Some((ChunkType(*kind), content))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_read_back_in_their_order() {
        let mut frames = Vec::from([(); 3].map(|()| Canvas::new(3, 2).unwrap()));
        frames[1].set_pixel(2, 1, [1, 2, 3]);
        frames[2].set_pixel(0, 0, [9, 8, 7]);
        let bytes = animated_png(&frames, 40).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
        assert_eq!(reader.info().animation_control.unwrap().num_frames, 3);
        for frame in &frames {
            let mut decoded = vec![0; 18];
            reader.next_frame(&mut decoded).unwrap();
            assert_eq!(decoded[15..], frame.pixel(2, 1).unwrap());
            assert_eq!(decoded[..3], frame.pixel(0, 0).unwrap());
        }
        // Each of more bytes than a chunk holds.
        let noise = |seed: u32| {
            let mut canvas = Canvas::new(200, 190).unwrap();
            let mut state = seed;
            for (x, y) in (0..190).flat_map(|y| (0..200).map(move |x| (x, y))) {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                canvas.set_pixel(x, y, [state >> 24, state >> 16, state >> 8].map(|it| it as u8));
            }
            canvas
        };
        let large = [noise(1), noise(2), noise(3)];
        let bytes = animated_png(&large, 40).unwrap();
        assert!(chunks(&bytes).filter(|(kind, _)| *kind == fdAT).count() > 4);
        let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
        for frame in &large {
            let mut decoded = vec![0; 200 * 190 * 3];
            reader.next_frame(&mut decoded).unwrap();
            let pixels = (0..190).flat_map(|y| (0..200).map(move |x| (x, y)));
            assert!(pixels.flat_map(|(x, y)| frame.pixel(x, y).unwrap()).eq(decoded));
        }
        frames.push(Canvas::new(3, 3).unwrap());
        assert!(animated_png(&frames, 40).is_err() && animated_png(&[], 40).is_err());
    }
}

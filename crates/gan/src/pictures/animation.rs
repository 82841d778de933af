//! Pictures that move: canvases of one size as an animated PNG, which every browser shows.

use super::canvas::Canvas;
use crate::error::{Error, Result};

/// Frames of one size as the bytes of an animated PNG that repeats for ever, `milliseconds` a frame.
///
/// A viewer that knows no animation shows the first frame. Fails without frames, or where one is of another size.
///
/// ```
/// use belamy_gan::pictures::{animation::animated_png, canvas::Canvas};
/// let bytes = animated_png(&[Canvas::new(4, 4), Canvas::new(4, 4)], 80)?;
/// assert!(bytes.windows(4).any(|chunk| chunk == b"acTL"));
/// # Ok::<(), belamy_gan::Error>(())
/// ```
pub fn animated_png(frames: &[Canvas], milliseconds: u16) -> Result<Vec<u8>> {
    let first = frames.first().ok_or_else(|| Error::data("an animation needs a frame"))?;
    let size = (first.width(), first.height());
    if frames.iter().any(|frame| (frame.width(), frame.height()) != size) {
        return Err(Error::data("the frames of an animation must be of one size"));
    }
    let fail = |error: png::EncodingError| {
        Error::data(format!("the animation cannot be encoded: {error}"))
    };
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, size.0, size.1);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_animated(frames.len() as u32, 0).map_err(fail)?;
    encoder.set_frame_delay(milliseconds, 1000).map_err(fail)?;
    let mut writer = encoder.write_header().map_err(fail)?;
    for frame in frames {
        let bytes: Vec<u8> = (0..size.1)
            .flat_map(|y| (0..size.0).map(move |x| (x, y)))
            .flat_map(|(x, y)| frame.pixel(x, y).unwrap_or_default())
            .collect();
        writer.write_image_data(&bytes).map_err(fail)?;
    }
    writer.finish().map_err(fail)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_read_back_in_their_order() {
        let mut frames = vec![Canvas::new(3, 2), Canvas::new(3, 2), Canvas::new(3, 2)];
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
        frames.push(Canvas::new(3, 3));
        assert!(animated_png(&frames, 40).is_err() && animated_png(&[], 40).is_err());
    }
}

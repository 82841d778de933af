//! PNG images. Under `--cfg fuzzing` the decoder does not look at sums; descriptions have right ones all the same.
#![no_main]

use belamy_fuzz::source::Source;
use belamy_fuzz::{containers, pictures};
use belamy_gan::data::image::Image;
use libfuzzer_sys::fuzz_target;

fn written(colours: png_files::ColorType, depth: png_files::BitDepth, row: usize) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png_files::Encoder::new(&mut file, 9, 5);
    encoder.set_color(colours);
    encoder.set_depth(depth);
    if colours == png_files::ColorType::Indexed {
        encoder.set_palette((0..48).collect::<Vec<u8>>());
        encoder.set_trns(vec![0, 128]);
    }
    let pixels: Vec<u8> = (0..5 * row).map(|index| (index * 37) as u8).collect();
    let mut writer = encoder.write_header().expect("a sound header");
    writer.write_image_data(&pixels).expect("as many pixels as there are");
    writer.finish().expect("memory takes everything");
    file
}

fn seeds() -> Vec<Vec<u8>> {
    use png_files::{BitDepth::*, ColorType::*};
    let bytes = (0..13 * 11 * 3).map(|index: u32| (index * index % 251) as u8).collect();
    let image = Image { width: 13, height: 11, channels: 3, bytes };
    let mut files = vec![image.png().expect("a sound image")];
    for (colours, depth, row) in [
        (Grayscale, One, 2),
        (Grayscale, Four, 5),
        (Grayscale, Sixteen, 18),
        (Indexed, Two, 3),
        (Indexed, Four, 5),
        (GrayscaleAlpha, Eight, 18),
        (Rgba, Sixteen, 72),
        (Rgb, Eight, 27),
    ] {
        files.push(written(colours, depth, row));
    }
    let mut seeds: Vec<Vec<u8>> =
        files.iter().map(|file| [&[0], &file[containers::PNG.len()..]].concat()).collect();
    // Rows of four bytes and their filters: depth 8, each kind of colours, with and without interlacing.
    for colours in 0..5 {
        for interlaced in [0, 1] {
            let rows = 5u16 * 18;
            let mut seed = vec![1, 4, 5, 3, colours, interlaced];
            if colours == 2 {
                seed.extend([1, 6, 0, 1, 2, 3, 4, 5, 6]);
            }
            seed.push(14);
            seed.extend(rows.to_le_bytes());
            seed.extend((0..rows).map(|index| (index % 5) as u8));
            seeds.push(seed);
        }
    }
    // Found in png 0.18.1: a palette of one colour and two thirds.
    seeds.push(vec![1, 1, 1, 3, 2, 0, 1, 5, 0, 0, 1, 2, 3, 4, 14, 2, 0, 0, 0]);
    seeds
}

fuzz_target!(init: belamy_fuzz::begin(seeds), |data: &[u8]| {
    let mut source = Source::new(data);
    let file = match source.choice(2) {
        0 => [containers::PNG, source.rest()].concat(),
        _ => containers::png(&mut source),
    };
    pictures::check(&file, pictures::png_pixels(&file));
});

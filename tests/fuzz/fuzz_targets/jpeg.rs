//! JPEG images.
#![no_main]

use belamy_fuzz::pictures::{self, COLOUR, GREY, JPEG};
use belamy_fuzz::source::Source;
use libfuzzer_sys::fuzz_target;

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = pictures::jpeg_seeds();
    // Found in zune-jpeg 0.5.15: the second component is sampled most, and one of two is sampled more.
    seeds.push(vec![1, 0, 0, 24, 20, 1, 0, 1, 0, 0, 4, 0, 3, 0, 0, 0x2b, 0xc2]);
    seeds.extend([COLOUR, GREY].map(|file| [&[0], &file[JPEG.len()..]].concat()));
    seeds
}

fuzz_target!(init: belamy_fuzz::begin(seeds), |data: &[u8]| {
    let mut source = Source::new(data);
    let file = match source.choice(2) {
        0 => [JPEG, source.rest()].concat(),
        _ => pictures::jpeg(&mut source),
    };
    pictures::check(&file, pictures::jpeg_pixels(&file));
});

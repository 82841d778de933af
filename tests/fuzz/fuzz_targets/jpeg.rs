//! JPEG images.
#![no_main]

use belamy_fuzz::pictures::{self, COLOUR, GREY, JPEG};
use belamy_fuzz::source::Source;
use libfuzzer_sys::fuzz_target;

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = pictures::jpeg_seeds();
    // Found in zune-jpeg 0.5.15: the second component is sampled most, and one of two is sampled more. A segment of zeros
    // behind it makes its length one of which images as large are read.
    let found = [1, 0, 0, 74, 70, 1, 0, 1, 0, 0, 4, 0, 3, 0, 0, 0x2b, 0xc2];
    seeds.push([&found[..], &[5, 0, 14], &[0; 14]].concat());
    // Found in zune-jpeg 0.5.16-rc3: four components of a colour space that has three, the fourth sampled less than the first.
    let components = [1, 2, 0, 37, 5, 2, 1, 0, 0, 2];
    let adobe = b"Adobe\0d\0\0\0\0\x01";
    let scan = [&[0; 6][..], &[8, 0], &[0; 8]].concat();
    seeds.push([&components[..], &[5, 3, adobe.len() as u8], adobe, &scan].concat());
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

//! Binary PPM and PGM images.
#![no_main]

use belamy_fuzz::pictures;
use libfuzzer_sys::fuzz_target;

fn seeds() -> Vec<Vec<u8>> {
    let files: [&[u8]; 7] = [
        b"6\n# made by hand\n2 1\n255\n\x01\x02\x03\x04\x05\x06",
        b"5 1 2 255 \x07\x08",
        b"5 8192 8192 255 ",
        b"6 99999999999999999999 1 255 ",
        b"6 4294967296 4294967296 255 ",
        b"6 18446744073709551615 18446744073709551615 255 ",
        b"5#\n#\n1\t1\r65535\n",
    ];
    files.into_iter().map(<[u8]>::to_vec).collect()
}

fuzz_target!(init: belamy_fuzz::begin(seeds), |data: &[u8]| {
    pictures::check(&[b"P", data].concat(), 0);
});

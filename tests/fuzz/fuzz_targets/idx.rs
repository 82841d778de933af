//! idx files, plain and gzipped: MNIST and its kin.
#![no_main]

use belamy_fuzz::containers::{deflated, gzip, gzip_of_stream};
use belamy_fuzz::source::Source;
use belamy_gan::data::idx::{self, Idx};
use belamy_gan::data::{Dataset, ValueRange};
use libfuzzer_sys::fuzz_target;

/// Deflate packs no tighter than this.
const RATIO: usize = 1032;

fn plain(dims: &[u32], elements: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dims.len() as u8];
    dims.iter().for_each(|dim| bytes.extend(dim.to_be_bytes()));
    bytes.extend(elements);
    bytes
}

/// A file whose header promises what follows it.
fn described(source: &mut Source<'_>) -> Vec<u8> {
    let rank = 1 + source.choice(4);
    let dims: Vec<u32> = (0..rank).map(|_| u32::from(source.byte() % 8)).collect();
    let count: u32 = dims.iter().product();
    let mut elements = source.rest().to_vec();
    elements.resize(count as usize, 7);
    plain(&dims, &elements)
}

fn seeds() -> Vec<Vec<u8>> {
    let images = plain(&[2, 3, 2], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    let labels = plain(&[5], &[0, 1, 2, 3, 4]);
    let bomb = plain(&[u32::MAX, 2], &[0; 4000]);
    let zeros = plain(&[100, 100], &[0; 10_000]);
    let mut seeds = vec![vec![2, 2, 2, 3, 2, 9, 9], vec![3, 0, 5]];
    // Nothing, in extents whose product overflows.
    seeds.push([&[0], &plain(&[1 << 31, 1 << 31, 4, 0], &[])[..]].concat());
    for file in [images, labels, bomb, zeros] {
        seeds.push([&[1], &deflated(&file)[..]].concat());
        seeds.push([&[0], &gzip(&file)[..]].concat());
        seeds.push([&[0], &gzip(&file[..9])[..], &gzip(&file[9..])].concat());
        seeds.push([&[0], &file[..file.len().min(200)]].concat());
    }
    seeds
}

fuzz_target!(init: belamy_fuzz::begin(seeds), |data: &[u8]| {
    let mut source = Source::new(data);
    let choice = source.choice(4);
    let file = match choice {
        0 => source.rest().to_vec(),
        1 => gzip_of_stream(source.rest()),
        2 => described(&mut source),
        _ => {
            let stored = described(&mut source);
            let length = stored.len() as u16;
            let mut stream = vec![1];
            stream.extend(length.to_le_bytes());
            stream.extend((!length).to_le_bytes());
            stream.extend(stored);
            gzip_of_stream(&stream)
        }
    };
    belamy_fuzz::written(&file);
    let found = idx::from_bytes("x", &file);
    assert!(choice < 2 || found.is_ok(), "a sound file was refused: {found:?}");
    let Ok(Idx { dims, bytes }) = found else { return };
    assert!((1..=4).contains(&dims.len()));
    assert_eq!(dims.iter().product::<usize>(), bytes.len());
    assert!(bytes.len() <= RATIO * file.len());
    if bytes.len() > 1 << 12 {
        return;
    }
    let again: Vec<u32> = dims.iter().map(|dim| *dim as u32).collect();
    let again = idx::from_bytes("x", &plain(&again, &bytes)).expect("what was read can be written");
    assert_eq!((&again.dims, &again.bytes), (&dims, &bytes));
    let data = Dataset::from_bytes(&bytes, &[&dims[..], &[1]].concat(), None, ValueRange::Signed);
    assert_eq!(data.is_ok(), !bytes.is_empty());
});

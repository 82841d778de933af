//! CIFAR-10's binary batches.
#![no_main]

use belamy_fuzz::source::Source;
use belamy_gan::data::{ValueRange, cifar};
use libfuzzer_sys::fuzz_target;

/// A label and three planes.
const RECORD: usize = 1 + 3 * 1024;

fn seeds() -> Vec<Vec<u8>> {
    vec![
        vec![0, 10, 7, 0, 7],
        vec![0, 7, 7, 0, 7],
        vec![0, 3, 11],
        vec![1, 10, 5, 5],
        vec![2, 10, 1],
    ]
}

fuzz_target!(init: belamy_fuzz::begin(seeds), |data: &[u8]| {
    let mut source = Source::new(data);
    let (choice, class) = (source.choice(3), source.choice(12));
    let labels = source.rest();
    let file: Vec<u8> = match choice {
        // Each byte a record of that label.
        0 => {
            let records: Vec<[u8; RECORD]> =
                labels.iter().take(3).map(|label| [*label; RECORD]).collect();
            records.concat()
        }
        // Cut short or too long by some bytes.
        1 => {
            let length = (labels.len() / 2 * RECORD).min(2 * RECORD) + labels.len() % 2;
            let mut pattern = labels.repeat(length.div_ceil(labels.len().max(1)));
            pattern.truncate(length);
            pattern
        }
        _ => labels.to_vec(),
    };
    belamy_fuzz::written(&file);
    let Ok(data) = cifar::from_bytes("x", &file, class, ValueRange::Unbounded) else { return };
    assert!(file.len().is_multiple_of(RECORD) && class <= cifar::CLASSES);
    let records = file.chunks(RECORD);
    let wanted = |record: &&[u8]| class == cifar::CLASSES || usize::from(record[0]) == class;
    let kept: Vec<&[u8]> = records.filter(wanted).collect();
    assert_eq!(data.shape, [kept.len(), 32, 32, 3]);
    assert_eq!(data.labels.is_some(), class == cifar::CLASSES);
    for (index, record) in kept.iter().enumerate() {
        let sample = data.sample(index).expect("there are as many");
        assert_eq!(sample[5], f32::from(record[1 + 2 * 1024 + 1]));
    }
});

//! CIFAR-10's binary batches.
#![no_main]

use belamy_fuzz::folder::{Folder, Slot};
use belamy_fuzz::source::Source;
use belamy_gan::data::{ValueRange, cifar};
use libfuzzer_sys::fuzz_target;

/// A label and three planes.
const RECORD: usize = 1 + 3 * 1024;

thread_local! {
    static FILE: Slot = Folder::new("cifar").slot("batch.bin");
}

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
        0 => labels.iter().take(4).flat_map(|label| vec![*label; RECORD]).collect(),
        // Cut short or too long by some bytes.
        1 => {
            let length = (labels.len() / 2 * RECORD).min(4 * RECORD) + labels.len() % 2;
            let pattern = labels.iter().copied().cycle();
            pattern.take(if labels.is_empty() { 0 } else { length }).collect()
        }
        _ => labels.to_vec(),
    };
    belamy_fuzz::written(&file);
    FILE.with(|slot| {
        slot.put(&file);
        let Ok(data) = cifar::load(slot.path(), class, ValueRange::Unbounded) else { return };
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
});

//! A run's metrics.jsonl as a resumed run repairs it, and the verdicts on what is left.
#![no_main]

use belamy_fuzz::edits::edited;
use belamy_fuzz::folder::Folder;
use belamy_fuzz::source::Source;
use belamy_gan::health::{self, Game, Monitor};
use belamy_gan::journal::{Journal, Repair};
use belamy_gan::objective::LossConvention;
use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;

const SOUND: &[u8] = br#"{"step":1,"epoch":0.1,"seconds":0.01,"images_per_second":9e3,"loss_d":1.4,"loss_g":0.7,"loss_convention":"mean","accuracy_real":0.5,"accuracy_fake":0.5,"fooling_rate":0.5,"health":"too-early"}
{"step":20,"loss_d":0.6,"loss_g":null,"accuracy_real":1.0,"variety":0.9,"gradient_norm_d":3.5,"gradient_norm_g":1e300}
{"note":"no step"}
{"step":40,"loss_d":0.01,"loss_g":6.0}
{"step":60,"loss_d":0.02
"#;

thread_local! {
    static FILE: PathBuf = Folder::new("metrics").path().join("metrics.jsonl");
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![vec![1, 0, 0], vec![1, 40, 0], vec![1, 255, 255]];
    for line in SOUND.split(|byte| *byte == b'\n') {
        seeds.push([&[0, 20, 0], line, b"\n"].concat());
    }
    seeds
}

fuzz_target!(init: belamy_fuzz::begin(seeds), |data: &[u8]| {
    FILE.with(|path| {
        let mut source = Source::new(data);
        let (choice, step) = (source.choice(2), source.word());
        let bytes = match choice {
            0 => source.rest().to_vec(),
            _ => edited(SOUND, &mut source),
        };
        belamy_fuzz::written(&bytes);
        std::fs::write(path, &bytes).expect("room in memory");
        let (_, repair) = Journal::resume(path, step.into()).expect("every file can be repaired");
        if repair.damaged + repair.later > 0 {
            let kept = std::fs::read(path).expect("it is there");
            let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
            for line in kept.split_inclusive(|byte| *byte == b'\n') {
                assert!(lines.any(|before| before == line), "a line that was not there");
            }
            let (_, again) = Journal::resume(path, step.into()).expect("it was repaired");
            assert_eq!(again, Repair { kept: repair.kept, damaged: 0, later: 0 });
        }
        let readings = health::read(path).expect("what is left is text");
        assert!(readings.len() <= repair.kept);
        let mut monitor = Monitor::new(Game::plain(LossConvention::Mean));
        readings.into_iter().for_each(|reading| monitor.push(reading));
        assert!(!monitor.health().line().is_empty());
    });
});

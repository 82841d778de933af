//! The marker of a finished folder: names, lengths and digests.
#![no_main]

use belamy_fuzz::edits::{edit, edited};
use belamy_fuzz::folder::{Folder, Slot};
use belamy_fuzz::source::Source;
use belamy_gan::files;
use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;

struct State {
    folder: PathBuf,
    marker: Slot,
    sound: Vec<u8>,
}

thread_local! {
    static STATE: State = state();
}

fn state() -> State {
    let folder = Folder::new("marker");
    let path = folder.path().join("step-00000001");
    files::write_folder_atomically(&path, |partial| {
        std::fs::write(partial.join("a"), "five!").expect("room in memory");
        std::fs::write(partial.join("b"), "").expect("room in memory");
        std::fs::create_dir(partial.join("c")).expect("room in memory");
        std::fs::write(partial.join("c/d"), [7; 100]).expect("room in memory");
        Ok(())
    })
    .expect("a finished folder");
    let sound = std::fs::read(path.join(files::MARKER)).expect("it has a marker");
    State { marker: folder.slot("step-00000001/complete"), folder: path, sound }
}

fn seeds() -> Vec<Vec<u8>> {
    STATE.with(|State { sound, .. }| {
        let mut seeds = vec![[&[0], &sound[..]].concat(), vec![1]];
        for (old, new) in [
            ("\"a\"", "\"./a\""),
            ("\"c/d\"", "\"c\""),
            ("\"b\"", "\"../b\""),
            ("\"b\"", "\"/dev/zero\""),
        ] {
            seeds.push([&[1], &edit(sound, old.as_bytes(), new.as_bytes())[..]].concat());
        }
        seeds.push(b"\0{\"version\":1,\"files\":{}}".to_vec());
        seeds
    })
}

fuzz_target!(init: belamy_fuzz::begin(seeds), |data: &[u8]| {
    STATE.with(|State { folder, marker, sound }| {
        let mut source = Source::new(data);
        let bytes = match source.choice(2) {
            0 => source.rest().to_vec(),
            _ => edited(sound, &mut source),
        };
        belamy_fuzz::written(&bytes);
        marker.put(&bytes);
        if files::verify(folder).is_ok() {
            assert!(files::is_complete(folder));
        }
    });
});

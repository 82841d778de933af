//! The marker of a finished folder: names, lengths and digests; and the file that names the newest checkpoint.
#![no_main]

use belamy_fuzz::edits::{edit, edited};
use belamy_fuzz::folder::{Folder, Slot};
use belamy_fuzz::source::Source;
use belamy_gan::{checkpoint, files};
use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;

struct State {
    folder: PathBuf,
    marker: Slot,
    sound: Vec<u8>,
    /// Two checkpoints, and the name of the newest.
    checkpoints: PathBuf,
    latest: Slot,
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
    let marker = folder.slot("step-00000001/complete");
    let checkpoints = folder.path().join("checkpoints");
    let latest = folder.slot("checkpoints/latest");
    for step in [1, 20] {
        let path = checkpoints.join(checkpoint::folder_name(step));
        files::write_folder_atomically(path, |partial| {
            std::fs::write(partial.join("state.json"), "").expect("room in memory");
            Ok(())
        })
        .expect("a finished folder");
    }
    State { folder: path, marker, sound, checkpoints, latest }
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
        for latest in
            ["step-00000001\n", "step-+1", "step-00000002", "step-18446744073709551615", ""]
        {
            seeds.push([&[2], latest.as_bytes()].concat());
        }
        seeds
    })
}

fuzz_target!(init: belamy_fuzz::begin(seeds), |data: &[u8]| {
    STATE.with(|State { folder, marker, sound, checkpoints, latest }| {
        let mut source = Source::new(data);
        let bytes = match source.choice(3) {
            0 => source.rest().to_vec(),
            1 => edited(sound, &mut source),
            _ => {
                latest.put(source.rest());
                let found = checkpoint::latest(checkpoints).expect("two are complete");
                let found = found.expect("two are complete");
                assert!(files::is_complete(&found) && found.parent() == Some(checkpoints));
                return;
            }
        };
        belamy_fuzz::written(&bytes);
        marker.put(&bytes);
        if files::verify(folder).is_ok() {
            assert!(files::is_complete(folder));
        }
    });
});

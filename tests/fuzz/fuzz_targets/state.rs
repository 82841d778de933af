//! A checkpoint's state.json, and the file that names the newest checkpoint.
#![no_main]

use belamy_fuzz::edits::edited;
use belamy_fuzz::folder::{Folder, Slot};
use belamy_fuzz::source::Source;
use belamy_gan::{checkpoint, files};
use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;

const SOUND: &[u8] = b"{\n  \"recipe\": \"sine\",\n  \"step\": 3,\n  \"seed\": 1,\n  \"discriminator_updates\": 3,\n  \"generator_updates\": 3\n}";

struct State {
    folder: PathBuf,
    state: Slot,
    latest: Slot,
}

thread_local! {
    static STATE: State = state();
}

fn state() -> State {
    let folder = Folder::new("state");
    for step in [1, 20] {
        let path = folder.path().join(checkpoint::folder_name(step));
        files::write_folder_atomically(path, |_| Ok(())).expect("a finished folder");
    }
    let (state, latest) = (folder.slot("state.json"), folder.slot("latest"));
    State { folder: folder.path().to_path_buf(), state, latest }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![[&[0], SOUND].concat(), vec![1]];
    for latest in ["step-00000001\n", "step-+1", "step-00000002", "step-18446744073709551615", ""] {
        seeds.push([&[2], latest.as_bytes()].concat());
    }
    seeds
}

fuzz_target!(init: belamy_fuzz::begin(seeds), |data: &[u8]| {
    STATE.with(|State { folder, state, latest }| {
        let mut source = Source::new(data);
        let bytes = match source.choice(3) {
            0 => source.rest().to_vec(),
            1 => edited(SOUND, &mut source),
            _ => {
                latest.put(source.rest());
                let found = checkpoint::latest(folder).expect("two are complete");
                let found = found.expect("two are complete");
                assert!(files::is_complete(&found) && found.parent() == Some(folder));
                return;
            }
        };
        belamy_fuzz::written(&bytes);
        state.put(&bytes);
        let Ok(read) = checkpoint::read_state(folder) else { return };
        state.put(&serde_json::to_vec(&read).expect("plain data"));
        assert_eq!(checkpoint::read_state(folder).expect("what was written can be read"), read);
    });
});

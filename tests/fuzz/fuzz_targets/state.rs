//! A checkpoint's state.json.
#![no_main]

use belamy_fuzz::edits::edited;
use belamy_fuzz::source::Source;
use belamy_gan::checkpoint::State;
use libfuzzer_sys::fuzz_target;

const SOUND: &[u8] = b"{\n  \"recipe\": \"sine\",\n  \"step\": 3,\n  \"seed\": 1,\n  \"discriminator_updates\": 3,\n  \"generator_updates\": 3\n}";

fn seeds() -> Vec<Vec<u8>> {
    vec![[&[0], SOUND].concat(), vec![1]]
}

fuzz_target!(init: belamy_fuzz::begin(seeds), |data: &[u8]| {
    let mut source = Source::new(data);
    let bytes = match source.choice(2) {
        0 => source.rest().to_vec(),
        _ => edited(SOUND, &mut source),
    };
    belamy_fuzz::written(&bytes);
    // A file that is no text is refused before this reader sees it.
    let Ok(text) = std::str::from_utf8(&bytes) else { return };
    let Ok(read) = State::from_text("x", text) else { return };
    let written = serde_json::to_string(&read).expect("plain data");
    assert_eq!(State::from_text("x", &written).expect("what was written can be read"), read);
});

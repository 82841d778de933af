//! A checkpoint's folder with one of its files made wrong, and a marker that says that it is right.
#![no_main]

use belamy_fuzz::edits::{edit, edited};
use belamy_fuzz::folder::{Folder, Slot};
use belamy_fuzz::source::Source;
use belamy_fuzz::tensors::{self, Entry};
use belamy_gan::batches::DeviceBatches;
use belamy_gan::digest::digest_hex;
use belamy_gan::trainer::{self, Trainer};
use belamy_gan::{Recipe, checkpoint, files};
use belamy_nn::weights;
use belamy_tensor::{DType, Device};
use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// One of the checkpoint's files.
struct Member {
    name: String,
    slot: Slot,
    sound: Vec<u8>,
    /// Its tensors, if it holds tensors.
    tensors: Vec<Vec<Entry>>,
}

struct State {
    device: Device,
    trainer: Box<dyn Trainer>,
    batches: DeviceBatches,
    folder: PathBuf,
    /// The marker comes last.
    members: Vec<Member>,
    /// The file that the input before has changed.
    changed: Option<usize>,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::new(state().expect("a sound checkpoint"));
}

fn state() -> belamy_gan::Result<State> {
    let device = belamy_cpu::cpu();
    let mut recipe = Recipe::named("sine")?;
    for assignment in ["batch=2", "latent=2", "pool=2", "average_decay=0.5"] {
        recipe.set(assignment)?;
    }
    let mut trainer = trainer::new(recipe.clone(), 1, DType::F32, &device)?;
    let discriminator = trainer.parts().pop().expect("two networks").network;
    let mut batches = DeviceBatches::new(&recipe, None, discriminator, DType::F32, &device)?;
    for _ in 0..2 {
        trainer.make_step(&mut batches)?;
    }
    trainer.verify_steps(&mut batches)?;
    let folder = Folder::new("checkpoint");
    let path = checkpoint::save(trainer.as_ref(), folder.path())?;
    let name = path.file_name().expect("a step's").to_string_lossy().into_owned();
    let mut members = Vec::new();
    for entry in std::fs::read_dir(&path).expect("it is there") {
        let file = entry.expect("it is there").file_name().to_string_lossy().into_owned();
        let slot = folder.slot(&format!("{name}/{file}"));
        let sound = std::fs::read(slot.path()).expect("it was written");
        let tensors = weights::from_bytes(&sound, &device).ok();
        let tensors = tensors.iter().map(Entry::of_file).collect();
        members.push(Member { name: file, slot, sound, tensors });
    }
    members.sort_by_key(|member| (member.name == files::MARKER, member.name.clone()));
    Ok(State { device, trainer, batches, folder: path, members, changed: None })
}

/// The marker of the files as they are, but for one.
fn marker(members: &[Member], changed: usize, content: &[u8]) -> Vec<u8> {
    let described = members[..members.len() - 1].iter().enumerate().map(|(index, member)| {
        let bytes = if index == changed { content } else { &member.sound };
        let entry = serde_json::json!({"bytes": bytes.len(), "xxh64": digest_hex(bytes)});
        (member.name.as_str(), entry)
    });
    let files: BTreeMap<_, _> = described.collect();
    serde_json::to_vec(&serde_json::json!({"version": 1, "files": files})).expect("plain data")
}

fn seeds() -> Vec<Vec<u8>> {
    STATE.with_borrow(|State { members, .. }| {
        let mut seeds = Vec::new();
        for (index, member) in members.iter().enumerate() {
            for options in [0, 1, 2] {
                seeds.push([&[index as u8, options, 0], &member.sound[..]].concat());
                if member.name == "state.json" {
                    let (old, new) = ("_updates\": 2", "_updates\": 18446744073709551615");
                    let change = edit(&member.sound, old.as_bytes(), new.as_bytes());
                    seeds.push([&[index as u8, options, 1], &change[..]].concat());
                }
                for seed in tensors::seeds(&member.tensors) {
                    seeds.push([&[index as u8, options], &seed[..]].concat());
                }
            }
        }
        seeds.retain(|seed| seed.len() < 4096);
        seeds
    })
}

fuzz_target!(init: belamy_fuzz::begin(seeds), |data: &[u8]| {
    STATE.with_borrow_mut(|state| {
        let State { device, trainer, batches, folder, members, changed } = state;
        let mut source = Source::new(data);
        let at = source.choice(members.len());
        let options = source.byte();
        let is_marker = at + 1 == members.len();
        let content = match &members[at].tensors[..] {
            [] if source.choice(2) == 0 => source.rest().to_vec(),
            [] => edited(&members[at].sound, &mut source),
            bases => tensors::chosen(bases, &mut source),
        };
        if let Some(before) = changed.replace(at).filter(|before| *before != at) {
            members[before].slot.put(&members[before].sound);
        }
        belamy_fuzz::written(&content);
        members[at].slot.put(&content);
        if !is_marker {
            let last = members.last().expect("the marker");
            last.slot.put(&marker(members, at, &content));
        }
        if options & 2 == 2 {
            let _ = checkpoint::load_generator(trainer.as_mut(), folder);
        } else if let Ok(read) = checkpoint::load(trainer.as_mut(), folder) {
            assert_eq!(trainer.steps_made(), read.step);
            // What was taken must do for training: an error is fine, a panic is not.
            if options & 1 == 1 {
                let _ = trainer.make_step(batches).and_then(|_| trainer.verify_steps(batches));
            }
        }
        device.backend().release().expect("memory goes back");
    });
});

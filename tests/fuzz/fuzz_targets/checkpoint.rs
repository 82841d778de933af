//! A checkpoint's folder with one of its files made wrong, and a marker that says that it is right.
#![no_main]

use belamy_fuzz::edits::{edit, edited};
use belamy_fuzz::folder::Folder;
use belamy_fuzz::source::Source;
use belamy_fuzz::tensors::{self, Entries, Entry};
use belamy_gan::batches::DeviceBatches;
use belamy_gan::digest::digest_hex;
use belamy_gan::files::{self, Files};
use belamy_gan::trainer::{self, Trainer};
use belamy_gan::{Recipe, checkpoint};
use belamy_nn::weights;
use belamy_tensor::{DType, Device};
use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

/// One of the checkpoint's files.
struct Member {
    name: String,
    sound: Vec<u8>,
    /// Its tensors, if it holds tensors.
    tensors: Vec<Entries>,
    /// What the marker says of it.
    listed: String,
}

struct State {
    device: Device,
    trainer: Box<dyn Trainer>,
    batches: DeviceBatches,
    /// The marker comes last.
    members: Vec<Member>,
    /// All that the folder would hold.
    files: BTreeMap<String, Vec<u8>>,
}

/// What asks for a training step, and of so many that load and ask for one, one has it: a step takes longer than
/// reading.
const TRAINED: (u8, usize) = (128, 8);
/// One of so many reads what samples need and no more.
const SAMPLED: u8 = 4;

thread_local! {
    static STATE: RefCell<State> = RefCell::new(state().expect("a sound checkpoint"));
}

fn state() -> belamy_gan::Result<State> {
    let device = belamy_cpu::cpu();
    let mut recipe = Recipe::named("sine")?;
    // One optimiser with moments is enough: most of the time goes into the tensors of files that were not changed.
    let rule = "generator_optimizer.rule=sgd";
    for assignment in ["batch=2", "latent=2", "pool=2", "average_decay=0.5", rule] {
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
    let mut members = Vec::new();
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(&path).expect("it is there") {
        let name = entry.expect("it is there").file_name().to_string_lossy().into_owned();
        let sound = std::fs::read(path.join(&name)).expect("it was written");
        let tensors = weights::from_bytes(&sound, &device).ok();
        let tensors = tensors.iter().map(Entry::of_file).collect();
        files.insert(name.clone(), sound.clone());
        let listed = listed(&name, &sound);
        members.push(Member { name, sound, tensors, listed });
    }
    members.sort_by_key(|member| (member.name == files::MARKER, member.name.clone()));
    Ok(State { device, trainer, batches, members, files })
}

/// What a marker says of a file.
fn listed(name: &str, content: &[u8]) -> String {
    let (bytes, digest) = (content.len(), digest_hex(content));
    format!("\"{name}\": {{\"bytes\": {bytes}, \"xxh64\": \"{digest}\"}}")
}

/// The marker of the files as they are, but for one.
fn marker(members: &[Member], changed: usize, content: &[u8]) -> Vec<u8> {
    let changed_listed = listed(&members[changed].name, content);
    let listed = members[..members.len() - 1].iter().enumerate().map(|(index, member)| {
        if index == changed { changed_listed.as_str() } else { member.listed.as_str() }
    });
    let listed: Vec<&str> = listed.collect();
    format!("{{\"version\": 1, \"files\": {{{}}}}}", listed.join(", ")).into_bytes()
}

fn seeds() -> Vec<Vec<u8>> {
    STATE.with_borrow(|State { members, .. }| {
        let mut seeds = Vec::new();
        for (index, member) in members.iter().enumerate() {
            for options in [1, TRAINED.0, SAMPLED] {
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
        let State { device, trainer, batches, members, files } = state;
        let mut source = Source::new(data);
        let at = source.choice(members.len());
        let options = source.byte();
        let (last, changed) = (members.len() - 1, &members[at]);
        let content = match &changed.tensors[..] {
            [] if source.choice(2) == 0 => source.rest().to_vec(),
            [] => edited(&changed.sound, &mut source),
            bases => tensors::chosen(bases, &mut source),
        };
        belamy_fuzz::written(&content);
        let is_trained = options == TRAINED.0 && content.len().is_multiple_of(TRAINED.1);
        if at != last {
            files.insert(files::MARKER.to_owned(), marker(members, at, &content));
        }
        files.insert(changed.name.clone(), content);
        let checkpoint = Files::InMemory(Path::new("x"), files);
        if options.is_multiple_of(SAMPLED) && options != TRAINED.0 {
            let _ = checkpoint::load_generator(trainer.as_mut(), checkpoint);
        } else if let Ok(read) = checkpoint::load(trainer.as_mut(), checkpoint) {
            assert_eq!(trainer.steps_made(), read.step);
            // What was taken must do for training: an error is fine, a panic is not.
            if is_trained {
                let _ = trainer.make_step(batches).and_then(|_| trainer.verify_steps(batches));
            }
        }
        for member in [changed, &members[last]] {
            files.insert(member.name.clone(), member.sound.clone());
        }
        device.backend().release().expect("memory goes back");
    });
});

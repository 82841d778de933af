//! Tests of what a checkpoint's reader refuses.

use super::*;
use crate::recipe::Recipe;
use crate::trainer;
use belamy_tensor::DType;

/// A trainer with every kind of file: an average, and a pool.
fn trainer() -> Box<dyn Trainer> {
    let mut recipe = Recipe::named("sine").unwrap();
    recipe.average_decay = 0.9;
    recipe.pool = 4;
    trainer::new(recipe, 1, DType::F32, &belamy_cpu::cpu()).unwrap()
}

/// A new folder with two checkpoints in it, of the steps 1 and 2: the folder, and both their paths.
fn two_checkpoints(name: &str) -> (PathBuf, [PathBuf; 2]) {
    let folder = std::env::temp_dir().join(format!("belamy-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let mut trainer = trainer();
    let paths = [1, 2].map(|step| {
        trainer.set_steps_made(step);
        save(trainer.as_ref(), &folder).unwrap()
    });
    (folder, paths)
}

/// Takes `name` off a checkpoint's list.
fn strike_out(path: &Path, name: &str) {
    let marker = path.join(files::MARKER);
    let mut list: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&marker).unwrap()).unwrap();
    list["files"].as_object_mut().unwrap().remove(name).expect("it was listed");
    std::fs::write(marker, list.to_string()).unwrap();
}

#[test]
fn a_marker_has_to_list_every_file_that_is_read() {
    let (folder, [_, path]) = two_checkpoints("unlisted-files");
    load(trainer().as_mut(), &path).unwrap();
    load_generator(trainer().as_mut(), &path).unwrap();
    let marker = std::fs::read(path.join(files::MARKER)).unwrap();
    // The file, and whether samples need it.
    let read = [
        (STATE, true),
        ("generator.safetensors", true),
        ("generator_average.safetensors", true),
        ("discriminator.safetensors", false),
        (OPTIMIZER, false),
        (POOLS, false),
    ];
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), read.len() + 1);
    for (name, is_for_samples) in read {
        strike_out(&path, name);
        let refused = |error: Error| {
            assert!(matches!(&error, Error::File { path: at, .. } if *at == path.join(name)));
            assert!(error.to_string().contains("does not list it"), "{error}");
        };
        refused(load(trainer().as_mut(), &path).unwrap_err());
        match load_generator(trainer().as_mut(), &path) {
            Ok(()) => assert!(!is_for_samples, "{name}"),
            Err(error) => refused(error),
        }
        std::fs::write(path.join(files::MARKER), &marker).unwrap();
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_checkpoint_in_memory_is_read_as_one_on_disk() {
    let (folder, [_, path]) = two_checkpoints("in-memory");
    let mut held = BTreeMap::new();
    for entry in std::fs::read_dir(&path).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        held.insert(name, std::fs::read(entry.path()).unwrap());
    }
    let state = load(trainer().as_mut(), Files::InMemory(&path, &held)).unwrap();
    assert_eq!(state, load(trainer().as_mut(), &path).unwrap());
    load_generator(trainer().as_mut(), Files::InMemory(&path, &held)).unwrap();
    for name in held.keys() {
        let refused = |held: &BTreeMap<String, Vec<u8>>| {
            load(trainer().as_mut(), Files::InMemory(&path, held)).unwrap_err().to_string()
        };
        let mut changed = held.clone();
        changed.get_mut(name).unwrap()[0] ^= 1;
        std::fs::write(path.join(name), &changed[name]).unwrap();
        assert_eq!(refused(&changed), load(trainer().as_mut(), &path).unwrap_err().to_string());
        std::fs::write(path.join(name), &held[name]).unwrap();
        changed.remove(name);
        let error = refused(&changed);
        assert!(error.contains(name.as_str()), "{error}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_marker_without_a_state_makes_no_checkpoint() {
    let (folder, [older, newer]) = two_checkpoints("empty-marker");
    assert_eq!(latest(&folder).unwrap().as_ref(), Some(&newer));
    std::fs::write(newer.join(files::MARKER), r#"{"version": 1, "files": {}}"#).unwrap();
    assert_eq!(latest(&folder).unwrap().as_ref(), Some(&older));
    // The only whole one is not pruned for its sake.
    prune(&folder, 2, 1).unwrap();
    load(trainer().as_mut(), &older).unwrap();
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn counts_that_no_run_reaches_are_refused() {
    let (folder, [_, path]) = two_checkpoints("many-updates");
    let state = read_state(&path).unwrap();
    // Written anew, with a list of its own, so that nothing but the count is wrong.
    let with = |updates: u64| {
        let mut state = state.clone();
        state.updates.insert("discriminator_updates".into(), updates);
        let others: Vec<_> =
            std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap()).collect();
        let other = folder.join("step-00000003");
        files::write_folder_atomically(&other, |partial| {
            for file in others.iter().filter(|file| file.file_name() != files::MARKER) {
                std::fs::copy(file.path(), partial.join(file.file_name())).unwrap();
            }
            std::fs::write(partial.join(STATE), serde_json::to_vec(&state).unwrap()).unwrap();
            Ok(())
        })
        .unwrap();
        load(trainer().as_mut(), &other)
    };
    with(MOST_UPDATES).unwrap();
    for updates in [MOST_UPDATES + 1, u64::MAX] {
        let error = with(updates).unwrap_err();
        assert!(matches!(&error, Error::File { path, .. } if path.ends_with(STATE)), "{error}");
        let error = error.to_string();
        assert!(error.contains(&format!("discriminator_updates is {updates}")), "{error}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

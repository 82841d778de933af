//! Every recipe trains twenty steps through a run's folder, on data that are made here, and a run that is resumed half
//! way writes the same bytes. Networks that come in sizes are made small; the others are as they are.

#[path = "common/recipes.rs"]
mod recipes;

use belamy_gan::checkpoint;
use belamy_gan::recipe::RECIPES;
use belamy_gan::run::{Outcome, Plan, Run, Unobserved};
use belamy_gan::source::{self, Material};
use recipes::{STEPS, data, small, temporary};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// The files of the last checkpoint.
fn last(out: &Path) -> BTreeMap<String, Vec<u8>> {
    let folder = out.join("checkpoints").join(checkpoint::folder_name(STEPS));
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let file = |entry: std::fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        (name, std::fs::read(entry.path()).unwrap())
    };
    entries.map(file).collect()
}

/// `metrics.jsonl` without the fields that depend on time.
fn metrics(out: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| {
        let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
        let fields = line.as_object_mut().unwrap();
        fields.retain(|name, _| !name.contains("second"));
        line
    });
    lines.collect()
}

fn finish(run: &mut Run) {
    let stop = AtomicBool::new(false);
    assert_eq!(run.train(&mut Unobserved, &stop).unwrap(), Outcome::Finished { step: STEPS });
}

fn trains_and_resumes(name: &str) {
    let recipe = small(name);
    let folder = temporary(name);
    let path = data(&recipe, &folder.join("data"));
    let device = belamy_cpu::cpu();
    let material: Material = source::material(&recipe, path.as_deref(), 1).unwrap();
    let mut plan = Plan::new(recipe, 1, &device);
    (plan.log_every, plan.sample_every, plan.checkpoint_every) = (5, 10, 10);
    let whole = folder.join("whole");
    finish(&mut Run::create(plan, &material, &device, &whole).unwrap());
    assert!(whole.join("curves.png").exists());
    assert!(whole.join(format!("samples/step-{STEPS:08}.png")).exists());
    let lines = metrics(&whole);
    let finite = |field: &str| lines.iter().all(|line| line[field].as_f64().is_some());
    assert!(lines.len() >= 4 && finite("loss_g"), "{name}: {lines:?}");

    // As if it had been killed after the checkpoint of step 10.
    let broken = folder.join("broken");
    for part in ["", "samples", "checkpoints"] {
        std::fs::create_dir_all(broken.join(part)).unwrap();
    }
    for file in ["run.toml", "metrics.jsonl"] {
        std::fs::copy(whole.join(file), broken.join(file)).unwrap();
    }
    let half = checkpoint::folder_name(STEPS / 2);
    std::fs::rename(whole.join("checkpoints").join(&half), broken.join("checkpoints").join(&half))
        .unwrap();
    let plan = belamy_gan::run::read_plan(&broken).unwrap();
    finish(&mut Run::resume(plan, &material, &device, &broken).unwrap());
    let (expected, found) = (last(&whole), last(&broken));
    assert!(expected.keys().eq(found.keys()), "{name}: {:?}", found.keys());
    for (file, bytes) in &expected {
        assert!(found[file] == *bytes, "{name}: {file} differs");
    }
    assert_eq!(metrics(&broken), lines, "{name}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn every_recipe_trains_twenty_steps_and_resumes_exactly() {
    for entry in RECIPES {
        trains_and_resumes(entry.name);
    }
}

//! `kill -9` at any moment, again and again: while a run is loaded, trained and saved.

mod common;

use common::{Folder, HIDDEN, PROGRAM, files, metrics, names, succeeds};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const EVERY: u64 = 3;
/// How often one run is killed.
const MOST_KILLS: u32 = 9;

/// Recipes of each kind of state: one and two networks of a kind, moving averages, pools of earlier images.
const RECIPES: [(&str, u64); 6] = [
    ("sine --batch 16", 90),
    ("mnist-mlp --batch 16", 24),
    ("mnist-dcgan --batch 4", 12),
    ("circles-squares --batch 1 --set preset=narrow --set side=32 --set jitter=0", 12),
    ("circles-rectangles --batch 1 --set preset=narrow --set side=32 --set jitter=0", 12),
    ("mnist-conditional --batch 2 --set preset=fixed", 9),
];

/// What depends on nothing but the plan: the last checkpoint, and the metrics but for the time they took.
fn left(run: &str, steps: u64) -> (BTreeMap<String, Vec<u8>>, Vec<serde_json::Value>) {
    let mut lines = metrics(run);
    for line in &mut lines {
        let fields = line.as_object_mut().unwrap();
        fields.remove("seconds");
        fields.remove("images_per_second");
    }
    (files(Path::new(run).join(format!("checkpoints/step-{steps:08}"))), lines)
}

/// The step of the newest checkpoint, and of the last line of the log that is whole.
fn reached(run: &str) -> (u64, u64) {
    let checkpoints = Path::new(run).join("checkpoints");
    let newest = belamy_gan::checkpoint::latest(&checkpoints).ok().flatten();
    let newest = newest.map_or(0, |path| belamy_gan::checkpoint::read_state(&path).unwrap().step);
    let log = std::fs::read_to_string(Path::new(run).join("metrics.jsonl")).unwrap_or_default();
    let mut steps = log
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()?["step"].as_u64());
    (newest, steps.next_back().unwrap_or(0))
}

/// Kills a run at moments by chance until it is done nevertheless, then begins another; `BELAMY_KILLS` says how many
/// kills, fifty if not. Every resume must succeed, no more than one interval of checkpoints may be lost, and what is left
/// at the end must be the bytes of a run that nobody killed.
#[test]
fn a_run_that_is_killed_again_and_again_ends_as_one_that_never_was() {
    let wanted = std::env::var("BELAMY_KILLS").ok();
    let wanted: u32 = wanted.map_or(50, |wanted| wanted.parse().unwrap());
    let mut chance = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
    let begun = chance;
    let mut random = move |below: u64| {
        chance ^= chance >> 12;
        chance ^= chance << 25;
        chance ^= chance >> 27;
        (chance.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % below.max(1)
    };
    let folder = Folder::new("kills");
    let plan = |recipe: &str, steps: u64| {
        format!(
            "train {recipe} --steps {steps} --log-every 1 --sample-every 0 --checkpoint-every {EVERY} --keep-checkpoints 2"
        )
    };
    let mut unbroken = Vec::new();
    for (index, (recipe, steps)) in RECIPES.into_iter().enumerate() {
        let run = folder.at(&format!("whole-{index}"));
        let start = Instant::now();
        succeeds(&format!("{} --out {run}", plan(recipe, steps)));
        unbroken.push((left(&run, steps), start.elapsed()));
    }
    // What each kill met: before anything of this start was to be seen, between checkpoints, within one.
    let (mut loading, mut training, mut saving, mut runs) = (0, 0, 0, 0u32);
    while loading + training + saving < wanted {
        let index = runs as usize % RECIPES.len();
        let (recipe, steps) = RECIPES[index];
        let (expected, took) = &unbroken[index];
        let run = folder.at(&format!("run-{runs}"));
        let words = format!("{} --resume auto --out {run}", plan(recipe, steps));
        for turn in 0.. {
            let before = reached(&run);
            let mut child = Command::new(PROGRAM)
                .args(words.split_whitespace())
                .env(HIDDEN.0, HIDDEN.1)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            // Half of all kills within the first tenth: loading is short.
            let most = took.as_micros() as u64 / if random(2) == 0 { 10 } else { 2 };
            // After some kills it may come to its end, so that all recipes have their turn.
            if turn < MOST_KILLS {
                std::thread::sleep(Duration::from_micros(random(most)));
                let _ = child.kill();
            }
            let output = child.wait_with_output().unwrap();
            if output.status.code().is_some() {
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{words}: {said} (seed {begun})");
                break;
            }
            let (newest, logged) = reached(&run);
            assert!(newest + EVERY >= logged, "{words}: {newest} of {logged} (seed {begun})");
            assert!(newest >= before.0, "{words}: {newest} after {} (seed {begun})", before.0);
            let checkpoints = Path::new(&run).join("checkpoints");
            let is_saving = checkpoints.exists()
                && names(&checkpoints).iter().any(|name| name.starts_with('.'));
            match () {
                () if is_saving => saving += 1,
                () if (newest, logged) == before => loading += 1,
                () => training += 1,
            }
        }
        assert!(left(&run, steps) == *expected, "{words}: other bytes (seed {begun})");
        std::fs::remove_dir_all(&run).unwrap();
        runs += 1;
    }
    let summary = format!(
        "killed {loading} times while loading, {training} while training, {saving} while saving; {runs} runs ended as they should\n"
    );
    std::io::stderr().write_all(summary.as_bytes()).unwrap();
    assert!(loading > 0 && training > 0, "{summary}");
}

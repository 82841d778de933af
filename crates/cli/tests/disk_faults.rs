//! A power cut at any moment of a save, and a disk that fails at any call.
#![cfg(target_os = "linux")]

mod common;
mod disk;

use common::{Folder, Ran, belamy, files, metrics, succeeds};
use disk::{Call, Cut, Disk, calls, lay_out, on_disk, shim};
use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Mutex;

const STEPS: u64 = 6;
/// The smallest run that writes all that runs write.
const PLAN: &str = "train sine --batch 4 --set latent=2 --steps 6 --log-every 1 --sample-every 3 --checkpoint-every 2 \
                    --keep-checkpoints 2 --threads 1";

/// What an unbroken run leaves: its last checkpoint, and its metrics but for the time they took.
fn unbroken(folder: &Folder) -> (BTreeMap<String, Vec<u8>>, Vec<serde_json::Value>) {
    let whole = folder.at("whole");
    succeeds(&format!("{PLAN} --out {whole}"));
    left(Path::new(&whole))
}

fn left(run: &Path) -> (BTreeMap<String, Vec<u8>>, Vec<serde_json::Value>) {
    let mut lines = metrics(run);
    for line in &mut lines {
        let fields = line.as_object_mut().unwrap();
        fields.remove("seconds");
        fields.remove("images_per_second");
    }
    (files(run.join(format!("checkpoints/step-{STEPS:08}"))), lines)
}

/// The newest checkpoint whose save was over before call `at`: `latest` named it, and that was synced.
fn saved_before(calls: &[Call], at: usize) -> u64 {
    let (mut newest, mut named, mut saved) = (0, 0, 0);
    for call in &calls[..at] {
        match call {
            Call::Rename(_, to) if to == "run/checkpoints/latest" => named = newest,
            Call::Rename(_, to) => {
                let step = to.rsplit_once("/step-").and_then(|(_, digits)| digits.parse().ok());
                newest = step.unwrap_or(newest);
            }
            Call::Sync(path) if path == "run/checkpoints" => saved = named,
            _ => {}
        }
    }
    assert!(at < calls.len() || saved == STEPS, "the last save is not to be seen");
    saved
}

/// The program's work is done on both cores.
fn on_two_threads<T: Send>(work: Vec<T>, each: impl Fn(T) + Sync) {
    let work = Mutex::new(work);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(one) = { work.lock().unwrap().pop() } {
                    each(one);
                }
            });
        }
    });
}

/// Records the calls of a run, and resumes it from what a power cut before each of them may leave. It must go on from a
/// checkpoint no older than the last whose save was over, and end in the bytes of an unbroken run.
#[test]
fn a_power_cut_at_any_call_of_a_run_loses_no_checkpoint() {
    let name = "a_power_cut_at_any_call_of_a_run_loses_no_checkpoint";
    let Some(library) = shim(name) else { return };
    let folder = Folder::new("power-cut");
    let expected = unbroken(&folder);
    let watched = folder.path().join("watched");
    std::fs::create_dir(&watched).unwrap();
    let log = folder.path().join("calls");
    let variables = [("BELAMY_DISK_LOG", log.display().to_string())];
    let words = format!("{PLAN} --out {}", watched.join("run").display());
    let ran = on_disk(library, &watched, &words, &variables);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let calls = calls(&log);
    // Three saves, each of at least four files, each of them written and synced.
    assert!(calls.len() > 60, "{} calls", calls.len());

    let mut disk = Disk::new();
    let mut seen = HashSet::new();
    let mut cases = Vec::new();
    for at in 0..=calls.len() {
        let chances = (0..2).map(|seed| Cut::Chance(1 + 7919 * at as u64 + seed));
        for cut in [Cut::Nothing, Cut::Names, Cut::Everything].into_iter().chain(chances) {
            let content = disk.after(cut);
            let saved = saved_before(&calls, at);
            let mut hasher = DefaultHasher::new();
            (&content, saved).hash(&mut hasher);
            if seen.insert(hasher.finish()) {
                cases.push((at, cut, content, saved));
            }
        }
        if let Some(call) = calls.get(at) {
            disk.apply(call);
        }
    }
    // The model has seen what is really there.
    let real: BTreeMap<String, Vec<u8>> = files(&watched);
    let modelled = disk.after(Cut::Everything).into_iter();
    assert_eq!(real, modelled.filter_map(|(path, bytes)| Some((path, bytes?))).collect());

    let count = cases.len();
    let problems = Mutex::new(Vec::new());
    on_two_threads(cases, |(at, cut, content, saved)| {
        let root = folder.path().join(format!("cut-{at}-{cut:?}"));
        lay_out(&content, &root);
        let run = root.join("run");
        let words = format!("{PLAN} --resume auto --out {}", run.display());
        let newest = belamy_gan::checkpoint::latest(&run.join("checkpoints")).ok().flatten();
        let newest =
            newest.map_or(0, |path| belamy_gan::checkpoint::read_state(&path).unwrap().step);
        let ran = belamy(&words.split_whitespace().collect::<Vec<_>>());
        let problem = if ran.code != Some(0) {
            Some(format!("{ran:?}"))
        } else if newest < saved {
            Some(format!("it goes on from step {newest}, but step {saved} was saved"))
        } else if left(&run) != expected {
            Some("it ends otherwise than an unbroken run".to_owned())
        } else {
            None
        };
        if let Some(problem) = problem {
            let call = calls.get(at);
            let mut call = format!("{call:?}");
            call.truncate(120);
            problems.lock().unwrap().push(format!("{cut:?} before call {at} ({call}): {problem}"));
        }
        let _ = std::fs::remove_dir_all(&root);
    });
    let problems = problems.into_inner().unwrap();
    assert!(problems.is_empty(), "{} of {count}:\n{}", problems.len(), problems.join("\n"));
    assert!(count > 150, "{count} states only");
}

/// What must hold after a run whose disk failed.
fn is_clean(ran: &Ran, run: &Path, what: &str) {
    assert!(matches!(ran.code, Some(0 | 1)), "{what}: {ran:?}");
    assert!(!ran.stderr.contains("panicked"), "{what}: {ran:?}");
    if ran.code == Some(1) {
        let message = ran.stderr.lines().last().unwrap_or_default();
        assert!(message.starts_with("belamy: "), "{what}: {ran:?}");
        assert!(message.contains(run.to_str().unwrap()), "{what}: it names no file: {message}");
    }
}

/// Goes on with a run on a disk that fails at each of its calls in turn, in each way. The program must end with one line
/// that names a file, the checkpoint from which it went on must be whole, and on a sound disk it must go on to the
/// bytes of an unbroken run.
#[test]
fn a_disk_that_fails_at_any_call_costs_no_checkpoint() {
    let name = "a_disk_that_fails_at_any_call_costs_no_checkpoint";
    let Some(library) = shim(name) else { return };
    let folder = Folder::new("disk-fails");
    let expected = unbroken(&folder);
    let begun = folder.path().join("begun");
    succeeds(&format!("{} --out {}", PLAN.replace("--steps 6", "--steps 2"), begun.display()));
    let begun: BTreeMap<_, _> = files(&begun)
        .into_iter()
        .map(|(path, bytes)| (format!("run/{path}"), Some(bytes)))
        .collect();

    // How many calls there are.
    let count = |variable: &str, fault: &str| {
        let root = folder.path().join("counted");
        lay_out(&begun, &root);
        let log = folder.path().join("calls");
        let words = format!("{PLAN} --resume auto --out {}", root.join("run").display());
        let log_to = [("BELAMY_DISK_LOG", log.display().to_string()), (variable, fault.to_owned())];
        let ran = on_disk(library, &root, &words, &log_to);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        std::fs::read_to_string(&log).unwrap().lines().count()
    };
    let changes = count("BELAMY_DISK_FAULT", "0:0");
    let mut cases = Vec::new();
    for at in 1..=changes {
        // No space, for good; an error of the device, once; read-only from here on; half a write.
        // The last two at every third call only: they go the first two's ways.
        let faults: &[&str] =
            if at % 3 == 0 { &["+:28", ":5", "+:30", ":short"] } else { &["+:28", ":5"] };
        for fault in faults {
            cases.push(("BELAMY_DISK_FAULT", format!("{at}{fault}")));
        }
    }
    // Opening and reading: more than there are, so that the last cases fail nothing.
    cases.extend((1..=60).map(|at| ("BELAMY_DISK_READ_FAULT", format!("{at}:5"))));
    let all = cases.len();
    let failed = Mutex::new(0);
    on_two_threads(cases, |(variable, fault)| {
        let what = format!("{variable}={fault}");
        let root = folder.path().join(what.replace([':', '+', '='], "-"));
        lay_out(&begun, &root);
        let run = root.join("run");
        let words = format!("{PLAN} --resume auto --out {}", run.display());
        let ran = on_disk(library, &root, &words, &[(variable, fault.clone())]);
        is_clean(&ran, &run, &what);
        if fault.ends_with("short") {
            assert_eq!(ran.code, Some(0), "{what}: the rest can be written: {ran:?}");
        }
        *failed.lock().unwrap() += u32::from(ran.code == Some(1));
        let checkpoints = run.join("checkpoints");
        let newest = belamy_gan::checkpoint::latest(&checkpoints).unwrap().unwrap();
        belamy_gan::files::verify(&newest).unwrap();
        let again = belamy(&words.split_whitespace().collect::<Vec<_>>());
        assert_eq!(again.code, Some(0), "{what}: {again:?} after {ran:?}");
        assert!(left(&run) == expected, "{what}: it ends otherwise than an unbroken run");
        let _ = std::fs::remove_dir_all(&root);
    });
    let failed = *failed.lock().unwrap();
    assert!(failed as usize > changes, "{failed} of {all} failed");
}

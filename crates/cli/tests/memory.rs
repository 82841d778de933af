//! Memory that runs out at any request of a run: an error in a line, and the checkpoint before stays what it was.
//!
//! The requests are those of many bytes at once: data, tensors, what kernels work in, copies on the host. Names, lists, sums
//! of channels and the like take little at a time; where even that is not to be had, Rust ends a program, and what is on disk stays as it does
//! when a run is killed. So it does over pictures and pages, which others' encoders make.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

mod common;

use common::{Folder, HIDDEN, PROGRAM, Ran, files, skip, succeeds};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The smallest request that counts as one of many bytes.
const LEAST: u32 = 300_000;

/// The shared library that counts and refuses requests; `None`, after saying that the test is skipped, without a C
/// compiler.
fn shim(test: &str, folder: &Folder) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/memory/shim.c");
    let library = folder.path().join("memory.so");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
        .args([&library, &source])
        .output();
    let Ok(compiled) = compiled else {
        skip(test, "there is no C compiler", "cxx");
        return None;
    };
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    Some(library)
}

/// Runs a line of words of which one request for memory is refused, if any; tells how many there were, where it came to
/// its end.
fn with_little_memory(
    library: &Path,
    words: &str,
    refused: Option<u32>,
    folder: &Folder,
) -> (Ran, u32) {
    let count = folder.path().join("count");
    let _ = std::fs::remove_file(&count);
    let mut command = Command::new(PROGRAM);
    command.args(words.split_whitespace()).env(HIDDEN.0, HIDDEN.1).stdin(Stdio::null());
    command.env("LD_PRELOAD", library).env("BELAMY_MEMORY_COUNT", &count);
    command.env("BELAMY_MEMORY_LEAST", LEAST.to_string());
    command.envs(refused.map(|refused| ("BELAMY_MEMORY_FAULT", refused.to_string())));
    let ran = command.output().unwrap().into();
    let counted = std::fs::read_to_string(count).unwrap_or_default();
    (ran, counted.trim().parse().unwrap_or(0))
}

/// Copies a run's folder.
fn copied(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    for (name, bytes) in files(from) {
        let path = to.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

fn checkpoint(run: &Path, step: u64) -> BTreeMap<String, Vec<u8>> {
    let folder = run.join(format!("checkpoints/step-{step:08}"));
    belamy_gan::files::verify(&folder).unwrap();
    files(folder)
}

/// The step of a run's newest checkpoint.
fn saved(run: &Path) -> u64 {
    let newest = belamy_gan::checkpoint::latest(&run.join("checkpoints")).unwrap().unwrap();
    belamy_gan::checkpoint::read_state(&newest).unwrap().step
}

/// A recipe whose tensors are large beside all else: points, and images through convolutions, norms and an average.
const RECIPES: [&str; 2] = ["sine --batch 40000 --set latent=4", "mnist-dcgan --batch 40"];
/// At most so many requests of a run are refused, spread over all.
const MOST: u32 = 30;

#[test]
fn a_run_that_is_refused_memory_at_any_request_keeps_its_last_checkpoint() {
    let test = "a_run_that_is_refused_memory_at_any_request_keeps_its_last_checkpoint";
    let folder = Folder::new("memory");
    let Some(library) = shim(test, &folder) else { return };
    for (index, recipe) in RECIPES.into_iter().enumerate() {
        let [whole, begun, run] =
            ["whole", "begun", "run"].map(|name| folder.path().join(format!("{name}-{index}")));
        let plan = format!(
            "train {recipe} --log-every 1 --sample-every 0 --checkpoint-every 1 --keep-checkpoints 9 --threads 1"
        );
        // A picture is drawn at the end, after two steps and a checkpoint: none of the requests before is its.
        succeeds(&format!("{plan} --steps 3 --out {}", whole.display()));
        succeeds(&format!("{plan} --steps 1 --out {}", begun.display()));
        let before = checkpoint(&begun, 1);
        let resume = format!("train --resume {} --steps 3 --threads 1", run.display());
        copied(&begun, &run);
        let (ran, count) = with_little_memory(&library, &resume, None, &folder);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(count > 20, "{recipe}: {count} requests");

        let mut problems = Vec::new();
        let (mut failed, step) = (0, count.div_ceil(MOST));
        for refused in (1..=count).step_by(step as usize) {
            copied(&begun, &run);
            let (ran, _) = with_little_memory(&library, &resume, Some(refused), &folder);
            let last = ran.stderr.lines().last().unwrap_or_default();
            match ran.code {
                // What can do without goes on.
                Some(0) => {}
                None if last.contains("RUST_BACKTRACE") && saved(&run) >= 2 => {}
                Some(1) if last.starts_with("belamy: ") && last.contains("memory") => failed += 1,
                _ => problems.push(format!("request {refused} of {count}: {ran:?}")),
            }
            if ran.stderr.contains("panicked") {
                problems.push(format!("request {refused} of {count}: {ran:?}"));
            }
            assert!(checkpoint(&run, 1) == before, "request {refused}: {ran:?}");
            succeeds(&resume);
            assert!(checkpoint(&run, 3) == checkpoint(&whole, 3), "request {refused}: {ran:?}");
        }
        assert!(problems.is_empty(), "{recipe}: {}:\n{}", problems.len(), problems.join("\n"));
        assert!(failed > 10, "{recipe}: {failed} of {count} requests were refused");
    }
}

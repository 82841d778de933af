//! Memory that runs out at any request of a run: an error in a line, and the checkpoint before stays what it was.
//!
//! The requests are those of many bytes at once: data, tensors, what kernels work in, copies on the host, pictures and
//! pages. Names, lists, sums of channels and the like take little at a time; where even that is not to be had, Rust ends a
//! program, and what is on disk stays as it does when a run is killed.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

mod common;

use common::{Folder, HIDDEN, PROGRAM, Ran, files, skip, succeeds};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The smallest request that counts as one of many bytes while a run trains.
const LEAST: u32 = 300_000;
/// The same while pictures and pages are made: above what the compressor of PNG files holds, which is another's.
const LEAST_OF_PICTURES: u32 = 100_000;

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

/// Runs a line of words of which one request for memory of at least so many bytes is refused, if any; tells how many there
/// were, where it came to its end.
fn with_little_memory(
    library: &Path,
    least: u32,
    words: &str,
    refused: Option<u32>,
    folder: &Folder,
) -> (Ran, u32) {
    let count = folder.path().join("count");
    let _ = std::fs::remove_file(&count);
    let mut command = Command::new(PROGRAM);
    command.args(words.split_whitespace()).env(HIDDEN.0, HIDDEN.1).stdin(Stdio::null());
    command.env("LD_PRELOAD", library).env("BELAMY_MEMORY_COUNT", &count);
    command.env("BELAMY_MEMORY_LEAST", least.to_string());
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

/// Whether a line of words ended as it must where a request for memory was refused: well, as what can do without goes on, or
/// with a line that says so.
fn is_told(ran: &Ran) -> bool {
    let last = ran.stderr.lines().last().unwrap_or_default();
    let is_told = last.starts_with("belamy: ") && last.contains("memory");
    (ran.code == Some(0) || ran.code == Some(1) && is_told) && !ran.stderr.contains("panicked")
}

/// At most so many requests of a run are refused, spread over all, and so many of the last: those of its last picture, its
/// curves and its page.
const MOST: (u32, u32) = (24, 8);

/// Of a recipe whose tensors are large beside all else.
fn keeps_its_last_checkpoint(test: &str, recipe: &str) {
    let folder = Folder::new(test);
    let Some(library) = shim(test, &folder) else { return };
    let [whole, begun, run] = ["whole", "begun", "run"].map(|name| folder.path().join(name));
    let plan = format!(
        "train {recipe} --log-every 1 --sample-every 1 --checkpoint-every 1 --keep-checkpoints 9 --threads 1"
    );
    succeeds(&format!("{plan} --steps 3 --out {}", whole.display()));
    succeeds(&format!("{plan} --steps 1 --out {}", begun.display()));
    let before = checkpoint(&begun, 1);
    let resume = format!("train --resume {} --steps 3 --threads 1", run.display());
    copied(&begun, &run);
    let (ran, count) = with_little_memory(&library, LEAST, &resume, None, &folder);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(count > 20, "{recipe}: {count} requests");

    let mut problems = Vec::new();
    let (mut failed, mut over_pictures) = (0, 0);
    let spread = (1..=count - MOST.1).step_by(count.div_ceil(MOST.0) as usize);
    for refused in spread.chain(count - MOST.1 + 1..=count) {
        copied(&begun, &run);
        let (ran, _) = with_little_memory(&library, LEAST, &resume, Some(refused), &folder);
        if !is_told(&ran) {
            problems.push(format!("request {refused} of {count}: {ran:?}"));
        }
        failed += u32::from(ran.code == Some(1));
        if ["a picture", "curves", "a page", "an event"]
            .iter()
            .any(|what| ran.stderr.contains(what))
        {
            // The step before the picture is not lost.
            assert!(saved(&run) >= 2, "request {refused}: {ran:?}");
            over_pictures += 1;
        }
        assert!(checkpoint(&run, 1) == before, "request {refused}: {ran:?}");
        succeeds(&resume);
        assert!(checkpoint(&run, 3) == checkpoint(&whole, 3), "request {refused}: {ran:?}");
        let pictures =
            |run: &Path| (files(run.join("samples")), std::fs::read(run.join("curves.png")));
        let (found, expected) = (pictures(&run), pictures(&whole));
        assert!(
            found.0 == expected.0 && found.1.unwrap() == expected.1.unwrap(),
            "request {refused}: {ran:?}"
        );
    }
    assert!(problems.is_empty(), "{recipe}: {}:\n{}", problems.len(), problems.join("\n"));
    assert!(failed > 10, "{recipe}: {failed} of {count} requests were refused");
    assert!(over_pictures > 0, "{recipe}: no picture was refused its memory");
}

#[test]
fn a_run_of_points_that_is_refused_memory_at_any_request_keeps_its_last_checkpoint() {
    let test = "a_run_of_points_that_is_refused_memory_at_any_request_keeps_its_last_checkpoint";
    keeps_its_last_checkpoint(test, "sine --batch 40000 --set latent=4");
}

/// Through convolutions, norms and an average.
#[test]
fn a_run_of_images_that_is_refused_memory_at_any_request_keeps_its_last_checkpoint() {
    let test = "a_run_of_images_that_is_refused_memory_at_any_request_keeps_its_last_checkpoint";
    keeps_its_last_checkpoint(test, "mnist-dcgan --batch 40");
}

/// What is drawn from a run of points and one of images, each into the file that is named last.
const DRAWN: [&str; 9] = [
    "sample points --n 2000 --out points.png",
    "sample images --n 400 --out grid.png",
    "sample images --n 400 --out numbers.safetensors",
    "play interpolate images --n 3 --frames 4 --out walk.png",
    "play interpolate images --n 9 --frames 9 --strip --out strips.png",
    "play arithmetic images --a 0,1 --b 2,3 --c 4 --out arithmetic.png",
    "play neighbours images --n 3 --k 4 --out near.png",
    "play quiz images --n 100 --out quiz.html",
    "play report points",
];

#[test]
fn a_picture_or_page_that_is_refused_memory_at_any_request_is_told_and_leaves_no_file() {
    let test = "a_picture_or_page_that_is_refused_memory_at_any_request_is_told_and_leaves_no_file";
    let folder = Folder::new("memory-pictures");
    let Some(library) = shim(test, &folder) else { return };
    let plan = "--steps 4 --log-every 1 --sample-every 1 --threads 1";
    succeeds(&format!("train sine {plan} --out {}", folder.at("points")));
    succeeds(&format!("train mnist-mlp {plan} --out {}", folder.at("images")));
    let mut problems = Vec::new();
    let mut failed = 0;
    for words in DRAWN {
        let (words, out) = match words.rsplit_once(" --out ") {
            Some((words, out)) => (format!("{words} --out {}", folder.at(out)), folder.at(out)),
            None => (words.to_owned(), folder.at("points/report.html")),
        };
        let words = words.replace(" points", &format!(" {}", folder.at("points")));
        let words = words.replace(" images", &format!(" {}", folder.at("images")));
        let out = Path::new(&out);
        let (ran, count) = with_little_memory(&library, LEAST_OF_PICTURES, &words, None, &folder);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(count > 0, "{words}: no request");
        let whole = std::fs::read(out).unwrap();
        for refused in 1..=count {
            let _ = std::fs::remove_file(out);
            let refused = Some(refused);
            let (ran, _) =
                with_little_memory(&library, LEAST_OF_PICTURES, &words, refused, &folder);
            if !is_told(&ran) {
                problems.push(format!("{words}: request {refused:?} of {count}: {ran:?}"));
            }
            failed += u32::from(ran.code == Some(1));
            // Whole or absent, and nothing hidden beside it.
            let left = std::fs::read(out).ok();
            assert!(left == (ran.code == Some(0)).then(|| whole.clone()), "{words}: {ran:?}");
            let hidden = |name: &String| name.rsplit('/').next().unwrap().contains(".tmp-");
            assert!(!files(folder.path()).keys().any(hidden), "{words}: {ran:?}");
        }
    }
    assert!(problems.is_empty(), "{}:\n{}", problems.len(), problems.join("\n"));
    assert!(failed > 50, "{failed} requests were refused");
}

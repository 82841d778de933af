//! `belamy train --shards`: ranks in threads of one process, and what asks a run to stop so that it may be queued again.

mod common;

use common::{Folder, HIDDEN, PROGRAM, fails, files, line, metrics, succeeds};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

fn last(run: &str, step: u64) -> std::collections::BTreeMap<String, Vec<u8>> {
    files(Path::new(run).join(format!("checkpoints/step-{step:08}")))
}

#[test]
fn shards_are_resumed_exactly_and_are_a_run_like_any_other() {
    let folder = Folder::new("shards");
    let (whole, broken, one) = (folder.at("whole"), folder.at("broken"), folder.at("one"));
    let plan = "train mnist-dcgan --batch 8 --log-every 1";
    succeeds(&format!("{plan} --shards 4 --steps 6 --out {whole}"));
    succeeds(&format!("{plan} --shards 4 --steps 3 --out {broken}"));
    succeeds(&format!("train --resume {broken} --steps 6"));
    assert_eq!(last(&whole, 6), last(&broken, 6));
    succeeds(&format!("{plan} --steps 6 --out {one}"));
    assert_ne!(last(&whole, 6), last(&one, 6), "the sums are taken in another order");
    for (shared, own) in metrics(&whole).iter().zip(metrics(&one)) {
        for field in ["loss_d", "loss_g"] {
            let values = [shared, &own].map(|line| line[field].as_f64().unwrap());
            assert!((values[0] - values[1]).abs() < 0.02, "{field}: {shared} and {own}");
        }
    }
    assert!(std::fs::read_to_string(format!("{whole}/run.toml")).unwrap().contains("shards = 4"));
    assert!(!std::fs::read_to_string(format!("{one}/run.toml")).unwrap().contains("shards"));
    fails(&format!("train --resume {whole} --shards 2"), 2, &["--shards cannot change"]);
}

#[test]
fn what_cannot_be_shared_is_refused() {
    let folder = Folder::new("unshared");
    let out = folder.at("run");
    let refused = |words: &str, because: &str| {
        fails(&format!("train {words} --out {out}"), 2, &[because]);
        assert!(!Path::new(&out).exists());
    };
    refused("mnist-mlp --batch 10 --shards 3", "a batch of 10 cannot be shared evenly by 3 ranks");
    refused("sine --shards 0", "0 shards cannot be shared evenly");
    refused("circles-squares --shards 2 --batch 2", "cannot share batches");
    refused("sine --deadline=-1", "--deadline -1: must be a number of seconds");
    refused("sine --resume auto --resume x", "cannot be used multiple times");
    fails("train sine --resume auto", 2, &["give --out DIR"]);
}

#[test]
fn a_number_that_is_not_finite_is_named_with_its_rank() {
    let folder = Folder::new("shards-diverge");
    let rate = "generator_optimizer.learning_rate=1e30";
    let ran = line(&format!(
        "train mnist-mlp --batch 8 --shards 2 --steps 50 --set {rate} --out {}",
        folder.at("run")
    ));
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let message = ran.stderr.lines().last().unwrap();
    assert!(message.contains("is not finite; training stopped"), "{message}");
    assert!(message.contains(" on rank "), "{message}");
}

#[test]
fn resume_auto_begins_a_run_and_goes_on_with_it() {
    let folder = Folder::new("auto");
    let (out, whole) = (folder.at("run"), folder.at("whole"));
    let plan = format!("train sine --resume auto --out {out}");
    succeeds(&format!("{plan} --steps 5"));
    succeeds(&format!("{plan} --steps 9"));
    succeeds(&format!("train sine --steps 9 --out {whole}"));
    assert_eq!(last(&out, 9), last(&whole, 9));
}

fn start(words: &str, variables: &[(&str, &str)]) -> Child {
    let mut command = Command::new(PROGRAM);
    command.args(words.split_whitespace()).env(HIDDEN.0, HIDDEN.1).stdin(Stdio::null());
    command.envs(variables.iter().copied());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn queued_again(child: Child, out: &str) {
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("to be queued again"), "{said}");
    assert!(Path::new(out).join("checkpoints/latest").exists());
}

#[cfg(unix)]
#[test]
fn sigusr2_ends_a_run_of_shards_with_a_checkpoint_and_code_75() {
    let folder = Folder::new("usr2");
    let out = folder.at("run");
    let words =
        format!("train sine --batch 8 --shards 2 --steps 100000000 --log-every 1 --out {out}");
    let child = start(&words, &[]);
    let begun = Instant::now();
    while metrics_lines(&out) < 5 {
        assert!(begun.elapsed() < Duration::from_secs(60), "no training");
        std::thread::sleep(Duration::from_millis(5));
    }
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-USR2", &id]).status().unwrap().success());
    queued_again(child, &out);
}

fn metrics_lines(out: &str) -> usize {
    let text = std::fs::read_to_string(Path::new(out).join("metrics.jsonl"));
    text.map_or(0, |text| text.lines().count())
}

#[test]
fn a_run_stops_before_its_jobs_time_is_over() {
    let folder = Folder::new("time");
    let out = folder.at("run");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let end = (now + 3).to_string();
    let words = format!("train sine --steps 100000000 --stop-before 1 --out {out}");
    let begun = Instant::now();
    queued_again(start(&words, &[("SLURM_JOB_END_TIME", &end)]), &out);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[cfg(not(feature = "mpi"))]
#[test]
fn under_mpirun_a_program_without_mpi_says_so() {
    let folder = Folder::new("without");
    let words = format!("train sine --steps 5 --out {}", folder.at("run"));
    let output = start(&words, &[("OMPI_COMM_WORLD_SIZE", "2")]).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("built without MPI") && said.contains("--features mpi"), "{said}");
    assert!(!folder.path().join("run").exists());
}

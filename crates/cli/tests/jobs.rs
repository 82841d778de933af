//! What batch jobs need: variables for flags, a run that is locked, and a script that queues itself again.
#![cfg(unix)]

mod common;

use common::{Folder, HIDDEN, PROGRAM, fails, files, metrics, names, succeeds};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn with(variables: &[(&str, &str)], words: &str) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(words.split_whitespace()).env(HIDDEN.0, HIDDEN.1).stdin(Stdio::null());
    command.envs(variables.iter().copied()).output().unwrap()
}

fn last(run: &str, step: u64) -> std::collections::BTreeMap<String, Vec<u8>> {
    files(Path::new(run).join(format!("checkpoints/step-{step:08}")))
}

#[test]
fn every_flag_has_a_variable_and_a_flag_counts_before_it() {
    let folder = Folder::new("variables");
    let (by_flags, by_variables) = (folder.at("flags"), folder.at("variables"));
    succeeds(&format!("train sine --batch 6 --seed 9 --steps 3 --log-every 1 --out {by_flags}"));
    let variables = [
        ("BELAMY_TRAIN_BATCH", "6"),
        ("BELAMY_TRAIN_SEED", "9"),
        ("BELAMY_TRAIN_STEPS", "100"),
        ("BELAMY_TRAIN_LOG_EVERY", "1"),
        ("BELAMY_TRAIN_OUT", &by_variables),
        // Another command's: it means nothing here.
        ("BELAMY_SAMPLE_SEED", "not a number"),
    ];
    let output = with(&variables, "train sine --steps 3");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(last(&by_flags, 3), last(&by_variables, 3));
    assert_eq!(metrics(&by_variables).len(), 3);
    let output = with(&[("BELAMY_TRAIN_BATCH", "many")], "train sine");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("--batch") && said.contains("(from BELAMY_TRAIN_BATCH)"), "{said}");
}

fn wait_for(what: &str, mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn start(words: &str) -> Child {
    let mut command = Command::new(PROGRAM);
    command.args(words.split_whitespace()).env(HIDDEN.0, HIDDEN.1).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn one_program_at_a_time_trains_into_a_folder() {
    let folder = Folder::new("locked");
    let run = folder.at("run");
    let mut holder =
        start(&format!("train sine --steps 100000000 --checkpoint-every 5 --out {run}"));
    wait_for("a checkpoint", || Path::new(&run).join("checkpoints/latest").exists());
    let held = format!("process {} on ", holder.id());
    for words in [format!("train --resume {run}"), format!("train sine --resume auto --out {run}")]
    {
        fails(&words, 1, &[&held, "is training into this folder"]);
    }
    // It ends with the program, however that ends.
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(names(&run).contains(&".lock".to_owned()));
    let latest = std::fs::read_to_string(Path::new(&run).join("checkpoints/latest")).unwrap();
    let step: u64 = latest.trim().trim_start_matches("step-").parse().unwrap();
    succeeds(&format!("train --resume {run} --steps {}", step + 2));
    assert!(!names(&run).contains(&".lock".to_owned()));
}

#[test]
fn two_that_begin_one_run_at_once_leave_one_run() {
    for turn in 0..5 {
        let folder = Folder::new(&format!("race-{turn}"));
        let run = folder.at("run");
        let words = format!("train sine --steps 5 --out {run}");
        let both = [start(&words), start(&words)];
        let ended = both.map(|child| child.wait_with_output().unwrap());
        let codes = ended.each_ref().map(|output| output.status.code());
        assert!(codes.contains(&Some(0)) && codes.contains(&Some(1)), "{ended:?}");
        succeeds(&format!("train --resume {run} --steps 7"));
    }
}

#[test]
fn a_program_killed_before_its_run_was_one_does_not_bar_the_way() {
    let folder = Folder::new("unborn");
    let run = folder.path().join("run");
    for name in ["samples", "checkpoints"] {
        std::fs::create_dir_all(run.join(name)).unwrap();
    }
    std::fs::write(run.join(".lock"), "process 1 on nowhere\n").unwrap();
    std::fs::write(run.join(".run.toml.tmp-77"), "seed =").unwrap();
    let words = format!("train sine --steps 4 --resume auto --out {}", run.display());
    succeeds(&words);
    assert!(!names(&run).iter().any(|name| name.starts_with('.')), "{:?}", names(&run));
}

#[test]
fn a_job_that_is_queued_again_may_say_all_its_flags_again() {
    let folder = Folder::new("again");
    let (run, whole) = (folder.at("run"), folder.at("whole"));
    let words = "train sine --batch 8 --seed 4 --set latent=3 --log-every 1";
    succeeds(&format!("{words} --steps 4 --resume auto --out {run}"));
    succeeds(&format!("{words} --steps 8 --resume auto --out {run}"));
    succeeds(&format!("{words} --steps 8 --out {whole}"));
    assert_eq!(last(&run, 8), last(&whole, 8));
    for (flag, change) in
        [("--batch", "--batch 9"), ("--seed", "--seed 5"), ("--set", "--set latent=4")]
    {
        let words = format!("train sine --resume auto --out {run} {change}");
        fails(&words, 2, &[&format!("{flag} cannot change")]);
    }
}

/// A SLURM of two programs: `srun` runs what it is given, with a notice before the end the first time; `scontrol` notes
/// what it is asked.
fn stand_in(folder: &Path) {
    let program = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/bash\n{text}")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    program(
        "srun",
        "while [[ $1 == --* ]]; do shift; done\n\
         \"$@\" & job=$!\n\
         if [ ! -e \"$0.noticed\" ]; then touch \"$0.noticed\"; sleep 1; kill -USR2 $job; fi\n\
         wait $job\n",
    );
    program(
        "scontrol",
        "if [ \"$1\" = show ]; then echo 'JobId=42 JobState=RUNNING Reason=None PreemptTime=None'\n\
         else echo \"$@\" >> \"$0.asked\"; fi\n",
    );
    program("squeue", "date -d '+1 hour' +%Y-%m-%dT%H:%M:%S\n");
}

#[test]
fn a_batch_script_goes_on_when_it_is_queued_again() {
    let folder = Folder::new("slurm it's");
    let (run, whole) = (folder.at("run"), folder.at("whole"));
    stand_in(folder.path());
    let mut command = Command::new(PROGRAM);
    command.args(["slurm", "sine", "--cpus", "2", "--time", "2-00", "--sbatch", "partition=long"]);
    command.args(["--out", &run, "--", "--steps", "300", "--sample-every", "0"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let script = String::from_utf8(output.stdout).unwrap();
    for line in ["--ntasks=1", "--cpus-per-task=2", "--time=2-00", "--partition=long", "--requeue"]
    {
        assert!(script.contains(&format!("#SBATCH {line}\n")), "{line}: {script}");
    }
    let path = folder.at("job.sbatch");
    std::fs::write(&path, &script).unwrap();
    let submit = || {
        let search = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
        let mut bash = Command::new("bash");
        bash.arg(&path).env("PATH", search).env("SLURM_JOB_ID", "42").env(HIDDEN.0, HIDDEN.1);
        // So slow that the notice comes in time.
        bash.env("BELAMY_TRAIN_CHECKPOINT_EVERY", "1").output().unwrap()
    };
    let first = submit();
    assert_eq!(first.status.code(), Some(0), "{first:?}");
    let asked = std::fs::read_to_string(folder.path().join("scontrol.asked")).unwrap();
    assert_eq!(asked, "requeue 42\n", "{first:?}");
    assert!(!Path::new(&run).join("checkpoints/step-00000300").exists(), "it was too fast");
    let second = submit();
    assert_eq!(second.status.code(), Some(0), "{second:?}");
    let asked = std::fs::read_to_string(folder.path().join("scontrol.asked")).unwrap();
    assert_eq!(asked, "requeue 42\n", "{second:?}");
    let words = ["train", "sine", "--steps", "300", "--out", &whole];
    assert!(Command::new(PROGRAM).args(words).output().unwrap().status.success());
    assert_eq!(last(&run, 300), last(&whole, 300));
}

#[test]
fn a_batch_script_with_a_mistake_is_not_written() {
    let refused = |words: &str, because: &str| {
        fails(&format!("slurm {words}"), 2, &[because]);
    };
    refused("sin", "sine");
    refused("sine --tasks 0", "--tasks 0: must be above 0");
    refused("sine --time soon", "--time soon: is no time");
    refused("sine --launcher aprun", "there are srun and mpirun");
    refused("sine --sbatch time=5", "the script sets");
    refused("sine -- --stepz 5", "--steps");
    #[cfg(not(feature = "mpi"))]
    for by_mpi in ["--launcher mpirun", "--mpi pmix"] {
        refused(&format!("sine --tasks 2 {by_mpi}"), "--features mpi");
    }
    for (words, mpi) in
        [("--mpi none", "none"), ("", if cfg!(feature = "mpi") { "pmix" } else { "none" })]
    {
        let script = succeeds(&format!("slurm sine --tasks 2 {words}"));
        assert!(script.contains(&format!("--cpus-per-task=1 --mpi={mpi} ")), "{script}");
    }
}

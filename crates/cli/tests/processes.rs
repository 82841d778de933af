//! Training in several processes that find each other by themselves, as `torchrun` and `srun` start them.

mod common;

use common::{Folder, HIDDEN, PROGRAM, by_torchrun, files, free_port, line, metrics};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Starts one process of a job, with a thread of its own.
fn start(words: &str, variables: &[(&str, String)]) -> Child {
    let mut command = Command::new(PROGRAM);
    command.args(words.split_whitespace()).args(["--threads", "1"]).env(HIDDEN.0, HIDDEN.1);
    command.envs(variables.iter().cloned()).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn job(count: usize, words: &str) -> Vec<Child> {
    let port = free_port();
    (0..count).map(|index| start(words, &by_torchrun(index, count, port))).collect()
}

fn ended(job: Vec<Child>) -> Vec<Output> {
    job.into_iter().map(|process| process.wait_with_output().unwrap()).collect()
}

fn finishes(count: usize, words: &str) {
    for output in ended(job(count, words)) {
        assert_eq!(output.status.code(), Some(0), "{count} of {words}: {output:?}");
    }
}

fn last(run: &str, step: u64) -> BTreeMap<String, Vec<u8>> {
    files(Path::new(run).join(format!("checkpoints/step-{step:08}")))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn six_shards_are_the_same_bytes_in_any_number_of_processes() {
    let folder = Folder::new("processes-shards");
    let plan = "train mnist-dcgan --batch 12 --shards 6 --log-every 1";
    let run = |processes: usize| folder.at(&format!("run-{processes}"));
    for processes in [1, 2, 3] {
        let out = run(processes);
        finishes(processes, &format!("{plan} --steps 2 --out {out}"));
        assert_eq!(last(&out, 2), last(&run(1), 2), "{processes} processes");
        // The first process writes and speaks, the others do neither.
        assert_eq!(metrics(&out).len(), 2);
    }
    finishes(3, &format!("train --resume {} --steps 3", run(2)));
    finishes(1, &format!("train --resume {} --steps 3", run(1)));
    assert_eq!(last(&run(2), 3), last(&run(1), 3));
}

#[test]
fn srun_without_an_mpi_makes_a_job() {
    let folder = Folder::new("processes-srun");
    let out = folder.at("run");
    // A port that no other test of this machine has: SLURM's own numbers give one.
    let number = std::process::id().to_string();
    let words = format!("train sine --batch 8 --steps 3 --log-every 1 --out {out}");
    let by_srun = |index: usize| {
        vec![
            ("SLURM_PROCID", index.to_string()),
            ("SLURM_STEP_NUM_TASKS", "2".to_owned()),
            ("SLURM_STEP_NODELIST", "localhost".to_owned()),
            ("SLURM_JOB_ID", number.clone()),
            ("SLURM_STEP_ID", "0".to_owned()),
        ]
    };
    for output in ended((0..2).map(|index| start(&words, &by_srun(index))).collect()) {
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
    assert_eq!(metrics(&out).len(), 3);
}

#[test]
fn a_killed_process_ends_the_job_and_is_named() {
    for victim in 0..3 {
        let folder = Folder::new(&format!("processes-kill-{victim}"));
        let out = folder.at("run");
        let words =
            format!("train mnist-mlp --batch 12 --steps 10000000 --log-every 1 --out {out}");
        let mut job = job(3, &words);
        let begun = Instant::now();
        let lines = || std::fs::read_to_string(Path::new(&out).join("metrics.jsonl"));
        while lines().map_or(0, |text| text.lines().count()) < 3 {
            assert!(begun.elapsed() < Duration::from_secs(60), "no training");
            std::thread::sleep(Duration::from_millis(10));
        }
        job[victim].kill().unwrap();
        let killed = Instant::now();
        let outputs = ended(job);
        let took = killed.elapsed().as_secs_f64();
        assert!(took < 5.0, "it took {took} s");
        let others = outputs.iter().enumerate().filter(|(process, _)| *process != victim);
        let others: Vec<String> = others
            .map(|(_, output)| {
                assert_eq!(output.status.code(), Some(1), "{output:?}");
                said(output)
            })
            .collect();
        let named = format!("process {victim} ");
        assert!(others.iter().any(|text| text.contains(&named)), "{others:?}");
    }
}

#[test]
fn a_process_that_fails_says_why_to_the_others() {
    let folder = Folder::new("processes-fail");
    std::fs::write(folder.at("taken"), "a file").unwrap();
    let out = folder.at("taken");
    let outputs = ended(job(2, &format!("train sine --batch 8 --steps 3 --out {out}")));
    for output in &outputs {
        assert_ne!(output.status.code(), Some(0), "{output:?}");
    }
    assert!(said(&outputs[0]).contains("taken"), "{outputs:?}");
    assert!(said(&outputs[1]).contains("rank 0 has left"), "{outputs:?}");
}

#[test]
fn a_process_that_does_not_come_is_named() {
    let (folder, port) = (Folder::new("processes-missing"), free_port());
    let out = folder.at("run");
    let words = format!("train sine --batch 8 --steps 3 --deadline 1 --out {out}");
    let first = start(&words, &by_torchrun(0, 2, port)).wait_with_output().unwrap();
    assert_eq!(first.status.code(), Some(1), "{first:?}");
    assert!(said(&first).contains("process 1 at 127.0.0.1:"), "{first:?}");
    let other = start(&words, &by_torchrun(1, 2, port)).wait_with_output().unwrap();
    assert_eq!(other.status.code(), Some(1), "{other:?}");
    assert!(said(&other).contains("process 0 at 127.0.0.1:"), "{other:?}");
    assert!(!Path::new(&out).exists(), "a run that never began");
}

#[test]
fn a_job_that_says_no_sense_is_refused() {
    let variables = [("RANK", "one".to_owned()), ("WORLD_SIZE", "2".to_owned())];
    let output = start("train sine --steps 1", &variables).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said(&output).contains("RANK=one is not a number"), "{output:?}");
    // Commands that need no others do not look.
    assert_eq!(line("recipes").code, Some(0));
}

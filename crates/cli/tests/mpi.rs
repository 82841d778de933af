//! Training in several processes under `mpirun`, and processes that fail. Built with feature `mpi` alone.
#![cfg(feature = "mpi")]
// The processes are found in /proc.
#![cfg(target_os = "linux")]

mod common;

use common::{Folder, HIDDEN, PROGRAM, files, metrics};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Whether there is an `mpirun`.
fn can_run(test: &str) -> bool {
    let found = Command::new("mpirun").arg("--version").output().is_ok();
    if !found {
        belamy_tests::require::skip(test, "mpi", "there is no mpirun");
    }
    found
}

/// Starts a job of so many processes, a thread each.
fn start(processes: usize, words: &str) -> Child {
    start_with(processes, words, &[])
}

fn start_with(processes: usize, words: &str, more: &[(&str, &str)]) -> Child {
    let mut command = Command::new("mpirun");
    command.args(["--oversubscribe", "-n", &processes.to_string(), PROGRAM]);
    command.args(words.split_whitespace()).args(["--threads", "1"]);
    // Machines that test are often somebody's container, or share a core.
    let variables = [
        ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
        ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
        ("OMPI_MCA_rmaps_base_oversubscribe", "1"),
        ("OMPI_MCA_hwloc_base_binding_policy", "none"),
        HIDDEN,
    ];
    command.envs(variables).envs(more.iter().copied()).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn finishes(processes: usize, words: &str) {
    let output = start(processes, words).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{processes} of {words}: {output:?}");
}

fn last(run: &str, step: u64) -> BTreeMap<String, Vec<u8>> {
    files(Path::new(run).join(format!("checkpoints/step-{step:08}")))
}

#[test]
fn twelve_shards_are_the_same_bytes_in_any_number_of_processes() {
    if !can_run("twelve_shards_are_the_same_bytes_in_any_number_of_processes") {
        return;
    }
    let folder = Folder::new("mpi-shards");
    let plan = "train mnist-mlp --batch 24 --shards 12 --log-every 1";
    let run = |processes: usize| folder.at(&format!("run-{processes}"));
    for processes in [1, 2, 3, 4, 6, 12] {
        let out = run(processes);
        finishes(processes, &format!("{plan} --steps 4 --out {out}"));
        assert_eq!(last(&out, 4), last(&run(1), 4), "{processes} processes");
    }
    // A job goes on in another number of processes, whichever it was in.
    finishes(1, &format!("train --resume {} --steps 8", run(1)));
    for (from, to) in [(2, 3), (12, 4), (6, 2)] {
        let out = run(from);
        finishes(to, &format!("train --resume {out} --steps 8"));
        assert_eq!(last(&out, 8), last(&run(1), 8), "begun in {from}, resumed in {to}");
    }
}

#[test]
fn two_and_four_processes_train_as_one() {
    if !can_run("two_and_four_processes_train_as_one") {
        return;
    }
    for recipe in ["mnist-mlp", "mnist-dcgan"] {
        let folder = Folder::new(&format!("mpi-{recipe}"));
        let run = |name: &str| folder.at(name);
        let plan = format!("train {recipe} --batch 16 --steps 4 --log-every 1");
        finishes(1, &format!("{plan} --out {}", run("1")));
        for processes in [2, 4] {
            let name = processes.to_string();
            finishes(processes, &format!("{plan} --out {}", run(&name)));
            for (shared, own) in metrics(run(&name)).iter().zip(metrics(run("1"))) {
                for field in ["loss_d", "loss_g"] {
                    let values = [shared, &own].map(|line| line[field].as_f64().unwrap());
                    // f32: each step's sums are rounded in another order.
                    assert!((values[0] - values[1]).abs() < 5e-3, "{field}: {shared} and {own}");
                }
            }
            let again = run(&format!("{name}-again"));
            finishes(processes, &format!("{plan} --out {again}"));
            assert_eq!(last(&again, 4), last(&run(&name), 4), "{recipe}, {processes} processes");
        }
    }
}

/// A job that would go on for ever, and is in training.
fn training(folder: &Folder, processes: usize, more: &str) -> (Child, String) {
    let out = folder.at("run");
    let words =
        format!("train mnist-mlp --batch 12 --steps 10000000 --log-every 1 --out {out} {more}");
    let job = start(processes, &words);
    let begun = Instant::now();
    let lines = || std::fs::read_to_string(Path::new(&out).join("metrics.jsonl"));
    while lines().map_or(0, |text| text.lines().count()) < 3 {
        assert!(begun.elapsed() < Duration::from_secs(60), "no training");
        std::thread::sleep(Duration::from_millis(10));
    }
    (job, out)
}

/// The processes that an `mpirun` has started, by rank.
fn processes_of(job: &Child) -> Vec<u32> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(id) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
        let stat = String::from_utf8_lossy(&read("stat")).into_owned();
        let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1));
        if parent.and_then(|text| text.parse().ok()) != Some(job.id()) {
            continue;
        }
        let environment = read("environ");
        let rank = environment
            .split(|byte| *byte == 0)
            .find_map(|variable| variable.strip_prefix(b"OMPI_COMM_WORLD_RANK="));
        if let Some(rank) = rank {
            found.insert(String::from_utf8_lossy(rank).parse::<usize>().unwrap(), id);
        }
    }
    found.into_values().collect()
}

fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").args([name, &process.to_string()]).status().unwrap();
    assert!(sent.success());
}

/// How the job ends, which it must within so many seconds.
fn ends_within(job: Child, seconds: f64) -> Output {
    let begun = Instant::now();
    let output = job.wait_with_output().unwrap();
    let took = begun.elapsed().as_secs_f64();
    assert!(took < seconds, "it took {took} s: {output:?}");
    output
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Steps of one, two and all three processes are timed, and process 0 alone speaks.
#[test]
fn scaling_is_measured_among_the_first_processes() {
    if !can_run("scaling_is_measured_among_the_first_processes") {
        return;
    }
    let job = start(3, "bench scaling mnist-mlp --batch 6 --steps 2 --json");
    let output = job.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let lines = report["lines"].as_array().unwrap().iter();
    let measured = lines.filter(|line| line["source"] == "measured").map(|line| {
        let number = |name: &str| line[name].as_u64().or(line[name].as_f64().map(|x| x as u64));
        (line["scaling"].as_str().unwrap(), number("processes").unwrap(), number("batch").unwrap())
    });
    let expected =
        [("weak", 1, 6), ("weak", 2, 6), ("weak", 3, 6), ("strong", 2, 3), ("strong", 3, 2)];
    assert_eq!(measured.collect::<Vec<_>>(), expected);
    assert!(report["job"]["bandwidth"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_killed_process_ends_the_job() {
    if !can_run("a_killed_process_ends_the_job") {
        return;
    }
    for victim in 0..3 {
        let folder = Folder::new(&format!("mpi-kill-{victim}"));
        let (job, _) = training(&folder, 3, "");
        let ids = processes_of(&job);
        assert_eq!(ids.len(), 3, "{ids:?}");
        signal(ids[victim], "-KILL");
        let output = ends_within(job, 5.0);
        assert!(!output.status.success(), "{output:?}");
        // mpirun says which.
        assert!(said(&output).contains(&format!("rank {victim}")), "{output:?}");
    }
}

#[test]
fn a_process_that_does_not_answer_is_named_and_ends_the_job() {
    if !can_run("a_process_that_does_not_answer_is_named_and_ends_the_job") {
        return;
    }
    let folder = Folder::new("mpi-stop");
    let (job, _) = training(&folder, 2, "--deadline 2");
    let ids = processes_of(&job);
    signal(ids[1], "-STOP");
    // mpirun waits for what is stopped, however it was told to end.
    std::thread::sleep(Duration::from_secs(4));
    let awake = ids[1];
    let _ = Command::new("kill").args(["-CONT", &awake.to_string()]).status();
    let output = ends_within(job, 10.0);
    assert!(!output.status.success(), "{output:?}");
    assert!(said(&output).contains("process 1 has not answered for 2 s"), "{output:?}");
}

#[test]
fn sigusr2_to_mpirun_saves_and_asks_to_be_queued_again() {
    if !can_run("sigusr2_to_mpirun_saves_and_asks_to_be_queued_again") {
        return;
    }
    let folder = Folder::new("mpi-usr2");
    let (job, out) = training(&folder, 2, "");
    signal(job.id(), "-USR2");
    let output = ends_within(job, 5.0);
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    let latest = std::fs::read_to_string(Path::new(&out).join("checkpoints/latest")).unwrap();
    let step: u64 = latest.trim().trim_start_matches("step-").parse().unwrap();
    // It goes on in one process, and is what two would have made of it.
    let whole = folder.at("whole");
    finishes(1, &format!("train --resume {out} --steps {}", step + 3));
    let plan = "train mnist-mlp --batch 12 --log-every 1";
    finishes(2, &format!("{plan} --steps {} --out {whole}", step + 3));
    assert_eq!(last(&out, step + 3), last(&whole, step + 3));
}

#[test]
fn a_process_that_fails_says_why_and_ends_the_job() {
    if !can_run("a_process_that_fails_says_why_and_ends_the_job") {
        return;
    }
    let folder = Folder::new("mpi-fails");
    let out = folder.at("run");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(Path::new(&out).join("something"), "else").unwrap();
    let job = start(3, &format!("train mnist-mlp --batch 9 --steps 5 --out {out}"));
    let output = ends_within(job, 20.0);
    assert!(!output.status.success());
    assert!(said(&output).contains("rank 0 has left"), "{output:?}");
    assert!(said(&output).contains("the folder is not empty"), "{output:?}");
}

/// Ranks that fail in each way, in jobs of two to eight processes, at calls that differ: the job must end, name the rank,
/// and leave a checkpoint that can be gone on with if there was one. `BELAMY_RANK_FAILURES` says how many; a few if not.
#[cfg(feature = "faults")]
#[test]
fn a_rank_that_fails_in_any_way_ends_the_job_and_is_named() {
    let name = "a_rank_that_fails_in_any_way_ends_the_job_and_is_named";
    if !can_run(name) {
        return;
    }
    let count = std::env::var("BELAMY_RANK_FAILURES").ok();
    let count: usize = count.map_or(8, |count| count.parse().unwrap());
    let kinds = ["kill", "panic", "exit", "abort", "stop", "silent", "nan", "diverged"];
    let mut slowest = BTreeMap::new();
    let mut problems = Vec::new();
    for turn in 0..count {
        let kind = kinds[turn % kinds.len()];
        let processes = 2 + (turn / kinds.len() + turn) % 7;
        let rank = (turn * 5 + turn / 7) % processes;
        // In the beginning, in the first steps, and about a checkpoint.
        let call = 1 + turn * 3 % 41;
        let folder = Folder::new(&format!("mpi-fault-{turn}"));
        let out = folder.at("run");
        let batch = processes * 2;
        let words = format!(
            "train mnist-mlp --batch {batch} --steps 400 --log-every 1 --sample-every 0 --checkpoint-every 2 \
             --keep-checkpoints 1 --deadline 3 --out {out}"
        );
        let fault = format!("{kind}:{rank}:{call}");
        let begun = Instant::now();
        let job = start_with(processes, &words, &[("BELAMY_FAULT", &fault)]);
        let id = job.id();
        // A watchman of the test's own.
        let (ended, end) = std::sync::mpsc::channel::<()>();
        let watchman = std::thread::spawn(move || {
            if end.recv_timeout(Duration::from_secs(60)).is_err() {
                signal(id, "-KILL");
            }
        });
        let output = job.wait_with_output().unwrap();
        let took = begun.elapsed().as_secs_f64();
        let _ = ended.send(());
        watchman.join().unwrap();
        let said = said(&output) + &String::from_utf8_lossy(&output.stdout);
        // The start of a job, two seconds for its end, and three of the deadline where a rank says nothing.
        let most = if ["stop", "silent"].contains(&kind) { 20.0 } else { 15.0 };
        // The last is mpirun's way to name one that exits.
        let names = [format!("rank {rank}"), format!("process {rank} "), format!(",1],{rank}]")];
        let mut wrong = Vec::new();
        if output.status.success() || output.status.code().is_none() {
            wrong.push(format!("its status is {:?}", output.status));
        }
        if took > most {
            wrong.push(format!("it took {took:.1} s"));
        }
        if !names.iter().any(|name| said.contains(name)) {
            wrong.push("the rank is not named".to_owned());
        }
        let checkpoints = Path::new(&out).join("checkpoints");
        if checkpoints.exists()
            && let Err(error) = belamy_gan::checkpoint::latest(&checkpoints)
        {
            wrong.push(error.to_string());
        }
        if !wrong.is_empty() {
            problems.push(format!("{fault} of {processes}: {}\n{said}", wrong.join(", ")));
        }
        let slowest = slowest.entry(kind).or_insert(0.0f64);
        *slowest = slowest.max(took);
    }
    let summary = format!("{count} rank failures; seconds to the end, at most: {slowest:.1?}\n");
    std::io::Write::write_all(&mut std::io::stderr(), summary.as_bytes()).unwrap();
    assert!(problems.is_empty(), "{} of {count}:\n{}", problems.len(), problems.join("\n"));
}

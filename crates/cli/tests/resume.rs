//! A run that is interrupted and resumed leaves the same bytes as one that never was, on any number of threads.

mod common;

use common::{Folder, HIDDEN, PROGRAM, fails, files, line, metrics, names, succeeds, tensors};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Starts a training that will be interrupted.
fn start(words: &str) -> Child {
    let mut command = Command::new(PROGRAM);
    command.args(words.split_whitespace()).env(HIDDEN.0, HIDDEN.1).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for something that must happen within a minute.
fn wait_for(what: &str, mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A wait that is different each time the test runs.
fn random_wait(most: u32) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let word = now.subsec_micros().wrapping_mul(2_654_435_761);
    Duration::from_micros((u64::from(word) * u64::from(most) * 1000) >> 32)
}

fn has_checkpoint(run: &str) -> bool {
    Path::new(run).join("checkpoints/latest").exists()
}

/// The fields of metrics that do not depend on time.
fn timeless(run: &str) -> Vec<serde_json::Value> {
    let mut lines = metrics(run);
    for line in &mut lines {
        let fields = line.as_object_mut().unwrap();
        assert!(fields.remove("seconds").is_some_and(|seconds| seconds.as_f64() >= Some(0.0)));
        assert!(fields.remove("images_per_second").is_some());
    }
    lines
}

/// Trains `steps` steps without a break on one thread; again on two threads, killed twice at moments that nobody
/// chose; and goes on with that on three threads. Both must leave the same checkpoint and the same metrics.
///
/// The moments lie within a quarter of what the whole run took, so that a fast machine is killed in time too: two
/// threads need half of one thread's time at the least.
fn killed_and_resumed(recipe: &str, steps: u64, every: u64) {
    let folder = Folder::new(&format!("resume-{}", recipe.split_whitespace().next().unwrap()));
    let (whole, broken) = (folder.at("whole"), folder.at("broken"));
    let plan = format!("train {recipe} --steps {steps} --log-every 1 --checkpoint-every {every}");
    let begun = std::time::Instant::now();
    succeeds(&format!("{plan} --threads 1 --out {whole}"));
    let moments = (begun.elapsed().as_millis() as u32 / 4).max(1);

    let mut killed = 0;
    let mut history = Vec::new();
    for part in 0..2 {
        let mut child = match part {
            0 => start(&format!("{plan} --threads 2 --out {broken}")),
            _ => start(&format!("train --resume {broken} --threads 2")),
        };
        wait_for("the first checkpoint", || has_checkpoint(&broken));
        let wait = random_wait(moments);
        std::thread::sleep(wait);
        child.kill().unwrap();
        killed += usize::from(child.wait().unwrap().code().is_none());
        history.push((wait, names(Path::new(&broken).join("checkpoints"))));
    }
    succeeds(&format!("train --resume {broken} --threads 3"));

    let last = format!("checkpoints/step-{steps:08}");
    let expected = files(Path::new(&whole).join(&last));
    let found = files(Path::new(&broken).join(&last));
    assert_eq!(expected.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>());
    for (name, bytes) in &expected {
        assert!(found[name] == *bytes, "{name} differs after {history:?}");
    }
    assert_eq!(timeless(&whole), timeless(&broken), "{history:?}");
    let logged: Vec<u64> =
        metrics(&broken).iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(logged, (1..=steps).collect::<Vec<_>>(), "{history:?}");
    let hidden =
        files(&broken).into_keys().find(|name| name.contains("/.") || name.starts_with('.'));
    assert_eq!(hidden, None, "{history:?}");
    assert!(killed > 0, "the run ended before it could be killed: {history:?}");
}

#[test]
fn sine_resumes_to_the_same_bytes() {
    killed_and_resumed("sine", 240, 12);
}

#[test]
fn mnist_mlp_resumes_to_the_same_bytes() {
    killed_and_resumed("mnist-mlp --batch 8", 30, 3);
}

#[test]
fn mnist_dcgan_resumes_to_the_same_bytes() {
    killed_and_resumed("mnist-dcgan --batch 4", 16, 2);
}

#[test]
fn leftovers_of_a_kill_are_ignored_and_cleaned() {
    let folder = Folder::new("leftovers");
    let (whole, broken) = (folder.at("whole"), folder.at("broken"));
    let plan = "train sine --log-every 5 --checkpoint-every 10";
    succeeds(&format!("{plan} --steps 40 --out {whole}"));
    succeeds(&format!("{plan} --steps 20 --out {broken}"));
    let run = Path::new(&broken);
    // Killed while writing the checkpoint of step 30, a picture, the plan, `latest`, and a line of metrics.
    let partial = run.join("checkpoints/.step-00000030.partial");
    std::fs::create_dir(&partial).unwrap();
    std::fs::write(partial.join("generator.safetensors"), "half").unwrap();
    std::fs::write(run.join("checkpoints/.latest.tmp-77"), "step-000").unwrap();
    std::fs::write(run.join("samples/.step-00000030.png.tmp-77"), "half").unwrap();
    std::fs::write(run.join(".run.toml.tmp-77"), "half").unwrap();
    // A power cut may leave a folder without its marker.
    std::fs::create_dir(run.join("checkpoints/step-00000030")).unwrap();
    let log = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let torn = format!(
        "{log}{}\n{{\"step\":30,\"epo",
        log.lines().last().unwrap().replace(":20,", ":25,")
    );
    std::fs::write(run.join("metrics.jsonl"), torn).unwrap();

    succeeds(&format!("train --resume {broken} --steps 40"));
    assert_eq!(timeless(&whole), timeless(&broken));
    assert_eq!(names(run.join("checkpoints")), names(Path::new(&whole).join("checkpoints")));
    assert_eq!(names(run.join("samples")), ["step-00000020.png", "step-00000040.png"]);
    let ends = ["run.toml", "metrics.jsonl", "curves.png", "report.html", "samples", "checkpoints"];
    let others: Vec<String> =
        names(run).into_iter().filter(|name| !ends.contains(&name.as_str())).collect();
    assert!(others.iter().all(|name| name.starts_with("events.out.tfevents.")), "{others:?}");
    let last = "checkpoints/step-00000040";
    assert_eq!(files(run.join(last)), files(Path::new(&whole).join(last)));
    // The plan says what the run was resumed to.
    let plan = std::fs::read_to_string(run.join("run.toml")).unwrap();
    assert!(plan.contains("\nsteps = 40\n"), "{plan}");
}

#[test]
fn a_run_killed_before_its_first_checkpoint_begins_again() {
    let folder = Folder::new("no-checkpoint");
    let (whole, broken) = (folder.at("whole"), folder.at("broken"));
    let plan = "train sine --steps 4000 --log-every 1 --checkpoint-every 0 --threads 1";
    let mut child = start(&format!("{plan} --out {broken}"));
    wait_for("a line of metrics", || {
        std::fs::metadata(Path::new(&broken).join("metrics.jsonl")).is_ok_and(|log| log.len() > 0)
    });
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), None);
    assert!(names(Path::new(&broken).join("checkpoints")).is_empty());
    fails(&format!("sample {broken} --out {}", folder.at("x.png")), 1, &["no checkpoint yet"]);
    // The same, for fewer steps.
    succeeds(&format!("train --resume {broken} --steps 30"));
    succeeds(&format!("train sine --steps 30 --log-every 1 --checkpoint-every 0 --out {whole}"));
    let last = "checkpoints/step-00000030";
    assert_eq!(files(Path::new(&broken).join(last)), files(Path::new(&whole).join(last)));
    assert_eq!(timeless(&whole), timeless(&broken));
}

#[test]
fn old_checkpoints_go_and_a_run_that_was_taken_back_keeps_its_new_ones() {
    let folder = Folder::new("prune");
    let run = folder.at("run");
    succeeds(&format!(
        "train sine --steps 50 --checkpoint-every 10 --keep-checkpoints 2 --out {run}"
    ));
    let checkpoints = Path::new(&run).join("checkpoints");
    assert_eq!(names(&checkpoints), ["latest", "step-00000040", "step-00000050"]);
    assert_eq!(std::fs::read_to_string(checkpoints.join("latest")).unwrap(), "step-00000050\n");
    let after_50 = files(checkpoints.join("step-00000050"));
    // Somebody takes the run back to step 40 by removing the newest checkpoint; the intervals are the run's own.
    std::fs::remove_dir_all(checkpoints.join("step-00000050")).unwrap();
    succeeds(&format!("train --resume {run} --checkpoint-every 5"));
    assert_eq!(files(checkpoints.join("step-00000050")), after_50);
    assert_eq!(names(&checkpoints), ["latest", "step-00000045", "step-00000050"]);
    // Taken back by `latest`: what is written anew must not be the oldest that is removed.
    std::fs::write(checkpoints.join("latest"), "step-00000045\n").unwrap();
    succeeds(&format!("train --resume {run} --checkpoint-every 1 --keep-checkpoints 1 --steps 47"));
    assert_eq!(names(&checkpoints), ["latest", "step-00000047", "step-00000050"]);
    assert_eq!(std::fs::read_to_string(checkpoints.join("latest")).unwrap(), "step-00000047\n");
    // Finished already: nothing to do, nothing changed.
    let before = files(&checkpoints);
    succeeds(&format!("train --resume {run}"));
    assert_eq!(files(&checkpoints), before);
    fails(&format!("train --resume {run} --steps 46"), 2, &["steps=46", "at step 47 already"]);
    assert_eq!(files(&checkpoints), before);
}

#[test]
fn a_resumed_run_stays_on_its_device() {
    let folder = Folder::new("device");
    let (whole, broken) = (folder.at("whole"), folder.at("broken"));
    succeeds(&format!("train sine --device oracle --steps 6 --out {whole}"));
    succeeds(&format!("train sine --device oracle --steps 3 --out {broken}"));
    succeeds(&format!("train --resume {broken} --steps 6"));
    let last = "checkpoints/step-00000006";
    assert_eq!(files(Path::new(&broken).join(last)), files(Path::new(&whole).join(last)));
}

#[test]
fn a_run_in_bf16_says_so_and_is_resumed_in_bf16() {
    let folder = Folder::new("bf16");
    let last = "checkpoints/step-00000004";
    let train = |name: &str, words: &str| {
        let run = folder.at(name);
        succeeds(&format!("train mnist-mlp --batch 16 --seed 2 {words} --out {run}"));
        run
    };
    let whole = train("whole", "--precision bf16 --steps 4");
    let broken = train("broken", "--precision bf16 --steps 2");
    succeeds(&format!("train --resume {broken} --steps 4"));
    let plan = std::fs::read_to_string(Path::new(&broken).join("run.toml")).unwrap();
    assert!(plan.contains("precision = \"bf16\""), "{plan}");
    let state = |run: &str| files(Path::new(run).join(last));
    assert_eq!(state(&broken), state(&whole));
    let single = train("single", "--steps 4");
    assert_ne!(state(&single), state(&whole), "bf16 changed nothing");
    // Rounded operands change the losses in the third digit, not in the first.
    let losses = |run: &str| -> Vec<f64> {
        timeless(run).iter().map(|line| line["loss_d"].as_f64().unwrap()).collect()
    };
    for (single, half) in losses(&single).iter().zip(losses(&whole)) {
        assert!((single - half).abs() < 0.02 * single.abs(), "{single} and {half}");
    }
}

#[test]
fn a_run_convolves_as_it_was_told_to_and_so_when_resumed() {
    let folder = Folder::new("conv");
    let weights = |name: &str, set: &str| {
        let run = folder.at(name);
        let words = "mnist-dcgan --batch 8 --steps 1 --seed 3";
        succeeds(&format!("train {words} --out {run} {set}"));
        succeeds(&format!("train --resume {run} --steps 2"));
        let plan = std::fs::read_to_string(Path::new(&run).join("run.toml")).unwrap();
        let way = if set.is_empty() { "winograd" } else { "direct" };
        assert!(plan.contains(&format!("conv = \"{way}\"")), "{plan}");
        std::fs::read(Path::new(&run).join("checkpoints/step-00000002/generator.safetensors"))
            .unwrap()
    };
    let direct = weights("direct", "--set conv=direct");
    assert_ne!(weights("winograd", ""), direct);
    // One step at a time or two: the choice holds after the interruption.
    let whole = folder.at("whole");
    succeeds(&format!(
        "train mnist-dcgan --batch 8 --steps 2 --seed 3 --out {whole} --set conv=direct"
    ));
    let last = Path::new(&whole).join("checkpoints/step-00000002/generator.safetensors");
    assert_eq!(std::fs::read(last).unwrap(), direct);
}

#[cfg(unix)]
fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[cfg(unix)]
#[test]
fn a_signal_ends_a_run_with_a_checkpoint_and_code_0() {
    let folder = Folder::new("signals");
    let whole = folder.at("whole");
    for name in ["-INT", "-TERM"] {
        let run = folder.at(&format!("run{name}"));
        let child = start(&format!("train sine --steps 1000000 --log-every 1 --out {run}"));
        wait_for("some training", || {
            let log = std::fs::read_to_string(Path::new(&run).join("metrics.jsonl"));
            log.is_ok_and(|log| log.lines().count() > 5)
        });
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{name}: {output:?}");
        let message = String::from_utf8(output.stdout).unwrap();
        assert!(message.contains("stopped after step "), "{message}");
        assert!(message.contains(&format!("belamy train --resume {run}")), "{message}");
        let step: u64 =
            message.split_whitespace().nth(3).unwrap().trim_end_matches(';').parse().unwrap();
        let checkpoint = Path::new(&run).join(format!("checkpoints/step-{step:08}"));
        assert!(checkpoint.join("complete").exists());
        let steps = step + 5;
        succeeds(&format!("train --resume {run} --steps {steps}"));
        // Stopped or not, the same weights.
        if name == "-INT" {
            succeeds(&format!("train sine --steps {steps} --out {whole}"));
            let last = format!("checkpoints/step-{steps:08}");
            assert_eq!(files(Path::new(&run).join(&last)), files(Path::new(&whole).join(&last)));
        }
    }
}

#[cfg(unix)]
#[test]
fn a_second_signal_ends_a_run_at_once() {
    let folder = Folder::new("second-signal");
    let run = folder.at("run");
    // A single step of this lasts longer than the test waits.
    let mut child = start(&format!("train mnist-dcgan --batch 10000 --threads 1 --out {run}"));
    let mut said = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.contains("training into"), "{said}");
    // Into the step.
    std::thread::sleep(Duration::from_millis(300));
    signal(&child, "-INT");
    std::thread::sleep(Duration::from_millis(100));
    assert!(child.try_wait().unwrap().is_none(), "the first signal waits for the step");
    // Schedulers send it again and again.
    for _ in 0..2 {
        signal(&child, "-TERM");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(child.try_wait().unwrap().is_none(), "SIGTERM waits for the step");
    let start = Instant::now();
    signal(&child, "-INT");
    let status = child.wait().unwrap();
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(status.code(), Some(130));
    assert!(names(Path::new(&run).join("checkpoints")).is_empty());
}

#[test]
fn training_that_diverges_names_the_place_and_keeps_the_last_good_checkpoint() {
    for recipe in ["sine", "mnist-mlp --batch 8", "mnist-dcgan --batch 4"] {
        for network in ["generator", "discriminator"] {
            let folder = Folder::new("diverges");
            let run = folder.at("run");
            let rate = format!("{network}_optimizer.learning_rate");
            let plan = format!(
                "train {recipe} --steps 50 --log-every 1 --checkpoint-every 1 --set {rate}=1e30"
            );
            let ran = line(&format!("{plan} --out {run}"));
            assert_eq!(ran.code, Some(1), "{recipe} {network}: {ran:?}");
            assert!(!ran.stderr.contains("panicked"), "{ran:?}");
            let message = ran.stderr.lines().last().unwrap();
            assert!(message.starts_with("belamy: step "), "{message}");
            assert!(message.contains(" is not finite; training stopped"), "{message}");
            let places = [
                "generator.",
                "discriminator.",
                "loss of the generator",
                "loss of the discriminator",
            ];
            assert!(places.iter().any(|place| message.contains(place)), "{message}");
            let step: u64 = message.split([' ', ':']).nth(3).unwrap().parse().unwrap();
            let checkpoints = Path::new(&run).join("checkpoints");
            let latest = std::fs::read_to_string(checkpoints.join("latest"));
            if step == 1 {
                assert!(latest.is_err());
                continue;
            }
            assert_eq!(latest.unwrap(), format!("step-{:08}\n", step - 1), "{message}");
            for (name, _) in files(&checkpoints) {
                if name.ends_with(".safetensors") {
                    for (tensor, (_, values)) in tensors(checkpoints.join(&name)) {
                        assert!(values.iter().all(|value| value.is_finite()), "{name} {tensor}");
                    }
                }
            }
            let again = line(&format!("train --resume {run}"));
            assert_eq!(again.code, Some(1), "{again:?}");
            assert_eq!(again.stderr.lines().last().unwrap(), message, "it is the same step again");
        }
    }
}

//! The libraries of devices missing, cut short, or not what their names say, and devices that fail while they are used: an
//! error in a line, no panic, no wait without end.
#![cfg(target_os = "linux")]

mod common;

use common::{Folder, PROGRAM, Ran, by_torchrun, free_port, skip};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The longest that a refusal may take.
const AT_MOST: Duration = Duration::from_secs(120);

/// Starts a line of words with `libraries` alone on the library path, and nothing of this machine's settings of devices.
fn start(words: &str, libraries: &Path, variables: &[(&str, &str)]) -> Child {
    let mut command = Command::new(PROGRAM);
    command.args(words.split_whitespace()).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let own = ["BELAMY_KERNELS", "VK_ICD_FILENAMES", "VK_DRIVER_FILES", "VK_ADD_DRIVER_FILES"];
    for name in own {
        command.env_remove(name);
    }
    command.env("LD_LIBRARY_PATH", libraries).env("XDG_CACHE_HOME", libraries.join("cache"));
    command.env("RUST_BACKTRACE", "1").envs(variables.iter().copied());
    command.spawn().unwrap()
}

/// What a program has said that ends in time.
fn ended(mut child: Child, what: &str) -> Ran {
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > AT_MOST {
            let _ = child.kill();
            panic!("{what} has not ended");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap().into()
}

/// Runs a line to its end, see [`start`].
fn run(words: &str, libraries: &Path, variables: &[(&str, &str)]) -> Ran {
    ended(start(words, libraries, variables), &format!("belamy {words} with {variables:?}"))
}

/// Runs a line that must be refused in one line with all of `wanted`, and leave nothing in `out`.
#[track_caller]
fn refused(words: &str, libraries: &Path, variables: &[(&str, &str)], out: &Path, wanted: &[&str]) {
    let ran = run(&format!("{words} --out {}", out.display()), libraries, variables);
    assert_eq!(ran.code, Some(1), "belamy {words}\n{ran:?}");
    assert!(ran.stdout.is_empty(), "belamy {words}\n{ran:?}");
    assert!(ran.stderr.starts_with("belamy: "), "belamy {words}\n{ran:?}");
    assert_eq!(ran.stderr.lines().count(), 1, "belamy {words}\n{ran:?}");
    for word in ["panicked", "backtrace"] {
        assert!(!ran.stderr.contains(word), "belamy {words}\n{ran:?}");
    }
    for word in wanted {
        assert!(ran.stderr.contains(word), "belamy {words}: {word:?} is missing\n{ran:?}");
    }
    assert!(!out.exists(), "belamy {words} has left {}", out.display());
}

/// The same file under each of these names in a new folder below `folder`.
fn library(folder: &Folder, name: &str, file: &Path, names: &[&str]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::create_dir_all(&path).unwrap();
    for name in names {
        std::fs::copy(file, path.join(name)).unwrap();
    }
    path
}

/// A shared library of `driver.c` with these definitions; `None`, after saying that the test is skipped, without a C
/// compiler.
fn driver(test: &str, folder: &Folder, definitions: &[&str]) -> Option<PathBuf> {
    built(test, folder, "driver", definitions)
}

/// A shared library of one of the sources here, likewise.
fn built(test: &str, folder: &Folder, source: &str, definitions: &[&str]) -> Option<PathBuf> {
    let built = folder.path().join(format!("{source}{}.so", definitions.join("")));
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/libraries");
    let source = sources.join(source).with_extension("c");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
        .args([&built, &source])
        .args(definitions)
        .output();
    let Ok(compiled) = compiled else {
        skip(test, "there is no C compiler", "cxx");
        return None;
    };
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    Some(built)
}

const CUDA: [&str; 2] = ["libcuda.so", "libcuda.so.1"];
const NVRTC: [&str; 3] = ["libnvrtc.so", "libnvrtc.so.12", "libnvrtc.so.13"];
const VULKAN: [&str; 2] = ["libvulkan.so", "libvulkan.so.1"];

const TRAIN: &str = "train sine --batch 4 --set latent=2 --steps 2 --threads 1";

/// A file that is no library, whatever its name says.
fn garbage(folder: &Folder) -> PathBuf {
    let path = folder.path().join("garbage");
    std::fs::write(&path, "no library at all\n".repeat(100)).unwrap();
    path
}

#[test]
fn a_cuda_driver_that_is_missing_or_a_stub_is_refused_in_a_line() {
    let test = "a_cuda_driver_that_is_missing_or_a_stub_is_refused_in_a_line";
    let folder = Folder::new("cuda-libraries");
    let out = folder.path().join("run");
    let cuda = format!("{TRAIN} --device cuda");
    let none = folder.path().join("none");
    std::fs::create_dir(&none).unwrap();
    // A machine that has a driver finds it all the same, and no device.
    let hidden = [("CUDA_VISIBLE_DEVICES", "")];
    let advice = "or take another device";
    refused(&cuda, &none, &hidden, &out, &["--device cuda: ", "CUDA driver", advice]);
    let broken = library(&folder, "garbage-cuda", &garbage(&folder), &CUDA);
    refused(&cuda, &broken, &hidden, &out, &["--device cuda: ", "CUDA driver", advice]);

    let Some(empty) = driver(test, &folder, &[]) else { return };
    let empty = library(&folder, "empty-cuda", &empty, &CUDA);
    let lacks = ["--device cuda: ", "libcuda", "has no function cuInit", advice];
    refused(&cuda, &empty, &[], &out, &lacks);
    refused(&format!("{TRAIN} --device cuda --precision tf32"), &empty, &[], &out, &lacks);
    let Some(partial) = driver(test, &folder, &["-DINIT=0"]) else { return };
    let partial = library(&folder, "partial-cuda", &partial, &CUDA);
    refused(&cuda, &partial, &[], &out, &["--device cuda: ", "has no function cu", advice]);
    // What an ordinary machine says without a device, and what the stub of the toolkit does.
    for (code, name) in [("100", "CUDA_ERROR_NO_DEVICE"), ("34", "CUDA_ERROR_STUB_LIBRARY")] {
        let Some(built) = driver(test, &folder, &[&format!("-DINIT={code}")]) else { return };
        let failing = library(&folder, &format!("failing-{code}"), &built, &CUDA);
        refused(&cuda, &failing, &[], &out, &["--device cuda: ", name, "nvidia-smi", advice]);
        // Who asks for no device is given one that works.
        let ran = run("devices", &failing, &[]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.stdout.contains(name) && !ran.stderr.contains("panicked"), "{ran:?}");
    }
    let ran = run(&format!("{TRAIN} --device auto --out {}", out.display()), &empty, &[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[test]
fn a_compiler_of_kernels_that_is_missing_or_a_stub_is_refused_in_a_line() {
    let test = "a_compiler_of_kernels_that_is_missing_or_a_stub_is_refused_in_a_line";
    let folder = Folder::new("nvrtc-libraries");
    let out = folder.path().join("out");
    let build = "kernels build --arch sm_80";
    let Some(empty) = driver(test, &folder, &[]) else { return };
    let Some(device) = driver(test, &folder, &["-DDEVICE"]) else { return };
    // A machine whose device is there, and one without, whose kernels are built beforehand.
    for (name, file, said) in [
        ("none", None, "cannot be loaded"),
        ("garbage-nvrtc", Some(garbage(&folder)), "cannot be loaded"),
        ("empty-nvrtc", Some(empty), "has no function nvrtc"),
    ] {
        let libraries = library(&folder, name, &device, &CUDA);
        if let Some(file) = &file {
            library(&folder, name, file, &NVRTC);
        } else if run(
            &format!("kernels build --arch sm_0 --out {}", folder.at("any")),
            &libraries,
            &[],
        )
        .stderr
        .contains("sm_0")
        {
            // Where the system has NVRTC it cannot be missing.
            continue;
        }
        let wanted = ["NVRTC (libnvrtc)", said, "install the package nvidia-cuda-nvrtc"];
        refused(build, &libraries, &[], &out, &wanted);
        let cuda = format!("{TRAIN} --device cuda");
        refused(&cuda, &libraries, &[], &out, &wanted);
        refused(&cuda, &libraries, &[], &out, &["device cuda: ", "BELAMY_KERNELS"]);
    }
}

/// Trains for six steps, of which the last are recorded, on a device of `driver.c` that takes kernels and runs none.
/// Returns whether it failed and its last line, and panics unless an error is one line.
fn trained(folder: &Folder, libraries: &Path, variables: &[(&str, &str)]) -> (bool, String) {
    let out = folder.path().join("run");
    let train = TRAIN.replace("--steps 2", "--steps 6");
    let words = format!("{train} --device cuda --out {}", out.display());
    let ran = run(&words, libraries, variables);
    let _ = std::fs::remove_dir_all(&out);
    let last = ran.stderr.lines().last().unwrap_or_default();
    assert!(matches!(ran.code, Some(0 | 1)), "{variables:?} {ran:?}");
    assert_eq!(ran.code == Some(1), last.starts_with("belamy: "), "{variables:?} {ran:?}");
    assert!(!ran.stderr.contains("panicked"), "{variables:?} {ran:?}");
    (ran.code == Some(1), last.to_owned())
}

#[test]
fn a_device_that_fails_at_any_call_ends_training_with_a_line() {
    let test = "a_device_that_fails_at_any_call_ends_training_with_a_line";
    let folder = Folder::new("failing-device");
    let takes_kernels = ["-DDEVICE", "-DKERNELS"];
    let Some(compiler) = built(test, &folder, "compiler", &[]) else { return };
    let Some(without) = driver(test, &folder, &takes_kernels) else { return };
    let without = library(&folder, "without-graphs", &without, &CUDA);
    library(&folder, "without-graphs", &compiler, &NVRTC);
    let (fails, said) = trained(&folder, &without, &[]);
    assert!(
        fails && said.contains("device cuda: beginning to record: there is no device"),
        "{said}"
    );

    let Some(device) = driver(test, &folder, &[&takes_kernels[..], &["-DGRAPHS"]].concat()) else {
        return;
    };
    let libraries = library(&folder, "with-graphs", &device, &CUDA);
    library(&folder, "with-graphs", &compiler, &NVRTC);
    let list = folder.at("calls");
    // What is not computed is what lay there before: a count of values that are not finite, or none.
    let unharmed = trained(&folder, &libraries, &[("DRIVER_CALLS", &list)]);
    let (fails, said) = &unharmed;
    assert!(!fails || said.contains("a value that did not come again"), "{said}");
    let mut calls: BTreeMap<String, usize> = BTreeMap::new();
    for name in std::fs::read_to_string(&list).unwrap().lines() {
        *calls.entry(name.to_owned()).or_default() += 1;
    }
    assert!(calls.len() > 30 && calls["cuGraphLaunch"] > 1, "{calls:?}");
    for (name, &count) in &calls {
        // Not enough memory where some is taken, or else a kernel that failed, which ends a context.
        let code = if name.contains("Alloc") { 2 } else { 719 };
        let gives_back = ["Destroy", "Free", "Release", "Unload"];
        let gives_back = gives_back.iter().any(|word| name.contains(word));
        let mut at = vec![1, 2, count.div_ceil(2), count];
        at.retain(|&nth| nth <= count);
        at.dedup();
        for nth in at {
            let fails = format!("{name} {nth} {code}");
            let said = trained(&folder, &libraries, &[("DRIVER_FAILS", &fails)]);
            // The last of all close the device, when there is nobody left to be told.
            let closes =
                nth == count && matches!(&name[..], "cuCtxSetCurrent" | "cuStreamSynchronize");
            let is_told = said.0 && said.1.contains("device cuda: ");
            assert!(is_told || (gives_back || closes) && said == unharmed, "{fails}: {said:?}");
        }
    }
}

/// Seconds that ranks wait for one another here.
const DEADLINE: &str = "2";

/// Trains in two processes whose devices say that they add up what they have. `fails` is of the second.
fn trained_by_two(out: &Path, libraries: &Path, fails: &[(&str, &str)]) -> [Ran; 2] {
    let train = TRAIN.replace("--steps 2", "--steps 6");
    let words = format!("{train} --device cuda --deadline {DEADLINE} --out {}", out.display());
    let port = free_port();
    let job = [0, 1].map(|index| {
        let own = by_torchrun(index, 2, port);
        let mut variables: Vec<(&str, &str)> =
            own.iter().map(|(name, value)| (*name, value.as_str())).collect();
        variables.extend(fails.iter().filter(|_| index == 1));
        start(&words, libraries, &variables)
    });
    let ran = job.map(|child| ended(child, &format!("one of two, with {fails:?} of the second,")));
    let _ = std::fs::remove_dir_all(out);
    ran
}

#[test]
fn ranks_whose_devices_fail_or_never_answer_end_in_time() {
    let test = "ranks_whose_devices_fail_or_never_answer_end_in_time";
    let folder = Folder::new("failing-ranks");
    let takes_all = ["-DDEVICE", "-DKERNELS", "-DGRAPHS"];
    let Some(device) = driver(test, &folder, &takes_all) else { return };
    let Some(compiler) = built(test, &folder, "compiler", &[]) else { return };
    let Some(nccl) = built(test, &folder, "nccl", &[]) else { return };
    let libraries = library(&folder, "libraries", &device, &CUDA);
    library(&folder, "libraries", &compiler, &NVRTC);
    library(&folder, "libraries", &nccl, &["libnccl.so.2"]);
    let out = folder.path().join("run");
    let (calls, reductions) = (folder.at("calls"), folder.at("reductions"));
    let lists = [("DRIVER_CALLS", calls.as_str()), ("NCCL_CALLS", reductions.as_str())];
    for ran in trained_by_two(&out, &libraries, &lists) {
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    let count = |list: &str, name: &str| {
        let list = std::fs::read_to_string(list).unwrap();
        list.lines().filter(|line| *line == name).count()
    };
    let failing = [
        (&calls, "DRIVER_FAILS", "cuEventRecord", 719),
        (&calls, "DRIVER_FAILS", "cuStreamQuery", 719),
        (&calls, "DRIVER_FAILS", "cuStreamWaitEvent", 719),
        (&reductions, "NCCL_FAILS", "ncclAllReduce", 3),
        (&reductions, "NCCL_FAILS", "ncclCommInitRank", 2),
        // Work that is never done: what a reduction is that another rank takes no part in.
        (&calls, "DRIVER_FAILS", "cuStreamQuery", 600),
    ];
    for (list, variable, name, code) in failing {
        let calls = count(list, name);
        assert!(calls > 0, "{name} is not called");
        for nth in [1, calls.div_ceil(2)] {
            let fails = format!("{name} {nth} {code}");
            let begun = Instant::now();
            let both = trained_by_two(&out, &libraries, &[(variable, &fails)]);
            let seconds = begun.elapsed().as_secs_f64();
            for ran in &both {
                let last = ran.stderr.lines().last().unwrap_or_default();
                assert!(ran.code == Some(1) && last.starts_with("belamy: "), "{fails}: {both:?}");
                assert!(!ran.stderr.contains("panicked"), "{fails}: {both:?}");
            }
            let own = both[1].stderr.lines().last().unwrap_or_default();
            let is_told = own.contains("device cuda: ") || own.contains("NCCL, ");
            assert!(is_told, "{fails}: {own}");
            let deadline: f64 = DEADLINE.parse().unwrap();
            assert!(seconds < deadline + 3.0, "{fails}: {seconds} s");
        }
    }
}

#[test]
fn a_vulkan_driver_that_is_missing_or_a_stub_is_refused_in_a_line() {
    let test = "a_vulkan_driver_that_is_missing_or_a_stub_is_refused_in_a_line";
    let folder = Folder::new("vulkan-libraries");
    let out = folder.path().join("run");
    let webgpu = format!("{TRAIN} --device webgpu");
    let wanted = ["--device webgpu: ", "there is no adapter", "mesa-vulkan-drivers"];
    let none = folder.path().join("none");
    std::fs::create_dir(&none).unwrap();
    // A list of drivers that names one whose library is not there, or is none.
    let list = |name: &str, library: &Path| {
        let path = folder.at(name);
        let text = format!(
            r#"{{"file_format_version": "1.0.0", "ICD": {{"library_path": "{}", "api_version": "1.3.0"}}}}"#,
            library.display()
        );
        std::fs::write(&path, text).unwrap();
        path
    };
    let garbage = garbage(&folder);
    let lists = [
        folder.at("nothing.json"),
        garbage.display().to_string(),
        list("missing.json", &folder.path().join("libnothing.so")),
        list("garbage.json", &garbage),
    ];
    for list in &lists {
        for variable in ["VK_ICD_FILENAMES", "VK_DRIVER_FILES"] {
            refused(&webgpu, &none, &[(variable, list)], &out, &wanted);
        }
    }
    // The loader itself.
    let broken = library(&folder, "garbage-vulkan", &garbage, &VULKAN);
    refused(&webgpu, &broken, &[], &out, &wanted);
    let Some(empty) = driver(test, &folder, &[]) else { return };
    let stub = list("stub.json", &empty);
    refused(&webgpu, &none, &[("VK_DRIVER_FILES", &stub)], &out, &wanted);
    let empty = library(&folder, "empty-vulkan", &empty, &VULKAN);
    refused(&webgpu, &empty, &[], &out, &wanted);
    let ran = run("devices", &empty, &[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

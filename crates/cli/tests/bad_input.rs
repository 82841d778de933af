//! Bad input: a clear error of one or two lines, code 1 or 2, nothing half-written, no panic.

mod common;

use common::{
    Folder, PROGRAM, belamy, fails, files, flipped, gzip, idx, line, names, png, safetensors,
    succeeds,
};
use std::path::Path;
use std::process::{Command, Stdio};

/// Refuses a training, and leaves no folder.
#[track_caller]
fn train_fails(folder: &Folder, words: &str, code: i32, words_in: &[&str]) -> String {
    let out = folder.at("run");
    let message = fails(&format!("train {words} --out {out}"), code, words_in);
    assert!(!Path::new(&out).exists(), "{words} left a folder");
    message
}

fn put(folder: &Folder, name: &str, bytes: impl AsRef<[u8]>) -> String {
    let path = folder.at(name);
    std::fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn unknown_words_are_refused_with_the_nearest_real_one() {
    let folder = Folder::new("words");
    let cases: &[(&str, &[&str])] = &[
        ("mnist-mpl", &["mnist-mpl", "did you mean mnist-mlp?"]),
        ("progressive", &["progressive", "there are mnist-mlp, sine"]),
        ("sine --set bacth=3", &["bacth", "did you mean batch?"]),
        (
            "sine --set generator_optimizer.learnin_rate=1",
            &["did you mean generator_optimizer.learning_rate?"],
        ),
        ("sine --set generator_loss=minimaxi", &["generator_loss", "did you mean minimax?"]),
        ("sine --set passes=jioned", &["passes", "did you mean joined?"]),
        ("sine --set generator_optimizer.rule.kind=adma", &["did you mean adam?"]),
        ("sine --set batch=many", &["batch", "whole number", "many"]),
        ("sine --set mirror=maybe", &["mirror", "true or false"]),
        ("sine --set batch", &["key=value"]),
        ("sine --set =", &["no field"]),
        ("sine --set labels=1", &["no field"]),
        ("sine --set labels.real=inf", &["labels.real", "a number"]),
        ("sine --set name=other", &["name cannot be set"]),
        ("sine --set latent=0", &["latent", "from 1"]),
        ("sine --set dropout=1", &["dropout", "0.99"]),
        ("sine --set generator_optimizer.rule.beta_1=2", &["beta_1"]),
        ("sine --set generator_optimizer.rule.epsilon=-1", &["epsilon"]),
        ("sine --set generator_optimizer.clip_norm=-1", &["clip_norm"]),
        ("sine --steps 0", &["steps must be from 1"]),
        ("sine --steps -1", &["-1"]),
        ("sine --steps 99999999999999999999", &["99999999999999999999"]),
        ("sine --batch 0", &["batch must be from 1"]),
        ("sine --batch 99999999999", &["batch must be from 1"]),
        ("lines-upsample --epochs nan", &["--epochs NaN", "above 0"]),
        ("lines-upsample --epochs 0", &["--epochs 0", "above 0"]),
        ("lines-upsample --epochs=-3", &["--epochs -3", "above 0"]),
        ("lines-upsample --epochs inf", &["--epochs inf"]),
        ("sine --epochs 2", &["endless", "--steps"]),
        ("sine --steps 3 --epochs 2", &["--steps", "--epochs"]),
        ("sine --device gpu", &["there is no device \"gpu\"", "cpu"]),
        ("sine --device orcale", &["did you mean oracle?"]),
        ("sine --device cpu:1", &["only one cpu"]),
        ("sine --device cuda:x", &["not a device number"]),
        ("sine --precision bf16 --device oracle", &["device oracle", "f32", "bf16"]),
        ("sine --precision tf32 --device oracle", &["device oracle", "tf32"]),
        ("sine --precision f16", &["device cpu", "f32", "f16"]),
        ("sine --set conv=fft", &["conv=fft", "winograd and direct"]),
        (
            "sine --precision f17",
            &["f17", "f16 (of webgpu), tf32 (of cuda) and bf16 (of cpu and cuda)"],
        ),
        ("sine --precision f16 --device webgpu:x", &["not a device number"]),
        ("sine --seed 9223372036854775808", &["--seed", "below 2^63"]),
        ("sine --seed 99999999999999999999", &["--seed"]),
        ("sine --seed -1", &["-1"]),
        ("sine --threads 1000000", &["--threads", "at most"]),
        ("sine --stepz 3", &["--stepz", "--steps"]),
        ("sine more", &["more"]),
    ];
    for (words, expected) in cases {
        train_fails(&folder, words, 2, expected);
    }
    let cases: &[(&str, &[&str])] = &[
        ("trian", &["trian", "train"]),
        ("show sien", &["sien", "did you mean sine?"]),
        ("show sine --set bacth=1", &["did you mean batch?"]),
        ("import x --recipe sien --out y", &["did you mean sine?"]),
        ("import x", &["--recipe"]),
        ("sample", &["RUN"]),
        ("train --out x --resume y", &["--out", "--resume"]),
    ];
    for (words, expected) in cases {
        fails(words, 2, expected);
    }
    // Too large for any memory, or for 32-bit indices: an error, not an abort.
    train_fails(&folder, "lines-upsample --set samples=4000000000", 1, &["samples"]);
    train_fails(&folder, "lines-upsample --set samples=0", 1, &["samples"]);
    train_fails(&folder, "mnist-mlp --set samples=10001", 1, &["samples=10001", "10000"]);
    assert!(files(folder.path()).is_empty());
}

#[test]
fn digits_that_are_missing_or_damaged_are_refused() {
    let folder = Folder::new("digits");
    let refuse = |path: &str, words: &[&str]| {
        train_fails(&folder, &format!("mnist-mlp --steps 1 --batch 4 --data {path}"), 1, words);
    };
    let pixels: Vec<u8> = (0..5 * 784).map(|index: u32| (index * index % 251) as u8).collect();
    let (images, labels) = (idx(&[5, 28, 28], &pixels), idx(&[5], &[0, 1, 2, 3, 4]));
    let packed = gzip(&images);

    refuse(&folder.at("none"), &["none"]);
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    refuse(&folder.at("empty"), &["empty"]);
    for (name, bytes) in [("plain", &images), ("packed.gz", &packed)] {
        let sound = put(&folder, name, bytes);
        succeeds(&format!(
            "train mnist-mlp --steps 1 --batch 4 --data {sound} --out {}",
            folder.at("sound")
        ));
        std::fs::remove_dir_all(folder.at("sound")).unwrap();
        for length in [0, 3, 10, bytes.len() / 2, bytes.len() - 1] {
            let path = put(&folder, &format!("short-{name}"), &bytes[..length]);
            refuse(&path, &[&format!("short-{name}")]);
        }
        let long = put(&folder, &format!("long-{name}"), [&bytes[..], b"more"].concat());
        refuse(&long, &[&format!("long-{name}")]);
    }
    for bit in [8 * 2, 8 * 3 + 1, 8 * 5, 8 * 15] {
        refuse(&put(&folder, "flipped", flipped(&images, bit)), &["flipped"]);
    }
    for bit in [0, 8 * (packed.len() / 2), 8 * (packed.len() - 5), 8 * (packed.len() - 1)] {
        refuse(&put(&folder, "flipped.gz", flipped(&packed, bit)), &["flipped.gz"]);
    }
    for promise in [idx(&[4_000_000_000, 28, 28], &[0; 100]), idx(&[u32::MAX; 4], &[0; 100])] {
        refuse(&put(&folder, "promise", &promise), &["promise", "promises"]);
        refuse(&put(&folder, "promise.gz", gzip(&promise)), &["promise.gz", "promises"]);
    }
    refuse(&put(&folder, "small", idx(&[5, 20, 20], &[0; 2000])), &["784", "20"]);
    refuse(&put(&folder, "flat", idx(&[5, 784], &[0; 3920])), &["flat", "[5, 784]"]);
    refuse(&put(&folder, "none-inside", idx(&[0, 28, 28], &[])), &["0"]);
    put(&folder, "mnist/train-images-idx3-ubyte", &images);
    refuse(&folder.at("mnist"), &["train-labels-idx1-ubyte"]);
    put(&folder, "mnist/train-labels-idx1-ubyte", idx(&[4], &[0; 4]));
    refuse(&folder.at("mnist"), &["5 images", "[4]"]);
    put(&folder, "mnist/train-labels-idx1-ubyte", &labels);
    succeeds(&format!(
        "train mnist-mlp --steps 1 --batch 4 --data {} --out {}",
        folder.at("mnist"),
        folder.at("sound")
    ));
    let ran = line(&format!("train sine --data {} --out {}", folder.at("mnist"), folder.at("run")));
    assert_eq!(ran.code, Some(1), "{ran:?}");
    #[cfg(unix)]
    refuse("/dev/zero", &["not a regular file"]);
}

#[test]
fn images_that_are_missing_or_damaged_are_refused() {
    let folder = Folder::new("images");
    let sound = png(70, 64);
    put(&folder, "set/a.png", png(64, 64));
    let refuse = |bytes: &[u8], words: &[&str]| {
        put(&folder, "set/b.png", bytes);
        let words = [&["b.png"], words].concat();
        let set = folder.at("set");
        train_fails(&folder, &format!("dcgan64 --steps 1 --batch 2 --data {set}"), 1, &words);
    };
    for length in [0, 5, 20, 40, sound.len() / 2, sound.len() - 20] {
        refuse(&sound[..length], &[]);
    }
    // In the header, in its checksum, in the pixels.
    for byte in [1, 17, 31, sound.len() / 2, sound.len() - 30] {
        refuse(&flipped(&sound, 8 * byte), &[]);
    }
    // A header that promises 2^31 - 1 pixels a side, with a right checksum.
    let mut promise = sound.clone();
    promise[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
    let mut sum = flate2::Crc::new();
    sum.update(&promise[12..29]);
    promise[29..33].copy_from_slice(&sum.sum().to_be_bytes());
    refuse(&promise, &["2147483647"]);
    refuse(b"GIF89a and so on", &[]);
    std::fs::remove_file(folder.at("set/b.png")).unwrap();

    let refuse = |words: &str, words_in: &[&str]| {
        train_fails(&folder, &format!("{words} --steps 1 --batch 2"), 1, words_in);
    };
    refuse("dcgan64", &["needs images", "--data"]);
    refuse(&format!("dcgan64 --data {}", folder.at("none")), &["none"]);
    refuse(&format!("dcgan64 --data {}", folder.at("set/a.png")), &["a.png"]);
    refuse(&format!("conditional-signs64 --data {}", folder.at("set")), &["labels", "4 classes"]);
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    refuse(&format!("dcgan64 --data {}", folder.at("empty")), &["no image"]);
}

/// Safetensors files that no program should believe, and what the message must hold.
fn wrong_safetensors(tensor: &str) -> Vec<(&'static str, Vec<u8>)> {
    let entry = |dtype: &str, shape: &str, end: u64| {
        format!(
            "{{\"{tensor}\":{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":[0,{end}]}}}}"
        )
    };
    let sound = safetensors(&entry("F32", "[1,100]", 400), &[0; 400]);
    let mut lying = sound.clone();
    lying[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let mut long_header = sound.clone();
    long_header[..8].copy_from_slice(&90_000_000u64.to_le_bytes());
    vec![
        ("empty", Vec::new()),
        ("four bytes", vec![0; 4]),
        ("zeros", vec![0; 4000]),
        ("truncated", sound[..sound.len() - 1].to_vec()),
        ("too long", [&sound[..], &[0]].concat()),
        ("half a header", sound[..30].to_vec()),
        ("a header of 2^64 bytes", lying),
        ("a header longer than the file", long_header),
        ("terabytes", safetensors(&entry("F32", "[1000000000000]", 4_000_000_000_000), &[0; 400])),
        ("2^64 numbers", safetensors(&entry("F32", "[4294967296,4294967296]", 0), &[])),
        ("offsets beyond", safetensors(&entry("F32", "[1,100]", u64::MAX), &[0; 400])),
        ("another length than the shape", safetensors(&entry("F32", "[1,99]", 400), &[0; 400])),
        ("no json", safetensors("{\"z\":", &[0; 400])),
        ("an array", safetensors("[1,2]", &[0; 400])),
        ("a flipped bit in the header", flipped(&sound, 8 * 8)),
        ("half precision", safetensors(&entry("F16", "[1,200]", 400), &[0; 400])),
        ("rank 9", safetensors(&entry("F32", "[1,1,1,1,1,1,1,1,100]", 400), &[0; 400])),
        ("no numbers", safetensors(&entry("F32", "[0,100]", 0), &[])),
        (
            "other names",
            safetensors(
                "{\"?\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
                &[0; 4],
            ),
        ),
    ]
}

#[test]
fn weights_and_noise_that_are_damaged_are_refused() {
    let folder = Folder::new("weights");
    let run = folder.at("trained");
    succeeds(&format!("train sine --steps 2 --out {run}"));
    let (out, png) = (folder.at("run"), folder.at("x.png"));
    let refuse = |name: &str, path: &str| {
        for words in [
            format!("import {path} --recipe sine --out {out}"),
            format!("sample {run} --noise {path} --out {png}"),
        ] {
            let message = fails(&words, 1, &[path]);
            assert!(!Path::new(&out).exists() && !Path::new(&png).exists(), "{name}: {message}");
        }
    };
    refuse("missing", &folder.at("missing"));
    refuse("a folder", &run);
    #[cfg(unix)]
    refuse("a device", "/dev/zero");
    for tensor in ["z", "dense/kernel"] {
        for (name, bytes) in wrong_safetensors(tensor) {
            refuse(name, &put(&folder, "wrong.safetensors", bytes));
        }
    }
    // Noise of another length, of whole numbers, that is none.
    let noise = |dtype: &str, shape: &str, data: &[u8]| {
        let end = data.len();
        let header = format!(
            "{{\"z\":{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":[0,{end}]}}}}"
        );
        put(&folder, "noise.safetensors", safetensors(&header, data))
    };
    let nan: Vec<u8> = f32::NAN.to_le_bytes().repeat(100);
    for (dtype, shape, data, expected) in [
        ("F32", "[2,50]", vec![0; 400], "[N, 100]"),
        ("F32", "[100]", vec![0; 400], "[N, 100]"),
        ("I32", "[1,100]", vec![0; 400], "f32"),
        ("I32", "[1,100]", vec![255; 400], "0..2"),
        ("F32", "[1,100]", nan.clone(), "not finite"),
    ] {
        let path = noise(dtype, shape, &data);
        fails(&format!("sample {run} --noise {path} --out {png}"), 1, &[&path, expected]);
        assert!(!Path::new(&png).exists());
    }
    // The network's own names: right, of another shape, and not finite.
    let own = Path::new(&run).join("checkpoints/step-00000002/generator.safetensors");
    let bytes = std::fs::read(&own).unwrap();
    succeeds(&format!("import {} --recipe sine --out {out}", own.display()));
    succeeds(&format!("sample {out} --out {png}"));
    std::fs::remove_dir_all(&out).unwrap();
    let own = own.display();
    fails(&format!("import {own} --recipe mnist-mlp --out {out}"), 1, &["generator.safetensors"]);
    fails(&format!("import {own} --recipe sine --set latent=7 --out {out}"), 1, &["[", "100", "7"]);
    fails(
        &format!("import {own} --recipe sine --network discriminator --out {out}"),
        1,
        &["dense_1.weight is [15, 100]"],
    );
    fails(
        &format!("import {own} --recipe sine --network generatro --out {out}"),
        2,
        &["generatro"],
    );
    let mut infinite = bytes.clone();
    let end = infinite.len();
    infinite[end - 4..].copy_from_slice(&f32::INFINITY.to_le_bytes());
    let path = put(&folder, "infinite.safetensors", infinite);
    fails(&format!("import {path} --recipe sine --out {out}"), 1, &[&path, "not finite"]);
    assert!(!Path::new(&out).exists());
}

#[test]
fn folders_that_cannot_be_written_are_refused() {
    let folder = Folder::new("out");
    let file = put(&folder, "file", "mine");
    put(&folder, "full/mine", "mine");
    let own = folder.at("own");
    succeeds(&format!("train sine --steps 1 --out {own}"));
    let weights = format!("{own}/checkpoints/step-00000001/generator.safetensors");
    let before = files(folder.path());
    for words in ["train sine --steps 1".to_owned(), format!("import {weights} --recipe sine")] {
        fails(&format!("{words} --out {file}"), 1, &["file"]);
        fails(&format!("{words} --out {file}/run"), 1, &["file/run"]);
        fails(&format!("{words} --out {}", folder.at("full")), 1, &["full", "not empty", "--out"]);
        fails(&format!("{words} --out {own}"), 1, &["not empty", "--resume"]);
        #[cfg(target_os = "linux")]
        fails(&format!("{words} --out /proc/belamy"), 1, &["/proc/belamy"]);
        let empty: Vec<&str> = words.split(' ').chain(["--out", ""]).collect();
        let ran = belamy(&empty);
        assert!(matches!(ran.code, Some(1 | 2)) && !ran.stderr.contains("panicked"), "{ran:?}");
    }
    for out in [format!("{file}/x.png"), format!("{file}/"), folder.at("none/x.png")] {
        fails(&format!("sample {own} --out {out}"), 1, &[out.trim_end_matches('/')]);
    }
    assert!(files(folder.path()) == before);
    // An empty folder that is there already is taken.
    let empty = folder.at("empty");
    std::fs::create_dir(&empty).unwrap();
    succeeds(&format!("train sine --steps 1 --out {empty}"));
}

#[test]
fn damaged_runs_are_refused_and_left_as_they_are() {
    let folder = Folder::new("damaged");
    let run = folder.at("run");
    succeeds(&format!("train sine --steps 4 --checkpoint-every 2 --out {run}"));
    succeeds(&format!(
        "train lines-upsample --batch 2 --steps 4 --set samples=4 --out {}",
        folder.at("lines")
    ));
    succeeds(&format!("train sine --steps 4 --seed 2 --out {}", folder.at("seed")));
    let at = |below: &str| Path::new(&run).join(below);
    let refuse = |change: &str, words: &[&str]| {
        let before = files(&run);
        fails(&format!("train --resume {run} --steps 8"), 1, words);
        assert!(files(&run) == before, "{change}: the run was changed");
    };
    let damage = |name: &str, bytes: &[u8], words: &[&str]| {
        let sound = std::fs::read(at(name)).unwrap();
        std::fs::write(at(name), bytes).unwrap();
        refuse(name, words);
        std::fs::write(at(name), sound).unwrap();
    };

    let plan = std::fs::read_to_string(at("run.toml")).unwrap();
    damage("run.toml", b"", &["run.toml", "damaged"]);
    damage("run.toml", &plan.as_bytes()[..plan.len() / 2], &["run.toml", "damaged in line"]);
    damage("run.toml", plan.replace("seed = 1", "seed = ").as_bytes(), &["run.toml", "line 2"]);
    damage("run.toml", plan.replace("seed = 1", "sede = 1").as_bytes(), &["run.toml", "sede"]);
    damage("run.toml", plan.replace("batch = 150", "batch = 0").as_bytes(), &["run.toml", "batch"]);
    damage(
        "run.toml",
        plan.replace("system = \"sine\"", "system = \"mnist-mlp\"").as_bytes(),
        &["generator.safetensors"],
    );
    damage("run.toml", b"\xff\xfe", &["run.toml"]);
    std::fs::write(at("run.toml"), plan.replace("device = \"cpu\"", "device = \"abacus\""))
        .unwrap();
    fails(&format!("train --resume {run}"), 2, &["abacus"]);
    std::fs::write(at("run.toml"), &plan).unwrap();

    let newest = "checkpoints/step-00000004";
    for (name, bytes) in files(at(newest)) {
        let path = format!("{newest}/{name}");
        if name == "complete" {
            // Without a sound marker the checkpoint is none: the one before is taken.
            continue;
        }
        for bit in [8 * 10, 4 * bytes.len() + 1, 8 * bytes.len() - 3] {
            damage(&path, &flipped(&bytes, bit), &[&name, "digests differ", "step-00000004"]);
        }
        let flip = flipped(&bytes, 100);
        std::fs::write(at(&path), flip).unwrap();
        // Samples are drawn without what only training needs.
        if !matches!(&*name, "optimizer.safetensors" | "discriminator.safetensors") {
            let out = folder.at("x.png");
            fails(&format!("sample {run} --out {out}"), 1, &[&name]);
            assert!(!Path::new(&out).exists());
        }
        std::fs::write(at(&path), bytes).unwrap();
    }
    // Another recipe's, and another run's, in its place.
    let own = folder.at("own");
    std::fs::rename(at("checkpoints"), &own).unwrap();
    for (other, words) in
        [("lines", ["recipe lines-upsample", "not of sine"]), ("seed", ["seed 2", "not with 1"])]
    {
        let theirs = folder.at(&format!("{other}/checkpoints"));
        std::fs::rename(&theirs, at("checkpoints")).unwrap();
        refuse(other, &words);
        fails(&format!("sample {run} --out {}", folder.at("x.png")), 1, &words);
        std::fs::rename(at("checkpoints"), &theirs).unwrap();
    }
    std::fs::rename(&own, at("checkpoints")).unwrap();

    // The newest without its marker, cut short, or gone: the one before is taken, and gives the same bytes.
    let whole = folder.at("whole");
    succeeds(&format!("train sine --steps 8 --checkpoint-every 2 --out {whole}"));
    std::fs::write(at(newest).join("generator.safetensors"), "cut").unwrap();
    succeeds(&format!("train --resume {run} --steps 8"));
    let last = "checkpoints/step-00000008";
    assert!(files(at(last)) == files(Path::new(&whole).join(last)));
    // All of them cut short: an error, not a fresh start.
    for name in names(at("checkpoints")) {
        let _ = std::fs::remove_file(at("checkpoints").join(name).join("complete"));
    }
    refuse("all incomplete", &["no complete checkpoint"]);

    fails(&format!("train --resume {}", folder.at("none")), 1, &["none", "run.toml"]);
    fails(&format!("train --resume {}", folder.path().display()), 1, &["run.toml"]);
    for words in ["--seed 3", "--batch 3", "--set batch=3"] {
        let flag = words.split(' ').next().unwrap();
        fails(&format!("train --resume {whole} {words}"), 2, &[flag, "resumed"]);
    }
    fails(&format!("train --resume {whole} --epochs 3"), 2, &["--epochs", "endless"]);
    fails(&format!("train mnist-mlp --resume {whole}"), 2, &["recipe sine", "not of mnist-mlp"]);
    fails(&format!("train --resume {whole} --data x"), 1, &["--data"]);
}

#[test]
fn a_resumed_run_wants_the_data_it_began_with() {
    let folder = Folder::new("data");
    let file = put(&folder, "digits", idx(&[5, 28, 28], &[7; 5 * 784]));
    let run = folder.at("run");
    succeeds(&format!("train mnist-mlp --steps 1 --batch 2 --data {file} --out {run}"));
    put(&folder, "digits", idx(&[5, 28, 28], &[8; 5 * 784]));
    let before = files(&run);
    fails(&format!("train --resume {run} --steps 2"), 1, &["the data are not those"]);
    std::fs::remove_file(&file).unwrap();
    fails(&format!("train --resume {run} --steps 2"), 1, &["digits"]);
    assert!(files(&run) == before);
    let moved = put(&folder, "moved", idx(&[5, 28, 28], &[7; 5 * 784]));
    succeeds(&format!("train --resume {run} --steps 2 --data {moved}"));
}

#[cfg(unix)]
#[test]
fn a_closed_stdout_or_stderr_is_no_reason_to_fail() {
    let folder = Folder::new("closed");
    let script = |text: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", text]).env("B", PROGRAM).current_dir(folder.path());
        command.stdin(Stdio::null()).output().unwrap()
    };
    // The reader is gone before the program writes.
    for words in [
        "show mnist-mlp",
        "recipes",
        "devices --json",
        "--help",
        "train --help",
        "train sine --steps 2 --out a",
    ] {
        let text = format!("{{ sleep 0.3; $B {words} 2>err; echo $? >code; }} | head -c 0");
        script(&text);
        let error = std::fs::read_to_string(folder.at("err")).unwrap();
        assert!(!error.contains("panicked") && !error.contains("belamy:"), "{words}: {error}");
        let code = std::fs::read_to_string(folder.at("code")).unwrap();
        assert_eq!(code, "0\n", "{words}");
    }
    let closings = [
        ("train sine --steps 2 --out b >&-", 0),
        ("train sine --steps 2 --out c 2>&-", 0),
        ("train sine --steps 2 --out d >&- 2>&- <&-", 0),
        ("train sien --out e 2>&-", 2),
        ("train sine --bacth 2 2>&-", 2),
        ("show sine >&-", 0),
    ];
    for (words, code) in closings {
        assert_eq!(script(&format!("$B {words}")).status.code(), Some(code), "{words}");
    }
    // stderr's reader is gone: training goes on.
    let text = "{ sleep 0.3; $B train sine --steps 20 --log-every 1 --out f 2>&3 >out; echo $? >code; } 3>&1 | head -c 0";
    script(text);
    assert_eq!(std::fs::read_to_string(folder.at("code")).unwrap(), "0\n");
    for name in ["a", "b", "c", "d", "f"] {
        assert!(folder.path().join(name).join("checkpoints/latest").exists(), "{name}");
    }
    #[cfg(target_os = "linux")]
    {
        let output = script("$B show sine >/dev/full");
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains("stdout"), "{output:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_named_and_leaves_the_last_good_checkpoint() {
    let folder = Folder::new("full-disk");
    let disk = folder.at("disk");
    std::fs::create_dir(&disk).unwrap();
    let inside = |script: &str, size: &str| {
        let mount = format!("mount -t tmpfs -o size={size} tmpfs {disk}");
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", &format!("{mount} && {{ {script}; }}")]);
        command.env("B", PROGRAM).env("D", &disk).current_dir(folder.path()).output()
    };
    if !inside("true", "64k").is_ok_and(|output| output.status.success()) {
        let why = "no mount namespace here";
        return common::skip(
            "a_full_disk_is_named_and_leaves_the_last_good_checkpoint",
            why,
            "namespace",
        );
    }
    // Checkpoints fill the disk; or the log does; afterwards the newest checkpoint is taken out and looked at.
    let ways = [
        "--checkpoint-every 10 --keep-checkpoints 1000 --sample-every 0 --log-every 0",
        "--checkpoint-every 50 --keep-checkpoints 1 --sample-every 0 --log-every 1",
        "--checkpoint-every 10 --keep-checkpoints 1 --sample-every 10 --log-every 0",
    ];
    for (number, way) in ways.into_iter().enumerate() {
        let script = format!(
            "$B train sine --steps 20000 {way} --out $D/run 2>err; echo $? >code; \
             $B sample $D/run --out x{number}.safetensors >said 2>&1; cp -a $D/run run{number}"
        );
        let output = inside(&script, "400k").unwrap();
        assert!(output.status.success(), "{output:?}");
        let error = std::fs::read_to_string(folder.at("err")).unwrap();
        assert_eq!(std::fs::read_to_string(folder.at("code")).unwrap(), "1\n", "{error}");
        let message = error.lines().last().unwrap();
        assert!(message.contains("No space left") && message.contains("disk/run/"), "{error}");
        assert!(!error.contains("panicked"), "{error}");
        assert!(folder.path().join(format!("x{number}.safetensors")).exists());
        let run = folder.at(&format!("run{number}"));
        let checkpoints = Path::new(&run).join("checkpoints");
        let left = names(&checkpoints);
        assert!(left.iter().all(|name| name == "latest" || name.starts_with("step-")), "{left:?}");
        let latest = std::fs::read_to_string(checkpoints.join("latest")).unwrap();
        let step: u64 = latest.trim().trim_start_matches("step-").parse().unwrap();
        // With room again it goes on, to the bytes of an unbroken run.
        let (steps, whole) = (step + 5, folder.at(&format!("whole{number}")));
        succeeds(&format!("train --resume {run} --steps {steps} --keep-checkpoints 2"));
        succeeds(&format!("train sine --steps {steps} --out {whole}"));
        let last = format!("checkpoints/step-{steps:08}");
        assert!(files(Path::new(&run).join(&last)) == files(Path::new(&whole).join(&last)));
    }
    // No room for even the beginning of a run.
    let script = "head -c 30000 /dev/zero >$D/mine; head -c 40000 /dev/zero >>$D/mine; \
                  $B train sine --steps 5 --out $D/run 2>err; echo $? >code; ls -A $D >list; \
                  $B show sine >/dev/null";
    inside(script, "64k").unwrap();
    assert_eq!(std::fs::read_to_string(folder.at("code")).unwrap(), "1\n");
    assert_eq!(std::fs::read_to_string(folder.at("list")).unwrap(), "mine\n");
    let error = std::fs::read_to_string(folder.at("err")).unwrap();
    assert!(error.contains("No space left") && error.lines().count() <= 2, "{error}");
}

//! Judging and playing: what evaluate, the health monitor, the warnings and play leave behind.

mod common;

use belamy_nn::weights;
use belamy_tensor::Tensor;
use common::{Folder, fails, line, metrics, succeeds};
use serde_json::Value;
use std::path::Path;

fn json(words: &str) -> Value {
    serde_json::from_str(&succeeds(words)).unwrap()
}

/// A file of features, [N, 2].
fn features(path: &str, rows: &[[f32; 2]]) {
    let tensor = Tensor::from_slice(&rows.concat(), [rows.len(), 2], &belamy_cpu::cpu()).unwrap();
    let bytes = weights::to_bytes(&[("features".to_owned(), tensor)], &[]).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// A folder of grey images, `value(image, x, y)` in bytes.
fn images(folder: &str, count: u32, side: u32, value: impl Fn(u32, u32, u32) -> u8) {
    std::fs::create_dir_all(folder).unwrap();
    for index in 0..count {
        let file =
            std::fs::File::create(Path::new(folder).join(format!("{index:03}.png"))).unwrap();
        let mut encoder = png::Encoder::new(file, side, side);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Eight);
        let bytes: Vec<u8> =
            (0..side * side).map(|place| value(index, place % side, place / side)).collect();
        encoder.write_header().unwrap().write_image_data(&bytes).unwrap();
    }
}

#[test]
fn features_of_ones_own_are_compared() {
    let folder = Folder::new("features");
    let (real, fake) = (folder.at("real.safetensors"), folder.at("fake.safetensors"));
    let rows: Vec<[f32; 2]> = (0..40).map(|index| [index as f32, (index % 7) as f32]).collect();
    features(&real, &rows);
    features(&fake, &rows.iter().map(|row| [row[0] + 3.0, row[1] - 4.0]).collect::<Vec<_>>());
    let card = json(&format!("evaluate --features {real},{fake} --json"));
    // Equal but for a shift of (3, −4).
    let distance = &card["features"]["frechet"];
    assert!((distance["distance"].as_f64().unwrap() - 25.0).abs() < 1e-6, "{card}");
    assert!((distance["of_means"].as_f64().unwrap() - 25.0).abs() < 1e-6, "{card}");
    assert_eq!(card["features"]["real"], 40);
    assert_eq!(card["features"]["kernel"]["subsets"]["size"], 20);
    let table = succeeds(&format!("evaluate --features {real},{fake}"));
    assert!(table.contains("Fréchet distance") && table.contains("25.0000"), "{table}");

    let narrow = folder.at("narrow.safetensors");
    features(&narrow, &[[1.0, f32::NAN]; 8]);
    fails(&format!("evaluate --features {real},{narrow}"), 1, &["narrow", "not finite"]);
    fails(&format!("evaluate --features {real}"), 2, &["two files"]);
    fails(&format!("evaluate --features {real},{}", folder.at("none.safetensors")), 1, &["none"]);
    fails("evaluate", 2, &["RUN|DIR"]);
}

#[test]
fn folders_of_images_are_compared() {
    let folder = Folder::new("folders");
    let (real, like, flat) = (folder.at("real"), folder.at("like"), folder.at("flat"));
    let texture = |seed: u32| {
        move |image: u32, x: u32, y: u32| {
            let word = (image + seed).wrapping_mul(2_654_435_761) ^ (x * 7919 + y * 104_729);
            (word.wrapping_mul(2_246_822_519) >> 24) as u8
        }
    };
    images(&real, 24, 32, texture(0));
    images(&like, 24, 32, texture(1_000));
    images(&flat, 24, 32, |_, x, _| (8 * x) as u8);
    let card = |fake: &str| json(&format!("evaluate {fake} --data {real} --side 32 --grey --json"));
    let (like, flat) = (card(&like), card(&flat));
    let swd = |card: &Value| card["images"]["wasserstein"]["mean"].as_f64().unwrap();
    assert!(swd(&flat) > 2.0 * swd(&like), "{like} {flat}");
    // Every image of the flat folder is the same.
    assert!((flat["images"]["similarity_fake"].as_f64().unwrap() - 1.0).abs() < 1e-9, "{flat}");
    assert_eq!(flat["images"]["variety"], 0.0);
    assert!(like["images"]["variety"].as_f64().unwrap() > 0.9, "{like}");
    assert!(like["preprocessing"].as_str().unwrap().contains("32×32×1"));
    fails(&format!("evaluate {real}"), 2, &["--data"]);
    fails(&format!("evaluate {real} --data {}", folder.at("nowhere")), 1, &["nowhere"]);
}

#[test]
fn a_run_is_watched_judged_and_reported() {
    let folder = Folder::new("watched");
    let run = folder.at("run");
    succeeds(&format!("train sine --steps 200 --log-every 20 --sample-every 100 --out {run}"));
    let lines = metrics(&run);
    assert_eq!(lines[0]["health"], "too-early");
    for line in &lines {
        let step = line["step"].as_u64().unwrap();
        assert_eq!(line["variety"].as_f64().is_some(), step.is_multiple_of(100), "{line}");
        assert!(line["health"].is_string());
    }
    let page = std::fs::read_to_string(Path::new(&run).join("report.html")).unwrap();
    assert!(page.contains("200 of 200 steps") && page.contains("data:image/png;base64,"));
    assert!(!page.contains("http"), "no network");

    let card = json(&format!("evaluate {run} --n 300 --json"));
    assert_eq!(card["metrics"]["points"]["samples"], 300);
    let judge = &card["discriminator"];
    let share = |name: &str| judge[name].as_f64().unwrap();
    assert!((share("accuracy_fake") + share("fooling_rate") - 1.0).abs() < 1e-12, "{card}");
    assert!((0.0..=1.0).contains(&share("accuracy_real")), "{card}");
    assert_eq!((judge["real"].as_u64(), judge["fake"].as_u64()), (Some(300), Some(300)));
    let table = succeeds(&format!("evaluate {run} --n 300"));
    assert!(table.contains("D right on real") && table.contains("fooling rate"), "{table}");
    fails(&format!("evaluate {run} --data {run}"), 2, &["leave --data out"]);
    fails(&format!("play quiz {run}"), 2, &["no images"]);
}

#[test]
fn warnings_are_said_before_training_and_a_sound_recipe_has_none() {
    let folder = Folder::new("warned");
    let odd = "--set labels.real=1.2 --set generator_optimizer.rule.epsilon=0";
    let ran = line(&format!("train sine --steps 1 {odd} --out {}", folder.at("odd")));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let warnings: Vec<&str> =
        ran.stderr.lines().filter(|line| line.starts_with("warning: ")).collect();
    assert_eq!(warnings.len(), 2, "{ran:?}");
    assert!(ran.stderr.contains("labels.real reaches 1.2") && ran.stderr.contains("epsilon is 0"));
    let ran = line(&format!("train sine --steps 1 --out {}", folder.at("sound")));
    assert!(ran.code == Some(0) && !ran.stderr.contains("warning"), "{ran:?}");
}

#[test]
fn playing_leaves_pictures_and_pages() {
    let folder = Folder::new("played");
    let run = folder.at("run");
    succeeds(&format!("train mnist-mlp --steps 2 --out {run}"));
    let out = |name: &str| folder.at(name);
    let read = |name: &str| std::fs::read(out(name)).unwrap();
    let size = |name: &str| {
        let bytes = read(name);
        let reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let info = reader.info();
        let frames = info.animation_control.map_or(1, |control| control.num_frames);
        (info.width, info.height, frames)
    };
    succeeds(&format!("play interpolate {run} --n 3 --frames 4 --out {}", out("walk.png")));
    assert_eq!(size("walk.png").2, 12);
    succeeds(&format!("play interpolate {run} --strip --n 3 --frames 4 --out {}", out("s.png")));
    let (width, height, frames) = size("s.png");
    assert!(frames == 1 && width * 2 > 4 * height, "five columns, two rows: {width} {height}");
    succeeds(&format!("play arithmetic {run} --a 0,1 --b 2 --c 3,4 --out {}", out("a.png")));
    succeeds(&format!("play neighbours {run} --n 2 --k 3 --out {}", out("n.png")));
    let (width, height, _) = size("n.png");
    assert!(width > height && read("a.png").starts_with(b"\x89PNG"), "{width} {height}");
    succeeds(&format!("play quiz {run} --n 4 --out {}", out("quiz.html")));
    let page = String::from_utf8(read("quiz.html")).unwrap();
    assert_eq!((page.matches(",true]").count(), page.matches(",false]").count()), (4, 4));
    assert!(!page.contains("http"));
    std::fs::remove_file(Path::new(&run).join("report.html")).unwrap();
    assert!(succeeds(&format!("play report {run}")).trim().ends_with("report.html"));
    assert!(Path::new(&run).join("report.html").exists());
    fails(&format!("play interpolate {run} --n 1"), 2, &["--n 1"]);
    fails(&format!("play arithmetic {run} --a 200000 --b 1 --c 2"), 2, &["place"]);
    fails(&format!("play quiz {}", folder.at("nothing")), 1, &["run.toml"]);
}

//! What people and scripts rely on: totals, JSON forms, help, the run's folder, the forms of samples.

mod common;

use belamy_gan::data::image::Image;
use common::{Folder, data, fails, files, line, metrics, names, succeeds, tensors};
use serde_json::Value;
use std::path::Path;

fn json(words: &str) -> Value {
    serde_json::from_str(&succeeds(words)).unwrap()
}

#[test]
fn show_prints_the_totals_that_the_systems_are_known_by() {
    let cases = [
        ("mnist-mlp", (1_486_352, 1_486_352 - 3_584), (1_460_225, 1_460_225)),
        ("sine", (1_547, 1_547), (101, 101)),
        ("lines-upsample", (2_073_920, 0), (214_785, 214_785)),
        ("lines-transpose", (2_730_304, 0), (214_785, 214_785)),
        ("mnist-dcgan", (2_330_944, 2_305_472), (212_865, 212_865)),
        ("dcgan64", (3_576_704, 3_576_704), (2_765_568, 2_765_568)),
    ];
    for (recipe, generator, discriminator) in cases {
        let shown = json(&format!("show {recipe} --json"));
        let networks = shown["networks"].as_array().unwrap();
        assert_eq!(networks.len(), 2);
        let expected = [("generator", generator), ("discriminator", discriminator)];
        for (network, (name, (total, trainable))) in networks.iter().zip(expected) {
            assert_eq!(network["name"], name);
            assert_eq!(network["total"], total, "{recipe} {name}");
            // The issue states the trainable share of mnist-dcgan only.
            if recipe == "mnist-dcgan" || name == "discriminator" {
                assert_eq!(network["trainable"], trainable, "{recipe} {name}");
            }
            let layers = network["layers"].as_array().unwrap();
            let sum: u64 = layers.iter().map(|layer| layer["params"].as_u64().unwrap()).sum();
            assert_eq!(sum, total, "{recipe} {name}: the layers' parameters add up to the total");
            for layer in layers {
                assert!(layer["name"].as_str().is_some_and(|name| !name.is_empty()), "{layer}");
                let output = layer["output"].as_array().unwrap();
                assert!(output.iter().all(|extent| extent.as_u64() > Some(0)), "{layer}");
            }
            let table = succeeds(&format!("show {recipe}"));
            let digits: String = table.chars().filter(|&character| character != ',').collect();
            assert!(digits.contains(&format!("total {total}")), "{table}");
            for layer in layers {
                assert!(table.contains(layer["name"].as_str().unwrap()), "{table}");
            }
        }
    }
}

#[test]
fn every_command_explains_itself_with_an_example() {
    let help = succeeds("--help");
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|&name| name != "help")
        .collect();
    for known in ["train", "recipes", "show", "sample", "import", "devices"] {
        assert!(commands.contains(&known), "{help}");
    }
    for command in commands {
        let help = succeeds(&format!("{command} --help"));
        let example = help.split("Example").nth(1).unwrap_or_default();
        assert!(example.contains(&format!("belamy {command}")), "{command}: {help}");
    }
    assert!(succeeds("--version").starts_with("belamy 0."));
    assert_eq!(line("").code, Some(2));
}

#[test]
fn tables_have_a_json_form() {
    let recipes = json("recipes --json");
    let recipes: Vec<&str> =
        recipes.as_array().unwrap().iter().map(|recipe| recipe["name"].as_str().unwrap()).collect();
    let table = succeeds("recipes");
    assert_eq!(table.lines().count(), recipes.len());
    assert!(recipes.iter().all(|name| table.contains(name)), "{table}");
    let devices = json("devices --json");
    let devices = devices.as_array().unwrap();
    let named = |name: &str| devices.iter().find(|device| device["name"] == name).unwrap();
    for name in ["cpu", "direct", "oracle"] {
        assert_eq!(named(name)["available"], true);
    }
    let table = succeeds("devices");
    assert!(["cpu", "oracle", "webgpu", "cuda"].iter().all(|name| table.contains(name)), "{table}");
}

#[test]
fn a_run_leaves_what_the_interface_promises() {
    let folder = Folder::new("folder");
    let run = folder.at("run");
    let out = succeeds(&format!(
        "train sine --steps 25 --seed 5 --log-every 10 --sample-every 20 --checkpoint-every 20 --out {run}"
    ));
    assert!(out.starts_with("finished step 25"), "{out}");
    let top = names(&run);
    let (events, others): (Vec<_>, Vec<_>) =
        top.iter().partition(|name| name.starts_with("events.out.tfevents."));
    assert_eq!(events.len(), 1);
    assert_eq!(
        others,
        ["checkpoints", "curves.png", "metrics.jsonl", "report.html", "run.toml", "samples"]
    );
    let at = |below: &str| Path::new(&run).join(below);
    assert_eq!(names(at("samples")), ["step-00000020.png", "step-00000025.png"]);
    assert_eq!(names(at("checkpoints")), ["latest", "step-00000020", "step-00000025"]);
    let files_of_one = [
        "complete",
        "discriminator.safetensors",
        "generator.safetensors",
        "optimizer.safetensors",
        "state.json",
    ];
    assert_eq!(names(at("checkpoints/step-00000025")), files_of_one);
    assert_eq!(std::fs::read_to_string(at("checkpoints/latest")).unwrap(), "step-00000025\n");
    let png = std::fs::read(at("samples/step-00000025.png")).unwrap();
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"));

    let plan = std::fs::read_to_string(at("run.toml")).unwrap();
    for known in [
        "seed = 5",
        "device = \"cpu\"",
        "precision = \"f32\"",
        "version = ",
        "loss_convention = \"mean\"",
        "[recipe]",
        "name = \"sine\"",
        "data_digest",
    ] {
        assert!(plan.contains(known), "{known}: {plan}");
    }
    let lines = metrics(&run);
    let steps: Vec<u64> = lines.iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [1, 10, 20, 25]);
    for line in &lines {
        for field in ["epoch", "seconds", "images_per_second", "loss_d", "loss_g"] {
            assert!(line[field].as_f64().is_some_and(|value| value >= 0.0), "{field}: {line}");
        }
        assert_eq!(line["loss_convention"], "mean");
        let share = |field: &str| line[field].as_f64().unwrap();
        for field in ["accuracy_real", "accuracy_fake", "fooling_rate"] {
            assert!((0.0..=1.0).contains(&share(field)), "{field}: {line}");
        }
        assert!((share("fooling_rate") + share("accuracy_fake") - 1.0).abs() < 1e-12);
    }
    // `show` reads a run as well as a recipe.
    let shown = json(&format!("show {run} --json"));
    assert_eq!(shown, json("show sine --json"));
}

#[test]
fn epochs_are_passes_over_the_data() {
    let folder = Folder::new("epochs");
    let run = folder.at("run");
    succeeds(&format!(
        "train lines-upsample --set samples=20 --batch 5 --epochs 1.5 --log-every 1 --out {run}"
    ));
    let epochs: Vec<f64> =
        metrics(&run).iter().map(|line| line["epoch"].as_f64().unwrap()).collect();
    assert_eq!(epochs, [0.25, 0.5, 0.75, 1.0, 1.25, 1.5]);
}

#[test]
fn without_out_a_run_gets_the_next_free_folder() {
    let folder = Folder::new("next-folder");
    // A folder with a recipe's name must not hide the recipe.
    std::fs::create_dir(folder.path().join("sine")).unwrap();
    for _ in 0..2 {
        let mut command = std::process::Command::new(common::PROGRAM);
        command.args(["train", "sine", "--steps", "2"]).current_dir(folder.path());
        assert!(command.output().unwrap().status.success());
    }
    assert_eq!(names(folder.path().join("runs")), ["sine-001", "sine-002"]);
    let mut command = std::process::Command::new(common::PROGRAM);
    let output = command.args(["show", "sine"]).current_dir(folder.path()).output().unwrap();
    assert!(output.status.success());
}

#[test]
fn samples_come_in_three_forms_and_by_the_seed() {
    let folder = Folder::new("sample");
    let run = folder.at("run");
    succeeds(&format!("train mnist-mlp --batch 4 --steps 1 --set average_decay=0.9 --out {run}"));
    let sample = |words: &str, out: &str| {
        let out = folder.at(out);
        assert_eq!(succeeds(&format!("sample {run} {words} --out {out}")).trim_end(), out);
        out
    };
    let numbers = tensors(sample("--n 6 --seed 9", "a.safetensors"));
    assert_eq!(numbers["z"].0, [6, 100]);
    assert_eq!(numbers["image"].1.len(), 6 * 784);
    assert_eq!(numbers["image"].0[0], 6);
    assert!(numbers["image"].1.iter().all(|value| value.abs() <= 1.0));
    let read = |path: String| std::fs::read(path).unwrap();
    let grid = read(sample("--n 6 --seed 9", "a.png"));
    assert!(grid.starts_with(b"\x89PNG"));
    assert_eq!(grid, read(sample("--n 6 --seed 9", "b.png")));
    assert_ne!(grid, read(sample("--n 6 --seed 10", "c.png")));
    assert_eq!(read(folder.at("a.safetensors")), read(sample("--n 6 --seed 9", "b.safetensors")));
    let each = sample("--n 6 --seed 9", "each/");
    let expected: Vec<String> = (0..6).map(|index| format!("{index:06}.png")).collect();
    assert_eq!(names(&each), expected);
    // Each file is the sample, pixel by pixel.
    for (index, values) in numbers["image"].1.chunks_exact(784).enumerate() {
        let file = folder.at(&format!("each/{index:06}.png"));
        let image = Image::decode(&file, &read(file.clone())).unwrap();
        assert_eq!((image.width, image.height, image.channels), (28, 28, 1));
        for (byte, value) in image.bytes.iter().zip(values) {
            assert!(
                (f64::from(*byte) - (f64::from(*value) * 127.5 + 127.5)).abs() < 0.51,
                "{byte}, {value}"
            );
        }
    }
    assert_eq!(names(sample("--n 6 --seed 9 --grid", "grid/")), ["grid.png"]);
    assert_eq!(grid, read(folder.at("grid/grid.png")));
    // The numbers' own noise gives the numbers back.
    let again =
        tensors(sample(&format!("--noise {}", folder.at("a.safetensors")), "d.safetensors"));
    assert_eq!(again, numbers);

    let before = files(folder.path());
    fails(&format!("sample {run} --n 0 --out {}", folder.at("x.png")), 2, &["--n 0"]);
    fails(&format!("sample {run} --out {}", folder.at("x.gif")), 2, &["x.gif", ".safetensors"]);
    fails(&format!("sample {run} --label 1 --out {}", folder.at("x.png")), 2, &["no labels"]);
    fails(&format!("sample {run} --out {}", folder.at("none/x.png")), 1, &["none/x.png"]);
    fails(
        &format!("sample {} --out {}", folder.at("none"), folder.at("x.png")),
        1,
        &["none/run.toml"],
    );
    assert!(files(folder.path()) == before, "a refused command leaves nothing");
}

#[test]
fn the_lectures_generator_draws_the_lectures_images() {
    let Some(data) = data("the_lectures_generator_draws_the_lectures_images") else { return };
    let lecture = data.join("lecture");
    let folder = Folder::new("lecture");
    let run = folder.at("run");
    let said = succeeds(&format!(
        "import {} --recipe conditional-signs64 --out {run}",
        lecture.join("generator_color_4c_80k.safetensors").display()
    ));
    assert!(said.contains("Keras"), "{said}");
    let expected = tensors(lecture.join("expected.safetensors"));
    let out = folder.at("x.safetensors");
    let noise = lecture.join("expected.safetensors");
    succeeds(&format!("sample {run} --noise {} --out {out}", noise.display()));
    let (shape, found) = &tensors(&out)["image"];
    let (wanted_shape, wanted) = &expected["image"];
    assert_eq!(shape, wanted_shape);
    let error = found.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(error <= 1e-5, "{error}");
    // The classes matter.
    let of_class = |label: u32| {
        let out = folder.at(&format!("{label}.safetensors"));
        succeeds(&format!("sample {run} --n 2 --label {label} --out {out}"));
        tensors(out)["image"].1.clone()
    };
    assert_ne!(of_class(0), of_class(3));
    fails(&format!("sample {run} --label 4 --out {}", folder.at("x.png")), 2, &["0 to 3"]);
}

//! Recipes that make images from images, as a person meets them: tables, training, and new images from old ones.

mod common;

use common::{Folder, fails, files, metrics, png, succeeds, tensors};
use std::path::Path;

#[test]
fn show_prints_every_total_of_the_lectures_systems() {
    let cases: [(&str, &[&str]); 13] = [
        ("letters-failing", &["1,486,352", "58,494,257"]),
        ("cifar-dcgan", &["6,264,579", "790,913"]),
        ("faces32", &["3,455,363", "398,657"]),
        ("faces64", &["3,979,651", "404,801"]),
        ("signs", &["2,073,920", "214,785"]),
        ("signs-conditional", &["2,078,536", "268,809"]),
        ("conditional-signs64", &["523,688", "782,729"]),
        ("mnist-conditional", &["1,678,711", "254,949"]),
        ("pix2pix", &["54,414,979", "2,768,641"]),
        ("cyclegan", &["11,378,179", "2,764,737", "11,378,179", "2,764,737"]),
        ("circles-squares", &["7,837,699", "2,764,737", "7,837,699", "2,764,737"]),
        ("srgan", &["1,547,350", "23,563,649"]),
        ("colorize", &["54,412,931", "2,766,593"]),
    ];
    for (recipe, totals) in cases {
        let table = succeeds(&format!("show {recipe}"));
        let found: Vec<&str> = table
            .lines()
            .filter_map(|line| line.strip_prefix("total "))
            .map(|rest| rest.split_whitespace().next().unwrap())
            .collect();
        assert_eq!(found, totals, "{recipe}");
    }
    let table = succeeds("show pix2pix");
    assert!(table.contains("30×30×1"), "the discriminator judges patches: {table}");
}

#[test]
fn a_run_that_translates_is_trained_sampled_and_explained() {
    let folder = Folder::new("translate");
    let run = folder.at("run");
    let small = "--set side=32 --set generator_width=2 --set discriminator_width=2 --set samples=6";
    succeeds(&format!(
        "train circles-rectangles {small} --batch 2 --steps 6 --log-every 1 --checkpoint-every 3 --device cpu --out {run}"
    ));
    let lines = metrics(&run);
    assert_eq!(lines.len(), 6);
    assert!(lines.iter().all(|line| line["loss_l1"].as_f64() > Some(0.0)), "{lines:?}");
    let checkpoint = files(Path::new(&run).join("checkpoints/step-00000006"));
    assert!(checkpoint.contains_key("generator.safetensors"));

    let images = folder.at("images");
    std::fs::create_dir_all(&images).unwrap();
    for name in ["a.png", "b.png", "c.png"] {
        std::fs::write(Path::new(&images).join(name), png(40, 50)).unwrap();
    }
    let numbers = folder.at("made.safetensors");
    let sample = format!("sample {run} --device cpu --input {images}");
    succeeds(&format!("{sample} --out {numbers}"));
    let made = tensors(&numbers);
    assert_eq!((&made["image"].0, &made["input"].0), (&vec![3, 32, 32, 3], &vec![3, 32, 32, 3]));
    assert!(made["image"].1.iter().all(|value| (-1.0..=1.0).contains(value)));
    // The first of them alone gives the same.
    let one = folder.at("one.safetensors");
    succeeds(&format!("sample {run} --device cpu --input {images}/a.png --out {one}"));
    assert_eq!(tensors(&one)["image"].1[..], made["image"].1[..32 * 32 * 3]);
    succeeds(&format!("{sample} --n 2 --out {}/", folder.at("each")));
    assert_eq!(files(folder.at("each")).len(), 2);
    succeeds(&format!("{sample} --out {}", folder.at("grid.png")));

    fails(&format!("sample {run} --device cpu"), 2, &["images from images", "--input"]);
    fails(&format!("{sample} --back --out {numbers}"), 2, &["one way only"]);
    fails(&format!("sample {run} --input {}", folder.at("none")), 1, &["none"]);
    fails("train circles-squares --set jitter=1 --steps 1", 2, &["jitter must be 0"]);
    fails("train pix2pix --steps 1", 1, &["needs images", "--data", "side by side"]);
    fails("train circles-rectangles --data x --steps 1", 1, &["makes its data from the seed"]);
    fails("train sine --set source=two-folders --steps 1", 2, &["does not yield"]);
}

#[test]
fn what_became_of_shapes_is_judged_in_both_directions() {
    let folder = Folder::new("shapes");
    let run = folder.at("run");
    let small = "--set generator_width=2 --set discriminator_width=2 --set samples=6";
    succeeds(&format!(
        "train circles-squares --set preset=narrow {small} --steps 2 --device cpu --out {run}"
    ));
    let evaluate = |words: &str| succeeds(&format!("evaluate {run} --device cpu {words}"));
    let card: serde_json::Value = serde_json::from_str(&evaluate("--n 6 --seed 3 --json")).unwrap();
    let [there, back] = &card["geometry"].as_array().unwrap()[..] else { panic!("{card}") };
    assert_eq!((&there["wanted"], &back["wanted"]), (&"square".into(), &"disc".into()));
    for card in [there, back] {
        assert_eq!(card["images"], 6);
        let shapes = card["shapes"].as_u64().unwrap();
        assert!((1..=18).contains(&shapes), "{card}");
        // Networks that learned nothing turn nothing that keeps its place and colour.
        assert!(card["all"].as_f64() < Some(0.2), "{card}");
    }
    // Six circles or squares as they are drawn, by what they fill of their boxes.
    assert!(there["fill_before"].as_f64() < Some(0.75) && back["fill_before"] == 1.0, "{card}");
    let table = evaluate("--n 6 --seed 3");
    assert!(
        table.contains("circles to squares") && table.contains("squares to circles"),
        "{table}"
    );
}

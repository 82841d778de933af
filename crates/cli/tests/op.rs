//! `belamy op` and `belamy check`: values by hand, gradients against differences, refusals, and that checks pass.

mod common;

use common::{Folder, fails, files, line, safetensors, succeeds, tensors};
use serde_json::Value;

/// A tensor to be written: its name, type, shape and bytes.
type Part<'a> = (&'a str, &'a str, &'a [usize], Vec<u8>);

fn f32s<'a>(name: &'a str, shape: &'a [usize], values: &[f32]) -> Part<'a> {
    assert_eq!(values.len(), shape.iter().product::<usize>(), "{name}");
    (name, "F32", shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

fn f64s<'a>(name: &'a str, shape: &'a [usize], values: &[f64]) -> Part<'a> {
    (name, "F64", shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

fn i64s<'a>(name: &'a str, shape: &'a [usize], values: &[i64]) -> Part<'a> {
    (name, "I64", shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

/// Writes a safetensors file and returns its path.
fn put(folder: &Folder, name: &str, parts: &[Part<'_>]) -> String {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, dtype, shape, bytes) in parts {
        let offsets = [data.len(), data.len() + bytes.len()];
        let entry = serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": offsets});
        header.insert((*name).to_owned(), entry);
        data.extend(bytes);
    }
    let header = serde_json::to_string(&header).unwrap();
    std::fs::write(folder.at(name), safetensors(&header, &data)).unwrap();
    folder.at(name)
}

type Tensors = std::collections::BTreeMap<String, (Vec<u64>, Vec<f32>)>;

/// Runs an op that must succeed, and returns the f32 tensors that it wrote.
#[track_caller]
fn op(folder: &Folder, words: &str, parts: &[Part<'_>]) -> Tensors {
    let input = put(folder, "in.safetensors", parts);
    let out = folder.at("out.safetensors");
    let said = succeeds(&format!("op {words} --input {input} --out {out}"));
    assert_eq!(said.trim_end(), out);
    tensors(out)
}

const COUNTING: [f32; 9] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];

fn counting() -> Part<'static> {
    f32s("x", &[1, 3, 3, 1], &COUNTING)
}

/// Picks the pixel at the upper left, and ten times the one at the lower right.
fn corners() -> Part<'static> {
    f32s("w", &[1, 2, 2, 1], &[1.0, 0.0, 0.0, 10.0])
}

#[test]
fn convolutions_are_those_computed_by_hand() {
    let folder = Folder::new("op-conv2d");
    let cases: &[(&str, &[u64], &[f32])] = &[
        ("", &[1, 2, 2, 1], &[51.0, 62.0, 84.0, 95.0]),
        ("--attr stride=2 --attr padding=1", &[1, 2, 2, 1], &[10.0, 30.0, 70.0, 95.0]),
        ("--attr stride=1,2", &[1, 2, 1, 1], &[51.0, 84.0]),
        // Only above: the first row of windows sees zeros and the image's first row.
        ("--attr padding=1,0,0,0", &[1, 3, 2, 1], &[20.0, 30.0, 51.0, 62.0, 84.0, 95.0]),
        ("--attr dilation=2", &[1, 1, 1, 1], &[91.0]),
        // Keras: the spare row and column go below and to the right.
        ("--attr padding=same", &[1, 3, 3, 1], &[51.0, 62.0, 3.0, 84.0, 95.0, 6.0, 7.0, 8.0, 9.0]),
    ];
    for (words, shape, values) in cases {
        for device in ["cpu", "oracle"] {
            let words = format!("conv2d {words} --device {device}");
            let written = op(&folder, &words, &[counting(), corners()]);
            assert_eq!(written.keys().collect::<Vec<_>>(), ["output"], "{words}");
            assert_eq!(written["output"], (shape.to_vec(), values.to_vec()), "{words}");
        }
    }
    let x = f32s("x", &[1, 1, 2, 1], &[1.0, 2.0]);
    let w = f32s("w", &[1, 1, 2, 1], &[1.0, 10.0]);
    let written = op(&folder, "conv_transpose2d --attr stride=2", &[x.clone(), w.clone()]);
    assert_eq!(written["output"], (vec![1, 1, 4, 1], vec![1.0, 10.0, 2.0, 20.0]));
    let words = "conv_transpose2d --attr stride=1 --attr padding=0,0,1,0";
    assert_eq!(op(&folder, words, &[x, w])["output"], (vec![1, 1, 2, 1], vec![12.0, 20.0]));
}

#[test]
fn integers_lists_optional_tensors_and_further_results_travel() {
    let folder = Folder::new("op-kinds");
    let table = f32s("table", &[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let written = op(&folder, "gather_rows", &[table, i64s("indices", &[2], &[2, 0])]);
    assert_eq!(written["output"], (vec![2, 2], vec![5.0, 6.0, 1.0, 2.0]));

    // In the order of the numbers, not of the names.
    let names: Vec<String> = (0..11).map(|index| format!("x{index}")).collect();
    let parts: Vec<Part<'_>> =
        names.iter().enumerate().map(|(index, name)| f32s(name, &[1], &[index as f32])).collect();
    let written = op(&folder, "concat --attr axis=0", &parts);
    assert_eq!(written["output"].1, (0..11).map(|index| index as f32).collect::<Vec<_>>());

    let x = f32s("x", &[2, 1], &[1.0, 3.0]);
    let words = "batch_norm --attr epsilon=1e-12";
    let written = op(&folder, words, std::slice::from_ref(&x));
    assert_eq!(written["output"].1, [-1.0, 1.0]);
    assert_eq!((written["mean"].1[0], written["variance"].1[0]), (2.0, 1.0));
    let written = op(&folder, words, &[x, f32s("beta", &[1], &[5.0])]);
    assert_eq!(written["output"].1, [4.0, 6.0]);

    let out = folder.at("drawn.safetensors");
    succeeds(&format!("op uniform --attr shape=3,2 --attr low=5 --attr high=6 --out {out}"));
    let (shape, values) = &tensors(out)["output"];
    assert_eq!(shape, &[3, 2]);
    assert!(values.iter().all(|value| (5.0..6.0).contains(value)));
}

/// What a loss Σ seed · output grows by when one element of one tensor does.
fn slope(
    folder: &Folder,
    words: &str,
    parts: &[Part<'_>],
    at: (usize, usize),
    step: f32,
    seed: &[f32],
) -> f64 {
    let moved = |by: f32| {
        let mut parts = parts.to_vec();
        let bytes = &mut parts[at.0].3[at.1 * 4..at.1 * 4 + 4];
        let value = f32::from_le_bytes((&*bytes).try_into().unwrap());
        bytes.copy_from_slice(&(value + by).to_le_bytes());
        let output = &op(folder, words, &parts)["output"].1;
        output.iter().zip(seed).map(|(y, seed)| f64::from(*y) * f64::from(*seed)).sum::<f64>()
    };
    (moved(step) - moved(-step)) / (2.0 * f64::from(step))
}

#[test]
fn gradients_agree_with_differences_between_files() {
    let folder = Folder::new("op-grad");
    let seed = [1.0, -2.0, 3.0, 5.0];
    let parts = [counting(), corners(), f32s("grad_output", &[1, 2, 2, 1], &seed)];
    let words = "conv2d --attr stride=2 --attr padding=1";
    let grads = op(&folder, &format!("{words} --grad"), &parts);
    assert_eq!(grads.keys().collect::<Vec<_>>(), ["grad_w", "grad_x", "output"]);
    assert_eq!(
        (&grads["grad_x"].0[..], &grads["grad_w"].0[..]),
        (&[1, 3, 3, 1][..], &[1, 2, 2, 1][..])
    );
    // Whole numbers, and linear in each tensor: differences are exact.
    for element in 0..9 {
        let wanted = slope(&folder, words, &parts[..2], (0, element), 1.0, &seed);
        assert_eq!(f64::from(grads["grad_x"].1[element]), wanted, "x {element}");
    }
    for element in 0..4 {
        let wanted = slope(&folder, words, &parts[..2], (1, element), 1.0, &seed);
        assert_eq!(f64::from(grads["grad_w"].1[element]), wanted, "w {element}");
    }
    let parts = [f32s("x", &[3], &[-1.0, 0.25, 2.0]), f32s("grad_output", &[3], &[1.0, -2.0, 4.0])];
    let grads = op(&folder, "softplus --grad", &parts);
    for element in 0..3 {
        let wanted =
            slope(&folder, "softplus", &parts[..1], (0, element), 1.0 / 64.0, &[1.0, -2.0, 4.0]);
        assert!((f64::from(grads["grad_x"].1[element]) - wanted).abs() < 3e-4, "{element}");
    }
    // Labels have no gradient, and what is piecewise constant has none but zeros.
    let logits = f32s("logits", &[1, 2], &[0.0, 0.0]);
    let parts = [logits, i64s("labels", &[1], &[1]), f32s("grad_output", &[1], &[1.0])];
    let grads = op(&folder, "cross_entropy_with_logits --grad", &parts);
    assert_eq!(grads.keys().collect::<Vec<_>>(), ["grad_logits", "output"]);
    assert_eq!(grads["grad_logits"].1, [0.5, -0.5]);
    let parts = [f32s("x", &[2], &[1.0, -3.0]), f32s("grad_output", &[2], &[1.0, 1.0])];
    assert_eq!(op(&folder, "sign --grad", &parts)["grad_x"].1, [0.0, 0.0]);
}

#[test]
fn bad_calls_are_refused_and_leave_the_output_as_it_was() {
    let folder = Folder::new("op-bad");
    let both = put(&folder, "xw.safetensors", &[counting(), corners()]);
    let alone = put(&folder, "x.safetensors", &[counting()]);
    let misnamed = f32s("gradoutput", &[1, 2, 2, 1], &[0.0; 4]);
    let misnamed = put(&folder, "misnamed.safetensors", &[counting(), corners(), misnamed]);
    let narrow = f32s("w", &[1, 2, 2, 3], &[0.0; 12]);
    let narrow = put(&folder, "narrow.safetensors", &[counting(), narrow]);
    let mixed = put(&folder, "mixed.safetensors", &[counting(), f64s("w", &[1, 1, 1, 1], &[1.0])]);
    let seed = f32s("grad_output", &[4], &[0.0; 4]);
    let seeded = put(&folder, "seeded.safetensors", &[counting(), corners(), seed]);
    let gap = [f32s("x0", &[1], &[0.0]), f32s("x2", &[1], &[0.0])];
    let gap = put(&folder, "gap.safetensors", &gap);
    std::fs::write(folder.at("broken.safetensors"), b"no tensors").unwrap();
    let broken = folder.at("broken.safetensors");
    std::fs::write(folder.at("y.safetensors"), b"what was there").unwrap();
    let out = format!("--out {}", folder.at("y.safetensors"));
    let before = files(folder.path());

    let arguments: &[(String, &[&str])] = &[
        (format!("conv2b --input {both} {out}"), &["conv2b", "did you mean conv2d?"]),
        (format!("wavelet_transform --input {both} {out}"), &["wavelet_transform", "--list"]),
        (format!("conv2d --input {both} {out} --attr strid=2"), &["strid", "did you mean stride?"]),
        (
            format!("conv2d --input {both} {out} --attr stride=fast"),
            &["stride", "HEIGHT,WIDTH", "fast"],
        ),
        (format!("conv2d --input {both} {out} --attr stride=1,2,3"), &["stride", "1,2,3"]),
        (format!("conv2d --input {both} {out} --attr stride=-1"), &["stride", "-1"]),
        (format!("conv2d --input {both} {out} --attr stride=0"), &["conv2d", "at least 1"]),
        (
            format!("conv2d --input {both} {out} --attr stride=0 --attr padding=same"),
            &["at least 1"],
        ),
        (format!("conv2d --input {both} {out} --attr stride"), &["key=value"]),
        (format!("conv2d --input {both} {out} --attr stride=1 --attr stride=2"), &["twice"]),
        (format!("conv2d --input {both} {out} --attr groups=99999999999"), &["groups", "2^32"]),
        (format!("relu --input {both} {out} --attr slope=1"), &["relu takes no attributes"]),
        (format!("leaky_relu --input {both} {out}"), &["leaky_relu wants --attr slope="]),
        (
            format!("avg_pool2d --input {both} {out} --attr kernel=2 --attr count_include_pad=1"),
            &["true or false"],
        ),
        (format!("conv2d --input {both} {out} --device gpu"), &["there is no device"]),
        (format!("conv2d {out}"), &["--input", "x w"]),
        (format!("conv2d --input {both}"), &["--out"]),
        (
            format!("adam --grad --input {both} {out} --attr learning_rate=1"),
            &["adam has no derivative"],
        ),
        (out.clone(), &["NAME"]),
    ];
    for (words, expected) in arguments {
        fails(&format!("op {words}"), 2, expected);
    }
    let contents: &[(String, &[&str])] = &[
        (format!("conv2d --input {alone} {out}"), &["x.safetensors", "a tensor w"]),
        (
            format!("conv2d --grad --input {misnamed} {out}"),
            &["grad_output", "did you mean gradoutput?"],
        ),
        (
            format!("conv2d --grad --input {seeded} {out}"),
            &["grad_output is [4] f32", "[1, 2, 2, 1]"],
        ),
        (format!("conv2d --input {narrow} {out}"), &["conv2d: [1, 3, 3, 1] with [1, 2, 2, 3]"]),
        (format!("conv2d --input {mixed} {out}"), &["conv2d: takes", "f32, f64"]),
        (format!("matmul --input {both} {out}"), &["a tensor a", "it holds w, x"]),
        (format!("concat --input {gap} {out} --attr axis=0"), &["a tensor x1"]),
        (format!("sum --input {both} {out} --attr axes=0,9"), &["sum", "[0, 9]"]),
        (format!("relu --input {broken} {out}"), &["broken.safetensors", "safetensors"]),
        (format!("relu --input {} {out}", folder.at("none")), &["none", "cannot read"]),
        (
            format!("conv2d --input {both} --out {}", folder.at("no/y.safetensors")),
            &["no/y.safetensors"],
        ),
    ];
    for (words, expected) in contents {
        fails(&format!("op {words}"), 1, expected);
    }
    assert!(files(folder.path()) == before, "a refused call changes nothing");

    // A tensor that no one reads is said, since it may be a misspelt one.
    let ran = line(&format!("op relu --input {both} {out}"));
    assert_eq!(ran.code, Some(0));
    assert!(ran.stderr.contains("w not read; relu takes x"), "{ran:?}");
}

#[test]
fn the_list_names_tensors_and_attributes() {
    let listed: Value = serde_json::from_str(&succeeds("op --list --json")).unwrap();
    let ops = listed["ops"].as_array().unwrap();
    let table = succeeds("op --list");
    assert_eq!(table.lines().count(), ops.len());
    let help = succeeds("op --help");
    for op in ops {
        let name = op["name"].as_str().unwrap();
        assert!(table.contains(name) && help.contains(name), "{name}");
    }
    let conv2d = ops.iter().find(|op| op["name"] == "conv2d").unwrap();
    assert_eq!(conv2d["tensors"][1]["name"], "w");
    assert_eq!(conv2d["attributes"][0]["name"], "stride");
    assert_eq!(conv2d["attributes"][0]["default"], "1");
    let one = succeeds("op conv2d --list");
    assert!(one.contains("[O, KH, KW, C/groups]") && one.contains("padding=0"), "{one}");
}

#[test]
fn checks_pass_and_are_counted() {
    let ran = line("check pointwise");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let table = &ran.stdout;
    for word in [
        "parity",
        "gradgrad",
        "leaky_relu",
        "tanh_grad",
        "oracle and cpu",
        "all passed",
        "skipped cuda",
    ] {
        assert!(table.contains(word), "{word}: {table}");
    }
    assert!(!table.contains("conv2d"), "{table}");

    let checked: Value =
        serde_json::from_str(&succeeds("check matmul --device cpu --json")).unwrap();
    assert_eq!(checked["failures"], 0);
    let ops = checked["devices"][0]["ops"].as_array().unwrap();
    assert_eq!((ops.len(), &ops[0]["op"]), (1, &Value::from("matmul")));
    let counts = ops[0]["checks"].as_object().unwrap();
    for mode in [
        "parity",
        "parity-grad",
        "grad",
        "gradgrad",
        "adjoint",
        "reference",
        "twice",
        "threads",
        "reused",
    ] {
        assert!(counts[mode].as_u64() > Some(0), "{mode}");
    }
    let sum: u64 = counts.values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(checked["checks"], sum);

    fails("check batch_nrom", 2, &["batch_nrom", "did you mean batch_norm?"]);
    fails("check relu --device gpu", 2, &["there is no device"]);
}

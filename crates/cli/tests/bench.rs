//! `belamy bench`: its formats say the same, its filters hold, and mistakes are explained.

mod common;

use common::{Folder, fails, line, succeeds};
use serde_json::Value;

#[test]
fn json_holds_ceilings_steps_and_kernels() {
    let text = succeeds("bench all --json --recipe sine --device cpu --seconds 8");
    let report: Value = serde_json::from_str(&text).unwrap();
    let ceilings = report["ceilings"].as_array().unwrap();
    assert_eq!(ceilings.len(), 1);
    assert!(ceilings[0]["peaks"][0]["flop_per_second"].as_f64().unwrap() > 1e8);
    assert!(ceilings[0]["bandwidths"][0]["bytes_per_second"].as_f64().unwrap() > 1e8);
    let step = &report["steps"][0];
    assert_eq!((&step["recipe"], &step["batch"]), (&Value::from("sine"), &Value::from(150)));
    assert_eq!(step["devices"][0]["outcome"], "measured", "{step}");
    let kernels = report["kernels"].as_array().unwrap();
    for op in ["matmul", "relu", "leaky_relu_grad", "bce_with_logits_mean", "adam", "normal"] {
        let row = kernels.iter().find(|row| row["op"] == op);
        let cell = &row.unwrap_or_else(|| panic!("{op} has no row"))["devices"][0];
        assert_eq!(cell["outcome"], "measured", "{op}: {cell}");
        let median = cell["timing"]["median"].as_f64().unwrap();
        let (least, most) = (&cell["timing"]["least"], &cell["timing"]["most"]);
        assert!(least.as_f64().unwrap() <= median && median <= most.as_f64().unwrap(), "{cell}");
    }
    assert!(report["in_no_step"].as_array().unwrap().contains(&Value::from("conv2d")));
    assert!(report["skipped"].as_array().unwrap().is_empty());
}

#[test]
fn tables_are_whole_and_plots_are_drawn() {
    let folder = Folder::new("bench");
    let (svg, png) = (folder.at("roof.svg"), folder.at("roof.png"));
    let words = format!(
        "bench matmul sin step --md --recipe sine --device cpu --seconds 5 --plot {svg} --plot {png}"
    );
    let text = succeeds(&words);
    for heading in ["## Ceilings", "## Steps", "## Kernels", "| op | shape |"] {
        assert!(text.contains(heading), "{heading}: {text}");
    }
    // Every table's lines have as many cells as its heading.
    for table in text.split("## ").skip(1) {
        let lines: Vec<&str> = table.lines().filter(|line| line.starts_with('|')).collect();
        let cells = |line: &str| line.matches(" | ").count();
        assert!(
            lines.len() > 2 && lines.iter().all(|line| cells(line) == cells(lines[0])),
            "{table}"
        );
    }
    assert!(text.contains("| matmul |") && text.contains("| sin |") && !text.contains("| adam |"));
    let svg = std::fs::read_to_string(svg).unwrap();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    assert!(std::fs::read(png).unwrap().starts_with(b"\x89PNG"));
}

#[test]
fn csv_has_a_line_for_each_work_and_device() {
    let text = succeeds("bench adam --csv --recipe sine --device cpu --device oracle --seconds 5");
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("work,op,kernel,family,shape,"));
    // Two sizes of networks, two devices.
    assert_eq!(lines.len(), 1 + 4, "{text}");
    assert!(
        lines[1..].iter().all(|line| line.starts_with("kernel,adam,adam,optimizer,")),
        "{text}"
    );
    assert_eq!(lines.iter().filter(|line| line.contains(",oracle,")).count(), 2, "{text}");
}

#[test]
fn an_op_of_several_kernels_names_them_all() {
    let text =
        succeeds("bench batch_norm --json --recipe dcgan64 --batch 2 --device cpu --seconds 6");
    let report: Value = serde_json::from_str(&text).unwrap();
    let kernels: Vec<&str> = report["kernels"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["kernel"].as_str().unwrap())
        .collect();
    assert!(kernels.contains(&"norm") && kernels.contains(&"norm_grad"), "{kernels:?}");
    assert!(!kernels.contains(&"conv2d"), "{kernels:?}");
}

/// Of a job of one process there is a line that was measured; the model begins with it, and loses with every doubling.
#[test]
fn scaling_begins_with_what_was_measured() {
    let words = "bench scaling sine --batch 16 --steps 3 --threads 1";
    let report: Value = serde_json::from_str(&succeeds(&format!("{words} --json"))).unwrap();
    let lines = report["lines"].as_array().unwrap();
    let number = |line: &Value, name: &str| line[name].as_f64().unwrap();
    assert_eq!((&lines[0]["source"], number(&lines[0], "processes")), (&"measured".into(), 1.0));
    assert!(number(&lines[0], "ms") > 0.0);
    for (scaling, most) in [("weak", 1024.0), ("strong", 16.0)] {
        let of =
            lines.iter().filter(|line| line["source"] == "model" && line["scaling"] == scaling);
        let of: Vec<&Value> = of.collect();
        assert!((number(of[0], "ms") - number(&lines[0], "ms")).abs() < 1e-6, "{scaling}");
        assert_eq!(number(of.last().unwrap(), "processes"), most);
        let falls = |pair: &[&Value]| number(pair[1], "efficiency") < number(pair[0], "efficiency");
        assert!(of.windows(2).all(falls), "{scaling}: {report}");
    }
    assert!(number(&report["model"], "bytes") > 0.0 && number(&report["model"], "calls") >= 2.0);
    let csv = succeeds(&format!("{words} --csv"));
    assert!(csv.starts_with("source,scaling,processes,batch,ms,"), "{csv}");
    assert_eq!(csv.lines().count(), 1 + lines.len());
    assert!(succeeds(words).contains("model: "));
    for (more, named) in [
        ("--overlap 1.5", "--overlap 1.5"),
        ("--latency nan", "--latency"),
        ("--bandwidth 0", "--bandwidth"),
        ("--steps 0", "--steps 0"),
    ] {
        fails(&format!("bench scaling sine {more}"), 2, &[named]);
    }
}

#[test]
fn mistakes_are_explained() {
    fails("bench conv2", 2, &["no op \"conv2\"", "did you mean conv2d?"]);
    fails("bench scalin", 2, &["scaling"]);
    // A command of its own, and no kernel.
    fails("bench step scaling", 2, &["no op \"scaling\""]);
    fails("bench stpe", 2, &["did you mean step?"]);
    fails("bench --recipe dcgan", 2, &["dcgan"]);
    fails("bench --recipe sine --batch 0", 2, &["batch"]);
    fails("bench --device gpu", 2, &["no device \"gpu\""]);
    for seconds in ["0", "-1", "NaN", "1e9"] {
        fails(&format!("bench --seconds={seconds}"), 2, &["--seconds"]);
    }
    fails("bench --plot roof.pdf", 2, &["roof.pdf", ".svg or .png"]);
    fails("bench --plot /nowhere/at/all/roof.svg", 2, &["no such folder"]);
    fails("bench --json --md", 2, &["--json"]);
    let ran = line("bench pool2d --recipe sine --device cpu --seconds 2");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("no step of these recipes launches pool2d"), "{ran:?}");
}

//! That the table covers what there is: every kernel launched, every op checked in every way that applies, and no
//! fewer checks than there were.

use belamy_tensor::kernel::KernelId;
use belamy_tests::plan::{Subject, planned};
use belamy_tests::{Mode, Report, ops, require, trace};
use rayon::prelude::*;
use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::Path;

#[test]
fn every_kernel_is_launched_by_a_case() {
    let cases = ops::all_cases();
    let traced: Vec<HashSet<KernelId>> = cases.par_iter().map(trace::kernels).collect();
    let mut counts: HashMap<KernelId, usize> = HashMap::new();
    traced.into_iter().flatten().for_each(|kernel| *counts.entry(kernel).or_default() += 1);
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "\ncases that launch each kernel");
    for kernel in KernelId::ALL {
        let count = counts.get(kernel).copied().unwrap_or(0);
        let _ = writeln!(out, "{:<24}{count:>5}", kernel.name());
    }
    let never: Vec<&str> = KernelId::ALL
        .iter()
        .filter(|kernel| !counts.contains_key(kernel))
        .map(|kernel| kernel.name())
        .collect();
    assert!(never.is_empty(), "no case launches {never:?}: add one to tests/src/ops");
}

#[test]
fn every_family_of_kernels_has_a_file_of_cases() {
    let families: HashSet<&str> = ops::FAMILIES.iter().map(|(name, _)| *name).collect();
    for kernel in KernelId::ALL {
        assert!(families.contains(kernel.family()), "tests/src/ops has no {}", kernel.family());
    }
    for (name, cases) in ops::FAMILIES {
        assert!(cases().len() >= 4, "{name} has {} cases", cases().len());
    }
}

#[test]
fn case_names_are_distinct() {
    // They seed the inputs.
    let mut seen = HashSet::new();
    for case in ops::all_cases() {
        assert!(seen.insert(case.name()), "two cases are called {}", case.name());
    }
}

/// Which checks the table asks for on a CPU device.
fn table() -> Report {
    let subject = Subject::cpu(belamy_cpu::oracle());
    let mut report = Report::default();
    for case in ops::all_cases() {
        for mode in Mode::ALL {
            for _ in 0..planned(&case, &subject, mode) {
                report.record(case.op, mode, Ok(0.0));
            }
        }
    }
    report
}

#[test]
fn no_check_is_lost() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("checks.txt");
    let now = table().to_string();
    if std::env::var_os("BELAMY_BLESS").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let before = std::fs::read_to_string(&path).unwrap();
    let advice = "the number of checks changed; if that is meant, run with BELAMY_BLESS=1 and commit tests/checks.txt";
    for (before, now) in before.lines().zip(now.lines()) {
        assert_eq!(before, now, "{advice}");
    }
    assert_eq!(before, now, "{advice}");
}

#[test]
fn every_differentiable_op_has_every_kind_of_gradient_check() {
    let report = table();
    let differentiable: HashSet<&str> = ops::all_cases()
        .iter()
        .filter(|case| case.is_differentiable())
        .map(|case| case.op)
        .collect();
    for op in differentiable {
        for mode in [Mode::ParityGradient, Mode::Gradient, Mode::SecondGradient, Mode::Reused] {
            assert!(report.made(op, mode) > 0, "{op} is never checked by {}", mode.name());
        }
    }
}

#[test]
fn every_linear_op_has_an_adjoint_check() {
    // What the op's own file calls linear, bilinear or trilinear.
    let report = table();
    for op in [
        "neg",
        "mul",
        "mul_scalar",
        "sum",
        "mean",
        "pick",
        "place",
        "reshape",
        "permute",
        "broadcast",
        "matmul",
        "conv2d",
        "conv2d_grad_input",
        "conv2d_grad_weight",
        "conv_transpose2d",
        "avg_pool2d",
        "avg_pool2d_spread",
        "max_pool2d_pick",
        "max_pool2d_place",
        "resize_nearest",
        "resize_nearest_fold",
        "resize_bilinear",
        "resize_bilinear_fold",
        "pad",
        "crop",
        "slice",
        "reflect_pad",
        "reflect_pad_fold",
        "pixel_shuffle",
        "pixel_unshuffle",
        "gather_rows",
        "scatter_add_rows",
        "dropout",
    ] {
        assert!(report.made(op, Mode::Adjoint) > 0, "{op} has no adjoint check");
    }
}

#[test]
fn what_is_required_is_present() {
    let present = require::present();
    let _ = writeln!(std::io::stdout().lock(), "\npresent: {}", present.join(", "));
    for absent in ["webgpu", "cuda", "data"] {
        if !present.iter().any(|name| name == absent) {
            let _ = writeln!(
                std::io::stdout().lock(),
                "skipped: everything on {absent}, which is absent"
            );
        }
    }
    let required = std::env::var("BELAMY_REQUIRE").unwrap_or_default();
    let missing = require::missing(&required, &present);
    assert!(missing.is_empty(), "BELAMY_REQUIRE names {missing:?}, which are absent");
}

#[test]
fn a_missing_requirement_is_named() {
    let present = ["cpu".to_string(), "data".to_string()];
    assert_eq!(require::missing("cpu,data", &present), Vec::<String>::new());
    assert_eq!(require::missing("", &present), Vec::<String>::new());
    assert_eq!(require::missing(" cpu , avx1024,webgpu", &present), ["avx1024"]);
}

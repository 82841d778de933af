//! The judge judged: the kernels' texts with a slip in one line, run on the processor, which the case table must
//! reject.
//!
//! By default the first few of each file are judged; `BELAMY_MUTANTS=norm.cu,tile.cu` judges more of some, and
//! `BELAMY_MUTANTS=all` those that the table `tests/mutants.md` is of, and compares it.

#[path = "common/products.rs"]
mod products;

use belamy_cuda::Cuda;
use belamy_cuda::shim::{self, Replaced};
use belamy_cuda::source::SOURCES;
use belamy_tensor::{DType, Device};
use belamy_tests::answers::Answers;
use belamy_tests::mutants::texts::children::{self, Outcome, all_are_asked, judge_all};
use belamy_tests::mutants::texts::{Language, TextMutant, table};
use belamy_tests::ops::{cases_of, conv2d, matmul};
use belamy_tests::plan::Subject;
use belamy_tests::{Case, Mode, ops};
use products::{large_cases, tensor_cases, tensor_cores};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

fn say(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Every file, with its text.
fn files() -> BTreeMap<&'static str, &'static str> {
    SOURCES.iter().flat_map(|source| source.parts.iter().copied()).collect()
}

/// The families whose cases judge a file. What families share is judged by those that use all of it.
fn judges(file: &str) -> Vec<&str> {
    match file {
        "common.cu" => vec!["reduce", "loss", "pointwise", "view", "conv2d"],
        "tile.cu" => vec!["matmul", "conv2d"],
        "tensor_tile.cu" => vec!["matmul"],
        "warpgroup_tile.cu" => vec!["conv2d"],
        "philox.cu" => vec!["random"],
        "lists.cu" => vec!["finite", "optimizer"],
        own => vec![own.trim_end_matches(".cu")],
    }
}

/// The cases that judge a file: its families' own, then shapes drawn at random for those that are products.
fn cases(families: &[&str]) -> Vec<Case> {
    let mut cases = cases_of(families);
    if families.contains(&"matmul") {
        cases.extend(matmul::sampled(2, 24));
    }
    if families.contains(&"conv2d") {
        cases.extend(conv2d::sampled(2, 24));
    }
    cases
}

/// Products in the tiles that small ones do not reach, light ones first, each with the devices that judge it: of so many
/// terms gradients are not told from rounding, so that outputs alone are compared.
fn products_in_large_tiles(families: &[&str], cuda: &Cuda) -> Vec<(Case, Vec<Subject>)> {
    let cores_of = |case: &Case| {
        // Warpgroups take convolutions alone: a matrix product's plan is the same with them and without.
        let cores = tensor_cores(cuda).into_iter();
        let cores = cores.filter(|(name, ..)| case.op != "matmul" || !name.contains("warpgroups"));
        cores.map(|(_, cuda, _)| subject(&cuda)).collect()
    };
    let plain = large_cases().into_iter().map(|case| (case, vec![subject(cuda)]));
    let in_cores = tensor_cases().into_iter().map(|case| {
        let subjects = cores_of(&case);
        (case, subjects)
    });
    let family = |case: &Case| if case.op == "matmul" { "matmul" } else { "conv2d" };
    let mut cases: Vec<(Case, Vec<Subject>)> = plain.chain(in_cores).collect();
    cases.retain(|(case, _)| {
        // The largest convolutions, of 34 by 34 pixels, would take longer than a child may be silent.
        families.contains(&family(case)) && !case.variant.contains("34, 132")
    });
    cases.sort_by_key(|(case, _)| case.weight());
    cases
}

fn subject(cuda: &Cuda) -> Subject {
    Subject { device: Device::new(cuda.clone()), dtypes: vec![DType::F32], threaded: false }
}

/// What of those products rejects a text.
fn judge_in_large_tiles(families: &[&str], cuda: &Cuda) -> Outcome {
    let (oracle, modes) = (belamy_cpu::oracle(), [Mode::Parity]);
    let of_case = |(case, subjects): (Case, Vec<Subject>)| {
        // One answer for all of its devices.
        let answers = Answers::new(&case, &oracle, &modes);
        let mut outcomes =
            subjects.iter().map(|subject| children::judge_one(subject, &modes, &answers));
        outcomes.find(|outcome| *outcome != Outcome::Survived)
    };
    let cases = products_in_large_tiles(families, cuda);
    cases.into_iter().find_map(of_case).unwrap_or(Outcome::Survived)
}

/// What rejects a text that has been compiled, if anything does. One that is no mutant has its own cases alone.
fn judge(file: &str, mutated: bool, cuda: &Cuda) -> Outcome {
    let families = judges(file);
    let judge = |cases| children::judge(&subject(cuda), &children::MODES, cases);
    let own = || judge(cases(&families));
    let large = || judge_in_large_tiles(&families, cuda);
    let others = || judge(ops::all_cases().into_iter().filter(|case| !case.large).collect());
    if !mutated {
        return own();
    }
    // What rejects most comes first: of tensor cores nothing runs in a family's own cases, which are of CUDA cores.
    let parts: [&dyn Fn() -> Outcome; 3] = match file {
        "tensor_tile.cu" | "warpgroup_tile.cu" => [&large, &own, &others],
        _ => [&own, &large, &others],
    };
    let mut outcomes = parts.iter().map(|part| part());
    outcomes.find(|outcome| *outcome != Outcome::Survived).unwrap_or(Outcome::Survived)
}

#[test]
fn mutants_of_the_cuda_kernels_are_rejected() {
    if !shim::present() {
        let required = std::env::var("BELAMY_REQUIRE").unwrap_or_default();
        assert!(!required.split(',').any(|name| name.trim() == "cxx"), "there is no C++ compiler");
        return say(
            "skipped: mutants_of_the_cuda_kernels_are_rejected (cxx: there is no C++ compiler)",
        );
    }
    let files = files().into_iter().map(|(file, text)| (file.to_string(), text.to_string()));
    // What one of them reads beyond a tensor's end is not used; it ends the process or does not, as memory lies.
    let by_chance = |mutant: &TextMutant| mutant.after.contains("column < columns || row_0");
    let run = judge_all(Language::Cuda, files.collect(), by_chance);
    say(&table::lines(&run.judged));
    let complaints = table::complaints(&run, ".cu", all_are_asked());
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    if all_are_asked() {
        table::agrees(&table::section("CUDA C++", &run.judged))
            .unwrap_or_else(|why| panic!("{why}"));
    }
}

#[test]
#[ignore = "one mutant in a process of its own: the test above begins it"]
fn one_mutant() {
    let files = files();
    let text_of = |file: &str| files.get(file).map(|text| text.to_string());
    let Some((file, mutant)) = children::asked(Language::Cuda, text_of) else { return };
    let mutated = mutant.is_some();
    let text = mutant.map_or_else(|| files[file.as_str()].to_string(), |mutant| mutant.text);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let replaced = Replaced { file: file.clone(), text };
    // SAFETY: this process does nothing else.
    let opened = unsafe { shim::open_with(folder, replaced, &judges(&file)) };
    let outcome = match opened {
        Err(message) => Outcome::Invalid(message),
        Ok(cuda) => judge(&file, mutated, &cuda),
    };
    children::answer(&outcome);
}

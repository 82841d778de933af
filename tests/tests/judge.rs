//! The judge judged: wrong arrays and wrong kernels, all of which must be rejected.

use belamy_tensor::kernel::KernelId;
use belamy_tensor::{DType, Shape};
use belamy_tests::compare::{Mismatch, compare};
use belamy_tests::mutants::texts::table;
use belamy_tests::mutants::{Mutant, seeded, systematic};
use belamy_tests::plan::{Subject, first_failure};
use belamy_tests::values::Numbers;
use belamy_tests::{Case, Mode, ops, trace};
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::io::Write;

/// A comparison at a bound of a millionth.
fn judged(got: &[f64], want: &[f64], shape: [usize; 2]) -> Result<(), Mismatch> {
    compare(got, Shape::from(shape), want, Shape::from(shape), |_| 1e-6).map(|_| ())
}

#[test]
fn the_comparator_rejects_wrong_arrays() {
    let want = Numbers::new("the comparator", "inputs").normals(35);
    assert_eq!(judged(&want, &want, [5, 7]), Ok(()));
    let changed = |change: &dyn Fn(&mut Vec<f64>)| {
        let mut got = want.clone();
        change(&mut got);
        got
    };
    let transposed: Vec<f64> = (0..35).map(|i| want[i % 5 * 7 + i / 5]).collect();
    let wrong = [
        ("zeros", vec![0.0; 35]),
        ("NaN", vec![f64::NAN; 35]),
        ("one NaN", changed(&|got| got[17] = f64::NAN)),
        ("one infinity", changed(&|got| got[34] = f64::INFINITY)),
        ("shifted by one", changed(&|got| got.rotate_right(1))),
        ("shifted by a row", changed(&|got| got.rotate_right(7))),
        ("transposed", transposed),
        ("reversed", changed(&|got| got.reverse())),
        ("one element wrong", changed(&|got| got[20] += 1e-3)),
        ("last element not written", changed(&|got| got[34] = 0.0)),
        ("last row not written", changed(&|got| got[28..].fill(0.0))),
        (
            "last column not written",
            changed(&|got| got.iter_mut().skip(6).step_by(7).for_each(|x| *x = 0.0)),
        ),
        ("scaled by 1.00001", changed(&|got| got.iter_mut().for_each(|x| *x *= 1.00001))),
        ("offset", changed(&|got| got.iter_mut().for_each(|x| *x += 1e-5))),
        ("negated", changed(&|got| got.iter_mut().for_each(|x| *x = -*x))),
        ("absolute", changed(&|got| got.iter_mut().for_each(|x| *x = x.abs()))),
    ];
    for (name, got) in wrong {
        assert!(judged(&got, &want, [5, 7]).is_err(), "{name} passed");
    }
}

#[test]
fn the_comparator_rejects_wrong_shapes_and_empty_claims() {
    let want = Numbers::new("the comparator", "shapes").normals(12);
    let shape = |dims: [usize; 2]| Shape::from(dims);
    let bound = |_: usize| 1e-6;
    assert!(matches!(
        compare(&want, shape([3, 4]), &want, shape([4, 3]), bound),
        Err(Mismatch::Shape { .. })
    ));
    assert!(compare(&want[..11], shape([3, 4]), &want, shape([3, 4]), bound).is_err());
    // A bound larger than the data would let zeros pass: refused, even for equal arrays.
    assert!(matches!(
        compare(&want, shape([3, 4]), &want, shape([3, 4]), |_| 1.0),
        Err(Mismatch::Meaningless { .. })
    ));
    // A bound that is no number admits nothing.
    let got: Vec<f64> = want.iter().map(|x| x + 1e-9).collect();
    assert!(compare(&got, shape([3, 4]), &want, shape([3, 4]), |_| f64::NAN).is_err());
    // NaN is never right, wanted or not.
    let nan = vec![f64::NAN; 12];
    assert!(compare(&nan, shape([3, 4]), &nan, shape([3, 4]), bound).is_err());
}

/// The ways of checking that do not ask another device.
const BY_ITSELF: [(&str, &[Mode]); 3] = [
    ("differences", &[Mode::Gradient, Mode::SecondGradient]),
    ("adjoint", &[Mode::Adjoint]),
    ("definition", &[Mode::Reference]),
];

/// What catches a mutant: for each way of checking the first failure, if any.
struct Verdict {
    mutant: Mutant,
    caught: Vec<(&'static str, String)>,
}

/// The small cases that launch each kernel, and the large ones.
fn cases_by_kernel(cases: &[Case]) -> HashMap<KernelId, Vec<&Case>> {
    let traced: Vec<(&Case, HashSet<KernelId>)> =
        cases.par_iter().map(|case| (case, trace::kernels(case))).collect();
    let mut by_kernel: HashMap<KernelId, Vec<&Case>> = HashMap::new();
    for (case, kernels) in traced {
        kernels.into_iter().for_each(|kernel| by_kernel.entry(kernel).or_default().push(case));
    }
    // Cases of the kernel's own op first, small before large.
    for (kernel, cases) in &mut by_kernel {
        cases.sort_by_key(|case| (case.large, !case.op.starts_with(kernel.name())));
    }
    by_kernel
}

fn judge(mutant: Mutant, cases: &[&Case], thorough: bool) -> Verdict {
    let device = mutant.device();
    let subject = Subject { device, dtypes: vec![DType::F64, DType::F32], threaded: false };
    let oracle = belamy_cpu::oracle();
    let mut caught = Vec::new();
    let parity = [Mode::Parity, Mode::ParityGradient, Mode::Twice];
    if let Some(line) = first_failure(cases, &subject, &oracle, &parity) {
        caught.push(("parity", line));
    }
    if thorough {
        let small: Vec<&Case> = cases.iter().copied().filter(|case| !case.large).collect();
        for (way, modes) in BY_ITSELF {
            if let Some(line) = first_failure(&small, &subject, &oracle, modes) {
                caught.push((way, line));
            }
        }
    }
    Verdict { mutant, caught }
}

fn judge_all(mutants: Vec<Mutant>, thorough: bool) -> Vec<Verdict> {
    let cases = ops::all_cases();
    let by_kernel = cases_by_kernel(&cases);
    let none = Vec::new();
    mutants
        .into_par_iter()
        .map(|mutant| {
            let cases = by_kernel.get(&mutant.kernel).unwrap_or(&none);
            judge(mutant, cases, thorough)
        })
        .collect()
}

fn publish(verdicts: &[Verdict]) {
    let mut out = std::io::stdout().lock();
    for Verdict { mutant, caught } in verdicts {
        let ways: Vec<&str> = caught.iter().map(|(way, _)| *way).collect();
        let first = caught.first().map_or("NOT REJECTED", |(_, line)| line.as_str());
        let _ = writeln!(out, "{:<75} {:<42} {first}", mutant.name, ways.join(" "));
    }
}

fn assert_rejected(verdicts: &[Verdict]) {
    let survivors: Vec<&str> = verdicts
        .iter()
        .filter(|verdict| verdict.caught.is_empty())
        .map(|verdict| verdict.mutant.name.as_str())
        .collect();
    assert!(survivors.is_empty(), "{} mutants survive:\n{}", survivors.len(), survivors.join("\n"));
    // A fault that panics is seen by any harness; these must compute something wrong.
    let panicked = verdicts.iter().flat_map(|verdict| &verdict.caught);
    let panicked: Vec<&str> =
        panicked.map(|(_, line)| line.as_str()).filter(|line| line.ends_with("panicked")).collect();
    assert!(panicked.is_empty(), "mutants must compute, not panic:\n{}", panicked.join("\n"));
}

/// The section of `mutants.md`: how many faults each family has, and how many of them each way of checking rejects.
fn section(verdicts: &[Verdict]) -> String {
    let ways = ["parity", "differences", "adjoint", "definition"];
    let mut rows: BTreeMap<&str, [usize; 5]> = BTreeMap::new();
    for Verdict { mutant, caught } in verdicts {
        for row in [mutant.kernel.family(), "**all**"] {
            let row = rows.entry(row).or_default();
            row[0] += 1;
            for (way, count) in ways.iter().zip(&mut row[1..]) {
                *count += usize::from(caught.iter().any(|(caught, _)| caught == way));
            }
        }
    }
    let all = rows.remove_entry("**all**");
    let mut text = format!("## Rust\n\n| family | mutants | {} | equivalent |", ways.join(" | "));
    text.push_str("\n|---|---|---|---|---|---|---|\n");
    for (family, counts) in rows.into_iter().chain(all) {
        let counts = counts.map(|count| count.to_string());
        let _ = writeln!(text, "| {family} | {} | 0 |", counts.join(" | "));
    }
    text
}

/// All languages together; the sections are compared where their mutants are judged.
#[test]
fn the_table_has_three_hundred_rejected_mutants() {
    let (mutants, equivalent) = table::recorded().unwrap_or_else(|why| panic!("{why}"));
    let rejected = mutants - equivalent;
    let _ = writeln!(
        std::io::stdout().lock(),
        "{rejected} of {mutants} mutants rejected, {equivalent} compute the same: tests/mutants.md"
    );
    assert!(rejected >= 300, "{rejected} mutants are rejected");
    assert!(equivalent * 5 <= mutants, "{equivalent} of {mutants} mutants compute the same");
}

#[test]
fn every_seeded_wrong_kernel_is_rejected() {
    let verdicts = judge_all(seeded(), true);
    publish(&verdicts);
    let names: HashSet<&str> =
        verdicts.iter().map(|verdict| verdict.mutant.name.as_str()).collect();
    assert_eq!(names.len(), verdicts.len(), "names are distinct");
    assert!(names.len() >= 120, "{} mutants", names.len());
    let kernels: HashSet<KernelId> = verdicts.iter().map(|verdict| verdict.mutant.kernel).collect();
    let without: Vec<&str> = KernelId::ALL
        .iter()
        .filter(|kernel| !kernels.contains(kernel))
        .map(|kernel| kernel.name())
        .collect();
    assert!(without.is_empty(), "no mutants of {without:?}");
    assert_rejected(&verdicts);
    // No single way of checking carries the table: most wrong kernels are seen without asking the oracle too.
    let alone =
        verdicts.iter().filter(|verdict| verdict.caught.iter().any(|(way, _)| *way != "parity"));
    let alone = alone.count();
    let _ = writeln!(
        std::io::stdout().lock(),
        "{} of {} wrong kernels rejected, {alone} of them without the oracle",
        verdicts.len(),
        verdicts.len()
    );
    assert!(alone * 10 >= verdicts.len() * 8, "{alone} of {}", verdicts.len());
    table::agrees(&section(&verdicts)).unwrap_or_else(|why| panic!("{why}"));
}

#[test]
fn every_kernel_is_rejected_with_every_systematic_fault() {
    let verdicts = judge_all(systematic(), false);
    assert_eq!(verdicts.len(), 6 * KernelId::ALL.len());
    assert_rejected(&verdicts);
}

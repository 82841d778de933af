//! Every case of both judges on one device.

use super::archive::Archive;
use super::problem::Problem;
use super::pytorch::{Operator, Outcome, Sample, Tolerance, Verdict};
use super::tally::{Fate, Tally};
use super::{different, onnx, pytorch};
use belamy_tensor::{DType, Device};
use belamy_tests::trace::traced;

/// A few roundings of either type.
const FINE: Tolerance = Tolerance { relative: 1e-14, absolute: 2e-15 };
const COARSE: Tolerance = Tolerance { relative: 4e-6, absolute: 1e-6 };
/// Of the largest number of ONNX's results, which are rounded to f32 whatever we compute in.
const GRAPH: [f64; 2] = [1e-6, 4e-6];

/// A device, a type, and how near to the judge it must be.
pub(crate) struct Bench {
    pub(crate) name: &'static str,
    pub(crate) device: Device,
    pub(crate) dtype: DType,
    tolerance: Tolerance,
    graph_tolerance: f64,
}

impl Bench {
    pub(crate) fn new(name: &'static str, device: Device, dtype: DType) -> Bench {
        let fine = dtype == DType::F64;
        let tolerance = if fine { FINE } else { COARSE };
        Bench { name, device, dtype, tolerance, graph_tolerance: GRAPH[usize::from(!fine)] }
    }

    /// The oracle in f64.
    pub(crate) fn oracle() -> Bench {
        Bench::new("oracle, f64", belamy_cpu::poisoned(false), DType::F64)
    }

    /// A sample's comparisons here.
    pub(crate) fn check(
        &self,
        sample: &Sample,
        mapping: pytorch::Mapping,
    ) -> super::problem::Mapped<Vec<Outcome>> {
        sample.check(mapping, self.dtype, &self.device, self.tolerance)
    }

    /// What comes of a graph here.
    pub(crate) fn run(&self, archive: &Archive, case: &onnx::Case) -> Fate {
        match case.check(archive, self.dtype, &self.device, self.graph_tolerance) {
            Ok(Ok(share)) => Fate::Passed { share, order: 0, lost: 0 },
            Ok(Err(mismatch)) => Fate::Failed(mismatch.to_string()),
            Err(Problem::LeftOut(reason)) => Fate::LeftOut(reason.to_string()),
            Err(Problem::Refused(error)) => Fate::Failed(format!("refused: {error:?}")),
        }
    }
}

/// PyTorch's samples, which must be there.
pub(crate) fn samples() -> Vec<Operator> {
    let read = Archive::open("pytorch").and_then(|archive| pytorch::read(&archive));
    read.unwrap_or_else(|why| panic!("{why}"))
}

/// ONNX's tests.
pub(crate) struct Graphs {
    pub(crate) archive: Archive,
    pub(crate) cases: Vec<onnx::Case>,
    pub(crate) left_out: Vec<onnx::LeftOut>,
}

/// ONNX's tests, which must be there.
pub(crate) fn graphs() -> Graphs {
    let archive = Archive::open("onnx").unwrap_or_else(|why| panic!("{why}"));
    let (cases, left_out) = onnx::read(&archive).unwrap_or_else(|why| panic!("{why}"));
    Graphs { archive, cases, left_out }
}

/// What a sample's comparisons come to.
fn fate(sample: &Sample, bench: &Bench, outcomes: Vec<Outcome>) -> Fate {
    let listed = different::SAMPLES
        .iter()
        .find(|(name, _, on, _)| sample.name.starts_with(name) && on.contains(&bench.name));
    let (mut share, mut order, mut lost, mut differs) = (0.0f64, 0, 0, false);
    for (part, verdict) in outcomes {
        order = order.max(part as usize);
        match verdict {
            Verdict::Within(one) => share = share.max(one),
            Verdict::Lost => lost += 1,
            Verdict::Wrong(_) if listed.is_some_and(|(_, from, ..)| part >= *from) => {
                differs = true
            }
            Verdict::Wrong(mismatch) => return Fate::Failed(format!("{part:?}: {mismatch}")),
        }
    }
    match listed {
        Some((_, _, _, reason)) if differs => Fate::LeftOut((*reason).to_string()),
        // On other adapters than the list's it may well agree.
        Some(_) if bench.dtype == DType::F64 => {
            Fate::Failed("agrees: take it off the list in different.rs".into())
        }
        _ => Fate::Passed { share, order, lost },
    }
}

/// Every sample of PyTorch.
pub(crate) fn samples_on(operators: &[Operator], bench: &Bench) -> Tally {
    let mut tally = Tally::default();
    for operator in operators {
        for (reason, count) in &operator.left_out {
            if !reason.starts_with(REFUSAL) {
                (0..*count)
                    .for_each(|_| tally.count(&operator.name, "", Fate::LeftOut(reason.clone())));
            }
        }
        let mapping = pytorch::mapping(&operator.name);
        for sample in &operator.samples {
            let fate = match mapping.map(|mapping| bench.check(sample, mapping)) {
                None => Fate::Failed("no mapping".into()),
                Some(Ok(outcomes)) => fate(sample, bench, outcomes),
                Some(Err(Problem::LeftOut(reason))) => Fate::LeftOut(reason.to_string()),
                Some(Err(Problem::Refused(error))) => Fate::Failed(format!("refused: {error:?}")),
            };
            tally.count(&operator.name, &sample.name, fate);
        }
    }
    tally
}

/// How the script's reasons for leaving out a refusal begin.
const REFUSAL: &str = "refusal: ";

/// Every call that PyTorch refuses: an op of ours must refuse it too, with a typed error.
pub(crate) fn refusals_on(operators: &[Operator], bench: &Bench) -> Tally {
    let mut tally = Tally::default();
    for operator in operators {
        for (reason, count) in &operator.left_out {
            let Some(reason) = reason.strip_prefix(REFUSAL) else { continue };
            (0..*count)
                .for_each(|_| tally.count(&operator.name, "", Fate::LeftOut(reason.to_string())));
        }
        let Some(mapping) = pytorch::mapping(&operator.name) else { continue };
        for refusal in &operator.refusals {
            let listed = different::ACCEPTED.iter().find(|(name, _)| refusal.name == *name);
            let fate = match (refusal.outputs(mapping, bench.dtype, &bench.device), listed) {
                (Ok(_), Some((_, reason))) => Fate::LeftOut((*reason).to_string()),
                (Ok(_), None) => Fate::Failed("accepted".into()),
                (Err(_), Some(_)) => {
                    Fate::Failed("refused: take it off the list in different.rs".into())
                }
                (Err(Problem::LeftOut(reason)), None) => Fate::LeftOut(reason.to_string()),
                (Err(Problem::Refused(_)), None) => Fate::Passed { share: 0.0, order: 0, lost: 0 },
            };
            tally.count(&operator.name, &refusal.name, fate);
        }
    }
    tally
}

/// Every test of ONNX, counted by operator and by set. Of graphs of many operators the set is the name.
pub(crate) fn graphs_on(
    archive: &Archive,
    cases: &[onnx::Case],
    left_out: &[onnx::LeftOut],
    bench: &Bench,
) -> [Tally; 2] {
    let (mut by_operator, mut by_set) = (Tally::default(), Tally::default());
    let mut count = |operators: &str, set: &str, name: &str, fate: Fate| {
        let key = if operators.contains('+') { set } else { operators };
        by_operator.count(key, name, fate.clone());
        by_set.count(set, name, fate);
    };
    for (reason, set, operators) in left_out {
        count(operators, set, "", Fate::LeftOut(reason.clone()));
    }
    for case in cases {
        let listed = different::GRAPHS.iter().find(|(name, _)| case.name == *name);
        let fate = match (bench.run(archive, case), listed) {
            (Fate::Failed(_), Some((_, reason))) => Fate::LeftOut((*reason).to_string()),
            (Fate::Passed { .. }, Some(_)) => {
                Fate::Failed("agrees: take it off the list in different.rs".into())
            }
            (fate, _) => fate,
        };
        count(&case.operators(), &case.set, &case.name, fate);
    }
    [by_operator, by_set]
}

/// How many samples and tests that pass launch no kernel: they only look at their tensors under other extents, or have
/// none but empty ones.
pub(crate) fn without_kernels(operators: &[Operator], graphs: &Graphs) -> [usize; 2] {
    let launches = |passes: &dyn Fn(&Bench) -> bool| {
        let (device, seen) = traced();
        passes(&Bench::new("oracle, f64", device, DType::F64)) && seen.kernels().is_empty()
    };
    let samples = operators.iter().filter_map(|operator| {
        let mapping = pytorch::mapping(&operator.name)?;
        let none = operator
            .samples
            .iter()
            .filter(|sample| launches(&|bench| bench.check(sample, mapping).is_ok()));
        Some(none.count())
    });
    let passes = |case: &onnx::Case, bench: &Bench| {
        matches!(bench.run(&graphs.archive, case), Fate::Passed { .. })
    };
    let tests = graphs.cases.iter().filter(|case| launches(&|bench| passes(case, bench)));
    [samples.sum(), tests.count()]
}

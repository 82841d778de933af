//! That the judges can fail: numbers a little wrong, another operator in an operator's place, and the kernels made wrong
//! on purpose that the case table is judged by.

use super::archive::Array;
use super::pytorch::{self, Mapping, Operator, Part, Sample, Verdict};
use super::replay::{Bench, Graphs, graphs, samples};
use super::tally::Fate;
use super::{different, say};
use belamy_tensor::DType;
use belamy_tensor::kernel::KernelId;
use belamy_tests::mutants::{Mutant, seeded};
use belamy_tests::trace::traced;
use rayon::prelude::*;
use std::collections::HashSet;

fn is_wrong(bench: &Bench, sample: &Sample, mapping: Mapping) -> bool {
    let outcomes = bench.check(sample, mapping);
    outcomes.is_ok_and(|all| all.iter().any(|(_, verdict)| matches!(verdict, Verdict::Wrong(_))))
}

/// The first sample of each operator that passes and has numbers.
fn telling(operators: &[Operator], bench: &Bench) -> Vec<(Sample, Mapping)> {
    let full = |array: &Array| array.values.iter().any(|value| value.abs() > 1e-3);
    let telling = |operator: &Operator| {
        let mapping = pytorch::mapping(&operator.name)?;
        let passes = |sample: &&Sample| {
            sample.outputs.iter().any(full)
                && bench.check(sample, mapping).is_ok()
                && !is_wrong(bench, sample, mapping)
        };
        Some((operator.samples.iter().find(passes)?.clone(), mapping))
    };
    operators.iter().filter_map(telling).collect()
}

#[test]
fn one_number_that_is_a_little_wrong_is_seen() {
    let (operators, bench) = (samples(), Bench::oracle());
    let mut seen = 0;
    for (sample, mapping) in telling(&operators, &bench) {
        for part in [Part::Output, Part::Gradient, Part::Second] {
            let Some(wrong) = sample.with_one_number_wrong(part, 1e-9) else { continue };
            let outcomes = bench.check(&wrong, mapping).unwrap_or_default();
            let caught = |(other, verdict): &pytorch::Outcome| {
                *other == part && matches!(verdict, Verdict::Wrong(_))
            };
            assert!(outcomes.iter().any(caught), "{} passes with a wrong {part:?}", sample.name);
            seen += 1;
        }
    }
    say(&format!("{seen} numbers of PyTorch's wrong by 1e-9 of the largest are seen"));
    assert!(seen >= 450, "{seen}");
    let Graphs { archive, cases, .. } = graphs();
    let mut seen = 0;
    for case in &cases {
        let passes = matches!(bench.run(&archive, case), Fate::Passed { .. });
        let Some(wrong) = case.with_one_number_wrong(1e-4).filter(|_| passes) else { continue };
        assert!(
            matches!(bench.run(&archive, &wrong), Fate::Failed(_)),
            "{} passes with a wrong number",
            case.name
        );
        seen += 1;
    }
    say(&format!("{seen} numbers of ONNX's wrong by 1e-4 of the largest are seen"));
    assert!(seen >= 750, "{seen}");
}

/// Operators of PyTorch whose samples another one's mapping must not pass.
const IMPOSTORS: [(&str, &str); 20] = [
    ("sin", "cos"),
    ("tanh", "sigmoid"),
    ("maximum", "minimum"),
    ("sub", "add"),
    ("gt", "lt"),
    ("sum", "mean"),
    ("amax", "amin"),
    ("var", "std"),
    ("softmax", "log_softmax"),
    ("matmul", "__rmatmul__"),
    ("nn.functional.relu", "nn.functional.leaky_relu"),
    ("nn.functional.avg_pool2d", "nn.functional.max_pool2d"),
    ("nn.functional.max_pool2d", "nn.functional.avg_pool2d"),
    ("nn.functional.interpolate.bilinear", "nn.functional.interpolate.nearest"),
    ("nn.functional.upsample_bilinear", "nn.functional.interpolate.bilinear"),
    ("nn.functional.pad.reflect", "nn.functional.pad.replicate"),
    ("nn.functional.instance_norm", "nn.functional.batch_norm"),
    ("nn.functional.mse_loss", "nn.functional.l1_loss"),
    ("nn.functional.huber_loss", "nn.functional.smooth_l1_loss"),
    ("vstack", "hstack"),
];

/// The same of ONNX.
const ONNX_IMPOSTORS: [(&str, &str); 16] = [
    ("Sin", "Cos"),
    ("Tanh", "Sigmoid"),
    ("Max", "Min"),
    ("Sub", "Add"),
    ("Mul", "Div"),
    ("Greater", "Less"),
    ("GreaterOrEqual", "LessOrEqual"),
    ("ReduceSum", "ReduceMean"),
    ("ReduceMax", "ReduceMin"),
    ("ReduceL1", "ReduceL2"),
    ("ArgMax", "ArgMin"),
    ("Softmax", "LogSoftmax"),
    ("AveragePool", "MaxPool"),
    ("MaxPool", "LpPool"),
    ("DepthToSpace", "SpaceToDepth"),
    ("InstanceNormalization", "GlobalAveragePool"),
];

#[test]
fn another_operator_in_its_place_is_seen() {
    let (operators, bench) = (samples(), Bench::oracle());
    for (name, impostor) in IMPOSTORS {
        let operator = operators.iter().find(|operator| operator.name == name).expect(name);
        let mapping = pytorch::mapping(impostor).expect(impostor);
        let wrong =
            operator.samples.iter().filter(|sample| is_wrong(&bench, sample, mapping)).count();
        assert!(
            wrong * 4 >= operator.samples.len(),
            "{impostor} passes for {name}: {wrong} samples differ"
        );
    }
    let Graphs { archive, cases, .. } = graphs();
    for (name, impostor) in ONNX_IMPOSTORS {
        let of_name: Vec<_> = cases.iter().filter(|case| case.operators() == name).collect();
        let failed = of_name.iter().filter(|case| {
            matches!(bench.run(&archive, &case.with_operator(impostor)), Fate::Failed(_))
        });
        let failed = failed.count();
        assert!(
            failed * 2 >= of_name.len().max(1),
            "{impostor} passes for {name}: {failed} tests differ"
        );
    }
}

#[test]
fn kernels_made_wrong_are_seen() {
    let operators = samples();
    // Each operator that is mapped, and the kernels that its samples launch on their way to second derivatives.
    let mapped: Vec<(&Operator, Mapping, HashSet<KernelId>)> = operators
        .par_iter()
        .filter_map(|operator| {
            let mapping = pytorch::mapping(&operator.name)?;
            let (device, seen) = traced();
            let bench = Bench::new("oracle, f64", device, DType::F64);
            operator.samples.iter().for_each(|sample| {
                let _ = bench.check(sample, mapping);
            });
            Some((operator, mapping, seen.kernels()))
        })
        .collect();
    let launched =
        |mutant: &Mutant| mapped.iter().any(|(_, _, kernels)| kernels.contains(&mutant.kernel));
    let mutants: Vec<Mutant> = seeded().into_iter().filter(launched).collect();
    let survives = |mutant: &&Mutant| {
        let bench = Bench::new("oracle, f64", mutant.device(), DType::F64);
        !mapped.iter().filter(|(_, _, kernels)| kernels.contains(&mutant.kernel)).any(
            |(operator, mapping, _)| {
                let mut compared =
                    operator.samples.iter().filter(|sample| !different::is_listed(&sample.name));
                compared.any(|sample| is_wrong(&bench, sample, *mapping))
            },
        )
    };
    let survivors: Vec<&str> =
        mutants.par_iter().filter(survives).map(|mutant| mutant.name.as_str()).collect();
    say(&format!(
        "PyTorch's samples reject {} of {} wrong kernels that they launch; not: {}",
        mutants.len() - survivors.len(),
        mutants.len(),
        survivors.join(", ")
    ));
    assert!(mutants.len() >= 120, "{}", mutants.len());
    assert!(survivors.len() * 6 <= mutants.len(), "{} survive", survivors.len());
}

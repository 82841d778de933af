//! Every op against PyTorch's numbers, in both types, on the oracle and on the fast paths.

use crate::{assert_clean, publish};
use belamy_tensor::DType;
use belamy_tests::compare::Mismatch;
use belamy_tests::{Mode, Report, golden};

/// Where Belamy means something else than PyTorch, and why. Each must differ: an agreement is a failure too.
const DIFFERENT: [(&str, &str); 1] = [(
    "pointwise/clamp_kink grad0",
    "at clamp's bounds PyTorch 2.15 has the derivative 0; Belamy and TensorFlow have 1",
)];

#[test]
fn every_golden_value_is_reproduced() {
    let cases = golden::read(&golden::folder()).unwrap();
    assert!(cases.len() >= 140, "{} golden cases", cases.len());
    let mut report = Report::default();
    for device in [belamy_cpu::poisoned(false), belamy_cpu::poisoned(true)] {
        for case in &cases {
            for dtype in [DType::F64, DType::F32] {
                match case.check(dtype, &device) {
                    Ok(outcomes) => {
                        for (what, outcome) in outcomes {
                            let different =
                                DIFFERENT.iter().find(|(name, _)| what.starts_with(name));
                            let outcome = match (outcome, different) {
                                (Err(Mismatch::Meaningless { .. }), None)
                                    if dtype == DType::F32 =>
                                {
                                    report
                                        .skip(&case.op, format!("{what} is lost to cancellation"));
                                    continue;
                                }
                                (Err(_), Some((_, reason))) => {
                                    report.skip(&case.op, format!("{what}: {reason}"));
                                    continue;
                                }
                                (Ok(_), Some(_)) => Err("agrees: take it off the list".to_string()),
                                (outcome, None) => outcome.map_err(|mismatch| mismatch.to_string()),
                            };
                            let line = |problem| format!("{what} on {}: {problem}", device.id());
                            report.record(&case.op, Mode::Golden, outcome.map_err(line));
                        }
                    }
                    Err(error) => {
                        let line = format!("{} refused: {error:?}", case.full_name());
                        report.record(&case.op, Mode::Golden, Err(line));
                    }
                }
            }
        }
    }
    publish("golden values from PyTorch", &report);
    assert_clean(&report);
    assert!(report.total() >= 2000, "{} golden checks", report.total());
}

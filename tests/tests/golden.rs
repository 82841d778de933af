//! Every op against PyTorch's numbers, in both types, on the oracle and on the fast paths.

use crate::{assert_clean, publish};
use belamy_tensor::DType;
use belamy_tests::{Mode, Report, golden};

#[test]
fn every_golden_value_is_reproduced() {
    let cases = golden::read(&golden::folder()).unwrap();
    assert!(cases.len() >= 150, "{} golden cases", cases.len());
    let mut report = Report::default();
    for device in [belamy_cpu::poisoned(false), belamy_cpu::poisoned(true)] {
        for case in &cases {
            for dtype in [DType::F64, DType::F32] {
                match case.check(dtype, &device) {
                    Ok(outcomes) => {
                        for (what, outcome) in outcomes {
                            let line = |mismatch| format!("{what} on {}: {mismatch}", device.id());
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
}

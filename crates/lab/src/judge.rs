//! In a process of its own: the case table on a device with somebody else's kernel.

use crate::stranger::{For, On, Refusal, open};
use crate::verdict::{Verdict, reached};
use belamy_tensor::kernel::KernelId;
use belamy_tensor::{DType, Device};
use belamy_tests::ops::cases_of;
use belamy_tests::plan::{Subject, first_failure, planned};
use belamy_tests::{Case, Mode, trace};
use std::path::Path;

/// How each case is checked: its result, the same again, its gradients.
const MODES: [Mode; 3] = [Mode::Parity, Mode::Twice, Mode::ParityGradient];
/// How often a check that failed is made again, to see whether it fails in the same way.
const AGAIN: usize = 8;

/// The cases that run a kernel: those of its family, small ones first.
///
/// ```
/// use belamy_tensor::kernel::KernelId;
/// assert!(!belamy_lab::judge::cases(KernelId::crop).is_empty());
/// ```
pub fn cases(kernel: KernelId) -> Vec<Case> {
    let mut cases = cases_of(&[kernel.family()]);
    cases.retain(|case| trace::kernels(case).contains(&kernel));
    cases
}

/// Judges the kernel of a file.
///
/// # Safety
///
/// As [`open`]: this process must be there for nothing else.
pub unsafe fn judge(path: &Path, kernel: KernelId, on: On) -> Verdict {
    let cases = cases(kernel);
    // SAFETY: the caller answers for it.
    let device = match unsafe { open(path, kernel, on, For::Checks) } {
        Ok(device) => device,
        Err(Refusal::Kernel(message)) => return Verdict::DoesNotCompile { message },
        Err(Refusal::Machine(message)) => return Verdict::NotJudged { message },
    };
    on_cases(&device, &cases)
}

/// The verdict of some cases.
fn on_cases(device: &Device, cases: &[Case]) -> Verdict {
    let subject = Subject { device: device.clone(), dtypes: vec![DType::F32], threaded: false };
    let oracle = belamy_cpu::oracle();
    let mut checks = 0;
    for (done, case) in cases.iter().enumerate() {
        reached(done, cases.len());
        for mode in MODES {
            let check = || first_failure(&[case], &subject, &oracle, &[mode]);
            let Some(message) = check() else {
                checks += planned(case, &subject, mode);
                continue;
            };
            if mode == Mode::Twice {
                return Verdict::Race { message };
            }
            // A fault of the device is there to stay.
            let is_of_the_device =
                message.contains("the op refused") || message.ends_with("panicked");
            let same = || check().as_deref() == Some(message.as_str());
            if !is_of_the_device && !(0..AGAIN).all(|_| same()) {
                return Verdict::Race { message };
            }
            return of(message);
        }
    }
    Verdict::Right { checks }
}

/// What a failure that is there each time says of the kernel.
fn of(message: String) -> Verdict {
    let is_beyond = ["was written before", "was written behind", "wrote outside"];
    if is_beyond.iter().any(|words| message.contains(words)) {
        return Verdict::OutOfBounds { message };
    }
    if message.contains("the op refused") || message.ends_with("panicked") {
        return Verdict::Refused { message };
    }
    if ["got NaN", "got inf", "got -inf"].iter().any(|words| message.contains(words)) {
        return Verdict::NotFinite { message };
    }
    Verdict::Wrong { message }
}

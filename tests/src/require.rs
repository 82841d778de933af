//! What must not be skipped: `BELAMY_REQUIRE=cpu,data,...` turns the absence of a thing into a failure.

use std::io::Write;
use std::path::Path;

/// What is on this machine, by the names that `BELAMY_REQUIRE` uses: the devices of this build, the processor's
/// instruction set, the data folder.
pub fn present() -> Vec<String> {
    let mut present = vec!["oracle".to_string(), "cpu".to_string()];
    let set = belamy_cpu::instruction_set();
    // Each set contains the ones before it.
    let sets = ["portable", "avx2", "avx512"];
    let reached = sets.iter().position(|name| *name == set).unwrap_or(0);
    present.extend(sets[..=reached].iter().map(|name| name.to_string()));
    if std::env::var_os("BELAMY_DATA").is_some_and(|folder| Path::new(&folder).is_dir()) {
        present.push("data".to_string());
    }
    if crate::golden::folder().is_dir() {
        present.push("golden".to_string());
    }
    present
}

/// What other crates' own tests look for, and fail without where it is required: an adapter, a GPU, NVRTC, a C++
/// compiler, ONNX Runtime, a Fortran compiler, valgrind, MPI.
const ELSEWHERE: [&str; 8] =
    ["webgpu", "cuda", "nvrtc", "cxx", "onnx", "fortran", "valgrind", "mpi"];

/// Says that a test is skipped for want of something, and why; fails where `BELAMY_REQUIRE` names it.
///
/// Straight to the stream: the harness hides what passing tests print.
pub fn skip(test: &str, what: &str, why: &str) {
    let required = std::env::var("BELAMY_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|name| name.trim() == what), "{test} wants {what}: {why}");
    let _ = writeln!(std::io::stderr(), "skipped: {test} ({what}: {why})");
}

/// Which of a comma-separated list are not among what is present, but for what other tests look after.
pub fn missing(required: &str, present: &[String]) -> Vec<String> {
    required
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty() && !ELSEWHERE.contains(name))
        .filter(|name| !present.iter().any(|there| there == name))
        .map(str::to_string)
        .collect()
}

//! The kernels through NVRTC, which needs no GPU: for each architecture, without a warning or a spilled register.

use belamy_cuda::compile;
use belamy_cuda::source::{SOURCES, Source};
use std::io::Write;
use std::path::Path;

/// What a compiler of version 13 and later is asked for; 13.x begins at sm_75.
const ARCHITECTURES: &[&str] = &["sm_75", "sm_80", "sm_90a", "sm_100"];
/// What a 12.x is asked for: the one that later versions have forgotten.
const OLDEST: &[&str] = &["sm_70"];
/// The compilers the kernels were tuned and measured with, where a spilled register is a failure. The largest tiles fill
/// their 128 registers, and another release places them a little differently: there a spill is said.
const TUNED_WITH: &[(usize, usize)] = &[(12, 9), (13, 2)];

fn say(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Whether NVRTC can be loaded; absence is a failure where `BELAMY_REQUIRE` names `nvrtc`.
fn can_compile(test: &str) -> bool {
    if compile::present() {
        return true;
    }
    let required = std::env::var("BELAMY_REQUIRE").unwrap_or_default();
    let required = required.split(',').any(|name| name.trim() == "nvrtc");
    assert!(!required, "libnvrtc is not on the library path");
    say(&format!("skipped: {test} (nvrtc: libnvrtc is not on the library path)"));
    false
}

/// What the assembler says of one kernel.
#[derive(Debug, Default, PartialEq)]
struct Usage {
    entry: String,
    registers: u32,
    spilled: u32,
}

fn number_before(line: &str, mark: &str) -> Option<u32> {
    line.split(mark).next()?.split_whitespace().last()?.parse().ok()
}

/// The kernels' usage, and every line that is something else.
fn usage(log: &str) -> (Vec<Usage>, Vec<String>) {
    let (mut kernels, mut rest): (Vec<Usage>, Vec<String>) = (Vec::new(), Vec::new());
    for line in log.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some((_, name)) = line.split_once("Compiling entry function '") {
            let entry = name.split('\'').next().unwrap_or_default().to_string();
            kernels.push(Usage { entry, ..Usage::default() });
        } else if line.contains("bytes spill stores") {
            let stores = number_before(line, " bytes spill stores").unwrap_or(u32::MAX);
            let loads = number_before(line, " bytes spill loads").unwrap_or(u32::MAX);
            if let Some(kernel) = kernels.last_mut() {
                kernel.spilled = stores.saturating_add(loads);
            }
        } else if let Some((_, used)) = line.split_once("Used ") {
            if let Some(kernel) = kernels.last_mut() {
                kernel.registers = number_before(used, " registers").unwrap_or(0);
            }
        } else if ![
            "bytes gmem",
            "Function properties for",
            "Compile time",
            "Architectures prior to",
        ]
        .iter()
        .any(|known| line.contains(known))
        {
            rest.push(line.to_string());
        }
    }
    (kernels, rest)
}

fn compile_for(source: &Source, target: &str) -> Result<Vec<Usage>, String> {
    let compiled = compile::compile(source, target, &["--ptxas-options=-v"])?;
    if !compiled.image.starts_with(b"\x7fELF") {
        return Err(format!("{} for {target}: no cubin", source.family));
    }
    let (kernels, rest) = usage(&compiled.log);
    if !rest.is_empty() {
        return Err(format!("{} for {target}: {}", source.family, rest.join("\n")));
    }
    let mut found: Vec<&str> = kernels.iter().map(|kernel| kernel.entry.as_str()).collect();
    let mut wanted = source.entries();
    found.sort_unstable();
    wanted.sort_unstable();
    if found != wanted {
        return Err(format!("{} for {target} has {found:?}, not {wanted:?}", source.family));
    }
    Ok(kernels)
}

#[test]
fn every_family_compiles_for_every_architecture() {
    if !can_compile("every_family_compiles_for_every_architecture") {
        return;
    }
    let (major, minor) = compile::version().unwrap();
    let targets = if major < 13 { OLDEST } else { ARCHITECTURES };
    let results: Vec<Result<Vec<(&Source, Usage)>, String>> = std::thread::scope(|scope| {
        let begin = |&target: &&'static str| {
            scope.spawn(move || {
                let mut used = Vec::new();
                for source in SOURCES {
                    used.extend(
                        compile_for(source, target)?.into_iter().map(|usage| (source, usage)),
                    );
                }
                Ok(used)
            })
        };
        let jobs: Vec<_> = targets.iter().map(begin).collect();
        jobs.into_iter().map(|job| job.join().unwrap()).collect()
    });
    say(&format!("NVRTC {major}.{minor}: registers of each kernel"));
    let (mut failures, mut spills) = (Vec::new(), Vec::new());
    for (target, result) in targets.iter().zip(results) {
        match result {
            Ok(used) => {
                for (source, Usage { entry, registers, spilled }) in used {
                    say(&format!("{target:8} {:10} {entry:28} {registers:4}", source.family));
                    if spilled > 0 {
                        spills.push(format!("{target}: {entry} spills {spilled} bytes"));
                    }
                }
            }
            Err(failure) => failures.push(failure),
        }
    }
    say(&format!("{} kernels spill\n{}", spills.len(), spills.join("\n")));
    if TUNED_WITH.contains(&(major as usize, minor as usize)) {
        failures.append(&mut spills);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_compilers_log_is_understood() {
    let log = "ptxas info    : 0 bytes gmem\n\
               ptxas info    : Compiling entry function 'sum_rows' for 'sm_80'\n\
               ptxas info    : Function properties for sum_rows\n\
               \x20   0 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads\n\
               ptxas info    : Used 25 registers, used 1 barriers, 32 bytes smem\n\
               sum.cu(3): warning #177-D: variable \"x\" was declared but never referenced\n";
    let (kernels, rest) = usage(log);
    assert_eq!(kernels, [Usage { entry: "sum_rows".into(), registers: 25, spilled: 20 }]);
    assert_eq!(rest.len(), 1);
}

#[test]
fn kernels_built_beforehand_are_whole_files() {
    if !can_compile("kernels_built_beforehand_are_whole_files") {
        return;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kernels");
    let _ = std::fs::remove_dir_all(&folder);
    // One light family stands for all, which the test above compiles.
    let built = compile::build_families(&["concat"], &["sm_80", "sm_90a"], &folder).unwrap();
    assert_eq!(built.len(), 2);
    for built in &built {
        assert!(std::fs::read(&built.path).unwrap().starts_with(b"\x7fELF"));
        assert_eq!(built.log, "");
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
    let refused = compile::build_families(&["concat"], &["sm_12"], &folder).unwrap_err();
    assert!(refused.contains("concat") && refused.contains("sm_12"), "{refused}");
}

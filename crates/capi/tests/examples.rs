//! The examples in C, C++ and Fortran: built against the library and the header, they train, and draw the very samples that
//! Belamy draws.

use belamy_gan::run::{self, noise_for};
use belamy_tests::require::skip;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the library lies: beside this test.
fn libraries() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().to_path_buf()
}

fn folder(name: &str) -> PathBuf {
    let path =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// Whether a program is on this machine.
fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

/// Builds an example, and returns the program.
fn built(compiler: &str, flags: &[&str], source: &str, folder: &Path) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = folder.join(source.replace('.', "-"));
    let done = Command::new(compiler)
        .args(flags)
        .arg(here.join("examples").join(source))
        .arg("-I")
        .arg(here.join("include"))
        .arg("-L")
        .arg(libraries())
        .args(["-lbelamy_c", "-lm", "-pthread", "-o"])
        .arg(&program)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    program
}

/// Runs a program that must succeed, and returns what it says.
fn run_it(command: &mut Command) -> String {
    let done = command.env("LD_LIBRARY_PATH", libraries()).output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn c_cpp_and_fortran_train_and_draw_the_samples_of_belamy() {
    if !has("cc") || !has("c++") {
        return skip("the examples in C and C++", "cxx", "there is no compiler");
    }
    const SAMPLES: usize = 300; // more than are made at once
    let folder = folder("examples");
    let run = folder.join("run");
    let strict = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];
    let train = built("cc", &strict, "train.c", &folder);
    let said = run_it(Command::new(train).arg(&run).arg("25"));
    assert!(said.starts_with("losses ") && !said.contains("nan"), "{said}");

    let plan = run::read_plan(&run).unwrap();
    let mut pair = run::open_generator(&run, &plan, &belamy_cpu::cpu()).unwrap();
    assert_eq!(pair.step, 25);
    let (noise, _) = noise_for(&pair, SAMPLES, 7).unwrap();
    // As many at once as the library makes.
    let parts = [(0, 256), (256, SAMPLES - 256)].map(|(start, length)| {
        pair.sample(start, &noise.slice(0, start, length).unwrap(), None).unwrap()
    });
    let bytes =
        |values: Vec<f32>| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let wanted: Vec<u8> =
        parts.iter().flat_map(|part| bytes(part.to_vec::<f32>().unwrap())).collect();

    let out = folder.join("samples.f32");
    let sample = built("cc", &strict, "sample.c", &folder);
    let words = [SAMPLES.to_string(), "7".to_owned()];
    run_it(Command::new(&sample).arg(&run).args(&words).arg(&out));
    assert!(std::fs::read(&out).unwrap() == wanted, "C draws other samples");

    let given = folder.join("noise.f32");
    std::fs::write(&given, bytes(noise.to_vec::<f32>().unwrap())).unwrap();
    let cpp = built("c++", &[&strict[..], &["-std=c++17"]].concat(), "par04.cc", &folder);
    run_it(Command::new(cpp).arg(&run).arg(&given).arg(&out));
    // One by one they are multiplied in another order.
    let numbers = |bytes: &[u8]| -> Vec<f32> {
        bytes.chunks(4).map(|word| f32::from_le_bytes(word.try_into().unwrap())).collect()
    };
    let (one_by_one, together) = (numbers(&std::fs::read(&out).unwrap()), numbers(&wanted));
    assert_eq!(one_by_one.len(), together.len());
    let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-6 * b.abs().max(1.0);
    assert!(one_by_one.iter().zip(&together).all(near), "C++ draws other samples");

    if has("gfortran") {
        let fortran = built("gfortran", &["-Wall", "-Werror"], "sample.f90", &folder);
        run_it(Command::new(fortran).arg(&run).args(&words).arg(&out));
        assert!(std::fs::read(&out).unwrap() == wanted, "Fortran draws other samples");
    } else {
        skip("the example in Fortran", "fortran", "there is no gfortran");
    }
    if has("valgrind") {
        // Valgrind knows no AVX-512.
        run_it(
            Command::new("valgrind")
                .args([
                    "--error-exitcode=9",
                    "--leak-check=full",
                    "--errors-for-leak-kinds=definite",
                ])
                .arg(&sample)
                .arg(&run)
                .args(["3", "7"])
                .arg(&out)
                .env("BELAMY_ISA", "portable")
                .env("RAYON_NUM_THREADS", "1"),
        );
    } else {
        skip("the example under valgrind", "valgrind", "there is none");
    }
    // What goes wrong is told.
    let wrong = Command::new(&sample)
        .arg(&folder)
        .args(&words)
        .arg(&out)
        .env("LD_LIBRARY_PATH", libraries())
        .output();
    let wrong = wrong.unwrap();
    assert_eq!(wrong.status.code(), Some(1));
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(said.starts_with("opening: ") && said.contains("run.toml"), "{said}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_adapter_to_par04_is_short() {
    let text = include_str!("../examples/par04_belamy.hh");
    assert!(text.lines().count() <= 60);
}

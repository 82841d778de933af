//! Tests of atomic files and folders, a full disk included.

use super::*;
use std::process::Command;

/// A new empty folder for one test.
fn new_folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("belamy-files-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn put(path: PathBuf, bytes: impl AsRef<[u8]>) -> Result<()> {
    fs::write(&path, bytes).map_err(|error| Error::write(&path, error.to_string()))
}

#[test]
fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
    let folder = new_folder("file");
    let path = folder.join("state.json");
    write_atomically(&path, b"first").unwrap();
    write_atomically(&path, b"second").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"second");
    assert_eq!(names(&folder), ["state.json"]);
    // The target is a folder: the rename fails, the temporary file goes.
    fs::create_dir(folder.join("taken")).unwrap();
    fs::write(folder.join("taken/x"), "").unwrap();
    let error = write_atomically(folder.join("taken"), b"x").unwrap_err().to_string();
    assert!(error.contains("taken"), "{error}");
    assert_eq!(names(&folder), ["state.json", "taken"]);
    let error = write_atomically(folder.join("missing/state.json"), b"x").unwrap_err().to_string();
    assert!(error.contains("missing/state.json"), "{error}");
    assert!(write_atomically("/", b"x").is_err() && write_atomically("..", b"x").is_err());
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_folder_is_complete_with_its_marker_and_damage_is_found() {
    let folder = new_folder("complete");
    let target = folder.join("step-00000010");
    write_folder_atomically(&target, |partial| {
        assert_eq!(partial, folder.join(".step-00000010.partial"));
        assert!(!target.exists());
        put(partial.join("generator.safetensors"), [7; 100_000])?;
        fs::create_dir(partial.join("more")).unwrap();
        put(partial.join("more/state.json"), "{}")
    })
    .unwrap();
    assert_eq!(names(&folder), ["step-00000010"]);
    assert_eq!(names(&target), ["complete", "generator.safetensors", "more"]);
    assert!(is_complete(&target));
    verify(&target).unwrap();

    let path = target.join("generator.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    bytes[99_999] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(is_complete(&target));
    let error = verify(&target).unwrap_err().to_string();
    assert!(error.contains("generator.safetensors") && error.contains("digests"), "{error}");
    fs::write(&path, &bytes[..50]).unwrap();
    let error = check_complete(&target).unwrap_err().to_string();
    assert!(error.contains("50 bytes") && error.contains("100000"), "{error}");
    fs::remove_file(&path).unwrap();
    assert!(!is_complete(&target));
    fs::write(target.join(MARKER), "{").unwrap();
    assert!(check_complete(&target).unwrap_err().to_string().contains("damaged"));
    fs::remove_file(target.join(MARKER)).unwrap();
    assert!(check_complete(&target).unwrap_err().to_string().contains("not complete"));
    assert!(!is_complete(folder.join("missing")));
    fs::remove_dir_all(folder).unwrap();
}

#[cfg(unix)]
#[test]
fn what_never_ends_is_not_read() {
    let folder = new_folder("endless");
    for name in ["run.toml", "state.json", "metrics.jsonl", MARKER] {
        std::os::unix::fs::symlink("/dev/zero", folder.join(name)).unwrap();
    }
    let refused = |error: Error| {
        let error = error.to_string();
        assert!(error.contains("not a regular file"), "{error}");
    };
    refused(crate::run::read_plan(&folder).unwrap_err());
    refused(crate::checkpoint::read_state(&folder).unwrap_err());
    refused(crate::health::read(&folder.join("metrics.jsonl")).unwrap_err());
    refused(crate::journal::Journal::resume(folder.join("metrics.jsonl"), 5).unwrap_err());
    refused(verify(&folder).unwrap_err());
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_marker_leads_nowhere_else() {
    let folder = new_folder("outside");
    let target = folder.join("a");
    write_folder_atomically(&target, |partial| put(partial.join("x"), "1")).unwrap();
    put(folder.join("y"), "2").unwrap();
    let entry = r#"{"bytes": 1, "xxh64": "0"}"#;
    for name in ["../y", "/dev/zero", "", ".", "x/../../y"] {
        let marker = format!(r#"{{"version": 1, "files": {{"{name}": {entry}}}}}"#);
        put(target.join(MARKER), marker).unwrap();
        let error = verify(&target).unwrap_err().to_string();
        assert!(error.contains("outside the folder"), "{name}: {error}");
    }
    fs::create_dir(target.join("z")).unwrap();
    put(target.join(MARKER), format!(r#"{{"version": 1, "files": {{"z": {entry}}}}}"#)).unwrap();
    let error = verify(&target).unwrap_err().to_string();
    assert!(error.contains("not a regular file"), "{error}");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_marker_vouches_only_for_what_it_lists() {
    let folder = new_folder("unlisted");
    let target = folder.join("a");
    write_folder_atomically(&target, |partial| put(partial.join("x"), "1")).unwrap();
    check_listed(&target, &["x"]).unwrap();
    // There, and written by nobody who knew of it.
    put(target.join("y"), "2").unwrap();
    verify(&target).unwrap();
    for wanted in [&["y"][..], &["x", "y"]] {
        let error = check_listed(&target, wanted).unwrap_err();
        assert!(matches!(&error, Error::File { path, .. } if *path == target.join("y")), "{error}");
        assert!(error.to_string().contains("does not list it"), "{error}");
    }
    put(target.join(MARKER), r#"{"version": 1, "files": {}}"#).unwrap();
    assert!(check_listed(&target, &["x"]).is_err());
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_finished_folder_is_replaced_whole() {
    let folder = new_folder("replace");
    let target = folder.join("a");
    for content in ["old", "new"] {
        write_folder_atomically(&target, |partial| put(partial.join(content), content)).unwrap();
    }
    assert_eq!(names(&target), ["complete", "new"]);
    assert_eq!(names(&folder), ["a"]);
    verify(&target).unwrap();
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_failed_fill_leaves_the_old_folder_and_no_partial_one() {
    let folder = new_folder("failed");
    let target = folder.join("a");
    write_folder_atomically(&target, |partial| put(partial.join("x"), "old")).unwrap();
    let error = write_folder_atomically(&target, |partial| {
        put(partial.join("x"), "half")?;
        Err(Error::data("no more"))
    });
    assert_eq!(error.unwrap_err().to_string(), "no more");
    assert_eq!(names(&folder), ["a"]);
    assert_eq!(fs::read(target.join("x")).unwrap(), b"old");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn leftovers_of_a_killed_program_go_and_a_stranded_old_folder_returns() {
    let folder = new_folder("leftovers");
    write_folder_atomically(folder.join("a"), |partial| put(partial.join("x"), "1")).unwrap();
    write_folder_atomically(folder.join("b"), |partial| put(partial.join("x"), "2")).unwrap();
    // Killed between the two renames of `a`; killed before the removal of the old `b`; killed while filling `c`.
    fs::rename(folder.join("a"), folder.join(".a.old")).unwrap();
    fs::create_dir(folder.join(".b.old")).unwrap();
    fs::create_dir(folder.join(".c.partial")).unwrap();
    fs::write(folder.join(".c.partial/x"), "half").unwrap();
    fs::write(folder.join(".latest.tmp-123"), "half").unwrap();
    // Not ours.
    for foreign in [".gitignore", ".x.tmp-", ".x.tmp-12a", "x.partial"] {
        fs::write(folder.join(foreign), "").unwrap();
    }
    let touched = clean_leftovers(&folder).unwrap();
    assert_eq!(touched.len(), 4, "{touched:?}");
    assert_eq!(names(&folder), [".gitignore", ".x.tmp-", ".x.tmp-12a", "a", "b", "x.partial"]);
    verify(folder.join("a")).unwrap();
    fs::remove_dir_all(folder).unwrap();
}

#[cfg(unix)]
#[test]
fn a_full_disk_is_reported_and_nothing_is_left() {
    // /dev/full refuses every byte with ENOSPC.
    if Path::new("/dev/full").exists() {
        let folder = new_folder("full");
        let error = write_folder_atomically(folder.join("a"), |partial| {
            put(partial.join("x"), "fits")?;
            put(PathBuf::from("/dev/full"), "does not")
        });
        let error = error.unwrap_err().to_string();
        assert!(error.contains("/dev/full") && error.contains("No space left"), "{error}");
        assert!(names(&folder).is_empty());
        fs::remove_dir_all(folder).unwrap();
    }
}

/// Fills a file system of 64 KiB, mounted in a namespace of its own by running this very test again inside it.
#[cfg(target_os = "linux")]
#[test]
fn a_small_file_system_fills_up_without_harm() {
    const INSIDE: &str = "BELAMY_TEST_SMALL_DISK";
    if let Some(folder) = std::env::var_os(INSIDE) {
        return fill_small_disk(Path::new(&folder));
    }
    let folder = new_folder("small-disk");
    let mount = "mount -t tmpfs -o size=64k tmpfs \"$BELAMY_TEST_SMALL_DISK\"";
    let unshare = |script: String| {
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", &script]).env(INSIDE, &folder).output()
    };
    if !unshare(mount.into()).is_ok_and(|output| output.status.success()) {
        let text = "SKIPPED a_small_file_system_fills_up_without_harm: no mount namespace here\n";
        io::stderr().write_all(text.as_bytes()).unwrap();
        return;
    }
    let program = std::env::current_exe().unwrap();
    let name = "a_small_file_system_fills_up_without_harm";
    let output = unshare(format!("{mount} && '{}' {name} --nocapture", program.display())).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    fs::remove_dir_all(folder).unwrap();
}

#[cfg(target_os = "linux")]
fn fill_small_disk(folder: &Path) {
    write_folder_atomically(folder.join("a"), |partial| put(partial.join("x"), [1; 8192])).unwrap();
    write_atomically(folder.join("latest"), b"a").unwrap();
    let error = write_atomically(folder.join("latest"), &[2; 100_000]).unwrap_err().to_string();
    assert!(error.contains("latest") && error.contains("No space left"), "{error}");
    assert_eq!(fs::read(folder.join("latest")).unwrap(), b"a");
    let error = write_folder_atomically(folder.join("b"), |partial| {
        put(partial.join("x"), vec![1; 100_000])
    });
    let error = error.unwrap_err().to_string();
    assert!(error.contains("No space left"), "{error}");
    // The files fit exactly, the marker does not: the folder must not appear.
    let error = write_folder_atomically(folder.join("b"), |partial| {
        let path = partial.join("x");
        let mut file = File::create(&path).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
        Ok(())
    });
    let error = error.unwrap_err().to_string();
    assert!(error.contains("/b: ") && error.contains("No space left"), "{error}");
    assert_eq!(names(folder), ["a", "latest"]);
    verify(folder.join("a")).unwrap();
}

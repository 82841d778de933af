//! Append-only logs of one JSON object a line, which survive being killed.

use crate::error::{Error, Result};
use crate::files::write_atomically;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

/// No line of a log is that long; a longer one is damage.
const LONGEST_LINE: u64 = 1 << 20;

/// A jsonl file that grows by whole lines, each handed to the system at once.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

/// What opening a journal for a resumed run found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Repair {
    /// Lines kept.
    pub kept: usize,
    /// Lines dropped because they were torn or damaged.
    pub damaged: usize,
    /// Lines dropped because their step comes after the one resumed from.
    pub later: usize,
}

impl Journal {
    /// A new, empty journal; fails if the file exists, so that no log is ever lost.
    pub fn create(path: impl AsRef<Path>) -> Result<Journal> {
        let path = path.as_ref();
        let file = OpenOptions::new().append(true).create_new(true).open(path);
        let file = file.map_err(|error| Error::write(path, error.to_string()))?;
        Ok(Journal { path: path.to_path_buf(), file })
    }

    /// Opens a journal to go on after `step`: lines that are torn or damaged, and lines whose field `step` is above
    /// `step`, are dropped, so that the log is the one an unbroken run would have written. A missing file is new.
    pub fn resume(path: impl AsRef<Path>, step: u64) -> Result<(Journal, Repair)> {
        let path = path.as_ref();
        let mut repair = Repair::default();
        if path.exists() {
            if !path.is_file() {
                return Err(Error::file(path, "it is not a regular file"));
            }
            let (content, found) = sound_lines(path, step)?;
            repair = found;
            if repair.damaged + repair.later > 0 {
                write_atomically(path, &content)?;
            }
        }
        let file = OpenOptions::new().append(true).create(true).open(path);
        let file = file.map_err(|error| Error::write(path, error.to_string()))?;
        Ok((Journal { path: path.to_path_buf(), file }, repair))
    }

    /// Appends one line.
    ///
    /// Fails, naming the file, on a full disk. Numbers that are not finite become `null`, as JSON has no others.
    pub fn append(&mut self, entry: &impl Serialize) -> Result<()> {
        let fail = |what: String| Error::write(&self.path, what);
        let mut line = serde_json::to_vec(entry).map_err(|error| fail(error.to_string()))?;
        line.push(b'\n');
        // One write, so that a kill between lines never splits one.
        self.file.write_all(&line).map_err(|error| fail(error.to_string()))
    }

    /// Waits until every line is on disk.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|error| Error::write(&self.path, error.to_string()))
    }
}

fn sound_lines(path: &Path, step: u64) -> Result<(Vec<u8>, Repair)> {
    let fail = |error: std::io::Error| Error::file(path, error.to_string());
    let mut input = BufReader::new(File::open(path).map_err(fail)?);
    let mut content = Vec::new();
    let mut repair = Repair::default();
    // Whether the line that is being read began too long ago to be kept.
    let mut overlong = false;
    loop {
        let start = content.len();
        // What is read below never takes more.
        let room = content.try_reserve(LONGEST_LINE as usize);
        room.map_err(|error| fail(error.into()))?;
        let read = input.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut content);
        if read.map_err(fail)? == 0 {
            return Ok((content, repair));
        }
        let line = &content[start..];
        let whole = line.ends_with(b"\n");
        let entry = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(line);
        match entry {
            Ok(entry) if whole && !overlong => {
                let at = entry.get("step").and_then(serde_json::Value::as_u64);
                if at.is_some_and(|at| at > step) {
                    repair.later += 1;
                    content.truncate(start);
                } else {
                    repair.kept += 1;
                }
            }
            _ => {
                repair.damaged += usize::from(!overlong);
                content.truncate(start);
            }
        }
        overlong = !whole;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::fs;

    fn new_path(name: &str) -> PathBuf {
        let path = std::env::temp_dir()
            .join(format!("belamy-journal-{name}-{}.jsonl", std::process::id()));
        let _ = fs::remove_file(&path);
        path
    }

    #[test]
    fn lines_are_appended_and_an_existing_log_is_not_lost() {
        let path = new_path("append");
        let mut journal = Journal::create(&path).unwrap();
        journal.append(&json!({"step": 1, "loss_d": 0.5})).unwrap();
        journal.append(&json!({"step": 2, "loss_d": f64::NAN})).unwrap();
        journal.sync().unwrap();
        let text = "{\"loss_d\":0.5,\"step\":1}
{\"loss_d\":null,\"step\":2}
";
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert!(Journal::create(&path).unwrap_err().to_string().contains(path.to_str().unwrap()));
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn every_torn_tail_is_repaired() {
        let path = new_path("torn");
        let whole = "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n";
        for length in 0..=whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let (mut journal, repair) = Journal::resume(&path, 3).unwrap();
            let lines = length / 11;
            let torn = usize::from(!length.is_multiple_of(11));
            assert_eq!(repair, Repair { kept: lines, damaged: torn, later: 0 }, "{length}");
            journal.append(&json!({"step": 9})).unwrap();
            let expected = format!("{}{{\"step\":9}}\n", &whole[..lines * 11]);
            assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        }
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn later_steps_and_damage_are_dropped_and_the_rest_is_kept_byte_for_byte() {
        let path = new_path("later");
        let mut content = b"{\"note\": \"no step\"}\n{\"step\":5, \"x\":1e-3}\n".to_vec();
        let kept = content.clone();
        content.extend(b"{\"step\":6}\n\0\0\0\0\n\n[1]\n{\"step\":");
        content.extend(vec![b'7'; 3 << 20]);
        content.extend(b"\n{\"step\":8}\n\xff\xfe\n");
        fs::write(&path, &content).unwrap();
        let (_, repair) = Journal::resume(&path, 5).unwrap();
        assert_eq!(repair, Repair { kept: 2, damaged: 5, later: 2 });
        assert_eq!(fs::read(&path).unwrap(), kept);
        let (_, repair) = Journal::resume(&path, 5).unwrap();
        assert_eq!(repair, Repair { kept: 2, damaged: 0, later: 0 });
        fs::remove_file(&path).unwrap();
        let (_, repair) = Journal::resume(&path, 5).unwrap();
        assert_eq!(repair, Repair::default());
        fs::remove_file(path).unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_reported() {
        let file = OpenOptions::new().append(true).open("/dev/full").unwrap();
        let mut journal = Journal { path: "log".into(), file };
        let error = journal.append(&json!({"step": 1})).unwrap_err().to_string();
        assert!(error.contains("log") && error.contains("No space left"), "{error}");
    }
}

//! One program at a time writes a run's folder.
//!
//! The lock is the system's own, on the hidden file `.lock`: it ends with the program that holds it, however that ends, so
//! a file that a killed program leaves locks nothing.

use crate::error::{Error, Result};
use crate::tensorboard::host;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The file that is locked.
pub const NAME: &str = ".lock";
/// Who holds a lock is said in a line.
const LONGEST_LINE: u64 = 200;

/// A folder that no other program writes while this lives.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    _file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Still held: whoever waits for it finds that the file has gone. One that stays does no harm.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Lock {
    /// Locks a folder that is there. Fails, saying who holds it, if another program does.
    ///
    /// On a file system that knows no locks there is none, and nothing fails.
    pub fn take(folder: &Path) -> Result<Lock> {
        let path = folder.join(NAME);
        let fail = |error: std::io::Error| Error::write(&path, error.to_string());
        loop {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(fail)?;
            if let Err(TryLockError::WouldBlock) = file.try_lock() {
                let mut holder = String::new();
                // What cannot be read is not said.
                let _ = (&file).take(LONGEST_LINE).read_to_string(&mut holder);
                let holder = holder.lines().next().unwrap_or("another program");
                let what = format!("{holder} is training into this folder");
                return Err(Error::write(folder, what));
            }
            // Whoever held it has removed the file, and somebody may have made another.
            if !is_at(&file, &path) {
                continue;
            }
            let holder = format!("process {} on {}\n", std::process::id(), host());
            // On a full disk the lock holds all the same, and says nothing.
            let _ = file
                .set_len(0)
                .and_then(|()| file.seek(SeekFrom::Start(0)))
                .and_then(|_| file.write_all(holder.as_bytes()));
            return Ok(Lock { path, _file: file });
        }
    }
}

/// Whether a path still names the file that is open.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_at(_file: &File, path: &Path) -> bool {
    path.exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_by_one_and_ends_with_it() {
        let folder = std::env::temp_dir().join(format!("belamy-lock-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let held = Lock::take(&folder).unwrap();
        let error = Lock::take(&folder).unwrap_err().to_string();
        assert!(error.contains(&format!("process {} on ", std::process::id())), "{error}");
        drop(held);
        Lock::take(&folder).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        let error = Lock::take(&folder).unwrap_err().to_string();
        assert!(error.contains(".lock"), "{error}");
    }
}

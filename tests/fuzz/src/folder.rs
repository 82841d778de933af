//! A folder in memory for readers that take a path.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A folder of this process alone, empty at first. libFuzzer ends without dropping anything: `run.sh` removes what is
/// left.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Below `BELAMY_FUZZ_FOLDER`, or where the system keeps files in memory.
    pub fn new(target: &str) -> Folder {
        let memory = Path::new("/dev/shm");
        let above = match std::env::var_os("BELAMY_FUZZ_FOLDER") {
            Some(folder) => PathBuf::from(folder),
            None if memory.is_dir() => memory.to_path_buf(),
            None => std::env::temp_dir(),
        };
        let path = above.join(format!("belamy-fuzz-{target}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a folder in memory");
        Folder(path)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A file in it that is written again and again.
    pub fn slot(&self, name: &str) -> Slot {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("a folder");
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        Slot { file: file.expect("a file in memory"), path }
    }
}

/// A file that is open all the time: making a new one for each input takes longer than most readers do.
#[derive(Debug)]
pub struct Slot {
    file: File,
    path: PathBuf,
}

impl Slot {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes all of it anew.
    pub fn put(&self, bytes: &[u8]) {
        self.file.write_all_at(bytes, 0).expect("room in memory");
        self.file.set_len(bytes.len() as u64).expect("room in memory");
    }
}

//! What backends keep on disk from one run of a program to the next: kernels that took time to compile.
//!
//! Files lie in `BELAMY_CACHE`, or in `belamy` in the user's cache folder. A file's name says by a [`key`] what it was
//! made from, and it gets that name only when it is whole, so that any number of processes may read and write at once.
//! A cache that cannot be read or written is no error: what is not found is made anew.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// 32 hexadecimal digits that stand for some texts.
///
/// ```
/// use belamy_tensor::cache::key;
/// assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
/// ```
pub fn key<T: AsRef<[u8]>>(texts: &[T]) -> String {
    // FNV-1a in 128 bits; each text ends with a byte that UTF-8 does not have.
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    for text in texts {
        for &byte in text.as_ref().iter().chain(&[0xff]) {
            hash = (hash ^ u128::from(byte)).wrapping_mul(PRIME);
        }
    }
    format!("{hash:032x}")
}

/// The folder for what is kept under a name, if the user has one. It may not exist yet.
pub fn folder(name: &str) -> Option<PathBuf> {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(folder) = named("BELAMY_CACHE") {
        return Some(PathBuf::from(folder).join(name));
    }
    let base = named("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| named("HOME").map(|home| PathBuf::from(home).join(".cache")))?;
    Some(base.join("belamy").join(name))
}

/// Writes a file under a name of its own, then gives it its right one: nobody sees half of it. Fails if the folder is
/// not there or cannot be written; nothing is left behind then.
pub fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    // A process's number says nothing on another machine that shares the folder: the time does, nearly.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_nanos());
    let unique = path.with_extension(format!("{}-{count}-{now}", std::process::id()));
    std::fs::write(&unique, bytes).and_then(|()| std::fs::rename(&unique, path)).inspect_err(|_| {
        let _ = std::fs::remove_file(&unique);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_depends_on_each_text_and_on_where_it_ends() {
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_ne!(key(&["a"]), key(&["b"]));
        assert_eq!(key(&["a"]).len(), 32);
        // The published FNV-1a of the empty text, with this house's closing byte.
        assert_ne!(key::<&str>(&[]), key(&[""]));
    }

    #[test]
    fn a_file_that_cannot_be_written_leaves_nothing() {
        let folder = std::env::temp_dir().join(format!("belamy-cache-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("taken")).unwrap();
        write_whole(&folder.join("file"), b"whole").unwrap();
        assert_eq!(std::fs::read(folder.join("file")).unwrap(), b"whole");
        assert!(write_whole(&folder.join("taken"), b"a folder has that name").is_err());
        assert!(write_whole(&folder.join("absent/file"), b"no such folder").is_err());
        let mut names: Vec<_> =
            std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(names, ["file", "taken"]);
    }
}

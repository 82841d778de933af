//! Files that are whole or absent: atomic writes, atomic folders with a completeness marker, append-only journals.
//!
//! The order is always the same: write beside, flush to disk, rename, flush the parent folder. A program killed at
//! any moment leaves the old state or the new one, and at most a hidden leftover that [`clean_leftovers`] removes.

use crate::digest::{Digest, digest_hex};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

/// The name of the file that a finished folder holds: its other files' names, lengths and digests.
pub const MARKER: &str = "complete";
const MARKER_VERSION: u32 = 1;
/// A marker lists a handful of files.
const LARGEST_MARKER: u64 = 1 << 20;
const FLUSHES_AT_ONCE: usize = 8;

/// Writes a file so that `path` holds either its old content or all of `bytes`, and survives a power cut after.
///
/// Fails, naming `path`, if the folder is missing or read-only or the disk is full; nothing is left behind then.
pub fn write_atomically(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let path = path.as_ref();
    let temporary = hidden_sibling(path, &format!("tmp-{}", std::process::id()))?;
    let written = write_new(&temporary, bytes)
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| sync_folder(parent(path)));
    written.map_err(|error| {
        // The first error is the one to report; a leftover that cannot be removed is hidden and harmless.
        let _ = fs::remove_file(&temporary);
        Error::write(path, error.to_string())
    })
}

/// Creates, fills and flushes a file that does not exist yet, so that no link is ever followed.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// What the marker of a finished folder says.
#[derive(serde::Serialize, serde::Deserialize)]
struct Marker {
    version: u32,
    /// By path within the folder, with `/` between parts.
    files: BTreeMap<String, Entry>,
}

#[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
struct Entry {
    bytes: u64,
    /// XXH64 in hexadecimal.
    xxh64: String,
}

/// The files of a finished folder, to be checked and read.
#[derive(Debug, Clone, Copy)]
pub enum Files<'a> {
    /// Those in a folder on disk.
    OnDisk(&'a Path),
    /// Those in memory, by name; the path stands in errors.
    InMemory(&'a Path, &'a BTreeMap<String, Vec<u8>>),
}

impl<'a, P: AsRef<Path> + ?Sized> From<&'a P> for Files<'a> {
    fn from(folder: &'a P) -> Files<'a> {
        Files::OnDisk(folder.as_ref())
    }
}

impl<'a> Files<'a> {
    /// The folder that they are in, or seem to be.
    pub fn folder(self) -> &'a Path {
        match self {
            Files::OnDisk(folder) | Files::InMemory(folder, _) => folder,
        }
    }

    /// One of those in memory.
    pub(crate) fn held(files: &'a BTreeMap<String, Vec<u8>>, name: &str) -> io::Result<&'a [u8]> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        files.get(name).map(Vec::as_slice).ok_or_else(missing)
    }

    /// The length of one. Fails if it has no end: a pipe would block, and a device never stop.
    fn length(self, name: &str) -> io::Result<u64> {
        match self {
            Files::OnDisk(folder) => {
                let metadata = fs::metadata(folder.join(name))?;
                let endless = || io::Error::other("it is not a regular file");
                metadata.is_file().then_some(metadata.len()).ok_or_else(endless)
            }
            Files::InMemory(_, files) => Ok(Files::held(files, name)?.len() as u64),
        }
    }

    /// The first `most` bytes of one.
    fn start(self, name: &str, most: u64) -> io::Result<Vec<u8>> {
        self.length(name)?;
        let mut bytes = Vec::new();
        match self {
            Files::OnDisk(folder) => {
                File::open(folder.join(name))?.take(most).read_to_end(&mut bytes)
            }
            Files::InMemory(_, files) => {
                Files::held(files, name)?.take(most).read_to_end(&mut bytes)
            }
        }?;
        Ok(bytes)
    }

    /// The text of one.
    pub(crate) fn text(self, name: &str) -> io::Result<String> {
        match self {
            Files::OnDisk(folder) => read_text(&folder.join(name)),
            Files::InMemory(_, files) => {
                let bytes = Files::held(files, name)?.to_vec();
                String::from_utf8(bytes).map_err(io::Error::other)
            }
        }
    }

    /// What a marker should say of one.
    fn describe(self, name: &str) -> io::Result<Entry> {
        match self {
            Files::OnDisk(folder) => describe(File::open(folder.join(name))?),
            Files::InMemory(_, files) => {
                let bytes = Files::held(files, name)?;
                Ok(Entry { bytes: bytes.len() as u64, xxh64: digest_hex(bytes) })
            }
        }
    }
}

/// Builds a folder that is complete or absent.
///
/// `fill` writes files into the hidden folder it is given (a sibling named `.NAME.partial`). Then every file is
/// flushed to disk, the marker [`MARKER`] is written last, and the folder is renamed to `final_dir`, replacing what
/// stood there. If `fill` fails, or the disk is full, the partial folder is removed and an error names what failed.
pub fn write_folder_atomically(
    final_dir: impl AsRef<Path>,
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let final_dir = final_dir.as_ref();
    let fail = |error: io::Error| Error::write(final_dir, error.to_string());
    let partial = hidden_sibling(final_dir, "partial")?;
    remove_if_present(&partial).map_err(fail)?;
    fs::create_dir(&partial).map_err(fail)?;
    let filled = fill(&partial).and_then(|()| finish_folder(&partial, final_dir).map_err(fail));
    if filled.is_err() {
        let _ = remove_if_present(&partial);
    }
    filled
}

fn finish_folder(partial: &Path, final_dir: &Path) -> io::Result<()> {
    let mut folders = Vec::new();
    let paths = files_below(partial, &mut folders)?;
    let files = flush_and_describe(&paths)?;
    // Deepest first, so that a folder is flushed after what it names; the top one comes after the marker.
    folders[1..].iter().rev().try_for_each(|folder| sync_folder(folder))?;
    let marker = serde_json::to_vec_pretty(&Marker { version: MARKER_VERSION, files })?;
    write_new(&partial.join(MARKER), &marker)?;
    sync_folder(partial)?;

    // A folder cannot be renamed over a full one: the old one steps aside for the moment between two renames, and
    // `clean_leftovers` brings it back if that moment is never left.
    let old = final_dir.exists().then(|| hidden_sibling_name(final_dir, "old")).flatten();
    if let Some(old) = &old {
        remove_if_present(old)?;
        fs::rename(final_dir, old)?;
    }
    if let Err(error) = fs::rename(partial, final_dir) {
        if let Some(old) = &old {
            let _ = fs::rename(old, final_dir);
        }
        return Err(error);
    }
    sync_folder(parent(final_dir))?;
    old.map_or(Ok(()), |old| remove_if_present(&old))
}

/// Flushes files to disk, several at a time so that the disk can take them together, and digests them meanwhile.
fn flush_and_describe(paths: &[(String, PathBuf)]) -> io::Result<BTreeMap<String, Entry>> {
    let flush = |paths: &[(String, PathBuf)]| {
        // Some systems flush only what is open for writing.
        paths.iter().try_for_each(|(_, path)| {
            OpenOptions::new().read(true).write(true).open(path)?.sync_all()
        })
    };
    std::thread::scope(|scope| {
        let flushes: Vec<_> = paths
            .chunks(paths.len().div_ceil(FLUSHES_AT_ONCE).max(1))
            .map(|part| scope.spawn(move || flush(part)))
            .collect();
        let entries = paths
            .iter()
            .map(|(name, path)| Ok((name.clone(), describe(File::open(path)?)?)))
            .collect::<io::Result<_>>();
        for flush in flushes {
            flush.join().map_err(|_| io::Error::other("a flush to disk failed"))??;
        }
        entries
    })
}

/// Whether a folder was finished and every file is still there with its length.
pub fn is_complete(folder: impl AsRef<Path>) -> bool {
    check_complete(folder).is_ok()
}

/// Fails, saying which file is missing or has another length, unless the folder was finished and is whole.
pub fn check_complete(folder: impl AsRef<Path>) -> Result<()> {
    check(Files::OnDisk(folder.as_ref()), |_| false)
}

/// As [`check_complete`], and reads every file to compare its digest, so that a single flipped bit is found.
///
/// A marker vouches for what it lists and for nothing else: whoever reads certain files asks [`check_listed`] too.
pub fn verify(folder: impl AsRef<Path>) -> Result<()> {
    check(Files::OnDisk(folder.as_ref()), |_| true)
}

/// As [`verify`], but reads the named files only, for those who need no others.
pub fn verify_some<'a>(files: impl Into<Files<'a>>, names: &[impl AsRef<str>]) -> Result<()> {
    check(files.into(), |file| names.iter().any(|name| name.as_ref() == file))
}

/// Fails, naming the first that is not, unless all `names` are files that the folder's marker lists.
pub fn check_listed<'a>(files: impl Into<Files<'a>>, names: &[impl AsRef<str>]) -> Result<()> {
    let files = files.into();
    let marker = read_marker(files)?;
    match names.iter().find(|name| !marker.files.contains_key(name.as_ref())) {
        None => Ok(()),
        Some(name) => {
            let what = format!("the file `{MARKER}` beside it does not list it");
            Err(Error::file(files.folder().join(name.as_ref()), what))
        }
    }
}

fn read_marker(files: Files<'_>) -> Result<Marker> {
    let path = files.folder().join(MARKER);
    let bytes = files.start(MARKER, LARGEST_MARKER).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::file(
            files.folder(),
            format!("it is not complete: there is no file `{MARKER}` in it"),
        ),
        _ => Error::file(&path, error.to_string()),
    })?;
    let marker: Marker = serde_json::from_slice(&bytes)
        .map_err(|error| Error::file(&path, format!("it is damaged: {error}")))?;
    if marker.version != MARKER_VERSION {
        let what = format!("version {} is not known, only {MARKER_VERSION}", marker.version);
        return Err(Error::file(&path, what));
    }
    Ok(marker)
}

fn check(files: Files<'_>, is_read: impl Fn(&str) -> bool) -> Result<()> {
    let marker = read_marker(files)?;
    for (name, promised) in &marker.files {
        let path = files.folder().join(name);
        let fail = |error: io::Error| Error::file(&path, error.to_string());
        // Anything else would lead out of the folder; a device or a pipe would never end.
        let is_below = |part: Component<'_>| matches!(part, Component::Normal(_));
        if name.is_empty() || !Path::new(name).components().all(is_below) {
            return Err(Error::file(&path, "it lies outside the folder whose marker names it"));
        }
        let found = files.length(name).map_err(fail)?;
        if found != promised.bytes {
            let what = format!("it has {found} bytes, but was saved with {}", promised.bytes);
            return Err(Error::file(&path, what));
        }
        if is_read(name) && files.describe(name).map_err(fail)? != *promised {
            return Err(Error::file(&path, "its content is not what was saved (digests differ)"));
        }
    }
    Ok(())
}

/// Removes what a killed program left half-written in a folder (`.NAME.partial`, `.NAME.tmp-PID`), and brings back
/// a `.NAME.old` whose successor never came. Returns what it removed or brought back.
///
/// Call it only where no other program is writing.
pub fn clean_leftovers(folder: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
    let folder = folder.as_ref();
    let fail = |error: io::Error| Error::write(folder, error.to_string());
    let mut touched = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name();
        let Some(name) = name.to_str().and_then(|name| name.strip_prefix('.')) else { continue };
        let Some((name, kind)) = name.rsplit_once('.') else { continue };
        let process = kind.strip_prefix("tmp-").unwrap_or("none");
        let path = entry.path();
        if kind == "old" && !folder.join(name).exists() && is_complete(&path) {
            fs::rename(&path, folder.join(name)).map_err(fail)?;
        } else if matches!(kind, "partial" | "old")
            || (!process.is_empty() && process.bytes().all(|byte| byte.is_ascii_digit()))
        {
            remove_if_present(&path).map_err(fail)?;
        } else {
            continue;
        }
        touched.push(path);
    }
    touched.sort();
    Ok(touched)
}

/// Removes a folder so that a program killed meanwhile leaves it whole, or a hidden rest that [`clean_leftovers`]
/// removes.
pub fn remove_folder(folder: impl AsRef<Path>) -> Result<()> {
    let folder = folder.as_ref();
    let fail = |error: io::Error| Error::write(folder, error.to_string());
    let old = hidden_sibling(folder, "old")?;
    remove_if_present(&old).and_then(|()| fs::rename(folder, &old)).map_err(fail)?;
    remove_if_present(&old).map_err(fail)
}

/// Every file below a folder with its path within it; `folders` receives every folder, parents first.
fn files_below(top: &Path, folders: &mut Vec<PathBuf>) -> io::Result<Vec<(String, PathBuf)>> {
    let mut files = Vec::new();
    let mut waiting = vec![(String::new(), top.to_path_buf())];
    while let Some((prefix, folder)) = waiting.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                return Err(io::Error::other(format!("the file name {name:?} is no text")));
            };
            let name = format!("{prefix}{name}");
            if entry.file_type()?.is_dir() {
                waiting.push((format!("{name}/"), entry.path()));
            } else {
                files.push((name, entry.path()));
            }
        }
        folders.push(folder);
    }
    Ok(files)
}

fn describe(mut file: File) -> io::Result<Entry> {
    let mut digest = Digest::new();
    let length = file.metadata()?.len().clamp(1, 1 << 18) as usize;
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(length)?;
    buffer.resize(length, 0);
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Entry { bytes, xxh64: digest.hex() }),
            count => {
                digest.update(&buffer[..count]);
                bytes += count as u64;
            }
        }
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Why a file cannot be read as a whole: there is no memory for it, or what the system said.
pub(crate) fn not_read(path: &Path, error: io::Error) -> Error {
    match (error.kind(), fs::metadata(path)) {
        (io::ErrorKind::OutOfMemory, Ok(metadata)) => {
            Error::Memory { bytes: metadata.len() as usize, what: "a file" }
        }
        _ => Error::file(path, error.to_string()),
    }
}

/// The text of a file that has an end: a pipe would block, and a device never stop.
pub fn read_text(path: &Path) -> io::Result<String> {
    match fs::metadata(path)?.is_file() {
        true => fs::read_to_string(path),
        false => Err(io::Error::other("it is not a regular file")),
    }
}

/// Makes a folder and those above it that are missing, so that they survive a power cut. Fails, naming the folder that was
/// asked for, if one of them cannot be made.
pub fn create_folders(folder: &Path) -> Result<()> {
    fn create(folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        let above = parent(folder);
        if above != folder {
            create(above)?;
        }
        match fs::create_dir(folder) {
            // Another was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
            made => made?,
        }
        sync_folder(above)
    }
    create(folder).map_err(|error| Error::write(folder, error.to_string()))
}

/// Waits until the names in a folder are on disk.
pub fn sync(folder: &Path) -> Result<()> {
    sync_folder(folder).map_err(|error| Error::write(folder, error.to_string()))
}

/// A rename is on disk only when the folder that holds the name is.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn hidden_sibling_name(path: &Path, kind: &str) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    Some(parent(path).join(format!(".{name}.{kind}")))
}

fn hidden_sibling(path: &Path, kind: &str) -> Result<PathBuf> {
    hidden_sibling_name(path, kind)
        .ok_or_else(|| Error::write(path, "the path ends in no plain name"))
}

/// Removes a file or folder; that it was never there is no error.
fn remove_if_present(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    removed
        .or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

#[cfg(test)]
mod tests;

//! Running the program on a disk that is watched and fails on demand (`shim.c`), and what a power cut leaves of one.

use crate::common::{HIDDEN, PROGRAM, Ran};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The shared library that stands between the program and the disk; `None`, after saying that the test is skipped, without
/// a C compiler.
pub(crate) fn shim(test: &str) -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/disk/shim.c");
        let name = format!("disk-{}.so", std::process::id());
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .args([&library, &source])
            .args(["-ldl", "-lpthread"])
            .output()
            .ok()?;
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        Some(library)
    });
    if built.is_none() {
        belamy_tests::require::skip(test, "cxx", "there is no C compiler");
    }
    built.as_deref()
}

/// Runs a line of words on the watched disk below `root`.
pub(crate) fn on_disk(
    library: &Path,
    root: &Path,
    words: &str,
    variables: &[(&str, String)],
) -> Ran {
    let mut command = Command::new(PROGRAM);
    command.args(words.split_whitespace()).env(HIDDEN.0, HIDDEN.1).stdin(Stdio::null());
    command.env("LD_PRELOAD", library).env("BELAMY_DISK_ROOT", root.canonicalize().unwrap());
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    command.output().unwrap().into()
}

/// A call that changed the disk.
#[derive(Debug, Clone)]
pub(crate) enum Call {
    Create(String),
    Truncate(String),
    Write(String, usize, Vec<u8>),
    Cut(String, usize),
    Sync(String),
    Rename(String, String),
    MakeFolder(String),
    Remove(String),
}

/// The calls that a run of the program made, in their order.
pub(crate) fn calls(log: &Path) -> Vec<Call> {
    let text = std::fs::read_to_string(log).unwrap();
    let call = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [what, path, second, bytes] = fields[..] else { panic!("{line}") };
        let path = path.to_owned();
        match what {
            "create" => Call::Create(path),
            "truncate" => Call::Truncate(path),
            "write" => {
                let pairs = (0..bytes.len()).step_by(2);
                let bytes = pairs.map(|at| u8::from_str_radix(&bytes[at..at + 2], 16).unwrap());
                Call::Write(path, second.parse().unwrap(), bytes.collect())
            }
            "cut" => Call::Cut(path, second.parse().unwrap()),
            "sync" => Call::Sync(path),
            "rename" => Call::Rename(path, second.to_owned()),
            "mkdir" => Call::MakeFolder(path),
            "unlink" | "rmdir" => Call::Remove(path),
            other => panic!("what is {other}?"),
        }
    };
    text.lines().map(call).collect()
}

type Node = usize;

/// A file or folder as programs see it and as the disk has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Content {
    File { seen: Vec<u8>, stored: Vec<u8> },
    Folder { seen: BTreeMap<String, Node>, stored: BTreeMap<String, Node>, pending: Vec<Change> },
}

/// What one call changes in a folder: names and what they stand for from then on, at once.
type Change = Vec<(String, Option<Node>)>;

/// A file system that keeps what was synced, and of the rest what a power cut happens to leave: the contents of a file are
/// stored by syncing it, the names in a folder by syncing the folder, and nothing is stored by anything else.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    nodes: Vec<Content>,
}

/// What a power cut leaves of what was not synced.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cut {
    /// Nothing.
    Nothing,
    /// Names, but of files only what was synced: the usual surprise, empty files.
    Names,
    /// Everything: the program alone was killed.
    Everything,
    /// By chance: each change of a folder or not, each file up to any byte.
    Chance(u64),
}

impl Disk {
    /// An empty folder.
    pub(crate) fn new() -> Disk {
        Disk { nodes: vec![Content::folder()] }
    }

    fn find(&self, path: &str) -> Option<Node> {
        path.split('/').filter(|name| !name.is_empty()).try_fold(0, |node, name| {
            match &self.nodes[node] {
                Content::Folder { seen, .. } => seen.get(name).copied(),
                Content::File { .. } => None,
            }
        })
    }

    fn change(&mut self, folder: &str, change: Change) {
        let node = self.find(folder).unwrap_or_else(|| panic!("no folder {folder}"));
        let Content::Folder { seen, pending, .. } = &mut self.nodes[node] else {
            panic!("{folder} is no folder")
        };
        for (name, node) in &change {
            match node {
                Some(node) => seen.insert(name.clone(), *node),
                None => seen.remove(name),
            };
        }
        pending.push(change);
    }

    fn add(&mut self, path: &str, content: Content) {
        self.nodes.push(content);
        let (folder, name) = split(path);
        self.change(folder, vec![(name.to_owned(), Some(self.nodes.len() - 1))]);
    }

    fn bytes(&mut self, path: &str) -> &mut Vec<u8> {
        let node = self.find(path).unwrap_or_else(|| panic!("no file {path}"));
        match &mut self.nodes[node] {
            Content::File { seen, .. } => seen,
            Content::Folder { .. } => panic!("{path} is no file"),
        }
    }

    /// Does what a call did.
    pub(crate) fn apply(&mut self, call: &Call) {
        match call {
            Call::Create(path) => self.add(path, Content::File { seen: vec![], stored: vec![] }),
            Call::MakeFolder(path) => self.add(path, Content::folder()),
            Call::Truncate(path) => self.bytes(path).clear(),
            Call::Cut(path, length) => self.bytes(path).resize(*length, 0),
            Call::Write(path, at, bytes) => {
                let file = self.bytes(path);
                file.resize(file.len().max(at + bytes.len()), 0);
                file[*at..at + bytes.len()].copy_from_slice(bytes);
            }
            Call::Remove(path) => {
                let (folder, name) = split(path);
                self.change(folder, vec![(name.to_owned(), None)]);
            }
            Call::Rename(from, to) => {
                let node = self.find(from).unwrap_or_else(|| panic!("no {from}"));
                let ((folder, old), (into, new)) = (split(from), split(to));
                assert_eq!(
                    folder, into,
                    "between folders a rename is not one change of one folder"
                );
                self.change(folder, vec![(old.to_owned(), None), (new.to_owned(), Some(node))]);
            }
            Call::Sync(path) => {
                let node = self.find(path).unwrap_or_else(|| panic!("no {path}"));
                match &mut self.nodes[node] {
                    Content::File { seen, stored } => stored.clone_from(seen),
                    Content::Folder { seen, stored, pending } => {
                        stored.clone_from(seen);
                        pending.clear();
                    }
                }
            }
        }
    }

    /// Every file and folder that is there after a power cut: its path, and its bytes if it is a file.
    pub(crate) fn after(&self, cut: Cut) -> BTreeMap<String, Option<Vec<u8>>> {
        let mut chance = match cut {
            Cut::Chance(seed) => seed | 1,
            _ => 1,
        };
        let mut found = BTreeMap::new();
        let mut waiting = vec![(String::new(), 0)];
        while let Some((path, node)) = waiting.pop() {
            let inside = match &self.nodes[node] {
                Content::File { seen, stored } => {
                    let bytes = match cut {
                        Cut::Everything => seen.clone(),
                        Cut::Nothing | Cut::Names => stored.clone(),
                        // What was appended reaches the disk up to somewhere; what was stored before stays.
                        Cut::Chance(_) if seen.starts_with(stored) => {
                            let more = next(&mut chance) as usize % (seen.len() - stored.len() + 1);
                            seen[..stored.len() + more].to_vec()
                        }
                        Cut::Chance(_) if next(&mut chance).is_multiple_of(2) => seen.clone(),
                        Cut::Chance(_) => stored.clone(),
                    };
                    found.insert(path, Some(bytes));
                    continue;
                }
                Content::Folder { seen, stored, pending } => match cut {
                    Cut::Everything | Cut::Names => seen.clone(),
                    Cut::Nothing => stored.clone(),
                    Cut::Chance(_) => {
                        let mut names = stored.clone();
                        for change in pending {
                            if next(&mut chance).is_multiple_of(2) {
                                continue;
                            }
                            for (name, node) in change {
                                match node {
                                    Some(node) => names.insert(name.clone(), *node),
                                    None => names.remove(name),
                                };
                            }
                        }
                        names
                    }
                },
            };
            let below = |name: &str| {
                if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
            };
            waiting.extend(inside.iter().map(|(name, node)| (below(name), *node)));
            if !path.is_empty() {
                found.insert(path, None);
            }
        }
        found
    }
}

impl Content {
    fn folder() -> Content {
        Content::Folder { seen: BTreeMap::new(), stored: BTreeMap::new(), pending: Vec::new() }
    }
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// The next of a row of numbers by chance (xorshift64*).
pub(crate) fn next(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33
}

/// Makes a folder's content real.
pub(crate) fn lay_out(content: &BTreeMap<String, Option<Vec<u8>>>, root: &Path) {
    let _ = std::fs::remove_dir_all(root);
    std::fs::create_dir_all(root).unwrap();
    for (path, bytes) in content {
        match bytes {
            None => std::fs::create_dir_all(root.join(path)).unwrap(),
            Some(bytes) => {
                std::fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
                std::fs::write(root.join(path), bytes).unwrap();
            }
        }
    }
}

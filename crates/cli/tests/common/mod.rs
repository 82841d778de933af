//! What the tests of the program share: running it, folders that go away, and files made to be wrong.
#![allow(dead_code, reason = "each test program uses a part")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_belamy");

/// A new empty folder that goes away with its test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Folder {
        let name = format!("{name}-{}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A path in the folder, as an argument.
    pub(crate) fn at(&self, name: &str) -> String {
        self.0.join(name).into_os_string().into_string().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a run of the program did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Hides GPUs, so that what is tested runs on the processor unless it names a device.
pub(crate) const HIDDEN: (&str, &str) = ("CUDA_VISIBLE_DEVICES", "");

/// Runs the program.
pub(crate) fn belamy<S: AsRef<OsStr>>(arguments: &[S]) -> Ran {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).env(HIDDEN.0, HIDDEN.1);
    command.stdin(Stdio::null()).output().unwrap().into()
}

/// Runs a line of words; no word holds a space.
pub(crate) fn line(words: &str) -> Ran {
    belamy(&words.split_whitespace().collect::<Vec<_>>())
}

/// Runs a line that must succeed, and returns what it wrote to stdout.
pub(crate) fn succeeds(words: &str) -> String {
    let ran = line(words);
    assert_eq!(ran.code, Some(0), "belamy {words}\n{ran:?}");
    ran.stdout
}

/// Runs a line that must be refused with this code, a message of one or two lines with all of `words_in`, no panic,
/// and nothing on stdout.
#[track_caller]
pub(crate) fn fails(words: &str, code: i32, words_in: &[&str]) -> String {
    let ran = line(words);
    assert_eq!(ran.code, Some(code), "belamy {words}\n{ran:?}");
    assert!(ran.stdout.is_empty(), "belamy {words}\n{ran:?}");
    assert!(!ran.stderr.contains("panicked"), "belamy {words}\n{ran:?}");
    assert!((1..=2).contains(&ran.stderr.lines().count()), "belamy {words}\n{ran:?}");
    assert!(ran.stderr.starts_with("belamy: "), "belamy {words}\n{ran:?}");
    for word in words_in {
        assert!(ran.stderr.contains(word), "belamy {words}: {word:?} is missing\n{ran:?}");
    }
    ran.stderr
}

/// Every file below a folder, by its path within it.
pub(crate) fn files(folder: impl AsRef<Path>) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            found.extend(
                files(&path).into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)),
            );
        } else {
            found.insert(name, std::fs::read(path).unwrap());
        }
    }
    found
}

/// The names in a folder, hidden ones too.
pub(crate) fn names(folder: impl AsRef<Path>) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The lines of metrics.jsonl.
pub(crate) fn metrics(run: impl AsRef<Path>) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(run.as_ref().join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The folder of real data, or `None` after saying that this test is skipped. Where data are required, their
/// absence fails.
pub(crate) fn data(test: &str) -> Option<PathBuf> {
    let found = std::env::var_os("BELAMY_DATA").map(PathBuf::from);
    if found.is_none() {
        skip(test, "BELAMY_DATA not set", "data");
    }
    found
}

/// Says that a test is skipped, where that is allowed.
pub(crate) fn skip(test: &str, why: &str, kind: &str) {
    let required = std::env::var("BELAMY_REQUIRE").unwrap_or_default();
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(
        !(required.contains(kind) || ci && kind == "data"),
        "{test} must not be skipped: {why}"
    );
    // Straight to the stream: the test harness hides what passing tests print.
    let _ = writeln!(std::io::stderr(), "skipped: {why}: {test}");
}

/// The bytes of a safetensors file: a header as given, and data after it.
pub(crate) fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

/// The tensors of a safetensors file: shape and f32 numbers by name.
pub(crate) fn tensors(path: impl AsRef<Path>) -> BTreeMap<String, (Vec<u64>, Vec<f32>)> {
    let bytes = std::fs::read(path).unwrap();
    let (length, rest) = bytes.split_at(8);
    let (header, data) = rest.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
    let header: BTreeMap<String, serde_json::Value> = serde_json::from_slice(header).unwrap();
    let f32s = |entry: &serde_json::Value| -> Vec<f32> {
        let offset = |index: usize| entry["data_offsets"][index].as_u64().unwrap() as usize;
        let bytes = data[offset(0)..offset(1)].chunks_exact(4);
        bytes.map(|number| f32::from_le_bytes(number.try_into().unwrap())).collect()
    };
    header
        .iter()
        .filter(|(_, entry)| entry["dtype"] == "F32")
        .map(|(name, entry)| {
            let shape = entry["shape"].as_array().unwrap().iter().map(|x| x.as_u64().unwrap());
            (name.clone(), (shape.collect(), f32s(entry)))
        })
        .collect()
}

/// The bytes of an idx file with these dimensions, true or not.
pub(crate) fn idx(dims: &[u32], elements: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dims.len() as u8];
    dims.iter().for_each(|dim| bytes.extend(dim.to_be_bytes()));
    bytes.extend(elements);
    bytes
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A PNG file of an RGB image whose bytes are a simple pattern.
pub(crate) fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    let pixels: Vec<u8> =
        (0..width * height * 3).map(|index| (index * index % 251) as u8).collect();
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    bytes
}

/// The same bytes with one bit turned over.
pub(crate) fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes
}

/// A port that nobody has at the moment.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// What `torchrun` sets in process `index` of `count`.
pub(crate) fn by_torchrun(index: usize, count: usize, port: u16) -> Vec<(&'static str, String)> {
    let host = "127.0.0.1".to_owned();
    vec![
        ("RANK", index.to_string()),
        ("LOCAL_RANK", index.to_string()),
        ("WORLD_SIZE", count.to_string()),
        ("MASTER_ADDR", host),
        ("MASTER_PORT", port.to_string()),
    ]
}

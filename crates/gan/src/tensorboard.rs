//! Writer of TensorBoard's event files, readable by PyPI's `tensorboard`.
//!
//! An event file is a row of TFRecords: the length as u64, its masked CRC32C, the bytes, their masked CRC32C. Each
//! holds one `Event` of `tensorboard/compat/proto/event.proto`, encoded here by hand: six message types, four of
//! protobuf's field kinds.

use crate::error::{Error, Result};
use crate::memory::{self, Bytes};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// An open event file of a run's folder.
#[derive(Debug)]
pub struct EventWriter {
    path: PathBuf,
    file: File,
}

impl EventWriter {
    /// Opens a new event file `events.out.tfevents.SECONDS.HOST` in `folder`.
    ///
    /// A resumed run gives the step that it goes on after: TensorBoard then forgets what earlier files say about
    /// later steps. Fails, naming the file, if it cannot be written.
    pub fn create(folder: impl AsRef<Path>, resumed_after: Option<u64>) -> Result<EventWriter> {
        let folder = folder.as_ref();
        let name = format!("events.out.tfevents.{:010}.{}", seconds() as u64, host());
        let mut path = folder.join(&name);
        let mut attempt = 0;
        let file = loop {
            match OpenOptions::new().append(true).create_new(true).open(&path) {
                // Two starts within one second; TensorBoard reads files in the order of their names.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 1000 => {
                    attempt += 1;
                    path = folder.join(format!("{name}.{attempt:03}"));
                }
                result => break result.map_err(|error| Error::write(&path, error.to_string()))?,
            }
        };
        let mut writer = EventWriter { path, file };
        writer.write_event(0, |event| event.bytes(3, b"brain.Event:2"))?;
        if let Some(step) = resumed_after {
            // SessionLog{status: START}: events of this step and later ones in earlier files are void.
            let mut session = Message::default();
            session.integer(1, 1)?;
            writer.write_event(step + 1, |event| event.bytes(7, session.content()))?;
        }
        Ok(writer)
    }

    /// Where the events go.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the values of one step, each with its tag, such as `loss/discriminator`.
    pub fn scalars(&mut self, step: u64, values: &[(&str, f32)]) -> Result<()> {
        let mut summary = Message::default();
        for (tag, value) in values {
            let mut entry = Message::default();
            entry.bytes(1, tag.as_bytes())?;
            entry.float(2, *value)?;
            summary.bytes(1, entry.content())?;
        }
        self.write_event(step, |event| event.bytes(5, summary.content()))
    }

    /// Writes one picture of a step from its PNG file's bytes, RGB, with its size in pixels. Fails without memory for the
    /// copies that an event makes of it.
    pub fn image(
        &mut self,
        step: u64,
        tag: &str,
        png: &[u8],
        width: u32,
        height: u32,
    ) -> Result<()> {
        let mut image = Message::default();
        image.integer(1, height.into())?;
        image.integer(2, width.into())?;
        image.integer(3, 3)?;
        image.bytes(4, png)?;
        let mut entry = Message::default();
        entry.bytes(1, tag.as_bytes())?;
        entry.bytes(4, image.content())?;
        let mut summary = Message::default();
        summary.bytes(1, entry.content())?;
        self.write_event(step, |event| event.bytes(5, summary.content()))
    }

    /// Waits until every event is on disk.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|error| Error::write(&self.path, error.to_string()))
    }

    fn write_event(
        &mut self,
        step: u64,
        fill: impl FnOnce(&mut Message) -> Result<()>,
    ) -> Result<()> {
        let mut event = Message::default();
        event.double(1, seconds())?;
        event.integer(2, step)?;
        fill(&mut event)?;
        let written = self.file.write_all(&record(event.content())?);
        written.map_err(|error| Error::write(&self.path, error.to_string()))
    }
}

fn seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// This machine's name as part of a file name.
pub(crate) fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .or_else(|| std::env::var("COMPUTERNAME").ok())
        .unwrap_or_default();
    let plain = |letter: &char| letter.is_ascii_alphanumeric() || *letter == '-';
    let name: String = name.trim().chars().filter(plain).take(64).collect();
    if name.is_empty() { "localhost".into() } else { name }
}

/// A protobuf message in the making. Fields fail without memory for them.
struct Message(Bytes);

impl Default for Message {
    fn default() -> Message {
        Message(Bytes::new("an event"))
    }
}

impl Message {
    fn content(&self) -> &[u8] {
        self.0.so_far()
    }

    /// An int32, int64 or enum field that is not negative.
    fn integer(&mut self, field: u32, value: u64) -> Result<()> {
        self.varint(u64::from(field) << 3)?;
        self.varint(value)
    }

    fn double(&mut self, field: u32, value: f64) -> Result<()> {
        self.varint(u64::from(field) << 3 | 1)?;
        self.0.add(&value.to_le_bytes())
    }

    /// A string, bytes or message field.
    fn bytes(&mut self, field: u32, value: &[u8]) -> Result<()> {
        self.varint(u64::from(field) << 3 | 2)?;
        self.varint(value.len() as u64)?;
        self.0.add(value)
    }

    fn float(&mut self, field: u32, value: f32) -> Result<()> {
        self.varint(u64::from(field) << 3 | 5)?;
        self.0.add(&value.to_le_bytes())
    }

    /// Seven bits a byte, lowest first, the top bit set on all but the last.
    fn varint(&mut self, mut value: u64) -> Result<()> {
        while value >= 0x80 {
            self.0.add(&[value as u8 | 0x80])?;
            value >>= 7;
        }
        self.0.add(&[value as u8])
    }
}

/// The bytes of one TFRecord.
fn record(content: &[u8]) -> Result<Vec<u8>> {
    let length = (content.len() as u64).to_le_bytes();
    let mut bytes = memory::room(content.len() + 16, "an event")?;
    bytes.extend(length);
    bytes.extend(masked(crc32c(&length)).to_le_bytes());
    bytes.extend(content);
    bytes.extend(masked(crc32c(content)).to_le_bytes());
    Ok(bytes)
}

/// TFRecord's mask, so that a checksum of data that hold checksums stays good.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xA282_EAD8)
}

/// CRC-32C (Castagnoli, reflected polynomial 0x82F63B78), as in RFC 3720.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (crc >> 8) ^ CRC32C_TABLE[((crc ^ u32::from(byte)) & 0xFF) as usize]
    })
}

const CRC32C_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (if crc & 1 == 1 { 0x82F6_3B78 } else { 0 });
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn new_folder(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("belamy-events-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// The contents of a file's records; panics on a wrong frame.
    fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut contents = Vec::new();
        while !bytes.is_empty() {
            let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            assert_eq!(bytes[8..12], masked(crc32c(&bytes[..8])).to_le_bytes());
            let content = &bytes[12..12 + length];
            assert_eq!(bytes[12 + length..][..4], masked(crc32c(content)).to_le_bytes());
            contents.push(content.to_vec());
            bytes = &bytes[16 + length..];
        }
        contents
    }

    #[test]
    fn crc32c_agrees_with_published_values() {
        // RFC 3720, B.4, and the customary check value.
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
        let rising: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&rising), 0x46DD_794E);
    }

    #[test]
    fn varints_are_as_protobuf_specifies() {
        for (value, bytes) in
            [(0, &[0][..]), (1, &[1]), (127, &[127]), (150, &[0x96, 1]), (300, &[0xAC, 2])]
        {
            let mut message = Message::default();
            message.varint(value).unwrap();
            assert_eq!(message.content(), bytes);
        }
    }

    #[test]
    fn events_are_framed_and_begin_with_the_version() {
        let folder = new_folder("frames");
        let mut writer = EventWriter::create(&folder, None).unwrap();
        writer.scalars(300, &[("loss", 1.5)]).unwrap();
        writer.sync().unwrap();
        let name = writer.path().file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("events.out.tfevents."), "{name}");
        let records = records(&std::fs::read(writer.path()).unwrap());
        assert_eq!(records.len(), 2);
        assert!(records[0].ends_with(b"\x1a\x0dbrain.Event:2"));
        // wall_time, then step 300, then summary{value{tag "loss", simple_value 1.5}}.
        let expected = b"\x10\xAC\x02\x2a\x0d\x0a\x0b\x0a\x04loss\x15\x00\x00\xc0\x3f";
        assert_eq!(&records[1][9..], expected);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_resumed_run_writes_a_new_file_that_voids_later_steps() {
        let folder = new_folder("resume");
        let first = EventWriter::create(&folder, None).unwrap();
        let second = EventWriter::create(&folder, Some(41)).unwrap();
        assert!(first.path() < second.path());
        let records = records(&std::fs::read(second.path()).unwrap());
        assert_eq!(&records[1][9..], b"\x10\x2a\x3a\x02\x08\x01");
        let error = EventWriter::create(folder.join("missing"), None).unwrap_err().to_string();
        assert!(error.contains("missing"), "{error}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}

//! Changes to a sound file, so that an input of a few bytes reaches what lies behind its other parts.

use crate::source::Source;

/// A file after edits: each a place, how many bytes go, and what comes in their place.
pub fn edited(base: &[u8], source: &mut Source<'_>) -> Vec<u8> {
    let mut bytes = base.to_vec();
    while !source.is_empty() && bytes.len() < 1 << 16 {
        let start = usize::from(source.word()) % (bytes.len() + 1);
        let end = (start + usize::from(source.byte())).min(bytes.len());
        bytes.splice(start..end, source.short().iter().copied());
    }
    bytes
}

/// The edit that puts `new` in the place of the first `old`, as [`edited`] reads it.
pub fn edit(base: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let start = base.windows(old.len()).position(|window| window == old).expect("it is there");
    let mut edit = (start as u16).to_le_bytes().to_vec();
    edit.extend([old.len() as u8, new.len() as u8]);
    edit.extend(new);
    edit
}

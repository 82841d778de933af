//! Memory, or an error that says how much was wanted: Rust's own collections end the program where there is none.
//!
//! What grows with a picture, a page or a run is asked for here.

use crate::error::{Error, Result};
use std::fmt::Display;
use std::io;

/// An empty vector with room for `count` values of `what`, which stands in the error. Fails if the machine does not give
/// that much memory.
///
/// ```
/// use belamy_gan::memory::room;
/// assert_eq!(room::<u8>(3, "a pixel")?.capacity(), 3);
/// let error = room::<u64>(1 << 60, "a page").unwrap_err().to_string();
/// assert!(error.contains("out of memory: ") && error.ends_with(" bytes for a page"));
/// # Ok::<(), belamy_gan::Error>(())
/// ```
pub fn room<T>(count: usize, what: &'static str) -> Result<Vec<T>> {
    let mut values = Vec::new();
    values.try_reserve_exact(count).map_err(|_| missing::<T>(count, what))?;
    Ok(values)
}

/// The values of an iterator in a vector. Fails as [`room`].
pub fn collected<T>(values: impl IntoIterator<Item = T>, what: &'static str) -> Result<Vec<T>> {
    let values = values.into_iter();
    let mut held = room(values.size_hint().0, what)?;
    for value in values {
        push(&mut held, value, what)?;
    }
    Ok(held)
}

/// Adds a value to a vector, whose memory grows by doubling. Fails as [`room`].
pub(crate) fn push<T>(values: &mut Vec<T>, value: T, what: &'static str) -> Result<()> {
    let wanted = 2 * values.capacity().max(2);
    values.try_reserve(1).map_err(|_| missing::<T>(wanted, what))?;
    values.push(value);
    Ok(())
}

/// Adds a text to another, whose memory grows by doubling. Fails as [`room`].
pub(crate) fn push_text(text: &mut String, more: &str, what: &'static str) -> Result<()> {
    let wanted = (2 * text.capacity()).max(text.len() + more.len());
    text.try_reserve(more.len()).map_err(|_| missing::<u8>(wanted, what))?;
    text.push_str(more);
    Ok(())
}

fn missing<T>(count: usize, what: &'static str) -> Error {
    Error::Memory { bytes: count.saturating_mul(size_of::<T>()), what }
}

/// A file's bytes while they are written, in memory.
#[derive(Debug)]
pub(crate) struct Bytes {
    written: Vec<u8>,
    what: &'static str,
    /// How many bytes there was no memory for.
    missing: Option<usize>,
}

impl Bytes {
    pub(crate) fn new(what: &'static str) -> Bytes {
        Bytes { written: Vec::new(), what, missing: None }
    }

    pub(crate) fn so_far(&self) -> &[u8] {
        &self.written
    }

    /// Adds bytes. Fails as [`room`].
    pub(crate) fn add(&mut self, bytes: &[u8]) -> Result<()> {
        let wanted = (2 * self.written.capacity()).max(self.written.len() + bytes.len());
        let grown = self.written.try_reserve(bytes.len());
        grown.map_err(|_| {
            self.missing = Some(wanted);
            missing::<u8>(wanted, self.what)
        })?;
        self.written.extend_from_slice(bytes);
        Ok(())
    }

    /// All bytes, if another's code that wrote them came to a good end. Fails as [`room`] where there was no memory, of
    /// which that code may have made an error of its own.
    pub(crate) fn whole<E: Display>(self, written: Result<(), E>) -> Result<Vec<u8>> {
        match (self.missing, written) {
            (Some(bytes), _) => Err(Error::Memory { bytes, what: self.what }),
            (None, Ok(())) => Ok(self.written),
            (None, Err(error)) => {
                Err(Error::data(format!("{} cannot be encoded: {error}", self.what)))
            }
        }
    }
}

impl io::Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.add(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_is_collected_is_there_in_its_order() {
        let numbers = collected(0..1000, "numbers").unwrap();
        assert!(numbers.iter().copied().eq(0..1000) && numbers.capacity() == 1000);
        let odd = collected((0..1000).filter(|number| number % 2 == 1), "numbers").unwrap();
        assert!(odd.iter().copied().eq((0..500).map(|half| 2 * half + 1)));
        let mut text = String::new();
        ["a", "", "bc"].iter().try_for_each(|more| push_text(&mut text, more, "x")).unwrap();
        assert_eq!(text, "abc");
    }

    #[test]
    fn no_memory_is_told_whatever_the_writer_makes_of_it() {
        let bytes = || {
            let mut bytes = Bytes::new("a test");
            bytes.write_all(b"abc").unwrap();
            bytes
        };
        assert_eq!(bytes().whole(Ok::<_, &str>(())).unwrap(), b"abc");
        let error = bytes().whole(Err("it is square")).unwrap_err().to_string();
        assert_eq!(error, "a test cannot be encoded: it is square");
        for written in [Ok(()), Err("it is square")] {
            let error = Bytes { missing: Some(1000), ..bytes() }.whole(written).unwrap_err();
            assert!(matches!(error, Error::Memory { bytes: 1000, what: "a test" }));
            assert_eq!(error.to_string(), "out of memory: 1000 bytes for a test");
        }
    }
}

//! The one error type of the GAN crate: which file, which field, which step, and what to do about it.

use std::path::{Path, PathBuf};

/// A result whose error is an [`Error`] of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why data, a recipe, a run's folder or a training step failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file is missing, unreadable, or does not hold what its name or header promises.
    #[error("cannot read {}: {what}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What was promised and what was found.
        what: String,
    },
    /// A file or folder cannot be written: no space, no permission, or already in use.
    #[error("cannot write {}: {what}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        what: String,
    },
    /// A recipe or one of its fields is unknown or out of range.
    #[error("{message}")]
    Recipe {
        /// What is wrong and what would be right.
        message: String,
    },
    /// A data set, or a batch of images or points, is not what a network or a picture needs.
    #[error("{message}")]
    Data {
        /// What is wrong and what would be right.
        message: String,
    },
    /// Training met a value that is no finite number and stopped; the last checkpoint is untouched.
    #[error(
        "step {step}: {place} is not finite; training stopped, checkpoints written before are kept"
    )]
    NotFinite {
        /// The step in which it happened, counted from 1.
        step: u64,
        /// The first op and layer whose value is not finite.
        place: String,
    },
    /// A device failed during training, by running out of memory or altogether; the last checkpoint is untouched.
    #[error("after step {step}: {error}; training stopped, checkpoints written before are kept")]
    Device {
        /// The last step before it was noticed.
        step: u64,
        /// What the device said.
        error: belamy_tensor::Error,
    },
    /// The machine does not give the memory that a picture, a page or data take; checkpoints written before are kept.
    #[error("out of memory: {bytes} bytes for {what}")]
    Memory {
        /// How many bytes were asked for at once.
        bytes: usize,
        /// What they were for.
        what: &'static str,
    },
    /// The user or the system asked the run to stop, and it did so after a whole step.
    #[error("stopped after step {step}")]
    Stopped {
        /// The last whole step.
        step: u64,
    },
    /// The tensor core refused an op or a device failed.
    #[error(transparent)]
    Tensor(#[from] belamy_tensor::Error),
    /// A weight file or an optimiser's state does not fit.
    #[error(transparent)]
    Network(#[from] belamy_nn::Error),
}

impl Error {
    /// A file that cannot be read, and why.
    pub fn file(path: impl AsRef<Path>, what: impl Into<String>) -> Error {
        Error::File { path: path.as_ref().to_path_buf(), what: what.into() }
    }

    /// A file that cannot be written, and why.
    pub fn write(path: impl AsRef<Path>, what: impl Into<String>) -> Error {
        Error::Write { path: path.as_ref().to_path_buf(), what: what.into() }
    }

    /// A recipe that cannot be followed.
    pub fn recipe(message: impl Into<String>) -> Error {
        Error::Recipe { message: message.into() }
    }

    /// The same error, said to have ended training after a step where a device failed.
    pub(crate) fn after_step(self, step: u64) -> Error {
        match self {
            Error::Tensor(error) | Error::Network(belamy_nn::Error::Tensor(error))
                if matches!(error.kind(), belamy_tensor::ErrorKind::Device { .. }) =>
            {
                Error::Device { step, error }
            }
            other => other,
        }
    }

    /// Data that cannot be used.
    pub fn data(message: impl Into<String>) -> Error {
        Error::Data { message: message.into() }
    }
}

/// A number of bytes as people read it: "10 bytes", "47.0 MB", "4.0 TB" (decimal units).
pub fn bytes_in_words(bytes: u128) -> String {
    if bytes == 1 {
        return "1 byte".into();
    }
    let mut value = bytes as f64;
    let mut unit = "bytes";
    for next in ["kB", "MB", "GB", "TB", "PB", "EB"] {
        if value < 999.95 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_say_them() {
        let cases = [
            (0, "0 bytes"),
            (1, "1 byte"),
            (999, "999 bytes"),
            (1_000, "1.0 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (47_040_016, "47.0 MB"),
            (4_000_000_000_000, "4.0 TB"),
        ];
        for (bytes, words) in cases {
            assert_eq!(bytes_in_words(bytes), words);
        }
        assert!(bytes_in_words(u128::MAX).ends_with(" EB"));
    }

    #[test]
    fn errors_name_the_path() {
        let error = Error::file("a/b.gz", "the file ends early");
        assert_eq!(error.to_string(), "cannot read a/b.gz: the file ends early");
    }
}

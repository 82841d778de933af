//! Errors of this crate: a core error, or a file that cannot serve.

use std::path::PathBuf;

/// A result whose error is an [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An op refused its operands or a device failed.
    #[error(transparent)]
    Tensor(#[from] belamy_tensor::Error),
    /// A file cannot be read or written, or holds something else than it should.
    #[error("{}: {what}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what would be right.
        what: String,
    },
    /// Weights that do not fit the network.
    #[error("weights do not fit: {0}")]
    Weights(String),
}

impl Error {
    /// An error about a file.
    pub fn file(path: impl Into<PathBuf>, what: impl ToString) -> Error {
        Error::File { path: path.into(), what: what.to_string() }
    }
}

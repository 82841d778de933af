//! How the program fails: one or two lines on stderr, and an exit code.

use std::io::Write;
use std::process::ExitCode;

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    code: u8,
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// Bad arguments: exit code 2.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), code: 2 }
    }

    /// Anything else: exit code 1.
    pub(crate) fn new(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), code: 1 }
    }

    /// A run that was stopped, and is to be queued again.
    pub(crate) fn requeue(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), code: crate::stop::REQUEUE }
    }

    /// What went wrong.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Says what went wrong and returns the exit code.
    pub(crate) fn report(self) -> ExitCode {
        // A closed stderr is no reason to fail differently.
        let _ = writeln!(std::io::stderr(), "belamy: {}", self.message);
        ExitCode::from(self.code)
    }
}

impl From<belamy_gan::Error> for Failure {
    fn from(error: belamy_gan::Error) -> Failure {
        match error {
            belamy_gan::Error::Recipe { .. } => Failure::usage(error.to_string()),
            _ => Failure::new(error.to_string()),
        }
    }
}

impl From<belamy_nn::Error> for Failure {
    fn from(error: belamy_nn::Error) -> Failure {
        Failure::new(error.to_string())
    }
}

impl From<belamy_tensor::Error> for Failure {
    fn from(error: belamy_tensor::Error) -> Failure {
        Failure::new(error.to_string())
    }
}

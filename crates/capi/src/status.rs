//! How a call ends: a code, and the message of the thread's last failure.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How a call ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// As asked.
    Ok = 0,
    /// An argument is null, out of range, or names what is not there.
    Argument = 1,
    /// A file cannot be read or written, or is damaged.
    File = 2,
    /// A device is not there, out of memory, or lost.
    Device = 3,
    /// Training came to a number that is not finite.
    NotFinite = 4,
    /// A mistake of Belamy's own.
    Internal = 5,
}

/// Why a call fails.
#[derive(Debug)]
pub(crate) struct Failure {
    status: Status,
    message: String,
}

impl Failure {
    pub(crate) fn argument(message: impl Into<String>) -> Failure {
        Failure { status: Status::Argument, message: message.into() }
    }

    pub(crate) fn device(message: impl Into<String>) -> Failure {
        Failure { status: Status::Device, message: message.into() }
    }
}

impl From<belamy_gan::Error> for Failure {
    fn from(error: belamy_gan::Error) -> Failure {
        use belamy_gan::Error;
        let status = match error {
            Error::Recipe { .. } | Error::Data { .. } => Status::Argument,
            Error::File { .. } | Error::Write { .. } => Status::File,
            Error::NotFinite { .. } => Status::NotFinite,
            _ => Status::Device,
        };
        Failure { status, message: error.to_string() }
    }
}

impl From<belamy_tensor::Error> for Failure {
    fn from(error: belamy_tensor::Error) -> Failure {
        Failure { status: Status::Device, message: error.to_string() }
    }
}

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// Why the last call of this thread that failed did; empty if none did. Valid until the thread's next failure.
#[unsafe(no_mangle)]
pub extern "C" fn belamy_last_error() -> *const c_char {
    LAST.with(|last| last.borrow().as_ptr())
}

/// What a panic says.
fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words")
}

/// Runs the body of a call, and says how it ended. No panic leaves it.
pub(crate) fn call(body: impl FnOnce() -> Result<(), Failure>) -> Status {
    let failure = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return Status::Ok,
        Ok(Err(failure)) => failure,
        Err(panic) => Failure { status: Status::Internal, message: said(&*panic).to_owned() },
    };
    let message = CString::new(failure.message.replace('\0', " ")).unwrap_or_default();
    LAST.with(|last| *last.borrow_mut() = message);
    failure.status
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    fn last() -> String {
        // SAFETY: the text ends with a zero and is this thread's.
        unsafe { CStr::from_ptr(belamy_last_error()) }.to_string_lossy().into_owned()
    }

    #[test]
    fn failures_are_told_to_their_own_thread_and_panics_are_failures() {
        assert_eq!(last(), "");
        assert_eq!(call(|| Err(Failure::argument("x\0y"))), Status::Argument);
        assert_eq!(last(), "x y");
        assert_eq!(std::thread::spawn(last).join().unwrap(), "");
        assert_eq!(call(|| panic!("out of {}", "patience")), Status::Internal);
        assert_eq!(last(), "out of patience");
        assert_eq!(call(|| Ok(())), Status::Ok);
    }
}

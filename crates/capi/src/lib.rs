//! Belamy from C: drawing samples from trained generators, and training step by step.
//!
//! | file | what it holds |
//! |---|---|
//! | [`status`] | how a call ends: a code, and the message of the thread's last failure |
//! | [`generator`] | a run's generator: samples into the caller's memory |
//! | [`trainer`] | a recipe's training, fed with the caller's samples |
//!
//! `include/belamy.h` is made from these files by cbindgen. Conventions:
//!
//! - A function that can fail returns a [`Status`]; what it makes goes to where a pointer says. Nothing is written there
//!   when it fails.
//! - Images are rows of `float`, sample by sample, channels last, in the recipe's range; labels are `uint32_t`.
//! - No panic crosses the border: it becomes [`Status::Internal`].
//! - Handles are freed by the function named after them. A generator may be used by any number of threads at once; a trainer by one
//!   at a time.

pub mod generator;
mod single;
pub mod status;
pub mod trainer;

pub use status::Status;

use belamy_tensor::Device;
use status::Failure;
use std::ffi::{CStr, c_char};

/// The version of the interface: it grows when something is added, and programs may compare.
pub const BELAMY_INTERFACE: u32 = 1;

/// The version of the interface that the library has: compare it with `BELAMY_INTERFACE`.
#[unsafe(no_mangle)]
pub extern "C" fn belamy_interface() -> u32 {
    BELAMY_INTERFACE
}

/// The library's version, such as "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn belamy_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// A text of the caller's.
///
/// # Safety
///
/// The pointer is null or leads to a text that ends with a zero and lives as long as `'a`.
unsafe fn text<'a>(pointer: *const c_char, what: &str) -> Result<&'a str, Failure> {
    if pointer.is_null() {
        return Err(Failure::argument(format!("{what} is null")));
    }
    // SAFETY: the caller says so.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str().map_err(|_| Failure::argument(format!("{what} is not UTF-8")))
}

/// Numbers of the caller's.
///
/// # Safety
///
/// The pointer is null or leads to `count` numbers that nobody writes while `'a` lasts.
unsafe fn numbers<'a, T>(pointer: *const T, count: usize, what: &str) -> Result<&'a [T], Failure> {
    if pointer.is_null() {
        return Err(Failure::argument(format!("{what} is null")));
    }
    if !pointer.is_aligned() {
        return Err(Failure::argument(format!("{what} is not aligned")));
    }
    // SAFETY: the caller says so, and it is aligned.
    Ok(unsafe { std::slice::from_raw_parts(pointer, count) })
}

/// The device of a name: cpu, webgpu or cuda, with :N for the N-th; null stands for the CPU.
///
/// # Safety
///
/// As [`text`].
unsafe fn device(name: *const c_char) -> Result<Device, Failure> {
    if name.is_null() {
        return Ok(belamy_cpu::cpu());
    }
    // SAFETY: the caller says so.
    let name = unsafe { text(name, "device") }?;
    let (kind, number) = name.split_once(':').unwrap_or((name, "0"));
    let index: u32 = number
        .parse()
        .map_err(|_| Failure::argument(format!("device {name}: {number:?} is not a number")))?;
    match kind {
        "cpu" if index == 0 => Ok(belamy_cpu::cpu()),
        #[cfg(feature = "webgpu")]
        "webgpu" => {
            let options = belamy_webgpu::Options { index, ..Default::default() };
            belamy_webgpu::open(options).map_err(|error| Failure::device(error.to_string()))
        }
        #[cfg(feature = "cuda")]
        "cuda" => belamy_cuda::open(index).map(Device::new).map_err(Failure::device),
        _ => {
            Err(Failure::argument(format!("there is no device {name:?}: cpu, webgpu and cuda are")))
        }
    }
}

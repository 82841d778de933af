//! NVRTC, asked with care: its bindings panic where the library is absent.

use super::OPTIONS;
use crate::source::Source;
use cudarc::nvrtc::{result, sys};
use std::ffi::{CStr, CString, c_char, c_int};
use std::sync::OnceLock;

/// What a compilation gave.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// Code for the architecture, or, for `compute_..`, intermediate code.
    pub image: Vec<u8>,
    /// The compiler's messages: warnings, and what was asked for by options.
    pub log: String,
}

/// What is called here. The bindings panic over a function that the library lacks.
const NEEDED: [&str; 13] = [
    "nvrtcCompileProgram",
    "nvrtcCreateProgram",
    "nvrtcDestroyProgram",
    "nvrtcGetCUBIN",
    "nvrtcGetCUBINSize",
    "nvrtcGetErrorString",
    "nvrtcGetNumSupportedArchs",
    "nvrtcGetPTX",
    "nvrtcGetPTXSize",
    "nvrtcGetProgramLog",
    "nvrtcGetProgramLogSize",
    "nvrtcGetSupportedArchs",
    "nvrtcVersion",
];

/// Fails with a sentence unless NVRTC can be loaded, and is whole.
pub fn usable() -> Result<(), String> {
    static USABLE: OnceLock<Result<(), String>> = OnceLock::new();
    let look = || {
        // SAFETY: it opens libraries by name and closes them; NVRTC's initialisers do nothing that matters here.
        if !unsafe { sys::is_culib_present() } {
            return Err("NVRTC (libnvrtc) is not on the library path, or cannot be loaded: install the package \
                        nvidia-cuda-nvrtc and name its lib folder in LD_LIBRARY_PATH"
                .into());
        }
        let has = |name: &str| {
            // SAFETY: the symbol is looked up, and not called.
            unsafe { sys::culib().get::<unsafe extern "C" fn()>(name.as_bytes()).is_ok() }
        };
        NEEDED.iter().find(|name| !has(name)).map_or(Ok(()), |name| {
            Err(format!(
                "NVRTC (libnvrtc), as it was found, has no function {name}: it is a stub, or too old; install the \
                 package nvidia-cuda-nvrtc and name its lib folder in LD_LIBRARY_PATH"
            ))
        })
    };
    USABLE.get_or_init(look).clone()
}

/// Whether NVRTC can be used.
pub fn present() -> bool {
    usable().is_ok()
}

fn said(what: &str, error: result::NvrtcError) -> String {
    // SAFETY: the string is static, and exists for every code.
    let message = unsafe { CStr::from_ptr(sys::nvrtcGetErrorString(error.0)) };
    format!("NVRTC could not {what}: {}", message.to_string_lossy())
}

/// The compiler's version.
pub fn version() -> Result<(u32, u32), String> {
    usable()?;
    let (mut major, mut minor): (c_int, c_int) = (0, 0);
    // SAFETY: both are valid for a write.
    let code = unsafe { sys::nvrtcVersion(&mut major, &mut minor) };
    code.result().map_err(|error| said("say its version", error))?;
    Ok((major as u32, minor as u32))
}

/// The architectures that it compiles for, as numbers: 90 for `sm_90` and `sm_90a`.
pub fn architectures() -> Result<Vec<u32>, String> {
    usable()?;
    let mut count: c_int = 0;
    // SAFETY: the place is valid for a write.
    let code = unsafe { sys::nvrtcGetNumSupportedArchs(&mut count) };
    code.result().map_err(|error| said("count its architectures", error))?;
    let mut numbers: Vec<c_int> = vec![0; count as usize];
    // SAFETY: it writes as many numbers as it just said.
    let code = unsafe { sys::nvrtcGetSupportedArchs(numbers.as_mut_ptr()) };
    code.result().map_err(|error| said("list its architectures", error))?;
    Ok(numbers.into_iter().map(|number| number as u32).collect())
}

/// A program that is destroyed with its owner.
struct Program(sys::nvrtcProgram);

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: the program was created, and nobody else destroys it.
        let _ = unsafe { result::destroy_program(self.0) };
    }
}

impl Program {
    fn log(&self) -> String {
        // SAFETY: the program is valid.
        let log = unsafe { result::get_program_log(self.0) }.unwrap_or_default();
        let bytes: Vec<u8> = log.iter().map(|&c| c as u8).take_while(|&byte| byte != 0).collect();
        String::from_utf8_lossy(&bytes).trim().to_string()
    }

    fn cubin(&self) -> Result<Vec<u8>, String> {
        let mut size = 0;
        // SAFETY: the program is valid, and the place for a write.
        let code = unsafe { sys::nvrtcGetCUBINSize(self.0, &mut size) };
        code.result().map_err(|error| said("say the code's size", error))?;
        let mut bytes = vec![0u8; size];
        // SAFETY: the buffer has the size that NVRTC said.
        let code = unsafe { sys::nvrtcGetCUBIN(self.0, bytes.as_mut_ptr().cast::<c_char>()) };
        code.result().map_err(|error| said("give the code", error))?;
        Ok(bytes)
    }
}

/// Compiles a family for `sm_..` (code) or `compute_..` (intermediate code), with further options.
pub fn compile(source: &Source, target: &str, more: &[&str]) -> Result<Compiled, String> {
    usable()?;
    let text = CString::new(source.text()).map_err(|error| error.to_string())?;
    let name = CString::new(format!("{}.cu", source.family)).map_err(|error| error.to_string())?;
    let program = result::create_program(&text, Some(&name));
    let program = Program(program.map_err(|error| said("begin", error))?);
    let mut options = vec![format!("--gpu-architecture={target}")];
    options.extend(OPTIONS.iter().chain(more).map(|option| option.to_string()));
    // SAFETY: the program is valid.
    let outcome = unsafe { result::compile_program(program.0, &options) };
    if let Err(error) = outcome {
        let why = said(&format!("compile {}.cu for {target}", source.family), error);
        return Err(format!("{why}\n{}", program.log()));
    }
    let image = if target.starts_with("compute_") {
        // SAFETY: the program is valid and compiled.
        let ptx = unsafe { result::get_ptx(program.0) };
        let ptx = ptx.map_err(|error| said("give the intermediate code", error))?;
        ptx.into_iter().map(|c| c as u8).collect()
    } else {
        program.cubin()?
    };
    Ok(Compiled { image, log: program.log() })
}

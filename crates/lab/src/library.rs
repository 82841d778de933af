//! Kernels of a shared library.

use crate::interface;
use belamy_tensor::kernel::{KernelId, Params};
use belamy_tensor::{Buffer, DType};
use libloading::Library;
use std::ffi::c_void;
use std::path::Path;

/// A tensor as a library is given it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct CTensor {
    pub(crate) data: *mut c_void,
    pub(crate) elements: u64,
}

/// What a library exports: parameters, inputs, outputs.
type Entry = unsafe extern "C" fn(*const c_void, *const CTensor, *const CTensor);

/// A kernel of a library that is loaded.
#[derive(Debug)]
pub(crate) struct Loaded {
    entry: Entry,
    kernel: KernelId,
    /// Whether operands are copied to where a page ends.
    guarded: bool,
    /// What the entry is part of.
    _library: Library,
}

impl Loaded {
    /// Loads a kernel from a library.
    ///
    /// # Safety
    ///
    /// What the library does when it is loaded and called is for the caller to answer for.
    pub(crate) unsafe fn open(
        path: &Path,
        kernel: KernelId,
        guarded: bool,
    ) -> Result<Loaded, String> {
        let name = format!("belamy_{}", kernel.name());
        // A name without a folder would be looked for where the system keeps its libraries.
        let path = std::path::absolute(path).map_err(|error| error.to_string())?;
        // SAFETY: the caller answers for it.
        let library = unsafe { Library::new(&path) }.map_err(|error| error.to_string())?;
        // SAFETY: the same.
        let entry = unsafe { library.get::<Entry>(format!("{name}\0").as_bytes()) };
        let entry = *entry.map_err(|_| format!("the library exports no `{name}`"))?;
        Ok(Loaded { entry, kernel, guarded, _library: library })
    }

    /// Calls the kernel on buffers of the CPU's.
    pub(crate) fn call(
        &self,
        params: &Params,
        inputs: &[&Buffer],
        outputs: &mut [Buffer],
    ) -> Result<(), String> {
        const OTHER: &str = "was handed another device's buffer";
        let read = inputs.iter().map(|buffer| belamy_cpu::bytes(buffer).ok_or(OTHER));
        let read = read.collect::<Result<Vec<&[u8]>, _>>()?;
        let written = outputs.iter_mut().map(|buffer| belamy_cpu::bytes_mut(buffer).ok_or(OTHER));
        let mut written = written.collect::<Result<Vec<&mut [u8]>, _>>()?;
        let mut packed = params.packed(self.kernel.layout());
        // A struct of nothing has an address too.
        packed.resize(packed.len().next_multiple_of(8).max(8), 0);
        let words: Vec<u64> = packed
            .chunks_exact(8)
            .map(|chunk| u64::from_ne_bytes(chunk.try_into().expect("eight bytes")))
            .collect();
        #[cfg(unix)]
        if self.guarded {
            return crate::guarded::call(&names(self.kernel), &read, &mut written, |tensors| {
                let (inputs, outputs) = tensors.split_at(read.len());
                // SAFETY: the caller of `open` answers for what the library does with them.
                unsafe { (self.entry)(words.as_ptr().cast(), inputs.as_ptr(), outputs.as_ptr()) };
            });
        }
        let tensor =
            |data: *mut u8, bytes: usize| CTensor { data: data.cast(), elements: bytes as u64 / 4 };
        let inputs: Vec<CTensor> =
            read.iter().map(|bytes| tensor(bytes.as_ptr().cast_mut(), bytes.len())).collect();
        let outputs: Vec<CTensor> =
            written.iter_mut().map(|bytes| tensor(bytes.as_mut_ptr(), bytes.len())).collect();
        // SAFETY: the caller of `open` answers for what the library does with them.
        unsafe { (self.entry)(words.as_ptr().cast(), inputs.as_ptr(), outputs.as_ptr()) };
        Ok(())
    }

    /// Whether the kernel is for operands of these types: f64 is the oracle's alone.
    pub(crate) fn takes(&self, inputs: &[&Buffer], outputs: &[Buffer]) -> bool {
        inputs.iter().copied().chain(outputs).all(|buffer| buffer.dtype != DType::F64)
    }
}

/// The operands' names, inputs first; where there may be any number of them, none.
fn names(kernel: KernelId) -> Vec<&'static str> {
    let interface = interface::of(kernel);
    if interface.lists {
        return Vec::new();
    }
    interface.inputs.iter().chain(interface.outputs).map(|(name, _)| *name).collect()
}

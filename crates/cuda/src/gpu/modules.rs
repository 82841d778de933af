//! Families as the device has them: loaded at first use.

use super::{c_name, text};
use crate::compile;
use crate::source::Source;
use cudarc::driver::result;
use cudarc::driver::sys;
use std::collections::HashMap;

#[derive(Default)]
pub(super) struct Modules {
    families: HashMap<&'static str, Module>,
}

struct Module {
    handle: sys::CUmodule,
    functions: HashMap<String, sys::CUfunction>,
}

impl Modules {
    /// An entry point of a family. The device's context must be current.
    pub(super) fn function(
        &mut self,
        family: &'static str,
        entry: &str,
        (major, minor): (u32, u32),
    ) -> Result<sys::CUfunction, String> {
        if !self.families.contains_key(family) {
            let source =
                Source::of(family).ok_or_else(|| format!("there is no family `{family}`"))?;
            let mut image = compile::image(source, major, minor)?;
            image.push(0); // intermediate code is a text that ends with a zero
            // SAFETY: the image is what NVRTC made, whole, and the driver copies it.
            let handle = unsafe { result::module::load_data(image.as_ptr().cast()) };
            let handle = handle.map_err(|error| {
                format!("the kernels `{family}` do not load on sm_{major}{minor}: {}", text(error))
            })?;
            self.families.insert(family, Module { handle, functions: HashMap::new() });
        }
        let module = self.families.get_mut(family).expect("loaded just now");
        if let Some(&function) = module.functions.get(entry) {
            return Ok(function);
        }
        // SAFETY: the module is loaded and not unloaded before `release`.
        let function = unsafe { result::module::get_function(module.handle, c_name(entry)?) };
        let function = function
            .map_err(|error| format!("`{family}` has no kernel `{entry}`: {}", text(error)))?;
        module.functions.insert(entry.to_string(), function);
        Ok(function)
    }

    /// Unloads all.
    ///
    /// # Safety
    ///
    /// No kernel may be queued, and the context must be current.
    pub(super) unsafe fn release(&mut self) {
        for (_, module) in self.families.drain() {
            // SAFETY: loaded above, and unloaded once.
            let _ = unsafe { result::module::unload(module.handle) };
        }
    }
}

//! Families as the device has them: loaded at first use.

use super::{c_name, text};
use crate::compile;
use crate::driver::Launch;
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
    /// Compiles and loads a family, unless it is there. The device's context must be current.
    pub(super) fn load(
        &mut self,
        source: &'static Source,
        (major, minor): (u32, u32),
    ) -> Result<(), String> {
        let family = source.family;
        if !self.families.contains_key(family) {
            let mut image = compile::image(source, major, minor)?;
            image.push(0); // intermediate code is a text that ends with a zero
            // SAFETY: the image is what NVRTC made, whole, and the driver copies it.
            let handle = unsafe { result::module::load_data(image.as_ptr().cast()) };
            let handle = handle.map_err(|error| {
                format!("the kernels `{family}` do not load on sm_{major}{minor}: {}", text(error))
            })?;
            self.families.insert(family, Module { handle, functions: HashMap::new() });
        }
        Ok(())
    }

    /// The entry point of a launch. The device's context must be current.
    pub(super) fn function(
        &mut self,
        launch: &Launch<'_>,
        capability: (u32, u32),
    ) -> Result<sys::CUfunction, String> {
        let Launch { source, entry, .. } = *launch;
        let family = source.family;
        self.load(source, capability)?;
        let module = self.families.get_mut(family).expect("loaded just now");
        if let Some(&function) = module.functions.get(entry) {
            return Ok(function);
        }
        // SAFETY: the module is loaded and not unloaded before `release`.
        let function = unsafe { result::module::get_function(module.handle, c_name(entry)?) };
        let function = function
            .map_err(|error| format!("`{family}` has no kernel `{entry}`: {}", text(error)))?;
        if launch.shared > 0 {
            use sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            let attribute = CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // Of one entry point every launch asks for as much.
            // SAFETY: the function is of a module that is loaded.
            unsafe {
                result::function::set_function_attribute(function, attribute, launch.shared as i32)
            }
            .map_err(|error| {
                format!(
                    "`{entry}` asks for {} bytes of shared memory: {}",
                    launch.shared,
                    text(error)
                )
            })?;
        }
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

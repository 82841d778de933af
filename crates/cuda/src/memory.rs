//! A device's memory as Rust owns it: given back when the last tensor lets go.

use crate::driver::Driver;
use std::sync::Arc;

/// Some of a device's memory.
#[derive(Debug)]
pub(crate) struct Memory {
    driver: Arc<dyn Driver>,
    address: u64,
    bytes: usize,
}

impl Memory {
    pub(crate) fn new(driver: &Arc<dyn Driver>, bytes: usize) -> Result<Memory, String> {
        // An empty tensor has an address too: kernels are handed it, and read nothing.
        let bytes = bytes.max(4);
        let address = driver.alloc(bytes)?;
        Ok(Memory { driver: Arc::clone(driver), address, bytes })
    }

    pub(crate) fn address(&self) -> u64 {
        self.address
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.driver.free(self.address, self.bytes);
    }
}

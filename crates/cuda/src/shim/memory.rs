//! Buffers between canaries.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::collections::HashMap;

/// Bytes before and behind each buffer: several warps' worth of a wrong index.
const CANARY: usize = 1024;
/// As f32 and f64 it is NaN, as u32 the largest number.
const POISON: u8 = 0xff;

/// Every buffer that is in use.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// The buffers' sizes, by address.
    buffers: HashMap<u64, usize>,
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes + 2 * CANARY, 256).expect("a test's buffers are small")
}

impl Watched {
    pub(super) fn alloc(&mut self, bytes: usize) -> u64 {
        let layout = layout(bytes);
        // SAFETY: the layout is not empty, and all of it is written at once.
        let start = unsafe {
            let start = alloc(layout);
            if start.is_null() {
                handle_alloc_error(layout);
            }
            start.write_bytes(POISON, layout.size());
            start.add(CANARY)
        };
        self.buffers.insert(start as u64, bytes);
        start as u64
    }

    pub(super) fn free(&mut self, address: u64) {
        let Some(bytes) = self.buffers.remove(&address) else { return };
        let layout = layout(bytes);
        // SAFETY: `alloc` made it with the same layout, and it was taken off the list just now.
        unsafe {
            let start = (address as *mut u8).sub(CANARY);
            // Whoever still reads it shall see NaN.
            start.write_bytes(POISON, layout.size());
            dealloc(start, layout);
        }
    }

    /// Refuses what is not within one buffer, from its beginning.
    pub(super) fn bounds(&self, address: u64, bytes: usize) -> Result<(), String> {
        match self.buffers.get(&address) {
            Some(&size) if bytes <= size => Ok(()),
            _ => Err(format!("{bytes} bytes at {address:#x} are not within a buffer")),
        }
    }

    /// Refuses a write beyond a buffer's ends.
    pub(super) fn check(&self) -> Result<(), String> {
        for (&address, &bytes) in &self.buffers {
            // SAFETY: the canaries are part of what `alloc` made, and nothing writes them but a faulty kernel.
            let (before, behind) = unsafe {
                let start = (address as *const u8).sub(CANARY);
                let behind = (address as *const u8).add(bytes);
                (
                    std::slice::from_raw_parts(start, CANARY),
                    std::slice::from_raw_parts(behind, CANARY),
                )
            };
            for (place, canary) in [("before", before), ("behind", behind)] {
                if canary.iter().any(|&byte| byte != POISON) {
                    return Err(format!("something was written {place} a buffer of {bytes} bytes"));
                }
            }
        }
        Ok(())
    }
}

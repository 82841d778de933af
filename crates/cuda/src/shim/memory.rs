//! Buffers between canaries.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::collections::HashMap;

/// Bytes before and behind each buffer: several warps' worth of a wrong index.
const CANARY: usize = 1024;
/// As f32 and f64 it is NaN, as u32 the largest number.
const POISON: u8 = 0xff;

/// What stands before and behind buffers: NaN too, but in each place another one, so that what is read beyond one end
/// and written beyond another shows.
fn canary(address: usize) -> u32 {
    let place = (address / 4).wrapping_mul(0x9e37_79b1);
    0xffff_0000 | (place >> 8 & 0xfffe) as u32
}

/// The words of what stands before and behind a buffer: `CANARY` bytes before and at least as many behind, from its last
/// whole word on.
fn canaries(address: u64, bytes: usize) -> impl Iterator<Item = *mut u32> {
    let start = address as usize;
    let before = (start - CANARY..start).step_by(4);
    let behind = (start + bytes.next_multiple_of(4)..start + bytes + CANARY - 4).step_by(4);
    before.chain(behind).map(|place| place as *mut u32)
}

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
        for word in canaries(start as u64, bytes) {
            // SAFETY: it lies in what was allocated, and is aligned as that is.
            unsafe { word.write(canary(word as usize)) };
        }
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
            for word in canaries(address, bytes) {
                // SAFETY: the canaries are part of what `alloc` made, and nothing writes them but a faulty kernel.
                if unsafe { word.read() } != canary(word as usize) {
                    let place = if (word as u64) < address { "before" } else { "behind" };
                    return Err(format!("something was written {place} a buffer of {bytes} bytes"));
                }
            }
        }
        Ok(())
    }
}

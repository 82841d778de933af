//! Copies between host and device through pinned memory.
//!
//! Pageable memory would make the driver wait for each copy. Uploads go through two halves in turn: while one is on its
//! way, the host fills the other, and goes on with its work when all is under way.

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;
use std::ffi::c_void;

/// Bytes of one half.
const HALF: usize = 4 << 20;

/// The two halves, when there was something to copy.
#[derive(Default)]
pub(super) struct Staging {
    halves: Option<[Half; 2]>,
    next: usize,
}

struct Half {
    memory: *mut c_void,
    /// Recorded behind the last copy out of this half.
    copied: sys::CUevent,
}

impl Half {
    /// The context must be current.
    fn new() -> Result<Half, DriverError> {
        // Ordinary caching: the host also reads it.
        // SAFETY: released by `Staging::release`, or just below.
        let memory = unsafe { result::malloc_host(HALF, 0)? };
        match result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING) {
            Ok(copied) => Ok(Half { memory, copied }),
            Err(error) => {
                // SAFETY: taken above.
                let _ = unsafe { result::free_host(memory) };
                Err(error)
            }
        }
    }
}

impl Staging {
    fn halves(&mut self) -> Result<&[Half; 2], DriverError> {
        if self.halves.is_none() {
            self.halves = Some([Half::new()?, Half::new()?]);
        }
        Ok(self.halves.as_ref().expect("made just now"))
    }

    /// Queues a copy to the device; `bytes` may change afterwards.
    ///
    /// # Safety
    ///
    /// `to` must be a buffer of at least as many bytes, and the stream's context current.
    pub(super) unsafe fn upload(
        &mut self,
        stream: sys::CUstream,
        to: u64,
        bytes: &[u8],
    ) -> Result<(), DriverError> {
        for (index, chunk) in bytes.chunks(HALF).enumerate() {
            let next = self.next;
            self.next = 1 - next;
            let half = &self.halves()?[next];
            // SAFETY: the event lives as long as its half; the half is long enough, and no copy reads it any more.
            unsafe {
                result::event::synchronize(half.copied)?;
                std::ptr::copy_nonoverlapping(chunk.as_ptr(), half.memory.cast(), chunk.len());
                let staged = std::slice::from_raw_parts(half.memory.cast::<u8>(), chunk.len());
                result::memcpy_htod_async(to + (index * HALF) as u64, staged, stream)?;
                result::event::record(half.copied, stream)?;
            }
        }
        Ok(())
    }

    /// Copies from the device, after all that was queued.
    ///
    /// # Safety
    ///
    /// `from` must be a buffer of at least as many bytes, and the stream's context current.
    pub(super) unsafe fn download(
        &mut self,
        stream: sys::CUstream,
        from: u64,
        bytes: &mut [u8],
    ) -> Result<(), DriverError> {
        for (index, chunk) in bytes.chunks_mut(HALF).enumerate() {
            let half = &self.halves()?[0];
            // SAFETY: the half is long enough; an upload out of it was queued before and is over when the stream has
            // been waited for, before anything is read.
            unsafe {
                let staged = std::slice::from_raw_parts_mut(half.memory.cast::<u8>(), chunk.len());
                result::memcpy_dtoh_async(staged, from + (index * HALF) as u64, stream)?;
                result::stream::synchronize(stream)?;
                chunk.copy_from_slice(staged);
            }
        }
        Ok(())
    }

    /// Gives the halves back.
    ///
    /// # Safety
    ///
    /// No copy may be under way, and the context must be current.
    pub(super) unsafe fn release(&mut self) {
        for half in self.halves.take().into_iter().flatten() {
            // SAFETY: taken by `Half::new`, and given back once.
            unsafe {
                let _ = result::event::destroy(half.copied);
                let _ = result::free_host(half.memory);
            }
        }
    }
}

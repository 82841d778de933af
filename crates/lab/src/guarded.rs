//! Operands that end where a page ends, so that what is read or written beyond one is a fault, and the fault says whose.
//!
//! ```text
//! | no access | canaries ... operand | no access |
//! ```
//!
//! Inputs may be read alone. What stands before an operand on its first page is looked at after each call.

use crate::library::CTensor;
use crate::verdict::{MARK, Place};
use std::ffi::c_int;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What stands before an operand: as f32 it is NaN.
const CANARY: u8 = 0xff;
/// More operands of one call are not watched over.
const MOST: usize = 256;

/// Where the operands of the call that runs lie, for the handler: from the page before to the page behind.
static REGIONS: [[AtomicUsize; 3]; MOST] = [const { [const { AtomicUsize::new(0) }; 3] }; MOST];

/// Memory between two pages without access.
struct Region {
    start: *mut u8,
    bytes: usize,
    page: usize,
}

impl Region {
    /// Fails when the system has no memory.
    fn new(bytes: usize) -> Result<Region, String> {
        // SAFETY: it only asks.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let page = usize::try_from(page).map_err(|_| "the size of a page is not known")?;
        let whole = bytes.next_multiple_of(page).max(page) + 2 * page;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping, wherever the system likes.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), whole, libc::PROT_NONE, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(format!("out of memory for {whole} bytes"));
        }
        let region = Region { start: start.cast(), bytes, page };
        region.protect(libc::PROT_READ | libc::PROT_WRITE)?;
        // SAFETY: all between the two outer pages is ours and may be written.
        unsafe { region.first().write_bytes(CANARY, region.inner()) };
        Ok(region)
    }

    /// Bytes between the two outer pages.
    fn inner(&self) -> usize {
        self.bytes.next_multiple_of(self.page).max(self.page)
    }

    fn first(&self) -> *mut u8 {
        self.start.wrapping_add(self.page)
    }

    /// The operand: the last bytes.
    fn data(&self) -> *mut u8 {
        self.first().wrapping_add(self.inner() - self.bytes)
    }

    fn protect(&self, access: c_int) -> Result<(), String> {
        // SAFETY: the pages are whole and ours.
        match unsafe { libc::mprotect(self.first().cast(), self.inner(), access) } {
            0 => Ok(()),
            _ => Err("a page's access could not be changed".to_owned()),
        }
    }

    /// Whether nothing was written before the operand.
    fn is_sound(&self) -> bool {
        let before = self.inner() - self.bytes;
        // SAFETY: these bytes were written when the region was made, and can be read.
        unsafe { std::slice::from_raw_parts(self.first(), before) }.iter().all(|&b| b == CANARY)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with the same length, and nobody has its address any more.
        unsafe { libc::munmap(self.start.cast(), self.inner() + 2 * self.page) };
    }
}

/// Calls `run` on copies of the operands, and copies the outputs back. Fails when something before an operand was written;
/// what was done beyond one ends the process, with a line that [`Place`] understands.
pub(crate) fn call(
    names: &[&str],
    inputs: &[&[u8]],
    outputs: &mut [&mut [u8]],
    run: impl FnOnce(&[CTensor]),
) -> Result<(), String> {
    static ONCE: Once = Once::new();
    ONCE.call_once(install);
    let mut regions = Vec::new();
    for input in inputs {
        let region = Region::new(input.len())?;
        // SAFETY: the region has as many bytes as the input, which lies elsewhere.
        unsafe { region.data().copy_from_nonoverlapping(input.as_ptr(), input.len()) };
        region.protect(libc::PROT_READ)?;
        regions.push(region);
    }
    for output in outputs.iter() {
        regions.push(Region::new(output.len())?);
    }
    for (place, region) in REGIONS.iter().zip(&regions) {
        let start = region.start as usize;
        let bounds = [start, region.data() as usize, start + region.inner() + 2 * region.page];
        for (word, bound) in place.iter().zip(bounds) {
            word.store(bound, Ordering::SeqCst);
        }
    }
    let tensors: Vec<CTensor> = regions
        .iter()
        .map(|region| CTensor { data: region.data().cast(), elements: region.bytes as u64 / 4 })
        .collect();
    run(&tensors);
    for place in &REGIONS {
        place.iter().for_each(|word| word.store(0, Ordering::SeqCst));
    }
    for (output, region) in outputs.iter_mut().zip(&regions[inputs.len()..]) {
        // SAFETY: the region has as many bytes as the output, which lies elsewhere.
        unsafe { output.as_mut_ptr().copy_from_nonoverlapping(region.data(), output.len()) };
    }
    match regions.iter().position(|region| !region.is_sound()) {
        None => Ok(()),
        Some(place) => {
            let name = names.get(place).copied().unwrap_or("an operand");
            Err(format!("something was written before the beginning of {name}"))
        }
    }
}

/// Has faults told.
fn install() {
    // SAFETY: the handler does nothing that a handler must not; the struct of zeros is a valid one.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = fault as *const () as usize;
        // On the stack that the runtime keeps for it: the fault may be that there is none left.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigaction(libc::SIGSEGV, &action, std::ptr::null_mut());
        libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut());
    }
}

/// Says in which operand's neighbourhood a fault lies, if in one, and ends the process as the fault would have.
extern "C" fn fault(signal: c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the system hands over a valid struct.
    let address = unsafe { (*info).si_addr() } as usize;
    for (number, place) in REGIONS.iter().enumerate() {
        let [start, data, end] = [0, 1, 2].map(|word| place[word].load(Ordering::SeqCst));
        if (start..end).contains(&address) {
            // Beyond the operand is the page behind it; on its own pages it may have been read alone.
            // SAFETY: it only asks.
            let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
            let side = match address {
                _ if address >= end - page => Place::BEHIND,
                _ if address < data => Place::BEFORE,
                _ => Place::INSIDE,
            };
            let digits = [
                b'0' + (number / 100) as u8,
                b'0' + (number / 10 % 10) as u8,
                b'0' + (number % 10) as u8,
            ];
            for part in
                [b"\n", MARK.as_bytes(), Place::WORD.as_bytes(), &[side, b' '], &digits, b"\n"]
            {
                // SAFETY: the bytes are there; a handler may write.
                unsafe { libc::write(1, part.as_ptr().cast(), part.len()) };
            }
        }
    }
    // SAFETY: the usual end, which a handler may ask for.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

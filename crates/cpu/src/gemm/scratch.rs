//! Scratch memory that a thread keeps from one multiply to the next.

use std::cell::RefCell;

use super::GemmElement;
use crate::{memory, pages};

/// Buffers larger than this (elements) are given back to the system after use.
const LARGEST_KEPT: usize = 1 << 24;

/// Bytes of a cache line: no vector of an aligned panel straddles two.
const ALIGNMENT: usize = 64;

/// A thread's free buffers.
///
/// A stack, not one buffer: a thread that waits for its parallel tiles may be given another
/// multiply to do meanwhile, which then takes the next buffer.
pub(crate) type Buffers<E> = RefCell<Vec<Vec<E>>>;

/// Calls `work` with `length` elements of scratch, aligned, of whatever values.
pub(crate) fn with<E: GemmElement, R>(length: usize, work: impl FnOnce(&mut [E]) -> R) -> R {
    let padded = length + ALIGNMENT / size_of::<E>();
    let mut buffer = E::scratch().with(|free| best(&mut free.borrow_mut(), padded));
    if buffer.len() < padded {
        // Nothing of the old is needed: clearing first saves its copy.
        buffer.clear();
        memory::reserve(&mut buffer, padded);
        pages::prefer_large(&mut buffer);
        buffer.resize(padded, E::ZERO);
    }
    let skip = buffer.as_ptr().align_offset(ALIGNMENT).min(padded - length);
    // Where tests run, what is read before it is written shows.
    if cfg!(debug_assertions) {
        buffer[skip..skip + length].fill(E::NAN);
    }
    let result = work(&mut buffer[skip..skip + length]);
    if buffer.len() <= LARGEST_KEPT {
        E::scratch().with(|free| free.borrow_mut().push(buffer));
    }
    result
}

/// Takes the smallest buffer that is long enough, or else the longest, or a new one: jobs that need buffers of several
/// lengths get back those that they had.
fn best<E>(free: &mut Vec<Vec<E>>, length: usize) -> Vec<E> {
    let fitting = (0..free.len()).filter(|&index| free[index].len() >= length);
    let index = fitting
        .min_by_key(|&index| free[index].len())
        .or_else(|| (0..free.len()).max_by_key(|&index| free[index].len()));
    index.map(|index| free.swap_remove(index)).unwrap_or_default()
}

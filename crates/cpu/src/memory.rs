//! Memory of kernels that the system may refuse.
//!
//! A kernel has no way to fail: it is handed buffers that are there. What it needs besides, it takes here; where there is
//! none, the kernel is unwound, through all threads that work on it, to the launch, which returns an error. Panic hooks
//! hear nothing of that. Only what grows with tensors is taken here, lists of their rows among it: tables of taps, sums of
//! channels and the like are small, and without memory for those a program ends as Rust's programs do.

use bytemuck::Zeroable;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// How many bytes were refused.
struct Refused(usize);

/// A vector of zeros.
pub(crate) fn zeros<E: Zeroable + Clone>(elements: usize) -> Vec<E> {
    let mut values = room(elements);
    values.resize(elements, E::zeroed());
    values
}

/// Sees to it that a vector can hold so many elements more.
pub(crate) fn reserve<E>(values: &mut Vec<E>, elements: usize) {
    if values.try_reserve(elements).is_err() {
        resume_unwind(Box::new(Refused(elements.saturating_mul(size_of::<E>()))));
    }
}

/// An empty vector with room for so many elements.
pub(crate) fn room<E>(elements: usize) -> Vec<E> {
    let mut values = Vec::new();
    reserve(&mut values, elements);
    values
}

/// What an iterator yields.
pub(crate) fn list<E>(items: impl ExactSizeIterator<Item = E>) -> Vec<E> {
    let mut values = room(items.len());
    values.extend(items);
    values
}

/// Appends an element.
pub(crate) fn push<E>(values: &mut Vec<E>, element: E) {
    reserve(values, 1);
    values.push(element);
}

/// Runs a kernel. Fails, telling the bytes, if it was refused memory.
pub(crate) fn caught(kernel: impl FnOnce()) -> Result<(), usize> {
    // Whatever it has written to is its launch's, which fails, or a thread's scratch, which holds anything.
    let ended = catch_unwind(AssertUnwindSafe(kernel));
    ended.or_else(|payload| match payload.downcast::<Refused>() {
        Ok(refused) => Err(refused.0),
        Err(other) => resume_unwind(other),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;

    #[test]
    fn a_kernel_that_is_refused_memory_ends_with_the_number_of_bytes() {
        assert_eq!(caught(|| assert_eq!(zeros::<f32>(3), [0.0; 3])), Ok(()));
        assert_eq!(caught(|| drop(zeros::<f64>(1 << 58))), Err(1 << 61));
        assert_eq!(caught(|| drop(zeros::<f64>(usize::MAX))), Err(usize::MAX));
        // Out of another thread.
        let work = |at: usize| drop(zeros::<u32>(if at == 70 { 1 << 59 } else { at }));
        assert_eq!(caught(|| (0..100).into_par_iter().for_each(work)), Err(1 << 61));
        let other = catch_unwind(|| caught(|| resume_unwind(Box::new("another"))));
        assert_eq!(other.unwrap_err().downcast_ref(), Some(&"another"));
    }
}

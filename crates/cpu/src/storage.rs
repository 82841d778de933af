//! The CPU's memory: vectors that return to a pool.
//!
//! A training step makes and drops the same buffers over and over. Taking them from the system each time costs a page
//! fault for every 4 KiB; keeping them costs nothing, because one step's buffers are the next one's.

use crate::pages;
use belamy_tensor::{DType, Element};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The numbers of one buffer.
#[derive(Debug)]
enum Numbers {
    F32(Vec<f32>),
    F64(Vec<f64>),
    U32(Vec<u32>),
}

/// One buffer's memory, given back to its pool on drop.
#[derive(Debug)]
pub(crate) struct Storage {
    numbers: Numbers,
    pool: Arc<Pool>,
}

impl Storage {
    /// The numbers as bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.numbers {
            Numbers::F32(values) => bytemuck::cast_slice(values),
            Numbers::F64(values) => bytemuck::cast_slice(values),
            Numbers::U32(values) => bytemuck::cast_slice(values),
        }
    }

    /// The numbers as bytes to write.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.numbers {
            Numbers::F32(values) => bytemuck::cast_slice_mut(values),
            Numbers::F64(values) => bytemuck::cast_slice_mut(values),
            Numbers::U32(values) => bytemuck::cast_slice_mut(values),
        }
    }

    /// The element type.
    pub(crate) fn dtype(&self) -> DType {
        match self.numbers {
            Numbers::F32(_) => DType::F32,
            Numbers::F64(_) => DType::F64,
            Numbers::U32(_) => DType::U32,
        }
    }

    /// The numbers as `E`, which the caller has matched to [`Storage::dtype`].
    pub(crate) fn values<E: Element>(&self) -> &[E] {
        assert_eq!(E::DTYPE, self.dtype(), "a kernel read a buffer as another type");
        bytemuck::cast_slice(self.bytes())
    }

    /// The numbers as `E`, to write.
    pub(crate) fn values_mut<E: Element>(&mut self) -> &mut [E] {
        assert_eq!(E::DTYPE, self.dtype(), "a kernel wrote a buffer as another type");
        bytemuck::cast_slice_mut(self.bytes_mut())
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        let numbers = std::mem::replace(&mut self.numbers, Numbers::U32(Vec::new()));
        self.pool.put(numbers);
    }
}

/// Buffers that nobody uses at the moment, by type and length.
#[derive(Debug)]
pub(crate) struct Pool {
    free: Mutex<Free>,
    poison: bool,
}

#[derive(Debug, Default)]
struct Free {
    numbers: HashMap<(DType, usize), Vec<Numbers>>,
    bytes: usize,
}

/// A pool that holds more than this lets go of everything: the program has moved on to other shapes.
const MOST_BYTES: usize = 4 << 30;

impl Pool {
    /// An empty pool; `poison` fills every buffer with NaN before it is used.
    pub(crate) fn new(poison: bool) -> Arc<Pool> {
        Arc::new(Pool { free: Mutex::default(), poison })
    }

    /// A buffer with unspecified contents; `None` when the system has no memory for it.
    pub(crate) fn take(pool: &Arc<Pool>, dtype: DType, elements: usize) -> Option<Storage> {
        let kept = {
            let mut free = pool.free.lock().unwrap_or_else(PoisonError::into_inner);
            let kept = free.numbers.get_mut(&(dtype, elements)).and_then(Vec::pop);
            if kept.is_some() {
                free.bytes -= elements * dtype.bytes();
            }
            kept
        };
        let mut numbers = match kept {
            Some(numbers) => numbers,
            None => match dtype {
                DType::F32 => Numbers::F32(zeros(elements)?),
                DType::F64 => Numbers::F64(zeros(elements)?),
                DType::U32 => Numbers::U32(zeros(elements)?),
            },
        };
        if pool.poison {
            match &mut numbers {
                Numbers::F32(values) => values.fill(f32::NAN),
                Numbers::F64(values) => values.fill(f64::NAN),
                Numbers::U32(values) => values.fill(u32::MAX),
            }
        }
        Some(Storage { numbers, pool: Arc::clone(pool) })
    }

    /// Lets go of every buffer that nobody uses.
    pub(crate) fn clear(&self) {
        *self.free.lock().unwrap_or_else(PoisonError::into_inner) = Free::default();
    }

    fn put(&self, numbers: Numbers) {
        let (dtype, elements) = match &numbers {
            Numbers::F32(values) => (DType::F32, values.len()),
            Numbers::F64(values) => (DType::F64, values.len()),
            Numbers::U32(values) => (DType::U32, values.len()),
        };
        if elements == 0 {
            return;
        }
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = elements * dtype.bytes();
        if free.bytes + bytes > MOST_BYTES {
            *free = Free::default();
        }
        free.bytes += bytes;
        free.numbers.entry((dtype, elements)).or_default().push(numbers);
    }
}

/// A vector of zeros, or nothing if the system refuses the memory.
fn zeros<E: Element>(elements: usize) -> Option<Vec<E>> {
    let mut values = Vec::new();
    values.try_reserve_exact(elements).ok()?;
    pages::prefer_large(&mut values);
    values.resize(elements, E::zeroed());
    Some(values)
}

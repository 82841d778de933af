//! The device's memory: buffers that return to a pool.
//!
//! A training step makes and drops the same buffers over and over. One that is dropped may be handed out again at
//! once, though launches which use it have only been recorded: the device's queue keeps the order.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of NaN on each side of a buffer, in tests: the offset of a binding is a multiple of this.
pub(crate) const CANARY: u64 = 256;
/// A quiet NaN with a pattern of its own, which no arithmetic makes.
const NAN: u32 = 0x7fda_dead;
/// Buffers are whole vectors of four numbers, so that shaders may read them as such.
const GRAIN: u64 = 16;

/// One buffer, given back to its pool on drop.
#[derive(Debug)]
pub(crate) struct Storage {
    /// Always there, until `drop` takes it.
    block: Option<Block>,
    pool: Arc<Pool>,
}

#[derive(Debug)]
struct Block {
    buffer: wgpu::Buffer,
    id: u64,
    /// Bytes that kernels may use, a multiple of [`GRAIN`].
    bytes: u64,
    /// The batch that it was last used in.
    batch: AtomicU64,
}

impl Storage {
    fn block(&self) -> &Block {
        self.block.as_ref().expect("a storage has its block until it is dropped")
    }

    /// The buffer that it lies in.
    pub(crate) fn buffer(&self) -> &wgpu::Buffer {
        &self.block().buffer
    }

    /// What distinguishes the buffer from every other of this device.
    pub(crate) fn id(&self) -> u64 {
        self.block().id
    }

    /// Notes that a dispatch of this batch uses it.
    pub(crate) fn used_in(&self, batch: u64) {
        self.block().batch.store(batch, Ordering::Relaxed);
    }

    /// Whether nothing in this batch or a later one has used it.
    pub(crate) fn unused_in(&self, batch: u64) -> bool {
        self.block().batch.load(Ordering::Relaxed) < batch
    }

    /// Where its numbers begin in the buffer, in bytes.
    pub(crate) fn start(&self) -> u64 {
        if self.pool.canaries { CANARY } else { 0 }
    }

    /// What kernels are bound to: all of the numbers; in tests the canary behind them too, so that what reads beyond
    /// the end is seen.
    pub(crate) fn binding(&self) -> wgpu::BindingResource<'_> {
        wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: &self.block().buffer,
            offset: self.start(),
            size: wgpu::BufferSize::new(self.readable()),
        })
    }

    /// How many bytes that are, from `start` on.
    pub(crate) fn readable(&self) -> u64 {
        self.block().bytes + if self.pool.canaries { CANARY } else { 0 }
    }

    /// Lets go of a buffer that could not be had: the pool must not hand it out again.
    pub(crate) fn discard(mut self) {
        self.block = None;
    }

    /// Fills numbers and canaries with NaN.
    pub(crate) fn poison(&self, queue: &wgpu::Queue) {
        let words = vec![NAN; (self.block().bytes + 2 * CANARY) as usize / 4];
        queue.write_buffer(self.buffer(), 0, bytemuck::cast_slice(&words));
    }

    /// Where the canaries begin.
    pub(crate) fn canaries(&self) -> [u64; 2] {
        [0, CANARY + self.block().bytes]
    }
}

/// Whether a canary is as it was.
pub(crate) fn alive(bytes: &[u8]) -> bool {
    bytes.chunks_exact(4).all(|word| word == NAN.to_le_bytes())
}

impl Drop for Storage {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            self.pool.free().blocks.entry(block.bytes).or_default().push(block);
        }
    }
}

/// Buffers that nobody uses at the moment, by size.
#[derive(Debug)]
pub(crate) struct Pool {
    free: Mutex<Free>,
    canaries: bool,
}

#[derive(Debug, Default)]
struct Free {
    blocks: HashMap<u64, Vec<Block>>,
    made: u64,
}

impl Pool {
    /// An empty pool, with or without canaries.
    pub(crate) fn new(canaries: bool) -> Arc<Pool> {
        Arc::new(Pool { free: Mutex::default(), canaries })
    }

    /// Whether buffers stand between canaries.
    pub(crate) fn canaries(&self) -> bool {
        self.canaries
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn size(elements: usize) -> u64 {
        (elements.max(1) as u64 * 4).next_multiple_of(GRAIN)
    }

    /// A buffer that was used before, with whatever it holds.
    pub(crate) fn reuse(pool: &Arc<Pool>, elements: usize) -> Option<Storage> {
        let block = pool.free().blocks.get_mut(&Self::size(elements))?.pop()?;
        Some(Storage { block: Some(block), pool: Arc::clone(pool) })
    }

    /// As [`Pool::reuse`], but only a buffer that nothing in this batch has used, so that the host may write it at once.
    pub(crate) fn reuse_unused(pool: &Arc<Pool>, elements: usize, batch: u64) -> Option<Storage> {
        let mut free = pool.free();
        let blocks = free.blocks.get_mut(&Self::size(elements))?;
        let unused = |block: &Block| block.batch.load(Ordering::Relaxed) < batch;
        let block = blocks.swap_remove(blocks.iter().position(unused)?);
        drop(free);
        Some(Storage { block: Some(block), pool: Arc::clone(pool) })
    }

    /// A new buffer.
    pub(crate) fn make(pool: &Arc<Pool>, device: &wgpu::Device, elements: usize) -> Storage {
        let bytes = Self::size(elements);
        let around = if pool.canaries { 2 * CANARY } else { 0 };
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: bytes + around,
            usage: wgpu::BufferUsages::STORAGE
                | wgpu::BufferUsages::COPY_SRC
                | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut free = pool.free();
        free.made += 1;
        let id = free.made;
        drop(free);
        Storage {
            block: Some(Block { buffer, id, bytes, batch: AtomicU64::new(0) }),
            pool: Arc::clone(pool),
        }
    }
}

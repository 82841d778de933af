//! The device's memory: buffers that return to a pool.
//!
//! A training step makes and drops the same buffers over and over. One that is dropped may be handed out again at
//! once, though launches which use it have only been recorded: the device's queue keeps the order.
//!
//! Of the free buffers of a size the oldest is handed out. Which one a launch gets then depends on which are in use
//! alone, not on the order in which they came back. What outlives a step, as new weights do, comes from a lineage of
//! its own: the buffers that have held this tensor before. All others are then free whenever a step begins, and a
//! repeated step meets the same buffers at the same places, and with them the same bind groups.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of NaN on each side of a buffer, in tests: the offset of a binding is a multiple of this.
pub(crate) const CANARY: u64 = 256;
/// A quiet NaN with a pattern of its own, which no arithmetic makes.
const NAN: u32 = 0x7fda_dead;
/// Buffers are whole vectors of four numbers, so that shaders may read them as such.
const GRAIN: u64 = 16;

/// The word of this number in a buffer's canaries: a quiet NaN, but in each place of each buffer another one, so that
/// what is read beyond one end and written beyond another shows, though arithmetic may have passed it on.
fn canary(id: u64, place: u64) -> u32 {
    let mixed = (id << 32 | place).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    0x7fc0_0000 | (mixed >> 42) as u32
}

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
    lineage: Lineage,
}

/// Which tensors a buffer serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lineage {
    /// Any.
    Common,
    /// The successors of the one that lay in the buffer of this number when they began.
    Of(u64),
    /// Those that outlive a step and succeed none.
    Lasting,
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

    /// The lineage of tensors that take the place of this one.
    pub(crate) fn successors(&self) -> Lineage {
        match self.block().lineage {
            Lineage::Of(founder) => Lineage::Of(founder),
            _ => Lineage::Of(self.id()),
        }
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
        if let Some(block) = self.block.take() {
            self.pool.free().taken -= block.bytes;
        }
    }

    /// Fills numbers and canaries with NaN.
    pub(crate) fn poison(&self, queue: &wgpu::Queue) {
        let mut words = vec![NAN; (self.block().bytes + 2 * CANARY) as usize / 4];
        for from in self.canaries() {
            let places = from / 4..(from + CANARY) / 4;
            places.for_each(|place| words[place as usize] = canary(self.id(), place));
        }
        queue.write_buffer(self.buffer(), 0, bytemuck::cast_slice(&words));
    }

    /// Where the canaries begin.
    pub(crate) fn canaries(&self) -> [u64; 2] {
        [0, CANARY + self.block().bytes]
    }

    /// Whether the canary that begins here is as it was.
    pub(crate) fn is_alive(&self, from: u64, bytes: &[u8]) -> bool {
        let mut words = bytes.chunks_exact(4).zip(from / 4..);
        words.all(|(word, place)| word == canary(self.id(), place).to_le_bytes())
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            let key = (block.bytes, block.lineage);
            self.pool.free().blocks.entry(key).or_default().insert(block.id, block);
        }
    }
}

/// Buffers that nobody uses at the moment, by size.
#[derive(Debug)]
pub(crate) struct Pool {
    free: Mutex<Free>,
    canaries: bool,
    limit: u64,
}

#[derive(Debug, Default)]
struct Free {
    /// By size and lineage, and number.
    blocks: HashMap<(u64, Lineage), BTreeMap<u64, Block>>,
    made: u64,
    /// Bytes of all buffers there are, free or not.
    taken: u64,
}

impl Pool {
    /// An empty pool, with or without canaries, that takes at most `limit` bytes from the system.
    pub(crate) fn new(canaries: bool, limit: u64) -> Arc<Pool> {
        Arc::new(Pool { free: Mutex::default(), canaries, limit })
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

    /// Bytes of all buffers there are, in use or free.
    pub(crate) fn taken(&self) -> u64 {
        self.free().taken
    }

    /// A buffer that was used before, with whatever it holds.
    pub(crate) fn reuse(pool: &Arc<Pool>, elements: usize, lineage: Lineage) -> Option<Storage> {
        let key = (Self::size(elements), lineage);
        let (_, block) = pool.free().blocks.get_mut(&key)?.pop_first()?;
        Some(Storage { block: Some(block), pool: Arc::clone(pool) })
    }

    /// A new buffer, or nothing where that would be more than the limit.
    pub(crate) fn make(
        pool: &Arc<Pool>,
        device: &wgpu::Device,
        elements: usize,
        lineage: Lineage,
    ) -> Option<Storage> {
        let bytes = Self::size(elements);
        let mut free = pool.free();
        if bytes > pool.limit.saturating_sub(free.taken) {
            return None;
        }
        free.taken += bytes;
        free.made += 1;
        let id = free.made;
        drop(free);
        let around = if pool.canaries { 2 * CANARY } else { 0 };
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: bytes + around,
            usage: wgpu::BufferUsages::STORAGE
                | wgpu::BufferUsages::COPY_SRC
                | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let block = Block { buffer, id, bytes, lineage };
        Some(Storage { block: Some(block), pool: Arc::clone(pool) })
    }

    /// Gives the free buffers back to the system. What was recorded with them must have been submitted.
    pub(crate) fn release(&self) {
        let mut free = self.free();
        let blocks = std::mem::take(&mut free.blocks);
        for block in blocks.into_values().flat_map(BTreeMap::into_values) {
            free.taken -= block.bytes;
            block.buffer.destroy();
        }
    }
}

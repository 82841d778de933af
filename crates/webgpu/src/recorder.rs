//! Launches, collected and submitted together: the device is fed by few large batches instead of many small ones.

use crate::memory::Storage;
use crate::textures::Fill;
use crate::uniforms::BLOCK;

/// Blocks of parameters in a batch at most, which is nearly its dispatches. Long enough to make submitting cheap, short
/// enough to start early.
const BATCH: usize = 256;
/// Blocks that one write from the host may take in a batch; a longer one goes by a way of its own.
const WRITE: usize = 16;

/// One dispatch, ready to be encoded.
#[derive(Debug)]
pub(crate) struct Dispatch {
    /// The shader.
    pub(crate) pipeline: wgpu::ComputePipeline,
    /// What it reads and writes.
    pub(crate) bind_group: wgpu::BindGroup,
    /// How many groups along x and y.
    pub(crate) groups: [u32; 2],
    /// What goes to textures before.
    pub(crate) fills: Vec<Fill>,
}

/// What is done with some of the batch's blocks.
#[derive(Debug)]
enum Work {
    /// A kernel runs by them.
    Dispatch(Dispatch),
    /// So many bytes go to a buffer, from an offset.
    Write(wgpu::Buffer, u64, u64),
}

/// What was launched and not yet submitted.
#[derive(Debug)]
pub(crate) struct Recorder {
    /// In order, each with where its blocks begin, in bytes.
    work: Vec<(Work, usize)>,
    blocks: Vec<u8>,
    copy: Option<wgpu::CommandEncoder>,
    uniforms: wgpu::Buffer,
    staging: Option<wgpu::Buffer>,
}

impl Recorder {
    pub(crate) fn new(device: &wgpu::Device) -> Recorder {
        let uniforms = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("parameters"),
            size: ((BATCH + WRITE) * BLOCK) as u64,
            usage: wgpu::BufferUsages::UNIFORM
                | wgpu::BufferUsages::COPY_SRC
                | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let blocks = Vec::with_capacity((BATCH + WRITE) * BLOCK);
        Recorder { work: Vec::with_capacity(BATCH), blocks, copy: None, uniforms, staging: None }
    }

    /// The buffer that parameters are read from.
    pub(crate) fn uniforms(&self) -> &wgpu::Buffer {
        &self.uniforms
    }

    /// Adds a dispatch with its parameters; true when the batch is full.
    pub(crate) fn push(&mut self, dispatch: Dispatch, block: [u8; BLOCK]) -> bool {
        self.work.push((Work::Dispatch(dispatch), self.blocks.len()));
        self.blocks.extend_from_slice(&block);
        self.is_full()
    }

    fn is_full(&self) -> bool {
        self.blocks.len() >= BATCH * BLOCK
    }

    /// Whether so many bytes are few enough to be written between dispatches.
    pub(crate) fn can_write(bytes: usize) -> bool {
        bytes <= WRITE * BLOCK
    }

    /// Adds a write from the host, at its place between the dispatches, so that the buffer may have had another life
    /// before and nothing need be submitted for it; true when the batch is full.
    pub(crate) fn write(&mut self, storage: &Storage, bytes: &[u8]) -> bool {
        let write = Work::Write(storage.buffer().clone(), storage.start(), bytes.len() as u64);
        self.work.push((write, self.blocks.len()));
        self.blocks.extend_from_slice(bytes);
        self.blocks.resize(self.blocks.len().next_multiple_of(BLOCK), 0);
        self.is_full()
    }

    fn encode(&mut self, device: &wgpu::Device, queue: &wgpu::Queue) -> wgpu::CommandEncoder {
        // The copy of the blocks is ordered before the batch and behind the batches before it.
        if !self.blocks.is_empty() {
            queue.write_buffer(&self.uniforms, 0, &self.blocks);
        }
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut pass = None;
        for (work, block) in &self.work {
            // Copies stand between passes.
            match work {
                Work::Write(buffer, start, bytes) => {
                    pass = None;
                    let from = *block as u64;
                    encoder.copy_buffer_to_buffer(&self.uniforms, from, buffer, *start, *bytes);
                }
                Work::Dispatch(dispatch) => {
                    if !dispatch.fills.is_empty() {
                        pass = None;
                        dispatch.fills.iter().for_each(|fill| fill.encode(&mut encoder));
                    }
                    let pass = pass.get_or_insert_with(|| {
                        let descriptor = wgpu::ComputePassDescriptor::default();
                        encoder.begin_compute_pass(&descriptor).forget_lifetime()
                    });
                    pass.set_pipeline(&dispatch.pipeline);
                    pass.set_bind_group(0, &dispatch.bind_group, &[*block as u32]);
                    pass.dispatch_workgroups(dispatch.groups[0], dispatch.groups[1], 1);
                }
            }
        }
        drop(pass);
        self.work.clear();
        self.blocks.clear();
        encoder
    }

    /// Hands what was recorded to the device; false if there was nothing.
    pub(crate) fn submit(&mut self, device: &wgpu::Device, queue: &wgpu::Queue) -> bool {
        if self.work.is_empty() && self.copy.is_none() {
            return false;
        }
        let kernels = self.encode(device, queue);
        let copy = self.copy.take();
        queue.submit([Some(kernels), copy].into_iter().flatten().map(wgpu::CommandEncoder::finish));
        true
    }

    /// Records a copy of `bytes` from a buffer, behind all dispatches; returns the buffer to map after submitting.
    pub(crate) fn copy_out(
        &mut self,
        device: &wgpu::Device,
        storage: &Storage,
        from: u64,
        bytes: u64,
    ) -> wgpu::Buffer {
        let staging = match self.staging.take() {
            Some(staging) if staging.size() >= bytes => staging,
            _ => device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("to the host"),
                size: bytes.max(1 << 16),
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            }),
        };
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(storage.buffer(), from, &staging, 0, bytes);
        self.copy = Some(encoder);
        self.staging = Some(staging.clone());
        staging
    }
}

//! Launches, collected and submitted together: the device is fed by few large batches instead of many small ones.

use crate::memory::Storage;
use crate::textures::Fill;
use crate::uniforms::BLOCK;

/// Dispatches in a batch at most. Long enough to make submitting cheap, short enough to start early.
const BATCH: usize = 256;

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

/// What was launched and not yet submitted.
#[derive(Debug)]
pub(crate) struct Recorder {
    dispatches: Vec<Dispatch>,
    blocks: Vec<u8>,
    copy: Option<wgpu::CommandEncoder>,
    uniforms: wgpu::Buffer,
    staging: Option<wgpu::Buffer>,
    batch: u64,
}

impl Recorder {
    pub(crate) fn new(device: &wgpu::Device) -> Recorder {
        let uniforms = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("parameters"),
            size: (BATCH * BLOCK) as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let blocks = Vec::with_capacity(BATCH * BLOCK);
        Recorder {
            dispatches: Vec::with_capacity(BATCH),
            blocks,
            copy: None,
            uniforms,
            staging: None,
            batch: 1,
        }
    }

    /// The buffer that parameters are read from.
    pub(crate) fn uniforms(&self) -> &wgpu::Buffer {
        &self.uniforms
    }

    /// The number of the batch that is being recorded, from 1.
    pub(crate) fn batch(&self) -> u64 {
        self.batch
    }

    /// Adds a dispatch with its parameters; true when the batch is full.
    pub(crate) fn push(&mut self, dispatch: Dispatch, block: [u8; BLOCK]) -> bool {
        self.dispatches.push(dispatch);
        self.blocks.extend_from_slice(&block);
        self.dispatches.len() == BATCH
    }

    fn encode(&mut self, device: &wgpu::Device, queue: &wgpu::Queue) -> wgpu::CommandEncoder {
        // The copy of the parameters is ordered before the batch and behind the batches before it.
        if !self.blocks.is_empty() {
            queue.write_buffer(&self.uniforms, 0, &self.blocks);
        }
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut pass = None;
        for (index, dispatch) in self.dispatches.iter().enumerate() {
            if !dispatch.fills.is_empty() {
                // Copies stand between passes.
                pass = None;
                dispatch.fills.iter().for_each(|fill| fill.encode(&mut encoder));
            }
            let pass = pass.get_or_insert_with(|| {
                let descriptor = wgpu::ComputePassDescriptor::default();
                encoder.begin_compute_pass(&descriptor).forget_lifetime()
            });
            pass.set_pipeline(&dispatch.pipeline);
            pass.set_bind_group(0, &dispatch.bind_group, &[(index * BLOCK) as u32]);
            pass.dispatch_workgroups(dispatch.groups[0], dispatch.groups[1], 1);
        }
        drop(pass);
        self.dispatches.clear();
        self.blocks.clear();
        encoder
    }

    /// Hands what was recorded to the device; false if there was nothing.
    pub(crate) fn submit(&mut self, device: &wgpu::Device, queue: &wgpu::Queue) -> bool {
        if self.dispatches.is_empty() && self.copy.is_none() {
            return false;
        }
        let kernels = self.encode(device, queue);
        self.batch += 1;
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

//! The device's own clock, where an adapter lets it be read between submissions.

/// What reading the clock takes of an adapter.
const NEEDED: wgpu::Features =
    wgpu::Features::TIMESTAMP_QUERY.union(wgpu::Features::TIMESTAMP_QUERY_INSIDE_ENCODERS);
/// Bytes of two times.
const BYTES: u64 = 16;

/// Two places for times.
#[derive(Debug)]
pub(crate) struct Timestamps {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    host: wgpu::Buffer,
    /// Seconds of a tick.
    tick: f64,
}

impl Timestamps {
    /// What to ask of the adapter for it, if it has that.
    pub(crate) fn features(adapter: &wgpu::Adapter) -> wgpu::Features {
        if adapter.features().contains(NEEDED) { NEEDED } else { wgpu::Features::empty() }
    }

    /// For a device that was opened with those features; none for another.
    pub(crate) fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Option<Timestamps> {
        if !device.features().contains(NEEDED) {
            return None;
        }
        let buffer = |usage| {
            let size = BYTES;
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("times"),
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        Some(Timestamps {
            queries: device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("times"),
                ty: wgpu::QueryType::Timestamp,
                count: 2,
            }),
            resolved: buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
            host: buffer(wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ),
            tick: f64::from(queue.get_timestamp_period()) * 1e-9,
        })
    }

    /// Has the time taken, first 0 and then 1, when all that was submitted before is done.
    pub(crate) fn take(&self, device: &wgpu::Device, queue: &wgpu::Queue, place: u32) {
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.write_timestamp(&self.queries, place);
        if place == 1 {
            encoder.resolve_query_set(&self.queries, 0..2, &self.resolved, 0);
            encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.host, 0, BYTES);
        }
        queue.submit([encoder.finish()]);
    }

    /// The seconds between the two times; `wait` waits for the device.
    pub(crate) fn seconds<E>(
        &self,
        wait: impl FnOnce() -> Result<(), E>,
    ) -> Result<Option<f64>, E> {
        let slice = self.host.slice(..);
        slice.map_async(wgpu::MapMode::Read, |_| {});
        wait()?;
        let times = slice.get_mapped_range().ok().map(|view| {
            let time = |at: usize| {
                let word = view[at..at + 8].try_into().expect("eight bytes");
                u64::from_le_bytes(word)
            };
            time(8).saturating_sub(time(0))
        });
        self.host.unmap();
        Ok(times.map(|ticks| ticks as f64 * self.tick))
    }
}

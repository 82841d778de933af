//! Operands as textures, for kernels that read them so: a software adapter fetches texels several times faster than it
//! reads a buffer.
//!
//! There is one texture for each place among an entry point's inputs, and all launches use the same: the operand is
//! copied there right before the dispatch, and the queue keeps the order. A texture holds four numbers to a texel and
//! is filled row by row.

use crate::memory::Storage;

/// Texels in a row; the shaders say the same.
const TEXELS: u32 = 2048;
/// Rows at most: WebGPU's default limit.
const MOST_ROWS: u32 = 8192;
/// Bytes of a texel.
const TEXEL: u64 = 16;

/// A texture that operands pass through.
#[derive(Debug)]
pub(crate) struct Texture {
    texture: wgpu::Texture,
    pub(crate) view: wgpu::TextureView,
    /// What distinguishes it from every other texture, and from every buffer.
    pub(crate) id: u64,
}

/// The copy of an operand into its texture, which goes before a dispatch.
#[derive(Debug)]
pub(crate) struct Fill {
    texture: wgpu::Texture,
    buffer: wgpu::Buffer,
    start: u64,
    texels: u32,
}

impl Fill {
    /// Records the copy: whole rows, then what is left.
    pub(crate) fn encode(&self, encoder: &mut wgpu::CommandEncoder) {
        let (rows, rest) = (self.texels / TEXELS, self.texels % TEXELS);
        for (first, width, height) in [(0, TEXELS, rows), (rows, rest, 1)] {
            if width == 0 || height == 0 {
                continue;
            }
            let from = wgpu::TexelCopyBufferInfo {
                buffer: &self.buffer,
                layout: wgpu::TexelCopyBufferLayout {
                    offset: self.start + u64::from(first * TEXELS) * TEXEL,
                    bytes_per_row: Some(TEXELS * TEXEL as u32),
                    rows_per_image: None,
                },
            };
            let mut to = self.texture.as_image_copy();
            to.origin.y = first;
            let size = wgpu::Extent3d { width, height, depth_or_array_layers: 1 };
            encoder.copy_buffer_to_texture(from, to, size);
        }
    }
}

/// The textures of one device, by place among the inputs.
#[derive(Debug, Default)]
pub(crate) struct Textures {
    places: Vec<Texture>,
    made: u64,
}

/// Texels that a buffer fills, with the canary behind it.
fn texels(storage: &Storage) -> u64 {
    storage.readable() / TEXEL
}

impl Textures {
    /// Whether a texture can hold each of these.
    pub(crate) fn can_hold(inputs: &[&Storage]) -> bool {
        inputs.iter().all(|storage| texels(storage) <= u64::from(TEXELS * MOST_ROWS))
    }

    /// Makes sure that there is a texture for each input that can hold it; returns how many had to be made.
    pub(crate) fn prepare(&mut self, device: &wgpu::Device, inputs: &[&Storage]) -> u64 {
        let before = self.made;
        for (place, storage) in inputs.iter().enumerate() {
            let rows = texels(storage).div_ceil(u64::from(TEXELS)) as u32;
            match self.places.get(place) {
                Some(texture) if texture.texture.height() >= rows => {}
                Some(_) => self.places[place] = self.make(device, rows),
                None => {
                    let texture = self.make(device, rows);
                    self.places.push(texture);
                }
            }
        }
        self.made - before
    }

    fn make(&mut self, device: &wgpu::Device, rows: u32) -> Texture {
        self.made += 1;
        let texture = device.create_texture(&wgpu::TextureDescriptor {
            label: Some("operand"),
            size: wgpu::Extent3d {
                width: TEXELS,
                // Twice as high as the one before at least, so that few are made.
                height: rows.next_power_of_two(),
                depth_or_array_layers: 1,
            },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: wgpu::TextureFormat::Rgba32Float,
            usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST,
            view_formats: &[],
        });
        let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
        // Buffers count from 1.
        Texture { texture, view, id: u64::MAX - self.made }
    }

    /// The textures of the first so many places.
    pub(crate) fn of(&self, inputs: usize) -> &[Texture] {
        &self.places[..inputs]
    }

    /// The copies that bring these inputs to their textures.
    pub(crate) fn fills(&self, inputs: &[&Storage]) -> Vec<Fill> {
        let fill = |(texture, storage): (&Texture, &&Storage)| Fill {
            texture: texture.texture.clone(),
            buffer: storage.buffer().clone(),
            start: storage.start(),
            texels: texels(storage) as u32,
        };
        self.places.iter().zip(inputs).map(fill).collect()
    }
}

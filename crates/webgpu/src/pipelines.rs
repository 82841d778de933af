//! Shaders compiled at first use, and the bind groups that tie them to buffers.

use crate::cache::Cache;
use crate::memory::Storage;
use crate::textures::Texture;
use crate::uniforms::BLOCK;
use std::borrow::Cow;
use std::collections::HashMap;

/// Where outputs begin among the bindings, and where the parameters are; inputs count from 0.
const PORTABLE: [u32; 2] = [8, 16];
/// The same of entry points that bind more than WebGPU's default of 8 buffers.
const WIDE: [u32; 2] = [32, 48];
/// Bind groups that are kept; more mean that the program has moved on to other shapes.
const MOST_BIND_GROUPS: usize = 1 << 14;

/// Through what an entry point reads, and how many buffers it may bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reads {
    /// Buffers, of which there are no more than any adapter binds.
    Buffers,
    /// Buffers, of which there are more.
    ManyBuffers,
    /// Textures that the buffers were copied to.
    Textures,
}

/// How many buffers an entry point reads and writes, and where among the bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Arity {
    inputs: usize,
    outputs: usize,
    reads: Reads,
}

impl Arity {
    /// Of an entry point that reads and writes so many.
    pub(crate) fn new(inputs: usize, outputs: usize, reads: Reads) -> Arity {
        Arity { inputs, outputs, reads }
    }

    /// Where outputs begin, and where the parameters are.
    fn places(self) -> [u32; 2] {
        if self.reads == Reads::ManyBuffers { WIDE } else { PORTABLE }
    }
}

#[derive(Debug)]
struct Interface {
    bindings: wgpu::BindGroupLayout,
    pipeline: wgpu::PipelineLayout,
}

/// The compiled shaders of one device.
#[derive(Debug)]
pub(crate) struct Pipelines {
    checked: bool,
    pub(crate) cache: Option<Cache>,
    /// Shaders that have another text than their file, in tests.
    pub(crate) replaced: HashMap<&'static str, String>,
    modules: HashMap<&'static str, wgpu::ShaderModule>,
    interfaces: HashMap<Arity, Interface>,
    /// By shader, entry point and what is bound.
    pipelines: HashMap<(&'static str, &'static str, Arity), wgpu::ComputePipeline>,
    bind_groups: HashMap<(Arity, Vec<u64>), wgpu::BindGroup>,
}

impl Pipelines {
    pub(crate) fn new(checked: bool, cache: Option<Cache>) -> Pipelines {
        Pipelines {
            checked,
            cache,
            replaced: HashMap::new(),
            modules: HashMap::new(),
            interfaces: HashMap::new(),
            pipelines: HashMap::new(),
            bind_groups: HashMap::new(),
        }
    }

    fn text(&self, shader: &'static str) -> Cow<'static, str> {
        if let Some(text) = self.replaced.get(shader) {
            return Cow::Owned(text.clone());
        }
        belamy_shaders::source(shader).expect("each family of the kernel list has a file")
    }

    fn interface(&mut self, device: &wgpu::Device, arity: Arity) -> &Interface {
        self.interfaces.entry(arity).or_insert_with(|| {
            let (inputs, outputs) = (arity.inputs as u32, arity.outputs as u32);
            let [first_output, parameters] = arity.places();
            let entry = |binding, ty, has_dynamic_offset| wgpu::BindGroupLayoutEntry {
                binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset, min_binding_size: None },
                count: None,
            };
            let storage = |read_only| wgpu::BufferBindingType::Storage { read_only };
            let mut entries: Vec<_> =
                (0..inputs).map(|input| entry(input, storage(true), false)).collect();
            if arity.reads == Reads::Textures {
                for entry in &mut entries {
                    entry.ty = wgpu::BindingType::Texture {
                        sample_type: wgpu::TextureSampleType::Float { filterable: false },
                        view_dimension: wgpu::TextureViewDimension::D2,
                        multisampled: false,
                    };
                }
            }
            entries.extend(
                (0..outputs).map(|output| entry(first_output + output, storage(false), false)),
            );
            entries.push(entry(parameters, wgpu::BufferBindingType::Uniform, true));
            let bindings = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: None,
                entries: &entries,
            });
            let pipeline = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: None,
                bind_group_layouts: &[Some(&bindings)],
                immediate_size: 0,
            });
            Interface { bindings, pipeline }
        })
    }

    /// The pipeline of an entry point of a shader, which has its family's or its variant's name; and whether it had to
    /// be compiled.
    pub(crate) fn pipeline(
        &mut self,
        device: &wgpu::Device,
        shader: &'static str,
        entry: &'static str,
        arity: Arity,
    ) -> (wgpu::ComputePipeline, bool) {
        if let Some(pipeline) = self.pipelines.get(&(shader, entry, arity)) {
            return (pipeline.clone(), false);
        }
        let module = match self.modules.get(shader) {
            Some(module) => module.clone(),
            None => {
                let module = module(device, shader, self.text(shader), self.checked);
                self.modules.insert(shader, module.clone());
                module
            }
        };
        let checked = self.checked;
        let layout = self.interface(device, arity).pipeline.clone();
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(entry),
            layout: Some(&layout),
            module: &module,
            entry_point: Some(entry),
            compilation_options: wgpu::PipelineCompilationOptions {
                // No kernel reads workgroup memory that it has not written.
                zero_initialize_workgroup_memory: checked,
                ..Default::default()
            },
            cache: self.cache.as_ref().map(Cache::pipelines),
        });
        self.pipelines.insert((shader, entry, arity), pipeline.clone());
        (pipeline, true)
    }

    /// Lets go of all bind groups, and so of the buffers that only they still hold.
    pub(crate) fn forget_bind_groups(&mut self) {
        self.bind_groups.clear();
    }

    /// The bind group of these buffers, or of these textures in the inputs' place; and whether it had to be made.
    pub(crate) fn bind_group(
        &mut self,
        device: &wgpu::Device,
        arity: Arity,
        inputs: &[&Storage],
        textures: Option<&[Texture]>,
        outputs: &[&Storage],
        uniforms: &wgpu::Buffer,
    ) -> (wgpu::BindGroup, bool) {
        let [first_output, parameters] = arity.places();
        let of_input = |place: usize| match textures {
            Some(textures) => {
                let Texture { id, view, .. } = &textures[place];
                (*id, wgpu::BindingResource::TextureView(view))
            }
            None => (inputs[place].id(), inputs[place].binding()),
        };
        let input_ids = (0..inputs.len()).map(|place| of_input(place).0);
        let key = (arity, input_ids.chain(outputs.iter().map(|storage| storage.id())).collect());
        if let Some(bind_group) = self.bind_groups.get(&key) {
            return (bind_group.clone(), false);
        }
        if self.bind_groups.len() >= MOST_BIND_GROUPS {
            self.bind_groups.clear();
        }
        let input = (0..inputs.len()).map(|place| of_input(place).1).zip(0..);
        let output = outputs.iter().map(|storage| storage.binding()).zip(first_output..);
        let mut entries: Vec<_> = input
            .chain(output)
            .map(|(resource, binding)| wgpu::BindGroupEntry { binding, resource })
            .collect();
        entries.push(wgpu::BindGroupEntry {
            binding: parameters,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: uniforms,
                offset: 0,
                size: wgpu::BufferSize::new(BLOCK as u64),
            }),
        });
        let layout = &self.interface(device, arity).bindings;
        let descriptor = wgpu::BindGroupDescriptor { label: None, layout, entries: &entries };
        let bind_group = device.create_bind_group(&descriptor);
        self.bind_groups.insert(key, bind_group.clone());
        (bind_group, true)
    }
}

fn module(
    device: &wgpu::Device,
    shader: &'static str,
    source: Cow<'static, str>,
    checked: bool,
) -> wgpu::ShaderModule {
    let descriptor = wgpu::ShaderModuleDescriptor {
        label: Some(shader),
        source: wgpu::ShaderSource::Wgsl(source),
    };
    if checked {
        return device.create_shader_module(descriptor);
    }
    // SAFETY: the shaders are ours, part of this program; the suite runs every one of them with checks on and with
    // canaries beyond the ends of its buffers, and both agree that none leaves its bounds. Every loop ends. Who puts
    // another text in the place of one answers for that.
    unsafe {
        device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
    }
}

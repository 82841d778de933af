//! The kernels, a file a family: what each is launched on, and in how many passes.

mod axes;
mod concat;
mod conv2d;
mod dropout;
mod finite;
mod gather;
mod loss;
mod matmul;
mod norm;
mod optimizer;
mod pad;
mod parts;
mod pointwise;
mod pool2d;
mod random;
mod reduce;
mod resize;
mod tile;
pub(crate) mod variant;
mod view;

use crate::memory::Storage;
use crate::recorder::Dispatch;
use crate::{State, WebGpu, uniforms};
use belamy_tensor::Result;
use belamy_tensor::kernel::{KernelId, Params};

/// Invocations of a workgroup, in every kernel.
pub(crate) const GROUP: u32 = 256;
/// Groups along an axis at most: WebGPU's default limit. More are folded into a second axis.
const MOST_GROUPS: u32 = 65_535;

/// What a kernel is given.
pub(crate) struct Run<'a> {
    pub(crate) gpu: &'a WebGpu,
    pub(crate) state: &'a mut State,
    pub(crate) kernel: KernelId,
    pub(crate) params: Params,
    /// What it reads, and how many elements each has.
    pub(crate) inputs: &'a [&'a Storage],
    pub(crate) input_elements: &'a [u32],
    /// What it writes, and how many elements each has.
    pub(crate) outputs: &'a [&'a Storage],
    pub(crate) output_elements: &'a [u32],
}

/// One dispatch of a kernel.
pub(crate) struct Pass<'a> {
    /// The entry point.
    pub(crate) entry: &'static str,
    /// Bindings 0...
    pub(crate) inputs: &'a [&'a Storage],
    /// Bindings 8...
    pub(crate) outputs: &'a [&'a Storage],
    /// `run.elements` in the shader.
    pub(crate) elements: u32,
    /// `run.pass_0`, `run.pass_1`, `run.pass_2`.
    pub(crate) words: [u32; 3],
    /// How many workgroups; the shader numbers them through, `id.y * count.x + id.x`, and lets those beyond go.
    pub(crate) groups: u32,
}

impl Run<'_> {
    /// Runs the kernel's entry point of the same name, with an invocation for each element of the first output.
    pub(crate) fn each_element(&mut self) -> Result<()> {
        self.each_element_by(self.kernel.name())
    }

    /// As [`Run::each_element`], by an entry point of another name.
    pub(crate) fn each_element_by(&mut self, entry: &'static str) -> Result<()> {
        let (inputs, outputs, elements) = (self.inputs, self.outputs, self.output_elements[0]);
        let groups = elements.div_ceil(GROUP);
        self.pass(&Pass { entry, inputs, outputs, elements, words: [0; 3], groups })
    }

    /// Memory for this launch alone. It may be dropped as soon as the passes that use it are recorded.
    pub(crate) fn scratch(&mut self, elements: u32) -> Result<Storage> {
        self.gpu.take(self.state, elements as usize)
    }

    /// Records one dispatch.
    pub(crate) fn pass(&mut self, pass: &Pass<'_>) -> Result<()> {
        self.record(self.kernel.family(), pass, false)
    }

    /// Records one dispatch of an entry point of the shader `<family>.<variant>`, which reads through textures.
    pub(crate) fn pass_through_textures(
        &mut self,
        shader: &'static str,
        pass: &Pass<'_>,
    ) -> Result<()> {
        self.record(shader, pass, true)
    }

    fn record(
        &mut self,
        shader: &'static str,
        pass: &Pass<'_>,
        through_textures: bool,
    ) -> Result<()> {
        let Pass { entry, inputs, outputs, elements, words, groups } = *pass;
        if groups == 0 {
            return Ok(());
        }
        let State { pipelines, textures, recorder, counters } = &mut *self.state;
        let device = &self.gpu.device;
        let arity = (inputs.len(), outputs.len(), through_textures);
        let (pipeline, compiled) = pipelines.pipeline(device, shader, entry, arity);
        let (mut fills, mut places) = (Vec::new(), None);
        if through_textures {
            counters.allocations += textures.prepare(device, inputs);
            fills = textures.fills(inputs);
            places = Some(textures.of(inputs.len()));
        }
        let uniforms = recorder.uniforms();
        let (bind_group, made) = pipelines.bind_group(device, inputs, places, outputs, uniforms);
        counters.pipelines += u64::from(compiled);
        counters.bind_groups += u64::from(made);
        counters.dispatches += 1;
        let batch = recorder.batch();
        inputs.iter().chain(outputs).for_each(|storage| storage.used_in(batch));
        let rows = groups.div_ceil(MOST_GROUPS);
        // Equal rows leave the fewest groups without work.
        let groups = [groups.div_ceil(rows), rows];
        let head = [elements, words[0], words[1], words[2]];
        let block = uniforms::block(head, self.kernel.layout(), &self.params);
        if recorder.push(Dispatch { pipeline, bind_group, groups, fills }, block) {
            self.gpu.flush(self.state);
        }
        Ok(())
    }
}

macro_rules! dispatch_all {
    ($($family:ident: [$($kernel:ident($params:ident)),* $(,)?];)*) => {
        /// Runs a kernel by name.
        pub(crate) fn dispatch(kernel: KernelId, run: &mut Run<'_>) -> Result<()> {
            match kernel {
                $($(KernelId::$kernel => $family::$kernel(run),)*)*
                _ => unreachable!("the match above is made from the list of all kernels"),
            }
        }
    };
}
belamy_tensor::for_each_kernel!(dispatch_all);

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

use crate::memory::{Lineage, Storage};
use crate::pipelines::{Arity, Reads};
use crate::recorder::Dispatch;
use crate::{State, WebGpu, uniforms};
use belamy_tensor::Result;
use belamy_tensor::foreign::Foreign;
use belamy_tensor::kernel::{KernelId, Params};

/// Invocations of a workgroup, in every kernel.
pub(crate) const GROUP: u32 = 256;
/// Groups along an axis at most: WebGPU's default limit. More are folded into a second axis.
pub(crate) const MOST_GROUPS: u32 = 65_535;
/// Storage buffers that a wide entry point binds at most: as many as Metal grants beside the parameters.
pub(crate) const WIDE: u32 = 28;

/// Whether an output outlives the step that makes it.
pub(crate) enum Outlives {
    /// It does not, as far as the kernel tells.
    No,
    /// It takes the place of this input in the next step.
    InPlaceOf(usize),
    /// It does, and takes the place of none.
    Alone,
}

/// What becomes of an output of a kernel with so many inputs and outputs.
pub(crate) fn outlives(kernel: KernelId, [inputs, outputs]: [usize; 2], output: usize) -> Outlives {
    match kernel {
        KernelId::adam | KernelId::sgd | KernelId::rmsprop => {
            // Read are control, params, grads and states; written params and states.
            let tensors = inputs - 1 - outputs;
            let behind_grads = if output < tensors { 0 } else { tensors };
            Outlives::InPlaceOf(1 + behind_grads + output)
        }
        // Mean and variance are read first and written first.
        KernelId::running_statistics => Outlives::InPlaceOf(output),
        KernelId::count_non_finite => Outlives::Alone,
        _ => Outlives::No,
    }
}

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
        self.gpu.take(self.state, elements as usize, Lineage::Common)
    }

    /// Records one dispatch.
    pub(crate) fn pass(&mut self, pass: &Pass<'_>) -> Result<()> {
        self.record(self.kernel.family(), pass, Reads::Buffers, &[])
    }

    /// Records one dispatch of an entry point that binds more buffers than WebGPU's default, and is told of so many
    /// lengths: for devices that are `wide`.
    pub(crate) fn wide_pass(&mut self, pass: &Pass<'_>, sizes: &[u32]) -> Result<()> {
        self.record(self.kernel.family(), pass, Reads::ManyBuffers, sizes)
    }

    /// Records one dispatch of an entry point of the shader `<family>.<variant>`, or of the family's own.
    pub(crate) fn pass_of(&mut self, shader: &'static str, pass: &Pass<'_>) -> Result<()> {
        self.record(shader, pass, Reads::Buffers, &[])
    }

    /// Records one dispatch of an entry point of the shader `<family>.<variant>`, which reads through textures.
    pub(crate) fn pass_through_textures(
        &mut self,
        shader: &'static str,
        pass: &Pass<'_>,
    ) -> Result<()> {
        self.record(shader, pass, Reads::Textures, &[])
    }

    fn record(
        &mut self,
        shader: &'static str,
        pass: &Pass<'_>,
        reads: Reads,
        sizes: &[u32],
    ) -> Result<()> {
        let Pass { entry, inputs, outputs, elements, words, groups } = *pass;
        if groups == 0 {
            return Ok(());
        }
        let State { pipelines, textures, recorder, counters, dispatches } = &mut *self.state;
        let device = &self.gpu.device;
        let arity = Arity::new(inputs.len(), outputs.len(), reads);
        let (pipeline, compiled) = pipelines.pipeline(device, shader, entry, arity);
        let (mut fills, mut places) = (Vec::new(), None);
        if reads == Reads::Textures {
            counters.allocations += textures.prepare(device, inputs);
            fills = textures.fills(inputs);
            places = Some(textures.of(inputs.len()));
        }
        let uniforms = recorder.uniforms();
        let (bind_group, made) =
            pipelines.bind_group(device, arity, inputs, places, outputs, uniforms);
        counters.pipelines += u64::from(compiled);
        counters.bind_groups += u64::from(made);
        counters.dispatches += 1;
        *dispatches.entry(entry).or_default() += 1;
        let rows = groups.div_ceil(self.gpu.most_groups);
        // Equal rows leave the fewest groups without work.
        let groups = [groups.div_ceil(rows), rows];
        let head = [elements, words[0], words[1], words[2]];
        let block = uniforms::block(head, self.kernel.layout(), &self.params, sizes);
        if recorder.push(Dispatch { pipeline, bind_group, groups, fills }, block) {
            self.gpu.flush(self.state);
        }
        self.gpu.check_canaries(self.state, entry, outputs)
    }
}

/// The name of the shader that is not of this house.
pub(crate) const FOREIGN: &str = "foreign";

/// Runs somebody else's kernel: one pass, over all operands in their order.
pub(crate) fn foreign(run: &mut Run<'_>, foreign: &Foreign) -> Result<()> {
    let (inputs, outputs) = (run.inputs, run.outputs);
    let elements = run.output_elements.first().copied().unwrap_or(0);
    let grid = (foreign.grid)(&run.params, elements as usize);
    let groups = grid.map_err(|message| run.gpu.error(message))?.blocks;
    let entry = foreign.entry;
    if elements == 0 {
        return Ok(());
    }
    run.pass_of(FOREIGN, &Pass { entry, inputs, outputs, elements, words: [0; 3], groups })
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

//! Which kernels a training step launches: a device that runs everything and notes each launch with its operands.
//!
//! Buffers are written once and shared, so a noted operand costs no copy: it is the step's own memory, kept alive. A
//! new recipe, op or kernel is covered as soon as a step launches it.

use crate::describe;
use crate::training::Training;
use belamy_gan::{Recipe, Result};
use belamy_tensor::cost::{Extent, of_launch};
use belamy_tensor::kernel::{KernelId, Params};
use belamy_tensor::{Backend, Buffer, Call, Cost, DType, Device, DeviceId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A kernel at one shape, with the operands it had in a training step.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Which kernel.
    pub kernel: KernelId,
    /// Its parameters at the first such launch.
    pub params: Params,
    /// Its operands, on the CPU.
    pub inputs: Vec<Buffer>,
    /// What it writes.
    pub outputs: Vec<Extent>,
    /// How often each recipe launches it in a step.
    pub uses: Vec<(String, u32)>,
}

impl Launch {
    /// The arithmetic and traffic of one launch.
    pub fn cost(&self) -> Cost {
        of_launch(self.kernel, &self.params, &self.extents(), &self.outputs)
    }

    /// The operands' types and lengths.
    pub fn extents(&self) -> Vec<Extent> {
        self.inputs.iter().map(Extent::from).collect()
    }

    /// What makes two launches the same work: what is said of them, and how much they read and write.
    fn key(&self) -> Key {
        let (op, shape) = (describe::op(self), describe::shape(self));
        let (inputs, outputs) = (self.extents(), self.outputs.clone());
        Key { kernel: self.kernel, op, shape, inputs, outputs }
    }
}

/// As [`Launch::key`] says.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Key {
    kernel: KernelId,
    op: &'static str,
    shape: String,
    inputs: Vec<Extent>,
    outputs: Vec<Extent>,
}

/// What was launched, each shape once, in the order in which it came up.
#[derive(Debug, Default)]
struct Notes {
    on: bool,
    recipe: String,
    launches: Vec<Launch>,
    places: HashMap<Key, usize>,
}

impl Notes {
    fn add(&mut self, call: &Call<'_>) {
        let launch = Launch {
            kernel: call.kernel,
            params: call.params,
            inputs: call.inputs.iter().map(|&buffer| buffer.clone()).collect(),
            outputs: call.outputs.iter().map(|buffer| Extent::from(&*buffer)).collect(),
            uses: Vec::new(),
        };
        let place = *self.places.entry(launch.key()).or_insert_with(|| {
            self.launches.push(launch);
            self.launches.len() - 1
        });
        let uses = &mut self.launches[place].uses;
        match uses.iter_mut().find(|(recipe, _)| *recipe == self.recipe) {
            Some((_, count)) => *count += 1,
            None => uses.push((self.recipe.clone(), 1)),
        }
    }
}

/// A device that passes everything on and notes what it launches.
#[derive(Debug)]
struct Tracer {
    inner: Device,
    notes: Arc<Mutex<Notes>>,
}

impl Backend for Tracer {
    fn id(&self) -> DeviceId {
        self.inner.id()
    }

    fn alloc(&self, dtype: DType, elements: usize) -> belamy_tensor::Result<Buffer> {
        self.inner.backend().alloc(dtype, elements)
    }

    fn write(&self, buffer: &mut Buffer, bytes: &[u8]) -> belamy_tensor::Result<()> {
        self.inner.backend().write(buffer, bytes)
    }

    fn read(&self, buffer: &Buffer, bytes: &mut [u8]) -> belamy_tensor::Result<()> {
        self.inner.backend().read(buffer, bytes)
    }

    fn launch(&self, call: Call<'_>) -> belamy_tensor::Result<()> {
        {
            let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
            if notes.on {
                notes.add(&call);
            }
        }
        self.inner.backend().launch(call)
    }

    fn synchronize(&self) -> belamy_tensor::Result<()> {
        self.inner.synchronize()
    }
}

/// What is known of a recipe's step once it was traced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TracedStep {
    /// The cost of all its launches.
    pub cost: Cost,
    /// The discriminator's and the generator's loss at the first and the second step, on the CPU.
    pub losses: [[f64; 2]; 2],
}

/// Collects the launches of recipes' training steps.
#[derive(Debug)]
pub struct Trace {
    device: Device,
    notes: Arc<Mutex<Notes>>,
}

impl Default for Trace {
    fn default() -> Trace {
        let notes = Arc::new(Mutex::new(Notes::default()));
        let device = Device::new(Tracer { inner: belamy_cpu::cpu(), notes: Arc::clone(&notes) });
        Trace { device, notes }
    }
}

impl Trace {
    /// Runs two steps of a recipe on the CPU and notes the second, whose optimisers have a history.
    pub fn add(&self, recipe: &Recipe) -> Result<TracedStep> {
        let mut training = Training::new(recipe, &self.device)?;
        let first = training.step()?;
        {
            let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
            notes.on = true;
            notes.recipe.clone_from(&recipe.name);
        }
        let result = training.step();
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.on = false;
        let losses = [first, result?];
        let mut total = Cost::default();
        for launch in &notes.launches {
            let used = launch.uses.iter().find(|(name, _)| *name == recipe.name);
            let (cost, times) = (launch.cost(), used.map_or(0, |(_, times)| u64::from(*times)));
            total.flop += cost.flop * times;
            total.bytes += cost.bytes * times;
        }
        Ok(TracedStep { cost: total, losses })
    }

    /// The launches noted, each shape once.
    pub fn launches(self) -> Vec<Launch> {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut notes.launches)
    }
}

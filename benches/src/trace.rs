//! Which kernels a training step launches: a device that runs everything and notes each launch with its operands.
//!
//! Buffers are written once and shared, so a noted operand costs no copy: it is the step's own memory, kept alive. A
//! new recipe, op or kernel is covered as soon as a step launches it.

use crate::describe;
use crate::judge::{download, upload};
use crate::training::Training;
use belamy_gan::{Recipe, Result};
use belamy_tensor::cost::{Extent, of_launch};
use belamy_tensor::kernel::{KernelId, Params};
use belamy_tensor::{Buffer, Call, Cost, Device, Wrapper};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

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
    /// How often each was launched since [`Notes::begin`].
    launches: Vec<(Launch, u32)>,
    places: HashMap<Key, usize>,
}

impl Notes {
    /// Forgets everything and takes notes from now on.
    fn begin(&mut self) {
        *self = Notes { on: true, ..Notes::default() };
    }

    fn add(&mut self, call: &Call<'_>) {
        let launch = Launch {
            kernel: call.kernel,
            params: call.params,
            inputs: call.inputs.iter().map(|&buffer| buffer.clone()).collect(),
            outputs: call.outputs.iter().map(Extent::from).collect(),
            uses: Vec::new(),
        };
        match self.places.entry(launch.key()) {
            Entry::Occupied(place) => self.launches[*place.get()].1 += 1,
            Entry::Vacant(place) => {
                place.insert(self.launches.len());
                self.launches.push((launch, 1));
            }
        }
    }
}

/// A device that passes everything on and notes what it launches.
#[derive(Debug)]
struct Tracer {
    inner: Device,
    notes: Arc<Mutex<Notes>>,
}

impl Wrapper for Tracer {
    fn inner(&self) -> &Device {
        &self.inner
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
}

/// The numbers of a buffer without their signs. A sum is timed and judged on these: some of a step's come to nothing
/// but rounding, as the gradient of a bias before a normalisation does, and of nothing no kernel can be judged.
fn magnitudes(device: &Device, buffer: &Buffer) -> belamy_tensor::Result<Buffer> {
    let mut bytes = download(device, buffer)?;
    for word in bytes.as_chunks_mut::<4>().0 {
        *word = f32::from_ne_bytes(*word).abs().to_ne_bytes();
    }
    upload(device, buffer.dtype, buffer.elements, &bytes)
}

/// What is known of a recipe's step once it was traced.
#[derive(Clone, Debug, PartialEq)]
pub struct TracedStep {
    /// The cost of all its launches.
    pub cost: Cost,
    /// The discriminator's and the generator's loss at the first step, and at the second if there was one, on the CPU.
    pub losses: Vec<[f64; 2]>,
}

/// A recipe whose first step takes longer than so many seconds is traced in that step.
const LONG: f64 = 2.0;

/// Collects the launches of recipes' training steps.
#[derive(Debug)]
pub struct Trace {
    device: Device,
    notes: Arc<Mutex<Notes>>,
    launches: Vec<Launch>,
    places: HashMap<Key, usize>,
}

impl Default for Trace {
    fn default() -> Trace {
        let notes = Arc::new(Mutex::new(Notes::default()));
        let device = Device::new(Tracer { inner: belamy_cpu::cpu(), notes: Arc::clone(&notes) });
        Trace { device, notes, launches: Vec::new(), places: HashMap::new() }
    }
}

impl Trace {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a recipe's second step on the CPU, whose optimisers have a history, and notes it; where the first takes too
    /// long, that one.
    pub fn add(&mut self, recipe: &Recipe) -> Result<TracedStep> {
        let mut training = Training::new(recipe, &self.device)?;
        let mut losses = Vec::new();
        for _ in 0..2 {
            self.notes().begin();
            let start = Instant::now();
            let made = training.step();
            self.notes().on = false;
            losses.push(made?);
            if start.elapsed().as_secs_f64() > LONG {
                break;
            }
        }
        let noted = std::mem::take(&mut *self.notes()).launches;
        let mut total = Cost::default();
        for (mut launch, times) in noted {
            let cost = launch.cost();
            if launch.kernel == KernelId::sum && !self.places.contains_key(&launch.key()) {
                launch.inputs[0] = magnitudes(&self.device, &launch.inputs[0])?;
            }
            total.flop += cost.flop * u64::from(times);
            total.bytes += cost.bytes * u64::from(times);
            let place = *self.places.entry(launch.key()).or_insert_with(|| {
                self.launches.push(launch);
                self.launches.len() - 1
            });
            self.launches[place].uses.push((recipe.name.clone(), times));
        }
        Ok(TracedStep { cost: total, losses })
    }

    /// The launches noted, each shape once.
    pub fn launches(self) -> Vec<Launch> {
        self.launches
    }
}

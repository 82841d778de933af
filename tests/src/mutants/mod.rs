//! The judge judged: kernels made wrong on purpose, each of which the table must reject.
//!
//! A [`Mutant`] is a backend that runs the oracle, but one kernel with a fault: its parameters, its operands or its
//! results are changed on the way. [`seeded`] has faults as people make them (stride and dilation exchanged,
//! padding off by one, a transposed view read straight, overlapping contributions lost, ...), and [`systematic`] some
//! that every kernel must not have (the last element left unwritten, results shifted by one, slightly scaled, ...).
//! [`texts`] has the kernels' own texts, in CUDA C++ and in WGSL, with a slip in one line.

mod conv2d;
mod images;
mod matmul;
mod norm;
mod pointwise;
mod reduce;
pub mod texts;
mod updates;

use belamy_tensor::kernel::{KernelId, Params};
use belamy_tensor::{Buffer, Call, DType, Device, DeviceId, Result, Wrapper};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// A kernel's launch as the host sees it.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The parameters.
    pub params: Params,
    /// The operands, as they are to be read.
    pub inputs: Vec<Vec<f64>>,
    /// The results, as they are to be written.
    pub outputs: Vec<Vec<f64>>,
    /// The type of the first result.
    pub dtype: DType,
    /// How many launches of this kernel came before.
    pub count: usize,
    /// The operands of the launch before.
    pub previous: Vec<Vec<f64>>,
}

/// What is wrong with a kernel.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// It reads other parameters.
    Params(fn(&mut Params)),
    /// It reads other operands.
    Inputs(Edit),
    /// It writes other results.
    Outputs(Edit),
}

/// A kernel and its fault.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// What is wrong, in words.
    pub name: String,
    /// Which kernel it is in.
    pub kernel: KernelId,
    /// The fault.
    pub fault: Fault,
}

impl Mutant {
    /// A device that has this fault and is the oracle otherwise.
    pub fn device(&self) -> Device {
        Device::new(Faulty {
            mutant: self.clone(),
            oracle: belamy_cpu::oracle(),
            launches: AtomicUsize::new(0),
            previous: Mutex::default(),
        })
    }
}

#[derive(Debug)]
struct Faulty {
    mutant: Mutant,
    oracle: Device,
    launches: AtomicUsize,
    previous: Mutex<Vec<Vec<f64>>>,
}

impl Faulty {
    fn numbers(&self, buffer: &Buffer) -> Result<Vec<f64>> {
        let mut bytes = vec![0; buffer.elements * buffer.dtype.bytes()];
        self.oracle.backend().read(buffer, &mut bytes)?;
        Ok(match buffer.dtype {
            DType::F32 => {
                bytes.as_chunks().0.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect()
            }
            DType::F64 => bytes.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
            DType::U32 => {
                bytes.as_chunks().0.iter().map(|&b| f64::from(u32::from_le_bytes(b))).collect()
            }
        })
    }

    fn place(&self, buffer: &mut Buffer, numbers: &[f64]) -> Result<()> {
        let bytes: Vec<u8> = match buffer.dtype {
            DType::F32 => numbers.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect(),
            DType::F64 => numbers.iter().flat_map(|&x| x.to_le_bytes()).collect(),
            DType::U32 => numbers.iter().flat_map(|&x| (x as u32).to_le_bytes()).collect(),
        };
        self.oracle.backend().write(buffer, &bytes)
    }

    fn with_fault(&self, call: Call<'_>) -> Result<()> {
        let inputs: Result<Vec<Vec<f64>>> =
            call.inputs.iter().map(|buffer| self.numbers(buffer)).collect();
        let inputs = inputs?;
        let mut previous = self.previous.lock().unwrap_or_else(PoisonError::into_inner);
        let mut launch = Launch {
            params: call.params,
            previous: std::mem::replace(&mut previous, inputs.clone()),
            inputs,
            outputs: Vec::new(),
            dtype: call.outputs[0].dtype,
            count: self.launches.fetch_add(1, Ordering::Relaxed),
        };
        drop(previous);
        match self.mutant.fault {
            Fault::Params(edit) => {
                edit(&mut launch.params);
                self.oracle.backend().launch(Call { params: launch.params, ..call })
            }
            Fault::Inputs(edit) => {
                edit(&mut launch);
                let mut buffers = Vec::new();
                for (buffer, numbers) in call.inputs.iter().zip(&launch.inputs) {
                    let mut edited = self.oracle.backend().alloc(buffer.dtype, buffer.elements)?;
                    self.place(&mut edited, numbers)?;
                    buffers.push(edited);
                }
                let inputs: Vec<&Buffer> = buffers.iter().collect();
                self.oracle.backend().launch(Call { inputs: &inputs, ..call })
            }
            Fault::Outputs(edit) => {
                let Call { kernel, params, inputs, outputs } = call;
                self.oracle.backend().launch(Call { kernel, params, inputs, outputs })?;
                let results: Result<Vec<Vec<f64>>> =
                    outputs.iter().map(|buffer| self.numbers(buffer)).collect();
                launch.outputs = results?;
                edit(&mut launch);
                for (buffer, numbers) in outputs.iter_mut().zip(&launch.outputs) {
                    self.place(buffer, numbers)?;
                }
                Ok(())
            }
        }
    }
}

impl Wrapper for Faulty {
    fn inner(&self) -> &Device {
        &self.oracle
    }

    fn id(&self) -> DeviceId {
        DeviceId { name: "mutant", index: 0 }
    }

    fn launch(&self, call: Call<'_>) -> Result<()> {
        if call.kernel == self.mutant.kernel {
            self.with_fault(call)
        } else {
            self.oracle.backend().launch(call)
        }
    }
}

/// A family's faults: in words, the kernel, the fault.
type Faults = Vec<(&'static str, KernelId, Fault)>;

/// A change to a launch.
type Edit = fn(&mut Launch);

/// Faults that every kernel must not have, by name.
const SYSTEMATIC: &[(&str, Edit)] = &[
    ("is not run at all: zeros", |launch| {
        launch.outputs.iter_mut().flatten().for_each(|y| *y = 0.0);
    }),
    ("leaves its last element unwritten", |launch| {
        if let Some(last) = launch.outputs[0].last_mut() {
            *last = f64::NAN;
        }
    }),
    ("stops before its last element, on zeroed memory", |launch| {
        if let Some(last) = launch.outputs[0].last_mut() {
            *last = 0.0;
        }
    }),
    ("writes everything one place further", |launch| match launch.outputs[0].len() {
        // A lone number has no other place: it comes from outside.
        1 => launch.outputs[0][0] += 1.0,
        _ => launch.outputs[0].rotate_right(1),
    }),
    ("scales by 1.001", |launch| {
        let integers = launch.dtype == DType::U32;
        let scaled = |y: f64| if integers { (y * 1.001).ceil() } else { y * 1.001 };
        launch.outputs[0].iter_mut().for_each(|y| *y = scaled(*y));
    }),
    ("has one wrong element in the middle", |launch| {
        let middle = launch.outputs[0].len() / 2;
        if let Some(element) = launch.outputs[0].get_mut(middle) {
            *element = *element * 1.5 + 1.0;
        }
    }),
];

/// Every kernel with every systematic fault.
pub fn systematic() -> Vec<Mutant> {
    let of = |&kernel: &KernelId| {
        SYSTEMATIC.iter().map(move |&(name, edit)| Mutant {
            name: format!("{} {name}", kernel.name()),
            kernel,
            fault: Fault::Outputs(edit),
        })
    };
    KernelId::ALL.iter().flat_map(of).collect()
}

/// A fault in the parameters, seen through their struct.
macro_rules! reads {
    ($params:ty, |$p:ident| $body:expr) => {
        $crate::mutants::Fault::Params(|params| {
            let mut $p = <$params>::decode(params);
            $body;
            *params = $p.encode();
        })
    };
}

/// A fault in what is read or written, with the parameters at hand.
macro_rules! inputs {
    ($params:ty, |$p:ident, $launch:ident| $body:expr) => {
        $crate::mutants::Fault::Inputs(|$launch| {
            let $p = <$params>::decode(&$launch.params);
            $body;
        })
    };
}
macro_rules! outputs {
    ($params:ty, |$p:ident, $launch:ident| $body:expr) => {
        $crate::mutants::Fault::Outputs(|$launch| {
            let $p = <$params>::decode(&$launch.params);
            $body;
        })
    };
}

use {inputs, outputs, reads};

/// Sets a fraction of numbers to zero: each whose index fulfils a condition.
fn drop_where(numbers: &mut [f64], dropped: impl Fn(usize) -> bool) {
    numbers.iter_mut().enumerate().filter(|(index, _)| dropped(*index)).for_each(|(_, x)| *x = 0.0);
}

/// Every sample is the first one.
fn first_sample_only(numbers: &mut [f64], samples: u32) {
    let each = numbers.len() / samples.max(1) as usize;
    (each..numbers.len()).for_each(|index| numbers[index] = numbers[index % each]);
}

/// Faults as people make them, in every kernel.
pub fn seeded() -> Vec<Mutant> {
    [
        conv2d::faults(),
        matmul::faults(),
        pointwise::faults(),
        reduce::faults(),
        images::faults(),
        norm::faults(),
        updates::faults(),
    ]
    .into_iter()
    .flatten()
    .map(|(name, kernel, fault)| Mutant {
        name: format!("{}: {name}", kernel.name()),
        kernel,
        fault,
    })
    .collect()
}

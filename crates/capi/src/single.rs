//! Samples one at a time, of generators small enough: on the calling thread, and without memory of ours once it is warm.

use belamy_cpu::RowProgram;
use belamy_nn::Network;
use belamy_nn::layer::RowFunction;
use std::cell::RefCell;

/// A generator of dense layers, ready for single samples.
#[derive(Debug)]
pub(crate) struct Single {
    /// For each label what is joined to the noise, and how long it is.
    table: Option<(Vec<f32>, usize)>,
    program: RowProgram,
}

thread_local! {
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

impl Single {
    /// `None` for a network that is not of dense layers, or joins labels anywhere but to its noise.
    pub(crate) fn of(network: &Network) -> Option<Single> {
        let row = network.of_a_row()?;
        let mut inputs = network.input().elements();
        let mut table = None;
        if let Some((after, values)) = &row.joined {
            let is_first =
                row.functions[..*after].iter().all(|one| matches!(one, RowFunction::Nothing));
            let features = *values.dims().get(1)?;
            if !is_first {
                return None;
            }
            table = Some((values.to_vec::<f32>().ok()?, features));
            inputs += features;
        }
        let mut program = RowProgram::new(inputs);
        for function in &row.functions {
            program = match function {
                RowFunction::Dense(weight, bias) => {
                    let bias = match bias {
                        Some(bias) => Some(bias.to_vec::<f32>().ok()?),
                        None => None,
                    };
                    program.dense(&weight.to_vec::<f32>().ok()?, bias.as_deref())?
                }
                RowFunction::Relu => program.relu(),
                RowFunction::LeakyRelu(slope) => program.leaky_relu(*slope),
                RowFunction::Tanh => program.tanh(),
                RowFunction::Sigmoid => program.sigmoid(),
                RowFunction::Nothing => program,
                RowFunction::Table(_) => return None,
            };
        }
        Some(Single { table, program })
    }

    /// The sample of a row of noise, and of a label below the number of classes where there are some.
    pub(crate) fn draw(&self, noise: &[f32], label: Option<u32>, out: &mut [f32]) {
        SCRATCH.with_borrow_mut(|scratch| {
            let wanted = self.program.scratch();
            if scratch.len() < wanted {
                scratch.resize(wanted, 0.0);
            }
            let scratch = &mut scratch[..wanted];
            scratch[..noise.len()].copy_from_slice(noise);
            if let Some((table, features)) = &self.table {
                let start = label.unwrap_or(0) as usize * features;
                scratch[noise.len()..][..*features].copy_from_slice(&table[start..][..*features]);
            }
            self.program.run(scratch, out);
        });
    }
}

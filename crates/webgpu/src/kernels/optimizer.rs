//! `adam`, `sgd`, `rmsprop`, `global_norm`: a dispatch for each parameter, or for several where they can be bound.

use super::parts::{Entries, sum_of_parts};
use super::{GROUP, Pass, Run};
use crate::memory::Storage;
use belamy_tensor::Result;
use belamy_tensor::ops::optimizer::{AdamParams, RmspropParams, SgdParams};

/// Parameters that a wide entry point updates.
const TENSORS: usize = 3;

/// Updates each parameter by one of the entry points: the first takes one parameter, the second [`TENSORS`]. The lists
/// lie one after another, as the kernel list has them: control, params, grads and `states` lists of state; and of what
/// is written params and state.
fn each_parameter(
    run: &mut Run<'_>,
    [one, several]: [&'static str; 2],
    states: usize,
    words: [u32; 3],
) -> Result<()> {
    let tensors = run.outputs.len() / (1 + states);
    let at_once = if run.gpu.wide { TENSORS } else { 1 };
    for first in (0..tensors).step_by(at_once) {
        let count = at_once.min(tensors - first);
        let sizes = &run.output_elements[first..first + count];
        let groups = sizes.iter().map(|elements| elements.div_ceil(GROUP)).sum();
        // One parameter is bound alone, several with something in the place of those that are missing: what is read
        // may be anything, what is written must not be bound twice.
        let places = if count == 1 { 1 } else { TENSORS };
        let (reads, writes) = (2 + states, 1 + states);
        let spare = (0..(places - count) * writes)
            .map(|_| run.scratch(1))
            .collect::<Result<Vec<Storage>>>()?;
        let mut spare = spare.iter();
        let mut inputs = vec![run.inputs[0]];
        for list in 0..reads {
            let from = 1 + list * tensors + first;
            inputs.extend(&run.inputs[from..from + count]);
            inputs.extend((count..places).map(|_| run.inputs[0]));
        }
        let mut outputs = Vec::new();
        for list in 0..writes {
            let from = list * tensors + first;
            outputs.extend(&run.outputs[from..from + count]);
            outputs.extend(spare.by_ref().take(places - count));
        }
        let (inputs, outputs) = (&inputs, &outputs);
        if count == 1 {
            let elements = sizes[0];
            run.pass(&Pass { entry: one, inputs, outputs, elements, words, groups })?;
        } else {
            let mut lengths = [0; TENSORS.next_multiple_of(4)];
            lengths[..count].copy_from_slice(sizes);
            let elements = count as u32;
            let pass = Pass { entry: several, inputs, outputs, elements, words, groups };
            run.wide_pass(&pass, &lengths)?;
        }
    }
    Ok(())
}

/// ln b as the shader takes it.
fn logarithm(b: f64) -> u32 {
    // ln 0 is −∞, which WGSL may not know; e^−100 is 0 to any f32 it is taken from.
    (b.ln().max(-100.0) as f32).to_bits()
}

pub(super) fn adam(run: &mut Run<'_>) -> Result<()> {
    let p = AdamParams::decode(&run.params);
    each_parameter(run, ["adam", "adam_wide"], 2, [logarithm(p.beta_1), logarithm(p.beta_2), 0])
}

pub(super) fn sgd(run: &mut Run<'_>) -> Result<()> {
    match SgdParams::decode(&run.params).momentum {
        0.0 => each_parameter(run, ["sgd", "sgd_wide"], 0, [0; 3]),
        _ => each_parameter(run, ["sgd_momentum", "sgd_momentum_wide"], 1, [0; 3]),
    }
}

pub(super) fn rmsprop(run: &mut Run<'_>) -> Result<()> {
    let p = RmspropParams::decode(&run.params);
    let words = [logarithm(p.rho), 0, 0];
    match p.momentum {
        0.0 => each_parameter(run, ["rmsprop", "rmsprop_wide"], 1, words),
        _ => each_parameter(run, ["rmsprop_momentum", "rmsprop_momentum_wide"], 2, words),
    }
}

pub(super) fn global_norm(run: &mut Run<'_>) -> Result<()> {
    let (part, wide) = ("global_norm_part", "global_norm_wide");
    sum_of_parts(run, Entries { part, wide, whole: "global_norm" })
}

pub(super) fn next_control(run: &mut Run<'_>) -> Result<()> {
    run.each_element()
}

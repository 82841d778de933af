//! `adam`, `sgd`, `rmsprop`, `global_norm`: a dispatch for each parameter.

use super::parts::sum_of_parts;
use super::{GROUP, Pass, Run};
use crate::memory::Storage;
use belamy_tensor::Result;
use belamy_tensor::ops::optimizer::{AdamParams, RmspropParams, SgdParams};

/// Updates each parameter by `entry`. The lists lie one after another, as the kernel list has them: control, params,
/// grads and `states` lists of state; and of what is written params and state.
fn each_parameter(
    run: &mut Run<'_>,
    entry: &'static str,
    states: usize,
    words: [u32; 3],
) -> Result<()> {
    let tensors = run.outputs.len() / (1 + states);
    for index in 0..tensors {
        let list = |list: usize| run.inputs[1 + list * tensors + index];
        let inputs: Vec<&Storage> =
            std::iter::once(run.inputs[0]).chain((0..2 + states).map(list)).collect();
        let outputs: Vec<&Storage> =
            (0..1 + states).map(|list| run.outputs[list * tensors + index]).collect();
        let elements = run.output_elements[index];
        let groups = elements.div_ceil(GROUP);
        run.pass(&Pass { entry, inputs: &inputs, outputs: &outputs, elements, words, groups })?;
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
    each_parameter(run, "adam", 2, [logarithm(p.beta_1), logarithm(p.beta_2), 0])
}

pub(super) fn sgd(run: &mut Run<'_>) -> Result<()> {
    match SgdParams::decode(&run.params).momentum {
        0.0 => each_parameter(run, "sgd", 0, [0; 3]),
        _ => each_parameter(run, "sgd_momentum", 1, [0; 3]),
    }
}

pub(super) fn rmsprop(run: &mut Run<'_>) -> Result<()> {
    let p = RmspropParams::decode(&run.params);
    let words = [logarithm(p.rho), 0, 0];
    match p.momentum {
        0.0 => each_parameter(run, "rmsprop", 1, words),
        _ => each_parameter(run, "rmsprop_momentum", 2, words),
    }
}

pub(super) fn global_norm(run: &mut Run<'_>) -> Result<()> {
    sum_of_parts(run, "global_norm_part", "global_norm")
}

pub(super) fn next_control(run: &mut Run<'_>) -> Result<()> {
    run.each_element()
}

//! `adam`, `sgd`, `rmsprop`: all parameters in one launch (sixty of them); `global_norm`: a block squares a chunk of one
//! tensor, one more block adds the sums.

use super::lists::cut;
use super::{Operand, Result, Run, THREADS, arguments};
use crate::driver::Argument;
use belamy_tensor::ops::optimizer::{AdamParams, RmspropParams};

/// Parameters of one launch, each with seven lists.
const CAPACITY: usize = 60;
/// Tensors of one launch of `global_norm`.
const NORM_CAPACITY: usize = 240;

/// Queues an update of parameters with up to two lists of state.
fn update(run: &Run<'_>, more: &[Argument]) -> Result<()> {
    let [control, operands @ ..] = &run.inputs[..] else {
        unreachable!("an update has a control tensor");
    };
    let lists = run.inputs.len() - 1;
    // Operands are params, grads and the states; results are params and the states.
    let tensors = lists - run.outputs.len();
    if tensors == 0 {
        return Ok(());
    }
    let states = run.outputs.len() / tensors - 1;
    let list = |from: &'_ [Operand], index: usize, there: bool| -> Vec<Operand> {
        if there { from[index * tensors..][..tensors].to_vec() } else { Vec::new() }
    };
    let all = [
        list(operands, 0, true),
        list(operands, 1, true),
        list(operands, 2, states > 0),
        list(operands, 3, states > 1),
        list(&run.outputs, 0, true),
        list(&run.outputs, 1, states > 0),
        list(&run.outputs, 2, states > 1),
    ];
    for part in cut::<CAPACITY>(&all.each_ref().map(Vec::as_slice)) {
        let mut arguments = vec![part.argument];
        arguments.extend_from_slice(more);
        arguments.push((*control).into());
        run.launch(run.kernel.name(), part.blocks, THREADS, &arguments)?;
    }
    Ok(())
}

pub(super) fn adam(run: &Run<'_>) -> Result<()> {
    let p = AdamParams::decode(&run.params);
    let (take_1, take_2) = ((1.0 - p.beta_1) as f32, (1.0 - p.beta_2) as f32);
    update(run, arguments![p.beta_1, p.beta_2, take_1, take_2])
}

pub(super) fn sgd(run: &Run<'_>) -> Result<()> {
    update(run, &[])
}

pub(super) fn rmsprop(run: &Run<'_>) -> Result<()> {
    update(run, arguments![(1.0 - RmspropParams::decode(&run.params).rho) as f32])
}

pub(super) fn global_norm(run: &Run<'_>) -> Result<()> {
    let parts = cut::<NORM_CAPACITY>(&[&run.inputs]);
    let blocks: usize = parts.iter().map(|part| part.blocks).sum();
    let sums = run.workspace(blocks * size_of::<f64>())?;
    let mut first = 0;
    for part in parts {
        let to = sums.address() + (first * size_of::<f64>()) as u64;
        let to = Operand { address: to, elements: part.blocks };
        let arguments = &[part.argument, to.into()];
        run.launch_bare("optimizer", "global_norm", part.blocks, THREADS, arguments)?;
        first += part.blocks;
    }
    let arguments = arguments![blocks as u32, &sums, run.outputs[0]];
    run.launch_bare("optimizer", "global_norm_root", 1, THREADS, arguments)
}

pub(super) fn next_control(run: &Run<'_>) -> Result<()> {
    run.launch_plain(1)
}

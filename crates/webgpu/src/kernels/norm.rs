//! `norm`, `norm_grad`: sums of chunks, then the result from their combination, tile by tile; the halves of both: the
//! combination, or the result; `running_statistics`: an invocation for each channel.

use super::tile::Tile;
use super::{Pass, Run};
use crate::memory::Storage;
use belamy_tensor::Result;
use belamy_tensor::ops::norm::NormParams;

/// What the passes of one call share.
struct Plan {
    groups: u32,
    channels: u32,
    tile: Tile,
}

impl Plan {
    fn new(run: &Run<'_>) -> Plan {
        let p = NormParams::decode(&run.params);
        Plan { groups: p.groups, channels: p.channels, tile: Tile::new(p.rows, p.channels) }
    }

    /// Elements of `[G, C]`.
    fn statistics(&self) -> u32 {
        self.groups * self.channels
    }

    /// Elements of `[G, chunks, C]`.
    fn partial(&self) -> u32 {
        self.statistics() * self.tile.chunks
    }

    fn words(&self) -> [u32; 3] {
        [self.tile.rows, self.tile.width, 0]
    }

    fn tiles(&self) -> u32 {
        self.groups * self.tile.groups()
    }

    /// The first tile of each group's channels.
    fn first_tiles(&self) -> u32 {
        self.groups * self.tile.across
    }

    /// Records a pass over some of the tiles.
    fn pass(
        &self,
        run: &mut Run<'_>,
        entry: &'static str,
        groups: u32,
        inputs: &[&Storage],
        outputs: &[&Storage],
    ) -> Result<()> {
        let (words, elements) = (self.words(), self.statistics());
        run.pass(&Pass { entry, inputs, outputs, elements, words, groups })
    }
}

/// Records the sums of x's chunks.
fn chunks_of_x(run: &mut Run<'_>, plan: &Plan, x: &Storage) -> Result<Storage> {
    let chunks = run.scratch(2 * plan.partial())?;
    plan.pass(run, "norm_chunks", plan.tiles(), &[x], &[&chunks])?;
    Ok(chunks)
}

pub(super) fn norm(run: &mut Run<'_>) -> Result<()> {
    let plan = Plan::new(run);
    let ([x, gamma, beta], [y, mean, variance]) = (run.inputs, run.outputs) else {
        unreachable!("norm has three inputs and three outputs")
    };
    let chunks = chunks_of_x(run, &plan, x)?;
    let tiles = plan.tiles();
    plan.pass(run, "norm", tiles, &[x, &chunks, gamma, beta], &[y, mean, variance])
}

pub(super) fn norm_statistics(run: &mut Run<'_>) -> Result<()> {
    let plan = Plan::new(run);
    let ([x], [mean, variance]) = (run.inputs, run.outputs) else {
        unreachable!("norm_statistics has one input and two outputs")
    };
    let chunks = chunks_of_x(run, &plan, x)?;
    plan.pass(run, "norm_statistics", plan.first_tiles(), &[x, &chunks], &[mean, variance])
}

pub(super) fn norm_apply(run: &mut Run<'_>) -> Result<()> {
    let plan = Plan::new(run);
    let ([x, gamma, beta, mean, variance], [y]) = (run.inputs, run.outputs) else {
        unreachable!("norm_apply has five inputs and one output")
    };
    plan.pass(run, "norm_apply", plan.tiles(), &[x, mean, gamma, beta, variance], &[y])
}

/// Records the sums of the cotangent's chunks, and what the next pass needs of each channel.
fn chunks_of_g(run: &mut Run<'_>, plan: &Plan, inputs: &[&Storage; 6]) -> Result<[Storage; 2]> {
    let [x, gamma, beta, h, mean, variance] = inputs;
    let (chunks, channels) =
        (run.scratch(2 * plan.partial())?, run.scratch(4 * plan.statistics())?);
    let inputs = [*x, h, gamma, beta, mean, variance];
    plan.pass(run, "norm_grad_chunks", plan.tiles(), &inputs, &[&chunks, &channels])?;
    Ok([chunks, channels])
}

pub(super) fn norm_grad(run: &mut Run<'_>) -> Result<()> {
    let plan = Plan::new(run);
    let inputs: &[&Storage; 6] = run.inputs.try_into().expect("norm_grad has six inputs");
    let [chunks, channels] = chunks_of_g(run, &plan, inputs)?;
    let (inputs, outputs) = ([inputs[0], inputs[3], &chunks, &channels], run.outputs);
    plan.pass(run, "norm_grad", plan.tiles(), &inputs, outputs)
}

pub(super) fn norm_grad_sums(run: &mut Run<'_>) -> Result<()> {
    let plan = Plan::new(run);
    let inputs: &[&Storage; 6] = run.inputs.try_into().expect("norm_grad_sums has six inputs");
    let [chunks, channels] = chunks_of_g(run, &plan, inputs)?;
    let (inputs, outputs) = ([inputs[0], inputs[3], &chunks, &channels], run.outputs);
    plan.pass(run, "norm_grad_sums", plan.first_tiles(), &inputs, outputs)
}

pub(super) fn norm_grad_apply(run: &mut Run<'_>) -> Result<()> {
    let plan = Plan::new(run);
    let ([x, gamma, beta, h, mean, variance, sums], [grad_x]) = (run.inputs, run.outputs) else {
        unreachable!("norm_grad_apply has seven inputs and one output")
    };
    let inputs = [*x, h, gamma, beta, mean, variance, sums];
    plan.pass(run, "norm_grad_apply", plan.tiles(), &inputs, &[grad_x])
}

pub(super) fn running_statistics(run: &mut Run<'_>) -> Result<()> {
    run.each_element()
}

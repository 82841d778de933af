//! `norm`, `norm_grad`: sums of chunks, their combination, and the result, tile by tile; `running_statistics`: an
//! invocation for each channel.

use super::tile::Tile;
use super::{GROUP, Pass, Run};
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
}

pub(super) fn norm(run: &mut Run<'_>) -> Result<()> {
    let plan = Plan::new(run);
    let ([x, gamma, beta], [y, mean, variance]) = (run.inputs, run.outputs) else {
        unreachable!("norm has three inputs and three outputs")
    };
    let (means, squares) = (run.scratch(plan.partial())?, run.scratch(plan.partial())?);
    let (words, elements) = (plan.words(), plan.statistics());
    run.pass(&Pass {
        entry: "norm_chunks",
        inputs: &[x],
        outputs: &[&means, &squares],
        elements,
        words,
        groups: plan.tiles(),
    })?;
    run.pass(&Pass {
        entry: "norm_statistics",
        inputs: &[&means, &squares],
        outputs: &[mean, variance],
        elements,
        words,
        groups: elements.div_ceil(GROUP),
    })?;
    run.pass(&Pass {
        entry: "norm",
        inputs: &[x, gamma, beta, mean, variance],
        outputs: &[y],
        elements,
        words,
        groups: plan.tiles(),
    })
}

pub(super) fn norm_grad(run: &mut Run<'_>) -> Result<()> {
    let plan = Plan::new(run);
    let ([x, gamma, beta, h, mean, variance], [grad_x, grad_gamma, grad_beta]) =
        (run.inputs, run.outputs)
    else {
        unreachable!("norm_grad has six inputs and three outputs")
    };
    let (sums, products) = (run.scratch(plan.partial())?, run.scratch(plan.partial())?);
    let moments = run.scratch(2 * plan.statistics())?;
    let (words, elements) = (plan.words(), plan.statistics());
    run.pass(&Pass {
        entry: "norm_grad_chunks",
        inputs: &[x, gamma, beta, mean, variance, h],
        outputs: &[&sums, &products],
        elements,
        words,
        groups: plan.tiles(),
    })?;
    run.pass(&Pass {
        entry: "norm_grad_sums",
        inputs: &[&sums, &products, variance],
        outputs: &[grad_gamma, grad_beta, &moments],
        elements,
        words,
        groups: plan.channels.div_ceil(GROUP),
    })?;
    run.pass(&Pass {
        entry: "norm_grad",
        inputs: &[x, gamma, beta, mean, variance, h, &moments],
        outputs: &[grad_x],
        elements,
        words,
        groups: plan.tiles(),
    })
}

pub(super) fn running_statistics(run: &mut Run<'_>) -> Result<()> {
    run.each_element()
}

//! `norm`, `norm_grad`: sums of chunks, then the result from their combination, tile by tile; `running_statistics`: an
//! invocation for each channel.

use super::tile::Tile;
use super::{Pass, Run};
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
    let chunks = run.scratch(2 * plan.partial())?;
    let (words, elements) = (plan.words(), plan.statistics());
    run.pass(&Pass {
        entry: "norm_chunks",
        inputs: &[x],
        outputs: &[&chunks],
        elements,
        words,
        groups: plan.tiles(),
    })?;
    run.pass(&Pass {
        entry: "norm",
        inputs: &[x, &chunks, gamma, beta],
        outputs: &[y, mean, variance],
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
    let (chunks, channels) =
        (run.scratch(2 * plan.partial())?, run.scratch(4 * plan.statistics())?);
    let (words, elements) = (plan.words(), plan.statistics());
    run.pass(&Pass {
        entry: "norm_grad_chunks",
        inputs: &[x, h, gamma, beta, mean, variance],
        outputs: &[&chunks, &channels],
        elements,
        words,
        groups: plan.tiles(),
    })?;
    run.pass(&Pass {
        entry: "norm_grad",
        inputs: &[x, h, &chunks, &channels],
        outputs: &[grad_x, grad_gamma, grad_beta],
        elements,
        words,
        groups: plan.tiles(),
    })
}

pub(super) fn running_statistics(run: &mut Run<'_>) -> Result<()> {
    run.each_element()
}

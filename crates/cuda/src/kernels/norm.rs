//! `norm`, `norm_grad`: three passes each, and where there are groups a fourth for the affine parameters' gradients; `running_statistics`: one
//! thread owns a channel. See `kernels/norm.cu`.

use super::{Result, Run, THREADS, VECTOR, arguments};
use belamy_tensor::ops::norm::NormParams;

/// The most rows of a channel that a block sums: 64 for each of its eight warps.
const MOST_PART_ROWS: usize = 512;
/// The fewest that are worth a block, where there are more.
const LEAST_PART_ROWS: usize = 128;
/// Blocks that keep a large GPU busy reading.
const BUSY_BLOCKS: usize = 512;
/// Channels that a block owns.
const CHANNELS: usize = 32;

/// Grids and workspaces of one call.
struct Plan {
    groups: usize,
    channels: usize,
    /// How many parts the rows are cut into.
    parts: usize,
}

impl Plan {
    fn of(run: &Run<'_>) -> Plan {
        let p = NormParams::decode(&run.params);
        let [groups, rows, channels] = [p.groups, p.rows, p.channels].map(|extent| extent as usize);
        let wanted = (rows * groups * channels.div_ceil(CHANNELS)).div_ceil(BUSY_BLOCKS);
        let part_rows = wanted.next_multiple_of(32).clamp(LEAST_PART_ROWS, MOST_PART_ROWS);
        Plan { groups, channels, parts: rows.div_ceil(part_rows) }
    }

    /// Groups times channels.
    fn columns(&self) -> usize {
        self.groups * self.channels
    }

    /// The variant of a pass that sums rows.
    fn summing(&self, entry: &'static str, fours: &'static str) -> &'static str {
        if self.channels.is_multiple_of(4) { fours } else { entry }
    }

    /// Blocks of a pass over x.
    fn tiles(&self) -> usize {
        self.groups * self.channels.div_ceil(CHANNELS) * self.parts
    }
}

/// Blocks of the last pass: four neighbours a thread.
fn flat(len: u32) -> usize {
    len.div_ceil(VECTOR).div_ceil(THREADS) as usize
}

pub(super) fn norm(run: &Run<'_>) -> Result<()> {
    let plan = Plan::of(run);
    let parts = plan.parts as u32;
    let ([x, gamma, beta], [y, mean, variance]) = (&run.inputs[..], &run.outputs[..]) else {
        unreachable!("norm has three inputs and three outputs");
    };
    let sums = run.workspace(2 * plan.columns() * plan.parts * size_of::<f64>())?;
    let scale = run.workspace(plan.columns() * size_of::<f32>())?;
    let entry = plan.summing("norm_sums", "norm_sums_fours");
    run.launch(entry, plan.tiles(), THREADS, arguments![parts, *x, &sums])?;
    let arguments = arguments![parts, *x, *gamma, &sums, *mean, *variance, &scale];
    run.launch("norm_statistics", plan.columns().div_ceil(CHANNELS), THREADS, arguments)?;
    let len = y.elements as u32;
    run.launch("norm_apply", flat(len), THREADS, arguments![len, *x, *beta, *mean, &scale, *y])
}

pub(super) fn norm_grad(run: &Run<'_>) -> Result<()> {
    let plan = Plan::of(run);
    let parts = plan.parts as u32;
    let ([x, gamma, beta, h, mean, variance], [grad_x, grad_gamma, grad_beta]) =
        (&run.inputs[..], &run.outputs[..])
    else {
        unreachable!("norm_grad has six inputs and three outputs");
    };
    let sums = run.workspace(2 * plan.columns() * plan.parts * size_of::<f64>())?;
    let factors = run.workspace(3 * plan.columns() * size_of::<f32>())?;
    let affine = run.workspace(2 * plan.columns() * size_of::<f64>())?;
    let arguments = arguments![parts, *x, *gamma, *beta, *h, *mean, *variance, &sums];
    let entry = plan.summing("norm_grad_sums", "norm_grad_sums_fours");
    run.launch(entry, plan.tiles(), THREADS, arguments)?;
    let arguments =
        arguments![parts, *gamma, *variance, &sums, &factors, &affine, *grad_gamma, *grad_beta];
    run.launch("norm_grad_factors", plan.columns().div_ceil(CHANNELS), THREADS, arguments)?;
    if plan.groups > 1 {
        let blocks = plan.channels.div_ceil(CHANNELS);
        let arguments = arguments![&affine, *grad_gamma, *grad_beta];
        run.launch("norm_grad_affine", blocks, THREADS, arguments)?;
    }
    let len = grad_x.elements as u32;
    let arguments = arguments![len, *x, *beta, *h, *mean, &factors, *grad_x];
    run.launch("norm_grad_apply", flat(len), THREADS, arguments)
}

pub(super) fn running_statistics(run: &Run<'_>) -> Result<()> {
    run.launch_plain(run.outputs[0].elements)
}

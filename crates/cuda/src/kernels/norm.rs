//! `norm`, `norm_grad`: three passes each, and where there are groups a fourth for the affine parameters' gradients; the
//! halves of both: two passes each, and that fourth; `running_statistics`: one thread owns a channel. See
//! `kernels/norm.cu`.

use super::{Operand, Result, Run, THREADS, VECTOR, arguments};
use crate::memory::Memory;
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

    /// Blocks of a pass that adds the parts of channels.
    fn adding(&self) -> usize {
        self.columns().div_ceil(CHANNELS)
    }

    /// Blocks of a pass with a thread for each of `[G, C]`.
    fn flat_columns(&self) -> usize {
        self.columns().div_ceil(THREADS as usize)
    }

    /// Room for both sums of each channel's parts.
    fn sums(&self, run: &Run<'_>) -> Result<Memory> {
        run.workspace(2 * self.columns() * self.parts * size_of::<f64>())
    }

    /// Room for the groups' shares of the affine parameters' gradients.
    fn affine(&self, run: &Run<'_>) -> Result<Memory> {
        run.workspace(2 * self.columns() * size_of::<f64>())
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

/// The sums of x's parts.
fn parts_of_x(run: &Run<'_>, plan: &Plan, x: Operand) -> Result<Memory> {
    let sums = plan.sums(run)?;
    let entry = plan.summing("norm_parts", "norm_parts_fours");
    run.launch(entry, plan.tiles(), THREADS, arguments![plan.parts as u32, x, &sums])?;
    Ok(sums)
}

/// The last pass of `norm` and `norm_apply`.
fn apply(run: &Run<'_>, x: Operand, beta: Operand, mean: Operand, scale: &Memory) -> Result<()> {
    let y = run.outputs[0];
    let len = y.elements as u32;
    run.launch("norm_apply", flat(len), THREADS, arguments![len, x, beta, mean, scale, y])
}

pub(super) fn norm(run: &Run<'_>) -> Result<()> {
    let plan = Plan::of(run);
    let (&[x, gamma, beta], &[_, mean, variance]) = (&run.inputs[..], &run.outputs[..]) else {
        unreachable!("norm has three inputs and three outputs");
    };
    let sums = parts_of_x(run, &plan, x)?;
    let scale = run.workspace(plan.columns() * size_of::<f32>())?;
    let arguments = arguments![plan.parts as u32, x, gamma, &sums, mean, variance, &scale];
    run.launch("norm_factors", plan.adding(), THREADS, arguments)?;
    apply(run, x, beta, mean, &scale)
}

pub(super) fn norm_statistics(run: &Run<'_>) -> Result<()> {
    let plan = Plan::of(run);
    let (&[x], &[mean, variance]) = (&run.inputs[..], &run.outputs[..]) else {
        unreachable!("norm_statistics has one input and two outputs");
    };
    let sums = parts_of_x(run, &plan, x)?;
    let arguments = arguments![plan.parts as u32, x, &sums, mean, variance];
    run.launch("norm_statistics", plan.adding(), THREADS, arguments)
}

pub(super) fn norm_apply(run: &Run<'_>) -> Result<()> {
    let plan = Plan::of(run);
    let &[x, gamma, beta, mean, variance] = &run.inputs[..] else {
        unreachable!("norm_apply has five inputs");
    };
    let scale = run.workspace(plan.columns() * size_of::<f32>())?;
    let arguments = arguments![gamma, variance, &scale];
    run.launch("norm_apply_factors", plan.flat_columns(), THREADS, arguments)?;
    apply(run, x, beta, mean, &scale)
}

/// The sums of the cotangent's parts.
fn parts_of_g(run: &Run<'_>, plan: &Plan) -> Result<Memory> {
    let &[x, gamma, beta, h, mean, variance] = &run.inputs[..] else {
        unreachable!("norm_grad and norm_grad_sums have six inputs");
    };
    let sums = plan.sums(run)?;
    let arguments = arguments![plan.parts as u32, x, gamma, beta, h, mean, variance, &sums];
    let entry = plan.summing("norm_grad_parts", "norm_grad_parts_fours");
    run.launch(entry, plan.tiles(), THREADS, arguments)?;
    Ok(sums)
}

/// The affine parameters' gradients from the shares of several groups.
fn add_groups(run: &Run<'_>, plan: &Plan, affine: &Memory) -> Result<()> {
    if plan.groups == 1 {
        return Ok(());
    }
    let arguments = arguments![affine, run.outputs[1], run.outputs[2]];
    run.launch("norm_grad_affine", plan.channels.div_ceil(CHANNELS), THREADS, arguments)
}

/// The last pass of `norm_grad` and `norm_grad_apply`.
fn apply_gradient(run: &Run<'_>, factors: &Memory) -> Result<()> {
    let (inputs, grad_x) = (&run.inputs, run.outputs[0]);
    let (x, beta, h, mean) = (inputs[0], inputs[2], inputs[3], inputs[4]);
    let len = grad_x.elements as u32;
    let arguments = arguments![len, x, beta, h, mean, factors, grad_x];
    run.launch("norm_grad_apply", flat(len), THREADS, arguments)
}

pub(super) fn norm_grad(run: &Run<'_>) -> Result<()> {
    let plan = Plan::of(run);
    let (gamma, variance) = (run.inputs[1], run.inputs[5]);
    let &[_, grad_gamma, grad_beta] = &run.outputs[..] else {
        unreachable!("norm_grad has three outputs");
    };
    let sums = parts_of_g(run, &plan)?;
    let factors = run.workspace(3 * plan.columns() * size_of::<f32>())?;
    let (parts, affine) = (plan.parts as u32, plan.affine(run)?);
    let arguments =
        arguments![parts, gamma, variance, &sums, &factors, &affine, grad_gamma, grad_beta];
    run.launch("norm_grad_factors", plan.adding(), THREADS, arguments)?;
    add_groups(run, &plan, &affine)?;
    apply_gradient(run, &factors)
}

pub(super) fn norm_grad_sums(run: &Run<'_>) -> Result<()> {
    let plan = Plan::of(run);
    let &[totals, grad_gamma, grad_beta] = &run.outputs[..] else {
        unreachable!("norm_grad_sums has three outputs");
    };
    let sums = parts_of_g(run, &plan)?;
    let (parts, variance, affine) = (plan.parts as u32, run.inputs[5], plan.affine(run)?);
    let arguments = arguments![parts, variance, &sums, &affine, totals, grad_gamma, grad_beta];
    run.launch("norm_grad_sums", plan.adding(), THREADS, arguments)?;
    add_groups(run, &plan, &affine)
}

pub(super) fn norm_grad_apply(run: &Run<'_>) -> Result<()> {
    let plan = Plan::of(run);
    let (gamma, variance, totals) = (run.inputs[1], run.inputs[5], run.inputs[6]);
    let factors = run.workspace(3 * plan.columns() * size_of::<f32>())?;
    let arguments = arguments![gamma, variance, totals, &factors];
    run.launch("norm_grad_apply_factors", plan.flat_columns(), THREADS, arguments)?;
    apply_gradient(run, &factors)
}

pub(super) fn running_statistics(run: &Run<'_>) -> Result<()> {
    run.launch_plain(run.outputs[0].elements)
}

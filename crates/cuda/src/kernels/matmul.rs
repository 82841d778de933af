//! `matmul`: a block owns a tile of y; see `tile` for how large, and how many blocks share one.

use super::tile::{Plan, product};
use super::{Result, Run, pack};
use crate::driver::Argument;
use belamy_tensor::kernel::KernelId;
use belamy_tensor::ops::matmul::MatmulParams;

pub(super) fn matmul(run: &Run<'_>) -> Result<()> {
    multiply(run, MatmulParams::decode(&run.params))
}

/// The product of the call's first two inputs, whatever kernel the call is of.
pub(super) fn multiply(run: &Run<'_>, p: MatmulParams) -> Result<()> {
    let plan = Plan::new(p.m as usize, p.n as usize, p.k as usize, p.batch as usize);
    let letter = |transposed: u32| if transposed == 1 { 't' } else { 'n' };
    let (a, b) = (letter(p.transpose_a), letter(p.transpose_b));
    let entry = format!("matmul_{}_{a}{b}", plan.tile);
    let params = Argument::Struct(pack(KernelId::matmul.layout(), &p.encode()));
    product(run, plan, ("matmul", &entry), params, &[])
}

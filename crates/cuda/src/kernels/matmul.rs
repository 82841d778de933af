//! `matmul`: a block owns a tile of y; see `tile` for how large, and how many blocks share one.

use super::tile::{Plan, Product, product};
use super::{Result, Run};
use crate::driver::Argument;
use belamy_tensor::kernel::KernelId;
use belamy_tensor::ops::matmul::MatmulParams;

pub(super) fn matmul(run: &Run<'_>) -> Result<()> {
    multiply(run, MatmulParams::decode(&run.params))
}

/// The product of the call's first two inputs, whatever kernel the call is of.
pub(super) fn multiply(run: &Run<'_>, p: MatmulParams) -> Result<()> {
    let [m, n, k] = [p.m, p.n, p.k].map(|extent| extent as usize);
    let letter = |transposed: u32| if transposed == 1 { 't' } else { 'n' };
    let (a, b) = (letter(p.transpose_a), letter(p.transpose_b));
    // Whichever of an operand's two extents its memory runs along.
    let fours = [if a == 'n' { k } else { m }, if b == 'n' { n } else { k }];
    let fours = fours.iter().all(|extent| extent % 4 == 0);
    let wanted = Product {
        m,
        n,
        depth: k,
        products: p.batch as usize,
        fours,
        narrow: false,
        along_depth: false,
    };
    let plan = Plan::new(run, wanted);
    let entry = format!("matmul_{}_{a}{b}", plan.name());
    let params = Argument::Struct(p.encode().packed(KernelId::matmul.layout()));
    product(run, plan, ("matmul", &entry), params, &[])
}

//! `conv2d`, `conv2d_grad_input`, `conv2d_grad_weight`: a block owns a tile of the open slot of one group (and, for the
//! gradient of the input, of one phase of the stride); see `tile` for how large, and how many blocks share one.
//!
//! Where an image is exactly one window (a network's last convolution, or its first transposed one), the three are
//! plain products of matrices, and taken as such: no tap then meets padding.

use super::matmul::multiply;
use super::tile::{NARROW, Plan, Product, product};
use super::{Operand, Result, Run, THREADS, arguments};
use crate::driver::Argument;
use belamy_tensor::ops::conv2d::Conv2dParams;
use belamy_tensor::ops::matmul::MatmulParams;

/// Numbers that the plans are made of.
struct Extents {
    p: Conv2dParams,
    pixels: usize,
    in_group: usize,
    out_group: usize,
    taps: usize,
    groups: usize,
}

impl Extents {
    fn of(run: &Run<'_>) -> Extents {
        let p = Conv2dParams::decode(&run.params);
        Extents {
            p,
            pixels: p.batch as usize * p.out_height as usize * p.out_width as usize,
            in_group: (p.in_channels / p.groups) as usize,
            out_group: (p.out_channels / p.groups) as usize,
            taps: p.kernel_height as usize * p.kernel_width as usize,
            groups: p.groups as usize,
        }
    }

    /// Whether each image is one window, without padding.
    fn is_one_window(&self) -> bool {
        let p = &self.p;
        p.groups == 1
            && (p.out_height, p.out_width) == (1, 1)
            && (p.padding_top, p.padding_left) == (0, 0)
            && (p.dilation_height, p.dilation_width) == (1, 1)
            && (p.in_height, p.in_width) == (p.kernel_height, p.kernel_width)
    }
}

fn matrix(m: usize, n: usize, k: usize, transpose_a: u32, transpose_b: u32) -> MatmulParams {
    MatmulParams {
        batch: 1,
        m: m as u32,
        n: n as u32,
        k: k as u32,
        transpose_a,
        transpose_b,
        batch_stride_a: 0,
        batch_stride_b: 0,
    }
}

fn by_tiles(run: &Run<'_>, plan: Plan, arguments: &[Argument]) -> Result<()> {
    let entry = format!("{}_{}", run.kernel.name(), plan.name());
    let params = Argument::Struct(run.params.packed(run.kernel.layout()));
    product(run, plan, ("conv2d", &entry), params, arguments)
}

pub(super) fn conv2d(run: &Run<'_>) -> Result<()> {
    let e = Extents::of(run);
    if e.is_one_window() {
        return multiply(run, matrix(e.pixels, e.out_group, e.taps * e.in_group, 0, 1));
    }
    let wanted = Product {
        m: e.pixels,
        n: e.out_group,
        depth: e.taps * e.in_group,
        products: e.groups,
        fours: e.in_group.is_multiple_of(4),
        narrow: false,
        along_depth: true,
    };
    by_tiles(run, Plan::new(run, wanted), &[])
}

pub(super) fn conv2d_grad_input(run: &Run<'_>) -> Result<()> {
    let e = Extents::of(run);
    if e.is_one_window() {
        return multiply(run, matrix(e.pixels, e.taps * e.in_group, e.out_group, 0, 0));
    }
    let p = &e.p;
    let rows = p.in_height.div_ceil(p.stride_height) as usize;
    let columns = p.in_width.div_ceil(p.stride_width) as usize;
    let largest = p.batch as usize * rows * columns; // pixels of the largest phase
    let phases = p.stride_height as usize * p.stride_width as usize;
    let depth = e.taps.div_ceil(phases) * e.out_group; // of a phase, about
    let wanted = Product {
        m: largest,
        n: e.in_group,
        depth,
        products: phases * e.groups,
        fours: e.out_group.is_multiple_of(4)
            && (e.in_group.is_multiple_of(4) || e.in_group <= NARROW),
        narrow: true,
        along_depth: e.groups == 1, // once the weights are turned
    };
    let plan = Plan::new(run, wanted);
    let down = largest.div_ceil(plan.tile.rows) as u32;
    if !plan.warpgroups {
        return by_tiles(run, plan, &[down.into()]);
    }
    let w = run.inputs[1];
    let memory = run.workspace(w.elements * size_of::<f32>())?;
    let squares = e.in_group.div_ceil(32) * e.out_group.div_ceil(32) * e.taps;
    run.launch("conv2d_grad_input_turn", squares, THREADS, arguments![w, &memory])?;
    let turned = Operand { address: memory.address(), elements: w.elements };
    let run = Run {
        driver: run.driver,
        precision: run.precision,
        warpgroups: run.warpgroups,
        kernel: run.kernel,
        params: run.params,
        inputs: vec![run.inputs[0], turned],
        outputs: run.outputs.clone(),
    };
    by_tiles(&run, plan, &[down.into()])
}

pub(super) fn conv2d_grad_weight(run: &Run<'_>) -> Result<()> {
    let e = Extents::of(run);
    if e.is_one_window() {
        // w[o, (kh, kw, c)] = Σ_n g[n, o] x[n, (kh, kw, c)]: the operands are x and g, in this order, and a product
        // wants g first.
        let mut inputs = run.inputs.clone();
        inputs.swap(0, 1);
        let swapped = Run {
            driver: run.driver,
            precision: run.precision,
            warpgroups: run.warpgroups,
            kernel: run.kernel,
            params: run.params,
            inputs,
            outputs: run.outputs.clone(),
        };
        return multiply(&swapped, matrix(e.out_group, e.taps * e.in_group, e.pixels, 1, 0));
    }
    let wanted = Product {
        m: e.out_group,
        n: e.taps * e.in_group,
        depth: e.pixels,
        products: e.groups,
        fours: e.in_group.is_multiple_of(4) && e.out_group.is_multiple_of(4),
        narrow: false,
        along_depth: false,
    };
    by_tiles(run, Plan::new(run, wanted), &[])
}

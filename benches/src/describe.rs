//! A launch in words: which op it is, on which shape.

use crate::trace::Launch;
use belamy_tensor::kernel::KernelId;
use belamy_tensor::ops::conv2d::Conv2dParams;
use belamy_tensor::ops::matmul::MatmulParams;
use belamy_tensor::ops::norm::NormParams;
use belamy_tensor::ops::pad::PadParams;
use belamy_tensor::ops::pointwise::{BinaryFunction, BroadcastParams, UnaryFunction, UnaryParams};
use belamy_tensor::ops::pool2d::Pool2dParams;
use belamy_tensor::ops::random::DrawParams;
use belamy_tensor::ops::reduce::{RowsParams, SumParams};
use belamy_tensor::ops::resize::ResizeParams;
use belamy_tensor::ops::view::StridedParams;

/// The op's name: the function for pointwise kernels, the kernel's own otherwise.
pub fn op(launch: &Launch) -> &'static str {
    let function = match launch.kernel {
        KernelId::unary => UnaryFunction::from_code(UnaryParams::decode(&launch.params).function)
            .map(UnaryFunction::name),
        KernelId::binary => {
            BinaryFunction::from_code(BroadcastParams::decode(&launch.params).function)
                .map(BinaryFunction::name)
        }
        _ => None,
    };
    function.unwrap_or(launch.kernel.name())
}

/// Extents with a cross between, such as 64×32×32×3.
fn times(extents: &[u32]) -> String {
    extents.iter().map(u32::to_string).collect::<Vec<_>>().join("×")
}

/// Extents without the ones that only fill up to six axes.
fn squeezed(extents: &[u32]) -> String {
    let first = extents.iter().position(|&extent| extent != 1).unwrap_or(extents.len() - 1);
    times(&extents[first..])
}

/// The shape, as the kernel's mathematics names it.
pub fn shape(launch: &Launch) -> String {
    let params = &launch.params;
    match launch.kernel {
        KernelId::unary => UnaryParams::decode(params).len.to_string(),
        KernelId::binary | KernelId::select => {
            let p = BroadcastParams::decode(params);
            let full: u64 = p.dims.iter().map(|&extent| u64::from(extent)).product();
            let stretched: Vec<String> = launch
                .inputs
                .iter()
                .enumerate()
                .filter(|(_, input)| (input.elements as u64) < full)
                .map(|(place, input)| format!("operand {place} of {}", input.elements))
                .collect();
            match stretched.is_empty() {
                true => squeezed(&p.dims),
                false => format!("{}, {} stretched", squeezed(&p.dims), stretched.join(" and ")),
            }
        }
        KernelId::sum => {
            let p = SumParams::decode(params);
            let kept: Vec<u32> = p
                .dims
                .iter()
                .zip(p.reduced)
                .map(|(&extent, reduced)| if reduced == 1 { 1 } else { extent })
                .collect();
            format!("{} to {}", squeezed(&p.dims), squeezed(&kept))
        }
        KernelId::broadcast | KernelId::permute => {
            let p = StridedParams::decode(params);
            let from = launch.inputs.first().map_or(0, |input| input.elements);
            let first = p.dims.iter().position(|&extent| extent != 1).unwrap_or(0);
            match launch.kernel {
                KernelId::permute => {
                    format!("to {} by steps of {}", squeezed(&p.dims), times(&p.strides[first..]))
                }
                _ => format!("{from} to {}", squeezed(&p.dims)),
            }
        }
        KernelId::max_rows | KernelId::pick | KernelId::place => {
            let p = RowsParams::decode(params);
            times(&[p.rows, p.columns])
        }
        KernelId::matmul => {
            let p = MatmulParams::decode(params);
            let side = |rows, columns, transposed| {
                let mark = if transposed == 1 { "ᵀ" } else { "" };
                let (rows, columns) =
                    if transposed == 1 { (columns, rows) } else { (rows, columns) };
                format!("({}){mark}", times(&[rows, columns]))
            };
            let batch = if p.batch == 1 { String::new() } else { format!("{} of ", p.batch) };
            let (a, b) = (side(p.m, p.k, p.transpose_a), side(p.k, p.n, p.transpose_b));
            format!("{batch}{a}·{b}")
        }
        KernelId::conv2d | KernelId::conv2d_grad_input | KernelId::conv2d_grad_weight => {
            let p = Conv2dParams::decode(params);
            let image = times(&[p.batch, p.in_height, p.in_width, p.in_channels]);
            let result = times(&[p.batch, p.out_height, p.out_width, p.out_channels]);
            let kernel = times(&[p.kernel_height, p.kernel_width]);
            let stride = p.stride_height;
            let path = match launch.kernel {
                KernelId::conv2d_grad_input => format!("{result} to {image}"),
                _ => format!("{image} to {result}"),
            };
            let dilation = match p.dilation_height {
                1 => String::new(),
                dilation => format!(" dilation {dilation}"),
            };
            format!("{path}, {kernel} stride {stride}{dilation}")
        }
        KernelId::avg_pool2d
        | KernelId::avg_pool2d_spread
        | KernelId::max_pool2d
        | KernelId::max_pool2d_pick
        | KernelId::max_pool2d_place => {
            let p = Pool2dParams::decode(params);
            let image = times(&[p.batch, p.in_height, p.in_width, p.channels]);
            let kernel = times(&[p.kernel_height, p.kernel_width]);
            format!("{image}, {kernel} stride {}", p.stride_height)
        }
        KernelId::resize_nearest
        | KernelId::resize_nearest_fold
        | KernelId::resize_bilinear
        | KernelId::resize_bilinear_fold => {
            let p = ResizeParams::decode(params);
            let image = times(&[p.batch, p.in_height, p.in_width, p.channels]);
            format!(
                "{image}, {} to {}",
                times(&[p.in_height, p.in_width]),
                times(&[p.out_height, p.out_width])
            )
        }
        KernelId::pad | KernelId::crop => {
            let p = PadParams::decode(params);
            let (small, large) = (squeezed(&p.small), squeezed(&p.large));
            match launch.kernel {
                KernelId::pad => format!("{small} to {large}"),
                _ => format!("{large} to {small}"),
            }
        }
        KernelId::norm
        | KernelId::norm_statistics
        | KernelId::norm_apply
        | KernelId::norm_grad
        | KernelId::norm_grad_sums
        | KernelId::norm_grad_apply => {
            let p = NormParams::decode(params);
            times(&[p.groups, p.rows, p.channels])
        }
        KernelId::uniform
        | KernelId::normal
        | KernelId::bernoulli
        | KernelId::integers
        | KernelId::dropout => {
            let per_sample = DrawParams::decode(params).per_sample.max(1);
            let elements = launch.outputs.first().map_or(0, |output| output.elements as u32);
            times(&[elements / per_sample, per_sample])
        }
        KernelId::adam
        | KernelId::sgd
        | KernelId::rmsprop
        | KernelId::global_norm
        | KernelId::count_non_finite => {
            let tensors = params.integers[0];
            let skip = usize::from(!matches!(
                launch.kernel,
                KernelId::global_norm | KernelId::count_non_finite
            ));
            let elements: usize = launch
                .inputs
                .iter()
                .skip(skip)
                .take(tensors as usize)
                .map(|list| list.elements)
                .sum();
            format!("{tensors} tensors, {elements} elements")
        }
        _ => {
            let list = |elements: Vec<usize>| {
                elements.iter().map(usize::to_string).collect::<Vec<_>>().join(" and ")
            };
            let inputs = list(launch.inputs.iter().map(|input| input.elements).collect());
            let outputs = list(launch.outputs.iter().map(|output| output.elements).collect());
            format!("{inputs} to {outputs}")
        }
    }
}

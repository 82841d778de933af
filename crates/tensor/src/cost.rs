//! What one launch of a kernel costs, from its parameters alone: for benchmarks, which see launches and no ops.
//!
//! ```text
//! flop    floating-point operations: a multiply-add counts two, a transcendental one; moving numbers and the integers
//!         of random draws count none
//! bytes   what must be read and written at least once: every operand moved once, of a table only the rows named
//! ```
//!
//! Convolutions count by the direct method, taps outside the image included, whatever a fast path saves of it.
//! The match names every kernel: one without a cost does not compile, and in debug builds an op that states another
//! `flop` than its kernel fails when it is applied.

use crate::kernel::{KernelId, Params};
use crate::op::Cost;
use crate::ops::conv2d::Conv2dParams;
use crate::ops::matmul::MatmulParams;
use crate::ops::pool2d::Pool2dParams;
use crate::{Buffer, DType, Meta};

/// A buffer's element type and how many elements it holds: all that a cost depends on besides the parameters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Extent {
    /// The type of the elements.
    pub dtype: DType,
    /// How many elements.
    pub elements: usize,
}

impl Extent {
    /// The size in bytes.
    pub fn bytes(self) -> u64 {
        (self.elements * self.dtype.bytes()) as u64
    }
}

impl From<Meta> for Extent {
    fn from(meta: Meta) -> Extent {
        Extent { dtype: meta.dtype, elements: meta.shape.elements() }
    }
}

impl From<&Buffer> for Extent {
    fn from(buffer: &Buffer) -> Extent {
        Extent { dtype: buffer.dtype, elements: buffer.elements }
    }
}

/// The cost of one launch.
///
/// ```
/// use belamy_tensor::cost::{Extent, of_launch};
/// use belamy_tensor::kernel::KernelId;
/// use belamy_tensor::ops::matmul::MatmulParams;
/// use belamy_tensor::{Cost, DType};
/// let params = MatmulParams {
///     batch: 1, m: 2, n: 3, k: 5, transpose_a: 0, transpose_b: 0, batch_stride_a: 0, batch_stride_b: 0,
/// };
/// let f32s = |elements| Extent { dtype: DType::F32, elements };
/// let cost = of_launch(KernelId::matmul, &params.encode(), &[f32s(10), f32s(15)], &[f32s(6)]);
/// assert_eq!(cost, Cost { flop: 60, bytes: 4 * 31 });
/// ```
pub fn of_launch(kernel: KernelId, params: &Params, inputs: &[Extent], outputs: &[Extent]) -> Cost {
    let elements = |extents: &[Extent], place: usize| {
        extents.get(place).map_or(0, |extent| extent.elements as u64)
    };
    let (input, output) = (elements(inputs, 0), elements(outputs, 0));
    let all = |extents: &[Extent]| extents.iter().map(|extent| extent.elements as u64).sum::<u64>();
    let flop = match kernel {
        KernelId::unary
        | KernelId::binary
        | KernelId::select
        | KernelId::pick
        | KernelId::place => output,
        KernelId::sum | KernelId::max_rows => input,
        KernelId::fill
        | KernelId::broadcast
        | KernelId::permute
        | KernelId::max_pool2d_pick
        | KernelId::resize_nearest
        | KernelId::pad
        | KernelId::crop
        | KernelId::reflect_pad
        | KernelId::concat
        | KernelId::gather_rows => 0,
        KernelId::matmul => {
            let MatmulParams { batch, m, n, k, .. } = MatmulParams::decode(params);
            2 * [batch, m, n, k].into_iter().map(u64::from).product::<u64>()
        }
        KernelId::conv2d | KernelId::conv2d_grad_input | KernelId::conv2d_grad_weight => {
            let p = Conv2dParams::decode(params);
            let outputs = [p.batch, p.out_height, p.out_width, p.out_channels];
            let terms = [p.kernel_height, p.kernel_width, p.in_channels / p.groups.max(1)];
            2 * outputs.into_iter().chain(terms).map(u64::from).product::<u64>()
        }
        KernelId::avg_pool2d
        | KernelId::avg_pool2d_spread
        | KernelId::max_pool2d
        | KernelId::max_pool2d_place => {
            let p = Pool2dParams::decode(params);
            let outputs = [p.batch, p.out_height, p.out_width, p.channels];
            let terms = [p.kernel_height, p.kernel_width];
            outputs.into_iter().chain(terms).map(u64::from).product()
        }
        KernelId::resize_nearest_fold | KernelId::reflect_pad_fold | KernelId::scatter_add_rows => {
            input
        }
        KernelId::resize_bilinear => 8 * output,
        KernelId::resize_bilinear_fold => 8 * input,
        KernelId::norm => 8 * output,
        KernelId::norm_statistics => 4 * input,
        KernelId::norm_apply => 4 * output,
        KernelId::norm_grad => 14 * output,
        KernelId::norm_grad_sums | KernelId::norm_grad_apply => 7 * input,
        // Two products and a sum for each number of the batch's, and a third product for variances.
        KernelId::running_statistics => 7 * (all(inputs) / 2).saturating_sub(output),
        KernelId::bce_with_logits_mean => 12 * input,
        KernelId::bce_with_logits => 6 * output,
        KernelId::dropout | KernelId::bernoulli => output,
        KernelId::uniform => 2 * output,
        // Half of a logarithm, root, two products, sine and cosine, then the scale and the mean.
        KernelId::normal => 5 * output,
        KernelId::integers
        | KernelId::shuffled_indices
        | KernelId::advance_counter
        | KernelId::next_control => 0,
        KernelId::count_non_finite => all(inputs),
        KernelId::adam => 12 * elements_updated(inputs, params),
        KernelId::sgd => 4 * elements_updated(inputs, params),
        KernelId::rmsprop => 8 * elements_updated(inputs, params),
        KernelId::global_norm => 2 * all(inputs),
    };
    let moved: u64 = inputs.iter().chain(outputs).map(|extent| extent.bytes()).sum();
    let bytes = match kernel {
        KernelId::gather_rows => {
            let table = inputs.first().map_or(0, |table| table.bytes());
            let rows = outputs.first().map_or(0, |rows| rows.bytes());
            moved - table + rows.min(table)
        }
        _ => moved,
    };
    Cost { flop, bytes }
}

/// The elements of all parameters of an optimiser's launch: those of its first list, behind the control.
fn elements_updated(inputs: &[Extent], params: &Params) -> u64 {
    let tensors = params.integers[0] as usize;
    inputs.iter().skip(1).take(tensors).map(|extent| extent.elements as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::conv2d::Window;
    use crate::ops::optimizer::AdamParams;

    fn f32s(elements: usize) -> Extent {
        Extent { dtype: DType::F32, elements }
    }

    #[test]
    fn a_transposed_convolution_costs_what_its_forward_twin_does() {
        // DCGAN-64's second layer of the discriminator on one image.
        assert_eq!(Window::new(2, 1).output(&[32, 32], &[4, 4]), Some([16, 16]));
        let params = Conv2dParams {
            batch: 1,
            in_height: 32,
            in_width: 32,
            in_channels: 64,
            out_height: 16,
            out_width: 16,
            out_channels: 128,
            kernel_height: 4,
            kernel_width: 4,
            stride_height: 2,
            stride_width: 2,
            padding_top: 1,
            padding_left: 1,
            dilation_height: 1,
            dilation_width: 1,
            groups: 1,
        }
        .encode();
        let (x, w, y) = (f32s(32 * 32 * 64), f32s(128 * 16 * 64), f32s(16 * 16 * 128));
        let bytes = 4 * (65_536 + 131_072 + 32_768);
        for (kernel, inputs, output) in [
            (KernelId::conv2d, [x, w], y),
            (KernelId::conv2d_grad_input, [y, w], x),
            (KernelId::conv2d_grad_weight, [x, y], w),
        ] {
            let cost = of_launch(kernel, &params, &inputs, &[output]);
            assert_eq!(cost, Cost { flop: 2 * 33_554_432, bytes }, "{}", kernel.name());
        }
    }

    #[test]
    fn adam_counts_parameters_once_and_moves_seven_lists() {
        let params = AdamParams {
            tensors: 2,
            keras: 0,
            beta_1: 0.5,
            beta_2: 0.9,
            epsilon: 1e-8,
            weight_decay: 0.0,
        };
        let lists = [f32s(10), f32s(6)];
        let inputs: Vec<Extent> = [f32s(2)].into_iter().chain([lists; 4].concat()).collect();
        let cost = of_launch(KernelId::adam, &params.encode(), &inputs, &[lists; 3].concat());
        assert_eq!(cost, Cost { flop: 12 * 16, bytes: 4 * (7 * 16 + 2) });
    }

    #[test]
    fn a_gather_reads_the_rows_it_names() {
        let index = Extent { dtype: DType::U32, elements: 3 };
        let cost =
            of_launch(KernelId::gather_rows, &Params::default(), &[f32s(1000), index], &[f32s(30)]);
        assert_eq!(cost, Cost { flop: 0, bytes: 4 * (3 + 30 + 30) });
    }
}

//! Whether a launch is right.
//!
//! The answer is the oracle's, from the same operands. Where a convolution or a matrix product would take the oracle
//! too long, it is asked for a part: some images, rows or channels, the first and the last among them; everything else
//! must be a finite number. A bound follows from the length K of the sum that makes an element, as in Belamy's case
//! table:
//!
//! ```text
//! moving numbers, integers, uniforms     equal, bit by bit
//! Σ of K products a b                    |error| ≤ 4 ε √K (√K rms(a) rms(b) + max |y|),   8 or 16 for 4 in convolutions
//! Σ of K terms x                         |error| ≤ 4 ε √K (√K rms(x) + max |y|)
//! everything else                        |error| ≤ 16 ε √K max |y|,   K the rows of a norm, or 1
//! ```
//!
//! A random walk of K steps is √K long, and each of its K roundings is at most ε of where it stands; 4 is for
//! operands that are larger in one place than in another. Convolutions have twice that: where Winograd's filtering makes
//! them, what is rounded is sums of products several times as large as the result, and 3e-6 of its norm are lost where a
//! plain sum loses 3e-7. The gradient of a weight of five taps at stride 1 has twice that again: its outer taps are made of
//! numbers 36 times as large as themselves, where three taps have 24 (|Gᵀ| times the norms of the rows of Bᵀ and A, in two
//! dimensions). An answer that would drown in its bound fails too.

use crate::trace::Launch;
use belamy_tensor::cost::{Extent, of_launch};
use belamy_tensor::kernel::{KernelId, Params};
use belamy_tensor::ops::conv2d::Conv2dParams;
use belamy_tensor::ops::matmul::MatmulParams;
use belamy_tensor::ops::norm::NormParams;
use belamy_tensor::ops::pool2d::Pool2dParams;
use belamy_tensor::{Buffer, Call, DType, Device, Error, Result, Shape};
use belamy_tests::compare::{EPSILON_F32, Mismatch, compare};
use std::ops::Range;

/// The oracle is asked for a part of an answer that costs it more operations than this.
const MOST_FLOP: u64 = 60_000_000;

/// The oracle's answer to a launch.
#[derive(Clone, Debug)]
pub struct Answer {
    outputs: Vec<Vec<f64>>,
    /// Where the answer's elements lie in the first output, if it is a part: ranges, one after the other.
    part: Option<Vec<Range<usize>>>,
    bounds: Vec<Bound>,
    /// The share of the first output's elements that are compared.
    pub share: f64,
}

/// How far an element may be off.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bound {
    absolute: f64,
}

/// Allocates and fills a buffer on a device.
pub(crate) fn upload(
    device: &Device,
    dtype: DType,
    elements: usize,
    bytes: &[u8],
) -> Result<Buffer> {
    let mut buffer = device.backend().alloc(dtype, elements)?;
    device.backend().write(&mut buffer, bytes)?;
    Ok(buffer)
}

/// Reads a buffer of a device.
pub(crate) fn download(device: &Device, buffer: &Buffer) -> Result<Vec<u8>> {
    let mut bytes = vec![0; buffer.elements * buffer.dtype.bytes()];
    device.backend().read(buffer, &mut bytes)?;
    Ok(bytes)
}

/// A buffer's bytes as numbers.
pub(crate) fn numbers(dtype: DType, bytes: &[u8]) -> Vec<f64> {
    let words = bytes.as_chunks::<4>().0;
    match dtype {
        DType::F32 => words.iter().map(|word| f64::from(f32::from_ne_bytes(*word))).collect(),
        DType::U32 => words.iter().map(|word| f64::from(u32::from_ne_bytes(*word))).collect(),
        DType::F64 => {
            bytes.as_chunks::<8>().0.iter().map(|word| f64::from_ne_bytes(*word)).collect()
        }
    }
}

/// A launch that computes a part of another's first output.
struct Part {
    params: Params,
    inputs: Vec<Buffer>,
    output: Extent,
    ranges: Vec<Range<usize>>,
}

/// `count` of `all` places, the first and the last among them, the others spread between.
fn chosen(count: usize, all: usize) -> Vec<usize> {
    match count.min(all) {
        0 | 1 => vec![0],
        count => {
            // Where there is room, a shift keeps those between off the beginnings of tiles.
            let shift = if count * 4 <= all { 3 } else { 1 };
            let place = |index: usize| {
                let inner = index > 0 && index + 1 < count;
                index * (all - 1) / (count - 1) + if inner { index % shift } else { 0 }
            };
            (0..count).map(place).collect()
        }
    }
}

/// The rows, or columns, of a matrix `[rows, columns]` of f32 that are named.
fn rows(bytes: &[u8], columns: usize, named: &[usize]) -> Vec<u8> {
    let row = columns * 4;
    named.iter().flat_map(|&index| &bytes[index * row..(index + 1) * row]).copied().collect()
}

fn columns(bytes: &[u8], columns: usize, named: &[usize]) -> Vec<u8> {
    bytes
        .chunks_exact(columns * 4)
        .flat_map(|row| named.iter().flat_map(|&index| &row[index * 4..index * 4 + 4]))
        .copied()
        .collect()
}

impl Part {
    /// The part of a costly launch that the oracle can afford; `None` where it can afford all, or knows no part.
    fn of(launch: &Launch, oracle: &Device) -> Result<Option<Part>> {
        let flop = launch.cost().flop;
        let output = launch.outputs[0];
        if flop <= MOST_FLOP || output.dtype != DType::F32 {
            return Ok(None);
        }
        let bytes = |place: usize| download(oracle, &launch.inputs[place]);
        let count = |all: usize| ((all as u64 * MOST_FLOP / flop) as usize).clamp(2, all.max(2));
        let part = |params, inputs: Vec<Buffer>, named: &[usize], block: usize| {
            let ranges = named.iter().map(|&index| index * block..(index + 1) * block).collect();
            let output = Extent { elements: named.len() * block, ..output };
            Ok(Some(Part { params, inputs, output, ranges }))
        };
        match launch.kernel {
            KernelId::conv2d | KernelId::conv2d_grad_input => {
                let mut p = Conv2dParams::decode(&launch.params);
                let images = p.batch as usize;
                let named = chosen(count(images), images);
                let moving = &launch.inputs[0];
                let image = rows(&bytes(0)?, moving.elements / images, &named);
                let image = upload(oracle, DType::F32, image.len() / 4, &image)?;
                p.batch = named.len() as u32;
                let inputs = vec![image, launch.inputs[1].clone()];
                part(p.encode(), inputs, &named, output.elements / images)
            }
            KernelId::conv2d_grad_weight => {
                let mut p = Conv2dParams::decode(&launch.params);
                if p.groups != 1 {
                    return Ok(None);
                }
                let channels = p.out_channels as usize;
                let named = chosen(count(channels), channels);
                let cotangent = columns(&bytes(1)?, channels, &named);
                let cotangent = upload(oracle, DType::F32, cotangent.len() / 4, &cotangent)?;
                p.out_channels = named.len() as u32;
                let inputs = vec![launch.inputs[0].clone(), cotangent];
                part(p.encode(), inputs, &named, output.elements / channels)
            }
            KernelId::matmul => {
                let mut p = MatmulParams::decode(&launch.params);
                if p.batch != 1 {
                    return Ok(None);
                }
                let (m, k) = (p.m as usize, p.k as usize);
                let named = chosen(count(m), m);
                let a = match p.transpose_a {
                    0 => rows(&bytes(0)?, k, &named),
                    _ => columns(&bytes(0)?, m, &named),
                };
                let a = upload(oracle, DType::F32, a.len() / 4, &a)?;
                p.m = named.len() as u32;
                part(p.encode(), vec![a, launch.inputs[1].clone()], &named, p.n as usize)
            }
            _ => Ok(None),
        }
    }
}

/// Runs a launch on a device into fresh outputs.
pub(crate) fn run(
    device: &Device,
    kernel: KernelId,
    params: Params,
    inputs: &[&Buffer],
    outputs: &mut [Buffer],
) -> Result<()> {
    device.backend().launch(Call { kernel, params, inputs, outputs })
}

impl Answer {
    /// Asks the oracle, which takes the launch's operands as they are: both are on the CPU.
    pub fn to(launch: &Launch, oracle: &Device) -> Result<Answer> {
        let part = Part::of(launch, oracle)?;
        let (params, inputs, extents) = match &part {
            Some(part) => (part.params, part.inputs.iter().collect::<Vec<_>>(), vec![part.output]),
            None => (launch.params, launch.inputs.iter().collect(), launch.outputs.clone()),
        };
        let mut outputs = extents
            .iter()
            .map(|extent| oracle.backend().alloc(extent.dtype, extent.elements))
            .collect::<Result<Vec<_>>>()?;
        run(oracle, launch.kernel, params, &inputs, &mut outputs)?;
        let outputs = outputs
            .iter()
            .map(|output| Ok(numbers(output.dtype, &download(oracle, output)?)))
            .collect::<Result<Vec<_>>>()?;
        let bounds = bounds(launch, &outputs, oracle)?;
        let share = part.as_ref().map_or(1.0, |part| {
            part.output.elements as f64 / launch.outputs[0].elements.max(1) as f64
        });
        Ok(Answer { outputs, part: part.map(|part| part.ranges), bounds, share })
    }

    /// Compares what a device made of the launch, buffer by buffer; says where it is wrong.
    pub fn judge(&self, launch: &Launch, got: &[Vec<u8>]) -> Result<(), String> {
        for (place, want) in self.outputs.iter().enumerate() {
            let all = numbers(launch.outputs[place].dtype, &got[place]);
            let wrong = |what: String| match self.outputs.len() {
                1 => what,
                _ => format!("output {place}: {what}"),
            };
            let got = match &self.part {
                None => all,
                Some(ranges) => {
                    if let Some(at) = all.iter().position(|value| !value.is_finite()) {
                        return Err(wrong(format!("at {at} got {}", all[at])));
                    }
                    ranges.iter().flat_map(|range| &all[range.clone()]).copied().collect()
                }
            };
            if want.iter().all(|&value| value == 0.0) && got == *want {
                continue;
            }
            let shape = Shape::from([want.len()]);
            let bound = self.bounds[place].absolute;
            compare(&got, Shape::from([got.len()]), want, shape, |_| bound).map_err(
                |mismatch| match mismatch {
                    // Coordinates in a part are not coordinates in the output.
                    Mismatch::Element { .. } if self.part.is_some() => {
                        wrong(format!("in the part compared, {mismatch}"))
                    }
                    _ => wrong(mismatch.to_string()),
                },
            )?;
        }
        Ok(())
    }
}

/// The taps of a convolution's kernel in one phase of its stride, along its longer side.
fn most_taps(launch: &Launch) -> u32 {
    let p = Conv2dParams::decode(&launch.params);
    let taps = |kernel: u32, stride: u32| kernel.div_ceil(stride);
    taps(p.kernel_height, p.stride_height).max(taps(p.kernel_width, p.stride_width))
}

fn peak(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |most, value| most.max(value.abs()))
}

fn root_mean_square(values: &[f64]) -> f64 {
    (values.iter().map(|value| value * value).sum::<f64>() / values.len().max(1) as f64).sqrt()
}

/// Kernels that move numbers or make integers: nothing is rounded, or all devices round alike.
fn is_exact(kernel: KernelId) -> bool {
    matches!(
        kernel,
        KernelId::select
            | KernelId::max_rows
            | KernelId::pick
            | KernelId::place
            | KernelId::broadcast
            | KernelId::permute
            | KernelId::max_pool2d
            | KernelId::max_pool2d_pick
            | KernelId::resize_nearest
            | KernelId::pad
            | KernelId::crop
            | KernelId::reflect_pad
            | KernelId::concat
            | KernelId::gather_rows
            | KernelId::uniform
            | KernelId::bernoulli
            | KernelId::integers
            | KernelId::shuffled_indices
            | KernelId::count_non_finite
            | KernelId::fill
            | KernelId::advance_counter
    )
}

/// The bound of each output.
fn bounds(launch: &Launch, want: &[Vec<f64>], oracle: &Device) -> Result<Vec<Bound>> {
    let operand = |place: usize| -> Result<Vec<f64>> {
        let Some(input) = launch.inputs.get(place) else {
            return Err(Error::argument(launch.kernel.name(), "has too few operands"));
        };
        Ok(numbers(input.dtype, &download(oracle, input)?))
    };
    let tiny = 1e-37;
    if is_exact(launch.kernel) {
        return Ok(want.iter().map(|_| Bound { absolute: 0.0 }).collect());
    }
    // A sum of `terms` numbers of a size, and the largest result.
    let walk = |terms: f64, size: f64, most: f64| Bound {
        absolute: 4.0 * EPSILON_F32 * terms.sqrt() * (terms.sqrt() * size + most) + tiny,
    };
    let filtered = match launch.kernel {
        KernelId::matmul => 1.0,
        KernelId::conv2d_grad_weight if most_taps(launch) == 5 => 4.0,
        _ => 2.0,
    };
    let plain = |terms: f64, values: &Vec<f64>| Bound {
        absolute: 16.0 * EPSILON_F32 * terms.sqrt() * peak(values) + tiny,
    };
    // A constant has no operands.
    let first = launch.inputs.first().map_or(1, |input| input.elements) as f64;
    let ratio = |place: usize| first / launch.outputs[place].elements.max(1) as f64;
    Ok(match launch.kernel {
        KernelId::matmul
        | KernelId::conv2d
        | KernelId::conv2d_grad_input
        | KernelId::conv2d_grad_weight => {
            let (a, b) = (operand(0)?, operand(1)?);
            let terms = products(launch);
            // A short sum may meet the largest numbers only.
            let size = match terms < 64.0 {
                true => peak(&a) * peak(&b),
                false => root_mean_square(&a) * root_mean_square(&b),
            };
            vec![Bound { absolute: filtered * walk(terms, size, peak(&want[0])).absolute }]
        }
        KernelId::sum | KernelId::resize_nearest_fold | KernelId::reflect_pad_fold => {
            let x = operand(0)?;
            let terms = ratio(0).max(1.0);
            let size = if terms < 64.0 { peak(&x) } else { root_mean_square(&x) };
            vec![walk(terms, size, peak(&want[0]))]
        }
        KernelId::avg_pool2d | KernelId::avg_pool2d_spread | KernelId::max_pool2d_place => {
            let p = Pool2dParams::decode(&launch.params);
            let terms = f64::from(p.kernel_height * p.kernel_width);
            vec![walk(terms, peak(&operand(0)?), peak(&want[0]))]
        }
        KernelId::scatter_add_rows => {
            let terms = launch.inputs[1].elements as f64;
            vec![walk(terms, peak(&operand(0)?), peak(&want[0]))]
        }
        KernelId::norm => {
            let rows = f64::from(NormParams::decode(&launch.params).rows);
            let size = root_mean_square(&operand(0)?);
            let size = [peak(&want[0]), size, size * size];
            want.iter()
                .zip(size)
                .map(|(want, size)| walk(rows, size / rows.sqrt(), peak(want)))
                .collect()
        }
        KernelId::norm_grad => {
            let rows = f64::from(NormParams::decode(&launch.params).rows);
            let cotangent = root_mean_square(&operand(3)?);
            let mut bounds = vec![plain(rows, &want[0])];
            bounds.extend(want[1..].iter().map(|want| walk(rows, cotangent, peak(want))));
            bounds
        }
        KernelId::norm_statistics => {
            let rows = f64::from(NormParams::decode(&launch.params).rows);
            let size = root_mean_square(&operand(0)?);
            let sizes = want.iter().zip([size, size * size]);
            sizes.map(|(want, size)| walk(rows, size / rows.sqrt(), peak(want))).collect()
        }
        KernelId::norm_grad_sums => {
            let rows = f64::from(NormParams::decode(&launch.params).rows);
            let cotangent = root_mean_square(&operand(3)?);
            want.iter().map(|want| walk(rows, cotangent, peak(want))).collect()
        }
        // An unknown kernel may sum: as many terms as elements of its first operand make one of a result.
        _ => want
            .iter()
            .enumerate()
            .map(|(place, want)| plain(ratio(place).clamp(1.0, 1e6), want))
            .collect(),
    })
}

/// How many products make one element of a launch's result.
fn products(launch: &Launch) -> f64 {
    let cost = of_launch(launch.kernel, &launch.params, &launch.extents(), &launch.outputs);
    match launch.kernel {
        // Each element of the image meets the taps that lie over it, 1 / stride² of them.
        KernelId::conv2d_grad_input => {
            let p = Conv2dParams::decode(&launch.params);
            f64::from(p.kernel_height.div_ceil(p.stride_height))
                * f64::from(p.kernel_width.div_ceil(p.stride_width))
                * f64::from(p.out_channels / p.groups.max(1))
        }
        _ => cost.flop as f64 / 2.0 / launch.outputs[0].elements.max(1) as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_begins_and_ends_where_the_whole_does() {
        for (count, all) in [(2, 64), (5, 64), (7, 7), (9, 8), (3, 1000)] {
            let chosen = chosen(count, all);
            assert_eq!((chosen[0], *chosen.last().unwrap()), (0, all - 1), "{count} of {all}");
            assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]), "{chosen:?}");
        }
    }

    #[test]
    fn rows_and_columns_are_taken_whole() {
        let matrix: Vec<u8> = (0u8..12).flat_map(|value| [value, 0, 0, 0]).collect();
        let firsts = |bytes: Vec<u8>| bytes.iter().step_by(4).copied().collect::<Vec<_>>();
        assert_eq!(firsts(rows(&matrix, 4, &[0, 2])), [0, 1, 2, 3, 8, 9, 10, 11]);
        assert_eq!(firsts(columns(&matrix, 4, &[1, 3])), [1, 3, 5, 7, 9, 11]);
    }
}

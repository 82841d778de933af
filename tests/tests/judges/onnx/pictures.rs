//! ONNX's convolutions, pools, norms, resizing and borders in ours.

use super::super::arrange::{axes, axis, count, counts, reshaped, take};
use super::super::images::{
    Sliding, average_pool, channels_first, convolution, image, max_pool, transposed_convolution,
};
use super::super::problem::{Mapped, left_out};
use super::Mapping;
use super::node::{Node, Value, Whole};
use super::pointwise::one;
use belamy_tensor::ops::conv2d::conv2d_grad_input;
use belamy_tensor::ops::norm::{batch_norm, instance_norm, normalize, running_statistics};
use belamy_tensor::ops::pixel_shuffle::{pixel_shuffle, pixel_unshuffle};
use belamy_tensor::ops::resize::{resize_bilinear, resize_nearest};
use belamy_tensor::{Shape, Tensor};

/// The mapping of an operator of this family.
pub(super) fn find(operator: &str) -> Option<Mapping> {
    let mapping: Mapping = match operator {
        "Conv" => |node| {
            let (x, w) = (node.tensor(0)?, node.tensor(1)?);
            let sliding = window(node, &x, &w.dims()[2..])?;
            Ok(vec![Value::Float(convolution(&x, &w, node.maybe(2)?.as_ref(), &sliding)?)])
        },
        "ConvTranspose" => transposed,
        "AveragePool" => |node| {
            let x = node.tensor(0)?;
            let sliding = window(node, &x, &kernel(node)?)?;
            let (partial, border) =
                (node.integer("ceil_mode", 0) != 0, node.integer("count_include_pad", 0) != 0);
            Ok(vec![Value::Float(average_pool(&x, &sliding, partial, border, None)?)])
        },
        "LpPool" => |node| {
            let x = node.tensor(0)?;
            let sliding = window(node, &x, &kernel(node)?)?;
            let p = node.float("p", 2.0);
            let powers = x.abs()?.pow_scalar(p)?;
            let partial = node.integer("ceil_mode", 0) != 0;
            let sums = average_pool(&powers, &sliding, partial, true, Some(1.0))?;
            one(sums.pow_scalar(1.0 / p))
        },
        "MaxPool" => largest,
        "GlobalAveragePool" => |node| {
            let x = node.tensor(0)?;
            one(x.mean(&(2..x.shape().rank()).collect::<Vec<_>>()))
        },
        "GlobalMaxPool" => |node| {
            let x = node.tensor(0)?;
            one(x.max(&(2..x.shape().rank()).collect::<Vec<_>>()))
        },
        "BatchNormalization" => batch,
        "InstanceNormalization" => |node| {
            let (x, back) = channels_last(&node.tensor(0)?)?;
            let (gamma, beta) = (node.tensor(1)?, node.tensor(2)?);
            let y = instance_norm(&x, Some(&gamma), Some(&beta), node.float("epsilon", 1e-5))?;
            one(y.permute(&back))
        },
        "GroupNormalization" => groups,
        "LayerNormalization" => layer,
        "RMSNormalization" => root_mean_square,
        "MeanVarianceNormalization" => |node| {
            let x = node.tensor(0)?;
            if node.integers("axes").is_some_and(|axes| axes != [0, 2, 3]) {
                return left_out("a norm over axes of its own");
            }
            let (last, back) = channels_last(&x)?;
            // ONNX adds 1e-9 to the deviation, which nothing here can tell from 1e-18 added to the variance.
            one(batch_norm(&last, None, None, 1e-18)?.0.permute(&back))
        },
        "DepthToSpace" => |node| {
            let x = image(&node.tensor(0)?)?;
            let block = count(node.integer("blocksize", 1))?;
            let &[n, h, w, c] = x.dims() else { return left_out("no image") };
            // CRD has the channels first, as PyTorch and we do; DCR has them last.
            let x = match node.text("mode", "DCR") {
                "CRD" => x,
                _ => {
                    let split = Shape::new(&[n, h, w, block * block, c / (block * block)])?;
                    x.reshape(split)?.permute(&[0, 1, 2, 4, 3])?.reshape([n, h, w, c])?
                }
            };
            one(channels_first(&pixel_shuffle(&x, block)?, 2))
        },
        "SpaceToDepth" => |node| {
            let block = count(node.integer("blocksize", 1))?;
            let y = pixel_unshuffle(&image(&node.tensor(0)?)?, block)?;
            let &[n, h, w, c] = y.dims() else { return left_out("no image") };
            let y = match node.text("mode", "DCR") {
                "CRD" => y,
                _ => {
                    let split = Shape::new(&[n, h, w, c / (block * block), block * block])?;
                    y.reshape(split)?.permute(&[0, 1, 2, 4, 3])?.reshape([n, h, w, c])?
                }
            };
            one(channels_first(&y, 2))
        },
        "Resize" | "Upsample" => resize,
        "Pad" => border,
        "CenterCropPad" => centred,
        "Col2Im" => folded,
        _ => return None,
    };
    Some(mapping)
}

fn kernel(node: &Node<'_>) -> Mapped<Vec<usize>> {
    counts(&node.integers("kernel_shape").unwrap_or_default())
}

/// The window of a convolution or pool over x. Borders stand as all befores, then all afters.
fn window(node: &Node<'_>, x: &Tensor, kernel: &[usize]) -> Mapped<Sliding> {
    let spatial = kernel.len();
    let list = |name: &str, default: usize| match node.integers(name) {
        Some(list) => counts(&list),
        None => Ok(vec![default; spatial]),
    };
    let (stride, dilation) = (list("strides", 1)?, list("dilations", 1)?);
    let side = |side: usize| {
        let outputs = x.dims()[2 + side].div_ceil(stride[side]);
        let reach = (outputs - 1) * stride[side] + (kernel[side] - 1) * dilation[side] + 1;
        let total = reach.saturating_sub(x.dims()[2 + side]);
        (total / 2, total - total / 2)
    };
    let padding: Vec<(usize, usize)> = match node.text("auto_pad", "NOTSET") {
        "SAME_UPPER" => (0..spatial).map(side).collect(),
        "SAME_LOWER" => (0..spatial).map(|place| (side(place).1, side(place).0)).collect(),
        _ => {
            let pads = counts(&node.integers("pads").unwrap_or(vec![0; 2 * spatial]))?;
            (0..spatial).map(|place| (pads[place], pads[place + spatial])).collect()
        }
    };
    Sliding::new(kernel, &stride, &padding, &dilation, count(node.integer("group", 1))?)
}

fn transposed(node: &Node<'_>) -> Mapped<Vec<Value>> {
    let (x, w) = (node.tensor(0)?, node.tensor(1)?);
    let kernel = &w.dims()[2..];
    let spatial = kernel.len();
    let mut sliding = window(node, &x, kernel)?;
    let extra = counts(&node.integers("output_padding").unwrap_or(vec![0; spatial]))?;
    let mut extra = [if spatial == 2 { extra[0] } else { 0 }, extra[spatial - 1]];
    // The image that is made without borders; what is asked for less is border, shared out as `auto_pad` says.
    let first = 2 - spatial;
    let asked = node.integers("output_shape").map(|list| list[list.len() - spatial..].to_vec());
    let automatic = node.text("auto_pad", "NOTSET");
    for side in 0..spatial {
        let place = first + side;
        let full = (x.dims()[2 + side] - 1) * sliding.stride[place]
            + (sliding.kernel[place] - 1) * sliding.dilation[place]
            + 1;
        let wanted = match &asked {
            Some(asked) => Some(asked[side] as usize),
            None if automatic.starts_with("SAME") => {
                Some(x.dims()[2 + side] * sliding.stride[place])
            }
            None => None,
        };
        if let Some(wanted) = wanted {
            if wanted > full + extra[place] {
                extra[place] = wanted - full;
            }
            let total = full + extra[place] - wanted;
            let (less, more) = (total / 2, total - total / 2);
            sliding.padding[place] =
                if automatic == "SAME_UPPER" { (less, more) } else { (more, less) };
        }
        if extra[place] > 0 && extra[place] >= sliding.stride[place] {
            return left_out(
                "an output padding of a stride or more, after which no convolution leads back",
            );
        }
    }
    let y = transposed_convolution(&x, &w, node.maybe(2)?.as_ref(), &sliding, extra)?;
    Ok(vec![Value::Float(y)])
}

fn largest(node: &Node<'_>) -> Mapped<Vec<Value>> {
    let x = node.tensor(0)?;
    let sliding = window(node, &x, &kernel(node)?)?;
    let (y, indices) = max_pool(&x, &sliding, node.integer("ceil_mode", 0) != 0)?;
    if node.wanted < 2 {
        return Ok(vec![Value::Float(y)]);
    }
    // ONNX counts through the whole tensor, and down the columns where storage_order says so.
    let (h, w) = match *x.dims() {
        [_, _, h, w] => (h, w),
        [_, _, w] => (1, w),
        _ => return left_out("three spatial axes: our images have two"),
    };
    let plane: usize = indices.dims()[2..].iter().product();
    let columns = node.integer("storage_order", 0) != 0;
    let values = indices.to_vec::<u32>()?.into_iter().enumerate().map(|(place, index)| {
        let index = index as usize;
        let within = if columns { index % w * h + index / w } else { index };
        (place / plane * h * w + within) as i64
    });
    let whole = Whole { dims: indices.dims().to_vec(), values: values.collect() };
    Ok(vec![Value::Float(y), Value::Whole(whole)])
}

/// `[N, C, ..]` with the channels last, and how that is undone.
fn channels_last(x: &Tensor) -> Mapped<(Tensor, Vec<usize>)> {
    let rank = x.shape().rank();
    let order: Vec<usize> = [0].into_iter().chain(2..rank).chain([1]).collect();
    Ok((x.permute(&order)?, super::super::arrange::inverse(&order)))
}

fn batch(node: &Node<'_>) -> Mapped<Vec<Value>> {
    let (x, back) = channels_last(&node.tensor(0)?)?;
    let (gamma, beta) = (node.tensor(1)?, node.tensor(2)?);
    let (mean, variance) = (node.tensor(3)?, node.tensor(4)?);
    let epsilon = node.float("epsilon", 1e-5);
    if node.integer("training_mode", 0) == 0 {
        let y = normalize(&x, &mean, &variance, Some(&gamma), Some(&beta), epsilon)?;
        return one(y.permute(&back));
    }
    let (y, statistics) = batch_norm(&x, Some(&gamma), Some(&beta), epsilon)?;
    let (mean, variance) =
        running_statistics(&mean, &variance, &statistics, node.float("momentum", 0.9), false)?;
    Ok([y.permute(&back)?, mean, variance].map(Value::Float).to_vec())
}

/// Each group of channels of each sample is one instance with one channel.
fn groups(node: &Node<'_>) -> Mapped<Vec<Value>> {
    let (x, scale, bias) = (node.tensor(0)?, node.tensor(1)?, node.tensor(2)?);
    let count = count(node.integer("num_groups", 1))?;
    let &[n, c, ..] = x.dims() else { return left_out("no channels") };
    let rows = reshaped(&x, &[n * count, x.shape().elements() / (n * count), 1])?;
    let y = instance_norm(&rows, None, None, node.float("epsilon", 1e-5))?;
    let y = reshaped(&y, x.dims())?;
    let mut dims = vec![1; x.shape().rank()];
    dims[1] = c;
    // Before version 21 there was a scale for each group.
    let wide = |v: &Tensor| {
        let all = if v.dims() == [c] {
            v.clone()
        } else {
            v.reshape([count, 1])?.broadcast_to([count, c / count])?
        };
        reshaped(&all, &dims)
    };
    one(y.mul(&wide(&scale)?)?.add(&wide(&bias)?))
}

/// Over all axes from one on; also the mean and the reciprocal of the deviation, where they are wanted.
fn layer(node: &Node<'_>) -> Mapped<Vec<Value>> {
    let x = node.tensor(0)?;
    let from = axis(x.shape().rank(), node.integer("axis", -1));
    let (leading, rest) = x.dims().split_at(from);
    let (rows, each) = (leading.iter().product(), rest.iter().product());
    let epsilon = node.float("epsilon", 1e-5);
    let y = instance_norm(&x.reshape([rows, each, 1])?, None, None, epsilon)?;
    let y = reshaped(&y, x.dims())?.mul(&node.tensor(1)?)?;
    let y = match node.maybe(2)? {
        Some(bias) => y.add(&bias)?,
        None => y,
    };
    let matrix = x.reshape([rows, each])?;
    let mean = matrix.mean(&[1])?;
    let variance = matrix.sub(&mean)?.square()?.mean(&[1])?;
    let deviation = variance.add_scalar(epsilon)?.sqrt()?.reciprocal()?;
    let dims = [leading, &vec![1; rest.len()][..]].concat();
    Ok([y, reshaped(&mean, &dims)?, reshaped(&deviation, &dims)?].map(Value::Float).to_vec())
}

fn root_mean_square(node: &Node<'_>) -> Mapped<Vec<Value>> {
    let x = node.tensor(0)?;
    let rank = x.shape().rank();
    let axes: Vec<usize> = (axis(rank, node.integer("axis", -1))..rank).collect();
    let mean = x.square()?.mean(&axes)?.add_scalar(node.float("epsilon", 1e-5))?;
    one(x.div(&mean.sqrt()?)?.mul(&node.tensor(1)?))
}

/// Where each output of a side comes from in ONNX's words, for the modes that can be ours.
fn source(node: &Node<'_>, output: usize, from: usize, to: usize, scale: f64) -> Option<f64> {
    let place = output as f64;
    Some(match node.text("coordinate_transformation_mode", "half_pixel") {
        "half_pixel" => (place + 0.5) / scale - 0.5,
        "pytorch_half_pixel" => {
            if to > 1 {
                (place + 0.5) / scale - 0.5
            } else {
                0.0
            }
        }
        "align_corners" => {
            // As the scale says, whether or not it gives whole numbers of pixels.
            if to > 1 { place * (from - 1) as f64 / (from as f64 * scale - 1.0) } else { 0.0 }
        }
        "asymmetric" => place / scale,
        "half_pixel_symmetric" => {
            let adjustment = to as f64 / (scale * from as f64);
            from as f64 / 2.0 * (1.0 - adjustment) + (place + 0.5) / scale - 0.5
        }
        _ => return None,
    })
}

fn resize(node: &Node<'_>) -> Mapped<Vec<Value>> {
    let x = node.tensor(0)?;
    let rank = x.shape().rank();
    let upsample = node.operator == "Upsample";
    let scales = if upsample { node.maybe(1)? } else { node.maybe(2)? };
    let named = node.integers("axes").map_or_else(|| (0..rank).collect(), |list| axes(rank, &list));
    let (mut scale, mut size) = (vec![1.0; rank], x.dims().to_vec());
    if let Some(scales) = scales.filter(|scales| scales.shape().elements() > 0) {
        for (&axis, factor) in named.iter().zip(scales.to_f64()?) {
            scale[axis] = factor;
            size[axis] = (x.dims()[axis] as f64 * factor).floor() as usize;
        }
    } else {
        let wanted = node.whole(3)?.values;
        let ratio = |(&axis, &wanted): (&usize, &i64)| wanted as f64 / x.dims()[axis] as f64;
        let ratios: Vec<f64> = named.iter().zip(&wanted).map(ratio).collect();
        let shared = match node.text("keep_aspect_ratio_policy", "stretch") {
            "not_larger" => Some(ratios.iter().copied().fold(f64::INFINITY, f64::min)),
            "not_smaller" => Some(ratios.iter().copied().fold(0.0, f64::max)),
            _ => None,
        };
        for (place, &axis) in named.iter().enumerate() {
            scale[axis] = shared.unwrap_or(ratios[place]);
            size[axis] = match shared {
                Some(shared) => (shared * x.dims()[axis] as f64).round() as usize,
                None => wanted[place] as usize,
            };
        }
    }
    if node.integer("antialias", 0) != 0 || node.text("mode", "nearest") == "cubic" {
        return left_out("resized by cubics or with a filter against aliasing");
    }
    if rank != 4 || size[..2] != x.dims()[..2] {
        return left_out("resized along other axes than an image's two");
    }
    let coordinates = |side: usize| {
        let (from, to) = (x.dims()[side], size[side]);
        (0..to)
            .map(|output| {
                if upsample {
                    Some(output as f64 / scale[side])
                } else {
                    source(node, output, from, to, scale[side])
                }
            })
            .collect::<Option<Vec<f64>>>()
    };
    let (Some(rows), Some(columns)) = (coordinates(2), coordinates(3)) else {
        return left_out("resized from a part of the image");
    };
    let sides = [(2, rows), (3, columns)];
    let plane = image(&x)?;
    if node.text("mode", "nearest") == "nearest" {
        let rounded = |place: f64| match node.text("nearest_mode", "round_prefer_floor") {
            _ if upsample => place.floor(),
            "floor" => place.floor(),
            "ceil" => place.ceil(),
            "round_prefer_ceil" => (place + 0.5).floor(),
            _ => (place - 0.5).ceil(),
        };
        let ours = sides.iter().all(|(side, places)| {
            let last = x.dims()[*side] as f64 - 1.0;
            let mine = |output: usize| (output * x.dims()[*side] / size[*side]) as f64;
            places
                .iter()
                .enumerate()
                .all(|(output, &place)| rounded(place).clamp(0.0, last) == mine(output))
        });
        if !ours {
            return left_out("the nearest pixel by another rounding than ours");
        }
        return one(channels_first(&resize_nearest(&plane, [size[2], size[3]])?, 2));
    }
    // Ours are the sources with aligned corners, and those of half pixels held to the image.
    let agrees = |aligned: bool| {
        sides.iter().all(|(side, places)| {
            let (from, to) = (x.dims()[*side] as f64, size[*side] as f64);
            let mine = |output: usize| match aligned {
                true if to > 1.0 => output as f64 * (from - 1.0) / (to - 1.0),
                true => 0.0,
                false => ((output as f64 + 0.5) * from / to - 0.5).max(0.0),
            };
            let held = |place: f64| place.clamp(0.0, from - 1.0);
            places
                .iter()
                .enumerate()
                .all(|(output, &place)| (held(place) - held(mine(output))).abs() < 1e-9)
        })
    };
    let Some(aligned) = [false, true].into_iter().find(|&aligned| agrees(aligned)) else {
        return left_out("resized by a factor that the sizes do not have: ours is their ratio");
    };
    one(channels_first(&resize_bilinear(&plane, [size[2], size[3]], aligned)?, 2))
}

fn border(node: &Node<'_>) -> Mapped<Vec<Value>> {
    let x = node.tensor(0)?;
    let rank = x.shape().rank();
    let pads = match node.integers("pads").or_else(|| node.integers("paddings")) {
        Some(pads) => pads,
        None => node.whole(1)?.values,
    };
    let named = match node.value(3) {
        Some(Value::Whole(list)) => axes(rank, &list.values),
        _ => (0..rank).collect(),
    };
    let (mut before, mut after) = (vec![0; rank], vec![0; rank]);
    for (place, &axis) in named.iter().enumerate() {
        before[axis] = pads[place];
        after[axis] = pads[place + named.len()];
    }
    let mode = node.text("mode", "constant");
    if mode == "constant" {
        let value = if node.has("value") { node.float("value", 0.0) } else { node.number(2, 0.0)? };
        let (before, after) = (counts(&before)?, counts(&after)?);
        return one(if value == 0.0 {
            x.pad(&before, &after)
        } else {
            x.add_scalar(-value)?.pad(&before, &after)?.add_scalar(value)
        });
    }
    if mode == "reflect" && rank == 4 && before[..2] == [0, 0] && after[..2] == [0, 0] {
        let (before, after) = (counts(&before)?, counts(&after)?);
        let y = image(&x)?.reflect_pad2d(((before[2], after[2]), (before[3], after[3])))?;
        return one(channels_first(&y, 2));
    }
    let mut y = x;
    for axis in 0..rank {
        let extent = y.dims()[axis] as i64;
        let source = |place: i64| match mode {
            "edge" => place.clamp(0, extent - 1),
            "wrap" => place.rem_euclid(extent),
            _ if place.abs() >= extent => 2 * (extent - 1) - place.abs(),
            _ => place.abs(),
        };
        if (before[axis], after[axis]) != (0, 0) {
            let places = (-before[axis]..extent + after[axis]).map(|place| source(place) as usize);
            y = take(&y, axis, &places.collect::<Vec<_>>())?;
        }
    }
    Ok(vec![Value::Float(y)])
}

/// Cut or padded evenly at both ends of each axis.
fn centred(node: &Node<'_>) -> Mapped<Vec<Value>> {
    let mut y = node.tensor(0)?;
    let rank = y.shape().rank();
    let named = node.integers("axes").map_or_else(|| (0..rank).collect(), |list| axes(rank, &list));
    for (&axis, wanted) in named.iter().zip(counts(&node.whole(1)?.values)?) {
        let extent = y.dims()[axis];
        if wanted <= extent {
            y = y.slice(axis, (extent - wanted) / 2, wanted)?;
        } else {
            let (mut before, mut after) = (vec![0; rank], vec![0; rank]);
            before[axis] = (wanted - extent) / 2;
            after[axis] = wanted - extent - before[axis];
            y = y.pad(&before, &after)?;
        }
    }
    Ok(vec![Value::Float(y)])
}

/// Windows side by side summed back into an image: the adjoint of a convolution with a 1 for each tap.
fn folded(node: &Node<'_>) -> Mapped<Vec<Value>> {
    let x = node.tensor(0)?;
    let (size, block) = (counts(&node.whole(1)?.values)?, counts(&node.whole(2)?.values)?);
    let (&[n, taps, _], &[h, w], &[kh, kw]) = (x.dims(), &size[..], &block[..]) else {
        return left_out("three spatial axes: our images have two");
    };
    let channels = taps / (kh * kw);
    let shape = Tensor::full(0.0, [1, 1, h, w], node.dtype, node.device)?;
    let sliding = window(node, &shape, &block)?;
    let window = belamy_tensor::ops::conv2d::Window {
        stride: sliding.stride.into(),
        padding: (sliding.padding[0], sliding.padding[1]),
        dilation: sliding.dilation.into(),
        groups: 1,
    };
    let Some([oh, ow]) = window.output(&[h, w], &[kh, kw]) else {
        return left_out("no window fits");
    };
    let g = x.permute(&[0, 2, 1])?.reshape([n, oh, ow, taps])?;
    let mut identity = vec![0.0; taps * taps];
    (0..taps).for_each(|tap| identity[tap * taps + tap] = 1.0);
    let weight = node.made(&identity, &[taps, channels, kh, kw])?;
    one(channels_first(&conv2d_grad_input(&g, &image(&weight)?, [h, w], window)?, 2))
}

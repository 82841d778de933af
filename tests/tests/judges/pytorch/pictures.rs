//! PyTorch's convolutions, pools, resizing and borders in ours.

use super::super::arrange::{constants, count, counts, reshaped, take, with_axes, without};
use super::super::images::{
    Sliding, average_pool, channels_first, convolution, image, max_pool, transposed_convolution,
};
use super::super::problem::{COMPOSITION, Mapped, left_out};
use super::{Call, Mapping};
use belamy_tensor::ops::concat::concat;
use belamy_tensor::ops::conv2d::{Window, conv2d};
use belamy_tensor::ops::pixel_shuffle::{pixel_shuffle, pixel_unshuffle};
use belamy_tensor::ops::resize::{resize_bilinear, resize_nearest};
use belamy_tensor::{Shape, Tensor};

/// The mapping of an operator of this family.
pub(super) fn find(operator: &str) -> Option<Mapping> {
    let mapping: Mapping = match operator {
        "nn.functional.conv1d" => |call| convolved(call, 1, false),
        "nn.functional.conv2d" => |call| convolved(call, 2, false),
        "nn.functional.conv_transpose1d" => |call| convolved(call, 1, true),
        "nn.functional.conv_transpose2d" => |call| convolved(call, 2, true),
        "nn.functional.avg_pool1d" => |call| averaged(call, 1),
        "nn.functional.avg_pool2d" => |call| averaged(call, 2),
        "nn.functional.max_pool1d" => |call| largest(call, 1),
        "nn.functional.max_pool2d" => |call| largest(call, 2),
        "nn.functional.adaptive_avg_pool1d" => |call| adaptive(call, 1, false),
        "nn.functional.adaptive_avg_pool2d" => |call| adaptive(call, 2, false),
        "nn.functional.adaptive_max_pool1d" => |call| adaptive(call, 1, true),
        "nn.functional.adaptive_max_pool2d" => |call| adaptive(call, 2, true),
        "nn.functional.interpolate.nearest" | "nn.functional.upsample_nearest" => {
            |call| resized(call, Resize::Nearest)
        }
        "nn.functional.interpolate.bilinear" | "nn.functional.interpolate.linear" => {
            |call| resized(call, Resize::Linear(call.flag("align_corners", false)?))
        }
        "nn.functional.upsample_bilinear" => |call| resized(call, Resize::Linear(true)),
        "nn.functional.pad.constant" | "constant_pad_nd" => constant_border,
        "nn.functional.pad.reflect" => reflected,
        "nn.functional.pad.replicate" => {
            |call| indexed_border(call, |place, extent| place.clamp(0, extent - 1))
        }
        "nn.functional.pad.circular" => circular,
        "nn.functional.pixel_shuffle" => |call| {
            let factor = count(call.whole("upscale_factor", 1)?)?;
            let x = image(&call.tensor("input")?)?;
            Ok(vec![channels_first(&pixel_shuffle(&x, factor)?, 2)?])
        },
        "nn.functional.pixel_unshuffle" => |call| {
            let factor = count(call.whole("downscale_factor", 1)?)?;
            let x = image(&call.tensor("input")?)?;
            Ok(vec![channels_first(&pixel_unshuffle(&x, factor)?, 2)?])
        },
        "nn.functional.channel_shuffle" => |call| {
            let x = call.tensor("input")?;
            let &[n, c, h, w] = x.dims() else { return left_out("no image") };
            let groups = count(call.whole("groups", 1)?)?;
            let split = x.reshape([n, groups, c / groups, h, w])?.permute(&[0, 2, 1, 3, 4])?;
            Ok(vec![split.reshape([n, c, h, w])?])
        },
        "nn.functional.unfold" => unfolded,
        _ => return None,
    };
    Some(mapping)
}

/// `input` with a batch axis, and whether it had one.
fn batched(call: &Call, spatial: usize) -> Mapped<(Tensor, bool)> {
    let x = call.tensor("input")?;
    if x.shape().rank() == spatial + 1 { Ok((with_axes(&x, &[0])?, false)) } else { Ok((x, true)) }
}

fn unbatched(y: &Tensor, had_batch: bool) -> Mapped {
    Ok(if had_batch { y.clone() } else { without(y, &[0])? })
}

fn same_borders(numbers: &[usize]) -> Vec<(usize, usize)> {
    numbers.iter().map(|&number| (number, number)).collect()
}

fn convolved(call: &Call, spatial: usize, transposed: bool) -> Mapped<Vec<Tensor>> {
    let (x, had_batch) = batched(call, spatial)?;
    let (w, bias) = (call.tensor("weight")?, call.maybe("bias")?);
    let kernel = w.dims().get(2..).unwrap_or_default().to_vec();
    if kernel.len() != spatial {
        // For our op to refuse.
        return Ok(vec![conv2d(&image(&x)?, &w, Window::default())?]);
    }
    let dilation = call.sides("dilation", spatial, &vec![1; spatial])?;
    let stride = call.sides("stride", spatial, &vec![1; spatial])?;
    let padding = match call.text("padding") {
        Some("valid") => vec![(0, 0); spatial],
        Some("same") => {
            let total =
                kernel.iter().zip(&dilation).map(|(kernel, dilation)| (kernel - 1) * dilation);
            total.map(|total| (total / 2, total - total / 2)).collect()
        }
        _ => same_borders(&call.sides("padding", spatial, &vec![0; spatial])?),
    };
    let groups = count(call.whole("groups", 1)?)?;
    let sliding = Sliding::new(&kernel, &stride, &padding, &dilation, groups)?;
    let y = if transposed {
        let extra = call.sides("output_padding", spatial, &vec![0; spatial])?;
        if (0..spatial).any(|side| extra[side] > 0 && extra[side] >= stride[side]) {
            return left_out(
                "an output padding of a stride or more, after which no convolution leads back",
            );
        }
        let extra = [if spatial == 2 { extra[0] } else { 0 }, extra[spatial - 1]];
        transposed_convolution(&x, &w, bias.as_ref(), &sliding, extra)?
    } else {
        convolution(&x, &w, bias.as_ref(), &sliding)?
    };
    Ok(vec![unbatched(&y, had_batch)?])
}

fn pool_window(call: &Call, spatial: usize) -> Mapped<Sliding> {
    let kernel = call.sides("kernel_size", spatial, &[])?;
    let stride = call.sides("stride", spatial, &kernel)?;
    let padding = call.sides("padding", spatial, &vec![0; spatial])?;
    let dilation = call.sides("dilation", spatial, &vec![1; spatial])?;
    if padding.iter().zip(&kernel).any(|(padding, kernel)| 2 * padding > *kernel) {
        return left_out("a border wider than half of the kernel, which our pools take");
    }
    Sliding::new(&kernel, &stride, &same_borders(&padding), &dilation, 1)
}

fn averaged(call: &Call, spatial: usize) -> Mapped<Vec<Tensor>> {
    let (x, had_batch) = batched(call, spatial)?;
    let sliding = pool_window(call, spatial)?;
    let divisor =
        call.has("divisor_override").then(|| call.number("divisor_override", 1.0)).transpose()?;
    if divisor == Some(0.0) {
        return left_out("a divisor of 0: the pool of a composition, not of our op");
    }
    let (partial, border) = (call.flag("ceil_mode", false)?, call.flag("count_include_pad", true)?);
    let y = average_pool(&x, &sliding, partial, border, divisor)?;
    Ok(vec![unbatched(&y, had_batch)?])
}

fn largest(call: &Call, spatial: usize) -> Mapped<Vec<Tensor>> {
    let (x, had_batch) = batched(call, spatial)?;
    let sliding = pool_window(call, spatial)?;
    let (y, indices) = max_pool(&x, &sliding, call.flag("ceil_mode", false)?)?;
    let mut outputs = vec![unbatched(&y, had_batch)?];
    if call.flag("return_indices", false)? {
        outputs.push(unbatched(&indices, had_batch)?);
    }
    Ok(outputs)
}

/// Bins of nearly equal width: bin i spans ⌊i·in/out⌋ .. ⌈(i+1)·in/out⌉.
fn adaptive(call: &Call, spatial: usize, max: bool) -> Mapped<Vec<Tensor>> {
    let (x, had_batch) = batched(call, spatial)?;
    let sizes = call.perhaps("output_size")?;
    let dims = x.dims().to_vec();
    if dims.len() != spatial + 2 || sizes.is_empty() {
        return left_out(COMPOSITION);
    }
    let outputs = (0..spatial).map(|side| match sizes.get(side).or(sizes.last()) {
        Some(Some(size)) => count(*size),
        _ => Ok(dims[2 + side]),
    });
    let outputs: Vec<usize> = outputs.collect::<Mapped<_>>()?;
    if (0..spatial).all(|side| outputs[side] > 0 && dims[2 + side] % outputs[side] == 0) {
        let kernel: Vec<usize> = (0..spatial).map(|side| dims[2 + side] / outputs[side]).collect();
        let (padding, dilation) = (vec![(0, 0); spatial], vec![1; spatial]);
        let sliding = Sliding::new(&kernel, &kernel, &padding, &dilation, 1)?;
        if !max {
            let y = average_pool(&x, &sliding, false, true, None)?;
            return Ok(vec![unbatched(&y, had_batch)?]);
        }
        let (y, indices) = max_pool(&x, &sliding, false)?;
        let mut found = vec![unbatched(&y, had_batch)?];
        if call.flag("return_indices", false)? {
            found.push(unbatched(&indices, had_batch)?);
        }
        return Ok(found);
    }
    if max {
        let [y, indices] = maxima(&x, spatial, &outputs)?;
        let mut found = vec![unbatched(&y, had_batch)?];
        if call.flag("return_indices", false)? {
            found.push(unbatched(&indices, had_batch)?);
        }
        return Ok(found);
    }
    // Means over bins of different widths are products with a matrix for each side.
    let bins = |side: usize| {
        let (from, to) = (dims[2 + side], outputs[side]);
        let mut matrix = vec![0.0; from * to];
        for bin in 0..to {
            let (first, last) = (bin * from / to, ((bin + 1) * from).div_ceil(to));
            matrix[bin * from + first..bin * from + last].fill(1.0 / (last - first) as f64);
        }
        constants(&x, &matrix, &[to, from])
    };
    let mut y = x.clone();
    if spatial == 2 {
        y = bins(0)?.matmul(&y)?;
    }
    let y = belamy_tensor::ops::matmul::matmul(&y, &bins(spatial - 1)?, false, true)?;
    Ok(vec![unbatched(&y, had_batch)?])
}

/// The largest of each bin of `x: [N, C, spatial..]`, and its place in the plane: bins of different widths, one by one.
fn maxima(x: &Tensor, spatial: usize, outputs: &[usize]) -> Mapped<[Tensor; 2]> {
    let plane = image(x)?;
    let &[n, h, w, c] = plane.dims() else { return left_out("no image") };
    let (oh, ow) = (if spatial == 2 { outputs[0] } else { 1 }, outputs[spatial - 1]);
    let bin =
        |bin: usize, from: usize, to: usize| (bin * from / to, ((bin + 1) * from).div_ceil(to));
    let (mut values, mut places) = (Vec::new(), vec![0; n * oh * ow * c]);
    for row in 0..oh {
        for column in 0..ow {
            let ((top, bottom), (left, right)) = (bin(row, h, oh), bin(column, w, ow));
            let size = [n, bottom - top, right - left, c];
            let (largest, within) =
                plane.crop(&[0, top, left, 0], &size)?.max_with_indices(&[1, 2])?;
            values.push(largest);
            for (place, index) in within.to_vec::<u32>()?.into_iter().enumerate() {
                let index = index as usize;
                let (y, x) = (top + index / size[2], left + index % size[2]);
                places[((place / c * oh + row) * ow + column) * c + place % c] = (y * w + x) as u32;
            }
        }
    }
    let joined = concat(&values.iter().collect::<Vec<_>>(), 1)?.reshape([n, oh, ow, c])?;
    let places = Tensor::from_slice(&places, [n, oh, ow, c], x.device())?;
    Ok([channels_first(&joined, spatial)?, channels_first(&places, spatial)?])
}

enum Resize {
    Nearest,
    Linear(bool),
}

fn resized(call: &Call, how: Resize) -> Mapped<Vec<Tensor>> {
    let x = call.tensor("input")?;
    let spatial = x.shape().rank() - 2;
    let plane = image(&x)?;
    let sides = match call.wholes("size")? {
        Some(sizes) => counts(&if sizes.len() == 1 { vec![sizes[0]; spatial] } else { sizes })?,
        None => {
            let factor = call.number("scale_factor", f64::NAN)?;
            let exact = |extent: usize| (extent as f64 * factor).fract() == 0.0;
            let recomputed = call.flag("recompute_scale_factor", false)?;
            if !recomputed && !x.dims()[2..].iter().all(|&extent| exact(extent)) {
                return left_out(
                    "resized by a factor that the sizes do not have: ours is their ratio",
                );
            }
            x.dims()[2..].iter().map(|&extent| (extent as f64 * factor).floor() as usize).collect()
        }
    };
    let sides = [if spatial == 2 { sides[0] } else { 1 }, sides[spatial - 1]];
    let y = match how {
        Resize::Nearest => resize_nearest(&plane, sides)?,
        Resize::Linear(align_corners) => resize_bilinear(&plane, sides, align_corners)?,
    };
    Ok(vec![channels_first(&y, spatial)?])
}

/// PyTorch's borders, from the last axis on: what is added before and after each, or taken away where negative.
fn border(call: &Call, rank: usize) -> Mapped<Vec<(i64, i64)>> {
    let pairs = call.wholes("pad")?.unwrap_or_default();
    let mut border = vec![(0, 0); rank];
    for (place, pair) in pairs.chunks_exact(2).enumerate() {
        if let Some(side) = rank.checked_sub(place + 1) {
            border[side] = (pair[0], pair[1]);
        }
    }
    Ok(border)
}

/// What is left where a border is negative, and the border where it is not.
fn cropped(x: &Tensor, border: &[(i64, i64)]) -> Mapped<(Tensor, Vec<usize>, Vec<usize>)> {
    let cut = |number: i64| number.min(0).unsigned_abs() as usize;
    let start: Vec<usize> = border.iter().map(|side| cut(side.0)).collect();
    let size = border.iter().zip(x.dims());
    let size: Vec<usize> =
        size.map(|(side, extent)| extent.saturating_sub(cut(side.0) + cut(side.1))).collect();
    let added = |number: i64| number.max(0) as usize;
    let before: Vec<usize> = border.iter().map(|side| added(side.0)).collect();
    let after: Vec<usize> = border.iter().map(|side| added(side.1)).collect();
    Ok((x.crop(&start, &size)?, before, after))
}

fn constant_border(call: &Call) -> Mapped<Vec<Tensor>> {
    let x = call.tensor("input")?;
    let value = call.number("value", 0.0)?;
    let (kept, before, after) = cropped(&x, &border(call, x.shape().rank())?)?;
    Ok(vec![if value == 0.0 {
        kept.pad(&before, &after)?
    } else {
        kept.add_scalar(-value)?.pad(&before, &after)?.add_scalar(value)?
    }])
}

fn reflected(call: &Call) -> Mapped<Vec<Tensor>> {
    let x = call.tensor("input")?;
    let sides = border(call, x.shape().rank())?;
    let (rank, plain) = (sides.len(), sides.iter().all(|side| side.0 >= 0 && side.1 >= 0));
    // Our own op has two sides; what is cut, or has three, goes by index.
    if plain && (rank == 3 || rank == 4) && sides[1].0 + sides[1].1 == 0 {
        let side = |axis: usize| (sides[axis].0 as usize, sides[axis].1 as usize);
        let rows = if rank == 4 { side(2) } else { (0, 0) };
        let y = image(&x)?.reflect_pad2d((rows, side(rank - 1)))?;
        return Ok(vec![channels_first(&y, rank - 2)?]);
    }
    indexed_border(call, |place, extent| {
        let place = place.abs();
        if place >= extent { 2 * (extent - 1) - place } else { place }
    })
}

/// What is cut is cut first; then the image is repeated.
fn circular(call: &Call) -> Mapped<Vec<Tensor>> {
    let x = call.tensor("input")?;
    let (mut y, before, after) = cropped(&x, &border(call, x.shape().rank())?)?;
    for axis in 0..before.len() {
        let (extent, first) = (y.dims()[axis], before[axis]);
        if (first, after[axis]) != (0, 0) {
            let places = (0..first + extent + after[axis])
                .map(|place| (place as i64 - first as i64).rem_euclid(extent as i64) as usize);
            y = take(&y, axis, &places.collect::<Vec<_>>())?;
        }
    }
    Ok(vec![y])
}

/// Borders that repeat elements: along each axis those that `source` names.
fn indexed_border(call: &Call, source: impl Fn(i64, i64) -> i64) -> Mapped<Vec<Tensor>> {
    let mut y = call.tensor("input")?;
    for (axis, (before, after)) in border(call, y.shape().rank())?.into_iter().enumerate() {
        let extent = y.dims()[axis] as i64;
        if (before, after) != (0, 0) {
            let places = (-before..extent + after).map(|place| source(place, extent) as usize);
            y = take(&y, axis, &places.collect::<Vec<_>>())?;
        }
    }
    Ok(vec![y])
}

/// The windows of an image side by side: a convolution whose weight has a 1 for each tap of each channel.
fn unfolded(call: &Call) -> Mapped<Vec<Tensor>> {
    let (x, had_batch) = batched(call, 2)?;
    let kernel = call.sides("kernel_size", 2, &[])?;
    let stride = call.sides("stride", 2, &[1, 1])?;
    let padding = call.sides("padding", 2, &[0, 0])?;
    let dilation = call.sides("dilation", 2, &[1, 1])?;
    let sliding = Sliding::new(&kernel, &stride, &same_borders(&padding), &dilation, 1)?;
    let &[n, c, ..] = x.dims() else { return left_out("no image") };
    let [kh, kw] = sliding.kernel;
    let taps = c * kh * kw;
    let mut identity = vec![0.0; taps * taps];
    (0..taps).for_each(|tap| identity[tap * taps + tap] = 1.0);
    let w = constants(&x, &identity, &[taps, c, kh, kw])?;
    let y = convolution(&x, &w, None, &sliding)?;
    let places = y.shape().elements() / (n * taps).max(1);
    let places = if n == 0 { y.dims()[2] * y.dims()[3] } else { places };
    let y = y.reshape(Shape::new(&[n, taps, places])?)?;
    Ok(vec![if had_batch { y } else { reshaped(&y, &[taps, places])? }])
}

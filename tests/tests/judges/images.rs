//! Images, where both judges have channels before the plane and we have them last: conversions, convolutions, pools.

use super::arrange::{constants, reshaped};
use super::problem::{Mapped, VOLUME, left_out};
use belamy_tensor::ops::conv2d::{Window, conv_transpose2d, conv2d};
use belamy_tensor::ops::pool2d::{avg_pool2d, max_pool2d_with_indices};
use belamy_tensor::{Result, Tensor};

/// How a window slides over one or two spatial axes; missing ones are filled in front.
#[derive(Clone, Debug)]
pub(crate) struct Sliding {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) padding: [(usize, usize); 2],
    pub(crate) dilation: [usize; 2],
    pub(crate) groups: usize,
}

impl Sliding {
    /// From a number for each spatial axis.
    pub(crate) fn new(
        kernel: &[usize],
        stride: &[usize],
        padding: &[(usize, usize)],
        dilation: &[usize],
        groups: usize,
    ) -> Mapped<Sliding> {
        let lengths = [stride.len(), padding.len(), dilation.len()];
        if kernel.is_empty()
            || kernel.len() > 2
            || lengths.iter().any(|&length| length != kernel.len())
        {
            return left_out(VOLUME);
        }
        let two = |numbers: &[usize]| {
            [if numbers.len() == 2 { numbers[0] } else { 1 }, numbers[numbers.len() - 1]]
        };
        let last = padding[padding.len() - 1];
        let padding = [if padding.len() == 2 { padding[0] } else { (0, 0) }, last];
        Ok(Sliding {
            kernel: two(kernel),
            stride: two(stride),
            padding,
            dilation: two(dilation),
            groups,
        })
    }

    fn window(&self) -> Window {
        Window {
            stride: self.stride.into(),
            padding: (self.padding[0], self.padding[1]),
            dilation: self.dilation.into(),
            groups: self.groups,
        }
    }

    fn reach(&self, side: usize) -> usize {
        self.kernel[side].saturating_sub(1).saturating_mul(self.dilation[side]).saturating_add(1)
    }

    /// With the border below and at the right enlarged until the last, partial window fits, if it begins on the image.
    pub(crate) fn with_partial_windows(&self, image: [usize; 2]) -> Sliding {
        let mut enlarged = self.clone();
        for side in 0..2 {
            let (before, after) = self.padding[side];
            let Some(free) = (image[side] + before + after).checked_sub(self.reach(side)) else {
                continue;
            };
            let stride = self.stride[side].max(1);
            let mut steps = free.div_ceil(stride);
            if steps * stride >= image[side] + before {
                steps -= 1;
            }
            let wanted = steps * stride + self.reach(side);
            enlarged.padding[side].1 = after.max(wanted.saturating_sub(image[side] + before));
        }
        enlarged
    }

    /// How many taps of each window along a side lie where `counted` says.
    fn taps(&self, side: usize, outputs: usize, counted: impl Fn(i64) -> bool) -> Vec<f64> {
        let first =
            |output: usize| (output * self.stride[side]) as i64 - self.padding[side].0 as i64;
        let tap = |output: usize, tap: usize| first(output) + (tap * self.dilation[side]) as i64;
        let count =
            |output| (0..self.kernel[side]).filter(|&place| counted(tap(output, place))).count();
        (0..outputs).map(|output| count(output) as f64).collect()
    }
}

/// `[N, C, spatial..]` as an image `[N, H, W, C]`; one spatial axis is the width of an image one pixel high.
pub(crate) fn image(x: &Tensor) -> Mapped {
    match *x.dims() {
        [n, c, width] => Ok(x.permute(&[0, 2, 1])?.reshape([n, 1, width, c])?),
        [_, _, _, _] => Ok(x.permute(&[0, 2, 3, 1])?),
        [_, _, _, _, _] | [_, _, _, _, _, _] => left_out(VOLUME),
        // For our op to refuse.
        _ => Ok(x.clone()),
    }
}

/// An image as `[N, C, spatial..]` with as many spatial axes as asked for.
pub(crate) fn channels_first(y: &Tensor, spatial: usize) -> Result<Tensor> {
    match *y.dims() {
        [n, 1, width, c] if spatial == 1 => y.reshape([n, width, c])?.permute(&[0, 2, 1]),
        _ => y.permute(&[0, 3, 1, 2]),
    }
}

/// `[O, I/groups, spatial..]` with as many spatial axes as x has, convolved with `x: [N, I, spatial..]`.
pub(crate) fn convolution(
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    sliding: &Sliding,
) -> Mapped {
    let spatial = x.shape().rank().saturating_sub(2);
    let y = conv2d(&image(x)?, &image(w)?, sliding.window())?;
    let y = match bias {
        Some(bias) => y.add(bias)?,
        None => y,
    };
    Ok(channels_first(&y, spatial)?)
}

/// The transposed convolution of `x: [N, I, spatial..]` with `w: [I, O/groups, spatial..]`.
pub(crate) fn transposed_convolution(
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    sliding: &Sliding,
    output_padding: [usize; 2],
) -> Mapped {
    let spatial = x.shape().rank().saturating_sub(2);
    let image = image(x)?;
    let groups = sliding.groups.max(1);
    let w = match *w.dims() {
        [i, o, kw] => w.reshape([i, o, 1, kw])?,
        _ => w.clone(),
    };
    let &[i, o, kh, kw] = w.dims() else { return left_out(VOLUME) };
    if i % groups != 0 {
        return Ok(conv_transpose2d(&image, &w, sliding.window(), output_padding.into())?);
    }
    let w = reshaped(&w, &[groups, i / groups, o, kh, kw])?;
    let w = reshaped(&w.permute(&[0, 2, 3, 4, 1])?, &[groups * o, kh, kw, i / groups])?;
    let y = conv_transpose2d(&image, &w, sliding.window(), output_padding.into())?;
    let y = match bias {
        Some(bias) => y.add(bias)?,
        None => y,
    };
    Ok(channels_first(&y, spatial)?)
}

/// The mean of each window of `x: [N, C, spatial..]`, or its sum over `divisor`.
pub(crate) fn average_pool(
    x: &Tensor,
    sliding: &Sliding,
    partial_windows: bool,
    count_include_pad: bool,
    divisor: Option<f64>,
) -> Mapped {
    let spatial = x.shape().rank().saturating_sub(2);
    let x = image(x)?;
    let &[_, h, w, _] = x.dims() else {
        return Ok(avg_pool2d(&x, sliding.kernel, sliding.window(), true)?);
    };
    let enlarged =
        if partial_windows { sliding.with_partial_windows([h, w]) } else { sliding.clone() };
    let plain = enlarged.padding == sliding.padding && divisor.is_none();
    if plain || (divisor.is_none() && !count_include_pad) {
        let y = avg_pool2d(&x, sliding.kernel, enlarged.window(), count_include_pad)?;
        return Ok(channels_first(&y, spatial)?);
    }
    let y = avg_pool2d(&x, sliding.kernel, enlarged.window(), true)?;
    let (oh, ow) = (y.dims()[1], y.dims()[2]);
    let all = (sliding.kernel[0] * sliding.kernel[1]) as f64;
    // The border that was asked for counts, what was added for the partial windows does not.
    let taps = |side: usize, outputs: usize, extent: usize| {
        let (before, after) = sliding.padding[side];
        enlarged.taps(side, outputs, |place| {
            place >= -(before as i64) && place < (extent + after) as i64
        })
    };
    let (rows, columns) = (taps(0, oh, h), taps(1, ow, w));
    let share = |row: &f64, column: &f64| all / divisor.unwrap_or(row * column);
    let shares: Vec<f64> =
        rows.iter().flat_map(|row| columns.iter().map(move |column| share(row, column))).collect();
    let y = y.mul(&constants(&y, &shares, &[oh, ow, 1])?)?;
    Ok(channels_first(&y, spatial)?)
}

/// The largest of each window of `x: [N, C, spatial..]`, and its place in the plane.
pub(crate) fn max_pool(
    x: &Tensor,
    sliding: &Sliding,
    partial_windows: bool,
) -> Mapped<(Tensor, Tensor)> {
    let spatial = x.shape().rank().saturating_sub(2);
    let x = image(x)?;
    let sliding = match *x.dims() {
        [_, h, w, _] if partial_windows => sliding.with_partial_windows([h, w]),
        _ => sliding.clone(),
    };
    let (y, indices) = max_pool2d_with_indices(&x, sliding.kernel, sliding.window())?;
    Ok((channels_first(&y, spatial)?, channels_first(&indices, spatial)?))
}

// Pooling: the mean or the maximum of each window of an image's plane.
//
//   tap (kh, kw) of window (oh, ow) lies on ih = oh stride_height - padding_top  + kh dilation_height
//                                           iw = ow stride_width  - padding_left + kw dilation_width
//
//   avg_pool2d          y[n, oh, ow, c] = sum_taps x[n, ih, iw, c] / count      (taps outside the image are 0)
//   avg_pool2d_spread   x[n, ih, iw, c] = sum of y[n, oh, ow, c] / count over the windows above the pixel
//     with count = KH KW, or, without count_include_pad, the taps of that window that are inside the image
//   max_pool2d          y[n, oh, ow, c] = max_taps x[n, ih, iw, c]              (taps outside the image never win)
//                       index[n, oh, ow, c] = ih W + iw of the first largest, or of the first NaN
//   max_pool2d_pick     y[n, oh, ow, c] = x[n, index / W, index % W, c]         (0 where that is no tap of the window)
//   max_pool2d_place    x[n, ih, iw, c] = sum of (index[n, oh, ow, c] == ih W + iw) y[n, oh, ow, c] over those windows
//
// x: [batch, in_height, in_width, channels]    y, index: [batch, out_height, out_width, channels]
//
// One invocation owns one output element (of max_pool2d a value and its index) and gathers it; neighbouring ones read
// neighbouring channels. Sums go row by row. Cost: an addition for each tap, or for each window above; each operand
// moved once if caches hold the overlaps.

struct Pool2dParams {
    batch: u32, in_height: u32, in_width: u32, channels: u32, out_height: u32, out_width: u32,
    kernel_height: u32, kernel_width: u32, stride_height: u32, stride_width: u32,
    padding_top: u32, padding_left: u32, dilation_height: u32, dilation_width: u32,
    count_include_pad: u32,
}
struct Run { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: Pool2dParams }

@group(0) @binding(0) var<storage, read> source: array<f32>;
@group(0) @binding(1) var<storage, read> index: array<u32>;
@group(0) @binding(8) var<storage, read_write> result: array<f32>;
@group(0) @binding(9) var<storage, read_write> found: array<u32>;
@group(0) @binding(16) var<uniform> run: Run;

/// An element's place: image of the batch, row, column, channel.
struct Place { n: u32, row: u32, column: u32, c: u32 }

fn place_of(i: u32, height: u32, width: u32, channels: u32) -> Place {
    let at = i / channels;
    let line = at / width;
    let n = line / height;
    return Place(n, line - n * height, at - line * width, i - at * channels);
}

/// One direction of the window's walk.
struct Side { image: u32, outputs: u32, taps: u32, stride: u32, padding: u32, dilation: u32 }

fn height() -> Side {
    let p = run.params;
    return Side(p.in_height, p.out_height, p.kernel_height, p.stride_height, p.padding_top, p.dilation_height);
}

fn width() -> Side {
    let p = run.params;
    return Side(p.in_width, p.out_width, p.kernel_width, p.stride_width, p.padding_left, p.dilation_width);
}

/// Rounded up; without the division where windows are not dilated.
fn dilations(distance: u32, dilation: u32) -> u32 {
    if dilation == 1u { return distance; }
    return (distance + dilation - 1u) / dilation;
}

/// The taps of output `out` that are inside the image: the first, and the one after the last.
fn inside(s: Side, out: u32) -> vec2<u32> {
    // Coordinates count from the padding's edge.
    let start = out * s.stride;
    let first = dilations(max(start, s.padding) - start, s.dilation);
    let end = dilations(max(start, s.padding + s.image) - start, s.dilation);
    return vec2<u32>(min(first, s.taps), min(end, s.taps));
}

/// The outputs that may have a tap on the image's coordinate `at`: the first, and the one after the last.
fn above(s: Side, at: u32) -> vec2<u32> {
    let reached = at + s.padding;
    let span = (s.taps - 1u) * s.dilation;
    let first = (max(reached, span) - span + s.stride - 1u) / s.stride;
    return vec2<u32>(first, min(reached / s.stride + 1u, s.outputs));
}

/// Whether output `out`, of those that may, has a tap on the image's coordinate `at`.
fn taps_on(s: Side, out: u32, at: u32) -> bool {
    if s.dilation == 1u { return true; }
    return (at + s.padding - out * s.stride) % s.dilation == 0u;
}

/// How many taps the mean of window (oh, ow) counts.
fn count_of(h: Side, w: Side, oh: u32, ow: u32) -> f32 {
    if run.params.count_include_pad == 1u { return f32(h.taps) * f32(w.taps); }
    let rows = inside(h, oh);
    let columns = inside(w, ow);
    return f32(rows.y - rows.x) * f32(columns.y - columns.x);
}

/// By the bits: a compiler may assume that x != x is false.
fn is_nan(value: f32) -> bool {
    return (bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u;
}

/// Which element this invocation owns: groups beyond the limit of an axis are folded into a second one.
fn element(group: vec3<u32>, groups: vec3<u32>, lane: u32) -> u32 {
    return (group.y * groups.x + group.x) * 256u + lane;
}

@compute @workgroup_size(256)
fn avg_pool2d(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = element(group, groups, lane);
    if i >= run.elements { return; }
    let h = height();
    let w = width();
    let channels = run.params.channels;
    let at = place_of(i, h.outputs, w.outputs, channels);
    let rows = inside(h, at.row);
    let columns = inside(w, at.column);
    var sum = 0.0;
    for (var kh = rows.x; kh < rows.y; kh++) {
        let line = (at.n * h.image + at.row * h.stride + kh * h.dilation - h.padding) * w.image;
        var part = 0.0;
        for (var kw = columns.x; kw < columns.y; kw++) {
            let iw = at.column * w.stride + kw * w.dilation - w.padding;
            part += source[(line + iw) * channels + at.c];
        }
        sum += part;
    }
    result[i] = sum / count_of(h, w, at.row, at.column);
}

@compute @workgroup_size(256)
fn avg_pool2d_spread(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = element(group, groups, lane);
    if i >= run.elements { return; }
    let h = height();
    let w = width();
    let channels = run.params.channels;
    let at = place_of(i, h.image, w.image, channels);
    let rows = above(h, at.row);
    let columns = above(w, at.column);
    var sum = 0.0;
    for (var oh = rows.x; oh < rows.y; oh++) {
        if !taps_on(h, oh, at.row) { continue; }
        let line = (at.n * h.outputs + oh) * w.outputs;
        var part = 0.0;
        for (var ow = columns.x; ow < columns.y; ow++) {
            if !taps_on(w, ow, at.column) { continue; }
            part += source[(line + ow) * channels + at.c] / count_of(h, w, oh, ow);
        }
        sum += part;
    }
    result[i] = sum;
}

@compute @workgroup_size(256)
fn max_pool2d(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = element(group, groups, lane);
    if i >= run.elements { return; }
    let h = height();
    let w = width();
    let channels = run.params.channels;
    let at = place_of(i, h.outputs, w.outputs, channels);
    let rows = inside(h, at.row);
    let columns = inside(w, at.column);
    var first = true;
    var best = 0.0;
    var best_at = 0u;
    for (var kh = rows.x; kh < rows.y; kh++) {
        let ih = at.row * h.stride + kh * h.dilation - h.padding;
        for (var kw = columns.x; kw < columns.y; kw++) {
            let iw = at.column * w.stride + kw * w.dilation - w.padding;
            let value = source[((at.n * h.image + ih) * w.image + iw) * channels + at.c];
            // The first of equals wins; the first NaN wins over everything.
            let better = value > best || is_nan(value);
            if first || (better && !is_nan(best)) {
                best = value;
                best_at = ih * w.image + iw;
            }
            first = false;
        }
    }
    result[i] = best;
    found[i] = best_at;
}

@compute @workgroup_size(256)
fn max_pool2d_pick(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = element(group, groups, lane);
    if i >= run.elements { return; }
    let h = height();
    let w = width();
    let channels = run.params.channels;
    let at = place_of(i, h.outputs, w.outputs, channels);
    let ih = index[i] / w.image;
    let iw = index[i] - ih * w.image;
    let rows = above(h, ih);
    let columns = above(w, iw);
    let over = rows.x <= at.row && at.row < rows.y && columns.x <= at.column && at.column < columns.y;
    if ih < h.image && over && taps_on(h, at.row, ih) && taps_on(w, at.column, iw) {
        result[i] = source[((at.n * h.image + ih) * w.image + iw) * channels + at.c];
    } else {
        result[i] = 0.0;
    }
}

@compute @workgroup_size(256)
fn max_pool2d_place(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = element(group, groups, lane);
    if i >= run.elements { return; }
    let h = height();
    let w = width();
    let channels = run.params.channels;
    let at = place_of(i, h.image, w.image, channels);
    let here = at.row * w.image + at.column;
    let rows = above(h, at.row);
    let columns = above(w, at.column);
    var sum = 0.0;
    for (var oh = rows.x; oh < rows.y; oh++) {
        if !taps_on(h, oh, at.row) { continue; }
        let line = (at.n * h.outputs + oh) * w.outputs;
        var part = 0.0;
        for (var ow = columns.x; ow < columns.y; ow++) {
            if !taps_on(w, ow, at.column) { continue; }
            let pooled = (line + ow) * channels + at.c;
            if index[pooled] == here { part += source[pooled]; }
        }
        sum += part;
    }
    result[i] = sum;
}

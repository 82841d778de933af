// Resizing an image's plane: nearest and bilinear, each with its adjoint.
//
//   resize_nearest         y[n, oh, ow, c] = x[n, floor(oh H / OH), floor(ow W / OW), c]
//   resize_nearest_fold    x[n, ih, iw, c] = sum of y[n, oh, ow, c] over the outputs that copy pixel (ih, iw)
//   resize_bilinear        y[n, oh, ow, c] = sum_ih sum_iw weight_h(oh, ih) weight_w(ow, iw) x[n, ih, iw, c]
//   resize_bilinear_fold   x[n, ih, iw, c] = sum_oh sum_ow weight_h(oh, ih) weight_w(ow, iw) y[n, oh, ow, c]
//     along a side:  source(o) = o (in - 1) / (out - 1)                    with align_corners (0 where out = 1)
//                              = max(0, (o + 1/2) in / out - 1/2)          without
//                    f = source - floor(source);
//                    weight(o, i) = (i = floor(source)) (1 - f) + (i = min(floor(source) + 1, in - 1)) f
//
// x: [batch, in_height, in_width, channels]    y: [batch, out_height, out_width, channels]
//
// One invocation owns one output element; a fold's sums over the outputs whose sources lie within one pixel of it, row
// by row. Sources are fractions of whole numbers, so both directions agree exactly on who looks where, and a small
// weight is as accurate as a large one. Cost: one pass over each operand, with at most four terms an element
// (bilinear); divisions of integers outside the loops only.

struct ResizeParams {
    batch: u32, in_height: u32, in_width: u32, channels: u32,
    out_height: u32, out_width: u32,
    align_corners: u32,
}
struct Run { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: ResizeParams }

@group(0) @binding(16) var<uniform> run: Run;

// The nearest pixel is moved as a word, of whatever type.
@group(0) @binding(0) var<storage, read> words: array<u32>;
@group(0) @binding(8) var<storage, read_write> moved: array<u32>;

@group(0) @binding(0) var<storage, read> source: array<f32>;
@group(0) @binding(8) var<storage, read_write> result: array<f32>;

/// An element's place: image of the batch, row, column, channel.
struct Place { n: u32, row: u32, column: u32, c: u32 }

fn place_of(i: u32, height: u32, width: u32, channels: u32) -> Place {
    let at = i / channels;
    let line = at / width;
    let n = line / height;
    return Place(n, line - n * height, at - line * width, i - at * channels);
}

fn quotient_up(value: u32, divisor: u32) -> u32 {
    let quotient = value / divisor;
    return quotient + select(0u, 1u, quotient * divisor != value);
}

/// Which element this invocation owns: groups beyond the limit of an axis are folded into a second one.
fn element(group: vec3<u32>, groups: vec3<u32>, lane: u32) -> u32 {
    return (group.y * groups.x + group.x) * 256u + lane;
}

@compute @workgroup_size(256)
fn resize_nearest(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = element(group, groups, lane);
    if i >= run.elements { return; }
    let p = run.params;
    let at = place_of(i, p.out_height, p.out_width, p.channels);
    let ih = at.row * p.in_height / p.out_height;
    let iw = at.column * p.in_width / p.out_width;
    moved[i] = words[((at.n * p.in_height + ih) * p.in_width + iw) * p.channels + at.c];
}

@compute @workgroup_size(256)
fn resize_nearest_fold(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = element(group, groups, lane);
    if i >= run.elements { return; }
    let p = run.params;
    let at = place_of(i, p.in_height, p.in_width, p.channels);
    let first_row = quotient_up(at.row * p.out_height, p.in_height);
    let end_row = quotient_up((at.row + 1u) * p.out_height, p.in_height);
    let first_column = quotient_up(at.column * p.out_width, p.in_width);
    let end_column = quotient_up((at.column + 1u) * p.out_width, p.in_width);
    var sum = 0.0;
    for (var oh = first_row; oh < end_row; oh++) {
        let start = (at.n * p.out_height + oh) * p.out_width;
        var part = 0.0;
        for (var ow = first_column; ow < end_column; ow++) {
            part += source[(start + ow) * p.channels + at.c];
        }
        sum += part;
    }
    result[i] = sum;
}

/// A side's sources: that of output `o` is max(0, o numerator - before) / denominator.
struct Scale { numerator: u32, before: i32, denominator: u32 }

fn scale(image: u32, outputs: u32) -> Scale {
    if run.params.align_corners == 0u {
        // (2 o + 1) image - outputs, over 2 outputs.
        return Scale(2u * image, i32(outputs) - i32(image), 2u * outputs);
    }
    if outputs == 1u { return Scale(0u, 0, 1u); }
    return Scale(image - 1u, 0, outputs - 1u);
}

/// The numerator of the source of output `out`.
fn numerator(s: Scale, out: u32) -> u32 {
    let reached = out * s.numerator;
    if s.before <= 0 { return reached + u32(-s.before); }
    return select(0u, reached - u32(s.before), reached > u32(s.before));
}

/// The two pixels around the source of an output, and their weights. At the far edge they are the same.
struct Pair { first: u32, second: u32, weights: vec2<f32> }

fn pair_of(out: u32, image: u32, outputs: u32) -> Pair {
    let s = scale(image, outputs);
    let reached = numerator(s, out);
    let first = reached / s.denominator;
    let beyond = reached - first * s.denominator;
    // Each from its own whole number: a small weight is as accurate as a large one.
    let weights = vec2<f32>(f32(s.denominator - beyond), f32(beyond)) / f32(s.denominator);
    return Pair(first, min(first + 1u, image - 1u), weights);
}

@compute @workgroup_size(256)
fn resize_bilinear(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = element(group, groups, lane);
    if i >= run.elements { return; }
    let p = run.params;
    let at = place_of(i, p.out_height, p.out_width, p.channels);
    let rows = pair_of(at.row, p.in_height, p.out_height);
    let columns = pair_of(at.column, p.in_width, p.out_width);
    let upper = (at.n * p.in_height + rows.first) * p.in_width;
    let lower = (at.n * p.in_height + rows.second) * p.in_width;
    let above = vec2<f32>(
        source[(upper + columns.first) * p.channels + at.c],
        source[(upper + columns.second) * p.channels + at.c],
    );
    let below = vec2<f32>(
        source[(lower + columns.first) * p.channels + at.c],
        source[(lower + columns.second) * p.channels + at.c],
    );
    result[i] = rows.weights.x * dot(columns.weights, above) + rows.weights.y * dot(columns.weights, below);
}

/// The first output whose source is at pixel `at` or beyond.
fn first_at(at: u32, image: u32, outputs: u32) -> u32 {
    if at == 0u { return 0u; }
    if run.params.align_corners == 0u {
        // (2 o + 1) image >= (2 at + 1) outputs
        return min(quotient_up((2u * at + 1u) * outputs, image) / 2u, outputs);
    }
    // All sources are the first pixel.
    if image == 1u || outputs == 1u { return outputs; }
    return min(quotient_up(at * (outputs - 1u), image - 1u), outputs);
}

/// The outputs whose sources lie within one pixel of `at`: the first, and the one after the last.
fn around(at: u32, image: u32, outputs: u32) -> vec2<u32> {
    let first = first_at(max(at, 1u) - 1u, image, outputs);
    if at + 1u == image { return vec2<u32>(first, outputs); }
    return vec2<u32>(first, first_at(at + 1u, image, outputs));
}

/// What pixel `at` weighs in output `out`.
fn weight(s: Scale, out: u32, at: u32, image: u32) -> f32 {
    let reached = numerator(s, out);
    let here = at * s.denominator;
    // Sources beyond the last pixel are all of it.
    if reached >= here && at + 1u == image { return 1.0; }
    let distance = select(here - reached, reached - here, reached >= here);
    if distance >= s.denominator { return 0.0; }
    return f32(s.denominator - distance) / f32(s.denominator);
}

@compute @workgroup_size(256)
fn resize_bilinear_fold(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = element(group, groups, lane);
    if i >= run.elements { return; }
    let p = run.params;
    let at = place_of(i, p.in_height, p.in_width, p.channels);
    let rows = around(at.row, p.in_height, p.out_height);
    let columns = around(at.column, p.in_width, p.out_width);
    let height = scale(p.in_height, p.out_height);
    let width = scale(p.in_width, p.out_width);
    var sum = 0.0;
    for (var oh = rows.x; oh < rows.y; oh++) {
        let start = (at.n * p.out_height + oh) * p.out_width;
        var part = 0.0;
        for (var ow = columns.x; ow < columns.y; ow++) {
            part += weight(width, ow, at.column, p.in_width) * source[(start + ow) * p.channels + at.c];
        }
        sum += weight(height, oh, at.row, p.in_height) * part;
    }
    result[i] = sum;
}

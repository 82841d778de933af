// Adding a border and taking it away.
//
//   pad                y[i + before] = x[i], and 0 elsewhere      y has the large extents, x the small ones
//   crop               y[i] = x[i + before]                       x has the large extents, y the small ones
//   reflect_pad        y[n, oh, ow, c] = x[n, mirror(oh), mirror(ow), c]
//                      along a side: mirror(o) = |t| for t = o - before, 2 (in - 1) - t where t >= in
//   reflect_pad_fold   x[n, ih, iw, c] = sum of y[n, oh, ow, c] over the outputs that show pixel (ih, iw)
//
// One invocation owns one output element. All but the fold move words of whatever type. A pixel is shown at most three
// times along each side: before the first pixel, inside, after the last. Cost: one pass over each operand, and a
// division per axis longer than 1.

struct PadParams { large: array<vec4<u32>, 2>, small: array<vec4<u32>, 2>, before: array<vec4<u32>, 2> }
struct PadRun { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: PadParams }

struct ReflectPadParams {
    batch: u32, in_height: u32, in_width: u32, channels: u32,
    out_height: u32, out_width: u32,
    top: u32, left: u32,
}
struct ReflectPadRun { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: ReflectPadParams }

@group(0) @binding(0) var<storage, read> words: array<u32>;
@group(0) @binding(8) var<storage, read_write> moved: array<u32>;
@group(0) @binding(0) var<storage, read> g: array<f32>;
@group(0) @binding(8) var<storage, read_write> x: array<f32>;
@group(0) @binding(16) var<uniform> pad_run: PadRun;
@group(0) @binding(16) var<uniform> reflect_run: ReflectPadRun;

/// Which element this invocation owns: groups beyond the limit of an axis are folded into a second one.
fn element(group: vec3<u32>, groups: vec3<u32>, lane: u32) -> u32 {
    return (group.y * groups.x + group.x) * 256u + lane;
}

@compute @workgroup_size(256)
fn pad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = element(group, groups, lane);
    if i >= pad_run.elements { return; }
    var rest = i;
    var at = 0u;
    var step = 1u;
    var inside = true;
    for (var axis = 5; axis >= 0; axis--) {
        let extent = pad_run.params.large[axis >> 2u][axis & 3];
        let small = pad_run.params.small[axis >> 2u][axis & 3];
        var here = 0u;
        if extent != 1u {
            here = rest % extent;
            rest /= extent;
        }
        // Wraps to something huge before the small tensor begins.
        here -= pad_run.params.before[axis >> 2u][axis & 3];
        inside &= here < small;
        at += here * step;
        step *= small;
    }
    if inside {
        moved[i] = words[at];
    } else {
        moved[i] = 0u;
    }
}

@compute @workgroup_size(256)
fn crop(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = element(group, groups, lane);
    if i >= pad_run.elements { return; }
    var rest = i;
    var at = 0u;
    var step = 1u;
    for (var axis = 5; axis >= 0; axis--) {
        let extent = pad_run.params.small[axis >> 2u][axis & 3];
        var here = pad_run.params.before[axis >> 2u][axis & 3];
        if extent != 1u {
            here += rest % extent;
            rest /= extent;
        }
        at += here * step;
        step *= pad_run.params.large[axis >> 2u][axis & 3];
    }
    moved[i] = words[at];
}

/// The pixel of a side that output `out` shows.
fn mirror(out: u32, image: u32, before: u32) -> u32 {
    let at = select(before - out, out - before, out >= before);
    return select(2u * (image - 1u) - at, at, at < image);
}

@compute @workgroup_size(256)
fn reflect_pad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = element(group, groups, lane);
    if i >= reflect_run.elements { return; }
    let p = reflect_run.params;
    var rest = i / p.channels;
    let c = i - rest * p.channels;
    let ow = rest % p.out_width;
    rest /= p.out_width;
    let oh = rest % p.out_height;
    let n = rest / p.out_height;
    let ih = mirror(oh, p.in_height, p.top);
    let iw = mirror(ow, p.in_width, p.left);
    moved[i] = words[((n * p.in_height + ih) * p.in_width + iw) * p.channels + c];
}

/// The outputs of a side that show a pixel, in order, and how many they are.
struct Shown { outs: vec3<u32>, count: u32 }

fn shown(at: u32, image: u32, outputs: u32, before: u32) -> Shown {
    var result = Shown(vec3<u32>(0u), 0u);
    if at > 0u && at <= before {
        result.outs.x = before - at;
        result.count = 1u;
    }
    result.outs[result.count] = before + at;
    result.count += 1u;
    let last = image - 1u;
    let beyond = before + 2u * last - at;
    if at < last && beyond < outputs {
        result.outs[result.count] = beyond;
        result.count += 1u;
    }
    return result;
}

@compute @workgroup_size(256)
fn reflect_pad_fold(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = element(group, groups, lane);
    if i >= reflect_run.elements { return; }
    let p = reflect_run.params;
    var rest = i / p.channels;
    let c = i - rest * p.channels;
    let iw = rest % p.in_width;
    rest /= p.in_width;
    let ih = rest % p.in_height;
    let n = rest / p.in_height;
    let rows = shown(ih, p.in_height, p.out_height, p.top);
    let columns = shown(iw, p.in_width, p.out_width, p.left);
    var sum = 0.0;
    for (var row = 0u; row < rows.count; row++) {
        let start = (n * p.out_height + rows.outs[row]) * p.out_width;
        for (var column = 0u; column < columns.count; column++) {
            sum += g[(start + columns.outs[column]) * p.channels + c];
        }
    }
    x[i] = sum;
}

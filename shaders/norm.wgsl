// Normalisation over groups of rows, with the leaky ReLU that often follows: batch norm (G = parts of the batch) and
// instance norm (G = N) of x: [G groups, R rows, C channels].
//
//   mean[g, c]     = 1/R sum_r x[g, r, c]
//   variance[g, c] = 1/R sum_r (x[g, r, c] - mean[g, c])^2
//   u              = gamma (x - mean) s + beta,                       s = 1 / sqrt(variance + epsilon)
//   y              = u > 0 ? u : slope u                              slope 1: no activation
//   g              = u > 0 ? h : slope h                              from the cotangent h of y; u worked out again
//   grad_x         = gamma s (g - 1/R sum_r g - (x - mean) s^2 1/R sum_r g (x - mean))
//   grad_gamma     = sum_g,r g (x - mean) s        grad_beta = sum_g,r g
//   running_statistics   r <- decay r + (1 - decay) b for each part b in order; variances first times `correction`
//
// A workgroup owns a tile: `width` neighbouring channels of one chunk of rows, its 256 invocations standing `width`
// wide and 256 / width high. Two passes each:
//   norm_chunks       mean and squared deviations of each chunk, about the chunk's own mean: nothing cancels
//   norm              each tile merges its channels' chunks (Chan, Golub and LeVeque, 1983), then y, tile by tile
//   norm_grad_chunks  sum g and sum g (x - mean) of each chunk, and what the next pass needs of each channel
//   norm_grad         each tile adds its channels' chunks, then grad_x, tile by tile
// Every tile of a channel merges the same chunks in the same order, so all agree to the bit; the first writes what all
// have. That reads C / width numbers a chunk again and saves a dispatch.
// The halves of both, for batches whose sums are not all here: what is given is not merged.
//   norm_statistics   norm_chunks, then the first tile of each channel merges its chunks: mean and variance
//   norm_apply        y, tile by tile, from a mean and a variance
//   norm_grad_sums    norm_grad_chunks, then the first tile of each channel adds its chunks: sum_r g and
//                     sum_r g (x - mean) as sums: [2, G, C], grad_gamma and grad_beta
//   norm_grad_apply   grad_x, tile by tile, from such sums
// `running_statistics` has an invocation a channel.
// All orders depend on shapes alone. Cost: x read three times (twice from cache) and y written once, 10 operations an
// element; backwards x and h read twice, grad_x written once, 14 operations.

struct NormParams { groups: u32, rows: u32, channels: u32, epsilon: f32, slope: f32 }
struct RunningParams { parts: u32, channels: u32, decay: f32, taken: f32, correction: f32 }
struct RunningRun { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: RunningParams }
// pass_0: rows a chunk; pass_1: the tile's width.
struct Run { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: NormParams }

@group(0) @binding(16) var<uniform> run: Run;
@group(0) @binding(16) var<uniform> running_run: RunningRun;

// norm_chunks: x -> chunks: [G, chunks, C] of (mean, squared deviations)
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(8) var<storage, read_write> chunk_out: array<vec2<f32>>;

// norm: x, chunks, gamma, beta -> y, mean, variance; norm_statistics: x, chunks -> mean, variance
@group(0) @binding(1) var<storage, read> chunks_of_x: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> gamma: array<f32>;
@group(0) @binding(3) var<storage, read> beta: array<f32>;
@group(0) @binding(8) var<storage, read_write> y: array<f32>;
@group(0) @binding(9) var<storage, read_write> mean_out: array<f32>;
@group(0) @binding(10) var<storage, read_write> variance_out: array<f32>;
@group(0) @binding(8) var<storage, read_write> mean_found: array<f32>;
@group(0) @binding(9) var<storage, read_write> variance_found: array<f32>;

// norm_apply: x, mean, gamma, beta, variance -> y
@group(0) @binding(1) var<storage, read> mean_given: array<f32>;
@group(0) @binding(4) var<storage, read> variance_given: array<f32>;

// norm_grad_chunks: x, h, gamma, beta, mean, variance -> chunks: [G, chunks, C] of the sums of g and of g (x - mean),
// channels: [G, C] of (mean, gamma s, beta, s)
@group(0) @binding(1) var<storage, read> h: array<f32>;
@group(0) @binding(4) var<storage, read> mean: array<f32>;
@group(0) @binding(5) var<storage, read> variance: array<f32>;
@group(0) @binding(9) var<storage, read_write> channels_out: array<vec4<f32>>;

// norm_grad: x, h, chunks, channels -> grad_x, grad_gamma, grad_beta; norm_grad_sums: the same -> sums, grad_gamma, grad_beta
@group(0) @binding(2) var<storage, read> chunks_of_g: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> channels: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read_write> grad_x: array<f32>;
@group(0) @binding(9) var<storage, read_write> grad_gamma: array<f32>;
@group(0) @binding(10) var<storage, read_write> grad_beta: array<f32>;
@group(0) @binding(8) var<storage, read_write> sums_out: array<f32>;

// norm_grad_apply: x, h, gamma, beta, mean, variance, sums -> grad_x
@group(0) @binding(6) var<storage, read> sums: array<f32>;

// running_statistics: running and the batch's mean and variance -> the moved ones
@group(0) @binding(0) var<storage, read> running_mean: array<f32>;
@group(0) @binding(1) var<storage, read> running_variance: array<f32>;
@group(0) @binding(2) var<storage, read> batch_mean: array<f32>;
@group(0) @binding(3) var<storage, read> batch_variance: array<f32>;
@group(0) @binding(8) var<storage, read_write> moved_mean: array<f32>;
@group(0) @binding(9) var<storage, read_write> moved_variance: array<f32>;

/// What a workgroup's tile covers for one of its invocations.
struct Tile {
    /// Whether there is such a channel and such a group.
    owns: bool,
    group: u32,
    chunk: u32,
    channel: u32,
    /// Its rows: each `height`-th of the chunk.
    first: u32,
    end: u32,
    height: u32,
}

fn chunks_of_group() -> u32 {
    return (run.params.rows + run.pass_0 - 1u) / run.pass_0;
}

fn tile(number: u32, lane: u32) -> Tile {
    let p = run.params;
    let width = run.pass_1;
    let chunks = chunks_of_group();
    let tiles = tiles_across();
    var t: Tile;
    t.group = number / tiles / chunks;
    t.chunk = number / tiles % chunks;
    t.channel = number % tiles * width + lane % width;
    t.owns = t.channel < p.channels && t.group < p.groups;
    t.first = t.chunk * run.pass_0 + lane / width;
    t.end = select(0u, min(p.rows, (t.chunk + 1u) * run.pass_0), t.owns);
    t.height = 256u / width;
    return t;
}

/// Tiles that the channels make.
fn tiles_across() -> u32 {
    return (run.params.channels + run.pass_1 - 1u) / run.pass_1;
}

/// The first tile of some channels in a group: of passes that have no other.
fn first_tile(number: u32, lane: u32) -> Tile {
    let across = tiles_across();
    return tile(number / across * across * chunks_of_group() + number % across, lane);
}

/// Whether this invocation is the one to write what a tile has for its channel.
fn speaks(t: Tile, lane: u32) -> bool {
    return t.owns && lane < run.pass_1;
}

/// The place in [G, C] of the tile's channel.
fn channel_place(t: Tile) -> u32 {
    return t.group * run.params.channels + t.channel;
}

/// The place in [G, chunks, C] of the tile's channel in a chunk of its group.
fn chunk_place(t: Tile, chunk: u32) -> u32 {
    return (t.group * chunks_of_group() + chunk) * run.params.channels + t.channel;
}

/// Rows of a chunk of this or any group.
fn rows_of_chunk(chunk: u32) -> f32 {
    return f32(min(run.params.rows - chunk * run.pass_0, run.pass_0));
}

var<workgroup> partial: array<vec2<f32>, 256>;

/// The sums of `values` over the tile's invocations of this one's channel, known to all of them.
fn sums_of_tile(values: vec2<f32>, lane: u32) -> vec2<f32> {
    let width = run.pass_1;
    workgroupBarrier();
    partial[lane] = values;
    workgroupBarrier();
    for (var step = 128u / width; step > 0u; step /= 2u) {
        if lane < step * width {
            partial[lane] += partial[lane + step * width];
        }
        workgroupBarrier();
    }
    return partial[lane % width];
}

fn sum_of_tile(value: f32, lane: u32) -> f32 {
    return sums_of_tile(vec2<f32>(value, 0.0), lane).x;
}

@compute @workgroup_size(256)
fn norm_chunks(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let t = tile(group.y * groups.x + group.x, lane);
    let channels = run.params.channels;
    let base = t.group * run.params.rows * channels + t.channel;
    var sum = 0.0;
    for (var row = t.first; row < t.end; row += t.height) {
        sum += x[base + row * channels];
    }
    let chunk_mean = sum_of_tile(sum, lane) / rows_of_chunk(t.chunk);
    var square = 0.0;
    for (var row = t.first; row < t.end; row += t.height) {
        let d = x[base + row * channels] - chunk_mean;
        square += d * d;
    }
    let total = sum_of_tile(square, lane);
    if speaks(t, lane) {
        chunk_out[chunk_place(t, t.chunk)] = vec2<f32>(chunk_mean, total);
    }
}

/// Mean and variance of the tile's channel, from its group's chunks.
fn merged(t: Tile, lane: u32) -> vec2<f32> {
    let end = select(0u, chunks_of_group(), t.owns);
    // The mean about the first chunk's, so that a large common part takes no digits.
    var origin = 0.0;
    if t.owns { origin = chunks_of_x[chunk_place(t, 0u)].x; }
    var moved = 0.0;
    for (var chunk = lane / run.pass_1; chunk < end; chunk += t.height) {
        moved += rows_of_chunk(chunk) * (chunks_of_x[chunk_place(t, chunk)].x - origin);
    }
    let mean = origin + sum_of_tile(moved, lane) / f32(run.params.rows);
    var square = 0.0;
    for (var chunk = lane / run.pass_1; chunk < end; chunk += t.height) {
        let of_chunk = chunks_of_x[chunk_place(t, chunk)];
        let d = of_chunk.x - mean;
        square += of_chunk.y + rows_of_chunk(chunk) * d * d;
    }
    return vec2<f32>(mean, sum_of_tile(square, lane) / f32(run.params.rows));
}

/// The tile's rows of y.
fn apply(t: Tile, mean: f32, variance: f32) {
    let channels = run.params.channels;
    let base = t.group * run.params.rows * channels + t.channel;
    let scale = gamma[t.channel] / sqrt(variance + run.params.epsilon);
    let shift = beta[t.channel];
    for (var row = t.first; row < t.end; row += t.height) {
        let i = base + row * channels;
        let u = (x[i] - mean) * scale + shift;
        y[i] = select(run.params.slope * u, u, u > 0.0);
    }
}

@compute @workgroup_size(256)
fn norm(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let t = tile(group.y * groups.x + group.x, lane);
    let statistics = merged(t, lane);
    if !t.owns { return; }
    if t.chunk == 0u && speaks(t, lane) {
        mean_out[channel_place(t)] = statistics.x;
        variance_out[channel_place(t)] = statistics.y;
    }
    apply(t, statistics.x, statistics.y);
}

@compute @workgroup_size(256)
fn norm_statistics(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let t = first_tile(group.y * groups.x + group.x, lane);
    let statistics = merged(t, lane);
    if speaks(t, lane) {
        mean_found[channel_place(t)] = statistics.x;
        variance_found[channel_place(t)] = statistics.y;
    }
}

@compute @workgroup_size(256)
fn norm_apply(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let t = tile(group.y * groups.x + group.x, lane);
    if !t.owns { return; }
    apply(t, mean_given[channel_place(t)], variance_given[channel_place(t)]);
}

/// What the backward passes know of a channel: u = scale (x - mean) + shift, and s, one over the deviation.
struct Channel { mean: f32, scale: f32, shift: f32, s: f32 }

/// What the activation passes of a cotangent, at distance d from the mean.
fn passed(c: Channel, d: f32) -> f32 {
    return select(run.params.slope, 1.0, c.scale * d + c.shift > 0.0);
}

/// That of the tile, from the kernel's operands.
fn channel_given(t: Tile) -> Channel {
    let s = 1.0 / sqrt(variance[channel_place(t)] + run.params.epsilon);
    return Channel(mean[channel_place(t)], gamma[t.channel] * s, beta[t.channel], s);
}

@compute @workgroup_size(256)
fn norm_grad_chunks(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let t = tile(group.y * groups.x + group.x, lane);
    let channels = run.params.channels;
    let base = t.group * run.params.rows * channels + t.channel;
    var c: Channel;
    if t.owns { c = channel_given(t); }
    var sums = vec2<f32>();
    for (var row = t.first; row < t.end; row += t.height) {
        let i = base + row * channels;
        let d = x[i] - c.mean;
        let g = h[i] * passed(c, d);
        sums += vec2<f32>(g, g * d);
    }
    let total = sums_of_tile(sums, lane);
    if speaks(t, lane) {
        chunk_out[chunk_place(t, t.chunk)] = total;
        if t.chunk == 0u {
            channels_out[channel_place(t)] = vec4<f32>(c.mean, c.scale, c.shift, c.s);
        }
    }
}

/// The sums over the rows of the tile's group, from its chunks.
fn sums_of_group(t: Tile, lane: u32) -> vec2<f32> {
    let end = select(0u, chunks_of_group(), t.owns);
    var sums = vec2<f32>();
    for (var chunk = lane / run.pass_1; chunk < end; chunk += t.height) {
        sums += chunks_of_g[chunk_place(t, chunk)];
    }
    return sums_of_tile(sums, lane);
}

/// The gradients of gamma and beta, which the first tile of a channel makes of the chunks of all groups.
fn affine_gradients(t: Tile, lane: u32) {
    let p = run.params;
    var totals = vec2<f32>();
    let lines = select(0u, p.groups * chunks_of_group(), t.owns);
    for (var line = lane / run.pass_1; line < lines; line += t.height) {
        let s = channels[line / chunks_of_group() * p.channels + t.channel].w;
        totals += chunks_of_g[line * p.channels + t.channel] * vec2<f32>(1.0, s);
    }
    let total = sums_of_tile(totals, lane);
    if speaks(t, lane) {
        grad_beta[t.channel] = total.x;
        grad_gamma[t.channel] = total.y;
    }
}

/// The tile's rows of grad_x, from the means over rows of g and of g (x - mean).
fn gradient(t: Tile, c: Channel, means: vec2<f32>) {
    let p = run.params;
    let base = t.group * p.rows * p.channels + t.channel;
    let slope = c.s * c.s * means.y;
    for (var row = t.first; row < t.end; row += t.height) {
        let i = base + row * p.channels;
        let d = x[i] - c.mean;
        // The means are taken off first: what is left is often small.
        grad_x[i] = c.scale * ((h[i] * passed(c, d) - means.x) - slope * d);
    }
}

@compute @workgroup_size(256)
fn norm_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group.y * groups.x + group.x;
    let t = tile(number, lane);
    let means = sums_of_group(t, lane) / f32(run.params.rows);
    if number < tiles_across() { affine_gradients(t, lane); }
    if !t.owns { return; }
    let of_channel = channels[channel_place(t)];
    gradient(t, Channel(of_channel.x, of_channel.y, of_channel.z, of_channel.w), means);
}

@compute @workgroup_size(256)
fn norm_grad_sums(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group.y * groups.x + group.x;
    let t = first_tile(number, lane);
    let total = sums_of_group(t, lane);
    if speaks(t, lane) {
        sums_out[channel_place(t)] = total.x;
        sums_out[run.elements + channel_place(t)] = total.y;
    }
    if number < tiles_across() { affine_gradients(t, lane); }
}

@compute @workgroup_size(256)
fn norm_grad_apply(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let t = tile(group.y * groups.x + group.x, lane);
    if !t.owns { return; }
    let all = vec2<f32>(sums[channel_place(t)], sums[run.elements + channel_place(t)]);
    gradient(t, channel_given(t), all / f32(run.params.rows));
}

@compute @workgroup_size(256)
fn running_statistics(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 256u + lane;
    let p = running_run.params;
    if i >= p.channels { return; }
    var mean = running_mean[i];
    var variance = running_variance[i];
    for (var part = 0u; part < p.parts; part++) {
        mean = p.decay * mean + p.taken * batch_mean[part * p.channels + i];
        variance = p.decay * variance + p.taken * (p.correction * batch_variance[part * p.channels + i]);
    }
    moved_mean[i] = mean;
    moved_variance[i] = variance;
}

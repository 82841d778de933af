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
// wide and 256 / width high. Three passes each:
//   norm_chunks       mean and squared deviations of each chunk, about the chunk's own mean: nothing cancels
//   norm_statistics   an invocation a (g, c): chunks merged (Chan, Golub and LeVeque, 1983)
//   norm              y, tile by tile
//   norm_grad_chunks  sum g and sum g (x - mean) of each chunk
//   norm_grad_sums    an invocation a channel: chunks and groups added in order
//   norm_grad         grad_x, tile by tile
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

// norm_chunks: x -> chunk_mean, chunk_square: [G, chunks, C]
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(8) var<storage, read_write> chunk_mean_out: array<f32>;
@group(0) @binding(9) var<storage, read_write> chunk_square_out: array<f32>;

// norm_statistics: chunk_mean, chunk_square -> mean, variance: [G, C]
@group(0) @binding(0) var<storage, read> chunk_mean: array<f32>;
@group(0) @binding(1) var<storage, read> chunk_square: array<f32>;
@group(0) @binding(8) var<storage, read_write> mean_out: array<f32>;
@group(0) @binding(9) var<storage, read_write> variance_out: array<f32>;

// norm: x, gamma, beta, mean, variance -> y
@group(0) @binding(1) var<storage, read> gamma: array<f32>;
@group(0) @binding(2) var<storage, read> beta: array<f32>;
@group(0) @binding(3) var<storage, read> mean: array<f32>;
@group(0) @binding(4) var<storage, read> variance: array<f32>;
@group(0) @binding(8) var<storage, read_write> y: array<f32>;

// norm_grad_chunks: x, gamma, beta, mean, variance, h -> chunk sums of g and of g (x - mean): [G, chunks, C]
@group(0) @binding(5) var<storage, read> h: array<f32>;

// norm_grad_sums: the chunks' sums, variance -> grad_gamma, grad_beta: [C], moments: [G, C] of
// (s^2 1/R sum g (x - mean), 1/R sum g)
@group(0) @binding(0) var<storage, read> chunk_g: array<f32>;
@group(0) @binding(1) var<storage, read> chunk_gx: array<f32>;
@group(0) @binding(2) var<storage, read> sums_variance: array<f32>;
@group(0) @binding(8) var<storage, read_write> grad_gamma: array<f32>;
@group(0) @binding(9) var<storage, read_write> grad_beta: array<f32>;
@group(0) @binding(10) var<storage, read_write> moments_out: array<vec2<f32>>;

// norm_grad: x, gamma, beta, mean, variance, h, moments -> grad_x
@group(0) @binding(6) var<storage, read> moments: array<vec2<f32>>;
@group(0) @binding(8) var<storage, read_write> grad_x: array<f32>;

// running_statistics: running and the batch's mean and variance -> the moved ones
@group(0) @binding(0) var<storage, read> running_mean: array<f32>;
@group(0) @binding(1) var<storage, read> running_variance: array<f32>;
@group(0) @binding(2) var<storage, read> batch_mean: array<f32>;
@group(0) @binding(3) var<storage, read> batch_variance: array<f32>;
@group(0) @binding(8) var<storage, read_write> moved_mean: array<f32>;
@group(0) @binding(9) var<storage, read_write> moved_variance: array<f32>;

/// What a workgroup's tile covers for one of its invocations.
struct Tile {
    owns: bool,
    group: u32,
    /// The place of this invocation's channel in [G, chunks, C].
    chunk_place: u32,
    channel: u32,
    first: u32,
    end: u32,
    height: u32,
}

fn tile(number: u32, lane: u32) -> Tile {
    let p = run.params;
    let width = run.pass_1;
    let chunks = (p.rows + run.pass_0 - 1u) / run.pass_0;
    let tiles = (p.channels + width - 1u) / width;
    let line = number / tiles; // (group, chunk)
    let chunk = line % chunks;
    var t: Tile;
    t.channel = number % tiles * width + lane % width;
    t.group = line / chunks;
    t.owns = t.channel < p.channels && t.group < p.groups;
    t.chunk_place = line * p.channels + t.channel;
    t.first = chunk * run.pass_0 + lane / width;
    t.end = select(0u, min(p.rows, (chunk + 1u) * run.pass_0), t.owns);
    t.height = 256u / width;
    return t;
}

/// Rows of the chunk that a tile is of.
fn rows_of_chunk(t: Tile, lane: u32) -> f32 {
    return f32(t.end - (t.first - lane / run.pass_1));
}

var<workgroup> partial: array<f32, 256>;

/// The sum of `value` over the tile's invocations of this one's channel, known to all of them.
fn sum_of_tile(value: f32, lane: u32) -> f32 {
    let width = run.pass_1;
    workgroupBarrier();
    partial[lane] = value;
    workgroupBarrier();
    for (var step = 128u / width; step > 0u; step /= 2u) {
        if lane < step * width {
            partial[lane] += partial[lane + step * width];
        }
        workgroupBarrier();
    }
    return partial[lane % width];
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
    let chunk_mean = sum_of_tile(sum, lane) / rows_of_chunk(t, lane);
    var square = 0.0;
    for (var row = t.first; row < t.end; row += t.height) {
        let d = x[base + row * channels] - chunk_mean;
        square += d * d;
    }
    let total = sum_of_tile(square, lane);
    if t.owns && lane < run.pass_1 {
        chunk_mean_out[t.chunk_place] = chunk_mean;
        chunk_square_out[t.chunk_place] = total;
    }
}

@compute @workgroup_size(256)
fn norm_statistics(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 256u + lane; // (g, c)
    if i >= run.elements { return; }
    let p = run.params;
    let chunks = (p.rows + run.pass_0 - 1u) / run.pass_0;
    let first = i / p.channels * chunks * p.channels + i % p.channels;
    // The mean about the first chunk's, so that a large common part takes no digits.
    let origin = chunk_mean[first];
    var moved = 0.0;
    for (var chunk = 1u; chunk < chunks; chunk++) {
        let rows = f32(min(p.rows - chunk * run.pass_0, run.pass_0));
        moved += rows * (chunk_mean[first + chunk * p.channels] - origin);
    }
    let mean = origin + moved / f32(p.rows);
    var square = 0.0;
    for (var chunk = 0u; chunk < chunks; chunk++) {
        let rows = f32(min(p.rows - chunk * run.pass_0, run.pass_0));
        let d = chunk_mean[first + chunk * p.channels] - mean;
        square += chunk_square[first + chunk * p.channels] + rows * d * d;
    }
    mean_out[i] = mean;
    variance_out[i] = square / f32(p.rows);
}

@compute @workgroup_size(256)
fn norm(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let t = tile(group.y * groups.x + group.x, lane);
    if !t.owns { return; }
    let channels = run.params.channels;
    let base = t.group * run.params.rows * channels + t.channel;
    let at = t.group * channels + t.channel;
    let scale = gamma[t.channel] / sqrt(variance[at] + run.params.epsilon);
    for (var row = t.first; row < t.end; row += t.height) {
        let i = base + row * channels;
        let u = (x[i] - mean[at]) * scale + beta[t.channel];
        y[i] = select(run.params.slope * u, u, u > 0.0);
    }
}

/// What the backward passes know of a channel: u = scale (x - mean) + shift.
struct Channel { mean: f32, scale: f32, shift: f32 }

fn channel_of(t: Tile) -> Channel {
    let at = t.group * run.params.channels + t.channel;
    let scale = gamma[t.channel] / sqrt(variance[at] + run.params.epsilon);
    return Channel(mean[at], scale, beta[t.channel]);
}

/// What the activation passes of a cotangent, at distance d from the mean.
fn passed(c: Channel, d: f32) -> f32 {
    return select(run.params.slope, 1.0, c.scale * d + c.shift > 0.0);
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
    if t.owns { c = channel_of(t); }
    var sum = 0.0;
    var product = 0.0;
    for (var row = t.first; row < t.end; row += t.height) {
        let i = base + row * channels;
        let d = x[i] - c.mean;
        let g = h[i] * passed(c, d);
        sum += g;
        product += g * d;
    }
    let total = sum_of_tile(sum, lane);
    let total_product = sum_of_tile(product, lane);
    if t.owns && lane < run.pass_1 {
        chunk_mean_out[t.chunk_place] = total;
        chunk_square_out[t.chunk_place] = total_product;
    }
}

@compute @workgroup_size(256)
fn norm_grad_sums(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let channel = (group.y * groups.x + group.x) * 256u + lane;
    let p = run.params;
    if channel >= p.channels { return; }
    let chunks = (p.rows + run.pass_0 - 1u) / run.pass_0;
    var gammas = 0.0;
    var betas = 0.0;
    for (var at_group = 0u; at_group < p.groups; at_group++) {
        var sum = 0.0;
        var product = 0.0;
        for (var chunk = 0u; chunk < chunks; chunk++) {
            let i = (at_group * chunks + chunk) * p.channels + channel;
            sum += chunk_g[i];
            product += chunk_gx[i];
        }
        let i = at_group * p.channels + channel;
        let s = 1.0 / sqrt(sums_variance[i] + p.epsilon);
        gammas += product * s;
        betas += sum;
        moments_out[i] = vec2<f32>(s * s * product, sum) / f32(p.rows);
    }
    grad_gamma[channel] = gammas;
    grad_beta[channel] = betas;
}

@compute @workgroup_size(256)
fn norm_grad(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let t = tile(group.y * groups.x + group.x, lane);
    if !t.owns { return; }
    let channels = run.params.channels;
    let base = t.group * run.params.rows * channels + t.channel;
    let c = channel_of(t);
    let moment = moments[t.group * channels + t.channel];
    for (var row = t.first; row < t.end; row += t.height) {
        let i = base + row * channels;
        let d = x[i] - c.mean;
        // The means are taken off first: what is left is often small.
        grad_x[i] = c.scale * ((h[i] * passed(c, d) - moment.y) - moment.x * d);
    }
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

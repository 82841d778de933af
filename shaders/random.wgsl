// Random tensors as functions of a key and a counter that lives on the device.
//
//   key      (seed, stream): which use of randomness this is
//   counter  [step, first_sample]: which step, and which global sample axis 0 starts at
//   word(n, j) = lane j mod 4 of philox4x32(seed, [j / 4, first_sample + n, step, stream])
//     for element j of sample n: n counts along axis 0, j along the other axes flattened
//
//   uniform            y[n, j] = low + (high - low) u(word(n, j)),  u = upper 24 bits / 2^24
//   normal             y[n, j] = mean + std z,  z by Box and Muller from words 2 floor(j/2) and 2 floor(j/2) + 1
//   bernoulli          y[n, j] = u(word(n, j)) < p ? 1 : 0
//   integers           y[n, j] = floor(word(n, j) bound / 2^32)
//   advance_counter    [step, first_sample] -> [step + steps, first_sample]
//   shuffled_indices   y[i] = permutation of epoch floor(position / count) at position mod count,
//                      position = (step draws + draw) global_batch + first_sample + i
//
// One invocation owns the four elements of one Philox block; of `shuffled_indices` one element. All but `normal` are
// the same bits on every device. Cost: some 300 integer operations a block, as WGSL has no 64-bit product; one pass
// over y.
//
// For the draws run.elements counts blocks, and pass_0 says how many a sample has. pass_1 is for `uniform` the bits of
// high - low, rounded once from f64; for `bernoulli` the whole number below which a word's upper 24 bits stand for a
// uniform number below p. pass_2 is 0.

struct DrawParams { per_sample: u32, seed: vec2<u32>, stream: u32, bound: u32, a: f32, b: f32 }
struct DrawRun { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: DrawParams }

struct ShuffleParams {
    count: u32, global_batch: u32, draw: u32, draws: u32,
    seed: vec2<u32>,
    stream: u32,
}
struct ShuffleRun { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: ShuffleParams }

struct AdvanceParams { steps: u32 }
struct AdvanceRun { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: AdvanceParams }

@group(0) @binding(0) var<storage, read> counter: array<u32>;
@group(0) @binding(8) var<storage, read_write> y: array<f32>;
@group(0) @binding(8) var<storage, read_write> whole: array<u32>;
@group(0) @binding(16) var<uniform> draw_run: DrawRun;
@group(0) @binding(16) var<uniform> shuffle_run: ShuffleRun;
@group(0) @binding(16) var<uniform> advance_run: AdvanceRun;

/// Which element this invocation owns: groups beyond the limit of an axis are folded into a second one.
fn element(group: vec3<u32>, groups: vec3<u32>, lane: u32) -> u32 {
    return (group.y * groups.x + group.x) * 256u + lane;
}

/// The upper half of a 64-bit product, from products of halves: none of the sums exceeds 32 bits.
fn upper_product(a: u32, b: u32) -> u32 {
    let a_low = a & 0xffffu;
    let a_high = a >> 16u;
    let b_low = b & 0xffffu;
    let b_high = b >> 16u;
    let left = a_high * b_low + ((a_low * b_low) >> 16u);
    let right = a_low * b_high + (left & 0xffffu);
    return a_high * b_high + (left >> 16u) + (right >> 16u);
}

/// Ten rounds of Philox 4x32: four random words for one counter under one key.
fn philox4x32(seed: vec2<u32>, counter: vec4<u32>) -> vec4<u32> {
    var key = seed;
    var c = counter;
    for (var round = 0u; round < 10u; round++) {
        c = vec4<u32>(
            upper_product(0xcd9e8d57u, c.z) ^ c.y ^ key.x,
            0xcd9e8d57u * c.z,
            upper_product(0xd2511f53u, c.x) ^ c.w ^ key.y,
            0xd2511f53u * c.x,
        );
        key += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
    }
    return c;
}

/// Four neighbouring elements of one sample, or what is left of it: an invocation's share.
struct Block { first: u32, count: u32, words: vec4<u32> }

/// Block number `i`, counted within a sample and then over the samples; a sample has `pass_0` of them.
fn block_of(i: u32) -> Block {
    let p = draw_run.params;
    let sample = i / draw_run.pass_0;
    let at = i - sample * draw_run.pass_0;
    let words = philox4x32(p.seed, vec4<u32>(at, counter[1] + sample, counter[0], p.stream));
    return Block(sample * p.per_sample + 4u * at, min(p.per_sample - 4u * at, 4u), words);
}

/// A uniform number in [0, 1): the word's upper 24 bits, exact in f32.
fn uniform_of(word: u32) -> f32 {
    return f32(word >> 8u) * (1.0 / 16777216.0);
}

@compute @workgroup_size(256)
fn uniform_(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = element(group, groups, lane);
    if i >= draw_run.elements { return; }
    let range = bitcast<f32>(draw_run.pass_1);
    let block = block_of(i);
    for (var j = 0u; j < block.count; j++) {
        // A product, rounded, then a sum, rounded. A compiler may fuse the two into one rounding; exclusive-or with a 0
        // that it cannot know keeps them apart.
        let product = bitcast<u32>(range * uniform_of(block.words[j])) ^ draw_run.pass_2;
        y[block.first + j] = draw_run.params.a + bitcast<f32>(product);
    }
}

/// ln x to a unit in the last place: x = 2^n m with m in [sqrt(1/2), sqrt 2), and a polynomial in m - 1. Negative
/// numbers give NaN, 0 gives -infinity.
fn log_accurate(x: f32) -> f32 {
    // Subnormals are scaled into the range of normal numbers first.
    let small = x < 1.17549435e-38;
    let scaled = select(x, x * 16777216.0, small);
    let bits = bitcast<u32>(scaled);
    var n = i32(bits >> 23u) - 126 - select(0, 24, small);
    var m = bitcast<f32>((bits & 0x007fffffu) | 0x3f000000u);
    if m < 0.70710678 {
        m = m + m;
        n = n - 1;
    }
    return finish_log(m - 1.0, f32(n), x);
}

fn finish_log(t: f32, n: f32, x: f32) -> f32 {
    let square = t * t;
    var s = 7.0376836292e-2;
    s = fma(s, t, -1.1514610310e-1);
    s = fma(s, t, 1.1676998740e-1);
    s = fma(s, t, -1.2420140846e-1);
    s = fma(s, t, 1.4249322787e-1);
    s = fma(s, t, -1.6668057665e-1);
    s = fma(s, t, 2.0000714765e-1);
    s = fma(s, t, -2.4999993993e-1);
    s = fma(s, t, 3.3333331174e-1);
    s = s * t * square;
    s = fma(n, -2.12194440e-4, s);
    s = fma(square, -0.5, s);
    let result = fma(n, 0.693359375, t + s);
    if x == 0.0 { return bitcast<f32>(minus_infinity_bits()); }
    if !(x > 0.0) { return bitcast<f32>(nan_bits()); }
    if bitcast<u32>(x) == 0x7f800000u { return x; }
    return result;
}

// WGSL refuses constants that are no finite numbers; these are not constant to its compiler.
var<private> zero_word: u32 = 0u;
fn nan_bits() -> u32 { return zero_word + 0x7fc00000u; }
fn minus_infinity_bits() -> u32 { return zero_word + 0xff800000u; }

/// Cosine and sine of 2 pi u. The angle is reduced in quarter turns, where nothing is rounded.
fn on_circle(u: f32) -> vec2<f32> {
    let quarters = 4.0 * u;
    let n = round(quarters);
    let r = (quarters - n) * 1.57079633;
    let z = r * r;
    var s = fma(fma(-1.9515295891e-4, z, 8.3321608736e-3), z, -1.6666654611e-1);
    s = fma(s * z, r, r);
    var c = fma(fma(2.443315711809948e-5, z, -1.388731625493765e-3), z, 4.166664568298827e-2);
    c = fma(c * z, z, fma(-0.5, z, 1.0));
    let turn = u32(n) & 3u;
    let point = select(vec2<f32>(c, s), vec2<f32>(-s, c), (turn & 1u) == 1u);
    return select(point, -point, turn >= 2u);
}

@compute @workgroup_size(256)
fn normal(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = element(group, groups, lane);
    if i >= draw_run.elements { return; }
    let block = block_of(i);
    for (var j = 0u; j < block.count; j += 2u) {
        // 1 - u is exact and never 0.
        let radius = sqrt(-2.0 * log_accurate(1.0 - uniform_of(block.words[j])));
        let z = radius * on_circle(uniform_of(block.words[j + 1u]));
        let at = block.first + j;
        y[at] = draw_run.params.a + draw_run.params.b * z.x;
        if j + 1u < block.count { y[at + 1u] = draw_run.params.a + draw_run.params.b * z.y; }
    }
}

@compute @workgroup_size(256)
fn bernoulli(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = element(group, groups, lane);
    if i >= draw_run.elements { return; }
    let block = block_of(i);
    for (var j = 0u; j < block.count; j++) {
        y[block.first + j] = select(0.0, 1.0, (block.words[j] >> 8u) < draw_run.pass_1);
    }
}

@compute @workgroup_size(256)
fn integers(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = element(group, groups, lane);
    if i >= draw_run.elements { return; }
    let block = block_of(i);
    for (var j = 0u; j < block.count; j++) {
        whole[block.first + j] = upper_product(block.words[j], draw_run.params.bound);
    }
}

// Numbers of 64 bits are pairs: the lower word, then the upper one. What exceeds them is lost.

/// a b + c.
fn multiply_add(a: vec2<u32>, b: u32, c: u32) -> vec2<u32> {
    let low = a.x * b;
    let sum = low + c;
    return vec2<u32>(sum, upper_product(a.x, b) + a.y * b + select(0u, 1u, sum < low));
}

/// a / divisor, of which the lower word, and the remainder: long division, a bit at a time.
fn divide(a: vec2<u32>, divisor: u32) -> vec2<u32> {
    var remainder = a.y % divisor;
    var quotient = 0u;
    for (var bit = 32u; bit > 0u; bit--) {
        let carry = remainder >> 31u;
        remainder = (remainder << 1u) | ((a.x >> (bit - 1u)) & 1u);
        quotient <<= 1u;
        if carry == 1u || remainder >= divisor {
            remainder -= divisor;
            quotient |= 1u;
        }
    }
    return vec2<u32>(quotient, remainder);
}

/// The image of `index` under a random permutation of 0..count: a balanced Feistel network over the smallest even
/// number of bits that holds count, eight rounds of Philox, walked until the result falls below count. The walk ends:
/// it goes round a cycle that `index` itself is on.
fn permuted(index: u32, epoch: u32) -> u32 {
    let p = shuffle_run.params;
    let bits = max(32u - countLeadingZeros(p.count - 1u), 2u);
    let half = (bits + 1u) / 2u;
    let mask = (1u << half) - 1u;
    var value = index;
    loop {
        var left = value >> half;
        var right = value & mask;
        for (var round = 0u; round < 8u; round++) {
            let mixed = left ^ (philox4x32(p.seed, vec4<u32>(round, right, epoch, p.stream)).x & mask);
            left = right;
            right = mixed;
        }
        value = (left << half) | right;
        if value < p.count { break; }
    }
    return value;
}

@compute @workgroup_size(256)
fn shuffled_indices(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = element(group, groups, lane);
    if i >= shuffle_run.elements { return; }
    let p = shuffle_run.params;
    let draw = multiply_add(vec2<u32>(counter[0], 0u), p.draws, p.draw);
    let first = multiply_add(draw, p.global_batch, counter[1]);
    let at = divide(multiply_add(first, 1u, i), p.count);
    whole[i] = permuted(at.y, at.x);
}

@compute @workgroup_size(256)
fn advance_counter(@builtin(local_invocation_index) lane: u32) {
    if lane == 0u { whole[0] = counter[0] + advance_run.params.steps; }
    if lane == 1u { whole[1] = counter[1]; }
}

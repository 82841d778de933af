// Dropout: zeros at random, and what is kept enlarged so that the mean stays.
//
//   y[n, j] = keep[n, j] x[n, j] / (1 - rate)
//   keep[n, j] = u(word(n, j)) >= rate    words as in `random`: element j of sample n (axis 0) of (seed, stream, step)
//   x, y: any shape    counter: [step, first_sample]
//
// The derivative is the same dropout of the cotangent, drawn again rather than stored. One invocation owns the four
// elements of one Philox block. Cost: one multiplication an element and some 300 integer operations a block; one pass
// over x and y.
//
// run.elements counts blocks; pass_0: how many a sample has; pass_1: the whole number below which a word's upper 24
// bits stand for a uniform number below the rate; pass_2: the bits of 1 / (1 - rate), rounded once from f64.

struct DrawParams { per_sample: u32, seed: vec2<u32>, stream: u32, bound: u32, a: f32, b: f32 }
struct DrawRun { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: DrawParams }

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> counter: array<u32>;
@group(0) @binding(8) var<storage, read_write> y: array<f32>;
@group(0) @binding(16) var<uniform> draw_run: DrawRun;

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

@compute @workgroup_size(256)
fn dropout(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = element(group, groups, lane);
    if i >= draw_run.elements { return; }
    let scale = bitcast<f32>(draw_run.pass_2);
    let block = block_of(i);
    for (var j = 0u; j < block.count; j++) {
        let at = block.first + j;
        y[at] = select(x[at] * scale, 0.0, (block.words[j] >> 8u) < draw_run.pass_1);
    }
}

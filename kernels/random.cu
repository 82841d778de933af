// Random tensors as functions of a key and a counter that lives on the device: see philox.cu.
//
//   uniform            y[n, j] = low + (high - low) u(word(n, j)),  u = upper 24 bits / 2^24
//   normal             y[n, j] = mean + std z,  z by Box and Muller from words 2 floor(j/2) and 2 floor(j/2) + 1
//   bernoulli          y[n, j] = u(word(n, j)) < p ? 1 : 0
//   integers           y[n, j] = floor(word(n, j) bound / 2^32)
//   advance_counter    [step, first_sample] -> [step + steps, first_sample]
//   shuffled_indices   y[i] = permutation of epoch floor(position / count) at position mod count,
//                      position = (step draws + draw) global_batch + first_sample + i
//
// One thread owns the four elements of one Philox block; of `shuffled_indices` one element. Uniforms are a product,
// rounded, then a sum, rounded. Cost: about 100 integer operations a block.

struct ShuffleParams {
    unsigned count, global_batch, draw, draws, seed[2], stream;
};

// `range` is high - low, rounded once from the host's f64.
extern "C" __global__ void uniform(DrawParams p, unsigned len, float range, const unsigned* counter, float* y)
{
    Block block;
    if (!draw_block(p, len, counter, block)) return;
    for (unsigned i = 0; i < block.count; i++)
        y[block.first + i] = __fadd_rn(p.a, __fmul_rn(range, uniform_of(block.words.lane[i])));
}

extern "C" __global__ void normal(DrawParams p, unsigned len, const unsigned* counter, float* y)
{
    Block block;
    if (!draw_block(p, len, counter, block)) return;
#pragma unroll
    for (unsigned pair = 0; pair < 4; pair += 2) {
        // 1 - u is exact and never 0; the angle is counted in half turns, so that no multiple of pi is rounded.
        const float radius = sqrtf(-2.0f * logf(1.0f - uniform_of(block.words.lane[pair])));
        float sine, cosine;
        sincospif(2.0f * uniform_of(block.words.lane[pair + 1]), &sine, &cosine);
        if (pair < block.count) y[block.first + pair] = p.a + p.b * (radius * cosine);
        if (pair + 1 < block.count) y[block.first + pair + 1] = p.a + p.b * (radius * sine);
    }
}

// `threshold`: the whole number below which a word's upper 24 bits stand for a uniform number below p.
extern "C" __global__ void bernoulli(DrawParams p, unsigned len, unsigned threshold, const unsigned* counter, float* y)
{
    Block block;
    if (!draw_block(p, len, counter, block)) return;
    for (unsigned i = 0; i < block.count; i++)
        y[block.first + i] = block.words.lane[i] >> 8 < threshold ? 1.0f : 0.0f;
}

extern "C" __global__ void integers(DrawParams p, unsigned len, const unsigned* counter, unsigned* y)
{
    Block block;
    if (!draw_block(p, len, counter, block)) return;
    for (unsigned i = 0; i < block.count; i++)
        y[block.first + i] = unsigned((unsigned long long)block.words.lane[i] * p.bound >> 32);
}

// The image of `index` under a random permutation of 0..count: a balanced Feistel network over the smallest even number
// of bits that holds count, eight rounds of Philox, walked until the result falls below count.
__device__ inline unsigned permuted(const ShuffleParams& p, unsigned index, unsigned epoch)
{
    unsigned bits = 2;
    while (bits < 32 && (p.count - 1) >> bits) bits++;
    const unsigned half = (bits + 1) / 2;
    const unsigned long long mask = (1ull << half) - 1;
    unsigned long long value = index;
    do {
        unsigned long long left = value >> half, right = value & mask;
        for (unsigned round = 0; round < 8; round++) {
            const Words words = philox4x32(p.seed[0], p.seed[1], round, unsigned(right), epoch, p.stream);
            const unsigned long long mixed = left ^ (words.lane[0] & mask);
            left = right;
            right = mixed;
        }
        value = left << half | right;
    } while (value >= p.count);
    return unsigned(value);
}

extern "C" __global__ void shuffled_indices(ShuffleParams p, unsigned len, const unsigned* counter, unsigned* y)
{
    const unsigned i = global_thread();
    if (i >= len) return;
    const unsigned long long draw = (unsigned long long)counter[0] * p.draws + p.draw;
    const unsigned long long position = draw * p.global_batch + counter[1] + i;
    y[i] = permuted(p, unsigned(position % p.count), unsigned(position / p.count));
}

struct AdvanceParams {
    unsigned steps;
};

extern "C" __global__ void advance_counter(AdvanceParams p, const unsigned* counter, unsigned* y)
{
    if (global_thread() > 0) return;
    y[0] = counter[0] + p.steps;
    y[1] = counter[1];
}

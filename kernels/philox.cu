// Philox 4x32-10: random numbers as a pure function of a key and a counter; see crates/tensor/src/philox.rs.
//
//   key      (seed, stream): which use of randomness this is
//   counter  [2] = [step, first_sample], on the device
//   word(n, j) = lane j mod 4 of philox4x32(seed, [j / 4, first_sample + n, step, stream])
//     for element j of sample n: n counts along axis 0, j along the other axes flattened
//
// Words, integers and uniforms are the same bits on every device.

struct DrawParams {
    unsigned per_sample, seed[2], stream, bound;
    float a, b;
};

struct Words {
    unsigned lane[4];
};

__device__ inline Words philox4x32(unsigned key_0, unsigned key_1, unsigned c0, unsigned c1, unsigned c2, unsigned c3)
{
#pragma unroll
    for (int round = 0; round < 10; round++) {
        const unsigned long long product_0 = 0xD2511F53ull * c0, product_1 = 0xCD9E8D57ull * c2;
        c0 = unsigned(product_1 >> 32) ^ c1 ^ key_0;
        c1 = unsigned(product_1);
        c2 = unsigned(product_0 >> 32) ^ c3 ^ key_1;
        c3 = unsigned(product_0);
        key_0 += 0x9E3779B9u;
        key_1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}

// A uniform number in [0, 1): the word's upper 24 bits, exact in f32.
__device__ inline float uniform_of(unsigned word) { return float(word >> 8) * (1.0f / 16777216.0f); }

// Four neighbouring elements of one sample: a thread's share.
struct Block {
    unsigned first, count;  // the first element and how many
    Words words;
};

// Threads are numbered by block within a sample, then by sample. False beyond the last.
__device__ inline bool draw_block(const DrawParams& p, unsigned len, const unsigned* counter, Block& block)
{
    const unsigned blocks = (p.per_sample + 3) / 4, thread = global_thread();
    const unsigned sample = thread / blocks, j = thread % blocks;
    if (sample >= len / p.per_sample) return false;
    block.first = sample * p.per_sample + 4 * j;
    block.count = minimum(p.per_sample - 4 * j, 4);
    block.words = philox4x32(p.seed[0], p.seed[1], j, counter[1] + sample, counter[0], p.stream);
    return true;
}

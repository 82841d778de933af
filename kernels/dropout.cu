// Dropout: zeros at random, and what is kept enlarged so that the mean stays.
//
//   y[n, j] = keep[n, j] x[n, j] / (1 - rate)
//   keep[n, j] = u(word(n, j)) >= rate    words as in philox.cu, drawn again by the derivative rather than stored
//
// One thread owns the four elements of one Philox block. Cost: one multiplication an element and about 100 integer
// operations a block; one pass over x and y.

// `threshold`: the whole number below which a word's upper 24 bits stand for a uniform number below the rate.
// `scale`: 1 / (1 - rate), rounded once from the host's f64.
extern "C" __global__ void dropout(
    DrawParams p, unsigned len, unsigned threshold, float scale, const float* x, const unsigned* counter, float* y)
{
    Block block;
    if (!draw_block(p, len, counter, block)) return;
    for (unsigned i = 0; i < block.count; i++) {
        const unsigned at = block.first + i;
        y[at] = block.words.lane[i] >> 8 < threshold ? 0.0f : x[at] * scale;
    }
}

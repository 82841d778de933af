// Watching for numbers that are none.
//
//   count_non_finite   y = how many elements of x_1, .., x_n are infinite or NaN
//
// Any number of tensors, as many in a launch as its parameter block holds. A block counts a chunk of one tensor and
// writes its count; one more block adds them up. Cost: one pass over the tensors.

struct FiniteParams {
    unsigned tensors;
};

// `counts` has a number for each block.
extern "C" __global__ void count_non_finite(Lists<1, 240> lists, unsigned* counts)
{
    const unsigned t = lists.tensor(), begin = lists.begin(t), end = minimum(begin + CHUNK, lists.length[t]);
    const float* x = lists.list[0][t];
    unsigned count = 0;
    // An exponent of all ones: infinity or NaN, whatever the compiler assumes of arithmetic.
    for (unsigned at = begin + threadIdx.x; at < end; at += 256)
        count += (__float_as_uint(x[at]) & 0x7f800000u) == 0x7f800000u;
    count = block_sum(count);
    if (threadIdx.x == 0) counts[blockIdx.x] = count;
}

// One block. The count stays at the largest integer rather than begin anew.
extern "C" __global__ void count_non_finite_total(unsigned blocks, const unsigned* counts, unsigned* y)
{
    unsigned long long count = 0;
    for (unsigned at = threadIdx.x; at < blocks; at += 256) count += counts[at];
    count = block_sum(count);
    if (threadIdx.x == 0) y[0] = count < 0xffffffffull ? unsigned(count) : 0xffffffffu;
}

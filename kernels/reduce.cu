// Reductions over any axes, and picking one element of each row.
//
//   sum        y[kept] = sum over reduced of x
//   max_rows   y[r] = max over c of x[r, c], with the index of the first of equals; the first NaN wins over everything
//   pick       y[r] = x[r, index[r]]                       (0 where that is no column)
//   place      y[r, c] = (c == index[r]) ? x[r] : 0
//
// `sum` sees x as [outer, reduced, inner] and writes [outer, parts, inner]: the host takes other mixtures of axes one
// after another, and sums parts by a further pass. A row (inner = 1) belongs to a block, or to a warp if it is short; 32
// columns belong to a block, whose eight warps take rows in turn. Every sum is a fixed tree of f32.
// Cost: one addition for each input element; x is read once.

struct SumParams {
    unsigned dims[6], reduced[6];
};

struct RowsParams {
    unsigned rows, columns;
};

// Which elements of a run of `reduced` a part sums.
__device__ inline void part_of(unsigned reduced, unsigned parts, unsigned part, unsigned& begin, unsigned& end)
{
    const unsigned each = (reduced + parts - 1) / parts;
    begin = minimum(part * each, reduced);
    end = minimum(begin + each, reduced);
}

extern "C" __global__ void sum_rows(
    unsigned, unsigned reduced, unsigned, unsigned parts, const float* x, float* y)
{
    unsigned begin, end;
    part_of(reduced, parts, blockIdx.x % parts, begin, end);
    const float* row = x + blockIdx.x / parts * reduced;
    // Four sums at once: the additions of one would wait for one another.
    float sums[4] = {};
    for (unsigned at = begin + threadIdx.x; at < end; at += 4 * 256)
#pragma unroll
        for (unsigned i = 0; i < 4; i++)
            if (at + i * 256 < end) sums[i] += row[at + i * 256];
    const float total = block_sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
    if (threadIdx.x == 0) y[blockIdx.x] = total;
}

// One warp a row, and one part.
extern "C" __global__ void sum_short_rows(
    unsigned outer, unsigned reduced, unsigned, unsigned, const float* x, float* y)
{
    const unsigned row = global_thread() / 32;
    if (row >= outer) return;
    float sum = 0.0f;
    for (unsigned at = threadIdx.x % 32; at < reduced; at += 32) sum += x[row * reduced + at];
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0) y[row] = sum;
}

extern "C" __global__ void sum_columns(
    unsigned, unsigned reduced, unsigned inner, unsigned parts, const float* x, float* y)
{
    __shared__ float warps[8][32];
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const unsigned across = (inner + 31) / 32;
    const unsigned column = blockIdx.x % across * 32 + lane, rest = blockIdx.x / across;
    const unsigned part = rest % parts, outer = rest / parts;
    unsigned begin, end;
    part_of(reduced, parts, part, begin, end);
    float sum = 0.0f;
    if (column < inner)
        for (unsigned row = begin + warp; row < end; row += 8) sum += x[(outer * reduced + row) * inner + column];
    warps[warp][lane] = sum;
    __syncthreads();
    if (warp == 0 && column < inner) {
        for (unsigned other = 1; other < 8; other++) sum += warps[other][lane];
        y[(outer * parts + part) * inner + column] = sum;
    }
}

// Whether a candidate comes before the best so far: a NaN before all numbers, larger before smaller, and of equals
// (two NaN too) the one further to the left.
__device__ inline bool is_better(float value, unsigned index, float best, unsigned best_index)
{
    if (is_nan(value) || is_nan(best)) {
        if (is_nan(value) != is_nan(best)) return is_nan(value);
        return index < best_index;
    }
    return value > best || (value == best && index < best_index);
}

// One warp a row.
extern "C" __global__ void max_rows(RowsParams p, const float* x, float* y, unsigned* index)
{
    const unsigned row = global_thread() / 32, lane = threadIdx.x % 32;
    if (row >= p.rows) return;
    x += row * p.columns;
    // A lane beyond the columns begins with the first, which then wins only as itself.
    unsigned best_index = lane < p.columns ? lane : 0;
    float best = x[best_index];
    for (unsigned at = lane + 32; at < p.columns; at += 32)
        if (is_better(x[at], at, best, best_index)) {
            best = x[at];
            best_index = at;
        }
    for (unsigned distance = 16; distance > 0; distance /= 2) {
        const float other = __shfl_down_sync(0xffffffffu, best, distance);
        const unsigned other_index = __shfl_down_sync(0xffffffffu, best_index, distance);
        if (is_better(other, other_index, best, best_index)) {
            best = other;
            best_index = other_index;
        }
    }
    if (lane == 0) {
        y[row] = best;
        index[row] = best_index;
    }
}

extern "C" __global__ void pick(RowsParams p, const float* x, const unsigned* index, float* y)
{
    const unsigned row = global_thread();
    if (row >= p.rows) return;
    y[row] = index[row] < p.columns ? x[row * p.columns + index[row]] : 0.0f;
}

extern "C" __global__ void place(RowsParams p, const float* x, const unsigned* index, float* y)
{
    const unsigned at = global_thread();
    if (at >= p.rows * p.columns) return;
    const unsigned row = at / p.columns;
    y[at] = at % p.columns == index[row] ? x[row] : 0.0f;
}

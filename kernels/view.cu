// Looking at a tensor differently.
//
//   permute    y[i_0, ..] = x with its axes in another order
//   broadcast  y[i_0, ..] = x with extents of 1 repeated
//
// Both are y[i] = x[sum of i's coordinates times the steps they make in x]. One thread owns four neighbouring elements
// of y. Where x is contiguous along another axis than y, a block owns a square of the two axes and turns it in shared
// memory, so that reads and writes are both of whole lines. Cost: one pass over each operand.
// Numbers are moved as their bits, whatever their type.

struct StridedParams {
    unsigned dims[6], strides[6];
};

__device__ inline void strided(
    const StridedParams& p, unsigned len, unsigned first_axis, const unsigned* x, unsigned* y)
{
    const unsigned first = VECTOR * global_thread();
    if (first >= len) return;
    const unsigned* const strides[1] = {p.strides};
    unsigned at[4][1];
    walk_four<1>(first, len - first, first_axis, p.dims, strides, at);
#pragma unroll
    for (unsigned i = 0; i < 4; i++)
        if (i < len - first) y[first + i] = x[at[i][0]];
}

extern "C" __global__ void broadcast(
    StridedParams p, unsigned len, unsigned first_axis, const unsigned* x, unsigned* y)
{
    strided(p, len, first_axis, x, y);
}

extern "C" __global__ void permute(
    StridedParams p, unsigned len, unsigned first_axis, const unsigned* x, unsigned* y)
{
    strided(p, len, first_axis, x, y);
}

#define SQUARE 32u

// 256 threads a block; x is contiguous along `axis`, y along axis 5.
extern "C" __global__ void permute_transposed(StridedParams p, unsigned axis, const unsigned* x, unsigned* y)
{
    __shared__ unsigned square[SQUARE][SQUARE + 1];  // one more, so that a column's numbers are in different banks
    const unsigned rows = p.dims[axis], columns = p.dims[5];
    const unsigned across = (columns + SQUARE - 1) / SQUARE, down = (rows + SQUARE - 1) / SQUARE;
    unsigned rest = blockIdx.x;
    const unsigned column_0 = rest % across * SQUARE;
    rest /= across;
    const unsigned row_0 = rest % down * SQUARE;
    rest /= down;
    // What is left numbers the other axes.
    unsigned from = 0, to = 0, row_step = 0, step = columns;
    for (int other = 4; other >= 0; other--) {
        if (other == int(axis)) {
            row_step = step;
        } else {
            const unsigned at = rest % p.dims[other];
            rest /= p.dims[other];
            from += at * p.strides[other];
            to += at * step;
        }
        step *= p.dims[other];
    }
    const unsigned fast = threadIdx.x % SQUARE, slow = threadIdx.x / SQUARE;
    for (unsigned column = slow; column < SQUARE; column += 256 / SQUARE)
        if (column_0 + column < columns && row_0 + fast < rows)
            square[column][fast] = x[from + (column_0 + column) * p.strides[5] + row_0 + fast];
    __syncthreads();
    for (unsigned row = slow; row < SQUARE; row += 256 / SQUARE)
        if (row_0 + row < rows && column_0 + fast < columns)
            y[to + (row_0 + row) * row_step + column_0 + fast] = square[fast][row];
}

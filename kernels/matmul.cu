// Matrix multiplication, of either operand transposed, over batches.
//
//   y[b, m, n] = sum over k of A[b, m, k] B[b, k, n]
//   a: [B, M, K], or [B, K, M] read transposed     b: [B, K, N], or [B, N, K] read transposed     y: [B, M, N]
//
// A block owns a tile of y (see tile.cu); where the depth is split, `splits` blocks share one. Cost: 2 B M N K
// operations; each operand is read once for each row or column of tiles.
// Entry points: matmul_<tile>_<a><b>, where n is as stored and t is transposed.

struct MatmulParams {
    unsigned batch, m, n, k, transpose_a, transpose_b, batch_stride_a, batch_stride_b;
};

__device__ inline LaneMajor lane_major(const float* data, unsigned lanes, unsigned depth) { return {data, lanes, depth}; }
__device__ inline DepthMajor depth_major(const float* data, unsigned lanes, unsigned) { return {data, lanes, lanes}; }

// Blocks are numbered by tile row, then tile column, then split, then batch. `y` has room for each split.
template <int TILE, class A, class B>
__device__ inline void multiply(const MatmulParams& p, unsigned splits, A a, B b, float* y)
{
    const unsigned down = (p.m + TILE - 1) / TILE, across = (p.n + TILE - 1) / TILE;
    unsigned rest = blockIdx.x;
    const unsigned first_m = rest % down * TILE;
    rest /= down;
    const unsigned first_n = rest % across * TILE;
    rest /= across;
    const unsigned split = rest % splits, batch = rest / splits;
    a.data += batch * p.batch_stride_a * p.m * p.k;
    b.data += batch * p.batch_stride_b * p.k * p.n;
    const RowMajor output = {y + (split * p.batch + batch) * p.m * p.n, p.m, p.n, p.n};
    tile_product<TILE>(a, b, output, first_m, first_n, split_depth(p.k, splits, split));
}

extern "C" __global__ void __launch_bounds__(256, 3) matmul_64_nn(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    multiply<64>(p, splits, lane_major(a, p.m, p.k), depth_major(b, p.n, p.k), y);
}

extern "C" __global__ void __launch_bounds__(256, 3) matmul_64_nt(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    multiply<64>(p, splits, lane_major(a, p.m, p.k), lane_major(b, p.n, p.k), y);
}

extern "C" __global__ void __launch_bounds__(256, 3) matmul_64_tn(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    multiply<64>(p, splits, depth_major(a, p.m, p.k), depth_major(b, p.n, p.k), y);
}

extern "C" __global__ void __launch_bounds__(256, 3) matmul_64_tt(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    multiply<64>(p, splits, depth_major(a, p.m, p.k), lane_major(b, p.n, p.k), y);
}

extern "C" __global__ void __launch_bounds__(256, 1) matmul_128_nn(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    multiply<128>(p, splits, lane_major(a, p.m, p.k), depth_major(b, p.n, p.k), y);
}

extern "C" __global__ void __launch_bounds__(256, 1) matmul_128_nt(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    multiply<128>(p, splits, lane_major(a, p.m, p.k), lane_major(b, p.n, p.k), y);
}

extern "C" __global__ void __launch_bounds__(256, 1) matmul_128_tn(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    multiply<128>(p, splits, depth_major(a, p.m, p.k), depth_major(b, p.n, p.k), y);
}

extern "C" __global__ void __launch_bounds__(256, 1) matmul_128_tt(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    multiply<128>(p, splits, depth_major(a, p.m, p.k), lane_major(b, p.n, p.k), y);
}

extern "C" __global__ void matmul_add_splits(unsigned len, unsigned splits, const float* sums, float* y)
{
    add_splits(len, splits, sums, y);
}

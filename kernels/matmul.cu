// Matrix multiplication, of either operand transposed, over batches.
//
//   y[b, m, n] = sum over k of A[b, m, k] B[b, k, n]
//   a: [B, M, K], or [B, K, M] read transposed     b: [B, K, N], or [B, N, K] read transposed     y: [B, M, N]
//
// A block owns a tile of y (see tile.cu); where the depth is split, `splits` blocks share one. Cost: 2 B M N K
// operations; each operand is read once for each row or column of tiles.
// Entry points: matmul_<rows>x<columns>_<ab> on CUDA cores, matmul_<precision>_<rows>x<columns>_<ab> on tensor cores, where
// a and b are n as stored, or t transposed.

struct MatmulParams {
    unsigned batch, m, n, k, transpose_a, transpose_b, batch_stride_a, batch_stride_b;
};

template <class Engine>
__device__ inline LaneMajor<Engine::FOURS> lane_major(const float* data, unsigned lanes, unsigned depths)
{
    return {data, lanes, depths};
}
template <class Engine>
__device__ inline DepthMajor<Engine::FOURS> depth_major(const float* data, unsigned lanes, unsigned depths)
{
    return {data, lanes, depths, lanes};
}

// `y` has room for each split.
template <class Engine, class A, class B>
__device__ inline void multiply(const MatmulParams& p, unsigned splits, A a, B b, float* y)
{
    const Tile at(p.m, p.n, Engine::ROWS, Engine::COLUMNS, splits);
    a.data += at.group * p.batch_stride_a * p.m * p.k;
    b.data += at.group * p.batch_stride_b * p.k * p.n;
    float* const to = y + (at.split * p.batch + at.group) * p.m * p.n;
    const RowMajor output = {to, p.m, p.n, p.n};
    Engine::multiply(a, b, output, at.first_m, at.first_n, split_depth(p.k, Engine::SLICE, splits, at.split));
}

extern "C" __global__ void __launch_bounds__(256, 3) matmul_32x32_nn(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    typedef Cores<32, 32> Engine;
    multiply<Engine>(p, splits, lane_major<Engine>(a, p.m, p.k), depth_major<Engine>(b, p.n, p.k), y);
}

extern "C" __global__ void __launch_bounds__(256, 3) matmul_64x64_nn(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    typedef Cores<64, 64> Engine;
    multiply<Engine>(p, splits, lane_major<Engine>(a, p.m, p.k), depth_major<Engine>(b, p.n, p.k), y);
}

extern "C" __global__ void __launch_bounds__(256, 3) matmul_32x32_nt(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    typedef Cores<32, 32> Engine;
    multiply<Engine>(p, splits, lane_major<Engine>(a, p.m, p.k), lane_major<Engine>(b, p.n, p.k), y);
}

extern "C" __global__ void __launch_bounds__(256, 3) matmul_64x64_nt(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    typedef Cores<64, 64> Engine;
    multiply<Engine>(p, splits, lane_major<Engine>(a, p.m, p.k), lane_major<Engine>(b, p.n, p.k), y);
}

extern "C" __global__ void __launch_bounds__(256, 3) matmul_32x32_tn(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    typedef Cores<32, 32> Engine;
    multiply<Engine>(p, splits, depth_major<Engine>(a, p.m, p.k), depth_major<Engine>(b, p.n, p.k), y);
}

extern "C" __global__ void __launch_bounds__(256, 3) matmul_64x64_tn(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    typedef Cores<64, 64> Engine;
    multiply<Engine>(p, splits, depth_major<Engine>(a, p.m, p.k), depth_major<Engine>(b, p.n, p.k), y);
}

extern "C" __global__ void __launch_bounds__(256, 3) matmul_32x32_tt(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    typedef Cores<32, 32> Engine;
    multiply<Engine>(p, splits, depth_major<Engine>(a, p.m, p.k), lane_major<Engine>(b, p.n, p.k), y);
}

extern "C" __global__ void __launch_bounds__(256, 3) matmul_64x64_tt(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    typedef Cores<64, 64> Engine;
    multiply<Engine>(p, splits, depth_major<Engine>(a, p.m, p.k), lane_major<Engine>(b, p.n, p.k), y);
}

extern "C" __global__ void __launch_bounds__(256, 2) matmul_128x128_nn(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    typedef Cores<128, 128> Engine;
    multiply<Engine>(p, splits, lane_major<Engine>(a, p.m, p.k), depth_major<Engine>(b, p.n, p.k), y);
}

extern "C" __global__ void __launch_bounds__(256, 2) matmul_128x128_nt(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    typedef Cores<128, 128> Engine;
    multiply<Engine>(p, splits, lane_major<Engine>(a, p.m, p.k), lane_major<Engine>(b, p.n, p.k), y);
}

extern "C" __global__ void __launch_bounds__(256, 2) matmul_128x128_tn(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    typedef Cores<128, 128> Engine;
    multiply<Engine>(p, splits, depth_major<Engine>(a, p.m, p.k), depth_major<Engine>(b, p.n, p.k), y);
}

extern "C" __global__ void __launch_bounds__(256, 2) matmul_128x128_tt(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    typedef Cores<128, 128> Engine;
    multiply<Engine>(p, splits, depth_major<Engine>(a, p.m, p.k), lane_major<Engine>(b, p.n, p.k), y);
}

extern "C" __global__ void __launch_bounds__(128, 3) matmul_tf32_128x64_nn(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    typedef Tensors<Tf32, 2, 2> Engine;
    multiply<Engine>(p, splits, lane_major<Engine>(a, p.m, p.k), depth_major<Engine>(b, p.n, p.k), y);
}

extern "C" __global__ void __launch_bounds__(128, 3) matmul_tf32_128x64_nt(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    typedef Tensors<Tf32, 2, 2> Engine;
    multiply<Engine>(p, splits, lane_major<Engine>(a, p.m, p.k), lane_major<Engine>(b, p.n, p.k), y);
}

extern "C" __global__ void __launch_bounds__(128, 3) matmul_tf32_128x64_tn(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    typedef Tensors<Tf32, 2, 2> Engine;
    multiply<Engine>(p, splits, depth_major<Engine>(a, p.m, p.k), depth_major<Engine>(b, p.n, p.k), y);
}

extern "C" __global__ void __launch_bounds__(128, 3) matmul_tf32_128x64_tt(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    typedef Tensors<Tf32, 2, 2> Engine;
    multiply<Engine>(p, splits, depth_major<Engine>(a, p.m, p.k), lane_major<Engine>(b, p.n, p.k), y);
}

extern "C" __global__ void __launch_bounds__(256, 1) matmul_tf32_128x128_nn(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    typedef Tensors<Tf32, 2, 4> Engine;
    multiply<Engine>(p, splits, lane_major<Engine>(a, p.m, p.k), depth_major<Engine>(b, p.n, p.k), y);
}

extern "C" __global__ void __launch_bounds__(256, 1) matmul_tf32_128x128_nt(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    typedef Tensors<Tf32, 2, 4> Engine;
    multiply<Engine>(p, splits, lane_major<Engine>(a, p.m, p.k), lane_major<Engine>(b, p.n, p.k), y);
}

extern "C" __global__ void __launch_bounds__(256, 1) matmul_tf32_128x128_tn(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    typedef Tensors<Tf32, 2, 4> Engine;
    multiply<Engine>(p, splits, depth_major<Engine>(a, p.m, p.k), depth_major<Engine>(b, p.n, p.k), y);
}

extern "C" __global__ void __launch_bounds__(256, 1) matmul_tf32_128x128_tt(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    typedef Tensors<Tf32, 2, 4> Engine;
    multiply<Engine>(p, splits, depth_major<Engine>(a, p.m, p.k), lane_major<Engine>(b, p.n, p.k), y);
}

extern "C" __global__ void __launch_bounds__(128, 3) matmul_bf16_128x64_nn(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    typedef Tensors<Bf16, 2, 2> Engine;
    multiply<Engine>(p, splits, lane_major<Engine>(a, p.m, p.k), depth_major<Engine>(b, p.n, p.k), y);
}

extern "C" __global__ void __launch_bounds__(128, 3) matmul_bf16_128x64_nt(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    typedef Tensors<Bf16, 2, 2> Engine;
    multiply<Engine>(p, splits, lane_major<Engine>(a, p.m, p.k), lane_major<Engine>(b, p.n, p.k), y);
}

extern "C" __global__ void __launch_bounds__(128, 3) matmul_bf16_128x64_tn(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    typedef Tensors<Bf16, 2, 2> Engine;
    multiply<Engine>(p, splits, depth_major<Engine>(a, p.m, p.k), depth_major<Engine>(b, p.n, p.k), y);
}

extern "C" __global__ void __launch_bounds__(128, 3) matmul_bf16_128x64_tt(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    typedef Tensors<Bf16, 2, 2> Engine;
    multiply<Engine>(p, splits, depth_major<Engine>(a, p.m, p.k), lane_major<Engine>(b, p.n, p.k), y);
}

extern "C" __global__ void __launch_bounds__(256, 2) matmul_bf16_128x128_nn(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    typedef Tensors<Bf16, 2, 4> Engine;
    multiply<Engine>(p, splits, lane_major<Engine>(a, p.m, p.k), depth_major<Engine>(b, p.n, p.k), y);
}

extern "C" __global__ void __launch_bounds__(256, 2) matmul_bf16_128x128_nt(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    typedef Tensors<Bf16, 2, 4> Engine;
    multiply<Engine>(p, splits, lane_major<Engine>(a, p.m, p.k), lane_major<Engine>(b, p.n, p.k), y);
}

extern "C" __global__ void __launch_bounds__(256, 2) matmul_bf16_128x128_tn(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    typedef Tensors<Bf16, 2, 4> Engine;
    multiply<Engine>(p, splits, depth_major<Engine>(a, p.m, p.k), depth_major<Engine>(b, p.n, p.k), y);
}

extern "C" __global__ void __launch_bounds__(256, 2) matmul_bf16_128x128_tt(
    MatmulParams p, unsigned splits, const float* a, const float* b, float* y)
{
    typedef Tensors<Bf16, 2, 4> Engine;
    multiply<Engine>(p, splits, depth_major<Engine>(a, p.m, p.k), lane_major<Engine>(b, p.n, p.k), y);
}

extern "C" __global__ void matmul_add_splits(unsigned len, unsigned splits, const float* sums, float* y)
{
    add_splits(len, splits, sums, y);
}

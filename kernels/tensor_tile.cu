// The product by tiles of tile.cu on tensor cores, from sm_80 on by mma.sync: operands have fewer bits, and products are
// summed in f32.
//
//   tf32   10 bits after the point: the rest is not looked at
//   bf16    7 bits after the point: the nearest, of two the even one
//
//   A[m, k] B[k, n] for 16 rows, 8 columns and 8 words of k by one instruction of a warp; a word is one tf32 number or
//   two bf16 numbers of neighbouring k
//
// A warp owns 64 x 32 of y: 64 sums a thread. WARPS_M x WARPS_N warps are a block. Slices are 16 depths of f32 numbers in
// shared memory, which become words when a thread takes them from there.
//
// Any order of k serves if A and B share it, and any order of rows and columns if the result is written accordingly.
// They are chosen so that a thread reads sixteen bytes of shared memory at once, eight threads together without two
// meeting in a bank. With g = lane / 4 and t = lane % 4 of a thread in its warp:
//
//   depths  4t .. 4t + 3 of a slice: of tf32 the instruction's k = t and t + 4, twice; of bf16 its words t and t + 4
//   rows    4g + i + 32 half, i < 4, half < 2: rows g and g + 8 of the instruction, for pairs of i
//   columns 4g + j, j < 4, as B is read; 8t + 0..7 as y is written

#if defined(__CUDACC_RTC__)
// d += A B of a warp; without tensor cores of sm_80 nothing calls it.
__device__ inline void multiply_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2])
{
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

__device__ inline void multiply_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2])
{
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// The nearest bf16 of two numbers, of two the even one; the first in the low half.
__device__ inline unsigned to_bf16(float low, float high)
{
    unsigned word = 0;
#if __CUDA_ARCH__ >= 800
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
#endif
    return word;
}
#endif

// A slice for tensor cores, 16 deep, where four neighbours in memory stay neighbours. Along depths it is stored lane by
// lane; the rows of 32 lanes are turned so that the two lanes that eight threads copy, and the two that they read, are of
// different parity. Along lanes it is stored depth by depth, depth d at row d % 4 * 4 + d / 4, fours turned by the row.
template <int LANES, bool ALONG>
struct TensorPlace {
    static const bool NEIGHBOURS = true, ALONG_DEPTH = ALONG;
    static const unsigned NUMBERS = LANES * 16;
    static __device__ unsigned of(unsigned lane, unsigned depth)
    {
        if (ALONG) {
            const unsigned i = lane % 4, g = lane / 4 % 8;
            return (lane / 32 * 32 + i * 8 + g / 2 * 2 + (g + i) % 2) * 16 + depth;
        }
        const unsigned row = depth % 4 * 4 + depth / 4;
        return row * LANES + ((lane / 4) ^ (row % 4 * 2)) * 4 + lane % 4;
    }
};

// What one precision makes of four depths, and how it multiplies them. `left` are two rows, `right` is a column.
struct Tf32 {
    static const unsigned WORDS = 4;
    // What depths d and d + 1 of a lane become.
    static __device__ void pair(float one, float two, unsigned d, unsigned (&words)[WORDS])
    {
        words[d] = __float_as_uint(one);
        words[d + 1] = __float_as_uint(two);
    }
    static __device__ void multiply(
        float (&d)[4], const unsigned (&low)[WORDS], const unsigned (&high)[WORDS], const unsigned (&right)[WORDS])
    {
#pragma unroll
        for (unsigned i = 0; i < 4; i += 2) {
            const unsigned a[4] = {low[i], high[i], low[i + 1], high[i + 1]}, b[2] = {right[i], right[i + 1]};
            multiply_tf32(d, a, b);
        }
    }
};

struct Bf16 {
    static const unsigned WORDS = 2;
    static __device__ void pair(float one, float two, unsigned d, unsigned (&words)[WORDS])
    {
        words[d / 2] = to_bf16(one, two);
    }
    static __device__ void multiply(
        float (&d)[4], const unsigned (&low)[WORDS], const unsigned (&high)[WORDS], const unsigned (&right)[WORDS])
    {
        const unsigned a[4] = {low[0], high[0], low[1], high[1]}, b[2] = {right[0], right[1]};
        multiply_bf16(d, a, b);
    }
};

// Four depths of each of four lanes for this thread, of 32 lanes from `first` on, as words.
template <class Kind, class Place>
__device__ inline void load_words(const float* slice, unsigned first, unsigned (&words)[4][Kind::WORDS])
{
    const unsigned lane = first + threadIdx.x % 32 / 4 * 4, depth = threadIdx.x % 4 * 4;
    if (Place::ALONG_DEPTH) {
#pragma unroll
        for (unsigned i = 0; i < 4; i++) {
            float four[4];
            load_four(slice + Place::of(lane + i, depth), 4, four);
            Kind::pair(four[0], four[1], 0, words[i]);
            Kind::pair(four[2], four[3], 2, words[i]);
        }
    } else {
        // Two depths at a time, which are a word or two.
#pragma unroll
        for (unsigned d = 0; d < 4; d += 2) {
            float one[4], two[4];
            load_four(slice + Place::of(lane, depth + d), 4, one);
            load_four(slice + Place::of(lane, depth + d + 1), 4, two);
#pragma unroll
            for (unsigned i = 0; i < 4; i++) Kind::pair(one[i], two[i], d, words[i]);
        }
    }
}

// As `tile_product`, for a tile of 64 WARPS_M x 32 WARPS_N.
template <class Kind, int WARPS_M, int WARPS_N, class A, class B, class Output>
__device__ inline void tensor_product(
    const A& a, const B& b, const Output& y, unsigned first_m, unsigned first_n, Range range)
{
    const int ROWS = 64 * WARPS_M, COLUMNS = 32 * WARPS_N, THREADS = 32 * WARPS_M * WARPS_N;
    typedef TensorPlace<ROWS, A::ALONG_DEPTH> PlaceA;
    typedef TensorPlace<COLUMNS, B::ALONG_DEPTH> PlaceB;
    float* const ring = dynamic_shared;  // of STAGES * 16 * (ROWS + COLUMNS) numbers
    const unsigned warp = threadIdx.x / 32, row = warp % WARPS_M * 64, column = warp / WARPS_M * 32;
    float sums[2][2][4][4] = {};  // half, pair of rows, column, place in the instruction's result
    const auto multiply = [&](const float* slice_a, const float* slice_b, unsigned part) {
        if (part) return;  // all at once
        unsigned right[4][Kind::WORDS];
        load_words<Kind, PlaceB>(slice_b, column, right);
#pragma unroll
        for (unsigned half = 0; half < 2; half++) {
            unsigned left[4][Kind::WORDS];
            load_words<Kind, PlaceA>(slice_a, row + 32 * half, left);
#pragma unroll
            for (unsigned pair = 0; pair < 2; pair++)
#pragma unroll
                for (unsigned j = 0; j < 4; j++)
                    Kind::multiply(sums[half][pair][j], left[2 * pair], left[2 * pair + 1], right[j]);
        }
    };
    stream_copies<Carrier<ROWS, 16, THREADS, A>, Carrier<COLUMNS, 16, THREADS, B>, PlaceA, PlaceB>(
        a, b, first_m, first_n, range, 16, ring, multiply);
    const unsigned g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
    for (unsigned half = 0; half < 2; half++)
#pragma unroll
        for (unsigned i = 0; i < 4; i++)
#pragma unroll
            for (unsigned side = 0; side < 2; side++) {
                float four[4];
#pragma unroll
                for (unsigned j = 0; j < 4; j++) four[j] = sums[half][i / 2][j][2 * (i % 2) + side];
                y.write(first_m + row + 32 * half + 4 * g + i, first_n + column + 8 * t + 4 * side, four);
            }
}

// Multiplies on tensor cores.
template <class Kind, int WARPS_M, int WARPS_N>
struct Tensors {
    static const bool FOURS = true;
    static const unsigned ROWS = 64 * WARPS_M, COLUMNS = 32 * WARPS_N, SLICE = 16;
    template <class A, class B, class Output>
    static __device__ void multiply(const A& a, const B& b, const Output& y, unsigned m, unsigned n, Range range)
    {
        tensor_product<Kind, WARPS_M, WARPS_N>(a, b, y, m, n, range);
    }
};

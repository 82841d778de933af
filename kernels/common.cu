// What all families share: names for integers, a thread's number, coordinates, and sums over a block.
//
// Prepended to each family's text, so that no kernel needs a header. Every launch is one-dimensional.

// The number of this thread among all of the launch.
__device__ inline unsigned global_thread() { return blockIdx.x * blockDim.x + threadIdx.x; }

__device__ inline unsigned minimum(unsigned a, unsigned b) { return a < b ? a : b; }

__device__ inline bool is_nan(float x) { return x != x; }

// Elements that one thread of a flat kernel owns: 16 bytes. Buffers begin at multiples of 256 bytes.
#define VECTOR 4u

// The first `count` of four neighbouring elements.
__device__ inline void load_four(const float* from, unsigned count, float (&x)[4])
{
    if (count >= 4) {
        const float4 all = *reinterpret_cast<const float4*>(from);
        x[0] = all.x;
        x[1] = all.y;
        x[2] = all.z;
        x[3] = all.w;
    } else {
#pragma unroll
        for (unsigned i = 0; i < 4; i++) x[i] = i < count ? from[i] : 0.0f;
    }
}

__device__ inline void store_four(float* to, unsigned count, const float (&x)[4])
{
    if (count >= 4) {
        *reinterpret_cast<float4*>(to) = make_float4(x[0], x[1], x[2], x[3]);
    } else {
#pragma unroll
        for (unsigned i = 0; i < 4; i++)
            if (i < count) to[i] = x[i];
    }
}

// Where the element of number `index` stands: how far each of `STRIDES` operands has walked. Axes before `first` have
// extent 1.
template <int STRIDES>
__device__ inline void walk(
    unsigned index, unsigned first, const unsigned (&dims)[6], const unsigned* const (&strides)[STRIDES],
    unsigned (&offsets)[STRIDES])
{
#pragma unroll
    for (int operand = 0; operand < STRIDES; operand++) offsets[operand] = 0;
    for (unsigned axis = 5; axis > first; axis--) {
        const unsigned at = index % dims[axis];
        index /= dims[axis];
#pragma unroll
        for (int operand = 0; operand < STRIDES; operand++) offsets[operand] += at * strides[operand][axis];
    }
#pragma unroll
    for (int operand = 0; operand < STRIDES; operand++) offsets[operand] += index * strides[operand][first];
}

// As `walk`, for the first `count` of four neighbouring elements. Where rows are whole fours, one walk serves all.
template <int STRIDES>
__device__ inline void walk_four(
    unsigned index, unsigned count, unsigned first, const unsigned (&dims)[6],
    const unsigned* const (&strides)[STRIDES], unsigned (&offsets)[4][STRIDES])
{
    walk(index, first, dims, strides, offsets[0]);
#pragma unroll
    for (unsigned i = 1; i < 4; i++) {
        if (dims[5] % 4 == 0) {
#pragma unroll
            for (int operand = 0; operand < STRIDES; operand++)
                offsets[i][operand] = offsets[0][operand] + i * strides[operand][5];
        } else {
            walk(i < count ? index + i : index, first, dims, strides, offsets[i]);
        }
    }
}

// The sum over a warp, in a fixed tree; lane 0 has it.
template <class Number>
__device__ inline Number warp_sum(Number sum)
{
    for (unsigned distance = 16; distance > 0; distance /= 2) sum += __shfl_down_sync(0xffffffffu, sum, distance);
    return sum;
}

// The sum over a block of 256 threads, in a fixed tree; thread 0 has it.
template <class Number>
__device__ inline Number block_sum(Number sum)
{
    __shared__ Number warps[8];
    sum = warp_sum(sum);
    __syncthreads();  // an earlier sum may still be read
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x < 32) sum = warp_sum(threadIdx.x < 8 ? warps[threadIdx.x] : Number(0));
    return sum;
}

// A product of two operands by tiles, for matrices and for whatever can be read like one.
//
//   y[m, n] = sum over depth d of A[m, d] B[d, n]
//
// A block of 256 threads owns a square tile of y, 64 or 128 wide, and each thread a part of 4 x 4 or 8 x 8 of it in
// registers. Operands come in slices of 16 depths through shared memory, two slices in turn: while one is multiplied,
// the next is on its way from memory to registers. Each number read from memory serves 64 or 128 multiplications.
// Where few tiles would leave most of the machine idle, the depth is split over several blocks, each of which writes
// its sums to a workspace; a second kernel adds those in order. Sums are in f32; every order depends on shapes alone.
//
// An operand is seen as lanes (rows of A, columns of B) by depth. It says along which of the two its memory runs, so
// that neighbouring threads read neighbouring addresses, four numbers at a time:
//
//   Operand::ALONG_DEPTH         whether four neighbours in memory are four depths of one lane, or four lanes
//   place(lane)                  what is worth finding once for a lane, or for four lanes from this one
//   read(place, depth, end, x)   four numbers from this depth on; zero beyond the lanes or from `end` on

#define DEPTH 16u
#define TILE_THREADS 256u

// Which part of the depth this block multiplies: whole slices, shared evenly.
struct Range {
    unsigned begin, end;
};

__device__ inline Range split_depth(unsigned depth, unsigned splits, unsigned split)
{
    const unsigned slices = (depth + DEPTH - 1) / DEPTH, each = (slices + splits - 1) / splits;
    const unsigned begin = minimum(split * each, slices), end = minimum(begin + each, slices);
    return {begin * DEPTH, minimum(end * DEPTH, depth)};
}

// Four numbers for each of the chunks that a thread carries from memory to a slice.
template <int TILE, class Operand>
struct Carrier {
    static const unsigned CHUNKS = TILE * DEPTH / 4 / TILE_THREADS;
    typename Operand::Place places[CHUNKS];
    float values[CHUNKS][4];

    static __device__ unsigned lane(unsigned chunk)
    {
        const unsigned number = chunk * TILE_THREADS + threadIdx.x;
        return Operand::ALONG_DEPTH ? number / (DEPTH / 4) : number % (TILE / 4) * 4;
    }

    static __device__ unsigned depth(unsigned chunk)
    {
        const unsigned number = chunk * TILE_THREADS + threadIdx.x;
        return Operand::ALONG_DEPTH ? number % (DEPTH / 4) * 4 : number / (TILE / 4);
    }

    __device__ void begin(const Operand& operand, unsigned first_lane)
    {
#pragma unroll
        for (unsigned chunk = 0; chunk < CHUNKS; chunk++) places[chunk] = operand.place(first_lane + lane(chunk));
    }

    __device__ void fetch(const Operand& operand, unsigned first_depth, unsigned end)
    {
#pragma unroll
        for (unsigned chunk = 0; chunk < CHUNKS; chunk++)
            operand.read(places[chunk], first_depth + depth(chunk), end, values[chunk]);
    }

    __device__ void put(float (&slice)[DEPTH][TILE + 4]) const
    {
#pragma unroll
        for (unsigned chunk = 0; chunk < CHUNKS; chunk++) {
            const unsigned at = lane(chunk), d = depth(chunk);
            if (Operand::ALONG_DEPTH) {
#pragma unroll
                for (unsigned i = 0; i < 4; i++) slice[d + i][at] = values[chunk][i];
            } else {
                store_four(&slice[d][at], 4, values[chunk]);
            }
        }
    }
};

// `Output` has write(m, n, x): four numbers of row m from column n on; it drops those outside.
template <int TILE, class A, class B, class Output>
__device__ inline void tile_product(
    const A& a, const B& b, const Output& y, unsigned first_m, unsigned first_n, Range range)
{
    const unsigned GROUPS = TILE / 64;  // a thread's part is GROUPS x GROUPS squares of 4 x 4, 64 apart
    __shared__ __align__(16) float slice_a[2][DEPTH][TILE + 4];
    __shared__ __align__(16) float slice_b[2][DEPTH][TILE + 4];
    const unsigned row = threadIdx.x / 16 * 4, column = threadIdx.x % 16 * 4;
    float sums[4 * GROUPS][4 * GROUPS] = {};
    Carrier<TILE, A> carry_a;
    Carrier<TILE, B> carry_b;
    carry_a.begin(a, first_m);
    carry_b.begin(b, first_n);
    if (range.begin < range.end) {
        carry_a.fetch(a, range.begin, range.end);
        carry_b.fetch(b, range.begin, range.end);
        carry_a.put(slice_a[0]);
        carry_b.put(slice_b[0]);
    }
    __syncthreads();
    unsigned now = 0;
    for (unsigned depth = range.begin; depth < range.end; depth += DEPTH) {
        const bool more = depth + DEPTH < range.end;
        if (more) {
            carry_a.fetch(a, depth + DEPTH, range.end);
            carry_b.fetch(b, depth + DEPTH, range.end);
        }
#pragma unroll 8
        for (unsigned d = 0; d < DEPTH; d++) {
            float left[GROUPS][4], right[GROUPS][4];
#pragma unroll
            for (unsigned group = 0; group < GROUPS; group++) {
                load_four(&slice_a[now][d][64 * group + row], 4, left[group]);
                load_four(&slice_b[now][d][64 * group + column], 4, right[group]);
            }
#pragma unroll
            for (unsigned i = 0; i < 4 * GROUPS; i++)
#pragma unroll
                for (unsigned j = 0; j < 4 * GROUPS; j++) sums[i][j] += left[i / 4][i % 4] * right[j / 4][j % 4];
        }
        if (more) {
            carry_a.put(slice_a[1 - now]);
            carry_b.put(slice_b[1 - now]);
        }
        __syncthreads();
        now = 1 - now;
    }
#pragma unroll
    for (unsigned i = 0; i < 4 * GROUPS; i++)
#pragma unroll
        for (unsigned group = 0; group < GROUPS; group++) {
            float four[4];
#pragma unroll
            for (unsigned j = 0; j < 4; j++) four[j] = sums[i][4 * group + j];
            y.write(first_m + 64 * (i / 4) + row + i % 4, first_n + 64 * group + column, four);
        }
}

// How many of four lanes (or depths) from `first` on are below `end`.
__device__ inline unsigned within(unsigned first, unsigned end) { return first < end ? minimum(end - first, 4) : 0; }

// A matrix stored lane by lane: lane l's depths begin at l * depth.
struct LaneMajor {
    static const bool ALONG_DEPTH = true;
    const float* data;
    unsigned lanes, depth;
    typedef const float* Place;

    __device__ Place place(unsigned lane) const { return lane < lanes ? data + lane * depth : nullptr; }
    __device__ void read(Place at, unsigned first, unsigned end, float (&x)[4]) const
    {
        const unsigned count = at ? within(first, end) : 0;
        // Sixteen bytes at once only where every lane begins at a multiple of them.
        if (count == 4 && depth % 4 == 0) {
            load_four(at + first, 4, x);
        } else {
#pragma unroll
            for (unsigned i = 0; i < 4; i++) x[i] = i < count ? at[first + i] : 0.0f;
        }
    }
};

// A matrix stored depth by depth: depth d's lanes begin at d * step.
struct DepthMajor {
    static const bool ALONG_DEPTH = false;
    const float* data;
    unsigned lanes, step;
    typedef unsigned Place;

    __device__ Place place(unsigned lane) const { return lane; }
    __device__ void read(Place lane, unsigned depth, unsigned end, float (&x)[4]) const
    {
        const unsigned count = depth < end ? within(lane, lanes) : 0;
        const float* from = data + depth * step + lane;
        if (count == 4 && step % 4 == 0 && (reinterpret_cast<unsigned long long>(data) & 15) == 0) {
            load_four(from, 4, x);
        } else {
#pragma unroll
            for (unsigned i = 0; i < 4; i++) x[i] = i < count ? from[i] : 0.0f;
        }
    }
};

// Writes y: row by row, `step` apart.
struct RowMajor {
    float* data;
    unsigned rows, columns, step;

    __device__ void write(unsigned row, unsigned column, const float (&x)[4]) const
    {
        const unsigned count = row < rows ? within(column, columns) : 0;
        float* to = data + row * step + column;
        if (count == 4 && step % 4 == 0 && (reinterpret_cast<unsigned long long>(data) & 15) == 0) {
            store_four(to, 4, x);
        } else {
#pragma unroll
            for (unsigned i = 0; i < 4; i++)
                if (i < count) to[i] = x[i];
        }
    }
};

// y[i] = sum over the splits of their sums, in order. One thread owns four neighbouring elements.
__device__ inline void add_splits(unsigned len, unsigned splits, const float* sums, float* y)
{
    const unsigned first = VECTOR * global_thread();
    if (first >= len) return;
    const unsigned count = minimum(VECTOR, len - first);
    float total[4] = {};
    for (unsigned split = 0; split < splits; split++)
        for (unsigned i = 0; i < count; i++) total[i] += sums[split * len + first + i];
    store_four(y + first, count, total);
}

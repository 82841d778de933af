// A product of two operands by tiles, for matrices and for whatever can be read like one.
//
//   y[m, n] = sum over depth d of A[m, d] B[d, n]
//
// A block of 256 threads owns a tile of y and each thread a part of it in registers. Operands come in slices of 8 to 32
// depths through shared memory: while one is multiplied, the next are on their way.
// Where few tiles would leave most of the machine idle, the depth is split over several blocks, each of which writes
// its sums to a workspace; a second kernel adds those in order. Sums are in f32; every order depends on shapes alone.
//
//   tile        a thread's part       for
//   128 x 128   four squares of 4 x 4     many rows and columns: each number read serves 128 multiplications
//   128 x 64    two squares               many rows and up to 64 columns
//   256 x 16    one square                up to 16 columns, such as an image's channels
//   64 x 64     one square                operands that are not in fours
//   32 x 32     one square                what is small: four teams of 64 threads share each slice's depth, so that
//                                         a tile takes a quarter of the time, and add what they have at the end
//
// An operand is seen as lanes (rows of A, columns of B) by depth. It says along which of the two its memory runs, so
// that neighbouring threads read neighbouring addresses, four numbers at a time. What it costs to find an element is
// paid once for a lane and once for a depth, and a depth is moved on from slice to slice, without a division:
//
//   Operand::ALONG_DEPTH        whether four neighbours in memory are four depths of one lane, or four lanes
//   lane(lane)                  where a lane, or four lanes from this one, stand
//   depth(at)                   where depth `at`, or four depths from it, stand
//   advance(depth)              the same one slice further
//   in_fours()                  whether four neighbours can be read at once, and are there or not all together
//   four(lane, depth, at, from) whether they are there, and where they begin
//   one(lane, depth, at, i, from)   the same of the i-th of them by itself

#define TILE_THREADS 256u

// Which part of the depth this block multiplies: whole slices, shared evenly.
struct Range {
    unsigned begin, end;
};

__device__ inline Range split_depth(unsigned depth, unsigned slice, unsigned splits, unsigned split)
{
    const unsigned slices = (depth + slice - 1) / slice, each = (slices + splits - 1) / splits;
    const unsigned begin = minimum(split * each, slices), end = minimum(begin + each, slices);
    return {begin * slice, minimum(end * slice, depth)};
}

#if defined(__CUDACC_RTC__)
// As much as a launch asks for.
extern __shared__ __align__(16) float dynamic_shared[];

// Copies from memory to shared memory that run while the thread goes on: sixteen bytes at a multiple of them, or one
// number; zeros where there is nothing. Before sm_80 they are done at once.
__device__ inline unsigned shared_address(const void* place)
{
    unsigned address;
    asm("{ .reg .u64 full; cvta.to.shared.u64 full, %1; cvt.u32.u64 %0, full; }" : "=r"(address) : "l"(place));
    return address;
}

__device__ inline void copy_four(float* to, const float* from, bool there)
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.ca.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(there ? 16 : 0));
#else
    *reinterpret_cast<float4*>(to) =
        there ? *reinterpret_cast<const float4*>(from) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#endif
}

__device__ inline void copy_one(float* to, const float* from, bool there)
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(to)), "l"(from), "r"(there ? 4 : 0));
#else
    *to = there ? *from : 0.0f;
#endif
}

// Ends a group of this thread's copies, even an empty one.
__device__ inline void end_copies()
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits for all of this thread's groups but the last `AWAY`.
template <int AWAY>
__device__ inline void wait_for_copies()
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(AWAY) : "memory");
#endif
}
#endif

// How a block's threads share the copying of a slice, LANES by SLICE, in chunks of four numbers. Threads are numbered
// along memory.
template <int LANES, int SLICE, int THREADS, class Operand>
struct Carrier {
    static const bool ALONG = Operand::ALONG_DEPTH;
    static const unsigned ALL = LANES * SLICE / 4, CHUNKS = ALL > THREADS ? ALL / THREADS : 1;
    static const unsigned NEIGHBOURS = ALONG ? SLICE / 4 : LANES / 4;  // chunks along memory
    static const unsigned ROWS = THREADS / NEIGHBOURS;                 // lanes or depths that all threads cover at once
    typename Operand::Lane lanes[ALONG ? CHUNKS : 1] = {};
    typename Operand::Depth depths[ALONG ? 1 : CHUNKS] = {};
    float values[CHUNKS][4];

    static __device__ unsigned along() { return threadIdx.x % NEIGHBOURS * 4; }
    static __device__ unsigned across(unsigned chunk) { return chunk * ROWS + threadIdx.x / NEIGHBOURS; }
    static __device__ unsigned lane(unsigned chunk) { return ALONG ? across(chunk) : along(); }
    static __device__ unsigned depth(unsigned chunk) { return ALONG ? along() : across(chunk); }

    __device__ void begin(const Operand& operand, unsigned first_lane, unsigned first_depth)
    {
#pragma unroll
        for (unsigned chunk = 0; chunk < CHUNKS; chunk++) {
            if (ALONG || chunk == 0) lanes[ALONG ? chunk : 0] = operand.lane(first_lane + lane(chunk));
            if (!ALONG || chunk == 0) depths[ALONG ? 0 : chunk] = operand.depth(first_depth + depth(chunk));
        }
    }

    // A narrow slice has fewer chunks than there are threads.
    static __device__ bool has_work() { return ALL >= THREADS || threadIdx.x < ALL; }

    __device__ void move_on(const Operand& operand)
    {
#pragma unroll
        for (unsigned chunk = 0; chunk < (ALONG ? 1 : CHUNKS); chunk++) operand.advance(depths[chunk]);
    }

    // Begins to copy the slice from this depth on to where `Place` says that (lane, depth) lies.
    template <class Place>
    __device__ void copy(const Operand& operand, unsigned first_depth, float* slice)
    {
#pragma unroll
        for (unsigned chunk = 0; chunk < CHUNKS; chunk++) {
            if (!has_work()) break;
            const typename Operand::Lane& at = lanes[ALONG ? chunk : 0];
            const typename Operand::Depth& deep = depths[ALONG ? 0 : chunk];
            const unsigned l = lane(chunk), d = depth(chunk);
            const float* from;
            if (operand.in_fours()) {
                const bool there = operand.four(at, deep, first_depth + d, from);
                copy_four(slice + Place::of(l, d), from, there);
            } else {
#pragma unroll
                for (unsigned i = 0; i < 4; i++) {
                    const bool there = operand.one(at, deep, first_depth + d, i, from);
                    copy_one(slice + Place::of(ALONG ? l : l + i, ALONG ? d + i : d), from, there);
                }
            }
        }
        move_on(operand);
    }

    // The same in two parts, through registers.
    __device__ void load(const Operand& operand, unsigned first_depth)
    {
#pragma unroll
        for (unsigned chunk = 0; chunk < CHUNKS; chunk++) {
            if (!has_work()) break;
            const typename Operand::Lane& at = lanes[ALONG ? chunk : 0];
            const typename Operand::Depth& deep = depths[ALONG ? 0 : chunk];
            const unsigned d = depth(chunk);
            const float* from;
            if (operand.in_fours()) {
                const bool there = operand.four(at, deep, first_depth + d, from);
                const float4 all = there ? *reinterpret_cast<const float4*>(from) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
                values[chunk][0] = all.x;
                values[chunk][1] = all.y;
                values[chunk][2] = all.z;
                values[chunk][3] = all.w;
            } else {
#pragma unroll
                for (unsigned i = 0; i < 4; i++)
                    values[chunk][i] = operand.one(at, deep, first_depth + d, i, from) ? *from : 0.0f;
            }
        }
        move_on(operand);
    }

    template <class Place>
    __device__ void store(float* slice) const
    {
#pragma unroll
        for (unsigned chunk = 0; chunk < CHUNKS; chunk++) {
            if (!has_work()) break;
            const unsigned l = lane(chunk), d = depth(chunk);
            if (Place::NEIGHBOURS) {
                store_four(slice + Place::of(l, d), 4, values[chunk]);
            } else {
#pragma unroll
                for (unsigned i = 0; i < 4; i++) slice[Place::of(ALONG ? l : l + i, ALONG ? d + i : d)] = values[chunk][i];
            }
        }
    }
};

// Slices of both operands on their way through shared memory, four at a time. Where neighbours in memory stay neighbours,
// three are being copied while one is multiplied; else the next is on its way through registers.
#define STAGES 4u

template <class CarryA, class CarryB, class PlaceA, class PlaceB, class A, class B, class Multiply>
__device__ inline void stream_copies(
    const A& a, const B& b, unsigned first_m, unsigned first_n, Range range, unsigned slice, float* ring, Multiply multiply)
{
    const unsigned BOTH = PlaceA::NUMBERS + PlaceB::NUMBERS;
    CarryA carry_a;
    CarryB carry_b;
    carry_a.begin(a, first_m, range.begin);
    carry_b.begin(b, first_n, range.begin);
    const unsigned slices = (range.end - range.begin + slice - 1) / slice;
    const auto place_a = [&](unsigned number) { return ring + number % STAGES * BOTH; };
    const auto place_b = [&](unsigned number) { return place_a(number) + PlaceA::NUMBERS; };
    const auto copy = [&](unsigned number) {
        if (number < slices) {
            if (PlaceA::NEIGHBOURS) carry_a.template copy<PlaceA>(a, range.begin + number * slice, place_a(number));
            if (PlaceB::NEIGHBOURS) carry_b.template copy<PlaceB>(b, range.begin + number * slice, place_b(number));
        }
        end_copies();
    };
    const auto load = [&](unsigned number) {
        if (!PlaceA::NEIGHBOURS && number < slices) carry_a.load(a, range.begin + number * slice);
        if (!PlaceB::NEIGHBOURS && number < slices) carry_b.load(b, range.begin + number * slice);
    };
    const auto store = [&](unsigned number) {
        if (!PlaceA::NEIGHBOURS && number < slices) carry_a.template store<PlaceA>(place_a(number));
        if (!PlaceB::NEIGHBOURS && number < slices) carry_b.template store<PlaceB>(place_b(number));
    };
#pragma unroll 1
    for (unsigned number = 0; number + 1 < STAGES; number++) copy(number);
    load(0);
    store(0);
#pragma unroll 1
    for (unsigned number = 0; number < slices; number++) {
        wait_for_copies<STAGES - 2>();
        // This slice is whole, and the one before has been read: its place is free.
        __syncthreads();
        copy(number + STAGES - 1);
        load(number + 1);
        multiply(place_a(number), place_b(number), 0);
        multiply(place_a(number), place_b(number), 1);
        store(number + 1);
    }
}

// The same through registers alone, two slices in turn, for threads with much to multiply. One operand at a time is on its
// way, each during half of the work, because registers are scarce.
template <class CarryA, class CarryB, class PlaceA, class PlaceB, class A, class B, class Multiply>
__device__ inline void stream_loads(
    const A& a, const B& b, unsigned first_m, unsigned first_n, Range range, unsigned slice, float* ring, Multiply multiply)
{
    const unsigned BOTH = PlaceA::NUMBERS + PlaceB::NUMBERS;
    CarryA carry_a;
    CarryB carry_b;
    carry_a.begin(a, first_m, range.begin);
    carry_b.begin(b, first_n, range.begin);
    if (range.begin < range.end) {
        carry_a.load(a, range.begin);
        carry_b.load(b, range.begin);
        carry_a.template store<PlaceA>(ring);
        carry_b.template store<PlaceB>(ring + PlaceA::NUMBERS);
    }
    __syncthreads();
    unsigned now = 0;
    for (unsigned depth = range.begin; depth < range.end; depth += slice) {
        const bool more = depth + slice < range.end;
        const float* here = ring + now * BOTH;
        float* there = ring + (1 - now) * BOTH;
        if (more) carry_a.load(a, depth + slice);
        multiply(here, here + PlaceA::NUMBERS, 0);
        if (more) {
            carry_a.template store<PlaceA>(there);
            carry_b.load(b, depth + slice);
        }
        multiply(here, here + PlaceA::NUMBERS, 1);
        if (more) carry_b.template store<PlaceB>(there + PlaceA::NUMBERS);
        __syncthreads();
        now = 1 - now;
    }
}

// A slice for CUDA cores: depth by depth, so that a thread reads four lanes at once; 4 more turn the banks.
template <int LANES, int SLICE, bool ALONG>
struct CorePlace {
    static const bool NEIGHBOURS = !ALONG;
    static const unsigned NUMBERS = SLICE * (LANES + 4);
    static __device__ unsigned of(unsigned lane, unsigned depth) { return depth * (LANES + 4) + lane; }
};

// `Output` has write(m, n, x): four numbers of row m from column n on; it drops those outside.
template <int ROWS, int COLUMNS, int SLICE, int TEAMS, class A, class B, class Output>
__device__ inline void tile_product(
    const A& a, const B& b, const Output& y, unsigned first_m, unsigned first_n, Range range)
{
    typedef CorePlace<ROWS, SLICE, A::ALONG_DEPTH> PlaceA;
    typedef CorePlace<COLUMNS, SLICE, B::ALONG_DEPTH> PlaceB;
    const unsigned TEAM = TILE_THREADS / TEAMS, EACH = SLICE / TEAMS;  // threads and depths of a team
    const unsigned ACROSS = COLUMNS < 64 ? COLUMNS / 4 : 16, DOWN = TEAM / ACROSS;  // squares side by side
    const unsigned GROUPS_M = ROWS / (4 * DOWN), GROUPS_N = COLUMNS / (4 * ACROSS);
    const unsigned PART = 16 * GROUPS_M * GROUPS_N;
    const unsigned SLICES = TEAMS > 1 ? STAGES : 2;  // in shared memory
    __shared__ __align__(16) float ring[SLICES * (PlaceA::NUMBERS + PlaceB::NUMBERS)];
    const unsigned team = threadIdx.x / TEAM, mate = threadIdx.x % TEAM;
    const unsigned row = mate / ACROSS * 4, column = mate % ACROSS * 4;
    float sums[4 * GROUPS_M][4 * GROUPS_N] = {};
    const auto multiply = [&](const float* slice_a, const float* slice_b, unsigned half) {
#pragma unroll 2
        for (unsigned deep = 0; deep < EACH / 2; deep++) {
            const unsigned d = team * EACH + half * (EACH / 2) + deep;
            float left[GROUPS_M][4], right[GROUPS_N][4];
#pragma unroll
            for (unsigned group = 0; group < GROUPS_M; group++)
                load_four(slice_a + PlaceA::of(4 * DOWN * group + row, d), 4, left[group]);
#pragma unroll
            for (unsigned group = 0; group < GROUPS_N; group++)
                load_four(slice_b + PlaceB::of(4 * ACROSS * group + column, d), 4, right[group]);
#pragma unroll
            for (unsigned i = 0; i < 4 * GROUPS_M; i++)
#pragma unroll
                for (unsigned j = 0; j < 4 * GROUPS_N; j++) sums[i][j] += left[i / 4][i % 4] * right[j / 4][j % 4];
        }
    };
    typedef Carrier<ROWS, SLICE, TILE_THREADS, A> CarryA;
    typedef Carrier<COLUMNS, SLICE, TILE_THREADS, B> CarryB;
    if (SLICES > 2)
        stream_copies<CarryA, CarryB, PlaceA, PlaceB>(a, b, first_m, first_n, range, SLICE, ring, multiply);
    else
        stream_loads<CarryA, CarryB, PlaceA, PlaceB>(a, b, first_m, first_n, range, SLICE, ring, multiply);
    if (TEAMS > 1) {
        // The first team adds what the others have, in their order.
        __syncthreads();
        if (team > 0) {
#pragma unroll
            for (unsigned i = 0; i < PART; i++)
                ring[((team - 1) * PART + i) * TEAM + mate] = sums[i / (4 * GROUPS_N)][i % (4 * GROUPS_N)];
        }
        __syncthreads();
        if (team > 0) return;
        for (unsigned other = 0; other + 1 < TEAMS; other++)
#pragma unroll
            for (unsigned i = 0; i < PART; i++)
                sums[i / (4 * GROUPS_N)][i % (4 * GROUPS_N)] += ring[(other * PART + i) * TEAM + mate];
    }
#pragma unroll
    for (unsigned i = 0; i < 4 * GROUPS_M; i++)
#pragma unroll
        for (unsigned group = 0; group < GROUPS_N; group++) {
            float four[4];
#pragma unroll
            for (unsigned j = 0; j < 4; j++) four[j] = sums[i][4 * group + j];
            y.write(first_m + 4 * DOWN * (i / 4) + row + i % 4, first_n + 4 * ACROSS * group + column, four);
        }
}

// How many of four lanes (or depths) from `first` on are below `end`.
__device__ inline unsigned within(unsigned first, unsigned end) { return first < end ? minimum(end - first, 4) : 0; }

// Whether addresses that are multiples of `step` floats from `data` may be read sixteen bytes at once.
__device__ inline bool in_four(const float* data, unsigned step)
{
    return step % 4 == 0 && (reinterpret_cast<unsigned long long>(data) & 15) == 0;
}

// A matrix stored lane by lane: lane l's depths begin at l * depths.
template <bool FOURS>  // known when compiled
struct LaneMajor {
    static const bool ALONG_DEPTH = true;
    const float* data;
    unsigned lanes, depths;
    typedef unsigned Lane;
    struct Depth {};

    __device__ Lane lane(unsigned lane) const { return lane; }
    __device__ Depth depth(unsigned) const { return {}; }
    __device__ void advance(Depth&) const {}
    __device__ bool in_fours() const { return FOURS || in_four(data, depths); }
    __device__ bool four(Lane lane, Depth, unsigned at, const float*& from) const { return one(lane, {}, at, 0, from); }
    __device__ bool one(Lane lane, Depth, unsigned at, unsigned i, const float*& from) const
    {
        from = data + lane * depths + at + i;
        return lane < lanes && at + i < depths;
    }
};

// A matrix stored depth by depth: depth d's lanes begin at d * step.
template <bool FOURS>  // known when compiled
struct DepthMajor {
    static const bool ALONG_DEPTH = false;
    const float* data;
    unsigned lanes, depths, step;
    typedef unsigned Lane;
    struct Depth {};

    __device__ Lane lane(unsigned lane) const { return lane; }
    __device__ Depth depth(unsigned) const { return {}; }
    __device__ void advance(Depth&) const {}
    __device__ bool in_fours() const { return FOURS || (in_four(data, step) && lanes % 4 == 0); }
    __device__ bool four(Lane lane, Depth, unsigned at, const float*& from) const { return one(lane, {}, at, 0, from); }
    __device__ bool one(Lane lane, Depth, unsigned at, unsigned i, const float*& from) const
    {
        from = data + at * step + lane + i;
        return lane + i < lanes && at < depths;
    }
};

// Writes y: row by row, `step` apart. Where the first is may stand in shared memory, until it is needed.
struct RowMajor {
    float* const& data;
    unsigned rows, columns, step;

    __device__ void write(unsigned row, unsigned column, const float (&x)[4]) const
    {
        const unsigned count = row < rows ? within(column, columns) : 0;
        float* to = data + row * step + column;
        if (count == 4 && in_four(data, step)) {
            store_four(to, 4, x);
        } else {
#pragma unroll
            for (unsigned i = 0; i < 4; i++)
                if (i < count) to[i] = x[i];
        }
    }
};

// y[i] = sum over the splits of their sums. A block owns 32 fours of neighbouring elements; each of its eight warps adds
// every eighth split in order, and then the first adds what the eight have.
__device__ inline void add_splits(unsigned len, unsigned splits, const float* sums, float* y)
{
    __shared__ float totals[8][32][4];
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const unsigned first = VECTOR * (blockIdx.x * 32 + lane);
    const unsigned count = first < len ? minimum(VECTOR, len - first) : 0;
    float total[4] = {};
    if (len % 4 == 0 && count) {
#pragma unroll 4
        for (unsigned split = warp; split < splits; split += 8) {
            float part[4];
            load_four(sums + split * len + first, 4, part);
#pragma unroll
            for (unsigned i = 0; i < 4; i++) total[i] += part[i];
        }
    } else {
        for (unsigned split = warp; split < splits; split += 8)
            for (unsigned i = 0; i < count; i++) total[i] += sums[split * len + first + i];
    }
#pragma unroll
    for (unsigned i = 0; i < 4; i++) totals[warp][lane][i] = total[i];
    __syncthreads();
    if (warp || !count) return;
    for (unsigned other = 1; other < 8; other++)
#pragma unroll
        for (unsigned i = 0; i < 4; i++) total[i] += totals[other][lane][i];
    store_four(y + first, count, total);
}

// Blocks are numbered by tile row, tile column, split, then group or batch.
struct Tile {
    unsigned first_m, first_n, split, group;
    __device__ Tile(unsigned m, unsigned n, unsigned rows, unsigned columns, unsigned splits)
    {
        const unsigned down = (m + rows - 1) / rows, across = (n + columns - 1) / columns;
        unsigned rest = blockIdx.x;
        first_m = rest % down * rows;
        rest /= down;
        first_n = rest % across * columns;
        rest /= across;
        split = rest % splits;
        group = rest / splits;
    }
};

// Multiplies on CUDA cores.
template <int ROWS_, int COLUMNS_>
struct Cores {
    static const bool FOURS = ROWS_ > 64;  // whether operands are known to be in fours
    static const int TEAMS = ROWS_ < 64 ? 4 : 1;
    static const unsigned ROWS = ROWS_, COLUMNS = COLUMNS_, SLICE = TEAMS > 1 ? 32 : ROWS_ * COLUMNS_ < 128 * 128 ? 16 : 8;
    template <class A, class B, class Output>
    static __device__ void multiply(const A& a, const B& b, const Output& y, unsigned m, unsigned n, Range range)
    {
        tile_product<ROWS_, COLUMNS_, SLICE, TEAMS>(a, b, y, m, n, range);
    }
};

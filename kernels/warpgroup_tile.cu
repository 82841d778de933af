// The product by tiles of tile.cu by warpgroups, for sm_90a: four warps together multiply operands in tf32 straight from
// shared memory, and go on while that happens.
//
//   A[m, k] B[k, n] for 64 rows, COLUMNS columns and 8 depths by one instruction (wgmma) of a warpgroup; both operands lie
//   lane by lane in shared memory; the sums are in registers
//
// A block is two warpgroups and owns 128 rows. Slices are 32 depths: 128 bytes a lane, in three places. While one slice is
// multiplied the next is being copied, and the one before may still be read by the other warpgroup:
//
//   copy n + 1  into the place of slice n - 2, whose products every thread waited for before the last barrier
//   multiply n  which was copied during the multiplication of n - 1
//
// The instruction reads a lane's sixteen bytes number c at place c ^ (lane % 8), so that eight lanes' do not meet in a
// bank. As tensor cores do, it does not look at the 13 lowest bits.

#if defined(__CUDACC_RTC__)
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
// What an instruction is told of an operand: its address, 1,024 bytes from eight lanes to the next eight, and the order of
// places. Addresses are in units of sixteen bytes.
__device__ inline unsigned long long describe(const float* operand)
{
    return (shared_address(operand) & 0x3ffff) >> 4 | 1ull << 16 | 64ull << 32 | 1ull << 62;
}

// d += A B: [64, COLUMNS], for 8 depths. The warps of the group hold 16 rows each; thread 4g + t of one holds rows g and
// g + 8 at columns 8j + 2t and 8j + 2t + 1 in d[4j .. 4j + 3].
template <int COLUMNS>
__device__ inline void multiply_warpgroup(float (&d)[COLUMNS / 2], unsigned long long a, unsigned long long b);

// Waits for all of this warpgroup's products.
template <int COLUMNS>
__device__ inline void wait_for_products(float (&d)[COLUMNS / 2]);

template <>
__device__ inline void multiply_warpgroup<8>(float (&d)[4], unsigned long long a, unsigned long long b)
{
    asm volatile(
        "{ .reg .pred add; setp.eq.u32 add, 0, 0; wgmma.mma_async.sync.aligned.m64n8k8.f32.tf32.tf32 {"
        "%0,%1,%2,%3"
        "}, %4, %5, add, 1, 1; }"
         : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
         : "l"(a), "l"(b)
         : "memory");
}

template <>
__device__ inline void wait_for_products<8>(float (&d)[4])
{
    asm volatile("wgmma.wait_group.sync.aligned 0;"
         : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
         :
         : "memory");
}

template <>
__device__ inline void multiply_warpgroup<64>(float (&d)[32], unsigned long long a, unsigned long long b)
{
    asm volatile(
        "{ .reg .pred add; setp.eq.u32 add, 0, 0; wgmma.mma_async.sync.aligned.m64n64k8.f32.tf32.tf32 {"
        "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
        "}, %32, %33, add, 1, 1; }"
         : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
           "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]),
           "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]),
           "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]),
           "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
         : "l"(a), "l"(b)
         : "memory");
}

template <>
__device__ inline void wait_for_products<64>(float (&d)[32])
{
    asm volatile("wgmma.wait_group.sync.aligned 0;"
         : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
           "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]),
           "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]),
           "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]),
           "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
         :
         : "memory");
}

template <>
__device__ inline void multiply_warpgroup<128>(float (&d)[64], unsigned long long a, unsigned long long b)
{
    asm volatile(
        "{ .reg .pred add; setp.eq.u32 add, 0, 0; wgmma.mma_async.sync.aligned.m64n128k8.f32.tf32.tf32 {"
        "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
        "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
        "}, %64, %65, add, 1, 1; }"
         : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
           "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]),
           "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]),
           "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]),
           "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]),
           "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]), "+f"(d[42]),
           "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), "+f"(d[48]), "+f"(d[49]),
           "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), "+f"(d[56]),
           "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
         : "l"(a), "l"(b)
         : "memory");
}

template <>
__device__ inline void wait_for_products<128>(float (&d)[64])
{
    asm volatile("wgmma.wait_group.sync.aligned 0;"
         : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
           "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]),
           "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]),
           "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]),
           "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]),
           "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]), "+f"(d[42]),
           "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), "+f"(d[48]), "+f"(d[49]),
           "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), "+f"(d[56]),
           "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
         :
         : "memory");
}

template <int COLUMNS>
__device__ inline void begin_products(float (&d)[COLUMNS / 2], const float* a, const float* b)
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
    const unsigned long long left = describe(a), right = describe(b);
#pragma unroll
    for (unsigned step = 0; step < 4; step++) multiply_warpgroup<COLUMNS>(d, left + 2 * step, right + 2 * step);
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

// Waits for all of this warpgroup's products but the last it began.
__device__ inline void wait_for_earlier_products() { asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory"); }

// What this thread copied becomes visible to the instructions of others that read shared memory by themselves.
__device__ inline void show_copies() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
#endif
#endif

#define WARPGROUP_STAGES 3u

template <int LANES>
struct WarpgroupPlace {
    static const bool NEIGHBOURS = true;
    static const unsigned NUMBERS = LANES * 32;
    // Of a multiple of four.
    static __device__ unsigned of(unsigned lane, unsigned depth) { return lane * 32 + (depth / 4 ^ lane % 8) * 4; }
};

// As `tile_product`, for a tile of 128 x COLUMNS and operands that both lie along depths.
template <int COLUMNS, class A, class B, class Output>
__device__ inline void warpgroup_product(
    const A& a, const B& b, const Output& y, unsigned first_m, unsigned first_n, Range range)
{
#if !defined(__CUDACC_RTC__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
    typedef WarpgroupPlace<128> PlaceA;
    typedef WarpgroupPlace<COLUMNS> PlaceB;
    const unsigned BOTH = PlaceA::NUMBERS + PlaceB::NUMBERS, SLICE = 32;
    // Places begin at multiples of 1,024 bytes.
    float* const ring = dynamic_shared + (1024 - shared_address(dynamic_shared) % 1024) % 1024 / 4;
    Carrier<128, 32, TILE_THREADS, A> carry_a;
    Carrier<COLUMNS, 32, TILE_THREADS, B> carry_b;
    carry_a.begin(a, first_m, range.begin);
    carry_b.begin(b, first_n, range.begin);
    const unsigned slices = (range.end - range.begin + SLICE - 1) / SLICE, group = threadIdx.x / 128;
    const auto copy = [&](unsigned number, float* place) {
        if (number < slices) {
            carry_a.template copy<PlaceA>(a, range.begin + number * SLICE, place);
            carry_b.template copy<PlaceB>(b, range.begin + number * SLICE, place + PlaceA::NUMBERS);
        }
        end_copies();
    };
    float sums[COLUMNS / 2] = {};
    copy(0, ring);
    unsigned now = 0;
#pragma unroll 1
    for (unsigned number = 0; number < slices; number++) {
        wait_for_copies<0>();
        show_copies();
        __syncthreads();
        const float* place = ring + now * BOTH;
        begin_products<COLUMNS>(sums, place + group * 64 * 32, place + PlaceA::NUMBERS);
        now = now + 1 == WARPGROUP_STAGES ? 0 : now + 1;
        copy(number + 1, ring + now * BOTH);
        wait_for_earlier_products();
    }
    wait_for_products<COLUMNS>(sums);
    // Of two threads side by side the even one takes row g, the odd one row g + 8: four columns each.
    const unsigned warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    const bool odd = t % 2;
#pragma unroll
    for (unsigned j = 0; j < COLUMNS / 8; j++) {
        const float(&d)[COLUMNS / 2] = sums;
        const float first = __shfl_xor_sync(0xffffffffu, odd ? d[4 * j] : d[4 * j + 2], 1);
        const float second = __shfl_xor_sync(0xffffffffu, odd ? d[4 * j + 1] : d[4 * j + 3], 1);
        const float four[4] = {
            odd ? first : d[4 * j], odd ? second : d[4 * j + 1], odd ? d[4 * j + 2] : first, odd ? d[4 * j + 3] : second};
        y.write(first_m + 16 * warp + g + (odd ? 8 : 0), first_n + 8 * j + 4 * (t / 2), four);
    }
#else
    __trap();  // no plan launches this elsewhere
#endif
}

// Multiplies by warpgroups.
template <int COLUMNS_>
struct Warpgroups {
    static const bool FOURS = true;
    static const unsigned ROWS = 128, COLUMNS = COLUMNS_, SLICE = 32;
    template <class A, class B, class Output>
    static __device__ void multiply(const A& a, const B& b, const Output& y, unsigned m, unsigned n, Range range)
    {
        warpgroup_product<COLUMNS_>(a, b, y, m, n, range);
    }
};

// CUDA's execution model on the processor, for tests: compiled before a family's text by the system's C++ compiler.
//
// A block runs on one thread of the system. Its threads are fibers: each runs until a barrier or a shuffle, where it
// hands over; a kernel that has neither runs as one loop on one fiber. Shared memory is thread-local and full of NaN
// when a block begins. Threads are visited forwards in some blocks and backwards in others, so that a result which
// depends on their order, as with a missing barrier, differs from one run to the next; so are blocks from launch to launch.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <link.h>
#include <sys/mman.h>
#include <type_traits>
#include <utility>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#define __device__
#define __global__
#define __shared__ static thread_local
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __launch_bounds__(...)
#define __forceinline__ inline

struct __attribute__((aligned(16))) float4 { float x, y, z, w; };
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
struct uint4 { unsigned x, y, z, w; };
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
struct Index { unsigned x, y, z; };

// Never contracted, whatever the compiler does elsewhere.
static inline float __fmul_rn(float a, float b) { volatile float product = a * b; return product; }
static inline float __fadd_rn(float a, float b) { volatile float sum = a + b; return sum; }
static inline unsigned __float_as_uint(float x) { unsigned bits; memcpy(&bits, &x, 4); return bits; }
static inline void sincospif(float x, float* sine, float* cosine)
{
    *sine = float(std::sin(M_PI * double(x)));
    *cosine = float(std::cos(M_PI * double(x)));
}

namespace host {

const unsigned MOST_THREADS = 1024;
const size_t STACK = 128 << 10;

enum State : unsigned char { NEW, READY, AT_BLOCK, AT_WARP, DONE };

// What a fiber goes on with when it is switched to.
#if defined(__x86_64__)
typedef void* Context;
extern "C" __attribute__((visibility("hidden"))) void belamy_switch(Context* from, Context to);
asm(R"(
.text
.type belamy_switch, @function
belamy_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size belamy_switch, .-belamy_switch
)");
static inline void prepare(Context& context, char* stack, void (*body)())
{
    // Six registers and the address to return to; at a function's entry the stack is 8 past a multiple of 16.
    void** top = reinterpret_cast<void**>(stack + STACK - 64);
    *top = reinterpret_cast<void*>(body);
    context = top - 6;
}
static inline void change(Context& from, Context& to) { belamy_switch(&from, to); }
#else
typedef ucontext_t Context;
static inline void prepare(Context& context, char* stack, void (*body)())
{
    getcontext(&context);
    context.uc_stack.ss_sp = stack;
    context.uc_stack.ss_size = STACK;
    context.uc_link = nullptr;
    makecontext(&context, body, 0);
}
static inline void change(Context& from, Context& to) { swapcontext(&from, &to); }
#endif

const unsigned MOST_COPIES = 96;
struct Copy {
    float* to;
    const float* from;
    unsigned count;
    bool there;
    unsigned group;
};

struct Thread {
    State state;
    int line;           // of the barrier or shuffle that it waits at
    unsigned fiber;
    unsigned parity;    // which of its two slots the next shuffle writes
    uint64_t slots[2];
    unsigned operands[2][6];  // of a product by tensor cores: its words of A, then of B
    unsigned groups_ended, copied;
    Copy copies[MOST_COPIES];  // that were begun and not waited for

    void begin()
    {
        state = NEW;
        parity = groups_ended = copied = 0;
    }
};

struct Runtime {
    Index thread, block, threads, blocks;
    void (*body)(void** arguments);
    void** arguments;
    Thread all[MOST_THREADS];
    Context scheduler;
    Context fibers[MOST_THREADS];
    char* stacks;
    unsigned fiber_count, next, done, at_block, current_fiber;
    unsigned warp_arrived[MOST_THREADS / 32];
    bool backwards;
    char problem[256];
    char* shared;       // this library's thread-local memory, runtime and shared arrays together
    size_t shared_bytes;
};
static thread_local Runtime runtime;

static inline unsigned visited(unsigned position)
{
    return runtime.backwards ? runtime.threads.x - 1 - position : position;
}

// A fiber takes threads that have not begun, one after another, until one of them waits.
static void fiber_body()
{
    for (;;) {
        if (runtime.next < runtime.threads.x) {
            const unsigned me = visited(runtime.next++);
            runtime.all[me].fiber = runtime.current_fiber;
            runtime.all[me].state = READY;
            runtime.thread = {me, 0, 0};
            runtime.body(runtime.arguments);
            runtime.all[runtime.thread.x].state = DONE;
            runtime.done++;
        } else {
            change(runtime.fibers[runtime.current_fiber], runtime.scheduler);
        }
    }
}

static void wait_as(State state, int line)
{
    const unsigned me = runtime.thread.x, fiber = runtime.all[me].fiber;
    runtime.all[me].state = state;
    runtime.all[me].line = line;
    change(runtime.fibers[fiber], runtime.scheduler);
    runtime.thread = {me, 0, 0};
}

static void barrier(int line)
{
    if (++runtime.at_block < runtime.threads.x) {
        wait_as(AT_BLOCK, line);
        return;
    }
    runtime.at_block = 0;
    for (unsigned other = 0; other < runtime.threads.x; other++) {
        Thread& thread = runtime.all[other];
        if (thread.state != AT_BLOCK) continue;
        if (thread.line != line)
            snprintf(runtime.problem, sizeof runtime.problem, "threads meet at different barriers, lines %d and %d",
                     thread.line, line);
        thread.state = READY;
    }
}

static void warp_barrier(int line)
{
    const unsigned warp = runtime.thread.x / 32;
    const unsigned lanes = runtime.threads.x - 32 * warp < 32 ? runtime.threads.x - 32 * warp : 32;
    if (++runtime.warp_arrived[warp] < lanes) {
        wait_as(AT_WARP, line);
        return;
    }
    runtime.warp_arrived[warp] = 0;
    for (unsigned other = 32 * warp; other < 32 * warp + lanes; other++)
        if (runtime.all[other].state == AT_WARP) runtime.all[other].state = READY;
}

template <class Number>
static Number shuffle(Number value, unsigned source, int line)
{
    static_assert(sizeof(Number) <= 8, "a shuffle moves at most 8 bytes");
    Thread& mine = runtime.all[runtime.thread.x];
    const unsigned slot = mine.parity;
    mine.parity ^= 1;  // whoever is slow may read this slot until everyone has met again
    memcpy(&mine.slots[slot], &value, sizeof value);
    warp_barrier(line);
    const unsigned from = runtime.thread.x / 32 * 32 + source;
    Number result = value;
    if (source < 32 && from < runtime.threads.x) memcpy(&result, &runtime.all[from].slots[slot], sizeof result);
    return result;
}

// What tensor cores do with a warp's words: d += A B, A of 16 rows and B of 8 columns by 8 words each, which `dot`
// multiplies. Thread 4g + t holds A's rows g and g + 8 at words t and t + 4, B's column g likewise, and of d rows g and
// g + 8 at columns 2t and 2t + 1.
template <class Dot>
static void tensor_multiply(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], Dot dot, int line)
{
    Thread& mine = runtime.all[runtime.thread.x];
    const unsigned slot = mine.parity;
    mine.parity ^= 1;
    memcpy(mine.operands[slot], a, sizeof a);
    memcpy(mine.operands[slot] + 4, b, sizeof b);
    warp_barrier(line);
    const Thread* warp = runtime.all + runtime.thread.x / 32 * 32;
    const unsigned g = runtime.thread.x % 32 / 4, t = runtime.thread.x % 4;
    for (unsigned part = 0; part < 4; part++) {
        const unsigned high = part / 2, column = 2 * t + part % 2;
        for (unsigned word = 0; word < 8; word++)
            d[part] += dot(warp[4 * g + word % 4].operands[slot][word / 4 * 2 + high],
                           warp[4 * column + word % 4].operands[slot][4 + word / 4]);
    }
}

static void copy_later(float* to, const float* from, unsigned count, bool there)
{
    Thread& mine = runtime.all[runtime.thread.x];
    if (mine.copied == MOST_COPIES) {
        snprintf(runtime.problem, sizeof runtime.problem, "more than %u copies are under way", MOST_COPIES);
        return;
    }
    mine.copies[mine.copied++] = {to, from, count, there, mine.groups_ended};
}

// Does the copies of all groups that have ended but the last `away`.
static void copy_now(unsigned away)
{
    Thread& mine = runtime.all[runtime.thread.x];
    unsigned left = 0;
    for (unsigned index = 0; index < mine.copied; index++) {
        const Copy copy = mine.copies[index];
        if (copy.group + away >= mine.groups_ended) {
            mine.copies[left++] = copy;
        } else {
            for (unsigned i = 0; i < copy.count; i++) copy.to[i] = copy.there ? copy.from[i] : 0.0f;
        }
    }
    mine.copied = left;
}

static float of_bits(unsigned bits) { float x; memcpy(&x, &bits, 4); return x; }

static int find_shared(dl_phdr_info* info, size_t, void*)
{
    const char* here = reinterpret_cast<const char*>(&runtime);
    for (int header = 0; header < info->dlpi_phnum; header++) {
        if (info->dlpi_phdr[header].p_type != PT_TLS || !info->dlpi_tls_data) continue;
        char* start = static_cast<char*>(info->dlpi_tls_data);
        const size_t bytes = info->dlpi_phdr[header].p_memsz;
        if (here < start || here >= start + bytes) continue;
        runtime.shared = start;
        runtime.shared_bytes = bytes;
        return 1;
    }
    return 0;
}

// NaN, or the largest integer, in all shared memory.
static void poison_shared()
{
    if (!runtime.shared) dl_iterate_phdr(find_shared, nullptr);
    if (!runtime.shared) return;
    char* mine = reinterpret_cast<char*>(&runtime);
    char* end = runtime.shared + runtime.shared_bytes;
    memset(runtime.shared, 0xff, size_t(mine - runtime.shared));
    memset(mine + sizeof runtime, 0xff, size_t(end - (mine + sizeof runtime)));
}

static void run_block()
{
    for (unsigned index = 0; index < runtime.threads.x; index++) runtime.all[index].begin();
    memset(runtime.warp_arrived, 0, sizeof runtime.warp_arrived);
    runtime.next = runtime.done = runtime.at_block = 0;
    unsigned used = 0;
    while (runtime.done < runtime.threads.x && !runtime.problem[0]) {
        bool moved = false;
        while (runtime.next < runtime.threads.x) {
            // A thread waits on the fiber before: the rest need another.
            if (used == runtime.fiber_count) {
                prepare(runtime.fibers[used], runtime.stacks + used * STACK, fiber_body);
                runtime.fiber_count++;
            }
            runtime.current_fiber = used++;
            change(runtime.scheduler, runtime.fibers[runtime.current_fiber]);
            moved = true;
        }
        for (unsigned position = 0; position < runtime.threads.x; position++) {
            Thread& thread = runtime.all[visited(position)];
            if (thread.state != READY) continue;
            runtime.current_fiber = thread.fiber;
            change(runtime.scheduler, runtime.fibers[thread.fiber]);
            moved = true;
        }
        if (!moved) {
            int line = 0;
            for (unsigned index = 0; index < runtime.threads.x; index++)
                if (runtime.all[index].state != DONE) line = runtime.all[index].line;
            snprintf(runtime.problem, sizeof runtime.problem,
                     "%u of %u threads have ended, and the others wait for them at line %d", runtime.done,
                     runtime.threads.x, line);
        }
    }
}

static int launch(void (*body)(void**), void** arguments, unsigned blocks, unsigned threads, unsigned seed, char* message)
{
    if (threads > MOST_THREADS) {
        snprintf(message, 256, "a block of %u threads", threads);
        return 1;
    }
    if (!runtime.stacks) {
        void* stacks = mmap(nullptr, MOST_THREADS * STACK, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (stacks == MAP_FAILED) {
            snprintf(message, 256, "no memory for fibers");
            return 1;
        }
        runtime.stacks = static_cast<char*>(stacks);
    }
    runtime.body = body;
    runtime.arguments = arguments;
    runtime.threads = {threads, 1, 1};
    runtime.blocks = {blocks, 1, 1};
    runtime.problem[0] = 0;
    for (unsigned number = 0; number < blocks; number++) {
        // The last first in every other launch: no block may count on another.
        const unsigned block = seed & 1 ? blocks - 1 - number : number;
        runtime.block = {block, 0, 0};
        runtime.backwards = ((block + seed) * 2654435761u >> 16) & 1;
        poison_shared();
        run_block();
        if (runtime.problem[0]) {
            memcpy(message, runtime.problem, sizeof runtime.problem);
            runtime.fiber_count = 0;  // fibers that never ended are abandoned where they stand
            return 1;
        }
    }
    return 0;
}

template <class... Arguments, size_t... Indices>
static void call(void (*kernel)(Arguments...), void** arguments, std::index_sequence<Indices...>)
{
    kernel(*static_cast<std::remove_const_t<Arguments>*>(arguments[Indices])...);
}

template <class... Arguments>
static void call(void (*kernel)(Arguments...), void** arguments)
{
    call(kernel, arguments, std::index_sequence_for<Arguments...>());
}

template <class... Arguments>
constexpr unsigned count(void (*)(Arguments...)) { return sizeof...(Arguments); }

}  // namespace host

static inline void multiply_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2])
{
    // The low 13 bits are not looked at.
    const auto dot = [](unsigned x, unsigned y) { return host::of_bits(x & ~0x1fffu) * host::of_bits(y & ~0x1fffu); };
    host::tensor_multiply(d, a, b, dot, __LINE__);
}
static inline void multiply_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2])
{
    const auto dot = [](unsigned x, unsigned y) {
        return host::of_bits(x << 16) * host::of_bits(y << 16) + host::of_bits(x & 0xffff0000u) * host::of_bits(y & 0xffff0000u);
    };
    host::tensor_multiply(d, a, b, dot, __LINE__);
}
static inline unsigned to_bf16(float low, float high)
{
    const auto round = [](float x) {
        const unsigned bits = __float_as_uint(x);
        return x != x ? 0x7fffu : (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
    };
    return round(low) | round(high) << 16;
}

static thread_local __attribute__((aligned(16), unused)) float dynamic_shared[25088];  // the most that a plan asks for

// What the four warps of a group multiply from shared memory, as soon as it is begun: d += A B for 32 depths. Lane by
// lane, 128 bytes each, of which the hardware looks for the sixteen of number c at place c ^ (lane % 8).
template <int COLUMNS>
static void begin_products(float (&d)[COLUMNS / 2], const float* a, const float* b)
{
    const unsigned thread = host::runtime.thread.x % 128, g = thread % 32 / 4, t = thread % 4;
    const auto at = [](const float* operand, unsigned lane, unsigned depth) {
        const float x = operand[lane * 32 + ((depth / 4) ^ (lane & 7)) * 4 + depth % 4];
        return host::of_bits(__float_as_uint(x) & ~0x1fffu);
    };
    for (unsigned part = 0; part < COLUMNS / 2; part++) {
        const unsigned row = thread / 32 * 16 + g + part / 2 % 2 * 8, column = part / 4 * 8 + 2 * t + part % 2;
        for (unsigned depth = 0; depth < 32; depth++) d[part] += at(a, row, depth) * at(b, column, depth);
    }
}
template <int COLUMNS>
static void wait_for_products(float (&)[COLUMNS / 2]) {}
static inline void wait_for_earlier_products() {}
static inline void show_copies() {}
static inline size_t shared_address(const void* place) { return reinterpret_cast<size_t>(place); }

// Copies wait until somebody waits for them, as they may on a GPU.
static inline void copy_four(float* to, const float* from, bool there) { host::copy_later(to, from, 4, there); }
static inline void copy_one(float* to, const float* from, bool there) { host::copy_later(to, from, 1, there); }
static inline void end_copies() { host::runtime.all[host::runtime.thread.x].groups_ended++; }
template <int AWAY>
static inline void wait_for_copies() { host::copy_now(AWAY); }

#define threadIdx (host::runtime.thread)
#define blockIdx (host::runtime.block)
#define blockDim (host::runtime.threads)
#define gridDim (host::runtime.blocks)
#define __syncthreads() host::barrier(__LINE__)
#define __shfl_sync(mask, value, source) host::shuffle(value, (source) % 32, __LINE__)
#define __shfl_down_sync(mask, value, distance) host::shuffle(value, host::runtime.thread.x % 32 + (distance), __LINE__)
#define __shfl_xor_sync(mask, value, lanes) host::shuffle(value, (host::runtime.thread.x % 32) ^ (lanes), __LINE__)

// A function that a test can launch, and how many arguments it takes.
#define BELAMY_ENTRY(name)                                                                                     \
    static void name##_with(void** arguments) { host::call(name, arguments); }                                 \
    extern "C" unsigned launch_##name(                                                                         \
        void** arguments, unsigned given, unsigned blocks, unsigned threads, unsigned seed, char* message)     \
    {                                                                                                          \
        if (given != host::count(name)) {                                                                      \
            snprintf(message, 256, "takes %u arguments and was given %u", host::count(name), given);           \
            return 1;                                                                                          \
        }                                                                                                      \
        return host::launch(name##_with, arguments, blocks, threads, seed, message);                           \
    }

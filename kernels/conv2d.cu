// Convolution: one trilinear form with three slots, each a product by tiles whose operands are read where they lie.
//
//   T(x, w, g) = sum of x[n, ih, iw, ic] w[o, kh, kw, c] g[n, oh, ow, o]
//     with ih = oh stride_height - padding_top  + kh dilation_height     (terms outside the image are 0)
//          iw = ow stride_width  - padding_left + kw dilation_width
//          ic = (o / (O/groups)) (C/groups) + c
//
//   conv2d             y[n, oh, ow, o]  = T with g open
//   conv2d_grad_input  x[n, ih, iw, ic] = T with x open     = the forward pass of a transposed convolution
//   conv2d_grad_weight w[o, kh, kw, c]  = T with w open
//
//   x: [N, H, W, C]    w: [O, KH, KW, C/groups]    y, g: [N, OH, OW, O]
//
// A block owns a tile of the open slot of one group (see tile.cu). As products of rows by depth by columns:
//
//   conv2d              output pixels x (kh, kw, c)          x o      the image under the taps is read in place
//   conv2d_grad_input   pixels of one phase x (taps, o)      x c      see below
//   conv2d_grad_weight  o x (n, oh, ow)                      x (kh, kw, c)
//
// Phases: image rows that are equal modulo the stride are met by the same taps kh, those with
// (ih + padding_top - kh dilation) mod stride = 0, and by no others. Each of stride_height stride_width phases is
// multiplied on its own with its own taps, so that nothing is multiplied by the zeros between strided outputs.
//
// Where a group's channels are a multiple of four, images are read four channels of a pixel at once; else each number by
// itself, and a division is paid for it. Tiles of 128 rows and more are for fours alone.
//
// Cost of each: 2 N OH OW O KH KW C/groups operations.
// Entry points: <kernel>_<rows>x<columns> on CUDA cores (tile.cu), <kernel>_<precision>_<rows>x<columns> on tensor cores
// (tensor_tile.cu), <kernel>_warpgroups_<rows>x<columns> by warpgroups (warpgroup_tile.cu).

struct Conv2dParams {
    unsigned batch, in_height, in_width, in_channels;
    unsigned out_height, out_width, out_channels;
    unsigned kernel_height, kernel_width, stride_height, stride_width;
    unsigned padding_top, padding_left, dilation_height, dilation_width, groups;
};

// The row of a lane that is none: no tap's offset brings it into an image.
#define NO_ROW 0x80000000u

// The image as the taps of output pixels see it: lane = (n, oh, ow), depth = (kh, kw, c).
template <bool FOURS>  // known when compiled
struct UnderTaps {
    static const bool ALONG_DEPTH = true;
    const float* const& x;  // at the group's first channel
    const Conv2dParams& p;
    unsigned channels, depths, slice;
    bool fours;

    struct Lane {
        unsigned pixel, row, column;  // under the first tap; above and left of the image they wrap to something huge
    };
    struct Depth {
        unsigned channel, row, column;  // of a tap's offset from the first
    };

    __device__ Lane lane(unsigned lane) const
    {
        const unsigned ow = lane % p.out_width, rest = lane / p.out_width;
        const unsigned oh = rest % p.out_height, n = rest / p.out_height;
        const unsigned row = oh * p.stride_height - p.padding_top, column = ow * p.stride_width - p.padding_left;
        return {(n * p.in_height + row) * p.in_width + column, n < p.batch ? row : NO_ROW, column};
    }
    __device__ Depth depth(unsigned depth) const
    {
        const unsigned tap = depth / channels;
        return {depth % channels, tap / p.kernel_width * p.dilation_height, tap % p.kernel_width * p.dilation_width};
    }
    __device__ void advance(Depth& at) const
    {
        if (!in_fours()) return;
        at.channel += slice;
        while (at.channel >= channels) {
            at.channel -= channels;
            at.column += p.dilation_width;
            if (at.column == p.kernel_width * p.dilation_width) {
                at.column = 0;
                at.row += p.dilation_height;
            }
        }
    }
    __device__ bool in_fours() const { return FOURS || fours; }
    __device__ bool four(const Lane& lane, const Depth& deep, unsigned at, const float*& from) const
    {
        from = x + ((lane.pixel + deep.row * p.in_width + deep.column) * p.in_channels + deep.channel);
        return at < depths && lane.row + deep.row < p.in_height && lane.column + deep.column < p.in_width;
    }
    __device__ bool one(const Lane& lane, const Depth&, unsigned at, unsigned i, const float*& from) const
    {
        return four(lane, depth(at + i), at + i, from);
    }
};

template <class Engine>
__device__ inline void convolve(const Conv2dParams& p, unsigned splits, const float* x, const float* w, float* y)
{
    const unsigned pixels = p.batch * p.out_height * p.out_width;
    const unsigned in_group = p.in_channels / p.groups, out_group = p.out_channels / p.groups;
    const unsigned depth = p.kernel_height * p.kernel_width * in_group;
    const Tile at(pixels, out_group, Engine::ROWS, Engine::COLUMNS, splits);
    // Addresses that are needed now and then: not for registers.
    __shared__ const float* from;
    __shared__ float* to;
    if (threadIdx.x == 0) {
        from = x + at.group * in_group;
        to = y + at.split * pixels * p.out_channels + at.group * out_group;
    }
    __syncthreads();
    const UnderTaps<Engine::FOURS> a = {from, p, in_group, depth, Engine::SLICE, in_group % 4 == 0};
    const LaneMajor<Engine::FOURS> b = {w + at.group * out_group * depth, out_group, depth};
    const RowMajor output = {to, pixels, out_group, p.out_channels};
    Engine::multiply(a, b, output, at.first_m, at.first_n, split_depth(depth, Engine::SLICE, splits, at.split));
}

extern "C" __global__ void __launch_bounds__(256, 3) conv2d_32x32(
    Conv2dParams p, unsigned splits, const float* x, const float* w, float* y)
{
    convolve<Cores<32, 32>>(p, splits, x, w, y);
}

extern "C" __global__ void __launch_bounds__(256, 3) conv2d_64x64(
    Conv2dParams p, unsigned splits, const float* x, const float* w, float* y)
{
    convolve<Cores<64, 64>>(p, splits, x, w, y);
}

extern "C" __global__ void __launch_bounds__(256, 2) conv2d_128x128(
    Conv2dParams p, unsigned splits, const float* x, const float* w, float* y)
{
    convolve<Cores<128, 128>>(p, splits, x, w, y);
}

extern "C" __global__ void __launch_bounds__(256, 1) conv2d_tf32_128x128(
    Conv2dParams p, unsigned splits, const float* x, const float* w, float* y)
{
    convolve<Tensors<Tf32, 2, 4>>(p, splits, x, w, y);
}

extern "C" __global__ void __launch_bounds__(128, 3) conv2d_tf32_128x64(
    Conv2dParams p, unsigned splits, const float* x, const float* w, float* y)
{
    convolve<Tensors<Tf32, 2, 2>>(p, splits, x, w, y);
}

extern "C" __global__ void __launch_bounds__(256, 2) conv2d_bf16_128x128(
    Conv2dParams p, unsigned splits, const float* x, const float* w, float* y)
{
    convolve<Tensors<Bf16, 2, 4>>(p, splits, x, w, y);
}

extern "C" __global__ void __launch_bounds__(128, 3) conv2d_bf16_128x64(
    Conv2dParams p, unsigned splits, const float* x, const float* w, float* y)
{
    convolve<Tensors<Bf16, 2, 2>>(p, splits, x, w, y);
}

extern "C" __global__ void __launch_bounds__(256, 2) conv2d_warpgroups_128x64(
    Conv2dParams p, unsigned splits, const float* x, const float* w, float* y)
{
    convolve<Warpgroups<64>>(p, splits, x, w, y);
}

extern "C" __global__ void __launch_bounds__(256, 2) conv2d_warpgroups_128x128(
    Conv2dParams p, unsigned splits, const float* x, const float* w, float* y)
{
    convolve<Warpgroups<128>>(p, splits, x, w, y);
}

extern "C" __global__ void conv2d_add_splits(unsigned len, unsigned splits, const float* sums, float* y)
{
    add_splits(len, splits, sums, y);
}

// One direction of a phase: which image rows are in it, and which taps meet them.
struct Phase {
    unsigned first, count;        // rows first, first + stride, ..
    unsigned tap, tap_step, taps;  // taps tap, tap + tap_step, ..
    unsigned out;                 // the output under `tap` of row `first`; may wrap
    unsigned out_step;            // by how much each further tap goes back
};

__device__ inline Phase phase_of(
    unsigned residue, unsigned image, unsigned kernel, unsigned stride, unsigned padding, unsigned dilation)
{
    Phase phase;
    // The first row whose distance from the first tap's is `residue` modulo the stride.
    phase.first = (residue + stride - padding % stride) % stride;
    phase.count = phase.first < image ? (image - phase.first + stride - 1) / stride : 0;
    unsigned divisor = stride, other = dilation;
    while (other) {
        const unsigned remainder = divisor % other;
        divisor = other;
        other = remainder;
    }
    phase.tap_step = stride / divisor;
    phase.out_step = dilation / divisor;
    unsigned tap = 0;
    while (tap < phase.tap_step && tap * dilation % stride != residue) tap++;
    phase.tap = tap;
    phase.taps = tap < phase.tap_step && tap < kernel ? (kernel - tap + phase.tap_step - 1) / phase.tap_step : 0;
    // Kept from being negative, before it is divided, by as many steps as taps.
    const unsigned back = phase.out_step * phase.taps;
    phase.out = phase.taps ? (phase.first + padding + back * stride - tap * dilation) / stride - back : 0;
    return phase;
}

// Cotangents that meet a phase's pixels: lane = (n, row, column of the phase), depth = (tap of height, of width, o).
template <bool FOURS>  // known when compiled
struct OverPixels {
    static const bool ALONG_DEPTH = true;
    const float* const& g;  // at the group's first channel
    const Conv2dParams& p;
    const Phase& height;
    const Phase& width;
    unsigned channels, depths, slice;
    bool fours;

    struct Lane {
        unsigned pixel, row, column;  // of the output under the first tap
    };
    struct Depth {
        unsigned channel, row, column;  // how far a tap goes back
    };

    __device__ Lane lane(unsigned lane) const
    {
        const unsigned across = lane % width.count, rest = lane / width.count;
        const unsigned down = rest % height.count, n = rest / height.count;
        const unsigned row = height.out + down, column = width.out + across;
        return {(n * p.out_height + row) * p.out_width + column, n < p.batch ? row : NO_ROW, column};
    }
    __device__ Depth depth(unsigned depth) const
    {
        if (depth >= depths) return {0, 0, 0};  // a phase may have no taps
        const unsigned tap = depth / channels;
        return {depth % channels, tap / width.taps * height.out_step, tap % width.taps * width.out_step};
    }
    __device__ void advance(Depth& at) const
    {
        if (!in_fours()) return;
        at.channel += slice;
        while (at.channel >= channels) {
            at.channel -= channels;
            at.column += width.out_step;
            if (at.column == width.taps * width.out_step) {
                at.column = 0;
                at.row += height.out_step;
            }
        }
    }
    __device__ bool in_fours() const { return FOURS || fours; }
    __device__ bool four(const Lane& lane, const Depth& deep, unsigned at, const float*& from) const
    {
        from = g + ((lane.pixel - deep.row * p.out_width - deep.column) * p.out_channels + deep.channel);
        return at < depths && lane.row - deep.row < p.out_height && lane.column - deep.column < p.out_width;
    }
    __device__ bool one(const Lane& lane, const Depth&, unsigned at, unsigned i, const float*& from) const
    {
        return four(lane, depth(at + i), at + i, from);
    }
};

// The weights of a phase's taps: lane = c, depth = (tap of height, of width, o).
template <bool FOURS>  // known when compiled
struct PhaseWeights {
    static const bool ALONG_DEPTH = false;
    const float* const& w;  // at the group's first output channel
    const Conv2dParams& p;
    const Phase& height;
    const Phase& width;
    unsigned in_group, out_group, depths, slice;

    typedef unsigned Lane;
    struct Depth {
        unsigned o, tap;  // kh in the high half of the tap, kw in the low one
    };

    __device__ Lane lane(unsigned c) const { return c; }
    __device__ Depth depth(unsigned depth) const
    {
        if (depth >= depths) return {0, 0};
        const unsigned tap = depth / out_group;
        const unsigned kh = height.tap + tap / width.taps * height.tap_step;
        return {depth % out_group, kh << 16 | (width.tap + tap % width.taps * width.tap_step)};
    }
    __device__ void advance(Depth& at) const
    {
        at.o += slice;
        while (at.o >= out_group) {
            at.o -= out_group;
            at.tap += width.tap_step;
            if ((at.tap & 0xffff) >= p.kernel_width) at.tap = ((at.tap >> 16) + height.tap_step) << 16 | width.tap;
        }
    }
    __device__ bool in_fours() const { return FOURS || in_four(w, in_group); }
    __device__ bool four(Lane lane, const Depth& deep, unsigned at, const float*& from) const { return one(lane, deep, at, 0, from); }
    __device__ bool one(Lane lane, const Depth& deep, unsigned at, unsigned i, const float*& from) const
    {
        from = w + (((deep.o * p.kernel_height + (deep.tap >> 16)) * p.kernel_width + (deep.tap & 0xffff)) * in_group + lane + i);
        return at < depths && lane + i < in_group;
    }
};

// The same of weights that were turned to [C, KH, KW, O]: memory runs along depths.
struct TurnedWeights {
    static const bool ALONG_DEPTH = true;
    const float* w;
    const Conv2dParams& p;
    const Phase& height;
    const Phase& width;
    unsigned depths, slice;

    typedef unsigned Lane;
    struct Depth {
        unsigned o, kh, kw;
    };

    __device__ Lane lane(unsigned c) const { return c; }
    __device__ Depth depth(unsigned depth) const
    {
        if (depth >= depths) return {0, 0, 0};
        const unsigned tap = depth / p.out_channels;
        return {depth % p.out_channels, height.tap + tap / width.taps * height.tap_step,
                width.tap + tap % width.taps * width.tap_step};
    }
    __device__ void advance(Depth& at) const
    {
        at.o += slice;
        while (at.o >= p.out_channels) {
            at.o -= p.out_channels;
            at.kw += width.tap_step;
            if (at.kw >= p.kernel_width) {
                at.kw = width.tap;
                at.kh += height.tap_step;
            }
        }
    }
    __device__ bool in_fours() const { return true; }
    __device__ bool four(Lane c, const Depth& deep, unsigned at, const float*& from) const { return one(c, deep, at, 0, from); }
    __device__ bool one(Lane c, const Depth& deep, unsigned at, unsigned i, const float*& from) const
    {
        from = w + (((c * p.kernel_height + deep.kh) * p.kernel_width + deep.kw) * p.out_channels + deep.o + i);
        return at < depths && c < p.in_channels;
    }
};

// turned: [C, KH, KW, O] from w: [O, KH, KW, C]. A block owns 32 x 32 of o and c of a tap.
extern "C" __global__ void conv2d_grad_input_turn(Conv2dParams p, const float* w, float* turned)
{
    __shared__ float square[32][33];
    const unsigned taps = p.kernel_height * p.kernel_width, down = (p.out_channels + 31) / 32;
    const unsigned tap = blockIdx.x % taps, first_o = blockIdx.x / taps % down * 32, first_c = blockIdx.x / taps / down * 32;
    const unsigned column = threadIdx.x % 32;
    for (unsigned row = threadIdx.x / 32; row < 32; row += 8)
        if (first_o + row < p.out_channels && first_c + column < p.in_channels)
            square[row][column] = w[((first_o + row) * taps + tap) * p.in_channels + first_c + column];
    __syncthreads();
    for (unsigned row = threadIdx.x / 32; row < 32; row += 8)
        if (first_c + row < p.in_channels && first_o + column < p.out_channels)
            turned[((first_c + row) * taps + tap) * p.out_channels + first_o + column] = square[column][row];
}

// Writes the pixels of a phase, which lie a stride apart.
struct PhasePixels {
    float* const& x;  // at the group's first channel
    const Conv2dParams& p;
    const Phase& height;
    const Phase& width;
    unsigned channels;

    __device__ void write(unsigned lane, unsigned c, const float (&value)[4]) const
    {
        const unsigned across = lane % width.count, rest = lane / width.count;
        const unsigned down = rest % height.count, n = rest / height.count;
        const unsigned count = n < p.batch ? within(c, channels) : 0;
        if (!count) return;
        const unsigned ih = height.first + down * p.stride_height, iw = width.first + across * p.stride_width;
        float* to = x + ((n * p.in_height + ih) * p.in_width + iw) * p.in_channels + c;
        if (count == 4 && in_four(x, p.in_channels)) {
            store_four(to, 4, value);
        } else {
#pragma unroll
            for (unsigned i = 0; i < 4; i++)
                if (i < count) to[i] = value[i];
        }
    }
};

struct Weights {
    const float* const& w;  // at the group's first output channel
    const Conv2dParams& p;
    const Phase& height;
    const Phase& width;
    unsigned depth;
};

template <class Engine, class A, class Output>
__device__ inline void multiply_phase(Engine, const A& a, const Output& output, unsigned m, unsigned n, Range range, Weights of)
{
    const unsigned in_group = of.p.in_channels / of.p.groups, out_group = of.p.out_channels / of.p.groups;
    // An image's own channels need not be in fours.
    const PhaseWeights<Engine::FOURS && Engine::COLUMNS >= 64> b = {
        of.w, of.p, of.height, of.width, in_group, out_group, of.depth, Engine::SLICE};
    Engine::multiply(a, b, output, m, n, range);
}

template <int COLUMNS, class A, class Output>
__device__ inline void multiply_phase(
    Warpgroups<COLUMNS>, const A& a, const Output& output, unsigned m, unsigned n, Range range, Weights of)
{
    const TurnedWeights b = {of.w, of.p, of.height, of.width, of.depth, 32};
    Warpgroups<COLUMNS>::multiply(a, b, output, m, n, range);
}

// Blocks are numbered by tile row, tile column, phase, split, group; `down` is the tile rows of the largest phase.
template <class Engine>
__device__ inline void convolve_back(
    const Conv2dParams& p, unsigned down, unsigned splits, const float* g, const float* w, float* x)
{
    const unsigned in_group = p.in_channels / p.groups, out_group = p.out_channels / p.groups;
    const unsigned across = (in_group + Engine::COLUMNS - 1) / Engine::COLUMNS;
    unsigned rest = blockIdx.x;
    const unsigned first_m = rest % down * Engine::ROWS;
    rest /= down;
    const unsigned first_n = rest % across * Engine::COLUMNS;
    rest /= across;
    const unsigned residue_w = rest % p.stride_width;
    rest /= p.stride_width;
    const unsigned residue_h = rest % p.stride_height;
    rest /= p.stride_height;
    const unsigned split = rest % splits, group = rest / splits;
    // What every thread looks at now and then: not for registers.
    __shared__ Phase phases[2];
    __shared__ float* to;
    __shared__ const float *from, *weights;
    if (threadIdx.x == 0) {
        from = g + group * out_group;
        weights = w + group * out_group * p.kernel_height * p.kernel_width * in_group;
        to = x + split * (p.batch * p.in_height * p.in_width * p.in_channels) + group * in_group;
        phases[0] = phase_of(residue_h, p.in_height, p.kernel_height, p.stride_height, p.padding_top, p.dilation_height);
        phases[1] = phase_of(residue_w, p.in_width, p.kernel_width, p.stride_width, p.padding_left, p.dilation_width);
    }
    __syncthreads();
    const Phase &height = phases[0], &width = phases[1];
    // A smaller phase than the largest has fewer tiles, or no pixel at all.
    if (first_m >= p.batch * height.count * width.count) return;
    const unsigned depth = height.taps * width.taps * out_group;
    const OverPixels<Engine::FOURS> a = {from, p, height, width, out_group, depth, Engine::SLICE, out_group % 4 == 0};
    const PhasePixels output = {to, p, height, width, in_group};
    const Range range = split_depth(depth, Engine::SLICE, splits, split);
    multiply_phase(Engine(), a, output, first_m, first_n, range, Weights{weights, p, height, width, depth});
}

extern "C" __global__ void __launch_bounds__(256, 3) conv2d_grad_input_32x32(
    Conv2dParams p, unsigned down, unsigned splits, const float* g, const float* w, float* x)
{
    convolve_back<Cores<32, 32>>(p, down, splits, g, w, x);
}

extern "C" __global__ void __launch_bounds__(256, 3) conv2d_grad_input_64x64(
    Conv2dParams p, unsigned down, unsigned splits, const float* g, const float* w, float* x)
{
    convolve_back<Cores<64, 64>>(p, down, splits, g, w, x);
}

extern "C" __global__ void __launch_bounds__(256, 2) conv2d_grad_input_128x64(
    Conv2dParams p, unsigned down, unsigned splits, const float* g, const float* w, float* x)
{
    convolve_back<Cores<128, 64>>(p, down, splits, g, w, x);
}

extern "C" __global__ void __launch_bounds__(256, 2) conv2d_grad_input_128x128(
    Conv2dParams p, unsigned down, unsigned splits, const float* g, const float* w, float* x)
{
    convolve_back<Cores<128, 128>>(p, down, splits, g, w, x);
}

extern "C" __global__ void __launch_bounds__(256, 2) conv2d_grad_input_256x16(
    Conv2dParams p, unsigned down, unsigned splits, const float* g, const float* w, float* x)
{
    convolve_back<Cores<256, 16>>(p, down, splits, g, w, x);
}

extern "C" __global__ void __launch_bounds__(256, 1) conv2d_grad_input_tf32_128x128(
    Conv2dParams p, unsigned down, unsigned splits, const float* g, const float* w, float* x)
{
    convolve_back<Tensors<Tf32, 2, 4>>(p, down, splits, g, w, x);
}

extern "C" __global__ void __launch_bounds__(128, 2) conv2d_grad_input_tf32_128x64(
    Conv2dParams p, unsigned down, unsigned splits, const float* g, const float* w, float* x)
{
    convolve_back<Tensors<Tf32, 2, 2>>(p, down, splits, g, w, x);
}

extern "C" __global__ void __launch_bounds__(128, 2) conv2d_grad_input_tf32_256x32(
    Conv2dParams p, unsigned down, unsigned splits, const float* g, const float* w, float* x)
{
    convolve_back<Tensors<Tf32, 4, 1>>(p, down, splits, g, w, x);
}

extern "C" __global__ void __launch_bounds__(256, 2) conv2d_grad_input_bf16_128x128(
    Conv2dParams p, unsigned down, unsigned splits, const float* g, const float* w, float* x)
{
    convolve_back<Tensors<Bf16, 2, 4>>(p, down, splits, g, w, x);
}

extern "C" __global__ void __launch_bounds__(128, 3) conv2d_grad_input_bf16_128x64(
    Conv2dParams p, unsigned down, unsigned splits, const float* g, const float* w, float* x)
{
    convolve_back<Tensors<Bf16, 2, 2>>(p, down, splits, g, w, x);
}

extern "C" __global__ void __launch_bounds__(128, 2) conv2d_grad_input_bf16_256x32(
    Conv2dParams p, unsigned down, unsigned splits, const float* g, const float* w, float* x)
{
    convolve_back<Tensors<Bf16, 4, 1>>(p, down, splits, g, w, x);
}

extern "C" __global__ void __launch_bounds__(256, 2) conv2d_grad_input_warpgroups_128x8(
    Conv2dParams p, unsigned down, unsigned splits, const float* g, const float* w, float* x)
{
    convolve_back<Warpgroups<8>>(p, down, splits, g, w, x);
}

extern "C" __global__ void __launch_bounds__(256, 2) conv2d_grad_input_warpgroups_128x64(
    Conv2dParams p, unsigned down, unsigned splits, const float* g, const float* w, float* x)
{
    convolve_back<Warpgroups<64>>(p, down, splits, g, w, x);
}

extern "C" __global__ void __launch_bounds__(256, 2) conv2d_grad_input_warpgroups_128x128(
    Conv2dParams p, unsigned down, unsigned splits, const float* g, const float* w, float* x)
{
    convolve_back<Warpgroups<128>>(p, down, splits, g, w, x);
}

// The image under each tap, pixel by pixel: lane = (kh, kw, c), depth = (n, oh, ow).
template <bool FOURS>  // known when compiled
struct TapsByPixel {
    static const bool ALONG_DEPTH = false;
    const float* x;  // at the group's first channel
    const Conv2dParams& p;
    unsigned channels;  // of a group
    unsigned lanes, depths, slice;
    bool fours;
    unsigned slice_images, slice_rows, slice_columns;  // how far a slice goes, as images, rows and columns of outputs

    __device__ TapsByPixel(
        const float* x, const Conv2dParams& p, unsigned channels, unsigned lanes, unsigned depths, unsigned slice)
        : x(x), p(p), channels(channels), lanes(lanes), depths(depths), slice(slice), fours(channels % 4 == 0)
    {
        slice_columns = slice % p.out_width * p.stride_width;
        slice_rows = slice / p.out_width % p.out_height * p.stride_height;
        slice_images = slice / p.out_width / p.out_height;
    }

    struct Lane {
        unsigned first, row, column, place;  // of the tap: its offset less the padding
    };
    struct Depth {
        unsigned image, row, column;  // the image's number, and the first tap's row and column plus the padding
    };

    __device__ Lane lane(unsigned lane) const
    {
        const unsigned tap = lane / channels;
        const unsigned row = tap / p.kernel_width * p.dilation_height - p.padding_top;
        const unsigned column = tap % p.kernel_width * p.dilation_width - p.padding_left;
        const unsigned place = (row * p.in_width + column) * p.in_channels + lane % channels;
        return {lane, lane < lanes ? row : NO_ROW, column, place};
    }
    __device__ Depth depth(unsigned depth) const
    {
        const unsigned ow = depth % p.out_width, rest = depth / p.out_width;
        return {rest / p.out_height, rest % p.out_height * p.stride_height, ow * p.stride_width};
    }
    __device__ void advance(Depth& at) const
    {
        at.column += slice_columns;
        at.row += slice_rows;
        at.image += slice_images;
        if (at.column >= p.out_width * p.stride_width) {
            at.column -= p.out_width * p.stride_width;
            at.row += p.stride_height;
        }
        if (at.row >= p.out_height * p.stride_height) {
            at.row -= p.out_height * p.stride_height;
            at.image++;
        }
    }
    __device__ bool in_fours() const { return FOURS || fours; }
    __device__ bool four(const Lane& lane, const Depth& deep, unsigned at, const float*& from) const
    {
        from = x + (((deep.image * p.in_height + deep.row) * p.in_width + deep.column) * p.in_channels + lane.place);
        return at < depths && deep.row + lane.row < p.in_height && deep.column + lane.column < p.in_width;
    }
    __device__ bool one(const Lane& from_lane, const Depth& deep, unsigned at, unsigned i, const float*& from) const
    {
        return four(lane(from_lane.first + i), deep, at, from);
    }
};

template <class Engine>
__device__ inline void correlate(const Conv2dParams& p, unsigned splits, const float* x, const float* g, float* w)
{
    const unsigned pixels = p.batch * p.out_height * p.out_width;
    const unsigned in_group = p.in_channels / p.groups, out_group = p.out_channels / p.groups;
    const unsigned columns = p.kernel_height * p.kernel_width * in_group;
    const Tile at(out_group, columns, Engine::ROWS, Engine::COLUMNS, splits);
    const DepthMajor<Engine::FOURS> a = {g + at.group * out_group, out_group, pixels, p.out_channels};
    const TapsByPixel<Engine::FOURS> b(x + at.group * in_group, p, in_group, columns, pixels, Engine::SLICE);
    float* const to = w + (at.split * p.out_channels + at.group * out_group) * columns;
    const RowMajor output = {to, out_group, columns, columns};
    Engine::multiply(a, b, output, at.first_m, at.first_n, split_depth(pixels, Engine::SLICE, splits, at.split));
}

extern "C" __global__ void __launch_bounds__(256, 3) conv2d_grad_weight_32x32(
    Conv2dParams p, unsigned splits, const float* x, const float* g, float* w)
{
    correlate<Cores<32, 32>>(p, splits, x, g, w);
}

extern "C" __global__ void __launch_bounds__(256, 3) conv2d_grad_weight_64x64(
    Conv2dParams p, unsigned splits, const float* x, const float* g, float* w)
{
    correlate<Cores<64, 64>>(p, splits, x, g, w);
}

extern "C" __global__ void __launch_bounds__(256, 2) conv2d_grad_weight_128x128(
    Conv2dParams p, unsigned splits, const float* x, const float* g, float* w)
{
    correlate<Cores<128, 128>>(p, splits, x, g, w);
}

extern "C" __global__ void __launch_bounds__(256, 2) conv2d_grad_weight_tf32_128x128(
    Conv2dParams p, unsigned splits, const float* x, const float* g, float* w)
{
    correlate<Tensors<Tf32, 2, 4>>(p, splits, x, g, w);
}

extern "C" __global__ void __launch_bounds__(128, 3) conv2d_grad_weight_tf32_128x64(
    Conv2dParams p, unsigned splits, const float* x, const float* g, float* w)
{
    correlate<Tensors<Tf32, 2, 2>>(p, splits, x, g, w);
}

extern "C" __global__ void __launch_bounds__(256, 2) conv2d_grad_weight_bf16_128x128(
    Conv2dParams p, unsigned splits, const float* x, const float* g, float* w)
{
    correlate<Tensors<Bf16, 2, 4>>(p, splits, x, g, w);
}

extern "C" __global__ void __launch_bounds__(128, 3) conv2d_grad_weight_bf16_128x64(
    Conv2dParams p, unsigned splits, const float* x, const float* g, float* w)
{
    correlate<Tensors<Bf16, 2, 2>>(p, splits, x, g, w);
}

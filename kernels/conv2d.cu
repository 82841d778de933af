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
// Cost of each: 2 N OH OW O KH KW C/groups operations.
// Entry points: <kernel>_<tile>.

struct Conv2dParams {
    unsigned batch, in_height, in_width, in_channels;
    unsigned out_height, out_width, out_channels;
    unsigned kernel_height, kernel_width, stride_height, stride_width;
    unsigned padding_top, padding_left, dilation_height, dilation_width, groups;
};

// Whether addresses that are multiples of `step` floats from `data` may be read sixteen bytes at once.
__device__ inline bool in_fours(const float* data, unsigned step)
{
    return step % 4 == 0 && (reinterpret_cast<unsigned long long>(data) & 15) == 0;
}

// The image as the taps of output pixels see it: lane = (n, oh, ow), depth = (kh, kw, c).
struct UnderTaps {
    static const bool ALONG_DEPTH = true;
    const float* x;  // at the group's first channel
    const Conv2dParams& p;
    unsigned channels;  // of a group
    bool fours;

    struct Place {
        unsigned image;  // the image's first row, in rows
        unsigned row, column;  // the first tap's, plus the padding; 0 - 1 beyond the lanes
    };

    __device__ Place place(unsigned lane) const
    {
        const unsigned ow = lane % p.out_width, rest = lane / p.out_width;
        const unsigned oh = rest % p.out_height, n = rest / p.out_height;
        if (n >= p.batch) return {0, ~0u, 0};
        return {n * p.in_height, oh * p.stride_height, ow * p.stride_width};
    }

    // Where a tap lies in x, if it is inside the image.
    __device__ bool find(const Place& at, unsigned tap, unsigned& pixel) const
    {
        const unsigned kw = tap % p.kernel_width, kh = tap / p.kernel_width;
        // Below the image's beginning this wraps to something huge.
        const unsigned ih = at.row + kh * p.dilation_height - p.padding_top;
        const unsigned iw = at.column + kw * p.dilation_width - p.padding_left;
        pixel = ((at.image + ih) * p.in_width + iw) * p.in_channels;
        return at.row != ~0u && ih < p.in_height && iw < p.in_width;
    }

    __device__ void read(const Place& at, unsigned depth, unsigned end, float (&value)[4]) const
    {
        unsigned pixel;
        if (fours) {
            const bool inside = depth < end && find(at, depth / channels, pixel);
            load_four(inside ? x + pixel + depth % channels : x, inside ? 4 : 0, value);
            return;
        }
#pragma unroll
        for (unsigned i = 0; i < 4; i++) {
            const unsigned d = depth + i;
            const bool inside = d < end && find(at, d / channels, pixel);
            value[i] = inside ? x[pixel + d % channels] : 0.0f;
        }
    }
};

template <int TILE>
__device__ inline void convolve(const Conv2dParams& p, unsigned splits, const float* x, const float* w, float* y)
{
    const unsigned pixels = p.batch * p.out_height * p.out_width;
    const unsigned in_group = p.in_channels / p.groups, out_group = p.out_channels / p.groups;
    const unsigned depth = p.kernel_height * p.kernel_width * in_group;
    const unsigned down = (pixels + TILE - 1) / TILE, across = (out_group + TILE - 1) / TILE;
    unsigned rest = blockIdx.x;
    const unsigned first_m = rest % down * TILE;
    rest /= down;
    const unsigned first_n = rest % across * TILE;
    rest /= across;
    const unsigned split = rest % splits, group = rest / splits;
    const float* image = x + group * in_group;
    const UnderTaps a = {image, p, in_group, in_group % 4 == 0 && in_fours(image, p.in_channels)};
    const LaneMajor b = {w + group * out_group * depth, out_group, depth};
    const RowMajor output = {
        y + split * pixels * p.out_channels + group * out_group, pixels, out_group, p.out_channels};
    tile_product<TILE>(a, b, output, first_m, first_n, split_depth(depth, splits, split));
}

extern "C" __global__ void __launch_bounds__(256, 3) conv2d_64(
    Conv2dParams p, unsigned splits, const float* x, const float* w, float* y)
{
    convolve<64>(p, splits, x, w, y);
}

extern "C" __global__ void __launch_bounds__(256, 1) conv2d_128(
    Conv2dParams p, unsigned splits, const float* x, const float* w, float* y)
{
    convolve<128>(p, splits, x, w, y);
}

extern "C" __global__ void conv2d_add_splits(unsigned len, unsigned splits, const float* sums, float* y)
{
    add_splits(len, splits, sums, y);
}

// One direction of a phase: which image rows are in it, and which taps meet them.
struct Phase {
    unsigned first, count;        // rows first, first + stride, ..
    unsigned tap, tap_step, taps;  // taps tap, tap + tap_step, ..
    unsigned out;                 // the output under `tap` of row `first`, plus `out_step * taps`
    unsigned out_step;            // by how much each further tap goes back

    __device__ Phase(
        unsigned residue, unsigned image, unsigned kernel, unsigned stride, unsigned padding, unsigned dilation)
    {
        // The first row whose distance from the first tap's is `residue` modulo the stride.
        first = (residue + stride - padding % stride) % stride;
        count = first < image ? (image - first + stride - 1) / stride : 0;
        unsigned divisor = stride, other = dilation;
        while (other) {
            const unsigned remainder = divisor % other;
            divisor = other;
            other = remainder;
        }
        tap_step = stride / divisor;
        out_step = dilation / divisor;
        tap = 0;
        while (tap < tap_step && tap * dilation % stride != residue) tap++;
        taps = tap < tap_step && tap < kernel ? (kernel - tap + tap_step - 1) / tap_step : 0;
        // Kept from being negative by the steps that the taps go back.
        out = taps ? (first + padding + out_step * taps * stride - tap * dilation) / stride : 0;
    }
};

// Cotangents that meet a phase's pixels: lane = (n, row, column of the phase), depth = (tap of height, of width, o).
struct OverPixels {
    static const bool ALONG_DEPTH = true;
    const float* g;  // at the group's first channel
    const Conv2dParams& p;
    const Phase& height;
    const Phase& width;
    unsigned channels;  // of a group
    bool fours;

    struct Place {
        unsigned image, row, column;  // the output under the first tap, plus the phase's steps; row 0 - 1: no lane
    };

    __device__ Place place(unsigned lane) const
    {
        const unsigned column = lane % width.count, rest = lane / width.count;
        const unsigned row = rest % height.count, n = rest / height.count;
        if (n >= p.batch) return {0, ~0u, 0};
        return {n * p.out_height, height.out + row, width.out + column};
    }

    __device__ bool find(const Place& at, unsigned tap, unsigned& pixel) const
    {
        const unsigned tap_w = tap % width.taps, tap_h = tap / width.taps;
        const unsigned oh = at.row - height.out_step * (height.taps + tap_h);
        const unsigned ow = at.column - width.out_step * (width.taps + tap_w);
        pixel = ((at.image + oh) * p.out_width + ow) * p.out_channels;
        return at.row != ~0u && oh < p.out_height && ow < p.out_width;
    }

    __device__ void read(const Place& at, unsigned depth, unsigned end, float (&value)[4]) const
    {
        unsigned pixel;
        if (fours) {
            const bool inside = depth < end && find(at, depth / channels, pixel);
            load_four(inside ? g + pixel + depth % channels : g, inside ? 4 : 0, value);
            return;
        }
#pragma unroll
        for (unsigned i = 0; i < 4; i++) {
            const unsigned d = depth + i;
            const bool inside = d < end && find(at, d / channels, pixel);
            value[i] = inside ? g[pixel + d % channels] : 0.0f;
        }
    }
};

// The weights of a phase's taps: lane = c, depth = (tap of height, of width, o).
struct PhaseWeights {
    static const bool ALONG_DEPTH = false;
    const float* w;  // at the group's first output channel
    const Conv2dParams& p;
    const Phase& height;
    const Phase& width;
    unsigned in_group, out_group;
    bool fours;
    typedef unsigned Place;

    __device__ Place place(unsigned lane) const { return lane; }
    __device__ void read(Place c, unsigned depth, unsigned end, float (&value)[4]) const
    {
        const unsigned count = depth < end ? within(c, in_group) : 0;
        const float* from = w;
        if (count) {
            const unsigned o = depth % out_group, tap = depth / out_group;
            const unsigned kw = width.tap + tap % width.taps * width.tap_step;
            const unsigned kh = height.tap + tap / width.taps * height.tap_step;
            from = w + ((o * p.kernel_height + kh) * p.kernel_width + kw) * in_group + c;
        }
        if (count == 4 && fours) {
            load_four(from, 4, value);
        } else {
#pragma unroll
            for (unsigned i = 0; i < 4; i++) value[i] = i < count ? from[i] : 0.0f;
        }
    }
};

// Writes the pixels of a phase, which lie a stride apart.
struct PhasePixels {
    float* x;  // at the group's first channel
    const Conv2dParams& p;
    const Phase& height;
    const Phase& width;
    unsigned channels;
    bool fours;

    __device__ void write(unsigned lane, unsigned c, const float (&value)[4]) const
    {
        const unsigned column = lane % width.count, rest = lane / width.count;
        const unsigned row = rest % height.count, n = rest / height.count;
        const unsigned count = n < p.batch ? within(c, channels) : 0;
        if (!count) return;
        const unsigned ih = height.first + row * p.stride_height, iw = width.first + column * p.stride_width;
        float* to = x + ((n * p.in_height + ih) * p.in_width + iw) * p.in_channels + c;
        if (count == 4 && fours) {
            store_four(to, 4, value);
        } else {
#pragma unroll
            for (unsigned i = 0; i < 4; i++)
                if (i < count) to[i] = value[i];
        }
    }
};

// Blocks are numbered by tile row, tile column, phase, split, group; `down` is the tile rows of the largest phase.
template <int TILE>
__device__ inline void convolve_back(
    const Conv2dParams& p, unsigned down, unsigned splits, const float* g, const float* w, float* x)
{
    const unsigned in_group = p.in_channels / p.groups, out_group = p.out_channels / p.groups;
    const unsigned across = (in_group + TILE - 1) / TILE;
    unsigned rest = blockIdx.x;
    const unsigned first_m = rest % down * TILE;
    rest /= down;
    const unsigned first_n = rest % across * TILE;
    rest /= across;
    const unsigned residue_w = rest % p.stride_width;
    rest /= p.stride_width;
    const unsigned residue_h = rest % p.stride_height;
    rest /= p.stride_height;
    const unsigned split = rest % splits, group = rest / splits;
    const Phase height(
        residue_h, p.in_height, p.kernel_height, p.stride_height, p.padding_top, p.dilation_height);
    const Phase width(residue_w, p.in_width, p.kernel_width, p.stride_width, p.padding_left, p.dilation_width);
    // A smaller phase than the largest has fewer tiles, or no pixel at all.
    if (first_m >= p.batch * height.count * width.count) return;
    const float* cotangent = g + group * out_group;
    const OverPixels a = {
        cotangent, p, height, width, out_group, out_group % 4 == 0 && in_fours(cotangent, p.out_channels)};
    const unsigned tap_weights = p.kernel_height * p.kernel_width * in_group;
    const PhaseWeights b = {
        w + group * out_group * tap_weights, p, height, width, in_group, out_group, in_group % 4 == 0};
    const unsigned elements = p.batch * p.in_height * p.in_width * p.in_channels;
    float* to = x + split * elements + group * in_group;
    const PhasePixels output = {to, p, height, width, in_group, in_group % 4 == 0 && in_fours(to, p.in_channels)};
    const unsigned depth = height.taps * width.taps * out_group;
    tile_product<TILE>(a, b, output, first_m, first_n, split_depth(depth, splits, split));
}

extern "C" __global__ void __launch_bounds__(256, 2) conv2d_grad_input_64(
    Conv2dParams p, unsigned down, unsigned splits, const float* g, const float* w, float* x)
{
    convolve_back<64>(p, down, splits, g, w, x);
}

extern "C" __global__ void __launch_bounds__(256, 1) conv2d_grad_input_128(
    Conv2dParams p, unsigned down, unsigned splits, const float* g, const float* w, float* x)
{
    convolve_back<128>(p, down, splits, g, w, x);
}

// The image under each tap, pixel by pixel: lane = (kh, kw, c), depth = (n, oh, ow).
struct TapsByPixel {
    static const bool ALONG_DEPTH = false;
    const float* x;  // at the group's first channel
    const Conv2dParams& p;
    unsigned channels;  // of a group
    unsigned lanes;
    bool fours;

    struct Place {
        unsigned row[4], column[4], channel[4];  // of the tap: its offset less the padding
        unsigned count;
    };

    __device__ Place place(unsigned lane) const
    {
        Place at;
        at.count = within(lane, lanes);
#pragma unroll
        for (unsigned i = 0; i < 4; i++) {
            const unsigned tap = (lane + i) / channels;
            at.channel[i] = (lane + i) % channels;
            at.row[i] = tap / p.kernel_width * p.dilation_height - p.padding_top;
            at.column[i] = tap % p.kernel_width * p.dilation_width - p.padding_left;
        }
        return at;
    }

    __device__ void read(const Place& at, unsigned depth, unsigned end, float (&value)[4]) const
    {
        const unsigned ow = depth % p.out_width, rest = depth / p.out_width;
        const unsigned oh = rest % p.out_height, n = rest / p.out_height;
        const unsigned row = oh * p.stride_height, column = ow * p.stride_width, image = n * p.in_height;
        const unsigned count = depth < end ? at.count : 0;
        if (fours) {
            const unsigned ih = row + at.row[0], iw = column + at.column[0];
            const bool inside = count && ih < p.in_height && iw < p.in_width;
            const unsigned pixel = ((image + ih) * p.in_width + iw) * p.in_channels;
            load_four(inside ? x + pixel + at.channel[0] : x, inside ? 4 : 0, value);
            return;
        }
#pragma unroll
        for (unsigned i = 0; i < 4; i++) {
            const unsigned ih = row + at.row[i], iw = column + at.column[i];
            const bool inside = i < count && ih < p.in_height && iw < p.in_width;
            value[i] = inside ? x[((image + ih) * p.in_width + iw) * p.in_channels + at.channel[i]] : 0.0f;
        }
    }
};

template <int TILE>
__device__ inline void correlate(const Conv2dParams& p, unsigned splits, const float* x, const float* g, float* w)
{
    const unsigned pixels = p.batch * p.out_height * p.out_width;
    const unsigned in_group = p.in_channels / p.groups, out_group = p.out_channels / p.groups;
    const unsigned columns = p.kernel_height * p.kernel_width * in_group;
    const unsigned down = (out_group + TILE - 1) / TILE, across = (columns + TILE - 1) / TILE;
    unsigned rest = blockIdx.x;
    const unsigned first_m = rest % down * TILE;
    rest /= down;
    const unsigned first_n = rest % across * TILE;
    rest /= across;
    const unsigned split = rest % splits, group = rest / splits;
    const DepthMajor a = {g + group * out_group, out_group, p.out_channels};
    const float* image = x + group * in_group;
    const TapsByPixel b = {image, p, in_group, columns, in_group % 4 == 0 && in_fours(image, p.in_channels)};
    const RowMajor output = {w + (split * p.out_channels + group * out_group) * columns, out_group, columns, columns};
    tile_product<TILE>(a, b, output, first_m, first_n, split_depth(pixels, splits, split));
}

extern "C" __global__ void __launch_bounds__(256, 3) conv2d_grad_weight_64(
    Conv2dParams p, unsigned splits, const float* x, const float* g, float* w)
{
    correlate<64>(p, splits, x, g, w);
}

extern "C" __global__ void __launch_bounds__(256, 1) conv2d_grad_weight_128(
    Conv2dParams p, unsigned splits, const float* x, const float* g, float* w)
{
    correlate<128>(p, splits, x, g, w);
}

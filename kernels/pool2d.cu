// Pooling: the mean or the maximum of each window of an image's plane.
//
//   tap (kh, kw) of window (oh, ow) lies on ih = oh stride_height - padding_top  + kh dilation_height
//                                           iw = ow stride_width  - padding_left + kw dilation_width
//
//   avg_pool2d          y[n, oh, ow, c] = sum over taps of x[n, ih, iw, c] / count        (taps outside the image are 0)
//   avg_pool2d_spread   x[n, ih, iw, c] = sum over the windows over the pixel of y[n, oh, ow, c] / count
//     with count = KH KW, or, without count_include_pad, the taps of that window that are inside the image
//
//   max_pool2d          y[n, oh, ow, c] = max over taps of x[n, ih, iw, c]                (taps outside never win)
//                       index[n, oh, ow, c] = ih W + iw of the first largest, or of the first NaN
//   max_pool2d_pick     y[n, oh, ow, c] = x[n, index / W, index % W, c]                   (0 where that is no tap)
//   max_pool2d_place    x[n, ih, iw, c] = sum over the windows over the pixel of (index == ih W + iw) y[n, oh, ow, c]
//
//   x: [N, H, W, C]    y, index: [N, OH, OW, C]
//
// One thread owns one output element and gathers it: neighbouring threads have neighbouring channels. Cost:
// N OH OW C KH KW operations.

struct Pool2dParams {
    unsigned batch, in_height, in_width, channels, out_height, out_width;
    unsigned kernel_height, kernel_width, stride_height, stride_width;
    unsigned padding_top, padding_left, dilation_height, dilation_width;
    unsigned count_include_pad;
};

// One direction of the window's walk.
struct Side {
    unsigned image, outputs, taps, stride, padding, dilation;

    // The image's coordinate under a tap of an output, if it is inside.
    __device__ bool under(unsigned out, unsigned tap, unsigned& at) const
    {
        at = out * stride + tap * dilation - padding;  // wraps to something huge before the beginning
        return at < image;
    }

    // The output that has this tap on the image's coordinate, if there is one.
    __device__ bool over(unsigned at, unsigned tap, unsigned& out) const
    {
        const unsigned padded = at + padding;
        if (padded < tap * dilation) return false;
        out = (padded - tap * dilation) / stride;
        return (padded - tap * dilation) % stride == 0 && out < outputs;
    }

    // Whether an output has a tap on the image's coordinate.
    __device__ bool meets(unsigned out, unsigned at) const
    {
        const unsigned padded = at + padding;
        if (padded < out * stride) return false;
        const unsigned reached = padded - out * stride;
        return reached % dilation == 0 && reached / dilation < taps;
    }

    // How many of an output's taps are inside the image.
    __device__ unsigned inside(unsigned out) const
    {
        unsigned count = 0, at;
        for (unsigned tap = 0; tap < taps; tap++) count += under(out, tap, at);
        return count;
    }
};

__device__ inline Side height_of(const Pool2dParams& p)
{
    return {p.in_height, p.out_height, p.kernel_height, p.stride_height, p.padding_top, p.dilation_height};
}

__device__ inline Side width_of(const Pool2dParams& p)
{
    return {p.in_width, p.out_width, p.kernel_width, p.stride_width, p.padding_left, p.dilation_width};
}

// How many numbers a window's mean is of.
__device__ inline float count_of(const Pool2dParams& p, const Side& height, const Side& width, unsigned oh, unsigned ow)
{
    if (p.count_include_pad) return float(p.kernel_height * p.kernel_width);
    return float(height.inside(oh) * width.inside(ow));
}

// The element of this thread in a plane; false beyond the last.
struct Element {
    unsigned n, row, column, c;

    __device__ bool find(unsigned batch, unsigned height, unsigned width, unsigned channels)
    {
        unsigned rest = global_thread();
        c = rest % channels;
        rest /= channels;
        column = rest % width;
        rest /= width;
        row = rest % height;
        n = rest / height;
        return n < batch;
    }
};

extern "C" __global__ void avg_pool2d(Pool2dParams p, const float* x, float* y)
{
    Element at;
    if (!at.find(p.batch, p.out_height, p.out_width, p.channels)) return;
    const Side height = height_of(p), width = width_of(p);
    float sum = 0.0f;
    for (unsigned kh = 0; kh < p.kernel_height; kh++) {
        unsigned ih, iw;
        if (!height.under(at.row, kh, ih)) continue;
        for (unsigned kw = 0; kw < p.kernel_width; kw++)
            if (width.under(at.column, kw, iw))
                sum += x[((at.n * p.in_height + ih) * p.in_width + iw) * p.channels + at.c];
    }
    y[global_thread()] = sum / count_of(p, height, width, at.row, at.column);
}

extern "C" __global__ void avg_pool2d_spread(Pool2dParams p, const float* y, float* x)
{
    Element at;
    if (!at.find(p.batch, p.in_height, p.in_width, p.channels)) return;
    const Side height = height_of(p), width = width_of(p);
    float sum = 0.0f;
    // From the last tap to the first: the windows come in order.
    for (unsigned kh = p.kernel_height; kh-- > 0;) {
        unsigned oh, ow;
        if (!height.over(at.row, kh, oh)) continue;
        for (unsigned kw = p.kernel_width; kw-- > 0;)
            if (width.over(at.column, kw, ow))
                sum += y[((at.n * p.out_height + oh) * p.out_width + ow) * p.channels + at.c]
                    / count_of(p, height, width, oh, ow);
    }
    x[global_thread()] = sum;
}

extern "C" __global__ void max_pool2d(Pool2dParams p, const float* x, float* y, unsigned* index)
{
    Element at;
    if (!at.find(p.batch, p.out_height, p.out_width, p.channels)) return;
    const Side height = height_of(p), width = width_of(p);
    float best = 0.0f;
    unsigned best_index = ~0u;
    for (unsigned kh = 0; kh < p.kernel_height; kh++) {
        unsigned ih, iw;
        if (!height.under(at.row, kh, ih)) continue;
        for (unsigned kw = 0; kw < p.kernel_width; kw++) {
            if (!width.under(at.column, kw, iw)) continue;
            const float value = x[((at.n * p.in_height + ih) * p.in_width + iw) * p.channels + at.c];
            // The first of equals wins; the first NaN wins over everything.
            const bool better = (value > best || is_nan(value)) && !is_nan(best);
            if (best_index == ~0u || better) {
                best = value;
                best_index = ih * p.in_width + iw;
            }
        }
    }
    y[global_thread()] = best;
    index[global_thread()] = best_index;
}

extern "C" __global__ void max_pool2d_pick(Pool2dParams p, const float* x, const unsigned* index, float* y)
{
    Element at;
    if (!at.find(p.batch, p.out_height, p.out_width, p.channels)) return;
    const unsigned pixel = index[global_thread()], ih = pixel / p.in_width, iw = pixel % p.in_width;
    const bool is_tap = ih < p.in_height && height_of(p).meets(at.row, ih) && width_of(p).meets(at.column, iw);
    y[global_thread()] = is_tap ? x[((at.n * p.in_height + ih) * p.in_width + iw) * p.channels + at.c] : 0.0f;
}

extern "C" __global__ void max_pool2d_place(Pool2dParams p, const float* y, const unsigned* index, float* x)
{
    Element at;
    if (!at.find(p.batch, p.in_height, p.in_width, p.channels)) return;
    const Side height = height_of(p), width = width_of(p);
    const unsigned here = at.row * p.in_width + at.column;
    float sum = 0.0f;
    for (unsigned kh = p.kernel_height; kh-- > 0;) {
        unsigned oh, ow;
        if (!height.over(at.row, kh, oh)) continue;
        for (unsigned kw = p.kernel_width; kw-- > 0;) {
            if (!width.over(at.column, kw, ow)) continue;
            const unsigned from = ((at.n * p.out_height + oh) * p.out_width + ow) * p.channels + at.c;
            if (index[from] == here) sum += y[from];
        }
    }
    x[global_thread()] = sum;
}

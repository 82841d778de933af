// Resizing an image's plane: nearest and bilinear, each with its adjoint.
//
//   resize_nearest         y[n, oh, ow, c] = x[n, floor(oh H/OH), floor(ow W/OW), c]
//   resize_nearest_fold    x[n, ih, iw, c] = sum of y[n, oh, ow, c] over the outputs that copy pixel (ih, iw)
//
//   resize_bilinear        y[n, oh, ow, c] = sum over ih, iw of weight_h(oh, ih) weight_w(ow, iw) x[n, ih, iw, c]
//   resize_bilinear_fold   x[n, ih, iw, c] = sum over oh, ow of weight_h(oh, ih) weight_w(ow, iw) y[n, oh, ow, c]
//     along a side:  source(o) = o (in-1)/(out-1)                      with align_corners (0 where out = 1)
//                              = max(0, (o + 1/2) in/out - 1/2)        without: pixels are squares, not points
//                    f = source - floor(source);  weight(o, i) = (i = floor) (1-f) + (i = min(floor+1, in-1)) f
//
//   x: [N, H, W, C]    y: [N, OH, OW, C]
//
// Sources are found in integers as quotient and remainder, so that every device, and the fold, agrees on them exactly.
// One thread owns one output element; a fold sums the contiguous range of outputs that look at its pixel, in order.
// Cost: one pass over each operand, with at most four terms an element (bilinear).

struct ResizeParams {
    unsigned batch, in_height, in_width, channels, out_height, out_width, align_corners;
};

// Outputs begin..end.
struct Outputs {
    unsigned begin, end;
};

__device__ inline unsigned divided_up(unsigned a, unsigned b) { return (a + b - 1) / b; }

// Height or width: the image's extent and the resized one's.
struct Side {
    unsigned from, to, align_corners;

    // The outputs that copy pixel `at`.
    __device__ Outputs copies(unsigned at) const
    {
        return {divided_up(at * to, from), divided_up((at + 1) * to, from)};
    }

    // The source of an output: its whole part, and the fraction beyond.
    __device__ unsigned source(unsigned out, float& fraction) const
    {
        unsigned numerator = 0, denominator = 1;
        if (!align_corners) {
            const unsigned doubled = (2 * out + 1) * from;
            numerator = doubled > to ? doubled - to : 0;
            denominator = 2 * to;
        } else if (to > 1) {
            numerator = out * (from - 1);
            denominator = to - 1;
        }
        fraction = float(numerator % denominator) / float(denominator);
        return numerator / denominator;
    }

    // What pixel `at` weighs in an output.
    __device__ float weight(unsigned out, unsigned at) const
    {
        float fraction;
        const unsigned first = source(out, fraction), second = minimum(first + 1, from - 1);
        return (at == first ? 1.0f - fraction : 0.0f) + (at == second ? fraction : 0.0f);
    }

    // The first output whose source is at pixel `at` or beyond.
    __device__ unsigned first(unsigned at) const
    {
        if (at == 0) return 0;
        unsigned out;
        if (align_corners) out = from == 1 || to == 1 ? to : divided_up(at * (to - 1), from - 1);
        else out = divided_up((2 * at + 1) * to, from) / 2;
        return minimum(out, to);
    }

    // The outputs whose sources lie within one pixel of `at`.
    __device__ Outputs around(unsigned at) const
    {
        return {first(at ? at - 1 : 0), at + 1 == from ? to : first(at + 1)};
    }
};

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

// Numbers are moved as their bits, whatever their type.
extern "C" __global__ void resize_nearest(ResizeParams p, const unsigned* x, unsigned* y)
{
    Element at;
    if (!at.find(p.batch, p.out_height, p.out_width, p.channels)) return;
    const unsigned ih = at.row * p.in_height / p.out_height, iw = at.column * p.in_width / p.out_width;
    y[global_thread()] = x[((at.n * p.in_height + ih) * p.in_width + iw) * p.channels + at.c];
}

extern "C" __global__ void resize_nearest_fold(ResizeParams p, const float* y, float* x)
{
    Element at;
    if (!at.find(p.batch, p.in_height, p.in_width, p.channels)) return;
    const Outputs rows = Side{p.in_height, p.out_height, 0}.copies(at.row);
    const Outputs columns = Side{p.in_width, p.out_width, 0}.copies(at.column);
    float sum = 0.0f;
    for (unsigned oh = rows.begin; oh < rows.end; oh++)
        for (unsigned ow = columns.begin; ow < columns.end; ow++)
            sum += y[((at.n * p.out_height + oh) * p.out_width + ow) * p.channels + at.c];
    x[global_thread()] = sum;
}

extern "C" __global__ void resize_bilinear(ResizeParams p, const float* x, float* y)
{
    Element at;
    if (!at.find(p.batch, p.out_height, p.out_width, p.channels)) return;
    float down, across;
    const unsigned top = Side{p.in_height, p.out_height, p.align_corners}.source(at.row, down);
    const unsigned left = Side{p.in_width, p.out_width, p.align_corners}.source(at.column, across);
    const unsigned rows[2] = {top, minimum(top + 1, p.in_height - 1)};
    const unsigned columns[2] = {left, minimum(left + 1, p.in_width - 1)};
    const float weights_h[2] = {1.0f - down, down}, weights_w[2] = {1.0f - across, across};
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int j = 0; j < 2; j++)
            sum += weights_h[i] * weights_w[j]
                * x[((at.n * p.in_height + rows[i]) * p.in_width + columns[j]) * p.channels + at.c];
    y[global_thread()] = sum;
}

extern "C" __global__ void resize_bilinear_fold(ResizeParams p, const float* y, float* x)
{
    Element at;
    if (!at.find(p.batch, p.in_height, p.in_width, p.channels)) return;
    const Side height = {p.in_height, p.out_height, p.align_corners};
    const Side width = {p.in_width, p.out_width, p.align_corners};
    const Outputs rows = height.around(at.row), columns = width.around(at.column);
    float sum = 0.0f;
    for (unsigned oh = rows.begin; oh < rows.end; oh++) {
        const float weight_h = height.weight(oh, at.row);
        for (unsigned ow = columns.begin; ow < columns.end; ow++)
            sum += weight_h * width.weight(ow, at.column)
                * y[((at.n * p.out_height + oh) * p.out_width + ow) * p.channels + at.c];
    }
    x[global_thread()] = sum;
}

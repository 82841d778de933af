// Adding a border and taking it away: zero padding and cropping of any axes, reflection of an image's plane.
//
//   pad                y[i + before] = x[i], and 0 elsewhere       y's extents: before + x's + after
//   crop               y[i] = x[i + start]                         y's extents: size
//   reflect_pad        y[n, oh, ow, c] = x[n, mirror_h(oh), mirror_w(ow), c]
//                      along a side: mirror(o) = t = o - before, -t where t < 0, 2 (in-1) - t where t >= in
//   reflect_pad_fold   x[n, ih, iw, c] = sum of y[n, oh, ow, c] over the outputs that show pixel (ih, iw)
//
// One thread owns one output element; a pixel is shown at most three times along each side. All but the fold move
// numbers as their bits, whatever their type. Cost: one pass over each operand.

struct PadParams {
    unsigned large[6], small[6], before[6];
};

struct ReflectPadParams {
    unsigned batch, in_height, in_width, channels, out_height, out_width, top, left;
};

extern "C" __global__ void pad(PadParams p, unsigned len, unsigned first_axis, const unsigned* x, unsigned* y)
{
    if (global_thread() >= len) return;
    unsigned rest = global_thread(), from = 0, step = 1;
    bool inside = true;
    for (unsigned axis = 6; axis-- > first_axis;) {
        // Wraps to something huge before the small tensor begins.
        const unsigned at = rest % p.large[axis] - p.before[axis];
        rest /= p.large[axis];
        inside = inside && at < p.small[axis];
        from += at * step;
        step *= p.small[axis];
    }
    y[global_thread()] = inside ? x[from] : 0;
}

extern "C" __global__ void crop(PadParams p, unsigned len, unsigned first_axis, const unsigned* x, unsigned* y)
{
    if (global_thread() >= len) return;
    unsigned rest = global_thread(), from = 0, step = 1;
    for (unsigned axis = 6; axis-- > first_axis;) {
        from += (rest % p.small[axis] + p.before[axis]) * step;
        rest /= p.small[axis];
        step *= p.large[axis];
    }
    y[global_thread()] = x[from];
}

// Height or width: the image's extent, the padded one's, and the border before it.
struct Side {
    unsigned image, outputs, before;

    // The pixel that an output shows.
    __device__ unsigned mirror(unsigned out) const
    {
        const unsigned at = out > before ? out - before : before - out;
        return at < image ? at : 2 * (image - 1) - at;
    }

    // The outputs that show a pixel, in order: before the first pixel, inside, after the last.
    __device__ unsigned shows(unsigned at, unsigned (&outs)[3]) const
    {
        const unsigned last = image - 1;
        unsigned count = 0;
        if (at > 0 && at <= before) outs[count++] = before - at;
        outs[count++] = before + at;
        if (at < last && before + 2 * last - at < outputs) outs[count++] = before + 2 * last - at;
        return count;
    }
};

extern "C" __global__ void reflect_pad(ReflectPadParams p, const unsigned* x, unsigned* y)
{
    unsigned rest = global_thread();
    const unsigned c = rest % p.channels;
    rest /= p.channels;
    const unsigned ow = rest % p.out_width;
    rest /= p.out_width;
    const unsigned oh = rest % p.out_height, n = rest / p.out_height;
    if (n >= p.batch) return;
    const unsigned ih = Side{p.in_height, p.out_height, p.top}.mirror(oh);
    const unsigned iw = Side{p.in_width, p.out_width, p.left}.mirror(ow);
    y[global_thread()] = x[((n * p.in_height + ih) * p.in_width + iw) * p.channels + c];
}

extern "C" __global__ void reflect_pad_fold(ReflectPadParams p, const float* y, float* x)
{
    unsigned rest = global_thread();
    const unsigned c = rest % p.channels;
    rest /= p.channels;
    const unsigned iw = rest % p.in_width;
    rest /= p.in_width;
    const unsigned ih = rest % p.in_height, n = rest / p.in_height;
    if (n >= p.batch) return;
    unsigned rows[3], columns[3];
    const unsigned down = Side{p.in_height, p.out_height, p.top}.shows(ih, rows);
    const unsigned across = Side{p.in_width, p.out_width, p.left}.shows(iw, columns);
    float sum = 0.0f;
    for (unsigned i = 0; i < down; i++)
        for (unsigned j = 0; j < across; j++)
            sum += y[((n * p.out_height + rows[i]) * p.out_width + columns[j]) * p.channels + c];
    x[global_thread()] = sum;
}

// Normalisation over groups of rows, with the leaky ReLU that often follows: batch and instance normalisation are one op.
//
//   x: [.., C] seen as [G groups, R rows, C channels]
//   mean[g, c]     = 1/R sum over r of x[g, r, c]
//   variance[g, c] = 1/R sum over r of (x[g, r, c] - mean[g, c])^2              biased
//   s              = 1 / sqrt(variance[g, c] + epsilon),  xhat = (x - mean) s
//
//   u              = gamma[c] xhat[g, r, c] + beta[c]
//
//   norm        y = u > 0 ? u : slope u,   and mean, variance: [G, C]              slope 1: no activation
//   norm_grad   from x, gamma, beta, the cotangent h of y, mean, variance:
//               g           = u > 0 ? h : slope h                                  u is worked out again
//               grad_x      = gamma s (g - 1/R sum_r g - xhat 1/R sum_r g xhat)
//               grad_gamma  = sum over g, r of g xhat       grad_beta = sum over g, r of g
//
//   running_statistics   r <- decay r + (1 - decay) b for each part b in order; variances first times `correction`;
//                        a thread owns a channel
//
// Three passes each. First two sums over rows: a block owns 32 channels and a part of the rows, a thread sums at most 64
// rows of a channel in f32, and everything above that is added in f64, in order, which costs one addition for 64
// elements. Then the parts of a channel are added and its factors found, and last each element is computed, four
// neighbours by a thread.
//
// The variance is taken from data shifted by the group's first row k: with d = x - k,
// R variance = sum d^2 - (sum d)^2 / R. As k is one of the numbers, the two differ by little only if that row lies many
// deviations from the mean.
//
// Cost: `norm` reads x twice and writes y once; `norm_grad` reads x and h twice and writes grad_x once.

struct NormParams {
    unsigned groups, rows, channels;
    float epsilon, slope;
};

struct RunningParams {
    unsigned parts, channels;
    float decay, taken, correction;
};

// Blocks are numbered by part, then 32 channels, then group.
struct NormTile {
    unsigned channel, group, part, begin, end;

    __device__ NormTile(const NormParams& p, unsigned parts)
    {
        const unsigned across = (p.channels + 31) / 32;
        part = blockIdx.x % parts;
        channel = blockIdx.x / parts % across * 32 + threadIdx.x % 32;
        group = blockIdx.x / parts / across;
        const unsigned each = (p.rows + parts - 1) / parts;
        begin = minimum(part * each, p.rows);
        end = minimum(begin + each, p.rows);
    }
};

// Adds eight warps' two sums of each channel, in order; the first warp has them.
__device__ inline void add_warps(double& first, double& second)
{
    __shared__ double sums[2][8][32];
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    __syncthreads();  // an earlier call's may still be read
    sums[0][warp][lane] = first;
    sums[1][warp][lane] = second;
    __syncthreads();
    for (unsigned other = 1; warp == 0 && other < 8; other++) {
        first += sums[0][other][lane];
        second += sums[1][other][lane];
    }
}

// sums: [2, G, C, parts].
__device__ inline void write_parts(const NormParams& p, const NormTile& at, unsigned parts, double first, double second, double* sums)
{
    add_warps(first, second);
    if (threadIdx.x >= 32 || at.channel >= p.channels) return;
    const unsigned place = (at.group * p.channels + at.channel) * parts + at.part;
    sums[place] = first;
    sums[p.groups * p.channels * parts + place] = second;
}

extern "C" __global__ void norm_sums(NormParams p, unsigned parts, const float* x, double* sums)
{
    const NormTile at(p, parts);
    float sum = 0.0f, square = 0.0f;
    if (at.channel < p.channels) {
        const float* column = x + at.group * p.rows * p.channels + at.channel;
        const float shift = column[0];
        for (unsigned row = at.begin + threadIdx.x / 32; row < at.end; row += 8) {
            const float d = column[row * p.channels] - shift;
            sum += d;
            square += d * d;
        }
    }
    write_parts(p, at, parts, sum, square, sums);
}

// The sums of one channel's parts; 256 threads are 32 channels by 8, each of which adds every eighth part.
__device__ inline void add_parts(unsigned columns, unsigned column, unsigned parts, const double* sums, double& first, double& second)
{
    first = second = 0.0;
    if (column < columns)
        for (unsigned part = threadIdx.x / 32; part < parts; part += 8) {
            first += sums[column * parts + part];
            second += sums[(columns + column) * parts + part];
        }
    add_warps(first, second);
}

// scale: [G, C], gamma s.
extern "C" __global__ void norm_statistics(
    NormParams p, unsigned parts, const float* x, const float* gamma, const double* sums, float* mean, float* variance,
    float* scale)
{
    const unsigned columns = p.groups * p.channels, column = blockIdx.x * 32 + threadIdx.x % 32;
    double sum, square;
    add_parts(columns, column, parts, sums, sum, square);
    if (threadIdx.x >= 32 || column >= columns) return;
    const unsigned channel = column % p.channels;
    const double shift = x[column / p.channels * p.rows * p.channels + channel];
    const double raw = (square - sum * sum / p.rows) / p.rows;
    const double biased = raw < 0.0 ? 0.0 : raw;  // rounding may leave a tiny negative number; NaN stays NaN
    mean[column] = float(shift + sum / p.rows);
    variance[column] = float(biased);
    scale[column] = float(gamma[channel] / sqrt(biased + double(p.epsilon)));
}

extern "C" __global__ void norm_apply(
    NormParams p, unsigned len, const float* x, const float* beta, const float* mean, const float* scale, float* y)
{
    const unsigned first = VECTOR * global_thread();
    if (first >= len) return;
    float values[4];
    load_four(x + first, len - first, values);
    unsigned channel = first % p.channels;
    unsigned column = first / p.channels / p.rows * p.channels + channel;
    for (unsigned i = 0; i < minimum(VECTOR, len - first); i++) {
        if (i && channel == 0) column = (first + i) / p.channels / p.rows * p.channels;
        const float u = (values[i] - mean[column]) * scale[column] + beta[channel];
        values[i] = u > 0.0f ? u : p.slope * u;
        column++;
        channel = channel + 1 == p.channels ? 0 : channel + 1;
    }
    store_four(y + first, len - first, values);
}

// What the activation passes of a cotangent where u = scale d + shift, at distance d from the mean.
__device__ inline float passed(const NormParams& p, float scale, float d, float shift)
{
    return scale * d + shift > 0.0f ? 1.0f : p.slope;
}

extern "C" __global__ void norm_grad_sums(
    NormParams p, unsigned parts, const float* x, const float* gamma, const float* beta, const float* h, const float* mean,
    const float* variance, double* sums)
{
    const NormTile at(p, parts);
    float sum = 0.0f, product = 0.0f;
    if (at.channel < p.channels) {
        const unsigned start = at.group * p.rows * p.channels + at.channel;
        const unsigned column = at.group * p.channels + at.channel;
        const float middle = mean[column], shift = beta[at.channel];
        const float scale = gamma[at.channel] / sqrtf(variance[column] + p.epsilon);
        for (unsigned row = at.begin + threadIdx.x / 32; row < at.end; row += 8) {
            const float d = x[start + row * p.channels] - middle;
            const float g = h[start + row * p.channels] * passed(p, scale, d, shift);
            sum += g;
            product += g * d;
        }
    }
    write_parts(p, at, parts, sum, product, sums);
}

// grad_x = a g + b (x - mean) + c: factors [3, G, C]. affine: [2, G, C], each group's share of grad_gamma and grad_beta.
extern "C" __global__ void norm_grad_factors(
    NormParams p, unsigned parts, const float* gamma, const float* variance, const double* sums, float* factors,
    double* affine)
{
    const unsigned columns = p.groups * p.channels, column = blockIdx.x * 32 + threadIdx.x % 32;
    double sum, product;
    add_parts(columns, column, parts, sums, sum, product);
    if (threadIdx.x >= 32 || column >= columns) return;
    const double s = 1.0 / sqrt(double(variance[column]) + double(p.epsilon));
    const double a = gamma[column % p.channels] * s;
    factors[column] = float(a);
    factors[columns + column] = float(-a * s * s * product / p.rows);
    factors[2 * columns + column] = float(-a * sum / p.rows);
    affine[column] = product * s;
    affine[columns + column] = sum;
}

extern "C" __global__ void norm_grad_affine(NormParams p, const double* affine, float* grad_gamma, float* grad_beta)
{
    const unsigned channel = blockIdx.x * 32 + threadIdx.x % 32;
    double gamma = 0.0, beta = 0.0;
    if (channel < p.channels)
        for (unsigned group = threadIdx.x / 32; group < p.groups; group += 8) {
            gamma += affine[group * p.channels + channel];
            beta += affine[(p.groups + group) * p.channels + channel];
        }
    add_warps(gamma, beta);
    if (threadIdx.x >= 32 || channel >= p.channels) return;
    grad_gamma[channel] = float(gamma);
    grad_beta[channel] = float(beta);
}

extern "C" __global__ void norm_grad_apply(
    NormParams p, unsigned len, const float* x, const float* beta, const float* h, const float* mean, const float* factors,
    float* grad_x)
{
    const unsigned first = VECTOR * global_thread();
    if (first >= len) return;
    const unsigned columns = p.groups * p.channels;
    float values[4], cotangents[4];
    load_four(x + first, len - first, values);
    load_four(h + first, len - first, cotangents);
    unsigned channel = first % p.channels;
    unsigned column = first / p.channels / p.rows * p.channels + channel;
    for (unsigned i = 0; i < minimum(VECTOR, len - first); i++) {
        if (i && channel == 0) column = (first + i) / p.channels / p.rows * p.channels;
        const float scale = factors[column], d = values[i] - mean[column];
        const float g = cotangents[i] * passed(p, scale, d, beta[channel]);
        values[i] = scale * g + factors[columns + column] * d + factors[2 * columns + column];
        column++;
        channel = channel + 1 == p.channels ? 0 : channel + 1;
    }
    store_four(grad_x + first, len - first, values);
}

extern "C" __global__ void running_statistics(
    RunningParams p, const float* running_mean, const float* running_variance, const float* batch_mean,
    const float* batch_variance, float* moved_mean, float* moved_variance)
{
    const unsigned channel = global_thread();
    if (channel >= p.channels) return;
    float mean = running_mean[channel], variance = running_variance[channel];
    for (unsigned part = 0; part < p.parts; part++) {
        mean = p.decay * mean + p.taken * batch_mean[part * p.channels + channel];
        variance = p.decay * variance + p.taken * (p.correction * batch_variance[part * p.channels + channel]);
    }
    moved_mean[channel] = mean;
    moved_variance[channel] = variance;
}

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
//   the halves of both, for batches whose sums are not all here:
//   norm_statistics   from x: mean, variance
//   norm_apply        from x, gamma, beta, mean, variance: y
//   norm_grad_sums    from what norm_grad has: sums = sum over r of g, and of g (x - mean): [2, G, C], grad_gamma, grad_beta
//   norm_grad_apply   from these and sums: grad_x
//
//   running_statistics   r <- decay r + (1 - decay) b for each part b in order; variances first times `correction`;
//                        a thread owns a channel
//
// Three passes each. First two sums over rows: a block owns 32 channels and a part of the rows. Where channels are a
// multiple of four, a thread reads four of them at once and sums every 32nd row, else one and every eighth: at most 64
// rows of a channel in f32, and everything above that is added in f64, in order, which costs one addition for many
// elements. Then the parts of a channel are added and its factors found, and last each element is computed, four
// neighbours by a thread.
//
// The variance is taken from data shifted by the group's first row k: with d = x - k,
// R variance = sum d^2 - (sum d)^2 / R. As k is one of the numbers, the two differ by little only if that row lies many
// deviations from the mean.
//
// A half is the first pass or two of these and what is left, or factors and the last.
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

// Blocks are numbered by part, then 32 channels, then group. `first` is a thread's first channel, of WIDTH.
template <unsigned WIDTH>
struct NormTile {
    unsigned first, group, part, begin, end;
    static const unsigned ROWS = 8 * WIDTH;  // that a block reads at once

    __device__ NormTile(const NormParams& p, unsigned parts)
    {
        const unsigned across = (p.channels + 31) / 32, lane = threadIdx.x % 32;
        part = blockIdx.x % parts;
        first = blockIdx.x / parts % across * 32 + lane % (32 / WIDTH) * WIDTH;
        group = blockIdx.x / parts / across;
        const unsigned each = (p.rows + parts - 1) / parts;
        begin = minimum(part * each, p.rows) + threadIdx.x / 32 * WIDTH + lane / (32 / WIDTH);
        end = minimum((part + 1) * each, p.rows);
    }
};

template <unsigned WIDTH>
__device__ inline void load_channels(const float* from, float (&x)[WIDTH])
{
    if (WIDTH == 4) {
        const float4 all = *reinterpret_cast<const float4*>(from);
        const float four[4] = {all.x, all.y, all.z, all.w};
#pragma unroll
        for (unsigned i = 0; i < WIDTH; i++) x[i] = four[i];
    } else {
        x[0] = from[0];
    }
}

// Adds a block's two sums of each of its 32 channels and writes them. sums: [2, parts, G, C].
template <unsigned WIDTH>
__device__ inline void write_parts(
    const NormParams& p, const NormTile<WIDTH>& at, unsigned parts, const float (&first)[WIDTH], const float (&second)[WIDTH],
    double* sums)
{
    __shared__ double warps[2][8][32];
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (unsigned i = 0; i < WIDTH; i++) {
        double one = first[i], two = second[i];
        // Lanes of the same channels stand 32 / WIDTH apart.
        for (unsigned distance = 16; distance >= 32 / WIDTH && WIDTH > 1; distance /= 2) {
            one += __shfl_down_sync(0xffffffffu, one, distance);
            two += __shfl_down_sync(0xffffffffu, two, distance);
        }
        if (lane < 32 / WIDTH) {
            warps[0][warp][lane * WIDTH + i] = one;
            warps[1][warp][lane * WIDTH + i] = two;
        }
    }
    __syncthreads();
    const unsigned channel = at.first - lane % (32 / WIDTH) * WIDTH + lane;
    if (warp || channel >= p.channels) return;
    double one = 0.0, two = 0.0;
    for (unsigned other = 0; other < 8; other++) {
        one += warps[0][other][lane];
        two += warps[1][other][lane];
    }
    const unsigned columns = p.groups * p.channels, place = at.part * columns + at.group * p.channels + channel;
    sums[place] = one;
    sums[parts * columns + place] = two;
}

template <unsigned WIDTH>
__device__ inline void sum_rows(const NormParams& p, unsigned parts, const float* x, double* sums)
{
    const NormTile<WIDTH> at(p, parts);
    float sum[WIDTH] = {}, square[WIDTH] = {};
    if (at.first < p.channels) {
        const float* column = x + at.group * p.rows * p.channels + at.first;
        float shift[WIDTH];
        load_channels(column, shift);
#pragma unroll 4
        for (unsigned row = at.begin; row < at.end; row += NormTile<WIDTH>::ROWS) {
            float here[WIDTH];
            load_channels(column + row * p.channels, here);
#pragma unroll
            for (unsigned i = 0; i < WIDTH; i++) {
                const float d = here[i] - shift[i];
                sum[i] += d;
                square[i] += d * d;
            }
        }
    }
    write_parts(p, at, parts, sum, square, sums);
}

extern "C" __global__ void norm_parts(NormParams p, unsigned parts, const float* x, double* sums)
{
    sum_rows<1>(p, parts, x, sums);
}

extern "C" __global__ void norm_parts_fours(NormParams p, unsigned parts, const float* x, double* sums)
{
    sum_rows<4>(p, parts, x, sums);
}

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

// The sums of one channel's parts; 256 threads are 32 channels by 8, each of which adds every eighth part.
__device__ inline void add_parts(unsigned columns, unsigned column, unsigned parts, const double* sums, double& first, double& second)
{
    first = second = 0.0;
    if (column < columns) {
#pragma unroll 8
        for (unsigned part = threadIdx.x / 32; part < parts; part += 8) {
            first += sums[part * columns + column];
            second += sums[(parts + part) * columns + column];
        }
    }
    add_warps(first, second);
}

// Finds a channel's mean and biased variance from its parts' sums; whether this thread is the one to say so.
__device__ inline bool statistics_of(
    const NormParams& p, unsigned parts, unsigned column, const float* x, const double* sums, double& mean, double& variance)
{
    const unsigned columns = p.groups * p.channels;
    double sum, square;
    add_parts(columns, column, parts, sums, sum, square);
    if (threadIdx.x >= 32 || column >= columns) return false;
    const double shift = x[column / p.channels * p.rows * p.channels + column % p.channels];
    const double raw = (square - sum * sum / p.rows) / p.rows;
    mean = shift + sum / p.rows;
    variance = raw < 0.0 ? 0.0 : raw;  // rounding may leave a tiny negative number; NaN stays NaN
    return true;
}

extern "C" __global__ void norm_statistics(
    NormParams p, unsigned parts, const float* x, const double* sums, float* mean, float* variance)
{
    const unsigned column = blockIdx.x * 32 + threadIdx.x % 32;
    double middle, biased;
    if (!statistics_of(p, parts, column, x, sums, middle, biased)) return;
    mean[column] = float(middle);
    variance[column] = float(biased);
}

// gamma s.
__device__ inline float scale_of(const NormParams& p, unsigned column, const float* gamma, double variance)
{
    return float(gamma[column % p.channels] / sqrt(variance + double(p.epsilon)));
}

// scale: [G, C].
extern "C" __global__ void norm_factors(
    NormParams p, unsigned parts, const float* x, const float* gamma, const double* sums, float* mean, float* variance,
    float* scale)
{
    const unsigned column = blockIdx.x * 32 + threadIdx.x % 32;
    double middle, biased;
    if (!statistics_of(p, parts, column, x, sums, middle, biased)) return;
    mean[column] = float(middle);
    variance[column] = float(biased);
    scale[column] = scale_of(p, column, gamma, biased);
}

extern "C" __global__ void norm_apply_factors(NormParams p, const float* gamma, const float* variance, float* scale)
{
    const unsigned column = global_thread();
    if (column < p.groups * p.channels) scale[column] = scale_of(p, column, gamma, variance[column]);
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

template <unsigned WIDTH>
__device__ inline void sum_gradients(
    const NormParams& p, unsigned parts, const float* x, const float* gamma, const float* beta, const float* h,
    const float* mean, const float* variance, double* sums)
{
    const NormTile<WIDTH> at(p, parts);
    float sum[WIDTH] = {}, product[WIDTH] = {};
    if (at.first < p.channels) {
        const unsigned start = at.group * p.rows * p.channels + at.first;
        const unsigned column = at.group * p.channels + at.first;
        float middle[WIDTH], shift[WIDTH], scale[WIDTH];
#pragma unroll
        for (unsigned i = 0; i < WIDTH; i++) {
            middle[i] = mean[column + i];
            shift[i] = beta[at.first + i];
            scale[i] = gamma[at.first + i] / sqrtf(variance[column + i] + p.epsilon);
        }
#pragma unroll 4
        for (unsigned row = at.begin; row < at.end; row += NormTile<WIDTH>::ROWS) {
            float here[WIDTH], cotangent[WIDTH];
            load_channels(x + start + row * p.channels, here);
            load_channels(h + start + row * p.channels, cotangent);
#pragma unroll
            for (unsigned i = 0; i < WIDTH; i++) {
                const float d = here[i] - middle[i];
                const float g = cotangent[i] * passed(p, scale[i], d, shift[i]);
                sum[i] += g;
                product[i] += g * d;
            }
        }
    }
    write_parts(p, at, parts, sum, product, sums);
}

extern "C" __global__ void norm_grad_parts(
    NormParams p, unsigned parts, const float* x, const float* gamma, const float* beta, const float* h, const float* mean,
    const float* variance, double* sums)
{
    sum_gradients<1>(p, parts, x, gamma, beta, h, mean, variance, sums);
}

extern "C" __global__ void norm_grad_parts_fours(
    NormParams p, unsigned parts, const float* x, const float* gamma, const float* beta, const float* h, const float* mean,
    const float* variance, double* sums)
{
    sum_gradients<4>(p, parts, x, gamma, beta, h, mean, variance, sums);
}

__device__ inline double deviation_of(const NormParams& p, float variance)
{
    return sqrt(double(variance) + double(p.epsilon));
}

// grad_x = a g + b (x - mean) + c: factors [3, G, C], from a channel's sums of g and of g (x - mean).
__device__ inline void write_factors(
    const NormParams& p, unsigned column, const float* gamma, double s, double sum, double product, float* factors)
{
    const unsigned columns = p.groups * p.channels;
    const double a = gamma[column % p.channels] * s;
    factors[column] = float(a);
    factors[columns + column] = float(-a * s * s * product / p.rows);
    factors[2 * columns + column] = float(-a * sum / p.rows);
}

// affine: [2, G, C], each group's share of grad_gamma and grad_beta; of one group these are grad_gamma and grad_beta
// themselves.
__device__ inline void write_affine(
    const NormParams& p, unsigned column, double s, double sum, double product, double* affine, float* grad_gamma,
    float* grad_beta)
{
    if (p.groups == 1) {
        grad_gamma[column] = float(product * s);
        grad_beta[column] = float(sum);
    } else {
        affine[column] = product * s;
        affine[p.groups * p.channels + column] = sum;
    }
}

extern "C" __global__ void norm_grad_factors(
    NormParams p, unsigned parts, const float* gamma, const float* variance, const double* sums, float* factors,
    double* affine, float* grad_gamma, float* grad_beta)
{
    const unsigned columns = p.groups * p.channels, column = blockIdx.x * 32 + threadIdx.x % 32;
    double sum, product;
    add_parts(columns, column, parts, sums, sum, product);
    if (threadIdx.x >= 32 || column >= columns) return;
    const double s = 1.0 / deviation_of(p, variance[column]);
    write_factors(p, column, gamma, s, sum, product, factors);
    write_affine(p, column, s, sum, product, affine, grad_gamma, grad_beta);
}

// totals: [2, G, C], the kernel's sums.
extern "C" __global__ void norm_grad_sums(
    NormParams p, unsigned parts, const float* variance, const double* sums, double* affine, float* totals,
    float* grad_gamma, float* grad_beta)
{
    const unsigned columns = p.groups * p.channels, column = blockIdx.x * 32 + threadIdx.x % 32;
    double sum, product;
    add_parts(columns, column, parts, sums, sum, product);
    if (threadIdx.x >= 32 || column >= columns) return;
    totals[column] = float(sum);
    totals[columns + column] = float(product);
    const double s = 1.0 / deviation_of(p, variance[column]);
    write_affine(p, column, s, sum, product, affine, grad_gamma, grad_beta);
}

extern "C" __global__ void norm_grad_apply_factors(
    NormParams p, const float* gamma, const float* variance, const float* totals, float* factors)
{
    const unsigned columns = p.groups * p.channels, column = global_thread();
    if (column >= columns) return;
    const double s = 1.0 / deviation_of(p, variance[column]);
    write_factors(p, column, gamma, s, totals[column], totals[columns + column], factors);
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

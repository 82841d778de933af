// Losses of logits, as no logit overflows them.
//
//   bce_with_logits        y[i] = max(x[i], 0) - x[i] t[i] + ln(1 + e^-|x[i]|)
//   bce_with_logits_mean   y = scale / N sum_i bce(x[i], t[i]), and its gradient slope[i] = scale / N (sigmoid(x[i]) - t[i])
//
// x (logits), t (targets), elementwise y, slope: one shape. One thread owns four neighbouring elements; of the mean, one
// block owns everything, each of its threads every 256th element, and a fixed tree adds their sums. Cost: 6 operations an
// element, for the mean 12, one pass over each operand.

struct LossParams {
    unsigned len;
};

struct MeanLossParams {
    unsigned len;
    float scale;
};

__device__ inline float cross_entropy(float x, float t)
{
    const float positive = x < 0.0f ? 0.0f : x;  // `fmaxf` would drop a NaN
    return positive - x * t + log1pf(expf(-fabsf(x)));
}

extern "C" __global__ void bce_with_logits(LossParams p, const float* logits, const float* targets, float* y)
{
    const unsigned first = VECTOR * global_thread();
    if (first >= p.len) return;
    float x[4], t[4];
    load_four(logits + first, p.len - first, x);
    load_four(targets + first, p.len - first, t);
#pragma unroll
    for (int i = 0; i < 4; i++) x[i] = cross_entropy(x[i], t[i]);
    store_four(y + first, p.len - first, x);
}

extern "C" __global__ void bce_with_logits_mean(
    MeanLossParams p, const float* logits, const float* targets, float* y, float* slope)
{
    const float each = p.scale / p.len;
    float sum = 0.0f;
    for (unsigned i = threadIdx.x; i < p.len; i += 256) {
        const float x = logits[i], t = targets[i], e = expf(-fabsf(x));
        sum += cross_entropy(x, t);
        slope[i] = each * ((x < 0.0f ? e : 1.0f) / (1.0f + e) - t);
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) y[0] = each * sum;
}

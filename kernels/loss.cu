// Losses of logits, as no logit overflows them.
//
//   bce_with_logits   y[i] = max(x[i], 0) - x[i] t[i] + ln(1 + e^-|x[i]|)
//
// x (logits), t (targets), y: one shape. One thread owns four neighbouring elements. Cost: 6 operations an element, one
// pass over each operand.

struct LossParams {
    unsigned len;
};

extern "C" __global__ void bce_with_logits(LossParams p, const float* logits, const float* targets, float* y)
{
    const unsigned first = VECTOR * global_thread();
    if (first >= p.len) return;
    float x[4], t[4];
    load_four(logits + first, p.len - first, x);
    load_four(targets + first, p.len - first, t);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const float positive = x[i] < 0.0f ? 0.0f : x[i];  // `fmaxf` would drop a NaN
        x[i] = positive - x[i] * t[i] + log1pf(expf(-fabsf(x[i])));
    }
    store_four(y + first, p.len - first, x);
}

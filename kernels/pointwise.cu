// Pointwise: each output element is a function of the elements at its place.
//
//   fill     y[i] = value
//   unary    y[i] = f(x[i]; a, b)
//   binary   y[i] = f(p[i], q[i]; a)        operands stretched by NumPy's broadcasting rule
//   select   y[i] = c[i] != 0 ? p[i] : q[i]  operands stretched likewise
//
// One thread owns four neighbouring elements of y. Cost: one operation and one pass over each operand.
// Functions and their codes: crates/tensor/src/ops/pointwise.rs. The choice of function is the same for all threads.

struct FillParams {
    unsigned len;
    float value;
};

struct UnaryParams {
    unsigned len, function;
    float a, b;
};

struct BroadcastParams {
    unsigned function, flat, dims[6], strides_0[6], strides_1[6], strides_2[6];
    float a;
};

// The logistic function, by the sign of x so that the exponential cannot overflow.
__device__ inline float sigmoid(float x)
{
    const float e = expf(-fabsf(x));
    return x < 0.0f ? e / (1.0f + e) : 1.0f / (1.0f + e);
}

__device__ inline float power(float x, float a)
{
    if (a == 2.0f) return x * x;
    if (a == 3.0f) return x * x * x;
    if (a == -1.0f) return 1.0f / x;
    if (a == -2.0f) return 1.0f / (x * x);
    if (a == 0.5f) return sqrtf(x);
    if (a == -0.5f) return 1.0f / sqrtf(x);
    return powf(x, a);
}

__device__ inline float apply_unary(unsigned function, float x, float a, float b)
{
    switch (function) {
    case 0: return -x;                                                // neg
    case 1: return expf(x);                                           // exp
    case 2: return logf(x);                                           // log
    case 3: return sqrtf(x);                                          // sqrt
    case 4: return fabsf(x);                                          // abs
    case 5: return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x;            // sign: 0 stays 0, NaN stays NaN
    case 6: return x * x;                                             // square
    case 7: return 1.0f / x;                                          // reciprocal
    case 8: return x <= 0.0f ? 0.0f : x;                              // relu
    case 9: return x <= 0.0f ? x * a : x;                             // leaky_relu
    case 10: return tanhf(x);                                         // tanh
    case 11: return sigmoid(x);                                       // sigmoid
    case 12: return (x < 0.0f ? 0.0f : x) + log1pf(expf(-fabsf(x)));  // softplus: `fmaxf` would drop a NaN
    case 13: return x < a ? a : x > b ? b : x;                        // clamp
    case 14: return a <= x && x <= b ? 1.0f : 0.0f;                   // within
    case 15: return x + a;                                            // add_scalar
    case 16: return x * a;                                            // mul_scalar
    case 17: return power(x, a);                                      // pow_scalar
    case 18: return x > a ? 1.0f : 0.0f;                              // greater_scalar
    case 19: return sinf(x);                                          // sin
    default: return cosf(x);                                          // cos
    }
}

extern "C" __global__ void fill(FillParams p, float* y)
{
    const unsigned first = VECTOR * global_thread();
    if (first >= p.len) return;
    const float values[4] = {p.value, p.value, p.value, p.value};
    store_four(y + first, p.len - first, values);
}

extern "C" __global__ void unary(UnaryParams p, const float* x, float* y)
{
    const unsigned first = VECTOR * global_thread();
    if (first >= p.len) return;
    float values[4];
    load_four(x + first, p.len - first, values);
#pragma unroll
    for (int i = 0; i < 4; i++) values[i] = apply_unary(p.function, values[i], p.a, p.b);
    store_four(y + first, p.len - first, values);
}

__device__ inline float apply_binary(unsigned function, float p, float q, float a)
{
    switch (function) {
    case 0: return p + q;                               // add
    case 1: return p - q;                               // sub
    case 2: return p * q;                               // mul
    case 3: return p / q;                               // div
    case 4: return p > q || is_nan(p) ? p : q;          // maximum: NaN in either operand is passed on
    case 5: return p < q || is_nan(p) ? p : q;          // minimum
    case 6: return p > q ? 1.0f : 0.0f;                 // greater
    case 7: return p <= 0.0f ? q * a : q;               // leaky_relu_grad
    case 8: return (1.0f - p * p) * q;                  // tanh_grad
    default: return p * (1.0f - p) * q;                 // sigmoid_grad
    }
}

// Operands of y's own shape.
extern "C" __global__ void binary_flat(BroadcastParams params, unsigned len, const float* p, const float* q, float* y)
{
    const unsigned first = VECTOR * global_thread();
    if (first >= len) return;
    float left[4], right[4];
    load_four(p + first, len - first, left);
    load_four(q + first, len - first, right);
#pragma unroll
    for (int i = 0; i < 4; i++) left[i] = apply_binary(params.function, left[i], right[i], params.a);
    store_four(y + first, len - first, left);
}

extern "C" __global__ void binary(
    BroadcastParams params, unsigned len, unsigned first_axis, const float* p, const float* q, float* y)
{
    const unsigned first = VECTOR * global_thread();
    if (first >= len) return;
    const unsigned* const strides[2] = {params.strides_0, params.strides_1};
    unsigned at[4][2];
    walk_four<2>(first, len - first, first_axis, params.dims, strides, at);
    float values[4];
#pragma unroll
    for (int i = 0; i < 4; i++) values[i] = apply_binary(params.function, p[at[i][0]], q[at[i][1]], params.a);
    store_four(y + first, len - first, values);
}

extern "C" __global__ void select(
    BroadcastParams params, unsigned len, unsigned first_axis, const float* condition, const float* p, const float* q,
    float* y)
{
    const unsigned first = VECTOR * global_thread();
    if (first >= len) return;
    const unsigned* const strides[3] = {params.strides_0, params.strides_1, params.strides_2};
    unsigned at[4][3];
    walk_four<3>(first, len - first, first_axis, params.dims, strides, at);
    float values[4];
#pragma unroll
    for (int i = 0; i < 4; i++) values[i] = condition[at[i][0]] != 0.0f ? p[at[i][1]] : q[at[i][2]];
    store_four(y + first, len - first, values);
}

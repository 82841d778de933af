// Optimiser updates: all parameters in one launch, new tensors for old.
//
// For each element of each parameter p with gradient g, after g <- g + weight_decay p:
//
//   control  [2] = [step t, learning rate eta]   on the device, so that a recorded step can be replayed
//
//   adam     m <- beta_1 m + (1 - beta_1) g          v <- beta_2 v + (1 - beta_2) g^2
//            PyTorch   p <- p - eta (m / (1 - beta_1^t)) / (sqrt(v / (1 - beta_2^t)) + epsilon)
//            Keras     p <- p - eta (sqrt(1 - beta_2^t) / (1 - beta_1^t)) m / (sqrt(v) + epsilon)
//
//   sgd      u <- momentum u + g             p <- p - eta (nesterov ? g + momentum u : u)      without momentum u = g
//
//   rmsprop  s <- rho s + (1 - rho) g^2
//            PyTorch   d = g / (sqrt(s) + epsilon)     with momentum: u <- momentum u + d,      p <- p - eta u
//            Keras     d = g / sqrt(s + epsilon)       with momentum: u <- momentum u + eta d,  p <- p - u
//
//   global_norm   y = sqrt(sum over all tensors of g^2)
//
//   next_control  from a counter [n, _] of updates made so far: control = [n + 1, rate(n)] and the counter [n + 1, _]
//            constant   base          linear    base (1 - (n - start) / (end - start)), held between base and 0
//            staircase  base factor^floor(n / every)     geometric  max(base divisor^-n, lowest)
//            inverse time   base / (1 + decay n)
//
// A block owns a chunk of one parameter, a thread four neighbours at a time. 1 - beta and beta^t are not what f32 would
// make of them: the host rounds the first from its f64, and the second is taken in f64 by one thread of each block.
// Cost: one pass over each operand; for Adam 7 of them and about 12 operations an element.
// Lists: param, grad, first state, second state, new param, new first state, new second state; null where there is none.

typedef Lists<7, 60> Tensors;

struct AdamParams {
    unsigned tensors, keras;
    float beta_1, beta_2, epsilon, weight_decay;
};

struct SgdParams {
    unsigned tensors, nesterov;
    float momentum, weight_decay;
};

struct RmspropParams {
    unsigned tensors, keras;
    float rho, epsilon, momentum, weight_decay;
};

struct GlobalNormParams {
    unsigned tensors;
};

// Four neighbours of each list.
struct Four {
    unsigned at, count;
    float param[4], grad[4], first[4], second[4];

    __device__ Four(const Tensors& tensors, unsigned t, unsigned at) : at(at), count(minimum(tensors.length[t] - at, 4))
    {
        load_four(tensors.list[0][t] + at, count, param);
        load_four(tensors.list[1][t] + at, count, grad);
        load_four(tensors.list[2][t] ? tensors.list[2][t] + at : nullptr, tensors.list[2][t] ? count : 0, first);
        load_four(tensors.list[3][t] ? tensors.list[3][t] + at : nullptr, tensors.list[3][t] ? count : 0, second);
    }

    __device__ void write(const Tensors& tensors, unsigned t) const
    {
        store(tensors.list[4][t], param);
        store(tensors.list[5][t], first);
        store(tensors.list[6][t], second);
    }

    __device__ void store(const float* to, const float (&x)[4]) const
    {
        if (to) store_four(const_cast<float*>(to) + at, count, x);
    }
};

extern "C" __global__ void adam(
    AdamParams p, Tensors tensors, double beta_1, double beta_2, float take_1, float take_2, const float* control)
{
    __shared__ float factors[2];
    if (threadIdx.x == 0) {
        const double step = control[0], rate = control[1];
        const double correction_1 = 1.0 - pow(beta_1, step), correction_2 = sqrt(1.0 - pow(beta_2, step));
        // Both forms are p - size m / (sqrt(v) scale + epsilon).
        factors[0] = float(p.keras ? rate * correction_2 / correction_1 : rate / correction_1);
        factors[1] = float(p.keras ? 1.0 : 1.0 / correction_2);
    }
    __syncthreads();
    const float size = factors[0], scale = factors[1];
    const unsigned t = tensors.tensor(), begin = tensors.begin(t), end = minimum(begin + CHUNK, tensors.length[t]);
    for (unsigned at = begin + 4 * threadIdx.x; at < end; at += 4 * 256) {
        Four four(tensors, t, at);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float g = four.grad[i] + p.weight_decay * four.param[i];
            four.first[i] = p.beta_1 * four.first[i] + take_1 * g;
            four.second[i] = p.beta_2 * four.second[i] + take_2 * (g * g);
            four.param[i] -= size * four.first[i] / (sqrtf(four.second[i]) * scale + p.epsilon);
        }
        four.write(tensors, t);
    }
}

extern "C" __global__ void sgd(SgdParams p, Tensors tensors, const float* control)
{
    const float rate = control[1];
    // The look-ahead is g + momentum u; without it, 0 g + 1 u.
    const float of_grad = p.nesterov ? 1.0f : 0.0f, of_velocity = p.nesterov ? p.momentum : 1.0f;
    const unsigned t = tensors.tensor(), begin = tensors.begin(t), end = minimum(begin + CHUNK, tensors.length[t]);
    for (unsigned at = begin + 4 * threadIdx.x; at < end; at += 4 * 256) {
        Four four(tensors, t, at);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float g = four.grad[i] + p.weight_decay * four.param[i];
            four.first[i] = p.momentum * four.first[i] + g;
            four.param[i] -= rate * (of_grad * g + of_velocity * four.first[i]);
        }
        four.write(tensors, t);
    }
}

extern "C" __global__ void rmsprop(RmspropParams p, Tensors tensors, float take, const float* control)
{
    const float rate = control[1];
    // The learning rate stands inside the velocity (Keras) or outside; epsilon under the root or beside it.
    const float inside = p.keras ? rate : 1.0f, outside = p.keras ? 1.0f : rate;
    const float under = p.keras ? p.epsilon : 0.0f, beside = p.keras ? 0.0f : p.epsilon;
    const unsigned t = tensors.tensor(), begin = tensors.begin(t), end = minimum(begin + CHUNK, tensors.length[t]);
    for (unsigned at = begin + 4 * threadIdx.x; at < end; at += 4 * 256) {
        Four four(tensors, t, at);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float g = four.grad[i] + p.weight_decay * four.param[i];
            four.first[i] = p.rho * four.first[i] + take * (g * g);
            const float direction = inside * g / (sqrtf(four.first[i] + under) + beside);
            // Without momentum there are no velocities: what was read of them is 0.
            four.second[i] = p.momentum * four.second[i] + direction;
            four.param[i] -= outside * four.second[i];
        }
        four.write(tensors, t);
    }
}

// `sums` has a number for each block.
extern "C" __global__ void global_norm(Lists<1, 240> lists, double* sums)
{
    const unsigned t = lists.tensor(), begin = lists.begin(t), end = minimum(begin + CHUNK, lists.length[t]);
    const float* x = lists.list[0][t];
    double sum = 0.0;  // squares of gradients that explode do not fit f32
    for (unsigned at = begin + threadIdx.x; at < end; at += 256) sum += double(x[at]) * double(x[at]);
    sum = block_sum(sum);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// One block.
extern "C" __global__ void global_norm_root(unsigned blocks, const double* sums, float* y)
{
    double sum = 0.0;
    for (unsigned at = threadIdx.x; at < blocks; at += 256) sum += sums[at];
    sum = block_sum(sum);
    if (threadIdx.x == 0) y[0] = float(sqrt(sum));
}

struct ScheduleParams {
    unsigned kind, start, end;
    float base, factor, log_factor, lowest;
};

// The learning rate of the update that n others came before. Powers by e^(n ln factor), in f64 and with the logarithm
// from the host: one thread takes one of them a step.
__device__ inline double scheduled_rate(const ScheduleParams& p, unsigned n)
{
    const double base = p.base;
    switch (p.kind) {
    case 1: {
        const double gone = n > p.start ? double(n - p.start) / double(p.end - p.start) : 0.0;
        return gone < 1.0 ? base * (1.0 - gone) : 0.0;
    }
    case 2: {
        const unsigned drops = n / p.end;
        if (drops == 0) return base;
        return p.factor == 0.0f ? 0.0 : base * exp(double(drops) * p.log_factor);
    }
    case 3: {
        const double rate = base * exp(-double(n) * p.log_factor);
        return rate < p.lowest ? double(p.lowest) : rate;
    }
    case 4: return base / (1.0 + double(p.factor) * n);
    default: return base;
    }
}

extern "C" __global__ void next_control(ScheduleParams p, const unsigned* made, float* control, unsigned* next_made)
{
    if (global_thread() > 0) return;
    control[0] = float(made[0] + 1u);
    control[1] = float(scheduled_rate(p, made[0]));
    next_made[0] = made[0] + 1u;
    next_made[1] = made[1];
}

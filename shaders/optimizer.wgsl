// Optimiser updates: new parameters and state for old, and the norm of all gradients.
//
//   g <- g + weight_decay p;   control = [step t from 1, learning rate]
//   adam     m <- b1 m + (1 - b1) g                v <- b2 v + (1 - b2) g^2
//            PyTorch   p <- p - rate / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + epsilon)
//            Keras     p <- p - rate sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + epsilon)
//   sgd      u <- momentum u + g                   p <- p - rate (nesterov ? g + momentum u : u)
//   rmsprop  s <- rho s + (1 - rho) g^2
//            PyTorch   d = g / (sqrt(s) + epsilon),   u <- momentum u + d,        p <- p - rate u
//            Keras     d = g / sqrt(s + epsilon),     u <- momentum u + rate d,   p <- p - u
//   global_norm   y = sqrt(sum of all squares)
//   next_control  from a counter [n, _] of updates made so far: control = [n + 1, rate(n)] and the counter [n + 1, _]
//            constant   base          linear    base (1 - (n - start) / (end - start)), held between base and 0
//            staircase  base factor^floor(n / every)     geometric  max(base divisor^-n, lowest)
//            inverse time   base / (1 + decay n)
//
// A dispatch updates one parameter: with control, gradient and two states it binds all eight buffers that WebGPU
// grants. One invocation owns one element. 1 - b^t is -expm1(t ln b) with ln b from the host in pass_0 and pass_1: in
// f32, 1 - 0.999 has lost three of its digits.
// Cost: one pass over each operand, about 12 operations an element for Adam.

struct AdamParams { tensors: u32, keras: u32, beta_1: f32, beta_2: f32, epsilon: f32, weight_decay: f32 }
struct AdamRun { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: AdamParams }
struct SgdParams { tensors: u32, nesterov: u32, momentum: f32, weight_decay: f32 }
struct SgdRun { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: SgdParams }
struct RmspropParams { tensors: u32, keras: u32, rho: f32, epsilon: f32, momentum: f32, weight_decay: f32 }
struct RmspropRun { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: RmspropParams }
// pass_0: where this dispatch's partial sums begin.
struct GlobalNormParams { tensors: u32 }
struct NormRun { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: GlobalNormParams }

struct ScheduleParams {
    kind: u32, start: u32, end: u32,
    base: f32, factor: f32, log_factor: f32, lowest: f32,
}
struct ScheduleRun { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: ScheduleParams }

@group(0) @binding(16) var<uniform> adam_run: AdamRun;
@group(0) @binding(16) var<uniform> schedule_run: ScheduleRun;
@group(0) @binding(16) var<uniform> sgd_run: SgdRun;
@group(0) @binding(16) var<uniform> rmsprop_run: RmspropRun;
@group(0) @binding(16) var<uniform> norm_run: NormRun;

@group(0) @binding(0) var<storage, read> control: array<f32>;
@group(0) @binding(1) var<storage, read> param: array<f32>;
@group(0) @binding(2) var<storage, read> grad: array<f32>;
@group(0) @binding(3) var<storage, read> first: array<f32>;
@group(0) @binding(4) var<storage, read> second: array<f32>;
@group(0) @binding(8) var<storage, read_write> new_param: array<f32>;
@group(0) @binding(9) var<storage, read_write> new_first: array<f32>;
@group(0) @binding(10) var<storage, read_write> new_second: array<f32>;

// global_norm_part and global_norm
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(8) var<storage, read_write> y: array<f32>;

/// 1 - e^x for x <= 0, without cancelling near 0: the series of expm1, squared up from x / 2^n by
/// expm1(2 a) = expm1(a) (expm1(a) + 2).
fn one_minus_exp(x: f32) -> f32 {
    var a = max(x, -100.0);
    var doublings = 0u;
    while a < -0.25 && doublings < 10u {
        a *= 0.5;
        doublings++;
    }
    var e = 1.0 / 5040.0;
    e = fma(e, a, 1.0 / 720.0);
    e = fma(e, a, 1.0 / 120.0);
    e = fma(e, a, 1.0 / 24.0);
    e = fma(e, a, 1.0 / 6.0);
    e = fma(e, a, 0.5);
    e = fma(e * a, a, a);
    for (var i = 0u; i < doublings; i++) {
        e = fma(e, e, e + e);
    }
    return -e;
}

/// What the step's number and the learning rate come to, worked out once a group: the update is
/// p - size m / (sqrt(v) scale + epsilon).
var<workgroup> size_and_scale: vec2<f32>;

@compute @workgroup_size(256)
fn adam(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let p = adam_run.params;
    let log_beta_1 = bitcast<f32>(adam_run.pass_0);
    let log_beta_2 = bitcast<f32>(adam_run.pass_1);
    if lane == 0u {
        let correction_1 = one_minus_exp(control[0] * log_beta_1);
        let correction_2 = sqrt(one_minus_exp(control[0] * log_beta_2));
        if p.keras == 0u {
            size_and_scale = vec2<f32>(control[1] / correction_1, 1.0 / correction_2);
        } else {
            size_and_scale = vec2<f32>(control[1] * correction_2 / correction_1, 1.0);
        }
    }
    workgroupBarrier();
    let i = (group.y * groups.x + group.x) * 256u + lane;
    if i >= adam_run.elements { return; }
    let g = grad[i] + p.weight_decay * param[i];
    let m = p.beta_1 * first[i] + one_minus_exp(log_beta_1) * g;
    let v = p.beta_2 * second[i] + one_minus_exp(log_beta_2) * (g * g);
    new_first[i] = m;
    new_second[i] = v;
    new_param[i] = param[i] - size_and_scale.x * m / (sqrt(v) * size_and_scale.y + p.epsilon);
}

@compute @workgroup_size(256)
fn sgd(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 256u + lane;
    if i >= sgd_run.elements { return; }
    let g = grad[i] + sgd_run.params.weight_decay * param[i];
    new_param[i] = param[i] - control[1] * g;
}

@compute @workgroup_size(256)
fn sgd_momentum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 256u + lane;
    if i >= sgd_run.elements { return; }
    let p = sgd_run.params;
    let g = grad[i] + p.weight_decay * param[i];
    let u = p.momentum * first[i] + g;
    new_first[i] = u;
    let direction = select(u, g + p.momentum * u, p.nesterov == 1u);
    new_param[i] = param[i] - control[1] * direction;
}

/// The new mean square of element i, and the direction that its gradient has after division.
fn rmsprop_direction(i: u32) -> vec2<f32> {
    let p = rmsprop_run.params;
    let g = grad[i] + p.weight_decay * param[i];
    let s = p.rho * first[i] + one_minus_exp(bitcast<f32>(rmsprop_run.pass_0)) * (g * g);
    if p.keras == 0u {
        return vec2<f32>(s, g / (sqrt(s) + p.epsilon));
    }
    return vec2<f32>(s, control[1] * g / sqrt(s + p.epsilon));
}

@compute @workgroup_size(256)
fn rmsprop(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 256u + lane;
    if i >= rmsprop_run.elements { return; }
    let next = rmsprop_direction(i);
    new_first[i] = next.x;
    new_param[i] = param[i] - select(1.0, control[1], rmsprop_run.params.keras == 0u) * next.y;
}

@compute @workgroup_size(256)
fn rmsprop_momentum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 256u + lane;
    if i >= rmsprop_run.elements { return; }
    let next = rmsprop_direction(i);
    let u = rmsprop_run.params.momentum * second[i] + next.y;
    new_first[i] = next.x;
    new_second[i] = u;
    new_param[i] = param[i] - select(1.0, control[1], rmsprop_run.params.keras == 0u) * u;
}

var<workgroup> partial: array<f32, 256>;

/// The sum of the group's values, by a tree; valid in lane 0.
fn sum_of_group(value: f32, lane: u32) -> f32 {
    partial[lane] = value;
    workgroupBarrier();
    for (var step = 128u; step > 0u; step /= 2u) {
        if lane < step {
            partial[lane] += partial[lane + step];
        }
        workgroupBarrier();
    }
    return partial[0];
}

/// One tensor's sums of squares, one for each 4,096 elements.
@compute @workgroup_size(256)
fn global_norm_part(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group.y * groups.x + group.x;
    let end = min(norm_run.elements, (number + 1u) * 4096u);
    var total = 0.0;
    for (var i = number * 4096u + lane; i < end; i += 256u) {
        total += x[i] * x[i];
    }
    let sum = sum_of_group(total, lane);
    if lane == 0u && number * 4096u < norm_run.elements {
        y[norm_run.pass_0 + number] = sum;
    }
}

/// One group adds all partial sums.
@compute @workgroup_size(256)
fn global_norm(@builtin(local_invocation_index) lane: u32) {
    var total = 0.0;
    for (var i = lane; i < norm_run.elements; i += 256u) {
        total += x[i];
    }
    let sum = sum_of_group(total, lane);
    if lane == 0u {
        y[0] = sqrt(sum);
    }
}

// next_control
@group(0) @binding(0) var<storage, read> made: array<u32>;
@group(0) @binding(8) var<storage, read_write> next_control_out: array<f32>;
@group(0) @binding(9) var<storage, read_write> next_made: array<u32>;

/// e^x to a unit in the last place: x = n ln 2 + r with |r| <= ln 2 / 2, a polynomial in r, and 2^n in two factors so
/// that subnormal and overflowing results come out right. NaN passes.
fn exp_accurate(x: f32) -> f32 {
    // Beyond these the result is 0 or infinity in f32 anyway.
    let bounded = select(clamp(x, -104.0, 89.0), x, x != x);
    let n = round(bounded * 1.44269504);
    // ln 2 in two parts, the first with few enough bits for n times it to be exact.
    let r = fma(n, -1.428606765330187e-06, fma(n, -0.693145752, bounded));
    var e = 1.98756912e-4;
    e = fma(e, r, 1.39820006e-3);
    e = fma(e, r, 8.33345200e-3);
    e = fma(e, r, 4.16657962e-2);
    e = fma(e, r, 1.66666655e-1);
    e = fma(e, r, 5.0e-1);
    e = fma(e, r * r, r) + 1.0;
    let power = i32(n);
    let half = power >> 1u;
    let first = bitcast<f32>(u32(half + 127) << 23u);
    let second = bitcast<f32>(u32(power - half + 127) << 23u);
    return e * first * second;
}

/// The learning rate of the update that n others came before. Powers by e^(n ln factor), the logarithm from the host:
/// f32 has lost the digits of a factor near 1.
fn scheduled_rate(p: ScheduleParams, n: u32) -> f32 {
    switch p.kind {
        case 1u: {
            let gone = f32(select(0u, n - p.start, n > p.start)) / f32(p.end - p.start);
            return p.base * clamp(1.0 - gone, 0.0, 1.0);
        }
        case 2u: {
            // The logarithm of 0 is -infinity, and 0 times that is no number.
            let drops = n / p.end;
            if drops == 0u { return p.base; }
            if p.factor == 0.0 { return 0.0; }
            return p.base * exp_accurate(f32(drops) * p.log_factor);
        }
        case 3u: { return max(p.base * exp_accurate(-f32(n) * p.log_factor), p.lowest); }
        case 4u: { return p.base / fma(p.factor, f32(n), 1.0); }
        default: { return p.base; }
    }
}

@compute @workgroup_size(256)
fn next_control(@builtin(local_invocation_index) lane: u32) {
    if lane > 0u { return; }
    next_control_out[0] = f32(made[0] + 1u);
    next_control_out[1] = scheduled_rate(schedule_run.params, made[0]);
    next_made[0] = made[0] + 1u;
    next_made[1] = made[1];
}

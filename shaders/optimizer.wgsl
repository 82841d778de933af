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
// grants. Where an adapter grants more, the wide entry points update three in one. Their bindings are lists, one after
// another as in the mathematics, and their groups are numbered through the three tensors. One invocation owns one
// element. 1 - b^t is -expm1(t ln b) with ln b from the host in pass_0 and pass_1: in
// f32, 1 - 0.999 has lost three of its digits.
// Cost: one pass over each operand, about 12 operations an element for Adam.

struct AdamParams { tensors: u32, keras: u32, beta_1: f32, beta_2: f32, epsilon: f32, weight_decay: f32 }
struct AdamRun { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: AdamParams }
struct SgdParams { tensors: u32, nesterov: u32, momentum: f32, weight_decay: f32 }
struct SgdRun { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: SgdParams }
struct RmspropParams { tensors: u32, keras: u32, rho: f32, epsilon: f32, momentum: f32, weight_decay: f32 }
struct RmspropRun { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: RmspropParams }
// Of the wide entry points. elements: how many tensors. sizes: how many elements each has; those beyond the last 0.
struct AdamWideRun { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: AdamParams, sizes: vec4<u32> }
struct SgdWideRun { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: SgdParams, sizes: vec4<u32> }
struct RmspropWideRun { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: RmspropParams, sizes: vec4<u32> }
// pass_0: where this dispatch's partial sums begin.
struct GlobalNormParams { tensors: u32 }
struct NormRun { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: GlobalNormParams }
struct NormWideRun {
    elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: GlobalNormParams, sizes: array<vec4<u32>, 7>
}

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

// Wide updates: control as above, and of three tensors
@group(0) @binding(1) var<storage, read> param_0: array<f32>;
@group(0) @binding(2) var<storage, read> param_1: array<f32>;
@group(0) @binding(3) var<storage, read> param_2: array<f32>;
@group(0) @binding(4) var<storage, read> grad_0: array<f32>;
@group(0) @binding(5) var<storage, read> grad_1: array<f32>;
@group(0) @binding(6) var<storage, read> grad_2: array<f32>;
@group(0) @binding(7) var<storage, read> first_0: array<f32>;
@group(0) @binding(8) var<storage, read> first_1: array<f32>;
@group(0) @binding(9) var<storage, read> first_2: array<f32>;
@group(0) @binding(10) var<storage, read> second_0: array<f32>;
@group(0) @binding(11) var<storage, read> second_1: array<f32>;
@group(0) @binding(12) var<storage, read> second_2: array<f32>;
@group(0) @binding(32) var<storage, read_write> new_param_0: array<f32>;
@group(0) @binding(33) var<storage, read_write> new_param_1: array<f32>;
@group(0) @binding(34) var<storage, read_write> new_param_2: array<f32>;
@group(0) @binding(35) var<storage, read_write> new_first_0: array<f32>;
@group(0) @binding(36) var<storage, read_write> new_first_1: array<f32>;
@group(0) @binding(37) var<storage, read_write> new_first_2: array<f32>;
@group(0) @binding(38) var<storage, read_write> new_second_0: array<f32>;
@group(0) @binding(39) var<storage, read_write> new_second_1: array<f32>;
@group(0) @binding(40) var<storage, read_write> new_second_2: array<f32>;
@group(0) @binding(48) var<uniform> adam_wide_run: AdamWideRun;
@group(0) @binding(48) var<uniform> sgd_wide_run: SgdWideRun;
@group(0) @binding(48) var<uniform> rmsprop_wide_run: RmspropWideRun;

// global_norm_wide
@group(0) @binding(0) var<storage, read> x_0: array<f32>;
@group(0) @binding(1) var<storage, read> x_1: array<f32>;
@group(0) @binding(2) var<storage, read> x_2: array<f32>;
@group(0) @binding(3) var<storage, read> x_3: array<f32>;
@group(0) @binding(4) var<storage, read> x_4: array<f32>;
@group(0) @binding(5) var<storage, read> x_5: array<f32>;
@group(0) @binding(6) var<storage, read> x_6: array<f32>;
@group(0) @binding(7) var<storage, read> x_7: array<f32>;
@group(0) @binding(8) var<storage, read> x_8: array<f32>;
@group(0) @binding(9) var<storage, read> x_9: array<f32>;
@group(0) @binding(10) var<storage, read> x_10: array<f32>;
@group(0) @binding(11) var<storage, read> x_11: array<f32>;
@group(0) @binding(12) var<storage, read> x_12: array<f32>;
@group(0) @binding(13) var<storage, read> x_13: array<f32>;
@group(0) @binding(14) var<storage, read> x_14: array<f32>;
@group(0) @binding(15) var<storage, read> x_15: array<f32>;
@group(0) @binding(16) var<storage, read> x_16: array<f32>;
@group(0) @binding(17) var<storage, read> x_17: array<f32>;
@group(0) @binding(18) var<storage, read> x_18: array<f32>;
@group(0) @binding(19) var<storage, read> x_19: array<f32>;
@group(0) @binding(20) var<storage, read> x_20: array<f32>;
@group(0) @binding(21) var<storage, read> x_21: array<f32>;
@group(0) @binding(22) var<storage, read> x_22: array<f32>;
@group(0) @binding(23) var<storage, read> x_23: array<f32>;
@group(0) @binding(24) var<storage, read> x_24: array<f32>;
@group(0) @binding(25) var<storage, read> x_25: array<f32>;
@group(0) @binding(26) var<storage, read> x_26: array<f32>;
@group(0) @binding(32) var<storage, read_write> sums: array<f32>;
@group(0) @binding(48) var<uniform> norm_wide_run: NormWideRun;

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

/// Where the group of a number works: which of three tensors, and its first element; tensor 3, which has none, for a
/// group beyond them.
fn tensor_and_start(sizes: vec4<u32>, number: u32) -> vec2<u32> {
    var tensor = 0u;
    var group = number;
    while tensor < 3u && group >= (sizes[tensor] + 255u) / 256u {
        group -= (sizes[tensor] + 255u) / 256u;
        tensor++;
    }
    return vec2<u32>(tensor, group * 256u);
}

/// Element i of a parameter, and of its gradient.
fn param_and_grad(tensor: u32, i: u32) -> vec2<f32> {
    switch tensor {
        case 0u: { return vec2<f32>(param_0[i], grad_0[i]); }
        case 1u: { return vec2<f32>(param_1[i], grad_1[i]); }
        default: { return vec2<f32>(param_2[i], grad_2[i]); }
    }
}

/// Element i of a first state.
fn first_of(tensor: u32, i: u32) -> f32 {
    switch tensor {
        case 0u: { return first_0[i]; }
        case 1u: { return first_1[i]; }
        default: { return first_2[i]; }
    }
}

/// Element i of a second state.
fn second_of(tensor: u32, i: u32) -> f32 {
    switch tensor {
        case 0u: { return second_0[i]; }
        case 1u: { return second_1[i]; }
        default: { return second_2[i]; }
    }
}

fn set_param(tensor: u32, i: u32, value: f32) {
    switch tensor {
        case 0u: { new_param_0[i] = value; }
        case 1u: { new_param_1[i] = value; }
        default: { new_param_2[i] = value; }
    }
}

fn set_first(tensor: u32, i: u32, value: f32) {
    switch tensor {
        case 0u: { new_first_0[i] = value; }
        case 1u: { new_first_1[i] = value; }
        default: { new_first_2[i] = value; }
    }
}

fn set_second(tensor: u32, i: u32, value: f32) {
    switch tensor {
        case 0u: { new_second_0[i] = value; }
        case 1u: { new_second_1[i] = value; }
        default: { new_second_2[i] = value; }
    }
}

/// What the step's number and the learning rate come to, worked out once a group: the update is
/// p - size m / (sqrt(v) scale + epsilon).
var<workgroup> size_and_scale: vec2<f32>;

/// Adam's size and scale; `logs` are ln beta_1 and ln beta_2.
fn adam_size_and_scale(keras: u32, logs: vec2<f32>) -> vec2<f32> {
    let correction_1 = one_minus_exp(control[0] * logs.x);
    let correction_2 = sqrt(one_minus_exp(control[0] * logs.y));
    if keras == 0u {
        return vec2<f32>(control[1] / correction_1, 1.0 / correction_2);
    }
    return vec2<f32>(control[1] * correction_2 / correction_1, 1.0);
}

/// Adam's new parameter and moments of an element, of which `old` holds parameter, gradient and moments.
fn adam_element(p: AdamParams, logs: vec2<f32>, at: vec2<f32>, old: vec4<f32>) -> vec3<f32> {
    let g = old.y + p.weight_decay * old.x;
    let m = p.beta_1 * old.z + one_minus_exp(logs.x) * g;
    let v = p.beta_2 * old.w + one_minus_exp(logs.y) * (g * g);
    return vec3<f32>(old.x - at.x * m / (sqrt(v) * at.y + p.epsilon), m, v);
}

@compute @workgroup_size(256)
fn adam(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let logs = vec2<f32>(bitcast<f32>(adam_run.pass_0), bitcast<f32>(adam_run.pass_1));
    if lane == 0u {
        size_and_scale = adam_size_and_scale(adam_run.params.keras, logs);
    }
    workgroupBarrier();
    let i = (group.y * groups.x + group.x) * 256u + lane;
    if i >= adam_run.elements { return; }
    let old = vec4<f32>(param[i], grad[i], first[i], second[i]);
    let moved = adam_element(adam_run.params, logs, size_and_scale, old);
    new_param[i] = moved.x;
    new_first[i] = moved.y;
    new_second[i] = moved.z;
}

@compute @workgroup_size(256)
fn adam_wide(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let logs = vec2<f32>(bitcast<f32>(adam_wide_run.pass_0), bitcast<f32>(adam_wide_run.pass_1));
    if lane == 0u {
        size_and_scale = adam_size_and_scale(adam_wide_run.params.keras, logs);
    }
    workgroupBarrier();
    let place = tensor_and_start(adam_wide_run.sizes, group.y * groups.x + group.x);
    let tensor = place.x;
    let i = place.y + lane;
    if i >= adam_wide_run.sizes[tensor] { return; }
    let old = vec4<f32>(param_and_grad(tensor, i), first_of(tensor, i), second_of(tensor, i));
    let moved = adam_element(adam_wide_run.params, logs, size_and_scale, old);
    set_param(tensor, i, moved.x);
    set_first(tensor, i, moved.y);
    set_second(tensor, i, moved.z);
}

/// Descent's new parameter and velocity of an element, of which `old` holds parameter, gradient and velocity; without
/// momentum the velocity is 0.
fn sgd_element(p: SgdParams, old: vec3<f32>) -> vec2<f32> {
    let g = old.y + p.weight_decay * old.x;
    let u = p.momentum * old.z + g;
    let direction = select(u, g + p.momentum * u, p.nesterov == 1u);
    return vec2<f32>(old.x - control[1] * direction, u);
}

@compute @workgroup_size(256)
fn sgd(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 256u + lane;
    if i >= sgd_run.elements { return; }
    new_param[i] = sgd_element(sgd_run.params, vec3<f32>(param[i], grad[i], 0.0)).x;
}

@compute @workgroup_size(256)
fn sgd_momentum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 256u + lane;
    if i >= sgd_run.elements { return; }
    let moved = sgd_element(sgd_run.params, vec3<f32>(param[i], grad[i], first[i]));
    new_param[i] = moved.x;
    new_first[i] = moved.y;
}

@compute @workgroup_size(256)
fn sgd_wide(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = tensor_and_start(sgd_wide_run.sizes, group.y * groups.x + group.x);
    let tensor = place.x;
    let i = place.y + lane;
    if i >= sgd_wide_run.sizes[tensor] { return; }
    let old = vec3<f32>(param_and_grad(tensor, i), 0.0);
    set_param(tensor, i, sgd_element(sgd_wide_run.params, old).x);
}

@compute @workgroup_size(256)
fn sgd_momentum_wide(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = tensor_and_start(sgd_wide_run.sizes, group.y * groups.x + group.x);
    let tensor = place.x;
    let i = place.y + lane;
    if i >= sgd_wide_run.sizes[tensor] { return; }
    let old = vec3<f32>(param_and_grad(tensor, i), first_of(tensor, i));
    let moved = sgd_element(sgd_wide_run.params, old);
    set_param(tensor, i, moved.x);
    set_first(tensor, i, moved.y);
}

/// RMSprop's new parameter, mean square and velocity of an element, of which `old` holds parameter, gradient, mean
/// square and velocity; without momentum the velocity is 0.
fn rmsprop_element(p: RmspropParams, log_rho: f32, old: vec4<f32>) -> vec3<f32> {
    let g = old.y + p.weight_decay * old.x;
    let s = p.rho * old.z + one_minus_exp(log_rho) * (g * g);
    if p.keras == 0u {
        let u = p.momentum * old.w + g / (sqrt(s) + p.epsilon);
        return vec3<f32>(old.x - control[1] * u, s, u);
    }
    let u = p.momentum * old.w + control[1] * g / sqrt(s + p.epsilon);
    return vec3<f32>(old.x - u, s, u);
}

@compute @workgroup_size(256)
fn rmsprop(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 256u + lane;
    if i >= rmsprop_run.elements { return; }
    let log_rho = bitcast<f32>(rmsprop_run.pass_0);
    let old = vec4<f32>(param[i], grad[i], first[i], 0.0);
    let moved = rmsprop_element(rmsprop_run.params, log_rho, old);
    new_param[i] = moved.x;
    new_first[i] = moved.y;
}

@compute @workgroup_size(256)
fn rmsprop_momentum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 256u + lane;
    if i >= rmsprop_run.elements { return; }
    let log_rho = bitcast<f32>(rmsprop_run.pass_0);
    let old = vec4<f32>(param[i], grad[i], first[i], second[i]);
    let moved = rmsprop_element(rmsprop_run.params, log_rho, old);
    new_param[i] = moved.x;
    new_first[i] = moved.y;
    new_second[i] = moved.z;
}

@compute @workgroup_size(256)
fn rmsprop_wide(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = tensor_and_start(rmsprop_wide_run.sizes, group.y * groups.x + group.x);
    let tensor = place.x;
    let i = place.y + lane;
    if i >= rmsprop_wide_run.sizes[tensor] { return; }
    let log_rho = bitcast<f32>(rmsprop_wide_run.pass_0);
    let old = vec4<f32>(param_and_grad(tensor, i), first_of(tensor, i), 0.0);
    let moved = rmsprop_element(rmsprop_wide_run.params, log_rho, old);
    set_param(tensor, i, moved.x);
    set_first(tensor, i, moved.y);
}

@compute @workgroup_size(256)
fn rmsprop_momentum_wide(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = tensor_and_start(rmsprop_wide_run.sizes, group.y * groups.x + group.x);
    let tensor = place.x;
    let i = place.y + lane;
    if i >= rmsprop_wide_run.sizes[tensor] { return; }
    let log_rho = bitcast<f32>(rmsprop_wide_run.pass_0);
    let old = vec4<f32>(param_and_grad(tensor, i), first_of(tensor, i), second_of(tensor, i));
    let moved = rmsprop_element(rmsprop_wide_run.params, log_rho, old);
    set_param(tensor, i, moved.x);
    set_first(tensor, i, moved.y);
    set_second(tensor, i, moved.z);
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

/// Element i of a tensor.
fn number_of(tensor: u32, i: u32) -> f32 {
    switch tensor {
        case 0u: { return x_0[i]; }
        case 1u: { return x_1[i]; }
        case 2u: { return x_2[i]; }
        case 3u: { return x_3[i]; }
        case 4u: { return x_4[i]; }
        case 5u: { return x_5[i]; }
        case 6u: { return x_6[i]; }
        case 7u: { return x_7[i]; }
        case 8u: { return x_8[i]; }
        case 9u: { return x_9[i]; }
        case 10u: { return x_10[i]; }
        case 11u: { return x_11[i]; }
        case 12u: { return x_12[i]; }
        case 13u: { return x_13[i]; }
        case 14u: { return x_14[i]; }
        case 15u: { return x_15[i]; }
        case 16u: { return x_16[i]; }
        case 17u: { return x_17[i]; }
        case 18u: { return x_18[i]; }
        case 19u: { return x_19[i]; }
        case 20u: { return x_20[i]; }
        case 21u: { return x_21[i]; }
        case 22u: { return x_22[i]; }
        case 23u: { return x_23[i]; }
        case 24u: { return x_24[i]; }
        case 25u: { return x_25[i]; }
        default: { return x_26[i]; }
    }
}

/// As global_norm_part, of up to 27 tensors.
@compute @workgroup_size(256)
fn global_norm_wide(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group.y * groups.x + group.x;
    var tensor = 0u;
    var size = norm_wide_run.sizes[0].x;
    var piece = number;
    while piece >= (size + 4095u) / 4096u && tensor < norm_wide_run.elements {
        piece -= (size + 4095u) / 4096u;
        tensor++;
        size = norm_wide_run.sizes[tensor / 4u][tensor % 4u];
    }
    // Beyond the last tensor there is nothing.
    let end = select(0u, min(size, (piece + 1u) * 4096u), tensor < norm_wide_run.elements);
    var total = 0.0;
    for (var i = piece * 4096u + lane; i < end; i += 256u) {
        let value = number_of(tensor, i);
        total += value * value;
    }
    let sum = sum_of_group(total, lane);
    if lane == 0u && end > 0u {
        sums[norm_wide_run.pass_0 + number] = sum;
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

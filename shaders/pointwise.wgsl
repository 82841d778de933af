// Pointwise kernels: each output element is a function of the elements at its place.
//
//   fill     y[i] = value
//   unary    y[i] = f(x[i]; a, b)
//   binary   y[i] = f(p[i], q[i]; a)        operands stretched: an axis of stride 0 repeats
//   select   y[i] = c[i] != 0 ? p[i] : q[i]
//
// One invocation owns one output element. Cost: one pass over each operand, a few operations an element, and for
// stretched operands a division per axis that is not merged away.
//
// exp, log, sin and cos are written out: WGSL's own may be wrong by several units in the last place, and on software
// adapters are. The codes of the functions are those of `UnaryFunction` and `BinaryFunction` in Rust.

struct FillParams { len: u32, value: f32 }
struct FillRun { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: FillParams }
struct UnaryParams { len: u32, function: u32, a: f32, b: f32 }
struct UnaryRun { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: UnaryParams }

struct BroadcastParams {
    function: u32,
    flat: u32,
    dims: array<vec4<u32>, 2>,
    strides_0: array<vec4<u32>, 2>,
    strides_1: array<vec4<u32>, 2>,
    strides_2: array<vec4<u32>, 2>,
    a: f32,
}
struct BroadcastRun { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: BroadcastParams }

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(0) var<storage, read> p: array<f32>;
@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(8) var<storage, read_write> y: array<f32>;
@group(0) @binding(16) var<uniform> fill_run: FillRun;
@group(0) @binding(16) var<uniform> unary_run: UnaryRun;
@group(0) @binding(16) var<uniform> broadcast_run: BroadcastRun;

// `select` has the condition in front.
@group(0) @binding(0) var<storage, read> condition: array<f32>;
@group(0) @binding(1) var<storage, read> chosen: array<f32>;
@group(0) @binding(2) var<storage, read> otherwise: array<f32>;

/// Which element this invocation owns: groups beyond the limit of an axis are folded into a second one.
fn element(group: vec3<u32>, groups: vec3<u32>, lane: u32) -> u32 {
    return (group.y * groups.x + group.x) * 256u + lane;
}

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

/// ln x to a unit in the last place: x = 2^n m with m in [sqrt(1/2), sqrt 2), and a polynomial in m - 1. Negative
/// numbers give NaN, 0 gives -infinity.
fn log_accurate(x: f32) -> f32 {
    // Subnormals are scaled into the range of normal numbers first.
    let small = x < 1.17549435e-38;
    let scaled = select(x, x * 16777216.0, small);
    let bits = bitcast<u32>(scaled);
    var n = i32(bits >> 23u) - 126 - select(0, 24, small);
    var m = bitcast<f32>((bits & 0x007fffffu) | 0x3f000000u);
    if m < 0.70710678 {
        m = m + m;
        n = n - 1;
    }
    return finish_log(m - 1.0, f32(n), x);
}

fn finish_log(t: f32, n: f32, x: f32) -> f32 {
    let square = t * t;
    var s = 7.0376836292e-2;
    s = fma(s, t, -1.1514610310e-1);
    s = fma(s, t, 1.1676998740e-1);
    s = fma(s, t, -1.2420140846e-1);
    s = fma(s, t, 1.4249322787e-1);
    s = fma(s, t, -1.6668057665e-1);
    s = fma(s, t, 2.0000714765e-1);
    s = fma(s, t, -2.4999993993e-1);
    s = fma(s, t, 3.3333331174e-1);
    s = s * t * square;
    s = fma(n, -2.12194440e-4, s);
    s = fma(square, -0.5, s);
    let result = fma(n, 0.693359375, t + s);
    if x == 0.0 { return bitcast<f32>(minus_infinity_bits()); }
    if !(x > 0.0) { return bitcast<f32>(nan_bits()); }
    if bitcast<u32>(x) == 0x7f800000u { return x; }
    return result;
}

// WGSL refuses constants that are no finite numbers; these are not constant to its compiler.
var<private> zero_word: u32 = 0u;
fn nan_bits() -> u32 { return zero_word + 0x7fc00000u; }
fn minus_infinity_bits() -> u32 { return zero_word + 0xff800000u; }

/// ln(1 + x) for x in [0, 1]: with u = 1 + x rounded, ln u plus what the rounding took away (Kahan).
fn log_1_plus(x: f32) -> f32 {
    let u = 1.0 + x;
    let lost = x - (u - 1.0);
    return log_accurate(u) + lost / u;
}

/// The logistic function by the sign of x, so that the exponential cannot overflow.
fn sigmoid(x: f32) -> f32 {
    let e = exp_accurate(-abs(x));
    return select(1.0, e, x < 0.0) / (1.0 + e);
}

/// tanh: a polynomial near 0, where 1 - 2 / (e^2x + 1) would cancel.
fn tanh_accurate(x: f32) -> f32 {
    let size = abs(x);
    if size < 0.625 {
        let z = x * x;
        var t = -5.70498872745e-3;
        t = fma(t, z, 2.06390887954e-2);
        t = fma(t, z, -5.37397155531e-2);
        t = fma(t, z, 1.33314422036e-1);
        t = fma(t, z, -3.33332819422e-1);
        return fma(t * z, x, x);
    }
    let e = 1.0 - 2.0 / (exp_accurate(2.0 * min(size, 10.0)) + 1.0);
    return select(select(e, -e, x < 0.0), x, x != x);
}

/// sin(x + quarter pi/2): x less the nearest multiple of pi/2, in three parts, then the polynomial of the octant.
fn sine(x: f32, quarter: i32) -> f32 {
    let n = round(x * 0.636619772);
    var r = fma(n, -1.5703125, x);
    r = fma(n, -4.83751297e-4, r);
    r = fma(n, -7.54953362e-8, r);
    r = fma(n, -2.5633441e-12, r);
    let turn = (i32(n) + quarter) & 3;
    let z = r * r;
    var s = fma(fma(-1.9515295891e-4, z, 8.3321608736e-3), z, -1.6666654611e-1);
    s = fma(s * z, r, r);
    var c = fma(fma(2.443315711809948e-5, z, -1.388731625493765e-3), z, 4.166664568298827e-2);
    c = fma(c * z, z, fma(-0.5, z, 1.0));
    let value = select(s, c, (turn & 1) == 1);
    return select(value, -value, turn >= 2);
}

/// x^a. Whole exponents by repeated squaring; others by e^(a ln x).
fn power(x: f32, a: f32) -> f32 {
    if a == 0.5 { return sqrt(x); }
    if a == -0.5 { return 1.0 / sqrt(x); }
    if floor(a) != a || abs(a) >= 64.0 { return exp_accurate(a * log_accurate(x)); }
    var result = 1.0;
    var base = x;
    var rest = u32(abs(a));
    for (var bit = 0u; bit < 6u; bit++) {
        if (rest & 1u) == 1u { result *= base; }
        base *= base;
        rest >>= 1u;
    }
    return select(result, 1.0 / result, a < 0.0);
}

@compute @workgroup_size(256)
fn fill(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = element(group, groups, lane);
    if i >= fill_run.elements { return; }
    y[i] = fill_run.params.value;
}

@compute @workgroup_size(256)
fn unary(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = element(group, groups, lane);
    if i >= unary_run.elements { return; }
    let params = unary_run.params;
    let value = x[i];
    var result: f32;
    switch params.function {
        case 0u: { result = -value; }
        case 1u: { result = exp_accurate(value); }
        case 2u: { result = log_accurate(value); }
        case 3u: { result = sqrt(value); }
        case 4u: { result = select(value, -value, value < 0.0); }
        // 0 stays 0 and NaN stays NaN.
        case 5u: { result = select(select(value, -1.0, value < 0.0), 1.0, value > 0.0); }
        case 6u: { result = value * value; }
        case 7u: { result = 1.0 / value; }
        case 8u: { result = select(value, 0.0, value <= 0.0); }
        case 9u: { result = select(value, params.a * value, value <= 0.0); }
        case 10u: { result = tanh_accurate(value); }
        case 11u: { result = sigmoid(value); }
        case 12u: {
            let positive = select(value, 0.0, value <= 0.0);
            result = positive + log_1_plus(exp_accurate(-abs(value)));
        }
        case 13u: { result = select(select(value, params.a, value < params.a), params.b, value > params.b); }
        case 14u: { result = select(0.0, 1.0, params.a <= value && value <= params.b); }
        case 15u: { result = value + params.a; }
        case 16u: { result = params.a * value; }
        case 17u: { result = power(value, params.a); }
        case 18u: { result = select(0.0, 1.0, value > params.a); }
        case 19u: { result = sine(value, 0); }
        default: { result = sine(value, 1); }
    }
    y[i] = result;
}

/// Where in each of three operands the output element `i` is found.
fn offsets(i: u32) -> vec3<u32> {
    if broadcast_run.params.flat == 1u { return vec3<u32>(i); }
    var rest = i;
    var at = vec3<u32>(0u);
    for (var axis = 5; axis >= 0; axis--) {
        let extent = broadcast_run.params.dims[axis >> 2u][axis & 3];
        if extent == 1u { continue; }
        let here = rest % extent;
        rest /= extent;
        at += here * vec3<u32>(
            broadcast_run.params.strides_0[axis >> 2u][axis & 3],
            broadcast_run.params.strides_1[axis >> 2u][axis & 3],
            broadcast_run.params.strides_2[axis >> 2u][axis & 3],
        );
    }
    return at;
}

@compute @workgroup_size(256)
fn binary(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = element(group, groups, lane);
    if i >= broadcast_run.elements { return; }
    let at = offsets(i);
    let left = p[at.x];
    let right = q[at.y];
    var result: f32;
    switch broadcast_run.params.function {
        case 0u: { result = left + right; }
        case 1u: { result = left - right; }
        case 2u: { result = left * right; }
        case 3u: { result = left / right; }
        // NaN in either operand is passed on.
        case 4u: { result = select(right, left, left > right || is_nan(left)); }
        case 5u: { result = select(right, left, left < right || is_nan(left)); }
        case 6u: { result = select(0.0, 1.0, left > right); }
        case 7u: { result = select(right, broadcast_run.params.a * right, left <= 0.0); }
        case 8u: { result = (1.0 - left * left) * right; }
        default: { result = left * (1.0 - left) * right; }
    }
    y[i] = result;
}

/// By the bits: a compiler may assume that x != x is false.
fn is_nan(value: f32) -> bool {
    return (bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u;
}

@compute @workgroup_size(256)
fn select_(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = element(group, groups, lane);
    if i >= broadcast_run.elements { return; }
    let at = offsets(i);
    if condition[at.x] != 0.0 {
        y[i] = chosen[at.y];
    } else {
        y[i] = otherwise[at.z];
    }
}

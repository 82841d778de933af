// Binary cross-entropy of logits, as no logit overflows it.
//
//   bce_with_logits        y[i] = max(x[i], 0) - x[i] t[i] + ln(1 + e^-|x[i]|)        x: logits, t: targets, one shape
//   bce_with_logits_mean   y = scale / N sum_i bce(x[i], t[i]), and its gradient slope[i] = scale / N (sigmoid(x[i]) - t[i])
//
// One invocation owns one element; of the mean, one workgroup owns everything, each of its invocations every 256th
// element, and a tree adds their sums. Cost: one pass over each operand, 6 operations an element, for the mean 12. The
// exponential and the logarithm are those of pointwise.wgsl.

struct LossParams { len: u32 }
struct Run { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: LossParams }
struct MeanLossParams { len: u32, scale: f32 }
struct MeanRun { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: MeanLossParams }

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> t: array<f32>;
@group(0) @binding(8) var<storage, read_write> y: array<f32>;
@group(0) @binding(9) var<storage, read_write> slope: array<f32>;
@group(0) @binding(16) var<uniform> run: Run;
@group(0) @binding(16) var<uniform> mean_run: MeanRun;

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

fn cross_entropy(logit: f32, target_value: f32) -> f32 {
    // `max` would drop a NaN.
    let positive = select(logit, 0.0, logit < 0.0);
    return positive - logit * target_value + log_1_plus(exp_accurate(-abs(logit)));
}

/// The logistic function, by the sign of its argument so that nothing overflows.
fn sigmoid(x: f32) -> f32 {
    let e = exp_accurate(-abs(x));
    return select(1.0, e, x < 0.0) / (1.0 + e);
}

@compute @workgroup_size(256)
fn bce_with_logits(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 256u + lane;
    if i >= run.elements { return; }
    y[i] = cross_entropy(x[i], t[i]);
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

@compute @workgroup_size(256)
fn bce_with_logits_mean(@builtin(local_invocation_index) lane: u32) {
    let each = mean_run.params.scale / f32(mean_run.params.len);
    var total = 0.0;
    for (var i = lane; i < mean_run.params.len; i += 256u) {
        total += cross_entropy(x[i], t[i]);
        slope[i] = each * (sigmoid(x[i]) - t[i]);
    }
    let sum = sum_of_group(total, lane);
    if lane == 0u { y[0] = each * sum; }
}

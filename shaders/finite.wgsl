// How many numbers are infinite or NaN: told by the bits, since a compiler may assume that there are none.
//
//   count_non_finite   y = number of elements of x_1, .., x_n whose exponent is all ones
//
// A workgroup of count_non_finite_part owns 4,096 elements of one tensor and writes its count; one workgroup adds the
// counts of all. count_non_finite_wide does for up to 27 tensors in one dispatch what count_non_finite_part does for
// one, where so many can be bound. Cost: one pass over the tensors.

struct FiniteParams { tensors: u32 }
// pass_0: where this dispatch's counts begin.
struct Run { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: FiniteParams }
// elements: how many tensors. sizes: how many elements each has.
struct WideRun { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: FiniteParams, sizes: array<vec4<u32>, 7> }

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(8) var<storage, read_write> y: array<u32>;
@group(0) @binding(16) var<uniform> run: Run;

// count_non_finite_wide
@group(0) @binding(0) var<storage, read> x_0: array<u32>;
@group(0) @binding(1) var<storage, read> x_1: array<u32>;
@group(0) @binding(2) var<storage, read> x_2: array<u32>;
@group(0) @binding(3) var<storage, read> x_3: array<u32>;
@group(0) @binding(4) var<storage, read> x_4: array<u32>;
@group(0) @binding(5) var<storage, read> x_5: array<u32>;
@group(0) @binding(6) var<storage, read> x_6: array<u32>;
@group(0) @binding(7) var<storage, read> x_7: array<u32>;
@group(0) @binding(8) var<storage, read> x_8: array<u32>;
@group(0) @binding(9) var<storage, read> x_9: array<u32>;
@group(0) @binding(10) var<storage, read> x_10: array<u32>;
@group(0) @binding(11) var<storage, read> x_11: array<u32>;
@group(0) @binding(12) var<storage, read> x_12: array<u32>;
@group(0) @binding(13) var<storage, read> x_13: array<u32>;
@group(0) @binding(14) var<storage, read> x_14: array<u32>;
@group(0) @binding(15) var<storage, read> x_15: array<u32>;
@group(0) @binding(16) var<storage, read> x_16: array<u32>;
@group(0) @binding(17) var<storage, read> x_17: array<u32>;
@group(0) @binding(18) var<storage, read> x_18: array<u32>;
@group(0) @binding(19) var<storage, read> x_19: array<u32>;
@group(0) @binding(20) var<storage, read> x_20: array<u32>;
@group(0) @binding(21) var<storage, read> x_21: array<u32>;
@group(0) @binding(22) var<storage, read> x_22: array<u32>;
@group(0) @binding(23) var<storage, read> x_23: array<u32>;
@group(0) @binding(24) var<storage, read> x_24: array<u32>;
@group(0) @binding(25) var<storage, read> x_25: array<u32>;
@group(0) @binding(26) var<storage, read> x_26: array<u32>;
@group(0) @binding(32) var<storage, read_write> counts: array<u32>;
@group(0) @binding(48) var<uniform> wide_run: WideRun;

var<workgroup> partial: array<u32, 256>;

/// The sum of the group's values; valid in lane 0.
fn count_of_group(value: u32, lane: u32) -> u32 {
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
fn count_non_finite_part(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group.y * groups.x + group.x;
    let end = min(run.elements, (number + 1u) * 4096u);
    var count = 0u;
    for (var i = number * 4096u + lane; i < end; i += 256u) {
        count += select(0u, 1u, (x[i] & 0x7f800000u) == 0x7f800000u);
    }
    let sum = count_of_group(count, lane);
    if lane == 0u && number * 4096u < run.elements {
        y[run.pass_0 + number] = sum;
    }
}

/// Element i of a tensor.
fn word_of(tensor: u32, i: u32) -> u32 {
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

@compute @workgroup_size(256)
fn count_non_finite_wide(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group.y * groups.x + group.x;
    var tensor = 0u;
    var size = wide_run.sizes[0].x;
    var piece = number;
    while piece >= (size + 4095u) / 4096u && tensor < wide_run.elements {
        piece -= (size + 4095u) / 4096u;
        tensor++;
        size = wide_run.sizes[tensor / 4u][tensor % 4u];
    }
    // Beyond the last tensor there is nothing.
    let end = select(0u, min(size, (piece + 1u) * 4096u), tensor < wide_run.elements);
    var count = 0u;
    for (var i = piece * 4096u + lane; i < end; i += 256u) {
        count += select(0u, 1u, (word_of(tensor, i) & 0x7f800000u) == 0x7f800000u);
    }
    let sum = count_of_group(count, lane);
    if lane == 0u && end > 0u {
        counts[wide_run.pass_0 + number] = sum;
    }
}

@compute @workgroup_size(256)
fn count_non_finite(@builtin(local_invocation_index) lane: u32) {
    var count = 0u;
    for (var i = lane; i < run.elements; i += 256u) {
        count += x[i];
    }
    let sum = count_of_group(count, lane);
    if lane == 0u {
        y[0] = sum;
    }
}

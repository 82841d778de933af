// How many numbers are infinite or NaN: told by the bits, since a compiler may assume that there are none.
//
//   count_non_finite   y = number of elements of x_1, .., x_n whose exponent is all ones
//
// A workgroup of count_non_finite_part owns 4,096 elements of one tensor and writes its count; one workgroup adds the
// counts of all. Cost: one pass over the tensors.

struct FiniteParams { tensors: u32 }
// pass_0: where this dispatch's counts begin.
struct Run { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: FiniteParams }

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(8) var<storage, read_write> y: array<u32>;
@group(0) @binding(16) var<uniform> run: Run;

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

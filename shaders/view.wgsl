// Looking at a tensor differently: `broadcast` repeats, `permute` reorders axes.
//
//   y[i_0, .., i_5] = x[i_0 s_0 + .. + i_5 s_5]     dims are the output's, right-aligned in six axes
//
// One invocation owns one output element, of whatever type: the words are moved as they are. Cost: one pass over each
// operand and a division per axis longer than 1; `permute` reads with the stride of the input's axis.

struct StridedParams { dims: array<vec4<u32>, 2>, strides: array<vec4<u32>, 2> }
struct Run { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: StridedParams }

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(8) var<storage, read_write> y: array<u32>;
@group(0) @binding(16) var<uniform> run: Run;

/// The input's element for the output's.
fn source(i: u32) -> u32 {
    var rest = i;
    var at = 0u;
    for (var axis = 5; axis >= 0; axis--) {
        let extent = run.params.dims[axis >> 2u][axis & 3];
        if extent == 1u { continue; }
        at += rest % extent * run.params.strides[axis >> 2u][axis & 3];
        rest /= extent;
    }
    return at;
}

@compute @workgroup_size(256)
fn broadcast(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 256u + lane;
    if i >= run.elements { return; }
    y[i] = x[source(i)];
}

@compute @workgroup_size(256)
fn permute(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 256u + lane;
    if i >= run.elements { return; }
    y[i] = x[source(i)];
}

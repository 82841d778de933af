// Joining two tensors along an axis: each row of b after the row of a.
//
//   y[r, j] = a[r, j] where j < first, else b[r, j - first]     a: [rows, first]    b: [rows, second]
//
// One invocation owns one output element, of whatever type: the words are moved as they are. Cost: one pass over each
// operand and a division an element.

struct ConcatParams { rows: u32, first: u32, second: u32 }
struct Run { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: ConcatParams }

@group(0) @binding(0) var<storage, read> a: array<u32>;
@group(0) @binding(1) var<storage, read> b: array<u32>;
@group(0) @binding(8) var<storage, read_write> y: array<u32>;
@group(0) @binding(16) var<uniform> run: Run;

/// Which element this invocation owns: groups beyond the limit of an axis are folded into a second one.
fn element(group: vec3<u32>, groups: vec3<u32>, lane: u32) -> u32 {
    return (group.y * groups.x + group.x) * 256u + lane;
}

@compute @workgroup_size(256)
fn concat(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = element(group, groups, lane);
    if i >= run.elements { return; }
    let first = run.params.first;
    let second = run.params.second;
    let row = i / (first + second);
    let column = i - row * (first + second);
    if column < first {
        y[i] = a[row * first + column];
    } else {
        y[i] = b[row * second + column - first];
    }
}

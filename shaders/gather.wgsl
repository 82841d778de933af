// Rows of a table by number.
//
//   gather_rows        y[k, :] = table[index[k], :]                    (zeros where index[k] >= rows)
//   scatter_add_rows   table[v, :] = sum_k (index[k] == v) y[k, :]     (positions with index[k] >= rows are dropped)
//
// table: [rows, columns]    index: [count]    y: [count, columns]
//
// One invocation owns one output element. Of the table's, it looks through all indices and adds in the order of their
// positions, a stretch at a time, so repeated indices add the same way every time. Rows are gathered as words, of
// whatever type. Cost: gather one pass; scatter a comparison for each position and element of the table, and the
// addition of what is named.

struct GatherParams { rows: u32, columns: u32, count: u32 }
struct Run { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: GatherParams }

@group(0) @binding(1) var<storage, read> index: array<u32>;
@group(0) @binding(16) var<uniform> run: Run;

@group(0) @binding(0) var<storage, read> words: array<u32>;
@group(0) @binding(8) var<storage, read_write> gathered: array<u32>;

@group(0) @binding(0) var<storage, read> values: array<f32>;
@group(0) @binding(8) var<storage, read_write> table: array<f32>;

/// Positions that are summed by themselves: many in a row would add up their roundings.
const STRETCH = 64u;

/// Which element this invocation owns: groups beyond the limit of an axis are folded into a second one.
fn element(group: vec3<u32>, groups: vec3<u32>, lane: u32) -> u32 {
    return (group.y * groups.x + group.x) * 256u + lane;
}

@compute @workgroup_size(256)
fn gather_rows(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = element(group, groups, lane);
    if i >= run.elements { return; }
    let columns = run.params.columns;
    let k = i / columns;
    let row = index[k];
    if row < run.params.rows {
        gathered[i] = words[row * columns + (i - k * columns)];
    } else {
        gathered[i] = 0u;
    }
}

@compute @workgroup_size(256)
fn scatter_add_rows(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = element(group, groups, lane);
    if i >= run.elements { return; }
    let columns = run.params.columns;
    let count = run.params.count;
    let row = i / columns;
    let column = i - row * columns;
    var sum = 0.0;
    var k = 0u;
    while k < count {
        let end = k + min(count - k, STRETCH);
        var part = 0.0;
        for (; k < end; k++) {
            if index[k] == row { part += values[k * columns + column]; }
        }
        sum += part;
    }
    table[i] = sum;
}

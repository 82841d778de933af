// Reductions: sums over axes, the largest element of each row, and picking one element of each row.
//
//   sum       x seen as [outer, reduced, inner]:  y[o, k, i] = sum of x[o, r, i] over the k-th chunk of rows r
//   max_rows  values[r] = max_c x[r, c] and the first c that has it; the first NaN wins over everything
//   pick      y[r] = x[r, index[r]], 0 where the index is out of range
//   place     y[r, c] = (c == index[r]) ? x[r] : 0
//
// sum: a workgroup owns a tile of `width` neighbouring columns of one chunk of rows, its 256 invocations standing
// `width` wide and 256 / width high. Each adds every (256 / width)-th row in order, then the rows of invocations are
// added pairwise. The order depends on shapes alone. A longer sum takes another pass over the chunks.
// sum_serial: one invocation owns one output element and adds its few terms in order.
// Cost: one addition and 4 bytes read an input element.

struct SumParams { dims: array<vec4<u32>, 2>, reduced: array<vec4<u32>, 2> }
// pass_0: rows that are summed; pass_1: inner; pass_2: rows a chunk, and the tile's width in the upper 16 bits.
struct SumRun { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: SumParams }

struct RowsParams { rows: u32, columns: u32 }
struct RowsRun { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: RowsParams }

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> index: array<u32>;
@group(0) @binding(8) var<storage, read_write> y: array<f32>;
@group(0) @binding(9) var<storage, read_write> best_index: array<u32>;
@group(0) @binding(16) var<uniform> sum_run: SumRun;
@group(0) @binding(16) var<uniform> rows_run: RowsRun;

var<workgroup> partial: array<f32, 256>;

@compute @workgroup_size(256)
fn sum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let rows = sum_run.pass_0;
    let inner = sum_run.pass_1;
    let chunk_rows = sum_run.pass_2 & 0xffffu;
    let width = sum_run.pass_2 >> 16u;
    let height = 256u / width;
    let chunks = (rows + chunk_rows - 1u) / chunk_rows;
    let tiles = (inner + width - 1u) / width;
    let number = group.y * groups.x + group.x;
    let line = number / tiles; // (outer, chunk)
    let outer = line / chunks;
    let chunk = line % chunks;
    let column = number % tiles * width + lane % width;
    let end = min(rows, (chunk + 1u) * chunk_rows);
    // Groups that were added to fill the grid, and columns beyond the last, own nothing.
    let owns = column < inner && line * inner < sum_run.elements;
    var total = 0.0;
    if owns {
        for (var row = chunk * chunk_rows + lane / width; row < end; row += height) {
            total += x[(outer * rows + row) * inner + column];
        }
    }
    partial[lane] = total;
    workgroupBarrier();
    for (var step = height / 2u; step > 0u; step /= 2u) {
        if lane < step * width {
            partial[lane] += partial[lane + step * width];
        }
        workgroupBarrier();
    }
    if owns && lane < width {
        y[line * inner + column] = partial[lane];
    }
}

@compute @workgroup_size(256)
fn sum_serial(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 256u + lane;
    if i >= sum_run.elements { return; }
    let rows = sum_run.pass_0;
    let inner = sum_run.pass_1;
    let start = i / inner * rows * inner + i % inner;
    var total = 0.0;
    for (var row = 0u; row < rows; row++) {
        total += x[start + row * inner];
    }
    y[i] = total;
}

/// By the bits: a compiler may assume that x != x is false.
fn is_nan(value: f32) -> bool {
    return (bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u;
}

@compute @workgroup_size(256)
fn max_rows(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = (group.y * groups.x + group.x) * 256u + lane;
    if row >= rows_run.elements { return; }
    let columns = rows_run.params.columns;
    var best = x[row * columns];
    var at = 0u;
    for (var column = 1u; column < columns; column++) {
        let value = x[row * columns + column];
        if (value > best || is_nan(value)) && !is_nan(best) {
            best = value;
            at = column;
        }
    }
    y[row] = best;
    best_index[row] = at;
}

@compute @workgroup_size(256)
fn pick(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = (group.y * groups.x + group.x) * 256u + lane;
    if row >= rows_run.elements { return; }
    let column = index[row];
    if column < rows_run.params.columns {
        y[row] = x[row * rows_run.params.columns + column];
    } else {
        y[row] = 0.0;
    }
}

@compute @workgroup_size(256)
fn place(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 256u + lane;
    if i >= rows_run.elements { return; }
    let row = i / rows_run.params.columns;
    y[i] = select(0.0, x[row], index[row] == i % rows_run.params.columns);
}

// Matrix multiplication for software adapters: the mathematics and the shapes of matmul.wgsl.
//
// Such an adapter runs a subgroup's eight invocations as the eight lanes of one vector instruction of the processor.
// What is dear there is dear nowhere else: every read of a buffer or of workgroup memory is a loop over the lanes, and
// both sides of a branch are always walked. Cheap are arithmetic, fetches of whole texels, which gather without a loop,
// and broadcasts within the subgroup. So the operands arrive in textures, four numbers to a texel, and a group is one
// subgroup without workgroup memory or barriers.
//
// A group of 8 invocations owns a tile of 32 x 32 elements of y; invocation l carries rows 4 l to 4 l + 3 of A and
// columns 4 l to 4 l + 3 of B, four depths at a time, and sums 32 rows of its four columns: the others' rows come by
// broadcast. Sums are in f32, over blocks of 256 depths, which are added in order.
//
// `matmul_software` is for extents that are fours where memory runs along them, and reads texels whole;
// `matmul_software_ones` is for all others, and reads each number by itself.
//
// Cost: 2 B M N K operations; each operand is fetched once for each 32 of the other's lanes.

struct MatmulParams {
    batch: u32,
    m: u32,
    n: u32,
    k: u32,
    transpose_a: u32,
    transpose_b: u32,
    batch_stride_a: u32,
    batch_stride_b: u32,
}
struct Run { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: MatmulParams }

@group(0) @binding(0) var a: texture_2d<f32>;
@group(0) @binding(1) var b: texture_2d<f32>;
@group(0) @binding(8) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read_write> y_ones: array<f32>;
@group(0) @binding(16) var<uniform> run: Run;

// Rows and columns of a tile, and depths whose sums are added up before they join the total.
const LANES = 32u;
const BLOCK = 256u;
// Texels in a row of a texture: the backend fills it row by row.
const TEXELS = 2048u;

/// Four neighbours in memory from `at` on, a multiple of four, if `known`; else zeros.
fn texel(operand: texture_2d<f32>, at: u32, known: bool) -> vec4<f32> {
    let i = select(0u, at / 4u, known);
    return select(vec4<f32>(), textureLoad(operand, vec2<u32>(i % TEXELS, i / TEXELS), 0), known);
}

/// One number, if `known`; else zero.
fn number(operand: texture_2d<f32>, at: u32, known: bool) -> f32 {
    return texel(operand, at, known)[at % 4u];
}

/// `sum` + the row's four depths times [depth][column].
fn add_row(sum: vec4<f32>, row: vec4<f32>, columns: mat4x4<f32>) -> vec4<f32> {
    let first = fma(row.yyyy, columns[1], fma(row.xxxx, columns[0], sum));
    return fma(row.wwww, columns[3], fma(row.zzzz, columns[2], first));
}

/// The four rows that one invocation carries, from row `first` of the tile on.
fn add_rows(
    sums: ptr<function, array<vec4<f32>, LANES>>,
    first: u32,
    rows: mat4x4<f32>,
    columns: mat4x4<f32>,
) {
    (*sums)[first] = add_row((*sums)[first], rows[0], columns);
    (*sums)[first + 1u] = add_row((*sums)[first + 1u], rows[1], columns);
    (*sums)[first + 2u] = add_row((*sums)[first + 2u], rows[2], columns);
    (*sums)[first + 3u] = add_row((*sums)[first + 3u], rows[3], columns);
}

/// Adds the product of everyone's rows [row][depth] and this invocation's columns [depth][column]. The invocation that
/// a broadcast comes from must be a constant.
fn add_product(sums: ptr<function, array<vec4<f32>, LANES>>, rows: mat4x4<f32>, columns: mat4x4<f32>) {
    let p = rows[0];
    let q = rows[1];
    let r = rows[2];
    let s = rows[3];
    add_rows(sums, 0u, mat4x4<f32>(
        subgroupBroadcast(p, 0u), subgroupBroadcast(q, 0u), subgroupBroadcast(r, 0u), subgroupBroadcast(s, 0u),
    ), columns);
    add_rows(sums, 4u, mat4x4<f32>(
        subgroupBroadcast(p, 1u), subgroupBroadcast(q, 1u), subgroupBroadcast(r, 1u), subgroupBroadcast(s, 1u),
    ), columns);
    add_rows(sums, 8u, mat4x4<f32>(
        subgroupBroadcast(p, 2u), subgroupBroadcast(q, 2u), subgroupBroadcast(r, 2u), subgroupBroadcast(s, 2u),
    ), columns);
    add_rows(sums, 12u, mat4x4<f32>(
        subgroupBroadcast(p, 3u), subgroupBroadcast(q, 3u), subgroupBroadcast(r, 3u), subgroupBroadcast(s, 3u),
    ), columns);
    add_rows(sums, 16u, mat4x4<f32>(
        subgroupBroadcast(p, 4u), subgroupBroadcast(q, 4u), subgroupBroadcast(r, 4u), subgroupBroadcast(s, 4u),
    ), columns);
    add_rows(sums, 20u, mat4x4<f32>(
        subgroupBroadcast(p, 5u), subgroupBroadcast(q, 5u), subgroupBroadcast(r, 5u), subgroupBroadcast(s, 5u),
    ), columns);
    add_rows(sums, 24u, mat4x4<f32>(
        subgroupBroadcast(p, 6u), subgroupBroadcast(q, 6u), subgroupBroadcast(r, 6u), subgroupBroadcast(s, 6u),
    ), columns);
    add_rows(sums, 28u, mat4x4<f32>(
        subgroupBroadcast(p, 7u), subgroupBroadcast(q, 7u), subgroupBroadcast(r, 7u), subgroupBroadcast(s, 7u),
    ), columns);
}

/// An operand as lanes (rows of A, columns of B) by depth (k): `inner` is the axis along which its memory runs.
struct Operand {
    along_depth: bool,
    first: u32,
    inner: u32,
    outer: u32,
}

/// Four neighbours in memory, of which those from `o.inner` on are zeros, and all unless `known`.
fn line(operand: texture_2d<f32>, o: Operand, outer: u32, inner: u32, fours: bool) -> vec4<f32> {
    let at = o.first + outer * o.inner + inner;
    let known = outer < o.outer;
    if fours { return texel(operand, at, known && inner < o.inner); }
    return vec4<f32>(
        number(operand, at, known && inner < o.inner),
        number(operand, at + 1u, known && inner + 1u < o.inner),
        number(operand, at + 2u, known && inner + 2u < o.inner),
        number(operand, at + 3u, known && inner + 3u < o.inner),
    );
}

/// Four lanes and four depths: [depth][lane], or [lane][depth] if `by_lane`.
fn carry(operand: texture_2d<f32>, o: Operand, lane: u32, depth: u32, by_lane: bool, fours: bool) -> mat4x4<f32> {
    let inner = select(lane, depth, o.along_depth);
    let outer = select(depth, lane, o.along_depth);
    let read = mat4x4<f32>(
        line(operand, o, outer, inner, fours),
        line(operand, o, outer + 1u, inner, fours),
        line(operand, o, outer + 2u, inner, fours),
        line(operand, o, outer + 3u, inner, fours),
    );
    let turned = transpose(read);
    // Both are in registers: choosing is cheaper than branching.
    let as_read = o.along_depth == by_lane;
    return mat4x4<f32>(
        select(turned[0], read[0], as_read),
        select(turned[1], read[1], as_read),
        select(turned[2], read[2], as_read),
        select(turned[3], read[3], as_read),
    );
}

/// What an invocation writes: its first column in the first row of the tile, and how many rows and columns there are.
struct Own {
    at: u32,
    rows: u32,
    columns: u32,
}

/// How many lie between `begin` and `end`.
fn within(begin: u32, end: u32) -> u32 {
    return select(0u, end - begin, begin < end);
}

fn multiply_tile(totals: ptr<function, array<vec4<f32>, LANES>>, group: u32, lane: u32, fours: bool) -> Own {
    let p = run.params;
    // Groups are numbered by tile column, tile row, batch. Those beyond the last have no rows.
    let across = (p.n + LANES - 1u) / LANES;
    let down = (p.m + LANES - 1u) / LANES;
    let first_row = group / across % down * LANES;
    let batch = group / across / down;
    let m = select(0u, p.m, batch < p.batch);
    let row = first_row + 4u * lane;
    let column = group % across * LANES + 4u * lane;

    let by_depth_a = p.transpose_a == 0u;
    let by_depth_b = p.transpose_b == 1u;
    let first_a = batch * p.batch_stride_a * p.m * p.k;
    let first_b = batch * p.batch_stride_b * p.n * p.k;
    let operand_a = Operand(by_depth_a, first_a, select(m, p.k, by_depth_a), select(p.k, m, by_depth_a));
    let operand_b = Operand(by_depth_b, first_b, select(p.n, p.k, by_depth_b), select(p.k, p.n, by_depth_b));

    for (var begin = 0u; begin < p.k; begin += BLOCK) {
        var sums: array<vec4<f32>, LANES>;
        let end = min(begin + BLOCK, p.k);
        for (var depth = begin; depth < end; depth += 4u) {
            let rows = carry(a, operand_a, row, depth, true, fours);
            let columns = carry(b, operand_b, column, depth, false, fours);
            add_product(&sums, rows, columns);
        }
        for (var i = 0u; i < LANES; i++) { (*totals)[i] += sums[i]; }
    }
    return Own((batch * p.m + first_row) * p.n + column, within(first_row, m), within(column, p.n));
}

@compute @workgroup_size(8)
fn matmul_software(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    var sums: array<vec4<f32>, LANES>;
    let own = multiply_tile(&sums, id.y * count.x + id.x, lane, true);
    let rows = select(0u, own.rows, own.columns > 0u);
    for (var i = 0u; i < LANES; i++) {
        if i < rows { y[(own.at + i * run.params.n) / 4u] = sums[i]; }
    }
}

@compute @workgroup_size(8)
fn matmul_software_ones(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    var sums: array<vec4<f32>, LANES>;
    let own = multiply_tile(&sums, id.y * count.x + id.x, lane, false);
    for (var i = 0u; i < LANES; i++) {
        let at = own.at + i * run.params.n;
        let columns = select(0u, own.columns, i < own.rows);
        if columns > 0u { y_ones[at] = sums[i].x; }
        if columns > 1u { y_ones[at + 1u] = sums[i].y; }
        if columns > 2u { y_ones[at + 2u] = sums[i].z; }
        if columns > 3u { y_ones[at + 3u] = sums[i].w; }
    }
}

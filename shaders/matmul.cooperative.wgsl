// Matrix multiplication by cooperative matrices: the same product as in matmul.wgsl, of operands rounded to f16.
//
//   y[b, m, n] = sum over k of f16(A[b, m, k]) f16(B[b, k, n]), where M and N consist of whole blocks
//   a: [B, M, K], or [B, K, M] read transposed     b: [B, K, N], or [B, N, K] read transposed     y: [B, M, N]
//
// A block is a matrix of SIDE x SIDE that a subgroup holds together, multiplies at once and adds to in f32. A group of
// eight subgroups owns a tile of 8 x 4 blocks of y, a subgroup a square of 2 x 2 of them. K is walked in slices of 32
// through workgroup memory: an invocation carries blocks of 4 x 4 numbers there, rounds them, and puts zeros beyond the
// ends. Where few tiles would leave the device idle, `splits` groups share the K of one tile; each writes its sums to a
// part of its own, and `matmul_add_splits` in matmul.wgsl adds the parts in order. Sums are taken over blocks of 256
// depths, which are added in order.
//
// Cost: 2 B M N K operations; A is read once for each 4 SIDE columns, B once for each 8 SIDE rows. From workgroup memory
// a subgroup reads a block for each block that it multiplies.

enable f16;
enable wgpu_cooperative_matrix;

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

@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read_write> y: array<f32>;
@group(0) @binding(16) var<uniform> run: Run;

const SIDE = 8u;
alias Left = coop_mat8x8<f16, A>;
alias Right = coop_mat8x8<f16, B>;
alias Sum = coop_mat8x8<f32, C>;
// Eight subgroups.
const INVOCATIONS = 64u;
const SLICE = 32u;
// Rows and columns of a tile, in fours.
const ROWS = 2u * SIDE;
const COLUMNS = SIDE;
// Where in `tiles` B begins, which comes behind A.
const OTHERS = SLICE * ROWS;
// Depths whose sums are added up before they join the total.
const BLOCK = 256u;
alias Stored = f16;
const HALVES = true;

/// A slice of A and one of B: [k][row / 4], and [k][column / 4].
var<workgroup> tiles: array<vec4<Stored>, SLICE * (ROWS + COLUMNS)>;

/// An operand as lanes (rows of A, columns of B) by depth (k): `inner` is the axis along which its memory runs.
struct Operand {
    is_a: bool,
    along_depth: bool,
    first: u32,
    inner: u32,
    outer: u32,
}

/// The first `count` of four neighbours in memory, and zeros. Where the inner extent consists of fours, so do `at` and
/// `count`.
fn four(o: Operand, at: u32, count: u32) -> vec4<f32> {
    var value = vec4<f32>();
    if count == 0u { return value; }
    if o.inner % 4u == 0u {
        if o.is_a { return a[at / 4u]; }
        return b[at / 4u];
    }
    value.x = one(o, at);
    if count > 1u { value.y = one(o, at + 1u); }
    if count > 2u { value.z = one(o, at + 2u); }
    if count > 3u { value.w = one(o, at + 3u); }
    return value;
}

fn one(o: Operand, at: u32) -> f32 {
    if o.is_a { return a[at / 4u][at % 4u]; }
    return b[at / 4u][at % 4u];
}

/// How many lie between `begin` and `end`.
fn within(begin: u32, end: u32) -> u32 {
    return select(0u, end - begin, begin < end);
}

/// Four depths of four lanes each, with zeros beyond the ends: [depth][lane].
fn fetch(o: Operand, lane: u32, depth: u32) -> mat4x4<f32> {
    let inner = select(lane, depth, o.along_depth);
    let outer = select(depth, lane, o.along_depth);
    let at = o.first + outer * o.inner + inner;
    let count = within(inner, o.inner);
    let block = mat4x4<f32>(
        four(o, at, select(0u, count, outer < o.outer)),
        four(o, at + o.inner, select(0u, count, outer + 1u < o.outer)),
        four(o, at + 2u * o.inner, select(0u, count, outer + 2u < o.outer)),
        four(o, at + 3u * o.inner, select(0u, count, outer + 3u < o.outer)),
    );
    if o.along_depth { return transpose(block); }
    return block;
}

/// Four numbers as they are stored. What is beyond the largest f16 becomes infinite, whichever way an adapter rounds:
/// the factor leaves nothing that f32 could hold.
fn stored(value: vec4<f32>) -> vec4<Stored> {
    if HALVES {
        return vec4<Stored>(select(value, value * 0x1p127f, abs(value) > vec4<f32>(65504.0)));
    }
    return vec4<Stored>(value);
}

/// Carries a slice into `tiles`, from `depth` on.
fn carry_slice(batch: u32, first_row: u32, first_column: u32, depth: u32, lane: u32) {
    let p = run.params;
    let rows = Operand(
        true,
        p.transpose_a == 0u,
        batch * p.batch_stride_a * p.m * p.k,
        select(p.m, p.k, p.transpose_a == 0u),
        select(p.k, p.m, p.transpose_a == 0u),
    );
    let columns = Operand(
        false,
        p.transpose_b == 1u,
        batch * p.batch_stride_b * p.n * p.k,
        select(p.n, p.k, p.transpose_b == 1u),
        select(p.k, p.n, p.transpose_b == 1u),
    );
    for (var number = lane; number < SLICE / 4u * (ROWS + COLUMNS); number += INVOCATIONS) {
        // Neighbouring invocations read the lanes of one depth.
        let is_a = number < SLICE / 4u * ROWS;
        let across = select(COLUMNS, ROWS, is_a);
        let place = number - select(SLICE / 4u * ROWS, 0u, is_a);
        let block = vec2<u32>(place % across, place / across);
        let to = select(OTHERS, 0u, is_a) + 4u * block.y * across + block.x;
        var carried: mat4x4<f32>;
        if is_a {
            carried = fetch(rows, first_row + 4u * block.x, depth + 4u * block.y);
        } else {
            carried = fetch(columns, first_column + 4u * block.x, depth + 4u * block.y);
        }
        tiles[to] = stored(carried[0]);
        tiles[to + across] = stored(carried[1]);
        tiles[to + 2u * across] = stored(carried[2]);
        tiles[to + 3u * across] = stored(carried[3]);
    }
}

@compute @workgroup_size(INVOCATIONS)
fn matmul_cooperative(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) subgroup: u32,
) {
    let p = run.params;
    let splits = run.pass_0;
    // Groups are numbered by tile column, tile row, split, batch: neighbours read the same rows of A.
    let across = (p.n + 4u * COLUMNS - 1u) / (4u * COLUMNS);
    let down = (p.m + 4u * ROWS - 1u) / (4u * ROWS);
    let tile = group.y * groups.x + group.x;
    let first_column = tile % across * 4u * COLUMNS;
    let first_row = tile / across % down * 4u * ROWS;
    let split = tile / across / down % splits;
    let batch = tile / across / down / splits;
    if batch >= p.batch { return; }
    // Whole slices, shared evenly.
    let each = ((p.k + SLICE - 1u) / SLICE + splits - 1u) / splits * SLICE;
    let begin = min(split * each, p.k);
    let end = min(begin + each, p.k);

    // The square of this subgroup, from the tile's first row and column on.
    let row = subgroup / 2u * 2u * SIDE;
    let column = subgroup % 2u * 2u * SIDE;
    var total_0: Sum;
    var total_1: Sum;
    var total_2: Sum;
    var total_3: Sum;
    var sum_0: Sum;
    var sum_1: Sum;
    var sum_2: Sum;
    var sum_3: Sum;
    for (var depth = begin; depth < end; depth += SLICE) {
        if (depth - begin) % BLOCK == 0u {
            total_0 = total_0 + sum_0;
            total_1 = total_1 + sum_1;
            total_2 = total_2 + sum_2;
            total_3 = total_3 + sum_3;
            sum_0 = Sum();
            sum_1 = Sum();
            sum_2 = Sum();
            sum_3 = Sum();
        }
        // Everyone is done with the slice before.
        workgroupBarrier();
        carry_slice(batch, first_row, first_column, depth, lane);
        workgroupBarrier();
        for (var k = 0u; k < SLICE; k += SIDE) {
            let i = k * ROWS + row / 4u;
            let j = OTHERS + k * COLUMNS + column / 4u;
            let upper = coopLoad<Left>(&tiles[i], ROWS);
            let lower = coopLoad<Left>(&tiles[i + SIDE / 4u], ROWS);
            let left = coopLoadT<Right>(&tiles[j], COLUMNS);
            let right = coopLoadT<Right>(&tiles[j + SIDE / 4u], COLUMNS);
            sum_0 = coopMultiplyAdd(upper, left, sum_0);
            sum_1 = coopMultiplyAdd(upper, right, sum_1);
            sum_2 = coopMultiplyAdd(lower, left, sum_2);
            sum_3 = coopMultiplyAdd(lower, right, sum_3);
        }
    }

    total_0 = total_0 + sum_0;
    total_1 = total_1 + sum_1;
    total_2 = total_2 + sum_2;
    total_3 = total_3 + sum_3;
    // What is stored and where is settled beforehand: naga 30 does not evaluate it within the call.
    let upper_left = total_0;
    let upper_right = total_1;
    let lower_left = total_2;
    let lower_right = total_3;
    let stride = p.n;
    let i = first_row + row;
    let j = first_column + column;
    let at = ((split * p.batch + batch) * p.m + i) * stride + j;
    let right = at + SIDE;
    let below = at + SIDE * stride;
    let beyond = below + SIDE;
    if i < p.m && j < stride { coopStoreT(upper_left, &y[at], stride); }
    if i < p.m && j + SIDE < stride { coopStoreT(upper_right, &y[right], stride); }
    if i + SIDE < p.m && j < stride { coopStoreT(lower_left, &y[below], stride); }
    if i + SIDE < p.m && j + SIDE < stride { coopStoreT(lower_right, &y[beyond], stride); }
}

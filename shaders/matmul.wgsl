// Matrix multiplication, of either operand transposed, over batches.
//
//   y[b, m, n] = sum over k of A[b, m, k] B[b, k, n]
//   a: [B, M, K], or [B, K, M] read transposed     b: [B, K, N], or [B, N, K] read transposed     y: [B, M, N]
//
// A group of 256 invocations owns a tile of y of TILE x TILE elements, an invocation a block of 4 x 4 in each 64 x 64
// of them: TILE is 64 here, and 128 in `matmul.large`, which is this text with that one number replaced. In
// `matmul.f16` and `matmul.large.f16` operands are rounded to f16 on their way into workgroup memory, and all else is
// f32. K is walked in slices of 2,048 / TILE through workgroup memory: of each slice an invocation carries one block of
// 4 x 4 there, the first 128 of A and the others of B, reading four neighbours in memory at once where the extents
// allow it. Where few tiles would leave the device idle, `splits` groups share the K of one tile; each writes its sums
// to a part of its own, and `matmul_add_splits`, an invocation an element, adds the parts in order. Sums are in f32,
// over blocks of 256 depths, which are added in order: errors then grow with the root of some hundreds, however long
// the depth.
//
// Cost: 2 B M N K operations; A is read once for each TILE columns, B once for each TILE rows. From workgroup memory an
// invocation reads a vector for every 8 multiplications, in the large tile for every 16.

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

// `matmul_add_splits` reads what the splits of `matmul` wrote.
@group(0) @binding(0) var<storage, read> parts: array<f32>;

const TILE = 64u;
const LARGE = TILE > 64u;
const SLICE = 2048u / TILE;
const FOURS = TILE / 4u;
// Invocations stand in as many rows and columns; in fours, that is how far the blocks of one lie apart.
const APART = 16u;
// Depths whose sums are added up before they join the total.
const BLOCK = 256u;
// What operands are stored in while they are multiplied, and whether that is f16.
alias Stored = f32;
const HALVES = false;
// Where in `tiles` B begins, which comes behind A.
const OTHERS = SLICE * FOURS;

/// A slice of A and one of B: [operand][k][row or column / 4].
var<workgroup> tiles: array<vec4<Stored>, 2u * OTHERS>;

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

/// sums[i][j] + left[i] right[j].
fn add_outer(sums: mat4x4<f32>, left: vec4<f32>, right: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        fma(left.xxxx, right, sums[0]),
        fma(left.yyyy, right, sums[1]),
        fma(left.zzzz, right, sums[2]),
        fma(left.wwww, right, sums[3]),
    );
}

/// An invocation's sums, a block of 4 x 4 in each 64 x 64 elements of the tile. A tile of 64 has the first alone.
struct Sums {
    upper_left: mat4x4<f32>,
    upper_right: mat4x4<f32>,
    lower_left: mat4x4<f32>,
    lower_right: mat4x4<f32>,
}

/// Adds the products of one depth: rows from `i` on in `tiles`, columns from `j` on.
fn add_depth(sums: ptr<function, Sums>, i: u32, j: u32) {
    let upper = vec4<f32>(tiles[i]);
    let left = vec4<f32>(tiles[j]);
    (*sums).upper_left = add_outer((*sums).upper_left, upper, left);
    if LARGE {
        let lower = vec4<f32>(tiles[i + APART]);
        let right = vec4<f32>(tiles[j + APART]);
        (*sums).upper_right = add_outer((*sums).upper_right, upper, right);
        (*sums).lower_left = add_outer((*sums).lower_left, lower, left);
        (*sums).lower_right = add_outer((*sums).lower_right, lower, right);
    }
}

/// Adds the product of the slices in `tiles`. Written out in eights: compilers do not unroll it.
fn add_slices(sums: ptr<function, Sums>, lane: u32) {
    let row = lane / APART;
    let column = lane % APART + OTHERS;
    for (var depth = 0u; depth < OTHERS; depth += 8u * FOURS) {
        let i = depth + row;
        let j = depth + column;
        add_depth(sums, i, j);
        add_depth(sums, i + FOURS, j + FOURS);
        add_depth(sums, i + 2u * FOURS, j + 2u * FOURS);
        add_depth(sums, i + 3u * FOURS, j + 3u * FOURS);
        add_depth(sums, i + 4u * FOURS, j + 4u * FOURS);
        add_depth(sums, i + 5u * FOURS, j + 5u * FOURS);
        add_depth(sums, i + 6u * FOURS, j + 6u * FOURS);
        add_depth(sums, i + 7u * FOURS, j + 7u * FOURS);
    }
}

/// Adds the sums of a block of depths to the totals, and begins the next.
fn close_block(totals: ptr<function, Sums>, sums: ptr<function, Sums>) {
    (*totals).upper_left += (*sums).upper_left;
    (*sums).upper_left = mat4x4<f32>();
    if LARGE {
        (*totals).upper_right += (*sums).upper_right;
        (*totals).lower_left += (*sums).lower_left;
        (*totals).lower_right += (*sums).lower_right;
        (*sums).upper_right = mat4x4<f32>();
        (*sums).lower_left = mat4x4<f32>();
        (*sums).lower_right = mat4x4<f32>();
    }
}

fn write_four(at: u32, count: u32, value: vec4<f32>) {
    if count > 0u { y[at] = value.x; }
    if count > 1u { y[at + 1u] = value.y; }
    if count > 2u { y[at + 2u] = value.z; }
    if count > 3u { y[at + 3u] = value.w; }
}

/// Writes the block of 4 x 4 whose first element is y[.., i, j] of the part that begins at `first`.
fn write_block(first: u32, i: u32, j: u32, block: mat4x4<f32>) {
    let m = run.params.m;
    let n = run.params.n;
    let count = within(j, n);
    let at = first + i * n + j;
    if i < m { write_four(at, count, block[0]); }
    if i + 1u < m { write_four(at + n, count, block[1]); }
    if i + 2u < m { write_four(at + 2u * n, count, block[2]); }
    if i + 3u < m { write_four(at + 3u * n, count, block[3]); }
}

@compute @workgroup_size(256)
fn matmul(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let m = run.params.m;
    let n = run.params.n;
    let k = run.params.k;
    let splits = run.pass_0;
    // Groups are numbered by tile column, tile row, split, batch: neighbours read the same rows of A.
    let across = (n + TILE - 1u) / TILE;
    let down = (m + TILE - 1u) / TILE;
    var rest = group.y * groups.x + group.x;
    let first_column = rest % across * TILE;
    rest /= across;
    let first_row = rest % down * TILE;
    rest /= down;
    let split = rest % splits;
    let batch = rest / splits;
    if batch >= run.params.batch { return; }
    // Whole slices, shared evenly.
    let each = ((k + SLICE - 1u) / SLICE + splits - 1u) / splits * SLICE;
    let begin = min(split * each, k);
    let end = min(begin + each, k);

    // What this invocation carries. Along the depth, pairs of invocations read eight neighbours; along the lanes, FOURS
    // of them read a row of the tile.
    var o: Operand;
    o.is_a = lane < 128u;
    o.along_depth = select(run.params.transpose_b == 1u, run.params.transpose_a == 0u, o.is_a);
    let lanes = select(n, m, o.is_a);
    let stride = select(run.params.batch_stride_b, run.params.batch_stride_a, o.is_a);
    o.first = batch * stride * lanes * k;
    o.inner = select(lanes, k, o.along_depth);
    o.outer = select(k, lanes, o.along_depth);
    let number = lane % 128u;
    let block = select(
        vec2<u32>(number % FOURS, number / FOURS),
        vec2<u32>(number / 2u % FOURS, number % 2u + number / (2u * FOURS) * 2u),
        o.along_depth,
    );
    let carried_lane = select(first_column, first_row, o.is_a) + 4u * block.x;
    let to = select(OTHERS, 0u, o.is_a) + 4u * block.y * FOURS + block.x;

    var totals: Sums;
    var sums: Sums;
    for (var depth = begin; depth < end; depth += SLICE) {
        if (depth - begin) % BLOCK == 0u { close_block(&totals, &sums); }
        let carried = fetch(o, carried_lane, depth + 4u * block.y);
        // Everyone is done with the slice before.
        workgroupBarrier();
        tiles[to] = stored(carried[0]);
        tiles[to + FOURS] = stored(carried[1]);
        tiles[to + 2u * FOURS] = stored(carried[2]);
        tiles[to + 3u * FOURS] = stored(carried[3]);
        workgroupBarrier();
        add_slices(&sums, lane);
    }

    close_block(&totals, &sums);
    let first = (split * run.params.batch + batch) * m * n;
    let i = first_row + 4u * (lane / APART);
    let j = first_column + 4u * (lane % APART);
    write_block(first, i, j, totals.upper_left);
    if LARGE {
        write_block(first, i, j + 64u, totals.upper_right);
        write_block(first, i + 64u, j, totals.lower_left);
        write_block(first, i + 64u, j + 64u, totals.lower_right);
    }
}

@compute @workgroup_size(256)
fn matmul_add_splits(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 256u + lane;
    if i >= run.elements { return; }
    var sum = parts[i];
    for (var split = 1u; split < run.pass_0; split++) { sum += parts[split * run.elements + i]; }
    y[i] = sum;
}

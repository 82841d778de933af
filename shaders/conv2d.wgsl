// Convolution: one trilinear form with three slots, each a product of matrices whose rows are read where they lie.
//
//   T(x, w, g) = sum of x[n, ih, iw, ic] w[o, kh, kw, c] g[n, oh, ow, o]
//     with ih = oh stride_height - padding_top  + kh dilation_height     (terms outside the image are 0)
//          iw = ow stride_width  - padding_left + kw dilation_width
//          ic = (o / (O/groups)) (C/groups) + c
//
//   conv2d             y[n, oh, ow, o]  = T with g open
//   conv2d_grad_input  x[n, ih, iw, ic] = T with x open     = the forward pass of a transposed convolution
//   conv2d_grad_weight w[o, kh, kw, c]  = T with w open
//
//   x: [N, H, W, C]    w: [O, KH, KW, C/groups]    y, g: [N, OH, OW, O]
//
// As products of rows by depth by columns, for each group of channels:
//
//   conv2d              (n, oh, ow)               x (kh, kw, c)     x o
//   conv2d_grad_input   pixels of one phase       x (taps, o)       x c
//   conv2d_grad_weight  (kh, kw, c)               x (n, oh, ow)     x o
//
// Phases: image rows that are equal modulo the stride are met by the same taps kh, those with
// (ih + padding_top - kh dilation_height) mod stride_height = 0, and by no others; columns likewise. Each phase is
// multiplied with its own taps only, so that nothing is multiplied by the zeros between strided outputs.
//
// A group of 256 invocations owns a tile of TILE rows x TILE columns of the open slot, an invocation a block of 4 x 4
// in each 64 x 64 of them: TILE is 64 here, and 128 in `conv2d.large`, which is this text with that one number
// replaced. In `conv2d.f16` and `conv2d.large.f16` operands are rounded to f16 before they are multiplied, and all else
// is f32. The depth is walked in slices of 2,048 / TILE through workgroup memory: of each slice an invocation carries
// one block of 4 x 4 there, the first 128 of the rows and the others of the columns, four neighbouring channels at once
// where a group's channels are fours. `<kernel>_narrow` is for few columns: 256 rows x 4 columns to a group, a row to
// an invocation, which reads its own row; only the columns go through workgroup memory. Where few tiles would leave the
// device idle, `splits` groups share the depth of one tile; each writes its sums to a part of its own, and
// `conv2d_add_splits`, an invocation an element, adds the parts in order. Sums are in f32, over blocks of 256 depths
// (1,024 in narrow tiles), which are added in order: errors then grow with the root of some hundreds, however long the
// depth.
//
// Cost of each: 2 N OH OW O KH KW C/groups operations; rows are read once for each TILE columns, columns once for each
// TILE rows. From workgroup memory an invocation reads a vector for every 8 multiplications, in the large tile for
// every 16. Positions like (kh, kw, c) are kept as digits and stepped by adding with carry, never by dividing.

struct Conv2dParams {
    batch: u32,
    in_height: u32,
    in_width: u32,
    in_channels: u32,
    out_height: u32,
    out_width: u32,
    out_channels: u32,
    kernel_height: u32,
    kernel_width: u32,
    stride_height: u32,
    stride_width: u32,
    padding_top: u32,
    padding_left: u32,
    dilation_height: u32,
    dilation_width: u32,
    groups: u32,
}
struct Run { elements: u32, pass_0: u32, pass_1: u32, pass_2: u32, params: Conv2dParams }

// What is met through taps: x, g and x. And the other operand: w, w and g.
@group(0) @binding(0) var<storage, read> image: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> other: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read_write> y: array<f32>;
@group(0) @binding(16) var<uniform> run: Run;

// `conv2d_add_splits` reads what the splits of the others wrote.
@group(0) @binding(0) var<storage, read> parts: array<f32>;

const TILE = 64u;
const LARGE = TILE > 64u;
const SLICE = 2048u / TILE;
const FOURS = TILE / 4u;
// Invocations stand in as many rows and columns; in fours, that is how far the blocks of one lie apart.
const APART = 16u;
// Where in `tiles` the columns begin, which come behind the rows.
const OTHERS = SLICE * FOURS;
// A narrow tile, and how many depths of its columns lie in `tiles` at once.
const NARROW_ROWS = 256u;
const NARROW_COLUMNS = 4u;
const NARROW_SLICE = 2u * OTHERS;
// Depths whose sums are added up before they join the total.
const BLOCK = 256u;
// What operands are stored in while they are multiplied, and whether that is f16.
alias Stored = f32;
const HALVES = false;
// In the place of a row that is beyond the last.
const NOWHERE = 0xffffffffu;

/// A slice of the rows and one of the columns: [operand][depth][row or column / 4]. In a narrow tile: [depth], columns.
var<workgroup> tiles: array<vec4<Stored>, 2u * OTHERS>;

// ---- Positions as digits.

/// Digits of a number: the last counts to radix.y, the one before to radix.x.
fn digits(number: u32, radix: vec2<u32>) -> vec3<u32> {
    let rest = number / radix.y;
    return vec3<u32>(rest / radix.x, rest % radix.x, number % radix.y);
}

/// The digits of a sum.
fn add(left: vec3<u32>, right: vec3<u32>, radix: vec2<u32>) -> vec3<u32> {
    let sum = left + right;
    let carry = u32(sum.z >= radix.y);
    let middle = sum.y + carry;
    let carry_on = u32(middle >= radix.x);
    return vec3<u32>(sum.x + carry_on, middle - carry_on * radix.x, sum.z - carry * radix.y);
}

fn next(position: vec3<u32>, radix: vec2<u32>) -> vec3<u32> {
    return add(position, vec3<u32>(0u, 0u, 1u), radix);
}

/// How many lie between `begin` and `end`.
fn within(begin: u32, end: u32) -> u32 {
    return select(0u, end - begin, begin < end);
}

// ---- Which part of the product a group owns.

struct Part {
    /// Tile column and tile row; for the gradient of the input, the phase follows.
    column: u32,
    row: u32,
    phase: u32,
    split: u32,
    group: u32,
}

/// Groups are numbered by tile column, tile row, phase, split, group of channels: neighbours read the same rows.
fn part(number: u32, across: u32, down: u32, phases: u32) -> Part {
    let rows = number / across;
    let phase = rows / down;
    let split = phase / phases;
    return Part(number % across, rows % down, phase % phases, split % run.pass_0, split / run.pass_0);
}

/// The depths of a split, of `depth` in all: whole slices, shared evenly.
fn depths(split: u32, depth: u32) -> vec2<u32> {
    let slices = (depth + SLICE - 1u) / SLICE;
    let each = (slices + run.pass_0 - 1u) / run.pass_0 * SLICE;
    let begin = min(split * each, depth);
    return vec2<u32>(begin, min(begin + each, depth));
}

// ---- The operands.

/// The first `count` of four neighbours in memory of the other operand, and zeros; all at once where `fours` says that
/// `at` and `count` consist of fours.
fn other_four(at: u32, count: u32, fours: bool) -> vec4<f32> {
    var value = vec4<f32>();
    if count == 0u { return value; }
    if fours { return other[at / 4u]; }
    value.x = other_one(at);
    if count > 1u { value.y = other_one(at + 1u); }
    if count > 2u { value.z = other_one(at + 2u); }
    if count > 3u { value.w = other_one(at + 3u); }
    return value;
}

fn other_one(at: u32) -> f32 {
    return other[at / 4u][at % 4u];
}

/// An image read under taps that advance by `step`, of which there are `radix.x` in a row with `radix.y` channels each.
struct Image {
    extent: vec2<u32>,
    channels: u32,
    /// The first channel of the group.
    first: u32,
    step: vec2<u32>,
    radix: vec2<u32>,
}

/// Four depths of one row, from the depth `tap` = (kh, kw, c) on, with zeros outside of the image and from `end` on.
/// `place` is the image's first row (or NOWHERE), and the pixel under the first tap; what is above or left of the image
/// wraps to something huge.
fn under_taps(i: Image, place: vec3<u32>, tap: vec3<u32>, depth: u32, end: u32) -> vec4<f32> {
    let count = select(within(depth, end), 0u, place.x == NOWHERE);
    var value = vec4<f32>();
    if i.radix.y % 4u == 0u {
        let at = under_tap(i, place, tap);
        if count > 0u && at != NOWHERE { value = image[at / 4u]; }
        return value;
    }
    var position = tap;
    var at = under_tap(i, place, position);
    if count > 0u && at != NOWHERE { value.x = image_one(at); }
    position = next(position, i.radix);
    at = under_tap(i, place, position);
    if count > 1u && at != NOWHERE { value.y = image_one(at); }
    position = next(position, i.radix);
    at = under_tap(i, place, position);
    if count > 2u && at != NOWHERE { value.z = image_one(at); }
    position = next(position, i.radix);
    at = under_tap(i, place, position);
    if count > 3u && at != NOWHERE { value.w = image_one(at); }
    return value;
}

/// Where in memory a tap lies, or NOWHERE.
fn under_tap(i: Image, place: vec3<u32>, tap: vec3<u32>) -> u32 {
    let pixel = place.yz + tap.xy * i.step;
    let at = ((place.x + pixel.x) * i.extent.y + pixel.y) * i.channels + i.first + tap.z;
    return select(NOWHERE, at, all(pixel < i.extent));
}

fn image_one(at: u32) -> f32 {
    return image[at / 4u][at % 4u];
}

/// Four depths of four lanes each in memory order: from [lane][depth] to [depth][lane].
fn by_depth(lane_0: vec4<f32>, lane_1: vec4<f32>, lane_2: vec4<f32>, lane_3: vec4<f32>) -> mat4x4<f32> {
    return transpose(mat4x4<f32>(lane_0, lane_1, lane_2, lane_3));
}

// ---- The product.

/// Which block an invocation carries: lanes and depths, in fours. Along the depth, pairs of invocations read eight
/// neighbours; along the lanes, FOURS of them read a row of the tile.
fn carried_along_depth(lane: u32) -> vec2<u32> {
    let number = lane % 128u;
    return vec2<u32>(number / 2u % FOURS, number % 2u + number / (2u * FOURS) * 2u);
}

fn carried_along_lanes(lane: u32) -> vec2<u32> {
    let number = lane % 128u;
    return vec2<u32>(number % FOURS, number / FOURS);
}

/// Four numbers as they are stored. What is beyond the largest f16 becomes infinite, whichever way an adapter rounds:
/// the factor leaves nothing that f32 could hold.
fn stored(value: vec4<f32>) -> vec4<Stored> {
    if HALVES {
        return vec4<Stored>(select(value, value * 0x1p127f, abs(value) > vec4<f32>(65504.0)));
    }
    return vec4<Stored>(value);
}

/// Puts a block [depth][lane] into its tile, when everyone is done with the slice before.
fn put(lane: u32, block: vec2<u32>, carried: mat4x4<f32>) {
    let to = select(OTHERS, 0u, lane < 128u) + 4u * block.y * FOURS + block.x;
    workgroupBarrier();
    tiles[to] = stored(carried[0]);
    tiles[to + FOURS] = stored(carried[1]);
    tiles[to + 2u * FOURS] = stored(carried[2]);
    tiles[to + 3u * FOURS] = stored(carried[3]);
    workgroupBarrier();
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

// ---- conv2d

struct Forward {
    x: Image,
    rows: u32,
    columns: u32,
    depth: u32,
}

fn forward(group: u32) -> Forward {
    let p = run.params;
    let channels = p.in_channels / p.groups;
    return Forward(
        Image(
            vec2<u32>(p.in_height, p.in_width),
            p.in_channels,
            group * channels,
            vec2<u32>(p.dilation_height, p.dilation_width),
            vec2<u32>(p.kernel_width, channels),
        ),
        p.batch * p.out_height * p.out_width,
        p.out_channels / p.groups,
        p.kernel_height * p.kernel_width * channels,
    );
}

/// The place of the image under the first tap of a row (n, oh, ow).
fn forward_place(row: u32, rows: u32) -> vec3<u32> {
    let p = run.params;
    let pixel = digits(row, vec2<u32>(p.out_height, p.out_width));
    return vec3<u32>(
        select(NOWHERE, pixel.x * p.in_height, row < rows),
        pixel.y * p.stride_height - p.padding_top,
        pixel.z * p.stride_width - p.padding_left,
    );
}

/// Writes a block of 4 x 4 from row `i` and column `j` on.
fn write_forward(own: Part, i: u32, j: u32, block: mat4x4<f32>) {
    let p = run.params;
    let rows = p.batch * p.out_height * p.out_width;
    let columns = p.out_channels / p.groups;
    let here = within(j, columns);
    let at = own.split * run.elements + i * p.out_channels + own.group * columns + j;
    if i < rows { write_four(at, here, block[0]); }
    if i + 1u < rows { write_four(at + p.out_channels, here, block[1]); }
    if i + 2u < rows { write_four(at + 2u * p.out_channels, here, block[2]); }
    if i + 3u < rows { write_four(at + 3u * p.out_channels, here, block[3]); }
}

@compute @workgroup_size(256)
fn conv2d(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let p = run.params;
    let columns = p.out_channels / p.groups;
    let rows = p.batch * p.out_height * p.out_width;
    let own = part(id.y * count.x + id.x, (columns + TILE - 1u) / TILE, (rows + TILE - 1u) / TILE, 1u);
    if own.group >= p.groups { return; }
    let f = forward(own.group);
    let range = depths(own.split, f.depth);

    let of_rows = lane < 128u;
    let block = carried_along_depth(lane);
    let row = own.row * TILE + 4u * block.x;
    let place_0 = forward_place(row, rows);
    let place_1 = forward_place(row + 1u, rows);
    let place_2 = forward_place(row + 2u, rows);
    let place_3 = forward_place(row + 3u, rows);
    let column = own.column * TILE + 4u * block.x;
    let weights = (own.group * columns + column) * f.depth;
    let end_0 = select(0u, range.y, column < columns);
    let end_1 = select(0u, range.y, column + 1u < columns);
    let end_2 = select(0u, range.y, column + 2u < columns);
    let end_3 = select(0u, range.y, column + 3u < columns);
    let fours = f.depth % 4u == 0u;

    var depth = range.x + 4u * block.y;
    var tap = digits(depth, f.x.radix);
    let step = digits(SLICE, f.x.radix);
    var totals: Sums;
    var sums: Sums;
    for (var slice = range.x; slice < range.y; slice += SLICE) {
        if (slice - range.x) % BLOCK == 0u { close_block(&totals, &sums); }
        var carried: mat4x4<f32>;
        if of_rows {
            carried = by_depth(
                under_taps(f.x, place_0, tap, depth, range.y),
                under_taps(f.x, place_1, tap, depth, range.y),
                under_taps(f.x, place_2, tap, depth, range.y),
                under_taps(f.x, place_3, tap, depth, range.y),
            );
        } else {
            let at = weights + depth;
            carried = by_depth(
                other_four(at, within(depth, end_0), fours),
                other_four(at + f.depth, within(depth, end_1), fours),
                other_four(at + 2u * f.depth, within(depth, end_2), fours),
                other_four(at + 3u * f.depth, within(depth, end_3), fours),
            );
        }
        put(lane, block, carried);
        add_slices(&sums, lane);
        depth += SLICE;
        tap = add(tap, step, f.x.radix);
    }

    close_block(&totals, &sums);
    let i = own.row * TILE + 4u * (lane / APART);
    let j = own.column * TILE + 4u * (lane % APART);
    write_forward(own, i, j, totals.upper_left);
    if LARGE {
        write_forward(own, i, j + 64u, totals.upper_right);
        write_forward(own, i + 64u, j, totals.lower_left);
        write_forward(own, i + 64u, j + 64u, totals.lower_right);
    }
}

@compute @workgroup_size(256)
fn conv2d_narrow(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let p = run.params;
    let columns = p.out_channels / p.groups;
    let rows = p.batch * p.out_height * p.out_width;
    let across = (columns + NARROW_COLUMNS - 1u) / NARROW_COLUMNS;
    let own = part(id.y * count.x + id.x, across, (rows + NARROW_ROWS - 1u) / NARROW_ROWS, 1u);
    if own.group >= p.groups { return; }
    let f = forward(own.group);
    let range = depths(own.split, f.depth);
    let row = own.row * NARROW_ROWS + lane;
    let place = forward_place(row, rows);
    let column = own.column * NARROW_COLUMNS;
    let here = within(column, columns);

    var tap = digits(range.x, f.x.radix);
    let step = digits(4u, f.x.radix);
    var totals = vec4<f32>();
    for (var slice = range.x; slice < range.y; slice += NARROW_SLICE) {
        var sums = vec4<f32>();
        workgroupBarrier();
        for (var d = lane; d < NARROW_SLICE; d += 256u) {
            let at = (own.group * columns + column) * f.depth + slice + d;
            let known = select(0u, here, slice + d < range.y);
            var weights = vec4<f32>();
            if known > 0u { weights.x = other_one(at); }
            if known > 1u { weights.y = other_one(at + f.depth); }
            if known > 2u { weights.z = other_one(at + 2u * f.depth); }
            if known > 3u { weights.w = other_one(at + 3u * f.depth); }
            tiles[d] = stored(weights);
        }
        workgroupBarrier();
        let length = min(range.y - slice, NARROW_SLICE);
        for (var d = 0u; d < length; d += 4u) {
            let x = under_taps(f.x, place, tap, slice + d, range.y);
            sums = add_four(sums, x, d);
            tap = add(tap, step, f.x.radix);
        }
        totals += sums;
    }
    if row < rows {
        write_four(own.split * run.elements + row * p.out_channels + own.group * columns + column, here, totals);
    }
}

/// Adds four depths of a row times those of the columns.
fn add_four(sums: vec4<f32>, row: vec4<f32>, d: u32) -> vec4<f32> {
    let x = vec4<f32>(stored(row));
    let sum = fma(x.yyyy, vec4<f32>(tiles[d + 1u]), fma(x.xxxx, vec4<f32>(tiles[d]), sums));
    return fma(x.wwww, vec4<f32>(tiles[d + 3u]), fma(x.zzzz, vec4<f32>(tiles[d + 2u]), sum));
}

// ---- conv2d_grad_input

/// One direction of a phase: image rows first, first + stride, .. met by taps tap, tap + tap_step, ..
struct Direction {
    first: u32,
    count: u32,
    tap: u32,
    tap_step: u32,
    taps: u32,
    /// The output at the first row under the first tap; it may wrap. Each further tap goes back by `out_step`.
    out: u32,
    out_step: u32,
}

fn direction(
    first: u32,
    extent: u32,
    kernel: u32,
    stride: u32,
    padding: u32,
    dilation: u32,
) -> Direction {
    // The greatest common divisor: after stride / divisor taps the same rows are met again.
    var divisor = stride;
    var remainder = dilation;
    while remainder != 0u {
        let smaller = divisor % remainder;
        divisor = remainder;
        remainder = smaller;
    }
    var d: Direction;
    d.first = first;
    d.count = (extent - first + stride - 1u) / stride;
    d.tap_step = stride / divisor;
    d.out_step = dilation / divisor;
    let residue = (first + padding) % stride;
    let last = min(d.tap_step, kernel);
    while d.tap < last && d.tap * dilation % stride != residue { d.tap++; }
    if d.tap < last {
        d.taps = (kernel - d.tap + d.tap_step - 1u) / d.tap_step;
        // Kept from being negative by one step.
        d.out = (first + padding + d.out_step * stride - d.tap * dilation) / stride - d.out_step;
    }
    return d;
}

struct Phase {
    height: Direction,
    width: Direction,
    g: Image,
    rows: u32,
    depth: u32,
}

/// How many phases have any pixels, (height, width).
fn phases() -> vec2<u32> {
    let p = run.params;
    return min(vec2<u32>(p.stride_height, p.stride_width), vec2<u32>(p.in_height, p.in_width));
}

/// How many rows the first phase has, which is the largest.
fn most_rows() -> u32 {
    let p = run.params;
    return p.batch * ((p.in_height + p.stride_height - 1u) / p.stride_height)
        * ((p.in_width + p.stride_width - 1u) / p.stride_width);
}

fn phase(number: u32, group: u32) -> Phase {
    let p = run.params;
    let across = phases().y;
    var f: Phase;
    f.height = direction(
        number / across, p.in_height, p.kernel_height, p.stride_height, p.padding_top, p.dilation_height);
    f.width = direction(
        number % across, p.in_width, p.kernel_width, p.stride_width, p.padding_left, p.dilation_width);
    let channels = p.out_channels / p.groups;
    f.g = Image(
        vec2<u32>(p.out_height, p.out_width),
        p.out_channels,
        group * channels,
        vec2<u32>(0u - f.height.out_step, 0u - f.width.out_step),
        vec2<u32>(max(f.width.taps, 1u), channels),
    );
    f.rows = p.batch * f.height.count * f.width.count;
    f.depth = f.height.taps * f.width.taps * channels;
    return f;
}

/// The place in g under the first tap of a row (n, row of the phase, column of the phase).
fn phase_place(f: Phase, row: u32) -> vec3<u32> {
    let pixel = digits(row, vec2<u32>(f.height.count, f.width.count));
    return vec3<u32>(
        select(NOWHERE, pixel.x * run.params.out_height, row < f.rows),
        f.height.out + pixel.y,
        f.width.out + pixel.z,
    );
}

/// Where the row's pixel lies in x.
fn phase_pixel(f: Phase, row: u32) -> u32 {
    let p = run.params;
    let pixel = digits(row, vec2<u32>(f.height.count, f.width.count));
    let ih = f.height.first + pixel.y * p.stride_height;
    let iw = f.width.first + pixel.z * p.stride_width;
    return ((pixel.x * p.in_height + ih) * p.in_width + iw) * p.in_channels;
}

/// Where w[o, kh, kw, 0] of a depth (tap of height, of width, o) lies, for the first output channel `first`.
fn phase_weight(f: Phase, depth: vec3<u32>, first: u32) -> u32 {
    let p = run.params;
    let kh = f.height.tap + depth.x * f.height.tap_step;
    let kw = f.width.tap + depth.y * f.width.tap_step;
    return (((first + depth.z) * p.kernel_height + kh) * p.kernel_width + kw) * (p.in_channels / p.groups);
}

/// Writes a block of 4 x 4 from row `i` of the phase and column `j` on.
fn write_pixels(f: Phase, own: Part, i: u32, j: u32, block: mat4x4<f32>) {
    let p = run.params;
    let columns = p.in_channels / p.groups;
    let here = within(j, columns);
    let at = own.split * run.elements + own.group * columns + j;
    if i < f.rows { write_four(at + phase_pixel(f, i), here, block[0]); }
    if i + 1u < f.rows { write_four(at + phase_pixel(f, i + 1u), here, block[1]); }
    if i + 2u < f.rows { write_four(at + phase_pixel(f, i + 2u), here, block[2]); }
    if i + 3u < f.rows { write_four(at + phase_pixel(f, i + 3u), here, block[3]); }
}

@compute @workgroup_size(256)
fn conv2d_grad_input(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let p = run.params;
    let columns = p.in_channels / p.groups;
    let many = phases();
    let across = (columns + TILE - 1u) / TILE;
    let own = part(id.y * count.x + id.x, across, (most_rows() + TILE - 1u) / TILE, many.x * many.y);
    if own.group >= p.groups { return; }
    let f = phase(own.phase, own.group);
    // Smaller phases than the first may have fewer tiles.
    if own.row * TILE >= f.rows { return; }
    let range = depths(own.split, f.depth);

    let of_rows = lane < 128u;
    let block = select(carried_along_lanes(lane), carried_along_depth(lane), of_rows);
    let row = own.row * TILE + 4u * block.x;
    let place_0 = phase_place(f, row);
    let place_1 = phase_place(f, row + 1u);
    let place_2 = phase_place(f, row + 2u);
    let place_3 = phase_place(f, row + 3u);
    let column = own.column * TILE + 4u * block.x;
    let fours = columns % 4u == 0u;

    var depth = range.x + 4u * block.y;
    var tap = digits(depth, f.g.radix);
    let step = digits(SLICE, f.g.radix);
    var totals: Sums;
    var sums: Sums;
    for (var slice = range.x; slice < range.y; slice += SLICE) {
        if (slice - range.x) % BLOCK == 0u { close_block(&totals, &sums); }
        var carried: mat4x4<f32>;
        if of_rows {
            carried = by_depth(
                under_taps(f.g, place_0, tap, depth, range.y),
                under_taps(f.g, place_1, tap, depth, range.y),
                under_taps(f.g, place_2, tap, depth, range.y),
                under_taps(f.g, place_3, tap, depth, range.y),
            );
        } else {
            let tap_1 = next(tap, f.g.radix);
            let tap_2 = next(tap_1, f.g.radix);
            let tap_3 = next(tap_2, f.g.radix);
            let known = within(column, columns);
            let left = within(depth, range.y);
            carried = mat4x4<f32>(
                other_four(phase_weight(f, tap, f.g.first) + column, select(0u, known, left > 0u), fours),
                other_four(phase_weight(f, tap_1, f.g.first) + column, select(0u, known, left > 1u), fours),
                other_four(phase_weight(f, tap_2, f.g.first) + column, select(0u, known, left > 2u), fours),
                other_four(phase_weight(f, tap_3, f.g.first) + column, select(0u, known, left > 3u), fours),
            );
        }
        put(lane, block, carried);
        add_slices(&sums, lane);
        depth += SLICE;
        tap = add(tap, step, f.g.radix);
    }

    close_block(&totals, &sums);
    let i = own.row * TILE + 4u * (lane / APART);
    let j = own.column * TILE + 4u * (lane % APART);
    write_pixels(f, own, i, j, totals.upper_left);
    if LARGE {
        write_pixels(f, own, i, j + 64u, totals.upper_right);
        write_pixels(f, own, i + 64u, j, totals.lower_left);
        write_pixels(f, own, i + 64u, j + 64u, totals.lower_right);
    }
}

@compute @workgroup_size(256)
fn conv2d_grad_input_narrow(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let p = run.params;
    let columns = p.in_channels / p.groups;
    let many = phases();
    let across = (columns + NARROW_COLUMNS - 1u) / NARROW_COLUMNS;
    let down = (most_rows() + NARROW_ROWS - 1u) / NARROW_ROWS;
    let own = part(id.y * count.x + id.x, across, down, many.x * many.y);
    if own.group >= p.groups { return; }
    let f = phase(own.phase, own.group);
    if own.row * NARROW_ROWS >= f.rows { return; }
    let range = depths(own.split, f.depth);
    let row = own.row * NARROW_ROWS + lane;
    let place = phase_place(f, row);
    let column = own.column * NARROW_COLUMNS;
    let here = within(column, columns);

    var tap = digits(range.x, f.g.radix);
    let step = digits(4u, f.g.radix);
    var totals = vec4<f32>();
    for (var slice = range.x; slice < range.y; slice += NARROW_SLICE) {
        var sums = vec4<f32>();
        workgroupBarrier();
        for (var d = lane; d < NARROW_SLICE; d += 256u) {
            let at = phase_weight(f, digits(slice + d, f.g.radix), f.g.first) + column;
            tiles[d] = stored(other_four(at, select(0u, here, slice + d < range.y), columns % 4u == 0u));
        }
        workgroupBarrier();
        let length = min(range.y - slice, NARROW_SLICE);
        for (var d = 0u; d < length; d += 4u) {
            let g = under_taps(f.g, place, tap, slice + d, range.y);
            sums = add_four(sums, g, d);
            tap = add(tap, step, f.g.radix);
        }
        totals += sums;
    }
    if row < f.rows {
        write_four(own.split * run.elements + phase_pixel(f, row) + own.group * columns + column, here, totals);
    }
}

// ---- conv2d_grad_weight

/// What a row (kh, kw, c) adds to an output's pixel and to its channel, or NOWHERE as the channel.
fn weight_place(row: u32, rows: u32, channels: u32, first: u32) -> vec3<u32> {
    let p = run.params;
    let tap = digits(row, vec2<u32>(p.kernel_width, channels));
    return vec3<u32>(
        tap.x * p.dilation_height - p.padding_top,
        tap.y * p.dilation_width - p.padding_left,
        select(NOWHERE, first + tap.z, row < rows),
    );
}

/// Where in x the output pixel (n, oh, ow) meets a row, or NOWHERE.
fn under_pixel(place: vec3<u32>, output: vec3<u32>) -> u32 {
    let p = run.params;
    let pixel = output.yz * vec2<u32>(p.stride_height, p.stride_width) + place.xy;
    let at = ((output.x * p.in_height + pixel.x) * p.in_width + pixel.y) * p.in_channels + place.z;
    let inside = all(pixel < vec2<u32>(p.in_height, p.in_width)) && place.z != NOWHERE;
    return select(NOWHERE, at, inside);
}

/// Four rows at one depth, the output pixel (n, oh, ow); four channels of one tap where a group's channels are fours.
fn under_pixels(places: array<vec3<u32>, 4>, output: vec3<u32>, known: bool, fours: bool) -> vec4<f32> {
    var value = vec4<f32>();
    if !known { return value; }
    let at_0 = under_pixel(places[0], output);
    if fours {
        if at_0 != NOWHERE { value = image[at_0 / 4u]; }
        return value;
    }
    if at_0 != NOWHERE { value.x = image_one(at_0); }
    let at_1 = under_pixel(places[1], output);
    if at_1 != NOWHERE { value.y = image_one(at_1); }
    let at_2 = under_pixel(places[2], output);
    if at_2 != NOWHERE { value.z = image_one(at_2); }
    let at_3 = under_pixel(places[3], output);
    if at_3 != NOWHERE { value.w = image_one(at_3); }
    return value;
}

/// Writes a block of 4 x 4 from row `i` and column `j` on. A weight lies along the rows.
fn write_weights(own: Part, i: u32, j: u32, block: mat4x4<f32>) {
    let p = run.params;
    let columns = p.out_channels / p.groups;
    let rows = p.kernel_height * p.kernel_width * (p.in_channels / p.groups);
    let by_column = transpose(block);
    let here = within(i, rows);
    let at = own.split * run.elements + (own.group * columns + j) * rows + i;
    if j < columns { write_four(at, here, by_column[0]); }
    if j + 1u < columns { write_four(at + rows, here, by_column[1]); }
    if j + 2u < columns { write_four(at + 2u * rows, here, by_column[2]); }
    if j + 3u < columns { write_four(at + 3u * rows, here, by_column[3]); }
}

@compute @workgroup_size(256)
fn conv2d_grad_weight(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let p = run.params;
    let channels = p.in_channels / p.groups;
    let columns = p.out_channels / p.groups;
    let rows = p.kernel_height * p.kernel_width * channels;
    let own = part(id.y * count.x + id.x, (columns + TILE - 1u) / TILE, (rows + TILE - 1u) / TILE, 1u);
    if own.group >= p.groups { return; }
    let range = depths(own.split, p.batch * p.out_height * p.out_width);

    let of_rows = lane < 128u;
    let block = carried_along_lanes(lane);
    let row = own.row * TILE + 4u * block.x;
    let first = own.group * channels;
    let places = array<vec3<u32>, 4>(
        weight_place(row, rows, channels, first),
        weight_place(row + 1u, rows, channels, first),
        weight_place(row + 2u, rows, channels, first),
        weight_place(row + 3u, rows, channels, first),
    );
    let column = own.column * TILE + 4u * block.x;
    let known = within(column, columns);
    let fours = select(columns, channels, of_rows) % 4u == 0u;

    let radix = vec2<u32>(p.out_height, p.out_width);
    var depth = range.x + 4u * block.y;
    var output = digits(depth, radix);
    let step = digits(SLICE, radix);
    var totals: Sums;
    var sums: Sums;
    for (var slice = range.x; slice < range.y; slice += SLICE) {
        if (slice - range.x) % BLOCK == 0u { close_block(&totals, &sums); }
        var carried: mat4x4<f32>;
        let left = within(depth, range.y);
        if of_rows {
            let output_1 = next(output, radix);
            let output_2 = next(output_1, radix);
            let output_3 = next(output_2, radix);
            carried = mat4x4<f32>(
                under_pixels(places, output, left > 0u, fours),
                under_pixels(places, output_1, left > 1u, fours),
                under_pixels(places, output_2, left > 2u, fours),
                under_pixels(places, output_3, left > 3u, fours),
            );
        } else {
            let at = depth * p.out_channels + own.group * columns + column;
            carried = mat4x4<f32>(
                other_four(at, select(0u, known, left > 0u), fours),
                other_four(at + p.out_channels, select(0u, known, left > 1u), fours),
                other_four(at + 2u * p.out_channels, select(0u, known, left > 2u), fours),
                other_four(at + 3u * p.out_channels, select(0u, known, left > 3u), fours),
            );
        }
        put(lane, block, carried);
        add_slices(&sums, lane);
        depth += SLICE;
        output = add(output, step, radix);
    }

    close_block(&totals, &sums);
    let i = own.row * TILE + 4u * (lane / APART);
    let j = own.column * TILE + 4u * (lane % APART);
    write_weights(own, i, j, totals.upper_left);
    if LARGE {
        write_weights(own, i, j + 64u, totals.upper_right);
        write_weights(own, i + 64u, j, totals.lower_left);
        write_weights(own, i + 64u, j + 64u, totals.lower_right);
    }
}

@compute @workgroup_size(256)
fn conv2d_add_splits(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (id.y * count.x + id.x) * 256u + lane;
    if i >= run.elements { return; }
    var sum = parts[i];
    for (var split = 1u; split < run.pass_0; split++) { sum += parts[split * run.elements + i]; }
    y[i] = sum;
}

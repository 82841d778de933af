// Convolution for software adapters: the mathematics and the shapes of conv2d.wgsl, the manner of matmul.software.wgsl.
//
// A group of 8 invocations, which is one subgroup, owns a tile of 32 rows x 32 columns of the open slot; invocation l
// carries rows 4 l to 4 l + 3 and columns 4 l to 4 l + 3, four depths at a time, fetched from textures, and sums 32
// rows of its four columns: the others' rows come by broadcast. Sums are in f32, over blocks of 256 depths, which are
// added in order.
//
// `<kernel>_software` is for groups of channels that are fours, and reads texels whole; `<kernel>_software_ones` is for
// all others, and reads each number by itself. `<kernel>_software_narrow` is for at most four columns, of rows whose
// channels are fours: a tile is 32 rows x 4 columns, an invocation sums four rows of its own, and each of the first
// four invocations fetches the columns of one depth for all.
//
// Cost of each: 2 N OH OW O KH KW C/groups operations; each operand is fetched once for each 32 of the other's lanes.

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
@group(0) @binding(0) var image: texture_2d<f32>;
@group(0) @binding(1) var other: texture_2d<f32>;
@group(0) @binding(8) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read_write> y_ones: array<f32>;
@group(0) @binding(16) var<uniform> run: Run;

// Rows and columns of a tile, and depths whose sums are added up before they join the total.
const LANES = 32u;
const BLOCK = 256u;
// Texels in a row of a texture: the backend fills it row by row.
const TEXELS = 2048u;
// In the place of a row that is beyond the last.
const NOWHERE = 0xffffffffu;

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

// ---- The operands.

/// Four neighbours in memory from `at` on, a multiple of four, if `known`; else zeros.
fn texel(operand: texture_2d<f32>, at: u32, known: bool) -> vec4<f32> {
    let i = select(0u, at / 4u, known);
    return select(vec4<f32>(), textureLoad(operand, vec2<u32>(i % TEXELS, i / TEXELS), 0), known);
}

/// One number, if `known`; else zero.
fn number(operand: texture_2d<f32>, at: u32, known: bool) -> f32 {
    return texel(operand, at, known)[at % 4u];
}

/// The first `count` of four neighbours in memory of the other operand, and zeros.
fn other_line(at: u32, count: u32, fours: bool) -> vec4<f32> {
    if fours { return texel(other, at, count > 0u); }
    return vec4<f32>(
        number(other, at, count > 0u),
        number(other, at + 1u, count > 1u),
        number(other, at + 2u, count > 2u),
        number(other, at + 3u, count > 3u),
    );
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

/// Where in memory a tap lies, or NOWHERE.
fn under_tap(i: Image, place: vec3<u32>, tap: vec3<u32>) -> u32 {
    let pixel = place.yz + tap.xy * i.step;
    let at = ((place.x + pixel.x) * i.extent.y + pixel.y) * i.channels + i.first + tap.z;
    return select(NOWHERE, at, all(pixel < i.extent));
}

/// One number of a row under a tap, if `known`.
fn image_number(i: Image, place: vec3<u32>, tap: vec3<u32>, known: bool) -> f32 {
    let at = under_tap(i, place, tap);
    return number(image, at, known && place.x != NOWHERE && at != NOWHERE);
}

/// Four depths of one row from `tap` on, of which the first `count` are known; the rest, and what lies outside of the
/// image, are zeros.
fn image_line(i: Image, place: vec3<u32>, tap: vec3<u32>, count: u32, fours: bool) -> vec4<f32> {
    if fours {
        let at = under_tap(i, place, tap);
        return texel(image, at, count > 0u && place.x != NOWHERE && at != NOWHERE);
    }
    let tap_1 = next(tap, i.radix);
    let tap_2 = next(tap_1, i.radix);
    let tap_3 = next(tap_2, i.radix);
    return vec4<f32>(
        image_number(i, place, tap, count > 0u),
        image_number(i, place, tap_1, count > 1u),
        image_number(i, place, tap_2, count > 2u),
        image_number(i, place, tap_3, count > 3u),
    );
}

// ---- The product.

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

/// `sums` + the rows of one invocation, [row][depth], times columns of which invocation i knows those of depth i.
fn add_narrow(sums: mat4x4<f32>, rows: mat4x4<f32>, columns: vec4<f32>) -> mat4x4<f32> {
    let all = mat4x4<f32>(
        subgroupBroadcast(columns, 0u),
        subgroupBroadcast(columns, 1u),
        subgroupBroadcast(columns, 2u),
        subgroupBroadcast(columns, 3u),
    );
    return mat4x4<f32>(
        add_row(sums[0], rows[0], all),
        add_row(sums[1], rows[1], all),
        add_row(sums[2], rows[2], all),
        add_row(sums[3], rows[3], all),
    );
}

/// Adds a block's sums to the totals.
fn add_block(totals: ptr<function, array<vec4<f32>, LANES>>, sums: ptr<function, array<vec4<f32>, LANES>>) {
    for (var i = 0u; i < LANES; i++) { (*totals)[i] += (*sums)[i]; }
}

/// The tile that a group owns.
struct Tile {
    /// Its first row and first column.
    row: u32,
    column: u32,
    /// For the gradient of the input.
    phase: u32,
    /// Of channels.
    group: u32,
}

/// Groups are numbered by tile column, tile row, phase, group of channels: neighbours read the same rows.
fn tile_of(number: u32, columns: u32, rows: u32, phases: u32) -> Tile {
    let across = (columns + LANES - 1u) / LANES;
    let down = (rows + LANES - 1u) / LANES;
    let line = number / across;
    let phase = line / down;
    return Tile(line % down * LANES, number % across * LANES, phase % phases, phase / phases);
}

fn write_ones(at: u32, count: u32, value: vec4<f32>) {
    if count > 0u { y_ones[at] = value.x; }
    if count > 1u { y_ones[at + 1u] = value.y; }
    if count > 2u { y_ones[at + 2u] = value.z; }
    if count > 3u { y_ones[at + 3u] = value.w; }
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

/// The sums of a tile, and the tile. A group beyond the last has no rows, and its tile lies below the last row.
fn forward_tile(totals: ptr<function, array<vec4<f32>, LANES>>, number: u32, lane: u32, fours: bool) -> Tile {
    let p = run.params;
    var own = tile_of(number, p.out_channels / p.groups, p.batch * p.out_height * p.out_width, 1u);
    let f = forward(own.group);
    own.row = select(f.rows, own.row, own.group < p.groups);
    let row = own.row + 4u * lane;
    let place_0 = forward_place(row, f.rows);
    let place_1 = forward_place(row + 1u, f.rows);
    let place_2 = forward_place(row + 2u, f.rows);
    let place_3 = forward_place(row + 3u, f.rows);
    let column = own.column + 4u * lane;
    let weights = (own.group * f.columns + column) * f.depth;
    let known = select(0u, within(column, f.columns), own.group < p.groups);

    var tap = vec3<u32>();
    let step = digits(4u, f.x.radix);
    for (var begin = 0u; begin < f.depth; begin += BLOCK) {
        var sums: array<vec4<f32>, LANES>;
        let end = min(begin + BLOCK, f.depth);
        for (var depth = begin; depth < end; depth += 4u) {
            let left = f.depth - depth;
            let rows = mat4x4<f32>(
                image_line(f.x, place_0, tap, left, fours),
                image_line(f.x, place_1, tap, left, fours),
                image_line(f.x, place_2, tap, left, fours),
                image_line(f.x, place_3, tap, left, fours),
            );
            let at = weights + depth;
            let columns = mat4x4<f32>(
                other_line(at, select(0u, left, known > 0u), fours),
                other_line(at + f.depth, select(0u, left, known > 1u), fours),
                other_line(at + 2u * f.depth, select(0u, left, known > 2u), fours),
                other_line(at + 3u * f.depth, select(0u, left, known > 3u), fours),
            );
            add_product(&sums, rows, transpose(columns));
            tap = add(tap, step, f.x.radix);
        }
        add_block(totals, &sums);
    }
    return own;
}

@compute @workgroup_size(8)
fn conv2d_software(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let p = run.params;
    var sums: array<vec4<f32>, LANES>;
    let own = forward_tile(&sums, id.y * count.x + id.x, lane, true);
    let columns = p.out_channels / p.groups;
    let column = own.column + 4u * lane;
    let rows = select(0u, p.batch * p.out_height * p.out_width, column < columns);
    let at = own.row * p.out_channels + own.group * columns + column;
    for (var i = 0u; i < LANES; i++) {
        if own.row + i < rows { y[(at + i * p.out_channels) / 4u] = sums[i]; }
    }
}

@compute @workgroup_size(8)
fn conv2d_software_ones(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let p = run.params;
    var sums: array<vec4<f32>, LANES>;
    let own = forward_tile(&sums, id.y * count.x + id.x, lane, false);
    let columns = p.out_channels / p.groups;
    let rows = p.batch * p.out_height * p.out_width;
    let column = own.column + 4u * lane;
    let known = within(column, columns);
    let at = own.row * p.out_channels + own.group * columns + column;
    for (var i = 0u; i < LANES; i++) {
        write_ones(at + i * p.out_channels, select(0u, known, own.row + i < rows), sums[i]);
    }
}

@compute @workgroup_size(8)
fn conv2d_software_narrow(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let p = run.params;
    var own = tile_of(id.y * count.x + id.x, p.out_channels / p.groups, p.batch * p.out_height * p.out_width, 1u);
    let f = forward(own.group);
    own.row = select(f.rows, own.row, own.group < p.groups);
    let row = own.row + 4u * lane;
    let place_0 = forward_place(row, f.rows);
    let place_1 = forward_place(row + 1u, f.rows);
    let place_2 = forward_place(row + 2u, f.rows);
    let place_3 = forward_place(row + 3u, f.rows);
    let known = select(0u, f.columns, own.group < p.groups);

    var tap = vec3<u32>();
    let step = digits(4u, f.x.radix);
    var totals = mat4x4<f32>();
    for (var begin = 0u; begin < f.depth; begin += BLOCK) {
        var sums = mat4x4<f32>();
        let end = min(begin + BLOCK, f.depth);
        for (var depth = begin; depth < end; depth += 4u) {
            let rows = mat4x4<f32>(
                image_line(f.x, place_0, tap, 4u, true),
                image_line(f.x, place_1, tap, 4u, true),
                image_line(f.x, place_2, tap, 4u, true),
                image_line(f.x, place_3, tap, 4u, true),
            );
            let at = own.group * f.columns * f.depth + depth + lane % 4u;
            let columns = vec4<f32>(
                number(other, at, known > 0u),
                number(other, at + f.depth, known > 1u),
                number(other, at + 2u * f.depth, known > 2u),
                number(other, at + 3u * f.depth, known > 3u),
            );
            sums = add_narrow(sums, rows, columns);
            tap = add(tap, step, f.x.radix);
        }
        totals += sums;
    }

    let at = own.group * f.columns + row * p.out_channels;
    write_ones(at, select(0u, known, row < f.rows), totals[0]);
    write_ones(at + p.out_channels, select(0u, known, row + 1u < f.rows), totals[1]);
    write_ones(at + 2u * p.out_channels, select(0u, known, row + 2u < f.rows), totals[2]);
    write_ones(at + 3u * p.out_channels, select(0u, known, row + 3u < f.rows), totals[3]);
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

/// As `forward_tile`, of one phase.
fn input_tile(totals: ptr<function, array<vec4<f32>, LANES>>, number: u32, lane: u32, fours: bool) -> Tile {
    let p = run.params;
    let many = phases();
    let all_columns = p.in_channels / p.groups;
    var own = tile_of(number, all_columns, most_rows(), many.x * many.y);
    let f = phase(own.phase, own.group);
    own.row = select(f.rows, own.row, own.group < p.groups);
    let row = own.row + 4u * lane;
    let place_0 = phase_place(f, row);
    let place_1 = phase_place(f, row + 1u);
    let place_2 = phase_place(f, row + 2u);
    let place_3 = phase_place(f, row + 3u);
    let column = own.column + 4u * lane;
    let known = select(0u, within(column, all_columns), own.group < p.groups);

    var tap = vec3<u32>();
    let step = digits(4u, f.g.radix);
    for (var begin = 0u; begin < f.depth; begin += BLOCK) {
        var sums: array<vec4<f32>, LANES>;
        let end = min(begin + BLOCK, f.depth);
        for (var depth = begin; depth < end; depth += 4u) {
            let left = f.depth - depth;
            let rows = mat4x4<f32>(
                image_line(f.g, place_0, tap, left, fours),
                image_line(f.g, place_1, tap, left, fours),
                image_line(f.g, place_2, tap, left, fours),
                image_line(f.g, place_3, tap, left, fours),
            );
            let tap_1 = next(tap, f.g.radix);
            let tap_2 = next(tap_1, f.g.radix);
            let tap_3 = next(tap_2, f.g.radix);
            let columns = mat4x4<f32>(
                other_line(phase_weight(f, tap, f.g.first) + column, known, fours),
                other_line(phase_weight(f, tap_1, f.g.first) + column, select(0u, known, left > 1u), fours),
                other_line(phase_weight(f, tap_2, f.g.first) + column, select(0u, known, left > 2u), fours),
                other_line(phase_weight(f, tap_3, f.g.first) + column, select(0u, known, left > 3u), fours),
            );
            add_product(&sums, rows, columns);
            tap = add(tap, step, f.g.radix);
        }
        add_block(totals, &sums);
    }
    return own;
}

@compute @workgroup_size(8)
fn conv2d_grad_input_software(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let p = run.params;
    var sums: array<vec4<f32>, LANES>;
    let own = input_tile(&sums, id.y * count.x + id.x, lane, true);
    let f = phase(own.phase, own.group);
    let columns = p.in_channels / p.groups;
    let column = own.column + 4u * lane;
    let rows = select(0u, f.rows, column < columns);
    let at = own.group * columns + column;
    for (var i = 0u; i < LANES; i++) {
        if own.row + i < rows { y[(at + phase_pixel(f, own.row + i)) / 4u] = sums[i]; }
    }
}

@compute @workgroup_size(8)
fn conv2d_grad_input_software_ones(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let p = run.params;
    var sums: array<vec4<f32>, LANES>;
    let own = input_tile(&sums, id.y * count.x + id.x, lane, false);
    let f = phase(own.phase, own.group);
    let columns = p.in_channels / p.groups;
    let column = own.column + 4u * lane;
    let known = within(column, columns);
    let at = own.group * columns + column;
    for (var i = 0u; i < LANES; i++) {
        write_ones(at + phase_pixel(f, own.row + i), select(0u, known, own.row + i < f.rows), sums[i]);
    }
}

@compute @workgroup_size(8)
fn conv2d_grad_input_software_narrow(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let p = run.params;
    let many = phases();
    let all_columns = p.in_channels / p.groups;
    var own = tile_of(id.y * count.x + id.x, all_columns, most_rows(), many.x * many.y);
    let f = phase(own.phase, own.group);
    own.row = select(f.rows, own.row, own.group < p.groups);
    let row = own.row + 4u * lane;
    let place_0 = phase_place(f, row);
    let place_1 = phase_place(f, row + 1u);
    let place_2 = phase_place(f, row + 2u);
    let place_3 = phase_place(f, row + 3u);
    let known = select(0u, all_columns, own.group < p.groups);

    var tap = vec3<u32>();
    let step = digits(4u, f.g.radix);
    var totals = mat4x4<f32>();
    for (var begin = 0u; begin < f.depth; begin += BLOCK) {
        var sums = mat4x4<f32>();
        let end = min(begin + BLOCK, f.depth);
        for (var depth = begin; depth < end; depth += 4u) {
            let rows = mat4x4<f32>(
                image_line(f.g, place_0, tap, 4u, true),
                image_line(f.g, place_1, tap, 4u, true),
                image_line(f.g, place_2, tap, 4u, true),
                image_line(f.g, place_3, tap, 4u, true),
            );
            // Four channels of one tap: the tap's third digit alone counts on.
            let own_tap = tap + vec3<u32>(0u, 0u, lane % 4u);
            let columns = other_line(phase_weight(f, own_tap, f.g.first), known, false);
            sums = add_narrow(sums, rows, columns);
            tap = add(tap, step, f.g.radix);
        }
        totals += sums;
    }

    let at = own.group * all_columns;
    write_ones(at + phase_pixel(f, row), select(0u, known, row < f.rows), totals[0]);
    write_ones(at + phase_pixel(f, row + 1u), select(0u, known, row + 1u < f.rows), totals[1]);
    write_ones(at + phase_pixel(f, row + 2u), select(0u, known, row + 2u < f.rows), totals[2]);
    write_ones(at + phase_pixel(f, row + 3u), select(0u, known, row + 3u < f.rows), totals[3]);
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

/// Four rows at one depth, the output pixel (n, oh, ow), if `known`; four channels of one tap if `fours`.
fn weight_line(
    place_0: vec3<u32>,
    place_1: vec3<u32>,
    place_2: vec3<u32>,
    place_3: vec3<u32>,
    output: vec3<u32>,
    known: bool,
    fours: bool,
) -> vec4<f32> {
    let at_0 = under_pixel(place_0, output);
    if fours { return texel(image, at_0, known && at_0 != NOWHERE); }
    let at_1 = under_pixel(place_1, output);
    let at_2 = under_pixel(place_2, output);
    let at_3 = under_pixel(place_3, output);
    return vec4<f32>(
        number(image, at_0, known && at_0 != NOWHERE),
        number(image, at_1, known && at_1 != NOWHERE),
        number(image, at_2, known && at_2 != NOWHERE),
        number(image, at_3, known && at_3 != NOWHERE),
    );
}

/// As `forward_tile`.
fn weight_tile(totals: ptr<function, array<vec4<f32>, LANES>>, number: u32, lane: u32, fours: bool) -> Tile {
    let p = run.params;
    let channels = p.in_channels / p.groups;
    let all_columns = p.out_channels / p.groups;
    let all_rows = p.kernel_height * p.kernel_width * channels;
    let all_depths = p.batch * p.out_height * p.out_width;
    var own = tile_of(number, all_columns, all_rows, 1u);
    own.row = select(all_rows, own.row, own.group < p.groups);
    let row = own.row + 4u * lane;
    let first = own.group * channels;
    let place_0 = weight_place(row, all_rows, channels, first);
    let place_1 = weight_place(row + 1u, all_rows, channels, first);
    let place_2 = weight_place(row + 2u, all_rows, channels, first);
    let place_3 = weight_place(row + 3u, all_rows, channels, first);
    let column = own.column + 4u * lane;
    let known = select(0u, within(column, all_columns), own.group < p.groups);

    let radix = vec2<u32>(p.out_height, p.out_width);
    var output = vec3<u32>();
    for (var begin = 0u; begin < all_depths; begin += BLOCK) {
        var sums: array<vec4<f32>, LANES>;
        let end = min(begin + BLOCK, all_depths);
        for (var depth = begin; depth < end; depth += 4u) {
            let left = all_depths - depth;
            let output_1 = next(output, radix);
            let output_2 = next(output_1, radix);
            let output_3 = next(output_2, radix);
            let rows = mat4x4<f32>(
                weight_line(place_0, place_1, place_2, place_3, output, true, fours),
                weight_line(place_0, place_1, place_2, place_3, output_1, left > 1u, fours),
                weight_line(place_0, place_1, place_2, place_3, output_2, left > 2u, fours),
                weight_line(place_0, place_1, place_2, place_3, output_3, left > 3u, fours),
            );
            let at = depth * p.out_channels + own.group * all_columns + column;
            let columns = mat4x4<f32>(
                other_line(at, known, fours),
                other_line(at + p.out_channels, select(0u, known, left > 1u), fours),
                other_line(at + 2u * p.out_channels, select(0u, known, left > 2u), fours),
                other_line(at + 3u * p.out_channels, select(0u, known, left > 3u), fours),
            );
            add_product(&sums, transpose(rows), columns);
            output = next(output_3, radix);
        }
        add_block(totals, &sums);
    }
    return own;
}

@compute @workgroup_size(8)
fn conv2d_grad_weight_software(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let p = run.params;
    var sums: array<vec4<f32>, LANES>;
    let own = weight_tile(&sums, id.y * count.x + id.x, lane, true);
    let columns = p.out_channels / p.groups;
    let rows = p.kernel_height * p.kernel_width * (p.in_channels / p.groups);
    let known = within(own.column + 4u * lane, columns);
    // A weight lies along the rows.
    let at = (own.group * columns + own.column + 4u * lane) * rows + own.row;
    for (var i = 0u; i < LANES; i += 4u) {
        let by_column = transpose(mat4x4<f32>(sums[i], sums[i + 1u], sums[i + 2u], sums[i + 3u]));
        let here = select(0u, known, own.row + i < rows);
        if here > 0u { y[(at + i) / 4u] = by_column[0]; }
        if here > 1u { y[(at + i + rows) / 4u] = by_column[1]; }
        if here > 2u { y[(at + i + 2u * rows) / 4u] = by_column[2]; }
        if here > 3u { y[(at + i + 3u * rows) / 4u] = by_column[3]; }
    }
}

@compute @workgroup_size(8)
fn conv2d_grad_weight_software_ones(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let p = run.params;
    var sums: array<vec4<f32>, LANES>;
    let own = weight_tile(&sums, id.y * count.x + id.x, lane, false);
    let columns = p.out_channels / p.groups;
    let rows = p.kernel_height * p.kernel_width * (p.in_channels / p.groups);
    let known = within(own.column + 4u * lane, columns);
    let at = (own.group * columns + own.column + 4u * lane) * rows + own.row;
    for (var i = 0u; i < LANES; i += 4u) {
        let by_column = transpose(mat4x4<f32>(sums[i], sums[i + 1u], sums[i + 2u], sums[i + 3u]));
        let here = within(own.row + i, rows);
        write_ones(at + i, select(0u, here, known > 0u), by_column[0]);
        write_ones(at + i + rows, select(0u, here, known > 1u), by_column[1]);
        write_ones(at + i + 2u * rows, select(0u, here, known > 2u), by_column[2]);
        write_ones(at + i + 3u * rows, select(0u, here, known > 3u), by_column[3]);
    }
}

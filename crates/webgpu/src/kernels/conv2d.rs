//! `conv2d`, `conv2d_grad_input`, `conv2d_grad_weight`: a group of invocations owns a tile of the open slot, of one group
//! of channels (and, for the gradient of the input, of one phase of the stride).
//!
//! Where an image is exactly one window (a network's last convolution, or its first transposed one), the three are
//! plain products of matrices, and taken as such: no tap then meets padding.

use super::Run;
use super::matmul::{self, Tile, in_software, product, software_product, software_tiles};
use super::variant;
use belamy_tensor::Result;
use belamy_tensor::ops::conv2d::Conv2dParams;
use belamy_tensor::ops::matmul::MatmulParams;

/// Rows and columns of a narrow tile.
const NARROW_TILE: [u32; 2] = [256, 4];
/// At most this many columns make a product narrow: fewer than this in a tile of 64 are mostly waste, which costs more
/// than what the narrow tile loses by not sharing its rows.
const MOST_NARROW_COLUMNS: u32 = 8;

/// Whether a product is one of narrow tiles: of few columns, if there are enough rows for more than one such tile.
fn is_narrow(rows: u32, columns: u32) -> bool {
    columns <= MOST_NARROW_COLUMNS && rows > NARROW_TILE[0]
}

/// The tile for so many `products` of rows and columns, and which of two entry points has it, the square one or the
/// narrow one.
fn tile(
    run: &Run<'_>,
    [rows, columns, products]: [u32; 3],
    [square, narrow]: [&'static str; 2],
) -> (Tile, &'static str) {
    if is_narrow(rows, columns) {
        let [rows, columns] = NARROW_TILE;
        let shader = variant::shader("conv2d", false, run.gpu.precision());
        return (Tile { rows, columns, shader }, narrow);
    }
    (Tile::new(run, rows, columns, products), square)
}

/// Whether each image is one window, without padding.
fn is_one_window(p: &Conv2dParams) -> bool {
    p.groups == 1
        && (p.out_height, p.out_width) == (1, 1)
        && (p.padding_top, p.padding_left) == (0, 0)
        && (p.dilation_height, p.dilation_width) == (1, 1)
        && (p.in_height, p.in_width) == (p.kernel_height, p.kernel_width)
}

fn matrix([m, n, k]: [u32; 3], transpose_a: u32, transpose_b: u32) -> MatmulParams {
    let (batch_stride_a, batch_stride_b) = (0, 0);
    MatmulParams { batch: 1, m, n, k, transpose_a, transpose_b, batch_stride_a, batch_stride_b }
}

/// At most this many columns are one narrow tile of a software adapter.
const SOFTWARE_NARROW_COLUMNS: u32 = 4;

/// Records one of the three as a software adapter computes it, with so many tiles for each group of channels. Entries:
/// where a group's channels are fours; where they are not; and where those of the rows are, and columns are few.
fn software(
    run: &mut Run<'_>,
    p: &Conv2dParams,
    [fours, ones, narrow]: [&'static str; 3],
    [row_channels, columns]: [u32; 2],
    tiles: u32,
) -> Result<()> {
    let entry = match (row_channels % 4, columns % 4) {
        (0, _) if columns <= SOFTWARE_NARROW_COLUMNS => narrow,
        (0, 0) => fours,
        _ => ones,
    };
    let inputs = run.inputs;
    software_product(run, "conv2d.software", entry, inputs, tiles * p.groups)
}

pub(super) fn conv2d(run: &mut Run<'_>) -> Result<()> {
    let (p, inputs) = (Conv2dParams::decode(&run.params), run.inputs);
    let depth = p.kernel_height * p.kernel_width * (p.in_channels / p.groups);
    if is_one_window(&p) {
        return matmul::multiply(run, matrix([p.batch, p.out_channels, depth], 0, 1), inputs);
    }
    let (rows, columns) = (p.batch * p.out_height * p.out_width, p.out_channels / p.groups);
    if in_software(run, inputs) {
        let entries = ["conv2d_software", "conv2d_software_ones", "conv2d_software_narrow"];
        let channels = [p.in_channels / p.groups, columns];
        return software(run, &p, entries, channels, software_tiles(rows, columns));
    }
    let (tile, entry) = tile(run, [rows, columns, p.groups], ["conv2d", "conv2d_narrow"]);
    let tiles = tile.count(rows, columns) * p.groups;
    product(run, tile, [entry, "conv2d_add_splits"], inputs, tiles, depth)
}

pub(super) fn conv2d_grad_input(run: &mut Run<'_>) -> Result<()> {
    let (p, inputs) = (Conv2dParams::decode(&run.params), run.inputs);
    if is_one_window(&p) {
        let columns = p.kernel_height * p.kernel_width * p.in_channels;
        return matmul::multiply(run, matrix([p.batch, columns, p.out_channels], 0, 0), inputs);
    }
    // As many tiles for each phase as for the first, which has most rows.
    let phases = p.stride_height.min(p.in_height) * p.stride_width.min(p.in_width);
    let rows =
        p.batch * p.in_height.div_ceil(p.stride_height) * p.in_width.div_ceil(p.stride_width);
    let columns = p.in_channels / p.groups;
    if in_software(run, inputs) {
        let entries = [
            "conv2d_grad_input_software",
            "conv2d_grad_input_software_ones",
            "conv2d_grad_input_software_narrow",
        ];
        let channels = [p.out_channels / p.groups, columns];
        return software(run, &p, entries, channels, software_tiles(rows, columns) * phases);
    }
    let taps = p.kernel_height.div_ceil(p.stride_height) * p.kernel_width.div_ceil(p.stride_width);
    let products = phases * p.groups;
    let entries = ["conv2d_grad_input", "conv2d_grad_input_narrow"];
    let (tile, entry) = tile(run, [rows, columns, products], entries);
    let (tiles, depth) = (tile.count(rows, columns) * products, taps * (p.out_channels / p.groups));
    product(run, tile, [entry, "conv2d_add_splits"], inputs, tiles, depth)
}

pub(super) fn conv2d_grad_weight(run: &mut Run<'_>) -> Result<()> {
    let (p, inputs) = (Conv2dParams::decode(&run.params), run.inputs);
    let rows = p.kernel_height * p.kernel_width * (p.in_channels / p.groups);
    if is_one_window(&p) {
        let (image, output) = (inputs[0], inputs[1]);
        let params = matrix([p.out_channels, rows, p.batch], 1, 0);
        return matmul::multiply(run, params, &[output, image]);
    }
    let columns = p.out_channels / p.groups;
    if in_software(run, inputs) {
        // A weight's few columns are not worth a tile of their own: its rows are few too.
        let wide = "conv2d_grad_weight_software";
        let fours = (p.in_channels / p.groups) % 4 == 0 && columns % 4 == 0;
        let entry = if fours { wide } else { "conv2d_grad_weight_software_ones" };
        let tiles = software_tiles(rows, columns) * p.groups;
        return software_product(run, "conv2d.software", entry, inputs, tiles);
    }
    let tile = Tile::new(run, rows, columns, p.groups);
    let (tiles, depth) =
        (tile.count(rows, columns) * p.groups, p.batch * p.out_height * p.out_width);
    let entries = ["conv2d_grad_weight", "conv2d_add_splits"];
    product(run, tile, entries, inputs, tiles, depth)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_columns_and_many_rows_take_the_narrow_tile() {
        // A generator's last layer, to three channels; a critic's last, to one number an image; a middle layer.
        assert!(is_narrow(4 * 4096, 3));
        assert!(!is_narrow(64, 1));
        assert!(!is_narrow(4096, 128));
        assert_eq!(Tile { rows: 64, columns: 64, shader: "conv2d" }.count(4097, 128), 65 * 2);
    }
}
